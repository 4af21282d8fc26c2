//! A channel.
use std::task::{Context, Poll};
use crate::*;

/// Where a channel stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[repr(i32)]
#[allow(missing_docs)]
pub enum ConnectivityState { Idle = 0, Connecting = 1, Ready = 2, TransientFailure = 3, Shutdown = 4 }

/// A channel.
#[derive(Clone)]
pub struct Channel {}

#[allow(missing_docs, unused_variables)]
impl Channel {
    pub fn new(target: &str, options: ChannelOptions, runtime: tokio::runtime::Handle) -> Result<Channel, Error> { unimplemented!() }
    pub fn call(&self, path: &str, kind: CallKind, options: CallOptions) -> Result<Call, Error> { unimplemented!() }
    pub fn call_with(&self, path: &str, kind: CallKind, options: CallOptions, first: &[u8]) -> Result<Call, Error> { unimplemented!() }
    pub fn state(&self) -> ConnectivityState { unimplemented!() }
    pub fn connect(&self) { unimplemented!() }
    pub fn poll_state_change(&self, last: ConnectivityState, cx: &mut Context<'_>) -> Poll<()> { unimplemented!() }
    pub fn close(&self) { unimplemented!() }
}
