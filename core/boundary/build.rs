//! Stamps the library with an id of its sources, so that a loader can tell whether the native
//! library and the host's half of a binding were built from the same tree.

use std::{
    fs, io,
    path::{Path, PathBuf},
};

/// What is compiled into every native library, seen from this crate.
const SOURCES: [&str; 4] = ["src", "Cargo.toml", "../rpc/src", "../rpc/Cargo.toml"];

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    let mut files = Vec::new();
    for source in SOURCES {
        println!("cargo:rerun-if-changed={source}");
        if let Err(error) = list(Path::new(source), &mut files) {
            panic!("cannot read {source}, which the build id is made of: {error}");
        }
    }
    // A fixed order on every file system.
    files.sort();
    let mut id = Fnv::new();
    for file in files {
        let content = fs::read(&file)
            .unwrap_or_else(|error| panic!("cannot read {}: {error}", file.display()));
        id.add(file.to_string_lossy().replace('\\', "/").as_bytes());
        // Checkouts with other line ends are the same sources.
        id.add(&content.iter().copied().filter(|byte| *byte != b'\r').collect::<Vec<_>>());
    }
    println!("cargo:rustc-env=MILLSTREAM_BUILD_ID={:016x}", id.0);
}

fn list(path: &Path, files: &mut Vec<PathBuf>) -> io::Result<()> {
    if path.is_dir() {
        for entry in fs::read_dir(path)? {
            list(&entry?.path(), files)?;
        }
    } else {
        files.push(path.to_owned());
    }
    Ok(())
}

/// FNV-1a with 64 bits: tells trees apart, guards against nothing else, and never changes with the
/// compiler as the hashes of std may.
struct Fnv(u64);

impl Fnv {
    fn new() -> Fnv {
        Fnv(0xcbf2_9ce4_8422_2325)
    }

    fn add(&mut self, bytes: &[u8]) {
        for byte in bytes.iter().chain(&[0xff]) {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
        }
    }
}
