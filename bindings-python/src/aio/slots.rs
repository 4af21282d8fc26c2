//! The Python type of operations.
//!
//! PyO3 has no slot for `am_send`, which lets an awaitable return a value without an exception made
//! for it, so the type is made by hand. Everything unsafe about it is in this file.

use std::{
    ffi::{CStr, c_int, c_uint, c_void},
    mem::{self, ManuallyDrop},
    ptr,
};

use pyo3::{
    exceptions::{PyRuntimeWarning, PyStopIteration, PyTypeError},
    ffi::{self, PyObject, PySendResult},
    prelude::*,
    sync::PyOnceLock,
    types::{PyTuple, PyType},
};

use super::operation::{Operation, Step};
use crate::guard;

/// The layout of an instance.
#[repr(C)]
struct Instance {
    head: PyObject,
    operation: ManuallyDrop<Operation>,
}

static TYPE: PyOnceLock<Py<PyType>> = PyOnceLock::new();

/// The type of operations.
pub fn type_object(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    TYPE.get_or_try_init(py, || make(py)).map(|made| made.bind(py))
}

/// A new instance.
pub fn instance(py: Python<'_>, operation: Operation) -> PyResult<Bound<'_, PyAny>> {
    let class = type_object(py)?.as_type_ptr();
    // SAFETY: the class is the one below, whose instances have room for `Instance`; the object is
    // new and nobody else sees it before its operation is written.
    unsafe {
        let object = ffi::PyType_GenericAlloc(class, 0);
        if object.is_null() {
            operation.release(py);
            return Err(PyErr::fetch(py));
        }
        ptr::write(&raw mut (*object.cast::<Instance>()).operation, ManuallyDrop::new(operation));
        Ok(Bound::from_owned_ptr(py, object))
    }
}

/// A warning of the kind that Python gives for coroutines.
pub fn warn_never_awaited(py: Python<'_>, what: &str) {
    // An exception may be on its way while objects are dropped.
    let underway = PyErr::take(py);
    let text = format!("{what} was never awaited: nothing was sent\0");
    let text = CStr::from_bytes_until_nul(text.as_bytes()).unwrap_or(c"never awaited");
    let category = py.get_type::<PyRuntimeWarning>();
    if let Err(error) = PyErr::warn(py, &category, text, 1) {
        error.write_unraisable(py, None);
    }
    if let Some(underway) = underway {
        underway.restore(py);
    }
}

fn make(py: Python<'_>) -> PyResult<Py<PyType>> {
    fn slot(slot: c_int, pfunc: *const c_void) -> ffi::PyType_Slot {
        ffi::PyType_Slot { slot, pfunc: pfunc.cast_mut() }
    }
    let own = itself as ffi::unaryfunc as *const c_void;
    let mut slots = [
        slot(ffi::Py_tp_doc, c"What an asyncio method returns: await it.".as_ptr().cast()),
        slot(ffi::Py_tp_dealloc, dealloc as ffi::destructor as *const c_void),
        slot(ffi::Py_tp_iter, own),
        slot(ffi::Py_tp_iternext, iternext as ffi::iternextfunc as *const c_void),
        slot(ffi::Py_am_await, own),
        slot(ffi::Py_am_aiter, own),
        slot(ffi::Py_am_anext, own),
        slot(ffi::Py_am_send, am_send as SendFunction as *const c_void),
        slot(ffi::Py_tp_methods, (&raw const METHODS.0).cast()),
        slot(0, ptr::null()),
    ];
    let mut spec = ffi::PyType_Spec {
        name: c"millstream._native.Operation".as_ptr(),
        basicsize: mem::size_of::<Instance>() as c_int,
        itemsize: 0,
        flags: (ffi::Py_TPFLAGS_DEFAULT | ffi::Py_TPFLAGS_DISALLOW_INSTANTIATION) as c_uint,
        slots: slots.as_mut_ptr(),
    };
    // SAFETY: the spec is complete and ends with a zero slot; CPython copies it, except for the
    // methods and the strings, which are static. The functions have the types of their slots.
    unsafe {
        let class = ffi::PyType_FromSpec(&raw mut spec);
        Ok(Bound::from_owned_ptr_or_err(py, class)?.cast_into::<PyType>()?.unbind())
    }
}

type SendFunction =
    unsafe extern "C" fn(*mut PyObject, *mut PyObject, *mut *mut PyObject) -> PySendResult;

/// Method definitions are read only, but hold pointers.
struct Methods([ffi::PyMethodDef; 5]);

// SAFETY: nobody writes to them, and the pointers are to static strings and functions.
unsafe impl Sync for Methods {}

static METHODS: Methods = Methods([
    method(c"send", send, ffi::METH_O, c"Goes on, as with a coroutine."),
    method(c"throw", throw, ffi::METH_VARARGS, c"Stops waiting, cancels the call and raises."),
    method(c"close", close, ffi::METH_NOARGS, c"Stops waiting and cancels the call."),
    method(c"_wake", wake, ffi::METH_O | ffi::METH_STATIC, c"Resolves a future when time is up."),
    ffi::PyMethodDef::zeroed(),
]);

const fn method(
    name: &'static CStr,
    function: ffi::PyCFunction,
    flags: c_int,
    doc: &'static CStr,
) -> ffi::PyMethodDef {
    ffi::PyMethodDef {
        ml_name: name.as_ptr(),
        ml_meth: ffi::PyMethodDefPointer { PyCFunction: function },
        ml_flags: flags,
        ml_doc: doc.as_ptr(),
    }
}

/// The operation in an instance.
///
/// # Safety
/// `object` is an instance of the type above, which lives as long as the caller needs the result.
unsafe fn operation<'a>(object: *mut PyObject) -> &'a Operation {
    // SAFETY: every instance was written by `instance`, and only `dealloc` takes it out.
    unsafe { &(*object.cast::<Instance>()).operation }
}

fn attempt(py: Python<'_>, f: impl FnOnce()) -> PyResult<()> {
    guard::enter(py, || {
        f();
        Ok(())
    })
}

/// # Safety
/// The functions below are only called by CPython, through the slots and methods above: attached,
/// and with an instance of the type (or for `_wake` none).
unsafe extern "C" fn itself(object: *mut PyObject) -> *mut PyObject {
    // SAFETY: see above.
    unsafe { ffi::Py_NewRef(object) }
}

unsafe extern "C" fn am_send(
    object: *mut PyObject,
    _value: *mut PyObject,
    result: *mut *mut PyObject,
) -> PySendResult {
    // SAFETY: see above; CPython passes a place for the result.
    unsafe {
        let py = Python::assume_attached();
        let operation = operation(object);
        let (value, kind) = match guard::enter(py, || operation.step(py)) {
            Ok(Step::Return(value)) => (value.into_ptr(), PySendResult::PYGEN_RETURN),
            Ok(Step::Yield(value)) => (value.into_ptr(), PySendResult::PYGEN_NEXT),
            Err(error) => {
                error.restore(py);
                (ptr::null_mut(), PySendResult::PYGEN_ERROR)
            }
        };
        *result = value;
        kind
    }
}

unsafe extern "C" fn iternext(object: *mut PyObject) -> *mut PyObject {
    // SAFETY: see above.
    unsafe {
        let py = Python::assume_attached();
        let operation = operation(object);
        match guard::enter(py, || operation.step(py)) {
            Ok(Step::Yield(value)) => return value.into_ptr(),
            Ok(Step::Return(value)) => PyStopIteration::new_err((value.unbind(),)).restore(py),
            Err(error) => error.restore(py),
        }
        ptr::null_mut()
    }
}

unsafe extern "C" fn send(object: *mut PyObject, _value: *mut PyObject) -> *mut PyObject {
    // SAFETY: the same operation and the same rules.
    unsafe { iternext(object) }
}

unsafe extern "C" fn throw(object: *mut PyObject, arguments: *mut PyObject) -> *mut PyObject {
    // SAFETY: see above; METH_VARARGS passes a tuple.
    unsafe {
        let py = Python::assume_attached();
        let operation = operation(object);
        let arguments = Bound::from_borrowed_ptr(py, arguments);
        let error = guard::enter(py, || {
            operation.interrupt(py);
            exception(arguments.cast::<PyTuple>()?)
        });
        error.unwrap_or_else(|error| error).restore(py);
        ptr::null_mut()
    }
}

/// The exception of `throw(exception)` or of the older `throw(type, value, traceback)`.
fn exception(arguments: &Bound<'_, PyTuple>) -> PyResult<PyErr> {
    let mut arguments = arguments.iter();
    let first =
        arguments.next().ok_or_else(|| PyTypeError::new_err("throw() needs an exception"))?;
    let value = arguments.next().filter(|value| !value.is_none());
    Ok(match (value, first.cast_into::<PyType>()) {
        (None, Ok(class)) => PyErr::from_value(class.call0()?),
        (None, Err(other)) => PyErr::from_value(other.into_inner()),
        (Some(value), Ok(class)) if !value.is_instance(&class)? => {
            PyErr::from_value(class.call1((value,))?)
        }
        (Some(value), _) => PyErr::from_value(value),
    })
}

unsafe extern "C" fn close(object: *mut PyObject, _none: *mut PyObject) -> *mut PyObject {
    // SAFETY: see above.
    unsafe {
        let py = Python::assume_attached();
        let operation = operation(object);
        match attempt(py, || operation.interrupt(py)) {
            Ok(()) => ffi::Py_NewRef(ffi::Py_None()),
            Err(error) => {
                error.restore(py);
                ptr::null_mut()
            }
        }
    }
}

unsafe extern "C" fn wake(_none: *mut PyObject, future: *mut PyObject) -> *mut PyObject {
    // SAFETY: see above; METH_O passes one live object.
    unsafe {
        let py = Python::assume_attached();
        let future = Bound::from_borrowed_ptr(py, future);
        match attempt(py, || super::driver::resolve(&future)) {
            Ok(()) => ffi::Py_NewRef(ffi::Py_None()),
            Err(error) => {
                error.restore(py);
                ptr::null_mut()
            }
        }
    }
}

unsafe extern "C" fn dealloc(object: *mut PyObject) {
    // SAFETY: see above; nobody else has a reference to the object any more, and its class is a
    // heap type whose reference each instance holds.
    unsafe {
        let py = Python::assume_attached();
        let operation = ManuallyDrop::take(&mut (*object.cast::<Instance>()).operation);
        if let Err(error) = attempt(py, || operation.release(py)) {
            error.write_unraisable(py, None);
        }
        let class = ffi::Py_TYPE(object);
        let free = ffi::PyType_GetSlot(class, ffi::Py_tp_free);
        if !free.is_null() {
            mem::transmute::<*mut c_void, ffi::freefunc>(free)(object.cast());
        }
        ffi::Py_DECREF(class.cast());
    }
}
