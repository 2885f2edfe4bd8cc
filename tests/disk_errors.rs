//! Disks that are full and things that are no files, as the operating system itself offers them.
#![cfg(target_os = "linux")]
#![allow(unsafe_code, reason = "mounts small file systems and makes a pipe")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod support;

use std::ffi::CString;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use efio::{Efio, ErrorKind, OnFull, OpenOptions, Readiness};
use nix::sys::resource::{Resource, setrlimit};
use support::{Loop, child, noise, skip};

const CHILD: &str = "EFIO_DISK_ERRORS_CHILD";

fn module() -> Loop {
    Loop::new(Efio::builder().flush_interval(Duration::from_millis(5)).build().unwrap())
}

fn new_file() -> OpenOptions {
    OpenOptions::new().write(true).create(true)
}

fn text(path: &Path) -> CString {
    CString::new(path.as_os_str().as_bytes()).unwrap()
}

/// A small file system of its own; dropped, it is gone.
struct Small {
    folder: tempfile::TempDir,
    place: PathBuf,
}

impl Small {
    /// A file system in memory. `None`, and said so, where none can be mounted.
    fn in_memory(options: &str) -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let place = folder.path().to_path_buf();
        let options = CString::new(options).unwrap();
        // SAFETY: all four texts end with a zero byte and outlive the call.
        let answer = unsafe {
            libc::mount(
                c"none".as_ptr(),
                text(&place).as_ptr(),
                c"tmpfs".as_ptr(),
                0,
                options.as_ptr().cast(),
            )
        };
        if answer != 0 {
            skip(format_args!("no tmpfs can be mounted here: {}", std::io::Error::last_os_error()));
            return None;
        }
        Some(Self { folder, place })
    }

    /// An ext4 in an image of 8 MiB. `None`, and said so, where none can be made and mounted.
    fn in_image() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let (image, place) = (folder.path().join("image"), folder.path().join("place"));
        std::fs::create_dir(&place).unwrap();
        std::fs::File::create(&image).unwrap().set_len(8 << 20).unwrap();
        let made = Command::new("mkfs.ext4").arg("-q").arg("-F").args(["-m", "0"]).arg(&image).output();
        let mounted =
            made.and_then(|_| Command::new("mount").args(["-o", "loop"]).arg(&image).arg(&place).output());
        match mounted {
            Ok(output) if output.status.success() => Some(Self { folder, place }),
            other => {
                skip(format_args!("no ext4 image can be mounted here: {other:?}"));
                None
            }
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.place.join(name)
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        // SAFETY: the text ends with a zero byte and outlives the call.
        unsafe { libc::umount2(text(&self.place).as_ptr(), libc::MNT_DETACH) };
        let _ = self.folder.path();
    }
}

/// Fills a disk, sees the stall, makes room, and sees every byte arrive.
fn stall_and_resume(small: &Small, fill: usize, bytes: usize) {
    std::fs::write(small.path("in the way"), vec![1; fill]).unwrap();
    let mut all = module();
    let data = noise(1, bytes);
    let fd = all.open(small.path("file"), &new_file().memory_limit(32 << 20)).unwrap();
    all.write(fd, &data[..bytes / 2]).unwrap();
    let stalled = all.until(fd, Readiness::STALLED);
    assert_eq!(stalled.error().unwrap().raw_os_error(), Some(libc::ENOSPC));
    let io: std::io::Error = stalled.error().unwrap().clone().into();
    assert_eq!(io.kind(), std::io::ErrorKind::StorageFull);
    all.write(fd, &data[bytes / 2..]).unwrap();
    let progress = all.efio.ef_progress(fd).unwrap();
    assert!(progress.written < progress.accepted);
    std::fs::remove_file(small.path("in the way")).unwrap();
    let resumed = all.until(fd, Readiness::RESUMED);
    assert!(resumed.error().is_none());
    all.sync(fd).unwrap();
    let closed = all.close(fd);
    assert!(closed.error().is_none() && closed.bytes_lost() == 0, "{closed:?}");
    assert!(std::fs::read(small.path("file")).unwrap() == data);
}

#[test]
fn a_full_tmpfs_stalls_and_every_byte_arrives_when_there_is_room() {
    let Some(small) = Small::in_memory("size=4m") else { return };
    stall_and_resume(&small, 3 << 20, 3 << 20);
}

#[test]
fn a_full_ext4_stalls_and_every_byte_arrives_when_there_is_room() {
    let Some(small) = Small::in_image() else { return };
    stall_and_resume(&small, 4 << 20, 5 << 20);
}

#[test]
fn a_full_disk_that_stays_full_fails_the_close_with_what_was_lost() {
    let Some(small) = Small::in_memory("size=1m") else { return };
    let mut all = Loop::new(Efio::builder().close_deadline(Duration::from_millis(200)).build().unwrap());
    let fd = all.open(small.path("file"), &new_file()).unwrap();
    all.write(fd, &noise(2, 3 << 20)).unwrap();
    let closed = all.close(fd);
    assert_eq!(closed.error().unwrap().raw_os_error(), Some(libc::ENOSPC));
    let found = std::fs::read(small.path("file")).unwrap();
    assert_eq!(closed.bytes_lost() as usize, (3 << 20) - found.len());
    assert!(!found.is_empty() && found == noise(2, 3 << 20)[..found.len()]);
}

#[test]
fn a_full_disk_poisons_the_file_that_is_to_fail_and_an_atomic_one_leaves_nothing() {
    let Some(small) = Small::in_memory("size=1m") else { return };
    let mut all = module();
    let options = new_file().atomic(true).on_full(OnFull::Fail);
    let fd = all.open(small.path("upload"), &options).unwrap();
    all.write(fd, &noise(3, 2 << 20)).unwrap_or(());
    let failed = all.until(fd, Readiness::ERROR);
    assert!(!failed.readiness().contains(Readiness::STALLED));
    let refused: std::io::Error = all.efio.ef_write(fd, b"x").unwrap_err().into();
    assert_eq!(refused.kind(), std::io::ErrorKind::StorageFull);
    let closed = all.close(fd);
    assert_eq!(closed.error().unwrap().raw_os_error(), Some(libc::ENOSPC));
    assert_eq!(std::fs::read_dir(&small.place).unwrap().count(), 0);
    let fd = all.open(small.path("next"), &options).unwrap();
    all.write(fd, &noise(4, 500_000)).unwrap();
    assert!(all.close(fd).error().is_none(), "there is room again");
}

/// The child: a process whose files may have 64 KiB.
fn with_small_files() {
    setrlimit(Resource::RLIMIT_FSIZE, 64 << 10, 64 << 10).unwrap();
    let folder = tempfile::tempdir().unwrap();
    let mut all = module();
    let fd = all.open(folder.path().join("file"), &new_file()).unwrap();
    let data = noise(5, 100_000);
    all.write(fd, &data).unwrap();
    let failed = all.until(fd, Readiness::ERROR);
    let error = failed.error().unwrap();
    assert_eq!((error.raw_os_error(), error.offset()), (Some(libc::EFBIG), Some(64 << 10)));
    assert_eq!(all.efio.ef_write(fd, b"x").unwrap_err().raw_os_error(), Some(libc::EFBIG));
    assert_eq!(all.efio.ef_sync(fd).unwrap_err().raw_os_error(), Some(libc::EFBIG));
    let closed = all.close(fd);
    assert_eq!(closed.error().unwrap().raw_os_error(), Some(libc::EFBIG));
    assert_eq!(closed.bytes_lost(), 100_000 - (64 << 10));
    assert!(std::fs::read(folder.path().join("file")).unwrap() == data[..64 << 10]);
    println!("the child lives");
}

#[test]
fn a_file_too_large_for_its_process_is_poisoned_and_the_process_lives() {
    if std::env::var_os(CHILD).is_some() {
        return with_small_files();
    }
    let name = "a_file_too_large_for_its_process_is_poisoned_and_the_process_lives";
    let output = child(name, CHILD, "1").output().unwrap();
    assert!(output.status.success(), "{:?} {}", output.status, String::from_utf8_lossy(&output.stderr));
    assert!(String::from_utf8_lossy(&output.stdout).contains("the child lives"));
}

#[test]
fn what_is_no_regular_file_is_refused_with_what_it_is() {
    let folder = tempfile::tempdir().unwrap();
    let pipe = folder.path().join("pipe");
    nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
    let socket = folder.path().join("socket");
    let _listener = std::os::unix::net::UnixListener::bind(&socket).unwrap();
    let mut all = module();
    for (path, what) in [
        (Path::new("/dev/full"), "character device"),
        (Path::new("/dev/null"), "character device"),
        (folder.path(), "folder"),
        (&pipe, "pipe"),
        (&socket, "socket"),
    ] {
        for options in [OpenOptions::new().read(true), OpenOptions::new().write(true)] {
            let error = all.open(path, &options).unwrap_err();
            assert_eq!(error.kind(), ErrorKind::NotRegular, "{error}");
            assert!(error.to_string().contains(what), "{error}");
            assert_eq!(error.path(), Some(path));
        }
    }
}

#[test]
fn a_pipe_that_nobody_writes_to_holds_up_no_file() {
    let folder = tempfile::tempdir().unwrap();
    let mut all = Loop::new(Efio::builder().threads_limit(4).build().unwrap());
    let pipes: Vec<_> = (0..8)
        .map(|number| {
            let pipe = folder.path().join(format!("pipe-{number}"));
            nix::unistd::mkfifo(&pipe, nix::sys::stat::Mode::S_IRWXU).unwrap();
            all.efio.ef_open(&pipe, &OpenOptions::new().read(true)).unwrap()
        })
        .collect();
    let files: Vec<_> = (0..200)
        .map(|number| {
            let path = folder.path().join(number.to_string());
            (all.efio.ef_open(&path, &new_file()).unwrap(), path)
        })
        .collect();
    for (fd, path) in &files {
        assert!(all.until(*fd, Readiness::OPENED).error().is_none());
        all.write(*fd, path.as_os_str().as_bytes()).unwrap();
        assert!(all.close(*fd).error().is_none());
        assert_eq!(std::fs::read(path).unwrap(), path.as_os_str().as_bytes());
    }
    for pipe in pipes {
        assert_eq!(all.until(pipe, Readiness::OPENED).error().unwrap().kind(), ErrorKind::NotRegular);
    }
}

#[test]
fn a_file_of_proc_whose_size_is_zero_is_read_to_its_end() {
    let mut all = module();
    for path in ["/proc/self/maps", "/proc/cpuinfo", "/proc/self/status"] {
        let fd = all.open(path, &OpenOptions::new().read(true)).unwrap();
        let found = String::from_utf8(all.read(fd).unwrap()).unwrap();
        assert!(found.len() > 100 && found.ends_with('\n'), "{path}: {} bytes", found.len());
        assert_eq!(all.read(fd).unwrap(), b"", "the end stays the end");
        assert!(all.close(fd).error().is_none());
    }
}

#[test]
fn a_failed_open_tells_its_own_error_however_early_it_is_asked() {
    let efio = Efio::new().unwrap();
    std::thread::scope(|scope| {
        for _ in 0..4 {
            scope.spawn(|| {
                for _ in 0..1_000 {
                    let fd = efio.ef_open("/proc/none", &OpenOptions::new().read(true)).unwrap();
                    let error = loop {
                        match efio.ef_open_status(fd) {
                            Err(error) if error.is_would_block() => std::hint::spin_loop(),
                            answer => break answer.unwrap_err(),
                        }
                    };
                    assert_eq!(error.raw_os_error(), Some(2), "{error:?}");
                }
            });
        }
    });
}
