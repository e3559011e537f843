//! How long launches take: enqueue many, wait once, repeat, take the median. Nothing is subtracted.

use std::cell::Cell;

use llava_web::Result;
use llava_web::device;
use web_time::Instant;

use crate::Bench;

/// A round of launches takes at least this long, so that enqueuing and waiting weigh little.
pub const ROUND_MS: f64 = 50.0;
/// A trial run only shows that everything works.
pub const TINY_ROUND_MS: f64 = 0.1;
const ROUNDS: usize = 5;
/// Where one round takes longer than [`SLOW_MS`].
const SLOW_ROUNDS: usize = 3;
const SLOW_MS: f64 = 3000.0;
/// Launches shorter than this are recorded and replayed, as in decoding: the host must not be the limit.
const RECORD_BELOW_MS: f64 = 5.0;
/// Launches in a recording.
const RECORDED: usize = 32;

/// How long one launch took.
#[derive(Clone, Copy, Debug)]
pub struct Timing {
    /// Median over the rounds.
    pub ms: f64,
    pub min_ms: f64,
    pub rounds: usize,
    /// In each round.
    pub launches: usize,
    /// The very first launch, with the compilation of its pipeline if this process had not run it yet.
    pub first_ms: f64,
}

pub fn since(start: Instant) -> f64 {
    start.elapsed().as_secs_f64() * 1e3
}

pub fn median(samples: &[f64]) -> f64 {
    let mut sorted = samples.to_vec();
    sorted.sort_by(f64::total_cmp);
    (sorted[(sorted.len() - 1) / 2] + sorted[sorted.len() / 2]) / 2.0
}

/// The smallest.
pub fn least(samples: &[f64]) -> f64 {
    samples.iter().copied().fold(f64::INFINITY, f64::min)
}

/// Times `operation`, which enqueues one launch (or a few that belong together). It is given a running number, by which
/// it should take turns among copies of its data that no cache holds together.
pub async fn time(bench: &Bench<'_>, operation: impl Fn(usize)) -> Result<Timing> {
    let device = &bench.opened.device;
    let turn = Cell::new(0);
    let next = |count: usize| {
        for _ in 0..count {
            operation(turn.get());
            turn.set(turn.get() + 1);
        }
    };
    let start = Instant::now();
    next(1);
    device::sync(device).await?;
    let first_ms = since(start);
    let start = Instant::now();
    next(1);
    device::sync(device).await?;
    let once = since(start);
    let timing = if once >= RECORD_BELOW_MS {
        let launch = || {
            next(1);
            Ok(())
        };
        rounds(bench, once, 1, launch).await?
    } else {
        let recorded = device::record(device, || next(RECORDED)).await?;
        let start = Instant::now();
        recorded.replay(|| next(RECORDED))?;
        device::sync(device).await?;
        rounds(bench, since(start), RECORDED, || recorded.replay(|| next(RECORDED))).await?
    };
    Ok(Timing { first_ms, ..timing })
}

/// Times `enqueue`, `per_call` launches that took about `call_ms` together.
async fn rounds(
    bench: &Bench<'_>,
    call_ms: f64,
    per_call: usize,
    mut enqueue: impl FnMut() -> Result<()>,
) -> Result<Timing> {
    let calls = (bench.round_ms() / call_ms).ceil().clamp(1.0, 1000.0) as usize;
    let launches = calls * per_call;
    let mut samples = Vec::new();
    while samples.len() < wanted_rounds(&samples) {
        let start = Instant::now();
        for _ in 0..calls {
            enqueue()?;
        }
        device::sync(&bench.opened.device).await?;
        samples.push(since(start));
    }
    let per_launch = |ms: f64| ms / launches as f64;
    let (ms, min_ms) = (per_launch(median(&samples)), per_launch(least(&samples)));
    Ok(Timing { ms, min_ms, rounds: samples.len(), launches, first_ms: 0.0 })
}

/// How many rounds to run, given how long those so far took.
pub fn wanted_rounds(samples_ms: &[f64]) -> usize {
    if !samples_ms.is_empty() && median(samples_ms) > SLOW_MS { SLOW_ROUNDS } else { ROUNDS }
}
