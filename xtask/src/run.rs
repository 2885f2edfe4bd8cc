//! Runs one child: output to a log, a time limit, the end of the log when it fails.
//!
//! The output goes to a file and not to a pipe: a grandchild that outlives its parent can then hold up nobody, and the
//! whole text stays there to be read (`target/xtask/<step>.log`).

use std::fs::{self, File, OpenOptions};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::thread::sleep;
use std::time::{Duration, Instant};

/// How long a child may take to end after it was asked to.
const GRACE: Duration = Duration::from_secs(10);

/// The root of the repository.
pub(crate) fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR")).parent().unwrap_or(Path::new("."))
}

/// The build folder, `target` unless the environment says otherwise.
pub(crate) fn target() -> PathBuf {
    root().join(std::env::var_os("CARGO_TARGET_DIR").unwrap_or("target".into()))
}

/// A build folder for builds with other compiler flags: `target-loom`, or `loom` inside a folder of the user's choice.
pub(crate) fn target_for(purpose: &str) -> PathBuf {
    match std::env::var_os("CARGO_TARGET_DIR") {
        Some(folder) => root().join(folder).join(purpose),
        None => root().join(format!("target-{purpose}")),
    }
}

/// `cargo` with these words, in the root, without colours.
pub(crate) fn cargo(words: &str) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    command.args(words.split_whitespace()).current_dir(root()).env("CARGO_TERM_COLOR", "never");
    command
}

/// Adds to the compiler's flags what the user's environment does not have yet.
pub(crate) fn rust_flags(command: &mut Command, flags: &str) {
    let given = std::env::var("RUSTFLAGS").unwrap_or_default();
    command.env("RUSTFLAGS", format!("{given} {flags}").trim());
}

/// The output of a command that only answers a question; empty if it cannot run.
pub(crate) fn answer(program: &str, words: &[&str]) -> String {
    let output = Command::new(program).args(words).stderr(Stdio::null()).output();
    output.map(|output| String::from_utf8_lossy(&output.stdout).trim().to_string()).unwrap_or_default()
}

/// What a child said and whether it went well.
pub(crate) struct Report {
    pub(crate) passed: bool,
    pub(crate) output: String,
}

/// The log of one step, which all children of the step write one after another.
pub(crate) struct Log {
    path: PathBuf,
    limit: Duration,
}

impl Log {
    /// A new, empty log; each child of it has `limit` to end.
    pub(crate) fn new(name: &str, limit: Duration) -> Result<Log, String> {
        let path = target().join("xtask").join(format!("{name}.log"));
        let made = fs::create_dir_all(target().join("xtask")).and_then(|()| File::create(&path));
        made.map(|_| Log { limit, path: path.clone() })
            .map_err(|error| format!("{}: {error}", path.display()))
    }

    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The same log with another limit for its children.
    pub(crate) fn within(&self, limit: Duration) -> Log {
        Log { path: self.path.clone(), limit }
    }

    /// Runs `command` to its end or its limit.
    pub(crate) fn run(&self, command: &mut Command) -> Report {
        let start = fs::metadata(&self.path).map_or(0, |data| data.len());
        let ended = self.spawn(command).and_then(|child| self.watch(child));
        let text = fs::read(&self.path).unwrap_or_default();
        let own = text.get(usize::try_from(start).unwrap_or(0)..).unwrap_or_default();
        let mut output = String::from_utf8_lossy(own).into_owned();
        let passed = match ended {
            Ok(status) if status.success() => true,
            Ok(status) => {
                output += &format!("\n{status}: {command:?}\n");
                false
            }
            Err(why) => {
                output += &format!("\n{why}: {command:?}\n");
                false
            }
        };
        Report { passed, output }
    }

    fn spawn(&self, command: &mut Command) -> Result<Child, String> {
        let log =
            OpenOptions::new().append(true).open(&self.path).and_then(|log| Ok((log.try_clone()?, log)));
        let (out, err) = log.map_err(|error| format!("{}: {error}", self.path.display()))?;
        command.stdin(Stdio::null()).stdout(out).stderr(err);
        command.spawn().map_err(|error| format!("cannot start: {error}"))
    }

    fn watch(&self, mut child: Child) -> Result<ExitStatus, String> {
        let begun = Instant::now();
        let mut asked = false;
        loop {
            match child.try_wait() {
                Ok(Some(_)) if asked => return Err(format!("ended after {} s", self.limit.as_secs())),
                Ok(Some(status)) => return Ok(status),
                Err(error) => return Err(format!("cannot wait: {error}")),
                Ok(None) => sleep(Duration::from_millis(10)),
            }
            if !asked && begun.elapsed() > self.limit {
                asked = true;
                // A polite end first: a test runner then ends its tests as well.
                answer("kill", &["-TERM", &child.id().to_string()]);
            } else if begun.elapsed() > self.limit + GRACE {
                child.kill().map_err(|error| format!("cannot end it: {error}"))?;
            }
        }
    }
}

/// The last `lines` lines of a text, cargo's progress left out.
pub(crate) fn tail(text: &str, lines: usize) -> String {
    let progress = |line: &&str| {
        let word = line.split_whitespace().next().unwrap_or_default();
        line.starts_with("  ") && matches!(word, "Compiling" | "Checking" | "Documenting" | "Downloaded")
    };
    let all: Vec<&str> = text.trim_end().lines().filter(|line| !progress(line)).collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_child_past_its_limit_is_ended_and_says_so() {
        let log = Log::new("limit", Duration::from_millis(100)).unwrap();
        let report = log.run(Command::new("sleep").arg("60"));
        assert!(!report.passed);
        assert!(report.output.contains("ended after 0 s"), "{}", report.output);
    }

    #[test]
    fn a_log_holds_all_children_and_a_report_only_its_own() {
        let log = Log::new("both", Duration::from_secs(60)).unwrap();
        assert_eq!(log.run(Command::new("echo").arg("first")).output, "first\n");
        let report = log.run(Command::new("sh").args(["-c", "echo second; echo third >&2; exit 7"]));
        assert!(
            !report.passed && report.output.starts_with("second\nthird\n\nexit status: 7"),
            "{}",
            report.output
        );
        assert!(fs::read_to_string(log.path()).unwrap().ends_with("first\nsecond\nthird\n"));
    }

    #[test]
    fn a_command_that_cannot_start_is_a_failure() {
        let log = Log::new("start", Duration::from_secs(60)).unwrap();
        assert!(!log.run(&mut Command::new("/nonexistent/program")).passed);
    }

    #[test]
    fn the_tail_leaves_out_the_progress() {
        assert_eq!(tail("a\n   Compiling b v1\nc\nd\n\n", 2), "c\nd");
    }
}
