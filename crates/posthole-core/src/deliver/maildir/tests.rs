use std::os::unix::fs::PermissionsExt;
use std::time::UNIX_EPOCH;

use tempfile::TempDir;

use super::*;
use crate::record::{Identity, IdentityKind};

const NAME: &str = "1.M2P3Q4_phtag.host";

fn maildir() -> (TempDir, Maildir) {
    let directory = TempDir::new().unwrap();
    let maildir = Maildir::open(&directory.path().join("Mail"), "phtag".to_owned()).unwrap();
    (directory, maildir)
}

fn identity() -> Identity {
    Identity {
        kind: IdentityKind::UniqueId,
        bytes: (*b"uid").into(),
        occurrence: 0,
    }
}

fn now() -> SystemTime {
    UNIX_EPOCH + Duration::from_secs(1_000_000_000)
}

fn intent(maildir: &Maildir, place: u64, age: Duration) -> StoredIntent {
    StoredIntent {
        identity: identity(),
        destination: maildir.root.clone(),
        name: NAME.to_owned(),
        place,
        at: now() - age,
        offset: None,
    }
}

/// Recovers from one intent of an age; returns whether the message counts as delivered.
fn recover(maildir: &Maildir, place: u64, age: Duration) -> bool {
    let intents = vec![intent(maildir, place, age)];
    let Recovered { receipts, lost } = maildir.recover(intents, now()).unwrap();
    assert_eq!(receipts.len() + lost.len(), 1);
    receipts.len() == 1
}

fn exists(maildir: &Maildir, folder: &str) -> bool {
    maildir.root.join(folder).join(NAME).exists()
}

#[test]
fn a_message_still_in_tmp_was_not_moved_and_is_moved_now() {
    let (_directory, maildir) = maildir();
    std::fs::write(maildir.root.join("tmp").join(NAME), "text").unwrap();
    assert!(recover(
        &maildir,
        maildir.tmp.place().unwrap(),
        Duration::ZERO
    ));
    assert!(exists(&maildir, "new") && !exists(&maildir, "tmp"));
}

#[test]
fn a_message_gone_from_tmp_was_moved_wherever_it_is_now() {
    let (_directory, maildir) = maildir();
    assert!(recover(
        &maildir,
        maildir.tmp.place().unwrap(),
        Duration::ZERO
    ));
    let almost = TMP_CLEANERS_RESPECT - Duration::from_secs(1);
    assert!(recover(&maildir, maildir.tmp.place().unwrap(), almost));
}

/// A sync that failed and is repeated succeeds, whatever the disk has of it.
#[cfg(target_os = "linux")]
#[test]
fn a_message_that_was_moved_is_moved_anew_so_that_there_is_something_to_sync() {
    use rustix::fs::inotify;

    let (_directory, maildir) = maildir();
    let new = maildir.root.join("new");
    std::fs::write(new.join(NAME), "text").unwrap();
    let watch = inotify::init(inotify::CreateFlags::NONBLOCK).unwrap();
    let moves = inotify::WatchFlags::MOVE;
    inotify::add_watch(&watch, &new, moves).unwrap();
    let place = maildir.tmp.place().unwrap();
    assert!(recover(&maildir, place, Duration::ZERO));
    assert!(exists(&maildir, "new") && !exists(&maildir, "tmp"));
    let mut buffer = [std::mem::MaybeUninit::uninit(); 4096];
    let mut events = inotify::Reader::new(&watch, &mut buffer);
    for expected in [inotify::ReadFlags::MOVED_FROM, inotify::ReadFlags::MOVED_TO] {
        assert_eq!(events.next().unwrap().events(), expected);
    }
}

#[test]
fn a_move_that_cannot_be_synced_is_no_delivery() {
    use rustix::fs::{Mode, OFlags};

    let (_directory, mut maildir) = maildir();
    std::fs::write(maildir.root.join("tmp").join(NAME), "text").unwrap();
    let place = maildir.tmp.place().unwrap();
    // By such a handle files can be moved, and nothing be synced.
    let path = maildir.root.join("new");
    let handle = rustix::fs::open(path, OFlags::PATH | OFlags::CLOEXEC, Mode::empty());
    let whole = std::mem::replace(&mut maildir.new, handle.unwrap().into());
    for _ in 0..2 {
        let intents = vec![intent(&maildir, place, Duration::ZERO)];
        assert!(maildir.recover(intents, now()).is_err());
        assert!(exists(&maildir, "new"));
    }
    maildir.new = whole;
    assert!(recover(&maildir, place, Duration::ZERO));
}

#[test]
fn what_may_have_been_cleaned_away_is_fetched_again() {
    let (_directory, maildir) = maildir();
    assert!(!recover(
        &maildir,
        maildir.tmp.place().unwrap(),
        TMP_CLEANERS_RESPECT
    ));
}

#[test]
fn another_folder_in_the_place_of_tmp_proves_nothing() {
    let (_directory, maildir) = maildir();
    assert!(!recover(
        &maildir,
        maildir.tmp.place().unwrap() + 1,
        Duration::ZERO
    ));
}

#[test]
fn a_message_still_in_tmp_is_moved_however_old_it_is() {
    let (_directory, maildir) = maildir();
    std::fs::write(maildir.root.join("tmp").join(NAME), "text").unwrap();
    assert!(recover(
        &maildir,
        maildir.tmp.place().unwrap() + 1,
        2 * TMP_CLEANERS_RESPECT
    ));
    assert!(exists(&maildir, "new"));
}

#[test]
fn a_message_in_both_folders_is_delivered_once() {
    let (_directory, maildir) = maildir();
    for folder in ["tmp", "new"] {
        std::fs::write(maildir.root.join(folder).join(NAME), "text").unwrap();
    }
    assert!(recover(
        &maildir,
        maildir.tmp.place().unwrap(),
        Duration::ZERO
    ));
    assert!(exists(&maildir, "new") && !exists(&maildir, "tmp"));
}

#[test]
fn a_new_maildir_is_for_its_owner_only() {
    let (directory, _maildir) = maildir();
    let mode = |path: &Path| std::fs::metadata(path).unwrap().permissions().mode() & 0o777;
    let folders = ["Mail", "Mail/tmp", "Mail/new", "Mail/cur"];
    assert_eq!(
        folders.map(|folder| mode(&directory.path().join(folder))),
        [0o700; 4]
    );
}
