//! Arrays without the price of the crate's attachment guard, for the natives that are called for
//! every message or batch.

use std::cell::RefCell;

use jni::{
    EnvUnowned,
    objects::JByteArray,
    refs::Reference,
    sys::{jint, jsize},
};
use millstream_boundary::{Error, ErrorCode};

/// Memory that a thread keeps for copies, at most.
const KEPT: usize = 64 << 10;

thread_local! {
    static COPY: RefCell<Vec<u8>> = const { RefCell::new(Vec::new()) };
}

/// The length of an array.
pub fn length(env: &EnvUnowned<'_>, array: &JByteArray<'_>) -> Result<usize, Error> {
    if array.is_null() {
        return Err(Error::new(ErrorCode::InvalidArgument, "the array is null"));
    }
    let env = env.as_raw();
    // SAFETY: `env` is this thread's, given to the native that is running; the reference is not
    // null and of that native's frame.
    let length = unsafe { ((**env).v1_1.GetArrayLength)(env, array.as_raw()) };
    Ok(length as usize)
}

/// Runs `use_bytes` with a copy of a range of an array.
pub fn with_range<T>(
    env: &EnvUnowned<'_>,
    array: &JByteArray<'_>,
    offset: jint,
    size: jint,
    use_bytes: impl FnOnce(&[u8]) -> Result<T, Error>,
) -> Result<T, Error> {
    let whole = length(env, array)?;
    let (Ok(start), Ok(count)) = (usize::try_from(offset), usize::try_from(size)) else {
        return Err(out_of_range(offset, size, whole));
    };
    if start.checked_add(count).is_none_or(|end| end > whole) {
        return Err(out_of_range(offset, size, whole));
    }
    COPY.with_borrow_mut(|copy| {
        copy.clear();
        copy.try_reserve(count).map_err(|_| {
            Error::new(
                ErrorCode::OutOfMemory,
                format!("no memory for a copy of a message of {count} bytes"),
            )
        })?;
        let env = env.as_raw();
        // SAFETY: the range lies within the array, and `count` bytes are reserved, which the JVM
        // then has written when their number is set.
        unsafe {
            ((**env).v1_1.GetByteArrayRegion)(
                env,
                array.as_raw(),
                offset,
                size,
                copy.as_mut_ptr().cast(),
            );
            copy.set_len(count);
        }
        let result = use_bytes(copy);
        if copy.capacity() > KEPT {
            *copy = Vec::new();
        }
        result
    })
}

/// Writes bytes to the start of an array.
pub fn write(env: &EnvUnowned<'_>, array: &JByteArray<'_>, bytes: &[u8]) -> Result<(), Error> {
    let room = length(env, array)?;
    let size =
        jsize::try_from(bytes.len()).ok().filter(|_| bytes.len() <= room).ok_or_else(|| {
            Error::new(
                ErrorCode::InvalidArgument,
                format!("{} bytes do not fit an array of {room}", bytes.len()),
            )
        })?;
    let env = env.as_raw();
    // SAFETY: the array has room for all of the bytes, which are valid to read.
    unsafe {
        ((**env).v1_1.SetByteArrayRegion)(env, array.as_raw(), 0, size, bytes.as_ptr().cast());
    }
    Ok(())
}

fn out_of_range(offset: jint, size: jint, whole: usize) -> Error {
    Error::new(
        ErrorCode::InvalidArgument,
        format!("the range of {size} bytes from {offset} is not within an array of {whole}"),
    )
}
