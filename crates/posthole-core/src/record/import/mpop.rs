//! mpop's UIDLs file: lists of unique-ids, one on each line, each below a line ` COUNT HOST USER`.
//!
//! Only the blank at its start tells such a line from a unique-id, and only the count tells a
//! unique-id from anything else, so the count is believed.

use bstr::ByteSlice;

use super::{Account, Import, lines};

/// Reads a UIDLs file (mpop(1), `uidls_file`).
#[must_use]
pub fn uidls(text: &[u8]) -> Import {
    let mut import = Import::default();
    let mut list: Option<Account> = None;
    let mut left = 0_u64;
    for (number, line) in lines(text) {
        if left > 0 {
            left -= 1;
            import.add(number, list.as_ref(), line, None);
        } else if let Some((count, account)) = header(line) {
            (left, list) = (count, Some(account));
        } else if !line.is_empty() && !line.starts_with(b"#") {
            import.skip(number, "it is not ` count host user`");
        }
    }
    if left > 0 {
        let last = lines(text).last().map_or(1, |(number, _)| number);
        import.skip(last, "unique-ids are missing behind it");
    }
    import
}

/// ` COUNT HOST USER`; the user may hold blanks.
fn header(line: &[u8]) -> Option<(u64, Account)> {
    let mut fields = line.strip_prefix(b" ")?.splitn(3, |octet| *octet == b' ');
    let count = fields.next()?.to_str().ok()?.parse().ok()?;
    let (host, user) = (fields.next()?, fields.next()?);
    let account = Account {
        user: user.into(),
        host: host.into(),
        port: None,
    };
    Some((count, account))
}
