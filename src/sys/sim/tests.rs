//! What the simulated disk promises.

use std::collections::BTreeSet;
use std::path::Path;
use std::time::Duration;

use super::*;
use crate::error::Operation;
use crate::job::cache::Leaving;
use crate::job::*;
use crate::sys::tests::{
    changed, close, creating, fill, opened, outcome, plain, publish, reading, renamed, slices, staging, stat,
    sync, write,
};
use crate::sys::{Backend, Platform};

fn name(path: &str) -> Name {
    plain(Path::new(path))
}

/// A disk on which nothing happens by chance.
fn calm() -> Sim {
    Sim::with_options(1, calm_options())
}

fn calm_options() -> SimOptions {
    SimOptions { short_count_per_mille: 0, interrupt_per_mille: 0, ..SimOptions::default() }
}

fn open(sim: &Sim, path: &str) -> Handle {
    opened(sim, creating(name(path))).unwrap().handle
}

fn append(sim: &Sim, handle: Handle, bytes: &[u8]) {
    assert_eq!(write(sim, handle, Place::End, bytes), (bytes.len(), None));
}

fn size(sim: &Sim, handle: Handle) -> u64 {
    changed(sim, Work::Size { handle }).unwrap()
}

/// All that a power cut may leave of a file, over many seeds; `None`: not there.
fn cuts(sim: &Sim, path: &str) -> BTreeSet<Option<Vec<u8>>> {
    (0..500).map(|seed| sim.power_cut(seed).get(path.as_bytes()).cloned()).collect()
}

#[test]
fn bytes_come_back_in_spite_of_short_counts_and_interruptions() {
    let options =
        SimOptions { short_count_per_mille: 600, interrupt_per_mille: 300, ..SimOptions::default() };
    let sim = Sim::with_options(5, options);
    let handle = open(&sim, "/file");
    let text: Vec<u8> = (0..5000_u32).map(|i| i as u8).collect();
    assert_eq!(write(&sim, handle, Place::At(7), &text), (5000, None));
    let (bytes, end, fault) = fill(&sim, handle, 7, 6000);
    assert!(bytes == text && end && fault.is_none());
    assert_eq!(size(&sim, handle), 5007);
    close(&sim, handle, None).unwrap();
    assert_eq!(sim.open_handles(), 0);
}

#[test]
fn the_same_seed_does_the_same() {
    let run = || {
        let sim = Sim::new(99);
        sim.fail_randomly(200);
        let mut told = Vec::new();
        for i in 0..50 {
            let answer = opened(&sim, creating(name(&format!("/{i}"))));
            told.push(format!(
                "{:?}",
                answer.map(|opened| write(&sim, opened.handle, Place::End, b"some bytes"))
            ));
        }
        (told, sim.live(), sim.power_cut(3))
    };
    assert_eq!(run(), run());
}

#[test]
fn a_power_cut_keeps_the_durable_bytes_and_a_prefix_of_the_rest() {
    let sim = calm();
    sim.put("/log", b"");
    let handle = open(&sim, "/log");
    append(&sim, handle, b"one ");
    sync(&sim, handle, None).unwrap();
    append(&sim, handle, b"two ");
    append(&sim, handle, b"three");
    assert_eq!(sim.read("/log").unwrap(), b"one two three");
    let found = cuts(&sim, "/log");
    let whole = b"one two three";
    let expected: BTreeSet<_> = (4..=whole.len()).map(|end| Some(whole[..end].to_vec())).collect();
    assert_eq!(found, expected, "every prefix, torn writes too, and nothing else");
}

#[test]
fn a_name_is_durable_by_the_sync_of_its_folder_only() {
    let sim = calm();
    sim.put_folder("/spool");
    let handle = open(&sim, "/spool/new");
    append(&sim, handle, b"bytes");
    sync(&sim, handle, None).unwrap();
    let expected = BTreeSet::from([None, Some(b"bytes".to_vec())]);
    assert_eq!(cuts(&sim, "/spool/new"), expected);
    sync(&sim, handle, Some(name("/spool/new"))).unwrap();
    assert_eq!(cuts(&sim, "/spool/new"), BTreeSet::from([Some(b"bytes".to_vec())]));
}

#[test]
fn a_failed_sync_loses_the_bytes_for_good_as_linux_does() {
    let sim = calm();
    sim.put("/wal", b"");
    let handle = open(&sim, "/wal");
    append(&sim, handle, b"lost");
    sim.fail(FaultRule::new(Operation::Sync, libc::EIO).on("/wal").times(1));
    assert_eq!(sync(&sim, handle, None).unwrap_err().errno, libc::EIO);
    sync(&sim, handle, None).unwrap();
    assert_eq!(sim.read("/wal").unwrap(), b"lost", "still in memory");
    assert_eq!(cuts(&sim, "/wal"), BTreeSet::from([Some(vec![])]), "and not on the disk");
    append(&sim, handle, b"kept");
    sync(&sim, handle, None).unwrap();
    assert_eq!(cuts(&sim, "/wal"), BTreeSet::from([Some(b"\0\0\0\0kept".to_vec())]));
    sim.drop_cache();
    assert_eq!(sim.read("/wal").unwrap(), b"\0\0\0\0kept");
    // Written anew, the bytes are dirty anew.
    assert_eq!(write(&sim, handle, Place::At(0), b"lost"), (4, None));
    sync(&sim, handle, None).unwrap();
    assert_eq!(cuts(&sim, "/wal"), BTreeSet::from([Some(b"lostkept".to_vec())]));
}

#[test]
fn a_synchronous_write_is_durable_when_it_returns() {
    let sim = calm();
    sim.put("/wal", b"");
    let work = OpenWork { data_sync: true, append: true, ..creating(name("/wal")) };
    let handle = opened(&sim, work).unwrap().handle;
    append(&sim, handle, b"at once");
    assert_eq!(cuts(&sim, "/wal"), BTreeSet::from([Some(b"at once".to_vec())]));
}

#[test]
fn a_full_disk_takes_what_fits_and_gives_room_back() {
    let sim = calm();
    let handle = open(&sim, "/file");
    sim.set_space(6);
    let (bytes, fault) = write(&sim, handle, Place::End, b"ten bytes!");
    assert_eq!((bytes, fault.unwrap().errno), (6, libc::ENOSPC));
    assert_eq!(write(&sim, handle, Place::At(0), b"TEN"), (3, None), "old blocks need no room");
    changed(&sim, Work::Truncate { handle, size: 2 }).unwrap();
    append(&sim, handle, b"four");
    close(&sim, handle, None).unwrap();
    renamed(&sim, Work::Unlink { name: name("/file"), folder: false }).unwrap();
    let handle = open(&sim, "/next");
    let reserve = |bytes| changed(&sim, Work::Preallocate { handle, offset: 0, bytes, keep_size: true });
    assert_eq!(reserve(7).unwrap_err().errno, libc::ENOSPC);
    reserve(6).unwrap();
    assert_eq!(size(&sim, handle), 0);
    append(&sim, handle, b"sixsix");
    let (_, fault) = write(&sim, handle, Place::End, b"x");
    assert_eq!(fault.unwrap().errno, libc::ENOSPC);
    sim.heal();
    append(&sim, handle, b"x");
}

#[test]
fn a_file_at_its_limit_gets_a_short_count_then_efbig() {
    let sim = Sim::with_options(1, SimOptions { file_size_max: 8, ..calm_options() });
    let handle = open(&sim, "/file");
    let (bytes, fault) = write(&sim, handle, Place::End, b"ten bytes!");
    assert_eq!((bytes, fault.unwrap().errno), (8, libc::EFBIG));
    assert_eq!(changed(&sim, Work::Truncate { handle, size: 9 }).unwrap_err().errno, libc::EFBIG);
}

#[test]
fn a_rule_strikes_its_calls_and_no_others() {
    let sim = calm();
    let (one, other) = (open(&sim, "/one"), open(&sim, "/other"));
    sim.fail(FaultRule::new(Operation::Write, libc::EDQUOT).on("/one").after(1).times(2));
    let errno = |handle| write(&sim, handle, Place::End, b"x").1.map(|fault| fault.errno);
    assert_eq!([errno(one), errno(other), errno(one)], [None, None, Some(libc::EDQUOT)]);
    assert_eq!([errno(other), errno(one), errno(one)], [None, Some(libc::EDQUOT), None]);
    assert_eq!(sim.read("/one").unwrap(), b"xx");
}

#[test]
fn jobs_come_back_when_the_clock_gets_there() {
    let options = SimOptions { delay_ns: 1000..2000, ..calm_options() };
    let sim = Sim::with_options(1, options);
    let platform = Platform::Sim(sim.clone());
    assert!(platform.is_virtual());
    let mut backend = platform.backend();
    let mut done = Vec::new();
    for slot in 0..10 {
        let work = Work::Open(Box::new(creating(name(&format!("/{slot}")))));
        backend.submit(Job { slot, kind: Kind::Meta, device: 0, work });
    }
    backend.reap(&mut done);
    assert!(done.is_empty() && sim.live().is_empty());
    assert_eq!(sim.in_flight(), 10);
    let mut turns = 0;
    while let Some(due) = sim.next_due() {
        sim.advance(Duration::from_nanos(due - platform.now_ns()));
        backend.reap(&mut done);
        turns += 1;
    }
    assert!(turns > 1 && sim.in_flight() == 0);
    let order: Vec<u32> = done.iter().map(|done| done.slot).collect();
    assert_eq!(order.len(), 10);
    assert!(!order.is_sorted(), "they overtake each other");
}

#[test]
fn a_job_that_panics_comes_back_as_such_and_the_next_one_is_done() {
    let sim = Sim::with_options(1, SimOptions { reorder: false, ..calm_options() });
    sim.fail(FaultRule::new(Operation::Open, FaultRule::PANIC).times(1));
    let mut backend = sim.backend();
    for slot in 0..2 {
        let work = Work::Open(Box::new(creating(name("/file"))));
        backend.submit(Job { slot, kind: Kind::Meta, device: 0, work });
    }
    Platform::Sim(sim.clone()).advance_to_ns(2_000_000_000);
    let mut done = Vec::new();
    backend.reap(&mut done);
    assert!(matches!(done[0], Done { slot: 0, kind: Kind::Meta, outcome: Outcome::Panicked }));
    assert!(matches!(done[1].outcome, Outcome::Opened(Ok(_))));
}

#[test]
fn without_reordering_jobs_come_back_as_submitted() {
    let sim = Sim::with_options(1, SimOptions { reorder: false, ..calm_options() });
    let mut backend = sim.backend();
    for slot in 0..50 {
        let work = Work::Open(Box::new(creating(name(&format!("/{slot}")))));
        backend.submit(Job { slot, kind: Kind::Meta, device: 0, work });
    }
    sim.advance(Duration::from_secs(1));
    let mut done = Vec::new();
    backend.reap(&mut done);
    assert!(done.iter().map(|done| done.slot).eq(0..50));
}

#[test]
fn a_file_that_hangs_holds_up_itself_only() {
    let sim = calm();
    let mut backend = sim.backend();
    let (slow, quick) = (open(&sim, "/slow"), open(&sim, "/quick"));
    sim.hang("/slow");
    let mut memory = *b"bytes";
    for (slot, handle) in [(1, slow), (2, quick)] {
        let work = Work::Write { handle, place: Place::End, from: slices(&mut memory, 5), uncached: None };
        backend.submit(Job { slot, kind: Kind::Write, device: 1, work });
    }
    sim.advance(Duration::from_secs(1));
    let mut done = Vec::new();
    backend.reap(&mut done);
    assert!(done.iter().map(|done| done.slot).eq([2]));
    assert_eq!((sim.in_flight(), sim.next_due()), (1, None));
    sim.release("slow");
    assert_eq!(sim.next_due(), Some(sim.now_ns()));
    backend.reap(&mut done);
    assert_eq!((done.len(), sim.in_flight(), sim.read("/slow").unwrap().len()), (2, 0, 5));
    sim.hang("/slow");
    let work = Work::Close { handle: slow, staged: None, leaving: Leaving::Keep };
    backend.submit(Job { slot: 1, kind: Kind::Close, device: 1, work });
    drop(backend);
    assert_eq!(sim.in_flight(), 0, "who drops a backend drops its jobs");
}

/// Publishes over an old file, the disk dying after so many steps; the steps that a whole run takes.
fn publish_until(options: &SimOptions, step: Option<u64>, check: impl Fn(&Sim, bool)) -> u64 {
    let sim = Sim::with_options(3, options.clone());
    sim.put("/spool/target", b"old");
    if let Some(step) = step {
        sim.crash_at(step);
    }
    let published = (|| {
        let opened = opened(&sim, staging(name("/spool/target"))).ok()?;
        let written = write(&sim, opened.handle, Place::At(0), b"new bytes");
        let staged = opened.staged?;
        if written != (9, None) {
            let _ = close(&sim, opened.handle, Some(staged));
            return None;
        }
        let answer = publish(&sim, opened.handle, staged, true);
        let (ok, staged) = answer.map_or_else(|(_, staged)| (false, Some(staged)), |()| (true, None));
        let closed = close(&sim, opened.handle, staged).is_ok();
        (ok && closed).then_some(())
    })();
    assert_eq!(sim.open_handles(), 0);
    check(&sim, published.is_some());
    sim.steps()
}

#[test]
fn a_cut_at_any_step_of_publishing_leaves_the_old_file_or_the_new_one_whole() {
    for unnamed in [true, false] {
        let options = SimOptions { unnamed, ..calm_options() };
        let steps = publish_until(&options, None, |sim, published| {
            assert!(published);
            assert!(sim.live().keys().eq([b"/spool/target"]), "nothing else is left");
        });
        assert!(steps >= 5);
        for step in 0..=steps {
            publish_until(&options, Some(step), |sim, published| {
                assert_eq!(published, step == steps);
                for seed in 0..200 {
                    let image = sim.power_cut(seed);
                    let target = image.get(&b"/spool/target"[..]).map(Vec::as_slice);
                    let whole = target == Some(b"new bytes") || (!published && target == Some(b"old"));
                    assert!(whole, "step {step}, seed {seed}: {target:?}");
                    let next_life = Sim::from_image(seed, &image);
                    assert_eq!(next_life.live(), image);
                }
            });
        }
    }
}

#[test]
fn one_fault_at_any_place_of_publishing_leaves_no_litter_once_closed() {
    for unnamed in [true, false] {
        let options = SimOptions { unnamed, ..calm_options() };
        for operation in
            [Operation::Open, Operation::Write, Operation::Sync, Operation::Publish, Operation::Stat]
        {
            for after in 0..4 {
                let sim = Sim::with_options(3, options.clone());
                sim.put("/spool/target", b"old");
                sim.fail(FaultRule::new(operation, libc::ENOSPC).after(after).times(1));
                if let Ok(opened) = opened(&sim, staging(name("/spool/target"))) {
                    write(&sim, opened.handle, Place::At(0), b"new bytes");
                    let answer = publish(&sim, opened.handle, opened.staged.unwrap(), true);
                    close(&sim, opened.handle, answer.err().map(|(_, staged)| staged)).unwrap();
                }
                assert!(sim.live().keys().eq([b"/spool/target"]), "{operation:?} {after}: {:?}", sim.live());
                assert_eq!(sim.open_handles(), 0);
            }
        }
    }
}

#[test]
fn create_new_publishes_without_replacing_whatever_the_disk_can_do() {
    for (unnamed, rename_new) in [(true, true), (true, false), (false, true), (false, false)] {
        let sim = Sim::with_options(3, SimOptions { unnamed, rename_new, ..calm_options() });
        for taken in [false, true] {
            let work = OpenWork { create_new: true, ..staging(name("/target")) };
            sim.put("/elsewhere", b"");
            if taken {
                assert_eq!(opened(&sim, work).unwrap_err().errno, libc::EEXIST);
                continue;
            }
            let opened = opened(&sim, work).unwrap();
            publish(&sim, opened.handle, opened.staged.unwrap(), true).unwrap();
            close(&sim, opened.handle, None).unwrap();
            assert_eq!(sim.live().len(), 2);
        }
    }
}

#[test]
fn a_dead_disk_changes_nothing_and_answers_eio() {
    let sim = calm();
    let handle = open(&sim, "/file");
    append(&sim, handle, b"before");
    let before = (sim.live(), sim.power_cut(4), sim.steps());
    sim.freeze();
    assert_eq!(write(&sim, handle, Place::End, b"after").1.unwrap().errno, libc::EIO);
    assert_eq!(sync(&sim, handle, None).unwrap_err().errno, libc::EIO);
    assert_eq!(opened(&sim, reading(name("/file"))).unwrap_err().errno, libc::EIO);
    assert_eq!(
        renamed(&sim, Work::Unlink { name: name("/file"), folder: false }).unwrap_err().errno,
        libc::EIO
    );
    assert_eq!(Platform::Sim(sim.clone()).read_nowait(handle, 0, &mut [0]), Err(libc::EIO));
    assert_eq!(close(&sim, handle, None).unwrap_err().errno, libc::EIO);
    assert_eq!((sim.live(), sim.power_cut(4), sim.steps()), before);
    assert_eq!(sim.open_handles(), 0);
}

#[test]
fn names_are_renamed_removed_and_looked_up() {
    let sim = calm();
    sim.put("/a/one", b"1");
    sim.put("/b/two", b"22");
    let rename = |from: &str, to: &str, replace| {
        renamed(&sim, Work::Rename { from: name(from), to: name(to), replace }).map_err(|fault| fault.errno)
    };
    assert_eq!(rename("/a/one", "/b/two", false), Err(libc::EEXIST));
    assert_eq!(rename("/a/one", "/b", true), Err(libc::EISDIR));
    assert_eq!(rename("/a", "/b/two", true), Err(libc::ENOTDIR));
    assert_eq!(rename("/a/none", "/b/two", true), Err(libc::ENOENT));
    assert_eq!(rename("/a/one", "/b/two/three", true), Err(libc::ENOTDIR));
    rename("/a/one", "/b/two", true).unwrap();
    rename("/b", "/a/b", true).unwrap();
    assert_eq!(sim.read("a/./b/../b/two").unwrap(), b"1");
    let unlink = |path: &str, folder| {
        renamed(&sim, Work::Unlink { name: name(path), folder }).map_err(|fault| fault.errno)
    };
    assert_eq!(unlink("/a/b", true), Err(libc::ENOTEMPTY));
    assert_eq!(unlink("/a/b", false), Err(libc::EISDIR));
    assert_eq!(unlink("/a/b/two", true), Err(libc::ENOTDIR));
    unlink("/a/b/two", false).unwrap();
    unlink("/a/b", true).unwrap();
    assert_eq!(stat(&sim, name("/a"), true).unwrap().mode & libc::S_IFMT, libc::S_IFDIR);
    assert_eq!(stat(&sim, name("/a/b"), true).unwrap_err().errno, libc::ENOENT);
}

#[test]
fn a_rename_is_cut_whole_or_not_at_all() {
    let sim = calm();
    sim.put("/a/from", b"moved");
    sim.put("/b/to", b"old");
    renamed(&sim, Work::Rename { from: name("/a/from"), to: name("/b/to"), replace: true }).unwrap();
    let mut seen = BTreeSet::new();
    for seed in 0..100 {
        let image = sim.power_cut(seed);
        seen.insert((image.get(&b"/a/from"[..]).cloned(), image.get(&b"/b/to"[..]).cloned()));
    }
    let before = (Some(b"moved".to_vec()), Some(b"old".to_vec()));
    let after = (None, Some(b"moved".to_vec()));
    assert_eq!(seen, BTreeSet::from([before, after]));
}

#[test]
fn an_unlinked_file_lives_on_for_those_who_have_it_open() {
    let sim = calm();
    sim.put("/file", b"bytes");
    let handle = opened(&sim, reading(name("/file"))).unwrap().handle;
    renamed(&sim, Work::Unlink { name: name("/file"), folder: false }).unwrap();
    assert_eq!(fill(&sim, handle, 0, 9).0, b"bytes");
    assert_eq!(sim.read("/file"), None);
    close(&sim, handle, None).unwrap();
    assert_eq!(cuts(&sim, "/file"), BTreeSet::from([None, Some(b"bytes".to_vec())]));
}

#[test]
fn folders_are_refused_and_held_as_on_a_real_disk() {
    let sim = calm();
    sim.put("/spool/inner/file", b"bytes");
    let platform = Platform::Sim(sim.clone());
    assert_eq!(opened(&sim, reading(name("/spool"))).unwrap_err().errno, libc::EISDIR);
    assert_eq!(opened(&sim, creating(name("/spool"))).unwrap_err().errno, libc::EISDIR);
    let folder = platform.open_folder(&name("/spool")).unwrap();
    let within = |path: &str| Name { beneath: Some(folder.clone()), ..name(path) };
    let handle = opened(&sim, reading(within("inner/file"))).unwrap().handle;
    assert_eq!(opened(&sim, reading(within("../spool/inner/file"))).unwrap_err().errno, libc::EXDEV);
    match outcome(&sim, Kind::Meta, Work::OpenFolder { name: within("inner") }) {
        Outcome::Folder(inner) => assert_eq!(sim.open_handles(), 3, "{inner:?}"),
        other => panic!("{other:?}"),
    }
    close(&sim, handle, None).unwrap();
    assert_eq!(sim.open_handles(), 1);
    drop(folder);
    assert_eq!(sim.open_handles(), 0);
}

#[test]
fn reading_without_waiting_finds_bytes_or_says_again() {
    let sim = Sim::new(8);
    sim.put("/file", b"bytes");
    let handle = opened(&sim, reading(name("/file"))).unwrap().handle;
    let platform = Platform::Sim(sim.clone());
    let mut memory = [0; 16];
    let answers: BTreeSet<_> = (0..200).map(|_| platform.read_nowait(handle, 0, &mut memory)).collect();
    assert!(answers.contains(&Err(libc::EAGAIN)) && answers.contains(&Ok(5)), "{answers:?}");
    assert!(!answers.contains(&Ok(0)));
    sim.hang("/file");
    assert_eq!(platform.read_nowait(handle, 0, &mut memory), Err(libc::EAGAIN));
}

#[test]
fn a_stray_handle_is_a_bad_descriptor() {
    let sim = calm();
    let handle = open(&sim, "/file");
    close(&sim, handle, None).unwrap();
    assert_eq!(close(&sim, handle, None).unwrap_err().errno, libc::EBADF);
    assert_eq!(fill(&sim, Handle(3), 0, 1).2.unwrap().errno, libc::EBADF);
    assert!(handle.0 > 1 << 20, "no number that a real descriptor has");
}
