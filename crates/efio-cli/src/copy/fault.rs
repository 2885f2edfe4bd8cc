//! What could not be copied, and why, in one line.

use std::fmt::{self, Write as _};
use std::path::{Path, PathBuf};

use efio::Error;

/// What could not be copied, and why.
#[derive(Debug)]
pub struct Fault {
    path: PathBuf,
    reason: String,
}

impl Fault {
    /// `path` was not copied, or not fully.
    pub fn new(path: &Path, reason: impl fmt::Display) -> Self {
        Self { path: path.to_path_buf(), reason: reason.to_string() }
    }

    /// The same for an answer of the engine.
    pub fn of(path: &Path, error: &Error) -> Self {
        Self::new(path, reason(error))
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // A name comes from whoever made the file: its control characters are not the terminal's to obey.
        let words = format!("efio: {}: {}", self.path.display(), self.reason);
        words.chars().try_for_each(|letter| match letter.is_control() {
            true => write!(f, "{}", letter.escape_default()),
            false => f.write_char(letter),
        })
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_hostile_name_stays_on_its_line() {
        let fault = Fault::new(Path::new("a\n\u{1b}[2Jb"), "é is\rin the way");
        assert_eq!(fault.to_string(), "efio: a\\n\\u{1b}[2Jb: é is\\rin the way");
    }
}
