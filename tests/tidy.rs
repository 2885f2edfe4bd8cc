//! The house rules, kept by reading the source as text.
//!
//! One test per rule. Each first shows that the rule can fail, on snippets that break it, then that it lets sound ones
//! pass, then asks it of every `.rs` file of the repository.

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

#[path = "tidy/rules.rs"]
mod rules;
#[path = "tidy/scan.rs"]
mod scan;

use rules::{captions, chains, doors, floors, lengths, map_faults, names, orders, reasons, unwraps};
use scan::Source;

/// The paths below `folder`, relative to `root`, folders ending in `/`; hidden and build folders are left out.
fn walk(root: &Path, folder: &str, paths: &mut BTreeSet<String>) {
    let Ok(entries) = fs::read_dir(root.join(folder)) else { return };
    for entry in entries.flatten() {
        let name = entry.file_name().to_string_lossy().into_owned();
        let path = format!("{folder}{name}");
        if name.starts_with('.') || name == "target" || name.starts_with("target-") {
            continue;
        }
        if entry.path().is_dir() {
            walk(root, &format!("{path}/"), paths);
            paths.insert(format!("{path}/"));
        } else {
            paths.insert(path);
        }
    }
}

/// Every `.rs` file of the repository; a module declared for tests only is marked so as a whole.
fn repository() -> Vec<Source> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = BTreeSet::new();
    walk(root, "", &mut paths);
    let rust = paths.iter().filter(|path| path.ends_with(".rs"));
    let mut sources: Vec<Source> = rust
        .map(|path| Source::new(path, &fs::read_to_string(root.join(path)).unwrap_or_default()))
        .collect();
    assert!(sources.iter().any(|source| source.path == "src/lib.rs"), "the walk does not see src");
    let mut tests = BTreeSet::new();
    for source in &sources {
        let stem = source.path.trim_end_matches(".rs");
        let home = stem.strip_suffix("/mod").or(stem.strip_suffix("/lib")).or(stem.strip_suffix("/main"));
        let declared = source.test_modules.iter().map(|name| format!("{}/{name}", home.unwrap_or(stem)));
        tests.extend(declared.flat_map(|path| [format!("{path}.rs"), format!("{path}/mod.rs")]));
    }
    for source in sources.iter_mut().filter(|source| tests.contains(&source.path)) {
        source.tokens.iter_mut().for_each(|token| token.test = true);
    }
    sources
}

/// Shows that `rule` finds a fault in each broken file and none in a sound one, then keeps it in the repository.
fn keep(rule: fn(&Source) -> Vec<String>, broken: &[(&str, &str)], sound: &[(&str, &str)]) {
    for (path, text) in broken {
        assert!(!rule(&Source::new(path, text)).is_empty(), "the rule lets this pass: {path}: {text}");
    }
    for (path, text) in sound {
        assert_eq!(rule(&Source::new(path, text)), [""; 0], "the rule refuses this: {path}: {text}");
    }
    let faults: Vec<String> = repository().iter().flat_map(rule).collect();
    assert!(faults.is_empty(), "{} faults:\n{}", faults.len(), faults.join("\n"));
}

#[test]
fn every_file_opens_with_a_caption() {
    let broken = ["", "use std::io;\n//! late", "//!\n//! second line", "// plain", "//! …"];
    keep(captions, &broken.map(|text| ("src/a.rs", text)), &[("src/a.rs", "//! What it is.\nfn a() {}")]);
}

#[test]
fn no_file_is_longer_than_500_lines() {
    let text = |lines| "//! x\n".repeat(lines);
    keep(lengths, &[("src/a.rs", &text(501))], &[("src/a.rs", &text(500))]);
}

#[test]
fn imports_go_down_the_floors_and_strangers_stay_strangers() {
    let broken = [
        ("src/file/read.rs", "use crate::engine::Turn;"),
        ("src/file/read.rs", "use crate::sys::Call;"),
        ("src/sys/sim.rs", "fn a(b: &super::super::file::State) {}"),
        ("src/table.rs", "fn a() { let b = crate::handle::File::new(); }"),
        ("src/table.rs", "use super::{page, engine::{self, turn}};"),
        ("src/sync/wake.rs", "use {crate::{error, table::Table}};"),
        ("src/page.rs", "mod inner { use super::super::file::Cell; }"),
        ("src/engine/turn.rs", "use crate::Efio;"),
        ("src/engine/turn.rs", "use crate::*;"),
        ("src/engine/turn.rs", "#[cfg(not(test))] use crate::efio::Efio;"),
        ("src/attic.rs", "fn a() {}"),
    ];
    let sound = [
        ("src/lib.rs", "pub use crate::efio::Efio;"),
        ("src/efio.rs", "use crate::{engine::Turn, error::Error, sys, file::{read, write}};"),
        (
            "src/file/read.rs",
            "use super::state::engine; use super::super::page::Page; use crate::file::write;",
        ),
        (
            "src/sys/mod.rs",
            "// crate::file\n/// [`crate::engine`]\nconst A: &str = r#\"crate::file \"x\" \"#; fn b<'a>() {}",
        ),
        ("src/table.rs", "#[cfg(test)]\nmod tests { use crate::efio::Efio; }\nfn a() { crate::page::b() }"),
        ("src/page.rs", "mod inner { use super::engine::x; pub(crate) fn a() {} }"),
    ];
    keep(floors, &broken, &sound);
}

#[test]
fn each_package_has_one_door() {
    let broken = [
        ("src/file/read.rs", "fn a() { unsafe { libc::getpid() }; }"),
        ("src/file/read.rs", "use libc as c;"),
        ("src/engine/turn.rs", "use std::{io, sync::{Arc, atomic::AtomicU32}};"),
        ("src/engine/turn.rs", "use core::sync::atomic;"),
        ("src/engine/turn.rs", "fn a(b: ::mio::Token) {}"),
        ("src/queue/mpmc.rs", "use crossbeam_utils::CachePadded;"),
        ("src/table.rs", "use {loom::thread, crossbeam_queue::ArrayQueue};"),
        ("src/sync/wake.rs", "extern crate nix;"),
    ];
    let sound = [
        ("src/sys/call.rs", "use nix::errno::Errno; use {libc, io_uring::IoUring};"),
        ("src/sync/futex.rs", "use libc::c_int; use std::sync::{Arc, atomic::AtomicU32};"),
        ("src/engine/notify.rs", "use mio::Waker;"),
        ("src/queue/mpmc.rs", "use crate::sync::loom::Arc; use crossbeam_queue::ArrayQueue; // libc::x"),
        ("src/table.rs", "use crate::sync::atomic::AtomicU32; #[cfg(test)] mod tests { use libc::c_int; }"),
        ("crates/efio-cli/src/main.rs", "use mio::Poll;"),
    ];
    keep(doors, &broken, &sound);
}

#[test]
fn every_atomic_operation_tells_what_it_pairs_with() {
    let broken = [
        "fn a() { b.load(Acquire); }",
        "/// ORDER: a doc comment is no note\nfn a() { b.store(1, Ordering::Release); }",
        "// ORDER: too far away\n\n\n\n\n\nlet a = b.swap(0, AcqRel);",
        "// ORDER:\nfence(SeqCst);",
        "let a = \"// ORDER: text\"; b.fetch_or(\n  1,\n  Relaxed,\n);",
        "// why not\nb.compare_exchange_weak(x, y, AcqRel, Acquire)",
    ];
    let sound = [
        "// ORDER: pairs with the swap in `take`.\nb.load(Acquire);",
        "b.store(1, Release); // ORDER: pairs with the load in `look`.",
        "// ORDER: a note that\n// goes on\n// for more\n// lines than\n// the window\n// is high.\nfence(SeqCst);",
        "vec.swap(0, 1); cache.load(path); fn fence(order: Ordering) {} // b.load(Relaxed)",
        "#[cfg(test)] mod tests { fn a() { b.load(Relaxed); } }",
    ];
    keep(orders, &broken.map(|text| ("src/a.rs", text)), &sound.map(|text| ("src/a.rs", text)));
}

#[test]
fn nothing_unwraps_outside_tests() {
    let broken =
        [("src/a.rs", "fn a() { b.unwrap(); }"), ("crates/c/src/main.rs", "fn a() { b\n.expect(\"c\"); }")];
    let sound = [
        ("src/a.rs", "/// b.unwrap()\nfn a() { b.unwrap_or(1); }\n#[test]\nfn c() { d.unwrap(); }"),
        ("tests/a.rs", "fn a() { b.unwrap(); }"),
    ];
    keep(unwraps, &broken, &sound);
}

#[test]
fn no_condition_is_newer_than_the_oldest_rust() {
    let broken = [
        "fn a() { if let Some(b) = c && d(b) { e() } }",
        "fn a() { if b && let Some(c) = d { e() } }",
        "fn a() { while let Some(b) = c()\n && let Some(e) = d(b) { e() } }",
    ];
    let sound =
        ["fn a() { if let Some(b) = c(d && e, &&f) { if g && h {} } }", "fn a() { if let &b = &c {} }"];
    keep(chains, &broken.map(|text| ("src/a.rs", text)), &sound.map(|text| ("src/a.rs", text)));
}

#[test]
fn a_file_with_unsafe_code_opens_with_its_reason() {
    let broken = [
        "unsafe fn a() {}",
        "#![allow(unsafe_code)]\nfn a() { unsafe { b() } }",
        "#![allow(unsafe_code, reason = \"\")]\nunsafe fn a() {}",
        "#![deny(unsafe_code, reason = \"x\")]\nunsafe fn a() {}",
        "fn a() {}\nmod b { #![allow(unsafe_code, reason = \"late\")] unsafe fn c() {} }",
    ];
    let sound = [
        "//! A\n#![allow(unsafe_code, reason = \"raw pages\")]\nunsafe fn a() {}",
        "// unsafe\nconst A: &str = \"unsafe\"; const B: char = '\"'; // unsafe \"",
    ];
    keep(reasons, &broken.map(|text| ("src/a.rs", text)), &sound.map(|text| ("src/a.rs", text)));
}

#[test]
fn no_file_or_module_has_an_empty_name() {
    let broken = [("src/page_util.rs", ""), ("tests/common/mod.rs", ""), ("src/a.rs", "mod helper;")];
    keep(names, &broken, &[("src/commonwealth.rs", "mod utility; fn helper() {}")]);
}

#[test]
fn the_map_in_the_readme_is_true() {
    let paths = ["lib.rs", "a.rs", "b.rs", "file/", "file/mod.rs", "file/c.rs"].map(String::from).into();
    let faults =
        |map: &str| map_faults(&format!("# x\n```\nno\n```\n## The map\n```text\n{map}\n```\n"), &paths);
    let sound =
        "src/\n├── lib.rs   the door\n├── a.rs  b.rs   two\n│            more of them\n└── file/   mod, c";
    assert_eq!(faults(sound), Some(vec![]));
    assert_eq!(faults("lib.rs  x\na.rs b.rs\nfile/  y\n  mod.rs\n  c.rs  z"), Some(vec![]));
    assert_eq!(faults("lib.rs a.rs b.rs").map(|faults| faults.len()), Some(1), "file/ is missing");
    assert_eq!(faults(&format!("{sound}\n    └── gone.rs")).map(|faults| faults.len()), Some(1), "gone.rs");
    assert_eq!(
        faults(&format!("{sound}\n└── nothing named")).map(|faults| faults.len()),
        Some(1),
        "no entry"
    );
    assert_eq!(map_faults("# x\n```\nlib.rs\n```\n", &paths), None);

    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut paths = BTreeSet::new();
    walk(&root.join("src"), "", &mut paths);
    match map_faults(&fs::read_to_string(root.join("README.md")).unwrap_or_default(), &paths) {
        Some(faults) => assert!(faults.is_empty(), "{}", faults.join("\n")),
        None => println!("skipped: README.md has no map of src"),
    }
}
