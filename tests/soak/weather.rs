//! The faults of a soak: where they can strike, and when they do.
#![allow(unsafe_code, reason = "mounts a small file system, and sets a limit of the process")]

use std::ffi::CString;
use std::os::fd::AsRawFd;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::sys::resource::{Resource, getrlimit, setrlimit};

use crate::Random;
use crate::fuse::{Asked, Fate, Mounted};
use crate::support::skip;

/// Room in the disk that fills up, in bytes: enough for the longest file of every client.
const SMALL: u64 = 96 << 20;
/// The size of files that a limit allows, in bytes.
const FILE_LIMIT: u64 = 256 << 10;

/// A file system in memory; dropped, it is gone.
struct Small(tempfile::TempDir);

fn text(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

impl Small {
    fn new() -> Result<Self, std::io::Error> {
        let folder = tempfile::tempdir()?;
        let options = CString::new(format!("size={SMALL}")).unwrap();
        let (none, kind, place) = (c"none".as_ptr(), c"tmpfs".as_ptr(), text(folder.path()));
        // SAFETY: all four texts end with a zero byte and outlive the call.
        let answer = unsafe { libc::mount(none, place.as_ptr(), kind, 0, options.as_ptr().cast()) };
        if answer == 0 { Ok(Self(folder)) } else { Err(std::io::Error::last_os_error()) }
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // SAFETY: the text ends with a zero byte and outlives the call.
        unsafe { libc::umount2(text(self.0.path()).as_ptr(), libc::MNT_DETACH) };
    }
}

struct Inside {
    folder: tempfile::TempDir,
    small: Result<Small, std::io::Error>,
    strange: Result<Mounted, std::io::Error>,
}

/// Where files lie: an ordinary folder, a small disk, a strange one; the last two as far as they can be had.
#[derive(Clone)]
pub(crate) struct Places(Arc<Inside>);

impl Places {
    pub(crate) fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        Self(Arc::new(Inside { folder, small: Small::new(), strange: Mounted::new() }))
    }

    pub(crate) fn folder(&self) -> &Path {
        self.0.folder.path()
    }

    /// The path of a client's file in one of the places.
    pub(crate) fn path(&self, place: u64, name: &str) -> PathBuf {
        match (place % 3, &self.0.small, &self.0.strange) {
            (1, Ok(small), _) => small.0.path().join(name),
            (2, _, Ok(strange)) => strange.path(name),
            _ => self.folder().join(name),
        }
    }

    /// What every process can read in a file. Of the strange disk this is its own word, for asking it may hang.
    pub(crate) fn contents(&self, path: &Path) -> Option<Vec<u8>> {
        match &self.0.strange {
            Ok(strange) if path.parent() == strange.path("x").parent() => {
                Some(strange.disk.contents(&path.file_name()?.to_string_lossy()))
            }
            _ => std::fs::read(path).ok(),
        }
    }

    pub(crate) fn say_what_was_missing(&self) {
        if let Err(error) = &self.0.small {
            skip(format_args!("no tmpfs can be mounted here: {error}"));
        }
        if let Err(error) = &self.0.strange {
            skip(format_args!("no FUSE file system can be mounted here: {error}"));
        }
    }
}

/// What the disks do to those who use them; it changes a few times a second.
pub(crate) struct Weather {
    random: Random,
    places: Places,
    next: Instant,
    usual: (u64, u64),
}

impl Weather {
    pub(crate) fn new(seed: u64, places: Places) -> Self {
        // SAFETY: changes how this process takes one signal, which no other part of it has touched.
        unsafe { libc::signal(libc::SIGXFSZ, libc::SIG_IGN) };
        let usual = getrlimit(Resource::RLIMIT_FSIZE).unwrap();
        Self { random: Random::new(seed ^ 0xFEED), places, next: Instant::now(), usual }
    }

    /// Changes, if it is time.
    pub(crate) fn change(&mut self) {
        if Instant::now() < self.next {
            return;
        }
        self.next = Instant::now() + Duration::from_millis(50 + self.random.below(300));
        match self.random.below(12) {
            0..=2 => self.fill(),
            3 | 4 => self.empty(),
            5 | 6 => self.strange(),
            7 | 8 => self.calm(),
            9 => setrlimit(Resource::RLIMIT_FSIZE, FILE_LIMIT.min(self.usual.1), self.usual.1).unwrap(),
            _ => setrlimit(Resource::RLIMIT_FSIZE, self.usual.0, self.usual.1).unwrap(),
        }
    }

    /// No fault is left.
    pub(crate) fn clear(&mut self) {
        self.empty();
        self.calm();
        setrlimit(Resource::RLIMIT_FSIZE, self.usual.0, self.usual.1).unwrap();
    }

    /// Takes up the room of the small disk, but for a little.
    fn fill(&mut self) {
        let Ok(small) = &self.places.0.small else { return };
        setrlimit(Resource::RLIMIT_FSIZE, self.usual.0, self.usual.1).unwrap();
        let ballast = std::fs::File::create(small.0.path().join("ballast")).unwrap();
        let room = nix::sys::statvfs::fstatvfs(&ballast).unwrap();
        let free = room.blocks_available() * room.block_size();
        let bytes = free.saturating_sub(self.random.below(256) << 10);
        // Others may take up the room meanwhile; then a part of it is taken, or nothing.
        // SAFETY: the descriptor is open for the whole call.
        unsafe { libc::fallocate(ballast.as_raw_fd(), 0, 0, i64::try_from(bytes).unwrap().max(1)) };
    }

    fn empty(&mut self) {
        if let Ok(small) = &self.places.0.small {
            let _ = std::fs::remove_file(small.0.path().join("ballast"));
        }
    }

    /// A file of the strange disk fails or hangs at some call.
    fn strange(&mut self) {
        let Ok(strange) = &self.places.0.strange else { return };
        let asked = [Asked::Open, Asked::Read, Asked::Write, Asked::Sync, Asked::Flush];
        let asked = asked[self.random.below(5) as usize];
        let fates = [Fate::Hangs, Fate::Fails(libc::EIO), Fate::Fails(libc::ENOSPC)];
        let fate = fates[self.random.below(3) as usize];
        for _ in 0..8 {
            strange.disk.ordain(&format!("f{}", self.random.below(crate::CLIENTS as u64)), asked, fate);
        }
    }

    fn calm(&mut self) {
        let Ok(strange) = &self.places.0.strange else { return };
        for client in 0..crate::CLIENTS {
            for asked in [Asked::Open, Asked::Read, Asked::Write, Asked::Sync, Asked::Flush] {
                strange.disk.heal(&format!("f{client}"), asked);
            }
        }
        strange.disk.release();
    }
}
