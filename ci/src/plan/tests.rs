//! The tests of every language, and the examples as a user runs them.

use std::{fs, path::Path};

use super::checks::maven;
use crate::{
    count::{self, Language, Tally},
    process::{Cmd, Failure},
    steps::{Cx, Report, Step},
    tools::venv_bin,
};

/// The steps, in their order.
pub fn steps() -> Vec<Step> {
    let test = |id, title, needs, languages, run| Step {
        id,
        title,
        needs,
        languages,
        remedy: "the log has every test's output",
        run,
    };
    use Language::{C, Cpp, Java, Python, Rust};
    vec![
        test("test-rust", "Tests: Rust", &["packages"], &[Rust], rust),
        test("test-python", "Tests: Python", &["wheel", "servers"], &[Python], python),
        test("test-java", "Tests: Java", &["native", "servers"], &[Java], java),
        test("test-c", "Tests: C and C++", &["native", "servers"], &[C, Cpp], |cx| {
            c(cx, "plain", &[], &[])
        }),
        test("test-c-asan", "Tests: C and C++ with sanitizers", &["test-c"], &[], |cx| {
            c(cx, "asan", &["-DMILLSTREAM_SANITIZE=ON"], &[])
        }),
        test("test-c-valgrind", "Tests: C and C++ with valgrind", &["test-c"], &[], |cx| {
            c(cx, "plain", &[], &["-T", "memcheck"])
        }),
    ]
}

fn rust(cx: &mut Cx<'_>) -> Result<Report, Failure> {
    // cargo test rather than cargo-nextest, whose installation alone takes about as long as all of
    // this (docs/adr/0002-dependencies.md).
    let result = cx.run(cx.cargo(&["test", "--workspace", "--no-fail-fast"]));
    let tally = count::from_cargo_test(&cx.log_text()?);
    result.map(|()| Report::tests(Language::Rust, tally))
}

fn python(cx: &mut Cx<'_>) -> Result<Report, Failure> {
    let report = cx.ws.target("reports/python.xml");
    fresh(&report)?;
    let cmd = Cmd::new(venv_bin(cx.ws, "python"))
        .cwd(cx.ws.path("bindings-python"))
        .args(["-m", "pytest", "-o"])
        .arg(format!("cache_dir={}", cx.ws.target("pytest").display()))
        .arg(format!("--junitxml={}", report.display()));
    let result = cx.run(servers(cx, cmd));
    finish(result, &report, |xml| {
        Ok(vec![(Language::Python, count::from_junit(xml, |_, _| true)?)])
    })
}

fn java(cx: &mut Cx<'_>) -> Result<Report, Failure> {
    let result = cx.run(servers(cx, maven(cx).arg("verify")));
    let mut tally = Tally::default();
    let dir = cx.ws.path("bindings-java/millstream/target/surefire-reports");
    for entry in fs::read_dir(dir).into_iter().flatten().flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "xml") {
            let xml = fs::read_to_string(entry.path())?;
            tally += count::from_junit(&xml, |_, _| true).map_err(Failure::new)?;
        }
    }
    result.map(|()| Report::tests(Language::Java, tally))
}

fn c(cx: &mut Cx<'_>, name: &str, configure: &[&str], run: &[&str]) -> Result<Report, Failure> {
    let build = cx.ws.target("cmake").join(name);
    let report = cx.ws.target(format!("reports/c-{name}.xml"));
    fresh(&report)?;
    cx.run(
        Cmd::new("cmake")
            .cwd(&cx.ws.root)
            .args(["-S", "bindings-c", "-B"])
            .arg(&build)
            .arg(format!("-DMILLSTREAM_CARGO_DIR={}", cx.ws.target(cx.mode.dir()).display()))
            .args(configure),
    )?;
    cx.run(Cmd::new("cmake").arg("--build").arg(&build).args(["--parallel", "2"]))?;
    let ctest = Cmd::new("ctest")
        .arg("--test-dir")
        .arg(&build)
        .args(["--output-on-failure", "--no-tests=error", "--output-junit"])
        .arg(&report)
        .args(run);
    let result = cx.run(servers(cx, ctest));
    finish(result, &report, |xml| {
        let of = |label: &str| count::from_junit(xml, |_, labels| labels.contains(&label));
        Ok(vec![(Language::C, of("c")?), (Language::Cpp, of("cpp")?)])
    })
}

/// Tells a test run where the servers are.
fn servers(cx: &Cx<'_>, cmd: Cmd) -> Cmd {
    cmd.env("MILLSTREAM_REFERENCE_SERVER", cx.built("reference-server"))
        .env("MILLSTREAM_FAULT_SERVER", cx.built("fault-server"))
}

/// Makes sure that a report is of this run.
fn fresh(report: &Path) -> Result<(), Failure> {
    if let Some(dir) = report.parent() {
        fs::create_dir_all(dir)?;
    }
    if report.exists() {
        fs::remove_file(report)?;
    }
    Ok(())
}

/// The counts of a run that succeeded. The counts of a run that did not are in its output.
fn finish(
    result: Result<(), Failure>,
    report: &Path,
    read: impl FnOnce(&str) -> Result<Vec<(Language, Tally)>, String>,
) -> Result<Report, Failure> {
    result?;
    let xml = fs::read_to_string(report)
        .map_err(|error| Failure::new(format!("{}: {error}", report.display())))?;
    let tests = read(&xml).map_err(Failure::new)?;
    Ok(Report { tests, note: String::new() })
}
