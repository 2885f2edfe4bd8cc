//! Faults on demand: which call fails, with what, and how often.

use std::path::{Path, PathBuf};

use super::names::normal;
use super::random::Random;
use crate::error::Operation;

/// Makes some calls of a simulated disk fail.
///
/// Only calls of one operation, and, if a path is given, of one file (or, for a sync, of one folder) are counted.
/// The first `after` of them are let through, the next `times` fail.
///
/// | operation | calls |
/// | --- | --- |
/// | [`Open`](Operation::Open) | opening a file or folder, making a staged one |
/// | [`Read`](Operation::Read), [`Write`](Operation::Write) | each piece, so an error may come after some bytes |
/// | [`Sync`](Operation::Sync) | fdatasync of a file, fsync of a folder |
/// | [`Truncate`](Operation::Truncate), [`Preallocate`](Operation::Preallocate) | what they say |
/// | [`Lock`](Operation::Lock) | locking and unlocking a range |
/// | [`Publish`](Operation::Publish) | the mode, the link and the rename of a staged file |
/// | [`Rename`](Operation::Rename), [`Unlink`](Operation::Unlink), [`Stat`](Operation::Stat) | what they say |
/// | [`MakeDir`](Operation::MakeDir), [`Link`](Operation::Link), [`Symlink`](Operation::Symlink), [`ReadLink`](Operation::ReadLink), [`ReadDir`](Operation::ReadDir), [`SetMode`](Operation::SetMode), [`SetTimes`](Operation::SetTimes) | what they say; of a list, each batch |
/// | [`Close`](Operation::Close) | closing; the handle is closed all the same |
///
/// ```
/// use efio::{Operation, sim::{FaultRule, Sim}};
///
/// let sim = Sim::new(7);
/// // The third write of this one file fails with ENOSPC, and the fourth; then there is room again.
/// let enospc = 28;
/// sim.fail(FaultRule::new(Operation::Write, enospc).on("/log").after(2).times(2));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FaultRule {
    /// What has to be going on.
    pub operation: Operation,
    /// The errno with which it fails. `EINTR` and `EAGAIN` are tried again, as on a real disk: limit their
    /// [`times`](Self::times). [`FaultRule::PANIC`] is none: the job panics.
    pub errno: i32,
    /// The file's path; `None`: any file.
    pub path: Option<PathBuf>,
    /// How many calls are let through first.
    pub after: u64,
    /// How many calls fail then.
    pub times: u64,
}

impl FaultRule {
    /// In place of an errno: the call panics, as a defect in the job's own code would.
    pub const PANIC: i32 = i32::MIN;

    /// Every call of `operation` fails with `errno`, on all files, from now on.
    #[must_use]
    pub const fn new(operation: Operation, errno: i32) -> Self {
        Self { operation, errno, path: None, after: 0, times: u64::MAX }
    }

    /// Only on this file.
    #[must_use]
    pub fn on(mut self, path: impl AsRef<Path>) -> Self {
        self.path = Some(path.as_ref().to_path_buf());
        self
    }

    /// Only after so many calls.
    #[must_use]
    pub const fn after(mut self, calls: u64) -> Self {
        self.after = calls;
        self
    }

    /// Only so many times.
    #[must_use]
    pub const fn times(mut self, times: u64) -> Self {
        self.times = times;
        self
    }
}

/// The rules in force, and the chance that anything fails.
#[derive(Debug, Default)]
pub(super) struct Faults {
    rules: Vec<(FaultRule, Option<Vec<u8>>)>,
    pub(super) random_per_mille: u32,
}

impl Faults {
    pub(super) fn add(&mut self, rule: FaultRule) {
        let path = rule.path.as_ref().map(|path| normal(path.as_os_str().as_encoded_bytes()));
        self.rules.push((rule, path));
    }

    pub(super) fn clear(&mut self) {
        self.rules.clear();
        self.random_per_mille = 0;
    }

    /// The errno with which this call is to fail, if it is. All rules count the call; the first one decides.
    pub(super) fn strike(&mut self, operation: Operation, path: &[u8], random: &mut Random) -> Option<i32> {
        let mut struck = None;
        for (rule, place) in &mut self.rules {
            if rule.operation != operation || place.as_ref().is_some_and(|place| place != path) {
                continue;
            }
            if rule.after > 0 {
                rule.after -= 1;
            } else if rule.times > 0 {
                rule.times -= u64::from(rule.times != u64::MAX);
                struck = struck.or(Some(rule.errno));
            }
        }
        self.rules.retain(|(rule, _)| rule.times > 0);
        if struck.is_none() && random.chance(self.random_per_mille) {
            struck = pick(operation, random);
        }
        struck
    }
}

/// An errno that a real disk gives for this operation; closing does not fail by chance.
fn pick(operation: Operation, random: &mut Random) -> Option<i32> {
    let errnos: &[i32] = match operation {
        Operation::Open => &[libc::EMFILE, libc::EACCES, libc::EIO],
        Operation::Write => &[libc::ENOSPC, libc::EDQUOT, libc::EIO, libc::ENOMEM],
        Operation::Preallocate => &[libc::ENOSPC, libc::EIO],
        Operation::Publish
        | Operation::Rename
        | Operation::MakeDir
        | Operation::Link
        | Operation::Symlink => &[libc::ENOSPC, libc::EIO],
        Operation::Close => return None,
        _ => &[libc::EIO],
    };
    errnos.get(random.below(errnos.len() as u64) as usize).copied()
}
