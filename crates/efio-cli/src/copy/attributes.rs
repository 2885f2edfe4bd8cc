//! Mode and times of a copied file, set by queued calls when it has its name.

use std::collections::VecDeque;

use efio::{Dir, Efio, Event, Op, PathCall};

use crate::copy::names::{keep_mode, keep_times, reason};
use crate::copy::plan::{Entry, Fault};

/// The bits of a mode that are kept. Set-user and set-group are not: they would speak of another owner.
pub const MODE: u32 = 0o777;

/// What is still to be set, and the call that is out.
#[derive(Debug)]
pub struct Keeping {
    calls: VecDeque<PathCall>,
    out: Option<Op>,
}

impl Keeping {
    /// Times and mode of `entry`, for its copy beneath `root`; events come under `token`.
    pub fn new(entry: &Entry, root: &Dir, token: u64) -> Self {
        let calls = [keep_times(entry), keep_mode(entry)];
        Self { calls: calls.into_iter().map(|call| call.beneath(root).token(token)).collect(), out: None }
    }

    /// Goes on; true when all is set.
    ///
    /// # Errors
    /// When one of them cannot be set.
    pub fn go_on(&mut self, event: Option<&Event>, entry: &Entry, efio: &Efio) -> Result<bool, Fault> {
        let failed = |error: efio::Error| {
            let reason = reason(&error);
            Fault::new(&entry.to, format_args!("copied, but not its mode and times: {reason}"))
        };
        if let Some(op) = self.out {
            if event.is_none_or(|event| event.fd() != op.fd()) {
                return Ok(false);
            }
            match efio.take(op) {
                Err(error) if error.is_would_block() => return Ok(false),
                answer => answer.map(drop).map_err(failed)?,
            }
            self.out = None;
        }
        let Some(call) = self.calls.pop_front() else { return Ok(true) };
        self.out = Some(efio.ef_queue(&call).map_err(failed)?);
        Ok(false)
    }
}
