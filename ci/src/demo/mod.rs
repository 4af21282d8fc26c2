//! The demo: one scenario, four languages, one server, and the question whether all saw the same.

use std::{
    fs::{self, OpenOptions},
    io::{BufRead, BufReader, Read, Write},
    path::{Path, PathBuf},
    process::Stdio,
    sync::mpsc::{self, RecvTimeoutError},
    thread,
    time::{Duration, Instant},
};

use indicatif::ProgressBar;

use crate::{
    plan,
    process::{Cmd, Failure, Group, interrupted},
    server::Server,
    steps::{self, Mode},
    tools,
    ui::Ui,
    workspace::Workspace,
};

mod report;

use report::{Data, Progress, Received, SERVICES};

/// The languages of the scenario, in the order in which they run.
pub const LANGUAGES: [&str; 4] = ["rust", "python", "java", "c"];

/// How long one language may take.
const LIMIT: Duration = Duration::from_secs(15 * 60);
/// How much of a program's error output a failure shows.
const LAST_WORDS: usize = 30;

/// The steps that build what the demo runs.
pub fn needs(languages: &[&str], excerpt: bool) -> Vec<&'static str> {
    let mut needs = vec![if excerpt { "data-excerpt" } else { "data" }];
    needs.extend(languages.iter().filter_map(|language| match *language {
        "rust" => Some("example-rust"),
        "python" => Some("wheel"),
        "java" => Some("jar"),
        "c" => Some("example-c"),
        _ => None,
    }));
    needs
}

/// A server and who talks to it.
struct Stage<'a> {
    ws: &'a Workspace,
    ui: Ui,
    languages: &'a [&'a str],
    log: PathBuf,
    data_dir: PathBuf,
    target: String,
    data: Data,
    _server: Server,
}

impl<'a> Stage<'a> {
    /// Starts the server. Everything is built.
    fn set(
        ws: &'a Workspace,
        ui: Ui,
        languages: &'a [&'a str],
        excerpt: bool,
    ) -> Result<Stage<'a>, Failure> {
        let log = ws.log("demo");
        fs::write(&log, "")?;
        let data_dir = if excerpt { ws.data_excerpt() } else { ws.data() };
        let serve = Cmd::new(ws.target("release/reference-server"))
            .args(["serve", "--exit-with-stdin", "--data"])
            .arg(&data_dir);
        let server = Server::start(serve, &log)?;
        let target = server.text("http")?.to_owned();
        let data = match server.text("data")? {
            "full" => Data::Full,
            _ => Data::Excerpt,
        };
        Ok(Stage { ws, ui, languages, log, data_dir, target, data, _server: server })
    }

    /// Runs the scenario once in each language: what they received, and everything that is wrong.
    fn play(&self) -> Result<(Vec<Received>, Vec<String>), Failure> {
        let mut received = Vec::new();
        let mut problems = Vec::new();
        let services = SERVICES.len() as u64;
        let bar = self.ui.bar(self.languages.len() as u64 * services * PART);
        for (index, language) in self.languages.iter().enumerate() {
            let mut meter = Meter::new(self.ui, &bar, language, index as u64 * services);
            let program = program(self.ws, language, &self.target, &self.data_dir);
            match scenario(program, &self.log, |line| meter.line(line)) {
                Ok(rows) => received.extend(rows),
                Err(failure) if interrupted() => return Err(failure),
                Err(failure) => {
                    let log = self.ws.show(&self.log);
                    bar.suspend(|| self.ui.say(steps::explain(&failure, &log)));
                    problems.push(format!("{language}: {failure}"));
                }
            }
        }
        bar.finish_and_clear();
        problems.extend(report::judge(&received, self.languages, self.data).problems);
        Ok((received, problems))
    }
}

/// Runs the scenario in each language against one server and compares.
pub fn run(ws: &Workspace, ui: Ui, languages: &[&str], excerpt: bool) -> Result<bool, Failure> {
    ui.heading("The scenario");
    let stage = Stage::set(ws, ui, languages, excerpt)?;
    let (received, problems) = stage.play()?;
    print!("\n{}", report::table(&received, languages));
    println!("\n{}", verdict(languages.len(), stage.data, &problems));
    Ok(problems.is_empty())
}

/// Runs it again and again, against one server, until the time is up or something is wrong.
pub fn soak(ws: &Workspace, ui: Ui, time: Duration) -> Result<bool, Failure> {
    let stage = Stage::set(ws, ui, &LANGUAGES, false)?;
    let start = Instant::now();
    let mut rounds = 0;
    while start.elapsed() < time {
        rounds += 1;
        ui.heading(&format!("Round {rounds}, after {} s", start.elapsed().as_secs()));
        let (received, problems) = stage.play()?;
        if !problems.is_empty() {
            print!("\n{}", report::table(&received, &LANGUAGES));
            println!("\nround {rounds}\n{}", verdict(LANGUAGES.len(), stage.data, &problems));
            return Ok(false);
        }
    }
    println!("\n{rounds} rounds\n{}", verdict(LANGUAGES.len(), stage.data, &[]));
    Ok(true)
}

fn verdict(languages: usize, data: Data, problems: &[String]) -> String {
    if !problems.is_empty() {
        let lines: Vec<String> = problems.iter().map(|line| format!("NOT OK: {line}")).collect();
        return lines.join("\n");
    }
    let what = match data {
        Data::Full => format!(
            "{} observations and {} flights",
            report::grouped(report::OBSERVATIONS),
            report::grouped(report::FLIGHTS)
        ),
        Data::Excerpt => "the committed EXCERPT of the data, not all of it".to_owned(),
    };
    format!("OK: {languages} languages received the same from all six services ({what})")
}

/// The scenario program of a language.
fn program(ws: &Workspace, language: &str, target: &str, data: &Path) -> Cmd {
    let cmd = match language {
        "python" => Cmd::new(tools::venv_bin(ws, "python")).arg(ws.path("examples/python/demo.py")),
        "java" => {
            Cmd::new("java").arg("-jar").arg(ws.path("examples/java/target/millstream-demo.jar"))
        }
        "c" => Cmd::new(plan::examples_c(ws, Mode::Demo).join("example-c")),
        _ => Cmd::new(ws.target("release/example-rust")),
    };
    cmd.arg(target).arg(data).limit(LIMIT)
}

/// Runs a scenario program: its rows, or why there are none.
fn scenario(cmd: Cmd, log: &Path, mut line: impl FnMut(&str)) -> Result<Vec<Received>, Failure> {
    let mut log = OpenOptions::new().create(true).append(true).open(log)?;
    writeln!(log, "$ {}", cmd.line())?;
    let fail = |what: String, tail: &[String]| Failure {
        what,
        command: Some(cmd.line()),
        tail: tail.join("\n"),
        remedy: None,
    };
    let child = cmd
        .command()
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| fail(format!("cannot be started: {error}"), &[]))?;
    let mut group = Group::new(child);
    let (stdout, stderr) = (group.child().stdout.take(), group.child().stderr.take());
    let output = thread::spawn(move || {
        let mut text = String::new();
        stdout.map_or(Ok(0), |mut stdout| stdout.read_to_string(&mut text)).map(|_| text)
    });
    let (send, receive) = mpsc::channel();
    thread::spawn(move || {
        let Some(stderr) = stderr else { return };
        for line in BufReader::new(stderr).lines() {
            let Ok(line) = line else { return };
            let _ = send.send(line);
        }
    });
    let mut words: Vec<String> = Vec::new();
    let deadline = Instant::now() + LIMIT;
    loop {
        match receive.recv_timeout(Duration::from_millis(100)) {
            Ok(said) => {
                line(&said);
                if Progress::parse(&said).is_none() {
                    writeln!(log, "{said}")?;
                    words.push(said);
                    let surplus = words.len().saturating_sub(LAST_WORDS);
                    words.drain(..surplus);
                }
            }
            Err(RecvTimeoutError::Disconnected) => break,
            Err(RecvTimeoutError::Timeout) if interrupted() => {
                return Err(fail("interrupted".to_owned(), &words));
            }
            Err(RecvTimeoutError::Timeout) if Instant::now() > deadline => {
                let minutes = LIMIT.as_secs() / 60;
                return Err(fail(
                    format!("still running after {minutes} min; it was ended"),
                    &words,
                ));
            }
            Err(RecvTimeoutError::Timeout) => {}
        }
    }
    let status = group
        .wait(Duration::from_secs(30), || {})
        .map_err(|stop| fail(format!("did not end after its last word: {stop:?}"), &words))?;
    if !status.success() {
        return Err(fail(status.to_string(), &words));
    }
    let output = output
        .join()
        .map_err(|_| fail("its output was not read".to_owned(), &words))?
        .map_err(|error| fail(format!("its output cannot be read: {error}"), &words))?;
    write!(log, "{output}")?;
    report::parse(&output).map_err(|error| fail(format!("its output is not rows: {error}"), &words))
}

/// The share of one service in the bar.
const PART: u64 = 1000;

/// Turns progress lines into a bar, or into a plain line per service.
struct Meter<'a> {
    ui: Ui,
    bar: &'a ProgressBar,
    language: &'a str,
    before: u64,
    service: String,
}

impl<'a> Meter<'a> {
    fn new(ui: Ui, bar: &'a ProgressBar, language: &'a str, before: u64) -> Meter<'a> {
        if ui.is_plain() {
            ui.say(format!("--> {language}"));
        }
        bar.set_position(before * PART);
        bar.set_message(language.to_owned());
        Meter { ui, bar, language, before, service: String::new() }
    }

    fn line(&mut self, line: &str) {
        let Some(progress) = Progress::parse(line) else { return };
        let Progress { service, done, total } = progress;
        let place = SERVICES.iter().position(|name| *name == service).unwrap_or(0);
        let share = (PART * done.min(total)).checked_div(total).unwrap_or(0);
        let before = self.before + u64::try_from(place).unwrap_or(0);
        self.bar.set_position(before * PART + share);
        let finished = done >= total;
        let (done, total) = (report::grouped(done), report::grouped(total));
        self.bar.set_message(format!("{}: {service} {done} of {total}", self.language));
        if self.ui.is_plain() && finished && self.service != service {
            let plural = if total == "1" { "" } else { "s" };
            self.ui.say(format!("    {service}: {total} message{plural}"));
            self.service = service;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const ROW: &str =
        r#"{"language":"c","service":"chat","messages":5,"seconds":0.1,"crc32":"00ff00ff"}"#;

    fn sh(script: &str) -> Cmd {
        Cmd::new("sh").args(["-c", script])
    }

    fn scenario(cmd: Cmd, line: impl FnMut(&str)) -> Result<Vec<Received>, Failure> {
        let name = format!("xtask-{}-demo", std::process::id());
        super::scenario(cmd, &std::env::temp_dir().join(name), line)
    }

    #[test]
    fn a_program_gives_its_rows_and_its_progress() {
        let mut lines = Vec::new();
        let script = format!("echo progress chat 5 5 >&2; echo '{ROW}'");
        let rows = scenario(sh(&script), |line| lines.push(line.to_owned())).unwrap();
        assert_eq!(rows.len(), 1);
        assert_eq!(lines, ["progress chat 5 5"]);
    }

    #[test]
    fn a_program_that_fails_shows_its_last_words_but_not_its_progress() {
        let script = "echo progress chat 1 5 >&2; echo the reason >&2; exit 7";
        let failure = scenario(sh(script), |_| {}).unwrap_err();
        assert_eq!(failure.what, "exit status: 7");
        assert_eq!(failure.tail, "the reason");
    }

    #[test]
    fn a_program_that_prints_something_else_is_a_failure() {
        let failure = scenario(sh("echo hello"), |_| {}).unwrap_err();
        assert!(failure.what.starts_with("its output is not rows"), "{failure}");
    }

    #[test]
    fn a_program_that_is_not_there_is_a_failure() {
        let failure = scenario(Cmd::new("/no/such/program"), |_| {}).unwrap_err();
        assert!(failure.what.starts_with("cannot be started"), "{failure}");
    }

    #[test]
    fn the_verdict_says_which_data_it_is_about() {
        assert_eq!(
            verdict(4, Data::Full, &[]),
            "OK: 4 languages received the same from all six services (26,115 observations and \
             336,776 flights)"
        );
        assert!(verdict(4, Data::Excerpt, &[]).contains("EXCERPT"));
        let bad = verdict(4, Data::Full, &["a".to_owned(), "b".to_owned()]);
        assert_eq!(bad, "NOT OK: a\nNOT OK: b");
    }
}
