//! Which process this is, seen cheaply enough to ask on every operation.
//!
//! A forked child has the memory of its parent but only the thread that forked. Locks may be held
//! for ever by threads that are no more, the runtime has no workers, sockets are shared with the
//! parent. So every object remembers the *generation* of the process that made it, a number that a
//! `pthread_atfork` handler raises in the child. Reading it is one relaxed load. `getpid` would do
//! the same for the price of a system call (glibc keeps no copy since 2.25), some hundred
//! nanoseconds on each message that is sent.
//!
//! A child made by a raw `clone` system call, past libc, runs no handler and is not recognised; the
//! documentation of `fork` says that such a child must not use libraries before `exec`.

use std::{
    mem::ManuallyDrop,
    process, ptr,
    sync::{
        Mutex, MutexGuard, PoisonError,
        atomic::{AtomicPtr, AtomicU64, Ordering},
    },
};

use crate::{Error, ErrorCode};

/// The generation before the handler is installed.
const UNKNOWN: u64 = 0;
/// The handler could not be installed: ask for the process id each time.
const ASK: u64 = u64::MAX;

static GENERATION: AtomicU64 = AtomicU64::new(UNKNOWN);

/// A number that differs between a process and its forked children. Never 0.
#[inline]
pub(crate) fn generation() -> u64 {
    match GENERATION.load(Ordering::Relaxed) {
        UNKNOWN | ASK => first_generation(),
        generation => generation,
    }
}

#[cold]
fn first_generation() -> u64 {
    if GENERATION.load(Ordering::Relaxed) == UNKNOWN {
        // No lock and no `Once`: another thread may fork in the middle of it, and the child would
        // wait for ever. Two threads that come here at once install the handler twice, which
        // raises the generation by two.
        let first = if install(raise_generation) { 1 } else { ASK };
        // A failure means that the child has already been told apart or another thread was first.
        let _ = GENERATION.compare_exchange(UNKNOWN, first, Ordering::Relaxed, Ordering::Relaxed);
    }
    match GENERATION.load(Ordering::Relaxed) {
        ASK => 1 << 63 | u64::from(process::id()),
        generation => generation,
    }
}

/// The process id, asked for once in each generation.
fn pid(generation: u64) -> u32 {
    /// Generation (its lower half) and process id.
    static KNOWN: AtomicU64 = AtomicU64::new(0);
    let known = KNOWN.load(Ordering::Relaxed);
    if known >> 32 == generation & u64::from(u32::MAX) {
        return known as u32;
    }
    let pid = process::id();
    KNOWN.store(generation << 32 | u64::from(pid), Ordering::Relaxed);
    pid
}

fn install(in_child: unsafe extern "C" fn()) -> bool {
    // SAFETY: the handler is a function that lives as long as this library (libc unregisters it
    // when the library is unloaded) and only uses an atomic, which is async-signal-safe.
    unsafe { libc::pthread_atfork(None, None, Some(in_child)) == 0 }
}

/// Runs in a forked child before `fork` returns there. There is only one thread, so load and store
/// need not be one.
extern "C" fn raise_generation() {
    let generation = GENERATION.load(Ordering::Relaxed);
    if generation != ASK {
        GENERATION.store(generation + 1, Ordering::Relaxed);
    }
}

/// Takes a lock whatever happened to a thread that held it: what is behind the locks of this crate
/// is whole after every statement.
pub(crate) fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The process in which something was made.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Stamp {
    generation: u64,
    pid: u32,
}

impl Stamp {
    pub fn now() -> Stamp {
        let generation = generation();
        Stamp { generation, pid: pid(generation) }
    }

    #[inline]
    pub fn is_current(&self) -> bool {
        self.generation == generation()
    }

    /// The error of using something of another process.
    #[cold]
    pub fn forked(&self, what: &str) -> Error {
        Error::new(
            ErrorCode::Forked,
            format!(
                "{what} was made in process {} and cannot be used after fork in process {}; open a \
                 new channel",
                self.pid,
                process::id()
            ),
        )
    }
}

/// Something that may be touched only in the process that made it. A forked child leaks it: to
/// drop it would take locks that nobody will ever release and close what the parent uses.
pub(crate) struct Bound<T> {
    stamp: Stamp,
    what: &'static str,
    value: ManuallyDrop<T>,
}

impl<T> Bound<T> {
    /// `what` is for the error, such as "this channel".
    pub fn new(what: &'static str, value: T) -> Bound<T> {
        Bound { stamp: Stamp::now(), what, value: ManuallyDrop::new(value) }
    }

    /// # Errors
    /// `FORKED`.
    #[inline]
    pub fn get(&self) -> Result<&T, Error> {
        if self.stamp.is_current() { Ok(&self.value) } else { Err(self.stamp.forked(self.what)) }
    }

    #[inline]
    pub fn ok(&self) -> Option<&T> {
        self.stamp.is_current().then(|| &*self.value)
    }
}

impl<T> Drop for Bound<T> {
    fn drop(&mut self) {
        if self.stamp.is_current() {
            // SAFETY: this is the only place that drops it, and the value is not used afterwards.
            unsafe { ManuallyDrop::drop(&mut self.value) }
        }
    }
}

/// One value for each process, made at its first use. A forked child gets one of its own and leaks
/// the parent's. Takes no lock that a fork could leave taken.
pub(crate) struct PerProcess<T> {
    cell: AtomicPtr<Cell<T>>,
}

struct Cell<T> {
    generation: u64,
    value: T,
}

impl<T: Send + Sync> PerProcess<T> {
    pub const fn new() -> PerProcess<T> {
        PerProcess { cell: AtomicPtr::new(ptr::null_mut()) }
    }

    /// The value of this process. `make` is given the value of the parent process, if there was
    /// one, of which it may only read what needs no lock. When several threads come first, each
    /// may make a value and one is kept.
    #[inline]
    pub fn get(&self, make: impl Fn(Option<&T>) -> T) -> &T {
        let generation = generation();
        // SAFETY: null or from `Box::into_raw` in `renew`; a cell that was ever visible is freed
        // only by `Drop`, which no borrow of self outlives.
        match unsafe { self.cell.load(Ordering::Acquire).as_ref() } {
            Some(cell) if cell.generation == generation => &cell.value,
            _ => self.renew(generation, make),
        }
    }

    #[cold]
    fn renew(&self, generation: u64, make: impl Fn(Option<&T>) -> T) -> &T {
        loop {
            let old = self.cell.load(Ordering::Acquire);
            // SAFETY: as in `get`.
            let old_cell = unsafe { old.as_ref() };
            if let Some(cell) = old_cell
                && cell.generation == generation
            {
                return &cell.value;
            }
            let value = make(old_cell.map(|cell| &cell.value));
            let new = Box::into_raw(Box::new(Cell { generation, value }));
            let swapped = self.cell.compare_exchange(old, new, Ordering::AcqRel, Ordering::Acquire);
            if swapped.is_ok() {
                // SAFETY: just made, and from now on as in `get`.
                return unsafe { &(*new).value };
            }
            // SAFETY: just made and never visible to another thread.
            drop(unsafe { Box::from_raw(new) });
        }
    }
}

impl<T> Drop for PerProcess<T> {
    fn drop(&mut self) {
        let cell = *self.cell.get_mut();
        // SAFETY: null or from `Box::into_raw`; nothing borrows from self any more.
        if let Some(shared) = unsafe { cell.as_ref() }
            && shared.generation == generation()
        {
            // SAFETY: the same, and this is the only owner.
            drop(unsafe { Box::from_raw(cell) });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::{
        sync::{Arc, atomic::AtomicUsize},
        thread,
    };

    use super::*;

    #[test]
    fn the_generation_stays_the_same_within_a_process_on_every_thread() {
        let here = generation();
        assert_ne!(here, UNKNOWN);
        assert_eq!(thread::spawn(generation).join().unwrap(), here);
        assert!(Stamp::now().is_current());
    }

    #[test]
    fn a_stamp_of_another_process_gives_an_error_that_names_both_and_the_remedy() {
        let parent = Stamp { generation: generation() + 1, pid: 123 };
        assert!(!parent.is_current());
        let error = parent.forked("this channel");
        assert_eq!(error.code, ErrorCode::Forked);
        assert_eq!(
            error.message,
            format!(
                "this channel was made in process 123 and cannot be used after fork in process {}; \
                 open a new channel",
                process::id()
            )
        );
    }

    #[test]
    fn what_another_process_made_is_neither_given_out_nor_dropped() {
        let value = Arc::new(());
        let mut bound = Bound::new("this value", value.clone());
        assert!(bound.get().is_ok());
        let here = bound.stamp;
        bound.stamp.generation += 1;
        assert_eq!(bound.get().err().map(|error| error.code), Some(ErrorCode::Forked));
        assert!(bound.ok().is_none());
        drop(bound);
        assert_eq!(Arc::strong_count(&value), 2, "leaked");

        // Back to the process that made it, so that the test itself leaks nothing.
        // SAFETY: the drop above skipped this reference, which nobody else will drop.
        unsafe { Arc::decrement_strong_count(Arc::as_ptr(&value)) };
        let bound =
            Bound { stamp: here, what: "this value", value: ManuallyDrop::new(value.clone()) };
        drop(bound);
        assert_eq!(Arc::strong_count(&value), 1, "dropped");
    }

    #[test]
    fn threads_that_come_first_together_see_one_value() {
        for _ in 0..if cfg!(miri) { 3 } else { 200 } {
            let value: PerProcess<AtomicUsize> = PerProcess::new();
            thread::scope(|scope| {
                for _ in 0..4 {
                    scope.spawn(|| {
                        value.get(|_| AtomicUsize::new(0)).fetch_add(1, Ordering::Relaxed)
                    });
                }
            });
            assert_eq!(value.get(|_| unreachable!()).load(Ordering::Relaxed), 4);
        }
    }

    #[test]
    fn another_process_gets_a_value_of_its_own_made_from_the_parents() {
        let mut value: PerProcess<u32> = PerProcess::new();
        assert_eq!(*value.get(|parent| parent.map_or(1, |parent| parent + 1)), 1);
        // SAFETY: from `renew`, and this thread alone has it.
        let mut parent = unsafe { Box::from_raw(*value.cell.get_mut()) };
        parent.generation += 1;
        *value.cell.get_mut() = Box::into_raw(parent);
        let parent = *value.cell.get_mut();
        assert_eq!(*value.get(|parent| parent.map_or(1, |parent| parent + 1)), 2);
        // SAFETY: replaced above and not freed by anybody.
        drop(unsafe { Box::from_raw(parent) });
    }
}
