//! `Stripe`: a page that is recalled is taken out once, with every byte, and never while its thread is inside.
//!
//! The real stripes, with an array of loom's cells for the bytes of pages: an access that is not ordered ends the run.
//! Checked: a thread that writes twice against a recaller and the actor's look at the open page, up to the page after;
//! two threads in a stripe that they share, and one that recalls. The twins are small copies of the protocol.

#![allow(unsafe_code, reason = "the bytes of a page are reached by pointers")]

use crate::file::stripe::{Found, Stripe, Stripes};
use crate::sync::thread_number::OWN;
use crate::sync::{
    Arc, AtomicBool, AtomicU32, Ordering, UnsafeCell, heavy_fence, light_fence, model, thread,
};
use Ordering::{AcqRel, Acquire, Relaxed, Release};

const LIFE: u32 = 7;
const PAGES: usize = 3;

/// A byte per page.
struct Bytes([UnsafeCell<u32>; PAGES]);

// SAFETY: loom checks every access.
unsafe impl Sync for Bytes {}
// SAFETY: as above.
unsafe impl Send for Bytes {}

impl Bytes {
    fn new() -> Self {
        Self(std::array::from_fn(|_| UnsafeCell::new(0)))
    }

    fn fill(&self, page: usize) {
        // SAFETY: loom checks that nobody else is at this page.
        self.0[page].with_mut(|bytes| unsafe { *bytes += 1 });
    }

    fn filled(&self, page: usize) -> u32 {
        // SAFETY: as above.
        self.0[page].with(|bytes| unsafe { *bytes })
    }
}

/// Stripes of one file, the pages that were handed over, and the bytes of all.
struct Shared {
    stripes: Stripes,
    bytes: Bytes,
    /// Per page: how often it was handed over.
    handed_over: [AtomicU32; PAGES],
    opened: AtomicU32,
}

fn page_word(page: usize) -> *mut u8 {
    std::ptr::without_provenance_mut((page + 1) << 12)
}

impl Shared {
    fn new() -> Self {
        let stripes = Stripes::new();
        stripes.reset(LIFE, true);
        Self {
            stripes,
            bytes: Bytes::new(),
            handed_over: std::array::from_fn(|_| AtomicU32::new(0)),
            opened: AtomicU32::new(0),
        }
    }

    fn hand_over(&self, stripe: &Stripe) {
        let out = stripe.taken_out();
        let page = (out.page.addr() >> 12) - 1;
        assert_eq!(self.handed_over[page].fetch_add(1, AcqRel), 0, "handed over twice");
        assert_eq!(u64::from(self.bytes.filled(page)), out.end - out.start, "bytes are missing");
        stripe.empty();
    }

    /// A call of one byte. False: another thread is inside, or at work with the page.
    fn write(&self, number: usize) -> bool {
        let Some(number) = self.stripes.enter(number) else { return false };
        let stripe = self.stripes.stripe(number);
        let mut written = false;
        loop {
            match stripe.look(LIFE) {
                Found::Page { .. } => {
                    self.bytes.fill((stripe.page().addr() >> 12) - 1);
                    stripe.fill(1);
                    written = true;
                    break;
                }
                Found::Recalled if stripe.take_out() => self.hand_over(stripe),
                Found::Recalled => {}
                Found::Nothing => {
                    self.stripes.use_stripe(number);
                    if stripe.begin(LIFE) {
                        stripe.open(page_word(self.opened.fetch_add(1, AcqRel) as usize), 4096);
                    }
                }
                Found::Busy => break,
            }
        }
        if stripe.leave() {
            self.hand_over(stripe);
        }
        written
    }

    fn recall(&self) {
        self.stripes.recall(|_, _| true, |_, stripe| self.hand_over(stripe));
    }

    /// At the end: every byte is in a page that was handed over once, or in the open one.
    fn settle(&self, bytes: u64) {
        assert_eq!(self.stripes.accepted(), bytes);
        self.recall();
        assert!(self.stripes.are_empty(), "a page is left behind");
        let pages = self.opened.load(Acquire) as usize;
        assert!((0..pages).all(|page| self.handed_over[page].load(Acquire) == 1));
        assert_eq!((0..pages).map(|page| u64::from(self.bytes.filled(page))).sum::<u64>(), bytes);
    }
}

#[test]
fn a_recalled_page_is_taken_out_once_and_with_every_byte() {
    model(|| {
        let shared = Arc::new(Shared::new());
        assert!(shared.write(0));
        let writer = shared.clone();
        let writer = thread::spawn(move || u64::from(writer.write(0)) + u64::from(writer.write(0)));
        shared.recall();
        let written = writer.join().unwrap();
        shared.settle(1 + written);
    });
}

#[test]
fn the_actor_reads_only_what_is_filled_of_the_page_that_is_open() {
    model(|| {
        let shared = Arc::new(Shared::new());
        let writer = shared.clone();
        let writer = thread::spawn(move || {
            assert!(writer.write(0));
            // The page grows full: it goes, and another one comes.
            let stripe = writer.stripes.stripe(0);
            assert!(stripe.enter() && stripe.take_out());
            let out = stripe.taken_out();
            assert_eq!((out.start, out.end), (0, 1));
            stripe.empty();
            assert!(!stripe.leave());
            assert!(writer.write(0));
        });
        if let Some(part) = shared.stripes.stripe(0).part() {
            let page = (part.page.addr() >> 12) - 1;
            assert_eq!(part.start, page as u64, "parts of two pages");
            if part.end > part.start {
                assert_eq!(part.end, part.start + 1, "parts of two pages");
                assert_eq!(shared.bytes.filled(page), 1);
            }
        }
        writer.join().unwrap();
    });
}

#[test]
fn threads_that_share_a_stripe_take_turns() {
    model(|| {
        let shared = Arc::new(Shared::new());
        let writers = [0; 2].map(|_| {
            let shared = shared.clone();
            thread::spawn(move || u64::from(shared.write(OWN)))
        });
        shared.recall();
        let written = writers.map(|writer| writer.join().unwrap()).iter().sum();
        shared.settle(written);
    });
}

/// What a copy of the protocol leaves out.
#[derive(Clone, Copy, PartialEq)]
enum Fault {
    None,
    /// The recaller takes the page out whoever is inside.
    LooksForNobody,
    /// The thread does not look at the gate on its way out.
    LooksNotBack,
    /// The recaller does without its fence.
    FencesNot,
}

/// A copy: one page, a gate of one flag, and whose the page is.
struct Copied {
    inside: AtomicU32,
    recalled: AtomicBool,
    taken: AtomicBool,
    bytes: Bytes,
    fault: Fault,
}

impl Copied {
    fn take_out(&self) -> bool {
        let mine = self.taken.compare_exchange(false, true, AcqRel, Relaxed).is_ok();
        if mine {
            // SAFETY: loom checks that nobody writes to it any more.
            self.bytes.0[0].with_mut(|bytes| unsafe { *bytes += 100 });
        }
        mine
    }

    fn write(&self) {
        self.inside.store(1, Relaxed);
        light_fence();
        if !self.recalled.load(Acquire) {
            self.bytes.fill(0);
        }
        self.inside.store(0, Release);
        light_fence();
        if self.fault != Fault::LooksNotBack && self.recalled.load(Relaxed) {
            let _ = self.take_out();
        }
    }

    fn recall(&self) {
        self.recalled.store(true, Release);
        if self.fault != Fault::FencesNot {
            heavy_fence();
        }
        if self.inside.load(Acquire) == 0 || self.fault == Fault::LooksForNobody {
            let _ = self.take_out();
        }
    }
}

fn recalled_copy(fault: Fault) {
    model(move || {
        let page = Arc::new(Copied {
            inside: AtomicU32::new(0),
            recalled: AtomicBool::new(false),
            taken: AtomicBool::new(false),
            bytes: Bytes::new(),
            fault,
        });
        let writer = page.clone();
        let writer = thread::spawn(move || writer.write());
        page.recall();
        writer.join().unwrap();
        assert!(page.taken.load(Acquire), "a page is left behind");
    });
}

#[test]
fn the_copy_of_the_protocol_does_the_same() {
    recalled_copy(Fault::None);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn twin_that_takes_a_page_from_below_its_thread() {
    recalled_copy(Fault::LooksForNobody);
}

#[test]
#[should_panic(expected = "a page is left behind")]
fn twin_that_does_not_look_back() {
    recalled_copy(Fault::LooksNotBack);
}

#[test]
#[should_panic(expected = "Causality violation")]
fn twin_that_recalls_without_its_fence() {
    recalled_copy(Fault::FencesNot);
}
