//! Misuse and environment errors: what goes wrong outside the protocol.

use std::{fmt, sync::Arc};

use crate::Status;

/// What kind of error it is. The numbers stand beside gRPC's codes (0 to 16) in the error table of
/// every language and never change their meaning.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
#[repr(i32)]
#[non_exhaustive]
pub enum ErrorCode {
    /// An argument has a value that can never be right.
    InvalidArgument = 100,
    /// The target is not one that can be connected to.
    InvalidTarget = 101,
    /// A metadata key or value is not legal in gRPC.
    InvalidMetadata = 102,
    /// Certificates or keys cannot be used.
    InvalidTls = 103,
    /// A handle is zero, stale or of another kind.
    InvalidHandle = 104,
    /// Used after `close`.
    Closed = 105,
    /// Made in the parent process and used after `fork`.
    Forked = 106,
    /// Not possible in this state, such as a send after the half-close.
    InvalidState = 107,
    /// The call has ended; its status says how.
    CallEnded = 108,
    /// A local wait ran out. The call goes on.
    Timeout = 109,
    /// Another thread is already using this direction of the call.
    Busy = 110,
    /// A defect in Millstream. Only this operation failed.
    InternalPanic = 111,
    /// Memory could not be reserved.
    OutOfMemory = 112,
    /// The operating system refused something.
    System = 113,
}

/// An error of use or environment. How a *call* ended is a [`Status`].
#[derive(Clone)]
pub struct Error {
    /// What kind of error it is.
    pub code: ErrorCode,
    /// What was wrong, where, and what to do.
    pub message: String,
    /// How the call ended, for [`ErrorCode::CallEnded`].
    pub status: Option<Arc<Status>>,
}

impl Error {
    /// An error of a kind with its text.
    pub fn new(code: ErrorCode, message: impl Into<String>) -> Error {
        Error { code, message: message.into(), status: None }
    }

    /// The error of an operation that comes after the end of the call.
    pub fn call_ended(status: Arc<Status>) -> Error {
        Error {
            code: ErrorCode::CallEnded,
            message: format!("the call has ended with {status}"),
            status: Some(status),
        }
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.message)
    }
}

impl fmt::Debug for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:?}: {}", self.code, self.message)
    }
}

impl std::error::Error for Error {}
