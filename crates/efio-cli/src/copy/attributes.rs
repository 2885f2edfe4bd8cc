//! Mode and times of a copy: those of what it was copied from.

use std::fs::{File, FileTimes, Metadata, Permissions};
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::copy::plan::Fault;

/// The bits of a mode that are kept. Set-user and set-group are not: they would speak of another owner.
pub const MODE: u32 = 0o777;

/// Gives `path` the times and the mode of `metadata`; with `sync`, durably.
///
/// # Errors
/// When one of them cannot be set.
pub fn keep(path: &Path, metadata: &Metadata, sync: bool) -> Result<(), Fault> {
    try_keep(path, metadata, sync)
        .map_err(|error| Fault::new(path, format_args!("copied, but not its mode and times: {error}")))
}

fn try_keep(path: &Path, metadata: &Metadata, sync: bool) -> io::Result<()> {
    let file = File::open(path)?;
    file.set_permissions(Permissions::from_mode(metadata.permissions().mode() & MODE))?;
    file.set_times(FileTimes::new().set_accessed(metadata.accessed()?).set_modified(metadata.modified()?))?;
    if sync { file.sync_all() } else { Ok(()) }
}
