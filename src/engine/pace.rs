//! How much work is queued on the GPU before the host waits for it.

use web_time::Instant;

/// What is queued between two waits should take about this long: short enough for smooth streaming, for a prompt abort
/// and for any watchdog, long enough for the waits to cost nothing.
const BETWEEN_WAITS_MS: f64 = 60.0;
/// Most units between two waits.
const MAX_BATCH: usize = 16;

/// Sizes batches of like units of work (layers, decode steps) by how long they take: one unit first, then at most twice as
/// many each time.
pub struct Pace {
    batch: usize,
    queued: usize,
    since: Instant,
}

impl Pace {
    /// Starts with batches of one, and the clock.
    pub fn new() -> Self {
        Self { batch: 1, queued: 0, since: Instant::now() }
    }

    /// Units to queue before the next wait.
    pub fn batch(&self) -> usize {
        self.batch
    }

    /// Counts `units` as queued; whether it is time to wait.
    pub fn queue(&mut self, units: usize) -> bool {
        self.queued += units;
        self.queued >= self.batch
    }

    /// All that was queued is done.
    pub fn waited(&mut self) {
        self.adapt(self.since.elapsed().as_secs_f64() * 1e3);
        self.since = Instant::now();
    }

    fn adapt(&mut self, ms: f64) {
        let per_unit = ms / self.queued.max(1) as f64;
        let fitting = (BETWEEN_WAITS_MS / per_unit.max(0.1)) as usize;
        self.batch = fitting.clamp(1, (self.batch * 2).min(MAX_BATCH));
        self.queued = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Sizes of the batches of units that take `ms` each.
    fn batches(ms: f64, count: usize) -> Vec<usize> {
        let mut pace = Pace::new();
        let next = |_| {
            let batch = pace.batch();
            assert!(pace.queue(batch));
            pace.adapt(ms * batch as f64);
            batch
        };
        (0..count).map(next).collect()
    }

    #[test]
    fn batches_grow_up_to_the_time_between_waits() {
        assert_eq!(batches(0.01, 7), [1, 2, 4, 8, 16, 16, 16]);
        assert_eq!(batches(10.0, 5), [1, 2, 4, 6, 6]);
        assert_eq!(batches(500.0, 3), [1, 1, 1]);
    }
}
