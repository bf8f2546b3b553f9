//! fetchmail's `.fetchids`: a line `USER@HOST UNIQUE-ID` for each message.
//!
//! User and unique-id may both hold an `@`, and the user blanks. fetchmail itself ends the host at
//! the first blank after the first `@`, and so forgets what `you@home there` has seen (fetchmail(1),
//! BUGS). Here the last blank divides, as long as a host comes of it.

use bstr::ByteSlice;

use super::{Account, Import, lines};

/// Reads a `.fetchids`.
#[must_use]
pub fn fetchids(text: &[u8]) -> Import {
    let mut import = Import::default();
    for (number, line) in lines(text) {
        let line = line.trim_ascii();
        if line.is_empty() {
            continue;
        }
        match at_last_blank(line).or_else(|| as_fetchmail_does(line)) {
            Some((account, unique_id)) => import.add(number, Some(&account), unique_id, None),
            None => import.skip(number, "it is not `user@host unique-id`"),
        }
    }
    import
}

fn at_last_blank(line: &[u8]) -> Option<(Account, &[u8])> {
    let at = line.rfind_byteset(b" \t")?;
    Some((account(&line[..at])?, &line[at + 1..]))
}

fn as_fetchmail_does(line: &[u8]) -> Option<(Account, &[u8])> {
    let sign = line.find_byte(b'@')?;
    let at = sign + line[sign..].find_byte(b' ')?;
    let unique_id = line[at..].trim_ascii_start();
    let end = unique_id.find_byteset(b" \t").unwrap_or(unique_id.len());
    Some((account(&line[..at])?, &unique_id[..end]))
}

/// `USER@HOST`, where the host holds no blank.
fn account(text: &[u8]) -> Option<Account> {
    let text = text.trim_ascii_end();
    let sign = text.rfind_byte(b'@')?;
    let (user, host) = (&text[..sign], &text[sign + 1..]);
    let sound = !user.is_empty() && !host.is_empty() && host.find_byteset(b" \t").is_none();
    sound.then(|| Account {
        user: user.into(),
        host: host.into(),
        port: None,
    })
}
