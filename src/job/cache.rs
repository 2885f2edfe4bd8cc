//! What reads and writes leave in the page cache, as the jobs of one file tell one another.

/// Who drops what a file's transfers bring into the page cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Dropping {
    /// Not tried yet.
    #[default]
    Untried,
    /// The kernel, for each transfer that asks for it (RWF_DONTCACHE).
    Kernel,
    /// The jobs: the kernel, or the file system, has refused.
    ByHand,
}

/// What a file's writes have left in the page cache so far, to be dropped by a later one.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Traces {
    pub(crate) dropping: Dropping,
    /// From this offset of the file on.
    pub(crate) start: u64,
    /// To this one, exclusive.
    pub(crate) end: u64,
}

/// A write that is to leave nothing in the page cache.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Uncached {
    /// All of it lies behind the end of the file: its blocks are new ones.
    pub(crate) grows: bool,
    /// It may wait until what was written before it is on the disk. Not beside a sync: the error of a write-back is told once, to
    /// whichever of the two asks first.
    pub(crate) settles: bool,
    pub(crate) traces: Traces,
}

/// What a close does about the page cache.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Leaving {
    /// Nothing.
    #[default]
    Keep,
    /// Drops what is on the disk already.
    Forget,
    /// Waits until everything is on the disk, and drops it.
    Settle,
}
