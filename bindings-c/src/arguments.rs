//! Checks of what C passes: pointers, texts, slices, times.

use std::{
    ffi::{CStr, c_char},
    mem::MaybeUninit,
    slice,
    time::Duration,
};

use crate::{bytes::mill_slice, error::Failure, status::mill_status};

pub(crate) fn invalid(message: impl Into<String>) -> Failure {
    Failure::new(mill_status::MILL_ERROR_INVALID_ARGUMENT, message)
}

/// A required text.
///
/// # Safety
/// `pointer` is NULL or points to a NUL-terminated text that lives as long as `'a`.
pub(crate) unsafe fn text<'a>(pointer: *const c_char, name: &str) -> Result<&'a str, Failure> {
    // SAFETY: the same contract.
    unsafe { optional_text(pointer, name) }?
        .ok_or_else(|| invalid(format!("{name} is NULL; pass a NUL-terminated text")))
}

/// A text that may be NULL.
///
/// # Safety
/// As for [`text`].
pub(crate) unsafe fn optional_text<'a>(
    pointer: *const c_char,
    name: &str,
) -> Result<Option<&'a str>, Failure> {
    if pointer.is_null() {
        return Ok(None);
    }
    // SAFETY: not NULL, so NUL-terminated and alive by the contract.
    let text = unsafe { CStr::from_ptr(pointer) };
    text.to_str().map(Some).map_err(|error| {
        invalid(format!("{name} is not UTF-8: it breaks at byte {}", error.valid_up_to()))
    })
}

/// The bytes of a slice.
///
/// # Safety
/// `slice.data` is NULL or points to `slice.len` readable bytes that live as long as `'a`.
pub(crate) unsafe fn bytes<'a>(slice: mill_slice, name: &str) -> Result<&'a [u8], Failure> {
    // SAFETY: the same contract.
    unsafe { array(slice.data, slice.len, name) }
}

/// An array; NULL with no elements is an empty one.
///
/// # Safety
/// `first` is NULL or points to `count` readable values that live as long as `'a`.
pub(crate) unsafe fn array<'a, T>(
    first: *const T,
    count: usize,
    name: &str,
) -> Result<&'a [T], Failure> {
    if count == 0 {
        return Ok(&[]);
    }
    if first.is_null() {
        return Err(invalid(format!(
            "{name} is NULL with a length of {count}; NULL needs length 0"
        )));
    }
    if !first.is_aligned() {
        return Err(invalid(format!("{name} is not aligned for its type")));
    }
    if count > isize::MAX as usize / size_of::<T>().max(1) {
        return Err(invalid(format!(
            "{name} has a length of {count}, more than an address space holds"
        )));
    }
    // SAFETY: not NULL, aligned, not too long, and readable for `'a` by the contract.
    Ok(unsafe { slice::from_raw_parts(first, count) })
}

/// Where a result goes.
///
/// # Safety
/// `pointer` is NULL or valid for the write of one `T` as long as `'a`.
pub(crate) unsafe fn output<'a, T>(
    pointer: *mut T,
    name: &str,
) -> Result<&'a mut MaybeUninit<T>, Failure> {
    // SAFETY: the same contract.
    unsafe { optional_output(pointer, name) }?
        .ok_or_else(|| invalid(format!("{name} is NULL; pass the address of the result")))
}

/// Where a result goes that the caller may not want.
///
/// # Safety
/// As for [`output`].
pub(crate) unsafe fn optional_output<'a, T>(
    pointer: *mut T,
    name: &str,
) -> Result<Option<&'a mut MaybeUninit<T>>, Failure> {
    if !pointer.is_aligned() {
        return Err(invalid(format!("{name} is not aligned for its type")));
    }
    // SAFETY: NULL or valid for writes by the contract, aligned as just checked; MaybeUninit asks
    // nothing of what stands there now.
    Ok(unsafe { pointer.cast::<MaybeUninit<T>>().as_mut() })
}

/// A time to wait: negative is without end.
pub(crate) fn wait(timeout_ms: i64) -> Option<Duration> {
    u64::try_from(timeout_ms).ok().map(Duration::from_millis)
}

#[cfg(test)]
mod tests {
    use std::ptr;

    use super::*;

    #[test]
    fn a_null_slice_of_length_zero_is_an_empty_slice() {
        // SAFETY: NULL with no length points to nothing.
        let bytes = unsafe { bytes(mill_slice { data: ptr::null(), len: 0 }, "message") };
        assert_eq!(bytes.ok(), Some(&[][..]));
    }

    #[test]
    fn a_null_slice_with_a_length_is_refused_by_name() {
        // SAFETY: refused before it is read.
        let refused = unsafe { bytes(mill_slice { data: ptr::null(), len: 3 }, "message") };
        let failure = refused.err().map(|failure| failure.code());
        assert_eq!(failure, Some(mill_status::MILL_ERROR_INVALID_ARGUMENT));
    }

    #[test]
    fn a_slice_longer_than_an_address_space_is_refused() {
        let slice = mill_slice { data: [0u8].as_ptr(), len: usize::MAX };
        // SAFETY: refused before it is read.
        assert!(unsafe { bytes(slice, "message") }.is_err());
    }

    #[test]
    fn a_text_that_is_not_utf8_is_refused_with_the_place() {
        // SAFETY: a NUL-terminated literal.
        let refused = unsafe { text(c"ab\xff".as_ptr(), "target") };
        assert!(refused.is_err());
    }

    #[test]
    fn a_negative_time_waits_without_end_and_zero_does_not_wait() {
        assert_eq!(wait(-1), None);
        assert_eq!(wait(i64::MIN), None);
        assert_eq!(wait(0), Some(Duration::ZERO));
        assert_eq!(wait(1500), Some(Duration::from_millis(1500)));
    }
}
