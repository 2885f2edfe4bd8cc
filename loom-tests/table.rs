//! `Table`: no index is claimed twice, and no free slot stays hidden behind a hint.

use crate::sync::{Arc, AtomicU32, Ordering, model, thread};
use crate::table::Table;
use Ordering::{AcqRel, Acquire};

fn table(limit: u32) -> Arc<Table<u32>> {
    let Some(table) = Table::new(limit, |index| index) else { panic!("memory") };
    Arc::new(table)
}

#[test]
fn two_claims_never_give_the_same_slot() {
    model(|| {
        let table = table(4);
        let other = table.clone();
        let other = thread::spawn(move || other.claim());
        let mine = table.claim();
        let theirs = other.join().unwrap();
        assert!(mine.is_some() && theirs.is_some() && mine != theirs);
        assert!([mine, theirs].into_iter().flatten().all(|index| table.get(index) == Some(&index)));
        assert_eq!(table.used(), 2);
    });
}

/// What two threads do at once: claim one, or release the index told.
#[derive(Clone, Copy)]
enum Act {
    Claim,
    Release(u32),
}

/// `claimed` slots are claimed; two threads act; then the free ones come out lowest first: a hint
/// that lies would show as another order.
fn acts(limit: u32, claimed: u32, acts: [Act; 2]) {
    let table = table(limit);
    let mut free: std::collections::BTreeSet<u32> = (claimed..limit).collect();
    for expected in 0..claimed {
        assert_eq!(table.claim(), Some(expected));
    }
    let act = |table: Arc<Table<u32>>, act: Act| match act {
        Act::Claim => table.claim(),
        Act::Release(index) => {
            table.release(index);
            None
        }
    };
    for one in acts {
        if let Act::Release(index) = one {
            free.insert(index);
        }
    }
    let other = table.clone();
    let other = thread::spawn(move || act(other, acts[0]));
    let mine = act(table.clone(), acts[1]);
    let theirs = other.join().unwrap();
    for index in mine.into_iter().chain(theirs) {
        assert!(free.remove(&index), "claimed twice");
    }
    for index in free {
        assert_eq!(table.claim(), Some(index), "the lowest free slot is hidden");
    }
    assert_eq!(table.claim(), None);
}

#[test]
fn a_slot_freed_while_its_word_fills_up_is_found() {
    model(|| acts(4, 1, [Act::Claim, Act::Release(0)]));
    model(|| acts(4, 3, [Act::Claim, Act::Release(0)]));
}

#[test]
fn slots_freed_together_are_all_found() {
    model(|| acts(4, 4, [Act::Release(0), Act::Release(1)]));
    model(|| acts(8, 8, [Act::Release(1), Act::Release(6)]));
}

#[test]
fn a_claim_of_the_last_slot_and_a_release_leave_the_levels_true() {
    model(|| acts(8, 7, [Act::Claim, Act::Release(2)]));
    model(|| acts(8, 8, [Act::Claim, Act::Release(5)]));
}

/// One word of two slots and the hint "full" over it, as in the table.
fn hint(looks_again: bool) {
    let shared = Arc::new((AtomicU32::new(0b01), AtomicU32::new(0)));
    let other = shared.clone();
    let other = thread::spawn(move || {
        let (word, full) = &*other;
        if word.fetch_or(0b10, AcqRel) | 0b10 == 0b11 {
            full.fetch_or(1, AcqRel);
            if looks_again && word.load(Acquire) != 0b11 {
                full.fetch_and(0, AcqRel);
            }
        }
    });
    let (word, full) = &*shared;
    if word.fetch_and(!0b01, AcqRel) == 0b11 {
        full.fetch_and(0, AcqRel);
    }
    other.join().unwrap();
    assert_eq!(full.load(Acquire), 0, "the lowest free slot is hidden");
}

#[test]
fn a_hint_that_is_looked_at_again_is_true() {
    model(|| hint(true));
}

#[test]
#[should_panic(expected = "the lowest free slot is hidden")]
fn twin_that_sets_the_hint_and_goes() {
    model(|| hint(false));
}

#[test]
#[should_panic(expected = "claimed twice")]
fn twin_that_claims_in_two_steps() {
    model(|| {
        let word = Arc::new(AtomicU32::new(0));
        let claim = |word: &AtomicU32| {
            let old = word.load(Acquire);
            let bit = 1 << old.trailing_ones();
            word.store(old | bit, Ordering::Release);
            bit
        };
        let other = word.clone();
        let other = thread::spawn(move || claim(&other));
        let mine = claim(&word);
        assert_ne!(mine, other.join().unwrap(), "claimed twice");
    });
}
