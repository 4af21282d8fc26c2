//! The task runner behind the Makefile: one subcommand for each thing that is done with the
//! checkout, on a developer's machine and in CI alike.
#![forbid(unsafe_code)]

use std::{path::Path, process::ExitCode, time::Duration};

use clap::{Parser, Subcommand};

mod count;
mod demo;
mod layers;
mod lock;
mod packages;
mod plan;
mod process;
mod readme;
mod server;
mod steps;
mod toolchain;
mod tools;
mod ui;
mod workspace;

use process::Failure;
use steps::{Cx, Mode, Step};
use toolchain::Purpose;
use ui::Ui;
use workspace::Workspace;

/// Builds, tests and shows Millstream. The Makefile calls it; `make help` lists the usual targets.
#[derive(Debug, Parser)]
#[command(name = "xtask", bin_name = "cargo run -p xtask --", disable_help_subcommand = true)]
struct Args {
    /// Plain lines instead of live bars (as in CI and when standard error is no terminal).
    #[arg(long, global = true)]
    plain: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Every check and every test in every language. Exits 1 when something is not right.
    Test {
        /// Only these steps and what they need; `--list` names them.
        steps: Vec<String>,
        /// Only the named steps, without what they need.
        #[arg(long, requires = "steps")]
        only: bool,
        /// Stop at the first step that fails.
        #[arg(long)]
        fail_fast: bool,
        /// Name the steps and do nothing.
        #[arg(long)]
        list: bool,
    },
    /// Build everything, run the scenario in four languages against the reference server and compare
    /// what they received. Exits 1 when they differ.
    Demo {
        /// Only these languages.
        #[arg(long, value_delimiter = ',', value_name = "LANGUAGE",
              value_parser = clap::builder::PossibleValuesParser::new(demo::LANGUAGES))]
        languages: Vec<String>,
        /// Use the committed excerpt of the data, without the network.
        #[arg(long)]
        excerpt: bool,
    },
    /// Run the scenario in four languages again and again, against one server. Exits 1 at the first
    /// round in which something is wrong.
    Soak {
        /// For how long.
        #[arg(long, default_value_t = 30, value_parser = clap::value_parser!(u64).range(1..))]
        minutes: u64,
    },
    /// Run the tests with generated input on many more cases than `test` does. Exits 1 when a case
    /// fails; it is then kept as a regression and tried first from then on.
    Fuzz {
        /// Cases for each property.
        #[arg(long, default_value_t = 50_000, value_parser = clap::value_parser!(u32).range(1..))]
        cases: u32,
    },
    /// Formatting and lints in every language, without running tests.
    Lint,
    /// Format the sources of every language in place.
    Fmt,
    /// Install what `test` (or `demo`) needs beyond the toolchains.
    Setup {
        /// What it is for.
        #[arg(value_enum, default_value = "test")]
        purpose: SetupFor,
    },
    /// Build the Python wheel into target/dist/release.
    Wheel,
    /// Build the Java jar into target/dist/release.
    Jar,
    /// Build the C library and install it, with header and pkg-config file, into
    /// target/dist/release/capi.
    Capi,
    /// Write the generated files: include/millstream.h from the C ABI crate, and the error types of
    /// the bindings from the error table.
    Header,
    /// Fetch and prepare the data of the reference server into target/data.
    Data,
    /// Put the examples into the guides, from the files of examples/.
    Readme,
    /// Make ci/requirements.txt from ci/requirements.in.
    LockPython {
        /// Take the newest versions of what requirements.in does not fix.
        #[arg(long)]
        upgrade: bool,
    },
}

#[derive(Clone, Copy, Debug, clap::ValueEnum)]
enum SetupFor {
    Demo,
    Test,
}

fn main() -> ExitCode {
    let args = Args::parse();
    let ui = Ui::new(args.plain);
    let done = Workspace::find()
        .map_err(Failure::from)
        .and_then(|ws| process::watch_interrupts().map(|()| ws).map_err(Failure::from))
        .and_then(|ws| dispatch(&ws, ui, args.command));
    match done {
        _ if process::interrupted() => ExitCode::from(130),
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(failure) => {
            ui.say(steps::explain(&failure, "target/logs").trim_end());
            ExitCode::FAILURE
        }
    }
}

/// Does what was asked for; whether it turned out well.
fn dispatch(ws: &Workspace, ui: Ui, command: Command) -> Result<bool, Failure> {
    let steps = |ids: &[&str], mode: Mode| -> Result<bool, Failure> {
        let chosen = plan::with_needs(plan::all(), ids)?;
        Ok(run_steps(ws, ui, &chosen, mode, false))
    };
    match command {
        Command::Test { steps: names, only, fail_fast, list } => {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            if list {
                for step in plan::test() {
                    println!("{:<16} {}", step.id, step.title);
                }
                return Ok(true);
            }
            let chosen = match (names.is_empty(), only) {
                (true, _) => plan::test(),
                (false, true) => plan::exactly(plan::test(), &names)?,
                (false, false) => plan::with_needs(plan::test(), &names)?,
            };
            Ok(run_steps(ws, ui, &chosen, Mode::Test, fail_fast))
        }
        Command::Demo { languages, excerpt } => {
            let languages: Vec<&str> = demo::LANGUAGES
                .into_iter()
                .filter(|name| languages.is_empty() || languages.iter().any(|l| l == name))
                .collect();
            let chosen = plan::with_needs(plan::all(), &demo::needs(&languages, excerpt))?;
            Ok(builds(ws, ui, &chosen) && demo::run(ws, ui, &languages, excerpt)?)
        }
        Command::Soak { minutes } => {
            let chosen = plan::with_needs(plan::all(), &demo::needs(&demo::LANGUAGES, false))?;
            let time = Duration::from_secs(minutes * 60);
            Ok(builds(ws, ui, &chosen) && demo::soak(ws, ui, time)?)
        }
        Command::Fuzz { cases } => {
            let mut cx = Cx::new(ws, ui, Mode::Test, "fuzz", "Tests with generated input")?;
            let result = plan::fuzz(&mut cx, cases);
            cx.end(if result.is_ok() { "ok" } else { "FAILED" }, "");
            result.map(|()| true)
        }
        Command::Lint => steps(plan::LINT, Mode::Test),
        Command::Fmt => Ok(run_steps(ws, ui, &plan::format()?, Mode::Test, false)),
        Command::Setup { purpose: SetupFor::Demo } => steps(plan::SETUP_DEMO, Mode::Demo),
        Command::Setup { purpose: SetupFor::Test } => steps(plan::SETUP_TEST, Mode::Test),
        Command::Wheel => steps(&["wheel"], Mode::Dist),
        Command::Jar => steps(&["jar"], Mode::Dist),
        Command::Capi => steps(&["capi"], Mode::Dist),
        Command::Header => steps(&["write-header", "write-errors"], Mode::Test),
        Command::Data => steps(&["data"], Mode::Demo),
        Command::Readme => {
            for guide in plan::GUIDES {
                let (different, text) =
                    readme::check(&ws.root, Path::new(guide)).map_err(Failure::new)?;
                if !different.is_empty() {
                    std::fs::write(ws.path(guide), text)?;
                }
                ui.say(format!("{guide}: {} blocks rewritten", different.len()));
            }
            Ok(true)
        }
        Command::LockPython { upgrade } => lock::python(ws, ui, upgrade),
    }
}

/// Runs the steps before a demo; what they say is of interest only when one fails.
fn builds(ws: &Workspace, ui: Ui, chosen: &[Step]) -> bool {
    if !tools_are_there(ui, Mode::Demo) {
        return false;
    }
    let summary = steps::run(ws, ui, chosen, Mode::Demo, true);
    let good = summary.problems().is_empty();
    if !good {
        print!("{}", summary.render());
    }
    good
}

/// Says what has to be installed, a line each, if something has.
fn tools_are_there(ui: Ui, mode: Mode) -> bool {
    let missing = toolchain::missing(mode.into(), &toolchain::probe);
    for line in &missing {
        ui.say(line);
    }
    missing.is_empty()
}

fn run_steps(ws: &Workspace, ui: Ui, chosen: &[Step], mode: Mode, fail_fast: bool) -> bool {
    if !tools_are_there(ui, mode) {
        return false;
    }
    let summary = steps::run(ws, ui, chosen, mode, fail_fast);
    print!("{}", summary.render());
    summary.problems().is_empty()
}

impl From<Mode> for Purpose {
    fn from(mode: Mode) -> Purpose {
        match mode {
            Mode::Demo | Mode::Dist => Purpose::Demo,
            Mode::Test => Purpose::Test,
        }
    }
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_well_formed() {
        Args::command().debug_assert();
    }
}
