//! Waiting with the interpreter's lock released, and still open to Ctrl-C.

use std::time::{Duration, Instant};

use millstream_boundary::Error;
use pyo3::{prelude::*, sync::PyOnceLock, types::PyAny};

use crate::convert;

/// How long the main thread waits before it looks for signals.
const SLICE: Duration = Duration::from_millis(50);

/// When a wait of this length ends; `None` for one without bound.
pub fn deadline(timeout: Option<Duration>) -> Option<Instant> {
    timeout.and_then(|timeout| Instant::now().checked_add(timeout))
}

/// Waits until `ready` says so; false when the deadline passed. `ready` waits at most as long as it
/// is told.
///
/// Only the main thread handles signals, so the others wait in one piece and do not compete for
/// the lock meanwhile.
pub fn until(
    py: Python<'_>,
    deadline: Option<Instant>,
    ready: impl Fn(Option<Duration>) -> Result<bool, Error> + Sync,
) -> PyResult<bool> {
    let mut in_slices = true; // short waits need not find out
    loop {
        let left = deadline.map(|deadline| deadline.saturating_duration_since(Instant::now()));
        let slice = if in_slices { Some(left.map_or(SLICE, |left| left.min(SLICE))) } else { left };
        let done = py.detach(|| ready(slice)).map_err(|error| convert::misuse(py, &error))?;
        if done {
            return Ok(true);
        }
        py.check_signals()?;
        if left.is_some_and(|left| Some(left) <= slice) {
            return Ok(false);
        }
        in_slices = on_main_thread(py)?;
    }
}

fn on_main_thread(py: Python<'_>) -> PyResult<bool> {
    static CURRENT: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    static MAIN: PyOnceLock<Py<PyAny>> = PyOnceLock::new();
    let current = CURRENT.import(py, "threading", "get_ident")?.call0()?;
    let main = MAIN.import(py, "threading", "main_thread")?.call0()?;
    current.eq(main.getattr(pyo3::intern!(py, "ident"))?)
}
