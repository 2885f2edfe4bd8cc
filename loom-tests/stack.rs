//! `IndexStack`: each index has one owner at a time, and none is lost.

use crate::queue::{IndexStack, Links};
use crate::sync::{Arc, AtomicU32, Ordering, model, thread};
use Ordering::{AcqRel, Acquire, Relaxed};

const COUNT: usize = 2;

/// What the scenario does with a stack; the twin has it too.
trait Stack: Send + Sync + 'static {
    fn push(&self, links: &[AtomicU32], index: u32);
    fn pop(&self, links: &[AtomicU32]) -> Option<u32>;
}

impl Stack for IndexStack {
    fn push(&self, links: &[AtomicU32], index: u32) {
        self.push(links, index);
    }

    fn pop(&self, links: &[AtomicU32]) -> Option<u32> {
        self.pop(links)
    }
}

/// The stack without its tag.
struct Untagged(AtomicU32);

impl Stack for Untagged {
    fn push(&self, links: &[AtomicU32], index: u32) {
        let mut head = self.0.load(Acquire);
        loop {
            links.link(index).store(head, Relaxed);
            match self.0.compare_exchange(head, index + 1, AcqRel, Acquire) {
                Ok(_) => return,
                Err(now) => head = now,
            }
        }
    }

    fn pop(&self, links: &[AtomicU32]) -> Option<u32> {
        let mut head = self.0.load(Acquire);
        loop {
            let index = head.checked_sub(1)?;
            let below = links.link(index).load(Relaxed);
            match self.0.compare_exchange(head, below, AcqRel, Acquire) {
                Ok(_) => return Some(index),
                Err(now) => head = now,
            }
        }
    }
}

fn scenario<S: Stack>(stack: S) {
    let links: [AtomicU32; COUNT] = std::array::from_fn(|_| AtomicU32::new(0));
    let shared = Arc::new((stack, links));
    for index in 0..COUNT as u32 {
        shared.0.push(&shared.1, index);
    }
    // One pops twice and pushes the first again, the run that fools a pop without a tag.
    let other = shared.clone();
    let other = thread::spawn(move || {
        let (stack, links) = &*other;
        let (first, second) = (stack.pop(links), stack.pop(links));
        if let Some(first) = first {
            stack.push(links, first);
        }
        second
    });
    let (stack, links) = &*shared;
    let mine = stack.pop(links);
    let theirs = other.join().unwrap();
    let mut owned: Vec<u32> = mine.into_iter().chain(theirs).collect();
    while let Some(index) = stack.pop(links) {
        owned.push(index);
        assert!(owned.len() <= COUNT, "an index has two owners");
    }
    owned.sort_unstable();
    assert_eq!(owned, [0, 1], "an index has two owners or none");
}

#[test]
fn an_index_has_one_owner() {
    model(|| scenario(IndexStack::new()));
}

#[test]
#[should_panic(expected = "an index has two owners")]
fn twin_without_a_tag() {
    model(|| scenario(Untagged(AtomicU32::new(0))));
}

#[test]
fn a_take_of_all_and_a_pop_share_nothing() {
    model(|| {
        let links: [AtomicU32; COUNT] = std::array::from_fn(|_| AtomicU32::new(0));
        let shared = Arc::new((IndexStack::new(), links));
        shared.0.push(&shared.1[..], 0);
        let other = shared.clone();
        let other = thread::spawn(move || {
            let (stack, links) = &*other;
            stack.push(&links[..], 1);
            stack.pop(&links[..])
        });
        let (stack, links) = &*shared;
        let mut owned: Vec<u32> = stack.take_all(&links[..]).collect();
        owned.extend(other.join().unwrap());
        owned.extend(stack.take_all(&links[..]));
        owned.sort_unstable();
        assert_eq!(owned, [0, 1]);
    });
}
