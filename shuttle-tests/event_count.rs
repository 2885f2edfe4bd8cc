//! `EventCount`, `Parker` and `Seats` with several sleepers: each notification reaches one who looks again.
//!
//! The twins are an event count whose waiter reads the epoch after its look, and seats whose sleeper says that it sleeps
//! before it can be woken.

use crate::sync::{Arc, AtomicU32, EventCount, Ordering, Parker, Seats, Sleeper, futex, thread};
use Ordering::{AcqRel, Acquire, Relaxed, Release};

use super::{catch, explore, join_all};

#[test]
fn four_waiters_take_what_two_notifiers_bring() {
    explore(|| {
        let shared = Arc::new((EventCount::new(), AtomicU32::new(0)));
        let waiters = [0; 4].map(|_| {
            let shared = shared.clone();
            thread::spawn(move || {
                let (events, free) = &*shared;
                events.wait_until(|| free.fetch_update(Acquire, Relaxed, |free| free.checked_sub(1)).ok());
            })
        });
        let notifiers = [0; 2].map(|_| {
            let shared = shared.clone();
            thread::spawn(move || {
                for _ in 0..2 {
                    shared.1.fetch_add(1, Release);
                    shared.0.notify_one();
                }
            })
        });
        join_all(notifiers);
        join_all(waiters);
        assert_eq!(shared.1.load(Relaxed), 0);
    });
}

#[test]
fn a_ring_of_parkers_passes_its_token_round() {
    explore(|| {
        let parkers = Arc::new([0; 3].map(|_| Parker::new()));
        let threads: Vec<_> = (0..3)
            .map(|number| {
                let parkers = parkers.clone();
                thread::spawn(move || {
                    for _ in 0..2 {
                        parkers[number].park();
                        parkers[(number + 1) % 3].unpark();
                    }
                })
            })
            .collect();
        parkers[0].unpark();
        join_all(threads);
    });
}

#[test]
fn no_work_lies_there_while_all_seats_sleep() {
    explore(|| {
        let shared = Arc::new((Seats::new(3), AtomicU32::new(0), AtomicU32::new(0)));
        let workers: Vec<_> = (0..3)
            .map(|seat| {
                let shared = shared.clone();
                thread::spawn(move || {
                    let (seats, work, done) = &*shared;
                    while done.load(Acquire) < 4 {
                        if work.fetch_update(AcqRel, Acquire, |work| work.checked_sub(1)).is_ok() {
                            if done.fetch_add(1, AcqRel) == 3 {
                                seats.wake_all();
                            }
                            continue;
                        }
                        seats.sleep(seat, None, || work.load(Acquire) != 0 || done.load(Acquire) == 4);
                    }
                })
            })
            .collect();
        for _ in 0..4 {
            shared.1.fetch_add(1, AcqRel);
            // False: all are at work, and look again before they sleep.
            let _ = shared.0.wake_one();
        }
        join_all(workers);
    });
}

/// The steps of `Seats` for two workers and three pieces of work: a sleeper is prepared before its bit is raised, or after.
fn bits(prepared_first: bool) {
    struct Desk {
        idle: AtomicU32,
        sleepers: [Sleeper; 2],
        work: AtomicU32,
        done: AtomicU32,
    }
    let desk = Arc::new(Desk {
        idle: AtomicU32::new(0),
        sleepers: [Sleeper::new(), Sleeper::new()],
        work: AtomicU32::new(0),
        done: AtomicU32::new(0),
    });
    // False: nobody sleeps.
    let wake_one = |desk: &Desk| {
        let take = |idle: u32| (idle != 0).then(|| idle & (idle - 1));
        let taken = desk.idle.fetch_update(AcqRel, Acquire, take);
        taken.map(|idle| desk.sleepers[idle.trailing_zeros() as usize].wake()).is_ok()
    };
    let workers: Vec<_> = (0..2)
        .map(|seat| {
            let desk = desk.clone();
            thread::spawn(move || {
                while desk.done.load(Acquire) < 3 {
                    if desk.work.fetch_update(AcqRel, Acquire, |work| work.checked_sub(1)).is_ok() {
                        if desk.done.fetch_add(1, AcqRel) == 2 {
                            while wake_one(&desk) {}
                        }
                        continue;
                    }
                    if prepared_first {
                        desk.sleepers[seat].prepare();
                    }
                    desk.idle.fetch_or(1 << seat, AcqRel);
                    if !prepared_first {
                        desk.sleepers[seat].prepare();
                    }
                    if desk.work.load(Acquire) != 0 || desk.done.load(Acquire) == 3 {
                        desk.sleepers[seat].cancel();
                    } else {
                        desk.sleepers[seat].sleep(None);
                    }
                    desk.idle.fetch_and(!(1 << seat), AcqRel);
                }
            })
        })
        .collect();
    for _ in 0..3 {
        desk.work.fetch_add(1, AcqRel);
        let _ = wake_one(&desk);
    }
    join_all(workers);
}

#[test]
fn a_seat_that_is_prepared_before_its_bit_is_always_found() {
    explore(|| bits(true));
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_whose_bit_is_up_before_it_is_prepared() {
    catch(|| bits(false));
}

/// Waiters that sleep on an epoch until a permit is theirs; the epoch is read before the look, or after it.
fn epochs(read_first: bool) {
    let shared = Arc::new((AtomicU32::new(0), AtomicU32::new(0)));
    let waiters = [0; 2].map(|_| {
        let shared = shared.clone();
        thread::spawn(move || {
            let (epoch, free) = &*shared;
            loop {
                let before = epoch.load(Acquire);
                if free.fetch_update(Acquire, Relaxed, |free| free.checked_sub(1)).is_ok() {
                    break;
                }
                let known = if read_first { before } else { epoch.load(Acquire) };
                futex::wait(epoch, known, None);
            }
        })
    });
    let (epoch, free) = &*shared;
    for _ in 0..2 {
        free.fetch_add(1, Release);
        epoch.fetch_add(1, Release);
        futex::wake_all(epoch);
    }
    join_all(waiters);
}

#[test]
fn an_epoch_read_before_the_look_loses_no_wake() {
    explore(|| epochs(true));
}

#[test]
#[should_panic(expected = "deadlock")]
fn twin_that_reads_the_epoch_after_its_look() {
    catch(|| epochs(false));
}
