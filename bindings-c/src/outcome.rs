//! How a call ended.

use std::{
    ffi::{CString, c_char},
    ptr,
    sync::Arc,
};

use millstream_boundary::Status;

use crate::{
    bytes::mill_slice, error::c_text, guard::quietly, metadata::mill_metadata, status::mill_status,
};

/// How a call ended: code, message, details and trailers.
pub struct mill_call_status {
    status: Arc<Status>,
    message: CString,
    trailers: mill_metadata,
}

impl mill_call_status {
    pub(crate) fn new(status: Arc<Status>) -> mill_call_status {
        mill_call_status {
            message: c_text(&status.message),
            trailers: mill_metadata::new(&status.trailers),
            status,
        }
    }

    pub(crate) fn into_object(self) -> *mut mill_call_status {
        Box::into_raw(Box::new(self))
    }
}

/// The code, `MILL_OK` to `MILL_STATUS_UNAUTHENTICATED`. `MILL_STATUS_UNKNOWN` for NULL.
///
/// Ownership: nothing passes.
/// Threads: any, several at once.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_call_status_code(status: *const mill_call_status) -> mill_status {
    // SAFETY: the caller passes NULL or a status that is not freed yet.
    unsafe { status.as_ref() }
        .map_or(mill_status::MILL_STATUS_UNKNOWN, |status| status.status.code.into())
}

/// The message that came with the code: UTF-8, empty when there was none and for NULL. A NUL inside
/// stands there as U+2400.
///
/// Ownership: borrowed from the status and lives as long.
/// Threads: any, several at once.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_call_status_message(
    status: *const mill_call_status,
) -> *const c_char {
    // SAFETY: the caller passes NULL or a status that is not freed yet.
    unsafe { status.as_ref() }.map_or(c"".as_ptr(), |status| status.message.as_ptr())
}

/// The decoded `grpc-status-details-bin`, by convention an encoded `google.rpc.Status`. Empty when
/// there was none or when it was malformed; the trailers hold it as it came.
///
/// Ownership: borrowed from the status and lives as long.
/// Threads: any, several at once.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_call_status_details(status: *const mill_call_status) -> mill_slice {
    // SAFETY: the caller passes NULL or a status that is not freed yet.
    unsafe { status.as_ref() }
        .map_or(mill_slice::EMPTY, |status| mill_slice::lend(&status.status.details))
}

/// Everything that the server sent in its trailers; no entries when the client itself ended the
/// call. NULL for NULL.
///
/// Ownership: borrowed from the status and lives as long; never free it by itself.
/// Threads: any, several at once.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_call_status_trailers(
    status: *const mill_call_status,
) -> *const mill_metadata {
    // SAFETY: the caller passes NULL or a status that is not freed yet.
    unsafe { status.as_ref() }.map_or(ptr::null(), |status| ptr::from_ref(&status.trailers))
}

/// Frees a status that a function handed over. NULL is allowed and does nothing. Never pass the
/// status of a `mill_error`: it belongs to the error.
///
/// Ownership: takes the status with all that was borrowed from it.
/// Threads: any; no other thread may use the status at the same time.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_call_status_free(status: *mut mill_call_status) {
    if !status.is_null() {
        // SAFETY: it was made by `mill_call_status::into_object` and the caller gives it up here.
        quietly(|| drop(unsafe { Box::from_raw(status) }));
    }
}
