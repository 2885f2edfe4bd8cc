//! The command line: what can be asked for, with its defaults and its help.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, Parser, Subcommand, ValueEnum};

use crate::size;

const EXAMPLES: &str = "\
Examples:
  efio serve --root /srv/in                take uploads on 127.0.0.1:8080
  curl -T report.pdf http://127.0.0.1:8080/report.pdf
  efio cp --sync big.img /mnt/backup/      copy, and return when it is safe on the disk
  server | efio log server.log             a log that never holds its writer up for a disk

Exit codes: 0 done, 1 something failed, 2 wrong usage.";

const SERVE_EXAMPLES: &str = "\
Examples:
  efio serve                               the current folder on 127.0.0.1:8080
  efio serve --root /srv/in --bind 0.0.0.0:80 --sync close --max-size 10G
  curl -T photo.jpg http://127.0.0.1:8080/photo.jpg           upload
  curl -o part -r 1000-1999 http://127.0.0.1:8080/photo.jpg   download a part
  curl -X DELETE http://127.0.0.1:8080/photo.jpg              remove

A file appears under its name when it is complete, never before; an upload that breaks off leaves nothing.
Folders are not made: a PUT into one that does not exist is answered 404. SIGTERM and SIGINT end the server:
running requests may finish within --grace, the rest is given up, and a second signal ends it at once.
With -v the lines go to standard error: send them to a terminal or a pipe, not straight to a file.";

const CP_EXAMPLES: &str = "\
Examples:
  efio cp a.bin b.bin /mnt/backup/         several files into a folder
  efio cp -r photos /mnt/backup/           a folder with all that is in it
  efio cp --force --sync new.db live.db    replace in one step, durably

A destination appears complete or not at all, also after Ctrl-C. Mode and times are kept; links inside a
folder are copied as links, and no link that lies in the destination is followed. Owner, hard links, holes and extended attributes are not kept.";

const LOG_EXAMPLES: &str = "\
Examples:
  server 2>&1 | efio log server.log
  server | efio log --sync interval --flush-interval 0.1 audit.log
  mv server.log server.log.1 && kill -HUP $(pidof efio)     rotate: no line is lost or torn

A line is one record: it is written whole, behind what other processes append, up to 1 MiB; a longer one goes in
pieces of that size. SIGHUP opens the file again by its name. The end of the input, SIGTERM and SIGINT write what was
read and what the pipe still holds (1 MiB at most), and end. A full disk makes standard input wait, and writing goes on
when there is room; what it still refuses 10 seconds after the end is lost, and told.
Exit code 1: the file failed or lines were lost; standard error says which and how many bytes.";

/// Files that behave like sockets: an upload server, a copier and a log writer whose loops never wait for a disk.
#[derive(Debug, Parser)]
#[command(name = "efio", version, after_help = EXAMPLES)]
pub struct Command {
    /// What to do.
    #[command(subcommand)]
    pub action: Action,
}

/// What the command can do.
#[derive(Debug, Subcommand)]
pub enum Action {
    /// Serve a folder over HTTP/1.1: upload, download, delete
    Serve(Serve),
    /// Copy files and folders
    Cp(Cp),
    /// Write standard input to a file, one record a line
    Log(Log),
}

/// The limits and choices of the server.
#[derive(Clone, Debug, Args)]
#[command(after_help = SERVE_EXAMPLES)]
pub struct Serve {
    /// The folder to serve; clients cannot leave it
    #[arg(long, value_name = "DIR", default_value = ".")]
    pub root: PathBuf,
    /// The address to listen on; port 0 picks a free one
    #[arg(long, value_name = "ADDRESS", default_value = "127.0.0.1:8080")]
    pub bind: String,
    /// What the answer to an upload vouches for
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = SyncChoice::None)]
    pub sync: SyncChoice,
    /// The largest upload, such as 10G; larger ones are answered 413 [default: no limit]
    #[arg(long, value_name = "SIZE", value_parser = size::parse)]
    pub max_size: Option<u64>,
    /// Connections at a time; further ones are answered 503
    #[arg(long, value_name = "NUMBER", default_value_t = 512, value_parser = clap::value_parser!(u32).range(1..=1_000_000))]
    pub max_connections: u32,
    /// Seconds without a byte, or for the whole of a request's head, until a client is given up (408)
    #[arg(long, value_name = "SECONDS", default_value = "60", value_parser = size::seconds)]
    pub idle_timeout: Duration,
    /// The largest head of a request, from 1K to 1M; a larger one is answered 431 or 414
    #[arg(long, value_name = "BYTES", default_value = "16K", value_parser = size::parse)]
    pub header_limit: u64,
    /// Memory for file contents on their way to and from the disk, from 4M
    #[arg(long, value_name = "SIZE", default_value = "256M", value_parser = size::parse)]
    pub memory: u64,
    /// Seconds that running requests may take to finish after SIGTERM or SIGINT
    #[arg(long, value_name = "SECONDS", default_value = "5", value_parser = size::seconds)]
    pub grace: Duration,
    /// Leave nothing of uploads in the page cache
    #[arg(long)]
    pub uncached: bool,
    /// Only GET and HEAD
    #[arg(long)]
    pub read_only: bool,
    /// Answer GET /-/stats with figures of the engine and the server, as JSON; by default only on a loopback address
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = StatsChoice::Loopback)]
    pub stats: StatsChoice,
    /// A line for each request on standard error
    #[arg(short, long)]
    pub verbose: bool,
    /// Keep a timer of 1 ms in the loop, and say at the end how late it ever was
    #[arg(long, hide = true)]
    pub tick_report: bool,
}

/// What the answer to an upload vouches for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum SyncChoice {
    /// The file is complete; the kernel writes it to the disk when it likes
    None,
    /// The file and its name survive a loss of power
    Close,
}

/// Where standard input goes, and how surely.
#[derive(Clone, Debug, Args)]
#[command(after_help = LOG_EXAMPLES)]
pub struct Log {
    /// The file that is appended to; made if it is not there
    #[arg(value_name = "FILE")]
    pub file: PathBuf,
    /// When lines are made to survive a loss of power
    #[arg(long, value_enum, value_name = "WHEN", default_value_t = LogSync::None)]
    pub sync: LogSync,
    /// Seconds that a line may stay in memory before every process can read it
    #[arg(long, value_name = "SECONDS", default_value = "1", value_parser = size::seconds)]
    pub flush_interval: Duration,
    /// Memory for lines on their way to the disk, from 4M; when it is full, standard input waits
    #[arg(long, value_name = "SIZE", default_value = "16M", value_parser = size::parse)]
    pub memory: u64,
}

/// When lines are made durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum LogSync {
    /// Never: the kernel writes them to the disk when it likes
    None,
    /// After each flush of the interval
    Interval,
    /// When the file is closed: at the end, and at SIGHUP
    Close,
    /// With each write; lines that come meanwhile share the next one
    Each,
}

/// Who may see the figures of a server.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum StatsChoice {
    /// Nobody: the name is a file's like any other
    Off,
    /// Clients of a server that only this machine can reach
    Loopback,
    /// Every client
    On,
}

/// What to copy, and how.
#[derive(Clone, Debug, Args)]
#[command(after_help = CP_EXAMPLES)]
pub struct Cp {
    /// What to copy
    #[arg(value_name = "SRC", required = true)]
    pub sources: Vec<PathBuf>,
    /// A folder, or the name of the copy when there is one source
    #[arg(value_name = "DST", required = true)]
    pub destination: PathBuf,
    /// Replace files that exist, each in one step
    #[arg(short, long)]
    pub force: bool,
    /// Return when everything is safe on the disk
    #[arg(long)]
    pub sync: bool,
    /// No progress bar
    #[arg(short, long)]
    pub quiet: bool,
    /// Leave nothing of the files read and written in the page cache
    #[arg(long)]
    pub uncached: bool,
    /// Copy folders with all that is in them
    #[arg(short, long)]
    pub recursive: bool,
}

#[cfg(test)]
mod tests {
    use clap::CommandFactory;

    use super::*;

    #[test]
    fn the_command_line_is_consistent() {
        Command::command().debug_assert();
    }

    #[test]
    fn the_last_name_of_cp_is_the_destination() {
        let command = Command::parse_from(["efio", "cp", "-r", "a", "b", "c"]);
        let Action::Cp(cp) = command.action else { panic!("not cp") };
        assert_eq!(cp.sources, [PathBuf::from("a"), PathBuf::from("b")]);
        assert_eq!(cp.destination, PathBuf::from("c"));
        assert!(cp.recursive && !cp.force);
    }

    #[test]
    fn wrong_usage_is_refused() {
        for line in [
            &["efio"][..],
            &["efio", "cp", "a"],
            &["efio", "serve", "--max-size", "big"],
            &["efio", "serve", "--idle-timeout", "0"],
            &["efio", "serve", "--max-connections", "0"],
        ] {
            assert!(Command::try_parse_from(line).is_err(), "{line:?}");
        }
    }
}
