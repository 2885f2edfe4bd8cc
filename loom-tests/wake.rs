//! `WakeFlag`: at most one wake-up in flight, and none lost.

use crate::sync::{Arc, AtomicBool, AtomicU32, Ordering, WakeFlag, model, thread};
use Ordering::Relaxed;

const PRODUCERS: usize = 2;

struct Shared {
    flag: WakeFlag,
    /// What each producer publishes, with nothing but the flag to order it.
    published: [AtomicBool; PRODUCERS],
    sent: AtomicU32,
}

#[derive(Clone, Copy)]
enum Consumer {
    LowersThenDrains,
    DrainsThenLowers,
}

fn scenario(consumer: Consumer) {
    let shared = Arc::new(Shared {
        flag: WakeFlag::new(),
        published: std::array::from_fn(|_| AtomicBool::new(false)),
        sent: AtomicU32::new(0),
    });
    let producers: Vec<_> = (0..PRODUCERS)
        .map(|producer| {
            let shared = shared.clone();
            thread::spawn(move || {
                shared.published[producer].store(true, Relaxed);
                if shared.flag.raise() {
                    shared.sent.fetch_add(1, Relaxed);
                }
            })
        })
        .collect();
    let mut seen = [false; PRODUCERS];
    let mut woken = 0;
    for _ in 0..2 {
        let sent = shared.sent.load(Relaxed);
        assert!(sent - woken <= 1, "two wake-ups in flight");
        if sent == woken {
            continue;
        }
        woken += 1;
        if let Consumer::LowersThenDrains = consumer {
            shared.flag.lower();
        }
        for (seen, published) in seen.iter_mut().zip(&shared.published) {
            *seen |= published.load(Relaxed);
        }
        if let Consumer::DrainsThenLowers = consumer {
            shared.flag.lower();
        }
    }
    for producer in producers {
        producer.join().unwrap();
    }
    let in_flight = shared.sent.load(Relaxed) - woken;
    assert!(in_flight == 1 || seen.iter().all(|seen| *seen), "a wake-up was lost");
}

#[test]
fn a_wake_up_is_never_lost() {
    model(|| scenario(Consumer::LowersThenDrains));
}

#[test]
#[should_panic(expected = "a wake-up was lost")]
fn twin_that_lowers_after_the_drain() {
    model(|| scenario(Consumer::DrainsThenLowers));
}
