//! Histogram: how long calls took, in 64 steps for each power of two, and the longest exactly.

/// Steps of one power of two.
const STEPS: u64 = 64;
const STEP_BITS: u32 = STEPS.trailing_zeros();

/// Counts of values by size.
#[derive(Clone, Debug)]
pub struct Histogram {
    counts: Vec<u64>,
    total: u64,
    longest: u64,
}

impl Default for Histogram {
    fn default() -> Self {
        Self { counts: vec![0; (64 * STEPS) as usize], total: 0, longest: 0 }
    }
}

impl Histogram {
    /// Counts a value.
    #[inline]
    pub fn add(&mut self, value: u64) {
        self.counts[place_of(value)] += 1;
        self.total += 1;
        self.longest = self.longest.max(value);
    }

    /// Adds another histogram's counts.
    pub fn merge(&mut self, other: &Self) {
        for (count, more) in self.counts.iter_mut().zip(&other.counts) {
            *count += more;
        }
        self.total += other.total;
        self.longest = self.longest.max(other.longest);
    }

    /// The largest value.
    pub fn longest(&self) -> u64 {
        self.longest
    }

    /// The value that `part` (0 to 1) of all do not exceed.
    pub fn quantile(&self, part: f64) -> u64 {
        let rank = ((self.total as f64 * part).ceil() as u64).max(1);
        let mut seen = 0;
        for (place, count) in self.counts.iter().enumerate() {
            seen += count;
            if seen >= rank {
                return value_of(place as u64).min(self.longest);
            }
        }
        self.longest
    }
}

fn place_of(value: u64) -> usize {
    if value < STEPS {
        return value as usize;
    }
    let power = u64::from(value.ilog2() - STEP_BITS);
    ((power + 1) * STEPS + (value >> power) - STEPS) as usize
}

/// The largest value of a place.
fn value_of(place: u64) -> u64 {
    if place < STEPS {
        return place;
    }
    let power = place / STEPS - 1;
    let first = (place % STEPS + STEPS) << power;
    first + (1 << power) - 1
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_within_two_percent() {
        let mut histogram = Histogram::default();
        (1..=100_000).for_each(|value| histogram.add(value));
        for (part, value) in [(0.5, 50_000.0), (0.99, 99_000.0), (0.999, 99_900.0)] {
            let found = histogram.quantile(part) as f64;
            assert!((found / value - 1.0).abs() < 0.02, "{part}: {found}");
        }
        assert_eq!(histogram.longest(), 100_000);
    }
}
