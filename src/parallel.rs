//! Work for all cores whose results are wanted in order (native only).

use std::sync::mpsc::sync_channel;
use std::thread;

/// Finished results that wait to be taken, for each core.
const AHEAD: usize = 2;

/// Cores this program may use.
pub fn cores() -> usize {
    thread::available_parallelism().map_or(1, usize::from)
}

/// Has all cores do `work` on `jobs` and hands `take` the results in the jobs' order. The cores take the jobs in turn, so
/// whose result comes next is known, and a bounded channel for each keeps few of them waiting. What `take` leaves is not
/// worked on further.
pub fn in_order<J: Sync, R: Send, T>(
    jobs: &[J],
    work: impl Fn(&J) -> R + Sync,
    take: impl FnOnce(&mut dyn Iterator<Item = R>) -> T,
) -> T {
    let (work, cores) = (&work, cores());
    thread::scope(|scope| {
        let begin = |core: usize| {
            let (done, results) = sync_channel(AHEAD);
            // Sending fails once `take` has returned.
            scope.spawn(move || {
                jobs.iter().skip(core).step_by(cores).map(work).try_for_each(|result| done.send(result))
            });
            results
        };
        let workers: Vec<_> = (0..cores).map(begin).collect();
        let in_turn = workers.iter().cycle().map(|results| results.recv().expect("a result for every job"));
        take(&mut in_turn.take(jobs.len()))
    })
}
