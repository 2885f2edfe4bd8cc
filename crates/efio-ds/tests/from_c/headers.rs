//! The headers compile without a warning, alone and together; the library exports what they declare, and nothing else.

use crate::toolchain::{Linking, Workshop, built, check, package, tool};
use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

/// The files below `folder` whose names end so.
fn files(folder: &Path, end: &str, found: &mut Vec<PathBuf>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            files(&path, end, found);
        } else if path.to_string_lossy().ends_with(end) {
            found.push(path);
        }
    }
}

fn texts(folder: &str, end: &str) -> Vec<(PathBuf, String)> {
    let mut found = Vec::new();
    files(&package().join(folder), end, &mut found);
    assert!(!found.is_empty(), "no {end} in {folder}");
    found.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// The documented list.
fn listed() -> BTreeSet<String> {
    fs::read_to_string(package().join("symbols.txt")).unwrap().lines().map(str::to_string).collect()
}

/// `text` without its comments of C.
fn without_comments(text: &str) -> String {
    let mut parts = text.split("/*");
    let first = parts.next().unwrap_or_default().to_string();
    parts.fold(first, |kept, part| kept + part.split_once("*/").map_or("", |(_, rest)| rest))
}

/// The functions that a header declares with the linkage of C.
fn declared(header: &str) -> Vec<String> {
    let text = without_comments(header);
    let Some((_, text)) = text.split_once("extern \"C\" {\n#endif") else { return Vec::new() };
    let (text, _) = text.split_once("#ifdef __cplusplus").unwrap();
    let prototypes = text.split(';').filter(|part| part.contains('(') && !part.contains("typedef"));
    let name = |part: &str| {
        let (head, _) = part.split_once('(').unwrap();
        head.rsplit(|c: char| !c.is_alphanumeric() && c != '_').next().unwrap().to_string()
    };
    prototypes.map(name).collect()
}

/// The functions that a source file exports.
fn exported(source: &str) -> Vec<String> {
    let name = |part: &str| {
        let (_, rest) = part.split_once(" fn ").unwrap();
        rest.split('(').next().unwrap().to_string()
    };
    source.split("#[unsafe(no_mangle)]").skip(1).map(name).collect()
}

#[test]
fn each_exported_function_is_declared_once_and_listed_and_the_other_way_round() {
    let declared: Vec<String> = texts("include", ".h").iter().flat_map(|(_, text)| declared(text)).collect();
    let exported: Vec<String> = texts("src", ".rs").iter().flat_map(|(_, text)| exported(text)).collect();
    let set = |names: &[String]| names.iter().cloned().collect::<BTreeSet<String>>();
    assert_eq!(set(&declared).len(), declared.len(), "declared twice");
    assert_eq!(set(&declared), listed(), "declared in a header (left), listed in symbols.txt (right)");
    assert_eq!(set(&exported), listed(), "exported by the code (left), listed in symbols.txt (right)");
}

#[test]
fn the_shared_library_exports_the_listed_symbols_and_no_other() {
    let Some(nm) = tool("NM", "nm") else { return };
    let output =
        Command::new(nm).args(["-D", "--defined-only"]).arg(built("libefio_ds.so")).output().unwrap();
    let symbols = String::from_utf8(output.stdout).unwrap();
    let symbols: BTreeSet<String> =
        symbols.lines().map(|line| line.rsplit(' ').next().unwrap().to_string()).collect();
    assert_eq!(symbols, listed(), "exported (left), listed (right)");
}

#[test]
fn the_loader_is_asked_for_the_library_by_its_major_version() {
    let workshop = Workshop::new();
    let source = package().join("tests/c/all_headers.c");
    let Some(program) = workshop.compile(&source, "c99", Linking::Shared) else { return };
    let Some(readelf) = tool("READELF", "readelf") else { return };
    let output = workshop.run(Command::new(readelf).arg("-d").arg(program));
    assert!(String::from_utf8_lossy(&output.stdout).contains("[libefio_ds.so.0]"));
}

#[test]
fn all_headers_together_are_c_from_c99_on() {
    let workshop = Workshop::new();
    let source = package().join("tests/c/all_headers.c");
    for standard in ["c99", "gnu99", "c11", "c17"] {
        let Some(program) = workshop.compile(&source, standard, Linking::Shared) else { return };
        workshop.run(&mut Command::new(program));
    }
}

#[test]
fn all_headers_together_are_cpp_from_cpp11_on() {
    let workshop = Workshop::new();
    let source = package().join("tests/c/all_headers.cpp");
    for standard in ["c++11", "gnu++14", "c++17", "c++20"] {
        let Some(program) = workshop.compile(&source, standard, Linking::Shared) else { return };
        workshop.run(&mut Command::new(program));
    }
}

#[test]
fn each_header_is_whole_alone() {
    let workshop = Workshop::new();
    let folder = tempfile::tempdir().unwrap();
    for (path, text) in texts("include", ".h") {
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let for_c = !without_comments(&text).contains("\nclass ");
        for (end, standard, wanted) in [("c", "c99", for_c), ("cpp", "c++11", true)] {
            let source = folder.path().join(format!("alone.{end}"));
            fs::write(&source, format!("#include \"{name}\"\nint main(void) {{ return 0; }}\n")).unwrap();
            if wanted && workshop.compile(&source, standard, Linking::Shared).is_none() {
                return;
            }
        }
    }
}

#[test]
fn a_program_may_include_the_headers_of_the_other_library_too() {
    let others = package().join("../efio-capi/include");
    if !others.is_dir() {
        return println!("skipped: the headers of libefio are not beside this package");
    }
    let (workshop, folder) = (Workshop::new(), tempfile::tempdir().unwrap());
    let mut text = String::from("#include \"all_headers.h\"\n");
    for entry in fs::read_dir(others).unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        fs::copy(&path, folder.path().join(&name)).unwrap();
        text += &format!("#include <{name}>\n");
    }
    text += "int main(void) { return 0; }\n";
    for (name, standard) in [("both.c", "c99"), ("both.cpp", "c++11")] {
        let source = folder.path().join(name);
        fs::write(&source, &text).unwrap();
        let Some(program) = workshop.compile(&source, standard, Linking::Shared) else { return };
        workshop.run(&mut Command::new(program));
    }
}

#[test]
fn a_program_may_be_linked_with_the_static_library() {
    let workshop = Workshop::new();
    let source = package().join("tests/c/all_headers.c");
    let Some(program) = workshop.compile(&source, "c99", Linking::Static) else { return };
    workshop.run(&mut Command::new(program));
}

#[test]
fn the_example_of_the_readme_runs() {
    let readme = fs::read_to_string(package().join("README.md")).unwrap();
    let (_, example) = readme.split_once("```c\n").unwrap();
    let (example, _) = example.split_once("```").unwrap();
    let folder = tempfile::tempdir().unwrap();
    let source = folder.path().join("example.c");
    fs::write(&source, example).unwrap();
    let workshop = Workshop::new();
    let Some(program) = workshop.compile(&source, "c99", Linking::Shared) else { return };
    let output = workshop.run(&mut Command::new(program));
    assert_eq!(String::from_utf8_lossy(&output.stdout), "hello\n");
}

#[test]
fn every_program_of_the_folder_is_run_by_a_test() {
    let tests: String = texts("tests/from_c", ".rs").into_iter().map(|(_, text)| text).collect();
    for end in [".c", ".cpp"] {
        for (path, _) in texts("tests/c", end) {
            let name = path.file_name().unwrap().to_string_lossy().into_owned();
            assert!(tests.contains(&name), "no test runs {name}");
        }
    }
    check("all_headers.c", &[]);
}
