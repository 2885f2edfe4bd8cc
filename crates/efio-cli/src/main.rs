//! The command `efio`: an upload server, a copier and a log writer whose event loops never wait for a disk.
//!
//! `efio serve` is the promise of the library made into a program: one thread, sockets by mio, files by efio.
//! `efio cp` is the same for a plain tool, `efio log` for the end of a pipe. All stand on the public interface alone.
//!
//! Exit codes: 0 done, 1 something failed, 2 the command line makes no sense.

mod cli;
mod copy;
mod log;
mod serve;
mod signals;
mod size;

use std::io::Write;
use std::process::ExitCode;

use clap::Parser;

use crate::cli::{Action, Command};

fn main() -> ExitCode {
    let outcome = match Command::parse().action {
        Action::Serve(options) => serve::run(&options),
        Action::Cp(options) => copy::run(&options),
        Action::Log(options) => log::run(&options),
    };
    outcome.unwrap_or_else(|failure| {
        say_error(&format!("efio: {failure}"));
        ExitCode::FAILURE
    })
}

/// Why a command could not go on, in words for its user.
type Failure = Box<dyn std::error::Error>;

/// An error with the words that say what it hit.
fn failure(doing: impl std::fmt::Display, error: impl std::fmt::Display) -> Failure {
    format!("{doing}: {error}").into()
}

/// One line on standard output. Nobody listening is no reason to fail.
fn say(line: &str) {
    let _ = std::io::stdout().write_all(format!("{line}\n").as_bytes());
}

/// One line on standard error, in one call, so that lines of several programs do not mix.
fn say_error(line: &str) {
    let _ = std::io::stderr().write_all(format!("{line}\n").as_bytes());
}
