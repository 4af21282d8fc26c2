//! Listeners, TLS, health, reflection and the limits of connections.

mod common;

use std::path::Path;
use std::time::Duration;

use bytes::{BufMut, Bytes, BytesMut};
use common::{all, assert_status, connect, connect_to, server, server_with, within};
use millstream_proto::contract::v1::echo_client::EchoClient;
use millstream_proto::contract::v1::{EchoRequest, EchoResponse};
use prost::Message;
use reference_server::{Options, Running, SERVICES};
use tonic::Code;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::v1::server_reflection_client::ServerReflectionClient;
use tonic_reflection::pb::v1::server_reflection_request::MessageRequest;
use tonic_reflection::pb::v1::server_reflection_response::MessageResponse;
use tonic_reflection::pb::v1::{ServerReflectionRequest, ServerReflectionResponse};

async fn echoes(channel: Channel) -> Result<(), tonic::Status> {
    let request = EchoRequest { payload: Bytes::from_static(b"hello"), ..EchoRequest::default() };
    let answer = within(EchoClient::new(channel).unary(request)).await?;
    assert_eq!(answer.into_inner().payload, "hello");
    Ok(())
}

async fn tls_server(directory: &Path) -> Running {
    let any = Some(([127, 0, 0, 1], 0).into());
    server_with(Options {
        https: any,
        mtls: any,
        tls_dir: Some(directory.to_owned()),
        ..Options::default()
    })
    .await
}

fn pem(directory: &Path, name: &str) -> Vec<u8> {
    std::fs::read(directory.join(name)).expect("the server wrote it")
}

async fn connect_tls(target: Option<&String>, tls: ClientTlsConfig) -> Result<(), String> {
    let target = target.expect("it listens").clone();
    let endpoint = Endpoint::from_shared(target).expect("a target");
    let endpoint = endpoint.tls_config(tls).expect("a configuration");
    let channel = within(endpoint.connect()).await;
    let channel = channel.map_err(|error| format!("{error:?}"))?;
    echoes(channel).await.map_err(|status| format!("{status:?}"))
}

#[tokio::test]
async fn tls_is_trusted_through_its_own_ca_alone() {
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    let server = tls_server(directory).await;
    let https = server.ready().https.as_ref();
    let trusting = |name| {
        let ca = Certificate::from_pem(pem(directory, name));
        ClientTlsConfig::new().ca_certificate(ca)
    };

    connect_tls(https, trusting("ca.pem")).await.expect("trusted");
    for name in reference_server::SERVER_NAMES {
        let tls = trusting("ca.pem").domain_name(name);
        connect_tls(https, tls).await.expect("trusted");
    }
    let refused = connect_tls(https, trusting("other-ca.pem")).await;
    assert!(refused.expect_err("refused").contains("UnknownIssuer"));
    let tls = trusting("ca.pem").domain_name("elsewhere.test");
    let refused = connect_tls(https, tls).await;
    assert!(refused.expect_err("refused").contains("NotValidForName"));
}

#[tokio::test]
async fn mutual_tls_refuses_a_client_without_a_certificate_of_the_ca() {
    let directory = tempfile::tempdir().expect("a directory");
    let directory = directory.path();
    let server = tls_server(directory).await;
    let mtls = server.ready().mtls.as_ref();
    let tls =
        ClientTlsConfig::new().ca_certificate(Certificate::from_pem(pem(directory, "ca.pem")));
    let identity = |cert, key| Identity::from_pem(pem(directory, cert), pem(directory, key));

    let known = tls.clone().identity(identity("client.pem", "client.key"));
    connect_tls(mtls, known).await.expect("known");
    let refused = connect_tls(mtls, tls.clone()).await;
    assert!(refused.expect_err("refused").contains("CertificateRequired"));
    // Signed by the CA, but not for clients.
    let refused = connect_tls(mtls, tls.identity(identity("server.pem", "server.key"))).await;
    refused.expect_err("refused");
}

#[tokio::test]
async fn private_keys_are_for_their_owner_alone() {
    use std::os::unix::fs::PermissionsExt;
    let directory = tempfile::tempdir().expect("a directory");
    let old = directory.path().join("client.key");
    std::fs::write(&old, "readable by others").expect("written");
    let _server = tls_server(directory.path()).await;
    for name in ["server.key", "client.key"] {
        let metadata = std::fs::metadata(directory.path().join(name)).expect("it is there");
        assert_eq!(metadata.permissions().mode() & 0o777, 0o600, "{name}");
    }
}

#[tokio::test]
async fn tls_without_a_directory_for_certificates_is_an_error() {
    let options = Options { https: Some(([127, 0, 0, 1], 0).into()), ..Options::default() };
    let error = within(reference_server::start(options)).await;
    assert_eq!(
        error.expect_err("an error").to_string(),
        "TLS needs a directory for its certificates (--tls-dir)"
    );
}

#[tokio::test]
async fn a_unix_socket_is_served_and_goes_with_the_server() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().join("server.sock");
    // Left behind by a server that was killed.
    drop(std::os::unix::net::UnixListener::bind(&path).expect("bound"));
    let options = Options { unix: Some(path.clone()), ..Options::default() };

    let server = server_with(options.clone()).await;
    let target = server.ready().unix.clone().expect("it listens");
    assert_eq!(target, format!("unix:{}", path.display()));
    echoes(connect_to(&target).await).await.expect("an answer");

    let second = within(reference_server::start(options)).await;
    assert_eq!(
        second.expect_err("an error").to_string(),
        format!("{} is in use by another process", path.display())
    );
    echoes(connect_to(&target).await).await.expect("an answer");
    drop(server);
    assert!(!path.exists());
}

#[tokio::test]
async fn an_address_in_use_is_an_error_that_names_it() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = taken.local_addr().expect("an address");
    let options = Options { http: Some(address), ..Options::default() };
    let error = within(reference_server::start(options)).await;
    let error = error.expect_err("an error").to_string();
    let start = format!("cannot listen on {address}: ");
    assert!(error.starts_with(&start), "{error}");
}

#[tokio::test]
async fn every_service_is_healthy() {
    let server = server().await;
    let mut health = HealthClient::new(connect(&server).await);
    for service in SERVICES.into_iter().chain([""]) {
        let service = service.to_owned();
        let answer = within(health.check(HealthCheckRequest { service })).await;
        let status = answer.expect("an answer").into_inner().status();
        assert_eq!(status, ServingStatus::Serving);
    }
    let service = "no.such.Service".to_owned();
    let answer = within(health.check(HealthCheckRequest { service })).await;
    assert_eq!(answer.expect_err("unknown").code(), Code::NotFound);
}

#[tokio::test]
async fn reflection_lists_every_service_and_describes_it() {
    let server = server().await;
    let mut reflection = ServerReflectionClient::new(connect(&server).await);
    let mut ask = async |request| {
        let request =
            ServerReflectionRequest { host: String::new(), message_request: Some(request) };
        let stream = reflection.server_reflection_info(tokio_stream::iter([request]));
        let stream = within(stream).await.expect("a stream").into_inner();
        let answers: Vec<ServerReflectionResponse> = all(stream).await;
        answers.into_iter().next().and_then(|a| a.message_response)
    };

    let Some(MessageResponse::ListServicesResponse(list)) =
        ask(MessageRequest::ListServices(String::new())).await
    else {
        panic!("not a list")
    };
    let names: Vec<_> = list.service.iter().map(|s| s.name.as_str()).collect();
    for service in SERVICES {
        assert!(names.contains(&service), "{service} in {names:?}");
        let symbol = MessageRequest::FileContainingSymbol(service.to_owned());
        let Some(MessageResponse::FileDescriptorResponse(files)) = ask(symbol).await else {
            panic!("no description of {service}")
        };
        assert!(!files.file_descriptor_proto.is_empty());
    }
}

#[tokio::test]
async fn an_unknown_method_is_unimplemented() {
    let server = server().await;
    let mut client = tonic::client::Grpc::new(connect(&server).await);
    for path in ["/contract.v1.Echo/Shout", "/no.such.Service/Method"] {
        within(client.ready()).await.expect("connected");
        let codec = tonic_prost::ProstCodec::<EchoRequest, EchoResponse>::default();
        let request = tonic::Request::new(EchoRequest::default());
        let path = http::uri::PathAndQuery::from_static(path);
        let answer = within(client.unary(request, path, codec)).await;
        assert_eq!(answer.expect_err("unknown").code(), Code::Unimplemented);
    }
}

#[tokio::test]
async fn no_more_calls_are_open_on_a_connection_than_allowed() {
    let server =
        server_with(Options { max_concurrent_streams: Some(1), ..Options::default() }).await;
    let channel = connect(&server).await;
    let mut echo = EchoClient::new(channel.clone());
    let open = EchoRequest { never_finish: true, ..EchoRequest::default() };
    let stream = within(echo.server_stream(open)).await.expect("a stream");
    let second = tokio::spawn(echoes(channel));
    tokio::time::sleep(Duration::from_millis(100)).await;
    assert!(!second.is_finished());
    drop(stream);
    let second = within(second).await.expect("no panic");
    second.expect("an answer once there is room");
}

#[tokio::test]
async fn a_call_goes_on_when_its_connection_gets_a_goaway() {
    let server = server_with(Options {
        max_connection_age: Some(Duration::from_millis(50)),
        ..Options::default()
    })
    .await;
    let channel = connect(&server).await;
    let request = EchoRequest { count: Some(6), interval_ms: 50, ..EchoRequest::default() };
    let stream = within(EchoClient::new(channel.clone()).server_stream(request)).await;
    assert_eq!(all(stream.expect("a stream").into_inner()).await.len(), 6);
    echoes(channel).await.expect("an answer over a new one");
}

#[tokio::test]
async fn a_stopped_server_lets_open_calls_end() {
    let server = server().await;
    let channel = connect(&server).await;
    let target = server.ready().http.clone().expect("a target");
    let request = EchoRequest { count: Some(4), interval_ms: 50, ..EchoRequest::default() };
    let stream = within(EchoClient::new(channel).server_stream(request)).await;
    let stream = stream.expect("a stream").into_inner();
    let (answers, ()) = tokio::join!(all(stream), server.stop(Duration::from_secs(30)));
    assert_eq!(answers.len(), 4);
    let endpoint = Endpoint::from_shared(target).expect("a target");
    within(endpoint.connect()).await.expect_err("nobody listens");
}

#[tokio::test]
async fn a_flood_of_small_frames_is_no_offence() {
    const MESSAGES: u64 = 50_000;
    let server = server().await;
    let address = server.ready().http.clone().expect("a target");
    let address = address.trim_start_matches("http://").to_owned();
    let socket = tokio::net::TcpStream::connect(&address).await;
    let socket = socket.expect("the server accepts");
    let (client, connection) = within(h2::client::handshake(socket)).await.expect("HTTP/2");
    let connection = tokio::spawn(connection);

    let request = http::Request::post(format!("http://{address}/contract.v1.Echo/ClientStream"))
        .header("content-type", "application/grpc")
        .header("te", "trailers")
        .body(())
        .expect("a request");
    let mut client = within(client.ready()).await.expect("room for a call");
    let (response, mut body) = client.send_request(request, false).expect("sent");

    let message = EchoRequest { payload: Bytes::from_static(b"tick"), ..EchoRequest::default() };
    let mut frame = BytesMut::new();
    frame.put_u8(0);
    frame.put_u32(u32::try_from(message.encoded_len()).expect("small"));
    message.encode(&mut frame).expect("room for it");
    let frame = frame.freeze();
    for number in 1..=MESSAGES {
        body.reserve_capacity(frame.len());
        while body.capacity() < frame.len() {
            let capacity = std::future::poll_fn(|cx| body.poll_capacity(cx));
            within(capacity).await.expect("open").expect("capacity");
        }
        body.send_data(frame.clone(), number == MESSAGES).expect("sent");
    }

    let response = within(response).await.expect("the connection lives");
    let mut body = response.into_body();
    let data = within(body.data()).await.expect("a message").expect("data");
    let answer = EchoResponse::decode(&data[5..]).expect("an answer");
    assert_eq!(answer.requests, MESSAGES);
    let trailers = within(body.trailers()).await.expect("an end");
    assert_eq!(trailers.expect("trailers")["grpc-status"], "0");
    connection.abort();
}

#[tokio::test]
async fn a_request_over_the_limit_is_refused() {
    let server = server().await;
    let echo = EchoClient::new(connect(&server).await);
    let request =
        EchoRequest { payload: vec![0; 66 * 1024 * 1024].into(), ..EchoRequest::default() };
    let answer = within(echo.clone().unary(request)).await;
    assert_status(
        answer,
        Code::OutOfRange,
        "Error, decoded message length too large: found 69206021 bytes, the limit is: 68157440 bytes",
    );
}
