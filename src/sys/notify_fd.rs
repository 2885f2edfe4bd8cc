//! A descriptor that becomes readable when it is raised: what a program's own loop waits on.
//!
//! On Linux an eventfd, elsewhere the two ends of a pipe. Raising never waits: a descriptor that is full is raised
//! already.

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd, RawFd};

use nix::errno::Errno;
use nix::unistd;

/// Readable while it is raised.
#[derive(Debug)]
pub(crate) struct EventDescriptor {
    /// The end to wait on.
    readable: OwnedFd,
    /// The end to write to, where that is another one.
    writable: Option<OwnedFd>,
}

impl EventDescriptor {
    /// A descriptor that is not raised; closed on exec, never blocking.
    #[cfg(target_os = "linux")]
    pub(crate) fn new() -> io::Result<Self> {
        use nix::sys::eventfd::{EfdFlags, EventFd};
        let event = EventFd::from_flags(EfdFlags::EFD_CLOEXEC | EfdFlags::EFD_NONBLOCK)?;
        Ok(Self { readable: event.into(), writable: None })
    }

    /// A descriptor that is not raised; closed on exec, never blocking.
    #[cfg(not(target_os = "linux"))]
    pub(crate) fn new() -> io::Result<Self> {
        use nix::fcntl::{FcntlArg, FdFlag, OFlag, fcntl};
        let (readable, writable) = unistd::pipe()?;
        for end in [&readable, &writable] {
            fcntl(end, FcntlArg::F_SETFD(FdFlag::FD_CLOEXEC))?;
            fcntl(end, FcntlArg::F_SETFL(OFlag::O_NONBLOCK))?;
        }
        Ok(Self { readable, writable: Some(writable) })
    }

    /// Makes it readable, if it is not yet.
    pub(crate) fn raise(&self) -> io::Result<()> {
        let end = self.writable.as_ref().unwrap_or(&self.readable);
        // An eventfd takes a 64-bit number in the byte order of the machine: any that is not zero, and not all ones.
        let number: [u8; 8] = 1_u64.to_le_bytes();
        loop {
            match unistd::write(end, &number) {
                Ok(_) | Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }

    /// Makes it unreadable. What is to be looked at is looked at after this, or a raise in between is lost.
    pub(crate) fn lower(&self) -> io::Result<()> {
        let mut bytes = [0_u8; 512];
        loop {
            match unistd::read(&self.readable, &mut bytes) {
                // A pipe may hold more than was read; an eventfd is empty after one read.
                Ok(count) if count == bytes.len() => {}
                Ok(_) | Err(Errno::EAGAIN) => return Ok(()),
                Err(Errno::EINTR) => {}
                Err(errno) => return Err(errno.into()),
            }
        }
    }
}

impl AsFd for EventDescriptor {
    fn as_fd(&self) -> BorrowedFd<'_> {
        self.readable.as_fd()
    }
}

impl AsRawFd for EventDescriptor {
    fn as_raw_fd(&self) -> RawFd {
        self.readable.as_raw_fd()
    }
}
