//! Stripe: one thread's part of a file that many append to, so that a call shares no word with another thread's.
//!
//! ```text
//! gate     generation:32 | serial:29 | state:3
//!
//! EMPTY ──begin──► OPENING ──open──► OPEN ──recall──► RECALLED
//!   ▲                 │               │ full             │ by its thread on the way out, or by the recaller
//!   ├────── undo ─────┘               ▼                  ▼
//!   └─────────── empty ────────── LEAVING ◄──────────────┘      the page goes to the actor
//! ```
//!
//! - A thread is *inside* while it works here: it says so, looks at the gate, copies, moves `filled`, says that it is out
//!   again, and looks at the gate once more. All of these are plain loads and stores of a line that is its own. (Stripes
//!   that several threads share are entered by a compare-exchange, one thread at a time.)
//! - Bytes below `filled` never change, so the actor takes them while the page stays its thread's.
//! - Whoever wants the page back *recalls* it: gate first, then a heavy fence, then a look whether the thread is inside. If
//!   not, the recaller takes the page out; a thread that comes later finds the gate. If it is, the thread finds the gate on
//!   its way out and takes the page out itself. Both may try: LEAVING is one compare-exchange.
//! - The serial grows with each page, so a recaller that was held up does not take out the next one.

use crate::page::Class;
use crate::sync::thread_number::{NUMBERS, OWN};
use crate::sync::{
    AtomicBool, AtomicPtr, AtomicU32, AtomicU64, CachePadded, Mutex, Ordering, fence, heavy_fence,
    light_fence, lock,
};

use super::weave::Weave;

const STATE: u64 = 7;
const EMPTY: u64 = 0;
const OPENING: u64 = 1;
const OPEN: u64 = 2;
const RECALLED: u64 = 3;
const LEAVING: u64 = 4;
/// One step of the serial.
const SERIAL: u64 = 8;

/// One reading of a gate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Gate(u64);

impl Gate {
    #[inline]
    const fn state(self) -> u64 {
        self.0 & STATE
    }

    const fn with(self, state: u64) -> Self {
        Self(self.0 & !STATE | state)
    }

    #[inline]
    const fn is_life(self, generation: u32) -> bool {
        (self.0 >> 32) as u32 == generation
    }

    /// There is a page whose bytes can be looked at.
    const fn is_open(self) -> bool {
        matches!(self.state(), OPEN | RECALLED)
    }
}

/// What a thread inside finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[must_use]
pub(crate) enum Found {
    /// An open page with `room` bytes left, the first of them at `position`.
    Page { position: usize, room: usize },
    /// No page: one can be opened.
    Nothing,
    /// The page is on its way out, or was recalled and is for this thread to take out.
    Recalled,
    /// Another thread is at work with the page, or the stripe is of another life of the slot.
    Busy,
}

/// The page of a stripe, as far as it is filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Filled {
    pub(crate) page: *mut u8,
    /// Bytes accepted by the stripe before the page's first, and up to its last.
    pub(crate) start: u64,
    pub(crate) end: u64,
}

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Stripe {
    gate: AtomicU64,
    inside: AtomicU32,
    /// Bytes of the page; that of the next page is the class below.
    capacity: AtomicU32,
    page: AtomicPtr<u8>,
    start: AtomicU64,
    filled: AtomicU64,
    /// What was accepted here when a request that has its place in the file's order was made.
    mark: AtomicU64,
    /// The class of the next page.
    class: AtomicU32,
}

impl Stripe {
    pub(crate) fn new() -> Self {
        Self {
            gate: AtomicU64::new(0),
            inside: AtomicU32::new(0),
            capacity: AtomicU32::new(0),
            page: AtomicPtr::new(std::ptr::null_mut()),
            start: AtomicU64::new(0),
            filled: AtomicU64::new(0),
            mark: AtomicU64::new(0),
            class: AtomicU32::new(0),
        }
    }

    /// A new life of the slot, before its handle exists.
    pub(crate) fn reset(&self, generation: u32) {
        // ORDER: Relaxed: published with the request to open; a late thread of the last life reads none of these before it
        // has looked at the gate.
        self.filled.store(0, Ordering::Relaxed);
        // ORDER: Relaxed: as above.
        self.class.store(0, Ordering::Relaxed);
        // ORDER: AcqRel: a late recall of the last life comes before it and is wiped, or fails after it.
        self.gate.swap(u64::from(generation) << 32 | EMPTY, Ordering::AcqRel);
    }

    pub(crate) fn load(&self) -> Gate {
        // ORDER: Acquire: sees the page that `open` published, or that `empty` gave away.
        Gate(self.gate.load(Ordering::Acquire))
    }

    /// Bytes accepted here in this life.
    #[inline]
    pub(crate) fn filled(&self) -> u64 {
        // ORDER: Acquire pairs with `fill`: the bytes below are in the page.
        self.filled.load(Ordering::Acquire)
    }

    pub(crate) fn mark(&self) -> u64 {
        // ORDER: Relaxed: published with the request whose place it marks.
        self.mark.load(Ordering::Relaxed)
    }

    /// The thread that has this stripe to itself comes in. False: it is inside already, below a signal handler.
    #[inline]
    #[must_use]
    pub(crate) fn enter(&self) -> bool {
        // ORDER: Relaxed: this thread's own word, or ordered by the number that it took over.
        if self.inside.load(Ordering::Relaxed) != 0 {
            return false;
        }
        // ORDER: Relaxed before the light fence, which pairs with the heavy one in `recall`: either the recaller sees this,
        // or this thread sees the gate.
        self.inside.store(1, Ordering::Relaxed);
        light_fence();
        true
    }

    /// One of several threads comes in. False: another one is inside.
    #[must_use]
    pub(crate) fn enter_shared(&self) -> bool {
        // ORDER: Acquire pairs with the Release in `leave`: sees what the thread before did.
        let entered = self.inside.compare_exchange(0, 1, Ordering::Acquire, Ordering::Relaxed).is_ok();
        light_fence();
        entered
    }

    /// What the thread inside can do.
    #[inline]
    pub(crate) fn look(&self, generation: u32) -> Found {
        let gate = self.load();
        match gate.state() {
            _ if !gate.is_life(generation) => Found::Busy,
            OPEN => {
                // ORDER: Relaxed: only the thread inside moves these.
                let end = self.filled.load(Ordering::Relaxed);
                // ORDER: Relaxed: as above.
                let position = (end - self.start.load(Ordering::Relaxed)) as usize;
                Found::Page { position, room: self.capacity() - position }
            }
            EMPTY => Found::Nothing,
            RECALLED => Found::Recalled,
            _ => Found::Busy,
        }
    }

    #[inline]
    pub(crate) fn page(&self) -> *mut u8 {
        // ORDER: Relaxed: set before OPEN was published; read by the thread inside, by who takes the page out, or by the
        // actor, which looks at the gate again.
        self.page.load(Ordering::Relaxed)
    }

    /// Bytes of the open page.
    pub(crate) fn capacity(&self) -> usize {
        // ORDER: Relaxed: as `page`.
        self.capacity.load(Ordering::Relaxed) as usize
    }

    /// The bytes that the open page has room for, 0 without one; it may be over by the time of a call.
    pub(crate) fn room(&self) -> usize {
        self.part().map_or(0, |part| self.capacity().saturating_sub((part.end - part.start) as usize))
    }

    /// The class that the next page is to have.
    pub(crate) fn class(&self) -> Class {
        // ORDER: Relaxed: a hint.
        Class::ALL[(self.class.load(Ordering::Relaxed) as usize).min(Class::ALL.len() - 1)]
    }

    /// A page that grew full belongs to a thread that deserves a larger one.
    pub(crate) fn grow(&self, class: Class) {
        // ORDER: Relaxed: a hint for the next opener.
        self.class.store(class as u32, Ordering::Relaxed);
    }

    /// The next page is small again: nothing was written for an interval.
    pub(crate) fn cool(&self) {
        // ORDER: Relaxed: as in `grow`.
        self.class.store(Class::Small as u32, Ordering::Relaxed);
    }

    /// `bytes` more are in the page. By the thread inside.
    #[inline]
    pub(crate) fn fill(&self, bytes: usize) {
        // ORDER: Relaxed: as in `look`.
        let filled = self.filled.load(Ordering::Relaxed);
        // ORDER: Release publishes the bytes; pairs with `filled`.
        self.filled.store(filled + bytes as u64, Ordering::Release);
    }

    /// The thread goes out. True: the page was recalled, and this thread has taken it out and hands it over.
    #[inline]
    #[must_use]
    pub(crate) fn leave(&self) -> bool {
        // ORDER: Release pairs with the Acquire of the next to enter, and with the recaller's look.
        self.inside.store(0, Ordering::Release);
        light_fence();
        // ORDER: Relaxed behind the light fence, as in `enter`.
        Gate(self.gate.load(Ordering::Relaxed)).state() == RECALLED && self.take_out()
    }

    /// EMPTY → OPENING, for the thread inside.
    #[must_use]
    pub(crate) fn begin(&self, generation: u32) -> bool {
        let seen = self.load();
        let next =
            Gate(seen.0 & !(u64::from(u32::MAX) - STATE) | (seen.0 + SERIAL) & (u64::from(u32::MAX) - STATE));
        seen.is_life(generation)
            && seen.state() == EMPTY
            // ORDER: AcqRel: sees the page before given away; ordered before `open` or `undo`.
            && self.gate.compare_exchange(seen.0, next.with(OPENING).0, Ordering::AcqRel, Ordering::Relaxed).is_ok()
    }

    /// OPENING → EMPTY: nothing was opened.
    pub(crate) fn undo(&self) {
        // ORDER: AcqRel: the right goes to the next `begin`; nobody else changes the gate under OPENING.
        self.gate.swap(self.load().with(EMPTY).0, Ordering::AcqRel);
    }

    /// OPENING → OPEN with a page.
    pub(crate) fn open(&self, page: *mut u8, capacity: usize) {
        // ORDER: Relaxed: published by OPEN.
        self.page.store(page, Ordering::Relaxed);
        // ORDER: Relaxed: as above.
        self.capacity.store(capacity as u32, Ordering::Relaxed);
        // ORDER: Relaxed: as above; only the thread inside moves `filled`.
        self.start.store(self.filled.load(Ordering::Relaxed), Ordering::Relaxed);
        // ORDER: AcqRel publishes the page; pairs with `load`. Nobody else changes the gate under OPENING.
        self.gate.swap(self.load().with(OPEN).0, Ordering::AcqRel);
    }

    /// OPEN or RECALLED → LEAVING. True: the caller takes the page out, and hands it over.
    ///
    /// For the thread inside or just gone out, and for a recaller that saw nobody inside.
    #[must_use]
    pub(crate) fn take_out(&self) -> bool {
        let seen = self.load();
        // ORDER: AcqRel: one of several gets the page, and sees all its bytes.
        let exchange = |seen: Gate| {
            self.gate.compare_exchange(seen.0, seen.with(LEAVING).0, Ordering::AcqRel, Ordering::Relaxed)
        };
        seen.is_open() && exchange(seen).is_ok()
    }

    /// What is taken out.
    pub(crate) fn taken_out(&self) -> Filled {
        // ORDER: Relaxed: as `page`.
        Filled { page: self.page(), start: self.start.load(Ordering::Relaxed), end: self.filled() }
    }

    /// LEAVING → EMPTY: the page was handed over.
    pub(crate) fn empty(&self) {
        // ORDER: AcqRel publishes that the page is gone to the next `begin`; nobody else changes the gate under LEAVING.
        self.gate.swap(self.load().with(EMPTY).0, Ordering::AcqRel);
    }

    /// The filled part of the open page, for the actor. The page goes back to the pool only by the actor, so the bytes stay
    /// there whatever becomes of the stripe meanwhile.
    pub(crate) fn part(&self) -> Option<Filled> {
        let gate = self.load();
        if !gate.is_open() {
            return None;
        }
        // ORDER: Relaxed: as `page`.
        let part =
            Filled { page: self.page(), start: self.start.load(Ordering::Relaxed), end: self.filled() };
        // ORDER: Acquire: the reads above are done before the look below, so they belong together if the page still stands.
        fence(Ordering::Acquire);
        let again = self.load();
        (again.is_open() && again.with(OPEN) == gate.with(OPEN)).then_some(part)
    }

    /// OPEN → RECALLED. What was seen of the gate then, unless there is no page to be recalled.
    fn recall(&self) -> Option<Gate> {
        let mut seen = self.load();
        loop {
            match seen.state() {
                RECALLED => return Some(seen),
                OPEN => {}
                _ => return None,
            }
            let next = seen.with(RECALLED);
            // ORDER: AcqRel, before the heavy fence that pairs with `enter` and `leave`.
            match self.gate.compare_exchange_weak(seen.0, next.0, Ordering::AcqRel, Ordering::Acquire) {
                Ok(_) => return Some(next),
                Err(now) => seen = Gate(now),
            }
        }
    }

    /// After the heavy fence: takes the page out unless its thread is inside, which then does it on its way out.
    fn take_recalled(&self, recalled: Gate) -> bool {
        // ORDER: Acquire pairs with the Release in `leave`: the bytes of a thread that went out are seen.
        self.inside.load(Ordering::Acquire) == 0
            && self
                .gate
                // ORDER: AcqRel: as in `take_out`; the serial keeps it from the next page.
                .compare_exchange(recalled.0, recalled.with(LEAVING).0, Ordering::AcqRel, Ordering::Relaxed)
                .is_ok()
    }
}

/// The stripes of one slot, for its files whose threads each have their own order.
#[derive(Debug)]
pub(crate) struct Stripes {
    stripes: [CachePadded<Stripe>; NUMBERS],
    /// Stripes from here on were never used in this life.
    used: AtomicU32,
    /// The slot's file of this life is such a file.
    in_use: AtomicBool,
    /// Somebody waits for the pages that stripes hold.
    wanted: AtomicBool,
    /// The actor's.
    weave: Mutex<Weave>,
}

impl Stripes {
    pub(crate) fn new() -> Self {
        Self {
            stripes: std::array::from_fn(|_| CachePadded::new(Stripe::new())),
            used: AtomicU32::new(0),
            in_use: AtomicBool::new(false),
            wanted: AtomicBool::new(false),
            weave: Mutex::new(Weave::default()),
        }
    }

    /// A new life of the slot.
    pub(crate) fn reset(&self, generation: u32, in_use: bool) {
        // ORDER: Relaxed: published with the request to open.
        self.in_use.store(in_use, Ordering::Relaxed);
        if in_use {
            self.stripes.iter().for_each(|stripe| stripe.reset(generation));
            // ORDER: Relaxed: as above.
            self.used.store(0, Ordering::Relaxed);
            // ORDER: Relaxed: as above.
            self.wanted.store(false, Ordering::Relaxed);
            *lock(&self.weave) = Weave::default();
        }
    }

    #[inline]
    pub(crate) fn is_in_use(&self) -> bool {
        // ORDER: Relaxed: set before the handle existed.
        self.in_use.load(Ordering::Relaxed)
    }

    /// What the actor makes of the stripes: nobody else locks it.
    pub(super) fn weave(&self) -> &Mutex<Weave> {
        &self.weave
    }

    #[inline]
    pub(crate) fn stripe(&self, number: usize) -> &Stripe {
        &self.stripes[number]
    }

    /// The stripe of a thread, entered; `None`: another thread is inside.
    pub(crate) fn enter(&self, number: usize) -> Option<usize> {
        if number < OWN && self.stripes[number].enter() {
            return Some(number);
        }
        // A call below a signal handler of the thread that is inside takes one that threads share.
        let number = number.max(OWN);
        self.stripes[number].enter_shared().then_some(number)
    }

    /// From now on this stripe is looked at.
    pub(crate) fn use_stripe(&self, number: usize) {
        // ORDER: AcqRel: before the gate's OPENING and the look at the state; the closer's own change of the state comes
        // later and sees this, or before and is seen.
        self.used.fetch_max(number as u32 + 1, Ordering::AcqRel);
    }

    /// The stripes used in this life, with their numbers.
    pub(crate) fn used(&self) -> impl Iterator<Item = (usize, &Stripe)> {
        // ORDER: Acquire pairs with `use_stripe`.
        let used = self.used.load(Ordering::Acquire) as usize;
        self.stripes[..used].iter().map(|stripe| &**stripe).enumerate()
    }

    /// Bytes accepted in this life. Never less than a call that has returned counted before.
    pub(crate) fn accepted(&self) -> u64 {
        self.used().map(|(_, stripe)| stripe.filled()).sum()
    }

    /// Marks what is accepted now, and gives its sum: a request that comes in the file's order comes after that. For the one
    /// who makes the request.
    pub(crate) fn set_marks(&self) -> u64 {
        let mark = |stripe: &Stripe| {
            let filled = stripe.filled();
            // ORDER: Relaxed: published with the request.
            stripe.mark.store(filled, Ordering::Relaxed);
            filled
        };
        // ORDER: Acquire: as in `used`; a stripe that is first used later has nothing before the request.
        let used = self.used.load(Ordering::Acquire) as usize;
        for stripe in &self.stripes[used..] {
            // ORDER: Relaxed: as above.
            stripe.mark.store(0, Ordering::Relaxed);
        }
        self.stripes[..used].iter().map(|stripe| mark(stripe)).sum()
    }

    /// Asks the actor for the pages that stripes hold.
    pub(crate) fn want_pages(&self) {
        // ORDER: Release pairs with `take_wanted`; the mail follows.
        self.wanted.store(true, Ordering::Release);
    }

    pub(crate) fn take_wanted(&self) -> bool {
        // ORDER: AcqRel: a wish that comes after this is for the next look.
        self.wanted.load(Ordering::Relaxed) && self.wanted.swap(false, Ordering::AcqRel)
    }

    /// Takes back the pages of the stripes that `which` chooses: `hand_over` gets those that this caller takes out. The others
    /// are handed over by their threads, on their way out. A few microseconds, if there are any.
    pub(crate) fn recall(&self, which: impl Fn(usize, &Stripe) -> bool, hand_over: impl Fn(usize, &Stripe)) {
        let mut recalled = [None; NUMBERS];
        for (number, stripe) in self.used().filter(|(number, stripe)| which(*number, stripe)) {
            recalled[number] = stripe.recall();
        }
        if recalled.iter().all(Option::is_none) {
            return;
        }
        heavy_fence();
        for (number, gate) in recalled.into_iter().enumerate() {
            if gate.is_some_and(|gate| self.stripes[number].take_recalled(gate)) {
                hand_over(number, &self.stripes[number]);
            }
        }
    }

    /// No stripe has a page, or is getting one.
    pub(crate) fn are_empty(&self) -> bool {
        self.used().all(|(_, stripe)| stripe.load().state() == EMPTY)
    }
}
