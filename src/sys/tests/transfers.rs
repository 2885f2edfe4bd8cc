//! Reading, writing, syncing, closing: interruptions and short counts do not come through.

use std::fs;

use super::scripted::Scripted;
use super::*;

const HANDLE: Handle = Handle(3);

fn faulted(errno: i32) -> Option<Fault> {
    Some(Fault::new(crate::error::Operation::Write, errno))
}

#[test]
fn a_write_goes_on_from_where_it_stopped() {
    let disk = Scripted::new([Ok(4), Err(libc::EINTR), Ok(1), Ok(5)]);
    assert_eq!(write(&disk, HANDLE, Place::At(100), &[0; 10]), (10, None));
    let calls = ["write 10 At(100)", "write 6 At(104)", "write 6 At(104)", "write 5 At(105)"];
    assert_eq!(disk.calls(), calls);
}

#[test]
fn an_append_goes_on_at_the_end_wherever_that_is() {
    let disk = Scripted::new([Ok(4), Ok(6)]);
    assert_eq!(write(&disk, HANDLE, Place::End, &[0; 10]), (10, None));
    assert_eq!(disk.calls(), ["write 10 End", "write 6 End"]);
}

#[test]
fn a_fault_tells_the_bytes_before_it() {
    let disk = Scripted::new([Ok(4), Err(libc::ENOSPC)]);
    assert_eq!(write(&disk, HANDLE, Place::At(0), &[0; 10]), (4, faulted(libc::ENOSPC)));
    disk.calls();
}

#[test]
fn three_writes_of_nothing_in_a_row_are_a_fault() {
    let disk = Scripted::new([Ok(0), Ok(0), Ok(1), Ok(0), Ok(0), Ok(0)]);
    assert_eq!(write(&disk, HANDLE, Place::At(0), &[0; 10]), (1, faulted(libc::EIO)));
    disk.calls();
}

#[test]
fn writing_nothing_asks_nothing_of_the_disk() {
    let disk = Scripted::default();
    assert_eq!(write(&disk, HANDLE, Place::At(0), &[]), (0, None));
    assert_eq!(fill(&disk, HANDLE, 0, 0), (vec![], false, None));
}

#[test]
fn a_write_beyond_the_last_offset_is_refused() {
    let disk = Scripted::new([Ok(4)]);
    let (bytes, fault) = write(&disk, HANDLE, Place::At(u64::MAX - 3), &[0; 10]);
    assert_eq!((bytes, fault), (4, faulted(libc::EFBIG)));
    let bench = Bench::new();
    let opened = bench.open(creating(bench.name("file"))).unwrap();
    let (bytes, fault) = write(&bench.disk, opened.handle, Place::At(1 << 63), b"x");
    assert_eq!((bytes, fault), (0, faulted(libc::EFBIG)));
    bench.close(opened);
}

#[test]
fn only_a_read_of_nothing_tells_the_end() {
    let disk = Scripted::new([Ok(7), Err(libc::EINTR), Ok(0)]);
    let (bytes, end, fault) = fill(&disk, HANDLE, 50, 10);
    assert_eq!((bytes.len(), end, fault), (7, true, None));
    assert_eq!(disk.calls(), ["read 10 at 50", "read 3 at 57", "read 3 at 57"]);
    let disk = Scripted::new([Ok(7), Ok(3)]);
    let (bytes, end, fault) = fill(&disk, HANDLE, 50, 10);
    assert_eq!((bytes.len(), end, fault), (10, false, None), "a full read tells nothing of the end");
    disk.calls();
}

#[test]
fn a_read_fault_lies_after_the_bytes() {
    let disk = Scripted::new([Ok(7), Err(libc::EIO)]);
    let (bytes, end, fault) = fill(&disk, HANDLE, 0, 10);
    assert_eq!((bytes.len(), end, fault.unwrap().errno), (7, false, libc::EIO));
    disk.calls();
}

#[test]
fn again_means_again_after_a_pause() {
    let disk = Scripted::new([Err(libc::EAGAIN), Err(libc::EINTR), Ok(1)]);
    assert_eq!(write(&disk, HANDLE, Place::At(0), b"x"), (1, None));
    assert_eq!(disk.calls(), ["write 1 At(0)", "pause", "write 1 At(0)", "write 1 At(0)"]);
}

#[test]
fn a_disk_that_always_says_again_is_given_up_at_last() {
    let disk = Scripted::new(vec![Err(libc::EAGAIN); 6001]);
    assert_eq!(write(&disk, HANDLE, Place::At(0), b"x"), (0, faulted(libc::EAGAIN)));
    disk.calls();
}

#[test]
fn a_failed_sync_is_never_repeated() {
    for errno in [libc::EIO, libc::ENOSPC, libc::EAGAIN] {
        let disk = Scripted::new([Err(libc::EINTR), Err(errno)]);
        assert_eq!(sync(&disk, HANDLE, None).unwrap_err().errno, errno);
        assert_eq!(disk.calls(), ["sync", "sync"]);
    }
}

#[test]
fn a_descriptor_is_closed_once() {
    for (answer, told) in [
        (Ok(0), Ok(())),
        (Err(libc::EINTR), Ok(())),
        (Err(libc::EIO), Err(libc::EIO)),
        (Err(libc::EAGAIN), Err(libc::EAGAIN)),
    ] {
        let disk = Scripted::new([answer]);
        assert_eq!(close(&disk, HANDLE, None).map_err(|fault| fault.errno), told);
        assert_eq!(disk.calls(), ["close"]);
    }
}

#[test]
fn where_a_rename_cannot_refuse_to_replace_a_link_does() {
    let name = || plain(Path::new("/x"));
    let work = || Work::Rename { from: name(), to: name(), replace: false };
    let disk = Scripted::new([Err(libc::EINVAL), Ok(0), Ok(0)]);
    renamed(&disk, work()).unwrap();
    assert_eq!(disk.calls(), ["rename, replace: false", "link", "unlink /x"]);
    let disk = Scripted::new([Err(libc::ENOSYS), Err(libc::EEXIST)]);
    assert_eq!(renamed(&disk, work()).unwrap_err().errno, libc::EEXIST);
    disk.calls();
    let disk = Scripted::new([Err(libc::EINVAL), Err(libc::EPERM)]);
    assert_eq!(renamed(&disk, work()).unwrap_err().errno, libc::EINVAL, "a folder cannot be linked");
    disk.calls();
}

#[test]
fn bytes_go_to_the_file_and_come_back() {
    let bench = Bench::new();
    let opened = bench.open(creating(bench.name("file"))).unwrap();
    let text: Vec<u8> = (0..100_000_u32).map(|i| i as u8).collect();
    assert_eq!(write(&bench.disk, opened.handle, Place::At(1000), &text), (text.len(), None));
    let (bytes, end, fault) = fill(&bench.disk, opened.handle, 0, 200_000);
    assert_eq!((bytes.len(), end, fault), (101_000, true, None));
    assert!(bytes[..1000].iter().all(|&byte| byte == 0) && bytes[1000..] == text);
    sync(&bench.disk, opened.handle, Some(bench.name("file"))).unwrap();
    assert_eq!(changed(&bench.disk, Work::Size { handle: opened.handle }), Ok(101_000));
    changed(&bench.disk, Work::Truncate { handle: opened.handle, size: 10 }).unwrap();
    assert_eq!(fs::metadata(bench.path("file")).unwrap().len(), 10);
    bench.close(opened);
}

#[test]
fn an_append_lands_behind_what_others_wrote() {
    let bench = Bench::new();
    let opened = bench.open(OpenWork { append: true, ..creating(bench.name("log")) }).unwrap();
    fs::write(bench.path("log"), "theirs ").unwrap();
    assert_eq!(write(&bench.disk, opened.handle, Place::End, b"ours"), (4, None));
    assert_eq!(fs::read(bench.path("log")).unwrap(), b"theirs ours");
    bench.close(opened);
}

#[test]
fn offsets_beyond_4_gib_work() {
    let bench = Bench::new();
    let opened = bench.open(creating(bench.name("sparse"))).unwrap();
    assert_eq!(write(&bench.disk, opened.handle, Place::At(5 << 30), b"far"), (3, None));
    assert_eq!(fill(&bench.disk, opened.handle, (5 << 30) + 1, 9), (b"ar".to_vec(), true, None));
    bench.close(opened);
}

#[test]
fn room_is_reserved_with_and_without_a_size() {
    let bench = Bench::new();
    let opened = bench.open(creating(bench.name("file"))).unwrap();
    let reserve = |keep_size| {
        let work = Work::Preallocate { handle: opened.handle, offset: 0, bytes: 8192, keep_size };
        changed(&bench.disk, work).map_err(|fault| fault.errno)
    };
    match reserve(true) {
        Ok(_) => assert_eq!(fs::metadata(bench.path("file")).unwrap().len(), 0),
        Err(errno) => assert_eq!(errno, libc::EOPNOTSUPP),
    }
    reserve(false).unwrap();
    assert_eq!(fs::metadata(bench.path("file")).unwrap().len(), 8192);
    bench.close(opened);
}

#[test]
fn a_full_device_is_a_fault_with_its_errno() {
    let handle = Handle(std::os::fd::IntoRawFd::into_raw_fd(
        fs::OpenOptions::new().write(true).open("/dev/full").unwrap(),
    ));
    // That it is not in doubt either: nothing was added.
    for place in [Place::End, Place::SyncedEnd] {
        assert_eq!(write(&Os::new(), handle, place, b"x"), (0, faulted(libc::ENOSPC)));
    }
    close(&Os::new(), handle, None).unwrap();
}
