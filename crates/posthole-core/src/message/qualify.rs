//! A host for addresses that have none: `joe` becomes `joe@host` (`rewrite` in fetchmail(1)).
//!
//! A server's local users write to each other without a host; read elsewhere, their addresses
//! would be those of our own users. Only that is mended, and every other octet of the field stays.

use super::address::addresses;
use super::header::Field;

/// Whether a field holds addresses that are qualified.
pub(super) fn applies_to(field: &Field<'_>) -> bool {
    FIELDS.iter().any(|name| field.is(name))
}

/// Appends a field to `out`, its addresses qualified.
pub(super) fn qualify(field: &Field<'_>, host: &str, out: &mut Vec<u8>) {
    let (name, value) = field.octets.split_at(field.value_start());
    out.extend_from_slice(name);
    let mut copied = 0;
    for address in addresses(value) {
        if !address.is_qualified {
            out.extend_from_slice(&value[copied..address.span.end]);
            out.push(b'@');
            out.extend_from_slice(host.as_bytes());
            copied = address.span.end;
        }
    }
    out.extend_from_slice(&value[copied..]);
}

/// The fields in which fetchmail qualifies addresses.
const FIELDS: &[&str] = &[
    "Apparently-From",
    "Apparently-To",
    "Bcc",
    "Cc",
    "From",
    "Reply-To",
    "Resent-Bcc",
    "Resent-Cc",
    "Resent-From",
    "Resent-Sender",
    "Resent-To",
    "Return-Path",
    "Sender",
    "To",
];
