//! One call.
use std::{sync::Arc, task::{Context, Poll}};
use crate::*;

/// What a waiter is interested in; several can be joined.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Interest(pub u32);

impl Interest {
    /// The response head has come.
    pub const HEADERS: Interest = Interest(1);
    /// Messages wait, or there will be no more.
    pub const MESSAGES: Interest = Interest(2);
    /// There is room to send.
    pub const SENDABLE: Interest = Interest(4);
    /// The call has ended.
    pub const STATUS: Interest = Interest(8);
}

/// What a non-blocking receive found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Received {
    /// The batch holds messages.
    Messages,
    /// None wait now.
    Empty,
    /// There will be no more: the status is known.
    End,
}

/// One call.
#[derive(Clone)]
pub struct Call {}

#[allow(missing_docs, unused_variables)]
impl Call {
    pub fn try_send(&self, message: &[u8]) -> Result<bool, Error> { unimplemented!() }
    pub fn try_send_many<'a>(&self, messages: &mut dyn Iterator<Item = &'a [u8]>) -> Result<usize, Error> { unimplemented!() }
    pub fn half_close(&self) -> Result<(), Error> { unimplemented!() }
    pub fn cancel(&self, message: &str) { unimplemented!() }
    pub fn headers(&self) -> Option<Arc<Metadata>> { unimplemented!() }
    pub fn try_batch(&self, batch: &mut Batch) -> Received { unimplemented!() }
    pub fn status(&self) -> Option<Arc<Status>> { unimplemented!() }
    pub fn ready(&self, interest: Interest) -> bool { unimplemented!() }
    pub fn poll_ready(&self, interest: Interest, cx: &mut Context<'_>) -> Poll<()> { unimplemented!() }
}
