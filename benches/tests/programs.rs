//! The server and the Rust client as programs.

use std::{
    io::{BufRead, BufReader},
    process::{Child, Command, Stdio},
    time::{Duration, Instant},
};

use serde_json::Value;

struct Server {
    child: Child,
    address: String,
}

impl Server {
    fn start() -> Server {
        let mut child = Command::new(env!("CARGO_BIN_EXE_load_server"))
            .arg("--exit-with-stdin")
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut line = String::new();
        BufReader::new(child.stdout.take().unwrap()).read_line(&mut line).unwrap();
        let ready: Value = serde_json::from_str(&line).unwrap();
        assert_eq!(ready["ready"], true);
        let address = ready["address"].as_str().unwrap().to_owned();
        Server { child, address }
    }

    fn measure(&self, mode: &str, options: &[&str]) -> Value {
        let output = Command::new(env!("CARGO_BIN_EXE_rust_client"))
            .args([&self.address, mode])
            .args(options)
            .output()
            .unwrap();
        let errors = String::from_utf8_lossy(&output.stderr);
        assert!(output.status.success(), "{mode}: {errors}");
        serde_json::from_slice(&output.stdout).unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn every_mode_moves_as_many_messages_as_were_asked_for_and_takes_time() {
    let server = Server::start();
    for mode in ["packed", "single", "paced", "publish", "unary", "echo", "h2-packed", "h2-single"]
    {
        let line = server.measure(mode, &["--messages", "3000"]);
        assert_eq!(line["name"], mode);
        assert_eq!(line["messages"], 3000, "{mode}");
        assert!(line["seconds"].as_f64().unwrap() > 0.0, "{mode}");
        assert!(line["cpu_seconds"].as_f64().unwrap() > 0.0, "{mode}");
    }
}

#[test]
fn a_message_is_padded_to_the_size_that_is_asked_for() {
    let server = Server::start();
    let line = server.measure("packed", &["--messages", "100", "--size", "1000"]);
    assert_eq!(line["bytes"], 100_000);
}

#[test]
fn a_paced_stream_keeps_to_its_rate_and_tells_latencies() {
    let server = Server::start();
    let line = server.measure("paced", &["--messages", "20000", "--rate", "40000"]);
    // The last message is due after half a second; a slow machine may be late, never early.
    assert!(line["seconds"].as_f64().unwrap() > 0.49);
    let [p50, p99, max] = ["p50_us", "p99_us", "max_us"].map(|name| line[name].as_f64().unwrap());
    assert!(0.0 < p50 && p50 <= p99 && p99 <= max);
}

#[test]
fn a_stalled_consumer_gets_the_whole_stream_in_the_end() {
    let server = Server::start();
    for options in [&["--stall", "0.1"][..], &["--stall", "0.1", "--single"]] {
        let line = server.measure("stalled", options);
        let bytes = line["bytes"].as_u64().unwrap();
        // 1 GiB with prefixes.
        assert!(bytes > (1 << 30) / 10 * 9 && bytes < 1 << 30, "{bytes}");
        assert!(line["rss_growth_kb"].is_u64());
    }
}

#[test]
fn a_client_without_a_server_says_what_it_could_not_reach() {
    let output = Command::new(env!("CARGO_BIN_EXE_rust_client"))
        .args(["127.0.0.1:1", "unary"])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors.contains("127.0.0.1:1") && errors.contains("UNAVAILABLE"), "{errors}");
}

#[test]
fn an_address_that_is_taken_is_named() {
    let server = Server::start();
    let output = Command::new(env!("CARGO_BIN_EXE_load_server"))
        .args(["--listen", &server.address])
        .output()
        .unwrap();
    let errors = String::from_utf8_lossy(&output.stderr);
    assert_eq!(output.status.code(), Some(1));
    assert!(errors.contains(&server.address), "{errors}");
}

#[test]
fn the_server_ends_with_its_standard_input() {
    let mut server = Server::start();
    drop(server.child.stdin.take());
    let deadline = Instant::now() + Duration::from_secs(60);
    let status = loop {
        if let Some(status) = server.child.try_wait().unwrap() {
            break status;
        }
        assert!(Instant::now() < deadline, "the server goes on");
        std::thread::sleep(Duration::from_millis(20));
    };
    assert!(status.success());
}
