//! A channel, as a host holds it.

use std::{sync::Arc, time::Duration};

use millstream_rpc as rpc;

use crate::{
    Call, CallKind, CallOptions, ChannelOptions, ConnectivityState, Error, Queue,
    live::{Counted, Kind},
    process::Bound,
    runtime,
    signals::Signals,
};

/// A connection to a target, made when the first call needs it and again when it is lost.
///
/// Clones are the same channel. Closing ends its calls; dropping the last clone only lets go of it.
///
/// ```
/// use millstream_boundary::{Channel, ChannelOptions, ErrorCode};
///
/// let error = Channel::open("ftp://example.org", ChannelOptions::default()).err().unwrap();
/// assert_eq!(error.code, ErrorCode::InvalidTarget);
/// ```
#[derive(Clone)]
pub struct Channel(Arc<Bound<Inner>>);

struct Inner {
    rpc: rpc::Channel,
    state: Signals<1>,
    _counted: Counted,
}

/// The one kind of readiness of a channel.
const STATE: u32 = 1;

impl Channel {
    /// A channel to `http://host:port`, `https://host:port` or `unix:/path`. Does not connect yet
    /// and never blocks. The first channel of a process starts the I/O threads, one to four, or as
    /// many as the environment variable `MILLSTREAM_IO_THREADS` says.
    ///
    /// # Errors
    /// `INVALID_TARGET`, `INVALID_TLS`, `INVALID_ARGUMENT` for options that no channel can work
    /// with, `SYSTEM` when the I/O threads cannot be started.
    pub fn open(target: &str, options: ChannelOptions) -> Result<Channel, Error> {
        let rpc = rpc::Channel::new(target, options, runtime::handle()?)?;
        let inner = Inner { rpc, state: Signals::new(), _counted: Counted::new(Kind::Channel) };
        Ok(Channel(Arc::new(Bound::new("this channel", inner))))
    }

    /// Starts a call of a method such as `/pkg.Service/Method`. Never blocks.
    ///
    /// # Errors
    /// `INVALID_ARGUMENT` for a path that is none, `INVALID_METADATA`, `CLOSED`, `FORKED`.
    /// Whatever happens to the call afterwards is in its status.
    pub fn call(&self, path: &str, kind: CallKind, options: CallOptions) -> Result<Call, Error> {
        Ok(Call::new(self.0.get()?.rpc.call(path, kind, options)?))
    }

    /// Starts a call, sends one message and half-closes, in one step.
    ///
    /// # Errors
    /// Those of [`call`](Channel::call).
    pub fn call_with(
        &self,
        path: &str,
        kind: CallKind,
        options: CallOptions,
        first: &[u8],
    ) -> Result<Call, Error> {
        Ok(Call::new(self.0.get()?.rpc.call_with(path, kind, options, first)?))
    }

    /// Where the channel stands; in a forked child `Shutdown`.
    pub fn state(&self) -> ConnectivityState {
        self.0.ok().map_or(ConnectivityState::Shutdown, |inner| inner.rpc.state())
    }

    /// Begins to connect, if the channel is idle. Does not wait for it.
    pub fn connect(&self) {
        if let Some(inner) = self.0.ok() {
            inner.rpc.connect();
        }
    }

    /// Blocks until the state is another than `last`. False: the timeout ran out first; `None`
    /// waits for ever.
    ///
    /// # Errors
    /// `FORKED`.
    pub fn wait_state(
        &self,
        last: ConnectivityState,
        timeout: Option<Duration>,
    ) -> Result<bool, Error> {
        let inner = self.0.get()?;
        Ok(inner
            .state
            .wait(STATE, timeout, |_, context| inner.rpc.poll_state_change(last, context)))
    }

    /// Delivers `tag` to the queue once, as soon as the state is another than `last`: at once if
    /// it is already. A new watch replaces the one before.
    ///
    /// # Errors
    /// `CLOSED` for a closed queue, `FORKED`.
    pub fn watch_state(
        &self,
        last: ConnectivityState,
        queue: &Queue,
        tag: u64,
    ) -> Result<(), Error> {
        let inner = self.0.get()?;
        inner
            .state
            .watch(STATE, queue, tag, |_, context| inner.rpc.poll_state_change(last, context))
    }

    /// Ends the open calls with CANCELLED and refuses new ones. Idempotent; in a forked child it
    /// does nothing.
    pub fn close(&self) {
        if let Some(inner) = self.0.ok() {
            inner.rpc.close();
        }
    }

    /// Whether this process made the channel.
    ///
    /// # Errors
    /// `FORKED`.
    pub fn check(&self) -> Result<(), Error> {
        self.0.get().map(drop)
    }
}

impl Drop for Inner {
    fn drop(&mut self) {
        // The call layer may keep the waker for a while; the host is not to be told any more.
        self.state.clear();
    }
}
