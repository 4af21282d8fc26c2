//! Calls: what comes back.

use std::{ffi::c_char, sync::Arc, time::Duration};

use millstream_boundary::{Batch, Call, CallKind, Interest, Received, Status};

use crate::{
    arguments,
    batch::mill_batch,
    bytes::{mill_buffer, mill_slice},
    call::{mill_call, resolve},
    channel::{self, mill_channel, timed_out},
    error::{Failure, mill_error},
    guard::guard,
    metadata::mill_metadata,
    options::{self, mill_call_options},
    outcome::mill_call_status,
    status::mill_status,
};

/// Waits for the response headers. No entries when the server ended the call without any.
///
/// Ownership: the caller owns the metadata and frees it by `mill_metadata_free`.
/// Threads: any; blocks the calling thread for up to `timeout_ms` (0: do not wait; `MILL_FOREVER`:
/// without end).
/// Errors: `MILL_ERROR_TIMEOUT`, `MILL_ERROR_INVALID_ARGUMENT`, `MILL_ERROR_CLOSED`,
/// `MILL_ERROR_INVALID_HANDLE`, `MILL_ERROR_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_call_headers(
    call: mill_call,
    timeout_ms: i64,
    headers: *mut *mut mill_metadata,
    error: *mut *mut mill_error,
) -> mill_status {
    // SAFETY: the caller passes NULL or the address of the result, and of an error.
    unsafe {
        guard(error, || {
            let headers = arguments::output(headers, "headers")?;
            let call = resolve(call)?;
            if !call.wait(Interest::HEADERS, arguments::wait(timeout_ms))? {
                return Err(timed_out("no response headers have come", timeout_ms));
            }
            // A call that ended before any headers has none.
            let received = call.headers().unwrap_or_default();
            headers.write(mill_metadata::new(&received).into_object());
            Ok(())
        })
    }
}

/// # Safety
/// `batch` is NULL or a batch that no other thread uses as long as `'a`.
unsafe fn batch_of<'a>(batch: *mut mill_batch) -> Result<&'a mut mill_batch, Failure> {
    // SAFETY: the same contract.
    unsafe { batch.as_mut() }.ok_or_else(|| {
        arguments::invalid("batch is NULL; make one by mill_batch_new and use it again and again")
    })
}

fn not_taken(left: usize, whose: &str) -> Failure {
    Failure::new(
        mill_status::MILL_ERROR_INVALID_STATE,
        format!(
            "the batch still holds {left} messages of {whose} call; take them (mill_batch_next), or \
             drop them (mill_batch_clear)"
        ),
    )
}

/// Waits for messages and puts all that have come into the batch. A batch that is empty afterwards
/// (`mill_batch_len` is 0) says that no more will come: then `mill_call_finish` tells how the call
/// ended.
///
/// Ownership: the batch stays the caller's. Slices of its former messages are void.
/// Threads: one at a time receives from a call; blocks it for up to `timeout_ms` (0: do not wait;
/// `MILL_FOREVER`: without end).
/// Errors: `MILL_ERROR_TIMEOUT` (none has come; the call goes on), `MILL_ERROR_BUSY` (another thread
/// receives), `MILL_ERROR_INVALID_STATE` (the batch holds messages that were not taken and would be
/// lost), `MILL_ERROR_INVALID_ARGUMENT`, `MILL_ERROR_CLOSED`, `MILL_ERROR_INVALID_HANDLE`,
/// `MILL_ERROR_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_call_next_batch(
    call: mill_call,
    batch: *mut mill_batch,
    timeout_ms: i64,
    error: *mut *mut mill_error,
) -> mill_status {
    // SAFETY: the caller passes NULL or a batch for the use of this thread, and NULL or the address
    // of an error.
    unsafe {
        guard(error, || {
            let batch = batch_of(batch)?;
            match batch.messages.remaining() {
                0 => fetch(call, batch, timeout_ms),
                left => {
                    Err(not_taken(left, if batch.call == call.id { "this" } else { "another" }))
                }
            }
        })
    }
}

/// Waits for one message: the next of the batch or, when all of those were taken, the first of those
/// that come next. `data` of the message is NULL when no more will come (an empty message has a
/// length of 0 and is not NULL): then `mill_call_finish` tells how the call ended.
///
/// Ownership: the message is borrowed from the batch; it lives until the batch is used again or
/// freed. The batch stays the caller's.
/// Threads: one at a time receives from a call; blocks it for up to `timeout_ms` (0: do not wait;
/// `MILL_FOREVER`: without end).
/// Errors: `MILL_ERROR_TIMEOUT` (none has come; the call goes on), `MILL_ERROR_BUSY` (another thread
/// receives), `MILL_ERROR_INVALID_STATE` (the batch holds messages of another call),
/// `MILL_ERROR_INVALID_ARGUMENT`, `MILL_ERROR_CLOSED`, `MILL_ERROR_INVALID_HANDLE`,
/// `MILL_ERROR_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_call_next(
    call: mill_call,
    batch: *mut mill_batch,
    timeout_ms: i64,
    message: *mut mill_slice,
    error: *mut *mut mill_error,
) -> mill_status {
    // SAFETY: the caller passes NULL or a batch for the use of this thread, and NULL or the address
    // of a slice and of an error.
    unsafe {
        guard(error, || {
            let message = arguments::output(message, "message")?;
            let batch = batch_of(batch)?;
            match batch.messages.remaining() {
                0 => fetch(call, batch, timeout_ms)?,
                left if batch.call != call.id => return Err(not_taken(left, "another")),
                _ => {}
            }
            message.write(batch.messages.next().map_or(mill_slice::EMPTY, mill_slice::lend));
            Ok(())
        })
    }
}

fn fetch(call: mill_call, batch: &mut mill_batch, timeout_ms: i64) -> Result<(), Failure> {
    batch.call = call.id;
    next_batch(&*resolve(call)?, &mut batch.messages, arguments::wait(timeout_ms))
}

/// Fills the batch; leaves it empty at the end of the messages and on failure.
fn next_batch(call: &Call, batch: &mut Batch, timeout: Option<Duration>) -> Result<(), Failure> {
    batch.clear();
    match call.next_batch(batch, timeout)? {
        Received::Messages => {}
        Received::Empty | Received::End => batch.clear(),
    }
    Ok(())
}

fn finish(call: &Call, timeout_ms: i64) -> Result<Arc<Status>, Failure> {
    if call.wait(Interest::STATUS, arguments::wait(timeout_ms))?
        && let Some(status) = call.status()
    {
        return if status.is_ok() { Ok(status) } else { Err(Failure::ended(status)) };
    }
    Err(timed_out("the call has not ended", timeout_ms))
}

/// Waits for the end of the call. Returns `MILL_OK` when it ended with OK, and otherwise the code
/// that it ended with; the error then holds the status (`mill_error_status`).
///
/// Take the messages first: a call whose messages wait to be taken may not end before they are. This
/// function may be called several times and does not close the call.
///
/// Ownership: on `MILL_OK` the caller owns the status and frees it by `mill_call_status_free`;
/// `status` may be NULL when it is not wanted.
/// Threads: any; blocks the calling thread for up to `timeout_ms` (0: do not wait; `MILL_FOREVER`:
/// without end, which the deadline of the call bounds).
/// Errors: codes 1 to 16: so the call ended. `MILL_ERROR_TIMEOUT` (it has not ended yet),
/// `MILL_ERROR_CLOSED`, `MILL_ERROR_INVALID_HANDLE`, `MILL_ERROR_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_call_finish(
    call: mill_call,
    timeout_ms: i64,
    status: *mut *mut mill_call_status,
    error: *mut *mut mill_error,
) -> mill_status {
    // SAFETY: the caller passes NULL or the address of the result, and of an error.
    unsafe {
        guard(error, || {
            let status = arguments::optional_output(status, "status")?;
            let ended = finish(&*resolve(call)?, timeout_ms)?;
            if let Some(status) = status {
                status.write(mill_call_status::new(ended).into_object());
            }
            Ok(())
        })
    }
}

/// A whole unary call: sends the request, waits for the end, hands over the response. Returns
/// `MILL_OK` when the call ended with OK, and otherwise the code that it ended with; the error then
/// holds the status (`mill_error_status`).
///
/// Ownership: on `MILL_OK` the caller owns the response (`mill_buffer_free`) and the status
/// (`mill_call_status_free`); `status` may be NULL when it is not wanted. What is passed is copied.
/// Threads: any; blocks the calling thread until the call ends: set `timeout_ms` in the options.
/// Errors: codes 1 to 16: so the call ended. Otherwise as `mill_call_start`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_unary(
    channel: mill_channel,
    path: *const c_char,
    options: *const mill_call_options,
    request: mill_slice,
    response: *mut *mut mill_buffer,
    status: *mut *mut mill_call_status,
    error: *mut *mut mill_error,
) -> mill_status {
    // SAFETY: the caller passes NULL or what the signature says, alive during this call.
    unsafe {
        guard(error, || {
            let response = arguments::output(response, "response")?;
            let status = arguments::optional_output(status, "status")?;
            let path = arguments::text(path, "path")?;
            let request = arguments::bytes(request, "request")?;
            let options = options::call_options(options)?;
            let channel = channel::resolve(channel)?;
            let call = channel.call_with(path, CallKind::Unary, options, request)?;
            let mut batch = Batch::new();
            next_batch(&call, &mut batch, None)?;
            // The core hands a message out only together with the status OK.
            let ended = finish(&call, -1)?;
            response.write(mill_buffer::copy(batch.next().unwrap_or_default()));
            if let Some(status) = status {
                status.write(mill_call_status::new(ended).into_object());
            }
            Ok(())
        })
    }
}
