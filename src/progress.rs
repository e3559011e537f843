//! How far a conversion is: measured by the library, shown by whoever calls it.

use std::time::{Duration, Instant};

/// Time between two reports.
const INTERVAL: Duration = Duration::from_millis(200);

/// Where a stage of the work stands.
#[derive(Debug, Clone, Copy)]
pub struct Progress {
    /// What is being done, as "writing".
    pub stage: &'static str,
    /// Bytes of the result that are done.
    pub done: usize,
    /// Bytes in all.
    pub total: usize,
    /// Since the stage began.
    pub elapsed: Duration,
}

/// What is called with every report; the last of a stage has `done == total`.
pub type Report = fn(Progress);

impl Progress {
    /// Bytes per second so far.
    pub fn rate(&self) -> f64 {
        self.done as f64 / self.elapsed.as_secs_f64().max(1e-3)
    }

    /// Time left at this rate; `None` before anything is done.
    pub fn left(&self) -> Option<Duration> {
        let seconds = (self.total - self.done) as f64 / self.rate();
        (self.done > 0).then(|| Duration::from_secs_f64(seconds))
    }
}

/// Counts one stage's bytes and reports now and then.
#[derive(Debug)]
pub struct Meter {
    progress: Progress,
    start: Instant,
    report: Report,
}

impl Meter {
    /// A stage of `total` bytes that begins now.
    pub fn new(stage: &'static str, total: usize, report: Report) -> Self {
        let progress = Progress { stage, done: 0, total, elapsed: Duration::ZERO };
        Self { progress, start: Instant::now(), report }
    }

    /// `bytes` more are done.
    pub fn add(&mut self, bytes: usize) {
        let elapsed = self.start.elapsed();
        self.progress.done += bytes;
        if elapsed >= self.progress.elapsed + INTERVAL || self.progress.done == self.progress.total {
            self.progress.elapsed = elapsed;
            (self.report)(self.progress);
        }
    }
}
