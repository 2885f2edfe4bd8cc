//! Process: what a run cost this process in time, memory and switches; and the folder where runs have their files.
#![allow(unsafe_code, reason = "getrusage, fadvise and limits have no safe wrapper here")]

use std::fs;
use std::io;
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};

/// What the kernel counted for all threads so far.
#[derive(Clone, Copy, Debug, Default)]
pub struct Usage {
    /// Seconds of processor time.
    pub cpu_s: f64,
    /// Times that a thread was taken off or gave up its core.
    pub switches: u64,
}

/// The count at this moment.
pub fn usage() -> Usage {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: the call fills the structure, which is all integers.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_SELF, usage.as_mut_ptr());
        usage.assume_init()
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    Usage {
        cpu_s: seconds(usage.ru_utime) + seconds(usage.ru_stime),
        switches: (usage.ru_nvcsw + usage.ru_nivcsw) as u64,
    }
}

/// Nanoseconds of processor time of the calling thread: what its calls cost, whatever else the machine does meanwhile.
pub fn thread_ns() -> u64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the call fills the structure.
    unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &raw mut time) };
    time.tv_sec as u64 * 1_000_000_000 + time.tv_nsec as u64
}

fn status_kib(field: &str) -> f64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix(field));
    line.and_then(|line| line.split_whitespace().nth(1)?.parse().ok()).unwrap_or(0.0)
}

/// Bytes of memory that this process has now.
pub fn resident_bytes() -> f64 {
    status_kib("VmRSS") * 1024.0
}

/// The most MiB since `forget_peak`.
pub fn peak_mib() -> f64 {
    status_kib("VmHWM") / 1024.0
}

/// Begins a new peak.
pub fn forget_peak() {
    // Refused where the kernel lacks it; then the peak is that of the whole process.
    let _ = fs::write("/proc/self/clear_refs", "5");
}

/// Raises the limit of open files as far as allowed, and tells it.
pub fn raise_files_limit() -> u64 {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls take a pointer to the structure above.
    unsafe {
        libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit);
        limit.rlim_cur = limit.rlim_max;
        libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
    }
    limit.rlim_cur
}

/// The thread's sleeps end within a microsecond of their time, for every peer alike.
pub fn sharpen_timers() {
    // SAFETY: the call takes integers.
    unsafe { libc::prctl(libc::PR_SET_TIMERSLACK, 1_000_u64) };
}

/// The thread runs before any other that wants its core, so that what it measures is not its own wait for one. Refused
/// without the right to it; then its figures hold that wait too, for every peer alike.
pub fn go_first() {
    let first = libc::sched_param { sched_priority: 1 };
    // SAFETY: the call reads the structure; 0 is the calling thread.
    unsafe { libc::sched_setscheduler(0, libc::SCHED_RR | libc::SCHED_RESET_ON_FORK, &raw const first) };
}

/// The thread gives way to all others: it stands for a machine of its own, which would take no core from the one measured.
pub fn give_way() {
    // SAFETY: the call takes integers; 0 is the calling thread.
    unsafe { libc::setpriority(libc::PRIO_PROCESS, 0, 19) };
}

/// Has the kernel forget a file's bytes.
pub fn drop_cached(path: &Path) -> io::Result<()> {
    let file = fs::File::open(path)?;
    file.sync_all()?;
    // SAFETY: the call takes a descriptor and integers.
    let refused = unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    if refused == 0 { Ok(()) } else { Err(io::Error::from_raw_os_error(refused)) }
}

/// Pages of a file that the kernel has in its cache.
pub fn pages_cached(path: &Path) -> io::Result<f64> {
    let file = fs::File::open(path)?;
    let bytes = file.metadata()?.len() as usize;
    if bytes == 0 {
        return Ok(0.0);
    }
    let mut pages = vec![0_u8; bytes.div_ceil(4096)];
    // SAFETY: a mapping that is only asked about, never read, and gone before this returns; `pages` has a byte for each of its
    // pages.
    let told = unsafe {
        let map =
            libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0);
        if map == libc::MAP_FAILED {
            return Err(io::Error::last_os_error());
        }
        let told = libc::mincore(map, bytes, pages.as_mut_ptr().cast());
        libc::munmap(map, bytes);
        told
    };
    if told != 0 {
        return Err(io::Error::last_os_error());
    }
    Ok(pages.iter().filter(|page| **page & 1 == 1).count() as f64)
}

/// Writes at the end of a file, and has the kernel begin with it at once and drop it then (RWF_DONTCACHE).
pub fn write_uncached(file: &fs::File, bytes: &[u8]) -> io::Result<()> {
    let part = libc::iovec { iov_base: bytes.as_ptr().cast_mut().cast(), iov_len: bytes.len() };
    // SAFETY: `part` is `bytes`, which the call only reads.
    let written = unsafe { libc::pwritev2(file.as_raw_fd(), &raw const part, 1, -1, libc::RWF_DONTCACHE) };
    match usize::try_from(written) {
        Ok(written) if written == bytes.len() => Ok(()),
        Ok(_) => Err(io::ErrorKind::WriteZero.into()),
        Err(_) => Err(io::Error::last_os_error()),
    }
}

/// Whether the kernel takes such writes for a file at this path.
pub fn knows_uncached(path: &Path) -> bool {
    fs::File::create(path).and_then(|file| write_uncached(&file, b"x")).is_ok()
}

/// Makes an empty file, durable with its name; what runs before left for the disk to do is done by then.
pub fn settle(path: &Path) -> io::Result<()> {
    let file = fs::File::create(path)?;
    file.sync_all()?;
    if let Some(folder) = path.parent() {
        fs::File::open(folder)?.sync_all()?;
    }
    // SAFETY: the call takes a descriptor.
    let refused = unsafe { libc::syncfs(file.as_raw_fd()) };
    if refused == 0 { Ok(()) } else { Err(io::Error::last_os_error()) }
}

/// A folder of this run, removed at its end.
#[derive(Debug)]
pub struct Folder(PathBuf);

impl Folder {
    /// In the folder that `EFIO_BENCH_DIR` names, else in that for temporary files.
    pub fn new() -> io::Result<Self> {
        let base = std::env::var_os("EFIO_BENCH_DIR").map_or_else(std::env::temp_dir, PathBuf::from);
        let path = base.join(format!("efio-bench-{}", std::process::id()));
        fs::create_dir_all(&path)?;
        Ok(Self(path))
    }

    /// A name in it.
    pub fn file(&self, name: &str) -> PathBuf {
        self.0.join(name)
    }
}

impl Drop for Folder {
    fn drop(&mut self) {
        // What cannot be removed is seen by whoever owns the folder.
        let _ = fs::remove_dir_all(&self.0);
    }
}
