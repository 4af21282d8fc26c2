//! How the library is linked.

fn main() {
    println!("cargo:rerun-if-changed=build.rs");
    if std::env::var("CARGO_CFG_TARGET_OS").as_deref() == Ok("linux") {
        // A JVM unloads a library when its class loader is collected, but the I/O threads go on
        // running in it.
        println!("cargo:rustc-link-arg-cdylib=-Wl,-z,nodelete");
    }
}
