//! One call, as its user sees it.
//!
//! A call has two ends: this one, which any thread may use without blocking, and the driver, a task
//! on the runtime that speaks HTTP/2 (`driver.rs`). Between them lie two buffers, one for each
//! direction, each behind its own lock that is held for a copy at most.

use std::{
    sync::{
        Arc, Mutex, MutexGuard, OnceLock, PoisonError,
        atomic::{AtomicBool, Ordering},
    },
    task::{Context, Poll, Waker},
};

use bytes::BytesMut;

use crate::{Batch, CallKind, Code, Compression, Error, ErrorCode, Metadata, PREFIX, Status};

/// What a waiter is interested in; several can be joined with `|`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest(pub u32);

impl Interest {
    /// The response head has come; [`Call::headers`] has it.
    pub const HEADERS: Interest = Interest(1);
    /// Messages wait, or there will be no more.
    pub const MESSAGES: Interest = Interest(2);
    /// There is room to send.
    pub const SENDABLE: Interest = Interest(4);
    /// The call has ended; [`Call::status`] has it.
    pub const STATUS: Interest = Interest(8);

    /// Whether all of `other` is in this.
    pub fn contains(self, other: Interest) -> bool {
        self.0 & other.0 == other.0
    }
}

impl std::ops::BitOr for Interest {
    type Output = Interest;
    fn bitor(self, other: Interest) -> Interest {
        Interest(self.0 | other.0)
    }
}

/// What a non-blocking receive found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// The batch holds messages.
    Messages,
    /// None wait now, but some may come.
    Empty,
    /// There will be no more: the status is known.
    End,
}

/// One call. Clones are the same call; when the last one is dropped, a call that has not ended is
/// cancelled.
///
/// No method blocks. Every method may be called from any thread. One thread at a time should
/// receive, and one at a time send: others are not harmful, but then nobody knows the order.
#[derive(Clone)]
pub struct Call {
    handle: Arc<Handle>,
}

struct Handle {
    shared: Arc<Shared>,
}

impl Drop for Handle {
    fn drop(&mut self) {
        self.shared.end(Status::new(Code::Cancelled, "the call was dropped"), Keep::Nothing);
    }
}

impl Call {
    pub(crate) fn new(shared: Arc<Shared>) -> Call {
        Call { handle: Arc::new(Handle { shared }) }
    }

    fn shared(&self) -> &Shared {
        &self.handle.shared
    }

    /// The kind of the method.
    pub fn kind(&self) -> CallKind {
        self.shared().kind
    }

    /// The method, as `/package.Service/Method`.
    pub fn method(&self) -> &str {
        &self.shared().method
    }

    /// Accepts a message for sending. `false`: the send buffer is full; wait for
    /// [`Interest::SENDABLE`] and try again.
    ///
    /// # Errors
    /// `CALL_ENDED` with the status, `INVALID_STATE` after the half-close or for a second request
    /// of a method that takes one. A message over the limit ends the call with RESOURCE_EXHAUSTED.
    pub fn try_send(&self, message: &[u8]) -> Result<bool, Error> {
        let mut once = std::iter::once(message);
        Ok(self.try_send_many(&mut once)? == 1)
    }

    /// Accepts as many messages as there is room for and returns how many; the iterator is not
    /// asked for more while there is no room. It must not use the call. See [`Call::try_send`].
    pub fn try_send_many(&self, messages: &mut dyn Iterator<Item = &[u8]>) -> Result<usize, Error> {
        let shared = self.shared();
        let mut accepted = 0;
        let mut send = shared.send();
        let result = loop {
            if let Err(error) = send.check_open(shared) {
                break Err(error);
            }
            if send.is_full() {
                break Ok(());
            }
            let Some(message) = messages.next() else { break Ok(()) };
            if let Err(error) = send.check_message(shared, message) {
                break Err(error);
            }
            let appended = if shared.compression == Compression::Identity {
                send.append(shared, 0, message)
            } else {
                // Takes a while: the driver is not to wait for it.
                let mut scratch = std::mem::take(&mut send.scratch);
                drop(send);
                scratch.clear();
                let compressed = shared.compress(message, &mut scratch);
                send = shared.send();
                let appended = compressed
                    .and_then(|()| send.check_open(shared))
                    .and_then(|()| send.append(shared, 1, &scratch));
                send.scratch = scratch;
                appended
            };
            if let Err(error) = appended {
                break Err(error);
            }
            accepted += 1;
        };
        let idle = accepted > 0 && std::mem::take(&mut send.writer_idle);
        drop(send);
        if idle {
            shared.wake_driver();
        }
        match result {
            Ok(()) => Ok(accepted),
            // What was accepted before must not be reported as lost; the next call shows the error.
            Err(_) if accepted > 0 => Ok(accepted),
            Err(Refusal::Error(error)) => Err(error),
            Err(Refusal::EndCall(status)) => {
                shared.end(status, Keep::Nothing);
                Err(Error::call_ended(shared.status().unwrap_or_default()))
            }
        }
    }

    /// Says that there will be no more requests. Saying it again changes nothing.
    ///
    /// # Errors
    /// None today; the result leaves room for it.
    pub fn half_close(&self) -> Result<(), Error> {
        let shared = self.shared();
        let idle = {
            let mut send = shared.send();
            send.half_closed = true;
            std::mem::take(&mut send.writer_idle)
        };
        if idle {
            shared.wake_driver();
        }
        Ok(())
    }

    /// Ends the call now with CANCELLED, whatever the server does. Messages that were not taken yet
    /// are dropped. After the end it changes nothing.
    pub fn cancel(&self, message: &str) {
        let message = if message.is_empty() { "cancelled by the application" } else { message };
        self.shared().end(Status::new(Code::Cancelled, message), Keep::Nothing);
    }

    /// The metadata of the response head; empty when the server sent its trailers only. `None`
    /// while it has not come.
    pub fn headers(&self) -> Option<Arc<Metadata>> {
        self.shared().receive().headers.clone()
    }

    /// Replaces the content of `batch` by all messages that wait. A method with one response gives
    /// its message only together with the status OK.
    pub fn try_batch(&self, batch: &mut Batch) -> Received {
        batch.clear();
        let shared = self.shared();
        let mut receive = shared.receive();
        if receive.has_messages(shared.kind) {
            std::mem::swap(&mut receive.buffer.frames, &mut batch.frames);
            std::mem::swap(&mut receive.buffer.messages, &mut batch.messages);
            let blocked = std::mem::take(&mut receive.reader_blocked);
            drop(receive);
            if blocked {
                shared.wake_driver();
            }
            Received::Messages
        } else if receive.status.is_some() {
            Received::End
        } else {
            Received::Empty
        }
    }

    /// How the call ended; `None` while it has not. Messages that came before the end can still be
    /// taken: a status is the last thing to look at.
    pub fn status(&self) -> Option<Arc<Status>> {
        self.shared().status()
    }

    /// Whether any of the interests is ready. A call that has ended is ready for everything.
    pub fn ready(&self, interest: Interest) -> bool {
        self.shared().ready(interest)
    }

    /// As [`Call::ready`]; when nothing is ready, the waker of `cx` is woken once something is. For
    /// each interest only the latest waker is kept.
    pub fn poll_ready(&self, interest: Interest, cx: &mut Context<'_>) -> Poll<()> {
        let shared = self.shared();
        if shared.ready(interest) {
            return Poll::Ready(());
        }
        // Registered first and looked at again: what became ready between the two is not missed.
        {
            let mut receive = shared.receive();
            for (bit, slot) in
                [(Interest::HEADERS, 0), (Interest::MESSAGES, 1), (Interest::STATUS, 2)]
            {
                if interest.contains(bit) {
                    receive.wakers[slot] = Some(cx.waker().clone());
                }
            }
        }
        if interest.contains(Interest::SENDABLE) {
            shared.send().waker = Some(cx.waker().clone());
        }
        if shared.ready(interest) { Poll::Ready(()) } else { Poll::Pending }
    }
}

/// What both ends of a call share.
pub(crate) struct Shared {
    pub(crate) kind: CallKind,
    pub(crate) method: String,
    pub(crate) compression: Compression,
    pub(crate) max_send_message: usize,
    /// Set with the status: lets both directions see the end without the other's lock.
    ended: AtomicBool,
    receive: Mutex<Receive>,
    send: Mutex<Send>,
    /// The driver's task. A task has one waker for all its life.
    driver: OnceLock<Waker>,
}

/// What the driver writes and the user takes.
#[derive(Default)]
pub(crate) struct Receive {
    pub(crate) headers: Option<Arc<Metadata>>,
    pub(crate) buffer: Batch,
    /// The driver stopped reading because the buffer is full.
    pub(crate) reader_blocked: bool,
    status: Option<Arc<Status>>,
    /// For headers, messages and status.
    wakers: [Option<Waker>; 3],
}

impl Receive {
    fn has_messages(&self, kind: CallKind) -> bool {
        !self.buffer.is_empty() && (!kind.one_response() || self.status.is_some())
    }
}

/// What the user writes and the driver takes.
pub(crate) struct Send {
    pub(crate) buffer: BytesMut,
    pub(crate) half_closed: bool,
    /// The driver waits for something to send.
    pub(crate) writer_idle: bool,
    sent: usize,
    limit: usize,
    waker: Option<Waker>,
    scratch: Vec<u8>,
}

enum Refusal {
    Error(Error),
    EndCall(Status),
}

impl Send {
    fn is_full(&self) -> bool {
        self.buffer.len() >= self.limit
    }

    fn check_open(&self, shared: &Shared) -> Result<(), Refusal> {
        // Misuse comes first: it is misuse whether the call has ended in the meantime or not.
        if self.half_closed {
            return Err(Refusal::Error(Error::new(
                ErrorCode::InvalidState,
                format!("{}: a message was sent after the half-close", shared.method),
            )));
        }
        if shared.has_ended() {
            return Err(Refusal::Error(Error::call_ended(shared.status().unwrap_or_default())));
        }
        Ok(())
    }

    fn check_message(&self, shared: &Shared, message: &[u8]) -> Result<(), Refusal> {
        if shared.kind.one_request() && self.sent == 1 {
            return Err(Refusal::Error(Error::new(
                ErrorCode::InvalidState,
                format!("{} takes one request and was sent a second one", shared.method),
            )));
        }
        if message.len() > shared.max_send_message {
            return Err(shared.too_large(message.len(), shared.max_send_message));
        }
        Ok(())
    }

    fn append(&mut self, shared: &Shared, flag: u8, payload: &[u8]) -> Result<(), Refusal> {
        let Ok(length) = u32::try_from(payload.len()) else {
            return Err(shared.too_large(payload.len(), u32::MAX as usize));
        };
        self.buffer.reserve(PREFIX + payload.len());
        self.buffer.extend_from_slice(&[flag]);
        self.buffer.extend_from_slice(&length.to_be_bytes());
        self.buffer.extend_from_slice(payload);
        self.sent += 1;
        Ok(())
    }

    /// Everything that waits to be sent; the sender is woken when it had found the buffer full.
    pub(crate) fn take(&mut self) -> (BytesMut, Option<Waker>) {
        (self.buffer.split(), self.waker.take())
    }
}

/// Whether messages that wait survive the end of the call.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(crate) enum Keep {
    /// The end came from the server: messages come first, then the status.
    Messages,
    /// The end was made here and now.
    Nothing,
}

impl Shared {
    pub(crate) fn new(
        kind: CallKind,
        method: String,
        compression: Compression,
        max_send_message: usize,
        send_buffer: usize,
    ) -> Shared {
        Shared {
            kind,
            method,
            compression,
            max_send_message,
            ended: AtomicBool::new(false),
            receive: Mutex::default(),
            send: Mutex::new(Send {
                buffer: BytesMut::new(),
                half_closed: false,
                writer_idle: false,
                sent: 0,
                limit: send_buffer,
                waker: None,
                scratch: Vec::new(),
            }),
            driver: OnceLock::new(),
        }
    }

    // A panic under a lock cannot leave the buffers inconsistent in a way that a later user could
    // not bear, so a poisoned lock is used on.
    pub(crate) fn receive(&self) -> MutexGuard<'_, Receive> {
        self.receive.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn send(&self) -> MutexGuard<'_, Send> {
        self.send.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    pub(crate) fn status(&self) -> Option<Arc<Status>> {
        if self.has_ended() { self.receive().status.clone() } else { None }
    }

    pub(crate) fn set_driver(&self, waker: &Waker) {
        // Under the lock of `end`: either that finds the waker, or the driver finds the end.
        let _receive = self.receive();
        self.driver.get_or_init(|| waker.clone());
    }

    fn wake_driver(&self) {
        if let Some(waker) = self.driver.get() {
            waker.wake_by_ref();
        }
    }

    fn compress(&self, message: &[u8], out: &mut Vec<u8>) -> Result<(), Refusal> {
        self.compression.deflate(message, out).map_err(|error| {
            let name = self.compression.name();
            Refusal::EndCall(Status::new(
                Code::Internal,
                format!("a message cannot be compressed as {name}: {error}"),
            ))
        })
    }

    fn too_large(&self, length: usize, most: usize) -> Refusal {
        Refusal::EndCall(Status::new(
            Code::ResourceExhausted,
            format!(
                "{}: a message of {length} bytes exceeds maximum size {most}; raise \
                 max_send_message if this is expected",
                self.method
            ),
        ))
    }

    fn ready(&self, interest: Interest) -> bool {
        if self.has_ended() {
            return true;
        }
        if interest.contains(Interest::SENDABLE) && !self.send().is_full() {
            return true;
        }
        let receive = self.receive();
        interest.contains(Interest::HEADERS) && receive.headers.is_some()
            || interest.contains(Interest::MESSAGES) && receive.has_messages(self.kind)
    }

    /// The response head has come.
    pub(crate) fn set_headers(&self, headers: Metadata) {
        let waker = {
            let mut receive = self.receive();
            // A call that has ended has its headers: none, if none had come.
            receive.headers.get_or_insert_with(|| Arc::new(headers));
            receive.wakers[0].take()
        };
        if let Some(waker) = waker {
            waker.wake();
        }
    }

    /// Hands messages over to the user. Returns how many bytes wait now and, when somebody waits
    /// for messages, their waker.
    pub(crate) fn deliver(
        &self,
        frames: &mut Vec<u8>,
        messages: &mut usize,
    ) -> (usize, Option<Waker>) {
        let mut receive = self.receive();
        if receive.status.is_some() {
            frames.clear();
            *messages = 0;
            return (0, None);
        }
        if receive.buffer.is_empty() {
            std::mem::swap(&mut receive.buffer.frames, frames);
        } else {
            receive.buffer.frames.extend_from_slice(frames);
        }
        frames.clear();
        receive.buffer.messages += std::mem::take(messages);
        let waker = if self.kind.one_response() { None } else { receive.wakers[1].take() };
        (receive.buffer.frames.len(), waker)
    }

    /// Ends the call, unless it has ended. For a method with one response this is also where its
    /// cardinality is decided.
    pub(crate) fn end(&self, mut status: Status, keep: Keep) {
        let wakers;
        {
            let mut receive = self.receive();
            if receive.status.is_some() {
                return;
            }
            if self.kind.one_response() {
                let messages = receive.buffer.len();
                if status.is_ok() && messages != 1 {
                    let got = if messages == 0 { "no message" } else { "several messages" };
                    let trailers = std::mem::take(&mut status.trailers);
                    status = Status::new(
                        Code::Unimplemented,
                        format!("{} has one response and the server sent {got}", self.method),
                    );
                    status.trailers = trailers;
                }
            }
            if keep == Keep::Nothing || self.kind.one_response() && !status.is_ok() {
                receive.buffer = Batch::new();
            }
            if receive.headers.is_none() {
                receive.headers = Some(Arc::default());
            }
            receive.status = Some(Arc::new(status));
            self.ended.store(true, Ordering::Release);
            wakers = std::mem::take(&mut receive.wakers);
        }
        let sender = {
            let mut send = self.send();
            send.buffer = BytesMut::new();
            send.scratch = Vec::new();
            send.waker.take()
        };
        for waker in wakers.into_iter().flatten().chain(sender) {
            waker.wake();
        }
        self.wake_driver();
    }
}
