//! Calls of an event loop.

use std::{
    sync::{
        Arc, Mutex,
        atomic::{AtomicU32, Ordering},
    },
    time::{Duration, Instant},
};

use millstream_boundary::{Error, Interest};
use pyo3::{
    PyTraverseError, PyVisit, exceptions::PyBaseException, intern, prelude::*, types::PyList,
};

use super::{
    driver::{self, Wakes},
    operation::{self, Kind},
    waiters::{self, Waiters},
};
use crate::{
    codecs::Codecs,
    convert,
    core::{Core, lock},
    guard, wait,
};

/// A call and its place in its event loop.
pub struct Shared {
    pub core: Core,
    pub waiters: Arc<Waiters>,
    pub wakes: Arc<Wakes>,
    pub pace: Pace,
    tag: u64,
}

impl Shared {
    /// Has the futures of an interest resolved when it is ready.
    pub fn watch(&self, interest: Interest) -> Result<(), Error> {
        let tag = self.tag + waiters::index(interest);
        self.core.call.watch(interest, self.wakes.queue(), tag)
    }
}

impl Drop for Shared {
    fn drop(&mut self) {
        self.wakes.release(self.tag);
    }
}

/// Sees to it that a task which never has to wait lets others run now and then. The core fills the
/// buffer of a fast stream while the task empties it, so without this a loop could be held for ever.
pub struct Pace {
    rested: Mutex<Instant>,
    sent: AtomicU32,
}

/// How long a task may go on without a rest: what CPython gives a thread, too.
const TURN: Duration = Duration::from_millis(5);
/// Messages that are sent between two looks at the clock.
const SENDS: u32 = 512;

impl Pace {
    fn new() -> Pace {
        Pace { rested: Mutex::new(Instant::now()), sent: AtomicU32::new(0) }
    }

    /// The task just waited.
    pub fn rested(&self) {
        *lock(&self.rested) = Instant::now();
    }

    /// Whether to rest now; the answer counts as the rest.
    pub fn is_due(&self) -> bool {
        let mut rested = lock(&self.rested);
        let now = Instant::now();
        let due = now.duration_since(*rested) >= TURN;
        if due {
            *rested = now;
        }
        due
    }

    /// As `is_due`, for something too cheap to look at the clock each time.
    fn is_due_after_send(&self) -> bool {
        self.sent.fetch_add(1, Ordering::Relaxed) % SENDS == SENDS - 1 && self.is_due()
    }
}

/// One call of an event loop. Made by the methods of a channel of `millstream.aio`.
///
/// `async for` gives the messages of the response; when they are through, a call that failed raises
/// an RpcError. Leaving an `async with` block, dropping the call, or cancelling a task that waits
/// for its messages cancels it. One task may receive while others send.
#[pyclass(frozen, generic, weakref, module = "millstream._native")]
pub struct AioCall {
    pub shared: Arc<Shared>,
    pub codecs: Codecs,
}

impl AioCall {
    pub fn new(core: Core, codecs: Codecs, wakes: Arc<Wakes>) -> AioCall {
        let waiters = Arc::new(Waiters::default());
        let tag = wakes.register(&waiters);
        let shared = Shared { core, waiters, wakes, pace: Pace::new(), tag };
        AioCall { shared: Arc::new(shared), codecs }
    }

    fn operation<'py>(
        slf: &Bound<'py, Self>,
        kind: Kind,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        guard::enter(py, || {
            let timeout = timeout.map_or(Ok(None), |time| convert::seconds("timeout", time))?;
            operation::new(py, slf.as_unbound(), kind, wait::deadline(timeout))
        })
    }
}

#[pymethods]
impl AioCall {
    /// The path of the method.
    #[getter]
    fn method(&self) -> &str {
        &self.shared.core.method
    }

    /// Sends a message; awaiting waits while the send buffer is full.
    #[pyo3(signature = (message, /))]
    fn send<'py>(
        slf: &Bound<'py, Self>,
        message: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        guard::enter(py, || {
            let call = slf.get();
            let message = call.codecs.serialize(message)?;
            if !call.shared.core.try_send(py, &message)? {
                return operation::new(py, slf.as_unbound(), Kind::Send(message.unbind()), None);
            }
            if call.shared.pace.is_due_after_send() {
                return operation::detached(py, &call.shared, Kind::Pause(py.None()));
            }
            operation::done(py, false)
        })
    }

    /// Sends each message of an iterable. A list of bytes is fastest.
    #[pyo3(signature = (messages, /))]
    fn send_many<'py>(
        slf: &Bound<'py, Self>,
        messages: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        let py = slf.py();
        guard::enter(py, || {
            let list = PyList::empty(py);
            for message in messages.try_iter()? {
                list.append(slf.get().codecs.serialize(&message?)?)?;
            }
            operation::new(py, slf.as_unbound(), Kind::SendList(list.unbind()), None)
        })
    }

    /// Says that no more messages will be sent. Idempotent.
    fn done_sending<'py>(&self, py: Python<'py>) -> PyResult<Bound<'py, PyAny>> {
        guard::enter(py, || {
            self.shared.core.done_sending(py)?;
            operation::done(py, false)
        })
    }

    /// Ends the call with CANCELLED, at once. Idempotent, at any time. Nothing to await.
    #[pyo3(signature = (message="cancelled by the application"))]
    fn cancel(&self, py: Python<'_>, message: &str) -> PyResult<()> {
        guard::enter(py, || {
            self.shared.core.call.check().map_err(|error| convert::misuse(py, &error))?;
            self.shared.core.call.cancel(message);
            Ok(())
        })
    }

    /// Whether the call has ended. Messages may still wait to be received.
    fn done(&self) -> bool {
        self.shared.core.call.status().is_some()
    }

    /// The headers of the response.
    #[pyo3(signature = (timeout=None))]
    fn headers<'py>(
        slf: &Bound<'py, Self>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        AioCall::operation(slf, Kind::Headers, timeout)
    }

    /// The trailers, at the end of the call.
    #[pyo3(signature = (timeout=None))]
    fn trailers<'py>(
        slf: &Bound<'py, Self>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        AioCall::operation(slf, Kind::Trailers, timeout)
    }

    /// How the call ended; does not raise for a call that failed.
    #[pyo3(signature = (timeout=None))]
    fn status<'py>(
        slf: &Bound<'py, Self>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        AioCall::operation(slf, Kind::Status, timeout)
    }

    /// The next message; None when there are no more.
    #[pyo3(signature = (timeout=None))]
    fn receive<'py>(
        slf: &Bound<'py, Self>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        AioCall::operation(slf, Kind::Receive, timeout)
    }

    /// The one response of a unary or a client-streaming call.
    #[pyo3(signature = (timeout=None))]
    fn result<'py>(
        slf: &Bound<'py, Self>,
        timeout: Option<&Bound<'py, PyAny>>,
    ) -> PyResult<Bound<'py, PyAny>> {
        slf.get().shared.core.check_one_response(slf.py())?;
        AioCall::operation(slf, Kind::Result, timeout)
    }

    /// The messages of the response in batches: all that have come together.
    fn batches<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        AioCall::operation(slf, Kind::NextBatch, None)
    }

    /// What sends the requests of an iterable from a task of its own.
    fn _sender(&self, py: Python<'_>) -> Sender {
        Sender { shared: self.shared.clone(), codecs: self.codecs.clone_ref(py) }
    }

    fn __aiter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        AioCall::operation(slf, Kind::Next, None)
    }

    fn __aenter__<'py>(slf: &Bound<'py, Self>) -> PyResult<Bound<'py, PyAny>> {
        operation::ready(slf.py(), slf.clone().into_any().unbind())
    }

    #[pyo3(signature = (*_exception))]
    fn __aexit__<'py>(
        slf: &Bound<'py, Self>,
        _exception: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        slf.get().shared.core.abandon("cancelled at the end of an async with block");
        operation::done(slf.py(), false)
    }

    fn __repr__(&self) -> String {
        self.shared.core.describe("millstream.aio.Call")
    }

    fn __traverse__(&self, visit: PyVisit<'_>) -> Result<(), PyTraverseError> {
        self.codecs.visit(&visit)?;
        self.shared.waiters.visit(&visit)
    }
}

impl Drop for AioCall {
    fn drop(&mut self) {
        self.shared.core.abandon("cancelled since the call was dropped before its end");
    }
}

/// The sending side of a call, for the task that iterates over its requests. It does not keep the
/// call alive.
#[pyclass(frozen, module = "millstream._native")]
pub struct Sender {
    shared: Arc<Shared>,
    codecs: Codecs,
}

#[pymethods]
impl Sender {
    /// Sends a request; gives False when the call has ended.
    fn send<'py>(
        &self,
        py: Python<'py>,
        message: &Bound<'py, PyAny>,
    ) -> PyResult<Bound<'py, PyAny>> {
        guard::enter(py, || {
            let message = self.codecs.serialize(message)?;
            if self.shared.core.call.status().is_some() {
                return operation::ready(py, operation::truth(py, false).unbind());
            }
            if !self.shared.core.try_send(py, &message)? {
                return operation::detached(py, &self.shared, Kind::Offer(message.unbind()));
            }
            if self.shared.pace.is_due_after_send() {
                let taken = operation::truth(py, true).unbind();
                return operation::detached(py, &self.shared, Kind::Pause(taken));
            }
            operation::done(py, true)
        })
    }

    /// There are no more requests.
    fn done_sending(&self, py: Python<'_>) -> PyResult<()> {
        guard::enter(py, || self.shared.core.done_sending(py))
    }

    /// The iterator of the requests raised: ends the call, and whoever receives gets the exception.
    fn fail(&self, py: Python<'_>, error: &Bound<'_, PyBaseException>) -> PyResult<()> {
        guard::enter(py, || {
            self.shared.core.fail(error);
            Ok(())
        })
    }

    /// Calls back, with a future, when the call has ended.
    fn at_end(&self, py: Python<'_>, callback: &Bound<'_, PyAny>) -> PyResult<()> {
        guard::enter(py, || {
            let event_loop = driver::running_loop(py)?;
            let future = event_loop.call_method0(intern!(py, "create_future"))?;
            future.call_method1(intern!(py, "add_done_callback"), (callback,))?;
            self.shared.waiters.add(Interest::STATUS, future.unbind(), false);
            self.shared.watch(Interest::STATUS).map_err(|error| convert::misuse(py, &error))
        })
    }
}
