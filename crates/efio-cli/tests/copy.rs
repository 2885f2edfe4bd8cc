//! `efio cp` as its users meet it: the real binary over folders that go when the test ends.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests, helpers included")]

use std::fs::{self, File, FileTimes, Permissions};
use std::io::Write;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant, SystemTime};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;
use tempfile::TempDir;

/// A folder of its own, in which commands run.
struct Place(TempDir);

impl Place {
    fn new() -> Self {
        Self(tempfile::tempdir().expect("a folder"))
    }

    fn path(&self, name: &str) -> PathBuf {
        self.0.path().join(name)
    }

    fn write(&self, name: &str, bytes: &[u8]) {
        fs::create_dir_all(self.path(name).parent().expect("a parent")).expect("a folder");
        fs::write(self.path(name), bytes).expect("a file");
    }

    fn read(&self, name: &str) -> Vec<u8> {
        fs::read(self.path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
    }

    fn cp(&self, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_efio"));
        command.arg("cp").args(arguments).current_dir(self.0.path()).output().expect("it runs")
    }

    /// Copies; it must work and say nothing.
    fn copies(&self, arguments: &[&str]) {
        let output = self.cp(arguments);
        let words = String::from_utf8_lossy(&output.stderr);
        assert!(
            output.status.success() && words.is_empty() && output.stdout.is_empty(),
            "{arguments:?}: {words}"
        );
    }

    /// Copies; it must fail with exit code 1, and gives what was said.
    fn fails(&self, arguments: &[&str]) -> String {
        let output = self.cp(arguments);
        assert_eq!(output.status.code(), Some(1), "{arguments:?}: {output:?}");
        String::from_utf8_lossy(&output.stderr).into_owned()
    }

    fn names(&self, folder: &str) -> Vec<String> {
        let entries = fs::read_dir(self.path(folder)).expect("a folder");
        let mut names: Vec<_> = entries
            .map(|entry| entry.expect("an entry").file_name().to_string_lossy().into_owned())
            .collect();
        names.sort();
        names
    }
}

fn noise(seed: u64, len: usize) -> Vec<u8> {
    let mut state = seed.wrapping_mul(0x9E37_79B9_7F4A_7C15) | 1;
    let mut next = || {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        state.to_le_bytes()[0]
    };
    (0..len).map(|_| next()).collect()
}

fn set_times(path: &Path, seconds: u64) {
    let time = SystemTime::UNIX_EPOCH + Duration::new(seconds, 123_456_789);
    let times = FileTimes::new().set_modified(time).set_accessed(time);
    File::open(path).and_then(|file| file.set_times(times)).expect("times");
}

#[test]
fn files_of_every_size_arrive_whole() {
    let place = Place::new();
    let sizes = [0, 1, 4095, 4096, 4097, 65_536, 65_537, 1_048_576, 1_048_577, 30_000_000];
    let mut arguments = Vec::new();
    for size in sizes {
        place.write(&format!("f{size}"), &noise(size as u64, size));
        arguments.push(format!("f{size}"));
    }
    fs::create_dir(place.path("to")).expect("a folder");
    arguments.push("to".to_owned());
    place.copies(&arguments.iter().map(String::as_str).collect::<Vec<_>>());
    for size in sizes {
        assert!(place.read(&format!("to/f{size}")) == noise(size as u64, size), "{size}");
    }
    assert_eq!(place.names("to").len(), sizes.len());
    place.copies(&["--uncached", "f65537", "uncached"]);
    assert_eq!(place.read("uncached"), place.read("f65537"));
    place.copies(&["--sync", "f65537", "renamed"]);
    assert!(place.read("renamed") == noise(65_537, 65_537));
}

#[test]
fn a_tree_is_copied_with_modes_times_and_links() {
    let place = Place::new();
    for number in 0..300 {
        place.write(&format!("from/many/{number}"), &noise(number, 1000 + number as usize));
    }
    place.write("from/a/deep/er/file", b"deep");
    fs::create_dir(place.path("from/empty")).expect("a folder");
    symlink("a/deep", place.path("from/link")).expect("a link");
    symlink("nowhere", place.path("from/broken")).expect("a link");
    fs::set_permissions(place.path("from/many/7"), Permissions::from_mode(0o604)).expect("a mode");
    fs::set_permissions(place.path("from/many/8"), Permissions::from_mode(0o400)).expect("a mode");
    fs::set_permissions(place.path("from/a/deep"), Permissions::from_mode(0o711)).expect("a mode");
    for (name, seconds) in
        [("from/many/7", 1_000_000_000), ("from/a/deep", 1_100_000_000), ("from", 1_200_000_000)]
    {
        set_times(&place.path(name), seconds);
    }
    for (force, to) in [("--quiet", "to"), ("--sync", "synced")] {
        place.copies(&["-r", force, "from", to]);
        assert_eq!(place.names(to), place.names("from"));
        for number in 0..300 {
            assert!(
                place.read(&format!("{to}/many/{number}")) == noise(number, 1000 + number as usize),
                "{number}"
            );
        }
        assert_eq!(fs::read_link(place.path(&format!("{to}/link"))).expect("a link"), Path::new("a/deep"));
        assert_eq!(fs::read_link(place.path(&format!("{to}/broken"))).expect("a link"), Path::new("nowhere"));
        for name in ["", "/many/7", "/many/8", "/a/deep", "/a/deep/er/file", "/empty"] {
            let facts = |top: &str| {
                let found = fs::metadata(place.path(&format!("{top}{name}"))).expect("it is there");
                (found.mode(), found.mtime(), found.mtime_nsec())
            };
            assert_eq!(facts(to), facts("from"), "{name}");
        }
    }
    fs::set_permissions(place.path("to"), Permissions::from_mode(0o750)).expect("a mode");
    place.copies(&["-r", "from", "to"]);
    assert_eq!(place.read("to/from/a/deep/er/file"), b"deep", "into a folder that exists");
    place.copies(&["-r", "--force", "from/.", "to"]);
    assert_eq!(
        fs::metadata(place.path("to")).expect("it is there").mode() & 0o777,
        0o750,
        "and stays as it was"
    );
}

#[test]
fn no_link_in_the_destination_leads_a_copy_out_of_it() {
    let place = Place::new();
    place.write("from/inner/file", b"new");
    place.write("from/plain", b"new");
    place.write("outside/file", b"old");
    place.write("outside/plain", b"old");
    fs::create_dir_all(place.path("to/from")).expect("a folder");
    symlink("../../outside", place.path("to/from/inner")).expect("a link");
    symlink("../../outside/plain", place.path("to/from/plain")).expect("a link");
    let words = place.fails(&["-r", "--force", "from", "to"]);
    assert!(words.contains("inner") && words.lines().count() == 1, "{words}");
    assert_eq!((place.read("outside/file"), place.read("outside/plain")), (b"old".to_vec(), b"old".to_vec()));
    assert_eq!(place.read("to/from/plain"), b"new", "the link itself was replaced");
    assert!(fs::symlink_metadata(place.path("to/from/plain")).expect("a copy").is_file());
    assert_eq!(place.names("outside"), ["file", "plain"]);
}

#[test]
fn the_times_of_links_are_kept() {
    let place = Place::new();
    place.write("from/file", b"bytes");
    symlink("file", place.path("from/link")).expect("a link");
    let touched =
        Command::new("touch").args(["-h", "-d", "@1000000000"]).arg(place.path("from/link")).status();
    assert!(touched.is_ok_and(|status| status.success()));
    place.copies(&["-r", "from", "to"]);
    let copied = fs::symlink_metadata(place.path("to/link")).expect("a link");
    assert_eq!((copied.is_symlink(), copied.mtime()), (true, 1_000_000_000));
    assert_ne!(fs::metadata(place.path("to/file")).expect("a file").mtime(), 1_000_000_000);
}

#[test]
fn a_link_that_is_named_is_followed() {
    let place = Place::new();
    place.write("file", b"bytes");
    symlink("file", place.path("link")).expect("a link");
    place.copies(&["link", "copy"]);
    assert!(fs::symlink_metadata(place.path("copy")).expect("a copy").is_file());
    assert_eq!(place.read("copy"), b"bytes");
}

#[test]
fn nothing_is_replaced_without_force() {
    let place = Place::new();
    place.write("new", b"new");
    place.write("old", b"old");
    symlink("nowhere", place.path("broken")).expect("a link");
    for to in ["old", "broken"] {
        let words = place.fails(&["new", to]);
        assert!(words.starts_with("efio: new: ") && words.contains("--force"), "{words}");
    }
    assert_eq!(place.read("old"), b"old");
    let inode = |name: &str| fs::metadata(place.path(name)).expect("it is there").ino();
    let before = inode("old");
    place.copies(&["--force", "new", "old"]);
    assert_eq!(place.read("old"), b"new");
    assert_ne!(inode("old"), before, "it was replaced, not overwritten");
    place.copies(&["--force", "new", "broken"]);
    assert_eq!(place.read("broken"), b"new");
    assert_eq!(place.names("."), ["broken", "new", "old"]);
}

#[test]
fn what_makes_no_sense_is_refused_and_the_rest_goes_on() {
    let place = Place::new();
    place.write("a", b"a");
    place.write("sub/a", b"other");
    place.write("b", b"b");
    fs::hard_link(place.path("a"), place.path("same")).expect("a link");
    fs::create_dir(place.path("to")).expect("a folder");
    let made = Command::new("mkfifo").arg(place.path("pipe")).status();
    assert!(made.is_ok_and(|status| status.success()));
    for (arguments, reason) in [
        (&["a", "a"][..], "same file"),
        (&["--force", "a", "same"], "same file"),
        (&["-r", "sub", "sub/sub"], "into itself"),
        (&["-r", "sub", "sub"], "into itself"),
        (&["-r", ".", "to"], "into itself"),
        (&["none", "c"], "No such file"),
        (&["sub", "c"], "-r"),
        (&["pipe", "c"], "neither a file"),
        (&["a", "b", "c"], "not a folder"),
        (&["a", "c/"], "not a folder"),
        (&["a", "none/c"], "No such file"),
        (&["-r", "sub", "b"], "no folder"),
    ] {
        let words = place.fails(arguments);
        assert!(words.starts_with("efio: ") && words.contains(reason), "{arguments:?}: {words}");
    }
    assert_eq!(place.names("."), ["a", "b", "pipe", "same", "sub", "to"]);
    let words = place.fails(&["none", "a", "sub", "sub/a", "b", "to"]);
    assert_eq!(words.lines().count(), 3, "{words}");
    assert_eq!(
        (place.names("to"), place.read("to/a")),
        (vec!["a".to_owned(), "b".to_owned()], b"a".to_vec())
    );
}

#[test]
fn wrong_usage_ends_with_2() {
    let place = Place::new();
    for arguments in [&[][..], &["a"], &["--no-such-option", "a", "b"]] {
        assert_eq!(place.cp(arguments).status.code(), Some(2), "{arguments:?}");
    }
    for arguments in [&["--help"][..], &["--version"], &["cp", "--help"], &["serve", "--help"]] {
        let output = Command::new(env!("CARGO_BIN_EXE_efio")).args(arguments).output().expect("it runs");
        assert!(output.status.success() && !output.stdout.is_empty(), "{arguments:?}");
    }
}

#[test]
fn a_signal_leaves_no_half_file() {
    let place = Place::new();
    // A thousand files keep it busy for a while; wherever the signal meets it, each copy is whole or not there.
    for number in 0..1000 {
        place.write(&format!("from/{number}"), &noise(number, 100_000));
    }
    fs::create_dir(place.path("to")).expect("a folder");
    let mut command = Command::new(env!("CARGO_BIN_EXE_efio"));
    command.args(["cp", "-r", "from", "to/"]).current_dir(place.0.path()).stderr(Stdio::null());
    let mut child = command.spawn().expect("it runs");
    let start = Instant::now();
    while !place.path("to/from/0").exists() && start.elapsed() < Duration::from_secs(10) {
        thread::sleep(Duration::from_micros(200));
    }
    let pid = Pid::from_raw(child.id().try_into().expect("a pid"));
    // It may have finished already.
    let _ = kill(pid, Signal::SIGINT);
    let code = child.wait().expect("it ends").code();
    assert!(matches!(code, Some(0 | 1)), "{code:?}");
    for name in place.names("to/from") {
        let number: u64 = name.parse().unwrap_or_else(|_| panic!("{name} was left"));
        assert!(place.read(&format!("to/from/{name}")) == noise(number, 100_000), "{name}");
    }
}

#[test]
fn a_file_that_grows_while_it_is_copied_is_not_published() {
    let place = Place::new();
    place.write("log", &noise(1, 20_000_000));
    let path = place.path("log");
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let writer = thread::spawn(move || {
        let mut file = File::options().append(true).open(path).expect("the log");
        while stopped.try_recv().is_err() {
            file.write_all(b"one more line\n").expect("appended");
            thread::sleep(Duration::from_micros(50));
        }
    });
    let words = place.fails(&["log", "copy"]);
    stop.send(()).expect("the writer waits");
    writer.join().expect("the writer ends");
    assert!(words.contains("changed"), "{words}");
    assert_eq!(place.names("."), ["log"]);
}
