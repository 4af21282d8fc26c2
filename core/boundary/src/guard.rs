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

#[cfg(test)]
mod tests {
    use std::{panic::panic_any, sync::Mutex};

    use super::*;
    use crate::process::lock;

    fn message(f: impl FnOnce() -> Result<(), Error>) -> String {
        let error = enter(f).unwrap_err();
        assert_eq!(error.code, ErrorCode::InternalPanic);
        error.message
    }

    #[test]
    fn what_the_operation_returns_comes_out_unchanged() {
        assert_eq!(enter(|| Ok(7)).unwrap(), 7);
        let error = enter(|| Err::<(), _>(Error::new(ErrorCode::Busy, "text"))).unwrap_err();
        assert_eq!((error.code, error.message.as_str()), (ErrorCode::Busy, "text"));
    }

    #[test]
    fn a_panic_becomes_an_error_with_its_text_literal_or_formatted() {
        assert!(message(|| panic!("literal text")).contains("literal text"));
        let slot = 7;
        assert!(message(|| panic!("slot {slot} is gone")).contains("slot 7 is gone"));
        let none: Vec<Result<(), Error>> = Vec::new();
        assert!(
            message(|| none.into_iter().next().expect("there is one")).contains("there is one")
        );
        assert!(message(|| panic_any(5u8)).contains("a panic without a text"));
    }

    #[test]
    fn the_error_names_the_function_that_entered() {
        let line = line!() + 1;
        let error = enter(|| -> Result<(), Error> { panic!("x") }).unwrap_err();
        assert!(error.message.contains(&format!("{}:{line}", file!())), "{error}");
    }

    #[test]
    fn the_operation_after_a_panic_works_and_takes_the_same_locks() {
        let counter = Mutex::new(0);
        message(|| {
            let mut counter = lock(&counter);
            *counter += 1;
            panic!("while locked");
        });
        let counted = enter(|| {
            let mut counter = lock(&counter);
            *counter += 1;
            Ok(*counter)
        });
        assert_eq!(counted.unwrap(), 2);
    }

    #[test]
    fn a_payload_that_panics_when_it_is_dropped_does_not_unwind_out() {
        struct Bomb;
        impl Drop for Bomb {
            fn drop(&mut self) {
                panic_any(Bomb);
            }
        }
        assert!(message(|| panic_any(Bomb)).contains("without a text"));
    }
}
