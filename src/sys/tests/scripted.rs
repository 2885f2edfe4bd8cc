//! A disk that answers by a script, for what no real disk does on demand.

use std::cell::RefCell;
use std::collections::VecDeque;
use std::ffi::{CStr, CString};

use crate::job::handles::Lock;
use crate::job::names::{Batch, Cursor, Times};
use crate::job::*;
use crate::sys::cache::CacheDisk;
use crate::sys::call::{Answer, Disk, Facts, Spot};
use crate::sys::handles::HandleDisk;
use crate::sys::names::NameDisk;

/// Gives its answers in their order, and keeps a note of each call.
#[derive(Debug, Default)]
pub(super) struct Scripted {
    pub(super) answers: RefCell<VecDeque<Answer<usize>>>,
    pub(super) calls: RefCell<Vec<String>>,
}

impl Scripted {
    pub(super) fn new(answers: impl IntoIterator<Item = Answer<usize>>) -> Self {
        Self { answers: RefCell::new(answers.into_iter().collect()), calls: RefCell::default() }
    }

    pub(super) fn calls(&self) -> Vec<String> {
        assert!(self.answers.borrow().is_empty(), "the script was not played to its end");
        self.calls.take()
    }

    fn answer(&self, call: String) -> Answer<usize> {
        self.calls.borrow_mut().push(call);
        self.answers.borrow_mut().pop_front().expect("one more call than the script has")
    }
}

impl Disk for Scripted {
    fn locate(&self, name: &Name) -> Answer<Spot> {
        Ok(Spot { folder: None, path: name.path.clone() })
    }

    fn read(&self, _: Handle, into: &Slices, offset: u64) -> Answer<usize> {
        self.answer(format!("read {} at {offset}", into.bytes()))
    }

    fn write(&self, _: Handle, from: &Slices, place: Place) -> Answer<usize> {
        self.answer(format!("write {} {place:?}", from.bytes()))
    }

    fn sync_data(&self, _: Handle) -> Answer<()> {
        self.answer("sync".into()).map(drop)
    }

    fn truncate(&self, _: Handle, size: u64) -> Answer<()> {
        self.answer(format!("truncate {size}")).map(drop)
    }

    fn close(&self, _: Handle) -> Answer<()> {
        self.answer("close".into()).map(drop)
    }

    fn link(&self, _: &Spot, _: &Spot) -> Answer<()> {
        self.answer("link".into()).map(drop)
    }

    fn rename(&self, _: &Spot, _: &Spot, replace: bool) -> Answer<()> {
        self.answer(format!("rename, replace: {replace}")).map(drop)
    }

    fn unlink(&self, spot: &Spot, _: bool) -> Answer<()> {
        self.answer(format!("unlink {}", spot.path.to_string_lossy())).map(drop)
    }

    fn pause(&self) {
        self.calls.borrow_mut().push("pause".into());
    }

    fn parent(&self, _: &Name) -> Answer<(Folder, CString)> {
        panic!("a script is about transfers: no such step is in one")
    }

    fn open_folder(&self, _: &Name) -> Answer<Folder> {
        panic!("a script is about transfers: no such step is in one")
    }

    fn open(&self, _: &OpenWork) -> Answer<Handle> {
        panic!("a script is about transfers: no such step is in one")
    }

    fn open_unnamed(&self, _: &Folder, _: &CStr, _: &OpenWork) -> Answer<Handle> {
        panic!("a script is about transfers: no such step is in one")
    }

    fn open_hidden(&self, _: &Folder, _: &CStr, _: &CStr, _: &OpenWork) -> Answer<Handle> {
        panic!("a script is about transfers: no such step is in one")
    }

    fn facts(&self, _: Handle) -> Answer<Facts> {
        panic!("a script is about transfers: no such step is in one")
    }

    fn settle(&self, _: Handle, _: bool, _: u64) -> Answer<()> {
        panic!("a script is about transfers: no such step is in one")
    }

    fn sync_folder(&self, _: &Folder) -> Answer<()> {
        panic!("a script is about transfers: no such step is in one")
    }

    fn allocate(&self, _: Handle, _: u64, _: u64, _: bool) -> Answer<()> {
        panic!("a script is about transfers: no such step is in one")
    }

    fn mask(&self) -> u32 {
        panic!("a script is about transfers: no such step is in one")
    }

    fn set_mode(&self, _: Handle, _: u32) -> Answer<()> {
        panic!("a script is about transfers: no such step is in one")
    }

    fn link_unnamed(&self, _: Handle, _: &Spot) -> Answer<()> {
        panic!("a script is about transfers: no such step is in one")
    }

    fn stat(&self, _: &Spot, _: bool) -> Answer<Stat> {
        panic!("a script is about transfers: no such step is in one")
    }

    fn random(&self) -> u64 {
        panic!("a script is about transfers: no such step is in one")
    }
}

impl CacheDisk for Scripted {
    fn read_uncached(&self, _: Handle, into: &Slices, offset: u64) -> Answer<usize> {
        self.answer(format!("read uncached {} at {offset}", into.bytes()))
    }

    fn write_uncached(&self, _: Handle, from: &Slices, place: Place) -> Answer<usize> {
        self.answer(format!("write uncached {} {place:?}", from.bytes()))
    }

    fn write_end(&self, _: Handle) -> Answer<u64> {
        self.answer("end".into()).map(|end| end as u64)
    }

    fn begin_writeback(&self, _: Handle, start: u64, bytes: u64) -> Answer<()> {
        self.answer(format!("begin {bytes} at {start}")).map(drop)
    }

    fn end_writeback(&self, _: Handle, start: u64, bytes: u64) -> Answer<()> {
        self.answer(format!("wait for {bytes} at {start}")).map(drop)
    }

    fn forget(&self, _: Handle, start: u64, bytes: u64) {
        self.calls.borrow_mut().push(format!("forget {bytes} at {start}"));
    }
}

impl HandleDisk for Scripted {
    fn replace(&self, _: Handle, _: Handle) -> Answer<()> {
        panic!("a script is about transfers: no such step is in one")
    }

    fn open_same(&self, _: Handle, _: &OpenWork) -> Answer<Handle> {
        panic!("a script is about transfers: no such step is in one")
    }

    fn set_append(&self, _: Handle) -> Answer<()> {
        panic!("a script is about transfers: no such step is in one")
    }

    fn lock_range(&self, _: Handle, _: Lock) -> Answer<()> {
        panic!("a script is about transfers: no such step is in one")
    }
}

impl NameDisk for Scripted {
    fn make_folder(&self, _: &Spot, _: u32) -> Answer<()> {
        panic!("a script is about transfers: no such step is in one")
    }

    fn link_name(&self, _: &Spot, _: &Spot) -> Answer<()> {
        panic!("a script is about transfers: no such step is in one")
    }

    fn make_link(&self, _: &CStr, _: &Spot) -> Answer<()> {
        panic!("a script is about transfers: no such step is in one")
    }

    fn read_link(&self, _: &Spot) -> Answer<Vec<u8>> {
        panic!("a script is about transfers: no such step is in one")
    }

    fn set_mode_of(&self, _: &Spot, _: u32) -> Answer<()> {
        panic!("a script is about transfers: no such step is in one")
    }

    fn set_times_of(&self, _: &Spot, _: Times, _: bool) -> Answer<()> {
        panic!("a script is about transfers: no such step is in one")
    }

    fn open_cursor(&self, _: &Folder) -> Answer<Cursor> {
        panic!("a script is about transfers: no such step is in one")
    }

    fn read_folder(&self, _: &mut Cursor, _: &mut Batch) -> Answer<bool> {
        panic!("a script is about transfers: no such step is in one")
    }
}
