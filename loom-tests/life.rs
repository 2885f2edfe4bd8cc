//! `State` and `Table`: a handle of one life of a slot changes nothing in the next.
//!
//! One thread closes, marks or owns by its handle, while another ends that life and begins the next in the same slot.
//! The twin looks at the generation first and acts afterwards.

use crate::event::Readiness;
use crate::fd::Fd;
use crate::file::state::{CloseStart, LastAnswer, Pending, Phase, State, flag};
use crate::news::DEFAULT_INBOX;
use crate::sync::{Arc, AtomicU64, Ordering, model, thread};
use crate::table::Table;
use Ordering::{AcqRel, Acquire};

struct Slot {
    state: State,
    pending: Pending,
}

fn table() -> Arc<Table<Slot>> {
    let Some(table) = Table::new(1, |_| Slot { state: State::new(), pending: Pending::new() }) else {
        panic!("memory")
    };
    Arc::new(table)
}

fn claim(table: &Table<Slot>) -> (&Slot, Fd) {
    let slot = table.claim().and_then(|index| table.get(index));
    let Some(slot) = slot else { panic!("the one place is free") };
    let _ = slot.pending.begin(slot.state.load().generation(), false, DEFAULT_INBOX, 0);
    (slot, Fd::new(0, slot.state.begin(Phase::Opening, 0)))
}

/// Ends the life of `fd`, unless the other thread's close came first; then begins the next.
fn next_life(table: &Table<Slot>, slot: &Slot, fd: Fd) -> Fd {
    let _ = slot.state.close(fd, 0, false);
    slot.state.finish(0);
    let _ = slot.pending.raise(Readiness::CLOSED.bits());
    let _ = slot.pending.drain(DEFAULT_INBOX);
    slot.state.free();
    table.release(0);
    claim(table).1
}

#[test]
fn a_late_close_never_closes_the_next_file() {
    model(|| {
        let table = table();
        let (slot, fd) = claim(&table);
        let late = table.clone();
        let late = thread::spawn(move || {
            late.get(0).is_some_and(|slot| slot.state.close(fd, 0, false) == CloseStart::Begun)
        });
        let next = next_life(&table, slot, fd);
        let _ = late.join().unwrap();
        let seen = slot.state.load();
        assert!(seen.is(next) && seen.phase() == Phase::Opening, "closed by a handle of the last life");
    });
}

#[test]
fn a_late_mark_is_not_on_the_next_file() {
    model(|| {
        let table = table();
        let (slot, fd) = claim(&table);
        let late = table.clone();
        let late = thread::spawn(move || {
            let Some(slot) = late.get(0) else { return };
            let _ = slot.state.set_if(fd, flag::OWNED, flag::OWNED);
            let _ = slot.state.clear_if(fd, flag::OWNED);
        });
        let next = next_life(&table, slot, fd);
        late.join().unwrap();
        let seen = slot.state.load();
        assert!(seen.is(next) && !seen.has(flag::OWNED), "marked by a handle of the last life");
    });
}

#[test]
fn a_late_question_never_gets_the_next_files_answer() {
    model(|| {
        let table = table();
        let (slot, fd) = claim(&table);
        let late = table.clone();
        let late = thread::spawn(move || late.get(0).map(|slot| slot.pending.take_closed(fd.generation())));
        let _ = slot.state.close(fd, 0, false);
        slot.state.finish(0);
        let _ = slot.pending.raise(Readiness::CLOSED.bits());
        let (_, end) = slot.pending.drain(DEFAULT_INBOX);
        slot.state.free();
        table.release(0);
        let (slot, next) = claim(&table);
        let _ = slot.pending.raise(Readiness::CLOSED.bits());
        let answer = late.join().unwrap();
        if answer == Some(LastAnswer::DrainFrees) {
            // Taken in its own life, before the drain.
            assert!(end == crate::file::state::DrainEnd::Free, "an answer of the next life");
        } else {
            assert!(
                answer == Some(LastAnswer::Gone) || answer == Some(LastAnswer::NotYet),
                "an answer of the next life"
            );
        }
        assert!(slot.pending.take_closed(next.generation()) == LastAnswer::DrainFrees, "the answer is gone");
    });
}

/// A word generation:32 | phase:32, closed in one step or in two.
fn copied(in_one_step: bool) {
    const CLOSING: u64 = 1;
    let word = Arc::new(AtomicU64::new(0));
    let late = word.clone();
    let late = thread::spawn(move || {
        if in_one_step {
            _ = late.compare_exchange(0, CLOSING, AcqRel, Acquire);
        } else if late.load(Acquire) >> 32 == 0 {
            late.fetch_or(CLOSING, AcqRel);
        }
    });
    // The life ends, and the next begins.
    word.swap(1 << 32, AcqRel);
    late.join().unwrap();
    assert_eq!(word.load(Acquire), 1 << 32, "closed by a handle of the last life");
}

#[test]
fn one_step_is_enough() {
    model(|| copied(true));
}

#[test]
#[should_panic(expected = "closed by a handle of the last life")]
fn twin_that_looks_and_then_closes() {
    model(|| copied(false));
}
