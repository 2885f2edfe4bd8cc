//! `News`: no event is lost between the ready list, the wake flag, the consumer's mark and its sleep.
//!
//! Checked with the real `News` and the real words of pending events, over all interleavings of two producers' raises
//! with a consumer that drains as loops do (also when nothing has called it), that sleeps, or that meets another one
//! at work. The twins are small copies with two steps exchanged or one left out.

use crate::event::Readiness;
use crate::file::state::Pending;
use crate::news::{Call, Calls, Consumer, DEFAULT_INBOX, News};
use crate::queue::{IndexList, Links, WasEmpty};
use crate::sync::{Arc, AtomicU32, Ordering, Sleeper, WakeFlag, model, thread};
use Ordering::{AcqRel, Relaxed};

const SLOTS: usize = 2;
const READ: u32 = Readiness::READABLE.bits();
const WRITE: u32 = Readiness::WRITABLE.bits();

/// The slots of the list: their links, and what waits in each.
struct Slots {
    links: [AtomicU32; SLOTS],
    pending: [Pending; SLOTS],
}

impl Slots {
    fn new() -> Self {
        Self {
            links: std::array::from_fn(|_| AtomicU32::new(0)),
            pending: std::array::from_fn(|_| Pending::new()),
        }
    }

    fn take(&self, slot: u32, seen: &mut [u32; SLOTS]) {
        seen[slot as usize] |= self.pending[slot as usize].drain(DEFAULT_INBOX).0;
    }
}

impl Links for Slots {
    fn link(&self, index: u32) -> &AtomicU32 {
        &self.links[index as usize]
    }
}

/// What producers and a consumer do; the twin has it too.
trait Desk: Send + Sync + 'static {
    fn raise(&self, slot: u32, bits: u32);
    fn drain(&self, seen: &mut [u32; SLOTS]);
    /// The loop has been called: its descriptor is readable.
    fn is_called(&self) -> bool;
}

struct Real {
    news: News,
    slots: Slots,
    mark: Arc<AtomicU32>,
}

impl Real {
    fn new() -> Self {
        let mark = Arc::new(AtomicU32::new(0));
        let (raised, lowered) = (mark.clone(), mark.clone());
        let news = News::new(Calls {
            wake: Box::new(move || _ = raised.swap(1, AcqRel)),
            lower: Box::new(move || _ = lowered.swap(0, AcqRel)),
            mark: true,
        });
        Self { news, slots: Slots::new(), mark }
    }

    fn drain_some(&self, seen: &mut [u32; SLOTS], room: usize) {
        self.drain_as(Consumer::Loop, seen, room);
    }

    fn drain_as(&self, who: Consumer, seen: &mut [u32; SLOTS], mut room: usize) {
        self.news.drain(&self.slots, who, |slot| {
            self.slots.take(slot, seen);
            room -= 1;
            room > 0
        });
    }
}

impl Desk for Real {
    fn raise(&self, slot: u32, bits: u32) {
        if self.slots.pending[slot as usize].raise(bits).enqueue.is_some() {
            self.news.push(&self.slots, slot);
        }
    }

    fn drain(&self, seen: &mut [u32; SLOTS]) {
        self.drain_some(seen, usize::MAX);
    }

    fn is_called(&self) -> bool {
        self.mark.load(Ordering::Acquire) != 0
    }
}

/// Lowers the flag before the mark, so that a call between the two leaves the flag up and no mark.
struct FlagFirst {
    list: IndexList,
    flag: WakeFlag,
    mark: AtomicU32,
    slots: Slots,
}

impl Desk for FlagFirst {
    fn raise(&self, slot: u32, bits: u32) {
        let enqueue = self.slots.pending[slot as usize].raise(bits).enqueue.is_some();
        if enqueue && self.list.push(&self.slots, slot) == WasEmpty(true) && self.flag.raise() {
            self.mark.swap(1, AcqRel);
        }
    }

    fn drain(&self, seen: &mut [u32; SLOTS]) {
        self.flag.lower();
        self.mark.swap(0, AcqRel);
        for slot in self.list.take_all(&self.slots) {
            self.slots.take(slot, seen);
        }
    }

    fn is_called(&self) -> bool {
        self.mark.load(Ordering::Acquire) != 0
    }
}

/// A loop drains once more than it was called, as loops do that drain until nothing comes.
fn loop_of<D: Desk>(desk: D) {
    let desk = Arc::new(desk);
    let producer = desk.clone();
    let producer = thread::spawn(move || {
        producer.raise(0, READ);
        producer.raise(1, READ);
        producer.raise(0, WRITE);
    });
    let mut seen = [0; SLOTS];
    desk.drain(&mut seen);
    producer.join().unwrap();
    while desk.is_called() {
        desk.drain(&mut seen);
    }
    assert_eq!(seen, [READ | WRITE, READ], "an event nobody is called for");
}

#[test]
fn a_loop_is_called_for_every_event() {
    model(|| loop_of(Real::new()));
}

#[test]
#[should_panic(expected = "an event nobody is called for")]
fn twin_that_lowers_the_flag_before_the_mark() {
    model(|| {
        loop_of(FlagFirst {
            list: IndexList::new(),
            flag: WakeFlag::new(),
            mark: AtomicU32::new(0),
            slots: Slots::new(),
        });
    });
}

#[test]
fn a_drain_with_little_room_calls_the_loop_again() {
    model(|| {
        let desk = Arc::new(Real::new());
        desk.raise(1, READ);
        desk.raise(0, READ);
        let producer = desk.clone();
        let producer = thread::spawn(move || producer.raise(1, WRITE));
        let mut seen = [0; SLOTS];
        desk.drain_some(&mut seen, 1);
        producer.join().unwrap();
        while desk.is_called() {
            desk.drain_some(&mut seen, 1);
        }
        assert_eq!(seen, [READ, READ | WRITE], "an event nobody is called for");
    });
}

/// Two threads raise an event each, and each drains if it is called. The call is a message, gone once it is read.
#[test]
fn two_that_drain_leave_nothing_behind() {
    model(|| {
        let called = Arc::new(AtomicU32::new(0));
        let wake = called.clone();
        let wake: Call = Box::new(move || _ = wake.fetch_add(1, AcqRel));
        let news = News::new(Calls { wake, lower: Box::new(|| ()), mark: false });
        let shared = Arc::new((news, Slots::new(), called));
        fn drain(shared: &(News, Slots, Arc<AtomicU32>)) -> u32 {
            let mut count = 0;
            if shared.2.swap(0, AcqRel) != 0 {
                shared.0.drain(&shared.1, Consumer::Loop, |_| {
                    count += 1;
                    true
                });
            }
            count
        }
        let other = shared.clone();
        let other = thread::spawn(move || {
            other.0.push(&other.1, 0);
            drain(&other)
        });
        shared.0.push(&shared.1, 1);
        let mut count = drain(&shared);
        count += other.join().unwrap();
        while shared.2.load(Relaxed) != 0 {
            count += drain(&shared);
        }
        assert_eq!(count, 2, "an event nobody is called for");
    });
}

/// A desk, and a thread that raises an event of each of its two slots.
fn desk_and_producer() -> (Arc<Real>, thread::JoinHandle<()>) {
    let desk = Arc::new(Real::new());
    let producer = desk.clone();
    let producer = thread::spawn(move || {
        producer.raise(0, READ);
        producer.raise(1, READ);
    });
    (desk, producer)
}

#[test]
fn a_consumer_without_a_loop_sleeps_only_while_there_is_no_news() {
    // A lost wake would leave the consumer asleep for ever, on which loom ends the program.
    model(|| {
        let (desk, producer) = desk_and_producer();
        let mut seen = [0; SLOTS];
        loop {
            desk.drain_as(Consumer::Sleeper, &mut seen, usize::MAX);
            if seen == [READ, READ] {
                break;
            }
            desk.news.wait(None);
        }
        producer.join().unwrap();
    });
}

/// A thread that waits for a while, a producer, and a loop that drains only when it is called. A sleeper that is woken
/// stands for the call, so it drains once more also when its time is up; or not.
fn waits_and_goes(drains_last: bool) {
    let (desk, producer) = desk_and_producer();
    let mut seen = [0; SLOTS];
    desk.drain_as(Consumer::Sleeper, &mut seen, usize::MAX);
    // With a limit, loom ends the sleep at any time.
    desk.news.wait(Some(std::time::Duration::from_millis(1)));
    if drains_last {
        desk.drain_as(Consumer::Sleeper, &mut seen, usize::MAX);
    }
    producer.join().unwrap();
    while desk.is_called() {
        desk.drain(&mut seen);
    }
    assert_eq!(seen, [READ, READ], "an event nobody is called for");
}

#[test]
fn a_sleeper_that_is_woken_stands_for_the_call() {
    model(|| waits_and_goes(true));
}

#[test]
#[should_panic(expected = "an event nobody is called for")]
fn twin_that_goes_without_a_last_drain() {
    model(|| waits_and_goes(false));
}

/// A producer that wakes the sleeper always, or only when it raised the flag; and a consumer about to sleep.
fn about_to_sleep(only_with_the_flag: bool) {
    let shared = Arc::new((IndexList::new(), WakeFlag::new(), Sleeper::new(), Slots::new()));
    let producer = shared.clone();
    let producer = thread::spawn(move || {
        let (list, flag, sleeper, slots) = &*producer;
        for slot in 0..2 {
            if list.push(slots, slot) == WasEmpty(true) && (flag.raise() || !only_with_the_flag) {
                sleeper.wake();
            }
        }
    });
    let (list, flag, sleeper, slots) = &*shared;
    flag.lower();
    let drained = list.take_all(slots).count();
    sleeper.prepare();
    let news = !list.is_empty();
    producer.join().unwrap();
    assert!(drained == 2 || news || !sleeper.wake(), "asleep beside the news");
}

#[test]
fn the_sleeper_is_woken_whatever_the_flag_says() {
    model(|| about_to_sleep(false));
}

#[test]
#[should_panic(expected = "asleep beside the news")]
fn twin_that_wakes_only_who_raised_the_flag() {
    model(|| about_to_sleep(true));
}

/// Two drains, of which the one that meets the other at work goes away at once.
#[test]
#[should_panic(expected = "an event nobody is called for")]
fn twin_whose_second_drain_goes_away() {
    model(|| {
        let shared =
            Arc::new((Slots::new(), IndexList::new(), WakeFlag::new(), AtomicU32::new(0), AtomicU32::new(0)));
        fn raise(shared: &(Slots, IndexList, WakeFlag, AtomicU32, AtomicU32), slot: u32) {
            let (slots, list, flag, mark, _) = shared;
            if list.push(slots, slot) == WasEmpty(true) && flag.raise() {
                mark.swap(1, AcqRel);
            }
        }
        fn drain(shared: &(Slots, IndexList, WakeFlag, AtomicU32, AtomicU32)) -> usize {
            let (slots, list, flag, mark, busy) = shared;
            // The loop was called, and reads its mark.
            mark.swap(0, AcqRel);
            if busy.swap(1, AcqRel) == 1 {
                return 0;
            }
            flag.lower();
            let count = list.take_all(slots).count();
            busy.swap(0, AcqRel);
            count
        }
        let other = shared.clone();
        let other = thread::spawn(move || {
            raise(&other, 0);
            drain(&other)
        });
        raise(&shared, 1);
        let mut count = drain(&shared);
        count += other.join().unwrap();
        while shared.3.load(Relaxed) != 0 {
            count += drain(&shared);
        }
        assert_eq!(count, 2, "an event nobody is called for");
    });
}
