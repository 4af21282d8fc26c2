//! A gRPC server for tests, in a thread of its own. What it does is the last part of the path.

#![allow(dead_code)] // each test binary uses a part of it

use std::{
    future::{pending, poll_fn},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    thread,
    time::{Duration, Instant},
};

use bytes::{BufMut, Bytes, BytesMut};
use h2::{RecvStream, SendStream, server::SendResponse};
use http::{HeaderMap, HeaderValue, Request, Response};
use tokio::sync::Notify;

/// Longer than anything here takes on the slowest machine: a wait that ends with it has failed.
pub const LONG: Duration = Duration::from_secs(120);
/// Long enough for a thread to begin to wait.
pub const SHORT: Duration = Duration::from_millis(30);

/// Answers the request's messages one by one.
pub const ECHO: &str = "/test.T/Echo";
/// Sends as many messages as the request says (8 bytes, big-endian), each with its number.
pub const COUNT: &str = "/test.T/Count";
/// Sends its headers and reads nothing.
pub const DEAF: &str = "/test.T/Deaf";
/// Says nothing at all.
pub const NEVER: &str = "/test.T/Never";

pub struct Server {
    pub address: SocketAddr,
    pub seen: Arc<Seen>,
    started: Instant,
}

/// A wait looks once more when its time runs out, and so a lost wake-up would only cost time.
impl Drop for Server {
    fn drop(&mut self) {
        if !thread::panicking() {
            assert!(self.started.elapsed() < LONG / 2, "only a timeout ended a wait");
        }
    }
}

/// What the server has seen.
#[derive(Default)]
pub struct Seen {
    pub started: AtomicUsize,
    /// Streams that the client reset.
    pub resets: AtomicUsize,
    hang_up: Notify,
}

impl Server {
    /// Serves until the process ends.
    pub fn start() -> Server {
        let seen = Arc::<Seen>::default();
        let (send, receive) = mpsc::channel();
        let theirs = seen.clone();
        thread::spawn(move || {
            let runtime = tokio::runtime::Builder::new_current_thread().enable_io().build();
            runtime.expect("a runtime").block_on(async move {
                let listener = tokio::net::TcpListener::bind(("127.0.0.1", 0)).await;
                let listener = listener.expect("a port");
                send.send(listener.local_addr().expect("an address")).expect("a test");
                loop {
                    let (socket, _) = listener.accept().await.expect("a connection");
                    tokio::spawn(serve(socket, theirs.clone()));
                }
            });
        });
        let address = receive.recv_timeout(LONG).expect("a server");
        Server { address, seen, started: Instant::now() }
    }

    /// Drops the connections that there are.
    pub fn hang_up(&self) {
        self.seen.hang_up.notify_waiters();
    }

    pub fn target(&self) -> String {
        format!("http://{}", self.address)
    }
}

/// Waits until something holds that no event tells of.
pub fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let start = Instant::now();
    while !holds() {
        assert!(start.elapsed() < LONG, "in vain: {what}");
        thread::sleep(Duration::from_millis(2));
    }
}

async fn serve(socket: tokio::net::TcpStream, seen: Arc<Seen>) {
    let Ok(mut connection) = h2::server::handshake(socket).await else { return };
    let theirs = seen.clone();
    let serving = tokio::spawn(async move {
        while let Some(Ok((request, respond))) = connection.accept().await {
            tokio::spawn(answer(request, respond, theirs.clone()));
        }
    });
    seen.hang_up.notified().await;
    serving.abort();
}

async fn answer(request: Request<RecvStream>, mut respond: SendResponse<Bytes>, seen: Arc<Seen>) {
    seen.started.fetch_add(1, Ordering::SeqCst);
    let path = request.uri().path().to_owned();
    let body = request.into_body();
    if path == NEVER {
        let _ = poll_fn(|cx| respond.poll_reset(cx)).await;
        seen.resets.fetch_add(1, Ordering::SeqCst);
        return;
    }
    let mut head = Response::new(());
    head.headers_mut().insert("content-type", HeaderValue::from_static("application/grpc"));
    let Ok(mut send) = respond.send_response(head, false) else { return };
    let done = match path.as_str() {
        ECHO => echo(body, &mut send).await,
        COUNT => count(body, &mut send).await,
        _ => {
            let _body = body; // kept and not read
            let _ = poll_fn(|cx| send.poll_reset(cx)).await;
            seen.resets.fetch_add(1, Ordering::SeqCst);
            pending().await
        }
    };
    if done.is_err() {
        seen.resets.fetch_add(1, Ordering::SeqCst);
        return;
    }
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let _ = send.send_trailers(trailers);
}

async fn echo(mut body: RecvStream, send: &mut SendStream<Bytes>) -> Result<(), h2::Error> {
    while let Some(data) = body.data().await {
        let data = data?;
        let _ = body.flow_control().release_capacity(data.len());
        // h2 puts up with few empty frames in the life of a connection.
        if !data.is_empty() {
            send.send_data(data, false)?;
        }
    }
    Ok(())
}

async fn count(mut body: RecvStream, send: &mut SendStream<Bytes>) -> Result<(), h2::Error> {
    let mut request = BytesMut::new();
    while let Some(data) = body.data().await {
        request.extend_from_slice(&data?);
    }
    let count = u64::from_be_bytes(request[5..13].try_into().expect("8 bytes"));
    for chunk in (0..count).collect::<Vec<_>>().chunks(500) {
        let mut frames = BytesMut::new();
        for number in chunk {
            frames.put_u8(0);
            frames.put_u32(8);
            frames.put_u64(*number);
        }
        let mut frames = frames.freeze();
        while !frames.is_empty() {
            send.reserve_capacity(frames.len());
            match poll_fn(|cx| send.poll_capacity(cx)).await {
                Some(capacity) => {
                    send.send_data(frames.split_to(capacity?.min(frames.len())), false)?
                }
                None => return Ok(()),
            }
        }
    }
    Ok(())
}
