//! Notes: what a sealed page is to its file, kept beside the pool by the page's place in it.
//!
//! A sealed page travels from the writer that completed it to the file's actor as an index in a list; what else
//! there is to know of it lies here. So sealing a page allocates nothing. A note belongs to whoever holds the page.

use crate::queue::Links;
use crate::sync::{AtomicPtr, AtomicU32, AtomicU64, Ordering, zeroed};

use super::cell::Placement;

/// The bytes of one granule of the pool; a page is known by its first granule.
pub(crate) const GRANULE: usize = 4096;

const WORDS: usize = 3;
/// The low bits of a page's word, which tell its class.
const TAG_BITS: u32 = 3;
const TAG_MASK: u64 = (1 << TAG_BITS) - 1;

/// One sealed page of a file, complete, in the hands of the actor.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Sealed {
    /// The page as one word, as [`Page::into_raw`](crate::page::Page::into_raw) makes it.
    pub(crate) page: *mut u8,
    /// Bytes in the page.
    pub(crate) len: u32,
    pub(crate) placement: Placement,
}

/// The side array: for each granule a link and three words, committed by the system only where used.
#[derive(Debug)]
pub(crate) struct Notes {
    /// Only for its address and as the origin of pages' words: nothing is read through it here.
    base: AtomicPtr<u8>,
    links: Box<[AtomicU32]>,
    words: Box<[AtomicU64]>,
}

impl Notes {
    /// For a pool of `bytes` that begins at `base`; `None` when memory is refused.
    pub(crate) fn new(base: *mut u8, bytes: usize) -> Option<Self> {
        let granules = bytes.div_ceil(GRANULE);
        Some(Self {
            base: AtomicPtr::new(base),
            links: zeroed::array(granules)?,
            words: zeroed::array(granules * WORDS)?,
        })
    }

    fn base(&self) -> *mut u8 {
        // ORDER: Relaxed: never changes.
        self.base.load(Ordering::Relaxed)
    }

    /// Writes the note of a page that the caller holds; gives its index.
    pub(crate) fn write(&self, sealed: Sealed) -> u32 {
        let offset = sealed.page.addr() - self.base().addr();
        let (index, tag) = (offset / GRANULE, offset % GRANULE);
        let words = &self.words[index * WORDS..][..WORDS];
        let shape = u64::from(sealed.len) << TAG_BITS | tag as u64;
        let sequence = u64::from(sealed.placement.sequence);
        // ORDER: Relaxed: published by the push of the index on the list of sealed pages.
        words[0].store(sealed.placement.base, Ordering::Relaxed);
        // ORDER: Relaxed: as above.
        words[1].store(sealed.placement.start, Ordering::Relaxed);
        // ORDER: Relaxed: as above. A length has 21 bits and a tag 3, so the sequence keeps its 32.
        words[2].store(sequence << 32 | shape, Ordering::Relaxed);
        index as u32
    }

    /// The note of a page whose index came from the list.
    pub(crate) fn read(&self, index: u32) -> Sealed {
        let words = &self.words[index as usize * WORDS..][..WORDS];
        // ORDER: Relaxed: the taking of the list acquired what its push published.
        let packed = words[2].load(Ordering::Relaxed);
        Sealed {
            page: self.base().wrapping_add(index as usize * GRANULE + (packed & TAG_MASK) as usize),
            len: (packed >> TAG_BITS) as u32 & 0x1f_ffff,
            placement: Placement {
                sequence: (packed >> 32) as u32,
                // ORDER: Relaxed: as above.
                base: words[0].load(Ordering::Relaxed),
                // ORDER: Relaxed: as above.
                start: words[1].load(Ordering::Relaxed),
            },
        }
    }
}

impl Links for Notes {
    fn link(&self, index: u32) -> &AtomicU32 {
        &self.links[index as usize]
    }
}

#[cfg(all(test, not(efio_loom)))]
mod tests {
    use super::*;

    #[test]
    fn a_note_reads_back_as_written() {
        let mut memory = vec![0u8; 64 * GRANULE];
        let notes = Notes::new(memory.as_mut_ptr(), memory.len()).unwrap();
        let sealed = Sealed {
            page: memory.as_mut_ptr().wrapping_add(3 * GRANULE + 2),
            len: 1 << 20,
            placement: Placement { sequence: u32::MAX, base: u64::MAX - 5, start: 1 << 40 },
        };
        let index = notes.write(sealed);
        assert_eq!(index, 3);
        let back = notes.read(index);
        assert_eq!((back.page, back.len), (sealed.page, sealed.len));
        assert_eq!(back.placement, sealed.placement);
    }
}
