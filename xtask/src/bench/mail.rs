//! Whether a contender really got every message.
//!
//! Programs may add header lines of their own (mbsync's `X-TUID` cannot be turned off), so a message
//! counts as itself when its `Message-ID` and its body are the same, whatever the line ends.

use std::collections::HashMap;
use std::fs;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::path::Path;

/// What must be in a Maildir after the mailbox was fetched.
#[derive(Debug)]
pub(super) struct Expected {
    n_messages: usize,
    octets: u64,
    marks: HashMap<u64, usize>,
}

impl Expected {
    /// Of these messages.
    pub(super) fn of(messages: &[Vec<u8>]) -> Self {
        let mut marks = HashMap::new();
        for message in messages {
            *marks.entry(mark(message)).or_default() += 1;
        }
        Self {
            n_messages: messages.len(),
            octets: messages.iter().map(|message| message.len() as u64).sum(),
            marks,
        }
    }

    /// How many octets the messages have, as the server counts them.
    pub(super) fn octets(&self) -> u64 {
        self.octets
    }

    /// Looks for each message in a Maildir, each once and nothing else.
    pub(super) fn check(&self, maildir: &Path) -> Result<(), String> {
        let mut missing = self.marks.clone();
        let (mut n_found, mut n_strange) = (0, 0);
        for part in ["new", "cur"] {
            let Ok(entries) = fs::read_dir(maildir.join(part)) else {
                continue;
            };
            for entry in entries {
                let path = entry.map_err(|error| error.to_string())?.path();
                let message = fs::read(&path)
                    .map_err(|error| format!("cannot read {}: {error}", path.display()))?;
                n_found += 1;
                match missing.get_mut(&mark(&message)) {
                    Some(n) if *n > 0 => *n -= 1,
                    _ => n_strange += 1,
                }
            }
        }
        if n_found == self.n_messages && n_strange == 0 {
            return Ok(());
        }
        Err(format!(
            "{} holds {n_found} messages where {} should be, {n_strange} of them altered or twice",
            maildir.display(),
            self.n_messages
        ))
    }
}

/// A number that stands for the Message-ID and the body.
fn mark(message: &[u8]) -> u64 {
    let mut lines = message
        .split(|octet| *octet == b'\n')
        .map(|line| line.strip_suffix(b"\r").unwrap_or(line));
    let mut hasher = DefaultHasher::new();
    for line in lines.by_ref().take_while(|line| !line.is_empty()) {
        if line.starts_with(b"Message-ID:") {
            line.hash(&mut hasher);
        }
    }
    for line in lines {
        line.hash(&mut hasher);
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn maildir_with(messages: &[&str]) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("new")).unwrap();
        for (i, message) in messages.iter().enumerate() {
            fs::write(dir.path().join("new").join(i.to_string()), message).unwrap();
        }
        dir
    }

    #[test]
    fn added_headers_and_line_ends_do_not_matter_and_everything_else_does() {
        let expected = Expected::of(&[
            b"Message-ID: <1>\r\n\r\none\r\n".to_vec(),
            b"Message-ID: <2>\r\n\r\ntwo\r\n".to_vec(),
        ]);
        let [one, two] = [
            "X-TUID: 1\nMessage-ID: <1>\n\none\n",
            "Message-ID: <2>\n\ntwo\n",
        ];
        let check = |messages: &[&str]| expected.check(maildir_with(messages).path());
        assert_eq!(check(&[one, two]), Ok(()));
        assert!(check(&[one]).is_err());
        assert!(check(&[one, one]).is_err());
        assert!(check(&[one, two, two]).is_err());
        assert!(check(&[one, &two.replace("<2>", "<3>")]).is_err());
        assert!(check(&[one, &two.replace("two", "tw")]).is_err());
    }
}
