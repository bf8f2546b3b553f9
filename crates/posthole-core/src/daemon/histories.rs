//! What is remembered of the accounts between runs: `accounts.json` among the records.
//!
//! It is for people and for monitoring: what was fetched is known from the records, not from here.
//! So it is written without a sync, rarely, and what is broken in it is forgotten. Several runs may
//! write it at the same time, each what it knows of its own accounts.

use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;
use std::time::SystemTime;

use super::status::{History, seconds};
use crate::durable;

/// The accounts' histories by their names.
pub type Histories = BTreeMap<String, History>;

/// Reads what is remembered; blocks.
#[must_use]
pub fn read(state_dir: &Path) -> Histories {
    let text = std::fs::read(state_dir.join(FILE)).unwrap_or_default();
    serde_json::from_slice(&text).unwrap_or_default()
}

/// Remembers what became of some accounts, and what is remembered of others; blocks.
///
/// # Errors
/// When the file cannot be written.
pub fn update(state_dir: &Path, changed: Histories) -> io::Result<()> {
    durable::create_dir(state_dir).map_err(io::Error::other)?;
    let private = |path: &Path| -> io::Result<File> {
        let mut options = OpenOptions::new();
        options.create(true).truncate(false).write(true).mode(0o600);
        // It is written to, and a link may lead anywhere.
        options.custom_flags(rustix::fs::OFlags::NOFOLLOW.bits().cast_signed());
        options.open(path)
    };
    let lock = private(&state_dir.join("accounts.lock"))?;
    lock.lock()?;
    let mut all = read(state_dir);
    all.extend(changed);
    let now = seconds(SystemTime::now());
    all.retain(|_, history| {
        let attempt = history.last_attempt.unwrap_or(now);
        now.saturating_sub(attempt) < FORGET_AFTER
    });
    let fresh = state_dir.join("accounts.json.new");
    let mut file = private(&fresh)?;
    file.set_len(0)?;
    file.write_all(&serde_json::to_vec_pretty(&all)?)?;
    drop(file);
    // Losing it to a power cut costs nobody any mail, so nothing is synced.
    std::fs::rename(&fresh, state_dir.join(FILE))
}

const FILE: &str = "accounts.json";
/// An account that is no longer polled.
const FORGET_AFTER: u64 = 90 * 24 * 60 * 60;

#[cfg(test)]
mod tests {
    use super::*;

    fn failed(times: u32) -> History {
        History {
            failures: times,
            last_attempt: Some(seconds(SystemTime::now())),
            ..History::default()
        }
    }

    #[test]
    fn each_run_writes_its_own_accounts_and_leaves_others_alone() {
        let directory = tempfile::tempdir().unwrap();
        let state_dir = directory.path().join("state");
        assert!(read(&state_dir).is_empty());
        update(&state_dir, [("a".to_owned(), failed(1))].into()).unwrap();
        update(&state_dir, [("b".to_owned(), failed(2))].into()).unwrap();
        update(&state_dir, [("a".to_owned(), failed(3))].into()).unwrap();
        let all = read(&state_dir);
        assert_eq!((all["a"].failures, all["b"].failures), (3, 2));
        let old = History {
            last_attempt: Some(1000),
            ..History::default()
        };
        update(&state_dir, [("b".to_owned(), old)].into()).unwrap();
        assert_eq!(read(&state_dir).len(), 1);
    }

    #[test]
    fn a_broken_file_is_forgotten() {
        let directory = tempfile::tempdir().unwrap();
        std::fs::write(directory.path().join(FILE), "{").unwrap();
        update(directory.path(), [("a".to_owned(), failed(1))].into()).unwrap();
        assert_eq!(read(directory.path()).len(), 1);
    }
}
