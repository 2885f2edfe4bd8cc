//! The thread pool: every accepted task runs once or is told to be dropped, whatever panics and however it ends.
//!
//! A second or two by default; `EFIO_STRESS_ROUNDS=1000 cargo test --release --test pool` for minutes.
#![allow(unsafe_code, reason = "forks")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use efio::pool::{Pool, Results, Task, TaskError};
use efio::queue::PushError;
use std::future::Future;
use std::pin::Pin;
use std::sync::atomic::{AtomicU32, AtomicUsize, Ordering};
use std::sync::{Arc, Barrier, mpsc};
use std::task::{Context, Poll, Wake, Waker};
use std::time::Duration;

fn rounds() -> usize {
    std::env::var("EFIO_STRESS_ROUNDS").ok().and_then(|text| text.parse().ok()).unwrap_or(8)
}

/// Panics as a task does, without a word on the screen.
fn panic_quietly() {
    std::panic::resume_unwind(Box::new("on purpose"));
}

/// Occupies one thread of the pool until the answer is sent or dropped.
fn occupy(pool: &Pool) -> mpsc::Sender<()> {
    let (release, released) = mpsc::channel::<()>();
    let (begin, begun) = mpsc::channel();
    pool.submit(move || {
        begin.send(()).unwrap();
        let _ = released.recv();
    })
    .unwrap();
    begun.recv().unwrap();
    release
}

/// Counts what became of one kind of task.
#[derive(Default)]
struct Fates {
    accepted: AtomicUsize,
    ran: AtomicUsize,
    dropped: AtomicUsize,
}

/// Four threads submit tasks in four ways, every seventh of which panics, while the pool comes to its end.
fn end_amid_submissions(now: bool, unbounded: bool) {
    const EACH: usize = 3_000;
    let builder = Pool::builder().threads(3).queue(64);
    let pool = if unbounded { builder.unbounded() } else { builder }.build().unwrap();
    let runs: Arc<Vec<AtomicU32>> = Arc::new((0..4 * EACH).map(|_| AtomicU32::new(0)).collect());
    let fates = Arc::new(Fates::default());
    let results = Results::new(4 * EACH);
    let ended = std::thread::scope(|scope| {
        for thread in 0..4 {
            let (pool, runs, fates, results) = (&pool, &runs, &fates, &results);
            scope.spawn(move || {
                for number in thread * EACH..(thread + 1) * EACH {
                    let (runs, told) = (runs.clone(), fates.clone());
                    let work = move || {
                        runs[number].fetch_add(1, Ordering::Relaxed);
                        if number % 7 == 0 {
                            panic_quietly();
                        }
                        [number; 9] // with what else is captured, some are inline and some boxed
                    };
                    let tell = move |result: Result<[usize; 9], TaskError>| {
                        let dropped = result.as_ref().is_err_and(|error| *error == TaskError::Dropped);
                        let fate = if dropped { &told.dropped } else { &told.ran };
                        fate.fetch_add(1, Ordering::Relaxed);
                    };
                    let accepted = match number % 4 {
                        0 => pool.submit_then(work, tell).is_ok(),
                        1 => pool.submit_to(results, number as u64, work).is_ok(),
                        2 => {
                            let task = pool.submit_with(work);
                            task.is_ok_and(|mut task| {
                                tell(task.wait(None));
                                true
                            })
                        }
                        _ => {
                            let large = [number; 9];
                            let work = move || tell(Ok([work()[0].min(large[8]); 9]));
                            drop(pool.submit_wait(work, None));
                            false // nobody is owed a result
                        }
                    };
                    fates.accepted.fetch_add(usize::from(accepted), Ordering::Relaxed);
                }
            });
        }
        while pool.finished() < 1_000 {
            std::thread::yield_now();
        }
        if now { pool.shutdown_now(None) } else { pool.shutdown(None) }
    });
    assert!(ended.in_time && pool.queued() == 0 && pool.running() == 0);
    let ran: usize = runs.iter().map(|runs| runs.load(Ordering::Relaxed) as usize).sum();
    assert!(runs.iter().all(|runs| runs.load(Ordering::Relaxed) <= 1), "a task ran twice");
    assert_eq!(pool.finished(), ran as u64, "counted once each");
    let panicked = |number: &usize| number % 7 == 0 && runs[*number].load(Ordering::Relaxed) == 1;
    assert_eq!(pool.panicked(), (0..4 * EACH).filter(panicked).count() as u64);
    assert!(now || ended.dropped == 0);
    let mut told = 0;
    while let Some((number, result)) = results.try_take() {
        let ran = runs[number as usize].load(Ordering::Relaxed) == 1;
        assert_eq!(ran, result != Err(TaskError::Dropped));
        told += 1;
    }
    assert_eq!(results.owed(), 0, "each that was accepted has a result");
    let answered = fates.ran.load(Ordering::Relaxed) + fates.dropped.load(Ordering::Relaxed) + told;
    let kinds = (0..4 * EACH).filter(|number| number % 4 == 3);
    let quiet = kinds.filter(|number| runs[*number].load(Ordering::Relaxed) == 1 && number % 7 != 0).count();
    assert_eq!(answered, fates.accepted.load(Ordering::Relaxed) + quiet, "everybody is told once");
    assert_eq!(Arc::strong_count(&runs), 1, "every closure is gone");
    assert!(matches!(pool.submit(|| ()), Err(PushError::Closed(_))));
}

#[test]
fn every_task_runs_once_through_a_graceful_end() {
    for round in 0..rounds() {
        end_amid_submissions(false, round % 2 == 1);
    }
}

#[test]
fn every_task_runs_once_or_is_told_dropped_through_an_immediate_end() {
    for round in 0..rounds() {
        end_amid_submissions(true, round % 2 == 1);
    }
}

#[test]
fn an_immediate_end_drops_what_is_queued_and_says_how_many() {
    let pool = Pool::new(1).unwrap();
    let release = occupy(&pool);
    let mut task = pool.submit_with(|| 1).unwrap();
    let alive = Arc::new(());
    for _ in 0..9 {
        let held = alive.clone();
        pool.submit(move || drop(held)).unwrap();
    }
    struct PanicsInDrop;
    impl Drop for PanicsInDrop {
        fn drop(&mut self) {
            panic_quietly();
        }
    }
    let bomb = PanicsInDrop;
    pool.submit(move || drop(bomb)).unwrap();
    let ended = pool.shutdown_now(Some(Duration::ZERO));
    assert_eq!((ended.in_time, ended.dropped, pool.running()), (false, 11, 1));
    assert_eq!((task.wait(None), Arc::strong_count(&alive)), (Err(TaskError::Dropped), 1));
    drop(release);
    let ended = pool.shutdown_now(None);
    assert_eq!((ended.in_time, ended.dropped, pool.finished()), (true, 0, 1));
}

#[test]
fn the_drop_runs_what_is_queued() {
    let ran = Arc::new(AtomicUsize::new(0));
    let pool = Pool::new(2).unwrap();
    for _ in 0..1_000 {
        let ran = ran.clone();
        pool.submit(move || _ = ran.fetch_add(1, Ordering::Relaxed)).unwrap();
    }
    drop(pool);
    assert_eq!(ran.load(Ordering::Relaxed), 1_000);
}

#[test]
fn a_full_queue_gives_the_closure_back_and_a_wait_finds_room() {
    let pool = Pool::builder().threads(1).queue(2).build().unwrap();
    let release = occupy(&pool);
    pool.submit(|| ()).unwrap();
    pool.submit(|| ()).unwrap();
    let refused = pool.submit_with(|| 7).map(drop).unwrap_err();
    assert!(refused.is_full());
    assert_eq!(refused.into_inner()(), 7);
    let refused = pool.submit_then(|| 7, |_| ()).unwrap_err();
    assert!(refused.is_full() && refused.into_inner().0() == 7);
    assert!(pool.submit_wait(|| (), Some(Duration::from_millis(1))).is_err_and(|error| error.is_full()));
    let results = Results::<u32>::new(1);
    assert!(pool.submit_to(&results, 0, || 7).is_err_and(|error| error.is_full()) && results.owed() == 0);
    drop(release);
    pool.submit_wait(|| (), None).unwrap();
    assert!(pool.shutdown(None).in_time);
    assert_eq!(pool.finished(), 4);
}

#[test]
fn tasks_begin_in_the_order_of_their_submission() {
    let pool = Pool::new(1).unwrap();
    let (sender, receiver) = mpsc::channel();
    for number in 0..500 {
        let sender = sender.clone();
        pool.submit(move || sender.send(number).unwrap()).unwrap();
    }
    drop(sender);
    assert!(receiver.iter().eq(0..500));
}

#[test]
fn no_task_waits_behind_another_while_a_thread_is_idle() {
    // Each task waits for all the others: they must run side by side, on as many threads.
    let pool = Pool::new(4).unwrap();
    for _ in 0..200 {
        let all = Arc::new(Barrier::new(5));
        for _ in 0..4 {
            let all = all.clone();
            pool.submit(move || _ = all.wait()).unwrap();
        }
        all.wait();
    }
}

#[test]
fn a_thread_of_the_pool_may_submit_and_never_waits_for_its_own_pool() {
    let pool = Arc::new(Pool::builder().threads(1).queue(1).build().unwrap());
    let own = pool.clone();
    let mut outer = pool
        .submit_with(move || {
            let mut inner = own.submit_with(|| 1).unwrap();
            let waited = inner.wait(None);
            let full = own.submit_wait(|| (), None).is_err_and(|error| error.is_full());
            let ended = own.shutdown(None).in_time;
            (waited, full, ended, inner)
        })
        .unwrap();
    let (waited, full, ended, mut inner) = outer.wait(None).unwrap();
    assert_eq!((waited, full, ended), (Err(TaskError::Deadlock), true, false));
    assert_eq!(inner.wait(None), Ok(1), "the end that a task began runs what is queued");
    assert!(pool.shutdown(None).in_time);
}

#[test]
fn a_result_is_given_once() {
    let pool = Pool::new(1).unwrap();
    let release = occupy(&pool);
    let mut task = pool.submit_with(|| "result").unwrap();
    assert_eq!(task.wait(Some(Duration::from_millis(1))), Err(TaskError::TimedOut));
    assert!(task.try_take().is_none() && !task.is_finished());
    drop(release);
    assert_eq!(task.wait(None), Ok("result"));
    assert_eq!((task.try_take(), task.wait(None)), (Some(Err(TaskError::Taken)), Err(TaskError::Taken)));
}

/// Runs a future to its end on this thread.
fn block_on<T>(mut task: Task<T>) -> Result<T, TaskError> {
    struct Unpark(std::thread::Thread);
    impl Wake for Unpark {
        fn wake(self: Arc<Self>) {
            self.0.unpark();
        }
    }
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    loop {
        match Pin::new(&mut task).poll(&mut Context::from_waker(&waker)) {
            Poll::Ready(result) => return result,
            Poll::Pending => std::thread::park(),
        }
    }
}

#[test]
fn a_task_can_be_awaited() {
    let pool = Pool::new(2).unwrap();
    for number in 0..2_000_u32 {
        assert_eq!(block_on(pool.submit_with(move || number).unwrap()), Ok(number));
    }
    let failed = block_on(pool.submit_with(panic_quietly).unwrap());
    assert_eq!(failed, Err(TaskError::Panicked("on purpose".into())));
}

#[test]
fn a_waker_that_is_replaced_may_wait_for_the_task_as_it_is_dropped() {
    type Dropped = Box<dyn Fn() + Send + Sync>;
    /// Says that it was woken, and does something as it is dropped.
    struct Telling(mpsc::Sender<()>, Dropped);
    impl Wake for Telling {
        fn wake(self: Arc<Self>) {
            self.0.send(()).unwrap();
        }
    }
    impl Drop for Telling {
        fn drop(&mut self) {
            (self.1)();
        }
    }
    let pool = Pool::new(1).unwrap();
    let (release, released) = mpsc::channel::<()>();
    let mut task = pool.submit_with(move || released.recv().is_ok()).unwrap();
    let (woken, wakes) = mpsc::channel();
    let (heard, hears) = mpsc::channel();
    let wakes = std::sync::Mutex::new(wakes);
    // The first waker lets the task end, and waits until that has woken the second.
    let end = move || {
        release.send(()).unwrap();
        heard.send(wakes.lock().unwrap().recv_timeout(Duration::from_secs(30)).is_ok()).unwrap();
    };
    let (first, second) = (Telling(woken.clone(), Box::new(end)), Telling(woken, Box::new(|| ())));
    for waker in [first, second] {
        let waker = Waker::from(Arc::new(waker));
        let mut context = Context::from_waker(&waker);
        let seen = Pin::new(&mut task).poll(&mut context);
        assert!(seen.is_pending() || seen == Poll::Ready(Ok(true)));
    }
    assert_eq!(hears.recv(), Ok(true), "the end of the task waited for the drop of a waker");
}

#[test]
fn no_wake_is_lost_when_tasks_come_one_at_a_time() {
    let pool = Pool::new(3).unwrap();
    for number in 0..20_000_u32 {
        assert_eq!(pool.submit_with(move || number).unwrap().wait(None), Ok(number));
        if number % 64 == 0 {
            // Long enough for all threads to fall asleep.
            std::thread::sleep(Duration::from_micros(100));
        }
    }
}

#[test]
fn a_child_process_is_refused() {
    let pool = Pool::new(1).unwrap();
    let release = occupy(&pool);
    let mut task = pool.submit_with(|| ()).unwrap();
    // SAFETY: the child makes calls that take no lock another thread may hold, and leaves by _exit.
    let child = unsafe { libc::fork() };
    if child == 0 {
        let refused = pool.submit(|| ()).is_err_and(|error| error.is_closed())
            && task.wait(None) == Err(TaskError::Forked)
            && !pool.shutdown(None).in_time;
        drop(pool);
        // SAFETY: ends the child at once, without the parent's handlers.
        unsafe { libc::_exit(i32::from(!refused)) };
    }
    let mut status = -1;
    // SAFETY: waits for the child just made.
    assert_eq!(unsafe { libc::waitpid(child, &raw mut status, 0) }, child);
    assert_eq!(status, 0, "the child was refused everywhere");
    drop(release);
    assert_eq!(task.wait(None), Ok(()));
}
