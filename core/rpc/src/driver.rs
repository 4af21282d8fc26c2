//! The driver of a call: one task that opens an HTTP/2 stream, moves bytes both ways, enforces the
//! deadline and decides the status.

use std::{
    future::poll_fn,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
    time::Duration,
};

use bytes::{Bytes, BytesMut};
use h2::{Reason, RecvStream, SendStream, client::ResponseFuture};
use http::StatusCode;
use tokio::time::{Instant, Sleep, sleep_until};

use crate::{
    Code, Status,
    call::{Keep, Shared},
    deframe::Deframer,
    head::{self, Head, QUOTE, RequestHead},
    pool::Pool,
    resets::Failure,
};

/// Requests up to this size are kept until the server answers, so that a call that the server did
/// not process can be sent again.
const REPLAY: usize = 256 << 10;
/// Received bytes gather up to this before they are handed over, if more are there already.
const STAGE: usize = 64 << 10;
/// A first chunk up to this is queued behind the HEADERS without waiting for flow control, which
/// h2 gives a stream only once its HEADERS are written: so both leave in one write.
const FIRST: usize = 16 << 10;
/// A stream gives way to the others after this many bytes.
const TURN: usize = 256 << 10;

/// Everything the driver needs to know.
pub(crate) struct Plan {
    pub(crate) head: RequestHead,
    pub(crate) deadline: Option<Deadline>,
    pub(crate) wait_for_ready: bool,
    pub(crate) max_receive_message: usize,
    pub(crate) max_metadata: usize,
    pub(crate) receive_buffer: usize,
    pub(crate) max_batch_delay: Duration,
}

#[derive(Clone, Copy)]
pub(crate) struct Deadline {
    pub(crate) at: Instant,
    pub(crate) timeout: Duration,
}

impl Deadline {
    pub(crate) fn status(&self, method: &str, stage: &str) -> Status {
        Status::new(
            Code::DeadlineExceeded,
            format!("{method}: the deadline of {:?} passed while {stage}", self.timeout),
        )
    }
}

/// Ends the call if the driver goes away without having done so: a runtime that shuts down, a panic.
pub(crate) struct EndGuard(pub(crate) Arc<Shared>);

impl Drop for EndGuard {
    fn drop(&mut self) {
        let status = if std::thread::panicking() {
            Status::new(Code::Internal, "a defect in Millstream ended the call")
        } else {
            Status::new(Code::Unavailable, "the runtime was shut down")
        };
        self.0.end(status, Keep::Messages);
    }
}

/// Drives a call to its end. The guard is made by the caller: a runtime that was shut down drops a
/// task without running any of it.
pub(crate) async fn drive(guard: EndGuard, pool: Arc<Pool>, plan: Plan) {
    let shared = &guard.0;
    poll_fn(|cx| {
        shared.set_driver(cx.waker());
        Poll::Ready(())
    })
    .await;
    let mut stage = "waiting for a connection";
    let status = {
        let mut timer = plan.deadline.map(|deadline| Box::pin(sleep_until(deadline.at)));
        let attempts = attempts(shared, &pool, &plan, &mut stage);
        let mut attempts = std::pin::pin!(attempts);
        poll_fn(|cx| {
            // Ended from outside: cancelled, dropped, a request over its limit.
            if shared.has_ended() {
                return Poll::Ready(None);
            }
            if let Poll::Ready(status) = attempts.as_mut().poll(cx) {
                return Poll::Ready(Some(status));
            }
            match &mut timer {
                Some(timer) => timer.as_mut().poll(cx).map(|()| None),
                None => Poll::Pending,
            }
        })
        .await
    };
    let late = plan.deadline.filter(|deadline| Instant::now() >= deadline.at);
    match (status, late) {
        // A cancellation that arrives after the deadline is the deadline's doing.
        (Some(status), Some(deadline)) if status.code == Code::Cancelled => {
            shared.end(deadline.status(&shared.method, stage), Keep::Nothing);
        }
        (Some(status), _) => shared.end(status, Keep::Messages),
        (None, Some(deadline)) => {
            shared.end(deadline.status(&shared.method, stage), Keep::Nothing);
        }
        (None, None) => {}
    }
}

/// Tries until a stream was processed by the server, then gives its status.
async fn attempts(
    shared: &Arc<Shared>,
    pool: &Arc<Pool>,
    plan: &Plan,
    stage: &mut &'static str,
) -> Status {
    let mut replay = Replay::default();
    let mut refused = 0;
    loop {
        *stage = "waiting for a connection";
        let lease = match pool.acquire(plan.wait_for_ready).await {
            Ok(lease) => lease,
            Err(status) => return status,
        };
        *stage = "waiting for the server's answer";
        let left = plan.deadline.map(|d| d.at.saturating_duration_since(Instant::now()));
        if left.is_some_and(|left| left.is_zero()) {
            // The timer of the call gives the status; nothing is sent any more.
            return std::future::pending().await;
        }
        let connection = lease.connection().clone();
        let Some(mut sender) = lease.sender() else {
            pool.retire(&connection);
            continue;
        };
        let (response, stream) = match sender.send_request(plan.head.request(left), false) {
            Ok(opened) => opened,
            // Nothing has left this process: another connection, as often as it takes.
            Err(error) if error.is_go_away() || error.is_io() => {
                pool.retire(&connection);
                continue;
            }
            Err(error) => {
                return Status::new(Code::Internal, format!("the request cannot be sent: {error}"));
            }
        };
        replay.rewind();
        let failure = Exchange::new(shared, plan, &mut replay, response, stream).await;
        match failure {
            Ended::Status(status) => return status,
            Ended::Failed(Failure::Final(status)) => return status,
            Ended::Failed(Failure::Disconnected) => {
                let why = connection.cause().await;
                return if pool.is_closed() {
                    Status::new(Code::Cancelled, "the channel was closed")
                } else {
                    Status::new(Code::Unavailable, why)
                };
            }
            Ended::Failed(Failure::Unprocessed { status, going_away }) => {
                if going_away {
                    pool.retire(&connection);
                }
                refused += 1;
                if pool.is_closed() {
                    return Status::new(Code::Cancelled, "the channel was closed");
                }
                // Refused twice in a row is an answer (transparent retry: once).
                if refused > 1 || !replay.is_complete() {
                    return status;
                }
            }
        }
    }
}

/// What was taken from the send buffer, until the server has answered.
#[derive(Default)]
struct Replay {
    chunks: Vec<Bytes>,
    size: usize,
    /// How many chunks the present attempt has taken.
    next: usize,
    committed: bool,
}

impl Replay {
    fn is_complete(&self) -> bool {
        !self.committed
    }

    fn rewind(&mut self) {
        self.next = 0;
    }

    fn keep(&mut self, chunk: &Bytes) {
        if self.committed {
            return;
        }
        self.size += chunk.len();
        if self.size > REPLAY {
            self.commit();
        } else {
            self.chunks.push(chunk.clone());
            self.next = self.chunks.len();
        }
    }

    fn again(&mut self) -> Option<Bytes> {
        let chunk = self.chunks.get(self.next)?.clone();
        self.next += 1;
        Some(chunk)
    }

    fn commit(&mut self) {
        self.committed = true;
        self.chunks = Vec::new();
    }
}

enum Ended {
    Status(Status),
    Failed(Failure),
}

/// One attempt: both directions of one HTTP/2 stream.
struct Exchange<'a> {
    shared: &'a Arc<Shared>,
    plan: &'a Plan,
    writer: Writer<'a>,
    reader: Reader,
}

struct Writer<'a> {
    replay: &'a mut Replay,
    stream: SendStream<Bytes>,
    chunk: Bytes,
    begun: bool,
    done: bool,
}

enum Reader {
    Head(ResponseFuture),
    Messages(Messages),
    /// The answer is not gRPC; the start of its body goes into the status.
    Quote {
        status: Status,
        body: RecvStream,
        text: Vec<u8>,
    },
}

struct Messages {
    http: StatusCode,
    body: RecvStream,
    /// Read and not deframed yet, because what came before it inflated to a lot.
    rest: Bytes,
    deframer: Deframer,
    staged: Vec<u8>,
    count: usize,
    /// Read from the stream and not yet given back to its flow-control window.
    unreleased: usize,
    waiting: usize,
    /// The consumer is woken when this runs out (`max_batch_delay`).
    linger: Option<Pin<Box<Sleep>>>,
}

impl<'a> Exchange<'a> {
    fn new(
        shared: &'a Arc<Shared>,
        plan: &'a Plan,
        replay: &'a mut Replay,
        response: ResponseFuture,
        stream: SendStream<Bytes>,
    ) -> Exchange<'a> {
        Exchange {
            shared,
            plan,
            writer: Writer { replay, stream, chunk: Bytes::new(), begun: false, done: false },
            reader: Reader::Head(response),
        }
    }

    /// The server is done. If we are not, it wants no more of it.
    fn finish(&mut self, status: Status) -> Ended {
        if !self.writer.done {
            self.writer.stream.send_reset(Reason::NO_ERROR);
        }
        Ended::Status(status)
    }

    /// We are done, whatever the server does.
    fn give_up(&mut self, status: Status) -> Ended {
        self.writer.stream.send_reset(Reason::CANCEL);
        Ended::Status(status)
    }

    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<Ended> {
        loop {
            match &mut self.reader {
                Reader::Head(response) => {
                    let response = match ready!(Pin::new(response).poll(cx)) {
                        Ok(response) => response,
                        Err(error) => return Poll::Ready(Ended::Failed(Failure::of(&error))),
                    };
                    self.writer.replay.commit();
                    let (parts, body) = response.into_parts();
                    let end = body.is_end_stream();
                    match head::decide_head(
                        parts.status,
                        &parts.headers,
                        end,
                        self.plan.max_metadata,
                    ) {
                        Head::Messages { metadata, encoding } => {
                            self.shared.set_headers(metadata);
                            self.reader = Reader::Messages(Messages {
                                http: parts.status,
                                body,
                                rest: Bytes::new(),
                                deframer: Deframer::new(self.plan.max_receive_message, encoding),
                                staged: Vec::new(),
                                count: 0,
                                unreleased: 0,
                                waiting: 0,
                                linger: None,
                            });
                        }
                        Head::TrailersOnly(status) => return Poll::Ready(self.finish(status)),
                        Head::Refused(status) => return Poll::Ready(self.give_up(status)),
                        Head::NotGrpc(status) => {
                            self.reader = Reader::Quote { status, body, text: Vec::new() };
                        }
                    }
                }
                Reader::Messages(messages) => {
                    match ready!(messages.poll(cx, self.shared, self.plan)) {
                        MessagesEnd::Trailers(status) => return Poll::Ready(self.finish(status)),
                        MessagesEnd::Broken(status) => return Poll::Ready(self.give_up(status)),
                        MessagesEnd::Failed(failure) => return Poll::Ready(Ended::Failed(failure)),
                    }
                }
                Reader::Quote { status, body, text } => match ready!(body.poll_data(cx)) {
                    Some(Ok(chunk)) if text.len() < QUOTE => {
                        let _ = body.flow_control().release_capacity(chunk.len());
                        text.extend_from_slice(&chunk[..chunk.len().min(QUOTE - text.len())]);
                    }
                    _ => {
                        let mut status = std::mem::take(status);
                        if !text.is_empty() {
                            status.message +=
                                &format!(", body {:?}", String::from_utf8_lossy(text));
                        }
                        return Poll::Ready(self.give_up(status));
                    }
                },
            }
        }
    }
}

impl Future for Exchange<'_> {
    type Output = Ended;

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Ended> {
        let this = &mut *self;
        if !this.writer.done {
            this.writer.poll(cx, this.shared);
        }
        this.poll_read(cx)
    }
}

impl Writer<'_> {
    /// Sends what there is. Failures show on the reading side, which knows why.
    fn poll(&mut self, cx: &mut Context<'_>, shared: &Shared) {
        loop {
            let mut last = false;
            if self.chunk.is_empty() {
                if let Some(chunk) = self.replay.again() {
                    self.chunk = chunk;
                } else {
                    let (chunk, waker, half_closed) = {
                        let mut send = shared.send();
                        let (chunk, waker) = send.take();
                        // A waker that is registered belongs to somebody who found the buffer full.
                        send.writer_idle = chunk.is_empty() && !send.half_closed;
                        (chunk, waker, send.half_closed)
                    };
                    if let Some(waker) = waker {
                        waker.wake();
                    }
                    if chunk.is_empty() {
                        if half_closed {
                            let _ = self.stream.send_data(Bytes::new(), true);
                            self.done = true;
                        }
                        return;
                    }
                    self.chunk = BytesMut::freeze(chunk);
                    self.replay.keep(&self.chunk);
                    last = half_closed;
                }
            }
            self.stream.reserve_capacity(self.chunk.len());
            if !self.begun && self.chunk.len() <= FIRST {
                self.begun = true;
                let part = std::mem::take(&mut self.chunk);
                if self.stream.send_data(part, last).is_err() || last {
                    self.done = true;
                    return;
                }
                continue;
            }
            self.begun = true;
            if self.stream.capacity() == 0 {
                match self.stream.poll_capacity(cx) {
                    Poll::Ready(Some(Ok(_))) => {}
                    Poll::Ready(Some(Err(_)) | None) => {
                        self.done = true;
                        return;
                    }
                    Poll::Pending => return,
                }
            }
            let room = self.stream.capacity().min(self.chunk.len());
            let part = self.chunk.split_to(room);
            let end = last && self.chunk.is_empty();
            if self.stream.send_data(part, end).is_err() || end {
                self.done = true;
                return;
            }
        }
    }
}

enum MessagesEnd {
    /// The server sent its trailers.
    Trailers(Status),
    /// We refuse what came.
    Broken(Status),
    Failed(Failure),
}

impl Messages {
    fn poll(&mut self, cx: &mut Context<'_>, shared: &Shared, plan: &Plan) -> Poll<MessagesEnd> {
        let mut turn = 0;
        loop {
            // A method with one response has nothing to hold back: a second message ends it.
            let full = !shared.kind.one_response()
                && self.waiting + self.staged.len() >= plan.receive_buffer;
            if full && self.is_blocked(cx, shared, plan) {
                return Poll::Pending;
            }
            let read = if self.rest.is_empty() {
                self.body.poll_data(cx)
            } else {
                Poll::Ready(Some(Ok(std::mem::take(&mut self.rest))))
            };
            let mut chunk = match read {
                Poll::Ready(Some(Ok(chunk))) => chunk,
                Poll::Ready(Some(Err(error))) => {
                    self.hand_over(cx, shared, plan, true);
                    return Poll::Ready(MessagesEnd::Failed(Failure::of(&error)));
                }
                Poll::Ready(None) => {
                    let end = ready!(self.poll_end(cx, plan));
                    self.hand_over(cx, shared, plan, true);
                    return Poll::Ready(end);
                }
                Poll::Pending => {
                    self.hand_over(cx, shared, plan, false);
                    return Poll::Pending;
                }
            };
            let before = self.staged.len();
            match self.deframer.push(&chunk, &mut self.staged, &mut self.count) {
                Ok(taken) => {
                    self.rest = chunk.split_off(taken);
                    self.unreleased += taken;
                    turn += taken.max(self.staged.len() - before);
                }
                Err(status) => {
                    self.hand_over(cx, shared, plan, true);
                    return Poll::Ready(MessagesEnd::Broken(status));
                }
            }
            if shared.kind.one_response() && self.count > 1 {
                // More than one is wrong already; how many more changes nothing.
                self.hand_over(cx, shared, plan, true);
                return Poll::Ready(MessagesEnd::Broken(Status::new(Code::Ok, "")));
            }
            if self.staged.len() >= STAGE {
                self.hand_over(cx, shared, plan, false);
            } else if self.unreleased >= STAGE {
                self.release();
            }
            if turn >= TURN {
                self.hand_over(cx, shared, plan, false);
                cx.waker().wake_by_ref();
                return Poll::Pending;
            }
        }
    }

    /// Hands over what is staged and looks whether the consumer has made room.
    fn is_blocked(&mut self, cx: &mut Context<'_>, shared: &Shared, plan: &Plan) -> bool {
        self.hand_over(cx, shared, plan, false);
        let mut receive = shared.receive();
        self.waiting = receive.buffer.frames().len();
        receive.reader_blocked = self.waiting >= plan.receive_buffer;
        receive.reader_blocked
    }

    fn release(&mut self) {
        let _ = self.body.flow_control().release_capacity(std::mem::take(&mut self.unreleased));
    }

    /// Gives the staged messages to the consumer and wakes it; now, or after `max_batch_delay`.
    fn hand_over(&mut self, cx: &mut Context<'_>, shared: &Shared, plan: &Plan, last: bool) {
        if self.unreleased > 0 {
            self.release();
        }
        let mut due = last;
        if let Some(linger) = &mut self.linger {
            due |= linger.as_mut().poll(cx).is_ready();
        }
        // One response is of use only with its status, and staged it is still counted.
        if self.count == 0 && !due || shared.kind.one_response() && !last {
            return;
        }
        if plan.max_batch_delay.is_zero() || last {
            let (waiting, waker) = shared.deliver(&mut self.staged, &mut self.count);
            self.waiting = waiting;
            if let Some(waker) = waker {
                waker.wake();
            }
            return;
        }
        let full = self.staged.len() >= STAGE || self.staged.len() * 2 >= plan.receive_buffer;
        if due || full {
            self.linger = None;
            let (waiting, waker) = shared.deliver(&mut self.staged, &mut self.count);
            self.waiting = waiting;
            if let Some(waker) = waker {
                waker.wake();
            }
        } else if self.linger.is_none() {
            let mut linger = Box::pin(tokio::time::sleep(plan.max_batch_delay));
            // Registers the timer; it is not over yet.
            let _ = linger.as_mut().poll(cx);
            self.linger = Some(linger);
        }
    }

    /// The messages have ended: the trailers decide.
    fn poll_end(&mut self, cx: &mut Context<'_>, plan: &Plan) -> Poll<MessagesEnd> {
        let inside = self.deframer.inside_message();
        let trailers = match ready!(self.body.poll_trailers(cx)) {
            Ok(Some(trailers)) => trailers,
            Ok(None) => {
                return Poll::Ready(MessagesEnd::Trailers(Status::new(
                    Code::Internal,
                    "the server ended the stream without trailers, so without a status",
                )));
            }
            Err(error) => return Poll::Ready(MessagesEnd::Failed(Failure::of(&error))),
        };
        if let Some(status) = head::too_large(&trailers, plan.max_metadata) {
            return Poll::Ready(MessagesEnd::Broken(status));
        }
        let mut status = head::decide_trailers(Some(self.http), &trailers);
        if inside && status.is_ok() {
            status.code = Code::Internal;
            status.message = "the stream ended inside a message".into();
        }
        Poll::Ready(MessagesEnd::Trailers(status))
    }
}
