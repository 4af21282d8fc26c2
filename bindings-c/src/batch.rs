//! Batches of received messages.

use millstream_boundary::Batch;

use crate::{bytes::mill_slice, guard::quietly};

/// Received messages of one call, in order, in one contiguous buffer, and a cursor over them.
/// Reusing a batch reuses its memory.
#[derive(Default)]
pub struct mill_batch {
    pub(crate) messages: Batch,
    /// The call that filled it: the messages of two calls are never mixed up.
    pub(crate) call: u64,
}

/// Makes an empty batch for `mill_call_next` and `mill_call_next_batch`. Never NULL.
///
/// Ownership: the caller owns the batch and frees it by `mill_batch_free`.
/// Threads: any. A batch is used by one thread at a time.
/// Errors: none.
#[unsafe(no_mangle)]
pub extern "C" fn mill_batch_new() -> *mut mill_batch {
    Box::into_raw(Box::default())
}

/// Takes the next message of the batch. False when none is left: `message` is then not written.
///
/// Ownership: the message is borrowed from the batch; it lives until the batch is filled again or
/// freed.
/// Threads: one at a time for each batch. Never blocks.
/// Errors: none; false when batch or message is NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_batch_next(batch: *mut mill_batch, message: *mut mill_slice) -> bool {
    // SAFETY: the caller passes NULL or a batch that is not freed and not used by another thread.
    let Some(batch) = (unsafe { batch.as_mut() }) else {
        return false;
    };
    if message.is_null() {
        return false;
    }
    let Some(next) = batch.messages.next() else {
        return false;
    };
    // SAFETY: the caller passes NULL or the address of a slice.
    unsafe { message.write(mill_slice::lend(next)) };
    true
}

/// The number of messages that were not taken yet; 0 for NULL.
///
/// Ownership: nothing passes.
/// Threads: one at a time for each batch.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_batch_len(batch: *const mill_batch) -> usize {
    // SAFETY: the caller passes NULL or a batch that is not freed and not used by another thread.
    unsafe { batch.as_ref() }.map_or(0, |batch| batch.messages.remaining())
}

/// Takes all messages that are left, as they stand in memory, to be walked or handed on in one piece.
/// Each is a gRPC frame: a zero byte, the length of the message as a big-endian 32-bit number, the
/// message. Nothing is compressed.
///
/// Ownership: borrowed from the batch; lives until the batch is filled again or freed.
/// Threads: one at a time for each batch. Never blocks.
/// Errors: none; empty for NULL.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_batch_frames(batch: *mut mill_batch) -> mill_slice {
    // SAFETY: the caller passes NULL or a batch that is not freed and not used by another thread.
    let Some(batch) = (unsafe { batch.as_mut() }) else {
        return mill_slice::EMPTY;
    };
    let messages = &mut batch.messages;
    let taken: usize = messages
        .iter()
        .take(messages.len() - messages.remaining())
        .map(|message| millstream_boundary::PREFIX + message.len())
        .sum();
    while messages.next().is_some() {}
    mill_slice::lend(messages.frames().get(taken..).unwrap_or_default())
}

/// Drops the messages that were not taken, so that the batch can serve another call. Keeps the
/// memory. NULL is allowed and does nothing.
///
/// Ownership: slices of the messages are void.
/// Threads: one at a time for each batch.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_batch_clear(batch: *mut mill_batch) {
    // SAFETY: the caller passes NULL or a batch that is not freed and not used by another thread.
    if let Some(batch) = unsafe { batch.as_mut() } {
        batch.messages.clear();
    }
}

/// Frees a batch with its messages. NULL is allowed and does nothing.
///
/// Ownership: takes the batch; slices of its messages are void.
/// Threads: any; no other thread may use the batch at the same time.
/// Errors: none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_batch_free(batch: *mut mill_batch) {
    if !batch.is_null() {
        // SAFETY: it was made by `mill_batch_new` and the caller gives it up here.
        quietly(|| drop(unsafe { Box::from_raw(batch) }));
    }
}
