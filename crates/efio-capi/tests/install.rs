//! An installation by cargo-c: what it holds, and that C and C++ programs build against it and run.
//!
//! It needs `cargo cinstall` (`cargo install cargo-c --version 0.10.24 --locked`, some minutes) and builds the library once
//! more, for release, into a folder of its own.
#![cfg(target_os = "linux")]
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

mod built;

const LIMIT: Duration = Duration::from_secs(60);

/// What is missing here for the test, if anything.
fn missing() -> Option<&'static str> {
    let cargo = std::env::var_os("CARGO").unwrap_or("cargo".into());
    let cinstall = Command::new(cargo).args(["cinstall", "--version"]).output();
    if !cinstall.is_ok_and(|output| output.status.success()) {
        return Some("cargo-c is not installed (cargo install cargo-c --version 0.10.24 --locked)");
    }
    match () {
        () if built::compiler().is_none() => Some("there is no C compiler"),
        () if !built::has("pkg-config") => Some("pkg-config is not installed"),
        () if !built::has("nm") || !built::has("readelf") => Some("there is no nm or no readelf"),
        () => None,
    }
}

fn good(command: &mut Command) -> Output {
    let output = command.output().unwrap_or_else(|error| panic!("{command:?}: {error}"));
    assert!(output.status.success(), "{command:?}:\n{}", String::from_utf8_lossy(&output.stderr));
    output
}

/// The answer of pkg-config about the installation, in words.
fn flags(prefix: &Path, question: &[&str]) -> Vec<String> {
    let mut command = Command::new("pkg-config");
    command.env("PKG_CONFIG_PATH", prefix.join("lib/pkgconfig")).args(question).arg("efio");
    let text = String::from_utf8(good(&mut command).stdout).unwrap();
    text.split_whitespace().map(str::to_string).collect()
}

/// The dynamic symbols that a shared library defines.
fn exported(library: &Path) -> BTreeSet<String> {
    let text = String::from_utf8(good(Command::new("nm").args(["-D", "--defined-only"]).arg(library)).stdout)
        .unwrap();
    text.lines().filter_map(|line| line.split_whitespace().nth(2)).map(str::to_string).collect()
}

/// The symbols of an object that others can see. By readelf: an nm may stumble over the bitcode in Rust's own objects.
fn visible(object: &Path) -> BTreeSet<String> {
    let text = String::from_utf8(good(Command::new("readelf").arg("-sW").arg(object)).stdout).unwrap();
    let words = text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>());
    let seen =
        words.filter(|words| words.len() == 8 && matches!(words[4], "GLOBAL" | "WEAK") && words[6] != "UND");
    seen.map(|words| words[7].to_string()).collect()
}

/// Runs a program, alone and under valgrind where that is installed; it writes its file.
fn runs(program: &Path, library: &Path) {
    let file = program.with_extension("txt");
    let plain = built::run(Command::new(program).arg(&file).env("LD_LIBRARY_PATH", library), LIMIT);
    assert_eq!(plain.code, Some(0), "{}: {}", program.display(), plain.said);
    assert_eq!(fs::read(&file).unwrap(), b"hello, world\n");
    if !built::has("valgrind") {
        return built::skip("valgrind is not installed");
    }
    let mut checked = Command::new("valgrind");
    checked.args(["-q", "--error-exitcode=9", "--leak-check=full", "--errors-for-leak-kinds=definite"]);
    let checked = built::run(checked.arg(program).arg(&file).env("LD_LIBRARY_PATH", library), LIMIT);
    assert_eq!(checked.code, Some(0), "{}: {}", program.display(), checked.said);
}

/// The static library as one object in which only the documented names are left to be seen.
fn narrowed(library: &Path, place: &Path, documented: &BTreeSet<String>) -> PathBuf {
    let (whole, list, narrow) = (place.join("whole.o"), place.join("names"), place.join("efio.o"));
    good(Command::new("ld").args(["-r", "--whole-archive"]).arg(library).arg("-o").arg(&whole));
    fs::write(&list, documented.iter().map(|name| format!("{name}\n")).collect::<String>()).unwrap();
    let keep = format!("--keep-global-symbols={}", list.display());
    good(Command::new("objcopy").arg(keep).arg(&whole).arg(&narrow));
    narrow
}

#[test]
fn an_installation_serves_c_and_cplusplus_shared_and_static() {
    if let Some(reason) = missing() {
        return built::skip(reason);
    }
    let compiler = built::compiler().unwrap();
    let place = tempfile::tempdir_in(built::workshop("places")).unwrap();
    let (place, prefix) = (place.path(), place.path().join("prefix"));
    let mut cinstall = Command::new(std::env::var_os("CARGO").unwrap_or("cargo".into()));
    cinstall.current_dir(built::package()).args(["cinstall", "--offline", "--libdir", "lib", "--prefix"]);
    good(cinstall.arg(&prefix).arg("--target-dir").arg(built::workshop("cinstall")));

    // What is there.
    let library = prefix.join("lib");
    for name in ["ef_io.h", "efio.h", "thread_pool.h", "ev_include.h"] {
        assert!(prefix.join("include").join(name).exists(), "include/{name} is missing");
    }
    for name in ["libefio.so", "libefio.so.0", "libefio.a", "pkgconfig/efio.pc"] {
        assert!(library.join(name).exists(), "lib/{name} is missing");
    }
    let documented = built::declared();
    assert_eq!(exported(&library.join("libefio.so")), documented);
    let dynamic = good(Command::new("readelf").arg("-d").arg(library.join("libefio.so"))).stdout;
    assert!(String::from_utf8_lossy(&dynamic).contains("soname: [libefio.so.0]"));

    // The shared library, in C and in C++.
    let source = built::package().join("tests/c/installed/hello.c");
    let shared = place.join("shared");
    let all = flags(&prefix, &["--cflags", "--libs"]);
    good(
        Command::new(&compiler)
            .args(["-Wall", "-Wextra", "-Werror"])
            .arg(&source)
            .arg("-o")
            .arg(&shared)
            .args(&all),
    );
    runs(&shared, &library);
    if built::has("c++") {
        let program = place.join("plusplus");
        let mut command = Command::new("c++");
        command.args(["-Wall", "-Wextra", "-Werror", "-x", "c++"]).arg(&source).args(["-x", "none", "-o"]);
        good(command.arg(&program).args(&all));
        runs(&program, &library);
    } else {
        built::skip("there is no C++ compiler");
    }

    // The static one, as it is and with nothing but the documented names.
    let private: Vec<String> = flags(&prefix, &["--cflags", "--static", "--libs"])
        .into_iter()
        .map(|flag| if flag == "-lefio" { "-l:libefio.a".into() } else { flag })
        .collect();
    let program = place.join("static");
    good(Command::new(&compiler).arg(&source).arg("-o").arg(&program).args(&private));
    runs(&program, Path::new("/nonexistent"));
    if !built::has("objcopy") || !built::has("ld") {
        return built::skip("there is no ld or no objcopy");
    }
    let narrow = narrowed(&library.join("libefio.a"), place, &documented);
    assert_eq!(visible(&narrow), documented);
    let program = place.join("narrow");
    let rest = private.iter().filter(|flag| *flag != "-l:libefio.a");
    good(Command::new(&compiler).arg(&source).arg(&narrow).arg("-o").arg(&program).args(rest));
    runs(&program, Path::new("/nonexistent"));
}
