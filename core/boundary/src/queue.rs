//! The completion queue: what the host is to look at next.
//!
//! Producers are the I/O threads, the consumer is the host. A producer never calls the host: it
//! leaves a tag and, if the queue was empty, wakes the consumer through a file descriptor and a
//! condition variable. So a busy host is woken once for a whole batch of tags.

use std::{
    collections::VecDeque,
    mem,
    os::fd::RawFd,
    sync::{Arc, Condvar, Mutex},
    time::Duration,
};

use crate::{
    Error, ErrorCode,
    event::Event,
    live::{Counted, Kind},
    park::Deadline,
    process::{Bound, lock},
};

/// A queue of tags, which a host chose when it asked to be told
/// ([`Call::watch`](crate::Call::watch), [`Channel::watch_state`](crate::Channel::watch_state)).
///
/// Clones are the same queue. It holds at most one tag for each watch, so it is bounded by what
/// the host asked for. Dropping the last clone closes it.
///
/// ```
/// use millstream_boundary::Queue;
/// use std::time::Duration;
///
/// # fn main() -> Result<(), millstream_boundary::Error> {
/// let queue = Queue::new()?;
/// assert!(!queue.wait(Some(Duration::ZERO))?); // nothing to look at
/// let mut tags = Vec::new();
/// assert_eq!(queue.drain(&mut tags, 64), 0);
/// # Ok(())
/// # }
/// ```
#[derive(Clone)]
pub struct Queue(Arc<Bound<Owner>>);

/// Exists while the host holds a clone; watches only hold the inside.
struct Owner {
    inner: Arc<Inner>,
    fd: RawFd,
    _counted: Counted,
}

struct Inner {
    state: Mutex<State>,
    filled: Condvar,
}

struct State {
    /// Slots that have a tag to deliver, first come first.
    pending: VecDeque<usize>,
    slots: Vec<Slot>,
    free: Vec<usize>,
    closed: bool,
    /// Threads in `wait`.
    waiting: usize,
    /// Wakes of the consumer so far.
    wakes: u64,
    /// `None` once the owner is gone.
    event: Option<Arc<Event>>,
    /// Whether the host uses the descriptor; if not, two system calls for each edge are saved.
    polled: bool,
    /// A signal was sent, or will be as soon as the lock is free, and has not been cleared.
    signalled: bool,
}

/// The place of one watch in a queue.
#[derive(Clone, Copy, Default)]
struct Slot {
    /// The tag to deliver when the watch fires.
    armed: Option<u64>,
    /// The tag that waits in `pending`.
    ready: Option<u64>,
}

impl Queue {
    /// An empty queue.
    ///
    /// # Errors
    /// `SYSTEM` when no file descriptor can be had.
    pub fn new() -> Result<Queue, Error> {
        let event = Event::new().map_err(|error| {
            Error::new(
                ErrorCode::System,
                format!(
                    "cannot make the file descriptor of a completion queue: {error}; check the \
                     limit of open files (ulimit -n)"
                ),
            )
        })?;
        let fd = event.fd();
        let inner = Arc::new(Inner {
            state: Mutex::new(State {
                pending: VecDeque::new(),
                slots: Vec::new(),
                free: Vec::new(),
                closed: false,
                waiting: 0,
                wakes: 0,
                event: Some(Arc::new(event)),
                polled: false,
                signalled: false,
            }),
            filled: Condvar::new(),
        });
        let owner = Owner { inner, fd, _counted: Counted::new(Kind::Queue) };
        Ok(Queue(Arc::new(Bound::new("this queue", owner))))
    }

    /// A file descriptor that is readable while the queue holds tags, for `poll`, `epoll` or an
    /// event loop; now and then it is so once too often, and then there is nothing to drain. It
    /// belongs to the queue, which closes it with the last clone: neither read nor
    /// close it, and take it out of the event loop before the queue goes. In a forked child: -1.
    pub fn fd(&self) -> RawFd {
        let Some(owner) = self.0.ok() else { return -1 };
        let mut state = lock(&owner.inner.state);
        if !state.polled {
            state.polled = true;
            if !state.pending.is_empty()
                && let Some(event) = state.signal()
            {
                event.signal();
            }
        }
        owner.fd
    }

    /// Moves up to `max` tags behind those in `tags`, first come first, and returns their number.
    /// Never blocks. A tag says where to look, not what is there: another thread may have taken it.
    /// In a forked child there never is one.
    pub fn drain(&self, tags: &mut Vec<u64>, max: usize) -> usize {
        let Some(owner) = self.0.ok() else { return 0 };
        let mut state = lock(&owner.inner.state);
        let taken = max.min(state.pending.len());
        for _ in 0..taken {
            let Some(index) = state.pending.pop_front() else {
                break;
            };
            tags.extend(state.slots[index].ready.take());
        }
        if taken > 0 {
            state.clear_if_empty();
        } else if max > 0
            && let Some(event) = &state.event
        {
            // A signal that came after its tag had been taken.
            event.clear();
        }
        taken
    }

    /// Blocks until the queue holds tags. False: the timeout ran out first; `None` waits for ever.
    ///
    /// # Errors
    /// `CLOSED` once the queue is closed, also for threads that wait already; `FORKED`.
    pub fn wait(&self, timeout: Option<Duration>) -> Result<bool, Error> {
        let inner = &self.0.get()?.inner;
        let deadline = Deadline::after(timeout);
        let mut state = lock(&inner.state);
        loop {
            if state.closed {
                return Err(closed());
            }
            if !state.pending.is_empty() {
                return Ok(true);
            }
            state.waiting += 1;
            let in_time;
            (state, in_time) = deadline.wait(&inner.filled, state);
            state.waiting -= 1;
            if !in_time {
                return Ok(false);
            }
        }
    }

    /// Drops the tags, wakes all waiters and refuses watches from now on. Idempotent. The
    /// descriptor stays valid, and is not readable, until the last clone is gone.
    pub fn close(&self) {
        if let Some(owner) = self.0.ok() {
            owner.inner.close();
        }
    }

    /// How often the consumer was woken: once whenever the queue became non-empty.
    pub fn wakes(&self) -> u64 {
        self.0.ok().map_or(0, |owner| lock(&owner.inner.state).wakes)
    }

    /// Whether the queue can be used: it is neither closed nor of another process.
    ///
    /// # Errors
    /// `CLOSED`, `FORKED`.
    pub fn check(&self) -> Result<(), Error> {
        if lock(&self.0.get()?.inner.state).closed { Err(closed()) } else { Ok(()) }
    }

    /// A place in this queue.
    pub(crate) fn watch(&self) -> Result<Watch, Error> {
        let inner = self.0.get()?.inner.clone();
        let mut state = lock(&inner.state);
        if state.closed {
            return Err(closed());
        }
        let index = match state.free.pop() {
            Some(index) => index,
            None => {
                state.slots.push(Slot::default());
                state.slots.len() - 1
            }
        };
        drop(state);
        Ok(Watch(Bound::new("this watch", Place { inner, index })))
    }
}

fn closed() -> Error {
    Error::new(ErrorCode::Closed, "the queue is closed; make a new one")
}

impl Drop for Owner {
    fn drop(&mut self) {
        self.inner.close();
        lock(&self.inner.state).event = None;
    }
}

impl Inner {
    fn close(&self) {
        let mut state = lock(&self.state);
        state.closed = true;
        state.pending.clear();
        for slot in &mut state.slots {
            *slot = Slot::default();
        }
        state.clear_if_empty();
        self.filled.notify_all();
    }
}

impl State {
    /// The event to signal, without the lock, if it was not signalled before.
    fn signal(&mut self) -> Option<Arc<Event>> {
        if std::mem::replace(&mut self.signalled, true) { None } else { self.event.clone() }
    }

    fn clear_if_empty(&mut self) {
        if self.pending.is_empty()
            && mem::take(&mut self.signalled)
            && let Some(event) = &self.event
        {
            event.clear();
        }
    }
}

/// One watch's place in a queue: armed with a tag it delivers it once.
pub(crate) struct Watch(Bound<Place>);

struct Place {
    inner: Arc<Inner>,
    index: usize,
}

impl Watch {
    pub fn is_of(&self, queue: &Queue) -> bool {
        match (self.0.ok(), queue.0.ok()) {
            (Some(place), Some(owner)) => Arc::ptr_eq(&place.inner, &owner.inner),
            _ => false,
        }
    }

    /// The next [`fire`](Watch::fire) delivers this tag.
    ///
    /// # Errors
    /// `CLOSED`, `FORKED`.
    pub fn arm(&self, tag: u64) -> Result<(), Error> {
        let place = self.0.get()?;
        let mut state = lock(&place.inner.state);
        if state.closed {
            return Err(closed());
        }
        state.slots[place.index].armed = Some(tag);
        Ok(())
    }

    /// Delivers the tag if the watch is armed. A tag of this watch that still waits in the queue
    /// makes way for it.
    pub fn fire(&self) {
        if let Some(wakeup) = self.mark() {
            wakeup.wake();
        }
    }

    /// The part of [`Watch::fire`] that may be done under a lock; the rest may not.
    #[must_use]
    pub fn mark(&self) -> Option<Wakeup> {
        let place = self.0.ok()?;
        let mut state = lock(&place.inner.state);
        let slot = &mut state.slots[place.index];
        let tag = slot.armed.take()?;
        if slot.ready.replace(tag).is_some() {
            return None;
        }
        state.pending.push_back(place.index);
        if state.pending.len() > 1 {
            return None;
        }
        state.wakes += 1;
        let event = if state.polled { state.signal() } else { None };
        let waiters = (state.waiting > 0).then(|| place.inner.clone());
        Some(Wakeup { event, waiters })
    }
}

/// Wakes the consumer of a queue. Done without any lock: who is woken would run into it, and sleep
/// once more.
pub(crate) struct Wakeup {
    event: Option<Arc<Event>>,
    waiters: Option<Arc<Inner>>,
}

impl Wakeup {
    pub fn wake(self) {
        if let Some(event) = self.event {
            event.signal();
        }
        if let Some(inner) = self.waiters {
            inner.filled.notify_all();
        }
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut state = lock(&self.inner.state);
        let slot = mem::take(&mut state.slots[self.index]);
        if slot.ready.is_some() {
            let index = self.index;
            state.pending.retain(|pending| *pending != index);
            state.clear_if_empty();
        }
        state.free.push(self.index);
    }
}

#[cfg(test)]
mod tests {
    use std::{collections::HashSet, thread, time::Instant};

    use super::*;
    use crate::testing::{LONG, Prompt, SHORT};

    /// Whether the host's `poll` would report the descriptor.
    fn readable(fd: RawFd) -> bool {
        let mut polled = libc::pollfd { fd, events: libc::POLLIN, revents: 0 };
        // SAFETY: one structure, which lives through the call.
        let count = unsafe { libc::poll(&raw mut polled, 1, 0) };
        assert!(count >= 0 && polled.revents & libc::POLLNVAL == 0, "a descriptor that is open");
        count == 1
    }

    fn fire(queue: &Queue, tag: u64) -> Watch {
        let watch = queue.watch().unwrap();
        watch.arm(tag).unwrap();
        watch.fire();
        watch
    }

    fn drain(queue: &Queue, max: usize) -> Vec<u64> {
        let mut tags = Vec::new();
        let taken = queue.drain(&mut tags, max);
        assert_eq!(taken, tags.len());
        tags
    }

    #[test]
    fn tags_come_out_in_the_order_in_which_they_came_at_most_as_many_as_wanted() {
        let queue = Queue::new().unwrap();
        let _watches: Vec<_> = (1..=5).map(|tag| fire(&queue, tag)).collect();
        assert_eq!(drain(&queue, 2), [1, 2]);
        assert_eq!(drain(&queue, 0), []);
        assert_eq!(drain(&queue, 64), [3, 4, 5]);
        assert_eq!(drain(&queue, 64), []);
    }

    #[test]
    fn drained_tags_stand_behind_those_that_the_host_has_already() {
        let queue = Queue::new().unwrap();
        let _watch = fire(&queue, 2);
        let mut tags = vec![1];
        assert_eq!(queue.drain(&mut tags, 64), 1);
        assert_eq!(tags, [1, 2]);
    }

    #[test]
    #[cfg_attr(miri, ignore = "poll")]
    fn the_descriptor_is_readable_exactly_while_the_queue_holds_tags() {
        let queue = Queue::new().unwrap();
        let fd = queue.fd();
        assert!(!readable(fd));
        let first = fire(&queue, 1);
        assert!(readable(fd));
        let _second = fire(&queue, 2);
        drain(&queue, 1);
        assert!(readable(fd), "one is left");
        drain(&queue, 1);
        assert!(!readable(fd));
        first.arm(3).unwrap();
        assert!(!readable(fd), "armed is not ready");
        first.fire();
        assert!(readable(fd));
        drop(first);
        assert!(!readable(fd), "a watch takes its tag along");
        let _third = fire(&queue, 4);
        queue.close();
        assert!(!readable(fd));
    }

    #[test]
    #[cfg_attr(miri, ignore = "poll")]
    fn a_descriptor_that_is_asked_for_late_tells_of_the_tags_that_wait_already() {
        let queue = Queue::new().unwrap();
        let _watch = fire(&queue, 1);
        let fd = queue.fd();
        assert!(readable(fd));
        assert_eq!(queue.fd(), fd);
        drain(&queue, 1);
        assert!(!readable(fd));
    }

    #[test]
    #[cfg_attr(miri, ignore = "poll")]
    fn a_host_that_reads_the_descriptor_by_mistake_is_woken_again_at_the_next_edge() {
        let queue = Queue::new().unwrap();
        let fd = queue.fd();
        let watch = fire(&queue, 1);
        let mut eight = [0u8; 8];
        // SAFETY: eight bytes that live through the call.
        let read = unsafe { libc::read(fd, eight.as_mut_ptr().cast(), eight.len()) };
        assert_eq!(read, 8);
        assert_eq!(drain(&queue, 64), [1]);
        watch.arm(2).unwrap();
        watch.fire();
        assert!(readable(fd));
    }

    #[test]
    fn there_is_one_wake_for_each_edge_from_empty_to_non_empty() {
        let queue = Queue::new().unwrap();
        let watches: Vec<_> = (0..100).map(|tag| fire(&queue, tag)).collect();
        assert_eq!(queue.wakes(), 1);
        drain(&queue, 99);
        watches[0].arm(1).unwrap();
        watches[0].fire();
        assert_eq!(queue.wakes(), 1, "it was not empty in between");
        drain(&queue, 64);
        watches[0].arm(1).unwrap();
        watches[0].fire();
        assert_eq!(queue.wakes(), 2);
    }

    #[test]
    fn a_watch_fires_once_for_each_time_it_is_armed() {
        let queue = Queue::new().unwrap();
        let watch = fire(&queue, 1);
        watch.fire();
        assert_eq!(drain(&queue, 64), [1]);
        watch.fire();
        assert_eq!(drain(&queue, 64), []);
    }

    #[test]
    fn a_watch_has_at_most_one_tag_in_the_queue_the_last_one() {
        let queue = Queue::new().unwrap();
        let watch = fire(&queue, 1);
        for tag in [1, 1, 2] {
            watch.arm(tag).unwrap();
            watch.fire();
        }
        assert_eq!(drain(&queue, 64), [2]);
        assert_eq!(queue.wakes(), 1);
    }

    #[test]
    fn a_tag_that_is_ready_is_not_changed_by_arming_the_watch_again() {
        let queue = Queue::new().unwrap();
        let watch = fire(&queue, 1);
        watch.arm(2).unwrap();
        assert_eq!(drain(&queue, 64), [1]);
        watch.fire();
        assert_eq!(drain(&queue, 64), [2]);
    }

    #[test]
    fn places_of_dropped_watches_are_used_again() {
        let queue = Queue::new().unwrap();
        for tag in 0..1000 {
            drop(fire(&queue, tag));
        }
        assert_eq!(drain(&queue, 64), []);
        assert_eq!(lock(&queue.0.ok().unwrap().inner.state).slots.len(), 1);
    }

    #[test]
    fn a_wait_ends_when_a_tag_comes_and_at_once_when_one_is_there() {
        let _prompt = Prompt::new();
        let queue = Queue::new().unwrap();
        let watch = queue.watch().unwrap();
        watch.arm(1).unwrap();
        thread::scope(|scope| {
            let waiter = scope.spawn(|| queue.wait(Some(LONG)));
            thread::sleep(SHORT);
            watch.fire();
            assert!(waiter.join().unwrap().unwrap());
        });
        assert!(queue.wait(Some(Duration::ZERO)).unwrap());
        assert!(queue.wait(None).unwrap());
    }

    #[test]
    fn a_wait_in_vain_ends_with_its_timeout() {
        let queue = Queue::new().unwrap();
        let start = Instant::now();
        assert!(!queue.wait(Some(SHORT)).unwrap());
        assert!(start.elapsed() >= SHORT);
        assert!(!queue.wait(Some(Duration::ZERO)).unwrap());
    }

    #[test]
    fn close_wakes_every_waiter_and_refuses_what_comes_later() {
        let _prompt = Prompt::new();
        let queue = Queue::new().unwrap();
        let watch = fire(&queue, 1);
        drain(&queue, 64);
        let closed = |result: Result<bool, Error>| result.unwrap_err().code == ErrorCode::Closed;
        thread::scope(|scope| {
            let waiters: Vec<_> = (0..3).map(|_| scope.spawn(|| queue.wait(Some(LONG)))).collect();
            thread::sleep(SHORT);
            watch.arm(2).unwrap();
            queue.close();
            queue.close();
            for waiter in waiters {
                assert!(closed(waiter.join().unwrap()));
            }
        });
        watch.fire();
        assert_eq!(drain(&queue, 64), []);
        assert!(closed(queue.wait(None)));
        assert_eq!(watch.arm(3).unwrap_err().code, ErrorCode::Closed);
        assert_eq!(queue.watch().err().unwrap().code, ErrorCode::Closed);
        assert_eq!(queue.check().unwrap_err().code, ErrorCode::Closed);
    }

    #[test]
    fn the_last_clone_closes_the_queue_and_watches_that_are_left_do_nothing() {
        let queue = Queue::new().unwrap();
        let clone = queue.clone();
        let watch = queue.watch().unwrap();
        drop(queue);
        watch.arm(1).unwrap();
        drop(clone);
        watch.fire();
        assert_eq!(watch.arm(1).unwrap_err().code, ErrorCode::Closed);
    }

    #[test]
    fn many_producers_lose_no_tag_and_wake_the_consumer_at_most_once_for_each_drain() {
        let _prompt = Prompt::new();
        const PRODUCERS: u64 = 4;
        let rounds: u64 = if cfg!(miri) { 10 } else { 5_000 };
        let queue = Queue::new().unwrap();
        let mut seen = HashSet::new();
        let mut drains = 0;
        thread::scope(|scope| {
            for producer in 0..PRODUCERS {
                let queue = &queue;
                scope.spawn(move || {
                    // A watch for each tag, as each call has its own.
                    let watches: Vec<_> =
                        (0..rounds).map(|round| fire(queue, producer << 32 | round)).collect();
                    while queue.wait(Some(Duration::ZERO)).unwrap() {
                        thread::yield_now();
                    }
                    drop(watches);
                });
            }
            let mut tags = Vec::new();
            while seen.len() < (PRODUCERS * rounds) as usize {
                assert!(queue.wait(Some(LONG)).unwrap(), "a wake-up was lost");
                queue.drain(&mut tags, 64);
                drains += 1;
                for tag in tags.drain(..) {
                    assert!(seen.insert(tag), "{tag:#x} came twice");
                }
            }
        });
        assert!(queue.wakes() <= drains, "{} wakes for {drains} drains", queue.wakes());
    }
}
