//! Journal: what a file's state changes to, told to `log` and `tracing` where these features are on.
//!
//! Only engine threads tell, and only of what happens once or rarely in a file's life: opened, stalled, resumed, poisoned,
//! closed. A path comes from wherever the program has it, perhaps from a client: it is written with its control
//! characters escaped, so that it can neither end a line nor begin one.

use super::Slot;
use super::control::Control;

/// What a file has come to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
#[cfg_attr(
    not(any(feature = "log", feature = "tracing")),
    allow(dead_code, reason = "told to nobody without one of the two features")
)]
pub(super) enum Change {
    Opened,
    NotOpened,
    Stalled,
    Resumed,
    Poisoned,
    /// Another file is behind the handle.
    Reopened,
    /// What a failed sync may have lost is durable after all.
    Recovered,
    Closed {
        lost: u64,
    },
}

impl Control {
    #[cfg(not(any(feature = "log", feature = "tracing")))]
    #[inline(always)]
    pub(super) fn tell(&self, _slot: &Slot, _change: Change) {}

    /// Tells of a change; the error is the one that stands.
    #[cfg(any(feature = "log", feature = "tracing"))]
    #[cold]
    pub(super) fn tell(&self, slot: &Slot, change: Change) {
        let words = match change {
            Change::Opened => "opened",
            Change::NotOpened => "not opened",
            Change::Stalled => "stalled",
            Change::Resumed => "resumed",
            Change::Poisoned => "failed",
            Change::Reopened => "reopened",
            Change::Recovered => "recovered",
            Change::Closed { .. } => "closed",
        };
        let lost = if let Change::Closed { lost } = change { lost } else { 0 };
        let error = match change {
            Change::Opened | Change::Resumed | Change::Reopened | Change::Recovered => None,
            _ => slot.first_error(),
        };
        let (fd, token) = (slot.fd().to_string(), slot.token());
        let path = self.path.as_deref().unwrap_or(std::path::Path::new("")).to_string_lossy();
        // The error's own words hold the path as it is: what went wrong is enough.
        let reason = error.as_ref().map_or_else(String::new, |error| {
            let errno = error.raw_os_error().map(std::io::Error::from_raw_os_error);
            errno.map_or_else(|| format!("{:?}", error.kind()), |errno| errno.to_string())
        });
        let bad = error.is_some() || lost > 0;
        #[cfg(feature = "log")]
        if bad {
            log::warn!(target: "efio", "{words} {fd} token={token} path={path:?} lost={lost} error={reason:?}");
        } else {
            log::debug!(target: "efio", "{words} {fd} token={token} path={path:?}");
        }
        #[cfg(feature = "tracing")]
        if bad {
            tracing::warn!(target: "efio", fd, token, path = ?path, lost, error = reason, "{words}");
        } else {
            tracing::debug!(target: "efio", fd, token, path = ?path, "{words}");
        }
    }
}
