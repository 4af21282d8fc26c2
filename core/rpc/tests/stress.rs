//! Many calls of every kind against a server that misbehaves and restarts: each of them ends exactly
//! once, and nothing is left of them.

mod common;

use std::{
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicUsize, Ordering},
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
use tokio::time::{sleep, timeout};

const CHAOS: Duration = Duration::from_secs(5);
const USERS: u64 = 48;
const METHODS: [&str; 10] =
    ["Echo", "Echo", "Answer", "Hold", "Flood", "Reset", "Refuse", "Fail", "Html", "Vanish"];

/// Numbers that look random and are the same in every run.
struct Random(u64);

impl Random {
    fn below(&mut self, bound: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        (self.0 >> 11) % bound
    }

    fn one_in(&mut self, n: u64) -> bool {
        self.below(n) == 0
    }

    async fn pause(&mut self, most: u64) {
        sleep(Duration::from_millis(self.below(most))).await;
    }
}

/// Calls that the server is serving now.
#[derive(Clone, Default)]
struct Serving(Arc<AtomicUsize>);

impl Serving {
    fn enter(&self) -> Served {
        self.0.fetch_add(1, Ordering::SeqCst);
        Served(self.clone())
    }
}

struct Served(Serving);

impl Drop for Served {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::SeqCst);
    }
}

async fn serve(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let method = request.uri().path().rsplit('/').next().unwrap_or_default().to_owned();
    match &*method {
        "Echo" => echo(request, respond).await,
        "Answer" => answer(request, respond).await,
        "Hold" => hold(request, respond).await,
        "Flood" => flood(respond).await,
        "Reset" => respond.send_reset(Reason::INTERNAL_ERROR),
        "Refuse" => respond.send_reset(Reason::REFUSED_STREAM),
        "Fail" => {
            let mut response = head();
            response.headers_mut().extend(trailers(9));
            let _ = respond.send_response(response, true);
        }
        "Html" => {
            let response = http::Response::builder().status(503).body(()).unwrap();
            if let Ok(mut stream) = respond.send_response(response, false) {
                let _ = stream.send_data(Bytes::from_static(b"<html>"), true);
            }
        }
        // Drops the stream without a word.
        _ => {}
    }
}

/// Sends back what comes, as fast as it is taken.
async fn echo(request: Request<RecvStream>, mut respond: SendResponse<Bytes>) {
    let mut response = head();
    if let Some(encoding) = request.headers().get("grpc-encoding") {
        response.headers_mut().insert("grpc-encoding", encoding.clone());
    }
    let mut body = request.into_body();
    let Ok(mut stream) = respond.send_response(response, false) else { return };
    while let Some(Ok(mut chunk)) = body.data().await {
        let _ = body.flow_control().release_capacity(chunk.len());
        while !chunk.is_empty() {
            let Some(room) = room(&mut stream, chunk.len()).await else { return };
            if stream.send_data(chunk.split_to(room), false).is_err() {
                return;
            }
        }
    }
    let _ = stream.send_trailers(trailers(0));
}

async fn flood(mut respond: SendResponse<Bytes>) {
    let Ok(mut stream) = respond.send_response(head(), false) else { return };
    let message = frame(&[1; 40]);
    for _ in 0..50_000 {
        match room(&mut stream, message.len()).await {
            // A message that was cut stays cut.
            Some(room) if room < message.len() => break,
            Some(_) => {}
            None => return,
        }
        if stream.send_data(message.clone(), false).is_err() {
            return;
        }
    }
    let _ = stream.send_trailers(trailers(0));
}

/// Waits until some of `wanted` bytes may be sent.
async fn room(stream: &mut h2::SendStream<Bytes>, wanted: usize) -> Option<usize> {
    stream.reserve_capacity(wanted);
    while stream.capacity() == 0 {
        std::future::poll_fn(|cx| stream.poll_capacity(cx)).await?.ok()?;
    }
    Some(stream.capacity().min(wanted))
}

#[derive(Default)]
struct Tally {
    ended: AtomicUsize,
    ok: AtomicUsize,
    dropped: AtomicUsize,
    cancelled: AtomicUsize,
    late: AtomicUsize,
    unavailable: AtomicUsize,
}

fn add(counter: &AtomicUsize) {
    counter.fetch_add(1, Ordering::Relaxed);
}

/// One call, used as somebody might use it.
async fn use_call(channel: &Channel, random: &mut Random, tally: &Tally) {
    let method = METHODS[random.below(METHODS.len() as u64) as usize];
    let kind = CallKind::from_i32(random.below(4) as i32).unwrap();
    let options = CallOptions {
        timeout: random.one_in(3).then(|| Duration::from_millis(random.below(200))),
        wait_for_ready: random.one_in(2),
        compression: Compression::from_i32(random.below(4) as i32).unwrap(),
        max_batch_delay: Duration::from_millis(if random.one_in(4) { random.below(20) } else { 0 }),
        ..CallOptions::default()
    };
    let has_deadline = options.timeout.is_some();
    let call = channel.call(&format!("/test.v1.Test/{method}"), kind, options).unwrap();
    let requests: Vec<Vec<u8>> = (0..if kind.one_request() { 1 } else { random.below(30) })
        .map(|n| {
            let most = if random.one_in(20) { 300_000 } else { 300 };
            vec![n as u8; random.below(most) as usize]
        })
        .collect();
    if random.one_in(10) {
        random.pause(20).await;
        drop(call);
        add(&tally.dropped);
        return;
    }
    let slow = if random.one_in(4) { 5 } else { 1 };
    let patience = Duration::from_millis(50 + random.below(300));
    let whole = async {
        let (sent, received) = tokio::join!(send(&call, &requests), receive(&call, slow));
        (sent, received)
    };
    let mut stopped = false;
    let done = match timeout(patience, whole).await {
        Ok(done) => Some(done),
        Err(_) if random.one_in(3) => {
            drop(call);
            add(&tally.dropped);
            return;
        }
        Err(_) => {
            stopped = true;
            call.cancel("no patience");
            None
        }
    };
    timeout(PATIENCE, until(&call, Interest::STATUS)).await.expect("the call ends");
    let status = call.status().expect("a call that has ended has a status");
    add(&tally.ended);
    match status.code {
        Code::Ok => add(&tally.ok),
        Code::Cancelled => {
            assert!(stopped || method == "Vanish", "{method} {kind:?}: {status}");
            add(&tally.cancelled);
        }
        Code::DeadlineExceeded => {
            assert!(has_deadline, "{method} {kind:?}: {status}");
            add(&tally.late);
        }
        Code::Unavailable => add(&tally.unavailable),
        _ => {}
    }
    assert!(!status.message.contains("defect"), "{method} {kind:?}: {status}");
    if let Some((true, received)) = done
        && status.is_ok()
        && method == "Echo"
    {
        assert!(received == requests, "{kind:?}: the echo differs");
    }
    // Nothing changes what has ended.
    call.cancel("too late");
    let refused = call.try_send(b"late").unwrap_err().code;
    // Behind the half-close it is misuse; before it, too late.
    assert!(matches!(refused, ErrorCode::CallEnded | ErrorCode::InvalidState), "{refused:?}");
    let mut batch = Batch::new();
    while call.try_batch(&mut batch) == Received::Messages {}
    assert!(Arc::ptr_eq(&status, &call.status().unwrap()), "a call ends once");
}

/// Sends everything, or until the call has ended; then it is `false`.
async fn send(call: &Call, requests: &[Vec<u8>]) -> bool {
    for request in requests {
        loop {
            match call.try_send(request) {
                Ok(true) => break,
                Ok(false) => until(call, Interest::SENDABLE).await,
                Err(error) => {
                    assert_eq!(error.code, ErrorCode::CallEnded, "{error}");
                    return false;
                }
            }
        }
    }
    call.half_close().unwrap();
    true
}

async fn receive(call: &Call, pause: u64) -> Vec<Vec<u8>> {
    let mut messages = Vec::new();
    let mut batch = Batch::new();
    loop {
        match call.try_batch(&mut batch) {
            Received::Messages => messages.extend(batch.iter().map(<[u8]>::to_vec)),
            Received::Empty => until(call, Interest::MESSAGES).await,
            Received::End => return messages,
        }
        sleep(Duration::from_millis(pause - 1)).await;
    }
}

/// Waits until a count is zero.
async fn none_left(what: &str, count: impl Fn() -> usize) {
    let start = Instant::now();
    while count() > 0 {
        assert!(start.elapsed() < PATIENCE, "{} {what} are left", count());
        sleep(Duration::from_millis(20)).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_call_ends_once_and_leaves_nothing_whatever_happens_to_it() {
    // The client has a runtime of its own, so that its tasks can be counted.
    let client =
        tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
    let serving = Serving::default();
    let handler = {
        let serving = serving.clone();
        move |request, respond| {
            let served = serving.enter();
            async move {
                let _served = served;
                serve(request, respond).await;
            }
        }
    };
    let mut server = Server::start(8, handler.clone()).await;
    let options = ChannelOptions {
        backoff_initial: Duration::from_millis(10),
        backoff_max: Duration::from_millis(50),
        idle_timeout: Some(Duration::from_millis(30)),
        max_connections: 4,
        ..ChannelOptions::default()
    };
    let channel = Channel::new(&server.target(), options, client.handle().clone()).unwrap();
    let tally = Arc::new(Tally::default());
    let over = Arc::new(AtomicBool::new(false));
    let users: Vec<_> = (1..=USERS)
        .map(|user| {
            let (channel, tally, over) = (channel.clone(), tally.clone(), over.clone());
            tokio::spawn(async move {
                let mut random = Random(user.wrapping_mul(0x9e37_79b9_7f4a_7c15));
                while !over.load(Ordering::Relaxed) {
                    use_call(&channel, &mut random, &tally).await;
                }
            })
        })
        .collect();
    let start = Instant::now();
    let mut random = Random(42);
    while start.elapsed() < CHAOS {
        random.pause(400).await;
        if random.one_in(2) {
            server.drain.notify_waiters();
        } else {
            let address = server.stop().await;
            random.pause(100).await;
            server = Server::start_at(address, 8, handler.clone()).await;
        }
    }
    over.store(true, Ordering::Relaxed);
    for user in users {
        timeout(PATIENCE, user).await.expect("no user hangs").unwrap();
    }
    for (what, counter) in [
        ("ended", &tally.ended),
        ("were OK", &tally.ok),
        ("were cancelled", &tally.cancelled),
        ("were dropped", &tally.dropped),
        ("were late", &tally.late),
        ("were unavailable", &tally.unavailable),
    ] {
        let count = counter.load(Ordering::Relaxed);
        println!("{count} calls {what}");
        assert!(count > 0, "no calls {what}: the test tests nothing");
    }
    none_left("calls on the server", || serving.0.load(Ordering::SeqCst)).await;
    // The channel is well afterwards.
    let options = CallOptions { wait_for_ready: true, ..CallOptions::default() };
    let call = channel.call_with("/test.v1.Test/Answer", CallKind::Unary, options, b"").unwrap();
    assert!(collect(&call).await.1.is_ok());
    drop(call);
    drop(channel);
    none_left("tasks of the client", || client.metrics().num_alive_tasks()).await;
    client.shutdown_background();
}
