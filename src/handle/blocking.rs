//! Blocking: a view of a `File` with plain semantics, for programs without a loop.

use std::io::{self, Read, Seek, SeekFrom, Write};
use std::time::Duration;

use crate::engine::threads::is_engine_thread;
use crate::error::{Error, ErrorKind, Operation};
use crate::file::state::flag;

use super::File;

/// A [`File`] with plain semantics: its calls wait until they can answer. For programs without a loop; a call on an
/// event loop's thread would stop the loop.
#[derive(Debug)]
pub struct Blocking<'a> {
    pub(super) file: &'a mut File,
}

impl Blocking<'_> {
    /// Calls until the answer is not `WouldBlock`.
    fn wait<T>(&mut self, mut call: impl FnMut(&mut File) -> io::Result<T>) -> io::Result<T> {
        let mut pause = Duration::from_micros(20);
        loop {
            match call(self.file) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => self.file.pause(&mut pause)?,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                answer => return answer,
            }
        }
    }

    /// Makes everything written durable, and waits for it.
    ///
    /// # Errors
    ///
    /// What the sync met.
    pub fn sync(&mut self) -> io::Result<()> {
        let target = self.file.progress()?.accepted;
        self.wait(|file| Ok(file.sync()?))?;
        self.wait(|file| {
            if file.progress()?.durable >= target {
                return Ok(());
            }
            // A sync that failed has poisoned the file: asking again says why.
            if file.slot().state.load().has(flag::POISONED) {
                return Ok(file.sync()?);
            }
            Err(io::ErrorKind::WouldBlock.into())
        })
    }

    /// Closes and waits for it; an atomic file has its name afterwards.
    ///
    /// # Errors
    ///
    /// The first error that nothing healed.
    pub fn close(self) -> io::Result<()> {
        let (efio, fd) = (self.file.efio.clone(), self.file.fd);
        self.file.opened_or_error()?;
        self.file.end(flag::PUBLISH, Operation::Close)?;
        Ok(efio.ef_close_immediate(fd)?)
    }
}

impl File {
    /// Waits a moment: on a virtual clock by a step, else by a sleep that grows.
    fn pause(&self, pause: &mut Duration) -> io::Result<()> {
        let engine = self.efio.engine();
        if engine.platform.is_virtual() {
            if !engine.step_virtual() {
                return Err(io::Error::new(
                    io::ErrorKind::TimedOut,
                    "nothing is left to happen on the simulated disk",
                ));
            }
            return Ok(());
        }
        if is_engine_thread() {
            return Err(Error::plain(ErrorKind::Deadlock, Operation::Wait, Some(self.fd)).into());
        }
        std::thread::sleep(*pause);
        *pause = (*pause * 2).min(Duration::from_millis(1));
        Ok(())
    }

    /// The error of an open that failed.
    fn opened_or_error(&mut self) -> io::Result<()> {
        let mut pause = Duration::from_micros(20);
        loop {
            match self.efio.ef_open_status(self.fd) {
                Err(error) if error.is_would_block() => self.pause(&mut pause)?,
                answer => return Ok(answer?),
            }
        }
    }
}

impl Read for Blocking<'_> {
    fn read(&mut self, into: &mut [u8]) -> io::Result<usize> {
        self.wait(|file| file.read(into))
    }
}

impl Write for Blocking<'_> {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.wait(|file| file.write(bytes))
    }

    /// Waits until everything written is in the file.
    fn flush(&mut self) -> io::Result<()> {
        self.wait(File::flush)
    }
}

impl Seek for Blocking<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        self.wait(|file| file.seek(to))
    }
}
