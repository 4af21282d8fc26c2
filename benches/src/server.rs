//! The server that every client is measured against: it should never be what is measured.
//!
//! It speaks gRPC over `h2` by hand, on one thread. What it sends was encoded before; what it
//! receives is counted and not decoded.

use std::{future::poll_fn, rc::Rc, time::Duration};

use bytes::{Bytes, BytesMut};
use h2::{
    RecvStream, SendStream,
    server::{Builder, SendResponse},
};
use http::{HeaderMap, HeaderValue, Request, Response};
use prost::Message;
use tokio::net::{TcpListener, TcpStream};

use crate::{
    clock::monotonic_nanos,
    corpus::{Corpus, PREFIX, frame},
    messages::{StreamRequest, Summary},
};

/// How often a paced stream looks at what is due. tokio's timers have a resolution of 1 ms, so up
/// to about 1.5 ms of a measured latency is this server's.
const PACE: Duration = Duration::from_millis(1);
/// How much may wait inside HTTP/2 for the socket, per stream. More only fills caches.
const SEND_BUFFER: usize = 256 << 10;
const RECEIVE_WINDOW: u32 = 4 << 20;
const CONNECTION_WINDOW: u32 = 1 << 30;
/// The largest request that a client of the measurements sends at once.
const MOST: usize = 1 << 20;

/// The client does not want any more, or is gone.
#[derive(Debug)]
struct Gone;

impl From<h2::Error> for Gone {
    fn from(_: h2::Error) -> Gone {
        Gone
    }
}

/// Serves connections for ever. Must run in a `LocalSet`.
pub async fn serve(listener: TcpListener) -> std::io::Result<()> {
    let small = Rc::new(Corpus::new(0));
    loop {
        let (socket, _) = listener.accept().await?;
        socket.set_nodelay(true)?;
        tokio::task::spawn_local(connection(socket, small.clone()));
    }
}

async fn connection(socket: TcpStream, small: Rc<Corpus>) {
    let handshake = Builder::new()
        .initial_window_size(RECEIVE_WINDOW)
        .initial_connection_window_size(CONNECTION_WINDOW)
        .max_concurrent_streams(10_000)
        .max_send_buffer_size(SEND_BUFFER)
        // A client that sends many small DATA frames is a case to measure, not an attack.
        .data_frame_budget(usize::MAX >> 1)
        .handshake(socket)
        .await;
    let Ok(mut connection) = handshake else { return };
    while let Some(Ok((request, respond))) = connection.accept().await {
        tokio::task::spawn_local(call(request, respond, small.clone()));
    }
}

async fn call(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, small: Rc<Corpus>) {
    let (head, body) = request.into_parts();
    let method = head.uri.path().strip_prefix("/bench.v1.Bench/").unwrap_or_default();
    let known = ["Packed", "Single", "Paced", "Firehose", "Publish", "Unary", "Echo"];
    if !known.contains(&method) {
        let mut response = head_of(Response::new(()));
        response.headers_mut().extend(status("12", "no such method"));
        let _ = respond.send_response(response, true);
        return;
    }
    // A unary answer goes out with its head, once the request is here.
    if method == "Unary" {
        let _ = unary(body, respond).await;
        return;
    }
    let Ok(mut stream) = respond.send_response(head_of(Response::new(())), false) else { return };
    let done = match method {
        "Publish" => publish(body, &mut stream).await,
        "Echo" => echo(body, &mut stream).await,
        _ => feed(method, body, &mut stream, &small).await,
    };
    if done.is_ok() {
        let _ = stream.send_trailers(status("0", ""));
    }
}

fn head_of(mut response: Response<()>) -> Response<()> {
    let headers = response.headers_mut();
    headers.insert("content-type", HeaderValue::from_static("application/grpc"));
    response
}

fn status(code: &'static str, message: &'static str) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static(code));
    if !message.is_empty() {
        trailers.insert("grpc-message", HeaderValue::from_static(message));
    }
    trailers
}

/// The server-streaming methods.
async fn feed(
    method: &str,
    body: RecvStream,
    stream: &mut SendStream<Bytes>,
    small: &Rc<Corpus>,
) -> Result<(), Gone> {
    let request = whole(body).await?;
    let request = StreamRequest::decode(request.get(PREFIX..).ok_or(Gone)?).map_err(|_| Gone)?;
    let corpus = match request.size {
        0 => small.clone(),
        size => Rc::new(Corpus::new((size as usize).min(MOST))),
    };
    match method {
        "Packed" => packed(stream, &corpus, request.count).await,
        "Single" => single(stream, &corpus, request.count).await,
        "Firehose" => {
            let average = (corpus.chunk().len() / corpus.len()) as u64;
            let count = request.bytes.div_ceil(average);
            if request.single {
                single(stream, &corpus, count).await
            } else {
                packed(stream, &corpus, count).await
            }
        }
        _ => paced(stream, &corpus, &request).await,
    }
}

async fn packed(stream: &mut SendStream<Bytes>, corpus: &Corpus, count: u64) -> Result<(), Gone> {
    let mut left = count;
    while left > 0 {
        let now = left.min(corpus.len() as u64);
        send(stream, corpus.first(now as usize)).await?;
        left -= now;
    }
    Ok(())
}

async fn single(stream: &mut SendStream<Bytes>, corpus: &Corpus, count: u64) -> Result<(), Gone> {
    let mut sent = 0;
    while sent < count {
        let frame = corpus.frame(sent as usize);
        let room = room(stream, SEND_BUFFER, frame.len()).await?;
        if room < frame.len() {
            send(stream, frame).await?;
            sent += 1;
            continue;
        }
        let mut room = room - frame.len();
        stream.send_data(frame, false)?;
        sent += 1;
        while sent < count {
            let frame = corpus.frame(sent as usize);
            let Some(rest) = room.checked_sub(frame.len()) else { break };
            room = rest;
            stream.send_data(frame, false)?;
            sent += 1;
        }
    }
    Ok(())
}

async fn paced(
    stream: &mut SendStream<Bytes>,
    corpus: &Corpus,
    request: &StreamRequest,
) -> Result<(), Gone> {
    let rate = request.rate.max(1);
    let start = monotonic_nanos();
    let due =
        |sequence: u64| start + (u128::from(sequence) * 1_000_000_000 / u128::from(rate)) as u64;
    let mut timer = tokio::time::interval(PACE);
    let mut buffer = BytesMut::new();
    let mut sequence = 0;
    while sequence < request.count {
        timer.tick().await;
        let now = monotonic_nanos();
        // Not the whole backlog at once: after a stall of the client it may be large.
        while sequence < request.count && due(sequence) <= now {
            corpus.stamp(sequence, due(sequence), &mut buffer);
            sequence += 1;
            if request.single || buffer.len() >= SEND_BUFFER {
                send(stream, buffer.split().freeze()).await?;
            }
        }
        if !buffer.is_empty() {
            send(stream, buffer.split().freeze()).await?;
        }
    }
    Ok(())
}

async fn publish(mut body: RecvStream, stream: &mut SendStream<Bytes>) -> Result<(), Gone> {
    let mut counter = Counter::default();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        let _ = body.flow_control().release_capacity(chunk.len());
        counter.push(&chunk);
    }
    let mut answer = BytesMut::new();
    frame(&Summary { messages: counter.messages, bytes: counter.bytes }, &mut answer);
    send(stream, answer.freeze()).await
}

async fn echo(mut body: RecvStream, stream: &mut SendStream<Bytes>) -> Result<(), Gone> {
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        let _ = body.flow_control().release_capacity(chunk.len());
        send(stream, chunk).await?;
    }
    Ok(())
}

async fn unary(body: RecvStream, mut respond: SendResponse<Bytes>) -> Result<(), Gone> {
    let request = whole(body).await?;
    let mut stream = respond.send_response(head_of(Response::new(())), false)?;
    send(&mut stream, request).await?;
    stream.send_trailers(status("0", ""))?;
    Ok(())
}

/// The whole body of a request.
async fn whole(mut body: RecvStream) -> Result<Bytes, Gone> {
    let Some(first) = body.data().await else { return Ok(Bytes::new()) };
    let mut bytes = first?;
    let _ = body.flow_control().release_capacity(bytes.len());
    let mut joined = BytesMut::new();
    while let Some(chunk) = body.data().await {
        let chunk = chunk?;
        let _ = body.flow_control().release_capacity(chunk.len());
        if chunk.is_empty() {
            continue;
        }
        if joined.is_empty() {
            joined.extend_from_slice(&bytes);
        }
        joined.extend_from_slice(&chunk);
        if joined.len() > MOST {
            return Err(Gone);
        }
    }
    if !joined.is_empty() {
        bytes = joined.freeze();
    }
    Ok(bytes)
}

/// How many bytes may be sent now: at least one, up to `wanted`, after a wait for `least` or less.
async fn room(stream: &mut SendStream<Bytes>, wanted: usize, least: usize) -> Result<usize, Gone> {
    stream.reserve_capacity(wanted);
    while stream.capacity() < least {
        match poll_fn(|cx| stream.poll_capacity(cx)).await {
            Some(Ok(room)) if room > 0 => break,
            Some(Ok(_)) => {}
            Some(Err(_)) | None => return Err(Gone),
        }
    }
    Ok(stream.capacity())
}

async fn send(stream: &mut SendStream<Bytes>, mut bytes: Bytes) -> Result<(), Gone> {
    while !bytes.is_empty() {
        let room = room(stream, bytes.len(), 1).await?;
        let now = bytes.split_to(room.min(bytes.len()));
        stream.send_data(now, false)?;
    }
    Ok(())
}

/// Counts messages in a stream of bytes cut anywhere.
#[derive(Default)]
struct Counter {
    prefix: [u8; PREFIX],
    /// Bytes of the prefix that have come.
    have: usize,
    /// Bytes of the payload that have not.
    missing: usize,
    messages: u64,
    bytes: u64,
}

impl Counter {
    fn push(&mut self, mut chunk: &[u8]) {
        while !chunk.is_empty() {
            if self.missing > 0 {
                let skip = self.missing.min(chunk.len());
                self.missing -= skip;
                chunk = &chunk[skip..];
                continue;
            }
            let take = (PREFIX - self.have).min(chunk.len());
            self.prefix[self.have..self.have + take].copy_from_slice(&chunk[..take]);
            self.have += take;
            chunk = &chunk[take..];
            if self.have == PREFIX {
                let [_, length @ ..] = self.prefix;
                self.missing = u32::from_be_bytes(length) as usize;
                self.have = 0;
                self.messages += 1;
                self.bytes += self.missing as u64;
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::corpus::tick;

    #[test]
    fn messages_are_counted_wherever_the_stream_is_cut() {
        let mut stream = BytesMut::new();
        for sequence in 0..50 {
            frame(&tick(sequence, 0), &mut stream);
        }
        for cut in [1, 3, 5, 7, 80, 1000, 100_000] {
            let mut counter = Counter::default();
            stream.chunks(cut).for_each(|chunk| counter.push(chunk));
            assert_eq!(counter.messages, 50);
            assert_eq!(counter.bytes as usize + 50 * PREFIX, stream.len());
        }
    }
}
