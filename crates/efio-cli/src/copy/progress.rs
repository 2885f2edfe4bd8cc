//! The progress bar: only where somebody sees it.

use std::io::IsTerminal;

use indicatif::{ProgressBar, ProgressStyle};

use crate::say_error;

const TEMPLATE: &str = "{wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec} {eta}";

/// A bar on a terminal, nothing elsewhere.
#[derive(Debug)]
pub struct Progress {
    bar: Option<ProgressBar>,
}

impl Progress {
    /// A bar for no bytes yet.
    pub fn new(quiet: bool) -> Self {
        let seen = !quiet && std::io::stderr().is_terminal();
        let style = ProgressStyle::with_template(TEMPLATE).ok().filter(|_| seen);
        Self { bar: style.map(|style| ProgressBar::new(0).with_style(style)) }
    }

    /// So many bytes more are to be copied.
    pub fn announce(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.inc_length(bytes);
        }
    }

    /// So many bytes more are copied.
    pub fn add(&self, bytes: u64) {
        if let Some(bar) = &self.bar {
            bar.inc(bytes);
        }
    }

    /// A line above the bar.
    pub fn above(&self, line: &str) {
        match &self.bar {
            Some(bar) => bar.suspend(|| say_error(line)),
            None => say_error(line),
        }
    }

    /// The bar goes.
    pub fn end(&self) {
        if let Some(bar) = &self.bar {
            bar.finish_and_clear();
        }
    }
}
