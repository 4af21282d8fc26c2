//! The pollable queue.

use std::{ffi::c_int, sync::Arc, time::Instant};

use millstream_boundary::Queue;

use crate::{
    arguments::{self, invalid},
    channel::timed_out,
    error::{Failure, mill_error},
    guard::guard,
    handles::QUEUES,
    status::mill_status,
};

/// A queue of tags that `mill_call_watch` and `mill_channel_watch_state` fill, with a file descriptor
/// for `poll`, `epoll` or an event loop. A handle: copy it freely. An `id` of 0 is no queue.
#[repr(C)]
#[derive(Clone, Copy)]
pub struct mill_queue {
    /// Number of the queue; never given out again.
    pub id: u64,
}

fn resolve(queue: mill_queue) -> Result<Arc<Queue>, Failure> {
    QUEUES.get(queue.id)
}

/// Makes an empty queue.
///
/// Ownership: the caller owns the queue and ends it by `mill_queue_close`.
/// Threads: any.
/// Errors: `MILL_ERROR_INVALID_ARGUMENT` (queue is NULL), `MILL_ERROR_SYSTEM` (no file descriptor
/// left).
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_queue_new(
    queue: *mut mill_queue,
    error: *mut *mut mill_error,
) -> mill_status {
    // SAFETY: the caller passes NULL or the address of a queue, and of an error.
    unsafe {
        guard(error, || {
            let queue = arguments::output(queue, "queue")?;
            queue.write(mill_queue { id: QUEUES.insert(Queue::new()?)? });
            Ok(())
        })
    }
}

/// The file descriptor of the queue: readable (`POLLIN`) while the queue holds tags. Only poll it;
/// `mill_queue_next` reads it.
///
/// Ownership: the descriptor belongs to the queue and is closed with it; never close it.
/// Threads: any.
/// Errors: `MILL_ERROR_INVALID_ARGUMENT` (fd is NULL), `MILL_ERROR_CLOSED`,
/// `MILL_ERROR_INVALID_HANDLE`, `MILL_ERROR_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_queue_fd(
    queue: mill_queue,
    fd: *mut c_int,
    error: *mut *mut mill_error,
) -> mill_status {
    // SAFETY: the caller passes NULL or the address of a number, and of an error.
    unsafe {
        guard(error, || {
            let fd = arguments::output(fd, "fd")?;
            fd.write(resolve(queue)?.fd());
            Ok(())
        })
    }
}

/// Takes up to `capacity` tags, in the order in which they came, waiting for the first one. Writes
/// how many to `count`: at least 1.
///
/// With a `timeout_ms` of 0 it takes what is there and answers `MILL_ERROR_TIMEOUT` when there is
/// nothing: an event loop calls it until then.
///
/// Ownership: the array stays the caller's.
/// Threads: one at a time takes from a queue; blocks it for up to `timeout_ms` (`MILL_FOREVER`:
/// without end).
/// Errors: `MILL_ERROR_TIMEOUT`, `MILL_ERROR_INVALID_ARGUMENT` (tags or count is NULL, capacity is
/// 0), `MILL_ERROR_CLOSED` (also when the queue is closed during the wait),
/// `MILL_ERROR_INVALID_HANDLE`, `MILL_ERROR_FORKED`.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_queue_next(
    queue: mill_queue,
    timeout_ms: i64,
    tags: *mut u64,
    capacity: usize,
    count: *mut usize,
    error: *mut *mut mill_error,
) -> mill_status {
    // SAFETY: the caller passes NULL or an array of `capacity` tags, and the addresses of a number
    // and of an error.
    unsafe {
        guard(error, || {
            let first = arguments::output(tags, "tags")?.as_mut_ptr();
            let count = arguments::output(count, "count")?;
            if capacity == 0 {
                return Err(invalid("capacity is 0; there must be room for one tag"));
            }
            let taken = next(&*resolve(queue)?, timeout_ms, capacity)?;
            first.copy_from_nonoverlapping(taken.as_ptr(), taken.len());
            count.write(taken.len());
            Ok(())
        })
    }
}

fn next(queue: &Queue, timeout_ms: i64, capacity: usize) -> Result<Vec<u64>, Failure> {
    let start = Instant::now();
    let timeout = arguments::wait(timeout_ms);
    let mut tags = Vec::new();
    // A tag may be gone between the wake and the look: a newer watch of its call has replaced it.
    while tags.is_empty() {
        if !queue.wait(timeout.map(|timeout| timeout.saturating_sub(start.elapsed())))? {
            return Err(timed_out("the queue is empty", timeout_ms));
        }
        queue.drain(&mut tags, capacity);
    }
    Ok(tags)
}

/// Closes a queue: a thread that waits in it returns, tags that were not taken are dropped, watches
/// lead nowhere. Closing it again, or closing a queue whose `id` is 0, does nothing.
///
/// Ownership: the handle is void afterwards; later uses answer `MILL_ERROR_CLOSED`. The file
/// descriptor is closed: take it out of the event loop before.
/// Threads: any.
/// Errors: `MILL_ERROR_INVALID_HANDLE` for a number that was never a queue.
#[unsafe(no_mangle)]
pub unsafe extern "C" fn mill_queue_close(
    queue: mill_queue,
    error: *mut *mut mill_error,
) -> mill_status {
    // SAFETY: the caller passes NULL or the address of an error.
    unsafe {
        guard(error, || {
            if let Some(queue) = QUEUES.close(queue.id)? {
                queue.close();
            }
            Ok(())
        })
    }
}
