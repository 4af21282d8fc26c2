//! asyncio: calls of an event loop, woken through one file descriptor per loop.
//!
//! Waiting is done by [`operation::Operation`], an awaitable of its own: it hands the loop's task a
//! future, as a coroutine written in Python does, and a [`driver::Driver`] resolves the futures of
//! everything that happened since the loop last looked. A message that is already here is handed
//! out without a future, without a coroutine and without a frame of Python.

pub mod call;
pub mod driver;
pub mod operation;
mod slots;
mod waiters;
