//! One call whose messages are bytes.

use std::{future::poll_fn, sync::Arc, task::Poll};

use millstream_rpc::{self as rpc, Interest, Received};

use crate::{Batch, Error, Metadata, Status, channel::ended};

/// One call. Clones are the same call; when the last one is dropped, a call that has not ended is
/// cancelled.
#[derive(Clone)]
pub struct Call {
    inner: rpc::Call,
}

impl std::fmt::Debug for Call {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Call")
            .field("method", &self.inner.method())
            .field("status", &self.inner.status())
            .finish_non_exhaustive()
    }
}

impl Call {
    pub(crate) fn new(inner: rpc::Call) -> Call {
        Call { inner }
    }

    /// Sends a message; waits while the send buffer is full.
    ///
    /// # Errors
    /// `CALL_ENDED` with the status, `INVALID_STATE` after the half-close.
    pub async fn send(&self, message: &[u8]) -> Result<(), Error> {
        while !self.inner.try_send(message)? {
            self.until(Interest::SENDABLE).await;
        }
        Ok(())
    }

    /// Sends a message if the send buffer has room; `false` when it has not.
    ///
    /// # Errors
    /// As [`Call::send`].
    pub fn try_send(&self, message: &[u8]) -> Result<bool, Error> {
        self.inner.try_send(message)
    }

    /// Says that there will be no more requests.
    ///
    /// # Errors
    /// None today; the result leaves room for it.
    pub fn half_close(&self) -> Result<(), Error> {
        self.inner.half_close()
    }

    /// Ends the call now with CANCELLED. After the end it changes nothing.
    pub fn cancel(&self, message: &str) {
        self.inner.cancel(message);
    }

    /// The metadata of the response head, once it has come; empty when there was none.
    pub async fn headers(&self) -> Arc<Metadata> {
        self.until(Interest::HEADERS).await;
        self.inner.headers().unwrap_or_default()
    }

    /// Waits for messages and replaces the content of `batch` by all that came. `false`: there are
    /// no more, and the call ended OK.
    ///
    /// # Errors
    /// The status of a call that ended other than OK, after its last message.
    pub async fn next_batch(&self, batch: &mut Batch) -> Result<bool, Error> {
        loop {
            match self.inner.try_batch(batch) {
                Received::Messages => return Ok(true),
                Received::Empty => self.until(Interest::MESSAGES).await,
                Received::End => {
                    let status = self.status().await;
                    return if status.is_ok() { Ok(false) } else { Err(ended(status)) };
                }
            }
        }
    }

    /// Waits for the end of the call. Messages that came before it can still be taken.
    pub async fn status(&self) -> Arc<Status> {
        self.until(Interest::STATUS).await;
        self.inner.status().unwrap_or_default()
    }

    /// The status, if the call has ended.
    pub fn try_status(&self) -> Option<Arc<Status>> {
        self.inner.status()
    }

    async fn until(&self, interest: Interest) {
        poll_fn(|cx| self.inner.poll_ready(interest, cx)).await;
    }

    pub(crate) fn poll_batch(
        &self,
        batch: &mut Batch,
        cx: &mut std::task::Context<'_>,
    ) -> Poll<Received> {
        loop {
            match self.inner.try_batch(batch) {
                Received::Empty => {
                    std::task::ready!(self.inner.poll_ready(Interest::MESSAGES, cx));
                }
                found => return Poll::Ready(found),
            }
        }
    }
}
