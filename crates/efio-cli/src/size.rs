//! Sizes and times on the command line: bytes with an optional K, M, G or T, and seconds with decimals.

use std::time::Duration;

/// Reads a size such as `65536`, `64K`, `1.5M` or `10GiB`; the letters count in steps of 1024.
///
/// # Errors
/// Words for the user when it is not a size, or not one that fits 64 bits.
pub fn parse(text: &str) -> Result<u64, String> {
    let lower = text.trim().to_ascii_lowercase();
    let plain = lower.strip_suffix("ib").or_else(|| lower.strip_suffix('b')).unwrap_or(&lower);
    let (digits, shift) = match plain.char_indices().last() {
        Some((at, 'k')) => (&plain[..at], 10),
        Some((at, 'm')) => (&plain[..at], 20),
        Some((at, 'g')) => (&plain[..at], 30),
        Some((at, 't')) => (&plain[..at], 40),
        _ => (plain, 0),
    };
    let wrong = || format!("`{text}` is not a size; write bytes, or a number with K, M, G or T, such as 64M");
    let (whole, part) = digits.split_once('.').unwrap_or((digits, ""));
    if !all_digits(whole)
        || whole.is_empty()
        || !all_digits(part)
        || part.len() > 9
        || (shift == 0 && !part.is_empty())
    {
        return Err(wrong());
    }
    let too_big = || format!("`{text}` is more than 64 bits can count");
    let whole: u64 = whole.parse().map_err(|_| too_big())?;
    let mut bytes = whole.checked_mul(1 << shift).ok_or_else(too_big)?;
    if !part.is_empty() {
        let numerator: u128 = part.parse().map_err(|_| wrong())?;
        let denominator = 10u128.pow(u32::try_from(part.len()).map_err(|_| wrong())?);
        let rest = u64::try_from((numerator << shift) / denominator).map_err(|_| too_big())?;
        bytes = bytes.checked_add(rest).ok_or_else(too_big)?;
    }
    Ok(bytes)
}

/// Reads a number of seconds such as `60` or `0.5`: more than none, at most a year.
///
/// # Errors
/// Words for the user when it is not such a number.
pub fn seconds(text: &str) -> Result<Duration, String> {
    let wrong = || format!("`{text}` is not a number of seconds between 0 and 31536000");
    let number: f64 = text.trim().parse().map_err(|_| wrong())?;
    if !(number > 0.0 && number <= 31_536_000.0) {
        return Err(wrong());
    }
    Ok(Duration::from_secs_f64(number))
}

fn all_digits(text: &str) -> bool {
    text.bytes().all(|byte| byte.is_ascii_digit())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sizes_are_read_in_steps_of_1024() {
        for (text, bytes) in [
            ("0", 0),
            ("1", 1),
            ("512b", 512),
            ("64K", 65536),
            ("64k", 65536),
            ("64KiB", 65536),
            ("1.5M", 1_572_864),
            ("2G", 2 << 30),
            ("0.5T", 1 << 39),
            (" 7 ", 7),
            ("18446744073709551615", u64::MAX),
        ] {
            assert_eq!(parse(text), Ok(bytes), "{text}");
        }
    }

    #[test]
    fn what_is_no_size_is_refused() {
        for text in [
            "",
            "K",
            "-1",
            "+1",
            "1.5",
            "1..5K",
            "1e3",
            "5X",
            "0x10",
            "1 K",
            "99999999999T",
            "18446744073709551616",
            "ö",
        ] {
            assert!(parse(text).is_err(), "{text}");
        }
    }

    #[test]
    fn seconds_may_have_decimals_but_are_never_none() {
        assert_eq!(seconds("60"), Ok(Duration::from_secs(60)));
        assert_eq!(seconds("0.25"), Ok(Duration::from_millis(250)));
        for text in ["0", "-1", "nan", "inf", "1e99", "", "soon"] {
            assert!(seconds(text).is_err(), "{text}");
        }
    }
}
