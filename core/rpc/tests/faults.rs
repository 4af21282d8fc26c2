//! The shared vectors: how calls end when a server breaks gRPC and HTTP/2 on purpose.
//!
//! The server (`contract-tests/fault-server`) is another HTTP/2 stack than ours. Every language runs
//! the same cases; `contract-tests/vectors/README.md` describes them.

use std::{
    collections::HashSet,
    future::{Future, poll_fn},
    sync::Arc,
    time::Duration,
};

use fault_server::{
    FaultServer,
    vectors::{self, Binary, Case},
};
use flate2::Crc;
use millstream_rpc::{
    Batch, Call, CallKind, CallOptions, Channel, ChannelOptions, Compression, ErrorCode, Interest,
    Metadata, Received, Status,
};
use tokio::{runtime::Handle, sync::Mutex, time::timeout};

/// Servers that the cases are spread over; on each of them they run one after the other.
const SERVERS: usize = 4;
/// How much longer than its deadline a call may take on a busy machine before it counts as hung.
const PATIENCE: Duration = Duration::from_secs(60);

/// Measuring memory and making it at the same time do not go together.
static ALONE: Mutex<()> = Mutex::const_new(());

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_end_as_the_shared_vectors_say() {
    let _alone = ALONE.lock().await;
    let cases: Vec<Case> = vectors::load()
        .expect("faults.json is as its format says")
        .into_iter()
        .filter(|case| std::env::var("FAULT_CASE").map_or(true, |part| case.name.contains(&part)))
        .collect();
    let total = cases.len();
    assert!(total > 0, "no case has the text of FAULT_CASE in its name");
    let cases = Arc::new(cases);
    let workers: Vec<_> = (0..SERVERS)
        .map(|worker| {
            let cases = cases.clone();
            tokio::spawn(async move {
                let server = start().await;
                let mut failures = Vec::new();
                for (index, case) in cases.iter().enumerate().skip(worker).step_by(SERVERS) {
                    let wrong = check(&server, case).await;
                    if !wrong.is_empty() {
                        failures.push((index, report(case, &wrong)));
                    }
                }
                failures
            })
        })
        .collect();
    let mut failures = Vec::new();
    for worker in workers {
        failures.extend(worker.await.expect("the harness does not panic"));
    }
    failures.sort();
    let count = failures.len();
    let text: Vec<_> = failures.into_iter().map(|(_, text)| text).collect();
    assert!(count == 0, "{count} of {total} cases fail:\n\n{}", text.join("\n"));
}

#[cfg(target_os = "linux")]
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_bomb_or_an_empty_promise_costs_no_memory_beyond_the_limit() {
    /// The limit of 4 MiB, twice over for buffers that grow by doubling, and room for the harness.
    const BOUND: u64 = 24 << 20;
    let _alone = ALONE.lock().await;
    let server = start().await;
    let cases = vectors::load().expect("faults.json is as its format says");
    let hungry: Vec<_> = cases
        .iter()
        .filter(|case| {
            ["Bomb", "Declared", "ZstdWindow", "ZstdContentSize", "Metadata-2000000", "Endless"]
                .iter()
                .any(|part| case.path.contains(part))
        })
        .collect();
    assert!(hungry.len() >= 8, "the vectors have no bombs any more");
    for case in hungry {
        // Once to warm up: the server makes its bomb with the first call.
        let _ = attempt(&server, case).await;
        std::fs::write("/proc/self/clear_refs", "5").expect("resets the high-water mark");
        let before = memory("VmRSS");
        let _ = attempt(&server, case).await;
        let grown = memory("VmHWM").saturating_sub(before);
        assert!(grown < BOUND, "{}: {} KiB of memory were needed", case.name, grown >> 10);
    }
}

/// A line of /proc/self/status, in bytes.
#[cfg(target_os = "linux")]
fn memory(line: &str) -> u64 {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux has it");
    let value = status.lines().find_map(|l| l.strip_prefix(line)?.strip_prefix(':'));
    let kib = value.and_then(|value| value.trim().strip_suffix(" kB")).expect("a size in kB");
    kib.trim().parse::<u64>().expect("a number") << 10
}

async fn start() -> FaultServer {
    FaultServer::start("127.0.0.1:0".parse().expect("an address")).await.expect("free ports")
}

/// What is wrong with a case, each complaint once: a case of many calls has many alike.
fn report(case: &Case, wrong: &[String]) -> String {
    let mut seen = HashSet::new();
    let wrong: Vec<_> =
        wrong.iter().filter(|line| seen.insert(*line)).map(String::as_str).collect();
    format!(
        "{}\n    {} on {}, {}\n    {}\n    because: {}\n",
        case.name,
        case.path,
        case.listener,
        case.kind,
        wrong.join("\n    "),
        case.expect.note
    )
}

/// How a call ended.
struct Outcome {
    status: Arc<Status>,
    headers: Arc<Metadata>,
    messages: usize,
    bytes: usize,
    crc32: u32,
}

/// Everything that is wrong with how a case ends; nothing when it is as expected.
async fn check(server: &FaultServer, case: &Case) -> Vec<String> {
    let mut wrong = Vec::new();
    let before = seen(server, case).await;
    let (channel, outcomes) = match attempt(server, case).await {
        Ok(done) => done,
        Err(error) => return vec![error],
    };
    for outcome in &outcomes {
        compare(case, outcome, &mut wrong);
    }
    if let (Some(attempts), Ok(before)) = (case.expect.attempts, before) {
        match seen(server, case).await {
            Ok(after) if after - before == attempts => {}
            Ok(after) => wrong.push(format!(
                "expected that the server sees the call {attempts} times, it saw it {}",
                after - before
            )),
            Err(error) => wrong.push(error),
        }
    }
    if case.recovers
        && let Err(error) = good(&channel).await
    {
        wrong.push(format!("expected a good call on the same channel afterwards, got {error}"));
    }
    channel.close();
    wrong
}

fn compare(case: &Case, outcome: &Outcome, wrong: &mut Vec<String>) {
    let expect = &case.expect;
    let status = &outcome.status;
    let got = format!(
        "{} {:?} with {} messages of {} bytes",
        status.code.name(),
        status.message,
        outcome.messages,
        outcome.bytes
    );
    let codes = expect.codes();
    if !codes.contains(&status.code.name()) {
        wrong.push(format!("expected {}, got {got}", codes.join(" or ")));
    }
    for part in &expect.message_contains {
        if !status.message.contains(part) {
            wrong.push(format!("expected {part:?} in the message, got {got}"));
        }
    }
    if expect.message_max_bytes.is_some_and(|most| status.message.len() > most) {
        wrong.push(format!("expected a shorter message, got {} bytes", status.message.len()));
    }
    if expect.messages.is_some_and(|messages| messages != outcome.messages) {
        wrong.push(format!("expected {} messages, got {got}", expect.messages.unwrap_or(0)));
    } else if expect.messages_crc32.is_some_and(|crc32| crc32 != outcome.crc32) {
        wrong.push(format!("expected other bytes in the messages, got {got}"));
    }
    for (what, expected, metadata) in [
        ("headers", &expect.headers, &*outcome.headers),
        ("trailers", &expect.trailers, &status.trailers),
    ] {
        for (key, _) in expected {
            let values = |entries: &mut dyn Iterator<Item = (&str, &[u8])>| -> Vec<String> {
                entries
                    .filter(|(k, _)| k == key)
                    .map(|(_, v)| v.escape_ascii().to_string())
                    .collect()
            };
            let want = values(&mut expected.iter().map(|(k, v)| (k.as_str(), v.0.as_slice())));
            let have = values(&mut metadata.iter());
            if want != have {
                wrong.push(format!("expected {key} in the {what} to be {want:?}, got {have:?}"));
            }
        }
    }
    if let Some(Binary(details)) = &expect.details_base64
        && *status.details != **details
    {
        wrong.push(format!(
            "expected the details \"{}\", got \"{}\"",
            details.escape_ascii(),
            status.details.escape_ascii()
        ));
    }
}

/// Makes the calls of a case on a channel of its own.
async fn attempt(server: &FaultServer, case: &Case) -> Result<(Channel, Vec<Outcome>), String> {
    let mut options = ChannelOptions::default();
    for (name, value) in &case.options.channel {
        options.set(name, value).map_err(|error| error.to_string())?;
    }
    let target = &server.endpoints()[&case.listener];
    let channel = Channel::new(target, options, Handle::current())
        .map_err(|error| format!("no channel to {target}: {error}"))?;
    let calls: Vec<_> = (0..case.calls)
        .map(|_| {
            let (channel, case) = (channel.clone(), case.clone());
            tokio::spawn(async move { one_call(&channel, &case).await })
        })
        .collect();
    let mut outcomes = Vec::new();
    for call in calls {
        outcomes.push(call.await.map_err(|error| error.to_string())??);
    }
    Ok((channel, outcomes))
}

async fn one_call(channel: &Channel, case: &Case) -> Result<Outcome, String> {
    let deadline = Duration::from_millis(case.options.timeout_ms);
    let mut options = CallOptions {
        timeout: Some(deadline),
        wait_for_ready: case.options.wait_for_ready,
        max_receive_message: case.options.max_receive_message,
        ..CallOptions::default()
    };
    if let Some(name) = &case.options.compression {
        options.compression = Compression::from_name(name).ok_or("an unknown compression")?;
    }
    for (key, Binary(value)) in &case.options.metadata {
        options.metadata.append(key, value).map_err(|error| error.to_string())?;
    }
    let kind = match &*case.kind {
        "unary" => CallKind::Unary,
        "client_stream" => CallKind::ClientStream,
        "server_stream" => CallKind::ServerStream,
        _ => CallKind::Bidi,
    };
    let call = if kind.one_request() {
        channel.call_with(&case.path, kind, options, &case.requests[0].0)
    } else {
        channel.call(&case.path, kind, options)
    };
    let call = call.map_err(|error| format!("the call cannot be started: {error}"))?;
    let send = async { if kind.one_request() { Ok(()) } else { send(&call, case).await } };
    // A deadline of days is only told to the server.
    let most = deadline.min(Duration::from_secs(600)) + PATIENCE;
    match timeout(most, async { tokio::join!(send, receive(&call)) }).await {
        Ok((Ok(()), outcome)) => Ok(outcome),
        Ok((Err(error), _)) => Err(error),
        Err(_) => Err(format!("the call hangs: no end after {most:?}")),
    }
}

async fn send(call: &Call, case: &Case) -> Result<(), String> {
    let messages = (0..case.request_repeat).flat_map(|_| &case.requests);
    for Binary(message) in messages {
        loop {
            match call.try_send(message) {
                Ok(true) => break,
                Ok(false) => until(call, Interest::SENDABLE).await,
                Err(error) if error.code == ErrorCode::CallEnded => return Ok(()),
                Err(error) => return Err(format!("a request cannot be sent: {error}")),
            }
        }
    }
    if case.half_close {
        call.half_close().map_err(|error| error.to_string())?;
    }
    Ok(())
}

async fn receive(call: &Call) -> Outcome {
    let mut batch = Batch::new();
    let mut crc = Crc::new();
    let (mut messages, mut bytes) = (0, 0);
    loop {
        match call.try_batch(&mut batch) {
            Received::Messages => {
                for message in &batch {
                    crc.update(message);
                    bytes += message.len();
                    messages += 1;
                }
            }
            Received::Empty => until(call, Interest::MESSAGES).await,
            Received::End => break,
        }
    }
    Outcome {
        status: call.status().expect("the status is known at the end"),
        headers: call.headers().unwrap_or_default(),
        messages,
        bytes,
        crc32: crc.sum(),
    }
}

fn until(call: &Call, interest: Interest) -> impl Future<Output = ()> {
    poll_fn(move |cx| call.poll_ready(interest, cx))
}

/// A unary call that sends a message and gives what came back.
async fn unary(channel: &Channel, path: &str, message: &[u8]) -> Result<Vec<u8>, String> {
    let options = CallOptions {
        timeout: Some(Duration::from_secs(30)),
        wait_for_ready: true,
        ..CallOptions::default()
    };
    let call = channel
        .call_with(path, CallKind::Unary, options, message)
        .map_err(|error| error.to_string())?;
    let ended = timeout(PATIENCE, until(&call, Interest::STATUS)).await;
    ended.map_err(|_| "a call that hangs".to_owned())?;
    let mut batch = Batch::new();
    let received = call.try_batch(&mut batch);
    let status = call.status().ok_or("no status")?;
    match (status.is_ok(), received) {
        (true, Received::Messages) => Ok(batch.next().unwrap_or_default().to_vec()),
        _ => Err(status.to_string()),
    }
}

async fn good(channel: &Channel) -> Result<(), String> {
    let answer = unary(channel, "/fault.v1.Fault/Good", b"still there?").await?;
    if answer == b"still there?" { Ok(()) } else { Err(format!("{answer:?}")) }
}

/// How many calls of the path of a case the server has seen.
async fn seen(server: &FaultServer, case: &Case) -> Result<u64, String> {
    let target = &server.endpoints()["default"];
    let channel = Channel::new(target, ChannelOptions::default(), Handle::current())
        .map_err(|error| error.to_string())?;
    let answer = unary(&channel, "/fault.v1.Fault/Seen", case.path.as_bytes()).await?;
    let json: serde_json::Value =
        serde_json::from_slice(&answer).map_err(|error| error.to_string())?;
    json["calls"].as_u64().ok_or_else(|| format!("not what Seen answers: {json}"))
}
