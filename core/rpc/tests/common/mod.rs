//! An HTTP/2 server whose answers a test writes by hand.

// Each test binary uses a part of this.
#![allow(dead_code)]

use std::{
    future::{Future, poll_fn},
    net::SocketAddr,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use bytes::Bytes;
use h2::{RecvStream, server::SendResponse};
use http::{HeaderMap, HeaderValue, Request, Response};
use millstream_rpc::{Batch, Call, Interest, Received, Status};
use tokio::{net::TcpListener, runtime::Handle, sync::Notify, task::JoinHandle};

/// No wait of a test is longer.
pub const PATIENCE: Duration = Duration::from_secs(60);

pub struct Server {
    pub address: SocketAddr,
    pub connections: Arc<AtomicUsize>,
    /// Makes every connection send a GOAWAY and let its streams end.
    pub drain: Arc<Notify>,
    accept: JoinHandle<()>,
}

impl Server {
    pub fn target(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn connections(&self) -> usize {
        self.connections.load(Ordering::SeqCst)
    }

    /// Serves on a free port, each request by `handler`.
    pub async fn start<F, Fut>(max_streams: u32, handler: F) -> Server
    where
        F: Fn(Request<RecvStream>, SendResponse<Bytes>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        Server::start_at("127.0.0.1:0".parse().unwrap(), max_streams, handler).await
    }

    pub async fn start_at<F, Fut>(address: SocketAddr, max_streams: u32, handler: F) -> Server
    where
        F: Fn(Request<RecvStream>, SendResponse<Bytes>) -> Fut + Clone + Send + Sync + 'static,
        Fut: Future<Output = ()> + Send + 'static,
    {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let connections = Arc::new(AtomicUsize::new(0));
        let drain = Arc::new(Notify::new());
        let (counter, draining) = (connections.clone(), drain.clone());
        let accept = tokio::spawn(async move {
            // Dropped with the task: the connections end with the server.
            let mut tasks = tokio::task::JoinSet::new();
            loop {
                let Ok((socket, _)) = listener.accept().await else { return };
                counter.fetch_add(1, Ordering::SeqCst);
                let (handler, draining) = (handler.clone(), draining.clone());
                tasks.spawn(async move {
                    let mut builder = h2::server::Builder::new();
                    builder.max_concurrent_streams(max_streams);
                    let Ok(mut connection) = builder.handshake(socket).await else { return };
                    let mut calls = tokio::task::JoinSet::new();
                    loop {
                        tokio::select! {
                            accepted = connection.accept() => match accepted {
                                Some(Ok((request, respond))) => {
                                    calls.spawn(handler(request, respond));
                                }
                                _ => return,
                            },
                            () = draining.notified() => connection.graceful_shutdown(),
                        }
                    }
                });
            }
        });
        Server { address, connections, drain, accept }
    }

    /// Ends the server with all its connections.
    pub async fn stop(self) -> SocketAddr {
        self.accept.abort();
        let _ = self.accept.await;
        self.address
    }
}

pub fn head() -> Response<()> {
    Response::builder().header("content-type", "application/grpc").body(()).unwrap()
}

pub fn trailers(code: i32) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from(code));
    trailers
}

pub fn frame(payload: &[u8]) -> Bytes {
    let mut frame = vec![0];
    frame.extend_from_slice(&(payload.len() as u32).to_be_bytes());
    frame.extend_from_slice(payload);
    frame.into()
}

/// Answers with one message and OK.
pub async fn answer(_: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    // The client may be gone already.
    let Ok(mut stream) = respond.send_response(head(), false) else { return };
    let _ = stream.send_data(frame(b"answer"), false);
    let _ = stream.send_trailers(trailers(0));
}

/// Sends the head and then nothing more, until the client goes away.
pub async fn hold(_: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let Ok(mut stream) = respond.send_response(head(), false) else { return };
    let _ = poll_fn(|cx| stream.poll_reset(cx)).await;
}

pub fn runtime() -> Handle {
    Handle::current()
}

/// Waits for an interest, at most `PATIENCE`.
pub async fn until(call: &Call, interest: Interest) {
    tokio::time::timeout(PATIENCE, poll_fn(|cx| call.poll_ready(interest, cx)))
        .await
        .unwrap_or_else(|_| panic!("{}: nothing happened", call.method()));
}

/// Every message of a call and its status.
pub async fn collect(call: &Call) -> (Vec<Vec<u8>>, Arc<Status>) {
    let mut messages = Vec::new();
    let mut batch = Batch::new();
    loop {
        match call.try_batch(&mut batch) {
            Received::Messages => messages.extend(batch.iter().map(<[u8]>::to_vec)),
            Received::Empty => until(call, Interest::MESSAGES).await,
            Received::End => return (messages, call.status().unwrap()),
        }
    }
}
