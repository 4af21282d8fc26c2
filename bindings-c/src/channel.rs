//! Channels.

use std::{ffi::c_char, sync::Arc};

use millstream_boundary::{Channel, ConnectivityState, Error, ErrorCode};

use crate::{
    arguments,
    error::{Failure, mill_error},
    guard::guard,
    handles::{CHANNELS, QUEUES},
    options::{self, mill_channel_options},
    queue::mill_queue,
    status::mill_status,
};

/// A channel: connections to one target, made when they are needed, shared by all calls. A handle:
/// copy it freely, compare it by `id`. An `id` of 0 is no channel.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mill_channel {
    /// Number of the channel; never given out again.
    pub id: u64,
}

/// Where a channel stands.
#[repr(C)]
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum mill_connectivity {
    /// No connection, and none is being made.
    MILL_CONNECTIVITY_IDLE = 0,
    /// A connection is being made.
    MILL_CONNECTIVITY_CONNECTING = 1,
    /// Connected.
    MILL_CONNECTIVITY_READY = 2,
    /// The last attempt failed; the next one waits for its back-off.
    MILL_CONNECTIVITY_TRANSIENT_FAILURE = 3,
    /// Closed.
    MILL_CONNECTIVITY_SHUTDOWN = 4,
}

use mill_connectivity::*;

impl mill_connectivity {
    const PAIRS: [(mill_connectivity, ConnectivityState); 5] = [
        (MILL_CONNECTIVITY_IDLE, ConnectivityState::Idle),
        (MILL_CONNECTIVITY_CONNECTING, ConnectivityState::Connecting),
        (MILL_CONNECTIVITY_READY, ConnectivityState::Ready),
        (MILL_CONNECTIVITY_TRANSIENT_FAILURE, ConnectivityState::TransientFailure),
        (MILL_CONNECTIVITY_SHUTDOWN, ConnectivityState::Shutdown),
    ];

    fn of(state: ConnectivityState) -> mill_connectivity {
        mill_connectivity::PAIRS
            .into_iter()
            .find(|pair| pair.1 == state)
            .map_or(MILL_CONNECTIVITY_SHUTDOWN, |pair| pair.0)
    }

    fn from_number(number: i32) -> Result<ConnectivityState, Failure> {
        mill_connectivity::PAIRS
            .into_iter()
            .find(|pair| pair.0 as i32 == number)
            .map(|pair| pair.1)
            .ok_or_else(|| {
                arguments::invalid(format!("last is {number}; pass a mill_connectivity, 0 to 4"))
            })
    }
}

pub(crate) fn resolve(channel: mill_channel) -> Result<Arc<Channel>, Failure> {
    CHANNELS.get(channel.id)
}

/// Opens a channel to `http://host:port`, `https://host:port` or `unix:/path`. Nothing is connected
/// until the first call or `mill_channel_connect`. `options` may be NULL for the defaults.
///
/// Ownership: the caller owns the channel and ends it by `mill_channel_close`. Target and options
/// are copied.
/// Threads: any.
/// Errors: `MILL_ERROR_INVALID_TARGET`, `MILL_ERROR_INVALID_TLS`, `MILL_ERROR_INVALID_ARGUMENT` (an
/// option, or a NULL target or channel), `MILL_ERROR_SYSTEM` (no thread or file descriptor left).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_channel_open(
    target: *const c_char,
    options: *const mill_channel_options,
    channel: *mut mill_channel,
    error: *mut *mut mill_error,
) -> mill_status {
    // SAFETY: the caller passes NULL or what the signature says, alive during this call.
    unsafe {
        guard(error, || {
            let channel = arguments::output(channel, "channel")?;
            let target = arguments::text(target, "target")?;
            let opened = Channel::open(target, options::channel_options(options)?)?;
            channel.write(mill_channel { id: CHANNELS.insert(opened)? });
            Ok(())
        })
    }
}

/// Closes a channel now: its open calls end with CANCELLED, its connections are closed. Closing it
/// again, or closing a channel whose `id` is 0, does nothing. After `fork` the child may close what
/// the parent opened: that frees the child's copy and does not touch the parent's connections.
///
/// Ownership: the handle is void afterwards; later uses answer `MILL_ERROR_CLOSED`. Its calls stay
/// the caller's and are closed by themselves.
/// Threads: any, also while other threads use the channel or wait in its calls: they return.
/// Errors: `MILL_ERROR_INVALID_HANDLE` for a number that was never a channel.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_channel_close(
    channel: mill_channel,
    error: *mut *mut mill_error,
) -> mill_status {
    // SAFETY: the caller passes NULL or the address of an error.
    unsafe {
        guard(error, || {
            if let Some(channel) = CHANNELS.close(channel.id)? {
                channel.close();
            }
            Ok(())
        })
    }
}

/// Asks an idle channel to connect now, without waiting for it.
///
/// Ownership: nothing passes.
/// Threads: any.
/// Errors: `MILL_ERROR_CLOSED`, `MILL_ERROR_INVALID_HANDLE`, `MILL_ERROR_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_channel_connect(
    channel: mill_channel,
    error: *mut *mut mill_error,
) -> mill_status {
    // SAFETY: the caller passes NULL or the address of an error.
    unsafe {
        guard(error, || {
            resolve(channel)?.connect();
            Ok(())
        })
    }
}

/// Tells where the channel stands at this moment.
///
/// Ownership: nothing passes.
/// Threads: any.
/// Errors: `MILL_ERROR_CLOSED`, `MILL_ERROR_INVALID_HANDLE`, `MILL_ERROR_FORKED`,
/// `MILL_ERROR_INVALID_ARGUMENT` (state is NULL).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_channel_state(
    channel: mill_channel,
    state: *mut mill_connectivity,
    error: *mut *mut mill_error,
) -> mill_status {
    // SAFETY: the caller passes NULL or the address of a state, and of an error.
    unsafe {
        guard(error, || {
            let state = arguments::output(state, "state")?;
            state.write(mill_connectivity::of(resolve(channel)?.state()));
            Ok(())
        })
    }
}

/// Waits until the channel no longer stands at `last` (a `mill_connectivity`). It does not ask the
/// channel to connect.
///
/// Ownership: nothing passes.
/// Threads: any; blocks the calling thread for up to `timeout_ms` (`MILL_FOREVER`: without end).
/// Errors: `MILL_ERROR_TIMEOUT`, `MILL_ERROR_INVALID_ARGUMENT` (last), `MILL_ERROR_CLOSED`,
/// `MILL_ERROR_INVALID_HANDLE`, `MILL_ERROR_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_channel_wait_state(
    channel: mill_channel,
    last: i32,
    timeout_ms: i64,
    error: *mut *mut mill_error,
) -> mill_status {
    // SAFETY: the caller passes NULL or the address of an error.
    unsafe {
        guard(error, || {
            let last = mill_connectivity::from_number(last)?;
            let channel = resolve(channel)?;
            if channel.wait_state(last, arguments::wait(timeout_ms))? {
                return Ok(());
            }
            Err(timed_out(&format!("the channel is still {last:?}"), timeout_ms))
        })
    }
}

/// Puts `tag` into the queue once the channel no longer stands at `last` (a `mill_connectivity`); at
/// once if it already does not. One tag per call of this function; a new watch of the channel
/// replaces the one before.
///
/// Ownership: nothing passes; channel and queue may be closed in any order.
/// Threads: any.
/// Errors: `MILL_ERROR_INVALID_ARGUMENT` (last), `MILL_ERROR_CLOSED`, `MILL_ERROR_INVALID_HANDLE`,
/// `MILL_ERROR_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_channel_watch_state(
    channel: mill_channel,
    last: i32,
    queue: mill_queue,
    tag: u64,
    error: *mut *mut mill_error,
) -> mill_status {
    // SAFETY: the caller passes NULL or the address of an error.
    unsafe {
        guard(error, || {
            let last = mill_connectivity::from_number(last)?;
            let queue = QUEUES.get(queue.id)?;
            resolve(channel)?.watch_state(last, &queue, tag)?;
            Ok(())
        })
    }
}

pub(crate) fn timed_out(what: &str, timeout_ms: i64) -> Failure {
    Error::new(ErrorCode::Timeout, format!("{what} after {timeout_ms} ms")).into()
}
