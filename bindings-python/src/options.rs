//! The options of a call, by name.

use millstream_boundary::{CallKind, CallOptions, Compression, Error, ErrorCode};
use pyo3::{
    exceptions::PyTypeError,
    prelude::*,
    types::{PyDict, PyString},
};

use crate::convert;

/// What `**options` of a call may hold; `millstream.CallOptions` says the same to type checkers.
const NAMES: &str = "timeout, metadata, compression, wait_for_ready, authority, \
                     max_receive_message, max_send_message, max_batch_delay";

/// The options of a call.
///
/// # Errors
/// `TypeError` for an unknown name or a value of another type, `InvalidArgumentError` and
/// `InvalidMetadataError` for a value that can never be right.
pub fn parse(options: Option<&Bound<'_, PyDict>>) -> PyResult<CallOptions> {
    let mut parsed = CallOptions::default();
    let Some(options) = options else { return Ok(parsed) };
    for (name, value) in options {
        let name = name.cast::<PyString>()?.to_str()?;
        if value.is_none() {
            continue; // None is the default of every option
        }
        match name {
            "timeout" => parsed.timeout = convert::seconds(name, &value)?,
            "metadata" => parsed.metadata = convert::metadata_from(&value)?,
            "compression" => parsed.compression = compression(&value)?,
            "wait_for_ready" => parsed.wait_for_ready = value.is_truthy()?,
            "authority" => parsed.authority = Some(typed(name, "text", &value)?),
            "max_receive_message" => parsed.max_receive_message = Some(size(name, &value)?),
            "max_send_message" => parsed.max_send_message = Some(size(name, &value)?),
            "max_batch_delay" => {
                let what = || refuse(value.py(), format!("{name} must be finite"));
                parsed.max_batch_delay = convert::seconds(name, &value)?.ok_or_else(what)?;
            }
            _ => {
                return Err(PyTypeError::new_err(format!(
                    "unknown call option {name:?}; known are {NAMES}"
                )));
            }
        }
    }
    Ok(parsed)
}

/// The kind of a method, from the number in `millstream.CallKind`.
pub fn kind(py: Python<'_>, number: i32) -> PyResult<CallKind> {
    CallKind::from_i32(number)
        .ok_or_else(|| refuse(py, format!("{number} is no kind of call; use millstream.CallKind")))
}

fn compression(value: &Bound<'_, PyAny>) -> PyResult<Compression> {
    let name: String = typed("compression", "a name", value)?;
    Compression::from_name(&name).ok_or_else(|| {
        refuse(
            value.py(),
            format!("unknown compression {name:?}; known are identity, gzip, deflate and zstd"),
        )
    })
}

fn size(name: &str, value: &Bound<'_, PyAny>) -> PyResult<usize> {
    let number: i128 = typed(name, "a number of bytes", value)?;
    usize::try_from(number)
        .map_err(|_| refuse(value.py(), format!("{name} is {number}; it must be a size in bytes")))
}

fn typed<'py, T>(name: &str, form: &str, value: &Bound<'py, PyAny>) -> PyResult<T>
where
    T: for<'a> FromPyObject<'a, 'py>,
{
    value.extract().map_err(|_| {
        PyTypeError::new_err(format!("{name} must be {form}, not {}", value.get_type()))
    })
}

fn refuse(py: Python<'_>, what: String) -> PyErr {
    convert::misuse(py, &Error::new(ErrorCode::InvalidArgument, what))
}
