//! The JVM binding: the native half of `dev.millstream.internal.Native`.
//!
//! A few static natives over `millstream-boundary`. Only numbers and arrays cross; objects are
//! handles that are checked on each use. No Java code is ever called from here, and no thread of
//! ours attaches to the JVM: Java threads fetch what waits for them. The one Java object that is
//! made here is the exception of a native that fails.

mod error;
mod natives;
mod raw;
mod table;
mod wire;

use std::ffi::c_void;

use jni::{
    JavaVM, jni_str,
    strings::JNIString,
    sys::{JNI_ERR, JNI_VERSION_1_8, jint},
};

/// Called by the JVM when the library is loaded, on a thread whose class loader is that of
/// `dev.millstream`.
///
/// # Safety
/// `vm` is the JVM that loads the library.
#[unsafe(no_mangle)]
pub unsafe extern "system" fn JNI_OnLoad(
    vm: *mut jni::sys::JavaVM,
    _reserved: *mut c_void,
) -> jint {
    // SAFETY: the JVM passes itself, and lives as long as the process.
    let vm = unsafe { JavaVM::from_raw(vm) };
    let prepared = millstream_boundary::enter(|| {
        vm.with_top_local_frame(|env| -> jni::errors::Result<()> {
            let prepared = error::remember_exception(env).and_then(|()| natives::register(env));
            if let Err(error) = &prepared
                && !env.exception_check()
            {
                let text = JNIString::from(format!(
                    "the classes of Millstream do not fit its native library: {error}"
                ));
                // Throwing is reported as an error, by design of the crate.
                let _ = env.throw_new(jni_str!("java/lang/UnsatisfiedLinkError"), text);
            }
            prepared
        })
        .map_err(error::of_jni)
    });
    match prepared {
        Ok(()) => JNI_VERSION_1_8,
        // The exception that is pending tells why.
        Err(_) => JNI_ERR,
    }
}
