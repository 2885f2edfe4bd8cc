//! `Cell`: a sealed page has one completer, who sees every byte; the flusher reads only what stands still.
//!
//! The real cells, with an array of loom's cells for the bytes of a page: an access that is not ordered ends the run.
//! Checked: two writers and a sealer; a writer against the flusher's look at an open page, up to the page after next in
//! the same cell; a writer with a word of an older page, which looked the same. The twins are small copies of the word.

#![allow(unsafe_code, reason = "the bytes of a page are reached by pointers")]

use crate::config::Order;
use crate::file::cell::{Cell, Completer, Placement, Reserve};
use crate::file::gather::{Quiet, quiet_part};
use crate::file::note::Sealed;
use crate::file::write::WriteSide;
use crate::page::Class;
use crate::sync::{Arc, AtomicU32, AtomicU64, Ordering, UnsafeCell, model, thread};
use Ordering::{AcqRel, Acquire, Relaxed, Release};

const LIFE: u32 = 7;
/// The bytes that stand for one of loom's cells.
const BLOCK: usize = 2048;
const BLOCKS: usize = 2;
const WHOLE: usize = 1 << 16;

/// The bytes of a page, in blocks.
struct Bytes([UnsafeCell<u32>; BLOCKS]);

// SAFETY: loom checks every access.
unsafe impl Sync for Bytes {}

impl Bytes {
    fn new() -> Self {
        Self(std::array::from_fn(|_| UnsafeCell::new(0)))
    }

    fn fill(&self, position: u32) {
        // SAFETY: loom checks that nobody else is at this block.
        self.0[position as usize / BLOCK].with_mut(|block| unsafe { *block = 1 });
    }

    /// How many blocks below `len` are filled.
    fn filled(&self, len: u32) -> u32 {
        let blocks = self.0[..len as usize / BLOCK].iter();
        // SAFETY: as above.
        blocks.map(|block| block.with(|block| unsafe { *block })).sum()
    }
}

/// The word of a page that is not memory.
fn page_word(number: usize) -> *mut u8 {
    std::ptr::without_provenance_mut(number << 12)
}

fn placement(sequence: u32) -> Placement {
    Placement { sequence, base: u64::from(sequence) * 1000, start: u64::from(sequence) * 100 }
}

/// What writers and a sealer do with a page; the twins have it too.
trait Page: Send + Sync + 'static {
    fn reserve(&self) -> Option<u32>;
    /// True: the completer.
    fn commit(&self) -> bool;
    fn seal(&self) -> bool;
    fn position(&self) -> u32;
}

impl Page for Cell {
    fn reserve(&self) -> Option<u32> {
        match Cell::reserve(self, LIFE, BLOCK, WHOLE) {
            Reserve::Granted { position, .. } => Some(position),
            _ => None,
        }
    }

    fn commit(&self) -> bool {
        Cell::commit(self) == Completer::Yes
    }

    fn seal(&self) -> bool {
        Cell::seal(self, LIFE) == Some(Completer::Yes)
    }

    fn position(&self) -> u32 {
        self.load().position()
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// Counts out, and looks afterwards whether it was the last.
    LooksAfterwards,
    /// Counts out without publishing its bytes.
    PublishesNothing,
}

/// A copy of the word: position:16 | writers:8 at 16 | sealed at 24.
struct Copied(AtomicU32, Fault);

const WRITER: u32 = 1 << 16;
const SEALED: u32 = 1 << 24;

impl Page for Copied {
    fn reserve(&self) -> Option<u32> {
        let granted = |word: u32| (word & SEALED == 0).then_some(word + WRITER + BLOCK as u32);
        self.0.fetch_update(Acquire, Acquire, granted).ok().map(|before| before & 0xffff)
    }

    fn commit(&self) -> bool {
        let order = if self.1 == Fault::PublishesNothing { Relaxed } else { AcqRel };
        let before = self.0.fetch_sub(WRITER, order);
        if self.1 == Fault::LooksAfterwards {
            return self.0.load(Acquire) >> 16 == SEALED >> 16;
        }
        before >> 16 == (SEALED | WRITER) >> 16
    }

    fn seal(&self) -> bool {
        self.0.fetch_or(SEALED, AcqRel) >> 16 == 0
    }

    fn position(&self) -> u32 {
        self.0.load(Acquire) & 0xffff
    }
}

/// Two writers of one block each, and one that seals.
fn writers_and_sealer<P: Page>(page: P) {
    let shared = Arc::new((page, Bytes::new(), AtomicU32::new(0)));
    fn complete<P: Page>(shared: &(P, Bytes, AtomicU32)) {
        let (page, bytes, completers) = shared;
        completers.fetch_add(1, Relaxed);
        let len = page.position();
        assert_eq!(bytes.filled(len), len / BLOCK as u32, "bytes are missing");
    }
    let writers = [0; 2].map(|_| {
        let shared = shared.clone();
        thread::spawn(move || {
            let (page, bytes, _) = &*shared;
            if let Some(position) = page.reserve() {
                bytes.fill(position);
                if page.commit() {
                    complete(&shared);
                }
            }
        })
    });
    if shared.0.seal() {
        complete(&shared);
    }
    for writer in writers {
        writer.join().unwrap();
    }
    assert_eq!(shared.2.load(Relaxed), 1, "not exactly one completer");
}

fn open_cell(class: Class) -> Cell {
    let cell = Cell::new();
    cell.reset(LIFE, Placement::default());
    assert!(cell.claim(LIFE));
    cell.prepare(placement(1));
    cell.open(page_word(1), class, false);
    cell
}

#[test]
fn a_sealed_page_has_one_completer_who_sees_every_byte() {
    model(|| writers_and_sealer(open_cell(Class::Small)));
}

#[test]
fn the_copy_of_the_word_does_the_same() {
    model(|| writers_and_sealer(Copied(AtomicU32::new(0), Fault::None)));
}

#[test]
#[should_panic(expected = "not exactly one completer")]
fn twin_that_looks_after_it_counted_itself_out() {
    model(|| writers_and_sealer(Copied(AtomicU32::new(0), Fault::LooksAfterwards)));
}

#[test]
#[should_panic(expected = "Causality violation")]
fn twin_that_counts_itself_out_without_publishing() {
    model(|| writers_and_sealer(Copied(AtomicU32::new(0), Fault::PublishesNothing)));
}

/// The writer goes on from page 1 to page 3, which is in the same cell, while the flusher looks for page 1.
fn flusher(look: fn(&WriteSide, u32) -> Quiet) {
    let write = WriteSide::new();
    write.reset(LIFE, WHOLE, 0, Order::One);
    let shared = Arc::new((write, Bytes::new()));
    let open = |write: &WriteSide, number: u32| {
        let cell = write.cell(number);
        assert!(cell.claim(LIFE));
        write.advance(number.wrapping_sub(1), placement(number));
        cell.open(page_word(number as usize), Class::Small, false);
    };
    open(&shared.0, 1);
    let writer = shared.clone();
    let writer = thread::spawn(move || {
        let (write, bytes) = &*writer;
        for number in 1..=2 {
            let cell = write.cell(number);
            let Reserve::Granted { position, .. } = cell.reserve(LIFE, BLOCK, WHOLE) else {
                unreachable!("it fits")
            };
            if number == 1 {
                bytes.fill(position);
            }
            assert_eq!(cell.commit(), Completer::No);
            assert_eq!(cell.seal(LIFE), Some(Completer::Yes));
            assert!(cell.complete().0 == page_word(number as usize));
            cell.empty();
            open(write, number + 1);
        }
    });
    if let Quiet::Part(Sealed { page, len, placement: place }) = look(&shared.0, 1) {
        assert!(page == page_word(1) && place == placement(1), "parts of two pages");
        assert_eq!(shared.1.filled(len), len / BLOCK as u32, "bytes are missing");
    }
    writer.join().unwrap();
}

#[test]
fn the_flusher_reads_only_what_stands_still() {
    model(|| flusher(quiet_part));
}

#[test]
#[should_panic(expected = "parts of two pages")]
fn twin_that_looks_once() {
    model(|| {
        flusher(|write, sequence| {
            for cell in &write.cells {
                let word = cell.load();
                let (place, page) = (cell.placement(), cell.page());
                if word.is_open() && place.sequence == sequence && word.writers() == 0 {
                    return Quiet::Part(Sealed { page, len: word.position(), placement: place });
                }
            }
            Quiet::None
        });
    });
}

#[test]
#[should_panic(expected = "Causality violation")]
fn twin_that_takes_a_page_with_a_writer_in_it() {
    model(|| {
        flusher(|write, sequence| match write.cell(sequence) {
            cell if cell.load().is_open() && cell.placement().sequence == sequence => {
                let len = cell.load().position();
                Quiet::Part(Sealed { page: page_word(1), len, placement: placement(1) })
            }
            _ => Quiet::None,
        });
    });
}

/// The count and the offset are read beside the words of two cells, one of which is set up anew meanwhile.
#[test]
fn the_end_of_a_file_is_not_made_of_two_pages() {
    model(|| {
        let write = Arc::new(WriteSide::new());
        write.reset(LIFE, WHOLE, 0, Order::One);
        let writer = write.clone();
        let writer = thread::spawn(move || {
            let (mut start, mut base) = (0, 0);
            for number in 1..=2 {
                let cell = writer.cell(number);
                assert!(cell.claim(LIFE));
                base += 10_000;
                writer.advance(number - 1, Placement { sequence: number, base, start });
                cell.open(page_word(1), Class::Small, false);
                let granted = cell.reserve(LIFE, 100, WHOLE);
                assert!(matches!(granted, Reserve::Granted { .. }));
                assert_eq!((cell.commit(), cell.seal(LIFE)), (Completer::No, Some(Completer::Yes)));
                cell.empty();
                (start, base) = (start + 100, base + 100);
            }
        });
        // A page begins 10,000 after the end of the one before.
        let (accepted, end) = write.end();
        assert!(accepted == end % 10_000, "parts of two pages");
        writer.join().unwrap();
        assert_eq!(write.end(), (200, 20_200));
    });
}

/// A writer of two blocks meets a page with room for them, which becomes a page without: at the same position.
fn looks_the_same<P: Resized>(page: P) {
    let page = Arc::new(page);
    let writer = page.clone();
    let writer = thread::spawn(move || {
        if let Some((end, capacity)) = writer.take() {
            assert!(end <= capacity, "beyond the end of the page");
        }
    });
    page.turn();
    writer.join().unwrap();
}

/// A large page with one block in it, whose cell becomes that of a small page with one block in it.
trait Resized: Send + Sync + 'static {
    /// Reserves two blocks: where they end, and the bytes of the page that they are in.
    fn take(&self) -> Option<(u32, u32)>;
    fn turn(&self);
}

impl Resized for Cell {
    fn take(&self) -> Option<(u32, u32)> {
        match Cell::reserve(self, LIFE, 2 * BLOCK, WHOLE) {
            Reserve::Granted { position, bytes } => Some((position + bytes, self.capacity())),
            _ => None,
        }
    }

    fn turn(&self) {
        if !Page::seal(self) {
            return;
        }
        self.empty();
        assert!(self.claim(LIFE));
        self.prepare(placement(3));
        self.open(page_word(2), Class::Small, false);
        if Page::reserve(self).is_some() {
            let _ = Cell::commit(self);
        }
    }
}

/// Position in the word, capacity beside it.
struct Beside(AtomicU64, AtomicU32);

impl Resized for Beside {
    fn take(&self) -> Option<(u32, u32)> {
        let granted = |position: u64| {
            let room = u64::from(self.1.load(Relaxed)).saturating_sub(position);
            (room >= 2 * BLOCK as u64).then_some(position + 2 * BLOCK as u64)
        };
        let before = self.0.fetch_update(AcqRel, Acquire, granted).ok()?;
        Some((before as u32 + 2 * BLOCK as u32, self.1.load(Relaxed)))
    }

    fn turn(&self) {
        // Sealed and completed, unless the writer came first; then the small page with one block.
        if self.0.compare_exchange(BLOCK as u64, u64::MAX, AcqRel, Relaxed).is_ok() {
            self.1.store(Class::Small.bytes() as u32, Relaxed);
            self.0.store(BLOCK as u64, Release);
        }
    }
}

#[test]
fn a_reservation_lies_within_its_page() {
    model(|| {
        let cell = open_cell(Class::Large);
        assert!(Page::reserve(&cell).is_some() && !Page::commit(&cell));
        looks_the_same(cell);
    });
}

#[test]
#[should_panic(expected = "beyond the end of the page")]
fn twin_whose_word_does_not_tell_the_page() {
    model(|| {
        let large = Class::Large.bytes() as u32;
        looks_the_same(Beside(AtomicU64::new(BLOCK as u64), AtomicU32::new(large)));
    });
}
