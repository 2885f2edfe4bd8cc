//! Opening: the flags of open(2) become options of efio, and a handle is given out.

use std::ffi::{CStr, CString, OsStr};
use std::os::unix::ffi::{OsStrExt, OsStringExt};
use std::sync::Arc;
use std::time::Duration;

use efio::{CacheMode, Durability, OnFull, OpenOptions, Order};

use crate::desk::{Access, Backing, Notes, Stage};
use crate::failure::{Answer, Failure, fail};
use crate::instance::Instance;
use crate::meet::token;
use crate::stream::Stream;
use crate::world::world;

/// `struct ef_open_options`, checked.
#[derive(Clone, Debug, Default)]
pub(crate) struct Choices {
    pub(crate) flags: i32,
    pub(crate) mode: u32,
    pub(crate) atomic: bool,
    pub(crate) durability: i32,
    pub(crate) retry: bool,
    pub(crate) per_thread: bool,
    pub(crate) uncached: bool,
    pub(crate) retain: bool,
    pub(crate) flush_interval: u64,
    pub(crate) memory_limit: u64,
    pub(crate) write_limit: u64,
    /// Where neither the file nor the instance has a write limit.
    pub(crate) default_limit: u64,
    pub(crate) data: usize,
}

/// `O_TMPFILE` without the `O_DIRECTORY` in it.
const UNNAMED: i32 = libc::O_TMPFILE & !libc::O_DIRECTORY;
/// What efio sets by options, always has on, or has no use for.
const OWN: i32 = libc::O_ACCMODE
    | libc::O_CREAT
    | libc::O_EXCL
    | libc::O_TRUNC
    | libc::O_APPEND
    | libc::O_NONBLOCK
    | libc::O_DIRECT
    | libc::O_CLOEXEC
    | libc::O_NOCTTY;

/// What the flags allow. `EINVAL`: the access mode is none, or the file is to be appended to and not written.
pub(crate) fn access(flags: i32) -> Answer<Access> {
    if flags == libc::O_APPEND {
        return fail(libc::EINVAL);
    }
    let (read, write) = match flags & libc::O_ACCMODE {
        libc::O_RDONLY => (true, false),
        libc::O_WRONLY => (false, true),
        libc::O_RDWR => (true, true),
        _ => return fail(libc::EINVAL),
    };
    Ok(Access { read, write, append: write && flags & libc::O_APPEND != 0 })
}

/// The file is made by other means than its name, or emptied by the open alone: it is opened here and handed over.
pub(crate) fn is_odd(flags: i32) -> bool {
    let emptied = libc::O_RDONLY | libc::O_TRUNC;
    flags & (UNNAMED | libc::O_PATH) != 0 || flags & (libc::O_ACCMODE | libc::O_TRUNC) == emptied
}

/// The options of a file, but for its token.
pub(crate) fn options(choices: &Choices, access: Access) -> OpenOptions {
    let flags = choices.flags;
    let has = |flag: i32| flags & flag == flag;
    let durability = match choices.durability {
        _ if has(libc::O_DSYNC) => Durability::EveryWrite,
        1 => Durability::Interval,
        2 => Durability::OnClose,
        3 => Durability::EveryWrite,
        _ => Durability::None,
    };
    let mut options = OpenOptions::new()
        .posix(true)
        .look_first(true)
        .block_device(!choices.atomic)
        .read(access.read)
        .write(access.write)
        .append(access.append)
        .create(has(libc::O_CREAT))
        .create_new(has(libc::O_CREAT | libc::O_EXCL))
        .truncate(has(libc::O_TRUNC) && access.write && !choices.atomic)
        .mode(choices.mode)
        .custom_flags(flags & !(OWN | UNNAMED | libc::O_PATH))
        .atomic(choices.atomic)
        .durability(durability)
        .on_full(if choices.retry { OnFull::Retry } else { OnFull::Fail })
        .order(if choices.per_thread { Order::PerThread } else { Order::One })
        .cache(if choices.uncached { CacheMode::Uncached } else { CacheMode::Buffered })
        .retain_until_durable(choices.retain);
    if choices.flush_interval > 0 {
        options = options.flush_interval(Duration::from_micros(choices.flush_interval));
    }
    if let Ok(bytes @ 1..) = usize::try_from(choices.memory_limit) {
        options = options.memory_limit(bytes);
    }
    options
}

/// The path from the root: a thread that opens it later may find the process in another folder.
fn from_the_root(path: &CStr) -> CString {
    let relative = path.to_bytes().first() != Some(&b'/');
    let folder = relative.then(std::env::current_dir).and_then(Result::ok);
    let joined = folder.map(|folder| folder.join(OsStr::from_bytes(path.to_bytes())));
    let joined = joined.and_then(|joined| CString::new(joined.into_os_string().into_vec()).ok());
    joined.unwrap_or_else(|| path.to_owned())
}

/// `ef_open` and `ef_open_with`.
pub(crate) fn open(instance: &Arc<Instance>, path: Option<&CStr>, choices: &Choices) -> Answer<i32> {
    let Some(path) = path.filter(|path| !path.is_empty()) else { return fail(libc::EINVAL) };
    let access = access(choices.flags)?;
    if instance.is_ending() {
        return fail(libc::ESHUTDOWN);
    }
    if choices.atomic && is_odd(choices.flags) {
        return fail(libc::EINVAL);
    }
    let options = options(choices, access);
    let (handle, cell) = instance.world.claim()?;
    let mut desk = cell.desk();
    let notes = Notes {
        path: from_the_root(path),
        flags: choices.flags,
        mode: choices.mode,
        data: choices.data,
        seat: instance.seat,
        write_limit: (choices.write_limit > 0).then_some(choices.write_limit),
        default_limit: choices.default_limit,
        pages: if choices.memory_limit > 0 { choices.memory_limit } else { instance.file_memory },
        ..Notes::default()
    };
    desk.begin(Arc::clone(instance), access, notes);
    let options = options.token(token(handle, desk.life));
    let begun = if is_odd(choices.flags) {
        Stream::start(instance, handle, &desk).map(Backing::Stream).map_err(Failure::Errno)
    } else {
        let path = OsStr::from_bytes(path.to_bytes());
        instance.efio.ef_open(path, &options).map(Backing::File).map_err(Failure::from)
    };
    match begun {
        Ok(backing) => {
            desk.backing = backing;
            Ok(handle as i32)
        }
        Err(failure) => {
            desk.undo();
            drop(desk);
            crate::bell::lock(&instance.world.numbers).give_back(handle);
            Err(failure)
        }
    }
}

/// `ef_open_status`.
pub(crate) fn status(handle: i32) -> Answer<i32> {
    let Some((world, cell)) = world().and_then(|world| Some((world, world.cells.get(handle)?))) else {
        return fail(libc::EBADF);
    };
    for pumped in [false, true] {
        let mut desk = cell.desk();
        match desk.stage {
            Stage::Open => return Ok(handle),
            Stage::Ended if desk.notes.unopened => {
                let errno = desk.notes.answer;
                let error = desk.notes.error.clone();
                desk.notes.asked = true;
                desk.notes.news = 0;
                world.free_if_done(&mut desk, handle as u32);
                return Err(error.map_or(Failure::Errno(errno), Failure::Efio));
            }
            Stage::Opening if !pumped => {
                let instance = Instance::of(&desk);
                drop(desk);
                if let Some(instance) = instance {
                    instance.pump_unless_pumped();
                }
            }
            Stage::Opening => return fail(libc::EAGAIN),
            _ => return fail(libc::EBADF),
        }
    }
    fail(libc::EAGAIN)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_access_mode_is_known_and_nothing_but_append_is_none() {
        assert_eq!(access(libc::O_WRONLY).unwrap(), Access { read: false, write: true, append: false });
        let log = libc::O_TRUNC | libc::O_APPEND | libc::O_WRONLY | libc::O_CREAT;
        assert_eq!(access(log).unwrap(), Access { read: false, write: true, append: true });
        assert_eq!(
            access(libc::O_APPEND | libc::O_CLOEXEC).unwrap(),
            Access { read: true, ..Access::default() }
        );
        for wrong in [libc::O_APPEND, libc::O_ACCMODE] {
            assert_eq!(access(wrong).unwrap_err().errno(), libc::EINVAL);
        }
    }
}
