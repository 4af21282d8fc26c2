//! Locks the Python tools to versions and hashes.

use std::fs;

use crate::{
    process::{Cmd, Failure},
    steps::{Cx, Mode},
    tools,
    ui::Ui,
    workspace::Workspace,
};

/// Writes ci/requirements.txt. No address of a registry gets into it: whoever installs from it uses
/// their own.
pub fn python(ws: &Workspace, ui: Ui, upgrade: bool) -> Result<bool, Failure> {
    let mut cx = Cx::new(ws, ui, Mode::Test, "lock-python", "Locking the Python tools")?;
    let lock = ws.path("ci/requirements.txt");
    let result = make(&mut cx, upgrade);
    cx.end(if result.is_ok() { "ok" } else { "FAILED" }, &ws.show(&lock));
    result?;
    let text = fs::read_to_string(&lock)?;
    match addresses(&text).first() {
        Some(line) => Err(Failure::new(format!("requirements.txt names an address: {line}"))),
        None => Ok(true),
    }
}

fn make(cx: &mut Cx<'_>, upgrade: bool) -> Result<(), Failure> {
    let ws = cx.ws;
    let mut compile = tools::venv_bin(ws, "pip-compile");
    if !compile.exists() {
        // The first lock, or one after a broken one: from an environment of its own.
        let dir = ws.target("lock-venv");
        tools::make_venv(cx, &dir)?;
        let pip = Cmd::new(dir.join("bin/python")).args(["-m", "pip", "install", "pip-tools"]);
        cx.run(pip)?;
        compile = dir.join("bin/pip-compile");
    }
    let cmd = Cmd::new(compile)
        .cwd(ws.path("ci"))
        .args(["--quiet", "--generate-hashes", "--allow-unsafe", "--strip-extras", "--no-header"])
        .args(["--no-emit-index-url", "--no-emit-find-links", "--no-emit-trusted-host"])
        .args(upgrade.then_some("--upgrade"))
        .args(["--output-file", "requirements.txt", "requirements.in"]);
    cx.run(cmd)
}

/// The lines that name a host, or an option that would.
fn addresses(text: &str) -> Vec<&str> {
    text.lines()
        .filter(|line| {
            line.contains("://") || line.contains(" @ ") || line.trim_start().starts_with("--i")
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_lock_with_an_address_is_not_accepted() {
        assert_eq!(addresses("a==1 \\\n    --hash=sha256:00\n    # via b\n"), Vec::<&str>::new());
        for line in ["--index-url x", "a @ file:///a.whl", "--find-links=https://a"] {
            assert_eq!(addresses(line), [line]);
        }
    }

    #[test]
    fn every_package_of_the_lock_has_a_hash() {
        let text = include_str!("../requirements.txt");
        assert_eq!(addresses(text), Vec::<&str>::new());
        let joined = text.replace("\\\n", " ");
        let packages = joined.lines().filter(|line| line.contains("=="));
        let mut count = 0;
        for package in packages {
            assert!(package.contains("--hash=sha256:"), "{package}");
            count += 1;
        }
        assert!(count > 10, "{count} packages");
    }
}
