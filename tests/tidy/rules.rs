//! The house rules: each function lists the faults of one file.
//!
//! Rules on production code pass over what is compiled for tests only.

use crate::scan::{Source, matching};
use std::collections::BTreeSet;

/// The floors of `src`, ground first: a module may name its own floor or a lower one. A new module is added here.
const FLOORS: [&[&str]; 6] = [
    &["sync", "error", "fd"],
    &["table", "page", "job", "event", "news", "config", "queue"],
    &["file", "sys"],
    &["pool"],
    &["engine"],
    &["efio", "builder", "handle", "dir", "inbox", "loop_signal", "ready", "stats", "task_file"],
];

/// Modules of one floor that never name each other.
const STRANGERS: [&str; 2] = ["file", "sys"];

/// The one door of each package into `src`: the paths that may name it.
const DOORS: [(&str, &[&str]); 15] = [
    ("loom", &["src/sync/"]),
    ("shuttle", &["src/sync/"]),
    ("crossbeam_utils", &["src/sync/"]),
    ("std::sync::atomic", &["src/sync/"]),
    ("core::sync::atomic", &["src/sync/"]),
    ("crossbeam_queue", &["src/queue/"]),
    ("libc", &["src/sys/", "src/sync/futex.rs", "src/sync/fence.rs", "src/sync/region.rs"]),
    ("nix", &["src/sys/", "src/sync/futex.rs", "src/sync/fence.rs"]),
    ("io_uring", &["src/sys/"]),
    ("log", &["src/file/journal.rs"]),
    ("tracing", &["src/file/journal.rs"]),
    ("metrics", &["src/stats.rs"]),
    ("tokio", &["src/task_file/for_tokio.rs"]),
    ("futures_io", &["src/task_file/for_futures.rs"]),
    ("mio", &["src/engine/notify.rs", "src/inbox.rs", "src/loop_signal.rs", "src/builder.rs"]),
];

/// The longest file, in lines.
const LINES_MAX: usize = 500;

/// How far above an atomic operation its note may begin, in lines; a longer note counts from its last line.
const NOTE_LINES: usize = 5;

/// Names that say nothing of what is inside.
const EMPTY_NAMES: [&str; 8] =
    ["util", "utils", "common", "helper", "helpers", "manager", "managers", "misc"];

const ORDERINGS: [&str; 5] = ["Relaxed", "Acquire", "Release", "AcqRel", "SeqCst"];

pub(crate) fn captions(source: &Source) -> Vec<String> {
    let caption = source.text.lines().next().and_then(|line| line.strip_prefix("//! "));
    match caption.is_some_and(|text| text.contains(char::is_alphabetic)) {
        true => Vec::new(),
        false => vec![source.fault(1, "the first line is no caption (`//! …`)")],
    }
}

pub(crate) fn lengths(source: &Source) -> Vec<String> {
    let lines = source.text.lines().count();
    if lines <= LINES_MAX {
        Vec::new()
    } else {
        vec![source.fault(lines, format!("more than {LINES_MAX} lines"))]
    }
}

fn floor(module: &str) -> Option<usize> {
    FLOORS.iter().position(|floor| floor.contains(&module))
}

/// What a path names in the crate's root: `at` is its first token, `level` the depth it starts from (0: the root).
fn roots<'a>(source: &'a Source, at: usize, level: usize, found: &mut Vec<(usize, &'a str)>) {
    match source.at(at) {
        "{" => {
            let end = matching(&source.tokens, at);
            let mut i = at + 1;
            while i < end {
                roots(source, i, level, found);
                while i < end && source.at(i) != "," {
                    i = if source.at(i) == "{" { matching(&source.tokens, i) } else { i } + 1;
                }
                i += 1;
            }
        }
        "super" if source.at(at + 1) == "::" => roots(source, at + 2, level.saturating_sub(1), found),
        "self" | "crate" if source.at(at + 1) == "::" => roots(source, at + 2, level, found),
        _ if level > 0 => {}
        name => found.push((source.tokens[at].line, name)),
    }
}

pub(crate) fn floors(source: &Source) -> Vec<String> {
    let Some(home) = source.module() else { return Vec::new() };
    let Some(&here) = home.first() else { return Vec::new() };
    let Some(own) = floor(here) else {
        return vec![source.fault(1, format!("`{here}` has no floor in FLOORS"))];
    };
    let (mut found, mut inline, mut depth) = (Vec::new(), Vec::new(), 0);
    for (i, token) in source.tokens.iter().enumerate() {
        match token.text.as_str() {
            "{" => {
                depth += 1;
                if i > 1 && source.at(i - 2) == "mod" {
                    inline.push(depth);
                }
            }
            "}" => {
                inline.retain(|&opened| opened < depth);
                depth -= 1;
            }
            "crate" if !token.test && source.at(i + 1) == "::" => roots(source, i + 2, 0, &mut found),
            "super" if !token.test && source.at(i + 1) == "::" && source.at(i.wrapping_sub(1)) != "::" => {
                roots(source, i, home.len() + inline.len(), &mut found);
            }
            _ => {}
        }
    }
    let judge = |(line, name): (usize, &str)| match floor(name) {
        None => Some(source.fault(line, format!("`crate::{name}` is no module: name the one it comes from"))),
        Some(floor) if floor > own => Some(source.fault(line, format!("`{here}` looks up to `{name}`"))),
        _ if name != here && STRANGERS.contains(&name) && STRANGERS.contains(&here) => {
            Some(source.fault(line, format!("`{here}` and `{name}` are strangers")))
        }
        _ => None,
    };
    found.into_iter().filter_map(judge).collect()
}

pub(crate) fn doors(source: &Source) -> Vec<String> {
    let mut faults = Vec::new();
    for (i, token) in source.tokens.iter().enumerate() {
        if token.test || !source.path.starts_with("src/") {
            continue;
        }
        for (package, may) in DOORS {
            let (path, name) = package.rsplit_once("::").unwrap_or(("", package));
            let named = source.at(i + 1) == "::"
                || matches!(source.at(i.wrapping_sub(1)), "use" | "crate")
                || path.contains("::");
            if token.text == name
                && named
                && source.path_before(i).join("::") == path
                && !may.iter().any(|door| source.path.starts_with(door))
            {
                faults.push(source.fault(token.line, format!("`{package}` enters by {}", may.join(", "))));
            }
        }
    }
    faults
}

/// Whether a plain note with `// ORDER: …` stands on the line or just above it.
fn explained(source: &Source, line: usize) -> bool {
    let code: BTreeSet<usize> = source.tokens.iter().map(|token| token.line).collect();
    let only_note = |line: usize| source.notes.contains_key(&line) && !code.contains(&line);
    let mut top = line.saturating_sub(NOTE_LINES).max(1);
    while only_note(top) && only_note(top - 1) {
        top -= 1;
    }
    source.notes.range(top..=line).any(|(_, note)| {
        note.trim_start_matches('/')
            .trim_start()
            .strip_prefix("ORDER:")
            .is_some_and(|why| !why.trim().is_empty())
    })
}

pub(crate) fn orders(source: &Source) -> Vec<String> {
    if !source.path.starts_with("src/") || source.path == "src/sync/mod.rs" {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for (i, token) in source.tokens.iter().enumerate() {
        let name = token.text.as_str();
        let method = source.at(i.wrapping_sub(1)) == "."
            && (matches!(name, "load" | "store" | "swap")
                || name.starts_with("fetch_")
                || name.starts_with("compare_exchange"));
        let call = (method || matches!(name, "fence" | "compiler_fence")) && source.at(i + 1) == "(";
        if token.test || !call {
            continue;
        }
        let inside = &source.tokens[i + 1..matching(&source.tokens, i + 1)];
        let atomic = inside.iter().any(|token| ORDERINGS.contains(&token.text.as_str()));
        if atomic && !explained(source, token.line) {
            faults.push(source.fault(token.line, format!("`{name}` without an `// ORDER:` note")));
        }
    }
    faults
}

/// Of a crate, and not of its tests, benchmarks or examples.
fn is_shipped(source: &Source) -> bool {
    let members = source.path.strip_prefix("crates/").and_then(|path| path.split_once('/'));
    source.path.starts_with("src/") || members.is_some_and(|(_, path)| path.starts_with("src/"))
}

/// `if let … && …` needs a later Rust than the oldest that the crates promise.
pub(crate) fn chains(source: &Source) -> Vec<String> {
    if !is_shipped(source) || source.path.starts_with("crates/efio-bench/") {
        return Vec::new();
    }
    let mut faults = Vec::new();
    for (i, token) in source.tokens.iter().enumerate() {
        if token.test || token.text != "let" || !matches!(source.at(i.wrapping_sub(1)), "if" | "while" | "&")
        {
            continue;
        }
        let mut at = i;
        let ends = |at: usize| matches!((source.at(at), source.at(at + 1)), ("" | "{", _) | ("&", "&"));
        while !ends(at) {
            at = if matches!(source.at(at), "(" | "[") { matching(&source.tokens, at) + 1 } else { at + 1 };
        }
        if source.at(at) != "{" || source.at(i.wrapping_sub(1)) == "&" {
            faults.push(source.fault(token.line, "a chain of `let`, newer than the oldest Rust"));
        }
    }
    faults
}

pub(crate) fn unwraps(source: &Source) -> Vec<String> {
    if !is_shipped(source) {
        return Vec::new();
    }
    let tokens = source.tokens.iter().enumerate().filter(|(i, token)| {
        matches!(token.text.as_str(), "unwrap" | "expect")
            && !token.test
            && source.at(i.wrapping_sub(1)) == "."
            && source.at(i + 1) == "("
    });
    tokens.map(|(_, token)| source.fault(token.line, format!("`{}` outside tests", token.text))).collect()
}

pub(crate) fn reasons(source: &Source) -> Vec<String> {
    let Some(used) = source.tokens.iter().find(|token| token.text == "unsafe") else { return Vec::new() };
    let mut i = 0;
    while [source.at(i), source.at(i + 1), source.at(i + 2)] == ["#", "!", "["] {
        let end = matching(&source.tokens, i + 2);
        let words: Vec<&str> = source.tokens[i..end].iter().map(|token| token.text.as_str()).collect();
        let reason = words.iter().position(|&word| word == "reason").and_then(|at| words.get(at + 2));
        let given = reason.is_some_and(|text| text.contains(char::is_alphabetic));
        if words.contains(&"unsafe_code") && matches!(words[3], "allow" | "expect") && given {
            return Vec::new();
        }
        i = end + 1;
    }
    vec![source.fault(used.line, "`unsafe` in a file that does not open with an allow and its reason")]
}

pub(crate) fn names(source: &Source) -> Vec<String> {
    let empty = |name: &str| name.split(['-', '_', '.']).any(|part| EMPTY_NAMES.contains(&part));
    let modules = (1..source.tokens.len()).filter(|&i| source.at(i - 1) == "mod" && empty(source.at(i)));
    let mut faults: Vec<String> =
        modules.map(|i| source.fault(source.tokens[i].line, source.at(i))).collect();
    faults.extend(source.path.split('/').filter(|part| empty(part)).map(|part| source.fault(1, part)));
    faults
}

/// The faults of the README's map of `src`, told by the paths below `src` (folders end in `/`); None without a map.
pub(crate) fn map_faults(readme: &str, paths: &BTreeSet<String>) -> Option<Vec<String>> {
    let heading = |line: &&str| {
        line.starts_with('#')
            && line.to_lowercase().split(|c: char| !c.is_alphanumeric()).any(|word| word == "map")
    };
    let mut lines =
        readme.lines().skip_while(|line| !heading(line)).skip(1).take_while(|line| !line.starts_with('#'));
    lines.find(|line| line.starts_with("```"))?;
    let (mut faults, mut seen, mut folders) = (Vec::new(), BTreeSet::new(), Vec::<(usize, String)>::new());
    for line in lines.take_while(|line| !line.starts_with("```")) {
        let column = line.chars().take_while(|&c| !(c.is_alphanumeric() || c == '_')).count();
        folders.retain(|(parent, _)| *parent < column);
        let text: String = line.chars().skip(column).collect();
        let entries: Vec<&str> =
            text.split_whitespace().take_while(|word| word.ends_with(".rs") || word.ends_with('/')).collect();
        if entries.is_empty() && line.contains("──") {
            faults.push(format!("README.md: no file or folder in `{line}`"));
        }
        for entry in entries {
            let base = folders.last().map_or("", |(_, folder)| folder.as_str());
            let path = format!("{base}{}", entry.strip_prefix("src/").unwrap_or(entry));
            if !path.is_empty() && !paths.contains(&path) {
                faults.push(format!("README.md: the map names src/{path}, which is not there"));
            }
            if path.ends_with('/') || path.is_empty() {
                folders.push((column, path.clone()));
            }
            seen.insert(path);
        }
    }
    let rooms = paths.iter().filter(|path| !path.trim_end_matches('/').contains('/'));
    let missing = rooms.filter(|path| !seen.contains(*path));
    faults.extend(missing.map(|path| format!("README.md: the map does not name src/{path}")));
    Some(faults)
}
