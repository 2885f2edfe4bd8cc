//! Standard input: read without ever waiting, where it is something that one can wait for.
//!
//! A pipe's reading end is often shared with the shell that made it, and so is its O_NONBLOCK. It is therefore opened
//! once more, by its name in /proc; where that does not work the flag is set, and taken back at the end.

use std::fs::{File, OpenOptions};
use std::io::{self, ErrorKind, Read};
use std::os::fd::{AsFd, AsRawFd};
use std::os::unix::fs::OpenOptionsExt;

use mio::unix::SourceFd;
use mio::{Interest, Registry, Token};
use nix::fcntl::{FcntlArg, OFlag, fcntl};

/// What a read came to.
#[derive(Debug)]
pub enum Taken {
    /// So many bytes.
    Bytes(usize),
    /// None for now: [`Input::wake`] follows the poll's news.
    Nothing,
    /// The input has ended.
    End,
    /// It cannot be read.
    Failed(io::Error),
}

/// Standard input.
#[derive(Debug)]
pub struct Input {
    file: File,
    /// The flag was set on a description that others may share.
    borrowed: bool,
    /// Worth a read.
    is_ready: bool,
    ended: bool,
}

impl Input {
    /// Takes standard input over; news of it come under `token`. A regular file is read as it is: there is nothing to wait for.
    ///
    /// # Errors
    /// When there is no standard input.
    pub fn open(registry: &Registry, token: Token) -> io::Result<Self> {
        let own =
            OpenOptions::new().read(true).custom_flags(OFlag::O_NONBLOCK.bits()).open("/proc/self/fd/0");
        let (file, borrowed) = match own {
            Ok(file) => (file, false),
            Err(_) => (File::from(io::stdin().as_fd().try_clone_to_owned()?), true),
        };
        match registry.register(&mut SourceFd(&file.as_raw_fd()), token, Interest::READABLE) {
            Ok(()) => {}
            // A regular file, or a device that always has an answer.
            Err(error) if error.kind() == ErrorKind::PermissionDenied => {
                // A second description of a file has an offset of its own: the first one's is what counts.
                let file = File::from(io::stdin().as_fd().try_clone_to_owned()?);
                return Ok(Self { file, borrowed: false, is_ready: true, ended: false });
            }
            Err(error) => return Err(error),
        }
        if borrowed {
            set_nonblocking(&file, true)?;
        }
        Ok(Self { file, borrowed, is_ready: true, ended: false })
    }

    /// Reads what is there.
    pub fn read(&mut self, into: &mut [u8]) -> Taken {
        if self.ended {
            return Taken::End;
        }
        if !self.is_ready {
            return Taken::Nothing;
        }
        loop {
            match self.file.read(into) {
                Ok(0) => {
                    self.ended = true;
                    return Taken::End;
                }
                Ok(count) => return Taken::Bytes(count),
                Err(error) if error.kind() == ErrorKind::Interrupted => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    self.is_ready = false;
                    return Taken::Nothing;
                }
                Err(error) => {
                    self.ended = true;
                    return Taken::Failed(error);
                }
            }
        }
    }

    /// There is news of it.
    pub fn wake(&mut self) {
        self.is_ready = true;
    }

    /// Nothing more is read.
    pub fn end(&mut self) {
        self.ended = true;
    }

    /// Nothing more will come.
    pub fn has_ended(&self) -> bool {
        self.ended
    }
}

fn set_nonblocking(file: &File, on: bool) -> io::Result<()> {
    let flags = OFlag::from_bits_retain(fcntl(file, FcntlArg::F_GETFL)?);
    let flags = if on { flags | OFlag::O_NONBLOCK } else { flags - OFlag::O_NONBLOCK };
    fcntl(file, FcntlArg::F_SETFL(flags))?;
    Ok(())
}

impl Drop for Input {
    fn drop(&mut self) {
        if self.borrowed {
            // Who shares it may find it as it was left; nothing of ours depends on it any more.
            let _ = set_nonblocking(&self.file, false);
        }
    }
}
