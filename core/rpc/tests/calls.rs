//! Calls: deadlines, cancellation, cardinality, limits and memory.

mod common;

use std::{
    future::poll_fn,
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::{Duration, Instant},
};

use bytes::Bytes;
use common::*;
use h2::{Reason, RecvStream, server::SendResponse};
use http::Request;
use millstream_rpc::{
    Batch, Call, CallKind, CallOptions, Channel, ChannelOptions, Code, Compression, ErrorCode,
    Interest, Received,
};
use tokio::sync::mpsc;

const METHOD: &str = "/test.v1.Test/Method";

fn channel(server: &Server, options: ChannelOptions) -> Channel {
    Channel::new(&server.target(), options, runtime()).unwrap()
}

/// A server that reports how each request stream was reset.
async fn server_that_reports_resets() -> (Server, mpsc::UnboundedReceiver<Reason>) {
    let (tell, told) = mpsc::unbounded_channel();
    let server = Server::start(100, move |_, mut respond: SendResponse<Bytes>| {
        let tell = tell.clone();
        async move {
            let mut stream = respond.send_response(head(), false).unwrap();
            stream.send_data(frame(b"one"), false).unwrap();
            if let Ok(reason) = poll_fn(|cx| stream.poll_reset(cx)).await {
                let _ = tell.send(reason);
            }
        }
    })
    .await;
    (server, told)
}

#[tokio::test]
async fn a_deadline_ends_a_stream_that_the_server_keeps_open_and_resets_it() {
    let (server, mut resets) = server_that_reports_resets().await;
    let channel = channel(&server, ChannelOptions::default());
    let options =
        CallOptions { timeout: Some(Duration::from_millis(200)), ..CallOptions::default() };
    let call = channel.call_with(METHOD, CallKind::ServerStream, options, b"").unwrap();
    let (_, status) = collect(&call).await;
    assert_eq!(status.code, Code::DeadlineExceeded);
    assert!(status.message.contains("200ms") && status.message.contains(METHOD), "{status}");
    assert!(status.trailers.is_empty());
    assert_eq!(resets.recv().await, Some(Reason::CANCEL));
}

#[tokio::test]
async fn a_deadline_that_has_passed_sends_nothing() {
    let server = Server::start(100, answer).await;
    let channel = channel(&server, ChannelOptions::default());
    let options = CallOptions { timeout: Some(Duration::ZERO), ..CallOptions::default() };
    let call = channel.call_with(METHOD, CallKind::Unary, options, b"").unwrap();
    assert_eq!(collect(&call).await.1.code, Code::DeadlineExceeded);
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn the_deadline_covers_the_connection_attempt() {
    let silent = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("http://{}", silent.local_addr().unwrap());
    let channel = Channel::new(&target, ChannelOptions::default(), runtime()).unwrap();
    let options =
        CallOptions { timeout: Some(Duration::from_millis(200)), ..CallOptions::default() };
    let call = channel.call_with(METHOD, CallKind::Unary, options, b"").unwrap();
    let (_, status) = collect(&call).await;
    assert_eq!(status.code, Code::DeadlineExceeded);
    assert!(status.message.contains("waiting for a connection"), "{status}");
}

#[tokio::test]
async fn cancel_ends_a_call_before_during_and_after() {
    let (server, mut resets) = server_that_reports_resets().await;
    let channel = channel(&server, ChannelOptions::default());

    let before = channel.call(METHOD, CallKind::Bidi, CallOptions::default()).unwrap();
    before.cancel("before it began");
    let status = before.status().expect("a cancelled call has ended");
    assert_eq!((status.code, status.message.as_str()), (Code::Cancelled, "before it began"));

    let during = channel.call(METHOD, CallKind::Bidi, CallOptions::default()).unwrap();
    until(&during, Interest::MESSAGES).await;
    during.cancel("");
    assert_eq!(during.try_batch(&mut Batch::new()), Received::End);
    assert_eq!(resets.recv().await, Some(Reason::CANCEL));
    let error = during.try_send(b"late").unwrap_err();
    assert_eq!(error.code, ErrorCode::CallEnded);
    assert_eq!(error.status.unwrap().code, Code::Cancelled);

    let server = Server::start(100, answer).await;
    let channel = self::channel(&server, ChannelOptions::default());
    let after = channel.call_with(METHOD, CallKind::Unary, CallOptions::default(), b"").unwrap();
    until(&after, Interest::STATUS).await;
    after.cancel("too late");
    let (messages, status) = collect(&after).await;
    assert!(status.is_ok(), "{status}");
    assert_eq!(messages, [b"answer"]);
}

#[tokio::test]
async fn dropping_the_last_clone_of_a_call_cancels_it() {
    let (server, mut resets) = server_that_reports_resets().await;
    let channel = channel(&server, ChannelOptions::default());
    let call = channel.call(METHOD, CallKind::Bidi, CallOptions::default()).unwrap();
    let clone = call.clone();
    until(&call, Interest::MESSAGES).await;
    drop(call);
    assert!(clone.status().is_none());
    drop(clone);
    assert_eq!(resets.recv().await, Some(Reason::CANCEL));
}

#[tokio::test]
async fn a_second_request_of_a_method_that_takes_one_and_a_send_after_half_close_are_refused() {
    let server = Server::start(100, hold).await;
    let channel = channel(&server, ChannelOptions::default());
    let call = channel.call(METHOD, CallKind::ServerStream, CallOptions::default()).unwrap();
    assert!(call.try_send(b"one").unwrap());
    assert_eq!(call.try_send(b"two").unwrap_err().code, ErrorCode::InvalidState);
    let call = channel.call(METHOD, CallKind::Bidi, CallOptions::default()).unwrap();
    call.half_close().unwrap();
    call.half_close().unwrap();
    assert_eq!(call.try_send(b"late").unwrap_err().code, ErrorCode::InvalidState);
}

#[tokio::test]
async fn a_request_over_the_limit_ends_the_call_before_it_is_sent() {
    let server = Server::start(100, hold).await;
    let options = ChannelOptions { max_send_message: 10, ..ChannelOptions::default() };
    let channel = channel(&server, options);
    let call = channel.call(METHOD, CallKind::Bidi, CallOptions::default()).unwrap();
    assert!(call.try_send(&[0; 10]).unwrap());
    assert_eq!(call.try_send(&[0; 11]).unwrap_err().code, ErrorCode::CallEnded);
    let status = call.status().unwrap();
    assert_eq!(status.code, Code::ResourceExhausted);
    assert!(status.message.contains("11 bytes exceeds maximum size 10"), "{status}");
}

/// Reads the request to its end and answers with as many messages.
async fn echo(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let encoding = request.headers().get("grpc-encoding").cloned();
    let mut body = request.into_body();
    let mut response = head();
    if let Some(encoding) = encoding {
        response.headers_mut().insert("grpc-encoding", encoding);
    }
    let mut stream = respond.send_response(response, false).unwrap();
    while let Some(Ok(chunk)) = body.data().await {
        let _ = body.flow_control().release_capacity(chunk.len());
        stream.reserve_capacity(chunk.len());
        let _ = stream.send_data(chunk, false);
    }
    let _ = stream.send_trailers(trailers(0));
}

async fn send_all(call: &Call, messages: &[Vec<u8>]) {
    for message in messages {
        while !call.try_send(message).unwrap() {
            until(call, Interest::SENDABLE).await;
        }
    }
    call.half_close().unwrap();
}

#[tokio::test]
async fn messages_come_back_whole_and_in_order_under_every_compression() {
    let server = Server::start(100, echo).await;
    let channel = channel(&server, ChannelOptions::default());
    let messages: Vec<Vec<u8>> =
        (0..2000usize).map(|n| vec![n as u8; n * 7 % 3000]).chain([vec![7; 1 << 20]]).collect();
    for compression in
        [Compression::Identity, Compression::Gzip, Compression::Deflate, Compression::Zstd]
    {
        let options = CallOptions { compression, ..CallOptions::default() };
        let call = channel.call(METHOD, CallKind::Bidi, options).unwrap();
        let ((), (received, status)) = tokio::join!(send_all(&call, &messages), collect(&call));
        assert!(status.is_ok(), "{}: {status}", compression.name());
        assert!(received == messages, "{}: the messages differ", compression.name());
    }
}

#[tokio::test]
async fn small_messages_gather_for_the_batch_delay() {
    let server = Server::start(100, |_, mut respond: SendResponse<Bytes>| async move {
        let mut stream = respond.send_response(head(), false).unwrap();
        for _ in 0..100 {
            let _ = stream.send_data(frame(b"x"), false);
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        let _ = stream.send_trailers(trailers(0));
    })
    .await;
    let channel = channel(&server, ChannelOptions::default());
    let options =
        CallOptions { max_batch_delay: Duration::from_secs(10), ..CallOptions::default() };
    let call = channel.call_with(METHOD, CallKind::ServerStream, options, b"").unwrap();
    let mut batch = Batch::new();
    until(&call, Interest::MESSAGES).await;
    assert_eq!(call.try_batch(&mut batch), Received::Messages);
    assert_eq!(batch.len(), 100, "one batch, handed over when the stream ended");
}

#[tokio::test]
async fn a_stalled_consumer_stops_the_server_after_the_window_and_the_buffer() {
    let sent = Arc::new(AtomicUsize::new(0));
    let counter = sent.clone();
    let server = Server::start(100, move |_, mut respond: SendResponse<Bytes>| {
        let counter = counter.clone();
        async move {
            let mut stream = respond.send_response(head(), false).unwrap();
            let chunk: Bytes = frame(&[1; 95]).repeat(160).into();
            loop {
                stream.reserve_capacity(chunk.len());
                while stream.capacity() < chunk.len() {
                    match poll_fn(|cx| stream.poll_capacity(cx)).await {
                        Some(Ok(_)) => {}
                        _ => return,
                    }
                }
                if stream.send_data(chunk.clone(), false).is_err() {
                    return;
                }
                counter.fetch_add(chunk.len(), Ordering::SeqCst);
            }
        }
    })
    .await;
    let options = ChannelOptions::default();
    let bound = options.stream_window as usize + 2 * options.receive_buffer;
    let channel = channel(&server, options);
    let call =
        channel.call_with(METHOD, CallKind::ServerStream, CallOptions::default(), b"").unwrap();
    let mut before = usize::MAX;
    while before != sent.load(Ordering::SeqCst) || before == 0 {
        before = sent.load(Ordering::SeqCst);
        tokio::time::sleep(Duration::from_millis(300)).await;
    }
    assert!(before <= bound, "{before} bytes were sent, more than {bound}");
    // The consumer comes back, and so does the stream.
    let mut batch = Batch::new();
    let mut taken = 0;
    while taken < 10 * bound {
        until(&call, Interest::MESSAGES).await;
        assert_eq!(call.try_batch(&mut batch), Received::Messages);
        taken += batch.frames().len();
    }
}

#[tokio::test]
async fn a_sender_that_is_ahead_of_the_server_is_stopped_and_an_early_status_wakes_it() {
    // Reads nothing; answers with a status when told to.
    let answer_now = Arc::new(tokio::sync::Notify::new());
    let told = answer_now.clone();
    let server = Server::start(100, move |request: Request<RecvStream>, mut respond| {
        let told = told.clone();
        async move {
            told.notified().await;
            let mut response = head();
            response.headers_mut().extend(trailers(9));
            let _ = respond.send_response(response, true);
            drop(request);
        }
    })
    .await;
    let options = ChannelOptions { send_buffer: 100_000, ..ChannelOptions::default() };
    let channel = channel(&server, options);
    let call = channel.call(METHOD, CallKind::ClientStream, CallOptions::default()).unwrap();
    let mut accepted = 0;
    let full = async {
        loop {
            if call.try_send(&[0; 1000]).unwrap() {
                accepted += 1;
            } else {
                until(&call, Interest::SENDABLE).await;
            }
        }
    };
    let stopped = tokio::time::timeout(Duration::from_secs(2), full).await;
    assert!(stopped.is_err(), "the sender waits for room");
    // Server's window, h2's buffer, what the driver holds and our buffer.
    assert!(accepted < 2000, "{accepted} kB were accepted");
    assert!(!call.try_send(&[0; 1000]).unwrap());
    answer_now.notify_one();
    until(&call, Interest::SENDABLE).await;
    let error = call.try_send(b"late").unwrap_err();
    assert_eq!(error.status.unwrap().code, Code::FailedPrecondition);
}

#[tokio::test]
async fn many_stalled_streams_of_one_small_message_per_frame_do_not_kill_the_connection() {
    const STREAMS: usize = 20;
    let server = Server::start(1000, |_, mut respond: SendResponse<Bytes>| async move {
        let mut stream = respond.send_response(head(), false).unwrap();
        let message = frame(&[1; 56]);
        for _ in 0..20_000 {
            stream.reserve_capacity(message.len());
            while stream.capacity() < message.len() {
                match poll_fn(|cx| stream.poll_capacity(cx)).await {
                    Some(Ok(_)) => {}
                    _ => return,
                }
            }
            if stream.send_data(message.clone(), false).is_err() {
                return;
            }
        }
        let _ = stream.send_trailers(trailers(0));
    })
    .await;
    let channel = channel(&server, ChannelOptions::default());
    let calls: Vec<_> = (0..STREAMS)
        .map(|_| {
            channel.call_with(METHOD, CallKind::ServerStream, CallOptions::default(), b"").unwrap()
        })
        .collect();
    // All of them stall first, with their windows full of tiny frames.
    tokio::time::sleep(Duration::from_millis(500)).await;
    for call in &calls {
        let (messages, status) = collect(call).await;
        assert!(status.is_ok(), "{status}");
        assert_eq!(messages.len(), 20_000);
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_unary_call_delivers_its_message_only_with_its_status() {
    let server = Server::start(100, |_, mut respond: SendResponse<Bytes>| async move {
        let mut stream = respond.send_response(head(), false).unwrap();
        let _ = stream.send_data(frame(b"answer"), false);
        tokio::time::sleep(Duration::from_millis(300)).await;
        let _ = stream.send_trailers(trailers(5));
    })
    .await;
    let channel = channel(&server, ChannelOptions::default());
    let call = channel.call_with(METHOD, CallKind::Unary, CallOptions::default(), b"").unwrap();
    until(&call, Interest::HEADERS).await;
    let mut batch = Batch::new();
    let started = Instant::now();
    while call.status().is_none() && started.elapsed() < PATIENCE {
        assert_ne!(call.try_batch(&mut batch), Received::Messages);
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let (messages, status) = collect(&call).await;
    assert_eq!(status.code, Code::NotFound);
    assert!(messages.is_empty(), "a status that is not OK wins over the message");
}

#[tokio::test]
async fn any_number_of_empty_data_frames_is_harmless() {
    let server = Server::start(1000, |_, mut respond: SendResponse<Bytes>| async move {
        let mut stream = respond.send_response(head(), false).unwrap();
        for _ in 0..1000 {
            let _ = stream.send_data(Bytes::new(), false);
            let _ = stream.send_data(frame(b"x"), false);
            tokio::task::yield_now().await;
        }
        let _ = stream.send_trailers(trailers(0));
    })
    .await;
    let channel = channel(&server, ChannelOptions::default());
    let call =
        channel.call_with(METHOD, CallKind::ServerStream, CallOptions::default(), b"").unwrap();
    let (messages, status) = collect(&call).await;
    assert!(status.is_ok(), "{status}");
    assert_eq!(messages.len(), 1000);
}
