//! What every language border of Millstream needs.
//!
//! The bindings for C, Python and the JVM are thin layers over this crate and depend on nothing
//! else of Millstream. It adds to the call layer (`millstream-rpc`, re-exported here) what a host
//! that is not Rust needs:
//!
//! * [`enter`], the guard of every exported function: a panic fails that one operation;
//! * [`handles`], integers that stand for objects and are checked on each use;
//! * [`Queue`], completions that the host drains in batches: Rust never calls up into a host;
//! * [`Channel`] and [`Call`], whose waits park the calling thread or end in a queue;
//! * [`errors`], the one table that every language's error types are made from;
//! * the private runtime, one per process, and the check for `fork`.
//!
//! # Threads
//! Every type here may be used from any thread at once. Sending may be shared by threads (each
//! message is whole); receiving is for one thread at a time and says `BUSY` otherwise.
//!
//! # Fork
//! A forked child inherits memory but not the threads that did the work. Whatever was made in the
//! parent answers with `FORKED` in the child, and dropping it there touches nothing; a channel
//! opened in the child works.

#[cfg(not(unix))]
compile_error!("the language border needs a Unix: it wakes hosts through file descriptors");

mod call;
mod channel;
pub mod errors;
mod event;
mod guard;
pub mod handles;
mod live;
mod park;
mod process;
mod queue;
mod runtime;
mod signals;
#[cfg(test)]
mod testing;

pub use call::Call;
pub use channel::Channel;
pub use guard::enter;
pub use live::{Live, live};
pub use millstream_rpc::{
    Batch, CHANNEL_OPTION_NAMES, CallKind, CallOptions, ChannelOptions, Code, Compression,
    ConnectivityState, Error, ErrorCode, Interest, Iter, Metadata, PREFIX, Received, Status,
    TlsOptions,
};

pub use queue::Queue;

/// The version of Millstream, such as `1.2.3`.
pub fn version() -> &'static str {
    env!("CARGO_PKG_VERSION")
}

/// Names the sources that this library was built from: 16 hexadecimal digits, the same on every
/// platform. A loader compares it with the id that its own half was packaged with.
pub fn build_id() -> &'static str {
    env!("MILLSTREAM_BUILD_ID")
}
