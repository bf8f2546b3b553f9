//! Sizes, such as `10M`.

use bytesize::ByteSize;

use super::ValueError;

/// Reads a size: a number of octets, or a number and a unit.
///
/// # Errors
/// When it is not a size, or is zero.
pub fn parse_size(text: &str) -> Result<u64, ValueError> {
    let is_number = text.starts_with(|c: char| c.is_ascii_digit());
    let size = text.parse().ok().filter(|_| is_number);
    match size {
        Some(ByteSize(0)) => Err(ValueError::new("the size is zero", 0..text.len()).help(EXAMPLES)),
        Some(ByteSize(octets)) => Ok(octets),
        None => Err(ValueError::new("this is not a size", 0..text.len()).help(EXAMPLES)),
    }
}

const EXAMPLES: &str = "write a number and a unit, such as `500K`, `10M` or `10MiB`";
