//! How a thread waits.
//!
//! Not `std::thread::park`: its token belongs to the host, and a wait in here could take a wake-up
//! that another part of the program sent to this thread.

use std::{
    cell::RefCell,
    mem,
    sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError},
    time::{Duration, Instant},
};

use crate::process::{Stamp, lock};

/// The place where one thread waits. A wake-up that comes before the thread waits is kept, so none
/// is lost; several are one.
#[derive(Default)]
pub(crate) struct Parker {
    woken: Mutex<bool>,
    wake: Condvar,
}

impl Parker {
    /// Lets the thread go on, now or as soon as it waits.
    pub fn unpark(&self) {
        if !std::mem::replace(&mut *lock(&self.woken), true) {
            // Without the lock: the thread would run into it, and sleep once more. Whoever calls
            // holds an `Arc` of the parker.
            self.wake.notify_one();
        }
    }

    /// Waits for a wake-up and takes it. False: the deadline passed first. A wake-up may be an old
    /// one, so the caller looks again at what it waits for.
    pub fn park(&self, deadline: Deadline) -> bool {
        let mut woken = lock(&self.woken);
        while !*woken {
            let in_time;
            (woken, in_time) = deadline.wait(&self.wake, woken);
            if !in_time {
                return false;
            }
        }
        *woken = false;
        true
    }
}

/// The parker of the calling thread.
pub(crate) fn current() -> Arc<Parker> {
    thread_local! {
        static PARKER: RefCell<Option<(Stamp, Arc<Parker>)>> = const { RefCell::new(None) };
    }
    PARKER
        .try_with(|parker| {
            let mut parker = parker.borrow_mut();
            match &*parker {
                // After fork its lock may be held by a thread of the parent.
                Some((stamp, parker)) if stamp.is_current() => parker.clone(),
                _ => {
                    let fresh = Arc::new(Parker::default());
                    // The parent's is leaked with the rest of the parent.
                    mem::forget(parker.replace((Stamp::now(), fresh.clone())));
                    fresh
                }
            }
        })
        // The thread is ending and its thread-locals are gone.
        .unwrap_or_default()
}

/// When a wait ends in any case.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Deadline(Option<Instant>);

impl Deadline {
    /// `None`, or more than the clock can count: never.
    pub fn after(timeout: Option<Duration>) -> Deadline {
        Deadline(timeout.and_then(|timeout| Instant::now().checked_add(timeout)))
    }

    /// What is left of it as a timeout.
    pub fn left(&self) -> Option<Duration> {
        self.0.map(|at| at.saturating_duration_since(Instant::now()))
    }

    /// Waits for the condition once, possibly in vain. False: the deadline had passed, and the lock
    /// was held all along.
    pub fn wait<'a, T>(
        &self,
        condition: &Condvar,
        guard: MutexGuard<'a, T>,
    ) -> (MutexGuard<'a, T>, bool) {
        match self.left() {
            None => (condition.wait(guard).unwrap_or_else(PoisonError::into_inner), true),
            Some(Duration::ZERO) => (guard, false),
            Some(left) => {
                let waited = condition.wait_timeout(guard, left);
                (waited.unwrap_or_else(PoisonError::into_inner).0, true)
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::atomic::{AtomicUsize, Ordering},
        thread,
    };

    use super::*;
    use crate::testing::{LONG, Prompt, SHORT};

    #[test]
    fn a_wake_up_before_the_wait_is_kept_and_several_are_one() {
        let parker = Parker::default();
        parker.unpark();
        parker.unpark();
        assert!(parker.park(Deadline::after(Some(Duration::ZERO))));
        assert!(!parker.park(Deadline::after(Some(Duration::ZERO))));
    }

    #[test]
    fn a_wait_without_a_wake_up_lasts_as_long_as_it_was_told() {
        let start = Instant::now();
        assert!(!Parker::default().park(Deadline::after(Some(SHORT))));
        assert!(start.elapsed() >= SHORT);
    }

    #[test]
    fn a_timeout_past_the_end_of_the_clock_waits_for_ever() {
        assert_eq!(Deadline::after(Some(Duration::MAX)).left(), None);
    }

    #[test]
    fn every_thread_has_a_parker_of_its_own_and_keeps_it() {
        let here = current();
        assert!(Arc::ptr_eq(&here, &current()));
        assert!(!thread::spawn(move || Arc::ptr_eq(&here, &current())).join().unwrap());
    }

    #[test]
    #[cfg_attr(miri, ignore = "fork")]
    fn a_forked_child_does_not_wait_where_a_thread_of_the_parent_may_hold_the_lock() {
        let parents = current();
        // SAFETY: the child compares two pointers and ends.
        let child = unsafe { libc::fork() };
        if child == 0 {
            let same = Arc::ptr_eq(&parents, &current());
            // SAFETY: ends the child without what the test harness does at exit.
            unsafe { libc::_exit(i32::from(same)) };
        }
        let mut status = 0;
        // SAFETY: a child of this process and a place for its status.
        assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
        assert_eq!(status, 0);
        assert!(Arc::ptr_eq(&parents, &current()));
    }

    #[test]
    fn the_token_of_the_standard_library_stays_with_the_host() {
        let _prompt = Prompt::new();
        thread::current().unpark();
        let parker = current();
        assert!(!parker.park(Deadline::after(Some(Duration::ZERO))));
        let start = Instant::now();
        thread::park_timeout(LONG);
        assert!(start.elapsed() < LONG / 2, "the host's own wake-up was lost");
    }

    #[test]
    fn no_wake_up_is_lost_between_two_threads_that_take_turns() {
        let _prompt = Prompt::new();
        let rounds = if cfg!(miri) { 20 } else { 20_000 };
        let parkers = [Parker::default(), Parker::default()];
        let turn = AtomicUsize::new(0);
        thread::scope(|scope| {
            for me in 0..2 {
                let (parkers, turn) = (&parkers, &turn);
                scope.spawn(move || {
                    for round in 0..rounds {
                        while turn.load(Ordering::SeqCst) != 2 * round + me {
                            assert!(parkers[me].park(Deadline::after(Some(LONG))), "lost");
                        }
                        turn.fetch_add(1, Ordering::SeqCst);
                        parkers[1 - me].unpark();
                    }
                });
            }
        });
        assert_eq!(turn.into_inner(), 2 * rounds);
    }
}
