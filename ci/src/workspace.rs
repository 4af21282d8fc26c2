//! Where things are.

use std::{
    env, fs, io,
    path::{Path, PathBuf},
};

/// The paths of the checkout. Everything that is built goes below one target directory.
#[derive(Clone, Debug)]
pub struct Workspace {
    /// The root of the checkout.
    pub root: PathBuf,
    /// Cargo's target directory, shared by every build.
    pub target: PathBuf,
}

impl Workspace {
    /// The checkout that this program was built from.
    pub fn find() -> io::Result<Workspace> {
        let manifest = Path::new(env!("CARGO_MANIFEST_DIR"));
        let root = manifest.parent().unwrap_or(manifest).canonicalize().map_err(|error| {
            io::Error::new(
                error.kind(),
                format!("the checkout {} has moved; run `make` again there", manifest.display()),
            )
        })?;
        let target = match env::var_os("CARGO_TARGET_DIR") {
            Some(dir) => root.join(dir),
            None => root.join("target"),
        };
        fs::create_dir_all(target.join("logs"))?;
        Ok(Workspace { root, target })
    }

    /// A path below the root.
    pub fn path(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.root.join(relative)
    }

    /// A path below the target directory.
    pub fn target(&self, relative: impl AsRef<Path>) -> PathBuf {
        self.target.join(relative)
    }

    /// The full output of a step.
    pub fn log(&self, step: &str) -> PathBuf {
        self.target.join("logs").join(format!("{step}.log"))
    }

    /// The prepared data of the reference server.
    pub fn data(&self) -> PathBuf {
        self.target.join("data")
    }

    /// The same of the excerpt that is part of the checkout.
    pub fn data_excerpt(&self) -> PathBuf {
        self.target.join("data-excerpt")
    }

    /// A path as a reader wants it: relative to the root when it is below it.
    pub fn show(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }
}
