//! `efio cp -r` over trees that are large, deep, hostile or broken in the middle: the real binary.
#![allow(unsafe_code, reason = "limits and waits for child processes as only the system's calls can")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::ffi::OsStr;
use std::fs;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::sync::atomic::{AtomicBool, Ordering};

fn efio(place: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_efio"));
    command.arg("cp").args(arguments).current_dir(place);
    command
}

fn words(output: &Output) -> String {
    String::from_utf8_lossy(&output.stderr).into_owned()
}

/// Copies; it must work and say nothing.
fn copies(place: &Path, arguments: &[&str]) {
    let output = efio(place, arguments).output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{arguments:?}: {}", words(&output));
}

/// Copies; it must fail with exit code 1, and gives the lines that were said, sorted.
fn fails(place: &Path, arguments: &[&str]) -> Vec<String> {
    let output = efio(place, arguments).output().unwrap();
    assert_eq!(output.status.code(), Some(1), "{arguments:?}: {}", words(&output));
    let mut lines: Vec<String> = words(&output).lines().map(str::to_owned).collect();
    lines.sort();
    lines
}

/// All that is beneath a folder: each path with its kind and what is in it, sorted.
fn tree(top: &Path) -> Vec<(PathBuf, Vec<u8>)> {
    let (mut found, mut folders) = (Vec::new(), vec![PathBuf::new()]);
    while let Some(folder) = folders.pop() {
        for entry in fs::read_dir(top.join(&folder)).unwrap() {
            let entry = entry.unwrap();
            let (path, kind) = (folder.join(entry.file_name()), entry.file_type().unwrap());
            let inside = match (kind.is_dir(), kind.is_symlink()) {
                (true, _) => b"a folder".to_vec(),
                (_, true) => {
                    fs::read_link(entry.path()).unwrap().into_os_string().as_encoded_bytes().to_vec()
                }
                _ => fs::read(entry.path()).unwrap(),
            };
            if kind.is_dir() {
                folders.push(path.clone());
            }
            found.push((path, inside));
        }
    }
    found.sort();
    found
}

fn fifo(path: &Path) {
    let path = std::ffi::CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the path ends with a zero byte.
    assert_eq!(unsafe { libc::mkfifo(path.as_ptr(), 0o600) }, 0);
}

#[test]
fn of_ten_thousand_files_all_but_the_broken_ones_arrive() {
    let place = tempfile::tempdir().unwrap();
    let from = place.path().join("from");
    for folder in 0..100 {
        fs::create_dir_all(from.join(format!("{folder}"))).unwrap();
        for file in 0..100 {
            fs::write(from.join(format!("{folder}/{file}")), format!("{folder} {file}")).unwrap();
        }
    }
    fifo(&from.join("50/pipe"));
    drop(std::os::unix::net::UnixListener::bind(from.join("51/socket")).unwrap());
    fs::create_dir_all(place.path().join("to/from/52/7")).unwrap();
    fs::write(place.path().join("to/from/53"), "in the way").unwrap();
    let lines = fails(place.path(), &["-r", "from", "to"]);
    let expected = [
        "efio: from/50/pipe: neither a file, a folder nor a link",
        "efio: from/51/socket: neither a file, a folder nor a link",
        "efio: from/52/7: to/from/52/7 is in the way and a folder",
        "efio: from/53: to/from/53 is in the way and no folder",
    ];
    assert_eq!(lines, expected);
    let copied = tree(&place.path().join("to/from"));
    assert_eq!(copied.len(), 100 * 101 - 100, "one file is a folder, one folder a file");
    let is_whole = |(path, inside): &(PathBuf, Vec<u8>)| match path.to_str().unwrap().split_once('/') {
        Some(("52", "7")) => inside == b"a folder",
        Some((folder, file)) => *inside == format!("{folder} {file}").into_bytes(),
        None => inside == b"a folder" || (path == Path::new("53") && inside == b"in the way"),
    };
    assert_eq!(copied.iter().find(|entry| !is_whole(entry)), None);
}

#[test]
fn each_file_that_is_there_is_told_and_replaced_with_force() {
    let place = tempfile::tempdir().unwrap();
    let from = place.path().join("from");
    fs::create_dir_all(from.join("inner")).unwrap();
    (0..200).for_each(|file| fs::write(from.join(format!("inner/{file}")), "first").unwrap());
    symlink("first", from.join("link")).unwrap();
    copies(place.path(), &["-r", "from", "to"]);
    fs::write(from.join("inner/new"), "new").unwrap();
    (0..200).for_each(|file| fs::write(from.join(format!("inner/{file}")), "second").unwrap());
    fs::remove_file(from.join("link")).unwrap();
    symlink("second", from.join("link")).unwrap();
    let lines = fails(place.path(), &["-r", "from/.", "to"]);
    assert_eq!(lines.len(), 201);
    assert!(lines.iter().all(|line| line.ends_with("exists; --force replaces it")), "{lines:?}");
    assert_eq!(fs::read(place.path().join("to/inner/new")).unwrap(), b"new", "the rest went on");
    assert_eq!(fs::read(place.path().join("to/inner/7")).unwrap(), b"first");
    copies(place.path(), &["-r", "--force", "from/.", "to"]);
    assert_eq!(tree(&place.path().join("to")), tree(&from));
}

#[test]
fn names_are_bytes_and_links_are_copied_as_they_are() {
    let place = tempfile::tempdir().unwrap();
    let from = place.path().join("from");
    let odd = [&b"\xff\xfe"[..], b"a\nb", b"-r", b" ", b"\xe4", &[b'n'; 255]];
    for name in odd {
        let folder = from.join(OsStr::from_bytes(name));
        fs::create_dir_all(&folder).unwrap();
        fs::write(folder.join(OsStr::from_bytes(name)), name).unwrap();
        symlink(OsStr::from_bytes(name), folder.join("link")).unwrap();
    }
    symlink("ring", from.join("ring")).unwrap();
    symlink("..", from.join("up")).unwrap();
    symlink(".", from.join("self")).unwrap();
    symlink("/", from.join("root")).unwrap();
    copies(place.path(), &["-r", "from", "to"]);
    assert_eq!(tree(&place.path().join("to")), tree(&from));
    copies(place.path(), &["-r", "--force", "from/.", "to"]);
    assert_eq!(tree(&place.path().join("to")), tree(&from));
    let lines = fails(place.path(), &["from/ring", "copy"]);
    assert_eq!(lines, ["efio: from/ring: a link is in the way, which is not followed"]);
    fifo(&from.join(OsStr::from_bytes(b"\xff\n\x1b[2J")));
    let lines = fails(place.path(), &["-r", "--force", "from/.", "to"]);
    assert_eq!(lines, ["efio: from/./\u{fffd}\\n\\u{1b}[2J: neither a file, a folder nor a link"]);
}

#[test]
fn a_tree_deeper_than_its_descriptors_is_copied() {
    const DEPTH: usize = 280;
    const NAME: &str = "downwards-it";
    let place = tempfile::tempdir().unwrap();
    let mut way = place.path().join("from");
    for depth in 0..DEPTH {
        fs::create_dir(&way).unwrap();
        fs::write(way.join("file"), format!("{depth}")).unwrap();
        fs::create_dir(way.join("z")).unwrap();
        fs::write(way.join("z/file"), format!("z {depth}")).unwrap();
        way.push(NAME);
    }
    let inner = |top: &str| place.path().join(top).join(NAME).join(NAME);
    fs::set_permissions(inner("from"), fs::Permissions::from_mode(0o750)).unwrap();
    let mut command = efio(place.path(), &["-r", "--sync", "from", "to"]);
    // SAFETY: the closure makes one system call.
    unsafe {
        command.pre_exec(|| {
            let limit = libc::rlimit { rlim_cur: 200, rlim_max: 200 };
            match libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit) {
                0 => Ok(()),
                _ => Err(std::io::Error::last_os_error()),
            }
        });
    }
    let output = command.output().unwrap();
    assert!(output.status.success() && output.stderr.is_empty(), "{}", words(&output));
    assert_eq!(tree(&place.path().join("to")), tree(&place.path().join("from")));
    let mode = fs::metadata(inner("to")).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o750);
}

/// Copies `from` to `to`, and gives the most memory that the command held, in KiB.
fn memory_of_copying(place: &Path) -> i64 {
    let mut child = efio(place, &["-r", "from", "to"]).spawn().unwrap();
    let (mut status, mut usage) = (0, std::mem::MaybeUninit::<libc::rusage>::zeroed());
    let pid = libc::pid_t::try_from(child.id()).unwrap();
    // SAFETY: both point to room for what the call writes; the child is waited for here alone.
    let ended = unsafe { libc::wait4(pid, &raw mut status, 0, usage.as_mut_ptr()) };
    assert_eq!((ended, status), (pid, 0));
    // The process is gone; this only closes what was kept for it.
    let _ = child.try_wait();
    // SAFETY: zeroed before, filled by the call that succeeded; it holds integers only.
    unsafe { usage.assume_init() }.ru_maxrss
}

#[test]
fn memory_does_not_grow_with_the_number_of_names() {
    let place = tempfile::tempdir().unwrap();
    let from = place.path().join("from");
    fs::create_dir(&from).unwrap();
    let long = "n".repeat(100);
    let mut made = 0;
    let mut most = [0; 2];
    for (total, most) in [2_000, 40_000].into_iter().zip(&mut most) {
        for number in made..total {
            symlink("nowhere", from.join(format!("{number}-{long}"))).unwrap();
        }
        made = total;
        *most = memory_of_copying(place.path());
        assert_eq!(fs::read_dir(place.path().join("to")).unwrap().count(), total);
        fs::remove_dir_all(place.path().join("to")).unwrap();
    }
    let [few, many] = most;
    assert!(many < few + 4096, "{few} KiB for 2,000 names, {many} KiB for 40,000");
}

#[test]
fn what_is_swapped_meanwhile_leads_nowhere_else() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    for folder in 0..60 {
        fs::create_dir_all(path(&format!("from/{folder}/in"))).unwrap();
        (0..10).for_each(|file| fs::write(path(&format!("from/{folder}/in/{file}")), "inside").unwrap());
    }
    fs::create_dir_all(path("outside/in")).unwrap();
    (0..10).for_each(|file| fs::write(path(&format!("outside/in/{file}")), "secret").unwrap());
    fs::create_dir(path("written")).unwrap();
    let stop = AtomicBool::new(false);
    std::thread::scope(|scope| {
        // Folders of the source become links out of it and folders again; those of the copy too.
        let swap = |base: &'static str, outside: &'static str| {
            let (stop, path) = (&stop, &path);
            move || {
                for round in (0..60).cycle() {
                    if stop.load(Ordering::Relaxed) {
                        return;
                    }
                    let (name, aside) = (path(&format!("{base}/{round}")), path(&format!("{base}-{round}")));
                    if fs::rename(&name, &aside).is_ok() {
                        let _ = symlink(path(outside), &name);
                        std::thread::yield_now();
                        let _ = fs::remove_file(&name);
                        let _ = fs::rename(&aside, &name);
                    }
                }
            }
        };
        scope.spawn(swap("from", "outside"));
        scope.spawn(swap("to", "written"));
        for _ in 0..6 {
            let output = efio(place.path(), &["-r", "--force", "from", "to/."]).output().unwrap();
            assert!(matches!(output.status.code(), Some(0 | 1)), "{output:?}");
            fs::create_dir_all(path("to")).unwrap();
        }
        stop.store(true, Ordering::Relaxed);
    });
    assert_eq!(fs::read_dir(path("written")).unwrap().count(), 0, "written out of the destination");
    for top in fs::read_dir(place.path()).unwrap() {
        let top = top.unwrap();
        if top.file_name() != "outside" && top.file_type().unwrap().is_dir() {
            let leaked = tree(&top.path()).into_iter().find(|(_, inside)| inside == b"secret");
            assert_eq!(leaked, None, "read from outside the source");
        }
    }
}

#[test]
fn a_folder_that_cannot_be_read_is_told_and_the_rest_goes_on() {
    let place = tempfile::tempdir().unwrap();
    let path = |name: &str| place.path().join(name);
    for name in ["from/a", "from/closed", "from/z"] {
        fs::create_dir_all(path(name)).unwrap();
        fs::write(path(name).join("file"), name).unwrap();
    }
    fs::write(path("from/secret"), "x").unwrap();
    for name in ["from/closed", "from/secret"] {
        fs::set_permissions(path(name), fs::Permissions::from_mode(0o000)).unwrap();
    }
    let mut command = efio(place.path(), &["-r", "from", "to"]);
    // SAFETY: takes nothing.
    if unsafe { libc::geteuid() } == 0 {
        // Nothing is closed to root: as somebody else, who may write here.
        fs::set_permissions(place.path(), fs::Permissions::from_mode(0o777)).unwrap();
        command.uid(65_534).gid(65_534);
    }
    let output = match command.output() {
        Ok(output) => output,
        Err(error) => return println!("skipped: the command cannot be run as another user: {error}"),
    };
    fs::set_permissions(path("from/closed"), fs::Permissions::from_mode(0o700)).unwrap();
    let mut lines: Vec<String> = words(&output).lines().map(str::to_owned).collect();
    lines.sort();
    let denied = "Permission denied (os error 13)";
    assert_eq!(lines, [format!("efio: from/closed: {denied}"), format!("efio: from/secret: {denied}")]);
    assert_eq!(output.status.code(), Some(1));
    for name in ["a", "z"] {
        assert_eq!(fs::read(path("to").join(name).join("file")).unwrap(), format!("from/{name}").as_bytes());
    }
}

#[test]
fn no_folder_is_copied_into_itself_by_any_name() {
    let place = tempfile::tempdir().unwrap();
    fs::create_dir_all(place.path().join("from/inner/deep")).unwrap();
    fs::write(place.path().join("from/file"), "x").unwrap();
    symlink("from/inner", place.path().join("way")).unwrap();
    symlink("from", place.path().join("alias")).unwrap();
    for arguments in [
        &["-r", "from", "from/inner"][..],
        &["-r", "from", "from/inner/deep/new"],
        &["-r", "from", "way/new"],
        &["-r", "from", "way"],
        &["-r", "alias", "from/inner"],
        &["-r", "from/inner/..", "from/inner/deep"],
        &["-r", "from/.", "from"],
        &["-r", "from", "."],
    ] {
        let lines = fails(place.path(), arguments);
        assert!(lines.len() == 1 && lines[0].ends_with("a folder cannot be copied into itself"), "{lines:?}");
    }
    assert_eq!(tree(&place.path().join("from")).len(), 3, "nothing was made");
}
