//! Runs steps one after another and sums up how they ended.

use std::{collections::BTreeMap, fmt::Write as _, fs, path::PathBuf, time::Duration};

use crate::{
    count::{Language, Tally},
    process::{Cmd, Failure, interrupted},
    ui::{Ui, Work},
    workspace::Workspace,
};

/// What a step did: a few words for the summary.
#[derive(Debug, Default)]
pub struct Report {
    note: String,
}

impl Report {
    /// A report with a few words.
    pub fn note(note: impl Into<String>) -> Report {
        Report { note: note.into() }
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
    /// To see it run: built with the release profile.
    Demo,
    /// To be installed: built with the release profile, and no more than is asked for.
    Dist,
}

impl Mode {
    /// Cargo's name of the profile.
    pub fn profile(self) -> &'static str {
        match self {
            Mode::Test => "dev",
            Mode::Demo | Mode::Dist => "release",
        }
    }

    /// The directory that Cargo builds the profile in.
    pub fn dir(self) -> &'static str {
        match self {
            Mode::Test => "debug",
            Mode::Demo | Mode::Dist => "release",
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
    tests: Vec<(Language, Tally)>,
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
        Ok(Cx { ws, mode, log, tests: Vec::new(), work: Some(ui.work(title)) })
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

    /// Counts tests that ran, whether they passed or not.
    pub fn count(&mut self, language: Language, tally: Tally) {
        match self.tests.iter_mut().find(|(counted, _)| *counted == language) {
            Some((_, sum)) => *sum += tally,
            None => self.tests.push((language, tally)),
        }
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
    /// As it should, with a few words about it.
    Ok(String),
    /// It failed, for this reason.
    Failed(Failure),
    /// It could not run, because of this step.
    NotRun(&'static str),
}

#[derive(Debug)]
struct Row {
    id: &'static str,
    title: &'static str,
    outcome: Outcome,
    took: Duration,
    tests: Vec<(Language, Tally)>,
}

/// How all steps ended.
#[derive(Debug, Default)]
pub struct Summary {
    rows: Vec<Row>,
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
        let title = format!("[{}/{}] {}", index + 1, steps.len(), step.title);
        let row = match stopped.or_else(|| summary.blocking(step.needs)) {
            Some(by) => {
                let outcome = Outcome::NotRun(by);
                let (id, title) = (step.id, step.title);
                Row { id, title, outcome, took: Duration::ZERO, tests: Vec::new() }
            }
            None => run_one(ws, ui, mode, step, &title),
        };
        if fail_fast && matches!(row.outcome, Outcome::Failed(_)) {
            stopped = Some(step.id);
        }
        summary.rows.push(row);
        if interrupted() {
            summary.interrupted = true;
            break;
        }
    }
    summary
}

fn run_one(ws: &Workspace, ui: Ui, mode: Mode, step: &Step, title: &str) -> Row {
    let Step { id, title: name, .. } = *step;
    let mut cx = match Cx::new(ws, ui, mode, id, title) {
        Ok(cx) => cx,
        Err(failure) => {
            let outcome = Outcome::Failed(failure);
            return Row { id, title: name, outcome, took: Duration::ZERO, tests: Vec::new() };
        }
    };
    let result = (step.run)(&mut cx);
    let tests = std::mem::take(&mut cx.tests);
    let counts: Vec<String> =
        tests.iter().map(|(language, tally)| format!("{language}: {tally}")).collect();
    let counts = counts.join("; ");
    let failed = tests.iter().any(|(_, tally)| tally.failed > 0);
    let (outcome, took) = match result {
        // Whatever the test runner's exit code was.
        Ok(_) if failed => {
            let took = cx.end("FAILED", &counts);
            (Outcome::Failed(Failure::new("tests failed")), took)
        }
        Ok(report) => {
            let took = cx.end("ok", if counts.is_empty() { &report.note } else { &counts });
            (Outcome::Ok(report.note), took)
        }
        Err(failure) => {
            let took = cx.end("FAILED", &counts);
            (Outcome::Failed(failure), took)
        }
    };
    let outcome = match outcome {
        Outcome::Failed(failure) => {
            let failure =
                if step.remedy.is_empty() { failure } else { failure.remedy(step.remedy) };
            ui.say(explain(&failure, &ws.show(&cx.log)));
            Outcome::Failed(failure)
        }
        other => other,
    };
    Row { id, title: name, outcome, took, tests }
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
    /// The step whose failure keeps a step with these needs from running.
    fn blocking(&self, needs: &[&'static str]) -> Option<&'static str> {
        self.rows.iter().filter(|row| needs.contains(&row.id)).find_map(|row| match row.outcome {
            Outcome::Ok(_) => None,
            Outcome::Failed(_) => Some(row.id),
            Outcome::NotRun(by) => Some(by),
        })
    }

    fn counts(&self) -> BTreeMap<Language, Tally> {
        let mut counts: BTreeMap<Language, Tally> =
            self.expected.iter().map(|language| (*language, Tally::default())).collect();
        for (language, tally) in self.rows.iter().flat_map(|row| &row.tests) {
            *counts.entry(*language).or_default() += *tally;
        }
        counts
    }

    /// Everything that keeps the whole from being a success, a line each.
    pub fn problems(&self) -> Vec<String> {
        let mut problems = Vec::new();
        let mut blocked: BTreeMap<&str, Vec<&str>> = BTreeMap::new();
        for Row { id, outcome, .. } in &self.rows {
            match outcome {
                Outcome::Ok(_) => {}
                Outcome::Failed(failure) => problems.push(format!("{id} failed: {failure}")),
                Outcome::NotRun(by) => blocked.entry(by).or_default().push(id),
            }
        }
        for (by, ids) in blocked {
            problems.push(format!("not run, because of {by}: {}", ids.join(" ")));
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
        let width = self.rows.iter().map(|row| row.title.len()).max().unwrap_or(4).max(4);
        let mut text = String::new();
        let _ = writeln!(text, "\n{:<width$}  {:<7} {:>9}", "step", "result", "time");
        for Row { title, outcome, took, .. } in &self.rows {
            let (result, note) = match outcome {
                Outcome::Ok(note) => ("ok", note.as_str()),
                Outcome::Failed(_) => ("FAILED", ""),
                Outcome::NotRun(_) => ("not run", ""),
            };
            let seconds = format!("{:.1} s", took.as_secs_f64());
            let row = format!("{title:<width$}  {result:<7} {seconds:>9}  {note}");
            let _ = writeln!(text, "{}", row.trim_end());
        }
        let all: Duration = self.rows.iter().map(|row| row.took).sum();
        let _ = writeln!(text, "{:<width$}  {:<7} {:>7.1} s", "all", "", all.as_secs_f64());
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
        let mut needs = step("needs", |_| panic!("must not run"));
        needs.needs = &["bad"];
        let mut further = step("further", |_| panic!("must not run"));
        further.needs = &["needs"];
        let steps = [
            step("bad", |_| Err(Failure::new("broken"))),
            needs,
            further,
            step("other", |_| Ok(Report::note("fine"))),
        ];
        let summary = go("needs", &steps, false);
        assert_eq!(
            summary.problems(),
            ["bad failed: broken", "not run, because of bad: needs further"]
        );
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
        assert_eq!(summary.problems()[1], "not run, because of bad: other");
    }

    #[test]
    fn a_language_without_a_test_that_ran_is_a_problem() {
        let mut tests = step("tests", |cx| {
            cx.count(Language::C, Tally { passed: 3, failed: 0, skipped: 0 });
            Ok(Report::default())
        });
        tests.languages = &[Language::C, Language::Cpp];
        let summary = go("zero", &[tests], false);
        assert_eq!(summary.problems(), ["no C++ test ran to a result"]);
    }

    #[test]
    fn skipped_tests_alone_do_not_count_as_run() {
        let mut tests = step("tests", |cx| {
            cx.count(Language::Java, Tally { passed: 0, failed: 0, skipped: 9 });
            Ok(Report::default())
        });
        tests.languages = &[Language::Java];
        assert_eq!(go("skips", &[tests], false).problems(), ["no Java test ran to a result"]);
    }

    #[test]
    fn a_report_with_a_failed_test_fails_its_step_whatever_the_exit_code() {
        let tests = step("tests", |cx| {
            cx.count(Language::Python, Tally { passed: 8, failed: 1, skipped: 0 });
            Ok(Report::default())
        });
        let summary = go("report", &[tests], false);
        assert_eq!(summary.problems(), ["tests failed: tests failed"]);
    }

    #[test]
    fn the_tests_of_a_failed_step_are_counted_too() {
        let mut tests = step("tests", |cx| {
            cx.count(Language::C, Tally { passed: 65, failed: 12, skipped: 0 });
            Err(Failure::new("exit status: 8"))
        });
        tests.languages = &[Language::C];
        let summary = go("counted", &[tests], false);
        assert_eq!(summary.problems(), ["tests failed: exit status: 8"]);
        assert!(
            summary.render().contains("C             65      12       0"),
            "{}",
            summary.render()
        );
    }

    #[test]
    fn a_failure_is_explained_with_command_output_and_remedy() {
        let mut failing = step("run", |cx| {
            cx.run(Cmd::new("sh").args(["-c", "echo why it broke; exit 4"]))
                .map(|()| Report::default())
        });
        failing.remedy = "mend it";
        let summary = go("explain", &[failing], false);
        let Outcome::Failed(failure) = &summary.rows[0].outcome else { panic!("it failed") };
        let text = explain(failure, "target/logs/run.log");
        for part in ["exit status: 4", "why it broke", "to do: mend it", "target/logs/run.log"] {
            assert!(text.contains(part), "{part} in {text}");
        }
    }
}
