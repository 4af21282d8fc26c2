//! Synchronous calls.

use std::{sync::Arc, time::Instant};

use millstream_boundary::Interest;
use pyo3::{
    PyTraverseError, PyVisit, intern,
    prelude::*,
    types::{PyBytes, PyList},
};

use crate::{
    batch::Batch,
    codecs::{Codecs, as_bytes},
    convert,
    core::{Core, Requests, Taken},
    guard, wait,
};

/// One call. Made by the methods of a channel.
///
/// Iterating gives the messages of the response; when they are through, a call that failed raises
/// an RpcError. Leaving a `with` block, or dropping the call, cancels it if it has not ended.
/// One thread may receive while another one sends.
#[pyclass(frozen, generic, weakref, module = "millstream")]
pub struct Call {
    core: Arc<Core>,
    codecs: Codecs,
}

impl Call {
    pub fn new(core: Core, codecs: Codecs) -> Call {
        Call { core: Arc::new(core), codecs }
    }

    /// The next message as it came; `None` when there are no more. What the call failed with, if it
    /// failed, is raised then.
    #[inline]
    fn next<'py>(
        &self,
        py: Python<'py>,
        deadline: Option<Instant>,
    ) -> PyResult<Option<Bound<'py, PyBytes>>> {
        let mut inbox = self.core.inbox(py)?;
        loop {
            match self.core.take(py, &mut inbox)? {
                Taken::One(message) => return Ok(Some(message)),
                Taken::Empty => self.core.wait(py, Interest::MESSAGES, deadline)?,
                Taken::End => return self.core.finish(py).map(|()| None),
            }
        }
    }

    fn next_batch(&self, py: Python<'_>, deadline: Option<Instant>) -> PyResult<Option<Batch>> {
        let mut inbox = self.core.inbox(py)?;
        loop {
            match self.core.take_batch(py, &mut inbox, &self.codecs)? {
                Taken::One(batch) => return Ok(Some(batch)),
                Taken::Empty => self.core.wait(py, Interest::MESSAGES, deadline)?,
                Taken::End => return self.core.finish(py).map(|()| None),
            }
        }
    }

    /// The one response.
    pub fn response<'py>(
        &self,
        py: Python<'py>,
        deadline: Option<Instant>,
    ) -> PyResult<Bound<'py, PyAny>> {
        match self.next(py, deadline)? {
            Some(message) => self.codecs.deserialize(message),
            None => Err(self.core.no_response(py)),
        }
    }

    /// A list of `bytes` goes in runs.
    fn send_list(
        &self,
        py: Python<'_>,
        list: &Bound<'_, PyList>,
        deadline: Option<Instant>,
    ) -> PyResult<()> {
        let mut at = 0;
        while at < list.len() {
            match self.core.try_send_run(py, list, at)? {
                0 => {
                    // The buffer is full, or the item is not `bytes`.
                    let message = as_bytes(&list.get_item(at)?)?;
                    self.core.send(py, &message, deadline)?;
                    at += 1;
                }
                sent => at += sent,
            }
        }
        Ok(())
    }
}

#[pymethods]
impl Call {
    /// The path of the method.
    #[getter]
    fn method(&self) -> &str {
        &self.core.method
    }

    /// Sends a message; waits while the send buffer is full, at most `timeout` seconds.
    #[pyo3(signature = (message, /, timeout=None))]
    fn send(
        &self,
        py: Python<'_>,
        message: &Bound<'_, PyAny>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        guard::enter(py, || {
            let message = self.codecs.serialize(message)?;
            if self.core.try_send(py, &message)? {
                return Ok(());
            }
            self.core.send(py, &message, deadline(timeout)?)
        })
    }

    /// Sends each message of an iterable. A list of bytes is fastest.
    #[pyo3(signature = (messages, /, timeout=None))]
    fn send_many(
        &self,
        py: Python<'_>,
        messages: &Bound<'_, PyAny>,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<()> {
        guard::enter(py, || {
            let deadline = deadline(timeout)?;
            if self.codecs.sends_bytes()
                && let Ok(list) = messages.cast_exact::<PyList>()
            {
                return self.send_list(py, list, deadline);
            }
            let mut requests = Requests::new(messages)?;
            while let Some(message) = requests.next()? {
                let message = self.codecs.serialize(&message)?;
                self.core.send(py, &message, deadline)?;
            }
            Ok(())
        })
    }

    /// Says that no more messages will be sent. Idempotent.
    fn done_sending(&self, py: Python<'_>) -> PyResult<()> {
        guard::enter(py, || self.core.done_sending(py))
    }

    /// Ends the call with CANCELLED, at once. Idempotent, at any time, from any thread.
    #[pyo3(signature = (message="cancelled by the application"))]
    fn cancel(&self, py: Python<'_>, message: &str) -> PyResult<()> {
        guard::enter(py, || {
            self.core.call.check().map_err(|error| convert::misuse(py, &error))?;
            self.core.call.cancel(message);
            Ok(())
        })
    }

    /// Whether the call has ended. Messages may still wait to be received.
    fn done(&self) -> bool {
        self.core.call.status().is_some()
    }

    /// The headers of the response; waits for them.
    #[pyo3(signature = (timeout=None))]
    fn headers<'py>(
        &self,
        py: Python<'py>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        guard::enter(py, || {
            self.core.wait(py, Interest::HEADERS, deadline(timeout)?)?;
            convert::metadata(py, self.core.call.headers().as_deref())
        })
    }

    /// The trailers; waits for the end of the call.
    #[pyo3(signature = (timeout=None))]
    fn trailers<'py>(
        &self,
        py: Python<'py>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        self.status(py, timeout)?.getattr(intern!(py, "trailers"))
    }

    /// How the call ended; waits for the end, and does not raise for a call that failed.
    #[pyo3(signature = (timeout=None))]
    fn status<'py>(
        &self,
        py: Python<'py>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        guard::enter(py, || {
            let deadline = deadline(timeout)?;
            loop {
                if let Some(status) = self.core.call.status() {
                    return convert::status(py, &status);
                }
                self.core.wait(py, Interest::STATUS, deadline)?;
            }
        })
    }

    /// The next message; None when there are no more. Waits at most `timeout` seconds.
    #[pyo3(signature = (timeout=None))]
    fn receive<'py>(
        &self,
        py: Python<'py>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Option<Bound<'py, PyAny>>> {
        guard::enter(py, || {
            let message = self.next(py, deadline(timeout)?)?;
            message.map(|message| self.codecs.deserialize(message)).transpose()
        })
    }

    /// The one response of a unary or a client-streaming call; waits for the end of the call.
    #[pyo3(signature = (timeout=None))]
    fn result<'py>(
        &self,
        py: Python<'py>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        guard::enter(py, || {
            self.core.check_one_response(py)?;
            if let Some(response) = self.core.response(py) {
                return Ok(response);
            }
            let response = self.response(py, deadline(timeout)?)?;
            self.core.keep_response(&response);
            Ok(response)
        })
    }

    /// The messages of the response in batches: all that have come together.
    fn batches(slf: Bound<'_, Self>) -> Batches {
        Batches { call: slf.unbind() }
    }

    /// What sends the requests of an iterable from a thread of its own.
    fn _request_pump(&self, py: Python<'_>) -> RequestPump {
        // Without a reference to the call: dropping the call must end it, and so the pump.
        RequestPump { core: self.core.clone(), codecs: self.codecs.clone_ref(py) }
    }

    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__<'py>(&self, py: Python<'py>) -> PyResult<Option<Bound<'py, PyAny>>> {
        guard::enter(py, || match self.next(py, None)? {
            Some(message) => self.codecs.deserialize(message).map(Some),
            None => Ok(None),
        })
    }

    fn __enter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    #[pyo3(signature = (*_exception))]
    fn __exit__(&self, _exception: &Bound<'_, PyAny>) {
        self.core.abandon("cancelled at the end of a with block");
    }

    fn __repr__(&self) -> String {
        self.core.describe("millstream.Call")
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.codecs.visit(&visit)
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        self.core.abandon("cancelled since the call was dropped before its end");
    }
}

/// The batches of a call, one after the other.
#[pyclass(frozen, generic, module = "millstream")]
pub struct Batches {
    call: Py<Call>,
}

#[pymethods]
impl Batches {
    fn __iter__(slf: Bound<'_, Self>) -> Bound<'_, Self> {
        slf
    }

    fn __next__(&self, py: Python<'_>) -> PyResult<Option<Batch>> {
        guard::enter(py, || self.call.get().next_batch(py, None))
    }
}

/// Sends the requests of an iterable; runs on a thread of its own.
#[pyclass(frozen, module = "millstream")]
pub struct RequestPump {
    core: Arc<Core>,
    codecs: Codecs,
}

impl RequestPump {
    /// Sends until the iterable ends or the call does, whichever is first.
    fn run(&self, py: Python<'_>, requests: &Bound<'_, PyAny>) -> PyResult<()> {
        let mut requests = Requests::new(requests)?;
        while let Some(request) = requests.next()? {
            let message = self.codecs.serialize(&request)?;
            self.core.send(py, &message, None)?;
        }
        self.core.done_sending(py)
    }
}

#[pymethods]
impl RequestPump {
    /// Never raises: what the iterable raises ends the call and reaches who receives from it.
    fn __call__(&self, py: Python<'_>, requests: &Bound<'_, PyAny>) -> PyResult<()> {
        guard::enter(py, || {
            if let Err(error) = self.run(py, requests) {
                // Nothing is lost when the call has ended: then its status says why.
                self.core.fail(error.value(py));
            }
            Ok(())
        })
    }
}

fn deadline(timeout: Option<&Bound<'_, PyAny>>) -> PyResult<Option<Instant>> {
    let timeout = timeout.map_or(Ok(None), |timeout| convert::seconds("timeout", timeout))?;
    Ok(wait::deadline(timeout))
}
