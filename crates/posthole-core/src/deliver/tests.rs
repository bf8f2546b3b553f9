//! What is made of messages that a run has left on their way, when mail goes elsewhere since.

use std::fs;
use std::path::PathBuf;

use tempfile::TempDir;

use super::*;
use crate::record::{IdentityKind, Records};

struct World {
    directory: TempDir,
    mailbox: Mailbox,
}

impl World {
    /// A message that has reached a Maildir and is not on record.
    fn with_a_message_in(name: &str) -> Self {
        let directory = TempDir::new().unwrap();
        let records = Records::open(&directory.path().join("state")).unwrap();
        let mailbox = records.mailbox("test").unwrap();
        let world = Self { directory, mailbox };
        let maildir = Maildir::open(&world.path(name), world.mailbox.tag().unwrap()).unwrap();
        let mut incoming = maildir.staging().begin().unwrap();
        incoming.write(b"Subject: x\n\nhello\n").unwrap();
        let number = std::num::NonZeroU32::MIN.into();
        let spooled = incoming.finish(identity(), MessageRef { idx: 0, number });
        let sealed = maildir.staging().seal(vec![spooled]).unwrap();
        let now = SystemTime::now();
        let intended = world.mailbox.intend(sealed, maildir.root(), now).unwrap();
        let _died_before_the_record = maildir.publish(intended).unwrap();
        world
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn to(&self, names: &[&str]) -> Vec<DeliverTo> {
        let to = names.iter().map(|name| DeliverTo::Maildir(self.path(name)));
        to.collect()
    }

    /// Whether the message counts as delivered.
    fn is_delivered_after(&self, to: &[&str]) -> bool {
        recover(&self.to(to), false, &self.mailbox).unwrap();
        assert!(self.mailbox.intents().unwrap().is_empty());
        let number = std::num::NonZeroU32::MIN.into();
        let message = MessageRef { idx: 0, number };
        self.mailbox.lookup(&identity(), message).unwrap().is_some()
    }
}

fn identity() -> Identity {
    Identity {
        kind: IdentityKind::UniqueId,
        bytes: (*b"uid").into(),
        occurrence: 0,
    }
}

#[test]
fn what_is_in_the_only_place_is_delivered_also_when_mail_goes_elsewhere_since() {
    assert!(World::with_a_message_in("a").is_delivered_after(&["a"]));
    assert!(World::with_a_message_in("a").is_delivered_after(&["b"]));
}

#[test]
fn what_others_may_lack_is_fetched_again() {
    assert!(!World::with_a_message_in("a").is_delivered_after(&["a", "b"]));
    // Nobody knows whether there was a `b` before.
    assert!(!World::with_a_message_in("a").is_delivered_after(&["b", "c"]));
}

#[test]
fn another_folder_in_the_place_of_one_is_noticed() {
    let world = World::with_a_message_in("a");
    for folder in ["tmp", "new"] {
        fs::remove_dir_all(world.path("a").join(folder)).unwrap();
        fs::create_dir(world.path("a").join(folder)).unwrap();
    }
    assert!(!world.is_delivered_after(&["a"]));
}

#[test]
fn a_place_that_cannot_be_used_any_more_holds_up_nobody() {
    let world = World::with_a_message_in("a");
    fs::remove_dir_all(world.path("a")).unwrap();
    fs::write(world.path("a"), "a file").unwrap();
    assert!(recover(&world.to(&["a"]), false, &world.mailbox).is_err());
    assert!(!world.is_delivered_after(&["b"]));
}

#[test]
fn root_puts_no_mail_into_the_maildir_of_another() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let directory = TempDir::new().unwrap();
    std::os::unix::fs::chown(directory.path(), Some(1), None).unwrap();
    let root = directory.path().join("Maildir");
    let refused = Maildir::open(&root, "tag".to_owned());
    assert!(matches!(
        refused,
        Err(DeliverError::OthersMaildir { owner: 1, .. })
    ));
    assert!(!root.exists());
}
