//! The guard of every exported function.

use std::{
    any::Any,
    mem,
    panic::{self, AssertUnwindSafe, Location},
};

use crate::{Error, ErrorCode};

/// Runs what an exported function does, so that a panic fails this one operation with
/// `INTERNAL_PANIC` and never unwinds into a host. The next operation works as if nothing had
/// been: nothing is poisoned.
///
/// The error has the text of the panic and names the caller of `enter`, that is the exported
/// function. Where exactly the panic arose only a panic hook is told, and the hook belongs to the
/// host: it is neither installed nor swapped here. The standard hook writes the place to the
/// standard error stream.
///
/// ```
/// use millstream_boundary::{ErrorCode, enter};
///
/// let error = enter(|| -> Result<(), _> { panic!("slot {} is gone", 7) }).unwrap_err();
/// assert_eq!(error.code, ErrorCode::InternalPanic);
/// assert!(error.message.contains("slot 7 is gone"));
/// ```
///
/// # Errors
/// Those of `f`, and `INTERNAL_PANIC`.
#[inline]
#[track_caller]
pub fn enter<T>(f: impl FnOnce() -> Result<T, Error>) -> Result<T, Error> {
    // What a panic leaves half done is either dropped by the unwinding or behind a lock whose
    // users take it whatever happened before (see `crate::process::lock`).
    match panic::catch_unwind(AssertUnwindSafe(f)) {
        Ok(result) => result,
        Err(payload) => Err(panicked(payload, Location::caller())),
    }
}

#[cold]
fn panicked(payload: Box<dyn Any + Send>, entry: &Location<'_>) -> Error {
    let text = text(&*payload);
    // A payload of a type of its own may panic once more when it is dropped.
    if let Err(second) = panic::catch_unwind(AssertUnwindSafe(|| drop(payload))) {
        mem::forget(second);
    }
    Error::new(
        ErrorCode::InternalPanic,
        format!(
            "a defect in Millstream {}: {text} (in the operation that was entered at {}:{}); only \
             this operation failed; please report it with what the standard error stream says",
            crate::version(),
            entry.file(),
            entry.line(),
        ),
    )
}

/// The text of a panic; both `panic!("literal")` and `panic!("formatted {}", 1)` have one.
pub(crate) fn text(payload: &(dyn Any + Send)) -> String {
    if let Some(text) = payload.downcast_ref::<&'static str>() {
        (*text).to_owned()
    } else if let Some(text) = payload.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a text".to_owned()
    }
}
