//! The Rust API against a tonic server: the four kinds of call, metadata, status, TLS.

use std::{path::Path, time::Duration};

use millstream::{
    CallKind, CallOptions, Channel, ChannelOptions, Code, Compression, ConnectivityState, Error,
    ErrorCode, Metadata, TlsOptions,
};
use millstream_proto::contract::v1::{
    EchoRequest, EchoResponse, Finish, StatsRequest, StatsResponse,
};
use reference_server::{Options, Running};
use tokio_stream::StreamExt;

const UNARY: &str = "/contract.v1.Echo/Unary";
const SERVER_STREAM: &str = "/contract.v1.Echo/ServerStream";
const CLIENT_STREAM: &str = "/contract.v1.Echo/ClientStream";
const BIDI: &str = "/contract.v1.Echo/Bidi";

async fn server() -> (Running, Channel) {
    let options = Options { http: Some(([127, 0, 0, 1], 0).into()), ..Options::default() };
    let server = reference_server::start(options).await.unwrap();
    let channel = Channel::new(server.ready().http.as_deref().unwrap(), ChannelOptions::default());
    (server, channel.unwrap())
}

fn options() -> CallOptions {
    CallOptions { timeout: Some(Duration::from_secs(60)), ..CallOptions::default() }
}

fn payload(text: &str) -> EchoRequest {
    EchoRequest { payload: text.as_bytes().to_vec().into(), ..EchoRequest::default() }
}

fn status_of(error: &Error) -> &millstream::Status {
    error.status.as_deref().unwrap_or_else(|| panic!("not a status: {error:?}"))
}

#[tokio::test]
async fn each_kind_of_call_carries_typed_messages() {
    let (_server, channel) = server().await;

    let reply = channel.unary::<_, EchoResponse>(UNARY, &payload("one"), options()).await.unwrap();
    assert_eq!(&reply.message.payload[..], b"one");

    let request = EchoRequest { count: Some(1000), ..payload("many") };
    let responses =
        channel.server_stream::<_, EchoResponse>(SERVER_STREAM, &request, options()).unwrap();
    let responses: Vec<_> = responses.collect::<Result<_, _>>().await.unwrap();
    let sequence: Vec<_> = responses.iter().map(|r| r.sequence).collect();
    assert_eq!(sequence, (1..=1000).collect::<Vec<_>>());

    let mut requests =
        channel.client_stream::<EchoRequest, EchoResponse>(CLIENT_STREAM, options()).unwrap();
    for _ in 0..1000 {
        requests.send(&payload("many")).await.unwrap();
    }
    let reply = requests.finish().await.unwrap();
    assert_eq!((reply.message.requests, reply.message.request_bytes), (1000, 4000));

    let (mut requests, mut responses) =
        channel.bidi::<EchoRequest, EchoResponse>(BIDI, options()).unwrap();
    for round in 1..=100 {
        requests.send(&payload("ping")).await.unwrap();
        let response = responses.message().await.unwrap().unwrap();
        assert_eq!(response.requests, round);
    }
    requests.half_close().unwrap();
    assert!(responses.message().await.unwrap().is_none());
    assert!(responses.message().await.unwrap().is_none(), "the end stays the end");
}

#[tokio::test]
async fn code_message_details_and_trailers_of_a_failed_call_reach_the_caller() {
    let (_server, channel) = server().await;
    let mut metadata = Metadata::new();
    metadata.append("x-echo-text", b"first").unwrap();
    metadata.append("x-echo-text", b"second").unwrap();
    metadata.append("x-echo-bin", &[0, 255, b',']).unwrap();
    let request = EchoRequest {
        finish: Some(Finish {
            code: Code::FailedPrecondition as i32,
            message: "größer als \"nichts\"".into(),
            details: b"\x08\x09details".to_vec().into(),
        }),
        ..payload("")
    };
    let options = CallOptions { metadata, ..options() };
    let error = channel.unary::<_, EchoResponse>(UNARY, &request, options).await.unwrap_err();
    assert_eq!(error.code, ErrorCode::CallEnded);
    let status = status_of(&error);
    assert_eq!(status.code, Code::FailedPrecondition);
    assert_eq!(status.message, "größer als \"nichts\"");
    assert_eq!(&status.details[..], b"\x08\x09details");
    let texts: Vec<_> =
        status.trailers.iter().filter(|(key, _)| *key == "x-echo-text").map(|(_, v)| v).collect();
    assert_eq!(texts, [b"first".as_slice(), b"second"]);
    assert_eq!(status.trailers.get("x-echo-bin"), Some([0, 255, b','].as_slice()));
    let theirs = millstream::tonic::status(status);
    assert_eq!(theirs.code(), ::tonic::Code::FailedPrecondition);
    assert_eq!(theirs.details(), b"\x08\x09details");
}

#[tokio::test]
async fn messages_come_before_the_status_that_ends_a_stream() {
    let (_server, channel) = server().await;
    let finish = Finish { code: Code::DataLoss as i32, ..Finish::default() };
    let request = EchoRequest { count: Some(100), finish: Some(finish), ..payload("x") };
    let mut responses =
        channel.server_stream::<_, EchoResponse>(SERVER_STREAM, &request, options()).unwrap();
    for _ in 0..100 {
        assert!(responses.message().await.unwrap().is_some());
    }
    let error = responses.message().await.unwrap_err();
    assert_eq!(status_of(&error).code, Code::DataLoss);
}

#[tokio::test]
async fn an_unknown_method_and_service_are_unimplemented() {
    let (_server, channel) = server().await;
    for method in ["/contract.v1.Echo/Nothing", "/no.Such/Method"] {
        let error =
            channel.unary::<_, EchoResponse>(method, &payload(""), options()).await.unwrap_err();
        assert_eq!(status_of(&error).code, Code::Unimplemented, "{method}");
    }
}

#[tokio::test]
async fn a_deadline_and_a_drop_reach_the_server() {
    let (_server, channel) = server().await;
    for (id, deadline) in [("deadline", true), ("drop", false)] {
        let mut metadata = Metadata::new();
        metadata.append("x-call-id", id.as_bytes()).unwrap();
        let timeout = Duration::from_millis(if deadline { 200 } else { 60_000 });
        let options = CallOptions { timeout: Some(timeout), metadata, ..CallOptions::default() };
        let request = EchoRequest { count: Some(1), never_finish: true, ..payload("") };
        let mut responses =
            channel.server_stream::<_, EchoResponse>(SERVER_STREAM, &request, options).unwrap();
        assert!(responses.message().await.unwrap().is_some());
        if deadline {
            let error = responses.message().await.unwrap_err();
            assert_eq!(status_of(&error).code, Code::DeadlineExceeded);
        }
        drop(responses);
        let seen = async {
            loop {
                let request = StatsRequest { call_id: id.into() };
                let stats = channel
                    .unary::<_, StatsResponse>("/contract.v1.Echo/Stats", &request, self::options())
                    .await
                    .unwrap()
                    .message;
                if stats.open == 0 && stats.cancelled == 1 {
                    return;
                }
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        tokio::time::timeout(Duration::from_secs(60), seen).await.expect(id);
    }
}

#[tokio::test]
async fn compression_is_undone_in_both_directions() {
    let (_server, channel) = server().await;
    for compression in [Compression::Gzip, Compression::Deflate, Compression::Zstd] {
        let mut metadata = Metadata::new();
        metadata.append("x-respond-with", compression.name().as_bytes()).unwrap();
        let options = CallOptions { compression, metadata, ..options() };
        let request = EchoRequest { response_size: Some(100_000), ..payload("squeeze me") };
        let reply = channel.unary::<_, EchoResponse>(UNARY, &request, options).await.unwrap();
        assert_eq!(reply.message.payload.len(), 100_000);
        assert_eq!(reply.message.request_bytes, 10);
        assert_eq!(reply.headers.get("grpc-encoding"), Some(compression.name().as_bytes()));
    }
}

#[tokio::test]
async fn a_response_that_does_not_parse_is_internal_and_ends_the_stream() {
    let (_server, channel) = server().await;
    let request = EchoRequest { count: Some(3), never_finish: true, ..payload("\u{1}") };
    // A payload of bytes where the type has a string of invalid UTF-8.
    let request = EchoRequest { payload: vec![0xff, 0xfe].into(), ..request };
    let mut responses = channel
        .server_stream::<_, millstream_proto::chat::v1::ChatMessage>(
            SERVER_STREAM,
            &request,
            options(),
        )
        .unwrap();
    let error = responses.message().await.unwrap_err();
    assert_eq!(status_of(&error).code, Code::Internal);
    assert!(error.message.contains("ChatMessage"), "{error}");
    assert!(responses.message().await.unwrap().is_none());
}

async fn tls_server(directory: &Path) -> Running {
    let any = Some(([127, 0, 0, 1], 0).into());
    let options = Options {
        https: any,
        mtls: any,
        unix: Some(directory.join("socket")),
        tls_dir: Some(directory.to_path_buf()),
        ..Options::default()
    };
    reference_server::start(options).await.unwrap()
}

async fn try_tls(target: &str, tls: TlsOptions) -> Result<(), Error> {
    let channel = Channel::new(target, ChannelOptions { tls, ..ChannelOptions::default() })?;
    let reply = channel.unary::<_, EchoResponse>(UNARY, &payload("tls"), options()).await?;
    assert_eq!(&reply.message.payload[..], b"tls");
    assert_eq!(channel.state(), ConnectivityState::Ready);
    Ok(())
}

#[tokio::test]
async fn tls_checks_the_server_and_shows_the_client() {
    let directory = tempfile::tempdir().unwrap();
    let server = tls_server(directory.path()).await;
    let file = |name: &str| Some(std::fs::read(directory.path().join(name)).unwrap());
    let trusting = || TlsOptions { roots_pem: file("ca.pem"), ..TlsOptions::default() };
    let https = server.ready().https.clone().unwrap();
    let mtls = server.ready().mtls.clone().unwrap();

    try_tls(&https, trusting()).await.unwrap();
    let named = TlsOptions { server_name: Some("reference-server.test".into()), ..trusting() };
    try_tls(&https, named).await.unwrap();
    let client = TlsOptions {
        cert_chain_pem: file("client.pem"),
        private_key_pem: file("client.key"),
        ..trusting()
    };
    try_tls(&mtls, client).await.unwrap();
    try_tls(server.ready().unix.as_deref().unwrap(), TlsOptions::default()).await.unwrap();

    for (what, target, tls, text) in [
        (
            "a CA that did not sign",
            &https,
            TlsOptions { roots_pem: file("other-ca.pem"), ..TlsOptions::default() },
            "certificate",
        ),
        ("the system's roots", &https, TlsOptions::default(), "certificate"),
        (
            "another name",
            &https,
            TlsOptions { server_name: Some("example.org".into()), ..trusting() },
            "example.org",
        ),
        ("no client certificate", &mtls, trusting(), "ertificate"),
    ] {
        let error = try_tls(target, tls).await.expect_err(what);
        let status = status_of(&error);
        assert_eq!(status.code, Code::Unavailable, "{what}: {status}");
        assert!(status.message.contains(text), "{what}: {status}");
    }
}

#[tokio::test]
async fn certificates_that_are_none_are_refused_when_the_channel_is_made() {
    let directory = tempfile::tempdir().unwrap();
    let _server = tls_server(directory.path()).await;
    let file = |name: &str| Some(std::fs::read(directory.path().join(name)).unwrap());
    let nonsense =
        Some(b"-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----".to_vec());
    for tls in [
        TlsOptions { roots_pem: nonsense, ..TlsOptions::default() },
        TlsOptions { roots_pem: Some(Vec::new()), ..TlsOptions::default() },
        TlsOptions { cert_chain_pem: file("client.pem"), ..TlsOptions::default() },
        TlsOptions { private_key_pem: file("client.key"), ..TlsOptions::default() },
        TlsOptions { server_name: Some("not a name".into()), ..TlsOptions::default() },
        TlsOptions {
            cert_chain_pem: file("client.pem"),
            private_key_pem: file("server.key"),
            ..TlsOptions::default()
        },
    ] {
        let options = ChannelOptions { tls, ..ChannelOptions::default() };
        let error = Channel::new("https://localhost:1", options).unwrap_err();
        assert_eq!(error.code, ErrorCode::InvalidTls, "{error}");
    }
}

#[tokio::test]
async fn bytes_can_be_sent_and_taken_as_they_are() {
    let (_server, channel) = server().await;
    let call = channel.call(BIDI, CallKind::Bidi, options()).unwrap();
    // A field that EchoRequest and EchoResponse share: payload.
    call.send(b"\x0a\x03abc").await.unwrap();
    let mut batch = millstream::Batch::new();
    assert!(call.next_batch(&mut batch).await.unwrap());
    assert!(batch.next().unwrap().starts_with(b"\x0a\x03abc"));
    assert!(!call.headers().await.is_empty());
    call.half_close().unwrap();
    assert!(!call.next_batch(&mut batch).await.unwrap());
    assert!(call.status().await.is_ok());
}

#[test]
fn a_channel_outside_of_a_runtime_is_refused_with_the_remedy() {
    let error = Channel::new("http://localhost:1", ChannelOptions::default()).unwrap_err();
    assert_eq!(error.code, ErrorCode::InvalidState);
    assert!(error.message.contains("with_runtime"), "{error}");
}
