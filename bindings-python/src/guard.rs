//! The way into this module, and the way back out to Python code.

use millstream_boundary as boundary;
use pyo3::{ffi, prelude::*};

use crate::convert;

/// Runs what an exported function does. A panic becomes `millstream.InternalPanicError`, an
/// `Exception`, and never a `PanicException`, which would end an asyncio program.
#[inline]
#[track_caller]
pub fn enter<T>(py: Python<'_>, f: impl FnOnce() -> PyResult<T>) -> PyResult<T> {
    match boundary::enter(|| Ok(f())) {
        Ok(result) => result,
        Err(panic) => Err(convert::misuse(py, &panic)),
    }
}

/// Calls a Python callable with one argument.
#[inline]
pub fn call_one<'py>(
    callable: &Bound<'py, PyAny>,
    argument: &Bound<'py, PyAny>,
) -> PyResult<Bound<'py, PyAny>> {
    let stay = Stay;
    // SAFETY: the thread is attached (`Bound`), both are live objects, the list ends with NULL; the
    // result is a new reference, or NULL with an exception set.
    let result = unsafe {
        let result = raw::PyObject_CallFunctionObjArgs(
            callable.as_ptr(),
            argument.as_ptr(),
            std::ptr::null_mut::<ffi::PyObject>(),
        );
        Bound::from_owned_ptr_or_err(callable.py(), result)
    };
    std::mem::forget(stay);
    result
}

/// The next item of a Python iterator, `None` at its end.
#[inline]
pub fn next_item<'py>(iterator: &Bound<'py, PyAny>) -> PyResult<Option<Bound<'py, PyAny>>> {
    let py = iterator.py();
    let stay = Stay;
    // SAFETY: the thread is attached (`Bound`), and callers pass what `iter()` returned; the result
    // is a new reference, or NULL at the end and with an exception set on an error.
    let item = unsafe {
        let item = raw::PyIter_Next(iterator.as_ptr());
        Bound::from_owned_ptr_or_opt(py, item)
    };
    std::mem::forget(stay);
    match item {
        Some(item) => Ok(Some(item)),
        None => PyErr::take(py).map_or(Ok(None), Err),
    }
}

/// Keeps a thread for ever that CPython before 3.14 wants to end.
///
/// While the interpreter shuts down it ends every daemon thread that asks for its lock, by
/// `pthread_exit`, which unwinds the stack. Python code called from here may ask, on a thread whose
/// frames of Rust must not be unwound so: that would abort the process instead of letting it exit.
/// (PyO3 does the same where it takes the lock itself.)
struct Stay;

impl Drop for Stay {
    fn drop(&mut self) {
        loop {
            std::thread::park();
        }
    }
}

/// As in `pyo3::ffi`, but allowed to unwind, so that [`Stay`] is dropped on the way.
mod raw {
    use pyo3::ffi::PyObject;

    #[allow(clashing_extern_declarations)] // they differ in nothing but the permission to unwind
    unsafe extern "C-unwind" {
        pub fn PyObject_CallFunctionObjArgs(callable: *mut PyObject, ...) -> *mut PyObject;
        pub fn PyIter_Next(iterator: *mut PyObject) -> *mut PyObject;
    }
}
