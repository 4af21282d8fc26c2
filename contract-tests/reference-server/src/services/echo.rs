//! `contract.v1.Echo`.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use base64::Engine;
use base64::alphabet::STANDARD;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use bytes::Bytes;
use millstream_proto::contract::v1::echo_server::Echo;
use millstream_proto::contract::v1::{
    EchoRequest, EchoResponse, Finish, MetadataEntry, StatsRequest, StatsResponse,
};
use tokio::time::{Instant, Sleep, sleep_until};
use tokio_stream::Stream;
use tonic::{Code, Request, Response, Status, Streaming};

use crate::calls::{Calls, Offered};

/// Bytes of the payload of one message.
pub(super) const MAX_PAYLOAD: usize = 64 * 1024 * 1024;

pub(super) struct Service {
    calls: Calls,
}

impl Service {
    pub(super) fn new(calls: Calls) -> Self {
        Self { calls }
    }
}

/// The request metadata of a call, until it is reported.
type Metadata = Option<http::HeaderMap>;

fn split<T>(request: Request<T>) -> (Metadata, T) {
    let (metadata, extensions, message) = request.into_parts();
    let mut headers = metadata.into_headers();
    if let Some(Offered(offered)) = extensions.get() {
        headers.insert("grpc-accept-encoding", offered.clone());
    }
    (Some(headers), message)
}

fn report(metadata: &mut Metadata) -> Result<Vec<MetadataEntry>, Status> {
    // Padding is the sender's choice.
    const BASE64: GeneralPurpose = GeneralPurpose::new(
        &STANDARD,
        GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent),
    );

    let headers = metadata.take().unwrap_or_default();
    let mut by_key: BTreeMap<&str, Vec<Bytes>> = BTreeMap::new();
    for (key, value) in &headers {
        let values = by_key.entry(key.as_str()).or_default();
        if !key.as_str().ends_with("-bin") {
            values.push(Bytes::copy_from_slice(value.as_bytes()));
            continue;
        }
        // Several values may come joined by commas.
        for value in value.as_bytes().split(|byte| *byte == b',') {
            let value = BASE64.decode(value.trim_ascii()).map_err(|error| {
                Status::invalid_argument(format!("metadata {key} is not base64: {error}"))
            })?;
            values.push(value.into());
        }
    }
    let entries = by_key.into_iter().flat_map(|(key, values)| {
        values.into_iter().map(|value| MetadataEntry { key: key.to_owned(), value })
    });
    Ok(entries.collect())
}

/// What a call has received and sent.
#[derive(Debug, Default)]
struct Progress {
    sequence: u64,
    requests: u64,
    request_bytes: u64,
}

impl Progress {
    fn receive(&mut self, request: &EchoRequest) {
        self.requests += 1;
        self.request_bytes += request.payload.len() as u64;
    }

    fn answer(&mut self, payload: Bytes, metadata: Vec<MetadataEntry>) -> EchoResponse {
        self.sequence += 1;
        EchoResponse {
            payload,
            sequence: self.sequence,
            requests: self.requests,
            request_bytes: self.request_bytes,
            metadata,
        }
    }
}

fn payload(request: &EchoRequest) -> Result<Bytes, Status> {
    let Some(size) = request.response_size else {
        return Ok(request.payload.clone());
    };
    match usize::try_from(size) {
        Ok(size) if size <= MAX_PAYLOAD => Ok((0..251_u8).cycle().take(size).collect()),
        _ => Err(Status::invalid_argument(format!(
            "response_size {size} is greater than {MAX_PAYLOAD}"
        ))),
    }
}

/// The error that a request asks for; none when it asks for OK.
fn status(finish: &Finish) -> Result<(), Status> {
    match finish.code {
        0 => Ok(()),
        code @ 1..=16 => Err(Status::with_details(
            Code::from_i32(code),
            finish.message.clone(),
            finish.details.clone(),
        )),
        code => Err(Status::invalid_argument(format!(
            "finish.code {code} is not a status code (0 to 16)"
        ))),
    }
}

/// The one answer of a unary or client streaming call.
async fn one_answer(
    request: &EchoRequest,
    mut metadata: Metadata,
    mut progress: Progress,
) -> Result<Response<EchoResponse>, Status> {
    let payload = payload(request)?;
    let entries = match request.report_metadata {
        true => report(&mut metadata)?,
        false => Vec::new(),
    };
    if request.never_answer || request.never_finish {
        std::future::pending::<()>().await;
    }
    // A sleep of nothing still lasts until the timer's next tick.
    if request.delay_ms > 0 {
        tokio::time::sleep(Duration::from_millis(request.delay_ms.into())).await;
    }
    request.finish.as_ref().map_or(Ok(()), status)?;
    Ok(Response::new(progress.answer(payload, entries)))
}

/// The answers to one request.
struct Answers {
    request: EchoRequest,
    payload: Bytes,
    metadata: Vec<MetadataEntry>,
    left: u32,
    pause: Option<Pin<Box<Sleep>>>,
}

impl Answers {
    fn new(request: EchoRequest, metadata: &mut Metadata) -> Result<Self, Status> {
        let delay = u64::from(request.delay_ms);
        let left = match (request.never_answer, request.count) {
            (true, _) => 0,
            (false, count) => count.unwrap_or(1),
        };
        Ok(Self {
            payload: payload(&request)?,
            metadata: match request.report_metadata {
                true => report(metadata)?,
                false => Vec::new(),
            },
            left,
            pause: (delay > 0).then(|| pause(Instant::now(), delay)),
            request,
        })
    }

    /// None: all answers are given.
    fn poll(
        &mut self,
        cx: &mut Context<'_>,
        progress: &mut Progress,
    ) -> Poll<Option<EchoResponse>> {
        let mut now = None;
        if let Some(pause) = &mut self.pause {
            ready!(pause.as_mut().poll(cx));
            now = Some(pause.deadline());
            self.pause = None;
        }
        if self.left == 0 {
            let never = self.request.never_answer || self.request.never_finish;
            return if never { Poll::Pending } else { Poll::Ready(None) };
        }
        self.left -= 1;
        let interval = u64::from(self.request.interval_ms);
        if interval > 0 && self.left > 0 {
            // From when the last one was due, so that a busy machine does not stretch them all.
            self.pause = Some(pause(now.unwrap_or_else(Instant::now), interval));
        }
        let metadata = std::mem::take(&mut self.metadata);
        Poll::Ready(Some(progress.answer(self.payload.clone(), metadata)))
    }

    fn finish(&self) -> Option<Result<(), Status>> {
        self.request.finish.as_ref().map(status)
    }
}

fn pause(from: Instant, milliseconds: u64) -> Pin<Box<Sleep>> {
    Box::pin(sleep_until(from + Duration::from_millis(milliseconds)))
}

/// The answers of a streaming call.
pub(super) struct AnswerStream {
    /// None: the one request of a server streaming call is `current`.
    requests: Option<Streaming<EchoRequest>>,
    current: Option<Answers>,
    metadata: Metadata,
    progress: Progress,
}

impl AnswerStream {
    fn poll_item(&mut self, cx: &mut Context<'_>) -> Poll<Option<Result<EchoResponse, Status>>> {
        loop {
            if let Some(current) = &mut self.current {
                if let Some(answer) = ready!(current.poll(cx, &mut self.progress)) {
                    return Poll::Ready(Some(Ok(answer)));
                }
                if let Some(end) = current.finish() {
                    return Poll::Ready(end.err().map(Err));
                }
                self.current = None;
            }
            let Some(requests) = &mut self.requests else {
                return Poll::Ready(None);
            };
            let Some(request) = ready!(Pin::new(requests).poll_next(cx)) else {
                return Poll::Ready(None);
            };
            let request = request?;
            self.progress.receive(&request);
            self.current = Some(Answers::new(request, &mut self.metadata)?);
        }
    }
}

impl Stream for AnswerStream {
    type Item = Result<EchoResponse, Status>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let polled = self.poll_item(cx);
        if let Poll::Ready(None | Some(Err(_))) = polled {
            // The end is the end, whatever the requests still hold.
            self.requests = None;
            self.current = None;
        }
        polled
    }
}

#[tonic::async_trait]
impl Echo for Service {
    async fn unary(&self, request: Request<EchoRequest>) -> Result<Response<EchoResponse>, Status> {
        let (metadata, request) = split(request);
        let mut progress = Progress::default();
        progress.receive(&request);
        one_answer(&request, metadata, progress).await
    }

    type ServerStreamStream = AnswerStream;

    async fn server_stream(
        &self,
        request: Request<EchoRequest>,
    ) -> Result<Response<AnswerStream>, Status> {
        let (mut metadata, request) = split(request);
        let mut progress = Progress::default();
        progress.receive(&request);
        let never_answer = request.never_answer;
        let current = Some(Answers::new(request, &mut metadata)?);
        if never_answer {
            std::future::pending::<()>().await;
        }
        Ok(Response::new(AnswerStream { requests: None, current, metadata, progress }))
    }

    async fn client_stream(
        &self,
        request: Request<Streaming<EchoRequest>>,
    ) -> Result<Response<EchoResponse>, Status> {
        let (metadata, mut requests) = split(request);
        let mut progress = Progress::default();
        let mut last = EchoRequest::default();
        while let Some(request) = requests.message().await? {
            progress.receive(&request);
            last = request;
            if last.finish.is_some() {
                break;
            }
        }
        one_answer(&last, metadata, progress).await
    }

    type BidiStream = AnswerStream;

    async fn bidi(
        &self,
        request: Request<Streaming<EchoRequest>>,
    ) -> Result<Response<AnswerStream>, Status> {
        let (metadata, requests) = split(request);
        Ok(Response::new(AnswerStream {
            requests: Some(requests),
            current: None,
            metadata,
            progress: Progress::default(),
        }))
    }

    async fn stats(
        &self,
        request: Request<StatsRequest>,
    ) -> Result<Response<StatsResponse>, Status> {
        Ok(Response::new(self.calls.stats(&request.get_ref().call_id)))
    }
}
