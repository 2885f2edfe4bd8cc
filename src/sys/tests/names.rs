//! Folders, links, lists, modes and times: the same on the operating system, by both resolvers, and on the simulated disk.

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::{MetadataExt, PermissionsExt, symlink};
use std::sync::Arc;

use super::*;
use crate::job::names::{Batch, NameAnswer, NameWork, Times, kind};
use crate::sys::path::{self, Resolver};

pub(super) fn named(disk: &impl Disk, work: NameWork) -> Result<NameAnswer, i32> {
    match outcome(disk, Kind::Meta, Work::Names(Box::new(work))) {
        Outcome::Named(answer) => answer.map_err(|fault| fault.errno),
        other => panic!("{other:?}"),
    }
}

fn done(disk: &impl Disk, work: NameWork) -> Result<(), i32> {
    named(disk, work).map(|answer| assert!(matches!(answer, NameAnswer::Done)))
}

fn says(disk: &impl Disk, name: Name) -> Result<Vec<u8>, i32> {
    named(disk, NameWork::ReadLink { name }).map(|answer| match answer {
        NameAnswer::Target(text) => text,
        other => panic!("{other:?}"),
    })
}

/// All entries of a folder, by as many batches as it takes.
fn list(disk: &impl Disk, folder: &Folder) -> (Vec<(Vec<u8>, u8)>, usize) {
    let (mut found, mut batches, mut cursor) = (Vec::new(), 0, None);
    loop {
        let batch: Box<Batch> = match named(disk, NameWork::ReadFolder { folder: folder.clone(), cursor }) {
            Ok(NameAnswer::Batch(batch)) => batch,
            other => panic!("{other:?}"),
        };
        let mut at = 0;
        while let Some((inode, kind, name, next)) = batch.entry(at) {
            assert!(inode > 0);
            found.push((name.to_vec(), kind));
            at = next;
        }
        batches += 1;
        cursor = batch.next;
        if cursor.is_none() {
            return (found, batches);
        }
    }
}

/// What every disk must do, beneath a folder and by plain paths; `root` is empty and named `plain_root`.
fn holds(disk: &impl Disk, root: &Folder, plain_root: &str) {
    let within = |path: &str| Name { beneath: Some(root.clone()), path: CString::new(path).unwrap() };
    let by_path = |path: &str| plain(Path::new(&format!("{plain_root}/{path}")));
    let mkdir = |name| done(disk, NameWork::MakeFolder { name, mode: 0o7755 });
    mkdir(within("a")).unwrap();
    mkdir(by_path("a/b")).unwrap();
    assert_eq!(mkdir(within("a")), Err(libc::EEXIST));
    assert_eq!(mkdir(within("none/a")), Err(libc::ENOENT));
    let opened = opened(disk, creating(within("a/file"))).unwrap();
    write(disk, opened.handle, Place::At(0), b"bytes");
    close(disk, opened.handle, None).unwrap();
    assert_eq!(mkdir(within("a/file/x")), Err(libc::ENOTDIR));

    let link =
        |target: &str, name| done(disk, NameWork::Symlink { target: CString::new(target).unwrap(), name });
    link("../outside", within("a/out")).unwrap();
    link("a", within("to_a")).unwrap();
    link("ring", by_path("ring")).unwrap();
    assert_eq!(link("x", within("a/out")), Err(libc::EEXIST));
    assert_eq!(says(disk, within("a/out")).unwrap(), b"../outside");
    assert_eq!(says(disk, by_path("to_a/out")).unwrap(), b"../outside");
    assert_eq!(says(disk, within("to_a/out")), Err(libc::ELOOP));
    assert_eq!(says(disk, within("a/file")), Err(libc::EINVAL));
    assert_eq!(says(disk, by_path("ring")).unwrap(), b"ring");
    assert_eq!(stat(disk, by_path("ring"), true).unwrap_err().errno, libc::ELOOP);
    assert_eq!(stat(disk, by_path("ring"), false).unwrap().mode & 0o170_000, 0o120_000);
    assert_eq!(stat(disk, by_path("to_a/file"), true).unwrap().size, 5);
    assert_eq!(stat(disk, by_path("to_a"), true).unwrap().mode & 0o170_000, 0o040_000);
    assert_eq!(stat(disk, within("to_a"), true).unwrap_err().errno, libc::ELOOP);

    let hard = |from, to| done(disk, NameWork::Link { from, to });
    hard(within("a/file"), within("second")).unwrap();
    assert_eq!(hard(within("a/file"), within("second")), Err(libc::EEXIST));
    assert_eq!(hard(within("a"), within("third")), Err(libc::EPERM));
    let (one, two) =
        (stat(disk, within("a/file"), false).unwrap(), stat(disk, by_path("second"), true).unwrap());
    assert_eq!((one.inode, one.links, two.links), (two.inode, 2, 2));

    changes_modes_and_times(disk, &within, &by_path);
    let (mut entries, batches) = list(disk, root);
    entries.sort();
    let text = |name: &str, kind| (name.as_bytes().to_vec(), kind);
    let expected = [
        text("a", kind::FOLDER),
        text("ring", kind::LINK),
        text("second", kind::FILE),
        text("to_a", kind::LINK),
    ];
    assert_eq!((entries, batches), (expected.to_vec(), 1));
    done(disk, NameWork::SyncFolder { folder: root.clone() }).unwrap();

    let inner = disk.open_folder(&within("a")).unwrap();
    let held = Arc::downgrade(&inner.keeper);
    stats_what_is_open(disk, &inner, &within);
    done(disk, NameWork::CloseFolder { folder: inner.clone() }).unwrap();
    assert!(!list(disk, &inner).0.is_empty(), "another clone of it is still good");
    done(disk, NameWork::CloseFolder { folder: inner }).unwrap();
    assert!(held.upgrade().is_none(), "and the last one has closed it");
}

/// A folder that is open is asked about itself, whatever has its name.
fn stats_what_is_open(disk: &impl Disk, open: &Folder, within: &dyn Fn(&str) -> Name) {
    let known = || match named(disk, NameWork::StatFolder { folder: open.clone() }) {
        Ok(NameAnswer::Stat(stat)) => (stat.inode, stat.mode & 0o170_777),
        other => panic!("{other:?}"),
    };
    let rename = |from, to| renamed(disk, Work::Rename { from, to, replace: true }).unwrap();
    done(disk, NameWork::SetMode { name: within("a"), mode: 0o750 }).unwrap();
    done(disk, NameWork::MakeFolder { name: within("decoy"), mode: 0o700 }).unwrap();
    let before = known();
    assert_eq!(before, (stat(disk, within("a"), false).unwrap().inode, 0o040_750));
    rename(within("a"), within("aside"));
    rename(within("decoy"), within("a"));
    assert_eq!(known(), before);
    assert_ne!(stat(disk, within("a"), false).unwrap().inode, before.0);
    rename(within("a"), within("decoy"));
    rename(within("aside"), within("a"));
}

fn changes_modes_and_times(disk: &impl Disk, within: &dyn Fn(&str) -> Name, by_path: &dyn Fn(&str) -> Name) {
    let chmod = |name, mode| done(disk, NameWork::SetMode { name, mode });
    chmod(within("a/file"), 0o640).unwrap();
    assert_eq!(stat(disk, within("second"), false).unwrap().mode & 0o7777, 0o640);
    chmod(by_path("to_a/file"), 0o600).unwrap();
    assert_eq!(stat(disk, within("a/file"), false).unwrap().mode & 0o7777, 0o600);
    assert_eq!(chmod(within("to_a"), 0o700), Err(libc::ELOOP));
    assert_eq!(chmod(within("to_a/file"), 0o700), Err(libc::ELOOP));
    assert_eq!(chmod(within("none"), 0o700), Err(libc::ENOENT));
    let before = stat(disk, within("a/file"), false).unwrap();
    let set = |name, accessed_ns, modified_ns, follow| {
        done(disk, NameWork::SetTimes { name, times: Times { accessed_ns, modified_ns }, follow })
    };
    set(within("a/file"), None, Some(1_000_000_007), true).unwrap();
    let after = stat(disk, within("a/file"), false).unwrap();
    assert_eq!((after.modified_ns, after.accessed_ns), (1_000_000_007, before.accessed_ns));
    set(within("a/file"), Some(-5_000_000_000), None, true).unwrap();
    let after = stat(disk, within("a/file"), false).unwrap();
    assert_eq!((after.modified_ns, after.accessed_ns), (1_000_000_007, -5_000_000_000));
    set(within("to_a"), None, Some(42), true).unwrap();
    assert_eq!(stat(disk, within("to_a"), false).unwrap().modified_ns, 42, "beneath a folder the link's own");
    assert_ne!(stat(disk, by_path("a"), true).unwrap().modified_ns, 42);
    set(by_path("to_a"), None, Some(43), true).unwrap();
    assert_eq!(stat(disk, by_path("a"), true).unwrap().modified_ns, 43);
}

fn os_benches() -> [Bench; 2] {
    [Resolver::Kernel, Resolver::Walk].map(|resolver| Bench::on(Os { resolver, ..Os::new() }))
}

#[test]
fn names_do_the_same_on_the_operating_system() {
    for bench in os_benches() {
        fs::create_dir(bench.path("root")).unwrap();
        let folder = bench.disk.open_folder(&bench.name("root")).unwrap();
        holds(&bench.disk, &folder, bench.path("root").to_str().unwrap());
    }
}

#[cfg(feature = "sim")]
#[test]
fn names_do_the_same_on_the_simulated_disk() {
    use crate::sys::sim::{Sim, SimOptions};
    let options = SimOptions { short_count_per_mille: 0, ..SimOptions::default() };
    let sim = Sim::with_options(1, options);
    sim.put_folder("/root");
    let folder = sim.open_folder(&plain(Path::new("/root"))).unwrap();
    holds(&sim, &folder, "/root");
    drop(folder);
    assert_eq!(sim.open_handles(), 0);
}

#[test]
fn no_call_on_a_name_leaves_its_folder() {
    for bench in os_benches() {
        fs::create_dir_all(bench.path("root/inner")).unwrap();
        fs::create_dir(bench.path("outside")).unwrap();
        fs::write(bench.path("outside/file"), "outside").unwrap();
        fs::set_permissions(bench.path("outside/file"), fs::Permissions::from_mode(0o640)).unwrap();
        symlink("../outside", bench.path("root/trap")).unwrap();
        symlink("../outside/file", bench.path("root/file")).unwrap();
        let before = fs::metadata(bench.path("outside/file")).unwrap();
        let folder = bench.disk.open_folder(&bench.name("root")).unwrap();
        let within = |path: &str| Name { beneath: Some(folder.clone()), path: CString::new(path).unwrap() };
        for path in ["trap/new", "../outside/new", "/tmp/efio-new", "inner/../../outside/new"] {
            let works = [
                NameWork::MakeFolder { name: within(path), mode: 0o755 },
                NameWork::Symlink { target: c"x".to_owned(), name: within(path) },
                NameWork::Link { from: within("inner"), to: within(path) },
                NameWork::Link { from: within(path), to: within("mine") },
                NameWork::ReadLink { name: within(path) },
                NameWork::SetMode { name: within(path), mode: 0o777 },
                NameWork::SetTimes {
                    name: within(path),
                    times: Times { accessed_ns: None, modified_ns: Some(1) },
                    follow: true,
                },
            ];
            for work in works {
                let words = format!("{work:?}");
                let errno = named(&bench.disk, work).unwrap_err();
                assert!([libc::ELOOP, libc::EXDEV].contains(&errno), "{words}: {errno}");
            }
        }
        // A link at the end: its own times, never the mode of what it leads to, and a second name for the link itself.
        let chmod = NameWork::SetMode { name: within("file"), mode: 0o777 };
        assert_eq!(named(&bench.disk, chmod).unwrap_err(), libc::ELOOP);
        let times = Times { accessed_ns: Some(1), modified_ns: Some(1) };
        done(&bench.disk, NameWork::SetTimes { name: within("file"), times, follow: true }).unwrap();
        done(&bench.disk, NameWork::Link { from: within("file"), to: within("linked") }).unwrap();
        assert!(fs::symlink_metadata(bench.path("root/linked")).unwrap().is_symlink());
        let after = fs::metadata(bench.path("outside/file")).unwrap();
        assert_eq!(
            (before.mode(), before.mtime_nsec(), before.nlink()),
            (after.mode(), after.mtime_nsec(), after.nlink())
        );
        assert_eq!(fs::read_dir(bench.path("outside")).unwrap().count(), 1);
    }
}

#[test]
fn names_of_any_bytes_are_made_listed_and_read() {
    for bench in os_benches() {
        let folder = bench.disk.open_folder(&bench.name("")).unwrap();
        let odd: [&[u8]; 5] = [b"\xff\xfe\x80", b"new\nline", b" ", b"-rf", b"..."];
        for name in odd {
            let name = Name { beneath: Some(folder.clone()), path: CString::new(name).unwrap() };
            let target = CString::new(b"\xff/\n".to_vec()).unwrap();
            done(&bench.disk, NameWork::Symlink { target, name: name.clone() }).unwrap();
            assert_eq!(says(&bench.disk, name).unwrap(), b"\xff/\n");
        }
        let listed: BTreeSet<Vec<u8>> =
            list(&bench.disk, &folder).0.into_iter().map(|(name, _)| name).collect();
        assert_eq!(listed, odd.iter().map(|name| name.to_vec()).collect());
    }
}

#[test]
fn a_link_that_says_much_is_read_whole() {
    let bench = Bench::new();
    let long = "x/".repeat(2000);
    symlink(&long, bench.path("long")).unwrap();
    assert_eq!(says(&bench.disk, bench.name("long")).unwrap(), long.as_bytes());
}

/// While others rename, add and remove, what stays is listed exactly once.
#[test]
fn what_stays_is_listed_once_while_others_change_the_folder() {
    let bench = Bench::new();
    let long = "n".repeat(200);
    let stays: BTreeSet<Vec<u8>> = (0..1500).map(|number| format!("{number}-{long}").into_bytes()).collect();
    for name in &stays {
        fs::write(bench.path(std::str::from_utf8(name).unwrap()), "").unwrap();
    }
    (0..50).for_each(|number| fs::write(bench.path(&format!("old-{number}")), "").unwrap());
    let folder = bench.disk.open_folder(&bench.name("")).unwrap();
    let stop = std::sync::atomic::AtomicBool::new(false);
    std::thread::scope(|scope| {
        scope.spawn(|| {
            let mut round = 0;
            while !stop.load(std::sync::atomic::Ordering::Relaxed) {
                for number in 0..50 {
                    let (from, to) = if round % 2 == 0 { ("old", "new") } else { ("new", "old") };
                    let path = |word| bench.path(&format!("{word}-{number}"));
                    fs::rename(path(from), path(to)).unwrap();
                }
                round += 1;
            }
        });
        for _ in 0..20 {
            let (entries, batches) = list(&bench.disk, &folder);
            assert!(batches > 1, "more than one batch has room for");
            let mut seen: Vec<Vec<u8>> = entries.into_iter().map(|(name, _)| name).collect();
            seen.retain(|name| stays.contains(name));
            assert_eq!(seen.len(), stays.len(), "none twice");
            assert_eq!(seen.into_iter().collect::<BTreeSet<_>>(), stays, "none left out");
        }
        stop.store(true, std::sync::atomic::Ordering::Relaxed);
    });
}

#[test]
fn a_folder_that_may_not_be_read_is_passed_through_by_both_resolvers() {
    for bench in os_benches() {
        fs::create_dir(bench.path("closed")).unwrap();
        let root = bench.disk.open_folder(&bench.name("")).unwrap();
        let name = Name { beneath: Some(root), path: c"closed".to_owned() };
        // What opening it comes to where reading is not permitted, which root cannot be shown.
        path::open(bench.disk.resolver, &name, path::PASSAGE, 0).unwrap();
    }
}

#[test]
fn a_list_that_is_dropped_midway_leaves_no_descriptor() {
    let bench = Bench::new();
    let long = "n".repeat(240);
    (0..600).for_each(|number| fs::write(bench.path(&format!("{number}-{long}")), "").unwrap());
    let folder = bench.disk.open_folder(&bench.name("")).unwrap();
    let batch = match named(&bench.disk, NameWork::ReadFolder { folder, cursor: None }) {
        Ok(NameAnswer::Batch(batch)) => batch,
        other => panic!("{other:?}"),
    };
    let cursor = batch.next.unwrap();
    let path = format!("/proc/self/fd/{}", cursor.folder.handle.0);
    assert_eq!(fs::read_link(&path).unwrap(), bench.folder.path());
    drop(cursor);
    assert!(!fs::read_link(&path).is_ok_and(|target| target == bench.folder.path()));
}

#[test]
fn the_metadata_of_an_open_file_is_its_own_whatever_has_its_name() {
    let bench = Bench::new();
    let opened = bench.open(creating(bench.name("file"))).unwrap();
    write(&bench.disk, opened.handle, Place::At(0), b"first");
    fs::rename(bench.path("file"), bench.path("moved")).unwrap();
    fs::write(bench.path("file"), "another").unwrap();
    let told = match outcome(&bench.disk, Kind::Meta, Work::FileStat { handle: opened.handle }) {
        Outcome::Stat(stat) => stat.unwrap(),
        other => panic!("{other:?}"),
    };
    assert_eq!((told.size, told.inode), (5, fs::metadata(bench.path("moved")).unwrap().ino()));
    bench.close(opened);
}
