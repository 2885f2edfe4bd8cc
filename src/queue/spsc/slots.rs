//! Places of a ring lent as slices, to be filled or read where they are.
//!
//! The free places, and the full ones, are each at most two stretches of memory: up to the end of the array, and from its
//! start. Under loom every place is watched alone, so this file is not in that build; the counts are the same.

#![allow(unsafe_code, reason = "the places of a ring as slices")]

use super::{Consumer, Place, Producer, Shared};
use std::fmt;
use std::mem::MaybeUninit;

/// The two stretches of `count` places from `from`: pointers and lengths.
fn stretches<T>(shared: &Shared<T>, from: usize, count: usize) -> [(*const Place<T>, usize); 2] {
    let places = &shared.places;
    let start = from & (places.len() - 1);
    let first = count.min(places.len() - start);
    [(places[start..].as_ptr(), first), (places.as_ptr(), count - first)]
}

impl<T> Producer<T> {
    /// Lends every free place; what [`WriteSlots::commit`] is told of then becomes values.
    ///
    /// After a close there are none.
    ///
    /// ```
    /// let (mut producer, mut consumer) = efio::queue::spsc::channel::<u8>(4);
    /// let mut slots = producer.write_slots();
    /// let (first, second) = slots.as_mut_slices();
    /// assert_eq!(first.len() + second.len(), 4);
    /// first[0].write(b'a');
    /// first[1].write(b'b');
    /// // SAFETY: the first two places are written.
    /// unsafe { slots.commit(2) };
    /// assert_eq!(consumer.read_slots().as_slices().0, b"ab");
    /// ```
    pub fn write_slots(&mut self) -> WriteSlots<'_, T> {
        let count = if self.is_closed() { 0 } else { self.room() };
        WriteSlots { producer: self, count }
    }

    /// Copies as many of `values` as there is room for, and says how many. After a close it is 0.
    pub fn push_slice(&mut self, values: &[T]) -> usize
    where
        T: Copy,
    {
        let mut slots = self.write_slots();
        let count = slots.count.min(values.len());
        let (first, second) = slots.as_mut_slices();
        let places = first.iter_mut().chain(second);
        places.zip(values).for_each(|(place, value)| {
            place.write(*value);
        });
        // SAFETY: `count` places are written: the shorter of the two lengths.
        unsafe { slots.commit(count) };
        count
    }
}

impl<T> Consumer<T> {
    /// Lends every value where it lies; [`ReadSlots::consume`] then takes the first of them out.
    ///
    /// ```
    /// let (mut producer, mut consumer) = efio::queue::spsc::channel(4);
    /// producer.push_all(&mut ["a", "b", "c"].into_iter());
    /// let slots = consumer.read_slots();
    /// assert_eq!(slots.as_slices().0, ["a", "b", "c"]);
    /// assert_eq!(slots.consume(2), 2);
    /// assert_eq!(consumer.pop(), Ok("c"));
    /// ```
    pub fn read_slots(&mut self) -> ReadSlots<'_, T> {
        let count = self.len();
        ReadSlots { consumer: self, count }
    }

    /// Copies the oldest values into `target`, as many as are there and fit, and says how many.
    pub fn pop_slice(&mut self, target: &mut [T]) -> usize
    where
        T: Copy,
    {
        let slots = self.read_slots();
        let (first, second) = slots.as_slices();
        let count = target.len().min(slots.len());
        let (start, rest) = target[..count].split_at_mut(first.len().min(count));
        start.copy_from_slice(&first[..start.len()]);
        rest.copy_from_slice(&second[..rest.len()]);
        slots.consume(count)
    }
}

/// The free places of a ring: see [`Producer::write_slots`]. Dropped without a commit, nothing was pushed.
pub struct WriteSlots<'a, T> {
    producer: &'a mut Producer<T>,
    count: usize,
}

impl<T> WriteSlots<'_, T> {
    /// The places in the order of the ring: first those of the one slice, then those of the other.
    pub fn as_mut_slices(&mut self) -> (&mut [MaybeUninit<T>], &mut [MaybeUninit<T>]) {
        let [first, second] = stretches(&self.producer.shared, self.producer.tail, self.count)
            // SAFETY: the places are the producer's alone until they are published; the cell has the layout of its
            // content; the two stretches do not overlap, as `count` is at most the number of places.
            .map(|(start, count)| unsafe { std::slice::from_raw_parts_mut(start.cast_mut().cast(), count) });
        (first, second)
    }

    /// How many places there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no place.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Makes the first `count` places values, seen by the consumer at once.
    ///
    /// # Panics
    ///
    /// If there are fewer than `count` places; nothing is pushed then.
    ///
    /// # Safety
    ///
    /// The first `count` places have been written.
    pub unsafe fn commit(self, count: usize) {
        assert!(count <= self.count, "a commit of more places than were lent");
        if count != 0 {
            self.producer.publish(count);
        }
    }
}

/// The values of a ring where they lie: see [`Consumer::read_slots`]. Dropped, nothing was popped.
pub struct ReadSlots<'a, T> {
    consumer: &'a mut Consumer<T>,
    count: usize,
}

impl<T> ReadSlots<'_, T> {
    /// The values, oldest first: first those of the one slice, then those of the other.
    #[must_use]
    pub fn as_slices(&self) -> (&[T], &[T]) {
        let [first, second] = stretches(&self.consumer.shared, self.consumer.head, self.count)
            // SAFETY: the places are full and the consumer's until they are released, which takes `self`; a cell has the
            // layout of its content.
            .map(|(start, count)| unsafe { std::slice::from_raw_parts(start.cast(), count) });
        (first, second)
    }

    /// How many values there are.
    #[must_use]
    pub fn len(&self) -> usize {
        self.count
    }

    /// Whether there is no value.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.count == 0
    }

    /// Drops the `count` oldest values, or all if there are fewer, and says how many.
    #[allow(clippy::must_use_candidate, reason = "the number is known to who asks for fewer than there are")]
    pub fn consume(self, count: usize) -> usize {
        let count = count.min(self.count);
        if std::mem::needs_drop::<T>() {
            for _ in 0..count {
                drop(self.consumer.pop());
            }
        } else if count != 0 {
            self.consumer.release(count);
        }
        count
    }
}

impl<T> fmt::Debug for WriteSlots<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("WriteSlots").field("count", &self.count).finish_non_exhaustive()
    }
}

impl<T> fmt::Debug for ReadSlots<'_, T> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("ReadSlots").field("count", &self.count).finish_non_exhaustive()
    }
}
