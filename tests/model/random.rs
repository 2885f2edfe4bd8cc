//! Random: one number after the other from a seed, and a pool of bytes that no two writes share by accident.

use std::sync::LazyLock;

/// Splitmix64.
#[derive(Clone, Debug)]
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Self {
        Self(seed.wrapping_mul(0x9e37_79b9_7f4a_7c15) ^ 0x1234_5678_9abc_def1)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }

    /// From 0 to `bound - 1`; 0 for a bound of 0.
    pub fn below(&mut self, bound: usize) -> usize {
        (self.next() % bound.max(1) as u64) as usize
    }

    pub fn chance(&mut self, percent: usize) -> bool {
        self.below(100) < percent
    }

    pub fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len())]
    }

    /// A size: often small, sometimes at the edge of a page, sometimes large.
    pub fn size(&mut self, most: usize) -> usize {
        let size = match self.below(20) {
            0 => 0,
            1..=9 => self.below(300),
            10..=14 => self.below(9000),
            15 => 4095 + self.below(3),
            16 => 65535 + self.below(3),
            17 => self.below(70_000),
            _ => self.below(most + 1),
        };
        size.min(most)
    }
}

const POOL_BYTES: usize = 1 << 20;

/// Bytes that look like no other place of the pool.
pub static POOL: LazyLock<Vec<u8>> = LazyLock::new(|| {
    let mut random = Random::new(77);
    let mut pool = Vec::with_capacity(POOL_BYTES);
    while pool.len() < POOL_BYTES {
        pool.extend_from_slice(&random.next().to_le_bytes());
    }
    pool
});

/// Where in the pool a write of `len` bytes takes them from.
pub fn source(random: &mut Random, len: usize) -> usize {
    random.below(POOL_BYTES - len.min(POOL_BYTES - 1))
}
