//! The operating system's handles: another file behind the same number, locks of an opening.

use std::ffi::CString;
use std::os::fd::{IntoRawFd, OwnedFd};

use super::{Os, flags};
use crate::job::handles::Lock;
use crate::job::{Handle, OpenWork};
use crate::sys::call::Answer;
use crate::sys::handles::{HandleDisk, OpenFlags};
use crate::sys::raw;

/// Flags with which a descriptor is of no use here: it takes only aligned memory, or none.
#[cfg(target_os = "linux")]
const ODD: i32 = libc::O_DIRECT | libc::O_PATH;
#[cfg(not(target_os = "linux"))]
const ODD: i32 = 0;

impl HandleDisk for Os {
    fn adopt(&self, descriptor: OwnedFd) -> Answer<(Handle, OpenFlags)> {
        let told = raw::handles::take_over(&descriptor)?;
        let access = told & libc::O_ACCMODE;
        let flags = OpenFlags {
            read: access != libc::O_WRONLY,
            write: access != libc::O_RDONLY,
            append: told & libc::O_APPEND != 0,
            data_sync: told & libc::O_DSYNC != 0,
            odd: told & ODD != 0,
        };
        Ok((Handle(descriptor.into_raw_fd()), flags))
    }

    fn replace(&self, old: Handle, new: Handle) -> Answer<()> {
        raw::handles::replace(new.0, old.0)?;
        // The file is open behind the old number too, so this close ends nothing.
        let _ = raw::close(new.0);
        Ok(())
    }

    fn open_same(&self, handle: Handle, work: &OpenWork) -> Answer<Handle> {
        let link = CString::new(format!("/proc/self/fd/{}", handle.0)).map_err(|_| libc::EINVAL)?;
        let flags = flags(work) & !libc::O_APPEND;
        Ok(Handle(raw::openat(libc::AT_FDCWD, &link, flags, 0)?.into_raw_fd()))
    }

    fn set_append(&self, handle: Handle) -> Answer<()> {
        raw::handles::set_append(handle.0)
    }

    fn lock_range(&self, handle: Handle, lock: Lock) -> Answer<()> {
        raw::handles::lock(handle.0, lock)
    }
}
