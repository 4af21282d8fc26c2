//! How a call ended.

use std::fmt;

use bytes::Bytes;

use crate::{Code, Metadata};

/// How a call ended: exactly one per call.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Status {
    /// The code.
    pub code: Code,
    /// The text for a developer; empty when the server sent none.
    pub message: String,
    /// The decoded `grpc-status-details-bin` (a `google.rpc.Status` by convention); empty when
    /// there was none or when it was not base64. The raw trailer is in `trailers` either way.
    pub details: Bytes,
    /// Everything that the server sent in its trailers, in order, duplicates kept, reserved keys
    /// included. Empty when the client itself ended the call.
    pub trailers: Metadata,
}

impl Status {
    /// A status made by the client itself.
    pub fn new(code: Code, message: impl Into<String>) -> Status {
        Status { code, message: message.into(), details: Bytes::new(), trailers: Metadata::new() }
    }

    /// Whether the code is OK.
    pub fn is_ok(&self) -> bool {
        self.code == Code::Ok
    }
}

impl fmt::Display for Status {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.message.is_empty() {
            write!(f, "{}", self.code)
        } else {
            write!(f, "{}: {}", self.code, self.message)
        }
    }
}

impl std::error::Error for Status {}
