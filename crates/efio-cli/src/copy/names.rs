//! Names: what the copy makes of names, all of it beneath the folder that was named as its place.
//!
//! Whatever lies in that folder, or is put there meanwhile, no call follows a symbolic link out of it.

use std::collections::BTreeSet;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use efio::{Answer, Dir, Efio, Error, Events, PathCall};

use crate::cli::Cp;
use crate::copy::attributes::MODE;
use crate::copy::plan::{Entry, Fault};

/// Names tried for a link that is to replace something.
const HIDDEN_TRIES: u32 = 1_000;

/// The engine, asked one thing at a time: for before and after the files.
pub struct Names<'a> {
    pub efio: &'a Efio,
    pub root: &'a Dir,
    pub options: &'a Cp,
}

impl Names<'_> {
    fn ask(&self, call: &PathCall) -> efio::Result<Answer> {
        let op = self.efio.ef_queue(call)?;
        let mut news = Events::with_capacity(16);
        loop {
            match self.efio.take(op) {
                Err(error) if error.is_would_block() => self.efio.wait(&mut news, None)?,
                answer => return answer,
            };
        }
    }

    fn done(&self, entry: &Entry, call: PathCall) -> Result<(), Fault> {
        self.ask(&call.beneath(self.root)).map(drop).map_err(|error| Fault::new(&entry.to, reason(&error)))
    }

    /// Makes a folder, for its owner only until it is filled: true. One that exists is taken as it is: false.
    ///
    /// # Errors
    /// When it can neither be made nor is there.
    pub fn make_folder(&self, entry: &Entry) -> Result<bool, Fault> {
        if entry.rel.as_os_str().is_empty() {
            return Ok(false);
        }
        let made = self.ask(&PathCall::mkdir(&entry.rel, 0o700).beneath(self.root));
        let Err(error) = made else { return Ok(true) };
        if error.raw_os_error() == Some(libc::EEXIST)
            && let Ok(Answer::Metadata(found)) = self.ask(&PathCall::lstat(&entry.rel).beneath(self.root))
            && found.is_dir()
        {
            return Ok(false);
        }
        Err(Fault::new(&entry.to, reason(&error)))
    }

    /// Makes a link that says what the other one says; with `--force` it replaces what has its name, in one step.
    ///
    /// # Errors
    /// When the link cannot be read or made.
    pub fn make_link(&self, entry: &Entry) -> Result<(), Fault> {
        let says = match self.ask(&PathCall::read_link(&entry.from)) {
            Ok(Answer::Link(says)) => says,
            Ok(_) => return Err(Fault::new(&entry.from, "it is no link any more")),
            Err(error) => return Err(Fault::new(&entry.from, reason(&error))),
        };
        if !self.options.force {
            self.done(entry, PathCall::symlink(&says, &entry.rel))?;
            return self.keep_times(entry);
        }
        let hidden = self.hidden_link(entry, &says)?;
        self.done(entry, PathCall::rename(&hidden, &entry.rel)).inspect_err(|_| {
            // The rename's own error is the one that counts.
            let _ = self.ask(&PathCall::unlink(&hidden).beneath(self.root));
        })?;
        self.keep_times(entry)
    }

    /// A link under a name that nobody else uses, beside its place. A copy that was killed may have left one.
    fn hidden_link(&self, entry: &Entry, says: &Path) -> Result<PathBuf, Fault> {
        let mut tries = 0;
        loop {
            let name = format!(".efio-link-{}-{tries}", std::process::id());
            let hidden = entry.rel.with_file_name(name);
            match self.ask(&PathCall::symlink(says, &hidden).beneath(self.root)) {
                Ok(_) => return Ok(hidden),
                Err(error) if error.raw_os_error() == Some(libc::EEXIST) && tries < HIDDEN_TRIES => {
                    tries += 1
                }
                Err(error) => return Err(Fault::new(&entry.to, reason(&error))),
            }
        }
    }

    fn keep_times(&self, entry: &Entry) -> Result<(), Fault> {
        self.done(entry, keep_times(entry))
    }

    /// Gives a folder the mode and times of the one it is a copy of.
    ///
    /// # Errors
    /// When one of them cannot be set.
    pub fn keep(&self, entry: &Entry) -> Result<(), Fault> {
        self.done(entry, keep_mode(entry))?;
        self.keep_times(entry)
    }

    /// Makes the names in a folder durable; modes and times that were set before go with them, in the same journal.
    ///
    /// # Errors
    /// The system's own.
    pub fn sync(&self, folder: &Path) -> Result<(), Fault> {
        let fault = |error: Error| Fault::new(folder, reason(&error));
        if folder.as_os_str().is_empty() {
            return self.ask(&PathCall::sync_dir(self.root)).map(drop).map_err(fault);
        }
        match self.ask(&PathCall::open_dir(folder).beneath(self.root)).map_err(fault)? {
            Answer::Dir(dir) => self.ask(&PathCall::sync_dir(&dir)).map(drop).map_err(fault),
            _ => Ok(()),
        }
    }
}

/// What went wrong, without the operation and the path that the fault names anyhow.
pub fn reason(error: &Error) -> String {
    match error.raw_os_error() {
        Some(libc::ENOENT) => "No such file or folder".to_owned(),
        Some(libc::ELOOP) => "a link is in the way, which is not followed".to_owned(),
        Some(errno) => std::io::Error::from_raw_os_error(errno).to_string(),
        None => error.to_string(),
    }
}

/// The call that gives a copy the mode of what it was copied from.
pub fn keep_mode(entry: &Entry) -> PathCall {
    PathCall::chmod(&entry.rel, entry.metadata.permissions().mode() & MODE)
}

/// The call that gives a copy the times of what it was copied from.
pub fn keep_times(entry: &Entry) -> PathCall {
    PathCall::lutimens(&entry.rel, entry.metadata.accessed().ok(), entry.metadata.modified().ok())
}

/// The folders in which names were made.
pub fn folders_of_names<'a>(entries: impl Iterator<Item = &'a Entry>) -> BTreeSet<PathBuf> {
    entries.filter_map(|entry| entry.rel.parent()).map(Path::to_path_buf).collect()
}
