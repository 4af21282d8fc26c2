//! Readiness, from the call layer to whoever waits for it.
//!
//! The call layer keeps one waker for each kind of readiness. Behind it may be several threads that
//! block and one watch of a completion queue, so each kind has a [`Signal`] that passes a wake-up on
//! to all of them. Nobody trusts a wake-up: threads look again, and a tag only says where to look.

use std::{
    sync::{Arc, Mutex, OnceLock},
    task::{Context, Poll, Wake, Waker},
    time::Duration,
};

use crate::{
    Error, Queue,
    park::{self, Deadline, Parker},
    process::lock,
    queue::Watch,
};

/// The signals of one object, one for each of its `N` kinds of readiness. Kinds are named by bits:
/// the lowest bit is kind 0.
pub(crate) struct Signals<const N: usize> {
    /// Made at first use: most calls use one or two.
    kinds: [OnceLock<(Arc<Signal>, Waker)>; N],
}

#[derive(Default)]
struct Signal(Mutex<Waiters>);

#[derive(Default)]
struct Waiters {
    threads: Vec<Arc<Parker>>,
    watch: Option<Arc<Placed>>,
}

/// A watch and the kinds that it was made for.
struct Placed {
    kinds: u32,
    watch: Watch,
}

impl Wake for Signal {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        let waiters = lock(&self.0);
        for thread in &waiters.threads {
            thread.unpark();
        }
        if let Some(placed) = &waiters.watch {
            placed.watch.fire();
        }
    }
}

impl<const N: usize> Signals<N> {
    pub fn new() -> Signals<N> {
        Signals {
            kinds: [const { OnceLock::new() }; N],
        }
    }

    /// Blocks the thread until `poll` is ready for one of the kinds. False: the timeout ran out.
    pub fn wait(
        &self,
        kinds: u32,
        timeout: Option<Duration>,
        mut poll: impl FnMut(usize, &mut Context<'_>) -> Poll<()>,
    ) -> bool {
        let deadline = Deadline::after(timeout);
        let waiting = Waiting {
            signals: self,
            kinds,
            parker: park::current(),
        };
        for kind in bits(kinds) {
            lock(&self.signal(kind).0.0)
                .threads
                .push(waiting.parker.clone());
        }
        let mut in_time = true;
        loop {
            // The waker is in place before the look, so what comes after the look wakes.
            if self.poll(kinds, &mut poll) {
                return true;
            }
            if !in_time {
                return false;
            }
            in_time = waiting.parker.park(deadline);
        }
    }

    /// Delivers `tag` to the queue once, when `poll` is ready for one of the kinds or at once.
    pub fn watch(
        &self,
        kinds: u32,
        queue: &Queue,
        tag: u64,
        mut poll: impl FnMut(usize, &mut Context<'_>) -> Poll<()>,
    ) -> Result<(), Error> {
        let placed = self.place(kinds, queue)?;
        placed.watch.arm(tag)?;
        if self.poll(kinds, &mut poll) {
            placed.watch.fire();
        }
        Ok(())
    }

    /// Takes back all watches with the tags that wait in a queue.
    pub fn clear(&self) {
        for (signal, _) in self.kinds.iter().filter_map(OnceLock::get) {
            let watch = lock(&signal.0).watch.take();
            drop(watch);
        }
    }

    /// The watch of these kinds: the one of the last time where that was of the same kinds and the
    /// same queue, so that a host that arms it again and again costs no memory.
    fn place(&self, kinds: u32, queue: &Queue) -> Result<Arc<Placed>, Error> {
        let mut held = bits(kinds).map(|kind| lock(&self.signal(kind).0.0).watch.clone());
        if let Some(Some(first)) = held.next()
            && first.kinds == kinds
            && first.watch.is_of(queue)
            && held.all(|other| other.is_some_and(|other| Arc::ptr_eq(&other, &first)))
        {
            return Ok(first);
        }
        let fresh = Arc::new(Placed {
            kinds,
            watch: queue.watch()?,
        });
        for kind in bits(kinds) {
            let replaced = lock(&self.signal(kind).0.0).watch.replace(fresh.clone());
            drop(replaced);
        }
        Ok(fresh)
    }

    fn poll(&self, kinds: u32, poll: &mut impl FnMut(usize, &mut Context<'_>) -> Poll<()>) -> bool {
        bits(kinds).any(|kind| {
            let waker = &self.signal(kind).1;
            poll(kind, &mut Context::from_waker(waker)).is_ready()
        })
    }

    fn signal(&self, kind: usize) -> &(Arc<Signal>, Waker) {
        self.kinds[kind].get_or_init(|| {
            let signal = Arc::new(Signal::default());
            (signal.clone(), signal.into())
        })
    }
}

/// A thread among the waiters, until it no longer waits.
struct Waiting<'a, const N: usize> {
    signals: &'a Signals<N>,
    kinds: u32,
    parker: Arc<Parker>,
}

impl<const N: usize> Drop for Waiting<'_, N> {
    fn drop(&mut self) {
        for kind in bits(self.kinds) {
            lock(&self.signals.signal(kind).0.0)
                .threads
                .retain(|thread| !Arc::ptr_eq(thread, &self.parker));
        }
    }
}

fn bits(kinds: u32) -> impl Iterator<Item = usize> {
    (0..u32::BITS as usize).filter(move |kind| kinds & 1 << kind != 0)
}
