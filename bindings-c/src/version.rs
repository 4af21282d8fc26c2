//! What was built, and how many live things there are.

use std::{ffi::c_char, sync::OnceLock};

use millstream_boundary as boundary;

use crate::{error::c_text, guard::quietly};

/// Major part of the version of this header.
pub const MILL_VERSION_MAJOR: u32 = 0;
/// Minor part of the version of this header.
pub const MILL_VERSION_MINOR: u32 = 1;
/// Patch part of the version of this header.
pub const MILL_VERSION_PATCH: u32 = 0;
/// Version of the binary interface of this header; it is also the number in `libmillstream.so.0`. A
/// program works with every library whose `mill_abi_version()` is the same.
pub const MILL_ABI_VERSION: u32 = 0;
/// For a `timeout_ms`: wait without end.
pub const MILL_FOREVER: i64 = -1;

/// The version of the library that is loaded, such as `0.1.0`.
///
/// Ownership: the text is static; never free it.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub extern "C" fn mill_version() -> *const c_char {
    static VERSION: OnceLock<std::ffi::CString> = OnceLock::new();
    VERSION.get_or_init(|| c_text(boundary::version())).as_ptr()
}

/// What the loaded library was built from: equal texts mean the same sources. For bug reports, and
/// for telling two installations apart.
///
/// Ownership: the text is static; never free it.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub extern "C" fn mill_build_id() -> *const c_char {
    static BUILD_ID: OnceLock<std::ffi::CString> = OnceLock::new();
    BUILD_ID.get_or_init(|| c_text(boundary::build_id())).as_ptr()
}

/// The version of the binary interface of the library that is loaded. Compare it with
/// `MILL_ABI_VERSION` when the library is loaded by `dlopen`; a linked program is held to it by the
/// file name already.
///
/// Ownership: nothing passes.
/// Threads: any.
/// Errors: none.
#[unsafe(no_mangle)]
pub extern "C" fn mill_abi_version() -> u32 {
    MILL_ABI_VERSION
}

/// How many channels, calls and queues of this process are alive: for tests that look for leaks.
/// Each address may be NULL.
///
/// Ownership: nothing passes.
/// Threads: any; the three numbers are not taken at one instant.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_live(channels: *mut u64, calls: *mut u64, queues: *mut u64) {
    quietly(|| {
        let live = boundary::live();
        for (to, number) in [(channels, live.channels), (calls, live.calls), (queues, live.queues)]
        {
            if !to.is_null() {
                // SAFETY: the caller passes NULL or the address of a number.
                unsafe { to.write(number as u64) };
            }
        }
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_in_the_header_is_the_version_of_the_package() {
        let header = format!("{MILL_VERSION_MAJOR}.{MILL_VERSION_MINOR}.{MILL_VERSION_PATCH}");
        assert_eq!(header, env!("CARGO_PKG_VERSION"));
        assert_eq!(header, boundary::version());
    }
}
