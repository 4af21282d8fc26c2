//! The reference server as a program that runs beside a step.

use std::{
    io::{BufRead, BufReader},
    path::Path,
    process::Stdio,
    sync::mpsc::{RecvTimeoutError, channel},
    thread,
    time::{Duration, Instant},
};

use serde_json::Value;

use crate::process::{Cmd, Failure, Group, interrupted, tail_of};

/// How long the server may take to read its data and listen.
const READY: Duration = Duration::from_secs(120);

/// A reference server that ends when this is dropped. It ends as well when this program dies, since
/// its standard input is closed then.
#[derive(Debug)]
pub struct Server {
    group: Group,
    ready: Value,
}

impl Server {
    /// Starts a server and waits until it has said, in one line of JSON, that it is ready.
    pub fn start(cmd: Cmd, log: &Path) -> Result<Server, Failure> {
        let file = std::fs::OpenOptions::new().create(true).append(true).open(log)?;
        let start = file.metadata()?.len();
        let fail = |what: String| Failure {
            what,
            command: Some(cmd.line()),
            tail: tail_of(log, start),
            remedy: None,
        };
        let child = cmd
            .command()
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .map_err(|error| fail(format!("the server cannot be started: {error}")))?;
        let mut group = Group::new(child);
        let stdout = group.child().stdout.take();
        let (send, receive) = channel();
        thread::spawn(move || {
            let Some(stdout) = stdout else { return };
            // Reads on after the first line, so that the server never waits for a reader.
            for line in BufReader::new(stdout).lines() {
                let Ok(line) = line else { return };
                let _ = send.send(line);
            }
        });
        let deadline = Instant::now() + READY;
        let line = loop {
            match receive.recv_timeout(Duration::from_millis(100)) {
                Ok(line) => break line,
                Err(RecvTimeoutError::Disconnected) => {
                    return Err(fail("the server ended at once".to_owned()));
                }
                Err(RecvTimeoutError::Timeout) if interrupted() => {
                    return Err(fail("interrupted".to_owned()));
                }
                Err(RecvTimeoutError::Timeout) if Instant::now() > deadline => {
                    let seconds = READY.as_secs();
                    return Err(fail(format!("the server was not ready after {seconds} s")));
                }
                Err(RecvTimeoutError::Timeout) => {}
            }
        };
        let ready = serde_json::from_str(&line).map_err(|error| {
            fail(format!("the server said {line:?}, not that it is ready: {error}"))
        })?;
        Ok(Server { group, ready })
    }

    /// A text of the ready line.
    pub fn text(&self, field: &str) -> Result<&str, Failure> {
        self.ready.get(field).and_then(Value::as_str).ok_or_else(|| {
            Failure::new(format!(
                "the ready line of the server has no text {field:?}: {}",
                self.ready
            ))
        })
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        // The polite way first; the group kills what is left.
        drop(self.group.child().stdin.take());
        let _ = self.group.wait(Duration::from_secs(5), || {});
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(name: &str) -> std::path::PathBuf {
        std::env::temp_dir().join(format!("xtask-{}-server-{name}", std::process::id()))
    }

    fn sh(script: &str) -> Cmd {
        Cmd::new("sh").args(["-c", script])
    }

    #[test]
    fn a_server_is_ready_when_it_says_so_and_ends_with_its_input() {
        let done = log("done");
        let script =
            format!(r#"echo '{{"target":"http://x"}}'; cat; echo ended > {}"#, done.display());
        let server = Server::start(sh(&script), &log("ready")).unwrap();
        assert_eq!(server.text("target").unwrap(), "http://x");
        assert!(server.text("other").is_err());
        drop(server);
        assert_eq!(std::fs::read_to_string(done).unwrap(), "ended\n");
    }

    #[test]
    fn a_server_that_ends_at_once_is_a_failure_with_its_last_words() {
        let failure = Server::start(sh("echo no data >&2; exit 1"), &log("ends")).unwrap_err();
        assert_eq!(failure.what, "the server ended at once");
        assert_eq!(failure.tail, "no data");
    }

    #[test]
    fn a_ready_line_that_is_no_json_is_a_failure_that_shows_it() {
        let failure = Server::start(sh("echo hello; cat"), &log("json")).unwrap_err();
        assert!(failure.what.contains("hello"), "{failure}");
    }
}
