//! A server in the test's own process, and clients that tonic generated.

// Each test program uses a part of this.
#![allow(dead_code)]

use std::future::Future;
use std::time::Duration;

use reference_server::{Options, Running};
use tokio_stream::StreamExt;
use tonic::transport::{Channel, Endpoint};
use tonic::{Code, Status, Streaming};

/// Longer than anything takes on a busy machine.
const PATIENCE: Duration = Duration::from_secs(60);

pub async fn within<T>(work: impl Future<Output = T>) -> T {
    tokio::time::timeout(PATIENCE, work).await.expect("the test takes too long")
}

/// Serves the excerpt on a free port.
pub async fn server() -> Running {
    server_with(Options::default()).await
}

pub async fn server_with(options: Options) -> Running {
    let options = Options { http: Some(([127, 0, 0, 1], 0).into()), ..options };
    within(reference_server::start(options)).await.expect("the server starts")
}

pub async fn connect(server: &Running) -> Channel {
    let target = server.ready().http.clone().expect("there is an http target");
    connect_to(&target).await
}

pub async fn connect_to(target: &str) -> Channel {
    let endpoint = Endpoint::from_shared(target.to_owned()).expect("a target");
    within(endpoint.connect()).await.expect("the server accepts")
}

/// Every message of a stream that ends with OK.
pub async fn all<T>(stream: Streaming<T>) -> Vec<T> {
    let (messages, end) = until_end(stream).await;
    assert_eq!(end.map_err(|status| status.to_string()), Ok(()));
    messages
}

/// Every message of a stream, and how it ends.
pub async fn until_end<T>(mut stream: Streaming<T>) -> (Vec<T>, Result<(), Status>) {
    let mut messages = Vec::new();
    loop {
        match within(stream.next()).await {
            Some(Ok(message)) => messages.push(message),
            Some(Err(status)) => return (messages, Err(status)),
            None => return (messages, Ok(())),
        }
    }
}

#[track_caller]
pub fn assert_status<T: std::fmt::Debug>(result: Result<T, Status>, code: Code, message: &str) {
    let status = result.expect_err("an error");
    assert_eq!((status.code(), status.message()), (code, message));
}
