//! The table's claims, checked against a plain set.

use super::*;
use crate::sync::rounds;
use std::collections::BTreeSet;
use std::sync::atomic::AtomicUsize;

fn table(limit: u32) -> Table<u32> {
    let Some(table) = Table::new(limit, |index| index) else { panic!("no memory") };
    table
}

#[test]
fn the_lowest_free_index_comes_first() {
    let table = table(5_000);
    for expected in 0..5_000 {
        assert_eq!(table.claim(), Some(expected));
        assert_eq!(table.get(expected), Some(&expected));
    }
    assert_eq!((table.claim(), table.used()), (None, 5_000));
    for freed in [4_999, 4_096, 63, 64] {
        table.release(freed);
    }
    for expected in [63, 64, 4_096, 4_999] {
        assert_eq!(table.claim(), Some(expected));
    }
    assert_eq!(table.claim(), None);
}

#[test]
fn any_order_of_claims_and_releases_agrees_with_a_set() {
    let limit = rounds(5_000);
    let (table, mut free) = (table(limit), (0..limit).collect::<BTreeSet<u32>>());
    let mut claimed = Vec::new();
    let mut random = 0x9E37_79B9_7F4A_7C15_u64;
    for step in 0..rounds(60_000) {
        random = random.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        let draw = (random >> 33) as usize;
        // Waves: fill for a while, then drain for a while.
        if draw % 100 < if step / rounds(10_000) % 2 == 0 { 80 } else { 20 } {
            assert_eq!(table.claim(), free.pop_first().inspect(|index| claimed.push(*index)));
        } else if !claimed.is_empty() {
            let index = claimed.swap_remove(draw % claimed.len());
            table.release(index);
            free.insert(index);
        }
        assert_eq!(table.used() as usize, claimed.len());
    }
}

#[test]
fn only_slots_in_use_are_made() {
    let table = table(1_000_000);
    assert_eq!(table.get(0), None);
    assert_eq!(table.claim(), Some(0));
    assert_eq!(table.iter().count(), 64);
    assert_eq!((table.get(64), table.get(1_000_000), table.get(u32::MAX)), (None, None, None));
    assert_eq!(Table::<u32>::new(u32::MAX, |index| index).unwrap().limit, LIMIT_MAX);
}

#[test]
fn a_walk_may_begin_anywhere() {
    let table = table(300);
    assert!((0..200).all(|_| table.claim().is_some()));
    let from = |index: u32| table.iter_from(index).map(|(index, _)| index);
    assert!(from(0).eq(table.iter().map(|(index, _)| index)));
    assert!([1, 63, 64, 130].into_iter().all(|index| from(index).eq(from(0).skip(index as usize))));
    assert_eq!(from(300).next(), None);
}

#[test]
fn a_limit_that_is_no_multiple_of_a_chunk_is_kept() {
    for limit in [1, 63, 65, 4_097] {
        let table = table(limit);
        assert_eq!((0..limit).filter_map(|_| table.claim()).count() as u32, limit);
        assert_eq!(table.claim(), None);
        assert_eq!(table.iter().count() as u32, limit);
    }
}

#[test]
fn every_slot_made_is_dropped_once() {
    static LIVE: AtomicUsize = AtomicUsize::new(0);
    struct Counted;
    impl Drop for Counted {
        fn drop(&mut self) {
            LIVE.fetch_sub(1, Ordering::Relaxed);
        }
    }
    let table = Table::new(200, |_| {
        LIVE.fetch_add(1, Ordering::Relaxed);
        Counted
    })
    .unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| (0..25).for_each(|_| assert!(table.claim().is_some())));
        }
    });
    assert_eq!(LIVE.load(Ordering::Relaxed), 128);
    drop(table);
    assert_eq!(LIVE.load(Ordering::Relaxed), 0);
}

#[test]
fn no_index_has_two_owners_and_none_is_lost() {
    const LIMIT: u32 = 130;
    static OWNERS: [AtomicU32; LIMIT as usize] = [const { AtomicU32::new(0) }; LIMIT as usize];
    let table = table(LIMIT);
    std::thread::scope(|scope| {
        for seed in 0..4_usize {
            let table = &table;
            scope.spawn(move || {
                let give_back = |index: u32| {
                    OWNERS[index as usize].fetch_sub(1, Ordering::AcqRel);
                    table.release(index);
                };
                let mut mine = Vec::new();
                for step in 0..rounds(20_000) as usize {
                    if (step + seed) % 64 < 40 {
                        mine.extend(table.claim().inspect(|index| {
                            assert_eq!(OWNERS[*index as usize].fetch_add(1, Ordering::AcqRel), 0);
                        }));
                    } else {
                        mine.pop().into_iter().for_each(give_back);
                    }
                }
                mine.into_iter().for_each(give_back);
            });
        }
    });
    assert_eq!((0..LIMIT).filter_map(|_| table.claim()).count() as u32, LIMIT);
}
