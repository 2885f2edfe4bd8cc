//! The fence pair, as the timer uses it: no dirty byte is left behind with its file unarmed.

use crate::sync::fence::{heavy_fence, light_fence};
use crate::sync::{Arc, AtomicU32, Ordering, model, thread};
use Ordering::{AcqRel, Acquire, Relaxed, Release};

const ARMED: u32 = 1;

struct File {
    published: AtomicU32,
    flags: AtomicU32,
    /// How often the file was put on the dirty stack.
    pushed: AtomicU32,
}

impl File {
    fn arm(&self) {
        if self.flags.fetch_or(ARMED, AcqRel) & ARMED == 0 {
            self.pushed.fetch_add(1, Relaxed);
        }
    }
}

#[derive(Clone, Copy)]
struct Fences {
    light: bool,
    heavy: bool,
}

fn scenario(fences: Fences) {
    let file = Arc::new(File {
        published: AtomicU32::new(0),
        flags: AtomicU32::new(ARMED),
        pushed: AtomicU32::new(0),
    });
    let writer = file.clone();
    let writer = thread::spawn(move || {
        writer.published.store(1, Release);
        if fences.light {
            light_fence();
        }
        if writer.flags.load(Relaxed) & ARMED == 0 {
            writer.arm();
        }
    });
    // The timer finds the file clean and disarms it.
    file.flags.store(0, Release);
    if fences.heavy {
        heavy_fence();
    }
    if file.published.load(Acquire) != 0 {
        file.arm();
    }
    writer.join().unwrap();
    assert_eq!(file.flags.load(Relaxed), ARMED, "a dirty file is unarmed");
    assert_eq!(file.pushed.load(Relaxed), 1, "armed again exactly once");
}

#[test]
fn a_dirty_file_is_armed() {
    model(|| scenario(Fences { light: true, heavy: true }));
}

#[test]
#[should_panic(expected = "a dirty file is unarmed")]
fn twin_without_the_heavy_fence() {
    model(|| scenario(Fences { light: true, heavy: false }));
}

#[test]
#[should_panic(expected = "a dirty file is unarmed")]
fn twin_without_the_light_fence() {
    model(|| scenario(Fences { light: false, heavy: true }));
}
