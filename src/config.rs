//! Limits and OpenOptions: every bound by name, with its unit, its default and what happens at it.

use std::time::Duration;

use crate::error::{Error, ErrorKind, Operation, Result};
use crate::news::Binding;

pub(crate) const KIB: usize = 1024;
pub(crate) const MIB: usize = 1024 * KIB;

/// The bounds of one module, as its [`Builder`](crate::Builder) sets them.
///
/// | name | unit | default | at the bound |
/// | --- | --- | --- | --- |
/// | `memory` | bytes of pages in the module | 256 MiB | `ef_write` and read-ahead wait: `WouldBlock`, then an event |
/// | `file_memory` | bytes of pages of one file | 64 MiB | the same, for that file |
/// | `files` | open files and queued metadata calls | 1,048,576 | `ef_open` answers [`ErrorKind::TableFull`] |
/// | `threads` | engine threads | 64 | jobs of the full lane wait their turn |
/// | `whole_write` | bytes | 64 KiB | a longer `ef_write` may be short |
/// | `read_ahead` | bytes of one file | 4 MiB | the engine reads no further ahead |
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    pub(crate) memory: usize,
    pub(crate) file_memory: usize,
    pub(crate) files: u32,
    pub(crate) threads: usize,
    pub(crate) whole_write: usize,
    pub(crate) read_ahead: usize,
    pub(crate) flush_interval: Duration,
    pub(crate) close_deadline: Duration,
    pub(crate) shutdown_deadline: Duration,
    pub(crate) thread_idle: Duration,
    pub(crate) thread_growth: Duration,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            memory: 256 * MIB,
            file_memory: 64 * MIB,
            files: 1 << 20,
            threads: 64,
            whole_write: 64 * KIB,
            read_ahead: 4 * MIB,
            flush_interval: Duration::from_secs(1),
            close_deadline: Duration::from_secs(2),
            shutdown_deadline: Duration::from_secs(5),
            thread_idle: Duration::from_secs(10),
            thread_growth: Duration::from_millis(10),
        }
    }
}

impl Limits {
    pub(crate) fn check(&self) -> Result<()> {
        let refuse = |note| Err(Error::noted(ErrorKind::InvalidInput, Operation::Start, note));
        if self.memory < 4 * MIB {
            return refuse("memory_limit is under 4 MiB, less than the smallest pool of pages");
        }
        if self.memory > 64 << 30 {
            return refuse("memory_limit is over 64 GiB");
        }
        if self.file_memory < 64 * KIB {
            return refuse("file_memory_limit is under 64 KiB");
        }
        if self.files == 0 || self.files > 1 << 24 {
            return refuse("files_limit is not between 1 and 16,777,216");
        }
        if self.threads == 0 || self.threads > 64 {
            return refuse("threads_limit is not between 1 and 64");
        }
        if self.whole_write == 0 || self.whole_write > MIB {
            return refuse("whole_write is not between 1 byte and 1 MiB");
        }
        if self.flush_interval.is_zero() {
            return refuse("flush_interval is zero; Durability::EveryWrite flushes each write at once");
        }
        Ok(())
    }
}

/// When the bytes of a file, and its name, are made to survive a loss of power without being asked.
///
/// `ef_sync` makes them so in every mode.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Durability {
    /// Only when asked.
    #[default]
    None,
    /// After each flush of the timer, so at the latest one flush interval and one sync after the write.
    Interval,
    /// Before the close is done; the closed event then vouches for every byte and for the name.
    OnClose,
    /// With each write: flushed at once, by a descriptor opened with O_DSYNC; writes that come while one is under
    /// way share the next.
    EveryWrite,
}

/// What a full disk does to a file.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum OnFull {
    /// The bytes are kept and tried again (after 100 ms, doubling up to 5 s, and at each sync) until there is room.
    #[default]
    Retry,
    /// The file is poisoned: writes and syncs return the error from then on.
    Fail,
}

/// What a file's reads and writes leave in the kernel's page cache.
///
/// The page cache makes a second reading cheap, and costs the pages of others, which the kernel drops for it. A stream that nobody
/// reads again soon, such as an upload, a backup or a copy, is better left out of it.
///
/// ```
/// use efio::{CacheMode, Efio, OpenOptions};
///
/// let folder = tempfile::tempdir()?;
/// let (path, efio) = (folder.path().join("backup"), Efio::new()?);
/// let options = OpenOptions::new().write(true).create(true).cache(CacheMode::Uncached);
/// let mut file = efio.open(&path, &options)?;
/// std::io::Write::write_all(&mut file.blocking(), &[7; 100_000])?;
/// file.blocking().close()?;
/// assert_eq!(std::fs::read(&path)?.len(), 100_000);
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
#[non_exhaustive]
pub enum CacheMode {
    /// As the kernel likes: what is written and read stays in its cache until it needs the room.
    #[default]
    Buffered,
    /// As little as can be. What is written goes to the disk soon, in whole blocks of 4 KiB; a last part of a block waits in
    /// memory for the rest of it, until the flush interval, a sync or a close, or until memory is short. (Files that append, and those of
    /// [`Order::PerThread`], are written as their calls end, in parts of blocks too.) Written and read pages are dropped soon
    /// after, and when the file is closed none that its own writes and reads brought in are left. To be sure of that the close drops **all**
    /// of a file that was read or written, what others brought in too; after writes it waits before, in the background, until
    /// they are on the disk, and tells an error of that. **It is no [`Durability`]**: neither the disk's own cache is flushed, nor is the size or the
    /// name made safe.
    ///
    /// Where file and kernel can (Linux 6.14 and newer: ext4, XFS), new blocks and reads use `RWF_DONTCACHE`, by which the kernel
    /// itself drops what this file brought in and keeps what others did until the close; how much of it is on its way to the disk meanwhile is the
    /// kernel's to say. For blocks that were in the file before, and elsewhere (older kernels, btrfs, tmpfs, FUSE), efio does it by
    /// hand, and pages of the file that others have in use are dropped with them. By hand a write waits for the disk once it and those
    /// before it have left more than 4 MiB in the cache. While a sync is asked for or under way it cannot: it only drops what is on
    /// the disk already, each 4 MiB, and more stays where the disk is slow. Pages that cannot be dropped (mapped, locked,
    /// or changed by others meanwhile) stay. On systems other than Linux it is as `Buffered`.
    ///
    /// Since the disk is busy from the first bytes on, such a file takes writes in order up to 256 KiB of accepted bytes only, once a
    /// 128th of the module's memory is in use by whatever file: a fast writer meets `WouldBlock` earlier. A file with another
    /// [`memory_limit`](OpenOptions::memory_limit) than the module's files, and one that retains, keeps its own.
    ///
    /// Reads go to the disk, also where a first try would have found the bytes in the cache. If the way to the disk
    /// fails, the file fails as by a failed sync ([`ErrorKind::Os`] with [`Operation::Sync`]), perhaps before anybody asked for one.
    Uncached,
}

/// In which order the writes of several threads by one handle come in the file.
///
/// Whatever the order, each call that is taken whole lies in one piece, and what one thread writes stays in its order.
///
/// ```
/// use efio::{OpenOptions, Order};
/// let log = OpenOptions::new().append(true).create(true).order(Order::PerThread);
/// # let _ = log;
/// ```
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub enum Order {
    /// One order for all threads: a call that begins after another has returned comes behind it. All of them meet at one
    /// page, which busy threads pay for.
    #[default]
    One,
    /// An order for each thread: it fills a page of its own, of 4 KiB at first and up to 1 MiB while it fills them, and
    /// shares nothing with other threads on its way. Lines of different threads may change places, within a page each and a
    /// flush interval. A sync, a flush and a close cover what every thread had written; a truncate comes behind what was accepted
    /// before it. For logs that many threads write: the file cannot be read by the same handle, is not written by
    /// offset, lends no page, and has no offset to seek to. The first 56 threads of the process have pages of their own, further ones share some. A thread that writes while
    /// its thread-local values are being destroyed counts as another one.
    PerThread,
}

/// How a range of a file is locked: see [`Efio::ef_lock`](crate::Efio::ef_lock).
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum LockKind {
    /// Others may have it so too, and none has it exclusively. Needs a file that is open for reading.
    Shared,
    /// Nobody else has it. Needs a file that is open for writing.
    Exclusive,
}

/// How a file is opened: the choices of open(2), and efio's own.
///
/// ```
/// use std::time::Duration;
/// use efio::{Durability, OpenOptions};
/// let log = OpenOptions::new().append(true).create(true).mode(0o640).flush_interval(Duration::from_millis(200));
/// let upload = OpenOptions::new().write(true).create_new(true).atomic(true).durability(Durability::OnClose);
/// # let _ = (log, upload);
/// ```
#[derive(Clone, Debug)]
pub struct OpenOptions {
    pub(crate) read: bool,
    pub(crate) write: bool,
    pub(crate) append: bool,
    pub(crate) truncate: bool,
    pub(crate) create: bool,
    pub(crate) create_new: bool,
    pub(crate) mode: u32,
    pub(crate) custom_flags: i32,
    pub(crate) atomic: bool,
    pub(crate) block_device: bool,
    pub(crate) look_first: bool,
    pub(crate) posix: bool,
    pub(crate) durability: Durability,
    pub(crate) on_full: OnFull,
    pub(crate) order: Order,
    pub(crate) cache: CacheMode,
    pub(crate) flush_interval: Option<Duration>,
    pub(crate) memory_limit: Option<usize>,
    pub(crate) retain: bool,
    pub(crate) token: u64,
    pub(crate) inbox: Option<Binding>,
}

impl Default for OpenOptions {
    fn default() -> Self {
        Self::new()
    }
}

/// One setter: takes the options by value and gives them back.
macro_rules! setters {
    ($($(#[$doc:meta])* $name:ident: $kind:ty;)*) => {
        $($(#[$doc])*
        #[must_use]
        pub fn $name(mut self, $name: $kind) -> Self {
            self.$name = $name;
            self
        })*
    };
}

impl OpenOptions {
    /// Nothing chosen yet; at least one of `read`, `write` and `append` is needed.
    #[must_use]
    pub fn new() -> Self {
        Self {
            read: false,
            write: false,
            append: false,
            truncate: false,
            create: false,
            create_new: false,
            mode: 0o666,
            custom_flags: 0,
            atomic: false,
            block_device: false,
            look_first: false,
            posix: false,
            durability: Durability::None,
            on_full: OnFull::Retry,
            order: Order::One,
            cache: CacheMode::Buffered,
            flush_interval: None,
            memory_limit: None,
            retain: false,
            token: 0,
            inbox: None,
        }
    }

    setters! {
        /// The file can be read.
        read: bool;
        /// The file can be written.
        write: bool;
        /// Every write goes to the end of the file, wherever that is then (O_APPEND): right beside other
        /// processes that append, and after a log rotation by copy and truncate. Includes `write`.
        append: bool;
        /// The file is cut to nothing once it is open.
        truncate: bool;
        /// The file is made if it does not exist.
        create: bool;
        /// The file is made, and must not exist yet.
        create_new: bool;
        /// The permission bits of a new file, less the umask. Default 0o666.
        mode: u32;
        /// Further flags for open(2), such as `O_NOATIME`. The access mode, creation, truncation and append are set
        /// by their own options; `O_CLOEXEC` and `O_NOCTTY` are always on.
        custom_flags: i32;
        /// The file appears under its name, complete, when it is closed by an explicit close, and not before. Until
        /// then it has no name, or a hidden one in the same folder; an abort, a drop of the
        /// [`File`](crate::File), or the end of the module leave nothing behind. With `create_new` the close fails
        /// if the name exists by then; without it, an existing file is replaced in one step.
        atomic: bool;
        /// A block device is welcome too. Not with [`CacheMode::Uncached`].
        block_device: bool;
        /// The name is looked at before it is opened, by one more system call in the background, so that a pipe or a
        /// device is refused untouched. Without it a pipe is open for a moment, in which a program that waits for its
        /// other end goes on, and finds nobody there.
        look_first: bool;
        /// Every combination is taken that open(2) takes, also those that are mostly mistakes: `create` without `write`,
        /// and `truncate` with `append`. For programs that were written with its flags.
        posix: bool;
        /// When bytes and name are made durable without being asked.
        durability: Durability;
        /// What a full disk does to this file.
        on_full: OnFull;
        /// The order among the writes of several threads. Default: one for all.
        order: Order;
        /// What reads and writes leave in the kernel's page cache. Default: what the kernel likes to.
        cache: CacheMode;
        /// The number that comes with every event of this file. Default 0.
        token: u64;
    }

    /// How long an accepted byte may stay in memory before it is written to the file. Default: the module's, 1 s.
    #[must_use]
    pub fn flush_interval(mut self, interval: Duration) -> Self {
        self.flush_interval = Some(interval);
        self
    }

    /// Written bytes are kept in memory until a sync has made them durable, so that
    /// [`ef_recover`](crate::Efio::ef_recover) can write them once more after a failed sync. They count in the file's limit
    /// of memory; once they are half of it, or memory is short, or the file is idle, a sync is begun that nobody asked for.
    /// Default: false.
    #[must_use]
    pub fn retain_until_durable(mut self, retain: bool) -> Self {
        self.retain = retain;
        self
    }

    /// The most memory, in bytes, that accepted bytes of this file may hold. Default: the module's, 64 MiB. At the
    /// bound `ef_write` answers `WouldBlock`, and a writable event follows.
    #[must_use]
    pub fn memory_limit(mut self, bytes: usize) -> Self {
        self.memory_limit = Some(bytes);
        self
    }

    pub(crate) fn check(&self) -> Result<()> {
        let refuse = |note| Err(Error::noted(ErrorKind::InvalidInput, Operation::Open, note));
        let writes = self.write || self.append;
        if !self.read && !writes {
            return refuse("none of read, write and append is chosen");
        }
        let makes = self.create || self.create_new;
        if (makes && !self.posix || self.truncate) && !writes {
            return refuse("create, create_new and truncate need write or append");
        }
        if self.atomic && self.append {
            return refuse("an atomic file is new: append makes no sense with it");
        }
        if self.atomic && !(self.write && (self.create || self.create_new)) {
            return refuse("an atomic file needs write and create or create_new");
        }
        if self.block_device && self.cache == CacheMode::Uncached {
            return refuse("a close that drops a file from the page cache would drop a whole block device");
        }
        if self.append && self.truncate && !self.posix {
            return refuse("append and truncate exclude each other");
        }
        if self.order == Order::PerThread && self.retain {
            return refuse("retain_until_durable is for files whose writes have one order");
        }
        if self.order == Order::PerThread && (self.read || !writes) {
            return refuse("Order::PerThread is for files that are written and not read by the same handle");
        }
        if self.flush_interval.is_some_and(|interval| interval.is_zero()) {
            return refuse("flush_interval is zero; Durability::EveryWrite flushes each write at once");
        }
        if self.memory_limit.is_some_and(|bytes| bytes < 4 * KIB) {
            return refuse("memory_limit is under one page of 4 KiB");
        }
        Ok(())
    }
}
