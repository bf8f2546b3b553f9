//! Line ends as a Maildir keeps them.

/// Appends octets to `out` with every CRLF turned into LF; a lone CR stays.
///
/// A CR at the end of `input` is held back until it is known what follows: `held_cr` says whether
/// one is, and carries over to the next call. After the last call a held CR is content:
/// [`finish_lf`] appends it.
pub(crate) fn to_lf(input: &[u8], held_cr: &mut bool, out: &mut Vec<u8>) {
    if input.is_empty() {
        return;
    }
    out.reserve(input.len() + 1);
    if std::mem::take(held_cr) && input[0] != b'\n' {
        out.push(b'\r');
    }
    let mut start = 0;
    for cr in memchr::memchr_iter(b'\r', input) {
        match input.get(cr + 1) {
            Some(b'\n') => {
                out.extend_from_slice(&input[start..cr]);
                start = cr + 1;
            }
            Some(_) => {}
            None => {
                out.extend_from_slice(&input[start..cr]);
                *held_cr = true;
                return;
            }
        }
    }
    out.extend_from_slice(&input[start..]);
}

/// Appends the CR that [`to_lf`] held back, if any.
pub(crate) fn finish_lf(held_cr: &mut bool, out: &mut Vec<u8>) {
    if std::mem::take(held_cr) {
        out.push(b'\r');
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn convert<'a>(parts: impl IntoIterator<Item = &'a [u8]>) -> Vec<u8> {
        let (mut out, mut held_cr) = (Vec::new(), false);
        for part in parts {
            to_lf(part, &mut held_cr, &mut out);
        }
        finish_lf(&mut held_cr, &mut out);
        out
    }

    #[test]
    fn only_the_cr_of_a_line_end_is_dropped() {
        let table: &[(&[u8], &[u8])] = &[
            (b"", b""),
            (b"a\r\nb\r\n", b"a\nb\n"),
            (b"a\rb", b"a\rb"),
            (b"a\r\r\nb", b"a\r\nb"),
            (b"\r\n\r\n", b"\n\n"),
            (b"a\nb", b"a\nb"),
            (b"a\r", b"a\r"),
            (b"\r\r", b"\r\r"),
        ];
        for (input, expected) in table {
            assert_eq!(convert([*input]), *expected, "{}", input.escape_ascii());
        }
    }

    proptest! {
        #[test]
        fn it_does_not_matter_where_the_input_is_cut(
            input in "[ab\r\n]{0,40}", cut in 0usize..40, other in 0usize..40
        ) {
            let input = input.as_bytes();
            let cut = cut.min(input.len());
            let (head, tail) = input.split_at(cut);
            let (middle, end) = tail.split_at(other.min(tail.len()));
            prop_assert_eq!(convert([input]), convert([head, middle, end]));
        }
    }
}
