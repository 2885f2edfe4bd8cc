//! A file system in memory, mounted by FUSE, that fails or holds back the calls that a test names.
#![allow(unsafe_code, reason = "takes the mount away at the end, whatever still hangs in it")]
#![allow(dead_code, reason = "each test uses a part of it")]
#![allow(
    clippy::unwrap_used,
    clippy::too_many_arguments,
    reason = "a file system of a test, as its trait has it"
)]

use std::collections::HashMap;
use std::ffi::{CString, OsStr};
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use fuser::{
    BackgroundSession, BsdFileFlags, Errno, FileAttr, FileHandle, FileType, Filesystem, FopenFlags,
    Generation, INodeNo, LockOwner, OpenFlags, ReplyAttr, ReplyCreate, ReplyData, ReplyEmpty, ReplyEntry,
    ReplyOpen, ReplyWrite, Request, TimeOrNow, WriteFlags,
};

/// What the kernel asks of a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Asked {
    Open,
    Read,
    Write,
    Sync,
    /// At a close(2).
    Flush,
}

/// What becomes of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Refused with this errno.
    Fails(i32),
    /// No answer until [`Disk::release`].
    Hangs,
}

#[derive(Debug)]
struct Node {
    name: String,
    data: Vec<u8>,
}

type Held = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Inside {
    /// Inode number less 2.
    nodes: Vec<Node>,
    fates: HashMap<(String, Asked), Fate>,
    counts: HashMap<(String, Asked), u32>,
    held: Vec<Held>,
}

/// The test's hand on the file system.
#[derive(Clone, Default)]
pub struct Disk(Arc<Mutex<Inside>>);

impl Disk {
    /// From now on such a call on the file of this name has this fate.
    pub fn ordain(&self, name: &str, asked: Asked, fate: Fate) {
        self.0.lock().unwrap().fates.insert((name.into(), asked), fate);
    }

    /// Such calls are well again.
    pub fn heal(&self, name: &str, asked: Asked) {
        self.0.lock().unwrap().fates.remove(&(name.into(), asked));
    }

    /// Answers all that hangs; nothing hangs from now on.
    pub fn release(&self) {
        let held = {
            let mut inside = self.0.lock().unwrap();
            inside.fates.retain(|_, fate| *fate != Fate::Hangs);
            std::mem::take(&mut inside.held)
        };
        held.into_iter().for_each(|answer| answer());
    }

    /// How often such a call came.
    pub fn count(&self, name: &str, asked: Asked) -> u32 {
        self.0.lock().unwrap().counts.get(&(name.into(), asked)).copied().unwrap_or(0)
    }

    /// Whether something hangs now.
    pub fn hangs(&self) -> bool {
        !self.0.lock().unwrap().held.is_empty()
    }

    /// How many calls hang now.
    pub fn held(&self) -> usize {
        self.0.lock().unwrap().held.len()
    }

    /// What is in a file.
    pub fn contents(&self, name: &str) -> Vec<u8> {
        let inside = self.0.lock().unwrap();
        inside.nodes.iter().find(|node| node.name == name).map(|node| node.data.clone()).unwrap_or_default()
    }

    pub fn put(&self, name: &str, data: Vec<u8>) {
        self.0.lock().unwrap().nodes.push(Node { name: name.into(), data });
    }

    /// Carries the call out now, later, or not at all; `answer` gets the errno of a refusal.
    fn meet(
        &self,
        ino: INodeNo,
        asked: Asked,
        answer: impl FnOnce(&mut Inside, Option<Errno>) + Send + 'static,
    ) {
        let mut inside = self.0.lock().unwrap();
        let Some(name) = inside.nodes.get(place(ino)).map(|node| node.name.clone()) else {
            return answer(&mut inside, Some(Errno::ENOENT));
        };
        let key = (name, asked);
        *inside.counts.entry(key.clone()).or_default() += 1;
        match inside.fates.get(&key) {
            Some(Fate::Fails(errno)) => {
                let errno = Errno::from_i32(*errno);
                answer(&mut inside, Some(errno));
            }
            Some(Fate::Hangs) => {
                let disk = self.clone();
                inside.held.push(Box::new(move || answer(&mut disk.0.lock().unwrap(), None)));
            }
            None => answer(&mut inside, None),
        }
    }
}

fn place(ino: INodeNo) -> usize {
    (ino.0 as usize).wrapping_sub(2)
}

fn attributes(inside: &Inside, ino: INodeNo) -> Option<FileAttr> {
    let (kind, perm, size) = match inside.nodes.get(place(ino)) {
        _ if ino == INodeNo::ROOT => (FileType::Directory, 0o755, 0),
        Some(node) => (FileType::RegularFile, 0o644, node.data.len() as u64),
        None => return None,
    };
    let (uid, gid, time) = (0, 0, UNIX_EPOCH);
    let blocks = size.div_ceil(512);
    Some(FileAttr {
        ino,
        size,
        blocks,
        atime: time,
        mtime: time,
        ctime: time,
        crtime: time,
        kind,
        perm,
        nlink: 1,
        uid,
        gid,
        rdev: 0,
        blksize: 4096,
        flags: 0,
    })
}

impl Filesystem for Disk {
    fn lookup(&self, _: &Request, _: INodeNo, name: &OsStr, reply: ReplyEntry) {
        let inside = self.0.lock().unwrap();
        let found = inside.nodes.iter().position(|node| OsStr::new(&node.name) == name);
        match found.and_then(|place| attributes(&inside, INodeNo(place as u64 + 2))) {
            Some(attributes) => reply.entry(&Duration::ZERO, &attributes, Generation(0)),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn getattr(&self, _: &Request, ino: INodeNo, _: Option<FileHandle>, reply: ReplyAttr) {
        match attributes(&self.0.lock().unwrap(), ino) {
            Some(attributes) => reply.attr(&Duration::ZERO, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn setattr(
        &self,
        _: &Request,
        ino: INodeNo,
        _: Option<u32>,
        _: Option<u32>,
        _: Option<u32>,
        size: Option<u64>,
        _: Option<TimeOrNow>,
        _: Option<TimeOrNow>,
        _: Option<SystemTime>,
        _: Option<FileHandle>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<SystemTime>,
        _: Option<BsdFileFlags>,
        reply: ReplyAttr,
    ) {
        let mut inside = self.0.lock().unwrap();
        if let (Some(size), Some(node)) = (size, inside.nodes.get_mut(place(ino))) {
            node.data.resize(size as usize, 0);
        }
        match attributes(&inside, ino) {
            Some(attributes) => reply.attr(&Duration::ZERO, &attributes),
            None => reply.error(Errno::ENOENT),
        }
    }

    fn create(&self, _: &Request, _: INodeNo, name: &OsStr, _: u32, _: u32, _: i32, reply: ReplyCreate) {
        let ino = {
            let mut inside = self.0.lock().unwrap();
            inside.nodes.push(Node { name: name.to_string_lossy().into_owned(), data: Vec::new() });
            INodeNo(inside.nodes.len() as u64 + 1)
        };
        self.meet(ino, Asked::Open, move |inside, refused| match (refused, attributes(inside, ino)) {
            (None, Some(attributes)) => {
                let flags = FopenFlags::empty();
                reply.created(&Duration::ZERO, &attributes, Generation(0), FileHandle(0), flags);
            }
            (refused, _) => reply.error(refused.unwrap_or(Errno::ENOENT)),
        });
    }

    fn open(&self, _: &Request, ino: INodeNo, _: OpenFlags, reply: ReplyOpen) {
        self.meet(ino, Asked::Open, move |_, refused| match refused {
            None => reply.opened(FileHandle(0), FopenFlags::empty()),
            Some(errno) => reply.error(errno),
        });
    }

    fn read(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        size: u32,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyData,
    ) {
        self.meet(ino, Asked::Read, move |inside, refused| match refused {
            None => {
                let data = &inside.nodes[place(ino)].data;
                let start = data.len().min(offset as usize);
                reply.data(&data[start..data.len().min(start + size as usize)]);
            }
            Some(errno) => reply.error(errno),
        });
    }

    fn write(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        data: &[u8],
        _: WriteFlags,
        _: OpenFlags,
        _: Option<LockOwner>,
        reply: ReplyWrite,
    ) {
        let data = data.to_vec();
        self.meet(ino, Asked::Write, move |inside, refused| match refused {
            None => {
                let (file, start) = (&mut inside.nodes[place(ino)].data, offset as usize);
                file.resize(file.len().max(start + data.len()), 0);
                file[start..start + data.len()].copy_from_slice(&data);
                reply.written(data.len() as u32);
            }
            Some(errno) => reply.error(errno),
        });
    }

    fn fallocate(
        &self,
        _: &Request,
        ino: INodeNo,
        _: FileHandle,
        offset: u64,
        length: u64,
        mode: i32,
        reply: ReplyEmpty,
    ) {
        let end = (offset + length) as usize;
        if let Some(node) = self.0.lock().unwrap().nodes.get_mut(place(ino)) {
            let size = if mode == 0 { node.data.len().max(end) } else { node.data.len() };
            node.data.resize(size, 0);
        }
        reply.ok();
    }

    fn fsync(&self, _: &Request, ino: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        self.meet(ino, Asked::Sync, move |_, refused| finish(refused, reply));
    }

    fn fsyncdir(&self, _: &Request, _: INodeNo, _: FileHandle, _: bool, reply: ReplyEmpty) {
        reply.ok();
    }

    fn flush(&self, _: &Request, ino: INodeNo, _: FileHandle, _: LockOwner, reply: ReplyEmpty) {
        self.meet(ino, Asked::Flush, move |_, refused| finish(refused, reply));
    }
}

/// The end of a call without a result.
fn finish(refused: Option<Errno>, reply: ReplyEmpty) {
    match refused {
        None => reply.ok(),
        Some(errno) => reply.error(errno),
    }
}

/// A mounted file system; dropped, it answers what hangs and is gone.
pub struct Mounted {
    pub disk: Disk,
    folder: tempfile::TempDir,
    session: Option<BackgroundSession>,
}

impl Mounted {
    /// # Errors
    ///
    /// Why there can be no such file system here.
    pub fn new() -> std::io::Result<Self> {
        let (disk, folder) = (Disk::default(), tempfile::tempdir()?);
        let session = fuser::spawn_mount(disk.clone(), folder.path(), &fuser::Config::default())?;
        Ok(Self { disk, folder, session: Some(session) })
    }

    /// As `new`; `None`, and said so, where none can be mounted.
    #[allow(dead_code, reason = "not every test that mounts one can do without")]
    pub fn or_skip() -> Option<Self> {
        Self::new()
            .map_err(|error| {
                crate::support::skip(format_args!("no FUSE file system can be mounted here: {error}"));
            })
            .ok()
    }

    pub fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }
}

fn umount(path: &Path, flags: i32) {
    let path = CString::new(path.as_os_str().as_bytes()).unwrap();
    // SAFETY: the path ends with a zero byte and outlives the call.
    unsafe { libc::umount2(path.as_ptr(), flags) };
}

impl Drop for Mounted {
    fn drop(&mut self) {
        self.disk.release();
        // What is still asked is refused from here on: a thread that waited for an answer from its own process, while
        // that ends, would keep it for ever.
        umount(self.folder.path(), libc::MNT_FORCE);
        umount(self.folder.path(), libc::MNT_DETACH);
        drop(self.session.take());
    }
}
