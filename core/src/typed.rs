//! Calls whose messages are prost messages.

use std::{
    future::poll_fn,
    marker::PhantomData,
    pin::Pin,
    sync::Arc,
    task::{Context, Poll, ready},
};

use futures_core::Stream;
use millstream_rpc::Received;
use prost::Message;

use crate::{Batch, Call, Code, Error, Metadata, Status, channel::ended};

/// The one response of a call, with what came around it.
#[derive(Clone, Debug)]
pub struct Reply<Res> {
    /// The message.
    pub message: Res,
    /// The metadata of the response head.
    pub headers: Arc<Metadata>,
    /// The status, which is OK, with the trailers.
    pub status: Arc<Status>,
}

/// Waits for the response of a call that has one.
pub(crate) async fn reply<Res: Message + Default>(call: Call) -> Result<Reply<Res>, Error> {
    let mut batch = Batch::new();
    if !call.next_batch(&mut batch).await? {
        // The call layer gives OK only with a message; an empty batch here is a defect in it.
        return Err(ended(Arc::new(Status::new(Code::Internal, "OK without a response"))));
    }
    let message = decode(batch.next().unwrap_or_default())?;
    Ok(Reply { message, headers: call.headers().await, status: call.status().await })
}

fn decode<M: Message + Default>(bytes: &[u8]) -> Result<M, Error> {
    M::decode(bytes).map_err(|e| {
        ended(Arc::new(Status::new(
            Code::Internal,
            format!("a response does not parse as {}: {e}", std::any::type_name::<M>()),
        )))
    })
}

/// The requests of a call. Dropping it without [`Requests::finish`] does not end the call's
/// requests: with a method of one response it cancels the call.
#[derive(Debug)]
pub struct Requests<Req, Res = ()> {
    call: Call,
    buffer: Vec<u8>,
    types: PhantomData<fn(Req) -> Res>,
}

impl<Req: Message, Res> Requests<Req, Res> {
    pub(crate) fn new(call: Call) -> Self {
        Requests { call, buffer: Vec::new(), types: PhantomData }
    }

    /// Sends a request; waits while the send buffer is full.
    ///
    /// # Errors
    /// `CALL_ENDED` with the status, `INVALID_STATE` after the half-close.
    pub async fn send(&mut self, request: &Req) -> Result<(), Error> {
        self.buffer.clear();
        self.buffer.reserve(request.encoded_len());
        // A Vec has room for as much as was reserved, so encoding cannot fail.
        let _ = request.encode(&mut self.buffer);
        self.call.send(&self.buffer).await
    }

    /// Says that there will be no more requests.
    ///
    /// # Errors
    /// None today; the result leaves room for it.
    pub fn half_close(&self) -> Result<(), Error> {
        self.call.half_close()
    }

    /// The call itself.
    pub fn call(&self) -> &Call {
        &self.call
    }
}

impl<Req: Message, Res: Message + Default> Requests<Req, Res> {
    /// Says that there will be no more requests and waits for the response.
    ///
    /// # Errors
    /// The status of the call when it is not OK; INTERNAL when the response does not parse.
    pub async fn finish(self) -> Result<Reply<Res>, Error> {
        self.half_close()?;
        reply(self.call).await
    }
}

/// The responses of a call, as a [`Stream`] and by [`Responses::message`].
#[derive(Debug)]
pub struct Responses<Res> {
    call: Call,
    batch: Batch,
    done: bool,
    types: PhantomData<fn() -> Res>,
}

impl<Res: Message + Default> Responses<Res> {
    pub(crate) fn new(call: Call) -> Self {
        Responses { call, batch: Batch::new(), done: false, types: PhantomData }
    }

    /// The next response; `None` when the call ended OK.
    ///
    /// # Errors
    /// The status of a call that ended other than OK, after its last message. A response that does
    /// not parse is an INTERNAL error and cancels the call.
    pub async fn message(&mut self) -> Result<Option<Res>, Error> {
        poll_fn(|cx| self.poll_message(cx)).await.transpose()
    }

    fn poll_message(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<Res, Error>>> {
        if self.done {
            return Poll::Ready(None);
        }
        if self.batch.remaining() == 0
            && ready!(self.call.poll_batch(&mut self.batch, cx)) == Received::End
        {
            self.done = true;
            let status = self.call.try_status().unwrap_or_default();
            return Poll::Ready((!status.is_ok()).then(|| Err(ended(status))));
        }
        let message = decode(self.batch.next().unwrap_or_default());
        if message.is_err() {
            self.done = true;
            self.call.cancel("a response did not parse");
        }
        Poll::Ready(Some(message))
    }

    /// The call itself.
    pub fn call(&self) -> &Call {
        &self.call
    }
}

impl<Res: Message + Default> Stream for Responses<Res> {
    type Item = Result<Res, Error>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        self.poll_message(cx)
    }
}
