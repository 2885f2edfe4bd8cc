//! `Pool`: a block changes its class only when all of it is in the gatherer's hands.

use crate::page::{Class, Page, Pool, Prefill};
use crate::queue::IndexStack;
use crate::sync::{Arc, AtomicU32, Ordering, model, thread};
use Ordering::Relaxed;

/// A pool whose one block beyond the floor is cut into small pages.
fn small_pool() -> Arc<Pool> {
    let initial = Prefill { small: 1, medium: 0, large: 0 };
    let Ok(pool) = Pool::new(2 * Class::Large.bytes(), initial) else { panic!("memory") };
    Arc::new(pool)
}

fn range(page: &Page) -> std::ops::Range<usize> {
    let start = page.as_ptr().addr().get();
    start..start + page.capacity()
}

#[test]
fn a_page_taken_while_its_block_is_gathered_is_in_no_other_page() {
    model(|| {
        let pool = small_pool();
        let taker = pool.clone();
        let taker = thread::spawn(move || taker.take(Class::Small));
        let large = pool.take(Class::Large).or_else(|| {
            pool.refill();
            pool.take(Class::Large)
        });
        let small = taker.join().unwrap();
        if let (Some(large), Some(small)) = (&large, &small) {
            let (large, small) = (range(large), range(small));
            assert!(large.end <= small.start || small.end <= large.start, "one granule, two pages");
        }
        assert!(large.is_some() || small.is_some() || pool.wants_refill(), "a refusal forgotten");
        for page in large.into_iter().chain(small) {
            pool.put(page);
        }
        let mut bytes = 0;
        while let Some(page) = pool.take(Class::Small).or_else(|| pool.take(Class::Large)) {
            bytes += page.capacity();
            // Nothing is put back: each page is counted once. Its word needs no drop.
            page.into_raw();
        }
        assert_eq!(bytes, Class::Large.bytes(), "a page was lost");
    });
}

#[test]
fn a_page_put_during_a_gathering_is_not_lost() {
    model(|| {
        let pool = small_pool();
        let Some(held) = pool.take(Class::Small) else { panic!("a page is ready") };
        let putter = pool.clone();
        let putter = thread::spawn(move || putter.put(held));
        assert!(pool.take(Class::Large).is_none());
        let gathered = pool.refill();
        putter.join().unwrap();
        if !gathered {
            assert!(pool.take(Class::Large).is_none() && pool.refill());
        }
        let Some(large) = pool.take(Class::Large) else { panic!("the block is free") };
        pool.put(large);
        assert_eq!(pool.bytes_in_use(), 0);
    });
}

/// A block of two pages gathered by its count of free pages, or by what is in the gatherer's hands.
fn gathering(by_count: bool) {
    let links: [AtomicU32; 2] = std::array::from_fn(|_| AtomicU32::new(0));
    let shared = Arc::new((IndexStack::new(), AtomicU32::new(2), links));
    shared.0.push(&shared.2[..], 0);
    shared.0.push(&shared.2[..], 1);
    let taker = shared.clone();
    let taker = thread::spawn(move || {
        let (stack, free, links) = &*taker;
        let page = stack.pop(&links[..]);
        free.fetch_sub(u32::from(page.is_some()), Relaxed);
        page.is_some()
    });
    let (stack, free, links) = &*shared;
    let in_hand = stack.take_all(&links[..]).count() as u32;
    let whole = 2 == if by_count { free.load(Relaxed) } else { in_hand };
    let taken = taker.join().unwrap();
    assert!(!(whole && taken), "one granule, two pages");
}

#[test]
fn what_is_in_hand_decides() {
    model(|| gathering(false));
}

#[test]
#[should_panic(expected = "one granule, two pages")]
fn twin_that_trusts_the_count() {
    model(|| gathering(true));
}
