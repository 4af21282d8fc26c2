//! Result codes: the error table as a C enum.

use std::{
    ffi::{CStr, CString, c_char},
    sync::OnceLock,
};

use millstream_boundary::{Code, ErrorCode, errors};

use crate::error::c_text;

/// Result of a function. 0 to 16 are gRPC's status codes and tell how a *call* ended; from 100 on
/// stand errors of use and of the environment. Numbers never change their meaning.
#[repr(C)]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[allow(clippy::enum_variant_names)]
pub enum mill_status {
    /// Not an error.
    MILL_OK = 0,
    /// The call was cancelled, typically by the caller.
    MILL_STATUS_CANCELLED = 1,
    /// An error without a code of its own.
    MILL_STATUS_UNKNOWN = 2,
    /// The server refused an argument, whatever the state of the system.
    MILL_STATUS_INVALID_ARGUMENT = 3,
    /// The deadline passed before the call ended.
    MILL_STATUS_DEADLINE_EXCEEDED = 4,
    /// The server does not have what was asked for.
    MILL_STATUS_NOT_FOUND = 5,
    /// What the call was to create exists.
    MILL_STATUS_ALREADY_EXISTS = 6,
    /// The caller is known and may not do this.
    MILL_STATUS_PERMISSION_DENIED = 7,
    /// A quota, a limit or a buffer is used up.
    MILL_STATUS_RESOURCE_EXHAUSTED = 8,
    /// The system is not in the state that the call needs.
    MILL_STATUS_FAILED_PRECONDITION = 9,
    /// Aborted, typically by a conflict of concurrent work.
    MILL_STATUS_ABORTED = 10,
    /// Past the valid range.
    MILL_STATUS_OUT_OF_RANGE = 11,
    /// The server does not implement the method, or the cardinality of the call was broken.
    MILL_STATUS_UNIMPLEMENTED = 12,
    /// An invariant of the protocol or of the peer is broken.
    MILL_STATUS_INTERNAL = 13,
    /// The service cannot be reached now; most likely it is worth trying again.
    MILL_STATUS_UNAVAILABLE = 14,
    /// Data was lost or damaged beyond repair.
    MILL_STATUS_DATA_LOSS = 15,
    /// The caller did not authenticate, or not well enough.
    MILL_STATUS_UNAUTHENTICATED = 16,
    /// An argument has a value that can never be right.
    MILL_ERROR_INVALID_ARGUMENT = 100,
    /// The target is not one that can be connected to.
    MILL_ERROR_INVALID_TARGET = 101,
    /// A metadata key or value is not legal in gRPC.
    MILL_ERROR_INVALID_METADATA = 102,
    /// Certificates or keys cannot be used.
    MILL_ERROR_INVALID_TLS = 103,
    /// A handle is zero, stale or of another kind.
    MILL_ERROR_INVALID_HANDLE = 104,
    /// Used after close.
    MILL_ERROR_CLOSED = 105,
    /// Made in the parent process and used after fork; open a new channel in the child.
    MILL_ERROR_FORKED = 106,
    /// Not possible in this state, such as a send after the half-close.
    MILL_ERROR_INVALID_STATE = 107,
    /// The call has ended; its status says how.
    MILL_ERROR_CALL_ENDED = 108,
    /// A local wait ran out; the call goes on.
    MILL_ERROR_TIMEOUT = 109,
    /// Another thread is already using this direction of the call.
    MILL_ERROR_BUSY = 110,
    /// A defect in Millstream; only this operation failed.
    MILL_ERROR_INTERNAL_PANIC = 111,
    /// Memory could not be reserved.
    MILL_ERROR_OUT_OF_MEMORY = 112,
    /// The operating system refused something.
    MILL_ERROR_SYSTEM = 113,
}

use mill_status::*;

impl mill_status {
    /// Every value; a test holds it against the error table.
    pub(crate) const ALL: [mill_status; 31] = [
        MILL_OK,
        MILL_STATUS_CANCELLED,
        MILL_STATUS_UNKNOWN,
        MILL_STATUS_INVALID_ARGUMENT,
        MILL_STATUS_DEADLINE_EXCEEDED,
        MILL_STATUS_NOT_FOUND,
        MILL_STATUS_ALREADY_EXISTS,
        MILL_STATUS_PERMISSION_DENIED,
        MILL_STATUS_RESOURCE_EXHAUSTED,
        MILL_STATUS_FAILED_PRECONDITION,
        MILL_STATUS_ABORTED,
        MILL_STATUS_OUT_OF_RANGE,
        MILL_STATUS_UNIMPLEMENTED,
        MILL_STATUS_INTERNAL,
        MILL_STATUS_UNAVAILABLE,
        MILL_STATUS_DATA_LOSS,
        MILL_STATUS_UNAUTHENTICATED,
        MILL_ERROR_INVALID_ARGUMENT,
        MILL_ERROR_INVALID_TARGET,
        MILL_ERROR_INVALID_METADATA,
        MILL_ERROR_INVALID_TLS,
        MILL_ERROR_INVALID_HANDLE,
        MILL_ERROR_CLOSED,
        MILL_ERROR_FORKED,
        MILL_ERROR_INVALID_STATE,
        MILL_ERROR_CALL_ENDED,
        MILL_ERROR_TIMEOUT,
        MILL_ERROR_BUSY,
        MILL_ERROR_INTERNAL_PANIC,
        MILL_ERROR_OUT_OF_MEMORY,
        MILL_ERROR_SYSTEM,
    ];

    /// The value of a number of the error table.
    fn from_number(number: i32) -> Option<mill_status> {
        mill_status::ALL.into_iter().find(|status| *status as i32 == number)
    }
}

impl From<Code> for mill_status {
    fn from(code: Code) -> mill_status {
        mill_status::from_number(code as i32).unwrap_or(MILL_STATUS_UNKNOWN)
    }
}

impl From<ErrorCode> for mill_status {
    fn from(code: ErrorCode) -> mill_status {
        // A test holds that every code of the table is here; INTERNAL_PANIC says "a defect".
        mill_status::from_number(code as i32).unwrap_or(MILL_ERROR_INTERNAL_PANIC)
    }
}

/// The table's texts as C strings, made once.
struct Row {
    number: i32,
    name: CString,
    doc: CString,
    retryable: bool,
}

fn row(number: i32) -> Option<&'static Row> {
    static ROWS: OnceLock<Vec<Row>> = OnceLock::new();
    let rows = ROWS.get_or_init(|| {
        errors::TABLE
            .iter()
            .map(|entry| Row {
                number: entry.number,
                name: c_text(entry.name),
                doc: c_text(entry.doc),
                retryable: entry.retryable,
            })
            .collect()
    });
    rows.iter().find(|row| row.number == number)
}

const UNRECOGNISED: &CStr = c"UNRECOGNISED";

/// The name of a result code as the error table has it, such as `NOT_FOUND` or `INVALID_HANDLE`;
/// `UNRECOGNISED` for a number outside the table.
///
/// Ownership: the text is static; never free it.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub extern "C" fn mill_status_name(status: i32) -> *const c_char {
    row(status).map_or(UNRECOGNISED, |row| row.name.as_c_str()).as_ptr()
}

/// One sentence about a result code, for a developer; `UNRECOGNISED` for a number outside the table.
///
/// Ownership: the text is static; never free it.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub extern "C" fn mill_status_description(status: i32) -> *const c_char {
    row(status).map_or(UNRECOGNISED, |row| row.doc.as_c_str()).as_ptr()
}

/// Whether the same thing, done again later, may well succeed. Whether it is *safe* to do again is
/// known to the application alone.
///
/// Ownership: nothing passes.
/// Threads: any.
/// Errors: none; false for a number outside the table.
#[unsafe(no_mangle)]
pub extern "C" fn mill_status_retryable(status: i32) -> bool {
    row(status).is_some_and(|row| row.retryable)
}
