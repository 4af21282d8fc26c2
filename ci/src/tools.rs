//! Tools that the project installs for itself, below the target directory: a virtual environment
//! with the locked Python packages, and programs that cargo installs.

use std::{
    fs,
    path::{Path, PathBuf},
};

use crate::{
    process::{Cmd, Failure},
    steps::{Cx, cargo},
    workspace::Workspace,
};

const NETWORK: &str = "see whether this machine reaches its package registry, then run it again";

/// The virtual environment of the build and the tests.
pub fn venv(ws: &Workspace) -> PathBuf {
    ws.target("venv")
}

/// A program of the virtual environment.
pub fn venv_bin(ws: &Workspace, program: &str) -> PathBuf {
    venv(ws).join("bin").join(program)
}

/// Makes the virtual environment, or brings it up to date, when it is not what
/// ci/requirements.txt says.
pub fn ensure_venv(cx: &mut Cx<'_>) -> Result<String, Failure> {
    let ws = cx.ws;
    let lock = ws.path("ci/requirements.txt");
    let stamp = venv(ws).join("requirements.installed");
    let wanted =
        fs::read(&lock).map_err(|error| Failure::new(format!("{}: {error}", ws.show(&lock))))?;
    if fs::read(&stamp).is_ok_and(|installed| installed == wanted) && works(&venv(ws)) {
        return Ok("up to date".to_owned());
    }
    make_venv(cx, &venv(ws))?;
    let pip = Cmd::new(venv_bin(ws, "python"))
        .args(["-m", "pip", "install", "--disable-pip-version-check", "--require-hashes"])
        .args(["--only-binary", ":all:", "--requirement"])
        .arg(&lock);
    cx.run(pip).map_err(|failure| failure.remedy(NETWORK))?;
    fs::write(&stamp, wanted)?;
    Ok("made".to_owned())
}

/// Makes a virtual environment with nothing in it.
pub fn make_venv(cx: &mut Cx<'_>, dir: &Path) -> Result<(), Failure> {
    if dir.exists() {
        fs::remove_dir_all(dir)?;
    }
    cx.run(Cmd::new("python3").args(["-m", "venv"]).arg(dir)).map_err(|failure| {
        failure.remedy("install the Debian/Ubuntu package `python3-venv`, then run it again")
    })
}

/// Whether the interpreter of a virtual environment still runs: the system's may have been
/// replaced.
fn works(venv: &Path) -> bool {
    Cmd::new(venv.join("bin/python"))
        .args(["-c", ""])
        .command()
        .status()
        .is_ok_and(|status| status.success())
}

/// A program that cargo installs at a fixed version.
#[derive(Clone, Copy, Debug)]
pub struct CargoTool {
    /// The crate, and the program.
    pub name: &'static str,
    /// Its version.
    pub version: &'static str,
}

/// Writes the C header.
pub const CBINDGEN: CargoTool = CargoTool { name: "cbindgen", version: "0.29.4" };

impl CargoTool {
    /// Where the program is.
    pub fn path(self, ws: &Workspace) -> PathBuf {
        ws.target("tools/bin").join(self.name)
    }

    /// Installs it unless this very version is there.
    pub fn ensure(self, cx: &mut Cx<'_>) -> Result<String, Failure> {
        let CargoTool { name, version } = self;
        let there = Cmd::new(self.path(cx.ws))
            .arg("--version")
            .command()
            .output()
            .is_ok_and(|output| is_version(&output.stdout, version));
        if there {
            return Ok(format!("{name} {version}"));
        }
        let root = cx.ws.target("tools");
        // Without optimisation it compiles in a tenth of the time, and runs fast enough.
        let install = cargo(cx.ws)
            .env("CARGO_PROFILE_DEV_DEBUG", "0")
            .args(["install", name, "--version", version, "--locked", "--force"])
            .args(["--profile", "dev", "--root"])
            .arg(&root);
        cx.run(install).map_err(|failure| failure.remedy(NETWORK))?;
        Ok(format!("installed {name} {version}"))
    }
}

fn is_version(said: &[u8], version: &str) -> bool {
    String::from_utf8_lossy(said).split_whitespace().any(|word| word == version)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_very_version_will_do() {
        assert!(is_version(b"cbindgen 0.29.4\n", "0.29.4"));
        assert!(!is_version(b"cbindgen 0.29.40\n", "0.29.4"));
        assert!(!is_version(b"", "0.29.4"));
    }
}
