//! How many objects a process has: what tests for leaks ask.

use std::sync::atomic::{AtomicUsize, Ordering};

use crate::process::PerProcess;

/// How many objects are alive in this process; all zero when nothing has leaked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Live {
    /// Channels.
    pub channels: usize,
    /// Calls.
    pub calls: usize,
    /// Completion queues.
    pub queues: usize,
}

/// Counts the objects that are alive in this process: those that the last clone still holds, open
/// or closed. A forked child starts at zero.
pub fn live() -> Live {
    let count = |kind: Kind| counters()[kind as usize].load(Ordering::Relaxed);
    Live { channels: count(Kind::Channel), calls: count(Kind::Call), queues: count(Kind::Queue) }
}

#[derive(Clone, Copy)]
pub(crate) enum Kind {
    Channel,
    Call,
    Queue,
}

fn counters() -> &'static [AtomicUsize; 3] {
    static COUNTERS: PerProcess<[AtomicUsize; 3]> = PerProcess::new();
    COUNTERS.get(|_| Default::default())
}

/// Counts one object as alive for as long as it exists. Belongs inside a [`Bound`], whose drop is
/// skipped in a forked child.
pub(crate) struct Counted(Kind);

impl Counted {
    pub fn new(kind: Kind) -> Counted {
        counters()[kind as usize].fetch_add(1, Ordering::Relaxed);
        Counted(kind)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        counters()[self.0 as usize].fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_alive_is_counted_until_it_is_dropped() {
        // No other test of this crate's own makes channels.
        let channels: Vec<_> = (0..1000).map(|_| Counted::new(Kind::Channel)).collect();
        assert_eq!(live().channels, 1000);
        drop(channels);
        assert_eq!(live().channels, 0);
    }
}
