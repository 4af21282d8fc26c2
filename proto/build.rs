//! Generates the messages, servers and clients from every `.proto` file here, without `protoc`.

use std::error::Error;
use std::path::{Path, PathBuf};

use prost::Message;

fn main() -> Result<(), Box<dyn Error>> {
    let root = PathBuf::from(std::env::var("CARGO_MANIFEST_DIR")?);
    let out = PathBuf::from(std::env::var("OUT_DIR")?);

    println!("cargo::rerun-if-changed=build.rs");
    let mut files = Vec::new();
    find(&root, &mut files)?;
    files.sort();

    let descriptors = protox::compile(&files, [&root])?;
    std::fs::write(out.join("descriptor_set.binpb"), descriptors.encode_to_vec())?;

    tonic_prost_build::configure()
        // Servers and clients take any transport: this crate needs none.
        .build_transport(false)
        // Encoded in key order: equal values have equal bytes.
        .btree_map(".")
        // A payload that is sent many times is shared, not copied.
        .bytes(".contract.v1")
        .out_dir(&out)
        .compile_fds(descriptors)?;
    Ok(())
}

fn find(directory: &Path, files: &mut Vec<PathBuf>) -> std::io::Result<()> {
    println!("cargo::rerun-if-changed={}", directory.display());
    for entry in std::fs::read_dir(directory)? {
        let path = entry?.path();
        if path.is_dir() {
            find(&path, files)?;
        } else if path.extension().is_some_and(|extension| extension == "proto") {
            files.push(path);
        }
    }
    Ok(())
}
