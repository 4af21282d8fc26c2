//! What wakes an event loop.

use std::{
    mem,
    sync::{Arc, Mutex, Weak},
};

use millstream_boundary::{Error, ErrorCode, Interest, Queue};
use pyo3::{
    intern,
    prelude::*,
    sync::PyOnceLock,
    types::{PyWeakrefMethods, PyWeakrefReference},
};

use super::waiters::Waiters;
use crate::{convert, core::lock, guard, wait};

/// Tags that are taken from the queue at once.
const TAGS: usize = 1024;
/// Bits of a tag that say which interest is ready.
const INTEREST_BITS: u32 = 2;
/// Bits of a tag that say which slot; the rest counts how often the slot was used.
const SLOT_BITS: u32 = 28;

/// The completion queue of one event loop, and who is to be woken by what comes out of it.
pub struct Wakes {
    queue: Queue,
    event_loop: Py<PyWeakrefReference>,
    slots: Mutex<Slots>,
}

#[derive(Default)]
struct Slots {
    slots: Vec<Slot>,
    free: Vec<usize>,
}

struct Slot {
    uses: u64,
    who: Who,
}

/// Who is to be woken.
enum Who {
    Nobody,
    Call(Weak<Waiters>),
    /// A future that waits for one thing, until it is released.
    Once(Py<PyAny>),
}

impl Wakes {
    pub fn queue(&self) -> &Queue {
        &self.queue
    }

    /// A tag for a call, to which the index of an interest is to be added.
    pub fn register(&self, waiters: &Arc<Waiters>) -> u64 {
        lock(&self.slots).take(Who::Call(Arc::downgrade(waiters)))
    }

    /// A tag that resolves this future.
    pub fn once(&self, future: Py<PyAny>) -> u64 {
        lock(&self.slots).take(Who::Once(future))
    }

    /// The tag is not used any more.
    pub fn release(&self, tag: u64) {
        let who = lock(&self.slots).release(tag);
        drop(who); // after the lock: the last reference to a future may run code of Python
    }

    /// Whether it is this loop that is woken.
    pub fn is_of(&self, event_loop: &Bound<'_, PyAny>) -> bool {
        let mine = self.event_loop.bind(event_loop.py()).upgrade();
        mine.is_some_and(|mine| mine.is(event_loop))
    }

    /// Resolves the futures that a tag stands for.
    fn wake(&self, py: Python<'_>, tag: u64) {
        let mut slots = lock(&self.slots);
        match slots.get(tag) {
            Some(Who::Call(waiters)) => {
                let waiters = waiters.upgrade();
                drop(slots);
                let interest = Interest(1 << (tag & ((1 << INTEREST_BITS) - 1)));
                for waiter in waiters.map(|waiters| waiters.take(interest)).unwrap_or_default() {
                    resolve(waiter.future.bind(py));
                    waiter.release(py);
                }
            }
            Some(Who::Once(future)) => {
                let future = future.bind(py).clone();
                drop(slots);
                resolve(&future);
            }
            _ => {}
        }
    }
}

impl Slots {
    fn take(&mut self, who: Who) -> u64 {
        let index = self.free.pop().unwrap_or_else(|| {
            self.slots.push(Slot { uses: 0, who: Who::Nobody });
            self.slots.len() - 1
        });
        let slot = &mut self.slots[index];
        slot.who = who;
        slot.uses << (SLOT_BITS + INTEREST_BITS) | (index as u64) << INTEREST_BITS
    }

    fn at(&mut self, tag: u64) -> Option<(usize, &mut Slot)> {
        let index = (tag >> INTEREST_BITS) as usize & ((1 << SLOT_BITS) - 1);
        let slot = self.slots.get_mut(index)?;
        (slot.uses == tag >> (SLOT_BITS + INTEREST_BITS)).then_some((index, slot))
    }

    fn get(&mut self, tag: u64) -> Option<&Who> {
        self.at(tag).map(|(_, slot)| &slot.who)
    }

    fn release(&mut self, tag: u64) -> Who {
        let Some((index, slot)) = self.at(tag) else { return Who::Nobody };
        slot.uses += 1;
        let who = mem::replace(&mut slot.who, Who::Nobody);
        self.free.push(index);
        who
    }
}

/// Wakes an event loop: `fileno()` is readable when `drain()` has something to do.
#[pyclass(frozen, weakref, module = "millstream._native")]
pub struct Driver(pub Arc<Wakes>);

#[pymethods]
impl Driver {
    #[new]
    fn new(event_loop: &Bound<'_, PyAny>) -> PyResult<Driver> {
        let py = event_loop.py();
        guard::enter(py, || {
            let queue = Queue::new().map_err(|error| convert::misuse(py, &error))?;
            let event_loop = PyWeakrefReference::new(event_loop)?.unbind();
            Ok(Driver(Arc::new(Wakes { queue, event_loop, slots: Mutex::default() })))
        })
    }

    /// A file descriptor for `loop.add_reader`.
    fn fileno(&self) -> i32 {
        self.0.queue.fd()
    }

    /// Resolves the futures of all that happened. To be called in the thread of the loop.
    fn drain(&self, py: Python<'_>) -> PyResult<()> {
        guard::enter(py, || {
            let mut tags = Vec::new();
            while self.0.queue.drain(&mut tags, TAGS) == TAGS {}
            tags.into_iter().for_each(|tag| self.0.wake(py, tag));
            Ok(())
        })
    }

    /// Blocks until `drain` has something to do; false when the timeout ran out. For loops that
    /// cannot watch a file descriptor.
    fn wait(&self, py: Python<'_>, timeout: f64) -> PyResult<bool> {
        guard::enter(py, || {
            let timeout = std::time::Duration::try_from_secs_f64(timeout).ok();
            wait::until(py, wait::deadline(timeout), |slice| self.0.queue.wait(slice))
        })
    }

    /// Forgets everybody who waits: the loop is closed and will never run again.
    fn abandon(&self, py: Python<'_>) {
        self.0.queue.close();
        let slots = mem::take(&mut *lock(&self.0.slots));
        for slot in slots.slots {
            if let Who::Call(waiters) = slot.who
                && let Some(waiters) = waiters.upgrade()
            {
                waiters.clear(py);
            }
        }
    }
}

/// Sets the result of a future that still waits.
pub fn resolve(future: &Bound<'_, PyAny>) {
    let py = future.py();
    if let Err(error) = future.call_method1(intern!(py, "set_result"), (py.None(),)) {
        // It was cancelled in the meantime, or its loop was closed: nobody waits.
        let waits = future.call_method0(intern!(py, "done")).and_then(|done| done.is_truthy());
        if matches!(waits, Ok(false)) {
            error.write_unraisable(py, Some(future));
        }
    }
}

/// The driver of the loop that used a channel last.
#[derive(Default)]
pub struct LoopCache(Mutex<Weak<Wakes>>);

impl LoopCache {
    /// The driver of the running loop.
    ///
    /// # Errors
    /// `RuntimeError` when no event loop runs in this thread.
    pub fn current(&self, py: Python<'_>) -> PyResult<Arc<Wakes>> {
        let event_loop = running_loop(py)?;
        if let Some(wakes) = lock(&self.0).upgrade()
            && wakes.is_of(&event_loop)
        {
            return Ok(wakes);
        }
        static FIND: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
        let driver = FIND.import(py, "millstream._loops", "driver_of")?.call1((event_loop,))?;
        let wakes = driver.cast::<Driver>()?.get().0.clone();
        *lock(&self.0) = Arc::downgrade(&wakes);
        Ok(wakes)
    }
}

/// The event loop that runs in this thread.
pub fn running_loop(py: Python<'_>) -> PyResult<Bound<'_, PyAny>> {
    static RUNNING: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    RUNNING.import(py, "asyncio", "get_running_loop")?.call0()
}

/// The error of using a call in another loop than its own.
#[cold]
pub fn foreign_loop(py: Python<'_>, method: &str) -> PyErr {
    let what = format!(
        "the call of {method} belongs to another event loop; await it where it was made (a channel \
         can be used from every loop)"
    );
    convert::misuse(py, &Error::new(ErrorCode::InvalidState, what))
}
