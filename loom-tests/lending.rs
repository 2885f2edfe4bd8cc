//! Lends against closes, flushes, seals and writers: a lent page is given back once, and what was refused is told.
//!
//! The real files in a small module. Checked: a close while a page is lent; a writer refused by a lend; the flusher and the
//! timer's look at a lent page; two lends; a lend against a `File` that takes the descriptor over. The twins are copies of
//! the steps, with the mistakes that lose a page, a byte or an event.

#![allow(unsafe_code, reason = "lent room is filled by its address")]

use crate::config::OpenOptions;
use crate::error::{ErrorKind, Operation};
use crate::event::Readiness;
use crate::fd::Fd;
use crate::file::cell::{Cell, Completer, Lend, Placement, Reserve};
use crate::file::state::{Want, mail, want};
use crate::file::write::Caller;
use crate::page::Class;
use crate::sync::{Arc, AtomicU32, Ordering, model, thread};

use super::module::{Module, Seen};

const LIFE: u32 = 7;

/// Lends room, fills some of it and commits. True: the bytes were accepted.
fn put(module: &Module, fd: Fd, byte: u8, bytes: usize) -> bool {
    let Ok((slot, lent)) = module.commons().lend(fd, bytes) else { return false };
    assert!(lent.bytes >= bytes, "less room than was asked for");
    // SAFETY: the room is this lend's, and has `bytes` bytes.
    unsafe { lent.start.write_bytes(byte, bytes) };
    module.commons().end_lend(slot, fd, lent.number, bytes as u32).is_ok()
}

#[test]
fn a_close_against_a_lend_takes_all_of_it_or_nothing() {
    model(|| {
        let module = Module::new();
        let fd = module.open(&OpenOptions::new().write(true));
        let lender = module.clone();
        let lender = thread::spawn(move || put(&lender, fd, 1, 3000));
        module.commons().close(fd, 0, Operation::Close, Caller::Descriptor).unwrap();
        module.run();
        let taken = lender.join().unwrap();
        module.run();
        let mut seen = Seen::default();
        module.drain(&mut seen);
        assert_eq!(seen.count(Readiness::CLOSED), 1, "not closed");
        let expected = vec![1; if taken { 3000 } else { 0 }];
        assert!(*module.disk.lock().unwrap() == expected, "the file has other bytes than were accepted");
        module.assert_idle();
    });
}

#[test]
fn a_flush_against_a_lend_writes_what_stands_still_and_the_rest_later() {
    model(|| {
        let module = Module::new();
        let fd = module.open(&OpenOptions::new().write(true));
        assert!(module.commons().write(fd, &[1; 1000]).is_ok());
        let lender = module.clone();
        let lender = thread::spawn(move || put(&lender, fd, 2, 1000));
        module.commons().sync(fd).unwrap();
        module.run();
        let written = module.disk.lock().unwrap().len();
        assert!(written >= 1000, "a lend holds up a sync");
        let taken = lender.join().unwrap();
        assert!(taken, "nothing refuses the lend");
        let slot = module.commons().slot(fd).unwrap();
        // The timer, and then its look at an idle file.
        module.commons().post(slot, mail::FLUSH);
        module.run();
        module.commons().post(slot, mail::IDLE);
        module.run();
        assert_eq!(module.commons().pool.bytes_in_use(), 0, "an idle file holds a page");
        assert_eq!(module.disk.lock().unwrap().len(), 2000, "accepted bytes are not in the file");
        module.commons().close(fd, 0, Operation::Close, Caller::Descriptor).unwrap();
        module.run();
        let mut seen = Seen::default();
        module.drain(&mut seen);
        module.assert_idle();
    });
}

#[test]
fn whom_a_lend_refuses_is_told_at_its_end() {
    model(|| {
        let module = Module::new();
        let fd = module.open(&OpenOptions::new().write(true));
        let writer = module.clone();
        let writer = thread::spawn(move || match writer.commons().write(fd, &[1; 1000]) {
            Ok(bytes) => bytes == 1000,
            Err(error) => {
                assert_eq!(error.kind(), ErrorKind::WouldBlock);
                false
            }
        });
        let lent = put(&module, fd, 2, 1000);
        let wrote = writer.join().unwrap();
        let mut seen = Seen::default();
        module.drain(&mut seen);
        let refused = usize::from(!wrote) + usize::from(!lent);
        assert!(refused == 0 || seen.count(Readiness::WRITABLE) > 0, "refused, and never told");
        module.commons().close(fd, 0, Operation::Close, Caller::Descriptor).unwrap();
        module.run();
        module.drain(&mut seen);
        let bytes = 1000 * (usize::from(wrote) + usize::from(lent));
        assert_eq!(module.disk.lock().unwrap().len(), bytes, "accepted bytes are not in the file");
        module.assert_idle();
    });
}

#[test]
fn a_file_that_takes_over_meets_no_lent_page() {
    model(|| {
        let module = Module::new();
        let fd = module.open(&OpenOptions::new().write(true));
        let lender = module.clone();
        let lender = thread::spawn(move || put(&lender, fd, 1, 1000));
        let owned = module.commons().own(fd).is_ok();
        let slot = module.commons().slot(fd).unwrap();
        let cell = slot.write.cell(slot.write.current()).load();
        assert!(!owned || !cell.takes_writes(), "an owned file takes bytes by descriptor");
        let taken = lender.join().unwrap();
        let cell = slot.write.cell(slot.write.current()).load();
        assert!(!owned || !cell.takes_writes() && !cell.is_lent(), "an owned file has a page of others");
        if owned {
            module.commons().close_owned(slot, fd, 0, Operation::Close).unwrap();
        } else {
            module.commons().close(fd, 0, Operation::Close, Caller::Descriptor).unwrap();
        }
        module.run();
        let mut seen = Seen::default();
        module.drain(&mut seen);
        assert_eq!(seen.count(Readiness::CLOSED), 1, "not closed");
        assert_eq!(module.disk.lock().unwrap().len(), if taken { 1000 } else { 0 });
        module.assert_idle();
    });
}

/// A cell, who was refused, and what came of it.
struct Scene {
    cell: Cell,
    want: Want,
    told: AtomicU32,
}

impl Scene {
    fn new() -> Self {
        let cell = Cell::new();
        cell.reset(LIFE, Placement::default());
        assert!(cell.claim(LIFE));
        cell.open(std::ptr::without_provenance_mut(1 << 12), Class::Small, false);
        Self { cell, want: Want::new(), told: AtomicU32::new(0) }
    }

    fn tell(&self) {
        if self.want.take(want::SHUT) != 0 {
            // ORDER: Relaxed: read after the join.
            self.told.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// The closer seals the cell; if it is lent, it leaves word and looks once more.
fn shut(scene: &Scene, word_first: bool) -> bool {
    if word_first {
        scene.want.set(want::SHUT);
    }
    let sealed = scene.cell.seal(LIFE) == Some(Completer::Yes);
    if !word_first && !sealed {
        scene.want.set(want::SHUT);
    }
    sealed
}

/// A lend that ends against a closer that waits for it: the cell is sealed by one, or the closer is told to look again.
fn end_against_close(word_first: bool, tells_before: bool) {
    model(move || {
        let scene = Arc::new(Scene::new());
        assert_eq!(scene.cell.lend(LIFE, 1), Lend::Granted);
        let lender = scene.clone();
        let lender = thread::spawn(move || {
            if tells_before {
                lender.tell();
            }
            lender.cell.give_back(100, false);
            if !tells_before {
                lender.tell();
            }
        });
        let sealed = shut(&scene, word_first);
        lender.join().unwrap();
        // ORDER: Relaxed: after the join.
        assert!(sealed || scene.told.load(Ordering::Relaxed) == 1, "the close is forgotten");
        assert_eq!(scene.cell.load().position(), 100, "bytes are lost");
    });
}

#[test]
fn the_end_of_a_lend_meets_the_close_or_tells_it() {
    end_against_close(true, false);
}

#[test]
#[should_panic(expected = "the close is forgotten")]
fn twin_whose_closer_looks_before_it_leaves_word() {
    end_against_close(false, false);
}

#[test]
#[should_panic(expected = "the close is forgotten")]
fn twin_that_tells_before_the_room_is_back() {
    end_against_close(true, true);
}

/// What a writer, a borrower and a flusher do with a page; the twin has it too.
trait Page: Send + Sync + 'static {
    /// A writer comes and goes. True: it was the completer.
    fn write(&self) -> bool;
    fn lend(&self) -> bool;
    /// A writer is in the page, and it is lent.
    fn is_both(&self) -> bool;
    /// `None`: it cannot be sealed now.
    fn seal(&self) -> Option<Completer>;
}

impl Page for Cell {
    fn write(&self) -> bool {
        matches!(self.reserve(LIFE, 10, 100), Reserve::Granted { .. }) && self.commit() == Completer::Yes
    }

    fn lend(&self) -> bool {
        Cell::lend(self, LIFE, 1) == Lend::Granted
    }

    fn is_both(&self) -> bool {
        let word = self.load();
        word.is_lent() && word.writers() > 0
    }

    fn seal(&self) -> Option<Completer> {
        Cell::seal(self, LIFE)
    }
}

/// A copy of the word: writers below, then SEALED and LENT. The lend does not ask whether a writer is in the page.
struct Careless(AtomicU32);

const SEALED: u32 = 1 << 8;
const LENT: u32 = 1 << 9;

impl Page for Careless {
    fn write(&self) -> bool {
        let enter = |word: u32| (word & (SEALED | LENT) == 0).then_some(word + 1);
        // ORDER: AcqRel: as the word that this copies.
        self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, enter).is_ok()
            // ORDER: AcqRel: as above.
            && self.0.fetch_sub(1, Ordering::AcqRel) == SEALED + 1
    }

    fn lend(&self) -> bool {
        // ORDER: AcqRel: as above.
        self.0.fetch_or(LENT, Ordering::AcqRel) & SEALED == 0
    }

    fn is_both(&self) -> bool {
        // ORDER: Acquire: as above.
        let word = self.0.load(Ordering::Acquire);
        word & LENT != 0 && word & 0xff != 0
    }

    fn seal(&self) -> Option<Completer> {
        let seal = |word: u32| (word & LENT == 0).then_some(word | SEALED);
        // ORDER: AcqRel: as above.
        let before = self.0.fetch_update(Ordering::AcqRel, Ordering::Acquire, seal).ok()?;
        Some(if before & 0xff == 0 { Completer::Yes } else { Completer::No })
    }
}

/// The flusher seals a page with a writer in it, so that the writer hands it over. A page that is lent cannot be sealed; it
/// has no writer either, or the flusher would have to wait for the end of the lend.
fn flusher_beside_a_lend<P: Page>(page: P) {
    let page = Arc::new(page);
    let writer = page.clone();
    let writer = thread::spawn(move || writer.write());
    let lender = page.clone();
    let lender = thread::spawn(move || lender.lend());
    let sealed = page.seal();
    assert!(sealed.is_some() || !page.is_both(), "a flush waits for the lend");
    let completes = writer.join().unwrap();
    let _ = lender.join().unwrap();
    assert!(sealed != Some(Completer::No) || completes, "nobody hands the page over");
}

#[test]
fn a_lent_page_has_no_writer_in_it() {
    model(|| flusher_beside_a_lend(Scene::new().cell));
}

#[test]
#[should_panic(expected = "a flush waits for the lend")]
fn twin_that_lends_beside_a_writer() {
    model(|| flusher_beside_a_lend(Careless(AtomicU32::new(0))));
}
