//! The README's examples, run as a user runs them: from what is installed, and nothing else.

use std::path::{Path, PathBuf};

use super::build::{examples_c, find};
use crate::{
    process::{Cmd, Failure},
    server::Server,
    steps::{Cx, Report, Step},
    tools,
};

/// The steps, in their order.
pub fn steps() -> Vec<Step> {
    let step = |id, title, needs, run| Step { id, title, needs, languages: &[], remedy: "", run };
    vec![
        step("readme-rust", "README example: Rust", &["servers"], |cx| {
            let program = Cmd::new(cx.built("readme-example"));
            check(cx, program)
        }),
        step(
            "readme-python",
            "README example: wheel in an empty venv",
            &["wheel", "servers"],
            |cx| {
                let venv = cx.ws.target("readme-venv");
                tools::make_venv(cx, &venv)?;
                let wheel = find(&cx.dist(), |name| name.ends_with(".whl"))?;
                let python = venv.join("bin/python");
                cx.run(
                    Cmd::new(&python)
                        .args(["-m", "pip", "install", "--disable-pip-version-check", "--quiet"])
                        .arg(wheel),
                )?;
                let program = Cmd::new(python).arg(cx.ws.path("examples/python/readme_example.py"));
                check(cx, program)
            },
        ),
        step("readme-java", "README example: jar on a class path", &["jar", "servers"], |cx| {
            let jar = find(&cx.dist(), |name| name.ends_with(".jar"))?;
            let program = Cmd::new("java")
                .arg("-cp")
                .arg(jar)
                .arg(cx.ws.path("examples/java/ReadmeExample.java"));
            check(cx, program)
        }),
        step("readme-c", "README example: C, by CMake and by pkg-config", C, |cx| {
            let built = examples_c(cx.ws, cx.mode);
            check(cx, Cmd::new(built.join("readme-example-c")))?;
            let program = built.join("readme-example-pkg-config");
            let lib = compile_c(cx, "examples/c/readme_example.c", &built, &program)?;
            check(cx, Cmd::new(program).env("LD_LIBRARY_PATH", lib))
        }),
        step("readme-cpp", "README example: C++", C, |cx| {
            let program = examples_c(cx.ws, cx.mode).join("readme-example-cpp");
            check(cx, Cmd::new(program))
        }),
    ]
}

const C: &[&str] = &["example-c", "servers"];

/// Compiles against the installed library, as its pkg-config file says, and the messages that CMake
/// has built. Gives the directory that the library is in.
fn compile_c(
    cx: &mut Cx<'_>,
    source: &str,
    messages: &Path,
    program: &Path,
) -> Result<PathBuf, Failure> {
    let lib = find(&cx.dist().join("capi"), |name| name.starts_with("lib"))?;
    let config = |args: &[&str]| {
        Cmd::new("pkg-config").env("PKG_CONFIG_PATH", find_pkgconfig(&lib)).args(args)
    };
    let flags = cx.output(config(&["--cflags", "--libs", "millstream", "libprotobuf-c"]))?;
    cx.run(
        Cmd::new("cc")
            .args(["-std=c11", "-Wall", "-Wextra", "-Werror", "-o"])
            .arg(program)
            .arg(cx.ws.path(source))
            .arg("-isystem")
            .arg(messages.join("messages"))
            .arg(messages.join("libmessages.a"))
            .args(flags.split_whitespace()),
    )?;
    let said = cx.output(config(&["--variable=libdir", "millstream"]))?;
    Ok(PathBuf::from(said.trim()))
}

/// The directory of the pkg-config file: below lib, or lib/<machine> on Debian.
fn find_pkgconfig(lib: &Path) -> PathBuf {
    let inside = std::fs::read_dir(lib).into_iter().flatten().flatten();
    inside
        .map(|entry| entry.path().join("pkgconfig"))
        .find(|path| path.is_dir())
        .unwrap_or_else(|| lib.join("pkgconfig"))
}

/// Runs an example against a reference server of its own.
fn check(cx: &mut Cx<'_>, program: Cmd) -> Result<Report, Failure> {
    let serve = Cmd::new(cx.built("reference-server")).args(["serve", "--exit-with-stdin"]);
    let server = Server::start(serve, &cx.log)?;
    let said = cx.output(program.arg(server.text("http")?))?;
    match said.lines().last() {
        Some(last) => Ok(Report::note(format!("says: {last}"))),
        None => Err(Failure::new("the example printed nothing")),
    }
}
