//! Calls: start, send, control.

use std::{ffi::c_char, sync::Arc};

use millstream_boundary::{Call, CallKind, Interest};

use crate::{
    arguments::{self, invalid},
    bytes::mill_slice,
    channel::{self, mill_channel, timed_out},
    error::{Failure, mill_error},
    guard::guard,
    handles::{CALLS, QUEUES},
    options::{self, mill_call_options},
    queue::mill_queue,
    status::mill_status,
};

/// One call. A handle: copy it freely, compare it by `id`. An `id` of 0 is no call.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mill_call {
    /// Number of the call; never given out again.
    pub id: u64,
}

/// The four kinds of a method.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(dead_code)] // C passes the numbers
pub enum mill_call_kind {
    /// One request, one response.
    MILL_UNARY = 0,
    /// Many requests, one response.
    MILL_CLIENT_STREAM = 1,
    /// One request, many responses.
    MILL_SERVER_STREAM = 2,
    /// Many requests, many responses.
    MILL_BIDI = 3,
}

/// What to wait for; joined by `|`. A call that has ended is ready for all of them.
#[repr(C)]
#[derive(Clone, Copy)]
#[allow(dead_code)] // C passes the numbers
pub enum mill_interest {
    /// The response headers have come.
    MILL_INTEREST_HEADERS = 1,
    /// Messages wait, or there will be no more.
    MILL_INTEREST_MESSAGES = 2,
    /// There is room to send.
    MILL_INTEREST_SENDABLE = 4,
    /// The call has ended.
    MILL_INTEREST_STATUS = 8,
}

pub(crate) fn resolve(call: mill_call) -> Result<Arc<Call>, Failure> {
    CALLS.get(call.id)
}

fn kind(number: i32) -> Result<CallKind, Failure> {
    CallKind::from_i32(number)
        .ok_or_else(|| invalid(format!("kind is {number}; pass a mill_call_kind, 0 to 3")))
}

pub(crate) fn interest(bits: u32) -> Result<Interest, Failure> {
    if bits == 0 || bits > 15 {
        return Err(invalid(format!(
            "interest is {bits}; join one or more mill_interest, 1 to 15"
        )));
    }
    Ok(Interest(bits))
}

/// Starts a call of a method such as `/weather.v1.Weather/GetWeatherStream`. Returns at once; what
/// happens on the network shows in the later functions. `kind` is a `mill_call_kind`; `options` may
/// be NULL for the defaults.
///
/// Ownership: the caller owns the call and ends it by `mill_call_close`. Path and options are copied.
/// Threads: any.
/// Errors: `MILL_ERROR_INVALID_ARGUMENT` (path, kind, an option), `MILL_ERROR_INVALID_METADATA`,
/// `MILL_ERROR_CLOSED`, `MILL_ERROR_INVALID_HANDLE`, `MILL_ERROR_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_call_start(
    channel: mill_channel,
    path: *const c_char,
    kind: i32,
    options: *const mill_call_options,
    call: *mut mill_call,
    error: *mut *mut mill_error,
) -> mill_status {
    // SAFETY: the caller passes NULL or what the signature says, alive during this call.
    unsafe {
        guard(error, || {
            let call = arguments::output(call, "call")?;
            let path = arguments::text(path, "path")?;
            let kind = self::kind(kind)?;
            let options = options::call_options(options)?;
            let started = channel::resolve(channel)?.call(path, kind, options)?;
            call.write(mill_call { id: CALLS.insert(started)? });
            Ok(())
        })
    }
}

/// Starts a call, sends one request and half-closes, in one step: what `MILL_UNARY` and
/// `MILL_SERVER_STREAM` want.
///
/// Ownership: the caller owns the call and ends it by `mill_call_close`. Path, options and request
/// are copied.
/// Threads: any.
/// Errors: as `mill_call_start`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_call_start_with(
    channel: mill_channel,
    path: *const c_char,
    kind: i32,
    options: *const mill_call_options,
    request: mill_slice,
    call: *mut mill_call,
    error: *mut *mut mill_error,
) -> mill_status {
    // SAFETY: the caller passes NULL or what the signature says, alive during this call.
    unsafe {
        guard(error, || {
            let call = arguments::output(call, "call")?;
            let path = arguments::text(path, "path")?;
            let request = arguments::bytes(request, "request")?;
            let kind = self::kind(kind)?;
            let options = options::call_options(options)?;
            let started = channel::resolve(channel)?.call_with(path, kind, options, request)?;
            call.write(mill_call { id: CALLS.insert(started)? });
            Ok(())
        })
    }
}

/// Sends one message, waiting for room up to `timeout_ms` (0: do not wait; `MILL_FOREVER`: without
/// end). The message is then on its way; that says nothing about its arrival.
///
/// Ownership: the message is copied.
/// Threads: any; messages of several threads go out one after the other. May block.
/// Errors: `MILL_ERROR_TIMEOUT` (the message was not taken), `MILL_ERROR_CALL_ENDED` (with the
/// status), `MILL_ERROR_INVALID_STATE` (half-closed, or a second request where the method takes
/// one), `MILL_ERROR_INVALID_ARGUMENT`, `MILL_ERROR_CLOSED`, `MILL_ERROR_INVALID_HANDLE`,
/// `MILL_ERROR_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_call_send(
    call: mill_call,
    message: mill_slice,
    timeout_ms: i64,
    error: *mut *mut mill_error,
) -> mill_status {
    // SAFETY: the caller passes a slice that is readable during this call, and NULL or the address
    // of an error.
    unsafe {
        guard(error, || {
            let message = arguments::bytes(message, "message")?;
            resolve(call)?.send(message, arguments::wait(timeout_ms))?;
            Ok(())
        })
    }
}

/// Sends several messages in one step, which is cheaper than one by one. Waits like `mill_call_send`
/// for room for the first of them, takes as many as fit, and writes to `sent` how many that were: at
/// least 1, unless `count` is 0. Call again for the rest.
///
/// Ownership: the messages are copied.
/// Threads: any; messages of several threads go out in the order in which they were taken. May block.
/// Errors: as `mill_call_send`; on failure none of the messages was taken.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_call_send_many(
    call: mill_call,
    messages: *const mill_slice,
    count: usize,
    timeout_ms: i64,
    sent: *mut usize,
    error: *mut *mut mill_error,
) -> mill_status {
    // SAFETY: the caller passes slices that are readable during this call, and NULL or the address
    // of a number and of an error.
    unsafe {
        guard(error, || {
            let sent = arguments::output(sent, "sent")?;
            let messages = arguments::array(messages, count, "messages")?;
            for message in messages {
                arguments::bytes(*message, "a message")?;
            }
            let call = resolve(call)?;
            let mut waiting = messages
                .iter()
                // Checked above; the empty slice is never taken.
                .map(|message| arguments::bytes(*message, "a message").unwrap_or_default());
            // A first attempt without waiting, a second one once there is room.
            let mut taken = call.try_send_many(&mut waiting.clone())?;
            if taken == 0 && count > 0 {
                let Some(first) = waiting.next() else {
                    return Ok(());
                };
                call.send(first, arguments::wait(timeout_ms))?;
                // What came after the first is a bonus: an end of the call now is told by the next
                // function, since this one has sent something.
                taken = 1 + call.try_send_many(&mut waiting).unwrap_or(0);
            }
            sent.write(taken);
            Ok(())
        })
    }
}

/// Says that no more messages will be sent. Doing it again does nothing.
///
/// Ownership: nothing passes.
/// Threads: any.
/// Errors: `MILL_ERROR_CLOSED`, `MILL_ERROR_INVALID_HANDLE`, `MILL_ERROR_FORKED`. Half-closing a call
/// that has ended is none.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_call_half_close(
    call: mill_call,
    error: *mut *mut mill_error,
) -> mill_status {
    // SAFETY: the caller passes NULL or the address of an error.
    unsafe {
        guard(error, || {
            resolve(call)?.half_close()?;
            Ok(())
        })
    }
}

/// Ends the call now with CANCELLED and this message (NULL: none), unless it has ended already.
/// Received messages that were not taken may be dropped.
///
/// Ownership: the message is copied; the call stays the caller's.
/// Threads: any, also while other threads wait in the call: they return.
/// Errors: `MILL_ERROR_INVALID_ARGUMENT` (message), `MILL_ERROR_CLOSED`,
/// `MILL_ERROR_INVALID_HANDLE`, `MILL_ERROR_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_call_cancel(
    call: mill_call,
    message: *const c_char,
    error: *mut *mut mill_error,
) -> mill_status {
    // SAFETY: the caller passes NULL or a text, and NULL or the address of an error.
    unsafe {
        guard(error, || {
            let message = arguments::optional_text(message, "message")?.unwrap_or_default();
            resolve(call)?.cancel(message);
            Ok(())
        })
    }
}

/// Waits until the call is ready for one of the interests (`mill_interest` joined by `|`).
///
/// Ownership: nothing passes.
/// Threads: any; blocks the calling thread for up to `timeout_ms` (`MILL_FOREVER`: without end).
/// Errors: `MILL_ERROR_TIMEOUT`, `MILL_ERROR_INVALID_ARGUMENT` (interests), `MILL_ERROR_CLOSED`,
/// `MILL_ERROR_INVALID_HANDLE`, `MILL_ERROR_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_call_wait(
    call: mill_call,
    interests: u32,
    timeout_ms: i64,
    error: *mut *mut mill_error,
) -> mill_status {
    // SAFETY: the caller passes NULL or the address of an error.
    unsafe {
        guard(error, || {
            let interests = interest(interests)?;
            if resolve(call)?.wait(interests, arguments::wait(timeout_ms))? {
                return Ok(());
            }
            Err(timed_out("the call is not ready", timeout_ms))
        })
    }
}

/// Puts `tag` into the queue once the call is ready for one of the interests (`mill_interest` joined
/// by `|`); at once if it already is. One tag per call of this function: watch again for the next. A
/// new watch of the same interest replaces the old one.
///
/// Ownership: nothing passes; call and queue may be closed in any order.
/// Threads: any.
/// Errors: `MILL_ERROR_INVALID_ARGUMENT` (interests), `MILL_ERROR_CLOSED`,
/// `MILL_ERROR_INVALID_HANDLE`, `MILL_ERROR_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_call_watch(
    call: mill_call,
    queue: mill_queue,
    interests: u32,
    tag: u64,
    error: *mut *mut mill_error,
) -> mill_status {
    // SAFETY: the caller passes NULL or the address of an error.
    unsafe {
        guard(error, || {
            let interests = interest(interests)?;
            let queue = QUEUES.get(queue.id)?;
            resolve(call)?.watch(interests, &queue, tag)?;
            Ok(())
        })
    }
}

/// Lets go of a call. One that has not ended is cancelled. Closing it again, or closing a call whose
/// `id` is 0, does nothing.
///
/// Ownership: the handle is void afterwards; later uses answer `MILL_ERROR_CLOSED`. Batches that the
/// call filled stay valid.
/// Threads: any, also while other threads wait in the call: they return.
/// Errors: `MILL_ERROR_INVALID_HANDLE` for a number that was never a call.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_call_close(
    call: mill_call,
    error: *mut *mut mill_error,
) -> mill_status {
    // SAFETY: the caller passes NULL or the address of an error.
    unsafe {
        guard(error, || {
            if let Some(call) = CALLS.close(call.id)? {
                // Not left to the drop: another thread may wait in it and hold it.
                call.cancel("the call was closed");
            }
            Ok(())
        })
    }
}
