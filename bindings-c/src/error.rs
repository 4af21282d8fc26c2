//! Errors as owned objects.

use std::{
    ffi::{CString, c_char},
    ptr,
    sync::Arc,
};

use millstream_boundary::{Error, Status};

use crate::{outcome::mill_call_status, status::mill_status};

/// Why a function did not succeed. Owned by whoever received it; freed by `mill_error_free`.
pub struct mill_error {
    code: mill_status,
    message: CString,
    status: Option<mill_call_status>,
}

/// What a function body fails with: an error of use, or the end of a call other than OK.
pub(crate) struct Failure {
    code: mill_status,
    message: String,
    status: Option<Arc<Status>>,
}

impl Failure {
    pub(crate) fn new(code: mill_status, message: impl Into<String>) -> Failure {
        Failure { code, message: message.into(), status: None }
    }

    /// The call ended, and not with OK.
    pub(crate) fn ended(status: Arc<Status>) -> Failure {
        Failure { code: status.code.into(), message: status.to_string(), status: Some(status) }
    }

    pub(crate) fn code(&self) -> mill_status {
        self.code
    }

    pub(crate) fn into_object(self) -> *mut mill_error {
        Box::into_raw(Box::new(mill_error {
            code: self.code,
            message: c_text(&self.message),
            status: self.status.map(mill_call_status::new),
        }))
    }
}

impl From<Error> for Failure {
    fn from(error: Error) -> Failure {
        Failure { code: error.code.into(), message: error.message, status: error.status }
    }
}

/// A text of any origin as a C string. A NUL inside would cut the text: the picture of NUL stands
/// for it, so that nothing behind it is lost.
pub(crate) fn c_text(text: &str) -> CString {
    CString::new(text).or_else(|_| CString::new(text.replace('\0', "\u{2400}"))).unwrap_or_default()
}

/// The result code: what the failed function returned. `MILL_OK` for NULL.
///
/// Ownership: nothing passes.
/// Threads: any, several at once.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_error_code(error: *const mill_error) -> mill_status {
    // SAFETY: the caller passes NULL or an error that is not freed yet.
    unsafe { error.as_ref() }.map_or(mill_status::MILL_OK, |error| error.code)
}

/// What was wrong, where, and what to do: UTF-8, for a developer. Empty for NULL.
///
/// Ownership: borrowed from the error; valid until `mill_error_free`.
/// Threads: any, several at once.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_error_message(error: *const mill_error) -> *const c_char {
    // SAFETY: the caller passes NULL or an error that is not freed yet.
    unsafe { error.as_ref() }.map_or(c"".as_ptr(), |error| error.message.as_ptr())
}

/// How the call ended, with details and trailers, when it is the end of a call that the error tells:
/// codes 1 to 16 and `MILL_ERROR_CALL_ENDED`. NULL for every other error and for NULL.
///
/// Ownership: borrowed from the error; valid until `mill_error_free`. Never free it by itself.
/// Threads: any, several at once.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_error_status(error: *const mill_error) -> *const mill_call_status {
    // SAFETY: the caller passes NULL or an error that is not freed yet.
    unsafe { error.as_ref() }
        .and_then(|error| error.status.as_ref())
        .map_or(ptr::null(), ptr::from_ref)
}

/// Frees an error with all that was borrowed from it. NULL is allowed and does nothing.
///
/// Ownership: takes the error.
/// Threads: any; no other thread may use the error at the same time.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_error_free(error: *mut mill_error) {
    if !error.is_null() {
        // SAFETY: it was made by `Failure::into_object` and the caller gives it up here.
        drop(unsafe { Box::from_raw(error) });
    }
}
