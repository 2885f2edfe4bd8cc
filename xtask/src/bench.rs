//! The benchmarks: efio's own, those of its C calls, then the table beside its peers that the README shows.

use crate::run::{cargo, root, target};
use std::process::Command;

/// The crate of the comparison; its dependencies, the peers, stay out of the workspace.
const PEERS: &str = "crates/efio-bench/Cargo.toml";

/// Runs the benchmarks with their output on the terminal; `quick` asks them for short runs.
pub(crate) fn bench(quick: bool) -> Result<bool, String> {
    let short = if quick { "--quick" } else { "" };
    let own = live(&format!("bench -p efio -- {short}"))? && c_calls()?;
    if !root().join(PEERS).exists() {
        println!("skipped: {PEERS} is not there, so there is no table beside the peers");
        return Ok(own);
    }
    Ok(live(&format!("run --release --manifest-path {PEERS} -- table {short}"))? && own)
}

/// The calls of the C library beside system calls, measured by a C program.
fn c_calls() -> Result<bool, String> {
    if !live("build --release -p efio-capi")? {
        return Ok(false);
    }
    let (home, libraries) = (root().join("crates/efio-capi"), target().join("release"));
    let program = libraries.join("efio-calls");
    let mut compile = Command::new("cc");
    compile.args(["-O2", "-o"]).arg(&program).arg("-I").arg(home.join("include"));
    compile.arg(home.join("bench/calls.c")).arg(libraries.join("libefio_capi.a")).args(["-lgcc_s", "-lm"]);
    let Ok(compiled) = compile.status() else {
        println!("skipped: there is no C compiler, so the C calls are not measured");
        return Ok(true);
    };
    let failed = |error| format!("{}: {error}", program.display());
    Ok(compiled.success() && Command::new(&program).status().map_err(failed)?.success())
}

fn live(words: &str) -> Result<bool, String> {
    let status = cargo(words).status().map_err(|error| format!("cargo {words}: {error}"))?;
    Ok(status.success())
}
