//! The fields of a header, without judging them: whatever stands in a header stays in it.

/// A field with the lines that continue it, or a line that is no field.
#[derive(Clone, Copy, Debug)]
pub(super) struct Field<'a> {
    /// All of it, up to and with its last line end.
    pub(super) octets: &'a [u8],
    /// Where the colon stands, if what is before it can be a name.
    colon: Option<usize>,
}

impl<'a> Field<'a> {
    fn new(octets: &'a [u8]) -> Self {
        let colon = memchr::memchr(b':', octets);
        let is_name = |name: &[u8]| !name.is_empty() && name.iter().all(u8::is_ascii_graphic);
        Self {
            octets,
            colon: colon.filter(|&colon| is_name(&octets[..colon])),
        }
    }

    /// Whether this is the field of that name.
    pub(super) fn is(&self, name: &str) -> bool {
        self.name()
            .is_some_and(|written| written.eq_ignore_ascii_case(name.as_bytes()))
    }

    fn name(&self) -> Option<&'a [u8]> {
        Some(&self.octets[..self.colon?])
    }

    /// What follows the colon, with all line ends; everything of a line that is no field.
    pub(super) fn value(&self) -> &'a [u8] {
        &self.octets[self.value_start()..]
    }

    /// Where [`Field::value`] starts.
    pub(super) fn value_start(&self) -> usize {
        self.colon.map_or(0, |colon| colon + 1)
    }

    /// Whether the field says nothing.
    pub(super) fn is_blank(&self) -> bool {
        self.value().trim_ascii().is_empty()
    }

    /// Whether this is the line that separates messages in an mbox.
    pub(super) fn is_from_line(&self) -> bool {
        self.octets.starts_with(b"From ") || self.octets.starts_with(b">From ")
    }
}

/// The fields of a header, and last the empty line if there is one.
pub(super) fn fields(header: &[u8]) -> impl Iterator<Item = Field<'_>> {
    let mut rest = header;
    std::iter::from_fn(move || {
        if rest.is_empty() {
            return None;
        }
        let end = memchr::memchr_iter(b'\n', rest)
            .map(|newline| newline + 1)
            .find(|&next| !matches!(rest.get(next), Some(b' ' | b'\t')))
            .unwrap_or(rest.len());
        let (field, after) = rest.split_at(end);
        rest = after;
        Some(Field::new(field))
    })
}

/// Where the body starts in a text of which the first `searched` octets were searched before.
pub(super) fn end(text: &[u8], searched: usize) -> Option<usize> {
    if text.starts_with(b"\n") {
        return Some(1);
    }
    if text.starts_with(b"\r\n") {
        return Some(2);
    }
    let from = searched.saturating_sub(2);
    memchr::memchr_iter(b'\n', &text[from..])
        .map(|newline| from + newline + 1)
        .find_map(|next| match text.get(next..) {
            Some([b'\n', ..]) => Some(next + 1),
            Some([b'\r', b'\n', ..]) => Some(next + 2),
            _ => None,
        })
}
