//! A call, as a host holds it.

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll},
    time::Duration,
};

use millstream_rpc as rpc;

use crate::{
    Batch, Error, ErrorCode, Interest, Metadata, Queue, Received, Status,
    live::{Counted, Kind},
    park::Deadline,
    process::Bound,
    signals::Signals,
};

/// One call. It ends exactly once, with a [`Status`].
///
/// Clones are the same call; dropping the last one cancels it if it has not ended. Nothing blocks
/// but [`wait`](Call::wait), [`send`](Call::send) and [`next_batch`](Call::next_batch).
#[derive(Clone)]
pub struct Call(Arc<Bound<Inner>>);

struct Inner {
    rpc: rpc::Call,
    signals: Signals<KINDS>,
    /// Whether a thread receives right now.
    receiving: AtomicBool,
    _counted: Counted,
}

/// The kinds of readiness, one for each bit of an [`Interest`].
const KINDS: usize = 4;

impl Call {
    pub(crate) fn new(rpc: rpc::Call) -> Call {
        let inner = Inner {
            rpc,
            signals: Signals::new(),
            receiving: AtomicBool::new(false),
            _counted: Counted::new(Kind::Call),
        };
        Call(Arc::new(Bound::new("this call", inner)))
    }

    /// Hands a message over to be sent. False: the send buffer is full; wait for
    /// [`Interest::SENDABLE`] and try again.
    ///
    /// # Errors
    /// `CALL_ENDED` with the status, also for a message over the limit, which ends the call with
    /// RESOURCE_EXHAUSTED; `INVALID_STATE` after the half-close or for a second message of a call
    /// that sends one; `FORKED`.
    #[inline]
    pub fn try_send(&self, message: &[u8]) -> Result<bool, Error> {
        self.0.get()?.rpc.try_send(message)
    }

    /// Hands over as many messages as the send buffer takes, under one lock, and returns their
    /// number. When a message is refused after others were taken, the number of those is returned,
    /// and the error when the refused one is sent again.
    ///
    /// # Errors
    /// Those of [`try_send`](Call::try_send).
    pub fn try_send_many<'a>(
        &self,
        messages: &mut impl Iterator<Item = &'a [u8]>,
    ) -> Result<usize, Error> {
        self.0.get()?.rpc.try_send_many(messages)
    }

    /// Says that no more messages will be sent. Idempotent.
    ///
    /// # Errors
    /// `FORKED`.
    pub fn half_close(&self) -> Result<(), Error> {
        self.0.get()?.rpc.half_close()
    }

    /// Ends the call with CANCELLED, at once and whatever the server does. Idempotent; does nothing
    /// to a call that has ended, or in a forked child.
    pub fn cancel(&self, message: &str) {
        if let Some(inner) = self.0.ok() {
            inner.rpc.cancel(message);
        }
    }

    /// The response's headers: `None` until they are known, empty when the server sent only
    /// trailers.
    pub fn headers(&self) -> Option<Arc<Metadata>> {
        self.0.ok()?.rpc.headers()
    }

    /// Takes all messages that have come, in place of what is in the batch.
    ///
    /// # Errors
    /// `BUSY` while another thread receives; `FORKED`.
    pub fn try_batch(&self, batch: &mut Batch) -> Result<Received, Error> {
        let inner = self.0.get()?;
        let _receiving = inner.receive()?;
        Ok(inner.rpc.try_batch(batch))
    }

    /// How the call ended; `None` while it goes on. Take the messages first: they came first.
    pub fn status(&self) -> Option<Arc<Status>> {
        self.0.ok()?.rpc.status()
    }

    /// Whether a wait for this interest would return at once. In a forked child it is always so,
    /// and the operation then says `FORKED`.
    pub fn ready(&self, interest: Interest) -> bool {
        self.0.ok().is_none_or(|inner| inner.rpc.ready(interest))
    }

    /// Blocks until one of the interests is ready; the end of the call makes every interest ready.
    /// False: the timeout ran out first; `None` waits for ever. Several threads may wait.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for an interest that is none; `FORKED`.
    pub fn wait(&self, interest: Interest, timeout: Option<Duration>) -> Result<bool, Error> {
        let inner = self.0.get()?;
        check(interest)?;
        // The usual case under load, without the price of a registration.
        Ok(inner.rpc.ready(interest) || inner.signals.wait(interest.0, timeout, inner.look()))
    }

    /// Delivers `tag` to the queue once, when one of the interests is ready: at once if it is
    /// already. For each interest a new watch replaces the one before. A tag may come without
    /// cause: look, and watch again.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for an interest that is none; `CLOSED` for a closed queue; `FORKED`.
    pub fn watch(&self, interest: Interest, queue: &Queue, tag: u64) -> Result<(), Error> {
        let inner = self.0.get()?;
        check(interest)?;
        inner.signals.watch(interest.0, queue, tag, inner.look())
    }

    /// Sends a message, waiting for room.
    ///
    /// # Errors
    /// `TIMEOUT` when there was no room in time: the message was not taken. Else those of
    /// [`try_send`](Call::try_send).
    pub fn send(&self, message: &[u8], timeout: Option<Duration>) -> Result<(), Error> {
        let deadline = Deadline::after(timeout);
        while !self.try_send(message)? {
            if !self.wait(Interest::SENDABLE, deadline.left())? {
                return Err(Error::new(
                    ErrorCode::Timeout,
                    "there was no room in the send buffer in time; the message was not sent and \
                     the call goes on",
                ));
            }
        }
        Ok(())
    }

    /// Waits for messages and takes all that have come: `Messages`, or `End` when there will be no
    /// more. Never `Empty`.
    ///
    /// # Errors
    /// `TIMEOUT` when none came in time; `BUSY` while another thread receives; `FORKED`.
    pub fn next_batch(
        &self,
        batch: &mut Batch,
        timeout: Option<Duration>,
    ) -> Result<Received, Error> {
        let inner = self.0.get()?;
        let _receiving = inner.receive()?;
        let deadline = Deadline::after(timeout);
        loop {
            match inner.rpc.try_batch(batch) {
                Received::Empty => {}
                received => return Ok(received),
            }
            if !inner.signals.wait(Interest::MESSAGES.0, deadline.left(), inner.look()) {
                return Err(Error::new(
                    ErrorCode::Timeout,
                    "no message came in time; the call goes on",
                ));
            }
        }
    }

    /// Whether this process made the call.
    ///
    /// # Errors
    /// `FORKED`.
    pub fn check(&self) -> Result<(), Error> {
        self.0.get().map(drop)
    }
}

impl Inner {
    fn look(&self) -> impl FnMut(usize, &mut Context<'_>) -> Poll<()> {
        |kind, context| self.rpc.poll_ready(Interest(1 << kind), context)
    }

    fn receive(&self) -> Result<Receiving<'_>, Error> {
        if self.receiving.swap(true, Ordering::Acquire) {
            return Err(Error::new(
                ErrorCode::Busy,
                "another thread is receiving from this call; let one thread receive and hand the \
                 messages on",
            ));
        }
        Ok(Receiving(&self.receiving))
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The call layer may keep the wakers for a while; the host is not to be told any more.
        self.signals.clear();
    }
}

/// The right to receive, until dropped.
struct Receiving<'a>(&'a AtomicBool);

impl Drop for Receiving<'_> {
    fn drop(&mut self) {
        self.0.store(false, Ordering::Release);
    }
}

fn check(interest: Interest) -> Result<(), Error> {
    if (1..1 << KINDS).contains(&interest.0) {
        return Ok(());
    }
    Err(Error::new(
        ErrorCode::InvalidArgument,
        format!(
            "interest {:#x} is none; use HEADERS (1), MESSAGES (2), SENDABLE (4) and STATUS (8), \
             added up for several",
            interest.0
        ),
    ))
}
