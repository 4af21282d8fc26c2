//! What the end of a stream or of a connection means (gRPC over HTTP/2, "Errors").

use h2::Reason;

use crate::{Code, Status};

/// How an HTTP/2 stream failed.
pub(crate) enum Failure {
    /// The server says that it did not process the request: trying again cannot do it twice.
    Unprocessed {
        status: Status,
        /// It takes no more calls on this connection at all.
        going_away: bool,
    },
    /// The stream is over.
    Final(Status),
    /// The connection is gone; why is known to the connection.
    Disconnected,
}

impl Failure {
    pub(crate) fn of(error: &h2::Error) -> Failure {
        let reason = error.reason();
        if error.is_go_away() && error.is_remote() {
            // h2 gives this error only to streams above the last one that the server processes.
            let status = Status::new(
                Code::Unavailable,
                format!("the server is going away and did not process the call: {error}"),
            );
            return Failure::Unprocessed { status, going_away: true };
        }
        match reason {
            Some(Reason::REFUSED_STREAM) if error.is_remote() => {
                Failure::Unprocessed { status: reset(Reason::REFUSED_STREAM), going_away: false }
            }
            Some(reason) if error.is_remote() => Failure::Final(reset(reason)),
            // Found by our own HTTP/2 stack: the peer broke the protocol.
            Some(reason) => Failure::Final(Status::new(
                Code::Internal,
                format!("the server broke HTTP/2: {}", describe(reason, error)),
            )),
            None if error.is_io() => Failure::Disconnected,
            None => Failure::Final(Status::new(Code::Internal, format!("HTTP/2 failed: {error}"))),
        }
    }
}

fn describe(reason: Reason, error: &h2::Error) -> String {
    format!("{} ({error})", name(reason))
}

/// The status of a call whose stream the server reset before any status came.
pub(crate) fn reset(reason: Reason) -> Status {
    let (code, hint) = match reason {
        Reason::NO_ERROR => (Code::Internal, " before it sent a status"),
        Reason::REFUSED_STREAM => (Code::Unavailable, " before it processed the call"),
        Reason::CANCEL => (Code::Cancelled, ""),
        Reason::ENHANCE_YOUR_CALM => {
            (Code::ResourceExhausted, ": it has no bandwidth left for this client")
        }
        Reason::INADEQUATE_SECURITY => {
            (Code::PermissionDenied, ": the transport is not secure enough for it")
        }
        Reason::HTTP_1_1_REQUIRED => (Code::Unknown, ": it wants HTTP/1.1"),
        _ => (Code::Internal, ""),
    };
    Status::new(code, format!("the server reset the stream with {}{hint}", name(reason)))
}

/// The name of RFC 9113, 7.
fn name(reason: Reason) -> String {
    let name = match reason {
        Reason::NO_ERROR => "NO_ERROR",
        Reason::PROTOCOL_ERROR => "PROTOCOL_ERROR",
        Reason::INTERNAL_ERROR => "INTERNAL_ERROR",
        Reason::FLOW_CONTROL_ERROR => "FLOW_CONTROL_ERROR",
        Reason::SETTINGS_TIMEOUT => "SETTINGS_TIMEOUT",
        Reason::STREAM_CLOSED => "STREAM_CLOSED",
        Reason::FRAME_SIZE_ERROR => "FRAME_SIZE_ERROR",
        Reason::REFUSED_STREAM => "REFUSED_STREAM",
        Reason::CANCEL => "CANCEL",
        Reason::COMPRESSION_ERROR => "COMPRESSION_ERROR",
        Reason::CONNECT_ERROR => "CONNECT_ERROR",
        Reason::ENHANCE_YOUR_CALM => "ENHANCE_YOUR_CALM",
        Reason::INADEQUATE_SECURITY => "INADEQUATE_SECURITY",
        Reason::HTTP_1_1_REQUIRED => "HTTP_1_1_REQUIRED",
        other => return format!("the unknown HTTP/2 error code {}", u32::from(other)),
    };
    name.to_owned()
}
