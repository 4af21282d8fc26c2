//! Bidirectional streams whose answers follow from the requests alone.

use std::collections::VecDeque;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use tokio_stream::Stream;
use tonic::{Status, Streaming};

/// Turns each request into any number of answers. Nothing is read before the answers to what was
/// read are taken, so memory stays bounded however slow the client is.
pub(super) struct Answers<Request, Answer, Step> {
    requests: Streaming<Request>,
    waiting: VecDeque<Answer>,
    step: Step,
    ended: bool,
}

impl<Request, Answer, Step> Answers<Request, Answer, Step>
where
    Step: FnMut(Request, &mut VecDeque<Answer>) -> Result<(), Status>,
{
    /// `step` gets each request and adds its answers; its error ends the call.
    pub(super) fn new(requests: Streaming<Request>, step: Step) -> Self {
        Self { requests, waiting: VecDeque::new(), step, ended: false }
    }
}

impl<Request, Answer, Step> Stream for Answers<Request, Answer, Step>
where
    Answer: Unpin,
    Step: FnMut(Request, &mut VecDeque<Answer>) -> Result<(), Status> + Unpin,
{
    type Item = Result<Answer, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        loop {
            if let Some(answer) = this.waiting.pop_front() {
                return Poll::Ready(Some(Ok(answer)));
            }
            if this.ended {
                return Poll::Ready(None);
            }
            let result = match ready!(Pin::new(&mut this.requests).poll_next(cx)) {
                Some(request) => {
                    request.and_then(|request| (this.step)(request, &mut this.waiting))
                }
                None => {
                    this.ended = true;
                    continue;
                }
            };
            if let Err(status) = result {
                this.ended = true;
                this.waiting.clear();
                return Poll::Ready(Some(Err(status)));
            }
        }
    }
}
