//! What is shown while work goes on: a live line on a terminal, plain lines otherwise.

use std::{
    env,
    io::{IsTerminal, stderr},
    time::{Duration, Instant},
};

use indicatif::{HumanDuration, ProgressBar, ProgressStyle};

/// How often a long step says on a plain output that it is still at work.
const HEARTBEAT: Duration = Duration::from_secs(30);

/// The output. Everything goes to standard error but tables, which are results.
#[derive(Clone, Copy, Debug)]
pub struct Ui {
    plain: bool,
}

impl Ui {
    /// Plain when asked for, in CI, and when standard error is no terminal.
    pub fn new(plain: bool) -> Ui {
        let ci = env::var_os("CI").is_some_and(|value| !value.is_empty() && value != "false");
        let dumb = env::var_os("TERM").is_none_or(|term| term == "dumb");
        Ui { plain: plain || ci || dumb || !stderr().is_terminal() }
    }

    /// Whether lines are plain: no bars, no colours.
    pub fn is_plain(self) -> bool {
        self.plain
    }

    /// A line.
    pub fn say(self, line: impl AsRef<str>) {
        eprintln!("{}", line.as_ref());
    }

    /// A heading above the steps that follow.
    pub fn heading(self, text: &str) {
        if self.plain { eprintln!("\n== {text} ==") } else { eprintln!("\n\x1b[1m{text}\x1b[0m") }
    }

    /// Begins a piece of work of unknown length.
    pub fn work(self, title: impl Into<String>) -> Work {
        let title = title.into();
        let bar = if self.plain {
            eprintln!("--> {title}");
            ProgressBar::hidden()
        } else {
            let bar = ProgressBar::new_spinner().with_style(style("{spinner} {prefix} {wide_msg}"));
            bar.enable_steady_tick(Duration::from_millis(120));
            bar.set_prefix(title.clone());
            bar
        };
        let now = Instant::now();
        Work { plain: self.plain, bar, title, start: now, beat: now }
    }

    /// Begins a piece of work whose parts are counted.
    pub fn bar(self, length: u64) -> ProgressBar {
        if self.plain {
            return ProgressBar::hidden();
        }
        let template = "{spinner} {bar:30} {percent:>3} % {elapsed:>4} {wide_msg}";
        let bar = ProgressBar::new(length).with_style(style(template).progress_chars("=> "));
        bar.enable_steady_tick(Duration::from_millis(120));
        bar
    }
}

fn style(template: &str) -> ProgressStyle {
    ProgressStyle::with_template(template).unwrap_or_else(|_| ProgressStyle::default_spinner())
}

/// A piece of work that goes on.
#[derive(Debug)]
pub struct Work {
    plain: bool,
    bar: ProgressBar,
    title: String,
    start: Instant,
    beat: Instant,
}

impl Work {
    /// The last thing that the work said.
    pub fn alive(&mut self, line: &str) {
        if !self.plain {
            let time = HumanDuration(self.start.elapsed());
            self.bar.set_message(format!("({time:#}) {line}"));
        } else if self.beat.elapsed() >= HEARTBEAT {
            self.beat = Instant::now();
            eprintln!("    {} s: {line}", self.start.elapsed().as_secs());
        }
    }

    /// Ends the live line and says how the work ended: "ok", "FAILED" and the like.
    pub fn end(self, verdict: &str, note: &str) -> Duration {
        let took = self.start.elapsed();
        let seconds = format!("{:.1} s", took.as_secs_f64());
        let gap = if note.is_empty() { "" } else { "  " };
        if self.plain {
            eprintln!("    {verdict} {seconds}{gap}{note}");
        } else {
            self.bar.finish_and_clear();
            eprintln!("{verdict:>6} {} ({seconds}){gap}{note}", self.title);
        }
        took
    }
}
