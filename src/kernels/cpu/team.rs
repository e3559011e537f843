//! All cores at one operation.

#[cfg(target_family = "wasm")]
pub fn each(tasks: usize, task: impl Fn(usize) + Sync) {
    (0..tasks).for_each(task);
}

#[cfg(not(target_family = "wasm"))]
pub use native::each;

#[cfg(not(target_family = "wasm"))]
mod native {
    use std::any::Any;
    use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};
    use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
    use std::sync::{Condvar, Mutex, MutexGuard, OnceLock, PoisonError};
    use std::thread;
    use std::time::{Duration, Instant};

    use crate::parallel;

    /// How long a member that has nothing to do looks for work before it sleeps: longer than it is from one operation of a
    /// token to the next.
    const PATIENCE: Duration = Duration::from_micros(50);
    /// Looks at who is still at work before the core is left to others.
    const LOOKS: usize = 2000;

    /// Does `task(0)` to `task(tasks - 1)` on all cores, each on whichever is free.
    ///
    /// # Panics
    /// With what a task panicked with, after all have ended.
    pub fn each(tasks: usize, task: impl Fn(usize) + Sync) {
        static TEAM: OnceLock<Option<Team>> = OnceLock::new();
        let team = TEAM.get_or_init(|| (parallel::cores() > 1).then(|| Team::new(parallel::cores() - 1))).as_ref();
        // One operation has the team at a time; those of other threads do without.
        match team.filter(|_| tasks > 1).and_then(|team| Some((team, team.busy.try_lock().ok()?))) {
            Some((team, _busy)) => team.work(tasks, &task),
            None => (0..tasks).for_each(task),
        }
    }

    /// Threads that help the caller.
    struct Team {
        busy: Mutex<()>,
        shared: &'static Shared,
    }

    #[derive(Default)]
    struct Shared {
        board: Mutex<Board>,
        wake: Condvar,
        /// The board's number, to be looked at without its lock.
        number: AtomicU64,
        /// The next task to take.
        next: AtomicUsize,
        /// Members at work.
        working: AtomicUsize,
        panic: Mutex<Option<Box<dyn Any + Send>>>,
    }

    #[derive(Default)]
    struct Board {
        /// Of the job posted last.
        number: u64,
        /// Nothing once all of its tasks are taken: who comes later is not waited for.
        job: Option<Job>,
        sleeping: usize,
    }

    #[derive(Clone, Copy)]
    struct Job {
        tasks: usize,
        task: &'static (dyn Fn(usize) + Sync),
    }

    impl Team {
        fn new(members: usize) -> Self {
            let shared: &'static Shared = Box::leak(Box::default());
            for _ in 0..members {
                thread::spawn(|| shared.serve());
            }
            Self { busy: Mutex::new(()), shared }
        }

        fn work(&self, tasks: usize, task: &(dyn Fn(usize) + Sync)) {
            let shared = self.shared;
            // SAFETY: members take the job from the board, off which it is before this function waits for those that did.
            let task = unsafe { std::mem::transmute::<&(dyn Fn(usize) + Sync), &'static (dyn Fn(usize) + Sync)>(task) };
            let job = Job { tasks, task };
            shared.next.store(0, Ordering::Relaxed);
            let mut board = shared.board();
            board.number += 1;
            board.job = Some(job);
            shared.number.store(board.number, Ordering::Release);
            if board.sleeping > 0 {
                shared.wake.notify_all();
            }
            drop(board);
            shared.take(job);
            shared.board().job = None;
            let mut looks = 0;
            while shared.working.load(Ordering::Acquire) > 0 {
                looks += 1;
                if looks < LOOKS { std::hint::spin_loop() } else { thread::yield_now() }
            }
            let panic = shared.panic.lock().unwrap_or_else(PoisonError::into_inner).take();
            if let Some(panic) = panic {
                resume_unwind(panic);
            }
        }
    }

    impl Shared {
        fn board(&self) -> MutexGuard<'_, Board> {
            self.board.lock().unwrap_or_else(PoisonError::into_inner)
        }

        fn serve(&self) {
            let mut seen = 0;
            loop {
                let since = Instant::now();
                while self.number.load(Ordering::Acquire) == seen && since.elapsed() < PATIENCE {
                    std::hint::spin_loop();
                }
                let mut board = self.board();
                board.sleeping += 1;
                board =
                    self.wake.wait_while(board, |board| board.number == seen).unwrap_or_else(PoisonError::into_inner);
                board.sleeping -= 1;
                seen = board.number;
                let Some(job) = board.job else { continue };
                self.working.fetch_add(1, Ordering::Relaxed);
                drop(board);
                self.take(job);
                self.working.fetch_sub(1, Ordering::Release);
            }
        }

        /// Does tasks until there is none left.
        fn take(&self, job: Job) {
            let work = || {
                while let Some(index) =
                    Some(self.next.fetch_add(1, Ordering::Relaxed)).filter(|index| *index < job.tasks)
                {
                    (job.task)(index);
                }
            };
            if let Err(panic) = catch_unwind(AssertUnwindSafe(work)) {
                self.panic.lock().unwrap_or_else(PoisonError::into_inner).get_or_insert(panic);
            }
        }
    }
}
