//! A supervisor under seccomp user notification: it judges the system calls of a watched thread before they run.
//!
//! The watched thread installs a filter that stops each of its calls until the supervisor has answered. The supervisor
//! knows in which section the thread is: in FREE everything passes; in LOOP no call on a path, and none on a descriptor of
//! a regular file or a folder but a read that does not wait (preadv2 with RWF_NOWAIT); in READ_WRITE nothing passes but
//! that read, a futex wake, and reads and writes of what is no file (the event descriptor).
#![allow(unsafe_code, reason = "installs a filter and answers the kernel's notifications")]
#![allow(dead_code, reason = "each test uses a part of it")]

use std::io::{self, Write};
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};

/// Anything goes: setting up, ending, a panic on its way out.
pub const FREE: u32 = 0;
/// The thread is an event loop: it never waits for a disk.
pub const LOOP: u32 = 1;
/// The thread is in a read or a write: it maps nothing, starts nothing, waits for nobody.
pub const READ_WRITE: u32 = 2;

/// A call as the kernel tells it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default)]
pub struct Call {
    pub number: i32,
    arch: u32,
    instruction: u64,
    pub arguments: [u64; 6],
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Notification {
    id: u64,
    pid: u32,
    flags: u32,
    call: Call,
}

#[repr(C)]
#[derive(Clone, Copy, Default)]
struct Answer {
    id: u64,
    value: i64,
    error: i32,
    flags: u32,
}

const RECEIVE: libc::c_ulong = 0xC050_2100;
const SEND: libc::c_ulong = 0xC018_2101;
const CONTINUE: u32 = 1;
const NEW_LISTENER: libc::c_ulong = 1 << 3;
const SET_MODE_FILTER: libc::c_ulong = 1;
const RETURN_ALLOW: u32 = 0x7fff_0000;
const RETURN_NOTIFY: u32 = 0x7fc0_0000;
const RWF_NOWAIT: u64 = 8;

/// Calls that the filter lets pass unseen: the end of a thread, signals, and the message that carries the listener away.
const UNSEEN: [libc::c_long; 5] = [
    libc::SYS_exit,
    libc::SYS_exit_group,
    libc::SYS_rt_sigreturn,
    libc::SYS_rt_sigprocmask,
    libc::SYS_sendmsg,
];

macro_rules! calls {
    ($($name:ident)*) => { &[$((libc::$name, stringify!($name))),*] };
}

type Table = &'static [(libc::c_long, &'static str)];

/// Calls that take a path.
const PATHS: Table = calls![
    SYS_openat SYS_openat2 SYS_newfstatat SYS_statx SYS_faccessat SYS_faccessat2 SYS_readlinkat SYS_renameat
    SYS_renameat2 SYS_linkat SYS_symlinkat SYS_unlinkat SYS_mkdirat SYS_mknodat SYS_fchmodat SYS_fchownat SYS_truncate
    SYS_utimensat SYS_statfs SYS_chdir SYS_chroot SYS_mount SYS_umount2 SYS_execve SYS_execveat SYS_inotify_add_watch
    SYS_name_to_handle_at SYS_setxattr SYS_getxattr SYS_listxattr SYS_removexattr SYS_sync
];

/// The older ones of that kind, which newer machines do not have.
#[cfg(target_arch = "x86_64")]
const OLD_PATHS: Table = calls![
    SYS_open SYS_creat SYS_stat SYS_lstat SYS_access SYS_readlink SYS_rename SYS_link SYS_symlink SYS_unlink SYS_mkdir
    SYS_rmdir SYS_mknod SYS_chmod SYS_chown SYS_lchown SYS_utime SYS_utimes SYS_futimesat
];
#[cfg(not(target_arch = "x86_64"))]
const OLD_PATHS: Table = &[];

/// Calls on the descriptor that is their first argument.
const DESCRIPTORS: Table = calls![
    SYS_read SYS_write SYS_pread64 SYS_pwrite64 SYS_readv SYS_writev SYS_preadv SYS_pwritev SYS_preadv2 SYS_pwritev2
    SYS_fsync SYS_fdatasync SYS_sync_file_range SYS_syncfs SYS_ftruncate SYS_fallocate SYS_fadvise64 SYS_readahead
    SYS_getdents64 SYS_fstat SYS_fstatfs SYS_close SYS_flock SYS_fcntl SYS_ioctl SYS_lseek SYS_fchmod SYS_fchown
    SYS_fsetxattr SYS_fgetxattr SYS_fchdir SYS_vmsplice SYS_splice SYS_tee SYS_copy_file_range
];

/// Calls whose second argument is a descriptor too, or instead.
const SECOND_DESCRIPTORS: Table = calls![SYS_sendfile];

/// Calls that start a thread or change the memory that is mapped.
const MEMORY: Table =
    calls![SYS_mmap SYS_munmap SYS_mremap SYS_brk SYS_madvise SYS_mprotect SYS_clone SYS_clone3 SYS_futex];

fn name_in(table: Table, number: libc::c_long) -> Option<&'static str> {
    table.iter().find(|(known, _)| *known == number).map(|(_, name)| name.trim_start_matches("SYS_"))
}

/// The call's name, where it is one that this file knows.
fn name_of(number: libc::c_long) -> &'static str {
    [PATHS, OLD_PATHS, DESCRIPTORS, SECOND_DESCRIPTORS, MEMORY]
        .into_iter()
        .find_map(|table| name_in(table, number))
        .unwrap_or("another call")
}

/// Whether a descriptor of the thread is a regular file or a folder.
fn is_file(thread: u32, descriptor: u64) -> bool {
    // No allocation here: the thread that waits for the answer may hold the allocator's lock.
    let mut path = [0_u8; 64];
    let written = write!(&mut path[..63], "/proc/{thread}/fd/{}", descriptor as i32);
    let mut stat = std::mem::MaybeUninit::<libc::stat>::zeroed();
    // SAFETY: the path ends with a zero byte, and `stat` has room for what the call writes.
    let answer = unsafe { libc::stat(path.as_ptr().cast(), stat.as_mut_ptr()) };
    if written.is_err() || answer != 0 {
        return false;
    }
    // SAFETY: zeroed before, filled by the call that succeeded; it holds integers only.
    let kind = unsafe { stat.assume_init() }.st_mode & libc::S_IFMT;
    kind == libc::S_IFREG || kind == libc::S_IFDIR
}

/// The name of a call that must not be made in this section.
fn judge(section: u32, thread: u32, call: &Call) -> Option<&'static str> {
    let number = libc::c_long::from(call.number);
    if section == FREE {
        return None;
    }
    if let Some(name) = name_in(PATHS, number).or_else(|| name_in(OLD_PATHS, number)) {
        return Some(name);
    }
    let [first, second, .., fifth, sixth] = call.arguments;
    let waits_not = number == libc::SYS_preadv2 && sixth & RWF_NOWAIT != 0;
    let on_file = name_in(DESCRIPTORS, number).is_some() && is_file(thread, first)
        || name_in(SECOND_DESCRIPTORS, number).is_some()
            && (is_file(thread, first) || is_file(thread, second))
        || number == libc::SYS_mmap && fifth as i32 >= 0 && is_file(thread, fifth);
    // Asking whether a descriptor is open, which the standard library does before it closes one, reaches no disk.
    let asks = number == libc::SYS_fcntl && second == libc::F_GETFD as u64;
    if on_file && !waits_not && !asks {
        return Some(name_of(number));
    }
    if section == READ_WRITE {
        let wakes = number == libc::SYS_futex && matches!(second & 0x7f, 1 | 10);
        let rings = matches!(number, libc::SYS_read | libc::SYS_write);
        if !waits_not && !wakes && !rings {
            return Some(name_of(number));
        }
    }
    None
}

/// Puts the filter on the calling thread and gives the supervisor's end of it.
///
/// # Errors
///
/// What the kernel says when it does not offer this, or not here.
pub fn install() -> io::Result<OwnedFd> {
    let jump = |number: libc::c_long, then: u8| libc::sock_filter {
        code: (libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K) as u16,
        jt: then,
        jf: 0,
        k: number as u32,
    };
    let give =
        |value: u32| libc::sock_filter { code: (libc::BPF_RET | libc::BPF_K) as u16, jt: 0, jf: 0, k: value };
    let load =
        libc::sock_filter { code: (libc::BPF_LD | libc::BPF_W | libc::BPF_ABS) as u16, jt: 0, jf: 0, k: 0 };
    let [a, b, c, d, e] = UNSEEN;
    let mut program = [
        load,
        jump(a, 5),
        jump(b, 4),
        jump(c, 3),
        jump(d, 2),
        jump(e, 1),
        give(RETURN_NOTIFY),
        give(RETURN_ALLOW),
    ];
    let filter = libc::sock_fprog { len: program.len() as u16, filter: program.as_mut_ptr() };
    // SAFETY: takes numbers only.
    if unsafe { libc::prctl(libc::PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) } != 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the program outlives the call, which copies it.
    let listener =
        unsafe { libc::syscall(libc::SYS_seccomp, SET_MODE_FILTER, NEW_LISTENER, &raw const filter) };
    if listener < 0 {
        return Err(io::Error::last_os_error());
    }
    // SAFETY: the call made this descriptor for its caller.
    Ok(unsafe { OwnedFd::from_raw_fd(listener as i32) })
}

/// Answers until no watched thread is left. `section` tells where the thread with this number is as it makes this call;
/// `caught` is told of a call that must not be made, and the call passes only if it returns.
pub fn supervise(
    listener: &OwnedFd,
    section: impl Fn(u32, &Call) -> u32,
    caught: impl Fn(&'static str, &Call),
) {
    let descriptor = listener.as_raw_fd();
    loop {
        let mut poll = libc::pollfd { fd: descriptor, events: libc::POLLIN, revents: 0 };
        // SAFETY: one entry, as told.
        let ready = unsafe { libc::poll(&raw mut poll, 1, 100) };
        if ready > 0 && poll.revents & libc::POLLIN == 0 {
            return;
        }
        if ready <= 0 {
            continue;
        }
        let mut seen = Notification::default();
        // SAFETY: `seen` is zeroed, as the call demands, and as large as the kernel's own.
        if unsafe { libc::ioctl(descriptor, RECEIVE, &raw mut seen) } != 0 {
            continue;
        }
        if let Some(name) = judge(section(seen.pid, &seen.call), seen.pid, &seen.call) {
            caught(name, &seen.call);
        }
        let answer = Answer { id: seen.id, flags: CONTINUE, ..Answer::default() };
        // SAFETY: `answer` is as large as the kernel's own. A thread that died meanwhile needs no answer.
        unsafe { libc::ioctl(descriptor, SEND, &raw const answer) };
    }
}
