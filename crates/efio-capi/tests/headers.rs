//! The headers and the example of the README are clean C99 and C++, by a compiler that is told to be strict.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::Write;
use std::path::Path;
use std::process::{Command, Stdio};

const STRICT: [&str; 6] = ["-Wall", "-Wextra", "-Wpedantic", "-Wconversion", "-Werror", "-fsyntax-only"];

/// What the compiler says to a text; `None`: there is no such compiler.
fn compile(compiler: &str, standard: &str, text: &str) -> Option<Result<(), String>> {
    let include = Path::new(env!("CARGO_MANIFEST_DIR")).join("include");
    let language = if standard.contains("++") { "c++" } else { "c" };
    let mut command = Command::new(compiler);
    command.args(STRICT).arg(format!("-std={standard}")).arg("-I").arg(include).args(["-x", language, "-"]);
    let begun = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn();
    let mut running = begun.ok()?;
    running.stdin.take().unwrap().write_all(text.as_bytes()).unwrap();
    let done = running.wait_with_output().unwrap();
    Some(if done.status.success() { Ok(()) } else { Err(String::from_utf8_lossy(&done.stderr).into_owned()) })
}

fn compile_everywhere(text: &str, cpp: bool) {
    let ways: &[(&str, &str)] = if cpp {
        &[("cc", "c99"), ("cc", "c11"), ("c++", "c++11"), ("c++", "c++20")]
    } else {
        &[("cc", "c99")]
    };
    for (compiler, standard) in ways {
        match compile(compiler, standard, text) {
            Some(answer) => assert_eq!(answer, Ok(()), "{compiler} -std={standard}:\n{text}"),
            None => println!("skipped: there is no {compiler}"),
        }
    }
}

#[test]
fn each_header_stands_alone_and_beside_the_others_in_any_order() {
    let headers = ["ef_io.h", "efio.h", "thread_pool.h", "ev_include.h"];
    let include =
        |names: &[&str]| names.iter().map(|name| format!("#include <{name}>\n")).collect::<String>();
    for header in headers {
        compile_everywhere(&include(&[header]), true);
    }
    compile_everywhere(&include(&headers), true);
    compile_everywhere(&include(&["thread_pool.h", "ev_include.h", "efio.h", "ef_io.h", "efio.h"]), true);
    if let Some(answer) = compile("cc", "c99", "int x = \"\";\n") {
        assert!(answer.is_err(), "the compiler passes anything");
    }
}

#[test]
fn the_example_of_the_readme_compiles() {
    let readme =
        std::fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("../../README.md")).unwrap();
    let example = readme.split("```c\n").nth(1).unwrap().split("```").next().unwrap();
    assert!(example.contains("ef_open"), "{example}");
    compile_everywhere(example, false);
}

#[test]
fn the_benchmark_compiles() {
    let bench = Path::new(env!("CARGO_MANIFEST_DIR")).join("bench/calls.c");
    compile_everywhere(&std::fs::read_to_string(bench).unwrap(), false);
}
