//! A scanner of Rust source, as deep as the house rules need and no deeper.
//!
//! It knows comments, strings, raw strings, characters and lifetimes; the rest is words and marks. What is compiled for
//! tests only (`#[test]`, `#[cfg(test)]`, `#[cfg(all(test, …))]`) is marked, so that rules can leave it alone.

use std::collections::BTreeMap;

/// A word, a mark (`::` is one) or a string literal (with its opening quote, so that it equals no word).
pub(crate) struct Token {
    pub(crate) line: usize,
    pub(crate) text: String,
    pub(crate) test: bool,
}

/// One file: its code as tokens, its plain `//` notes by line (doc comments are neither).
pub(crate) struct Source {
    pub(crate) path: String,
    pub(crate) text: String,
    pub(crate) tokens: Vec<Token>,
    pub(crate) notes: BTreeMap<usize, String>,
    pub(crate) test_modules: Vec<String>,
}

impl Source {
    pub(crate) fn new(path: &str, text: &str) -> Source {
        let (mut tokens, notes) = scan(text);
        let test_modules = mark_tests(&mut tokens);
        Source { path: path.into(), text: text.into(), tokens, notes, test_modules }
    }

    /// The text of token `i`, empty beyond either end.
    pub(crate) fn at(&self, i: usize) -> &str {
        self.tokens.get(i).map_or("", |token| &token.text)
    }

    pub(crate) fn fault(&self, line: usize, what: impl std::fmt::Display) -> String {
        format!("{}:{line}: {what}", self.path)
    }

    /// The path of the module inside the crate: `src/file/read.rs` is `[file, read]`.
    pub(crate) fn module(&self) -> Option<Vec<&str>> {
        let mut parts: Vec<&str> = self.path.strip_prefix("src/")?.strip_suffix(".rs")?.split('/').collect();
        if matches!(parts.last(), Some(&"mod" | &"lib")) {
            parts.pop();
        }
        Some(parts)
    }

    /// The segments before token `i` in its path, also out of the groups of a `use`.
    pub(crate) fn path_before(&self, mut i: usize) -> Vec<&str> {
        let mut path = Vec::new();
        while i > 0 {
            if matches!(self.at(i - 1), "{" | ",") {
                let mut depth = 1;
                while depth > 0 && i > 0 {
                    i -= 1;
                    depth += match self.at(i) {
                        "}" => 1,
                        "{" => -1,
                        "(" | ";" | "=" => return path,
                        _ => 0,
                    };
                }
            } else if i > 1 && self.at(i - 1) == "::" && is_word(self.at(i - 2)) {
                i -= 2;
                path.insert(0, self.at(i));
                continue;
            }
            if i < 2 || self.at(i - 1) != "::" || !is_word(self.at(i - 2)) {
                break;
            }
        }
        path
    }
}

pub(crate) fn is_word(text: &str) -> bool {
    text.starts_with(|c: char| c.is_alphanumeric() || c == '_')
}

/// The index of the first character from `from` for which `stop` holds, or the end.
fn until(chars: &[char], from: usize, stop: impl Fn(usize) -> bool) -> usize {
    (from..chars.len()).find(|&i| stop(i)).unwrap_or(chars.len())
}

/// The end of a quoted literal whose opening quote stands at `start`.
fn quote_end(chars: &[char], start: usize) -> usize {
    let mut i = start + 1;
    while i < chars.len() && chars[i] != chars[start] {
        i += if chars[i] == '\\' { 2 } else { 1 };
    }
    (i + 1).min(chars.len())
}

/// The end of a block comment, which may hold others.
fn block_end(chars: &[char], start: usize) -> usize {
    let (mut i, mut depth) = (start + 2, 1);
    while depth > 0 && i < chars.len() {
        match chars[i..].get(..2) {
            Some(['/', '*']) => (i, depth) = (i + 2, depth + 1),
            Some(['*', '/']) => (i, depth) = (i + 2, depth - 1),
            _ => i += 1,
        }
    }
    i
}

/// The end of the word, string or mark that starts at `start`; for a raw or prefixed literal, of all of it.
fn token_end(chars: &[char], start: usize) -> usize {
    let c = chars[start];
    let next = |n: usize| chars.get(start + n).copied().unwrap_or(' ');
    if c == '"' || (c == '\'' && (next(1) == '\\' || next(2) == '\'')) {
        return quote_end(chars, start);
    }
    if !(c.is_alphanumeric() || c == '_' || c == '\'') {
        return start + if c == ':' && next(1) == ':' { 2 } else { 1 };
    }
    let end = until(chars, start + 1, |i| !(chars[i].is_alphanumeric() || chars[i] == '_'));
    let word: String = chars[start..end].iter().collect();
    let open = until(chars, end, |i| chars[i] != '#');
    let hashes = open - end;
    match (word.as_str(), chars.get(open)) {
        ("r" | "br" | "cr", Some('"')) => {
            let closes = |i: usize| {
                chars[i] == '"' && chars[i + 1..].iter().take(hashes).filter(|&&c| c == '#').count() == hashes
            };
            (until(chars, open + 1, closes) + 1 + hashes).min(chars.len())
        }
        ("b" | "c", Some('"' | '\'')) if hashes == 0 => quote_end(chars, open),
        _ => end,
    }
}

/// The code of `text` as tokens, and its plain notes by line.
pub(crate) fn scan(text: &str) -> (Vec<Token>, BTreeMap<usize, String>) {
    let chars: Vec<char> = text.chars().collect();
    let (mut tokens, mut notes) = (Vec::new(), BTreeMap::new());
    let (mut i, mut line) = (0, 1);
    while i < chars.len() {
        let end = match (chars[i], chars.get(i + 1)) {
            (c, _) if c.is_whitespace() => i + 1,
            ('/', Some('/')) => until(&chars, i, |i| chars[i] == '\n'),
            ('/', Some('*')) => block_end(&chars, i),
            _ => token_end(&chars, i),
        };
        let piece: String = chars[i..end].iter().collect();
        let breaks = piece.matches('\n').count();
        if piece.starts_with("//") {
            if !piece.starts_with("///") && !piece.starts_with("//!") {
                notes.insert(line, piece);
            }
        } else if !piece.starts_with("/*") && !piece.trim().is_empty() {
            let literal = piece.ends_with(['"', '\'']) || (piece.contains('"') && piece.ends_with('#'));
            let text = if literal { format!("\"{piece}") } else { piece };
            tokens.push(Token { line, text, test: false });
        }
        (i, line) = (end, line + breaks);
    }
    (tokens, notes)
}

/// The index of the bracket that closes the one at `open`.
pub(crate) fn matching(tokens: &[Token], open: usize) -> usize {
    let mut depth = 0;
    for (i, token) in tokens.iter().enumerate().skip(open) {
        match token.text.as_str() {
            "(" | "[" | "{" => depth += 1,
            ")" | "]" | "}" => depth -= 1,
            _ => {}
        }
        if depth == 0 {
            return i;
        }
    }
    tokens.len().saturating_sub(1)
}

/// Marks what is compiled for tests only, and names the modules declared so without a body.
fn mark_tests(tokens: &mut [Token]) -> Vec<String> {
    let mut modules = Vec::new();
    for i in 0..tokens.len() {
        let at = |n: usize| tokens.get(i + n).map_or("", |token| token.text.as_str());
        let inner = usize::from(at(1) == "!");
        let attribute = [2, 3, 4, 5, 6].map(|n| at(n + inner));
        let test = matches!(
            attribute,
            ["test", "]", ..] | ["cfg", "(", "test", ..] | ["cfg", "(", "all", "(", "test"]
        );
        if at(0) != "#" || at(1 + inner) != "[" || !test {
            continue;
        }
        let end = if inner == 1 { tokens.len() - 1 } else { item_end(tokens, matching(tokens, i + 1) + 1) };
        if end >= 2 && tokens[end].text == ";" && tokens[end - 2].text == "mod" {
            modules.push(tokens[end - 1].text.clone());
        }
        tokens[i..=end].iter_mut().for_each(|token| token.test = true);
    }
    modules
}

/// The last token of the item, statement or field that starts at `from`, its attributes included.
fn item_end(tokens: &[Token], from: usize) -> usize {
    let (mut i, mut item) = (from, false);
    while i < tokens.len() {
        match tokens[i].text.as_str() {
            "{" => return matching(tokens, i),
            ";" => return i,
            "," if !item => return i,
            ")" | "]" | "}" => return i - 1,
            "(" | "[" => i = matching(tokens, i),
            "fn" | "impl" | "struct" | "enum" | "trait" | "type" => item = true,
            _ => {}
        }
        i += 1;
    }
    tokens.len() - 1
}
