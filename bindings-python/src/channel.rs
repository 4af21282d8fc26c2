//! Channels.

use millstream_boundary::{
    self as boundary, CallKind, ChannelOptions, ConnectivityState, Error, ErrorCode, TlsOptions,
};
use pyo3::{
    prelude::*,
    types::{PyBytes, PyDict},
};

use crate::{
    aio::{
        call::AioCall,
        driver::LoopCache,
        operation::{self, Kind},
    },
    call::Call,
    codecs::Codecs,
    convert,
    core::Core,
    guard, options, wait,
};

/// A connection to a target. The channels of the package are made of it.
#[pyclass(frozen, module = "millstream._native")]
pub struct Channel {
    channel: boundary::Channel,
    target: String,
    loops: LoopCache,
}

/// What every kind of call begins with.
struct Start<'a, 'py> {
    method: &'a str,
    kind: CallKind,
    request: Option<&'a Bound<'py, PyAny>>,
    codecs: &'a Codecs,
    options: Option<&'a Bound<'py, PyDict>>,
}

impl Channel {
    fn start(&self, py: Python<'_>, start: Start<'_, '_>) -> PyResult<Core> {
        let Start { method, kind, request, codecs, options } = start;
        let options = options::parse(options)?;
        let started = match request {
            Some(request) => {
                let request = codecs.serialize(request)?;
                self.channel.call_with(method, kind, options, request.as_bytes())
            }
            None => self.channel.call(method, kind, options),
        };
        let call = started.map_err(|error| convert::misuse(py, &error))?;
        Ok(Core::new(call, kind, method))
    }

    fn check(&self, py: Python<'_>) -> PyResult<()> {
        self.channel.check().map_err(|error| convert::misuse(py, &error))
    }
}

#[pymethods]
impl Channel {
    /// Options are pairs of name and value as text; certificates and key are PEM.
    #[new]
    #[pyo3(signature = (target, options, roots=None, cert_chain=None, private_key=None, /))]
    fn open(
        py: Python<'_>,
        target: &str,
        options: Vec<(String, String)>,
        roots: Option<&Bound<'_, PyBytes>>,
        cert_chain: Option<&Bound<'_, PyBytes>>,
        private_key: Option<&Bound<'_, PyBytes>>,
    ) -> PyResult<Channel> {
        guard::enter(py, || {
            let pem = |bytes: Option<&Bound<'_, PyBytes>>| bytes.map(|pem| pem.as_bytes().to_vec());
            let tls = TlsOptions {
                roots_pem: pem(roots),
                cert_chain_pem: pem(cert_chain),
                private_key_pem: pem(private_key),
                server_name: None,
            };
            let mut parsed = ChannelOptions { tls, ..ChannelOptions::default() };
            // Detached: the certificates of the operating system may be read from disk.
            let opened = py.detach(|| {
                for (name, value) in &options {
                    parsed.set(name, value)?;
                }
                boundary::Channel::open(target, parsed)
            });
            let channel = opened.map_err(|error| convert::misuse(py, &error))?;
            Ok(Channel { channel, target: target.to_owned(), loops: LoopCache::default() })
        })
    }

    /// What the channel was opened with.
    #[getter]
    fn target(&self) -> &str {
        &self.target
    }

    /// Starts a call; with a request it is sent and the sending side closed in the same step.
    #[pyo3(signature = (kind, method, request, serializer, deserializer, options, /))]
    #[allow(clippy::too_many_arguments)] // private; the package calls it by position
    fn call(
        &self,
        py: Python<'_>,
        kind: i32,
        method: &str,
        request: Option<&Bound<'_, PyAny>>,
        serializer: Option<Py<PyAny>>,
        deserializer: Option<Py<PyAny>>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<Call> {
        guard::enter(py, || {
            let kind = options::kind(py, kind)?;
            let codecs = Codecs::new(py, serializer, deserializer)?;
            let start = Start { method, kind, request, codecs: &codecs, options };
            Ok(Call::new(self.start(py, start)?, codecs))
        })
    }

    /// A whole unary call: request in, response out.
    #[pyo3(signature = (method, request, serializer, deserializer, options, /))]
    fn unary<'py>(
        &self,
        py: Python<'py>,
        method: &str,
        request: &Bound<'py, PyAny>,
        serializer: Option<Py<PyAny>>,
        deserializer: Option<Py<PyAny>>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        guard::enter(py, || {
            let (kind, request) = (CallKind::Unary, Some(request));
            let codecs = Codecs::new(py, serializer, deserializer)?;
            let start = Start { method, kind, request, codecs: &codecs, options };
            Call::new(self.start(py, start)?, codecs).response(py, None)
        })
    }

    /// As `call`, for the running event loop.
    #[pyo3(signature = (kind, method, request, serializer, deserializer, options, /))]
    #[allow(clippy::too_many_arguments)] // private; the package calls it by position
    fn aio_call(
        &self,
        py: Python<'_>,
        kind: i32,
        method: &str,
        request: Option<&Bound<'_, PyAny>>,
        serializer: Option<Py<PyAny>>,
        deserializer: Option<Py<PyAny>>,
        options: Option<&Bound<'_, PyDict>>,
    ) -> PyResult<AioCall> {
        guard::enter(py, || {
            let kind = options::kind(py, kind)?;
            let codecs = Codecs::new(py, serializer, deserializer)?;
            let wakes = self.loops.current(py)?;
            let start = Start { method, kind, request, codecs: &codecs, options };
            Ok(AioCall::new(self.start(py, start)?, codecs, wakes))
        })
    }

    /// As `unary`, for the running event loop: the call starts now, awaiting gives the response.
    #[pyo3(signature = (method, request, serializer, deserializer, options, /))]
    fn aio_unary<'py>(
        &self,
        py: Python<'py>,
        method: &str,
        request: &Bound<'py, PyAny>,
        serializer: Option<Py<PyAny>>,
        deserializer: Option<Py<PyAny>>,
        options: Option<&Bound<'py, PyDict>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        guard::enter(py, || {
            let (kind, request) = (CallKind::Unary, Some(request));
            let codecs = Codecs::new(py, serializer, deserializer)?;
            let wakes = self.loops.current(py)?;
            let start = Start { method, kind, request, codecs: &codecs, options };
            let call = Py::new(py, AioCall::new(self.start(py, start)?, codecs, wakes))?;
            operation::new(py, &call, Kind::Response, None)
        })
    }

    /// Where the channel stands, as a number of `millstream.ConnectivityState`.
    fn state(&self, py: Python<'_>) -> PyResult<i32> {
        guard::enter(py, || self.check(py).map(|()| self.channel.state() as i32))
    }

    /// Begins to connect, without waiting for it.
    fn connect(&self, py: Python<'_>) -> PyResult<()> {
        guard::enter(py, || {
            self.check(py)?;
            self.channel.connect();
            Ok(())
        })
    }

    /// Blocks until the state is another than `last`; false when the timeout ran out.
    fn wait_state(
        &self,
        py: Python<'_>,
        last: i32,
        timeout: Option<&Bound<'_, PyAny>>,
    ) -> PyResult<bool> {
        guard::enter(py, || {
            let last = state(py, last)?;
            let timeout = timeout.map_or(Ok(None), |time| convert::seconds("timeout", time))?;
            wait::until(py, wait::deadline(timeout), |slice| self.channel.wait_state(last, slice))
        })
    }

    /// Resolves a future of the running event loop once the state is another than `last`. Only the
    /// last of several that wait is certain to be resolved. Returns what `unwatch_state` needs.
    fn watch_state(&self, py: Python<'_>, last: i32, future: Py<PyAny>) -> PyResult<u64> {
        guard::enter(py, || {
            let last = state(py, last)?;
            let wakes = self.loops.current(py)?;
            let tag = wakes.once(future);
            let watched = self.channel.watch_state(last, wakes.queue(), tag);
            watched.map_err(|error| {
                wakes.release(tag);
                convert::misuse(py, &error)
            })?;
            Ok(tag)
        })
    }

    /// Forgets a future of `watch_state`, resolved or not.
    fn unwatch_state(&self, py: Python<'_>, tag: u64) -> PyResult<()> {
        guard::enter(py, || {
            self.loops.current(py)?.release(tag);
            Ok(())
        })
    }

    /// Ends the open calls with CANCELLED and refuses new ones. Idempotent.
    fn close(&self, py: Python<'_>) -> PyResult<()> {
        guard::enter(py, || {
            py.detach(|| self.channel.close());
            Ok(())
        })
    }
}

fn state(py: Python<'_>, number: i32) -> PyResult<ConnectivityState> {
    use ConnectivityState::*;
    [Idle, Connecting, Ready, TransientFailure, Shutdown]
        .into_iter()
        .find(|state| *state as i32 == number)
        .ok_or_else(|| {
            let what = format!("{number} is no state; use millstream.ConnectivityState");
            convert::misuse(py, &Error::new(ErrorCode::InvalidArgument, what))
        })
}
