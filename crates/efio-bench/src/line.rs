//! Line: a log line of 120 bytes that carries its number, and the check that a file has each of them once, in order.

use std::fs::File;
use std::io::{BufRead, BufReader};
use std::path::Path;

use crate::Outcome;

/// Bytes of a line, the newline included.
pub const BYTES: usize = 120;

/// A line to be written, of one writer.
#[derive(Clone, Debug)]
pub struct Line([u8; BYTES]);

impl Line {
    /// The line of `writer`.
    pub fn new(writer: u8) -> Self {
        let mut bytes = [b'x'; BYTES];
        bytes[0] = b'a' + writer;
        bytes[BYTES - 1] = b'\n';
        Self(bytes)
    }

    /// The line numbered.
    #[inline(always)]
    pub fn numbered(&mut self, number: u64) -> &[u8; BYTES] {
        self.0[8..16].copy_from_slice(&number.to_le_bytes());
        &self.0
    }
}

/// Each of `writers` has written its lines, whole and in order.
pub fn check(path: &Path, writers: usize, lines: u64) -> Outcome<()> {
    let mut file = BufReader::with_capacity(BYTES * 4096, File::open(path)?);
    let mut next = vec![0_u64; writers];
    loop {
        let bytes = file.fill_buf()?;
        if bytes.is_empty() {
            break;
        }
        let whole = bytes.len() / BYTES * BYTES;
        if whole == 0 {
            return Err("a line is cut".into());
        }
        for line in bytes[..whole].chunks_exact(BYTES) {
            let mut number = [0; 8];
            number.copy_from_slice(&line[8..16]);
            let writer = usize::from(line[0].wrapping_sub(b'a'));
            let sound =
                writer < writers && line[BYTES - 1] == b'\n' && next[writer] == u64::from_le_bytes(number);
            if !sound {
                return Err(format!(
                    "line {} of writer {writer} is not the next",
                    u64::from_le_bytes(number)
                )
                .into());
            }
            next[writer] += 1;
        }
        file.consume(whole);
    }
    if next.iter().any(|count| *count != lines) {
        return Err(format!("lines: {next:?}, wanted {lines} of each").into());
    }
    Ok(())
}
