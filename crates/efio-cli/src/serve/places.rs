//! Places: the connections of the loop, each with an index that is reused and a generation that is not.

/// The name of one connection. It never reaches a later one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Key {
    index: u32,
    generation: u32,
}

impl Key {
    /// The place, from 0.
    pub fn index(self) -> usize {
        self.index as usize
    }

    /// As the token of a file; never 0.
    pub fn token(self) -> u64 {
        u64::from(self.generation) << 32 | u64::from(self.index)
    }

    /// From the token of a file.
    pub fn from_token(token: u64) -> Self {
        let low = |number: u64| u32::try_from(number & u64::from(u32::MAX)).unwrap_or(0);
        Self { index: low(token), generation: low(token >> 32) }
    }
}

/// A bounded set of values in places.
#[derive(Debug)]
pub struct Places<T> {
    places: Vec<(u32, Option<T>)>,
    free: Vec<u32>,
    limit: usize,
}

impl<T> Places<T> {
    /// Room for `limit` values.
    pub fn new(limit: usize) -> Self {
        Self { places: Vec::new(), free: Vec::new(), limit }
    }

    /// How many values there are.
    pub fn len(&self) -> usize {
        self.places.len() - self.free.len()
    }

    /// No further value has room.
    pub fn is_full(&self) -> bool {
        self.len() >= self.limit
    }

    /// Puts a value into a free place; `make` learns its key. `None` when there is no room or `make` declines.
    pub fn add(&mut self, make: impl FnOnce(Key) -> Option<T>) -> Option<Key> {
        if self.is_full() {
            return None;
        }
        let index = match self.free.pop() {
            Some(index) => index,
            None => {
                self.places.push((0, None));
                u32::try_from(self.places.len() - 1).ok()?
            }
        };
        let place = self.places.get_mut(index as usize)?;
        // 0 is left out, so that no token is 0.
        place.0 = place.0.checked_add(1).unwrap_or(1);
        let key = Key { index, generation: place.0 };
        place.1 = make(key);
        if place.1.is_none() {
            self.free.push(index);
            return None;
        }
        Some(key)
    }

    /// The value of a key that is still there.
    pub fn get(&mut self, key: Key) -> Option<&mut T> {
        let (generation, value) = self.places.get_mut(key.index())?;
        if *generation == key.generation { value.as_mut() } else { None }
    }

    /// The key and value in a place.
    pub fn at(&mut self, index: usize) -> Option<(Key, &mut T)> {
        let (generation, value) = self.places.get_mut(index)?;
        let key = Key { index: u32::try_from(index).ok()?, generation: *generation };
        value.as_mut().map(|value| (key, value))
    }

    /// Takes a value out; its place is free.
    pub fn remove(&mut self, key: Key) -> Option<T> {
        let (generation, value) = self.places.get_mut(key.index())?;
        if *generation != key.generation {
            return None;
        }
        let value = value.take()?;
        self.free.push(key.index);
        Some(value)
    }

    /// The keys of all values.
    pub fn keys(&self) -> Vec<Key> {
        let place = |(index, (generation, value)): (usize, &(u32, Option<T>))| {
            value.as_ref()?;
            Some(Key { index: u32::try_from(index).ok()?, generation: *generation })
        };
        self.places.iter().enumerate().filter_map(place).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_never_reaches_a_later_value() {
        let mut places = Places::new(2);
        let first = places.add(|_| Some('a')).expect("room");
        let second = places.add(|_| Some('b')).expect("room");
        assert!(places.is_full() && places.add(|_| Some('c')).is_none());
        assert_eq!(places.remove(first), Some('a'));
        let third = places.add(|_| Some('c')).expect("room");
        assert_eq!((third.index(), places.get(first)), (first.index(), None));
        assert_eq!((places.remove(first), places.get(third)), (None, Some(&mut 'c')));
        assert_eq!(places.keys(), [third, second]);
        assert_eq!(places.at(1).map(|(key, _)| key), Some(second));
    }

    #[test]
    fn a_value_that_was_not_made_takes_no_room() {
        let mut places: Places<u8> = Places::new(1);
        assert!(places.add(|_| None).is_none());
        assert_eq!(places.len(), 0);
        assert!(places.add(|_| Some(1)).is_some());
    }

    #[test]
    fn tokens_are_keys() {
        let key = Key { index: 7, generation: 9 };
        assert_eq!(Key::from_token(key.token()), key);
    }
}
