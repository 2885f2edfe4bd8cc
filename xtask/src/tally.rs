//! Counts what tests said: passed, failed, skipped, and the reasons of those that could not run here.
//!
//! It reads the output of `cargo nextest` and of `cargo test`. A test that printed a line `skipped: reason` did not prove
//! its claim: it is taken from the passed and counted as skipped, once, however many lines it printed.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

/// The counts of one or more test runs.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Tally {
    pub(crate) passed: usize,
    pub(crate) failed: usize,
    pub(crate) skipped: usize,
    /// Each reason given, with the tests that gave it.
    pub(crate) reasons: BTreeMap<String, Vec<String>>,
}

impl Tally {
    /// Reads the whole output of one command that ran tests.
    pub(crate) fn read(output: &str) -> Tally {
        let mut tally = Tally::default();
        // Passed by their summaries, but with a reason printed.
        let mut unproven = BTreeSet::new();
        let (mut test, mut failures, mut run) = (None, false, 0);
        for line in output.lines() {
            if let Some(counts) = summary(line) {
                tally.count(counts);
                (test, failures, run) = (None, false, run + 1);
            } else if matches!(line, "successes:" | "failures:") {
                (test, failures) = (None, line == "failures:");
            } else if let Some(name) = header(line) {
                test = name.filter(|_| !failures);
            } else if let (Some(reason), Some(name)) = (line.trim_start().strip_prefix("skipped:"), test) {
                tally.skip(reason.trim(), name);
                unproven.insert((run, name));
            }
        }
        tally.passed = tally.passed.saturating_sub(unproven.len());
        tally.skipped += unproven.len();
        tally
    }

    /// Notes that `name` could not run, and why.
    pub(crate) fn skip(&mut self, reason: &str, name: &str) {
        let names = self.reasons.entry(reason.to_string()).or_default();
        if !names.iter().any(|other| other == name) {
            names.push(name.to_string());
        }
    }

    /// Adds the counts of another run.
    pub(crate) fn add(&mut self, other: Tally) {
        self.passed += other.passed;
        self.failed += other.failed;
        self.skipped += other.skipped;
        for (reason, names) in other.reasons {
            names.iter().for_each(|name| self.skip(&reason, name));
        }
    }

    /// How many tests had anything to say.
    pub(crate) fn total(&self) -> usize {
        self.passed + self.failed + self.skipped
    }

    fn count(&mut self, counts: &str) {
        for part in counts.split([',', ';', '.']) {
            let mut words = part.split_whitespace();
            let (Some(Ok(number)), Some(word)) = (words.next().map(str::parse::<usize>), words.next()) else {
                continue;
            };
            match word {
                "passed" => self.passed += number,
                "failed" | "timed" | "exec" => self.failed += number,
                "skipped" | "ignored" => self.skipped += number,
                _ => {}
            }
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} passed, {} failed", self.passed, self.failed)?;
        if self.skipped > 0 { write!(f, ", {} skipped", self.skipped) } else { Ok(()) }
    }
}

/// The counts of a line that sums a run up: `Summary [ 0.1s] 4 tests run: 3 passed, …` or `test result: ok. 3 passed; …`.
fn summary(line: &str) -> Option<&str> {
    // Only at the margin: a runner indents what the tests under it print.
    if let Some(counts) = line.strip_prefix("test result: ") {
        return counts.split_once(". ").map(|(_, counts)| counts);
    }
    let counts = line.trim_start().strip_prefix("Summary [")?;
    counts.split_once(" run: ").map(|(_, counts)| counts)
}

/// The name of the test whose output follows: `PASS [ 0.003s] (1/4) crate name` or `---- name stdout ----`. The inner
/// None is a test that did not pass.
fn header(line: &str) -> Option<Option<&str>> {
    if let Some(name) = line.strip_prefix("---- ").and_then(|line| line.strip_suffix(" stdout ----")) {
        return Some(Some(name));
    }
    let (status, rest) = line.trim_start().split_once(" [")?;
    let upper = !status.is_empty() && status.chars().all(|c| c.is_ascii_uppercase() || c == '-');
    let (_, name) = rest.split_once("s] (").filter(|_| upper)?;
    let name = name.split_once(") ").map(|(_, name)| name);
    Some(name.filter(|_| matches!(status, "PASS" | "LEAK")))
}

#[cfg(test)]
mod tests {
    use super::*;

    const NEXTEST: &str = "\
    Starting 6 tests across 1 binary (1 test skipped)
        PASS [   0.005s] (1/6) efio good
  stdout ───

    running 1 test
    test good ... ok

    test result: ok. 1 passed; 0 failed; 0 ignored; 0 measured; 4 filtered out; finished in 0.00s

        PASS [   0.010s] (2/6) efio::crash twice
  stderr ───
    skipped: no fuse
    skipped: no ring

        LEAK [   0.010s] (3/6) efio leaks
    skipped: no fuse
        FAIL [   0.109s] (4/6) efio bad
────────────
     Summary [   0.111s] 6 tests run: 3 passed (1 leaky, 1 slow), 2 failed, 1 timed out, 1 skipped
        FAIL [   0.109s] (4/6) efio bad
  stdout ───
    skipped: said by a test that failed
error: test run failed";

    const LIBTEST: &str = "\
running 4 tests
test good ... ok

successes:

---- good stdout ----
hello
---- cannot stdout ----
skipped: no fuse

successes:
    good

failures:

---- bad stdout ----
skipped: said by a test that failed

failures:
    bad

test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.07s
test result: ok. 5 passed; 0 failed; 0 ignored; 0 measured; 0 filtered out; finished in 1.25s";

    #[test]
    fn a_test_that_gives_a_reason_counts_as_skipped_once() {
        let tally = Tally::read(NEXTEST);
        assert_eq!((tally.passed, tally.failed, tally.skipped), (1, 3, 3));
        assert_eq!(tally.reasons["no fuse"], ["efio::crash twice", "efio leaks"]);
        assert_eq!(tally.reasons.len(), 2);
    }

    #[test]
    fn the_plain_test_runner_is_counted_over_all_its_binaries() {
        let mut tally = Tally::read(LIBTEST);
        assert_eq!((tally.passed, tally.failed, tally.skipped), (6, 1, 2));
        assert_eq!(tally.reasons["no fuse"], ["cannot"]);
        tally.add(Tally::read(NEXTEST));
        assert_eq!(tally.to_string(), "7 passed, 4 failed, 5 skipped");
        assert_eq!(tally.reasons["no fuse"].len(), 3);
    }

    #[test]
    fn an_output_without_a_summary_counts_nothing() {
        assert_eq!(Tally::read("error: could not compile `efio`\nskipped: nothing").total(), 0);
        assert_eq!(Tally::default().to_string(), "0 passed, 0 failed");
    }
}
