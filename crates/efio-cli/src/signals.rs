//! Signals: the first one asks the command to finish, the second one ends it at once.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use mio::{Interest, Registry, Token};
use signal_hook::consts::{SIGINT, SIGTERM};
use signal_hook::flag;
use signal_hook_mio::v1_0::Signals;

/// SIGINT and SIGTERM, as news in a poll.
pub struct Asked {
    signals: Signals,
    armed: Arc<AtomicBool>,
}

impl Asked {
    /// From now on the two signals come as news under `token`.
    ///
    /// # Errors
    /// The system's own.
    pub fn register(registry: &Registry, token: Token) -> io::Result<Self> {
        let armed = Arc::new(AtomicBool::new(false));
        for signal in [SIGINT, SIGTERM] {
            flag::register_conditional_shutdown(signal, 128 + signal, Arc::clone(&armed))?;
        }
        let mut signals = Signals::new([SIGINT, SIGTERM])?;
        registry.register(&mut signals, token, Interest::READABLE)?;
        Ok(Self { signals, armed })
    }

    /// Takes the news: true when a signal came. From then on a further one ends the process in its handler, whatever it waits for.
    pub fn take(&mut self) -> bool {
        let came = self.signals.pending().count() > 0;
        if came {
            // ORDER: SeqCst, as the handler's own load: no data goes with it, it only has to be seen soon.
            self.armed.store(true, Ordering::SeqCst);
        }
        came
    }
}

impl Drop for Asked {
    /// Nobody looks any more: a signal ends the process at once.
    fn drop(&mut self) {
        // ORDER: SeqCst, as in `take`.
        self.armed.store(true, Ordering::SeqCst);
    }
}
