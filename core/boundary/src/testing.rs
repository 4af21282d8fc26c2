//! What the tests of several modules use.

use std::{
    thread,
    time::{Duration, Instant},
};

/// Longer than anything here takes on the slowest machine: a wait that ends with it has failed.
pub const LONG: Duration = Duration::from_secs(120);
/// Long enough for a thread to begin to wait.
pub const SHORT: Duration = Duration::from_millis(20);

/// Fails a test whose waits were ended by their timeouts and not by what they waited for: a wait
/// looks once more at its end and so would hide a lost wake-up.
pub struct Prompt(Instant);

impl Prompt {
    pub fn new() -> Prompt {
        Prompt(Instant::now())
    }
}

impl Drop for Prompt {
    fn drop(&mut self) {
        // Under Miri the clock is virtual, and a deadlock is found anyway.
        if !thread::panicking() && !cfg!(miri) {
            assert!(self.0.elapsed() < LONG / 2, "only a timeout ended a wait");
        }
    }
}
