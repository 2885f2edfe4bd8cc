//! The shared library as it was built: what it exports, and its C name.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::process::Command;

mod built;

#[test]
fn it_exports_what_the_headers_declare_and_nothing_else() {
    if !built::has("nm") {
        return built::skip("there is no nm");
    }
    let library = built::library().join("libefio.so.0");
    let output = Command::new("nm").args(["-D", "--defined-only"]).arg(library).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    let exported = text.lines().filter_map(|line| line.split_whitespace().nth(2)).map(str::to_string);
    assert_eq!(exported.collect::<BTreeSet<_>>(), built::declared());
}

#[test]
fn programs_that_are_linked_with_it_ask_for_its_c_name() {
    if !built::has("readelf") {
        return built::skip("there is no readelf");
    }
    let output =
        Command::new("readelf").arg("-d").arg(built::library().join("libefio.so.0")).output().unwrap();
    let text = String::from_utf8(output.stdout).unwrap();
    assert!(text.contains("soname: [libefio.so.0]"), "{text}");
}
