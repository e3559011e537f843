//! All cores at one operation.

use std::any::Any;
use std::cell::UnsafeCell;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
use std::sync::atomic::Ordering::{Relaxed, SeqCst};
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// How often is looked for what is about to come, before sleeping: some 50 us, which is longer than it is from one operation of a
/// token to the next. WebAssembly has no instruction that makes a look take longer.
const LOOKS: usize = if cfg!(target_family = "wasm") { 40_000 } else { 1500 };

static TEAM: Team = Team {
    members: AtomicUsize::new(0),
    busy: Mutex::new(()),
    job: UnsafeCell::new(None),
    posted: AtomicU64::new(0),
    open: AtomicBool::new(false),
    next: AtomicUsize::new(0),
    working: AtomicUsize::new(0),
    sleeping: AtomicUsize::new(0),
    awaited: AtomicBool::new(false),
    bed: Mutex::new(()),
    wake: Condvar::new(),
    done: Condvar::new(),
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
    let alone = tasks < 2 || TEAM.members.load(Relaxed) == 0;
    let Some(busy) = (!alone).then(|| TEAM.busy.try_lock().ok()).flatten() else {
        return (0..tasks).for_each(task);
    };
    let panic = TEAM.work(tasks, &task);
    drop(busy); // on unwinding it would be poisoned
    if let Some(panic) = panic {
        resume_unwind(panic);
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
    TEAM.members.fetch_add(1, Relaxed);
    TEAM.serve();
}

/// To be called where a member has ended in the middle of a task, and took no notice of that: in WebAssembly a panic ends its thread.
#[cfg(target_family = "wasm")]
pub fn lost() {
    TEAM.lost.store(true, SeqCst);
    drop(TEAM.bed());
    TEAM.done.notify_all();
}

/// Threads that help whoever has an operation. What they tell each other from one operation to the next takes no lock; only who sleeps
/// needs one.
struct Team {
    members: AtomicUsize,
    busy: Mutex<()>,
    /// Written while no job is open and nobody works.
    job: UnsafeCell<Option<Job>>,
    /// Jobs until now.
    posted: AtomicU64,
    /// Whether the last one takes members: no more once all of its tasks are taken. Who counts itself among the working and then finds
    /// it open is waited for.
    open: AtomicBool,
    /// The next task to take.
    next: AtomicUsize,
    /// Members at work.
    working: AtomicUsize,
    /// Members that sleep, or are about to.
    sleeping: AtomicUsize,
    /// Whether the caller sleeps, or is about to.
    awaited: AtomicBool,
    /// Held on falling asleep and on waking others, so that nobody is woken just before falling asleep.
    bed: Mutex<()>,
    /// Told to members when there is a job.
    wake: Condvar,
    /// Told to the caller when no member works any more.
    done: Condvar,
    panic: Mutex<Option<Box<dyn Any + Send>>>,
    lost: AtomicBool,
}

// SAFETY: `job` is read by those at work alone, and written while there are none.
unsafe impl Sync for Team {}

#[derive(Clone, Copy)]
struct Job {
    tasks: usize,
    task: &'static (dyn Fn(usize) + Sync),
}

impl Team {
    fn bed(&self) -> MutexGuard<'_, ()> {
        self.bed.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What a task panicked with.
    fn work(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) -> Option<Box<dyn Any + Send>> {
        // SAFETY: members take the job while it is open, and this function ends when it is closed and they are done with it.
        let task = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(task) };
        let job = Job { tasks, task };
        // SAFETY: nobody works.
        unsafe { *self.job.get() = Some(job) };
        self.next.store(0, Relaxed);
        self.open.store(true, SeqCst);
        self.posted.fetch_add(1, SeqCst);
        if self.sleeping.load(SeqCst) > 0 {
            drop(self.bed());
            self.wake.notify_all();
        }
        self.take(job);
        self.open.store(false, SeqCst);
        self.wait();
        self.panic.lock().unwrap_or_else(PoisonError::into_inner).take()
    }

    /// Waits until no member works.
    fn wait(&self) {
        if !look(|| self.is_done()) {
            let bed = self.bed();
            self.awaited.store(true, SeqCst);
            drop(self.done.wait_while(bed, |_| !self.is_done()));
            self.awaited.store(false, SeqCst);
        }
        assert!(!self.lost.load(SeqCst), "a thread that helps with operations has crashed");
    }

    fn is_done(&self) -> bool {
        self.working.load(SeqCst) == 0 || self.lost.load(SeqCst)
    }

    fn serve(&self) {
        let mut seen = 0;
        loop {
            if !look(|| self.posted.load(SeqCst) != seen) {
                let bed = self.bed();
                self.sleeping.fetch_add(1, SeqCst);
                drop(self.wake.wait_while(bed, |_| self.posted.load(SeqCst) == seen));
                self.sleeping.fetch_sub(1, SeqCst);
            }
            seen = self.posted.load(SeqCst);
            self.working.fetch_add(1, SeqCst);
            if self.open.load(SeqCst) {
                // SAFETY: it is open, so that it has been written, and is not again before this member is done.
                let job = unsafe { *self.job.get() };
                self.take(job.expect("a job, as it is open"));
            }
            if self.working.fetch_sub(1, SeqCst) == 1 && self.awaited.load(SeqCst) {
                drop(self.bed());
                self.done.notify_all();
            }
        }
    }

    /// Does tasks until there is none left.
    fn take(&self, job: Job) {
        let work = || {
            while let Some(index) = Some(self.next.fetch_add(1, Relaxed)).filter(|index| *index < job.tasks) {
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
        let often = [2; 20_000];
        for tasks in [1, 2, 3, 64, 1000].into_iter().chain(often) {
            for pause in if tasks == 2 { [0; 3] } else { [0, 20, 300] } {
                let done: Vec<AtomicUsize> = (0..tasks).map(|_| AtomicUsize::new(0)).collect();
                each(tasks, |index| {
                    // The longer ones have members, or the caller, fall asleep.
                    if index < 3 {
                        std::thread::sleep(Duration::from_micros(pause * index as u64));
                    }
                    done[index].fetch_add(1, Relaxed);
                });
                assert!(done.iter().all(|done| done.load(Relaxed) == 1), "{tasks} tasks");
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
            each(8, |_| _ = count.fetch_add(1, Relaxed));
            assert_eq!(count.into_inner(), 8);
            assert!(!TEAM.busy.is_poisoned(), "or nobody would help any more");
        }
    }
}
