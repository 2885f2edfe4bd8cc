//! The header Range: which bytes of a file are asked for.

/// Which bytes to send.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Choice {
    /// All of them: no range, several ranges, or words that mean nothing (RFC 9110, 14.2 says to ignore these).
    Whole,
    /// From `first` to `last`, both included.
    Part {
        /// Offset of the first byte.
        first: u64,
        /// Offset of the last byte.
        last: u64,
    },
    /// None of the bytes asked for exist.
    Unsatisfiable,
}

/// Reads a Range header for a file of `size` bytes.
pub fn choose(header: &str, size: u64) -> Choice {
    parse(header, size).unwrap_or(Choice::Whole)
}

fn parse(header: &str, size: u64) -> Option<Choice> {
    let (unit, ranges) = header.split_once('=')?;
    if !unit.trim().eq_ignore_ascii_case("bytes") {
        return None;
    }
    let (first, last) = ranges.trim().split_once('-')?;
    if first.is_empty() {
        let count = number(last)?;
        if count == 0 || size == 0 {
            return Some(Choice::Unsatisfiable);
        }
        return Some(Choice::Part { first: size.saturating_sub(count), last: size - 1 });
    }
    let first = number(first)?;
    let last = if last.is_empty() { u64::MAX } else { number(last)? };
    if last < first {
        return None;
    }
    if first >= size {
        return Some(Choice::Unsatisfiable);
    }
    Some(Choice::Part { first, last: last.min(size - 1) })
}

/// Digits only; a number past 64 bits is as good as the largest one.
fn number(digits: &str) -> Option<u64> {
    if digits.is_empty() || !digits.bytes().all(|byte| byte.is_ascii_digit()) {
        return None;
    }
    Some(digits.parse().unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ranges_are_cut_to_the_file() {
        let part = |first, last| Choice::Part { first, last };
        for (header, size, choice) in [
            ("bytes=0-9", 100, part(0, 9)),
            ("bytes=0-0", 100, part(0, 0)),
            ("bytes=90-", 100, part(90, 99)),
            ("bytes=90-200", 100, part(90, 99)),
            ("bytes=-10", 100, part(90, 99)),
            ("bytes=-1000", 100, part(0, 99)),
            ("Bytes = 5-6", 100, part(5, 6)),
            ("bytes=99-99999999999999999999999", 100, part(99, 99)),
            ("bytes=100-", 100, Choice::Unsatisfiable),
            ("bytes=99999999999999999999999-", 100, Choice::Unsatisfiable),
            ("bytes=-0", 100, Choice::Unsatisfiable),
            ("bytes=0-", 0, Choice::Unsatisfiable),
            ("bytes=-5", 0, Choice::Unsatisfiable),
        ] {
            assert_eq!(choose(header, size), choice, "{header} of {size}");
        }
    }

    #[test]
    fn what_means_nothing_is_ignored() {
        for header in [
            "",
            "bytes",
            "bytes=",
            "bytes=-",
            "bytes=9-5",
            "bytes=a-b",
            "bytes=+1-2",
            "lines=0-9",
            "bytes=0-1,5-6",
            "bytes=0--1",
            "bytes=1 -2",
        ] {
            assert_eq!(choose(header, 100), Choice::Whole, "{header}");
        }
    }
}
