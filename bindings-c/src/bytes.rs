//! Borrowed and owned bytes.

use std::ptr;

/// Borrowed bytes. `{NULL, 0}` is a valid empty slice; NULL with another length is refused.
///
/// As an argument it is read during the call only. As a result it points into the object that the
/// function names and lives as long as that.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mill_slice {
    /// First byte; may be NULL when `len` is 0.
    pub data: *const u8,
    /// Number of bytes.
    pub len: usize,
}

impl mill_slice {
    pub(crate) const EMPTY: mill_slice = mill_slice { data: ptr::null(), len: 0 };

    /// The result form: points into what the caller of the C function keeps alive.
    pub(crate) fn lend(bytes: &[u8]) -> mill_slice {
        mill_slice { data: bytes.as_ptr(), len: bytes.len() }
    }
}

/// Owned bytes: one received message. Freed by `mill_buffer_free`.
pub struct mill_buffer {
    bytes: Box<[u8]>,
}

impl mill_buffer {
    pub(crate) fn copy(bytes: &[u8]) -> *mut mill_buffer {
        Box::into_raw(Box::new(mill_buffer { bytes: bytes.into() }))
    }
}

/// The bytes of a buffer; empty for NULL.
///
/// Ownership: borrowed from the buffer; valid until `mill_buffer_free`.
/// Threads: any, several at once.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_buffer_bytes(buffer: *const mill_buffer) -> mill_slice {
    // SAFETY: the caller passes NULL or a buffer that is not freed yet.
    unsafe { buffer.as_ref() }.map_or(mill_slice::EMPTY, |buffer| mill_slice::lend(&buffer.bytes))
}

/// Frees a buffer and its bytes. NULL is allowed and does nothing.
///
/// Ownership: takes the buffer.
/// Threads: any; no other thread may use the buffer at the same time.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_buffer_free(buffer: *mut mill_buffer) {
    if !buffer.is_null() {
        // SAFETY: it was made by `mill_buffer::copy` and the caller gives it up here.
        drop(unsafe { Box::from_raw(buffer) });
    }
}
