//! The locks of `efio::sync` under more threads than processors: nothing is lost, nothing is torn, nobody sleeps on.
//!
//! That a ticket lock keeps its order is shown beside it, where the tickets can be seen.
//!
//! A second by default; EFIO_STRESS_SECONDS is how long each test is repeated beyond that, as `cargo xtask long --only stress`
//! does.

use efio::sync::{
    AtomicU64, Counter, EventCount, Lock, McsLock, Ordering, Parker, RawLock, RawMcs, RawSpin, RawTicket,
    SpinLock, SpinRwLock, TicketLock,
};
use std::time::{Duration, Instant};

const THREADS: u64 = 8;

/// Rounds of each thread.
const ROUNDS: u64 = 2_000;

/// Runs `test` once, and again until the seconds that the environment gives are over.
fn repeat(test: impl Fn()) {
    let seconds = std::env::var("EFIO_STRESS_SECONDS").ok().and_then(|text| text.parse().ok());
    let (begun, limit) = (Instant::now(), Duration::from_secs(seconds.unwrap_or(0)));
    test();
    while begun.elapsed() < limit {
        test();
    }
}

/// Two words that only a holder touches, one by one; some threads try, some nap while they hold.
fn counting<R: RawLock + Send + Sync>() {
    let (lock, entered) = (Lock::<R, _>::new((0_u64, 0_u64)), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (lock, entered) = (&lock, &entered);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    let tried = if thread % 2 == 0 && round % 3 == 0 { lock.try_lock() } else { None };
                    let mut guard = tried.unwrap_or_else(|| lock.lock());
                    guard.0 += 1;
                    if round % 512 == thread {
                        std::thread::sleep(Duration::from_micros(20));
                    }
                    guard.1 += 1;
                    assert_eq!(guard.0, guard.1, "two threads inside");
                    entered.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    let total = entered.into_inner();
    assert_eq!((total, lock.into_inner()), (THREADS * ROUNDS, (total, total)));
}

#[test]
fn one_thread_at_a_time_is_in_a_spin_lock() {
    repeat(counting::<RawSpin>);
}

#[test]
fn one_thread_at_a_time_is_in_a_ticket_lock() {
    repeat(counting::<RawTicket>);
}

#[test]
fn one_thread_at_a_time_is_in_an_mcs_lock() {
    repeat(counting::<RawMcs>);
}

#[test]
fn locks_nest_in_any_order() {
    repeat(nested);
}

/// Two locks inside each other, given back in both orders.
fn nested() {
    let (outer, inner, last) = (McsLock::new(0_u64), TicketLock::new(0_u64), SpinLock::new(0_u64));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (outer, inner, last) = (&outer, &inner, &last);
            scope.spawn(move || {
                for _ in 0..ROUNDS / 4 {
                    let mut first = outer.lock();
                    let mut second = inner.lock();
                    *first += 1;
                    if thread % 2 == 0 {
                        drop(first);
                        *second += 1;
                    } else {
                        *second += 1;
                        drop(second);
                        drop(first);
                    }
                    *last.lock() += 1;
                }
            });
        }
    });
    let total = THREADS * (ROUNDS / 4);
    assert_eq!([outer.into_inner(), inner.into_inner(), last.into_inner()], [total; 3]);
}

#[test]
fn readers_of_a_rwlock_never_see_a_write_half_done() {
    repeat(reading_and_writing);
}

fn reading_and_writing() {
    let (lock, written) = (SpinRwLock::new([0_u64; 4]), AtomicU64::new(0));
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (lock, written) = (&lock, &written);
            scope.spawn(move || {
                for round in 0..ROUNDS {
                    match (thread + round) % 8 {
                        0 => lock.write().iter_mut().for_each(|word| *word += 1),
                        1 => {
                            let guard = lock.upgradable();
                            let seen = guard[0];
                            let mut guard = guard.upgrade();
                            assert_eq!(*guard, [seen; 4], "somebody wrote in between");
                            *guard = [seen + 1; 4];
                            assert_eq!(*guard.downgrade(), [seen + 1; 4]);
                        }
                        2 => match lock.try_write() {
                            Some(mut guard) => guard.iter_mut().for_each(|word| *word += 1),
                            None => continue,
                        },
                        _ => {
                            let guard = lock.read();
                            let first = guard[0];
                            if round % 16 == thread {
                                std::thread::yield_now();
                            }
                            assert_eq!(*guard, [first; 4], "a write beside a reader");
                            continue;
                        }
                    }
                    written.fetch_add(1, Ordering::Relaxed);
                }
            });
        }
    });
    assert_eq!(*lock.read(), [written.into_inner(); 4]);
    assert!(lock.try_write().is_some());
}

#[cfg(feature = "zerocopy")]
#[test]
fn a_copy_of_a_seqlock_is_never_torn() {
    repeat(copying);
}

#[cfg(feature = "zerocopy")]
fn copying() {
    use efio::sync::SeqLock;

    let (lock, done) = (SeqLock::new([0_u64; 64]), efio::sync::AtomicU32::new(0));
    std::thread::scope(|scope| {
        for _ in 0..2 {
            scope.spawn(|| {
                for _ in 0..ROUNDS * 20 {
                    lock.update(|words| words.iter_mut().for_each(|word| *word += 1));
                    // Readers get a moment in which they may begin.
                    (0..40).for_each(|_| std::hint::spin_loop());
                }
                done.fetch_add(1, Ordering::Release);
            });
        }
        for _ in 0..2 {
            scope.spawn(|| {
                let mut last = 0;
                while done.load(Ordering::Acquire) < 2 {
                    let words = lock.read();
                    assert_eq!(words, [words[0]; 64], "a torn copy");
                    assert!(words[0] >= last, "an older copy");
                    last = words[0];
                }
            });
        }
    });
    assert_eq!(lock.read(), [ROUNDS * 40; 64]);
}

#[test]
fn every_permit_of_an_event_count_is_taken_once_and_nobody_sleeps_on() {
    repeat(taking_permits);
}

fn taking_permits() {
    let (events, permits, taken) = (EventCount::new(), AtomicU64::new(0), Counter::new());
    let take =
        || permits.fetch_update(Ordering::Acquire, Ordering::Relaxed, |permits| permits.checked_sub(1)).ok();
    std::thread::scope(|scope| {
        for thread in 0..THREADS {
            let (events, taken) = (&events, &taken);
            scope.spawn(move || {
                for _ in 0..ROUNDS {
                    let limit = Duration::from_micros(50);
                    if thread % 2 == 0 || events.wait_until_timeout(limit, take).is_none() {
                        events.wait_until(take);
                    }
                    taken.add(1);
                }
            });
        }
        for round in 0..THREADS * ROUNDS / 2 {
            // Slowly enough that the others come to sleep.
            while permits.load(Ordering::Relaxed) > 2 {
                std::thread::yield_now();
            }
            permits.fetch_add(2, Ordering::Release);
            if round < THREADS * ROUNDS / 4 {
                events.notify_all();
            } else {
                events.notify_one();
                events.notify_one();
            }
        }
    });
    assert_eq!((taken.sum(), permits.into_inner()), (THREADS * ROUNDS, 0));
}

#[test]
fn a_ring_of_parkers_passes_its_token_round() {
    repeat(passing_a_token);
}

fn passing_a_token() {
    let parkers: Vec<Parker> = (0..THREADS).map(|_| Parker::new()).collect();
    let passed = AtomicU64::new(0);
    std::thread::scope(|scope| {
        for thread in 0..THREADS as usize {
            let (parkers, passed) = (&parkers, &passed);
            scope.spawn(move || {
                for _ in 0..ROUNDS / 4 {
                    while !parkers[thread].park_timeout(Duration::from_millis(5)) {}
                    passed.fetch_add(1, Ordering::Relaxed);
                    parkers[(thread + 1) % parkers.len()].unpark();
                }
            });
        }
        parkers[0].unpark();
    });
    assert_eq!(passed.into_inner(), ROUNDS / 4 * THREADS);
}
