//! Running other programs: output to a log, a time limit, and nothing left behind.

use std::{
    ffi::{OsStr, OsString},
    fmt,
    fs::{File, OpenOptions},
    io::{self, Read, Seek, SeekFrom, Write},
    os::unix::process::CommandExt,
    path::{Path, PathBuf},
    process::{Child, Command, ExitStatus, Stdio},
    sync::{
        Arc, OnceLock,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use rustix::process::{Pid, Signal, kill_process_group};

/// How much of a log a failure shows.
const TAIL_LINES: usize = 30;
/// How often a running program is looked at.
const POLL: Duration = Duration::from_millis(40);
/// How long a program may take to stop when asked to.
const GRACE: Duration = Duration::from_secs(5);

/// Why a step did not succeed, in the words that are shown.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Failure {
    /// What went wrong, in one line.
    pub what: String,
    /// The command that failed, as one could type it.
    pub command: Option<String>,
    /// The end of its output.
    pub tail: String,
    /// What to do about it.
    pub remedy: Option<String>,
}

impl Failure {
    /// A failure that is not one of a command.
    pub fn new(what: impl Into<String>) -> Failure {
        Failure { what: what.into(), ..Failure::default() }
    }

    /// The same failure with what to do about it, unless that is known already.
    pub fn remedy(mut self, remedy: impl Into<String>) -> Failure {
        self.remedy.get_or_insert_with(|| remedy.into());
        self
    }
}

impl fmt::Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.what)
    }
}

impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Failure {
        Failure::new(error.to_string())
    }
}

/// Set by Ctrl-C and by SIGTERM.
fn interrupt_flag() -> &'static Arc<AtomicBool> {
    static FLAG: OnceLock<Arc<AtomicBool>> = OnceLock::new();
    FLAG.get_or_init(Arc::default)
}

/// From here on Ctrl-C and SIGTERM end the running program, and then this one.
pub fn watch_interrupts() -> io::Result<()> {
    for signal in [signal_hook::consts::SIGINT, signal_hook::consts::SIGTERM] {
        signal_hook::flag::register(signal, interrupt_flag().clone())?;
    }
    Ok(())
}

/// Whether Ctrl-C or SIGTERM came.
pub fn interrupted() -> bool {
    interrupt_flag().load(Ordering::Relaxed)
}

/// A program to run.
#[derive(Clone, Debug)]
pub struct Cmd {
    program: OsString,
    args: Vec<OsString>,
    envs: Vec<(OsString, OsString)>,
    cwd: Option<PathBuf>,
    limit: Duration,
}

impl Cmd {
    /// A program, by path or by a name on PATH.
    pub fn new(program: impl AsRef<OsStr>) -> Cmd {
        Cmd {
            program: program.as_ref().to_owned(),
            args: Vec::new(),
            envs: Vec::new(),
            cwd: None,
            limit: Duration::from_secs(20 * 60),
        }
    }

    /// Arguments, after those already there.
    pub fn args<A: AsRef<OsStr>>(mut self, args: impl IntoIterator<Item = A>) -> Cmd {
        self.args.extend(args.into_iter().map(|arg| arg.as_ref().to_owned()));
        self
    }

    /// One more argument.
    pub fn arg(self, arg: impl AsRef<OsStr>) -> Cmd {
        self.args([arg])
    }

    /// A variable of its environment.
    pub fn env(mut self, name: impl AsRef<OsStr>, value: impl AsRef<OsStr>) -> Cmd {
        self.envs.push((name.as_ref().to_owned(), value.as_ref().to_owned()));
        self
    }

    /// The directory it runs in.
    pub fn cwd(mut self, dir: impl Into<PathBuf>) -> Cmd {
        self.cwd = Some(dir.into());
        self
    }

    /// How long it may run.
    pub fn limit(mut self, limit: Duration) -> Cmd {
        self.limit = limit;
        self
    }

    /// The command line as one could type it.
    pub fn line(&self) -> String {
        let mut words: Vec<String> = self
            .envs
            .iter()
            .map(|(name, value)| format!("{}={}", name.to_string_lossy(), quote(value)))
            .collect();
        words.push(quote(&self.program));
        words.extend(self.args.iter().map(|arg| quote(arg)));
        let line = words.join(" ");
        match &self.cwd {
            Some(dir) => format!("cd {} && {line}", quote(dir.as_os_str())),
            None => line,
        }
    }

    /// The command for the standard library, with no input, in its own process group, so that the
    /// whole group can be ended.
    pub fn command(&self) -> Command {
        let mut command = Command::new(&self.program);
        command.args(&self.args).stdin(Stdio::null()).process_group(0);
        for (name, value) in &self.envs {
            command.env(name, value);
        }
        if let Some(dir) = &self.cwd {
            command.current_dir(dir);
        }
        command
    }

    /// Runs to the end with both outputs appended to `log`. `alive` is called with the last line
    /// of output now and then.
    pub fn run(&self, log: &Path, mut alive: impl FnMut(&str)) -> Result<(), Failure> {
        let mut file = OpenOptions::new().create(true).append(true).open(log)?;
        writeln!(file, "$ {}", self.line())?;
        let start = file.seek(SeekFrom::End(0))?;
        let child = self
            .command()
            .stdout(file.try_clone()?)
            .stderr(file.try_clone()?)
            .spawn()
            .map_err(|error| self.cannot_start(&error))?;
        let mut guard = Group::new(child);
        let status = guard.wait(self.limit, || {
            if let Ok(line) = last_line(log) {
                alive(&line);
            }
        });
        self.judge(status, || tail_of(log, start))
    }

    /// Runs to the end and gives what it printed. Its error output is appended to `log`.
    pub fn output(&self, log: &Path) -> Result<String, Failure> {
        let mut file = OpenOptions::new().create(true).append(true).open(log)?;
        writeln!(file, "$ {}", self.line())?;
        let start = file.seek(SeekFrom::End(0))?;
        let mut child = self
            .command()
            .stdout(Stdio::piped())
            .stderr(file)
            .spawn()
            .map_err(|error| self.cannot_start(&error))?;
        let stdout = child.stdout.take();
        let mut guard = Group::new(child);
        let reader = thread::spawn(move || {
            let mut text = Vec::new();
            if let Some(mut stdout) = stdout {
                stdout.read_to_end(&mut text)?;
            }
            io::Result::Ok(text)
        });
        let status = guard.wait(self.limit, || {});
        self.judge(status, || tail_of(log, start))?;
        let text = reader.join().map_err(|_| Failure::new("the output was not read"))??;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }

    fn cannot_start(&self, error: &io::Error) -> Failure {
        let name = Path::new(&self.program).display();
        Failure {
            what: format!("`{name}` cannot be started: {error}"),
            command: Some(self.line()),
            ..Failure::default()
        }
    }

    fn judge(
        &self,
        status: Result<ExitStatus, Stop>,
        tail: impl FnOnce() -> String,
    ) -> Result<(), Failure> {
        let what = match status {
            Ok(status) if status.success() => return Ok(()),
            Ok(status) => status.to_string(),
            Err(Stop::Limit) => {
                format!("still running after {} s; it was ended", self.limit.as_secs())
            }
            Err(Stop::Interrupted) => "interrupted".to_owned(),
            Err(Stop::Io(error)) => error.to_string(),
        };
        Err(Failure { what, command: Some(self.line()), tail: tail(), remedy: None })
    }
}

/// Why a wait ended before the program did.
#[derive(Debug)]
pub enum Stop {
    /// The time limit was reached.
    Limit,
    /// Ctrl-C or SIGTERM.
    Interrupted,
    /// It could not be waited for.
    Io(io::Error),
}

/// A running program and everything it started. Dropping it ends them.
#[derive(Debug)]
pub struct Group {
    child: Child,
    done: bool,
}

impl Group {
    /// Takes charge of a child that was started in its own process group.
    pub fn new(child: Child) -> Group {
        Group { child, done: false }
    }

    /// The child, for its pipes.
    pub fn child(&mut self) -> &mut Child {
        &mut self.child
    }

    /// Waits for the end, calling `alive` about four times a second.
    pub fn wait(&mut self, limit: Duration, mut alive: impl FnMut()) -> Result<ExitStatus, Stop> {
        let start = Instant::now();
        let mut last = start;
        loop {
            match self.child.try_wait() {
                Ok(Some(status)) => {
                    self.done = true;
                    return Ok(status);
                }
                Ok(None) => {}
                Err(error) => return Err(Stop::Io(error)),
            }
            let stop = if interrupted() {
                Some(Stop::Interrupted)
            } else if start.elapsed() > limit {
                Some(Stop::Limit)
            } else {
                None
            };
            if let Some(stop) = stop {
                self.end();
                return Err(stop);
            }
            if last.elapsed() > Duration::from_millis(250) {
                last = Instant::now();
                alive();
            }
            thread::sleep(POLL);
        }
    }

    /// Asks the group to stop, and kills it when it does not.
    pub fn end(&mut self) {
        if self.done {
            return;
        }
        let group = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        let signal = |signal| {
            if let Some(group) = group {
                // The group may be gone already, which is what is wanted.
                let _ = kill_process_group(group, signal);
            }
        };
        signal(Signal::TERM);
        let start = Instant::now();
        while start.elapsed() < GRACE {
            if let Ok(Some(_)) = self.child.try_wait() {
                break;
            }
            thread::sleep(POLL);
        }
        signal(Signal::KILL);
        let _ = self.child.wait();
        self.done = true;
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        self.end();
    }
}

/// A word as a shell reads it.
fn quote(word: &OsStr) -> String {
    let word = word.to_string_lossy();
    let plain = |c: char| c.is_ascii_alphanumeric() || "-_./=:,+@%".contains(c);
    if !word.is_empty() && word.chars().all(plain) {
        word.into_owned()
    } else {
        format!("'{}'", word.replace('\'', r"'\''"))
    }
}

/// The last lines of a log from `start` on.
pub fn tail_of(log: &Path, start: u64) -> String {
    let read = || -> io::Result<String> {
        let mut file = File::open(log)?;
        let end = file.metadata()?.len();
        file.seek(SeekFrom::Start(start.max(end.saturating_sub(64 * 1024))))?;
        let mut text = Vec::new();
        file.read_to_end(&mut text)?;
        let text = String::from_utf8_lossy(&text);
        let lines: Vec<&str> = text.lines().collect();
        Ok(lines[lines.len().saturating_sub(TAIL_LINES)..].join("\n"))
    };
    read().unwrap_or_else(|error| format!("(the log cannot be read: {error})"))
}

/// The last line of a log that says something.
fn last_line(log: &Path) -> io::Result<String> {
    let mut file = File::open(log)?;
    let end = file.metadata()?.len();
    file.seek(SeekFrom::Start(end.saturating_sub(2048)))?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;
    let text = String::from_utf8_lossy(&text);
    Ok(text.lines().rev().map(str::trim).find(|line| !line.is_empty()).unwrap_or("").to_owned())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn log(name: &str) -> PathBuf {
        let dir = std::env::temp_dir().join(format!("xtask-{}-{name}", std::process::id()));
        std::fs::create_dir_all(&dir).unwrap();
        let log = dir.join("log");
        let _ = std::fs::remove_file(&log);
        log
    }

    fn sh(script: &str) -> Cmd {
        Cmd::new("sh").args(["-c", script])
    }

    #[test]
    fn a_failed_command_shows_its_line_and_the_end_of_its_output() {
        let failure = sh("echo first; echo second >&2; exit 3")
            .env("WHERE", "over there")
            .run(&log("fails"), |_| {})
            .unwrap_err();
        assert_eq!(failure.what, "exit status: 3");
        assert_eq!(failure.tail, "first\nsecond");
        assert_eq!(
            failure.command.unwrap(),
            "WHERE='over there' sh -c 'echo first; echo second >&2; exit 3'"
        );
    }

    #[test]
    fn the_tail_of_a_second_command_has_nothing_of_the_first() {
        let log = log("second");
        sh("echo of the first").run(&log, |_| {}).unwrap();
        let failure = sh("echo of the second; false").run(&log, |_| {}).unwrap_err();
        assert_eq!(failure.tail, "of the second");
        let text = std::fs::read_to_string(&log).unwrap();
        assert!(text.contains("of the first"), "the log keeps both: {text}");
    }

    #[test]
    fn only_the_end_of_a_long_output_is_shown() {
        let failure = sh("seq 1 1000; false").run(&log("long"), |_| {}).unwrap_err();
        assert_eq!(failure.tail.lines().count(), TAIL_LINES);
        assert!(failure.tail.ends_with("999\n1000"), "{}", failure.tail);
    }

    #[test]
    fn a_program_that_is_not_there_is_named() {
        let failure = Cmd::new("no-such-program-here").run(&log("absent"), |_| {}).unwrap_err();
        assert!(failure.what.starts_with("`no-such-program-here` cannot be started"), "{failure}");
    }

    #[test]
    fn a_command_over_its_limit_is_ended_with_everything_it_started() {
        let log = log("limit");
        let start = Instant::now();
        let failure = sh("sleep 600 & echo $!; wait")
            .limit(Duration::from_millis(300))
            .run(&log, |_| {})
            .unwrap_err();
        assert!(failure.what.contains("it was ended"), "{failure}");
        assert!(start.elapsed() < Duration::from_secs(60), "ended at once");
        let pid = failure.tail.lines().next().unwrap().to_owned();
        let gone = || !sh(&format!("kill -0 {pid}")).command().output().unwrap().status.success();
        let deadline = Instant::now() + Duration::from_secs(20);
        while !gone() && Instant::now() < deadline {
            thread::sleep(POLL);
        }
        assert!(gone(), "the sleep in the background was ended too");
    }

    #[test]
    fn output_gives_what_a_program_printed_and_keeps_its_errors_in_the_log() {
        let log = log("output");
        assert_eq!(sh("echo said; echo told >&2").output(&log).unwrap(), "said\n");
        let text = std::fs::read_to_string(&log).unwrap();
        assert!(text.contains("told") && !text.contains("\nsaid"), "{text}");
    }
}
