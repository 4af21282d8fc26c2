//! What one process measures, and how it says so.

use serde_json::{Map, Value, json};

use crate::clock::{monotonic_nanos, process_cpu_nanos};

/// Time and CPU time since a start.
#[derive(Clone, Copy, Debug)]
pub struct Stopwatch {
    wall: u64,
    cpu: u64,
}

impl Stopwatch {
    /// Starts now.
    pub fn start() -> Stopwatch {
        Stopwatch { wall: monotonic_nanos(), cpu: process_cpu_nanos() }
    }

    /// Stops: `messages` were moved since the start.
    pub fn stop(&self, name: &str, messages: u64) -> Measurement {
        let seconds = |nanos: u64| nanos as f64 / 1e9;
        let mut fields = Map::new();
        fields.insert("name".into(), json!(name));
        fields.insert("messages".into(), json!(messages));
        fields.insert("seconds".into(), json!(seconds(monotonic_nanos() - self.wall)));
        fields.insert("cpu_seconds".into(), json!(seconds(process_cpu_nanos() - self.cpu)));
        Measurement { fields }
    }
}

/// One line of JSON.
#[derive(Clone, Debug)]
pub struct Measurement {
    fields: Map<String, Value>,
}

impl Measurement {
    /// Adds a field.
    #[must_use]
    pub fn with(mut self, name: &str, value: impl Into<Value>) -> Measurement {
        self.fields.insert(name.to_owned(), value.into());
        self
    }

    /// Adds the percentiles of latencies in nanoseconds, as microseconds.
    #[must_use]
    pub fn with_latencies(mut self, nanos: &mut [u64]) -> Measurement {
        nanos.sort_unstable();
        for (name, share) in
            [("p50_us", 0.5), ("p99_us", 0.99), ("p999_us", 0.999), ("max_us", 1.0)]
        {
            self = self.with(name, percentile(nanos, share) as f64 / 1e3);
        }
        self
    }

    /// Prints the line.
    pub fn print(self) {
        println!("{}", Value::Object(self.fields));
    }
}

/// The smallest value that `share` of the sorted values do not exceed; 0 of none.
pub fn percentile(sorted: &[u64], share: f64) -> u64 {
    let rank = (sorted.len() as f64 * share).ceil() as usize;
    sorted.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

/// Resident memory of this process in KiB, from `/proc/self/status`; `None` where there is none.
pub fn resident_kib() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    line.trim().trim_end_matches("kB").trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentile_is_a_value_that_was_measured() {
        let values: Vec<u64> = (1..=1000).collect();
        assert_eq!(percentile(&values, 0.5), 500);
        assert_eq!(percentile(&values, 0.99), 990);
        assert_eq!(percentile(&values, 1.0), 1000);
        assert_eq!(percentile(&[], 0.5), 0);
    }

    #[test]
    fn a_stopwatch_counts_the_cpu_time_of_work() {
        let watch = Stopwatch::start();
        while process_cpu_nanos() - watch.cpu < 2_000_000 {}
        let line = watch.stop("work", 3).with_latencies(&mut [3_000, 1_000, 2_000]);
        assert!(line.fields["cpu_seconds"].as_f64().unwrap() >= 0.002);
        assert!(line.fields["seconds"].as_f64().unwrap() > 0.0);
        assert_eq!(line.fields["p50_us"], json!(2.0));
    }
}
