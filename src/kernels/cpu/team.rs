//! All cores at one operation.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How often is looked for what is about to come, before sleeping: some 50 us, which is longer than it is from one operation of a
/// token to the next. WebAssembly has no instruction that makes a look take longer.
const LOOKS: usize = if cfg!(target_family = "wasm") { 40_000 } else { 1500 };

static TEAM: Team = Team {
    members: AtomicUsize::new(0),
    busy: Mutex::new(()),
    board: Mutex::new(Board { number: 0, job: None, sleeping: 0, awaited: false }),
    wake: Condvar::new(),
    done: Condvar::new(),
    number: AtomicU64::new(0),
    next: AtomicUsize::new(0),
    working: AtomicUsize::new(0),
    panic: Mutex::new(None),
    lost: AtomicBool::new(false),
};

/// Does `task(0)` to `task(tasks - 1)` on all cores, each on whichever is free.
///
/// # Panics
/// With what a task panicked with, after all have ended; or if a member was [`lost`].
pub fn each(tasks: usize, task: impl Fn(usize) + Sync) {
    #[cfg(not(target_family = "wasm"))]
    assemble();
    // One operation has the team at a time; those of other threads do without.
    let alone = tasks < 2 || TEAM.members.load(Ordering::Relaxed) == 0;
    match (!alone).then(|| TEAM.busy.try_lock().ok()).flatten() {
        Some(_busy) => TEAM.work(tasks, &task),
        None => (0..tasks).for_each(task),
    }
}

/// A member for each core but the caller's.
#[cfg(not(target_family = "wasm"))]
fn assemble() {
    static ONCE: std::sync::Once = std::sync::Once::new();
    ONCE.call_once(|| {
        for _ in 1..crate::parallel::cores() {
            std::thread::spawn(help);
        }
    });
}

/// Makes this thread a member for good.
pub fn help() {
    TEAM.members.fetch_add(1, Ordering::Relaxed);
    TEAM.serve();
}

/// To be called where a member has ended in the middle of a task, and took no notice of that: in WebAssembly a panic ends its thread.
#[cfg(target_family = "wasm")]
pub fn lost() {
    TEAM.lost.store(true, Ordering::Release);
    drop(TEAM.board());
    TEAM.done.notify_all();
}

/// Threads that help whoever has an operation.
struct Team {
    members: AtomicUsize,
    busy: Mutex<()>,
    board: Mutex<Board>,
    /// Told to members when there is a job.
    wake: Condvar,
    /// Told to the caller, where it sleeps, when no member works any more.
    done: Condvar,
    /// The board's number, to be looked at without its lock.
    number: AtomicU64,
    /// The next task to take.
    next: AtomicUsize,
    /// Members at work.
    working: AtomicUsize,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    lost: AtomicBool,
}

struct Board {
    /// Of the job posted last.
    number: u64,
    /// Nothing once all of its tasks are taken: who comes later is not waited for.
    job: Option<Job>,
    /// Members that sleep.
    sleeping: usize,
    /// Whether the caller sleeps.
    awaited: bool,
}

#[derive(Clone, Copy)]
struct Job {
    tasks: usize,
    task: &'static (dyn Fn(usize) + Sync),
}

impl Team {
    fn board(&self) -> MutexGuard<'_, Board> {
        self.board.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn work(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
        // SAFETY: members take the job from the board, off which it is before this function waits for those that did.
        let task = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(task) };
        let job = Job { tasks, task };
        self.next.store(0, Ordering::Relaxed);
        let mut board = self.board();
        board.number += 1;
        board.job = Some(job);
        self.number.store(board.number, Ordering::Release);
        if board.sleeping > 0 {
            self.wake.notify_all();
        }
        drop(board);
        self.take(job);
        self.board().job = None;
        self.wait();
        let panic = self.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
        if let Some(panic) = panic {
            resume_unwind(panic);
        }
    }

    /// Waits until no member works.
    fn wait(&self) {
        if !look(|| self.is_done()) {
            let mut board = self.board();
            board.awaited = true;
            board = self.done.wait_while(board, |_| !self.is_done()).unwrap_or_else(PoisonError::into_inner);
            board.awaited = false;
        }
        assert!(!self.lost.load(Ordering::Acquire), "a thread that helps with operations has crashed");
    }

    fn is_done(&self) -> bool {
        self.working.load(Ordering::Acquire) == 0 || self.lost.load(Ordering::Acquire)
    }

    fn serve(&self) {
        let mut seen = 0;
        loop {
            look(|| self.number.load(Ordering::Acquire) != seen);
            let mut board = self.board();
            board.sleeping += 1;
            board = self.wake.wait_while(board, |board| board.number == seen).unwrap_or_else(PoisonError::into_inner);
            board.sleeping -= 1;
            seen = board.number;
            let Some(job) = board.job else { continue };
            self.working.fetch_add(1, Ordering::Relaxed);
            drop(board);
            self.take(job);
            if self.working.fetch_sub(1, Ordering::Release) == 1 && self.board().awaited {
                self.done.notify_all();
            }
        }
    }

    /// Does tasks until there is none left.
    fn take(&self, job: Job) {
        let work = || {
            while let Some(index) = Some(self.next.fetch_add(1, Ordering::Relaxed)).filter(|index| *index < job.tasks) {
                (job.task)(index);
            }
        };
        if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
            self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
        }
    }
}

/// Looks for a short while whether something has come about.
fn look(is_there: impl Fn() -> bool) -> bool {
    (0..LOOKS).any(|_| {
        std::hint::spin_loop();
        is_there()
    })
}

#[cfg(all(test, not(target_family = "wasm")))]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn every_task_is_done_once_however_long_each_takes() {
        for tasks in [1, 2, 3, 64, 1000] {
            for pause in [0, 20, 300] {
                let done: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                each(tasks, |index| {
                    // The longer ones have members, or the caller, fall asleep.
                    if index < 3 {
                        std::thread::sleep(Duration::from_micros(pause * index as u64));
                    }
                    done[index].fetch_add(1, Ordering::Relaxed);
                });
                assert!(done.iter().all(|done| done.load(Ordering::Relaxed) == 1), "{tasks} tasks");
            }
        }
    }

    #[test]
    fn a_panic_comes_to_the_caller_and_the_team_goes_on() {
        for _ in 0..20 {
            let failed = catch_unwind(|| each(8, |index| assert!(index != 5, "task five")));
            let message = failed.unwrap_err().downcast::<&str>().map(|message| message.to_string());
            assert_eq!(message.ok().as_deref(), Some("task five"));
            let count = AtomicUsize::new(0);
            each(8, |_| _ = count.fetch_add(1, Ordering::Relaxed));
            assert_eq!(count.into_inner(), 8);
        }
    }
}
