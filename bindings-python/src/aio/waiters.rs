//! Who waits for a call.

use std::{mem, sync::Mutex};

use millstream_boundary::Interest;
use pyo3::prelude::*;

use crate::core::lock;

/// The futures that wait for a call, for each kind of interest. They live outside the driver so
/// that dropping a call drops what waits for it.
#[derive(Default)]
pub struct Waiters {
    futures: Mutex<[Vec<Py<PyAny>>; 4]>,
}

impl Waiters {
    /// False when `alone` and somebody waits already.
    pub fn add(&self, interest: Interest, future: &Bound<'_, PyAny>, alone: bool) -> bool {
        let mut futures = lock(&self.futures);
        let list = &mut futures[index(interest)];
        if alone && !list.is_empty() {
            return false;
        }
        list.push(future.clone().unbind());
        true
    }

    /// The futures to resolve, by the index that the tag carries.
    pub fn take(&self, index: usize) -> Vec<Py<PyAny>> {
        lock(&self.futures).get_mut(index).map(mem::take).unwrap_or_default()
    }

    /// Forgets a future that nobody awaits any more.
    pub fn remove(&self, interest: Interest, future: &Py<PyAny>) -> Option<Py<PyAny>> {
        let mut futures = lock(&self.futures);
        let list = &mut futures[index(interest)];
        let at = list.iter().position(|other| other.is(future))?;
        Some(list.swap_remove(at))
    }

    /// Forgets them all.
    pub fn clear(&self) {
        let futures = mem::take(&mut *lock(&self.futures));
        drop(futures); // after the lock: the last reference may run code of Python
    }

    /// For the garbage collector. Holds no lock of others: only code of Python waits for this one.
    pub fn visit(
        &self,
        visit: &pyo3::PyVisit<'_>,
    ) -> Result<(), pyo3::PyTraverseError> {
        let Ok(futures) = self.futures.try_lock() else { return Ok(()) };
        futures.iter().flatten().try_for_each(|future| visit.call(future))
    }
}

/// The place of an interest of one bit.
pub fn index(interest: Interest) -> usize {
    (interest.0.trailing_zeros() as usize).min(3)
}
