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
        let (threads, wakeup) = {
            let waiters = lock(&self.0);
            let wakeup = waiters.watch.as_ref().and_then(|placed| placed.watch.mark());
            (waiters.threads.clone(), wakeup)
        };
        for thread in threads {
            thread.unpark();
        }
        if let Some(wakeup) = wakeup {
            wakeup.wake();
        }
    }
}

impl<const N: usize> Signals<N> {
    pub fn new() -> Signals<N> {
        Signals { kinds: [const { OnceLock::new() }; N] }
    }

    /// Blocks the thread until `poll` is ready for one of the kinds. False: the timeout ran out.
    pub fn wait(
        &self,
        kinds: u32,
        timeout: Option<Duration>,
        mut poll: impl FnMut(usize, &mut Context<'_>) -> Poll<()>,
    ) -> bool {
        let deadline = Deadline::after(timeout);
        let waiting = Waiting { signals: self, kinds, parker: park::current() };
        for kind in bits(kinds) {
            lock(&self.signal(kind).0.0).threads.push(waiting.parker.clone());
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
        let fresh = Arc::new(Placed { kinds, watch: queue.watch()? });
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

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicU32, AtomicUsize, Ordering},
        thread,
        time::Instant,
    };

    use super::*;
    use crate::{
        ErrorCode,
        testing::{LONG, Prompt, SHORT},
    };

    /// A source of readiness that keeps one waker for each kind, as the call layer does.
    #[derive(Default)]
    struct Source {
        ready: AtomicU32,
        wakers: [Mutex<Option<Waker>>; 2],
        polls: AtomicUsize,
    }

    impl Source {
        fn poll(&self, kind: usize, context: &mut Context<'_>) -> Poll<()> {
            self.polls.fetch_add(1, Ordering::SeqCst);
            *lock(&self.wakers[kind]) = Some(context.waker().clone());
            if self.ready.load(Ordering::SeqCst) & 1 << kind != 0 {
                Poll::Ready(())
            } else {
                Poll::Pending
            }
        }

        fn wake(&self, kind: usize) {
            let waker = lock(&self.wakers[kind]).take();
            if let Some(waker) = waker {
                waker.wake();
            }
        }

        fn set(&self, kind: usize) {
            self.ready.fetch_or(1 << kind, Ordering::SeqCst);
            self.wake(kind);
        }

        /// Takes the readiness; false if there was none.
        fn take(&self, kind: usize) -> bool {
            self.ready.fetch_and(!(1 << kind), Ordering::SeqCst) & 1 << kind != 0
        }

        fn waited_for(&self) {
            let start = Instant::now();
            while self.polls.load(Ordering::SeqCst) == 0 {
                assert!(start.elapsed() < LONG, "nobody waits");
                thread::yield_now();
            }
        }
    }

    #[derive(Default)]
    struct Object {
        source: Source,
        signals: Signals<2>,
    }

    impl Default for Signals<2> {
        fn default() -> Self {
            Signals::new()
        }
    }

    impl Object {
        fn wait(&self, kinds: u32, timeout: Duration) -> bool {
            self.signals.wait(kinds, Some(timeout), |kind, context| self.source.poll(kind, context))
        }

        fn watch(&self, kinds: u32, queue: &Queue, tag: u64) -> Result<(), Error> {
            self.signals.watch(kinds, queue, tag, |kind, context| self.source.poll(kind, context))
        }
    }

    fn drain(queue: &Queue) -> Vec<u64> {
        let mut tags = Vec::new();
        queue.drain(&mut tags, 64);
        tags
    }

    #[test]
    fn a_wait_ends_at_once_when_it_is_ready_already() {
        let object = Object::default();
        object.source.set(1);
        assert!(object.wait(0b11, Duration::ZERO));
        assert!(!object.wait(0b01, Duration::ZERO));
    }

    #[test]
    fn a_wait_in_vain_ends_with_its_timeout_and_leaves_nothing_behind() {
        let object = Object::default();
        let start = Instant::now();
        assert!(!object.wait(0b11, SHORT));
        assert!(start.elapsed() >= SHORT);
        for kind in 0..2 {
            assert!(lock(&object.signals.signal(kind).0.0).threads.is_empty());
        }
    }

    #[test]
    fn a_wake_up_without_cause_does_not_end_a_wait() {
        let _prompt = Prompt::new();
        let object = Object::default();
        thread::scope(|scope| {
            let waiter = scope.spawn(|| object.wait(0b01, LONG));
            object.source.waited_for();
            for _ in 0..10 {
                object.source.wake(0);
                thread::yield_now();
            }
            assert!(!waiter.is_finished());
            object.source.set(0);
            assert!(waiter.join().unwrap());
        });
    }

    #[test]
    fn several_threads_that_wait_for_one_thing_all_go_on() {
        let _prompt = Prompt::new();
        let object = Object::default();
        let queue = Queue::new().unwrap();
        object.watch(0b01, &queue, 7).unwrap();
        thread::scope(|scope| {
            let waiters: Vec<_> = (0..4).map(|_| scope.spawn(|| object.wait(0b01, LONG))).collect();
            thread::sleep(SHORT);
            object.source.set(0);
            for waiter in waiters {
                assert!(waiter.join().unwrap());
            }
        });
        assert_eq!(drain(&queue), [7], "the watch beside them is told as well");
    }

    #[test]
    fn threads_that_wait_for_different_things_do_not_take_each_others_wakers() {
        let _prompt = Prompt::new();
        let object = Object::default();
        thread::scope(|scope| {
            let both = scope.spawn(|| object.wait(0b11, LONG));
            let one = scope.spawn(|| object.wait(0b10, LONG));
            thread::sleep(SHORT);
            object.source.set(0);
            assert!(both.join().unwrap());
            assert!(!one.is_finished());
            object.source.set(1);
            assert!(one.join().unwrap());
        });
    }

    #[test]
    fn no_wake_up_is_lost_between_a_producer_and_a_thread_that_waits() {
        let _prompt = Prompt::new();
        let rounds = if cfg!(miri) { 20 } else { 20_000 };
        let object = Object::default();
        let taken = AtomicUsize::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..rounds {
                    object.source.set(0);
                    while taken.load(Ordering::SeqCst) == round {
                        thread::yield_now();
                    }
                }
            });
            for _ in 0..rounds {
                assert!(object.wait(0b01, LONG), "lost");
                assert!(object.source.take(0));
                taken.fetch_add(1, Ordering::SeqCst);
            }
        });
    }

    #[test]
    fn no_wake_up_is_lost_between_a_producer_and_a_watch() {
        let _prompt = Prompt::new();
        let rounds = if cfg!(miri) { 20 } else { 20_000 };
        let object = Object::default();
        let queue = Queue::new().unwrap();
        let taken = AtomicUsize::new(0);
        thread::scope(|scope| {
            scope.spawn(|| {
                for round in 0..rounds {
                    object.source.set(0);
                    while taken.load(Ordering::SeqCst) == round {
                        thread::yield_now();
                    }
                }
            });
            while taken.load(Ordering::SeqCst) < rounds {
                object.watch(0b01, &queue, 1).unwrap();
                assert!(queue.wait(Some(LONG)).unwrap(), "lost");
                assert_eq!(drain(&queue), [1]);
                // A tag may come without cause.
                if object.source.take(0) {
                    taken.fetch_add(1, Ordering::SeqCst);
                }
            }
        });
    }

    #[test]
    fn a_watch_of_what_is_ready_delivers_at_once_and_only_once() {
        let object = Object::default();
        let queue = Queue::new().unwrap();
        object.source.set(0);
        object.watch(0b11, &queue, 1).unwrap();
        object.source.set(0);
        object.source.set(1);
        assert_eq!(drain(&queue), [1]);
    }

    #[test]
    fn a_watch_of_two_kinds_delivers_one_tag_for_whichever_comes_first() {
        let object = Object::default();
        let queue = Queue::new().unwrap();
        object.watch(0b11, &queue, 1).unwrap();
        object.source.set(1);
        assert_eq!(drain(&queue), [1]);
        object.source.set(0);
        assert_eq!(drain(&queue), []);
    }

    #[test]
    fn a_watch_that_is_made_again_before_its_tag_is_drained_has_one_place_in_the_queue() {
        let object = Object::default();
        let queue = Queue::new().unwrap();
        object.source.set(0);
        for _ in 0..100 {
            object.watch(0b01, &queue, 1).unwrap();
        }
        assert_eq!(drain(&queue), [1]);
        assert_eq!(queue.wakes(), 1);
    }

    #[test]
    fn a_new_watch_replaces_the_old_one_of_the_same_kind_in_whichever_queue() {
        let object = Object::default();
        let (first, second) = (Queue::new().unwrap(), Queue::new().unwrap());
        object.watch(0b01, &first, 1).unwrap();
        object.watch(0b10, &first, 2).unwrap();
        object.watch(0b01, &second, 3).unwrap();
        object.source.set(0);
        object.source.set(1);
        assert_eq!((drain(&first), drain(&second)), (vec![2], vec![3]));
    }

    #[test]
    fn a_watch_of_two_kinds_goes_on_for_the_kind_that_was_not_replaced() {
        let object = Object::default();
        let queue = Queue::new().unwrap();
        object.watch(0b11, &queue, 1).unwrap();
        object.watch(0b01, &queue, 2).unwrap();
        object.source.set(0);
        assert_eq!(drain(&queue), [2]);
        object.source.set(1);
        assert_eq!(drain(&queue), [1]);
    }

    #[test]
    fn after_clear_no_tag_comes_and_those_that_waited_are_gone() {
        let object = Object::default();
        let queue = Queue::new().unwrap();
        object.watch(0b01, &queue, 1).unwrap();
        object.watch(0b10, &queue, 2).unwrap();
        object.source.set(0);
        object.signals.clear();
        object.source.set(1);
        assert_eq!(drain(&queue), []);
    }

    #[test]
    fn a_watch_into_a_closed_queue_is_refused() {
        let object = Object::default();
        let queue = Queue::new().unwrap();
        object.watch(0b01, &queue, 1).unwrap();
        queue.close();
        for kinds in [0b01, 0b10] {
            let error = object.watch(kinds, &queue, 1).unwrap_err();
            assert_eq!(error.code, ErrorCode::Closed);
        }
    }
}
