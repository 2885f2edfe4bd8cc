//! Folders and links: what has a name but no bytes of its own to carry.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io;
use std::os::unix::fs::{DirBuilderExt, symlink};
use std::path::{Path, PathBuf};

use crate::copy::plan::{Entry, Fault};

/// Makes a folder, for its owner only until it is filled: true. One that exists is taken as it is: false.
///
/// # Errors
/// When it can neither be made nor is there.
pub fn make_folder(entry: &Entry) -> Result<bool, Fault> {
    match fs::DirBuilder::new().mode(0o700).create(&entry.to) {
        Err(error) if error.kind() == io::ErrorKind::AlreadyExists && entry.to.is_dir() => Ok(false),
        made => made.map(|()| true).map_err(|error| Fault::new(&entry.to, error)),
    }
}

/// Makes a link that says what the other one says; with `force` it replaces what has its name, in one step.
///
/// # Errors
/// When the link cannot be read or made.
pub fn make_link(entry: &Entry, force: bool) -> Result<(), Fault> {
    let made = fs::read_link(&entry.from).and_then(|says| {
        if !force {
            return symlink(says, &entry.to);
        }
        let hidden = entry.to.with_file_name(format!(".efio-link-{}", std::process::id()));
        symlink(says, &hidden)?;
        fs::rename(&hidden, &entry.to).inspect_err(|_| {
            // The rename's own error is the one that counts.
            let _ = fs::remove_file(&hidden);
        })
    });
    made.map_err(|error| Fault::new(&entry.to, error))
}

/// The folders in which names were made without the engine.
pub fn folders_of_names(folders: &[Entry], links: &[Entry]) -> BTreeSet<PathBuf> {
    let here =
        |parent: &Path| if parent.as_os_str().is_empty() { PathBuf::from(".") } else { parent.to_path_buf() };
    folders.iter().chain(links).filter_map(|entry| entry.to.parent()).map(here).collect()
}

/// Makes the names in a folder durable.
///
/// # Errors
/// The system's own.
pub fn sync_folder(folder: &Path) -> Result<(), Fault> {
    File::open(folder).and_then(|folder| folder.sync_all()).map_err(|error| Fault::new(folder, error))
}
