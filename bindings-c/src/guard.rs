//! What every exported function that can fail runs in.

use millstream_boundary::enter;

use crate::{
    error::{Failure, mill_error},
    status::mill_status,
};

/// Runs a function body: panics become errors, the failure goes to `error` unless that is NULL.
///
/// # Safety
/// `error` is NULL or valid for the write of one pointer.
pub(crate) unsafe fn guard(
    error: *mut *mut mill_error,
    body: impl FnOnce() -> Result<(), Failure>,
) -> mill_status {
    let failure = match enter(|| Ok(body())) {
        Ok(Ok(())) => return mill_status::MILL_OK,
        Ok(Err(failure)) => failure,
        Err(panic) => panic.into(),
    };
    let code = failure.code();
    if !error.is_null() {
        // SAFETY: not NULL, so valid by the contract of this function.
        unsafe { error.write(failure.into_object()) };
    }
    code
}

/// Runs a body that cannot fail in a way the caller could act on. A panic is swallowed: it would
/// otherwise unwind into C.
pub(crate) fn quietly(body: impl FnOnce()) {
    // The error of a panic has nowhere to go.
    let _ = enter(|| {
        body();
        Ok(())
    });
}
