//! getmail's `oldmail-SERVER-PORT-USER`: records `UNIQUE-ID NUL TIME`, one on each line.
//!
//! getmail writes a `-` for each `/` of a unique-id, which cannot be undone: a message with such a
//! unique-id comes again. Files of IMAP have unique-ids of another kind and are of no use.

use std::time::{Duration, SystemTime};

use bstr::ByteSlice;

use super::{Account, Import, lines};

/// Reads an oldmail file.
#[must_use]
pub fn oldmail(text: &[u8]) -> Import {
    let mut import = Import::default();
    for (number, line) in lines(text) {
        let Some((unique_id, time)) = line.split_once_str(b"\0") else {
            if !line.is_empty() {
                import.skip(number, "it has no time behind a NUL");
            }
            continue;
        };
        if unique_id.contains(&b'/') {
            import.skip(number, "it is of a folder, not of POP3");
        } else {
            import.add(number, None, unique_id, seconds(time));
        }
    }
    import
}

/// What the name of an oldmail file says of the mailbox.
///
/// Some characters of a user's name are written as `-` there, so the name may be another one.
#[must_use]
pub fn oldmail_account(file_name: &[u8]) -> Option<Account> {
    let rest = file_name.strip_prefix(b"oldmail-")?;
    // A server's name may hold digits between hyphens, but a user's rarely begins with them.
    let hyphens: Vec<_> = rest.find_iter(b"-").collect();
    hyphens.windows(2).rev().find_map(|pair| {
        let [before, after] = *pair else { return None };
        let port: u16 = rest[before + 1..after].to_str().ok()?.parse().ok()?;
        let (host, user) = (&rest[..before], &rest[after + 1..]);
        let sound = !host.is_empty() && !user.is_empty() && port > 0;
        sound.then(|| Account {
            user: user.into(),
            host: host.into(),
            port: Some(port),
        })
    })
}

fn seconds(time: &[u8]) -> Option<SystemTime> {
    let seconds = time.trim_ascii().to_str().ok()?.parse().ok()?;
    SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(seconds))
}
