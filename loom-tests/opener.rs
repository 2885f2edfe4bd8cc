//! The opener's claim against the close and against the slot's next file, and a refusal against the room that is made.
//!
//! With the real words of state, cells and wants. Checked: no page is open after the closer found both cells quiet, and
//! a closer that found one in other hands is told; an opener that is held up leaves the number of the open page alone in
//! the file that has the slot next; a refused writer gets one event, or finds the room. The twins look before they claim,
//! let the cell go before they store its number, and look before they leave word.

use crate::config::Order;
use crate::fd::Fd;
use crate::file::cell::{Cell, Completer, Placement};
use crate::file::state::{CloseStart, Phase, State, Want, want};
use crate::file::write::WriteSide;
use crate::page::Class;
use crate::sync::{Arc, AtomicU32, Ordering, model, thread};
use Ordering::{AcqRel, Relaxed};

const PAGE: *mut u8 = std::ptr::without_provenance_mut(1 << 12);

struct File {
    state: State,
    cells: [Cell; 2],
    want: Want,
    fd: Fd,
    /// The closer was told to look again.
    told: AtomicU32,
}

impl File {
    fn new() -> Self {
        let state = State::new();
        let fd = Fd::new(0, state.begin(Phase::Opening, 0));
        assert!(state.opened(0));
        let cells = std::array::from_fn(|_| Cell::new());
        for cell in &cells {
            cell.reset(fd.generation(), Placement::default());
        }
        Self { state, cells, want: Want::new(), fd, told: AtomicU32::new(0) }
    }

    /// As `Commons::room_made`.
    fn room_made(&self) {
        if self.want.take(want::SHUT) != 0 {
            self.told.fetch_add(1, Relaxed);
        }
    }

    fn open_next(&self, looks_before: bool) {
        let next = &self.cells[1];
        let may = |file: &Self| file.state.set(0).phase() == Phase::Open;
        let early = looks_before && may(self);
        if !next.claim(self.fd.generation()) {
            return;
        }
        if early || !looks_before && may(self) {
            next.open(PAGE, Class::Small, false);
        } else {
            next.undo(self.fd.generation());
        }
        self.room_made();
    }

    /// As `Control::shut_cells`.
    fn shut(&self, leaves_word_first: bool) -> bool {
        if leaves_word_first {
            self.want.set(want::SHUT);
        }
        let mut quiet = true;
        for cell in &self.cells {
            if cell.seal(self.fd.generation()) == Some(Completer::Yes) {
                cell.empty();
            }
            quiet &= cell.load().is_empty();
        }
        if !leaves_word_first {
            self.want.set(want::SHUT);
        }
        quiet
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    LooksBeforeItClaims,
    LeavesWordAfterTheLook,
}

fn close(fault: Fault) {
    let file = Arc::new(File::new());
    let opener = file.clone();
    let opener = thread::spawn(move || opener.open_next(fault == Fault::LooksBeforeItClaims));
    assert!(file.state.close(file.fd, 0, false) == CloseStart::Begun);
    let mut quiet = file.shut(fault != Fault::LeavesWordAfterTheLook);
    opener.join().unwrap();
    if !quiet {
        assert_eq!(file.told.load(Relaxed), 1, "the closer waits for ever");
        quiet = file.shut(true);
    }
    assert!(quiet && file.cells.iter().all(|cell| !cell.load().is_open()), "a page is open in a closed file");
}

#[test]
fn no_page_is_opened_behind_the_closer() {
    model(|| close(Fault::None));
}

#[test]
#[should_panic(expected = "a page is open in a closed file")]
fn twin_that_looks_before_it_claims() {
    model(|| close(Fault::LooksBeforeItClaims));
}

#[test]
#[should_panic(expected = "the closer waits for ever")]
fn twin_that_leaves_word_after_its_look() {
    model(|| close(Fault::LeavesWordAfterTheLook));
}

/// A file whose second page is opened while it closes; its slot is another file's then, which opens its first.
struct Reused {
    state: State,
    write: WriteSide,
    want: Want,
}

impl Reused {
    fn begin(&self) -> Fd {
        let fd = Fd::new(0, self.state.begin(Phase::Opening, 0));
        self.write.reset(fd.generation(), Class::Large.bytes(), 0, Order::One);
        assert!(self.state.opened(0));
        fd
    }

    fn open_second(&self, fd: Fd, lets_go_first: bool) {
        let next = self.write.cell(2);
        if !next.claim(fd.generation()) {
            return;
        }
        let seen = self.state.set(0);
        if !seen.is(fd) || seen.phase() != Phase::Open {
            next.undo(fd.generation());
        } else if lets_go_first {
            next.prepare(Placement::default());
            next.open(PAGE, Class::Small, false);
            self.write.current.store(2, Ordering::Release);
        } else {
            self.write.advance(1, Placement::default());
            next.open(PAGE, Class::Small, false);
        }
        self.want.take(want::SHUT);
    }

    fn shut(&self, fd: Fd) -> bool {
        self.want.set(want::SHUT);
        let mut quiet = true;
        for cell in &self.write.cells {
            if cell.seal(fd.generation()) == Some(Completer::Yes) {
                cell.empty();
            }
            quiet &= cell.load().is_empty();
        }
        quiet
    }
}

fn reused(lets_go_first: bool) {
    let file = Arc::new(Reused { state: State::new(), write: WriteSide::new(), want: Want::new() });
    let fd = file.begin();
    assert!(file.write.cell(1).claim(fd.generation()));
    file.write.advance(0, Placement::default());
    file.write.cell(1).leave_empty();
    let opener = file.clone();
    let opener = thread::spawn(move || opener.open_second(fd, lets_go_first));
    assert!(file.state.close(fd, 0, false) == CloseStart::Begun);
    if !file.shut(fd) {
        // It is told, as the models above have it.
        return opener.join().unwrap();
    }
    file.state.finish(0);
    file.state.free();
    let next = file.begin();
    assert!(file.write.cell(1).claim(next.generation()));
    file.write.advance(0, Placement::default());
    file.write.cell(1).open(PAGE, Class::Small, false);
    opener.join().unwrap();
    let current = file.write.current();
    assert!(file.write.cell(current).load().takes_writes(), "page {current} is not the open one");
}

#[test]
fn an_opener_that_is_held_up_leaves_the_next_file_alone() {
    model(|| reused(false));
}

#[test]
#[should_panic(expected = "page 2 is not the open one")]
fn twin_that_lets_the_cell_go_before_it_stores_the_number() {
    model(|| reused(true));
}

/// A writer that is refused and one that makes room, of which only the want word is the real one; as in `Patience`:
/// leave word, look once more, go.
fn refusal(leaves_word_first: bool) {
    struct Room {
        want: Want,
        pages: AtomicU32,
        events: AtomicU32,
    }
    let shared = Arc::new(Room { want: Want::new(), pages: AtomicU32::new(0), events: AtomicU32::new(0) });
    let writer = shared.clone();
    // True: refused.
    let writer = thread::spawn(move || {
        let take = || writer.pages.fetch_update(Relaxed, Relaxed, |pages| pages.checked_sub(1)).is_ok();
        if leaves_word_first {
            writer.want.set(want::WRITE);
            !take()
        } else {
            let refused = !take();
            if refused {
                writer.want.set(want::WRITE);
            }
            refused
        }
    });
    // Relaxed: the want word alone orders the room and the look.
    shared.pages.fetch_add(1, Relaxed);
    if shared.want.take(want::WRITE) != 0 {
        shared.events.fetch_add(1, AcqRel);
    }
    let refused = writer.join().unwrap();
    let events = shared.events.load(Relaxed);
    assert!(!refused || events == 1, "refused and never told");
    assert!(events <= 1, "told twice");
}

#[test]
fn a_refused_writer_is_told() {
    model(|| refusal(true));
}

#[test]
#[should_panic(expected = "refused and never told")]
fn twin_that_looks_before_it_leaves_word() {
    model(|| refusal(false));
}
