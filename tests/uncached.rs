//! Uncached files: nothing of what they wrote and read is left in the page cache, and they are files like all others.
#![cfg(target_os = "linux")]
#![allow(
    unsafe_code,
    reason = "asks the kernel what it has in its cache, and refuses a call as an older kernel would"
)]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[cfg(feature = "sim")]
#[path = "uncached/simulated.rs"]
mod simulated;
mod support;

use std::fs::File;
use std::io::{Read, Seek, SeekFrom, Write};
use std::os::fd::AsRawFd;
use std::path::{Path, PathBuf};
use std::time::Duration;

use efio::{CacheMode, Durability, Efio, ErrorKind, OpenOptions, Order, Readiness};
use support::{Loop, child, noise, skip, wait_until};

const CHILD: &str = "EFIO_UNCACHED_CHILD";

fn module() -> Loop {
    Loop::new(Efio::new().unwrap())
}

fn uncached() -> OpenOptions {
    OpenOptions::new().cache(CacheMode::Uncached)
}

/// A folder on a disk; `None`, and said so, where temporary files lie in memory, from which no page can be dropped.
fn on_disk() -> Option<tempfile::TempDir> {
    const MEMORY: [i64; 2] = [0x0102_1994, 0x8584_58f6];
    let folder = tempfile::tempdir().unwrap();
    let file = File::open(folder.path()).unwrap();
    // SAFETY: a structure of integers, for which all zeros is a value; the call fills it.
    let kind = unsafe {
        let mut told: libc::statfs = std::mem::zeroed();
        assert_eq!(libc::fstatfs(file.as_raw_fd(), &raw mut told), 0);
        told.f_type
    };
    if MEMORY.contains(&(kind as i64)) {
        skip("temporary files lie in memory here");
        return None;
    }
    Some(folder)
}

/// Pages of a file that the kernel has in its cache.
fn cached(path: &Path) -> usize {
    let file = File::open(path).unwrap();
    let bytes = file.metadata().unwrap().len() as usize;
    if bytes == 0 {
        return 0;
    }
    let mut pages = vec![0_u8; bytes.div_ceil(4096)];
    // SAFETY: a mapping that is asked about and never read; `pages` has a byte for each of its pages.
    unsafe {
        let map =
            libc::mmap(std::ptr::null_mut(), bytes, libc::PROT_READ, libc::MAP_SHARED, file.as_raw_fd(), 0);
        assert_ne!(map, libc::MAP_FAILED);
        assert_eq!(libc::mincore(map, bytes, pages.as_mut_ptr()), 0);
        libc::munmap(map, bytes);
    }
    pages.iter().filter(|page| **page & 1 == 1).count()
}

/// A file of these bytes, none of them in the cache.
fn cold(path: &Path, bytes: &[u8]) {
    let mut file = File::create(path).unwrap();
    file.write_all(bytes).unwrap();
    file.sync_all().unwrap();
    // SAFETY: takes numbers only.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
}

fn contents(path: &Path) -> Vec<u8> {
    let mut bytes = Vec::new();
    File::open(path).unwrap().read_to_end(&mut bytes).unwrap();
    bytes
}

/// Has the kernel refuse transfers with flags in this thread and all that it starts, as an older one would.
fn refuse_flags() {
    const LOAD_NUMBER: u16 = (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16;
    const IF_EQUAL: u16 = (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16;
    const RETURN: u16 = (libc::BPF_RET | libc::BPF_K) as u16;
    let step = |code, jt, jf, k| libc::sock_filter { code, jt, jf, k };
    let mut steps = [
        step(LOAD_NUMBER, 0, 0, 0),
        step(IF_EQUAL, 1, 0, libc::SYS_pwritev2 as u32),
        step(IF_EQUAL, 0, 1, libc::SYS_preadv2 as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ERRNO | libc::EOPNOTSUPP as u32),
        step(RETURN, 0, 0, libc::SECCOMP_RET_ALLOW),
    ];
    let filter = libc::sock_fprog { len: steps.len() as u16, filter: steps.as_mut_ptr() };
    // SAFETY: the filter and its steps live through the call, which copies them.
    unsafe {
        assert_eq!(libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0), 0);
        assert_eq!(libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const filter), 0);
    }
}

/// Runs a case here, and in a child whose kernel refuses RWF_DONTCACHE.
fn both_ways(test: &str, case: fn(&Path)) {
    let Some(folder) = on_disk() else { return };
    if std::env::var_os(CHILD).is_some() {
        refuse_flags();
        return case(folder.path());
    }
    case(folder.path());
    let output = child(test, CHILD, "1").output().unwrap();
    assert!(output.status.success(), "by hand: {}", String::from_utf8_lossy(&output.stdout));
}

/// As many bytes as a few large writes, small ones, and rests of blocks.
const SIZES: [usize; 5] = [1, 4095, 100_000, 1 << 20, (9 << 20) + 123];

#[test]
fn nothing_of_a_new_file_is_cached_after_its_close() {
    both_ways("nothing_of_a_new_file_is_cached_after_its_close", |folder| {
        let mut module = module();
        let write = || uncached().write(true).create(true);
        let ways: [(&str, OpenOptions); 5] = [
            ("plain", write()),
            ("append", uncached().append(true).create(true)),
            ("durable", write().durability(Durability::OnClose)),
            ("threads", uncached().append(true).create(true).order(Order::PerThread)),
            ("atomic", write().atomic(true)),
        ];
        for (name, options) in ways {
            for size in SIZES {
                let (path, bytes) = (folder.join(format!("{name}-{size}")), noise(size as u64, size));
                let fd = module.open(&path, &options).unwrap();
                // Pieces that end in no block: some 30 KB of each page are written together.
                bytes.chunks(30_011).for_each(|piece| module.write(fd, piece).unwrap());
                let closed = module.close(fd);
                assert!(closed.error().is_none(), "{name} {size}: {closed:?}");
                assert_eq!(cached(&path), 0, "{name} {size}");
                assert_eq!(contents(&path), bytes, "{name} {size}");
            }
        }
    });
}

#[test]
fn nothing_is_cached_after_writing_over_what_was_there() {
    both_ways("nothing_is_cached_after_writing_over_what_was_there", |folder| {
        let path = folder.join("file");
        let mut expected = noise(1, (6 << 20) + 77);
        cold(&path, &expected);
        let mut module = module();
        let fd = module.open(&path, &uncached().write(true)).unwrap();
        // Over the end too: the last bytes are new ones.
        let bytes = noise(2, 7 << 20);
        module.seek(fd, SeekFrom::Start(12_345)).unwrap();
        module.write(fd, &bytes).unwrap();
        module.efio.ef_write_at(fd, b"header", 100).unwrap();
        assert!(module.close(fd).error().is_none());
        assert_eq!(cached(&path), 0);
        expected.resize(12_345 + bytes.len(), 0);
        expected[12_345..].copy_from_slice(&bytes);
        expected[100..106].copy_from_slice(b"header");
        assert_eq!(contents(&path), expected);
    });
}

#[test]
fn nothing_is_cached_after_reading() {
    both_ways("nothing_is_cached_after_reading", |folder| {
        let (path, bytes) = (folder.join("file"), noise(3, (9 << 20) + 5));
        let mut module = module();
        let refuses = std::env::var_os(CHILD).is_some();
        for part in [bytes.len(), 3_000_000, 10] {
            cold(&path, &bytes);
            let fd = module.open(&path, &uncached().read(true)).unwrap();
            let mut read = vec![0; part];
            let mut done = 0;
            while done < part {
                done += module.read_some(fd, &mut read[done..]).unwrap();
            }
            assert!(read == bytes[..part]);
            if part == bytes.len() {
                assert_eq!(module.read_some(fd, &mut [0]).unwrap(), 0, "the end");
                assert!(cached(&path) <= 16, "while it is open: {} pages", cached(&path));
            }
            assert!(module.close(fd).error().is_none());
            assert_eq!(cached(&path), 0, "{part} bytes read");
        }
        match module.efio.info().dont_cache {
            Some(true) if refuses => panic!("what the kernel refuses was found"),
            None => panic!("it was read and not found out"),
            _ => {}
        }
    });
}

#[test]
fn a_long_write_leaves_a_few_mib_at_most_meanwhile() {
    both_ways("a_long_write_leaves_a_few_mib_at_most_meanwhile", |folder| {
        let path = folder.join("file");
        cold(&path, &noise(4, 32 << 20));
        let mut module = module();
        let fd = module.open(&path, &uncached().write(true)).unwrap();
        let bytes = noise(5, 32 << 20);
        module.write(fd, &bytes).unwrap();
        module.sync(fd).unwrap();
        let left = cached(&path) * 4096;
        assert!(left <= 8 << 20, "{left} bytes are cached while the file is open");
        assert_eq!(module.efio.ef_progress(fd).unwrap().durable, 32 << 20);
        assert!(module.close(fd).error().is_none());
        assert_eq!(cached(&path), 0);
        assert!(contents(&path) == bytes);
    });
}

#[test]
fn what_others_had_in_the_cache_stays_until_the_close_where_the_kernel_can_tell() {
    let Some(folder) = on_disk() else { return };
    let (path, bytes) = (folder.path().join("file"), noise(6, 1 << 20));
    cold(&path, &bytes);
    assert_eq!(contents(&path).len(), bytes.len());
    let before = cached(&path);
    let mut module = module();
    let fd = module.open(&path, &uncached().read(true)).unwrap();
    assert!(module.read(fd).unwrap() == bytes);
    if module.efio.info().dont_cache != Some(true) {
        skip("this kernel or file system does not know RWF_DONTCACHE");
        return;
    }
    assert_eq!((cached(&path), before), (before, 256), "pages that another reader brought in");
    module.close(fd);
    assert_eq!(cached(&path), 0, "until the close, which drops all of the file");
}

#[test]
fn a_block_device_is_not_opened_uncached() {
    let options = uncached().read(true).block_device(true);
    let error = module().efio.ef_open("/dev/null", &options).unwrap_err();
    assert_eq!(error.kind(), ErrorKind::InvalidInput);
}

#[test]
fn a_close_takes_no_pages_from_others_where_nothing_was_read_or_written() {
    both_ways("a_close_takes_no_pages_from_others_where_nothing_was_read_or_written", |folder| {
        let path = folder.join("file");
        cold(&path, &noise(7, 1 << 20));
        assert_eq!(contents(&path).len(), 1 << 20);
        let mut module = module();
        let fd = module.open(&path, &uncached().read(true).write(true)).unwrap();
        assert!(module.close(fd).error().is_none());
        assert_eq!(cached(&path), 256);
    });
}

#[test]
fn lines_and_syncs_in_any_mixture_are_whole_and_durable() {
    both_ways("lines_and_syncs_in_any_mixture_are_whole_and_durable", |folder| {
        let mut module = module();
        for (name, options) in [("append", uncached().append(true)), ("write", uncached().write(true))] {
            let path = folder.join(name);
            let fd = module.open(&path, &options.create(true)).unwrap();
            let mut expected = Vec::new();
            for number in 0..400_usize {
                let line = noise(number as u64, number * 37 % 9000 + 1);
                module.write(fd, &line).unwrap();
                expected.extend_from_slice(&line);
                if number % 7 == 3 {
                    module.sync(fd).unwrap();
                    let progress = module.efio.ef_progress(fd).unwrap();
                    assert_eq!(
                        (progress.durable, progress.written),
                        (expected.len() as u64, progress.durable)
                    );
                    assert!(contents(&path) == expected, "{name}: {number} lines");
                }
            }
            assert!(module.close(fd).error().is_none());
            assert!(contents(&path) == expected, "{name}");
            assert_eq!(cached_after_reading(&path), 0, "{name}");
        }
    });
}

/// What is cached of a file that was just read by this test: that reading is dropped first.
fn cached_after_reading(path: &Path) -> usize {
    let file = File::open(path).unwrap();
    // SAFETY: takes numbers only.
    unsafe { libc::posix_fadvise(file.as_raw_fd(), 0, 0, libc::POSIX_FADV_DONTNEED) };
    // Dirty pages would stay.
    cached(path)
}

#[test]
fn a_rest_of_a_block_waits_for_the_flush_interval_and_no_longer() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("log");
    let mut module = Loop::new(Efio::builder().flush_interval(Duration::from_millis(20)).build().unwrap());
    let fd = module.open(&path, &uncached().write(true).create(true)).unwrap();
    // More than a page of memory, so that the first is handed over by the writer and not by the timer.
    module.write(fd, &noise(8, 5000)).unwrap();
    wait_until("everything is written", || module.efio.ef_progress(fd).unwrap().written == 5000);
    assert!(contents(&path) == noise(8, 5000));
    module.close(fd);
}

#[test]
fn a_file_that_reads_and_writes_sees_its_own_bytes() {
    both_ways("a_file_that_reads_and_writes_sees_its_own_bytes", |folder| {
        let mut module = module();
        let options = uncached().read(true).write(true).create(true);
        let fd = module.open(folder.join("both"), &options).unwrap();
        let bytes = noise(9, (3 << 20) + 1001);
        module.write(fd, &bytes).unwrap();
        module.seek(fd, SeekFrom::Start(0)).unwrap();
        assert!(module.read(fd).unwrap() == bytes);
        module.seek(fd, SeekFrom::Start(2_000_001)).unwrap();
        module.write(fd, b"changed").unwrap();
        module.seek(fd, SeekFrom::Start(2_000_000)).unwrap();
        let mut part = [0; 9];
        let mut done = 0;
        while done < part.len() {
            done += module.read_some(fd, &mut part[done..]).unwrap();
        }
        assert_eq!(&part[1..8], b"changed");
        assert_eq!((part[0], part[8]), (bytes[2_000_000], bytes[2_000_008]));
        module.close(fd);
        assert_eq!(cached(&folder.join("both")), 0);
    });
}

#[test]
fn a_log_that_is_rotated_leaves_nothing_of_the_old_file() {
    both_ways("a_log_that_is_rotated_leaves_nothing_of_the_old_file", |folder| {
        let (old, new): (PathBuf, PathBuf) = (folder.join("old"), folder.join("new"));
        let mut module = module();
        let fd = module.open(&old, &uncached().append(true).create(true)).unwrap();
        module.write(fd, &noise(10, 3_000_001)).unwrap();
        module.efio.ef_reopen(fd, &new).unwrap();
        assert!(module.until(fd, Readiness::DONE).error().is_none());
        assert_eq!(cached(&old), 0, "the file is not open any more");
        module.write(fd, &noise(11, 2_000_001)).unwrap();
        assert!(module.close(fd).error().is_none());
        assert_eq!(cached(&new), 0);
        assert!(contents(&old) == noise(10, 3_000_001) && contents(&new) == noise(11, 2_000_001));
    });
}

#[test]
fn a_file_system_in_memory_takes_the_mode_and_keeps_its_pages() {
    let place = Path::new("/dev/shm");
    let Ok(folder) = tempfile::tempdir_in(place) else { return skip("there is no /dev/shm here") };
    let (path, bytes) = (folder.path().join("file"), noise(12, 6_000_001));
    let mut module = module();
    let fd = module.open(&path, &uncached().read(true).write(true).create(true)).unwrap();
    module.write(fd, &bytes).unwrap();
    module.sync(fd).unwrap();
    module.seek(fd, SeekFrom::Start(0)).unwrap();
    assert!(module.read(fd).unwrap() == bytes);
    assert!(module.close(fd).error().is_none());
    assert!(contents(&path) == bytes);
    let mut file = File::open(&path).unwrap();
    assert_eq!(file.seek(SeekFrom::End(0)).unwrap(), 6_000_001);
}
