//! The C ABI of Millstream: only `extern "C"` functions over [`millstream_boundary`].
//!
//! Conventions, the same for every function:
//! - A function that can fail returns a [`mill_status`] and has a last parameter `mill_error **error`.
//!   It writes its outputs only on success and the error only on failure.
//! - Live things (channel, call, queue) are handles: numbers that are checked at each use. Data
//!   (error, status, metadata, buffer, batch) are opaque pointers with a `_free` function.
//! - `mill_slice` borrows bytes, `mill_buffer` owns them.
//! - Everything runs inside [`guard::guard`]: a panic is an error of that one call.
//!
//! `include/millstream.h` is generated from these files by cbindgen, so the comments on public items
//! are written for readers of the header. Each function tells *Ownership*, *Threads* and *Errors*.
#![allow(non_camel_case_types)] // C names
#![allow(clippy::missing_safety_doc)] // told to C users as Ownership, Threads and Errors

mod arguments;
mod guard;
mod handles;

// In the order of the header.
pub mod version;

pub mod status;

pub mod error;

pub mod bytes;

pub mod metadata;

pub mod options;

pub mod channel;

pub mod call;

pub mod receive;

pub mod outcome;

pub mod batch;

pub mod queue;

#[cfg(test)]
mod header_tests;
