//! The serializer and the deserializer of a call: Python callables, or nothing for plain bytes.

use pyo3::{
    PyTraverseError, PyVisit, buffer::PyBuffer, exceptions::PyTypeError, prelude::*, types::PyBytes,
};

use crate::{convert, guard};

/// What makes bytes of requests, and something else of the bytes of responses.
pub struct Codecs {
    serializer: Option<Py<PyAny>>,
    deserializer: Option<Py<PyAny>>,
}

impl Codecs {
    /// Bytes both ways.
    pub const BYTES: Codecs = Codecs { serializer: None, deserializer: None };

    /// # Errors
    /// `TypeError` for one that cannot be called.
    pub fn new(
        py: Python<'_>,
        serializer: Option<Py<PyAny>>,
        deserializer: Option<Py<PyAny>>,
    ) -> PyResult<Codecs> {
        check_callable(py, "request_serializer", serializer.as_ref())?;
        check_callable(py, "response_deserializer", deserializer.as_ref())?;
        Ok(Codecs { serializer, deserializer })
    }

    pub fn clone_ref(&self, py: Python<'_>) -> Codecs {
        let clone = |one: &Option<Py<PyAny>>| one.as_ref().map(|one| one.clone_ref(py));
        Codecs { serializer: clone(&self.serializer), deserializer: clone(&self.deserializer) }
    }

    /// Whether requests are bytes already.
    pub fn sends_bytes(&self) -> bool {
        self.serializer.is_none()
    }

    /// What a request becomes on the wire.
    #[inline]
    pub fn serialize<'py>(&self, request: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
        match &self.serializer {
            None => as_bytes(request),
            Some(serializer) => as_bytes(&guard::call_one(serializer.bind(request.py()), request)?),
        }
    }

    /// What a received message becomes for the user.
    #[inline]
    pub fn deserialize<'py>(&self, message: Bound<'py, PyBytes>) -> PyResult<Bound<'py, PyAny>> {
        match &self.deserializer {
            None => Ok(message.into_any()),
            Some(deserializer) => guard::call_one(deserializer.bind(message.py()), &message),
        }
    }

    /// For the garbage collector.
    pub fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        visit.call(&self.serializer)?;
        visit.call(&self.deserializer)
    }
}

fn check_callable(py: Python<'_>, name: &str, codec: Option<&Py<PyAny>>) -> PyResult<()> {
    match codec.map(|codec| codec.bind(py)) {
        Some(codec) if !codec.is_callable() => {
            let kind = codec.get_type();
            Err(PyTypeError::new_err(format!("{name} must be callable, not {kind}")))
        }
        _ => Ok(()),
    }
}

/// The bytes of a message: itself when it is `bytes`, a copy of anything with a buffer.
#[inline]
pub fn as_bytes<'py>(message: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    match message.cast::<PyBytes>() {
        Ok(bytes) => Ok(bytes.clone()),
        Err(_) => copy_of_buffer(message),
    }
}

#[cold]
fn copy_of_buffer<'py>(message: &Bound<'py, PyAny>) -> PyResult<Bound<'py, PyBytes>> {
    let py = message.py();
    let buffer = PyBuffer::<u8>::get(message).map_err(|_| {
        let kind = message.get_type();
        PyTypeError::new_err(format!(
            "a message is bytes or has a buffer of bytes, not {kind}; serialize it or pass \
             request_serializer"
        ))
    })?;
    convert::bytes(py, &buffer.to_vec(py)?)
}
