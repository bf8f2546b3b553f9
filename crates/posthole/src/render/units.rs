//! Sizes and times as people read them.

use std::time::Duration;

/// A size with two or three digits that matter: `345 KiB`, `1.2 MiB`.
pub(crate) fn size(octets: u64) -> String {
    if octets < 1024 {
        return format!("{octets} B");
    }
    let mut scaled = octets as f64 / 1024.0;
    let mut unit = UNITS[0];
    for larger in &UNITS[1..] {
        // What would be rounded to 1024 is one of the next unit.
        if scaled < 1023.5 {
            break;
        }
        scaled /= 1024.0;
        unit = larger;
    }
    if scaled < 9.95 {
        format!("{scaled:.1} {unit}")
    } else {
        format!("{scaled:.0} {unit}")
    }
}

/// A time with a precision that matters: `21ms`, `1.3s`, `2m05s`.
pub(crate) fn time(duration: Duration) -> String {
    let seconds = duration.as_secs_f64();
    if seconds < 0.09995 {
        format!("{:.0}ms", seconds * 1e3)
    } else if seconds < 59.95 {
        format!("{seconds:.1}s")
    } else {
        let seconds = seconds.round() as u64;
        match (seconds / 3600, seconds / 60 % 60, seconds % 60) {
            (0, minutes, seconds) => format!("{minutes}m{seconds:02}s"),
            (hours, minutes, _) => format!("{hours}h{minutes:02}m"),
        }
    }
}

const UNITS: [&str; 6] = ["KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_size_has_two_or_three_digits() {
        let table = [
            (0, "0 B"),
            (1023, "1023 B"),
            (1024, "1.0 KiB"),
            (10_188, "9.9 KiB"),
            (10_189, "10 KiB"),
            (345 * 1024, "345 KiB"),
            (1024 * 1024 - 1, "1.0 MiB"),
            (1_258_291, "1.2 MiB"),
            (u64::MAX, "16 EiB"),
        ];
        for (octets, text) in table {
            assert_eq!(size(octets), text, "{octets}");
        }
    }

    #[test]
    fn a_time_is_as_precise_as_it_is_short() {
        let table = [
            (0, "0ms"),
            (21, "21ms"),
            (99, "99ms"),
            (100, "0.1s"),
            (812, "0.8s"),
            (59_940, "59.9s"),
            (59_960, "1m00s"),
            (125_000, "2m05s"),
            (3_600_000, "1h00m"),
        ];
        for (milliseconds, text) in table {
            assert_eq!(
                time(Duration::from_millis(milliseconds)),
                text,
                "{milliseconds} ms"
            );
        }
    }
}
