//! Staged files: nothing is seen before they are published, and nothing is left if they are not.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use super::*;
use crate::sys::publish::is_hidden_name;

/// The ways in which a file can be staged: without a name, and under a hidden one.
fn benches() -> Vec<Bench> {
    let mut benches = vec![Bench::on(Os { unnamed: false, ..Os::new() })];
    let unnamed = Bench::new();
    let probe = unnamed.open(staging(unnamed.name("probe"))).unwrap();
    if probe.staged.as_ref().unwrap().hidden.is_some() {
        println!("SKIPPED in part: no files without names here");
    } else {
        unnamed.close(probe);
        benches.push(unnamed);
    }
    benches
}

fn stage(bench: &Bench, work: OpenWork, bytes: &[u8]) -> (Handle, Box<Staged>) {
    let opened = bench.open(work).unwrap();
    assert_eq!(write(&bench.disk, opened.handle, Place::At(0), bytes), (bytes.len(), None));
    (opened.handle, opened.staged.unwrap())
}

fn mode(bench: &Bench, name: &str) -> u32 {
    fs::metadata(bench.path(name)).unwrap().permissions().mode() & 0o7777
}

#[test]
fn a_published_file_replaces_its_target_whole() {
    for bench in benches() {
        for (existing, durable) in [(false, false), (false, true), (true, false), (true, true)] {
            if existing {
                fs::write(bench.path("target"), "old").unwrap();
            }
            let work = OpenWork { mode: 0o666, ..staging(bench.name("target")) };
            let (handle, staged) = stage(&bench, work, b"new");
            assert_eq!(fs::read(bench.path("target")).ok().as_deref(), existing.then_some(&b"old"[..]));
            publish(&bench.disk, handle, staged, durable).unwrap();
            close(&bench.disk, handle, None).unwrap();
            assert_eq!(fs::read(bench.path("target")).unwrap(), b"new");
            assert_eq!(mode(&bench, "target"), 0o666 & !bench.disk.mask());
            assert_eq!(bench.names(), ["target"]);
            fs::remove_file(bench.path("target")).unwrap();
        }
    }
}

#[test]
fn a_hidden_file_is_no_ones_to_read() {
    let bench = Bench::on(Os { unnamed: false, ..Os::new() });
    let (handle, staged) = stage(&bench, staging(bench.name("target")), b"half");
    let names = bench.names();
    assert_eq!(names.len(), 1);
    assert!(is_hidden_name(names[0].as_bytes()));
    assert_eq!(mode(&bench, &names[0]), 0o600);
    close(&bench.disk, handle, Some(staged)).unwrap();
}

#[test]
fn a_file_that_is_not_published_leaves_nothing() {
    for bench in benches() {
        let (handle, staged) = stage(&bench, staging(bench.name("target")), b"half");
        close(&bench.disk, handle, Some(staged)).unwrap();
        assert!(bench.names().is_empty());
    }
}

#[test]
fn create_new_does_not_replace_what_came_meanwhile() {
    for bench in benches() {
        let work = OpenWork { create_new: true, ..staging(bench.name("target")) };
        let (handle, staged) = stage(&bench, work, b"late");
        fs::write(bench.path("target"), "first").unwrap();
        let (fault, staged) = publish(&bench.disk, handle, staged, false).unwrap_err();
        assert_eq!(fault.errno, libc::EEXIST);
        close(&bench.disk, handle, Some(staged)).unwrap();
        assert_eq!(fs::read(bench.path("target")).unwrap(), b"first");
        assert_eq!(bench.names(), ["target"]);
    }
}

#[test]
fn create_new_publishes_where_nothing_is() {
    for bench in benches() {
        let work = OpenWork { create_new: true, ..staging(bench.name("target")) };
        let (handle, staged) = stage(&bench, work, b"new");
        publish(&bench.disk, handle, staged, true).unwrap();
        close(&bench.disk, handle, None).unwrap();
        assert_eq!(bench.names(), ["target"]);
    }
}

#[test]
fn a_failed_publishing_hands_the_file_back_without_litter() {
    for bench in benches() {
        let (handle, staged) = stage(&bench, staging(bench.name("target")), b"new");
        // A folder that came in the way cannot be replaced by a file.
        fs::create_dir(bench.path("target")).unwrap();
        let (fault, staged) = publish(&bench.disk, handle, staged, false).unwrap_err();
        assert!([libc::EISDIR, libc::EEXIST, libc::ENOTEMPTY].contains(&fault.errno), "{fault:?}");
        fs::remove_dir(bench.path("target")).unwrap();
        publish(&bench.disk, handle, staged, false).unwrap();
        close(&bench.disk, handle, None).unwrap();
        assert_eq!(fs::read(bench.path("target")).unwrap(), b"new");
        assert_eq!(bench.names(), ["target"]);
    }
}

#[test]
fn a_link_as_target_is_replaced_itself() {
    for bench in benches() {
        fs::write(bench.path("pointed_at"), "kept").unwrap();
        std::os::unix::fs::symlink("pointed_at", bench.path("target")).unwrap();
        let (handle, staged) = stage(&bench, staging(bench.name("target")), b"new");
        publish(&bench.disk, handle, staged, false).unwrap();
        close(&bench.disk, handle, None).unwrap();
        assert_eq!(fs::read(bench.path("pointed_at")).unwrap(), b"kept");
        assert!(fs::symlink_metadata(bench.path("target")).unwrap().is_file());
    }
}

#[test]
fn only_hidden_names_are_hidden() {
    assert!(is_hidden_name(b".efio-0123456789abcdef.tmp"));
    for name in [
        &b".efio-0123456789abcdeF.tmp"[..],
        b".efio-0123456789abcde.tmp",
        b".efio-0123456789abcdef0.tmp",
        b".efio-0123456789abcdef.tmpx",
        b"efio-0123456789abcdef.tmp",
        b".efio-.tmp",
        b"",
    ] {
        assert!(!is_hidden_name(name));
    }
}

#[test]
fn the_mask_is_the_one_that_the_process_has() {
    let shell = std::process::Command::new("sh").args(["-c", "umask"]).output().unwrap();
    let told = String::from_utf8(shell.stdout).unwrap();
    assert_eq!(Os::new().mask(), u32::from_str_radix(told.trim(), 8).unwrap());
}
