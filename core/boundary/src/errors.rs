//! The one error table of all languages.
//!
//! Numbers 0 to 16 are gRPC's and say how a *call* ended. From 100 on they are misuse and
//! environment ([`ErrorCode`]) and say why an *operation* was refused; the call, if there is one,
//! goes on. Numbers and names never change their meaning and retired ones are not used again.
//!
//! The enums and exception classes of C, Python and Java are generated from [`TABLE`]. A name is
//! unique within its half of the table; `INVALID_ARGUMENT` stands in both, since a server that
//! refuses an argument (3) and a caller that passes a senseless one (100) are different things.

use crate::{Code, Error, ErrorCode};

/// One kind of error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ErrorEntry {
    /// The number at every language border.
    pub number: i32,
    /// The name, in upper case with underscores.
    pub name: &'static str,
    /// The gRPC code: itself for 0 to 16; for the others what an adapter that can only raise gRPC
    /// statuses should raise. `None` where the call has a status of its own or simply goes on.
    pub grpc: Option<Code>,
    /// Whether the same operation may well succeed when it is tried again unchanged.
    pub retryable: bool,
    /// One sentence for the documentation of every language.
    pub doc: &'static str,
}

const NO: bool = false;
const RETRYABLE: bool = true;

/// Every kind of error, in the order of the numbers.
#[rustfmt::skip] // a table: one line for each
pub const TABLE: &[ErrorEntry] = &[
    status(Code::Ok, "OK", NO, "Not an error."),
    status(Code::Cancelled, "CANCELLED", NO, "The call was cancelled, typically by the caller."),
    status(Code::Unknown, "UNKNOWN", NO, "An error without a code of its own."),
    status(Code::InvalidArgument, "INVALID_ARGUMENT", NO, "The server refused an argument, whatever the state of the system."),
    status(Code::DeadlineExceeded, "DEADLINE_EXCEEDED", NO, "The deadline passed before the call ended."),
    status(Code::NotFound, "NOT_FOUND", NO, "The server does not have what was asked for."),
    status(Code::AlreadyExists, "ALREADY_EXISTS", NO, "What the call was to create exists."),
    status(Code::PermissionDenied, "PERMISSION_DENIED", NO, "The caller is known and may not do this."),
    status(Code::ResourceExhausted, "RESOURCE_EXHAUSTED", NO, "A quota, a limit or a buffer is used up."),
    status(Code::FailedPrecondition, "FAILED_PRECONDITION", NO, "The system is not in the state that the call needs."),
    status(Code::Aborted, "ABORTED", NO, "Aborted, typically by a conflict of concurrent work."),
    status(Code::OutOfRange, "OUT_OF_RANGE", NO, "Past the valid range."),
    status(Code::Unimplemented, "UNIMPLEMENTED", NO, "The server does not implement the method, or the cardinality of the call was broken."),
    status(Code::Internal, "INTERNAL", NO, "An invariant of the protocol or of the peer is broken."),
    status(Code::Unavailable, "UNAVAILABLE", RETRYABLE, "The service cannot be reached now; most likely it is worth trying again."),
    status(Code::DataLoss, "DATA_LOSS", NO, "Data was lost or damaged beyond repair."),
    status(Code::Unauthenticated, "UNAUTHENTICATED", NO, "The caller did not authenticate, or not well enough."),

    misuse(ErrorCode::InvalidArgument, "INVALID_ARGUMENT", Some(Code::InvalidArgument), NO, "An argument has a value that can never be right."),
    misuse(ErrorCode::InvalidTarget, "INVALID_TARGET", Some(Code::InvalidArgument), NO, "The target is not one that can be connected to."),
    misuse(ErrorCode::InvalidMetadata, "INVALID_METADATA", Some(Code::InvalidArgument), NO, "A metadata key or value is not legal in gRPC."),
    misuse(ErrorCode::InvalidTls, "INVALID_TLS", Some(Code::InvalidArgument), NO, "Certificates or keys cannot be used."),
    misuse(ErrorCode::InvalidHandle, "INVALID_HANDLE", Some(Code::FailedPrecondition), NO, "A handle is zero, stale or of another kind."),
    misuse(ErrorCode::Closed, "CLOSED", Some(Code::Unavailable), NO, "Used after close."),
    misuse(ErrorCode::Forked, "FORKED", Some(Code::FailedPrecondition), NO, "Made in the parent process and used after fork; open a new channel in the child."),
    misuse(ErrorCode::InvalidState, "INVALID_STATE", Some(Code::FailedPrecondition), NO, "Not possible in this state, such as a send after the half-close."),
    misuse(ErrorCode::CallEnded, "CALL_ENDED", None, NO, "The call has ended; its status says how."),
    misuse(ErrorCode::Timeout, "TIMEOUT", None, RETRYABLE, "A local wait ran out; the call goes on."),
    misuse(ErrorCode::Busy, "BUSY", Some(Code::FailedPrecondition), RETRYABLE, "Another thread is already using this direction of the call."),
    misuse(ErrorCode::InternalPanic, "INTERNAL_PANIC", Some(Code::Internal), NO, "A defect in Millstream; only this operation failed."),
    misuse(ErrorCode::OutOfMemory, "OUT_OF_MEMORY", Some(Code::ResourceExhausted), NO, "Memory could not be reserved."),
    misuse(ErrorCode::System, "SYSTEM", Some(Code::Internal), NO, "The operating system refused something."),
];

const fn status(code: Code, name: &'static str, retryable: bool, doc: &'static str) -> ErrorEntry {
    ErrorEntry { number: code as i32, name, grpc: Some(code), retryable, doc }
}

const fn misuse(
    code: ErrorCode,
    name: &'static str,
    grpc: Option<Code>,
    retryable: bool,
    doc: &'static str,
) -> ErrorEntry {
    ErrorEntry { number: code as i32, name, grpc, retryable, doc }
}

/// The entry of a number; `None` for a number that was never given out.
///
/// ```
/// use millstream_boundary::errors;
/// assert_eq!(errors::entry(106).map(|entry| entry.name), Some("FORKED"));
/// assert_eq!(errors::entry(42), None);
/// ```
pub fn entry(number: i32) -> Option<&'static ErrorEntry> {
    TABLE.binary_search_by_key(&number, |entry| entry.number).ok().map(|at| &TABLE[at])
}

/// The entry of an error of use or environment.
pub fn of(error: &Error) -> Option<&'static ErrorEntry> {
    entry(error.code as i32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_ascend_without_a_repeat() {
        assert!(TABLE.windows(2).all(|pair| pair[0].number < pair[1].number));
    }

    #[test]
    fn every_grpc_code_stands_in_the_table_under_its_own_name() {
        for code in Code::ALL {
            let entry = entry(code as i32).expect("an entry for each code");
            assert_eq!((entry.name, entry.grpc), (code.name(), Some(code)));
        }
        assert_eq!(TABLE.iter().filter(|entry| entry.number < 100).count(), Code::ALL.len());
    }

    #[test]
    fn every_number_of_misuse_carries_the_name_of_its_error_code() {
        use ErrorCode::*;
        let codes = [
            InvalidArgument,
            InvalidTarget,
            InvalidMetadata,
            InvalidTls,
            InvalidHandle,
            Closed,
            Forked,
            InvalidState,
            CallEnded,
            Timeout,
            Busy,
            InternalPanic,
            OutOfMemory,
            System,
        ];
        for (code, number) in codes.into_iter().zip(100..) {
            let entry = of(&Error::new(code, "")).expect("an entry for each code");
            assert_eq!(entry.number, number);
            // InvalidTls -> INVALID_TLS
            let mut name = String::new();
            for c in format!("{code:?}").chars() {
                if c.is_uppercase() && !name.is_empty() {
                    name.push('_');
                }
                name.push(c.to_ascii_uppercase());
            }
            assert_eq!(entry.name, name);
        }
        assert_eq!(TABLE.iter().filter(|entry| entry.number >= 100).count(), codes.len());
    }

    #[test]
    fn every_entry_is_documented_in_one_sentence() {
        for entry in TABLE {
            assert!(entry.doc.ends_with('.') && !entry.doc.contains(". "), "{}", entry.name);
        }
    }

    #[test]
    fn numbers_that_were_never_given_out_have_no_entry() {
        for number in [i32::MIN, -1, 17, 99, 114, i32::MAX] {
            assert_eq!(entry(number), None);
        }
    }
}
