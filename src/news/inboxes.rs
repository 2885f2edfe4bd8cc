//! Inboxes: the ready lists of a module by their numbers; one is always there, others come and go.
//!
//! The list of a number is made when it is first needed and stays until the module ends, so that a thread that read the
//! number a moment ago may still push there; whoever has the number then finds what is not its own and hands it on.

use std::fmt;
use std::sync::{Arc, OnceLock};

use super::{Calls, News};
use crate::sync::{Mutex, lock};

/// The most inboxes of a module at a time, the default one among them.
pub(crate) const INBOXES_LIMIT: usize = 256;

/// The number of the inbox that every module has.
pub(crate) const DEFAULT_INBOX: u32 = 0;

/// See the head of this file.
#[derive(Debug)]
pub(crate) struct Inboxes {
    default: News,
    others: Box<[OnceLock<News>]>,
    numbers: Mutex<Numbers>,
}

/// Which numbers are given out.
#[derive(Debug)]
struct Numbers {
    /// The lowest that was never given out.
    next: u32,
    returned: Vec<u32>,
}

impl Inboxes {
    pub(crate) fn new(default: Calls) -> Self {
        Self {
            default: News::new(default),
            others: (1..INBOXES_LIMIT).map(|_| OnceLock::new()).collect(),
            numbers: Mutex::new(Numbers { next: 1, returned: Vec::new() }),
        }
    }

    /// The inbox of a number.
    pub(crate) fn get(&self, number: u32) -> &News {
        let other = (number as usize).checked_sub(1).and_then(|place| self.others.get(place));
        // A number was given out before a slot could have it.
        other.and_then(OnceLock::get).unwrap_or(&self.default)
    }

    pub(crate) fn default(&self) -> &News {
        &self.default
    }

    /// A number for a new inbox; `None` when all are given out.
    pub(crate) fn add(&self, calls: Calls) -> Option<u32> {
        let number = {
            let mut numbers = lock(&self.numbers);
            numbers.returned.pop().or_else(|| {
                let fresh = (numbers.next < INBOXES_LIMIT as u32).then_some(numbers.next)?;
                numbers.next += 1;
                Some(fresh)
            })?
        };
        self.others.get(number as usize - 1)?.get_or_init(News::mute).set_calls(Some(calls));
        Some(number)
    }

    /// The consumer of an inbox is gone: nobody is woken for it any more.
    pub(crate) fn mute(&self, number: u32) {
        self.get(number).set_calls(None);
    }

    /// Gives a number back, of which no slot is any more.
    pub(crate) fn give_back(&self, number: u32) {
        lock(&self.numbers).returned.push(number);
    }

    /// Those that were ever made.
    pub(crate) fn iter(&self) -> impl Iterator<Item = &News> {
        std::iter::once(&self.default).chain(self.others.iter().filter_map(OnceLock::get))
    }
}

/// The inbox that an open or a queued call is bound to, kept alive by whoever has this.
#[derive(Clone)]
pub(crate) struct Binding {
    /// Its number.
    pub(crate) number: u32,
    /// The address of its module, which tells it from those of others.
    pub(crate) module: usize,
    pub(crate) _keep: Arc<dyn Send + Sync>,
}

impl fmt::Debug for Binding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "inbox {}", self.number)
    }
}

#[cfg(all(test, not(efio_loom)))]
mod tests {
    use super::*;

    fn calls() -> Calls {
        Calls { wake: Box::new(|| ()), lower: Box::new(|| ()), mark: false }
    }

    #[test]
    fn numbers_are_bounded_and_come_back() {
        let inboxes = Inboxes::new(calls());
        let given: Vec<_> = std::iter::from_fn(|| inboxes.add(calls())).collect();
        assert_eq!(given, (1..INBOXES_LIMIT as u32).collect::<Vec<_>>());
        assert_eq!(inboxes.iter().count(), INBOXES_LIMIT);
        inboxes.mute(7);
        inboxes.give_back(7);
        assert_eq!(inboxes.add(calls()), Some(7));
        assert_eq!(inboxes.add(calls()), None);
    }
}
