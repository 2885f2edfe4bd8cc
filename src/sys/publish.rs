//! Publishing: how a staged file gets its name, all of it or nothing.
//!
//! ```text
//!   no name  ──link──────────────────────────► target      (the target was free)
//!   no name  ──link──► hidden ──rename───────► target      (the target is replaced)
//!   hidden   ──rename, or link and unlink────► target
//! ```
//!
//! Durable: the bytes are made durable before, the folder after. Where a step fails the staged file is handed back, to
//! be published once more or closed, which removes its hidden name. A hidden name can be left behind only by the death
//! of the process, and is known by its form, `.efio-` and 16 digits and `.tmp`.

use std::ffi::CString;
use std::panic::{AssertUnwindSafe, catch_unwind, resume_unwind};

use crate::error::Operation;
use crate::job::{Fault, Handle, Staged};
use crate::sys::call::{Answer, Disk, Spot, again, during, uninterrupted};

/// The hidden name with this number.
pub(crate) fn hidden_name(number: u64) -> CString {
    let text = format!(".efio-{number:016x}.tmp");
    // Made of digits and letters only, so there is no zero byte to stop at.
    CString::new(text).unwrap_or_default()
}

/// True for the names that staged files have before they are published.
pub(crate) fn is_hidden_name(name: &[u8]) -> bool {
    let number = name.strip_prefix(b".efio-").and_then(|rest| rest.strip_suffix(b".tmp"));
    let is_digit = |c: &u8| matches!(c, b'0'..=b'9' | b'a'..=b'f');
    number.is_some_and(|number| number.len() == 16 && number.iter().all(is_digit))
}

/// Gives a staged file its mode and its name.
///
/// If it fails after the name was given (the fsync of the folder), the file is published but not known to be durable:
/// the staged file that comes back has no hidden name, and closing removes nothing.
pub(crate) fn publish(
    disk: &impl Disk,
    handle: Handle,
    mut staged: Box<Staged>,
    durable: bool,
) -> Result<(), (Fault, Box<Staged>)> {
    let steps = AssertUnwindSafe(|| publish_steps(disk, handle, &mut staged, durable));
    match catch_unwind(steps) {
        Ok(Ok(())) => Ok(()),
        Ok(Err(fault)) => Err((fault, staged)),
        Err(panic) => {
            // Nobody else knows of the hidden name.
            let _ = remove_hidden(disk, &mut staged);
            resume_unwind(panic)
        }
    }
}

fn publish_steps(disk: &impl Disk, handle: Handle, staged: &mut Staged, durable: bool) -> Result<(), Fault> {
    if durable {
        uninterrupted(|| disk.sync_data(handle)).map_err(during(Operation::Sync))?;
    }
    let mode = staged.mode & 0o7777 & !disk.mask();
    again(disk, || disk.set_mode(handle, mode)).map_err(during(Operation::Publish))?;
    if staged.hidden.is_none() { name_unnamed(disk, handle, staged) } else { name_hidden(disk, staged) }
        .map_err(during(Operation::Publish))?;
    if durable {
        uninterrupted(|| disk.sync_folder(&staged.folder)).map_err(during(Operation::Sync))?;
    }
    Ok(())
}

fn name_unnamed(disk: &impl Disk, handle: Handle, staged: &mut Staged) -> Answer<()> {
    let target = Spot::within(&staged.folder, &staged.target);
    match again(disk, || disk.link_unnamed(handle, &target)) {
        Err(libc::EEXIST) if !staged.create_new => {}
        answer => return answer,
    }
    let hidden = hidden_name(disk.random());
    again(disk, || disk.link_unnamed(handle, &Spot::within(&staged.folder, &hidden)))?;
    // From here on the file has a name: a nameless file can be linked once only, so a rename that fails leaves it to
    // another try, or to closing, which removes it.
    staged.hidden = Some(hidden);
    name_hidden(disk, staged)
}

fn name_hidden(disk: &impl Disk, staged: &mut Staged) -> Answer<()> {
    let Some(hidden) = &staged.hidden else { return Ok(()) };
    let from = Spot::within(&staged.folder, hidden);
    let target = Spot::within(&staged.folder, &staged.target);
    match again(disk, || disk.rename(&from, &target, !staged.create_new)) {
        Err(libc::EINVAL | libc::ENOSYS) if staged.create_new => {
            again(disk, || disk.link(&from, &target))?;
            // The file has its name: an unlink that fails leaves a second, hidden one, which is no failed publishing.
            let _ = again(disk, || disk.unlink(&from, false));
        }
        answer => answer?,
    }
    staged.hidden = None;
    Ok(())
}

/// Removes the hidden name, if there is one.
pub(crate) fn remove_hidden(disk: &impl Disk, staged: &mut Staged) -> Answer<()> {
    let Some(hidden) = &staged.hidden else { return Ok(()) };
    let spot = Spot::within(&staged.folder, hidden);
    match again(disk, || disk.unlink(&spot, false)) {
        Ok(()) | Err(libc::ENOENT) => {
            staged.hidden = None;
            Ok(())
        }
        refused => refused,
    }
}
