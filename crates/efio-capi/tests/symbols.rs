//! What the headers declare is what the library exports, and the other way round.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

const HEADERS: [&str; 4] = ["ef_io.h", "efio.h", "thread_pool.h", "ev_include.h"];

/// The text without its comments and its preprocessor lines.
fn bare(text: &str) -> String {
    let mut bare = String::new();
    let mut rest = text;
    while let Some((before, comment)) = rest.split_once("/*") {
        bare.push_str(before);
        rest = comment.split_once("*/").unwrap().1;
    }
    bare.push_str(rest);
    // A macro that goes on in the next line ends with a backslash.
    let joined = bare.replace("\\\n", " ");
    joined
        .lines()
        .filter(|line| !line.trim_start().starts_with('#'))
        .map(|line| format!("{line}\n"))
        .collect()
}

/// The names of the functions that a header declares.
fn declared(text: &str) -> BTreeSet<String> {
    let bare = bare(text).replace("extern \"C\" {", "");
    let statements = bare.split(';').map(str::trim).filter(|text| text.ends_with(')'));
    let functions = statements.filter(|text| !text.starts_with("typedef"));
    let word = |c: char| c.is_alphanumeric() || c == '_';
    let name = |text: &str| {
        let before = text.split_once('(').unwrap().0;
        before.rsplit(|c| !word(c)).next().unwrap().to_string()
    };
    functions.map(name).collect()
}

/// The names that the sources export.
fn exported(folder: &Path, names: &mut BTreeSet<String>) {
    for entry in fs::read_dir(folder).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            exported(&path, names);
            continue;
        }
        let text = fs::read_to_string(&path).unwrap();
        for part in text.split("#[unsafe(no_mangle)]").skip(1) {
            let function = part.split_once("fn ").unwrap().1;
            names.insert(function.split_once('(').unwrap().0.to_string());
        }
    }
}

#[test]
fn the_headers_declare_what_the_library_exports_and_nothing_else() {
    let home = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut in_headers = BTreeSet::new();
    for header in HEADERS {
        in_headers.append(&mut declared(&fs::read_to_string(home.join("include").join(header)).unwrap()));
    }
    let mut in_code = BTreeSet::new();
    exported(&home.join("src"), &mut in_code);
    assert!(in_code.len() > 30, "the look at the sources finds few: {in_code:?}");
    assert_eq!(in_headers, in_code);
    let prefixed = |name: &&String| {
        !(name.starts_with("ef_")
            || name.contains("thread_pool")
            || name.contains("thrpool")
            || name.contains("task"))
    };
    assert_eq!(in_code.iter().find(prefixed), None, "a name that a program might have too");
}

#[test]
fn a_declaration_is_found_in_whatever_it_is_wrapped() {
    let text = "/* int no(void); */\n#define A(x) \\\n    b(x);\nextern \"C\" {\nint a(int x);\n\
                typedef void (*f)(int);\nconst char *b(\n    void);\nstruct s { int c; };\nvoid d();\n}\n";
    assert_eq!(declared(text), ["a", "b", "d"].map(String::from).into());
}
