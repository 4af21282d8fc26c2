//! Connections: how many, when, and what their end does to calls.

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    },
    time::Duration,
};

use common::*;
use millstream_rpc::{
    CallKind, CallOptions, Channel, ChannelOptions, Code, ConnectivityState, Interest,
};
use tokio::sync::Notify;

const METHOD: &str = "/test.v1.Test/Method";

fn channel(server: &Server, options: ChannelOptions) -> Channel {
    Channel::new(&server.target(), options, runtime()).unwrap()
}

fn start(channel: &Channel, kind: CallKind, options: CallOptions) -> millstream_rpc::Call {
    channel.call_with(METHOD, kind, options, b"request").unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_thousand_streams_open_on_as_many_connections_as_the_peer_s_limit_asks_for() {
    let server = Server::start(100, hold).await;
    let channel = channel(&server, ChannelOptions::default());
    let calls: Vec<_> = (0..1000)
        .map(|_| start(&channel, CallKind::ServerStream, CallOptions::default()))
        .collect();
    for call in &calls {
        until(call, Interest::HEADERS).await;
        assert!(call.status().is_none(), "{:?}", call.status());
    }
    assert_eq!(server.connections(), 10);
}

#[tokio::test]
async fn a_call_past_the_cap_on_connections_fails_at_once_and_says_why() {
    let server = Server::start(1, hold).await;
    let options = ChannelOptions { max_connections: 2, ..ChannelOptions::default() };
    let channel = channel(&server, options);
    let open: Vec<_> =
        (0..2).map(|_| start(&channel, CallKind::ServerStream, CallOptions::default())).collect();
    for call in &open {
        until(call, Interest::HEADERS).await;
    }
    let (_, status) =
        collect(&start(&channel, CallKind::ServerStream, CallOptions::default())).await;
    assert_eq!(status.code, Code::Unavailable);
    assert!(status.message.contains("MAX_CONCURRENT_STREAMS"), "{status}");
    assert!(status.message.contains("max_connections"), "{status}");

    let options = CallOptions { wait_for_ready: true, ..CallOptions::default() };
    let waiting = start(&channel, CallKind::ServerStream, options);
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(waiting.headers().is_none(), "there is no place yet");
    open[0].cancel("make room");
    until(&waiting, Interest::HEADERS).await;
    assert!(waiting.status().is_none());
}

#[tokio::test]
async fn a_goaway_lets_open_streams_end_and_sends_new_calls_elsewhere() {
    let go = Arc::new(Notify::new());
    let release = go.clone();
    let server = Server::start(100, move |_, mut respond| {
        let release = release.clone();
        async move {
            let mut stream = respond.send_response(head(), false).unwrap();
            stream.send_data(frame(b"first"), false).unwrap();
            release.notified().await;
            stream.send_data(frame(b"second"), false).unwrap();
            stream.send_trailers(trailers(0)).unwrap();
        }
    })
    .await;
    let channel = channel(&server, ChannelOptions::default());
    let old = start(&channel, CallKind::ServerStream, CallOptions::default());
    until(&old, Interest::MESSAGES).await;
    server.drain.notify_waiters();
    // The GOAWAY is on its way: calls that meet it go to the new connection unharmed.
    let mut new = Vec::new();
    while server.connections() < 2 {
        let call = start(&channel, CallKind::ServerStream, CallOptions::default());
        until(&call, Interest::MESSAGES).await;
        new.push(call);
    }
    for call in new.iter().chain([&old]) {
        go.notify_one();
        assert!(call.status().is_none(), "{:?}", call.status());
    }
    for _ in 0..new.len() {
        go.notify_one();
        tokio::task::yield_now().await;
    }
    go.notify_waiters();
    let finishing = tokio::spawn(async move {
        loop {
            go.notify_waiters();
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    });
    for call in new.iter().chain([&old]) {
        let (messages, status) = collect(call).await;
        assert!(status.is_ok(), "{status}");
        assert_eq!(messages, [b"first".to_vec(), b"second".to_vec()]);
    }
    finishing.abort();
}

#[tokio::test]
async fn a_refused_connection_names_the_target_and_the_next_one_waits_for_the_back_off() {
    let address = Server::start(1, answer).await.stop().await;
    let options =
        ChannelOptions { backoff_initial: Duration::from_secs(30), ..ChannelOptions::default() };
    let channel = Channel::new(&format!("http://{address}"), options, runtime()).unwrap();
    assert_eq!(channel.state(), ConnectivityState::Idle);
    for _ in 0..3 {
        let (_, status) = collect(&start(&channel, CallKind::Unary, CallOptions::default())).await;
        assert_eq!(status.code, Code::Unavailable);
        assert!(status.message.contains(&address.to_string()), "{status}");
        assert!(status.message.contains("refused"), "{status}");
    }
    assert_eq!(channel.state(), ConnectivityState::TransientFailure);
    // The server is back, but the back-off holds.
    let server = Server::start_at(address, 1, answer).await;
    let (_, status) = collect(&start(&channel, CallKind::Unary, CallOptions::default())).await;
    assert!(status.message.contains("next attempt in"), "{status}");
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_call_that_waits_for_ready_is_served_once_the_server_is_there() {
    let address = Server::start(1, answer).await.stop().await;
    let options = ChannelOptions {
        backoff_initial: Duration::from_millis(20),
        backoff_max: Duration::from_millis(50),
        ..ChannelOptions::default()
    };
    let channel = Channel::new(&format!("http://{address}"), options, runtime()).unwrap();
    let options = CallOptions { wait_for_ready: true, ..CallOptions::default() };
    let call = start(&channel, CallKind::Unary, options);
    tokio::time::sleep(Duration::from_millis(200)).await;
    assert!(call.status().is_none());
    let _server = Server::start_at(address, 1, answer).await;
    let (messages, status) = collect(&call).await;
    assert!(status.is_ok(), "{status}");
    assert_eq!(messages, [b"answer"]);
}

#[tokio::test]
async fn a_lost_connection_fails_its_calls_and_the_next_call_makes_a_new_one() {
    let server = Server::start(100, hold).await;
    let options =
        ChannelOptions { backoff_initial: Duration::from_millis(1), ..ChannelOptions::default() };
    let channel = channel(&server, options);
    let call = start(&channel, CallKind::ServerStream, CallOptions::default());
    until(&call, Interest::HEADERS).await;
    let address = server.stop().await;
    let (_, status) = collect(&call).await;
    assert_eq!(status.code, Code::Unavailable);
    assert!(status.message.contains(&address.to_string()), "{status}");
    let _server = Server::start_at(address, 100, answer).await;
    let options = CallOptions { wait_for_ready: true, ..CallOptions::default() };
    let (_, status) = collect(&start(&channel, CallKind::Unary, options)).await;
    assert!(status.is_ok(), "{status}");
}

#[tokio::test]
async fn a_connection_without_calls_is_closed_after_the_idle_timeout_and_made_again() {
    let server = Server::start(100, answer).await;
    let options = ChannelOptions {
        idle_timeout: Some(Duration::from_millis(50)),
        ..ChannelOptions::default()
    };
    let channel = channel(&server, options);
    for round in 1..=2 {
        let (_, status) = collect(&start(&channel, CallKind::Unary, CallOptions::default())).await;
        assert!(status.is_ok(), "{status}");
        assert_eq!(server.connections(), round);
        let idle = async {
            while channel.state() != ConnectivityState::Idle {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(PATIENCE, idle).await.expect("the connection is closed");
    }
}

#[tokio::test]
async fn a_link_that_swallows_everything_is_noticed_by_the_keepalive() {
    // A proxy that stops forwarding when told to.
    let server = Server::start(100, hold).await;
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("http://{}", listener.local_addr().unwrap());
    let black_hole = Arc::new(Notify::new());
    let (swallow, upstream) = (black_hole.clone(), server.address);
    tokio::spawn(async move {
        let (mut down, _) = listener.accept().await.unwrap();
        let mut up = tokio::net::TcpStream::connect(upstream).await.unwrap();
        tokio::select! {
            _ = tokio::io::copy_bidirectional(&mut down, &mut up) => {}
            () = swallow.notified() => {}
        }
        std::future::pending::<()>().await;
        drop((down, up));
    });
    let options = ChannelOptions {
        keepalive_time: Some(Duration::from_secs(10)),
        keepalive_timeout: Duration::from_millis(500),
        ..ChannelOptions::default()
    };
    let channel = Channel::new(&target, options, runtime()).unwrap();
    let call = start(&channel, CallKind::ServerStream, CallOptions::default());
    until(&call, Interest::HEADERS).await;
    black_hole.notify_one();
    let (_, status) = collect(&call).await;
    assert_eq!(status.code, Code::Unavailable);
    assert!(status.message.contains("keepalive"), "{status}");
}

#[tokio::test]
async fn closing_a_channel_ends_its_calls_and_refuses_new_ones() {
    let server = Server::start(100, hold).await;
    let channel = channel(&server, ChannelOptions::default());
    let call = start(&channel, CallKind::ServerStream, CallOptions::default());
    until(&call, Interest::HEADERS).await;
    channel.close();
    channel.close();
    let (_, status) = collect(&call).await;
    assert_eq!(status.code, Code::Cancelled);
    assert!(status.message.contains("channel was closed"), "{status}");
    let error = channel
        .call(METHOD, CallKind::Unary, CallOptions::default())
        .err()
        .expect("a closed channel starts no call");
    assert_eq!(error.code, millstream_rpc::ErrorCode::Closed);
    assert_eq!(channel.state(), ConnectivityState::Shutdown);
}

#[tokio::test]
async fn connections_end_with_the_last_channel_and_the_last_call() {
    let ended = Arc::new(AtomicUsize::new(0));
    let counter = ended.clone();
    let server = Server::start(100, move |request, respond| {
        let counter = counter.clone();
        // Counts however the call ends: by a reset, or with the connection.
        struct Count(Arc<AtomicUsize>);
        impl Drop for Count {
            fn drop(&mut self) {
                self.0.fetch_add(1, Ordering::SeqCst);
            }
        }
        async move {
            let _count = Count(counter);
            hold(request, respond).await;
        }
    })
    .await;
    let channel = channel(&server, ChannelOptions::default());
    let call = start(&channel, CallKind::ServerStream, CallOptions::default());
    until(&call, Interest::HEADERS).await;
    drop(channel);
    tokio::time::sleep(Duration::from_millis(50)).await;
    assert!(call.status().is_none(), "an open call outlives the channel's handles");
    drop(call);
    let gone = async {
        while ended.load(Ordering::SeqCst) == 0 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    tokio::time::timeout(PATIENCE, gone).await.expect("the server saw the call end");
}

#[test]
fn a_runtime_that_shuts_down_ends_its_calls() {
    let runtime = tokio::runtime::Runtime::new().unwrap();
    let call = runtime.block_on(async {
        let server = Server::start(100, hold).await;
        let channel = channel(&server, ChannelOptions::default());
        let call = start(&channel, CallKind::ServerStream, CallOptions::default());
        until(&call, Interest::HEADERS).await;
        call
    });
    runtime.shutdown_timeout(Duration::from_secs(10));
    let status = call.status().expect("the call has ended");
    assert_eq!(status.code, Code::Unavailable);
}
