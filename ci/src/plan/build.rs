//! What is built: the artefacts that users install, the servers, and the generated files.

use std::{
    fs,
    path::{Path, PathBuf},
};

use super::checks::maven;
use crate::{
    process::{Cmd, Failure},
    steps::{Cx, Mode, Report, Step},
    tools::{CBINDGEN, venv_bin},
    workspace::Workspace,
};

/// The steps, in their order.
pub fn steps() -> Vec<Step> {
    let step =
        |id, title, needs, remedy, run| Step { id, title, needs, languages: &[], remedy, run };
    vec![
        step("header", "C header is fresh", &["cbindgen"], "make header", |cx| {
            let fresh = generate_header(cx)?;
            expect(cx, "include/millstream.h", &fresh)
        }),
        step("write-header", "C header", &["cbindgen"], "", |cx| {
            let fresh = generate_header(cx)?;
            fs::write(cx.ws.path("include/millstream.h"), fresh)?;
            Ok(Report::note("include/millstream.h"))
        }),
        step("errors", "Error types are fresh", &["packages"], "make header", |cx| {
            cx.run(cx.cargo(&["run", "-p", "codegen", "--", "--check"]))?;
            Ok(Report::default())
        }),
        step("write-errors", "Error types", &["packages"], "", |cx| {
            cx.run(cx.cargo(&["run", "-p", "codegen"]))?;
            Ok(Report::default())
        }),
        step("servers", "Build: servers", &["packages"], "", |cx| build(cx, &["reference-server"])),
        step("data", "Data", &["servers", "venv"], "", data),
        step("data-excerpt", "Data: the excerpt", &["servers"], "", |cx| {
            prepare(cx, cx.ws.data_excerpt())?;
            Ok(Report::default())
        }),
        step("native", "Build: native libraries", &["packages"], "", |cx| {
            build(cx, &["millstream-capi", "millstream-jni"])
        }),
        step("wheel", "Build: wheel", &["packages", "venv"], "", wheel),
        step("jar", "Build: jar", &["native"], "", jar),
        step("capi", "Build: C library", &["native"], "", capi),
        step("example-rust", "Build: example in Rust", &["packages"], "", |cx| {
            build(cx, &["example-rust"])
        }),
        step("example-c", "Build: example in C", &["capi"], "", example_c),
    ]
}

/// Builds packages; and in the same go whatever else the command will ask for. Cargo compiles a
/// dependency again when other packages, built beside the ones at hand, ask more of it: a few big
/// builds take less time than many small ones.
fn build(cx: &mut Cx<'_>, packages: &[&str]) -> Result<Report, Failure> {
    let cmd = cx.cargo(&["build", "--profile", cx.mode.profile()]);
    let together = ["reference-server", "example-rust", "millstream-capi", "millstream-jni"];
    let select = |packages: &[&str]| -> Vec<String> {
        packages.iter().map(|package| format!("--package={package}")).collect()
    };
    cx.run(match cx.mode {
        // maturin builds it, which tells PyO3 that it will be loaded by an interpreter.
        Mode::Test => cmd.args(["--workspace", "--exclude", "millstream-python"]),
        Mode::Demo => cmd.args(select(&together)),
        Mode::Dist => cmd.args(select(packages)),
    })?;
    Ok(Report::default())
}

fn generate_header(cx: &mut Cx<'_>) -> Result<String, Failure> {
    let cmd = Cmd::new(CBINDGEN.path(cx.ws)).cwd(cx.ws.path("bindings-c")).args([
        "--config",
        "cbindgen.toml",
        "--lockfile",
        "../Cargo.lock",
        "--quiet",
    ]);
    cx.output(cmd)
}

/// Compares a committed file with what would be generated now.
fn expect(cx: &mut Cx<'_>, file: &str, fresh: &str) -> Result<Report, Failure> {
    let path = cx.ws.path(file);
    let committed =
        fs::read_to_string(&path).map_err(|error| Failure::new(format!("{file}: {error}")))?;
    if committed == fresh {
        return Ok(Report::default());
    }
    let made = cx.ws.target("fresh").join(file);
    if let Some(dir) = made.parent() {
        fs::create_dir_all(dir)?;
    }
    fs::write(&made, fresh)?;
    // Shows where they differ; that they do is known.
    let diff = cx.run(Cmd::new("diff").args(["-u"]).arg(&path).arg(&made));
    let tail = diff.err().map(|failure| failure.tail).unwrap_or_default();
    Err(Failure {
        what: format!("{file} is not what is generated now"),
        tail,
        ..Failure::default()
    })
}

/// Fetches the published data and makes of it what clients send.
fn data(cx: &mut Cx<'_>) -> Result<Report, Failure> {
    let server = cx.built("reference-server");
    let fetch = Cmd::new(&server)
        .args(["data", "fetch", "--cache"])
        .arg(cx.ws.data())
        .arg("--python")
        .arg(venv_bin(cx.ws, "python"));
    cx.output(fetch)?;
    prepare(cx, cx.ws.data())
}

/// What clients send, from the cache if it has the data and from the committed excerpt if not.
fn prepare(cx: &mut Cx<'_>, cache: PathBuf) -> Result<Report, Failure> {
    let prepare = Cmd::new(cx.built("reference-server"));
    let said = cx.output(prepare.args(["data", "prepare", "--cache"]).arg(cache))?;
    let manifest: serde_json::Value = serde_json::from_str(&said)
        .map_err(|error| Failure::new(format!("the manifest of the data: {error}")))?;
    Ok(Report::note(match manifest["data"].as_str() {
        Some("full") => "full",
        _ => "the committed EXCERPT, since the full data could not be fetched (see the log)",
    }))
}

fn wheel(cx: &mut Cx<'_>) -> Result<Report, Failure> {
    let dist = cx.dist();
    remove(&dist, |name| name.ends_with(".whl"))?;
    let cmd = Cmd::new(venv_bin(cx.ws, "maturin"))
        .cwd(&cx.ws.root)
        .env("CARGO_TARGET_DIR", &cx.ws.target)
        .args(["build", "--manifest-path", "bindings-python/Cargo.toml", "--profile"])
        .args([cx.mode.profile(), "--interpreter"])
        .arg(venv_bin(cx.ws, "python"))
        .arg("--out")
        .arg(&dist);
    cx.run(cmd)?;
    let wheel = find(&dist, |name| name.ends_with(".whl"))?;
    let install = Cmd::new(venv_bin(cx.ws, "python"))
        .args(["-m", "pip", "install", "--disable-pip-version-check", "--quiet"])
        .args(["--force-reinstall", "--no-deps", "--no-index"])
        .arg(&wheel);
    cx.run(install)?;
    Ok(Report::note(cx.ws.show(&wheel)))
}

fn jar(cx: &mut Cx<'_>) -> Result<Report, Failure> {
    let dist = cx.dist();
    // The tests are compiled only where they will be run.
    let skip = match cx.mode {
        Mode::Test => "-DskipTests",
        Mode::Demo | Mode::Dist => "-Dmaven.test.skip=true",
    };
    cx.run(maven(cx).args(["package", skip]))?;
    let built = find(&cx.ws.path("bindings-java/millstream/target"), |name| {
        name.starts_with("millstream-")
            && name.ends_with(".jar")
            && !["-sources", "-javadoc", "-tests"].iter().any(|part| name.contains(part))
    })?;
    fs::create_dir_all(&dist)?;
    let jar = dist.join(built.file_name().unwrap_or_default());
    fs::copy(&built, &jar)?;
    Ok(Report::note(cx.ws.show(&jar)))
}

fn capi(cx: &mut Cx<'_>) -> Result<Report, Failure> {
    let prefix = cx.dist().join("capi");
    let build = cx.ws.target("cmake").join(cx.mode.profile());
    if prefix.exists() {
        fs::remove_dir_all(&prefix)?;
    }
    cx.run(
        Cmd::new("cmake")
            .args(["-S", "bindings-c", "-B"])
            .arg(&build)
            .arg(format!("-DMILLSTREAM_CARGO_DIR={}", cx.ws.target(cx.mode.dir()).display()))
            .arg("-DBUILD_TESTING=OFF")
            .cwd(&cx.ws.root),
    )?;
    cx.run(Cmd::new("cmake").arg("--install").arg(&build).arg("--prefix").arg(&prefix))?;
    Ok(Report::note(cx.ws.show(&prefix)))
}

/// Where the examples in C are built.
pub fn examples_c(ws: &Workspace, mode: Mode) -> PathBuf {
    ws.target("cmake/examples").join(mode.profile())
}

/// Against the installed library, by its CMake files.
fn example_c(cx: &mut Cx<'_>) -> Result<Report, Failure> {
    let build = examples_c(cx.ws, cx.mode);
    // Where the library was found is remembered there.
    if build.exists() {
        fs::remove_dir_all(&build)?;
    }
    cx.run(
        Cmd::new("cmake")
            .cwd(&cx.ws.root)
            .args(["-S", "examples/c", "-B"])
            .arg(&build)
            .arg(format!("-DCMAKE_PREFIX_PATH={}", cx.dist().join("capi").display())),
    )?;
    cx.run(Cmd::new("cmake").arg("--build").arg(&build).args(["--parallel", "2"]))?;
    Ok(Report::default())
}

/// The one file of a directory whose name is accepted.
pub fn find(dir: &Path, accept: impl Fn(&str) -> bool) -> Result<PathBuf, Failure> {
    let mut found: Vec<_> = fs::read_dir(dir)
        .map_err(|error| Failure::new(format!("{}: {error}", dir.display())))?
        .flatten()
        .filter(|entry| entry.file_name().to_str().is_some_and(&accept))
        .map(|entry| entry.path())
        .collect();
    match (found.pop(), found.len()) {
        (Some(path), 0) => Ok(path),
        (None, _) => Err(Failure::new(format!("{} has not what was built", dir.display()))),
        (Some(_), more) => {
            Err(Failure::new(format!("{} has {} candidates, not one", dir.display(), more + 1)))
        }
    }
}

fn remove(dir: &Path, accept: impl Fn(&str) -> bool) -> Result<(), Failure> {
    let Ok(entries) = fs::read_dir(dir) else { return Ok(()) };
    for entry in entries.flatten() {
        if entry.file_name().to_str().is_some_and(&accept) {
            fs::remove_file(entry.path())?;
        }
    }
    Ok(())
}
