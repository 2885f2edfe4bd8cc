//! The pool's claims: no page twice, none lost, the floor kept, blocks regained.

#![allow(unsafe_code, reason = "tests write into pages")]

use super::*;
use std::collections::BTreeSet;

const MIB: usize = 1 << 20;
const NONE_READY: Prefill = Prefill { small: 0, medium: 0, large: 0 };

/// Every page of `class` that can be had, refilling as an engine thread would.
fn drain(pool: &Pool, class: Class) -> Vec<Page> {
    let mut pages = Vec::new();
    loop {
        while let Some(page) = pool.take(class) {
            pages.push(page);
        }
        if !pool.refill() {
            return pages;
        }
    }
}

fn put_all(pool: &Pool, pages: Vec<Page>) {
    pages.into_iter().for_each(|page| pool.put(page));
}

#[test]
fn every_byte_of_the_limit_can_be_taken_and_belongs_to_one_page() {
    let pool = Pool::new(5 * MIB - 1, Prefill::default()).unwrap();
    assert_eq!(pool.bytes_limit(), 5 * MIB);
    let mut pages = Vec::new();
    for class in [Class::Large, Class::Medium, Class::Small] {
        pages.extend(drain(&pool, class));
    }
    loop {
        match pool.take_floor() {
            Some(page) => pages.push(page),
            None if pool.refill() => {}
            None => break,
        }
    }
    assert_eq!(pool.bytes_in_use(), 5 * MIB);
    let mut granules = BTreeSet::new();
    for page in &pages {
        let start = page.as_ptr().addr().get();
        assert!((start..start + page.capacity()).step_by(GRANULE).all(|at| granules.insert(at)));
    }
    assert_eq!(granules.len() * GRANULE, 5 * MIB);
    put_all(&pool, pages);
    assert_eq!(pool.bytes_in_use(), 0);
}

#[test]
fn the_last_page_put_is_the_first_taken() {
    let pool = Pool::new(8 * MIB, Prefill::default()).unwrap();
    let (first, second) = (pool.take(Class::Small).unwrap(), pool.take(Class::Small).unwrap());
    let address = second.as_ptr();
    pool.put(first);
    pool.put(second);
    let again = pool.take(Class::Small).unwrap();
    assert_eq!(again.as_ptr(), address);
    pool.put(again);
}

/// The large class has fewer free pages than its low-water mark.
fn is_low(pool: &Pool) -> bool {
    pool.shelves[Class::Large as usize].free.load(Ordering::Relaxed) < Class::Large.low_water()
}

#[test]
fn a_take_that_leaves_its_class_low_wants_a_refill_while_there_is_memory_to_cut() {
    let pool = Pool::new(64 * MIB, Prefill::default()).unwrap();
    assert!(!pool.wants_refill() && !is_low(&pool));
    let first = pool.take(Class::Large).unwrap();
    assert!(!pool.wants_refill(), "the first pages of a module are there from the start");
    let second = pool.take(Class::Large).unwrap();
    assert!(pool.wants_refill() && is_low(&pool));
    assert!(pool.refill() && !pool.wants_refill() && !is_low(&pool));
    assert!(!pool.refill(), "nothing is wanted");
    put_all(&pool, vec![first, second]);
    let mut pages = drain(&pool, Class::Large);
    assert_eq!(pages.len(), 60);
    let last = pages.pop().unwrap();
    pool.put(last);
    assert!(!pool.wants_refill());
    pages.extend(pool.take(Class::Large));
    assert!(!pool.wants_refill(), "low, but nothing is left to cut");
    put_all(&pool, pages);
}

#[test]
fn free_blocks_of_one_class_serve_another_that_failed() {
    for limit in [1, 2, 3, 16] {
        let pool = Pool::new(limit * MIB, NONE_READY).unwrap();
        let whole = limit * MIB - limit * MIB / 16;
        for class in [Class::Small, Class::Medium, Class::Large, Class::Small, Class::Medium] {
            let pages = drain(&pool, class);
            let bytes: usize = pages.iter().map(Page::capacity).sum();
            assert_eq!(bytes, whole / class.bytes() * class.bytes(), "{limit} MiB {class:?}");
            let (all, free) = pool.counts()[class as usize];
            assert_eq!((all as usize, free), (pages.len(), 0), "all of them are taken");
            put_all(&pool, pages);
            let counts = &pool.counts()[..FLOOR_SHELF];
            assert!(counts.iter().all(|(all, free)| all == free), "all of them are free: {counts:?}");
            let counted = Class::ALL.map(|class| counts[class as usize].0 as usize * class.bytes());
            assert_eq!(counted.iter().sum::<usize>() + pool.bytes_uncut(), whole, "none is counted twice");
        }
    }
}

#[test]
fn a_block_with_one_page_taken_stays_in_its_class() {
    let pool = Pool::new(2 * MIB, NONE_READY).unwrap();
    let mut pages = drain(&pool, Class::Small);
    let kept = pages.pop().unwrap();
    let below = pages.pop().unwrap();
    let address = below.as_ptr();
    put_all(&pool, pages);
    pool.put(below);
    let large = drain(&pool, Class::Large);
    assert!(large.len() <= 1);
    let warm = pool.take(Class::Small).unwrap();
    assert_eq!(warm.as_ptr(), address, "what was not gathered keeps its order");
    put_all(&pool, large);
    pool.put(kept);
    pool.put(warm);
}

#[test]
fn the_floor_is_left_when_everything_else_is_taken() {
    let pool = Pool::new(32 * MIB, Prefill::default()).unwrap();
    let pages: Vec<_> = Class::ALL.into_iter().rev().flat_map(|class| drain(&pool, class)).collect();
    let mut floor = Vec::new();
    while floor.len() < 512 {
        match pool.take_floor() {
            Some(page) => floor.push(page),
            None => assert!(pool.refill()),
        }
    }
    assert!(pool.take_floor().is_none() && !pool.refill());
    put_all(&pool, floor);
    assert!(pool.take(Class::Small).is_none(), "the floor serves the floor only");
    put_all(&pool, pages);
}

#[test]
fn a_page_survives_being_a_word() {
    let pool = Pool::new(4 * MIB, Prefill::default()).unwrap();
    let taken = [pool.take(Class::Small), pool.take(Class::Large), pool.take_floor()];
    for page in taken.into_iter().flatten() {
        let before = (page.as_ptr(), page.class, page.floor);
        // SAFETY: the page is this test's; one byte of it.
        unsafe { page.as_ptr().write(7) };
        let raw = page.into_raw();
        // SAFETY: from `into_raw`, turned back once.
        let page = unsafe { Page::from_raw(raw) };
        assert_eq!((page.as_ptr(), page.class, page.floor), before);
        pool.put(page);
    }
    assert!(size_of::<Page>() <= 16);
}

#[test]
fn a_limit_of_nothing_or_of_too_much_is_an_error() {
    for limit in [0, 1 << 50, usize::MAX] {
        assert!(Pool::new(limit, NONE_READY).is_err());
    }
}

#[test]
fn many_threads_never_share_a_page() {
    let pool = Pool::new(4 * MIB, Prefill::default()).unwrap();
    std::thread::scope(|scope| {
        for seed in 0..4_u8 {
            let pool = &pool;
            scope.spawn(move || {
                for step in 0..5_000 {
                    let class = if step % 7 == 0 { Class::Medium } else { Class::Small };
                    let Some(page) = pool.take(class) else {
                        pool.refill();
                        continue;
                    };
                    let memory = page.as_ptr();
                    // SAFETY: the page is this thread's until the put.
                    unsafe {
                        memory.write(seed);
                        std::hint::spin_loop();
                        assert_eq!(memory.read(), seed);
                    }
                    pool.put(page);
                }
            });
        }
    });
    assert_eq!(pool.bytes_in_use(), 0);
}
