//! Fd: the name of one open file; an index that is reused and a generation that is not.

use std::fmt;

/// The name of one open file (or of one queued [`Op`](crate::Op)) of an [`Efio`](crate::Efio).
///
/// It is a plain value: copying it copies no file and dropping it closes none. The index is reused after a
/// close, the lowest free one first; the generation is not, so a handle that outlives its file is answered with
/// [`ErrorKind::Stale`](crate::ErrorKind::Stale) and never reaches a later file.
///
/// ```
/// let efio = efio::Efio::new()?;
/// let fd = efio.ef_open("/proc/self/status", &efio::OpenOptions::new().read(true))?;
/// assert_eq!(fd.index(), 0);
/// efio.ef_close(fd)?;
/// # Ok::<(), efio::Error>(())
/// ```
#[derive(Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Fd {
    index: u32,
    generation: u32,
}

impl Fd {
    pub(crate) const fn new(index: u32, generation: u32) -> Self {
        Self { index, generation }
    }

    /// The handle in one number, for a program that keeps it where only numbers go: a field of a C struct, an atomic.
    ///
    /// ```
    /// let efio = efio::Efio::new()?;
    /// let fd = efio.ef_open("/proc/self/status", &efio::OpenOptions::new().read(true))?;
    /// assert_eq!(efio::Fd::from_bits(fd.to_bits()), fd);
    /// # efio.ef_close(fd)?;
    /// # Ok::<(), efio::Error>(())
    /// ```
    #[must_use]
    pub const fn to_bits(self) -> u64 {
        (self.index as u64) << 32 | self.generation as u64
    }

    /// The handle that [`to_bits`](Self::to_bits) made a number of. Any other number is a handle too, of no file: it is
    /// answered with [`ErrorKind::Stale`](crate::ErrorKind::Stale), unless it happens to name one.
    #[must_use]
    pub const fn from_bits(bits: u64) -> Self {
        Self { index: (bits >> 32) as u32, generation: bits as u32 }
    }

    /// The place in the table of open files, from 0.
    #[must_use]
    pub const fn index(self) -> u32 {
        self.index
    }

    /// How often this place had been used before this file.
    #[must_use]
    pub const fn generation(self) -> u32 {
        self.generation
    }
}

impl fmt::Debug for Fd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Fd({}v{})", self.index, self.generation)
    }
}

impl fmt::Display for Fd {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "fd {}", self.index)
    }
}
