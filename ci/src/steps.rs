//! Runs steps one after another and sums up how they ended.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::PathBuf, time::Duration};

use crate::{
    count::{Language, Tally},
    process::{Cmd, Failure, interrupted},
    ui::{Ui, Work},
    workspace::Workspace,
};

/// What a step did.
#[derive(Debug, Default)]
pub struct Report {
    /// The tests that ran, by language.
    pub tests: Vec<(Language, Tally)>,
    /// A few words for the summary.
    pub note: String,
}

impl Report {
    /// A report of tests in one language.
    pub fn tests(language: Language, tally: Tally) -> Report {
        Report { tests: vec![(language, tally)], note: String::new() }
    }

    /// A report with a few words.
    pub fn note(note: impl Into<String>) -> Report {
        Report { tests: Vec::new(), note: note.into() }
    }
}

/// A piece of work with a name.
pub struct Step {
    /// The name on the command line and of the log.
    pub id: &'static str,
    /// What it does.
    pub title: &'static str,
    /// The steps without which this one makes no sense.
    pub needs: &'static [&'static str],
    /// The languages whose tests it runs.
    pub languages: &'static [Language],
    /// What to do when it fails.
    pub remedy: &'static str,
    /// The work.
    pub run: fn(&mut Cx<'_>) -> Result<Report, Failure>,
}

/// What the steps are run for.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// To see whether all is well: built with the development profile, which compiles faster.
    Test,
    /// To be used: built with the release profile.
    Demo,
}

impl Mode {
    /// Cargo's name of the profile.
    pub fn profile(self) -> &'static str {
        match self {
            Mode::Test => "dev",
            Mode::Demo => "release",
        }
    }

    /// The directory that Cargo builds the profile in.
    pub fn dir(self) -> &'static str {
        match self {
            Mode::Test => "debug",
            Mode::Demo => "release",
        }
    }
}

/// What a step works with.
pub struct Cx<'a> {
    /// The paths.
    pub ws: &'a Workspace,
    /// What it is all for.
    pub mode: Mode,
    /// Where the step's output goes.
    pub log: PathBuf,
    work: Option<Work>,
}

impl<'a> Cx<'a> {
    /// For a step with this name. The log begins anew.
    pub fn new(
        ws: &'a Workspace,
        ui: Ui,
        mode: Mode,
        id: &str,
        title: &str,
    ) -> Result<Cx<'a>, Failure> {
        let log = ws.log(id);
        fs::write(&log, "")?;
        Ok(Cx { ws, mode, log, work: Some(ui.work(title)) })
    }

    /// Runs a command to its end.
    pub fn run(&mut self, cmd: Cmd) -> Result<(), Failure> {
        let work = &mut self.work;
        cmd.run(&self.log, |line| {
            if let Some(work) = work {
                work.alive(line);
            }
        })
    }

    /// Runs a command and gives what it printed.
    pub fn output(&mut self, cmd: Cmd) -> Result<String, Failure> {
        cmd.output(&self.log)
    }

    /// Ends the live line.
    pub fn end(&mut self, verdict: &str, note: &str) -> Duration {
        self.work.take().map_or(Duration::ZERO, |work| work.end(verdict, note))
    }

    /// Everything that the step's commands have printed so far.
    pub fn log_text(&self) -> Result<String, Failure> {
        Ok(String::from_utf8_lossy(&fs::read(&self.log)?).into_owned())
    }

    /// Cargo, from the root of the checkout.
    pub fn cargo(&self, args: &[&str]) -> Cmd {
        cargo(self.ws).args(args)
    }

    /// A program or library that Cargo has built.
    pub fn built(&self, name: &str) -> PathBuf {
        self.ws.target(self.mode.dir()).join(name)
    }

    /// Where what users install is put: the wheel, the jar, the C library.
    pub fn dist(&self) -> PathBuf {
        self.ws.target("dist").join(self.mode.profile())
    }
}

/// Cargo, from the root of the checkout and with the shared target directory.
pub fn cargo(ws: &Workspace) -> Cmd {
    Cmd::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()))
        .cwd(&ws.root)
        .env("CARGO_TARGET_DIR", &ws.target)
        .env("CARGO_TERM_COLOR", "never")
        .limit(Duration::from_secs(40 * 60))
}

/// How one step ended.
#[derive(Debug)]
pub enum Outcome {
    /// As it should.
    Ok(Report),
    /// It failed, for this reason.
    Failed(Failure),
    /// It could not run, because of this step.
    NotRun(&'static str),
}

/// How all steps ended.
#[derive(Debug, Default)]
pub struct Summary {
    rows: Vec<(&'static str, &'static str, Outcome, Duration)>,
    expected: Vec<Language>,
    interrupted: bool,
}

/// Runs the steps in their order. A step whose needs failed is not run; all others are, so that one
/// run shows everything that is wrong.
pub fn run(ws: &Workspace, ui: Ui, steps: &[Step], mode: Mode, fail_fast: bool) -> Summary {
    let mut summary = Summary {
        expected: steps.iter().flat_map(|step| step.languages.iter().copied()).collect(),
        ..Summary::default()
    };
    let mut stopped: Option<&'static str> = None;
    for (index, step) in steps.iter().enumerate() {
        let blocked = stopped.or_else(|| summary.blocking(step.needs));
        let (outcome, took) = match blocked {
            Some(by) => (Outcome::NotRun(by), Duration::ZERO),
            None => {
                let title = format!("[{}/{}] {}", index + 1, steps.len(), step.title);
                run_one(ws, ui, mode, step, &title)
            }
        };
        if fail_fast && matches!(outcome, Outcome::Failed(_)) {
            stopped = Some(step.id);
        }
        summary.rows.push((step.id, step.title, outcome, took));
        if interrupted() {
            summary.interrupted = true;
            break;
        }
    }
    summary
}

fn run_one(ws: &Workspace, ui: Ui, mode: Mode, step: &Step, title: &str) -> (Outcome, Duration) {
    let mut cx = match Cx::new(ws, ui, mode, step.id, title) {
        Ok(cx) => cx,
        Err(failure) => return (Outcome::Failed(failure), Duration::ZERO),
    };
    let result = (step.run)(&mut cx).and_then(|report| {
        match report.tests.iter().find(|(_, tally)| tally.failed > 0) {
            Some((language, tally)) => Err(Failure::new(format!("{language} tests: {tally}"))),
            None => Ok(report),
        }
    });
    match result {
        Ok(report) => {
            let counts: Vec<String> = report
                .tests
                .iter()
                .map(|(language, tally)| format!("{language}: {tally}"))
                .collect();
            let note = if counts.is_empty() { report.note.clone() } else { counts.join("; ") };
            let took = cx.end("ok", &note);
            (Outcome::Ok(report), took)
        }
        Err(failure) => {
            let took = cx.end("FAILED", "");
            let failure =
                if step.remedy.is_empty() { failure } else { failure.remedy(step.remedy) };
            ui.say(explain(&failure, &ws.show(&cx.log)));
            (Outcome::Failed(failure), took)
        }
    }
}

/// A failure as it is shown: the command, the end of its output, the remedy.
pub fn explain(failure: &Failure, log: &str) -> String {
    let mut text = String::new();
    let mut line = |label: &str, value: &str| {
        let _ = writeln!(text, "    {label}: {value}");
    };
    line("error", &failure.what);
    if let Some(command) = &failure.command {
        line("command", command);
    }
    if !failure.tail.is_empty() {
        line("output", &format!("(its end; all of it in {log})"));
        for tail in failure.tail.lines() {
            let _ = writeln!(text, "    | {tail}");
        }
    }
    if let Some(remedy) = &failure.remedy {
        let _ = writeln!(text, "    to do: {remedy}");
    }
    text
}

impl Summary {
    fn blocking(&self, needs: &[&'static str]) -> Option<&'static str> {
        self.rows
            .iter()
            .find(|(id, _, outcome, _)| needs.contains(id) && !matches!(outcome, Outcome::Ok(_)))
            .map(|(id, ..)| *id)
    }

    fn counts(&self) -> BTreeMap<Language, Tally> {
        let mut counts: BTreeMap<Language, Tally> =
            self.expected.iter().map(|language| (*language, Tally::default())).collect();
        for (.., outcome, _) in &self.rows {
            if let Outcome::Ok(report) = outcome {
                for (language, tally) in &report.tests {
                    *counts.entry(*language).or_default() += *tally;
                }
            }
        }
        counts
    }

    /// Everything that keeps the whole from being a success, a line each.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        for (id, _, outcome, _) in &self.rows {
            match outcome {
                Outcome::Ok(_) => {}
                Outcome::Failed(failure) => problems.push(format!("{id} failed: {failure}")),
                Outcome::NotRun(by) => problems.push(format!("{id} was not run, because of {by}")),
            }
        }
        for (language, tally) in self.counts() {
            if tally.ran() == 0 {
                problems.push(format!("no {language} test ran to a result"));
            }
        }
        if self.interrupted {
            problems.push("interrupted".to_owned());
        }
        problems
    }

    /// The table of steps, the table of languages and the verdict.
    pub fn render(&self) -> String {
        let width = self.rows.iter().map(|(_, title, ..)| title.len()).max().unwrap_or(4).max(4);
        let mut text = String::new();
        let _ = writeln!(text, "\n{:<width$}  {:<7} {:>9}", "step", "result", "time");
        for (_, title, outcome, took) in &self.rows {
            let (result, note) = match outcome {
                Outcome::Ok(report) => ("ok", report.note.as_str()),
                Outcome::Failed(_) => ("FAILED", ""),
                Outcome::NotRun(_) => ("not run", ""),
            };
            let seconds = format!("{:.1} s", took.as_secs_f64());
            let row = format!("{title:<width$}  {result:<7} {seconds:>9}  {note}");
            let _ = writeln!(text, "{}", row.trim_end());
        }
        let counts = self.counts();
        if !counts.is_empty() {
            let _ =
                writeln!(text, "\n{:<8} {:>7} {:>7} {:>7}", "tests", "passed", "failed", "skipped");
            for (language, tally) in &counts {
                let Tally { passed, failed, skipped } = tally;
                let _ = writeln!(text, "{language:<8} {passed:>7} {failed:>7} {skipped:>7}");
            }
        }
        let problems = self.problems();
        text.push('\n');
        if problems.is_empty() {
            text.push_str("all good\n");
        }
        for problem in problems {
            let _ = writeln!(text, "NOT OK: {problem}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn step(id: &'static str, run: fn(&mut Cx<'_>) -> Result<Report, Failure>) -> Step {
        Step { id, title: id, needs: &[], languages: &[], remedy: "do this", run }
    }

    fn workspace(name: &str) -> Workspace {
        let root = std::env::temp_dir().join(format!("xtask-{}-{name}", std::process::id()));
        std::fs::create_dir_all(root.join("logs")).unwrap();
        Workspace { root: root.clone(), target: root }
    }

    fn go(name: &str, steps: &[Step], fail_fast: bool) -> Summary {
        run(&workspace(name), Ui::new(true), steps, Mode::Test, fail_fast)
    }

    #[test]
    fn steps_that_all_succeed_make_a_success() {
        let summary = go("good", &[step("one", |_| Ok(Report::default()))], false);
        assert_eq!(summary.problems(), Vec::<String>::new());
        assert!(summary.render().contains("all good"));
    }

    #[test]
    fn a_failed_step_does_not_keep_the_others_from_running_but_those_that_need_it() {
        let mut needs = step("needs", |_| Ok(Report::default()));
        needs.needs = &["bad"];
        let steps = [
            step("bad", |_| Err(Failure::new("broken"))),
            needs,
            step("other", |_| Ok(Report::note("fine"))),
        ];
        let summary = go("needs", &steps, false);
        assert_eq!(summary.problems(), ["bad failed: broken", "needs was not run, because of bad"]);
        let table = summary.render();
        assert!(table.contains("other") && table.contains("fine"), "{table}");
    }

    #[test]
    fn fail_fast_runs_nothing_after_a_failure() {
        let steps = [
            step("bad", |_| Err(Failure::new("broken"))),
            step("other", |_| panic!("must not run")),
        ];
        let summary = go("fast", &steps, true);
        assert_eq!(summary.problems()[1], "other was not run, because of bad");
    }

    #[test]
    fn a_language_without_a_test_that_ran_is_a_problem() {
        let mut tests = step("tests", |_| {
            Ok(Report::tests(Language::C, Tally { passed: 3, failed: 0, skipped: 0 }))
        });
        tests.languages = &[Language::C, Language::Cpp];
        let summary = go("zero", &[tests], false);
        assert_eq!(summary.problems(), ["no C++ test ran to a result"]);
    }

    #[test]
    fn skipped_tests_alone_do_not_count_as_run() {
        let mut tests = step("tests", |_| {
            Ok(Report::tests(Language::Java, Tally { passed: 0, failed: 0, skipped: 9 }))
        });
        tests.languages = &[Language::Java];
        assert_eq!(go("skips", &[tests], false).problems(), ["no Java test ran to a result"]);
    }

    #[test]
    fn a_report_with_a_failed_test_fails_its_step_whatever_the_exit_code() {
        let tests = step("tests", |_| {
            Ok(Report::tests(Language::Python, Tally { passed: 8, failed: 1, skipped: 0 }))
        });
        let summary = go("report", &[tests], false);
        assert_eq!(summary.problems(), ["tests failed: Python tests: 8 passed, 1 FAILED"]);
    }

    #[test]
    fn a_failure_is_explained_with_command_output_and_remedy() {
        let mut failing = step("run", |cx| {
            cx.run(Cmd::new("sh").args(["-c", "echo why it broke; exit 4"]))
                .map(|()| Report::default())
        });
        failing.remedy = "mend it";
        let summary = go("explain", &[failing], false);
        let Outcome::Failed(failure) = &summary.rows[0].2 else { panic!("it failed") };
        let text = explain(failure, "target/logs/run.log");
        for part in ["exit status: 4", "why it broke", "to do: mend it", "target/logs/run.log"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
