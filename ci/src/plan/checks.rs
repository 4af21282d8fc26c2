//! What must be there, and everything that can be said about the sources without running them.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::GUIDES;
use crate::{
    layers, packages,
    process::{Cmd, Failure},
    readme,
    steps::{Cx, Report, Step},
    toolchain,
    tools::{self, CBINDGEN, venv_bin},
};

/// The steps, in their order.
pub fn steps() -> Vec<Step> {
    let step =
        |id, title, needs, remedy, run| Step { id, title, needs, languages: &[], remedy, run };
    vec![
        step("packages", "System packages", &[], "", system_packages),
        step("venv", "Python tools", &[], "", |cx| tools::ensure_venv(cx).map(Report::note)),
        step("cbindgen", "Header generator", &[], "", |cx| CBINDGEN.ensure(cx).map(Report::note)),
        step("fmt-rust", "Formatting: Rust", &[], FMT, |cx| {
            cx.run(cx.cargo(&["fmt", "--all", "--check", "--", "--color", "never"]))?;
            Ok(Report::default())
        }),
        step("fmt-python", "Formatting: Python", &["venv"], FMT, |cx| {
            ruff(cx, &["format", "--check", "--diff"])?;
            Ok(Report::default())
        }),
        step("fmt-c", "Formatting: C and C++", &["venv"], FMT, |cx| {
            clang_format(cx, &["--dry-run", "-Werror"])?;
            Ok(Report::default())
        }),
        step("fmt-java", "Formatting: Java", &[], FMT, |cx| {
            cx.run(maven(cx).args(["spotless:check"]))?;
            Ok(Report::default())
        }),
        step("layers", "Dependency direction", &[], LAYERS, dependency_direction),
        step("readme", "Examples and links in the guides", &[], README, guides),
        step("lint-rust", "Lints: Rust", &["packages"], "", |cx| {
            let args = ["clippy", "--workspace", "--all-targets", "--", "-D", "warnings"];
            cx.run(cx.cargo(&args))?;
            Ok(Report::default())
        }),
        step("lint-python", "Lints: Python", &["venv"], "", |cx| {
            ruff(cx, &["check"])?;
            Ok(Report::default())
        }),
        step("types-python", "Types: Python", &["venv"], "", types_python),
        step("lint-java", "Lints: Java", &[], "", |cx| {
            // The compiler's lints are on, and errors, in the POM. The native library is not needed
            // for that, and not put into the classes.
            cx.run(maven(cx).args(["test-compile", "-Dmaven.antrun.skip=true"]))?;
            Ok(Report::default())
        }),
    ]
}

/// Formats everything in place.
pub fn format() -> Vec<Step> {
    let step = |id, title, needs, run| Step { id, title, needs, languages: &[], remedy: "", run };
    vec![
        step("write-rust", "Formatting: Rust", &[], |cx| {
            cx.run(cx.cargo(&["fmt", "--all"]))?;
            Ok(Report::default())
        }),
        step("write-python", "Formatting: Python", &["venv"], |cx| {
            ruff(cx, &["format"])?;
            ruff(cx, &["check", "--fix-only", "--select", "I"])?;
            Ok(Report::default())
        }),
        step("write-c", "Formatting: C and C++", &["venv"], |cx| {
            clang_format(cx, &["-i"])?;
            Ok(Report::default())
        }),
        step("write-java", "Formatting: Java", &[], |cx| {
            cx.run(maven(cx).args(["spotless:apply"]))?;
            Ok(Report::default())
        }),
    ]
}

const FMT: &str = "make fmt";
const README: &str =
    "`cargo run -p xtask -- readme` puts the examples in; links are mended by hand";
const LAYERS: &str = "the allowed dependencies stand in ci/src/layers.rs, their picture in \
                      ARCHITECTURE.md";

fn system_packages(cx: &mut Cx<'_>) -> Result<Report, Failure> {
    let purpose = cx.mode.into();
    packages::ensure(cx, purpose, &toolchain::probe).map(Report::note)
}

fn dependency_direction(cx: &mut Cx<'_>) -> Result<Report, Failure> {
    let text = cx.output(cx.cargo(&["metadata", "--no-deps", "--format-version", "1"]))?;
    let metadata = serde_json::from_str(&text)
        .map_err(|error| Failure::new(format!("cargo metadata: {error}")))?;
    let mut lines = layers::violations(&metadata);
    lines.extend(layers::unsafe_code(&metadata));
    let page = fs::read_to_string(cx.ws.path(layers::DEPENDENCIES))
        .map_err(|error| Failure::new(format!("{}: {error}", layers::DEPENDENCIES)))?;
    lines.extend(layers::undocumented(&metadata, &page));
    if lines.is_empty() {
        return Ok(Report::default());
    }
    Err(Failure {
        what: format!("{} in the wrong direction or place", lines.len()),
        tail: lines.join("\n"),
        ..Failure::default()
    })
}

fn guides(cx: &mut Cx<'_>) -> Result<Report, Failure> {
    let root = &cx.ws.root;
    let mut lines = Vec::new();
    for guide in GUIDES {
        let (different, _) = readme::check(root, Path::new(guide)).map_err(Failure::new)?;
        lines.extend(different.into_iter().map(|line| format!("{guide}: {line}")));
    }
    let listed = cx.output(Cmd::new("git").cwd(root).args([
        "ls-files",
        "--cached",
        "--others",
        "--exclude-standard",
        "--",
        "*.md",
    ]))?;
    for guide in listed.lines().filter(|guide| cx.ws.path(guide).exists()) {
        let dead = readme::dead_links(root, Path::new(guide)).map_err(Failure::new)?;
        lines.extend(dead.into_iter().map(|line| format!("{guide}: {line}")));
    }
    if lines.is_empty() {
        return Ok(Report::default());
    }
    let what = "an example or a link in a guide is wrong".to_owned();
    Err(Failure { what, tail: lines.join("\n"), ..Failure::default() })
}

/// Where Python is.
const PYTHON: &[&str] = &["bindings-python", "examples/python", "contract-tests", "benches", "ci"];

fn ruff(cx: &mut Cx<'_>, args: &[&str]) -> Result<(), Failure> {
    let there = PYTHON.iter().filter(|dir| cx.ws.path(dir).exists());
    let cmd = Cmd::new(venv_bin(cx.ws, "ruff"))
        .cwd(&cx.ws.root)
        .args(args)
        .args(["--cache-dir"])
        .arg(cx.ws.target("ruff"))
        .args(there);
    cx.run(cmd)
}

fn types_python(cx: &mut Cx<'_>) -> Result<Report, Failure> {
    let cmd = Cmd::new(venv_bin(cx.ws, "mypy"))
        .cwd(cx.ws.path("bindings-python"))
        .args(["--cache-dir"])
        .arg(cx.ws.target("mypy"))
        .args(["python", "tests"]);
    cx.run(cmd)?;
    Ok(Report::default())
}

fn clang_format(cx: &mut Cx<'_>, args: &[&str]) -> Result<(), Failure> {
    let text = cx.output(
        Cmd::new("git")
            .cwd(&cx.ws.root)
            .args(["ls-files", "--cached", "--others", "--exclude-standard", "--"])
            .args(["*.c", "*.h", "*.cpp", "*.hpp"]),
    )?;
    // The header is cbindgen's: its form is checked by making it again.
    let files: Vec<PathBuf> = text
        .lines()
        .filter(|file| *file != "include/millstream.h")
        .map(|file| cx.ws.path(file))
        .filter(|file| file.exists())
        .collect();
    if files.is_empty() {
        return Err(Failure::new("there is no C source to format"));
    }
    cx.run(Cmd::new(venv_bin(cx.ws, "clang-format")).args(args).arg("--style=file").args(files))
}

/// The file name of a shared library.
fn library(name: &str) -> String {
    let end = if cfg!(target_os = "macos") { "dylib" } else { "so" };
    format!("lib{name}.{end}")
}

/// Maven on the Java binding, without questions and without a progress line per download.
pub fn maven(cx: &Cx<'_>) -> Cmd {
    Cmd::new("mvn")
        .cwd(cx.ws.path("bindings-java"))
        .args(["--batch-mode", "--no-transfer-progress", "-Dstyle.color=never"])
        .arg(format!("-Dmillstream.native={}", cx.built(&library("millstream_jni")).display()))
        .arg(format!("-Dmillstream.reference.server={}", cx.built("reference-server").display()))
        .arg(format!("-Dmillstream.fault.server={}", cx.built("fault-server").display()))
}
