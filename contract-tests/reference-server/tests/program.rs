//! The program: its ready line, its life, its command line.

mod common;

use std::io::{BufRead, BufReader, Read};
use std::process::{Child, Command, ExitStatus, Output, Stdio};
use std::time::{Duration, Instant};

use common::{all, connect_to, within};
use millstream_proto::contract::v1::EchoRequest;
use millstream_proto::contract::v1::echo_client::EchoClient;
use millstream_proto::weather::v1::GetWeatherStreamRequest;
use millstream_proto::weather::v1::weather_client::WeatherClient;
use reference_server::Ready;
use reference_server::data::Kind;

fn program() -> Command {
    Command::new(env!("CARGO_BIN_EXE_reference-server"))
}

/// A server in a process of its own, killed at the end of the test.
struct Server {
    child: Child,
    ready: Ready,
    rest: BufReader<std::process::ChildStdout>,
}

impl Server {
    fn start(arguments: &[&str]) -> Self {
        let mut child = program()
            .arg("serve")
            .args(arguments)
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .expect("it starts");
        let mut rest = BufReader::new(child.stdout.take().expect("piped"));
        let mut line = String::new();
        rest.read_line(&mut line).expect("a line");
        let ready = serde_json::from_str(&line).unwrap_or_else(|error| panic!("{error}: {line}"));
        Self { child, ready, rest }
    }

    fn signal(&self, name: &str) {
        let kill =
            Command::new("kill").arg(format!("-{name}")).arg(self.child.id().to_string()).status();
        assert!(kill.expect("kill runs").success());
    }

    /// How it ended, and what it wrote to standard output after the ready line.
    fn ended(&mut self) -> (ExitStatus, String) {
        let start = Instant::now();
        let status = loop {
            if let Some(status) = self.child.try_wait().expect("our child") {
                break status;
            }
            assert!(start.elapsed() < Duration::from_secs(60), "it does not end");
            std::thread::sleep(Duration::from_millis(5));
        };
        let mut rest = String::new();
        self.rest.read_to_string(&mut rest).expect("text");
        (status, rest)
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[tokio::test]
async fn the_ready_line_names_every_listener_that_was_asked_for() {
    let directory = tempfile::tempdir().expect("a directory");
    let tls = directory.path().join("tls");
    let socket = directory.path().join("server.sock");
    let (tls_text, socket_text) = (tls.display().to_string(), socket.display().to_string());
    let server = Server::start(&[
        "--tls",
        "--mtls=127.0.0.1:0",
        "--tls-dir",
        &tls_text,
        "--unix",
        &socket_text,
    ]);
    let ready = &server.ready;
    assert_eq!(ready.pid, server.child.id());
    assert_eq!(ready.data, Kind::Excerpt);
    assert_eq!(ready.tls_dir.as_ref(), Some(&tls));
    assert_eq!(ready.unix, Some(format!("unix:{socket_text}")));
    for (target, scheme) in [(&ready.http, "http"), (&ready.https, "https"), (&ready.mtls, "https")]
    {
        let target = target.as_ref().expect("it listens");
        assert!(target.starts_with(&format!("{scheme}://127.0.0.1:")), "{target}");
    }
    for name in ["ca.pem", "server.pem", "server.key", "client.pem", "client.key", "other-ca.pem"] {
        assert!(tls.join(name).is_file(), "{name}");
    }

    let request = GetWeatherStreamRequest::default();
    for target in [&ready.http, &ready.unix] {
        let channel = connect_to(target.as_ref().expect("it listens")).await;
        let stream = within(WeatherClient::new(channel).get_weather_stream(request.clone())).await;
        assert_eq!(all(stream.expect("a stream").into_inner()).await.len(), 223);
    }
}

#[test]
fn without_more_than_a_plain_listener_the_ready_line_names_no_more() {
    let server = Server::start(&[]);
    let json = serde_json::to_value(&server.ready).expect("JSON");
    let keys: Vec<_> = json.as_object().expect("an object").keys().cloned().collect();
    assert_eq!(keys, ["data", "http", "pid"]);
}

/// Opens a call that has an answer but never an end.
async fn open_call(server: &Server) -> impl Sized + use<> {
    let channel = connect_to(server.ready.http.as_ref().expect("it listens")).await;
    let request = EchoRequest { never_finish: true, ..EchoRequest::default() };
    let stream = within(EchoClient::new(channel).server_stream(request)).await;
    let mut stream = stream.expect("a stream").into_inner();
    assert!(within(stream.message()).await.expect("an answer").is_some());
    stream
}

#[tokio::test]
async fn the_end_of_standard_input_ends_the_server_and_its_calls() {
    let directory = tempfile::tempdir().expect("a directory");
    let socket = directory.path().join("server.sock");
    let path = socket.display().to_string();
    let mut server = Server::start(&["--exit-with-stdin", "--unix", &path]);
    let _open = open_call(&server).await;
    drop(server.child.stdin.take());
    let (status, rest) = server.ended();
    assert_eq!((status.code(), rest.as_str()), (Some(0), ""));
    assert!(!socket.exists());
}

#[tokio::test]
async fn standard_input_does_not_matter_unless_it_is_asked_for() {
    let mut server = Server::start(&[]);
    drop(server.child.stdin.take());
    std::thread::sleep(Duration::from_millis(100));
    open_call(&server).await;
    server.signal("INT");
    assert_eq!(server.ended().0.code(), Some(0));
}

#[tokio::test]
async fn sigterm_lets_open_calls_end() {
    let mut server = Server::start(&[]);
    let channel = connect_to(server.ready.http.as_ref().expect("it listens")).await;
    let request = EchoRequest { count: Some(5), interval_ms: 60, ..EchoRequest::default() };
    let stream = within(EchoClient::new(channel).server_stream(request)).await;
    let mut stream = stream.expect("a stream").into_inner();
    assert!(within(stream.message()).await.expect("an answer").is_some());
    server.signal("TERM");
    assert_eq!(all(stream).await.len(), 4);
    assert_eq!(server.ended().0.code(), Some(0));
}

fn fails(arguments: &[&str]) -> (Option<i32>, String) {
    let Output { status, stdout, stderr } =
        program().args(arguments).stdin(Stdio::null()).output().expect("it runs");
    assert_eq!(text(&stdout), "");
    (status.code(), text(&stderr))
}

#[test]
fn a_wrong_command_line_is_refused_with_a_reason() {
    for (arguments, reason) in [
        (&["serve", "--tls"][..], "--tls-dir <DIRECTORY>"),
        (&["serve", "--mtls"], "--tls-dir <DIRECTORY>"),
        (&["serve", "--listen", "nowhere"], "invalid value 'nowhere'"),
        (&["serve", "--max-concurrent-streams", "0"], "0 is not in 1.."),
        (&["serve", "--nothing"], "unexpected argument '--nothing'"),
        (&["data", "excerpt"], "--out <DIRECTORY>"),
        (&[], "Usage: reference-server <COMMAND>"),
    ] {
        let (code, said) = fails(arguments);
        assert_eq!(code, Some(2), "{arguments:?}");
        assert!(said.contains(reason), "{arguments:?}: {said}");
    }
}

#[test]
fn an_address_in_use_ends_the_program_with_a_reason() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("bound");
    let address = taken.local_addr().expect("an address").to_string();
    let (code, said) = fails(&["serve", "--listen", &address]);
    assert_eq!(code, Some(1));
    let start = format!("reference-server: cannot listen on {address}: ");
    assert!(said.starts_with(&start), "{said}");
}

#[test]
fn help_tells_of_every_option() {
    let help = program().args(["serve", "--help"]).output().expect("it runs");
    let help = text(&help.stdout);
    for option in [
        "--listen",
        "--tls",
        "--mtls",
        "--tls-dir",
        "--unix",
        "--data",
        "--max-concurrent-streams",
        "--max-connection-age",
        "--exit-with-stdin",
    ] {
        assert!(help.contains(option), "{option}");
    }
}

#[tokio::test]
async fn a_cache_without_data_is_served_as_the_excerpt_and_says_so() {
    let directory = tempfile::tempdir().expect("a directory");
    let path = directory.path().display().to_string();
    let mut server = Server::start(&["--exit-with-stdin", "--data", &path]);
    assert_eq!(server.ready.data, Kind::Excerpt);
    drop(server.child.stdin.take());
    server.ended();
    let mut said = String::new();
    let mut stderr = server.child.stderr.take().expect("piped");
    stderr.read_to_string(&mut said).expect("text");
    assert!(said.contains("warning: this is the small excerpt of the data"), "{said}");
}
