//! `efio cp` where others rename what it copies, where it may not look, and where files are slow to close: the real binary.
#![allow(unsafe_code, reason = "swaps names and gives up rights as only the system's calls can")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]
#![cfg(target_os = "linux")]

#[path = "../../../tests/support/fuse.rs"]
mod fuse;

use std::ffi::CString;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use fuse::{Asked, Fate, Mounted};

mod support {
    /// What `fuse` says where it cannot be mounted.
    pub fn skip(reason: impl std::fmt::Display) {
        println!("skipped: {reason}");
    }
}

fn efio(place: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_efio"));
    command.arg("cp").args(arguments).current_dir(place).stderr(Stdio::piped());
    command
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Both names are there at any moment, each with what the other one had.
fn exchange(one: &Path, other: &Path) {
    let [one, other] = [one, other].map(|path| CString::new(path.as_os_str().as_bytes()).unwrap());
    // SAFETY: both paths end with a zero byte.
    unsafe {
        libc::renameat2(libc::AT_FDCWD, one.as_ptr(), libc::AT_FDCWD, other.as_ptr(), libc::RENAME_EXCHANGE)
    };
}

/// Ends those who swap, also where the test fails.
struct Ending<'a>(&'a AtomicBool);

impl Drop for Ending<'_> {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Relaxed);
    }
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

#[test]
fn a_folder_that_is_swapped_meanwhile_keeps_its_own_mode() {
    const PAIRS: usize = 40;
    let place = tempfile::tempdir().unwrap();
    let path = |name: String| place.path().join(name);
    for pair in 0..PAIRS {
        for (name, mode) in [(format!("from/{pair}"), 0o700), (format!("aside/{pair}"), 0o755)] {
            fs::create_dir_all(path(name.clone())).unwrap();
            fs::write(path(format!("{name}/{mode:o}")), "").unwrap();
            fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
        }
    }
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let ending = Ending(&stop);
        scope.spawn(|| {
            for pair in (0..PAIRS).cycle().take_while(|_| !stop.load(Ordering::Relaxed)) {
                exchange(&path(format!("from/{pair}")), &path(format!("aside/{pair}")));
            }
        });
        let copied = (0..10).flat_map(|round| {
            let to = format!("to-{round}");
            let output = efio(place.path(), &["-r", "from", &to]).output().unwrap();
            assert!(output.status.success(), "{}", words(&output));
            (0..PAIRS).map(move |pair| format!("{to}/{pair}"))
        });
        let wrong = copied.map(path).find(|folder| {
            let inside = fs::read_dir(folder).unwrap().next().unwrap().unwrap().file_name();
            inside != *format!("{:o}", mode(folder))
        });
        drop(ending);
        assert_eq!(wrong, None, "it has the mode of another folder");
    });
}

#[test]
fn no_decoy_leads_the_destination_into_itself() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    fs::create_dir_all(path("decoy")).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        let ending = Ending(&stop);
        symlink("decoy", path("from")).unwrap();
        scope.spawn(|| {
            for leads_to in ["to", "decoy"].into_iter().cycle().take_while(|_| !stop.load(Ordering::Relaxed))
            {
                symlink(leads_to, path("next")).unwrap();
                fs::rename(path("next"), path("from")).unwrap();
            }
        });
        let mut entered = false;
        for _ in 0..150 {
            fs::create_dir(path("to")).unwrap();
            let mut child = efio(place.path(), &["-r", "from", "to"]).spawn().unwrap();
            while child.try_wait().unwrap().is_none() && !entered {
                entered = path("to/from/from/from").exists();
                std::thread::sleep(Duration::from_micros(200));
            }
            let _ = child.kill();
            let output = child.wait_with_output().unwrap();
            entered |= path("to/from/from").exists();
            if entered {
                break;
            }
            let is_refused = words(&output).ends_with("a folder cannot be copied into itself\n");
            assert!(output.status.success() || is_refused, "{}", words(&output));
            fs::remove_dir_all(path("to")).unwrap();
        }
        drop(ending);
        // As deep as it may be by now.
        assert!(Command::new("rm").arg("-rf").arg(path("to")).status().unwrap().success());
        assert!(!entered, "the copy was copied");
    });
}

#[test]
fn folders_are_copied_to_where_not_all_above_may_be_searched() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    for (name, mode) in [("", 0o755), ("closed", 0o700), ("closed/to", 0o777), ("from", 0o755)] {
        fs::create_dir_all(path(name)).unwrap();
        fs::set_permissions(path(name), fs::Permissions::from_mode(mode)).unwrap();
    }
    fs::write(path("from/file"), "bytes").unwrap();
    // The destination is open to the command, the folder above it is not.
    let mut command = efio(&path("closed/to"), &["-r", path("from").to_str().unwrap(), "/proc/self/cwd/."]);
    // SAFETY: takes nothing; the closure makes system calls only.
    let is_root = unsafe {
        command.pre_exec(|| match (libc::setgid(65_534), libc::setuid(65_534)) {
            (0, 0) => Ok(()),
            _ => Err(std::io::Error::last_os_error()),
        });
        libc::geteuid() == 0
    };
    if !is_root {
        return println!("skipped: only root can run the command as another user");
    }
    let output = command.output().unwrap();
    assert!(output.status.success(), "{}", words(&output));
    assert_eq!(fs::read(path("closed/to/from/file")).unwrap(), b"bytes");
}

#[test]
fn folders_are_copied_to_where_the_way_up_is_longer_than_a_path() {
    let place = tempfile::tempdir().unwrap();
    let deep: PathBuf = std::iter::repeat_n("d", 900).collect();
    fs::create_dir_all(place.path().join(&deep)).unwrap();
    fs::create_dir(place.path().join("from")).unwrap();
    fs::write(place.path().join("from/file"), "bytes").unwrap();
    let output = efio(place.path(), &["-r", "from", deep.to_str().unwrap()]).output().unwrap();
    assert!(output.status.success(), "{}", words(&output));
    assert_eq!(fs::read(place.path().join(&deep).join("from/file")).unwrap(), b"bytes");
}

#[test]
fn files_without_a_length_are_copied_as_they_are_read() {
    let Ok(expected) = fs::read("/proc/version") else { return println!("skipped: there is no /proc here") };
    let place = tempfile::tempdir().unwrap();
    let output = efio(place.path(), &["/proc/version", "version"]).output().unwrap();
    assert!(output.status.success(), "{}", words(&output));
    assert_eq!(fs::read(place.path().join("version")).unwrap(), expected);
}

#[test]
fn files_that_are_slow_to_close_are_no_more_than_the_others() {
    const FILES: usize = 60;
    const AT_ONCE: usize = 16;
    let Some(mounted) = Mounted::or_skip() else { return };
    let place = tempfile::tempdir().unwrap();
    fs::create_dir(place.path().join("to")).unwrap();
    let names: Vec<String> = (0..FILES).map(|file| format!("f{file}")).collect();
    let mut command = efio(place.path(), &[]);
    for name in &names {
        mounted.disk.put(name, name.clone().into_bytes());
        mounted.disk.ordain(name, Asked::Flush, Fate::Hangs);
        command.arg(mounted.path(name));
    }
    let child = command.arg("to").spawn().unwrap();
    let copied = || fs::read_dir(place.path().join("to")).unwrap().count();
    let start = Instant::now();
    while copied() < AT_ONCE && start.elapsed() < Duration::from_secs(20) {
        std::thread::sleep(Duration::from_millis(1));
    }
    // Time for one more, which must not come.
    std::thread::sleep(Duration::from_millis(300));
    let opened = names.iter().filter(|name| mounted.disk.count(name, Asked::Open) > 0).count();
    mounted.disk.release();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", words(&output));
    assert_eq!(copied(), FILES);
    assert!(opened <= AT_ONCE, "{opened} files were open");
}
