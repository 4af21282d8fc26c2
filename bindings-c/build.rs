//! Names the shared library: cargo itself gives a cdylib no SONAME.

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    let Ok(target) = std::env::var("CARGO_CFG_TARGET_OS") else {
        return;
    };
    // The number is MILL_ABI_VERSION of src/version.rs; a test of the installed library holds both
    // together.
    match target.as_str() {
        "macos" => link("-Wl,-install_name,@rpath/libmillstream.0.dylib"),
        "windows" => {}
        _ => {
            link("-Wl,-soname,libmillstream.so.0");
            // The runtime's threads and Rust's thread-locals outlive a dlclose: unloading their code
            // would crash the process at the exit of a thread.
            link("-Wl,-z,nodelete");
        }
    }
}

fn link(argument: &str) {
    println!("cargo::rustc-cdylib-link-arg={argument}");
}
