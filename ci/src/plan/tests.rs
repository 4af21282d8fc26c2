//! The tests of every language, and the examples as a user runs them.

use std::{
    fs,
    path::{Path, PathBuf},
    time::Duration,
};

use super::checks::maven;
use crate::{
    count::{self, Language},
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
        test("test-benches", "Tests: measurements", &["venv"], &[], benches),
        test("test-java", "Tests: Java", &["native", "servers"], &[Java], java),
        test("test-c", "Tests: C and C++", &["native", "servers"], &[C, Cpp], |cx| {
            c(cx, "plain", &[], &[], true)
        }),
        test("test-c-asan", "Tests: C and C++ with sanitizers", &["test-c"], &[], |cx| {
            c(cx, "asan", &["-DMILLSTREAM_SANITIZE=ON"], &[], false)
        }),
        test("test-c-valgrind", "Tests: C and C++ with valgrind", &["test-c"], &[], |cx| {
            if cfg!(target_os = "linux") {
                c(cx, "plain", &[], &["-T", "memcheck"], false)
            } else {
                Ok(Report::note("valgrind is for Linux"))
            }
        }),
    ]
}

fn rust(cx: &mut Cx<'_>) -> Result<Report, Failure> {
    // cargo test rather than cargo-nextest, whose installation alone takes about as long as all of
    // this (docs/adr/0002-dependencies.md).
    //
    // Tests of the Python binding are Python's. As a test of Rust it would have to be linked with an
    // interpreter's library, which many systems do not have.
    let args = ["test", "--workspace", "--exclude", "millstream-python", "--no-fail-fast"];
    let result = cx.run(cx.cargo(&args));
    let tally = count::from_cargo_test(&cx.log_text()?);
    cx.count(Language::Rust, tally);
    result.map(|()| Report::default())
}

/// Runs the units of the crates that have properties, with this many cases for each property.
pub fn fuzz(cx: &mut Cx<'_>, cases: u32) -> Result<(), Failure> {
    let cmd = cx
        .cargo(&["test", "--lib", "--no-fail-fast"])
        .args(["--package", "millstream-rpc", "--package", "millstream-boundary"])
        .env("PROPTEST_CASES", cases.to_string())
        .limit(Duration::from_secs(6 * 60 * 60));
    cx.run(cmd)
}

fn python(cx: &mut Cx<'_>) -> Result<Report, Failure> {
    let report = fresh(cx, "python")?;
    let cmd = Cmd::new(venv_bin(cx.ws, "python"))
        .cwd(cx.ws.path("bindings-python"))
        .args(["-m", "pytest", "-o"])
        .arg(format!("cache_dir={}", cx.ws.target("pytest").display()))
        .arg(format!("--junitxml={}", report.display()));
    let result = cx.run(servers(cx, cmd));
    count_junit(cx, Language::Python, &report, |_| true)?;
    result.map(|()| Report::default())
}

/// The judgement and the page of the measurements.
fn benches(cx: &mut Cx<'_>) -> Result<Report, Failure> {
    let cmd = Cmd::new(venv_bin(cx.ws, "python"))
        .cwd(cx.ws.path("benches"))
        .args(["-m", "pytest", "-o"])
        .arg(format!("cache_dir={}", cx.ws.target("pytest").display()))
        .arg("tests");
    cx.run(cmd)?;
    Ok(Report::default())
}

fn java(cx: &mut Cx<'_>) -> Result<Report, Failure> {
    let reports = cx.ws.path("bindings-java/millstream/target/surefire-reports");
    if reports.exists() {
        fs::remove_dir_all(&reports)?;
    }
    let result = cx.run(servers(cx, maven(cx).arg("verify")));
    for entry in fs::read_dir(reports).into_iter().flatten().flatten() {
        if entry.path().extension().is_some_and(|extension| extension == "xml") {
            count_junit(cx, Language::Java, &entry.path(), |_| true)?;
        }
    }
    result.map(|()| Report::default())
}

/// Configures, builds and runs the C and C++ tests. `count` says whether they count, or were run
/// before in another way.
fn c(
    cx: &mut Cx<'_>,
    name: &str,
    configure: &[&str],
    run: &[&str],
    count: bool,
) -> Result<Report, Failure> {
    let build = cx.ws.target("cmake").join(name);
    let report = fresh(cx, &format!("c-{name}"))?;
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
        .cwd(&build)
        .args(["--output-on-failure", "--no-tests=error", "--parallel", "2", "--output-junit"])
        .arg(&report)
        .args(run);
    let result = cx.run(servers(cx, ctest));
    if count {
        count_junit(cx, Language::C, &report, |name| name.starts_with("c."))?;
        count_junit(cx, Language::Cpp, &report, |name| name.starts_with("cpp."))?;
    }
    result.map(|()| Report::default())
}

/// Tells a test run where the servers are.
fn servers(cx: &Cx<'_>, cmd: Cmd) -> Cmd {
    cmd.env("MILLSTREAM_REFERENCE_SERVER", cx.built("reference-server"))
        .env("MILLSTREAM_FAULT_SERVER", cx.built("fault-server"))
}

/// Where a report goes; an older one is removed.
fn fresh(cx: &Cx<'_>, name: &str) -> Result<PathBuf, Failure> {
    let dir = cx.ws.target("reports");
    fs::create_dir_all(&dir)?;
    let report = dir.join(name).with_extension("xml");
    if report.exists() {
        fs::remove_file(&report)?;
    }
    Ok(report)
}

/// Counts what a report says, if there is one: a run that broke off wrote none, and fails anyway.
fn count_junit(
    cx: &mut Cx<'_>,
    language: Language,
    report: &Path,
    select: impl Fn(&str) -> bool,
) -> Result<(), Failure> {
    let Ok(xml) = fs::read_to_string(report) else { return Ok(()) };
    let tally = count::from_junit(&xml, select)
        .map_err(|error| Failure::new(format!("{}: {error}", report.display())))?;
    cx.count(language, tally);
    Ok(())
}
