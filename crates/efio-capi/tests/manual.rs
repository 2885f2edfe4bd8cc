//! The pages in `man/` say what the headers say: they are made of the headers' comments.
//!
//! After a change of a header, `EFIO_WRITE_MANUAL=1 cargo test -p efio-capi --test manual` writes them anew.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::collections::BTreeMap;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

/// The headers with pages, and the structs and constants that no function is declared behind.
const HEADERS: [&str; 3] = ["ef_io.h", "efio.h", "thread_pool.h"];

/// A comment and the code up to the next one.
struct Block {
    comment: Vec<String>,
    code: String,
}

fn folder(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

/// The text of a comment, a line each, without its frame.
fn unframe(comment: &str) -> Vec<String> {
    let line = |line: &str| {
        let line = line.trim_start();
        line.strip_prefix("* ").or(line.strip_prefix('*')).unwrap_or(line).trim_end().to_string()
    };
    let lines: Vec<String> = comment.lines().map(line).collect();
    let first = lines.iter().position(|line| !line.is_empty()).unwrap_or(0);
    let last = lines.iter().rposition(|line| !line.is_empty()).map_or(0, |last| last + 1);
    lines[first..last].to_vec()
}

/// The comments that begin at the margin, each with what follows it.
fn blocks(text: &str) -> Vec<Block> {
    let mut blocks: Vec<Block> = Vec::new();
    let text = format!("\n{text}");
    for part in text.split("\n/*").skip(1) {
        let (comment, code) = part.split_once("*/").unwrap();
        blocks.push(Block { comment: unframe(comment), code: code.to_string() });
    }
    blocks
}

/// The name of the function that a declaration declares.
fn name(declaration: &str) -> &str {
    let before = declaration.split_once('(').unwrap().0;
    before.rsplit(|c: char| !(c.is_alphanumeric() || c == '_')).next().unwrap()
}

/// The functions declared in some code; and the types, each with its name.
fn declarations(code: &str) -> (Vec<String>, Vec<(String, String)>) {
    let (mut functions, mut types) = (Vec::new(), Vec::new());
    for paragraph in
        code.split("\n\n").map(str::trim).filter(|part| !part.is_empty() && !part.starts_with('#'))
    {
        if let Some(words) = paragraph.strip_prefix("struct ") {
            types.push((words.split_once(' ').unwrap().0.to_string(), paragraph.to_string()));
        } else if paragraph.starts_with("typedef") {
            types.extend(paragraph.lines().map(|line| (type_name(line).to_string(), line.to_string())));
        } else if paragraph.ends_with(");") {
            functions.push(paragraph.to_string());
        }
    }
    (functions, types)
}

/// The name that a typedef gives.
fn type_name(line: &str) -> &str {
    let line = line.trim_end_matches(';');
    let pointed = line.split_once("(*").map(|(_, rest)| rest.split_once(')').unwrap().0);
    pointed.unwrap_or_else(|| line.rsplit([' ', '*']).next().unwrap())
}

/// Text for troff.
fn plain(text: &str) -> String {
    let text = text.replace('\\', "\\e").replace('-', "\\-").replace('…', "...");
    if text.starts_with(['.', '\'']) { format!("\\&{text}") } else { text }
}

/// The paragraphs of a comment: those that are set in have a heading before them.
fn describe(comment: &[String], page: &mut String) {
    let mut gap = false;
    for (index, line) in comment.iter().enumerate() {
        let set_in = line.starts_with(' ');
        let heads = comment.get(index + 1).is_some_and(|next| next.starts_with(' ')) && !set_in;
        if line.is_empty() {
            gap = true;
        } else if heads {
            let _ = writeln!(page, ".SS {}", plain(line));
            gap = false;
        } else {
            if std::mem::take(&mut gap) {
                page.push_str(".PP\n");
            }
            let _ = writeln!(page, "{}", plain(line.trim()));
        }
    }
}

/// The first sentence, as a line of a list.
fn summary(comment: &[String]) -> String {
    let text = comment.join(" ");
    let sentence =
        text.split(". ").next().unwrap().trim_end_matches('.').split(':').next().unwrap().to_string();
    let mut letters = sentence.chars();
    let first = letters.next().map_or(String::new(), |first| first.to_lowercase().collect());
    plain(&format!("{first}{}", letters.as_str()))
}

fn page(title: &str, line: &str, synopsis: &str, comment: &[String], also: &str) -> String {
    let mut page = format!(
        ".\\\" Made of the header by tests/manual.rs.\n.TH {} 3 \"\" \"efio\" \"efio\"\n",
        title.to_uppercase()
    );
    let _ = write!(page, ".SH NAME\n{} \\- {line}\n.SH SYNOPSIS\n.nf\n", plain(title));
    let _ = writeln!(page, "{}\n.fi\n.SH DESCRIPTION", plain(synopsis).replace("\n.", "\n\\&."));
    describe(comment, &mut page);
    let _ = writeln!(page, ".SH SEE ALSO\n{also}");
    page
}

/// Every page by its file's name.
fn pages() -> BTreeMap<String, String> {
    let mut pages = BTreeMap::new();
    for header in HEADERS {
        let text = fs::read_to_string(folder("include").join(header)).unwrap();
        let blocks = blocks(&text);
        let include = format!("#include <{header}>");
        let title = header.trim_end_matches(".h");
        let mut names = Vec::new();
        let types: Vec<_> = blocks.iter().flat_map(|block| declarations(&block.code).1).collect();
        for block in &blocks[1..] {
            for function in &declarations(&block.code).0 {
                let used = types.iter().filter(|(name, _)| function.contains(name.as_str()));
                let used: String = used.map(|(_, text)| format!("{text}\n")).collect();
                let synopsis = format!("{include}\n\n{used}{function}");
                let line = summary(&block.comment);
                let also = format!("{title}(3)");
                pages.insert(
                    format!("{}.3", name(function)),
                    page(name(function), &line, &synopsis, &block.comment, &also),
                );
                names.push(format!("{}(3)", name(function)));
            }
        }
        let overview = &blocks[0].comment;
        let line = summary(&[overview[0].split_once(": ").unwrap().1.to_string()]);
        pages.insert(format!("{title}.3"), page(title, &line, &include, &overview[1..], &names.join(", ")));
    }
    pages
}

#[test]
fn the_manual_says_what_the_headers_say() {
    let pages = pages();
    let folder = folder("man");
    if std::env::var_os("EFIO_WRITE_MANUAL").is_some() {
        for (name, text) in &pages {
            fs::write(folder.join(name), text).unwrap();
        }
    }
    let mut there: Vec<String> = fs::read_dir(&folder)
        .unwrap()
        .map(|entry| entry.unwrap().file_name().into_string().unwrap())
        .collect();
    there.sort();
    assert_eq!(there, pages.keys().cloned().collect::<Vec<_>>(), "see the head of this file");
    for (name, text) in &pages {
        assert_eq!(
            &fs::read_to_string(folder.join(name)).unwrap(),
            text,
            "{name}: see the head of this file"
        );
    }
}

#[test]
fn every_function_has_a_page_with_its_declaration_and_its_words() {
    let pages = pages();
    for name in
        ["ef_open", "ef_read", "ef_unset_cb_func", "ef_set_log_func", "enqueue_task_function", "ef_io"]
    {
        assert!(pages.contains_key(&format!("{name}.3")), "{name}");
    }
    let read = &pages["ef_read.3"];
    for words in ["ssize_t ef_read(int fd, void *buf, size_t nbyte);", "EAGAIN", "#include <ef_io.h>"] {
        assert!(read.contains(words), "{words}: {read}");
    }
    assert!(pages["ef_open_with.3"].contains("struct ef_open_options {"));
}
