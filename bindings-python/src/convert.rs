//! Values that cross the border: bytes, durations, metadata, statuses and exceptions.

use std::time::Duration;

use millstream_boundary::{Error, ErrorCode, Metadata, Status};
use pyo3::{
    exceptions::{PyRuntimeError, PyTypeError},
    ffi, intern,
    prelude::*,
    sync::PyOnceLock,
    types::{PyBytes, PyDict, PyList, PyMapping, PyString},
};

/// A function of `millstream._border`, where Python objects are made that have Python classes.
fn border<'py>(
    py: Python<'py>,
    cell: &'static PyOnceLock<Py<PyAny>>,
    name: &str,
) -> PyResult<&'py Bound<'py, PyAny>> {
    cell.import(py, "millstream._border", name)
}

/// A `bytes` object with these bytes.
#[inline]
pub fn bytes<'py>(py: Python<'py>, bytes: &[u8]) -> PyResult<Bound<'py, PyBytes>> {
    // SAFETY: the thread is attached; a slice is at most `isize::MAX` long and is copied; the result
    // is a new reference to a `bytes` object, or NULL with MemoryError set.
    unsafe {
        let object =
            ffi::PyBytes_FromStringAndSize(bytes.as_ptr().cast(), bytes.len() as ffi::Py_ssize_t);
        Ok(Bound::from_owned_ptr_or_err(py, object)?.cast_into_unchecked())
    }
}

/// Seconds, as a number or a `timedelta`. Negative is zero; infinite, or longer than anybody waits,
/// is `None`.
pub fn seconds(name: &str, value: &Bound<'_, PyAny>) -> PyResult<Option<Duration>> {
    let py = value.py();
    if value.is_none() {
        return Ok(None);
    }
    let number = match value.extract::<f64>() {
        Ok(number) => number,
        Err(_) => match value.call_method0(intern!(py, "total_seconds")) {
            Ok(seconds) => seconds.extract()?,
            Err(_) => {
                return Err(PyTypeError::new_err(format!(
                    "{name} is seconds, as a number or a timedelta, not {}",
                    value.get_type()
                )));
            }
        },
    };
    if number.is_nan() {
        let what = format!("{name} is not a number (NaN); pass seconds, or None for no bound");
        return Err(misuse(py, &Error::new(ErrorCode::InvalidArgument, what)));
    }
    Ok(Duration::try_from_secs_f64(number.max(0.0)).ok())
}

/// Metadata to send: a mapping, or pairs of key and value.
pub fn metadata_from(value: &Bound<'_, PyAny>) -> PyResult<Metadata> {
    let mut metadata = Metadata::new();
    let py = value.py();
    let pairs = match value.cast::<PyMapping>() {
        Ok(mapping) => mapping.items()?.into_any(),
        Err(_) => value.clone(),
    };
    for pair in pairs.try_iter().map_err(|_| not_metadata(value))? {
        let pair = pair?;
        let (key, value): (Bound<'_, PyAny>, Bound<'_, PyAny>) =
            pair.extract().map_err(|_| not_metadata(&pair))?;
        let key = key.cast::<PyString>().map_err(|_| not_metadata(&pair))?.to_str()?;
        let appended = if let Ok(bytes) = value.cast::<PyBytes>() {
            metadata.append(key, bytes.as_bytes())
        } else if let Ok(text) = value.cast::<PyString>() {
            if key.to_ascii_lowercase().ends_with("-bin") {
                let what = format!("the value of metadata key {key:?} is binary: pass bytes");
                Err(Error::new(ErrorCode::InvalidMetadata, what))
            } else {
                metadata.append(key, text.to_str()?.as_bytes())
            }
        } else {
            return Err(not_metadata(&pair));
        };
        appended.map_err(|error| misuse(py, &error))?;
    }
    Ok(metadata)
}

#[cold]
fn not_metadata(value: &Bound<'_, PyAny>) -> PyErr {
    PyTypeError::new_err(format!(
        "metadata is a mapping or a sequence of (key, value) pairs, keys str, values str or bytes; \
         {} is neither",
        value.repr().map_or_else(|_| "this".into(), |text| text.to_string())
    ))
}

/// Received metadata as a `millstream.Metadata`.
pub fn metadata<'py>(py: Python<'py>, metadata: Option<&Metadata>) -> PyResult<Bound<'py, PyAny>> {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let pairs = PyList::empty(py);
    for (key, value) in metadata.iter().flat_map(|metadata| metadata.iter()) {
        pairs.append((PyString::new(py, key), bytes(py, value)?))?;
    }
    border(py, &MAKE, "metadata")?.call1((pairs,))
}

/// A `millstream.Status`.
pub fn status<'py>(py: Python<'py>, status: &Status) -> PyResult<Bound<'py, PyAny>> {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let trailers = metadata(py, Some(&status.trailers))?;
    let details = bytes(py, &status.details)?;
    border(py, &MAKE, "status")?.call1((
        status.code as i32,
        status.message.as_str(),
        details,
        trailers,
    ))
}

/// The `millstream.RpcError` of a call that ended with this status.
#[cold]
pub fn rpc_error(py: Python<'_>, status: &Status, headers: Option<&Metadata>) -> PyErr {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let make = || {
        let arguments = PyDict::new(py);
        arguments.set_item("number", status.code as i32)?;
        arguments.set_item("message", status.message.as_str())?;
        arguments.set_item("details", bytes(py, &status.details)?)?;
        arguments.set_item("headers", metadata(py, headers)?)?;
        arguments.set_item("trailers", metadata(py, Some(&status.trailers))?)?;
        border(py, &MAKE, "rpc_error")?.call((), Some(&arguments))
    };
    make().map_or_else(|error| error, PyErr::from_value)
}

/// The exception of an operation that was refused.
#[cold]
pub fn misuse(py: Python<'_>, error: &Error) -> PyErr {
    static MAKE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let make = || border(py, &MAKE, "misuse")?.call1((error.code as i32, error.message.as_str()));
    match make() {
        Ok(exception) => PyErr::from_value(exception),
        // While the interpreter shuts down, modules may be gone.
        Err(_) => PyRuntimeError::new_err(error.message.clone()),
    }
}

/// A `millstream.TimeoutError`: a local wait ran out.
#[cold]
pub fn timed_out(py: Python<'_>, what: &str) -> PyErr {
    misuse(py, &Error::new(ErrorCode::Timeout, format!("{what} in time; the call goes on")))
}
