//! What an asyncio method returns, and what it does when it is awaited.

use std::{
    mem,
    sync::{Arc, Mutex, TryLockError},
    time::Instant,
};

use millstream_boundary::{Error, ErrorCode, Interest, Received};
use pyo3::{
    exceptions::{PyRuntimeError, PyStopAsyncIteration},
    intern,
    prelude::*,
    sync::PyOnceLock,
    types::{PyBytes, PyList, PyType},
};

use super::{
    call::{AioCall, Shared},
    driver, slots,
};
use crate::{
    codecs::{Codecs, as_bytes},
    convert,
    core::{Taken, timed_out},
};

/// An awaitable. Awaiting it drives `step`, which returns at once when there is nothing to wait
/// for, and else hands the task a future to wait on.
pub struct Operation {
    /// What is operated on; nothing for a result that is already known.
    shared: Option<Arc<Shared>>,
    /// The call, which lives as long as somebody awaits it. `None` for a request iterator, which
    /// must not keep its call alive.
    call: Option<Py<AioCall>>,
    kind: Kind,
    state: Mutex<State>,
}

/// What is awaited.
pub enum Kind {
    /// The next message, for `async for`; can be awaited again and again.
    Next,
    /// The next batch, for `async for`; can be awaited again and again.
    NextBatch,
    /// The next message or `None`.
    Receive,
    /// The response of a call that nobody else sees.
    Response,
    /// The response of a call that may be asked for it again.
    Result,
    Headers,
    Trailers,
    Status,
    /// Room for a message, and then its sending.
    Send(Py<PyBytes>),
    /// As `Send`, but an ended call is `False` and no error.
    Offer(Py<PyBytes>),
    /// The sending of a list of `bytes`.
    SendList(Py<PyList>),
    /// Lets other tasks run, once, and gives this value.
    Pause(Py<PyAny>),
    /// This value, each time.
    Ready(Py<PyAny>),
}

#[derive(Default)]
struct State {
    /// The id of the waiter whose future the task waits on.
    pending: Option<u64>,
    deadline: Option<Instant>,
    /// Where in the list the next message is.
    at: usize,
    finished: bool,
}

/// What a task gets when it looks.
pub enum Step<'py> {
    Return(Bound<'py, PyAny>),
    Yield(Bound<'py, PyAny>),
}

enum Poll<'py> {
    Ready(Bound<'py, PyAny>),
    Wait(Interest),
    /// Other tasks had no turn for long.
    Pause,
}

/// An operation on a call.
pub fn new<'py>(
    py: Python<'py>,
    call: &Py<AioCall>,
    kind: Kind,
    deadline: Option<Instant>,
) -> PyResult<Bound<'py, PyAny>> {
    let (call, shared) = (call.clone_ref(py), call.get().shared.clone());
    let state = State { deadline, ..State::default() };
    let state = Mutex::new(state);
    slots::instance(py, Operation { shared: Some(shared), call: Some(call), kind, state })
}

/// An operation that does not keep the call alive.
pub fn detached<'py>(
    py: Python<'py>,
    shared: &Arc<Shared>,
    kind: Kind,
) -> PyResult<Bound<'py, PyAny>> {
    let shared = Some(shared.clone());
    slots::instance(py, Operation { shared, call: None, kind, state: Mutex::default() })
}

/// An operation that is done already: `None`, or `True` for an offer.
pub fn done<'py>(py: Python<'py>, offer: bool) -> PyResult<Bound<'py, PyAny>> {
    static NONE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    static TRUE: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let cell = if offer { &TRUE } else { &NONE };
    let operation = cell.get_or_try_init(py, || {
        let value = if offer { truth(py, true).unbind() } else { py.None() };
        ready(py, value).map(Bound::unbind)
    })?;
    Ok(operation.bind(py).clone())
}

/// An operation that gives this value.
pub fn ready(py: Python<'_>, value: Py<PyAny>) -> PyResult<Bound<'_, PyAny>> {
    let kind = Kind::Ready(value);
    slots::instance(py, Operation { shared: None, call: None, kind, state: Mutex::default() })
}

/// The type of operations.
pub fn type_object(py: Python<'_>) -> PyResult<&Bound<'_, PyType>> {
    slots::type_object(py)
}

/// `True` or `False`.
pub fn truth(py: Python<'_>, value: bool) -> Bound<'_, PyAny> {
    pyo3::types::PyBool::new(py, value).to_owned().into_any()
}

impl Operation {
    /// Goes on as far as possible without waiting.
    #[inline]
    pub fn step<'py>(&self, py: Python<'py>) -> PyResult<Step<'py>> {
        // Nearly every message of a fast stream goes this way.
        if let (Kind::Next, Some(call)) = (&self.kind, &self.call) {
            let call = call.get();
            let message =
                call.shared.core.inbox(py)?.next().map(|message| convert::bytes(py, message));
            if let Some(message) = message {
                return call.codecs.deserialize(message?).map(Step::Return);
            }
        }
        self.slow_step(py)
    }

    fn slow_step<'py>(&self, py: Python<'py>) -> PyResult<Step<'py>> {
        let Some(shared) = &self.shared else {
            return match &self.kind {
                Kind::Ready(value) => Ok(Step::Return(value.bind(py).clone())),
                _ => Err(PyRuntimeError::new_err("nothing to await")),
            };
        };
        let mut state = match self.state.try_lock() {
            Ok(state) => state,
            Err(TryLockError::Poisoned(state)) => state.into_inner(),
            Err(TryLockError::WouldBlock) => return Err(awaited_twice()),
        };
        if state.finished {
            return Err(awaited_twice());
        }
        if let Some(id) = state.pending {
            if let Some(future) = shared.waiters.get(py, id)
                && !future.call_method0(intern!(py, "done"))?.is_truthy()?
            {
                return hand_out(future); // somebody looks before it is done
            }
            state.pending = None;
            shared.waiters.remove(py, id);
            shared.pace.rested();
        }
        let poll = self.poll(py, shared, &mut state);
        match poll {
            Ok(Poll::Ready(value)) => {
                state.finished = !self.is_reusable();
                Ok(Step::Return(value))
            }
            Ok(Poll::Wait(interest)) => self.wait(py, shared, &mut state, interest),
            Ok(Poll::Pause) => Ok(Step::Yield(py.None().into_bound(py))),
            Err(error) => {
                state.finished = !self.is_reusable();
                Err(error)
            }
        }
    }

    fn poll<'py>(
        &self,
        py: Python<'py>,
        shared: &Shared,
        state: &mut State,
    ) -> PyResult<Poll<'py>> {
        let core = &shared.core;
        match &self.kind {
            Kind::Next => match self.receive(py, shared)? {
                Ok(Some(message)) => Ok(Poll::Ready(message)),
                Ok(None) => Err(PyStopAsyncIteration::new_err(())),
                Err(poll) => Ok(poll),
            },
            Kind::Receive => match self.receive(py, shared)? {
                Ok(message) => Ok(Poll::Ready(message.unwrap_or_else(|| py.None().into_bound(py)))),
                Err(poll) => Ok(poll),
            },
            Kind::NextBatch => {
                if shared.pace.is_due() {
                    return Ok(Poll::Pause);
                }
                let mut inbox = core.inbox(py)?;
                match core.take_batch(py, &mut inbox, self.codecs())? {
                    Taken::One(batch) => Ok(Poll::Ready(Bound::new(py, batch)?.into_any())),
                    Taken::Empty => Ok(Poll::Wait(Interest::MESSAGES)),
                    Taken::End => {
                        core.finish(py)?;
                        Err(PyStopAsyncIteration::new_err(()))
                    }
                }
            }
            Kind::Response => self.response(py, shared),
            Kind::Result => {
                if let Some(response) = core.response(py) {
                    return Ok(Poll::Ready(response));
                }
                let poll = self.response(py, shared)?;
                if let Poll::Ready(response) = &poll {
                    core.keep_response(response);
                }
                Ok(poll)
            }
            Kind::Headers => match core.call.headers() {
                Some(headers) => convert::metadata(py, Some(&headers)).map(Poll::Ready),
                None if core.call.ready(Interest::HEADERS) => {
                    convert::metadata(py, None).map(Poll::Ready)
                }
                None => Ok(Poll::Wait(Interest::HEADERS)),
            },
            Kind::Trailers => match core.call.status() {
                Some(status) => convert::metadata(py, Some(&status.trailers)).map(Poll::Ready),
                None => Ok(Poll::Wait(Interest::STATUS)),
            },
            Kind::Status => match core.call.status() {
                Some(status) => convert::status(py, &status).map(Poll::Ready),
                None => Ok(Poll::Wait(Interest::STATUS)),
            },
            Kind::Send(message) => Ok(if core.try_send(py, message.bind(py))? {
                Poll::Ready(py.None().into_bound(py))
            } else {
                Poll::Wait(Interest::SENDABLE)
            }),
            Kind::Offer(message) => match core.try_send(py, message.bind(py)) {
                Ok(true) => Ok(Poll::Ready(truth(py, true))),
                Ok(false) => Ok(Poll::Wait(Interest::SENDABLE)),
                Err(_) if core.call.status().is_some() => Ok(Poll::Ready(truth(py, false))),
                Err(error) => Err(error),
            },
            Kind::SendList(list) => {
                let list = list.bind(py);
                while state.at < list.len() {
                    if shared.pace.is_due() {
                        return Ok(Poll::Pause);
                    }
                    let mut sent = core.try_send_run(py, list, state.at)?;
                    if sent == 0 {
                        // The buffer is full, or the item is not `bytes`.
                        let message = as_bytes(&list.get_item(state.at)?)?;
                        if !core.try_send(py, &message)? {
                            return Ok(Poll::Wait(Interest::SENDABLE));
                        }
                        sent = 1;
                    }
                    state.at += sent;
                }
                Ok(Poll::Ready(py.None().into_bound(py)))
            }
            Kind::Pause(_) if mem::replace(&mut state.at, 1) == 0 => Ok(Poll::Pause),
            Kind::Pause(value) | Kind::Ready(value) => Ok(Poll::Ready(value.bind(py).clone())),
        }
    }

    /// The next message or the end, or what to do before there is one.
    fn receive<'py>(
        &self,
        py: Python<'py>,
        shared: &Shared,
    ) -> PyResult<Result<Option<Bound<'py, PyAny>>, Poll<'py>>> {
        let mut inbox = shared.core.inbox(py)?;
        if inbox.remaining() == 0 {
            if shared.pace.is_due() {
                return Ok(Err(Poll::Pause));
            }
            match shared.core.refill(py, &mut inbox)? {
                Received::Messages => {}
                Received::Empty => return Ok(Err(Poll::Wait(Interest::MESSAGES))),
                Received::End => return shared.core.finish(py).map(|()| Ok(None)),
            }
        }
        let Some(message) = inbox.next().map(|message| convert::bytes(py, message)) else {
            return Ok(Err(Poll::Wait(Interest::MESSAGES)));
        };
        drop(inbox);
        self.codecs().deserialize(message?).map(|message| Ok(Some(message)))
    }

    fn response<'py>(&self, py: Python<'py>, shared: &Shared) -> PyResult<Poll<'py>> {
        match self.receive(py, shared)? {
            Ok(Some(response)) => Ok(Poll::Ready(response)),
            Ok(None) => Err(shared.core.no_response(py)),
            Err(poll) => Ok(poll),
        }
    }

    fn codecs(&self) -> &Codecs {
        static BYTES: Codecs = Codecs::BYTES;
        self.call.as_ref().map_or(&BYTES, |call| &call.get().codecs)
    }

    fn is_reusable(&self) -> bool {
        matches!(self.kind, Kind::Next | Kind::NextBatch | Kind::Ready(_))
    }

    /// Whether the call makes no sense any more when nobody waits for this.
    fn carries_the_call(&self) -> bool {
        !matches!(
            self.kind,
            Kind::Headers | Kind::Trailers | Kind::Status | Kind::Pause(_) | Kind::Ready(_)
        )
    }

    /// Makes a future that is resolved when the interest is ready.
    fn wait<'py>(
        &self,
        py: Python<'py>,
        shared: &Arc<Shared>,
        state: &mut State,
        interest: Interest,
    ) -> PyResult<Step<'py>> {
        let left = state.deadline.map(|end| end.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            state.finished = !self.is_reusable();
            return Err(timed_out(py, interest));
        }
        let event_loop = driver::running_loop(py)?;
        if !shared.wakes.is_of(&event_loop) {
            return Err(driver::foreign_loop(py, &shared.core.method));
        }
        let future = event_loop.call_method0(intern!(py, "create_future"))?;
        // Two that wait for messages would each get some of them.
        let alone = interest == Interest::MESSAGES;
        let Some(id) = shared.waiters.add(interest, future.clone().unbind(), alone) else {
            let what = "another task is receiving from this call; let one receive and hand the \
                        messages on";
            return Err(convert::misuse(py, &Error::new(ErrorCode::Busy, what)));
        };
        if let Err(error) = shared.watch(interest) {
            shared.waiters.remove(py, id);
            return Err(convert::misuse(py, &error));
        }
        if let Some(left) = left {
            let wake = slots::type_object(py)?.getattr("_wake")?;
            let timer = (left.as_secs_f64(), wake, &future);
            let timer = event_loop.call_method1(intern!(py, "call_later"), timer)?;
            shared.waiters.set_timer(id, timer.unbind());
        }
        state.pending = Some(id);
        hand_out(future)
    }

    /// The task was cancelled, or the coroutine closed, while it waited here.
    pub fn interrupt(&self, py: Python<'_>) {
        let Some(shared) = &self.shared else { return };
        if let Ok(mut state) = self.state.try_lock() {
            if let Some(id) = state.pending.take() {
                shared.waiters.remove(py, id);
            }
            state.finished = !self.is_reusable();
        }
        if self.carries_the_call() {
            shared.core.abandon("cancelled with the task that awaited it");
        }
    }

    /// Drops it in the thread that has the interpreter.
    pub fn release(self, py: Python<'_>) {
        let Operation { shared, call, kind, state } = self;
        let state = state.into_inner().unwrap_or_else(|state| state.into_inner());
        let never_awaited = !state.finished && state.at == 0 && state.pending.is_none();
        if let (Some(shared), Some(id)) = (&shared, state.pending) {
            shared.waiters.remove(py, id);
        }
        match kind {
            Kind::Send(message) => {
                drop(message.into_bound(py));
                if never_awaited {
                    slots::warn_never_awaited(py, "send()");
                }
            }
            Kind::SendList(list) => {
                drop(list.into_bound(py));
                if never_awaited {
                    slots::warn_never_awaited(py, "send_many()");
                }
            }
            Kind::Offer(message) => drop(message.into_bound(py)),
            Kind::Pause(value) | Kind::Ready(value) => drop(value.into_bound(py)),
            _ => {}
        }
        drop(call.map(|call| call.into_bound(py)));
    }
}

/// A future for the task to wait on. The flag is how asyncio tells a future that is awaited from
/// one that was yielded by mistake.
fn hand_out(future: Bound<'_, PyAny>) -> PyResult<Step<'_>> {
    future.setattr(intern!(future.py(), "_asyncio_future_blocking"), true)?;
    Ok(Step::Yield(future))
}

#[cold]
fn awaited_twice() -> PyErr {
    PyRuntimeError::new_err("this operation was awaited already; call the method again")
}
