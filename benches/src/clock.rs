//! The clocks that every language reads alike.

use rustix::time::{ClockId, clock_gettime};

fn nanos(clock: ClockId) -> u64 {
    let now = clock_gettime(clock);
    // Neither clock is ever negative.
    now.tv_sec as u64 * 1_000_000_000 + now.tv_nsec as u64
}

/// CLOCK_MONOTONIC in nanoseconds: `time.monotonic_ns()` in Python, `System.nanoTime()` in Java.
pub fn monotonic_nanos() -> u64 {
    nanos(ClockId::Monotonic)
}

/// CPU time of this process so far, user and system, in nanoseconds.
pub fn process_cpu_nanos() -> u64 {
    nanos(ClockId::ProcessCPUTime)
}
