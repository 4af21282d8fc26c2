//! The program as a user runs it, against a real server.

use std::{
    io::Write,
    process::{Command, Output, Stdio},
};

use reference_server::{Options, Running};

struct Server {
    runtime: tokio::runtime::Runtime,
    running: Option<Running>,
    target: String,
}

impl Server {
    fn start() -> Server {
        let runtime = tokio::runtime::Runtime::new().unwrap();
        let options = Options { http: Some(([127, 0, 0, 1], 0).into()), ..Options::default() };
        let running = runtime.block_on(reference_server::start(options)).unwrap();
        let target = running.ready().http.clone().unwrap();
        Server { runtime, running: Some(running), target }
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        if let Some(running) = self.running.take() {
            self.runtime.block_on(running.stop(std::time::Duration::from_secs(1)));
        }
    }
}

fn millstream(arguments: &[&str], input: &str) -> Output {
    let mut child = Command::new(env!("CARGO_BIN_EXE_millstream"))
        .args(arguments)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // A program that has failed already does not read its input.
    let _ = child.stdin.take().unwrap().write_all(input.as_bytes());
    child.wait_with_output().unwrap()
}

fn stdout(output: &Output) -> String {
    assert!(output.status.success(), "{}", stderr(output));
    String::from_utf8(output.stdout.clone()).unwrap()
}

fn stderr(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

#[test]
fn services_and_methods_are_listed() {
    let server = Server::start();
    let services = stdout(&millstream(&["list", &server.target], ""));
    assert!(services.lines().any(|line| line == "weather.v1.Weather"), "{services}");
    let methods = stdout(&millstream(&["list", &server.target, "chat.v1.ChatService"], ""));
    assert_eq!(
        methods.trim(),
        "chat.v1.ChatService/Chat (stream chat.v1.ChatMessage) -> stream chat.v1.ChatMessage"
    );
}

#[test]
fn a_stream_of_answers_is_one_json_object_a_line() {
    let server = Server::start();
    let output = millstream(
        &[
            "call",
            &server.target,
            "weather.v1.Weather/GetWeatherStream",
            "--data",
            r#"{"origin": "JFK", "limit": 3}"#,
        ],
        "",
    );
    let text = stdout(&output);
    assert_eq!(text.lines().count(), 3, "{text}");
    for line in text.lines() {
        let value: serde_json::Value = serde_json::from_str(line).unwrap();
        assert_eq!(value["origin"], "JFK");
        assert!(value["hour"].as_str().is_some_and(|hour| hour.ends_with('Z')), "{line}");
    }
}

#[test]
fn requests_come_from_standard_input_for_a_method_that_takes_many() {
    let server = Server::start();
    let output = millstream(
        &[
            "call",
            &server.target,
            "contract.v1.Echo/ClientStream",
            "-d",
            "-",
            "-v",
            "-H",
            "x-echo-a:b",
        ],
        r#"{"payload": "YQ=="} {"payload": "YmM="}"#,
    );
    let value: serde_json::Value = serde_json::from_str(stdout(&output).trim()).unwrap();
    assert_eq!((&value["requests"], &value["requestBytes"]), (&"2".into(), &"3".into()));
    let log = stderr(&output);
    assert!(log.contains("header: x-echo-a: b") && log.contains("status: OK"), "{log}");
}

#[test]
fn a_failed_call_ends_with_its_status_and_exit_code_one() {
    let server = Server::start();
    let request = r#"{"finish": {"code": 5, "message": "no such thing"}}"#;
    let output =
        millstream(&["call", &server.target, "contract.v1.Echo/Unary", "--data", request], "");
    assert_eq!(output.status.code(), Some(1));
    assert_eq!(stderr(&output).trim(), "error: NOT_FOUND: no such thing");
}

#[test]
fn wrong_input_is_named_with_its_place() {
    let server = Server::start();
    for (arguments, text) in [
        (&["contract.v1.Echo/Unary", "-d", "{\"nothing\": 1}"][..], "nothing"),
        (&["contract.v1.Echo/Unary", "-d", "{\"payload\": "], "line 1"),
        (&["contract.v1.Echo/Unary", "-d", "{} {}"], "takes one request"),
        (&["contract.v1.Echo/Unary", "-d", ""], "holds no request"),
        (&["contract.v1.Echo/Unary", "-d", "@/no/such/file"], "/no/such/file"),
        (&["contract.v1.Echo/None"], "it has Unary"),
        (&["no.Such/Method"], "no.Such"),
        (&["method"], "package.Service/Method"),
        (&["contract.v1.Echo/Unary", "-H", "grpc-x:1"], "reserved"),
        (&["contract.v1.Echo/Unary", "-o", "nothing=1"], "known are"),
        (
            &["contract.v1.Echo/Unary", "--timeout", "1ms", "-d", "{\"delayMs\": 60000}"],
            "DEADLINE_EXCEEDED",
        ),
    ] {
        let output = millstream(&[&["call", &server.target], arguments].concat(), "");
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(text), "{arguments:?}: {}", stderr(&output));
    }
    let output = millstream(&["call", &server.target, "a.B/C", "--timeout", "soon"], "");
    assert_eq!(output.status.code(), Some(2), "wrong use has its own exit code");
}

#[test]
fn health_is_asked_and_told_by_the_exit_code() {
    let server = Server::start();
    assert_eq!(stdout(&millstream(&["health", &server.target], "")).trim(), "SERVING");
    let output = millstream(&["health", &server.target, "no.Such"], "");
    assert_eq!(output.status.code(), Some(1));
    assert!(stderr(&output).contains("NOT_FOUND"), "{}", stderr(&output));
}

#[test]
fn the_error_table_is_printed_as_text_and_json() {
    let text = stdout(&millstream(&["errors"], ""));
    assert!(text.lines().any(|line| line.starts_with(" 14  UNAVAILABLE")), "{text}");
    let rows: Vec<serde_json::Value> =
        serde_json::from_str(&stdout(&millstream(&["errors", "--json"], ""))).unwrap();
    assert!(rows.iter().any(|row| row["number"] == 106 && row["name"] == "FORKED"));
}
