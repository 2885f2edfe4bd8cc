//! The benchmarks: efio's own, then the table beside its peers that the README shows.

use crate::run::{cargo, root};

/// The crate of the comparison; its dependencies, the peers, stay out of the workspace.
const PEERS: &str = "crates/efio-bench/Cargo.toml";

/// Runs the benchmarks with their output on the terminal; `quick` asks them for short runs.
pub(crate) fn bench(quick: bool) -> Result<bool, String> {
    let short = if quick { "--quick" } else { "" };
    let own = live(&format!("bench -p efio -- {short}"))?;
    if !root().join(PEERS).exists() {
        println!("skipped: {PEERS} is not there, so there is no table beside the peers");
        return Ok(own);
    }
    Ok(live(&format!("run --release --manifest-path {PEERS} -- table {short}"))? && own)
}

fn live(words: &str) -> Result<bool, String> {
    let status = cargo(words).status().map_err(|error| format!("cargo {words}: {error}"))?;
    Ok(status.success())
}
