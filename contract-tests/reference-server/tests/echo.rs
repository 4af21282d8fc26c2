//! `contract.v1.Echo`: what it does on request, and what it tells of calls.

mod common;

use std::time::{Duration, Instant};

use bytes::Bytes;
use common::{all, assert_status, connect, server, until_end, within};
use millstream_proto::contract::v1::echo_client::EchoClient;
use millstream_proto::contract::v1::{
    EchoRequest, EchoResponse, Finish, StatsRequest, StatsResponse,
};
use reference_server::Running;
use tokio::sync::mpsc;
use tokio_stream::wrappers::ReceiverStream;
use tonic::codec::CompressionEncoding;
use tonic::metadata::{BinaryMetadataValue, MetadataMap};
use tonic::transport::Channel;
use tonic::{Code, Request, Status};

async fn client(server: &Running) -> EchoClient<Channel> {
    EchoClient::new(connect(server).await).max_decoding_message_size(usize::MAX)
}

fn payload(payload: &'static [u8]) -> EchoRequest {
    EchoRequest { payload: Bytes::from_static(payload), ..EchoRequest::default() }
}

fn count(count: u32) -> EchoRequest {
    EchoRequest { count: Some(count), ..payload(b"x") }
}

fn finish(code: i32, message: &str) -> EchoRequest {
    EchoRequest {
        finish: Some(Finish {
            code,
            message: message.to_owned(),
            details: Bytes::from_static(b"\x08\x01\x00\xff"),
        }),
        ..payload(b"x")
    }
}

fn never_answer() -> EchoRequest {
    EchoRequest { never_answer: true, ..EchoRequest::default() }
}

fn with_id<T>(message: T, id: &'static str) -> Request<T> {
    let mut request = Request::new(message);
    let value = id.parse().expect("ASCII");
    request.metadata_mut().insert("x-call-id", value);
    request
}

fn sequences(answers: &[EchoResponse]) -> Vec<u64> {
    answers.iter().map(|answer| answer.sequence).collect()
}

#[tokio::test]
async fn unary_sends_the_payload_back() {
    let server = server().await;
    let mut echo = client(&server).await;
    let answer = within(echo.unary(payload(b"\x00hello\xff"))).await;
    let expected = EchoResponse {
        payload: Bytes::from_static(b"\x00hello\xff"),
        sequence: 1,
        requests: 1,
        request_bytes: 7,
        metadata: Vec::new(),
    };
    assert_eq!(answer.expect("an answer").into_inner(), expected);
}

#[tokio::test]
async fn a_payload_of_a_given_size_counts_up_modulo_251() {
    let server = server().await;
    let mut echo = client(&server).await;
    for size in [0, 1, 1_000, 20 * 1024 * 1024] {
        let request = EchoRequest { response_size: Some(size), ..payload(b"not this") };
        let answer = within(echo.unary(request)).await.expect("an answer");
        let payload = answer.into_inner().payload;
        assert_eq!(payload.len(), size as usize);
        let right = |(index, byte): (usize, &u8)| usize::from(*byte) == index % 251;
        assert!(payload.iter().enumerate().all(right));
    }
    let too_large =
        EchoRequest { response_size: Some(64 * 1024 * 1024 + 1), ..EchoRequest::default() };
    assert_status(
        within(echo.unary(too_large)).await,
        Code::InvalidArgument,
        "response_size 67108865 is greater than 67108864",
    );
}

#[tokio::test]
async fn a_server_stream_has_as_many_answers_as_asked_for() {
    let server = server().await;
    let mut echo = client(&server).await;
    for (request, expected) in [(payload(b"x"), 1), (count(0), 0), (count(10_000), 10_000)] {
        let stream = within(echo.server_stream(request)).await;
        let answers = all(stream.expect("a stream").into_inner()).await;
        assert_eq!(sequences(&answers), (1..=expected).collect::<Vec<_>>());
        assert!(answers.iter().all(|answer| answer.payload == "x"));
    }
}

#[tokio::test]
async fn delay_and_interval_are_kept() {
    let server = server().await;
    let mut echo = client(&server).await;
    let request = EchoRequest { delay_ms: 60, interval_ms: 40, ..count(3) };
    let start = Instant::now();
    let stream = within(echo.server_stream(request.clone())).await;
    let mut stream = stream.expect("a stream").into_inner();
    for earliest in [60, 100, 140] {
        assert!(within(stream.message()).await.expect("an answer").is_some());
        assert!(start.elapsed() >= Duration::from_millis(earliest));
    }
    let start = Instant::now();
    within(echo.unary(request)).await.expect("an answer");
    assert!(start.elapsed() >= Duration::from_millis(60));
}

#[tokio::test]
async fn a_client_stream_is_summed_up_after_half_close() {
    let server = server().await;
    let mut echo = client(&server).await;
    let requests = [payload(b"one"), payload(b""), payload(b"last")];
    let answer = within(echo.client_stream(tokio_stream::iter(requests))).await;
    let answer = answer.expect("an answer").into_inner();
    assert_eq!((answer.requests, answer.request_bytes), (3, 7));
    assert_eq!(answer.payload, "last");

    let answer = within(echo.client_stream(tokio_stream::empty())).await;
    assert_eq!(answer.expect("an answer").into_inner().requests, 0);
}

#[tokio::test]
async fn a_finish_ends_a_client_stream_before_half_close() {
    let server = server().await;
    let mut echo = client(&server).await;
    let (send, requests) = mpsc::channel(1);
    send.send(finish(9, "enough")).await.expect("room for it");
    let answer = within(echo.client_stream(ReceiverStream::new(requests))).await;
    assert_status(answer, Code::FailedPrecondition, "enough");
    drop(send);
}

#[tokio::test]
async fn bidi_answers_each_request_before_the_next_comes() {
    let server = server().await;
    let mut echo = client(&server).await;
    let (send, requests) = mpsc::channel(1);
    let stream = within(echo.bidi(ReceiverStream::new(requests))).await;
    let mut stream = stream.expect("the headers come first").into_inner();
    for (request, answers) in [(payload(b"x"), 1..=1), (count(3), 2..=4), (payload(b"x"), 5..=5)] {
        send.send(request).await.expect("the call is open");
        for sequence in answers {
            let answer = within(stream.message()).await.expect("an answer");
            assert_eq!(answer.map(|answer| answer.sequence), Some(sequence));
        }
    }
    // An end with OK, before half-close.
    send.send(finish(0, "")).await.expect("the call is open");
    assert_eq!(sequences(&all(stream).await), [6]);
}

#[tokio::test]
async fn every_status_comes_with_message_and_details() {
    let server = server().await;
    let mut echo = client(&server).await;
    let message = "no \u{2708} today, 100%\n";
    let right = |status: &Status, code: i32| {
        assert_eq!(status.code(), Code::from_i32(code));
        assert_eq!(status.message(), message);
        assert_eq!(status.details(), b"\x08\x01\x00\xff");
    };
    for code in 1..=16 {
        let unary = within(echo.unary(finish(code, message))).await;
        right(&unary.expect_err("a status"), code);

        let stream = within(echo.server_stream(finish(code, message))).await;
        let (answers, end) = until_end(stream.expect("a stream").into_inner()).await;
        assert_eq!(sequences(&answers), [1]);
        right(&end.expect_err("a status"), code);
    }
    for code in [-1, 17] {
        assert_status(
            within(echo.unary(finish(code, ""))).await,
            Code::InvalidArgument,
            &format!("finish.code {code} is not a status code (0 to 16)"),
        );
    }
}

fn assert_echoed(metadata: &MetadataMap) {
    let text: Vec<_> = metadata.get_all("x-echo-text").iter().collect();
    assert_eq!(text, ["one", "two"]);
    let bytes = metadata.get_bin("x-echo-bytes-bin").map(|v| v.to_bytes());
    assert_eq!(bytes.expect("it is there").expect("base64").as_ref(), b"\x00\xff\n");
    assert_eq!(metadata.get("x-other"), None);
}

fn with_metadata<T>(message: T) -> Request<T> {
    let mut request = Request::new(message);
    let metadata = request.metadata_mut();
    metadata.append("x-echo-text", "one".parse().expect("ASCII"));
    metadata.append("x-echo-text", "two".parse().expect("ASCII"));
    metadata.append("x-other", "three".parse().expect("ASCII"));
    let bytes = BinaryMetadataValue::from_bytes(b"\x00\xff\n");
    metadata.insert_bin("x-echo-bytes-bin", bytes);
    request
}

#[tokio::test]
async fn echo_metadata_comes_back_in_headers_and_trailers() {
    let server = server().await;
    let mut echo = client(&server).await;

    let stream = within(echo.server_stream(with_metadata(count(2)))).await;
    let stream = stream.expect("a stream");
    assert_echoed(stream.metadata());
    let mut stream = stream.into_inner();
    while within(stream.message()).await.expect("an answer").is_some() {}
    let trailers = within(stream.trailers()).await.expect("an end");
    assert_echoed(&trailers.expect("there are trailers"));

    // An error at once comes in one block, which is both.
    let status = within(echo.unary(with_metadata(finish(5, "")))).await;
    assert_echoed(status.expect_err("a status").metadata());
    // After messages it comes in trailers.
    let stream = within(echo.bidi(with_metadata(tokio_stream::iter([finish(5, "")])))).await;
    let stream = stream.expect("a stream");
    assert_echoed(stream.metadata());
    let (_, end) = until_end(stream.into_inner()).await;
    assert_echoed(end.expect_err("a status").metadata());
}

#[tokio::test]
async fn the_request_metadata_is_reported_as_it_came() {
    let server = server().await;
    let mut echo = client(&server).await.accept_compressed(CompressionEncoding::Gzip);
    let mut request = with_metadata(EchoRequest { report_metadata: true, ..count(2) });
    request.set_timeout(Duration::from_secs(50));
    let stream = within(echo.server_stream(request)).await;
    let answers = all(stream.expect("a stream").into_inner()).await;
    assert_eq!(answers[1].metadata, []);
    let values = |key: &str| -> Vec<&[u8]> {
        let entries = answers[0].metadata.iter().filter(|entry| entry.key == key);
        entries.map(|entry| entry.value.as_ref()).collect()
    };
    assert_eq!(values("x-echo-text"), [b"one", b"two"]);
    assert_eq!(values("x-echo-bytes-bin"), [b"\x00\xff\n"]);
    assert_eq!(values("x-other"), [b"three"]);
    assert_eq!(values("te"), [b"trailers"]);
    assert_eq!(values("content-type"), [b"application/grpc"]);
    assert_eq!(values("grpc-accept-encoding"), [b"gzip,identity"]);
    assert_eq!(values("grpc-timeout"), [b"50000000u"]);
    assert!(answers[0].metadata.is_sorted_by_key(|entry| &entry.key));
}

#[tokio::test]
async fn an_answer_is_compressed_as_it_is_asked_for_and_only_then() {
    let server = server().await;
    let encodings = [
        ("gzip", CompressionEncoding::Gzip),
        ("deflate", CompressionEncoding::Deflate),
        ("zstd", CompressionEncoding::Zstd),
    ];
    let request = |name: &str| {
        let mut request =
            Request::new(EchoRequest { response_size: Some(100_000), ..payload(b"x") });
        if !name.is_empty() {
            let value = name.parse().expect("ASCII");
            request.metadata_mut().insert("x-respond-with", value);
        }
        request
    };
    for (name, encoding) in encodings {
        let echo = client(&server).await;
        // What the client sends is compressed as well.
        let mut echo = echo.accept_compressed(encoding).send_compressed(encoding);
        for (asked, expected) in [(name, Some(name)), ("", None)] {
            let answer = within(echo.unary(request(asked))).await.expect("an answer");
            let used = answer.metadata().get("grpc-encoding");
            assert_eq!(used.map(|used| used.to_str().expect("ASCII")), expected);
            assert_eq!(answer.into_inner().payload.len(), 100_000);
        }
        let other = if name == "gzip" { "zstd" } else { "gzip" };
        assert_status(
            within(echo.unary(request(other))).await,
            Code::InvalidArgument,
            &format!("x-respond-with: {other}, but the client accepts only {name},identity"),
        );
    }
    assert_status(
        within(client(&server).await.unary(request("snappy"))).await,
        Code::InvalidArgument,
        "x-respond-with: \"snappy\" is none of gzip, deflate, zstd",
    );
    assert_status(
        within(client(&server).await.unary(request("gzip"))).await,
        Code::InvalidArgument,
        "x-respond-with: gzip, but the client accepts only identity",
    );
}

async fn stats(echo: &mut EchoClient<Channel>, call_id: &str) -> StatsResponse {
    let call_id = call_id.to_owned();
    let answer = within(echo.stats(StatsRequest { call_id })).await;
    answer.expect("an answer").into_inner()
}

fn stand(open: u64, completed: u64, cancelled: u64) -> StatsResponse {
    StatsResponse { open, completed, cancelled }
}

/// The server learns of a client's end a moment later.
async fn until_stats(echo: &mut EchoClient<Channel>, call_id: &str, expected: StatsResponse) {
    let poll = async {
        while stats(echo, call_id).await != expected {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    within(poll).await;
}

#[tokio::test]
async fn calls_that_end_are_counted_as_completed_whatever_their_status() {
    let server = server().await;
    let mut echo = client(&server).await;
    assert_eq!(stats(&mut echo, "a").await, stand(0, 0, 0));
    let answer = within(echo.unary(with_id(payload(b"x"), "a"))).await;
    answer.expect("an answer");
    let status = within(echo.unary(with_id(finish(5, ""), "a"))).await;
    status.expect_err("a status");
    let stream = within(echo.server_stream(with_id(count(3), "a"))).await;
    all(stream.expect("a stream").into_inner()).await;
    let requests = tokio_stream::iter([payload(b"x"), finish(5, "")]);
    let stream = within(echo.bidi(with_id(requests, "b"))).await;
    let (_, end) = until_end(stream.expect("a stream").into_inner()).await;
    assert_eq!(end.expect_err("a status").code(), Code::NotFound);

    assert_eq!(stats(&mut echo, "a").await, stand(0, 3, 0));
    assert_eq!(stats(&mut echo, "b").await, stand(0, 1, 0));
    assert_eq!(stats(&mut echo, "").await, stand(0, 4, 0));
    assert_eq!(server.calls().stats("a"), stand(0, 3, 0));
}

#[tokio::test]
async fn a_cancel_reaches_the_server_before_and_during_the_answer() {
    let server = server().await;
    let mut echo = client(&server).await;

    let mut other = echo.clone();
    let call = tokio::spawn(async move { other.unary(with_id(never_answer(), "before")).await });
    until_stats(&mut echo, "before", stand(1, 0, 0)).await;
    call.abort();
    until_stats(&mut echo, "before", stand(0, 0, 1)).await;

    let request = EchoRequest { never_finish: true, ..count(2) };
    let stream = within(echo.server_stream(with_id(request, "during"))).await;
    let mut stream = stream.expect("a stream").into_inner();
    for _ in 0..2 {
        assert!(within(stream.message()).await.expect("an answer").is_some());
    }
    assert_eq!(stats(&mut echo, "during").await, stand(1, 0, 0));
    drop(stream);
    until_stats(&mut echo, "during", stand(0, 0, 1)).await;
}

#[tokio::test]
async fn a_deadline_ends_a_call_that_is_never_answered() {
    let server = server().await;
    let mut echo = client(&server).await;
    let mut request = with_id(never_answer(), "late");
    request.set_timeout(Duration::from_millis(50));
    let status = within(echo.unary(request)).await.expect_err("a status");
    // tonic's client says CANCELLED when its own timer is first.
    assert!([Code::DeadlineExceeded, Code::Cancelled].contains(&status.code()));
    until_stats(&mut echo, "late", stand(0, 0, 1)).await;
}
