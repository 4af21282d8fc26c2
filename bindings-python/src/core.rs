//! What a synchronous and an asyncio call have in common.

use std::{
    mem,
    sync::{Mutex, MutexGuard, PoisonError, TryLockError},
    time::Instant,
};

use millstream_boundary::{self as boundary, CallKind, Error, ErrorCode, Interest, Received};
use pyo3::{
    exceptions::PyBaseException,
    prelude::*,
    types::{PyBytes, PyIterator, PyList},
};

use crate::{batch::Batch, codecs::Codecs, convert, guard, wait};

/// Messages of a list that are handed over under one lock.
const RUN: usize = 256;

/// One call, and what this side keeps of it.
pub struct Core {
    pub call: boundary::Call,
    pub kind: CallKind,
    pub method: String,
    /// Received messages that were not handed out yet. Locked while somebody receives, waiting
    /// included: a second receiver is told so instead of getting every other message.
    inbox: Mutex<boundary::Batch>,
    /// Why the iterator of the requests failed, until somebody was told.
    failure: Mutex<Option<Py<PyBaseException>>>,
    /// The one response of a call that has one, once it was asked for.
    response: Mutex<Option<Py<PyAny>>>,
}

/// What there is to receive.
pub enum Taken<T> {
    One(T),
    Empty,
    End,
}

impl Core {
    pub fn new(call: boundary::Call, kind: CallKind, method: &str) -> Core {
        Core {
            call,
            kind,
            method: method.to_owned(),
            inbox: Mutex::default(),
            failure: Mutex::default(),
            response: Mutex::default(),
        }
    }

    /// The right to receive.
    ///
    /// # Errors
    /// `BusyError` while another thread or task receives, `ForkedError`.
    #[inline]
    pub fn inbox(&self, py: Python<'_>) -> PyResult<MutexGuard<'_, boundary::Batch>> {
        match self.inbox.try_lock() {
            Ok(inbox) => Ok(inbox),
            Err(TryLockError::Poisoned(inbox)) => Ok(inbox.into_inner()),
            Err(TryLockError::WouldBlock) => Err(self.busy(py)),
        }
    }

    #[cold]
    fn busy(&self, py: Python<'_>) -> PyErr {
        // In a forked child the receiver may be a thread of the parent.
        let error = self.call.check().err().unwrap_or_else(|| {
            Error::new(
                ErrorCode::Busy,
                "another thread or task is receiving from this call; let one receive and hand the \
                 messages on",
            )
        });
        convert::misuse(py, &error)
    }

    /// The next message, if it is here.
    #[inline]
    pub fn take<'py>(
        &self,
        py: Python<'py>,
        inbox: &mut boundary::Batch,
    ) -> PyResult<Taken<Bound<'py, PyBytes>>> {
        if let Some(message) = inbox.next() {
            return Ok(Taken::One(convert::bytes(py, message)?));
        }
        match self.refill(py, inbox)? {
            Received::Messages => match inbox.next() {
                Some(message) => Ok(Taken::One(convert::bytes(py, message)?)),
                None => Ok(Taken::Empty),
            },
            Received::Empty => Ok(Taken::Empty),
            Received::End => Ok(Taken::End),
        }
    }

    /// Takes what has come, when nothing of the batch before is left.
    pub fn refill(&self, py: Python<'_>, inbox: &mut boundary::Batch) -> PyResult<Received> {
        self.call.try_batch(inbox).map_err(|error| convert::misuse(py, &error))
    }

    /// All messages that are here, as one batch: first those that a call of `take` left.
    pub fn take_batch(
        &self,
        py: Python<'_>,
        inbox: &mut boundary::Batch,
        codecs: &Codecs,
    ) -> PyResult<Taken<Batch>> {
        if inbox.remaining() == 0 {
            // A batch that is given away takes its memory along, so begin with one that has none.
            *inbox = boundary::Batch::new();
            match self.refill(py, inbox)? {
                Received::Messages => {}
                Received::Empty => return Ok(Taken::Empty),
                Received::End => return Ok(Taken::End),
            }
        }
        Ok(Taken::One(Batch::new(mem::take(inbox), codecs.clone_ref(py))))
    }

    /// After the last message: raises what the call failed with, nothing when it ended with OK.
    #[cold]
    pub fn finish(&self, py: Python<'_>) -> PyResult<()> {
        if let Some(failure) = lock(&self.failure).take() {
            // Raised once: each time would add a traceback, whose frames hold the call.
            return Err(PyErr::from_value(failure.into_bound(py).into_any()));
        }
        match self.call.status() {
            Some(status) if !status.is_ok() => {
                Err(convert::rpc_error(py, &status, self.call.headers().as_deref()))
            }
            _ => Ok(()),
        }
    }

    /// The one response that was asked for before.
    pub fn response<'py>(&self, py: Python<'py>) -> Option<Bound<'py, PyAny>> {
        lock(&self.response).as_ref().map(|response| response.bind(py).clone())
    }

    pub fn keep_response(&self, response: &Bound<'_, PyAny>) {
        *lock(&self.response) = Some(response.clone().unbind());
    }

    /// Whether `result()` makes sense.
    pub fn check_one_response(&self, py: Python<'_>) -> PyResult<()> {
        if self.kind.one_response() {
            return Ok(());
        }
        Err(self.invalid_state(py, "answers with a stream; iterate over the call or use receive()"))
    }

    /// The end of a call with one response that gave none, although its status is OK.
    pub fn no_response(&self, py: Python<'_>) -> PyErr {
        self.invalid_state(py, "has no response left: it was already received")
    }

    fn invalid_state(&self, py: Python<'_>, what: &str) -> PyErr {
        let what = format!("the call of {} {what}", self.method);
        convert::misuse(py, &Error::new(ErrorCode::InvalidState, what))
    }

    /// Hands a message over; false when the send buffer is full.
    #[inline]
    pub fn try_send(&self, py: Python<'_>, message: &Bound<'_, PyBytes>) -> PyResult<bool> {
        self.call.try_send(message.as_bytes()).map_err(|error| self.send_error(py, &error))
    }

    /// Hands over a run of a list, from `at` on, and returns how many were taken. An item that is
    /// not `bytes` ends the run.
    pub fn try_send_run(
        &self,
        py: Python<'_>,
        list: &Bound<'_, PyList>,
        at: usize,
    ) -> PyResult<usize> {
        let end = list.len().min(at.saturating_add(RUN));
        let mut items: [Option<Bound<'_, PyBytes>>; RUN] = [const { None }; RUN];
        let mut count = 0;
        for (slot, index) in items.iter_mut().zip(at..end) {
            let Ok(item) = list.get_item(index)?.cast_into::<PyBytes>() else { break };
            *slot = Some(item);
            count += 1;
        }
        let mut messages = items[..count].iter().flatten().map(|item| item.as_bytes());
        self.call.try_send_many(&mut messages).map_err(|error| self.send_error(py, &error))
    }

    pub fn done_sending(&self, py: Python<'_>) -> PyResult<()> {
        self.call.half_close().map_err(|error| self.send_error(py, &error))
    }

    /// A send that fails since the call failed says how the call failed.
    #[cold]
    pub fn send_error(&self, py: Python<'_>, error: &Error) -> PyErr {
        match &error.status {
            Some(_) => match self.finish(py) {
                Err(failure) => failure,
                Ok(()) => convert::misuse(py, error),
            },
            None => convert::misuse(py, error),
        }
    }

    /// Ends the call because the iterator of its requests raised; the receiver gets the exception.
    pub fn fail(&self, error: &Bound<'_, PyBaseException>) {
        let text = error.str().map_or_else(|_| String::new(), |text| text.to_string());
        let name = error.get_type().name().map_or_else(|_| String::new(), |name| name.to_string());
        if self.call.status().is_none() {
            *lock(&self.failure) = Some(error.clone().unbind());
            self.call.cancel(&format!("the iterator of the requests raised {name}: {text}"));
        }
    }

    /// Blocks until the interest is ready.
    ///
    /// # Errors
    /// `millstream.TimeoutError` when the deadline passes first, and what a signal handler raises.
    pub fn wait(
        &self,
        py: Python<'_>,
        interest: Interest,
        deadline: Option<Instant>,
    ) -> PyResult<()> {
        if wait::until(py, deadline, |slice| self.call.wait(interest, slice))? {
            Ok(())
        } else {
            Err(timed_out(py, interest))
        }
    }

    /// Sends a message; blocks while the send buffer is full.
    pub fn send(
        &self,
        py: Python<'_>,
        message: &Bound<'_, PyBytes>,
        deadline: Option<Instant>,
    ) -> PyResult<()> {
        while !self.try_send(py, message)? {
            self.wait(py, Interest::SENDABLE, deadline)?;
        }
        Ok(())
    }

    /// What `repr()` shows.
    pub fn describe(&self, class: &str) -> String {
        let state = match self.call.status() {
            None => "running".to_owned(),
            Some(status) => format!("ended with {}", status.code),
        };
        format!("<{class} {} {:?} {state}>", self.method, self.kind)
    }

    /// The owner is gone.
    pub fn abandon(&self, why: &str) {
        if self.call.status().is_none() {
            self.call.cancel(why);
        }
    }
}

/// Takes a lock whatever happened to a thread that held it.
pub fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The error of a local wait that ran out.
#[cold]
pub fn timed_out(py: Python<'_>, interest: Interest) -> PyErr {
    convert::timed_out(
        py,
        match interest {
            Interest::HEADERS => "the headers did not come",
            Interest::MESSAGES => "no message came",
            Interest::SENDABLE => "there was no room in the send buffer",
            _ => "the call did not end",
        },
    )
}

/// Requests one after the other: a list by its index, anything else by its iterator.
pub enum Requests<'py> {
    List(Bound<'py, PyList>, usize),
    Iterator(Bound<'py, PyIterator>),
}

impl<'py> Requests<'py> {
    pub fn new(requests: &Bound<'py, PyAny>) -> PyResult<Requests<'py>> {
        match requests.cast_exact::<PyList>() {
            Ok(list) => Ok(Requests::List(list.clone(), 0)),
            Err(_) => Ok(Requests::Iterator(requests.try_iter()?)),
        }
    }

    pub fn next(&mut self) -> PyResult<Option<Bound<'py, PyAny>>> {
        match self {
            Requests::List(list, at) if *at < list.len() => {
                *at += 1;
                list.get_item(*at - 1).map(Some)
            }
            Requests::List(..) => Ok(None),
            Requests::Iterator(iterator) => guard::next_item(iterator),
        }
    }
}
