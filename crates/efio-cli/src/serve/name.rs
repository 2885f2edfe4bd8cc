//! Names: from a request's target to a path that stays beneath the root.
//!
//! This is the first of two doors. It refuses what no honest client sends; the second door, `ef_open_at`, has the
//! kernel resolve the rest beneath the root without following links.

use std::ffi::OsString;
use std::os::unix::ffi::OsStringExt;
use std::path::PathBuf;

use crate::serve::respond::Refusal;

/// How files begin that efio hides until they are complete; clients can neither see nor make one.
const HIDDEN: &[u8] = b".efio-";
const COMPONENT_MAX: usize = 255;
const PATH_MAX: usize = 4095;

/// What a target names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Name {
    /// A file, by its path from the root.
    File(PathBuf),
    /// The root itself, or a path that ends with a slash.
    Folder,
}

/// Reads the target of a request: `/a/b%20c`, or `http://host/a/b%20c`; a query is dropped.
///
/// # Errors
/// 400 for what is not a name, 404 for names that are never shown, 414 for one that no file system takes.
pub fn parse(target: &str) -> Result<Name, Refusal> {
    let bad = |reason| Err(Refusal::new(400, reason));
    let path = match scheme_end(target) {
        Some(at) => target[at..].find(['/', '?']).map_or("/", |slash| &target[at + slash..]),
        None => target,
    };
    if path.contains('#') {
        return bad("a fragment in the target");
    }
    let path = path.split('?').next().unwrap_or(path);
    let Some(path) = path.strip_prefix('/') else {
        return if scheme_end(target).is_some() { Ok(Name::Folder) } else { bad("the target is not a path") };
    };
    if path.is_empty() {
        return Ok(Name::Folder);
    }
    let mut whole: Vec<u8> = Vec::with_capacity(path.len());
    let mut components = path.split('/').peekable();
    while let Some(component) = components.next() {
        if component.is_empty() {
            return if components.peek().is_none() {
                Ok(Name::Folder)
            } else {
                bad("an empty component in the name")
            };
        }
        if !whole.is_empty() {
            whole.push(b'/');
        }
        let from = whole.len();
        decode(component.as_bytes(), &mut whole)?;
        check(&whole[from..])?;
    }
    if whole.len() > PATH_MAX {
        return Err(Refusal::new(414, "the name is too long"));
    }
    Ok(Name::File(PathBuf::from(OsString::from_vec(whole))))
}

/// Where the host begins in a target of the form `http://host/…`.
fn scheme_end(target: &str) -> Option<usize> {
    let scheme = target.get(..7)?;
    scheme.eq_ignore_ascii_case("http://").then_some(7)
}

fn decode(component: &[u8], into: &mut Vec<u8>) -> Result<(), Refusal> {
    let mut bytes = component.iter().copied();
    while let Some(byte) = bytes.next() {
        if byte != b'%' {
            into.push(byte);
            continue;
        }
        let digit = |byte: Option<u8>| byte.and_then(|byte| char::from(byte).to_digit(16));
        let (Some(high), Some(low)) = (digit(bytes.next()), digit(bytes.next())) else {
            return Err(Refusal::new(400, "a percent sign without two hexadecimal digits"));
        };
        into.push(u8::try_from(high * 16 + low).unwrap_or(0));
    }
    Ok(())
}

fn check(component: &[u8]) -> Result<(), Refusal> {
    let bad = |reason| Err(Refusal::new(400, reason));
    match component {
        b"." | b".." => bad("a dot component in the name"),
        _ if component.contains(&0) => bad("a NUL in the name"),
        _ if component.contains(&b'/') => bad("an encoded slash in the name"),
        _ if component.len() > COMPONENT_MAX => bad("a component of more than 255 bytes"),
        _ if component.starts_with(HIDDEN) => Err(Refusal::new(404, "no such file or folder")),
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt;

    use super::*;

    fn file(path: &[u8]) -> Result<Name, Refusal> {
        Ok(Name::File(PathBuf::from(OsStr::from_bytes(path))))
    }

    #[test]
    fn names_are_decoded_once() {
        for (target, path) in [
            ("/a", &b"a"[..]),
            ("/a/b.txt", b"a/b.txt"),
            ("/a%20b", b"a b"),
            ("/%2525", b"%25"),
            ("/%252e%252e%252fx", b"%2e%2e%2fx"),
            ("/a?query=/../", b"a"),
            ("/back\\slash", b"back\\slash"),
            ("/%ff%FE", b"\xff\xfe"),
            ("/...", b"..."),
            ("/.hidden", b".hidden"),
            ("/.efio", b".efio"),
            ("/http://x", b""),
            ("http://host/a", b"a"),
            ("HTTP://host:80/a/b?c", b"a/b"),
        ] {
            if !path.is_empty() {
                assert_eq!(parse(target), file(path), "{target}");
            }
        }
    }

    #[test]
    fn folders_are_told_apart() {
        for target in ["/", "/a/", "/?x", "http://host", "http://host/", "http://host?x"] {
            assert_eq!(parse(target), Ok(Name::Folder), "{target}");
        }
    }

    #[test]
    fn names_that_leave_or_mislead_are_refused() {
        let long = format!("/{}", "a".repeat(256));
        for target in [
            "",
            "*",
            "a",
            "host:80",
            "/..",
            "/../a",
            "/a/../b",
            "/a/..",
            "/.",
            "/a/./b",
            "//a",
            "/a//b",
            "//",
            "/%2e%2e/a",
            "/%2E%2e",
            "/%2e",
            "/a%2fb",
            "/a%2Fb",
            "/..%2fa",
            "/a%00",
            "/%",
            "/%1",
            "/%zz",
            "/%+1",
            "/a#b",
            "/http://x",
            &long,
        ] {
            assert_eq!(parse(target).map_err(|refusal| refusal.status.0), Err(400), "{target}");
        }
        for target in ["/.efio-1", "/%2eefio-x", "/a/.efio-b", "/.efio-d/x"] {
            assert_eq!(parse(target).map_err(|refusal| refusal.status.0), Err(404), "{target}");
        }
        let deep = format!("/{}", "abc/".repeat(1200)) + "d";
        assert_eq!(parse(&deep).map_err(|refusal| refusal.status.0), Err(414));
    }
}
