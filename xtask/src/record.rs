//! Puts the result of a long proof into `docs/proof.md`: one row a step, the last run of it.

use crate::run::{answer, root};
use crate::steps::Ran;
use std::fs;

/// Where the table is.
const PAGE: &str = "docs/proof.md";
/// What stands above it.
const RESULTS: &str = "## Results";

/// Replaces the row of this step, or adds one at the end of the table.
pub(crate) fn record(ran: &Ran<'_>, command: &str) -> Result<(), String> {
    let path = root().join(PAGE);
    let text = fs::read_to_string(&path).map_err(|error| format!("{}: {error}", path.display()))?;
    let date = answer("date", &["+%F"]);
    let new = with_row(&text, ran.name, &row(ran, command, &date));
    fs::write(&path, new).map_err(|error| format!("{}: {error}", path.display()))
}

fn row(ran: &Ran<'_>, command: &str, date: &str) -> String {
    let seconds = ran.took.as_secs();
    let took = if seconds < 120 { format!("{seconds} s") } else { format!("{} min", seconds / 60) };
    let said: Vec<&str> =
        [ran.word, &ran.counts, ran.note].into_iter().filter(|part| !part.is_empty()).collect();
    format!("| {} | `{command}` | {date} | {took} | {} |", ran.name, said.join("; "))
}

fn with_row(text: &str, name: &str, row: &str) -> String {
    let mut lines: Vec<&str> = text.lines().collect();
    let begins = format!("| {name} |");
    // The page also says what each step does, further up.
    let results = lines.iter().position(|line| *line == RESULTS).unwrap_or(0);
    if let Some(place) = lines[results..].iter().position(|line| line.starts_with(&begins)) {
        lines[results + place] = row;
    } else {
        let last = lines.iter().rposition(|line| line.starts_with('|'));
        lines.insert(last.map_or(lines.len(), |last| last + 1), row);
    }
    lines.join("\n") + "\n"
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::time::Duration;

    #[test]
    fn a_row_takes_the_place_of_the_last_one_of_its_step() {
        let steps = "# P\n\n| asan | what it does |\n\n";
        let results = "## Results\n\n| step | x |\n| --- | --- |\n| asan | old |\n| miri | m |\n\nend\n";
        let page = format!("{steps}{results}");
        assert_eq!(with_row(&page, "asan", "| asan | new |"), page.replace("old", "new"));
        assert_eq!(
            with_row(&page, "soak", "| soak | s |"),
            page.replace("| miri | m |\n", "| miri | m |\n| soak | s |\n")
        );
    }

    #[test]
    fn a_row_tells_the_time_the_counts_and_the_seed() {
        let took = Duration::from_secs(125);
        let ran = Ran { name: "soak", word: "ok", counts: "1 passed, 0 failed".into(), note: "seed 7", took };
        assert_eq!(
            row(&ran, "cargo xtask long --only soak", "2026-11-21"),
            "| soak | `cargo xtask long --only soak` | 2026-11-21 | 2 min | ok; 1 passed, 0 failed; seed 7 |"
        );
    }
}
