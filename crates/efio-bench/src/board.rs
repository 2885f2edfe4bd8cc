//! Board: the figures of interleaved runs; medians, the least of maxima, ratios, and the table of the README.

use std::fmt::Write;

/// How the figures of several rounds become one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fold {
    /// The one in the middle.
    Median,
    /// The least: for the longest call of a round, which the scheduler spoils more often than not.
    Least,
}

/// One measure of a workload.
#[derive(Clone, Copy, Debug)]
pub struct Measure {
    /// Its name, with the unit.
    pub name: &'static str,
    /// How rounds become one figure.
    pub fold: Fold,
}

/// A measure folded to its median.
pub const fn median(name: &'static str) -> Measure {
    Measure { name, fold: Fold::Median }
}

/// A measure folded to its least.
pub const fn least(name: &'static str) -> Measure {
    Measure { name, fold: Fold::Least }
}

/// The figures of one workload.
#[derive(Debug)]
pub struct Board {
    title: &'static str,
    measures: &'static [Measure],
    peers: Vec<(&'static str, Vec<Vec<f64>>)>,
}

/// One line of the README's table.
#[derive(Clone, Debug)]
pub struct Verdict {
    /// The workload and the measure.
    pub work: String,
    /// What it is held against, with its figure.
    pub peer: String,
    /// efio's figure.
    pub efio: String,
    /// efio's figure over the peer's, where that is a target.
    pub ratio: String,
    /// The target in words.
    pub target: String,
    /// Whether it is met.
    pub met: bool,
}

impl Board {
    /// A board without figures.
    pub fn new(title: &'static str, measures: &'static [Measure]) -> Self {
        Self { title, measures, peers: Vec::new() }
    }

    /// Adds one figure of a round.
    pub fn add(&mut self, peer: &'static str, measure: &'static str, value: f64) {
        let Some(column) = self.measures.iter().position(|known| known.name == measure) else { return };
        let row = match self.peers.iter().position(|(name, _)| *name == peer) {
            Some(row) => row,
            None => {
                self.peers.push((peer, vec![Vec::new(); self.measures.len()]));
                self.peers.len() - 1
            }
        };
        self.peers[row].1[column].push(value);
    }

    /// The folded figure; not a number when there is none.
    pub fn get(&self, peer: &str, measure: &str) -> f64 {
        let column = self.measures.iter().position(|known| known.name == measure);
        let row = self.peers.iter().find(|(name, _)| *name == peer);
        match (column, row) {
            (Some(column), Some((_, values))) => fold(&values[column], self.measures[column].fold),
            _ => f64::NAN,
        }
    }

    /// Prints a row for each peer, in the order of their first figures.
    pub fn print(&self) {
        println!("\n{}", self.title);
        print!("{:<34}", "");
        self.measures.iter().for_each(|measure| print!("{:>16}", measure.name));
        println!();
        for (peer, _) in &self.peers {
            print!("{peer:<34}");
            for measure in self.measures {
                let value = self.get(peer, measure.name);
                print!("{:>16}", if value.is_nan() { "-".into() } else { figure(value) });
            }
            println!();
        }
    }

    /// The same as a table of the README's.
    pub fn print_markdown(&self) {
        print!("\n{}\n\n| |", self.title);
        self.measures.iter().for_each(|measure| print!(" {} |", measure.name));
        println!("\n| --- |{}", " --- |".repeat(self.measures.len()));
        for (peer, _) in &self.peers {
            print!("| {peer} |");
            self.measures.iter().for_each(|measure| print!(" {} |", figure(self.get(peer, measure.name))));
            println!();
        }
    }

    /// efio's figure over a peer's is to be at most `most`.
    pub fn at_most(&self, work: &str, measure: &str, efio: &str, peer: &str, most: f64) -> Verdict {
        let (mine, theirs) = (self.get(efio, measure), self.get(peer, measure));
        Verdict {
            work: format!("{work}, {measure}"),
            peer: format!("{peer}: {}", figure(theirs)),
            efio: figure(mine),
            ratio: figure(mine / theirs),
            target: format!("≤ {most} ×"),
            met: mine <= theirs * most,
        }
    }

    /// efio's figure over a peer's is to be at least `least`.
    pub fn at_least(&self, work: &str, measure: &str, efio: &str, peer: &str, least: f64) -> Verdict {
        let verdict = self.at_most(work, measure, efio, peer, least);
        let met = self.get(efio, measure) >= self.get(peer, measure) * least;
        Verdict { target: format!("≥ {least} ×"), met, ..verdict }
    }

    /// efio's figure is to be at most `most`, whatever a peer has.
    pub fn below(&self, work: &str, measure: &str, efio: &str, peer: &str, most: f64) -> Verdict {
        let mine = self.get(efio, measure);
        Verdict {
            target: format!("≤ {}", figure(most)),
            met: mine <= most,
            ..self.at_most(work, measure, efio, peer, 1.0)
        }
    }
}

fn fold(values: &[f64], by: Fold) -> f64 {
    let mut sorted: Vec<f64> = values.iter().copied().filter(|value| !value.is_nan()).collect();
    sorted.sort_by(f64::total_cmp);
    match by {
        _ if sorted.is_empty() => f64::NAN,
        Fold::Median => sorted[sorted.len() / 2],
        Fold::Least => sorted[0],
    }
}

/// Three digits that matter.
pub fn figure(value: f64) -> String {
    match value.abs() {
        _ if value.is_nan() => "-".into(),
        size if size >= 10_000.0 => format!("{value:.0}"),
        size if size >= 100.0 => format!("{value:.0}"),
        size if size >= 10.0 => format!("{value:.1}"),
        size if size >= 0.01 || size == 0.0 => format!("{value:.2}"),
        _ => format!("{value:.4}"),
    }
}

/// The README's table.
pub fn markdown(verdicts: &[Verdict]) -> String {
    let mut text = String::from("| workload, measure | held against | efio | ratio | target | met |\n");
    text += "| --- | --- | --- | --- | --- | --- |\n";
    for Verdict { work, peer, efio, ratio, target, met } in verdicts {
        let met = if *met { "yes" } else { "no" };
        // Writing to a string does not fail.
        let _ = writeln!(text, "| {work} | {peer} | {efio} | {ratio} | {target} | {met} |");
    }
    text
}
