//! fdm's POP3 cache: a line `LENGTH UNIQUE-ID` for each message; the length is in octets.

use bstr::ByteSlice;

use super::Import;

/// Reads a cache file (fdm.conf(5), `cache`).
#[must_use]
pub fn cache(text: &[u8]) -> Import {
    let mut import = Import::default();
    let mut rest = text;
    let mut number = 1;
    while !rest.is_empty() {
        let record = record(rest);
        let line = rest.find_byte(b'\n').map_or(rest.len(), |end| end + 1);
        let length = match record {
            Some((unique_id, length)) => {
                import.add(number, None, unique_id, None);
                length
            }
            None => {
                import.skip(number, "it is not a length and a unique-id of it");
                line
            }
        };
        number += rest[..length].find_iter(b"\n").count();
        rest = &rest[length..];
    }
    import
}

/// The unique-id at the start, and how long its record is.
fn record(text: &[u8]) -> Option<(&[u8], usize)> {
    let blank = text.find_byte(b' ')?;
    let length: usize = text[..blank].to_str().ok()?.parse().ok()?;
    let start = blank + 1;
    let end = start.checked_add(length)?;
    let unique_id = text
        .get(start..end)
        .filter(|unique_id| !unique_id.trim_ascii().is_empty())?;
    match text.get(end) {
        None => Some((unique_id, end)),
        Some(b'\n') => Some((unique_id, end + 1)),
        Some(_) => None,
    }
}
