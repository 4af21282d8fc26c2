//! Who waits for a call.

use std::{mem, sync::Mutex};

use millstream_boundary::Interest;
use pyo3::{PyTraverseError, PyVisit, intern, prelude::*};

use crate::core::lock;

/// The futures that wait for a call. Only this list owns them: a task, its future and what it
/// awaits hold each other, and when their loop is closed under them this is where the circle is cut.
#[derive(Default)]
pub struct Waiters {
    list: Mutex<List>,
}

#[derive(Default)]
struct List {
    waiters: Vec<Waiter>,
    last_id: u64,
}

/// One future.
pub struct Waiter {
    id: u64,
    interest: Interest,
    pub future: Py<PyAny>,
    /// What resolves the future when time is up.
    timer: Option<Py<PyAny>>,
}

impl Waiters {
    /// Adds a future and returns its id; `None` when `alone` and somebody waits already.
    pub fn add(&self, interest: Interest, future: Py<PyAny>, alone: bool) -> Option<u64> {
        let mut list = lock(&self.list);
        if alone && list.waiters.iter().any(|waiter| waiter.interest == interest) {
            return None;
        }
        list.last_id += 1;
        let id = list.last_id;
        list.waiters.push(Waiter { id, interest, future, timer: None });
        Some(id)
    }

    /// Cancels the timer together with the wait.
    pub fn set_timer(&self, id: u64, timer: Py<PyAny>) {
        let mut list = lock(&self.list);
        if let Some(waiter) = list.waiters.iter_mut().find(|waiter| waiter.id == id) {
            waiter.timer = Some(timer);
        }
    }

    /// The future of an id, unless it was resolved by `take`.
    pub fn get<'py>(&self, py: Python<'py>, id: u64) -> Option<Bound<'py, PyAny>> {
        let list = lock(&self.list);
        let waiter = list.waiters.iter().find(|waiter| waiter.id == id)?;
        Some(waiter.future.bind(py).clone())
    }

    /// The waiters for an interest, to be resolved.
    pub fn take(&self, interest: Interest) -> Vec<Waiter> {
        let mut list = lock(&self.list);
        if list.waiters.iter().all(|waiter| waiter.interest == interest) {
            return mem::take(&mut list.waiters); // the usual case: there is one
        }
        let (taken, left) = mem::take(&mut list.waiters)
            .into_iter()
            .partition(|waiter| waiter.interest == interest);
        list.waiters = left;
        taken
    }

    /// Forgets a waiter: nobody awaits it any more.
    pub fn remove(&self, py: Python<'_>, id: u64) {
        let mut list = lock(&self.list);
        let at = list.waiters.iter().position(|waiter| waiter.id == id);
        let waiter = at.map(|at| list.waiters.swap_remove(at));
        drop(list); // first: what follows may run code of Python
        if let Some(waiter) = waiter {
            waiter.release(py);
        }
    }

    /// Forgets them all.
    pub fn clear(&self, py: Python<'_>) {
        let waiters = mem::take(&mut lock(&self.list).waiters);
        waiters.into_iter().for_each(|waiter| waiter.release(py));
    }

    /// For the garbage collector, which must not wait.
    pub fn visit(&self, visit: &PyVisit<'_>) -> Result<(), PyTraverseError> {
        let Ok(list) = self.list.try_lock() else { return Ok(()) };
        list.waiters.iter().try_for_each(|waiter| {
            visit.call(&waiter.future)?;
            visit.call(&waiter.timer)
        })
    }
}

impl Waiter {
    /// Lets go of the future, in the thread that has the interpreter.
    pub fn release(self, py: Python<'_>) {
        drop(self.future.into_bound(py));
        if let Some(timer) = self.timer {
            // Fails only when the loop is closed; then the timer does not fire either.
            let _ = timer.into_bound(py).call_method0(intern!(py, "cancel"));
        }
    }
}

/// The place of an interest of one bit.
pub fn index(interest: Interest) -> u64 {
    u64::from(interest.0.trailing_zeros().min(3))
}
