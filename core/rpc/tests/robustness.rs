//! What a call layer must bear: odd servers, odd options, odd moments.

mod common;

use std::{
    future::Future,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
    },
    task::Context,
    time::Duration,
};

use bytes::Bytes;
use common::*;
use h2::{Reason, RecvStream, server::SendResponse};
use http::Request;
use millstream_rpc::{
    Batch, CallKind, CallOptions, Channel, ChannelOptions, Code, Compression, ConnectivityState,
    ErrorCode, Interest, Metadata, Received,
};
use tokio::{
    io::{AsyncReadExt, AsyncWriteExt},
    net::TcpListener,
};

const METHOD: &str = "/test.v1.Test/Method";
const SETTINGS: u8 = 4;
const GOAWAY: u8 = 7;

fn channel(server: &Server, options: ChannelOptions) -> Channel {
    Channel::new(&server.target(), options, runtime()).unwrap()
}

fn start(channel: &Channel, kind: CallKind, options: CallOptions) -> millstream_rpc::Call {
    channel.call_with(METHOD, kind, options, b"request").unwrap()
}

/// An HTTP/2 frame on the connection itself.
fn frame_of(kind: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = (payload.len() as u32).to_be_bytes()[1..].to_vec();
    frame.extend([kind, 0, 0, 0, 0, 0]);
    frame.extend_from_slice(payload);
    frame
}

fn max_concurrent_streams(most: u32) -> Vec<u8> {
    let mut payload = vec![0, 3];
    payload.extend(most.to_be_bytes());
    frame_of(SETTINGS, &payload)
}

#[test]
fn a_call_on_a_runtime_that_was_shut_down_ends_instead_of_hanging() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let channel =
        Channel::new("http://127.0.0.1:1", ChannelOptions::default(), runtime.handle().clone())
            .unwrap();
    runtime.shutdown_timeout(Duration::from_secs(10));
    let call = start(&channel, CallKind::Unary, CallOptions::default());
    let status = call.status().expect("the call has ended");
    assert_eq!(status.code, Code::Unavailable);
}

#[tokio::test]
async fn endless_answers_to_a_unary_call_end_it_however_slowly_they_come() {
    let server = Server::start(100, |_, mut respond: SendResponse<Bytes>| async move {
        let mut stream = respond.send_response(head(), false).unwrap();
        while stream.send_data(frame(b"again"), false).is_ok() {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
    })
    .await;
    let channel = channel(&server, ChannelOptions::default());
    let options = CallOptions { timeout: Some(Duration::from_secs(20)), ..CallOptions::default() };
    let (messages, status) = collect(&start(&channel, CallKind::Unary, options)).await;
    assert_eq!(status.code, Code::Unimplemented, "{status}");
    assert!(messages.is_empty());
}

#[tokio::test]
async fn durations_that_are_as_good_as_for_ever_are_no_defect() {
    let server = Server::start(100, hold).await;
    let options = ChannelOptions {
        keepalive_time: Some(Duration::MAX),
        keepalive_timeout: Duration::MAX,
        keepalive_without_calls: true,
        connect_timeout: Duration::MAX,
        idle_timeout: Some(Duration::MAX),
        ..ChannelOptions::default()
    };
    let channel = channel(&server, options);
    let options = CallOptions {
        timeout: Some(Duration::MAX),
        max_batch_delay: Duration::MAX,
        ..CallOptions::default()
    };
    let call = start(&channel, CallKind::ServerStream, options);
    until(&call, Interest::HEADERS).await;
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(call.status().is_none(), "{:?}", call.status());
}

#[tokio::test]
async fn a_back_off_that_is_as_good_as_for_ever_is_no_defect() {
    let address = Server::start(1, answer).await.stop().await;
    let options = ChannelOptions {
        backoff_initial: Duration::MAX,
        backoff_max: Duration::MAX,
        ..ChannelOptions::default()
    };
    let channel = Channel::new(&format!("http://{address}"), options, runtime()).unwrap();
    let options = CallOptions { timeout: Some(Duration::from_secs(20)), ..CallOptions::default() };
    let (_, status) = collect(&start(&channel, CallKind::Unary, options)).await;
    assert_eq!(status.code, Code::Unavailable, "{status}");
    assert!(status.message.contains("refused"), "{status}");
}

#[tokio::test]
async fn a_back_off_of_nothing_is_refused() {
    for (initial, most) in [(0, 1000), (1000, 0)] {
        let options = ChannelOptions {
            backoff_initial: Duration::from_millis(initial),
            backoff_max: Duration::from_millis(most),
            ..ChannelOptions::default()
        };
        let error = Channel::new("http://127.0.0.1:1", options, runtime()).expect_err("refused");
        assert_eq!(error.code, ErrorCode::InvalidArgument);
        assert!(error.message.contains("backoff"), "{error}");
    }
}

#[tokio::test]
async fn cancelled_streams_with_data_under_way_do_not_use_up_their_connection() {
    let server = Server::start(1000, |_, mut respond: SendResponse<Bytes>| async move {
        let mut stream = respond.send_response(head(), false).unwrap();
        for _ in 0..50 {
            for _ in 0..20 {
                if stream.send_data(frame(b"small"), false).is_err() {
                    return;
                }
            }
            tokio::task::yield_now().await;
        }
        let _ = std::future::poll_fn(|cx| stream.poll_reset(cx)).await;
    })
    .await;
    let channel = channel(&server, ChannelOptions::default());
    let stays = start(&channel, CallKind::ServerStream, CallOptions::default());
    until(&stays, Interest::MESSAGES).await;
    for round in 0..20 {
        let calls: Vec<_> = (0..200)
            .map(|_| start(&channel, CallKind::ServerStream, CallOptions::default()))
            .collect();
        for call in &calls {
            until(call, Interest::MESSAGES).await;
            assert!(call.status().is_none(), "round {round}: {:?}", call.status());
            call.cancel("enough");
        }
        assert!(stays.status().is_none(), "round {round}: {:?}", stays.status());
    }
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_refused_stream_is_tried_again_without_a_new_connection() {
    let refuse = Arc::new(AtomicBool::new(false));
    let switch = refuse.clone();
    let server = Server::start(100, move |request, mut respond: SendResponse<Bytes>| {
        let refuse = switch.swap(false, Ordering::SeqCst);
        async move {
            if refuse {
                respond.send_reset(Reason::REFUSED_STREAM)
            } else {
                hold(request, respond).await
            }
        }
    })
    .await;
    let channel = channel(&server, ChannelOptions::default());
    let first = start(&channel, CallKind::ServerStream, CallOptions::default());
    until(&first, Interest::HEADERS).await;
    refuse.store(true, Ordering::SeqCst);
    let second = start(&channel, CallKind::ServerStream, CallOptions::default());
    until(&second, Interest::HEADERS).await;
    assert!(second.status().is_none(), "{:?}", second.status());
    assert!(!refuse.load(Ordering::SeqCst), "the server has refused");
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_server_that_greets_and_goes_away_is_not_asked_again_without_a_pause() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("http://{}", listener.local_addr().unwrap());
    let connections = Arc::new(AtomicUsize::new(0));
    let counter = connections.clone();
    tokio::spawn(async move {
        loop {
            let (mut socket, _) = listener.accept().await.unwrap();
            counter.fetch_add(1, Ordering::SeqCst);
            let mut greeting = frame_of(SETTINGS, &[]);
            greeting.extend(frame_of(GOAWAY, &[0; 8]));
            let _ = socket.write_all(&greeting).await;
            tokio::spawn(async move {
                let _ = socket.read_to_end(&mut Vec::new()).await;
            });
        }
    });
    let options =
        ChannelOptions { backoff_initial: Duration::from_secs(1), ..ChannelOptions::default() };
    let channel = Channel::new(&target, options, runtime()).unwrap();
    let options = CallOptions {
        wait_for_ready: true,
        timeout: Some(Duration::from_secs(2)),
        ..CallOptions::default()
    };
    let (_, status) = collect(&start(&channel, CallKind::Unary, options)).await;
    assert_eq!(status.code, Code::DeadlineExceeded, "{status}");
    let connections = connections.load(Ordering::SeqCst);
    assert!((2..10).contains(&connections), "{connections} connections within two seconds");
    // Who does not want to wait is told what is wrong.
    let (_, status) = collect(&start(&channel, CallKind::Unary, CallOptions::default())).await;
    assert_eq!(status.code, Code::Unavailable, "{status}");
}

#[tokio::test]
async fn a_raised_limit_on_streams_is_noticed_by_calls_that_wait_for_a_place() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("http://{}", listener.local_addr().unwrap());
    let options = ChannelOptions { max_connections: 1, ..ChannelOptions::default() };
    let channel = Channel::new(&target, options, runtime()).unwrap();
    let options = CallOptions { wait_for_ready: true, ..CallOptions::default() };
    let call = start(&channel, CallKind::Unary, options);
    let (mut socket, _) = listener.accept().await.unwrap();
    socket.write_all(&max_concurrent_streams(0)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert!(call.status().is_none(), "{:?}", call.status());
    socket.write_all(&max_concurrent_streams(1)).await.unwrap();
    let headers = async {
        let mut preface = [0; 24];
        socket.read_exact(&mut preface).await.unwrap();
        loop {
            let mut header = [0; 9];
            socket.read_exact(&mut header).await.unwrap();
            let length = u32::from_be_bytes([0, header[0], header[1], header[2]]) as usize;
            socket.read_exact(&mut vec![0; length]).await.unwrap();
            if header[3] == 1 {
                return;
            }
        }
    };
    tokio::time::timeout(Duration::from_secs(20), headers).await.expect("the request is sent");
}

#[tokio::test]
async fn small_messages_that_inflate_to_a_lot_do_not_outgrow_the_receive_buffer() {
    const MESSAGE: usize = 1 << 20;
    const COUNT: usize = 100;
    let server = Server::start(100, |_, mut respond: SendResponse<Bytes>| async move {
        let mut response = head();
        response.headers_mut().insert("grpc-encoding", "zstd".parse().unwrap());
        let mut stream = respond.send_response(response, false).unwrap();
        let small = zstd::stream::encode_all(&vec![0; MESSAGE][..], 0).unwrap();
        let mut message = vec![1];
        message.extend((small.len() as u32).to_be_bytes());
        message.extend(small);
        let _ = stream.send_data(message.repeat(COUNT).into(), false);
        let _ = stream.send_trailers(trailers(0));
    })
    .await;
    let options = ChannelOptions::default();
    let bound = options.receive_buffer + 2 * MESSAGE;
    let channel = channel(&server, options);
    let call = start(&channel, CallKind::ServerStream, CallOptions::default());
    let mut batch = Batch::new();
    let mut messages = 0;
    loop {
        until(&call, Interest::MESSAGES).await;
        // Time to grow.
        tokio::time::sleep(Duration::from_millis(20)).await;
        match call.try_batch(&mut batch) {
            Received::Messages => {
                assert!(batch.frames().len() <= bound, "{} bytes waited", batch.frames().len());
                assert!(batch.iter().all(|message| message.len() == MESSAGE));
                messages += batch.len();
            }
            Received::Empty => {}
            Received::End => break,
        }
    }
    assert!(call.status().unwrap().is_ok(), "{}", call.status().unwrap());
    assert_eq!(messages, COUNT);
}

#[tokio::test]
async fn more_metadata_than_http_can_hold_is_refused_and_many_values_of_a_key_are_not() {
    let server = Server::start(100, |request: Request<RecvStream>, respond| async move {
        let values = request.headers().get_all("x-many").iter().count();
        assert_eq!(values, 26_000);
        answer(request, respond).await;
    })
    .await;
    let channel = channel(&server, ChannelOptions::default());
    let mut metadata = Metadata::new();
    for _ in 0..26_000 {
        metadata.append("x-many", b"").unwrap();
    }
    let options = CallOptions { metadata, ..CallOptions::default() };
    let (_, status) = collect(&start(&channel, CallKind::Unary, options)).await;
    assert!(status.is_ok(), "{status}");
    let mut metadata = Metadata::new();
    for n in 0..26_000 {
        metadata.append(&format!("x-{n}"), b"").unwrap();
    }
    let options = CallOptions { metadata, ..CallOptions::default() };
    let error = channel.call(METHOD, CallKind::Unary, options).err().expect("too many keys");
    assert_eq!(error.code, ErrorCode::InvalidMetadata);
}

#[tokio::test]
async fn waits_for_a_state_that_were_given_up_leave_nothing_behind() {
    struct Silent;
    impl std::task::Wake for Silent {
        fn wake(self: Arc<Self>) {}
    }
    let channel = Channel::new("http://127.0.0.1:1", ChannelOptions::default(), runtime()).unwrap();
    let waker = Arc::new(Silent);
    {
        let wait = std::pin::pin!(channel.state_change(ConnectivityState::Idle));
        let its_waker = waker.clone().into();
        assert!(wait.poll(&mut Context::from_waker(&its_waker)).is_pending());
        assert!(Arc::strong_count(&waker) > 2);
    }
    assert_eq!(Arc::strong_count(&waker), 1);
    let waiting = tokio::spawn({
        let channel = channel.clone();
        async move { channel.state_change(ConnectivityState::Idle).await }
    });
    tokio::task::yield_now().await;
    channel.connect();
    let state = tokio::time::timeout(PATIENCE, waiting).await.unwrap().unwrap();
    assert_ne!(state, ConnectivityState::Idle);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_waits_while_a_large_message_is_compressed() {
    let server = Server::start(100, hold).await;
    let channel = channel(&server, ChannelOptions::default());
    let options = CallOptions { compression: Compression::Gzip, ..CallOptions::default() };
    let call = channel.call(METHOD, CallKind::Bidi, options).unwrap();
    // Hard to compress, so that it takes a while.
    let mut number = 1_u32;
    let message: Vec<u8> = std::iter::repeat_with(|| {
        number ^= number << 13;
        number ^= number >> 17;
        number ^= number << 5;
        number as u8
    })
    .take(32 << 20)
    .collect();
    let (started, is_started) = tokio::sync::oneshot::channel();
    let done = Arc::new(AtomicBool::new(false));
    let (sender, sent) = (call.clone(), done.clone());
    let sending = tokio::task::spawn_blocking(move || {
        let mut started = Some(started);
        let mut once = std::iter::once(&message[..]).inspect(|_| {
            let _ = started.take().map(|started| started.send(()));
        });
        let error = sender.try_send_many(&mut once).unwrap_err();
        assert_eq!(error.code, ErrorCode::CallEnded);
        sent.store(true, Ordering::SeqCst);
    });
    is_started.await.unwrap();
    assert!(call.ready(Interest::SENDABLE));
    assert!(!done.load(Ordering::SeqCst), "the look waited for the message");
    call.cancel("enough");
    sending.await.unwrap();
}

#[tokio::test]
async fn a_connection_attempt_ends_with_its_channel() {
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("http://{}", silent.local_addr().unwrap());
    let options =
        ChannelOptions { connect_timeout: Duration::from_secs(3600), ..ChannelOptions::default() };
    for closes in [true, false] {
        let channel = Channel::new(&target, options.clone(), runtime()).unwrap();
        channel.connect();
        let (mut socket, _) = silent.accept().await.unwrap();
        assert_eq!(channel.state(), ConnectivityState::Connecting);
        let kept = closes.then(|| channel.clone());
        if closes {
            channel.close();
        }
        drop(channel);
        let mut preface = Vec::new();
        let gone = tokio::time::timeout(PATIENCE, socket.read_to_end(&mut preface)).await;
        let _ = gone.expect("the attempt is given up");
        drop(kept);
    }
}

#[test]
fn what_http_counts_itself_cannot_be_set_as_metadata() {
    let error = Metadata::new().append("content-length", b"3").expect_err("reserved");
    assert_eq!(error.code, ErrorCode::InvalidMetadata);
}
