//! `efio log` as its users meet it: the real binary at the end of a pipe, in a folder that goes when the test ends.
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "these are tests, helpers included")]

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::{Child, ChildStdin, Command, Output, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use nix::sys::signal::{Signal, kill};
use nix::unistd::Pid;

/// Longer than anything here takes; only a test that fails ever waits so long.
const PATIENCE: Duration = Duration::from_secs(30);

/// `efio log` with a pipe before it.
fn log(folder: &Path, arguments: &[&str]) -> (Child, ChildStdin) {
    let mut command = Command::new(env!("CARGO_BIN_EXE_efio"));
    command.arg("log").args(arguments).current_dir(folder);
    spawn(command)
}

fn spawn(mut command: Command) -> (Child, ChildStdin) {
    let mut child =
        command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let input = child.stdin.take().unwrap();
    (child, input)
}

fn until(what: &str, mut is: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is() {
        assert!(start.elapsed() < PATIENCE, "waited in vain for: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// Ends well, and says nothing.
fn ends_well(child: Child) {
    let output = child.wait_with_output().unwrap();
    let words = words(&output);
    assert!(
        output.status.success() && words.is_empty() && output.stdout.is_empty(),
        "{:?}: {words}",
        output.status
    );
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

fn signal(child: &Child, signal: Signal) {
    kill(Pid::from_raw(i32::try_from(child.id()).unwrap()), signal).unwrap();
}

#[test]
fn lines_are_appended_and_visible_within_the_interval() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("file");
    fs::write(&path, "before\n").unwrap();
    let (child, mut input) = log(folder.path(), &["--flush-interval", "0.05", "file"]);
    input.write_all(b"one\ntwo\nthr").unwrap();
    // What has no end of line yet is no record yet.
    until("whole lines", || fs::read(&path).unwrap() == b"before\none\ntwo\n");
    input.write_all(b"ee\nno end of line").unwrap();
    drop(input);
    ends_well(child);
    assert_eq!(fs::read(&path).unwrap(), b"before\none\ntwo\nthree\nno end of line");
}

#[test]
fn every_sync_choice_writes_every_line() {
    let folder = tempfile::tempdir().unwrap();
    for choice in ["none", "interval", "close", "each"] {
        let (child, mut input) = log(folder.path(), &["--sync", choice, "--flush-interval", "0.02", choice]);
        let lines: String = (0..500).map(|number| format!("{number}\n")).collect();
        for piece in lines.as_bytes().chunks(97) {
            input.write_all(piece).unwrap();
        }
        drop(input);
        ends_well(child);
        assert_eq!(fs::read_to_string(folder.path().join(choice)).unwrap(), lines, "{choice}");
    }
}

#[test]
fn a_rotation_under_load_loses_doubles_and_tears_no_line() {
    const LINES: usize = 300_000;
    let folder = tempfile::tempdir().unwrap();
    let (child, mut input) = log(folder.path(), &["--flush-interval", "0.02", "file"]);
    let path = folder.path().join("file");
    let writer = thread::spawn(move || {
        let mut lines = Vec::new();
        for number in 0..LINES {
            writeln!(lines, "{number} {}", "x".repeat(number % 90)).unwrap();
            if lines.len() > 5000 {
                input.write_all(&lines).unwrap();
                lines.clear();
            }
        }
        input.write_all(&lines).unwrap();
    });
    let mut rotated = 0;
    while !writer.is_finished() {
        until("the file", || path.exists() || writer.is_finished());
        if path.exists() {
            fs::rename(&path, folder.path().join(format!("file.{rotated:04}"))).unwrap();
            rotated += 1;
            signal(&child, Signal::SIGHUP);
        }
        thread::sleep(Duration::from_millis(3));
    }
    writer.join().unwrap();
    ends_well(child);
    let mut text = String::new();
    let mut files = 0;
    for number in 0..rotated {
        text.push_str(&fs::read_to_string(folder.path().join(format!("file.{number:04}"))).unwrap());
        files += usize::from(text.ends_with('\n'));
    }
    if path.exists() {
        text.push_str(&fs::read_to_string(&path).unwrap());
    }
    let mut expected = 0;
    for line in text.lines() {
        let (number, rest) = line.split_once(' ').unwrap_or_else(|| panic!("torn: {line:?}"));
        assert_eq!(number.parse(), Ok(expected), "{line:?}");
        assert_eq!(rest, "x".repeat(expected % 90));
        expected += 1;
    }
    assert_eq!(expected, LINES);
    println!("{rotated} rotations, {files} of the files ended with a whole line");
    assert!(rotated > 3 && files == rotated, "every file ends with a whole line");
}

#[test]
fn a_signal_to_stop_writes_what_was_sent_before_it() {
    for stop in [Signal::SIGTERM, Signal::SIGINT] {
        let folder = tempfile::tempdir().unwrap();
        let (child, mut input) = log(folder.path(), &["--flush-interval", "60", "file"]);
        until("the file", || folder.path().join("file").exists());
        input.write_all(b"sent\nbefore\nit").unwrap();
        signal(&child, stop);
        ends_well(child);
        assert_eq!(fs::read(folder.path().join("file")).unwrap(), b"sent\nbefore\nit");
        drop(input);
    }
}

#[test]
fn a_line_longer_than_a_call_arrives_in_one_piece() {
    let folder = tempfile::tempdir().unwrap();
    let (child, mut input) = log(folder.path(), &["--memory", "4M", "file"]);
    let mut text = vec![b'a'; 3_500_000];
    text.push(b'\n');
    text.extend_from_slice(b"short\n");
    text.extend(vec![b'b'; (1 << 20) - 1]);
    text.extend_from_slice(b"\nlast\n");
    input.write_all(&text).unwrap();
    drop(input);
    ends_well(child);
    assert!(fs::read(folder.path().join("file")).unwrap() == text);
}

#[test]
fn a_file_and_nothing_are_read_to_their_ends() {
    let folder = tempfile::tempdir().unwrap();
    fs::write(folder.path().join("from"), "a\nb\n").unwrap();
    for (source, expected) in [("from", &b"a\nb\n"[..]), ("/dev/null", b"")] {
        let source = fs::File::open(folder.path().join(source)).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_efio"));
        let output = command.args(["log", "to"]).current_dir(folder.path()).stdin(source).output().unwrap();
        assert!(output.status.success(), "{output:?}");
        assert_eq!(fs::read(folder.path().join("to")).unwrap(), expected);
        fs::remove_file(folder.path().join("to")).unwrap();
    }
}

#[test]
fn what_cannot_be_opened_is_told() {
    let folder = tempfile::tempdir().unwrap();
    for (path, words_of_it) in [("none/file", "No such file"), (".", "folder")] {
        let (child, input) = log(folder.path(), &[path]);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(1));
        assert!(words(&output).contains(words_of_it), "{}", words(&output));
        drop(input);
    }
}

#[test]
fn a_file_that_fails_ends_it_and_tells_what_is_lost() {
    let folder = tempfile::tempdir().unwrap();
    let mut command = Command::new("sh");
    let line = format!("ulimit -f 64; exec {} log --flush-interval 0.02 file", env!("CARGO_BIN_EXE_efio"));
    command.args(["-c", &line]).current_dir(folder.path());
    let (child, mut input) = spawn(command);
    let lines: String = (0..40_000).map(|number| format!("line {number}\n")).collect();
    // The reader may go before all is written.
    let _ = input.write_all(lines.as_bytes());
    drop(input);
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{}", words(&output));
    assert!(
        words(&output).contains("File too large") && words(&output).contains("bytes are lost"),
        "{}",
        words(&output)
    );
    let kept = fs::read(folder.path().join("file")).unwrap();
    assert!(!kept.is_empty() && lines.as_bytes().starts_with(&kept), "what is there is the beginning");
}

/// A small file system of its own, if this process may have one.
struct Small(tempfile::TempDir);

impl Small {
    fn mount() -> Option<Self> {
        let folder = tempfile::tempdir().unwrap();
        let mount = |path: &Path| {
            Command::new("mount").args(["-t", "tmpfs", "-o", "size=1m", "tmpfs"]).arg(path).output()
        };
        let mounted = mount(folder.path()).is_ok_and(|output| output.status.success());
        if !mounted {
            println!("skipped: no file system can be mounted here");
        }
        mounted.then_some(Self(folder))
    }

    fn grow(&self) {
        let grown =
            Command::new("mount").args(["-o", "remount,size=16m"]).arg(self.0.path()).status().unwrap();
        assert!(grown.success());
    }
}

impl Drop for Small {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg(self.0.path()).status();
    }
}

#[test]
fn a_full_disk_makes_standard_input_wait_and_loses_nothing() {
    let Some(small) = Small::mount() else { return };
    let (child, mut input) = log(small.0.path(), &["--memory", "4M", "--flush-interval", "0.02", "file"]);
    let lines: String = (0..800_000).map(|number| format!("line {number}\n")).collect();
    let expected = lines.clone();
    let writer = thread::spawn(move || input.write_all(lines.as_bytes()).unwrap());
    until("a full disk", || {
        fs::metadata(small.0.path().join("file")).is_ok_and(|file| file.len() >= 1_000_000)
    });
    assert!(!writer.is_finished(), "11 MB are more than the disk, the memory and the pipe hold");
    small.grow();
    writer.join().unwrap();
    let output = child.wait_with_output().unwrap();
    assert!(output.status.success(), "{}", words(&output));
    assert!(
        words(&output).contains("No space left") && words(&output).contains("goes on"),
        "{}",
        words(&output)
    );
    assert!(fs::read_to_string(small.0.path().join("file")).unwrap() == expected);
}

#[test]
fn a_signal_ends_it_also_while_the_disk_stays_full_and_what_is_lost_is_told() {
    let Some(small) = Small::mount() else { return };
    let (child, mut input) = log(small.0.path(), &["--memory", "4M", "--flush-interval", "0.02", "file"]);
    let lines: String = (0..800_000).map(|number| format!("line {number}\n")).collect();
    // Ends by a broken pipe.
    let writer = thread::spawn(move || input.write_all(lines.as_bytes()).is_err());
    until("a full disk", || {
        fs::metadata(small.0.path().join("file")).is_ok_and(|file| file.len() >= 1_000_000)
    });
    assert!(!writer.is_finished(), "11 MB are more than the disk, the memory and the pipe hold");
    signal(&child, Signal::SIGTERM);
    let output = child.wait_with_output().unwrap();
    assert!(writer.join().unwrap(), "nobody was left to take the rest");
    assert_eq!(output.status.code(), Some(1), "{}", words(&output));
    // The signal may come before the file's memory is full as well; then it is the file that has all and loses it.
    let told = ["not taken by the file in time", "bytes are lost"];
    assert!(told.iter().any(|told| words(&output).contains(told)), "{}", words(&output));
}
