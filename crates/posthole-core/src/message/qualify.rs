//! A host for addresses that have none: `joe` becomes `joe@host` (`rewrite` in fetchmail(1)).
//!
//! A server's local users write to each other without a host; read elsewhere, their addresses
//! would be those of our own users. Only that is mended, and every other octet of the field stays,
//! so this walks over the text instead of taking it apart and putting it together again.

use super::header::Field;

/// Whether a field holds addresses that are qualified.
pub(super) fn applies_to(field: &Field<'_>) -> bool {
    FIELDS.iter().any(|name| field.is(name))
}

/// Appends a field to `out`, its addresses qualified.
pub(super) fn qualify(field: &Field<'_>, host: &str, out: &mut Vec<u8>) {
    let (name, value) = field.octets.split_at(field.value_start());
    out.extend_from_slice(name);
    let mut address = Address::default();
    let mut walk = value.iter().copied().enumerate();
    let mut copied = 0;
    let mut comments = 0_u32;
    let mut is_quoted = false;
    while let Some((at, octet)) = walk.next() {
        match octet {
            b'\\' => {
                walk.next();
                if comments == 0 {
                    address.word(at + 2);
                }
            }
            b'"' if comments == 0 => {
                is_quoted = !is_quoted;
                address.quote(at + 1);
            }
            _ if is_quoted => {}
            b'(' => comments += 1,
            b')' => comments = comments.saturating_sub(1),
            _ if comments > 0 => {}
            b'<' => address = Address::in_brackets(),
            b'>' => {
                if let Some(end) = address.unqualified() {
                    append_host(&value[copied..end], host, out);
                    copied = end;
                }
                address = Address::done();
            }
            b',' | b';' => {
                if let Some(end) = address.unqualified() {
                    append_host(&value[copied..end], host, out);
                    copied = end;
                }
                address = Address::default();
            }
            // What came before was the name of a group, or a source route.
            b':' => address.colon(),
            b'@' | b'!' => address.is_qualified = true,
            _ if octet.is_ascii_whitespace() => {}
            _ => address.word(at + 1),
        }
    }
    if !is_quoted
        && comments == 0
        && let Some(end) = address.unqualified()
    {
        append_host(&value[copied..end], host, out);
        copied = end;
    }
    out.extend_from_slice(&value[copied..]);
}

fn append_host(address: &[u8], host: &str, out: &mut Vec<u8>) {
    out.extend_from_slice(address);
    out.push(b'@');
    out.extend_from_slice(host.as_bytes());
}

/// What was seen of an address.
#[derive(Clone, Copy, Debug, Default)]
struct Address {
    /// Where its last word ends.
    end: Option<usize>,
    is_qualified: bool,
    is_bracketed: bool,
    /// The address in brackets was seen; whatever follows is no address.
    is_done: bool,
    /// Nothing but a quoted text, which may be a name or an address.
    is_only_quoted: bool,
}

impl Address {
    fn in_brackets() -> Self {
        Self {
            is_bracketed: true,
            ..Self::default()
        }
    }

    fn done() -> Self {
        Self {
            is_done: true,
            ..Self::default()
        }
    }

    fn word(&mut self, end: usize) {
        self.end = Some(end);
        self.is_only_quoted = false;
    }

    fn quote(&mut self, end: usize) {
        self.is_only_quoted = self.end.is_none() || self.is_only_quoted;
        self.end = Some(end);
    }

    fn colon(&mut self) {
        if !self.is_bracketed {
            *self = Self::default();
        }
    }

    /// Where a host is missing. Text in quotes alone gets none outside of brackets: it is as
    /// likely a name whose address was left out.
    fn unqualified(&self) -> Option<usize> {
        let is_address = !self.is_qualified && !self.is_done;
        self.end
            .filter(|_| is_address && (self.is_bracketed || !self.is_only_quoted))
    }
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
