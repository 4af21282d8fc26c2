//! Metadata in both directions.

use std::{
    ffi::{CStr, c_char},
    ptr,
};

use millstream_boundary::Metadata;

use crate::{arguments, bytes::mill_slice, error::Failure, guard::quietly};

/// One pair of metadata. The same form is passed in and handed out, so what one call received can
/// be sent with another.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mill_metadata_entry {
    /// NUL-terminated; legal are `0-9 a-z _ - .`, and upper-case letters are lowered. Keys that
    /// begin with `grpc-` are reserved.
    pub key: *const c_char,
    /// Printable ASCII, or any bytes when the key ends in `-bin` (base64 is only on the wire).
    pub value: mill_slice,
}

/// Headers or trailers that a server sent: in order, duplicates kept, reserved keys included.
pub struct mill_metadata {
    entries: Vec<mill_metadata_entry>,
    /// What the entries point into: each key and each value with a NUL behind it. A boxed slice
    /// does not move with this struct.
    _texts: Box<[u8]>,
}

impl mill_metadata {
    pub(crate) fn new(metadata: &Metadata) -> mill_metadata {
        let mut texts = Vec::new();
        let mut places = Vec::with_capacity(metadata.len());
        for (key, value) in metadata.iter() {
            places.push((texts.len(), value.len()));
            texts.extend_from_slice(key.as_bytes());
            texts.push(0);
            texts.extend_from_slice(value);
            texts.push(0);
        }
        let texts = texts.into_boxed_slice();
        let entries = metadata
            .iter()
            .zip(places)
            .map(|((key, _), (start, value_len))| {
                let value = start + key.len() + 1;
                mill_metadata_entry {
                    key: texts[start..].as_ptr().cast(),
                    value: mill_slice::lend(&texts[value..value + value_len]),
                }
            })
            .collect();
        mill_metadata { entries, _texts: texts }
    }

    pub(crate) fn into_object(self) -> *mut mill_metadata {
        Box::into_raw(Box::new(self))
    }
}

/// Metadata that the caller wants to send.
///
/// # Safety
/// `first` is NULL or points to `count` entries whose keys and values are readable.
pub(crate) unsafe fn to_send(
    first: *const mill_metadata_entry,
    count: usize,
) -> Result<Metadata, Failure> {
    let mut metadata = Metadata::new();
    // SAFETY: the same contract.
    for entry in unsafe { arguments::array(first, count, "metadata") }? {
        // SAFETY: the contract covers the keys.
        let key = unsafe { arguments::text(entry.key, "a metadata key") }?;
        // SAFETY: the contract covers the values.
        let value = unsafe { arguments::bytes(entry.value, "a metadata value") }?;
        metadata.append(key, value)?;
    }
    Ok(metadata)
}

/// All entries as an array, in the order of the wire. NULL with a count of 0 when there are none.
///
/// A NUL stands behind each value, not counted in its length, so a text value can be printed as it is.
///
/// Ownership: the array, its keys and its values are borrowed from the metadata and live as long.
/// Threads: any, several at once.
/// Errors: none; NULL metadata has no entries. `count` may be NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_metadata_entries(
    metadata: *const mill_metadata,
    count: *mut usize,
) -> *const mill_metadata_entry {
    // SAFETY: the caller passes NULL or metadata that is not freed yet.
    let entries = unsafe { metadata.as_ref() }.map_or(&[][..], |metadata| &metadata.entries);
    if !count.is_null() {
        // SAFETY: the caller passes NULL or the address of a count.
        unsafe { count.write(entries.len()) };
    }
    if entries.is_empty() { ptr::null() } else { entries.as_ptr() }
}

/// Looks for the first entry of a key, whatever the case of its letters. True when there is one; its
/// value is then written to `value` unless that is NULL.
///
/// Ownership: the value is borrowed from the metadata and lives as long.
/// Threads: any, several at once.
/// Errors: none; false when metadata or key is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_metadata_find(
    metadata: *const mill_metadata,
    key: *const c_char,
    value: *mut mill_slice,
) -> bool {
    // SAFETY: the caller passes NULL or metadata that is not freed yet.
    let Some(metadata) = (unsafe { metadata.as_ref() }) else {
        return false;
    };
    if key.is_null() {
        return false;
    }
    // SAFETY: not NULL, so the caller passes a NUL-terminated text.
    let key = unsafe { CStr::from_ptr(key) };
    let found = metadata.entries.iter().find(|entry| {
        // SAFETY: made by `mill_metadata::new` with a NUL behind each key, and alive with `metadata`.
        unsafe { CStr::from_ptr(entry.key) }.to_bytes().eq_ignore_ascii_case(key.to_bytes())
    });
    let Some(entry) = found else { return false };
    if !value.is_null() {
        // SAFETY: the caller passes NULL or the address of a slice.
        unsafe { value.write(entry.value) };
    }
    true
}

/// Frees metadata that a function handed over. NULL is allowed and does nothing. Never pass the
/// trailers of a `mill_call_status`: they belong to it.
///
/// Ownership: takes the metadata with all that was borrowed from it.
/// Threads: any; no other thread may use the metadata at the same time.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_metadata_free(metadata: *mut mill_metadata) {
    if !metadata.is_null() {
        // SAFETY: it was made by `mill_metadata::into_object` and the caller gives it up here.
        quietly(|| drop(unsafe { Box::from_raw(metadata) }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn received_metadata_keeps_order_and_duplicates_and_ends_texts_with_nul()
    -> Result<(), Box<dyn std::error::Error>> {
        let mut sent = Metadata::new();
        sent.append("trace", b"one")?;
        sent.append("key-bin", &[0, 255, 0])?;
        sent.append("trace", b"two")?;
        let received = mill_metadata::new(&sent);
        let mut count = 0;
        // SAFETY: both are alive.
        let first = unsafe { mill_metadata_entries(&received, &mut count) };
        // SAFETY: the pair was just made by the function under test.
        let entries = unsafe { std::slice::from_raw_parts(first, count) };
        let pairs: Vec<_> = entries
            .iter()
            .map(|entry| {
                // SAFETY: alive with `received`; one more byte, the NUL, stands behind the value.
                let (key, value) = unsafe {
                    let value = std::slice::from_raw_parts(entry.value.data, entry.value.len + 1);
                    (CStr::from_ptr(entry.key).to_str(), value)
                };
                (key.unwrap_or("?"), value)
            })
            .collect();
        assert_eq!(
            pairs,
            [("trace", &b"one\0"[..]), ("key-bin", b"\0\xff\0\0"), ("trace", b"two\0")]
        );
        Ok(())
    }

    #[test]
    fn metadata_goes_out_as_it_came_in() -> Result<(), Box<dyn std::error::Error>> {
        let mut sent = Metadata::new();
        sent.append("a", b"")?;
        sent.append("b-bin", b"\0")?;
        let received = mill_metadata::new(&sent);
        let mut count = 0;
        // SAFETY: both are alive.
        let first = unsafe { mill_metadata_entries(&received, &mut count) };
        // SAFETY: the array is alive with `received`.
        let again = unsafe { to_send(first, count) }.map_err(|_| "refused")?;
        assert_eq!(again, sent);
        Ok(())
    }
}
