//! What other programs remember of mail they fetched.
//!
//! Each of them keeps the unique-ids it has seen in a file of its own format. Whoever changes to us
//! does not want that mail again, so these files can be read: octets go in, and what was seen comes
//! out, with the mailbox it was seen in as far as the file tells. Pure; nothing is recorded here.
//! A line that makes no sense is skipped and reported: one message again is better than none.

mod fdm;
mod fetchids;
mod getmail;
mod mpop;

use std::time::SystemTime;

use bstr::BString;
use posthole_proto::pop3::UniqueId;

pub use fdm::cache;
pub use fetchids::fetchids;
pub use getmail::{oldmail, oldmail_account};
pub use mpop::uidls;

/// What a file holds.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Import {
    /// What was seen, in the order of the file.
    pub seen: Vec<Seen>,
    /// What makes no sense.
    pub skipped: Vec<Skipped>,
}

/// A message that was seen.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Seen {
    /// Where, if the file says so.
    pub account: Option<Account>,
    /// Its unique-id.
    pub unique_id: UniqueId,
    /// When it was seen for the first time, if the file says so.
    pub at: Option<SystemTime>,
}

/// A mailbox, as far as these files know one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Account {
    /// The user's name on the server.
    pub user: BString,
    /// The server as it was called in the configuration.
    pub host: BString,
    /// Its port, if the file says so.
    pub port: Option<u16>,
}

/// A line that makes no sense.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Skipped {
    /// The number of the line, from one.
    pub line: usize,
    /// Why.
    pub reason: &'static str,
}

impl Import {
    /// Takes note of a message, unless there is nothing but blanks to know it by.
    fn add(
        &mut self,
        line: usize,
        account: Option<&Account>,
        unique_id: &[u8],
        at: Option<SystemTime>,
    ) {
        let unique_id = UniqueId::new(unique_id);
        if unique_id.as_bytes().is_empty() {
            return self.skip(line, "it has no unique-id");
        }
        self.seen.push(Seen {
            account: account.cloned(),
            unique_id,
            at,
        });
    }

    fn skip(&mut self, line: usize, reason: &'static str) {
        self.skipped.push(Skipped { line, reason });
    }
}

/// The lines of a file with their numbers, without their ends.
fn lines(text: &[u8]) -> impl Iterator<Item = (usize, &[u8])> {
    let lines = text.split_inclusive(|octet| *octet == b'\n');
    lines
        .map(|line| line.strip_suffix(b"\n").unwrap_or(line))
        .zip(1..)
        .map(|(line, number)| (number, line))
}

#[cfg(test)]
mod tests;
