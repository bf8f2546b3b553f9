//! Durations, and `keep`, which is one, none or a number of messages.

use std::time::Duration;

use super::ValueError;
use crate::plan::Keep;

/// Reads a duration: numbers with units, such as `90s`, `5m` or `1h 30m`; a bare `0` needs none.
///
/// # Errors
/// When a number or a unit is missing or unknown, or when it is longer than a century, which
/// would overflow the arithmetic of clocks.
pub fn parse_duration(text: &str) -> Result<Duration, ValueError> {
    let all = 0..text.len();
    let trimmed = text.trim();
    if trimmed == "0" {
        return Ok(Duration::ZERO);
    }
    let duration = match humantime::parse_duration(text) {
        Ok(duration) => duration,
        Err(humantime::DurationError::Empty) => {
            return Err(ValueError::new("the duration is empty", all).help(EXAMPLES));
        }
        Err(
            humantime::DurationError::InvalidCharacter(at)
            | humantime::DurationError::NumberExpected(at),
        ) => {
            let length = text[at..].chars().next().map_or(0, char::len_utf8);
            let message = match text[at..].chars().next() {
                Some('-') => "a duration cannot be negative",
                Some(_) if at == 0 => "a duration starts with a number",
                _ => "this does not belong in a duration",
            };
            return Err(ValueError::new(message, at..at + length).help(EXAMPLES));
        }
        Err(humantime::DurationError::UnknownUnit { unit, .. }) if unit.is_empty() => {
            return Err(ValueError::new("the number has no unit", all).help(format!(
                "write `{trimmed}s` for seconds, `{trimmed}m` for minutes"
            )));
        }
        Err(humantime::DurationError::UnknownUnit { start, end, .. }) => {
            return Err(ValueError::new("unknown unit of time", start..end)
                .help("the units are s, m (minutes), h, d and w"));
        }
        Err(humantime::DurationError::NumberOverflow) => return Err(too_long(text)),
    };
    if duration > LONGEST {
        Err(too_long(text))
    } else {
        Ok(duration)
    }
}

/// Reads `keep` from the command line: `true`, `false`, a duration or `newest N`.
///
/// # Errors
/// As [`parse_duration`].
pub fn parse_keep(text: &str) -> Result<Keep, ValueError> {
    match text {
        "true" => Ok(Keep::Always),
        "false" => Ok(Keep::Never),
        _ => parse_keep_some(text).map_err(|error| {
            let help = "write true, false, how long to keep, such as `14d`, or `newest 100`";
            ValueError {
                help: Some(error.help.unwrap_or_else(|| help.to_owned())),
                ..error
            }
        }),
    }
}

/// Reads a duration or `newest N`.
///
/// Keeping a message for no time at all, or none of them, is not keeping it.
pub(in crate::config) fn parse_keep_some(text: &str) -> Result<Keep, ValueError> {
    if let Some(count) = text.strip_prefix(NEWEST) {
        let number = count.trim_start();
        return match number.parse() {
            Ok(0) => Ok(Keep::Never),
            Ok(count) => Ok(Keep::Newest(count)),
            Err(_) => Err(ValueError::new(
                "this is not a number of messages",
                text.len() - number.len()..text.len(),
            )
            .help("write how many messages stay, such as `newest 100`")),
        };
    }
    let duration = parse_duration(text)?;
    Ok(if duration.is_zero() {
        Keep::Never
    } else {
        Keep::For(duration)
    })
}

fn too_long(text: &str) -> ValueError {
    ValueError::new("the duration is longer than a century", 0..text.len())
}

const NEWEST: &str = "newest ";
const EXAMPLES: &str = "write a number and a unit, such as `30s`, `5m`, `12h` or `14d`";
const LONGEST: Duration = Duration::from_secs(100 * 31_557_600);
