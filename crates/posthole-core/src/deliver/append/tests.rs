use std::fs;
use std::io::Write;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::sync::Arc;

use tempfile::TempDir;
use tokio_util::sync::CancellationToken;

use super::*;
use crate::ask::{Ask, Nobody};
use crate::deliver::dispatch::open_staging;
use crate::deliver::staging::Staging;
use crate::deliver::{Delivery, Means, Settled, place_of};
use crate::error::Class;
use crate::plan::DeliverTo;
use crate::progress::Silent;
use crate::record::{IdentityKind, Mailbox, Records, StoredIntent};
use crate::session::MessageRef;
use crate::tunnel::Tunnels;

fn means() -> Means {
    let ask: Arc<dyn Ask> = Arc::new(Nobody);
    Means {
        account: "test".to_owned(),
        tunnels: Arc::new(Tunnels::new(Arc::clone(&ask), Arc::new(Silent))),
        ask,
        stop: CancellationToken::new(),
        trust_stores: Arc::default(),
    }
}

/// A mailbox with its records, and an mbox to deliver to.
struct World {
    directory: TempDir,
    mailbox: Mailbox,
}

impl World {
    fn new() -> Self {
        let directory = TempDir::new().unwrap();
        let records = Records::open(&directory.path().join("state")).unwrap();
        let mailbox = records.mailbox("test").unwrap();
        Self { directory, mailbox }
    }

    fn path(&self) -> PathBuf {
        self.directory.path().join("mbox")
    }

    fn to(&self) -> Vec<DeliverTo> {
        vec![DeliverTo::Mbox(MboxTo {
            path: self.path(),
            owner: None,
        })]
    }

    fn staging(&self) -> Staging {
        open_staging(&self.mailbox).unwrap()
    }

    fn file(&self) -> AppendFile {
        AppendFile {
            patience: Duration::from_millis(50),
            ..AppendFile::mbox_at(&self.path()).unwrap()
        }
    }

    /// Delivers a batch, and returns how many messages were recorded.
    fn deliver(&self, texts: &[&str]) -> Result<usize, Error> {
        let means = means();
        let mut delivery = Delivery::open(&self.to(), &self.mailbox, &means)?;
        let staging = Arc::clone(delivery.staging());
        let batch = texts.iter().zip(0..).map(|(text, number)| {
            let mut incoming = staging.begin().unwrap();
            incoming.write(text.as_bytes()).unwrap();
            incoming.finish(identity(text), message(number))
        });
        let batch = batch.collect();
        let mut count = 0;
        delivery.deliver(batch, &self.mailbox, &mut |settled| {
            if let Settled::Recorded(recorded) = settled {
                count += recorded.len();
            }
        })?;
        Ok(count)
    }

    fn content(&self) -> String {
        fs::read_to_string(self.path()).unwrap()
    }

    /// The bodies of the messages that a reader of the mbox sees.
    fn bodies(&self) -> Vec<String> {
        bodies(&self.content())
    }

    /// Leaves an intent to append a text where the file ends now, as a run that died.
    fn intend(&self, text: &str) -> Died {
        let staging = self.staging();
        let mut incoming = staging.begin().unwrap();
        incoming.write(text.as_bytes()).unwrap();
        let sealed = staging
            .seal(vec![incoming.finish(identity(text), message(1))])
            .unwrap();
        let name = sealed.messages().next().unwrap().1.to_owned();
        if !self.path().exists() {
            fs::write(self.path(), "").unwrap();
        }
        let metadata = fs::metadata(self.path()).unwrap();
        let at = UNIX_EPOCH + Duration::from_secs(1_000_000_000);
        let intent = StoredIntent {
            identity: identity(text),
            destination: self.path(),
            name: name.clone(),
            place: place_of(&File::open(self.path()).unwrap()).unwrap(),
            at,
            offset: Some(metadata.len()),
        };
        let file = self.file();
        let handle = File::open(self.path()).unwrap();
        let lead = file.lead(&handle, metadata.len(), &self.path()).unwrap();
        let mut form = Vec::new();
        let sender = if text.contains("a@b") { "a@b" } else { "" };
        file.render(staging.read(&name).unwrap(), sender, &[], at, lead)
            .read_to_end(&mut form)
            .unwrap();
        Died { intent, form }
    }

    /// Recovers from such an intent; whether the message counts as delivered.
    fn recover(&self, died: Died) -> bool {
        let recovered = self
            .file()
            .recover(vec![died.intent], &self.staging())
            .unwrap();
        assert_eq!(recovered.receipts.len() + recovered.lost.len(), 1);
        self.staging().sweep().unwrap();
        recovered.receipts.len() == 1
    }

    fn append(&self, octets: &[u8]) {
        let mut file = fs::OpenOptions::new()
            .append(true)
            .open(self.path())
            .unwrap();
        file.write_all(octets).unwrap();
    }
}

struct Died {
    intent: StoredIntent,
    /// What would have been appended.
    form: Vec<u8>,
}

fn identity(text: &str) -> Identity {
    Identity {
        kind: IdentityKind::UniqueId,
        bytes: text.as_bytes().into(),
        occurrence: 0,
    }
}

fn message(idx: u32) -> MessageRef {
    MessageRef {
        idx,
        number: std::num::NonZeroU32::MIN.saturating_add(idx).into(),
    }
}

fn bodies(mbox: &str) -> Vec<String> {
    let mut messages: Vec<String> = Vec::new();
    for line in mbox.split_inclusive('\n') {
        if line.starts_with("From ") {
            messages.push(String::new());
        } else if let Some(last) = messages.last_mut() {
            last.push_str(line);
        }
    }
    messages
        .iter()
        .map(|message| {
            let (_, body) = message.split_once("\n\n").unwrap();
            body.trim_end_matches('\n').to_owned()
        })
        .collect()
}

const TEXT: &str = "From: a@b\nSubject: x\n\nFirst line\nFrom here on\n";

#[test]
fn messages_are_appended_in_their_order() {
    let world = World::new();
    assert_eq!(world.deliver(&[TEXT, "Subject: y\n\nno end"]).unwrap(), 2);
    assert_eq!(world.deliver(&["Return-Path: <>\n\nlast\n"]).unwrap(), 1);
    assert_eq!(
        world.bodies(),
        ["First line\n>From here on", "no end", "last"]
    );
    let content = world.content();
    let starts: Vec<_> = content
        .lines()
        .filter(|line| line.starts_with("From "))
        .collect();
    assert!(starts[0].starts_with("From a@b "), "{content}");
    assert!(starts[1].starts_with("From MAILER-DAEMON "), "{content}");
    assert!(content.ends_with("last\n\n"));
    let mode = fs::metadata(world.path()).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    assert!(!world.directory.path().join("mbox.lock").exists());
    assert_eq!(
        fs::read_dir(world.mailbox.staging_dir()).unwrap().count(),
        0
    );
    assert_eq!(world.mailbox.intents().unwrap(), []);
}

#[test]
fn what_others_left_unfinished_is_set_apart() {
    for (before, expected) in [
        ("From x y\n\nold\n\n", "From x y\n\nold\n\nFrom "),
        ("From x y\n\nold\n", "From x y\n\nold\n\nFrom "),
        ("From x y\n\nold", "From x y\n\nold\n\nFrom "),
        ("", "From "),
    ] {
        let world = World::new();
        fs::write(world.path(), before).unwrap();
        world.deliver(&[TEXT]).unwrap();
        assert!(world.content().starts_with(expected), "{before:?}");
    }
}

#[test]
fn what_is_no_mbox_of_ours_is_refused_and_left_alone() {
    let world = World::new();
    let path = world.path();
    let refused = |what: &str| {
        for error in [
            world.deliver(&[TEXT]).unwrap_err(),
            world.file().check().unwrap_err().into(),
        ] {
            assert_eq!(error.class(), Class::Config, "{what}: {error}");
            assert!(error.hint().is_some(), "{what}");
        }
    };
    fs::write(&path, "#!/bin/sh\n").unwrap();
    refused("a script");
    assert_eq!(world.content(), "#!/bin/sh\n");

    fs::write(&path, "From a b\n\nx\n").unwrap();
    fs::hard_link(&path, world.directory.path().join("other")).unwrap();
    refused("a file with two names");
    assert_eq!(world.content(), "From a b\n\nx\n");

    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    refused("a directory");
    fs::remove_dir(&path).unwrap();

    rustix::fs::mknodat(
        rustix::fs::CWD,
        &path,
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RWXU,
        0,
    )
    .unwrap();
    refused("a FIFO");
    fs::remove_file(&path).unwrap();

    if rustix::process::geteuid().is_root() {
        fs::write(&path, "").unwrap();
        std::os::unix::fs::chown(&path, Some(65_534), None).unwrap();
        refused("another user's file");
        fs::remove_file(&path).unwrap();
        symlink(world.directory.path().join("target"), &path).unwrap();
        std::os::unix::fs::lchown(&path, Some(65_534), None).unwrap();
        refused("another user's link");
        assert!(!world.directory.path().join("target").exists());
    }
}

#[test]
fn a_link_of_our_own_is_followed() {
    let world = World::new();
    symlink("folder/target", world.path()).unwrap();
    world.deliver(&[TEXT]).unwrap();
    assert!(world.directory.path().join("folder/target").is_file());
    assert_eq!(world.bodies().len(), 1);
}

#[test]
fn a_check_leaves_no_trace() {
    let world = World::new();
    world.file().check().unwrap();
    assert!(!world.path().exists());
    fs::write(world.path(), "From a b\n\nx\n").unwrap();
    world.file().check().unwrap();
    assert_eq!(world.content(), "From a b\n\nx\n");
    assert_eq!(fs::read_dir(world.directory.path()).unwrap().count(), 2);
}

#[test]
fn a_mailbox_that_others_lock_is_busy_for_now() {
    let world = World::new();
    world.deliver(&[TEXT]).unwrap();
    let other = world.file().lock(false).unwrap().unwrap();
    assert!(world.directory.path().join("mbox.lock").exists());
    let error = world.file().lock(true).unwrap_err();
    assert_eq!(error.class(), Class::Temporary, "{error}");
    // Some programs take one kind of lock only.
    let lock = world.directory.path().join("mbox.lock");
    fs::remove_file(&lock).unwrap();
    let error = world.file().lock(true).unwrap_err();
    assert!(error.to_string().contains("has locked it"), "{error}");
    drop(other);
    assert!(world.file().lock(true).unwrap().is_some());

    fs::write(&lock, "1\n").unwrap();
    let error = world.file().lock(true).unwrap_err();
    assert!(
        error.to_string().contains("its lock file is there"),
        "{error}"
    );
    assert_eq!(fs::read_to_string(&lock).unwrap(), "1\n");
}

#[test]
fn whoever_locks_for_a_moment_is_waited_for() {
    let world = World::new();
    let first = world.file().lock(true).unwrap().unwrap();
    let waiting = AppendFile {
        patience: Duration::from_secs(60),
        ..world.file()
    };
    std::thread::scope(|scope| {
        let second = scope.spawn(|| waiting.lock(true).unwrap().is_some());
        std::thread::sleep(Duration::from_millis(100));
        drop(first);
        assert!(second.join().unwrap());
    });
}

#[test]
fn stale_lock_files_are_removed_and_others_are_not() {
    let world = World::new();
    let lock = world.directory.path().join("mbox.lock");
    let age = |seconds| {
        let file = File::options().write(true).open(&lock).unwrap();
        file.set_modified(SystemTime::now() - Duration::from_secs(seconds))
            .unwrap();
    };
    let can_lock = || world.file().lock(true).is_ok();

    fs::write(&lock, "1").unwrap();
    age(290);
    assert!(!can_lock(), "young");
    age(310);
    assert!(can_lock(), "old");

    // One of ours whose process is gone: this one was, and has been waited for.
    let mut child = std::process::Command::new("true").spawn().unwrap();
    child.wait().unwrap();
    let host = gethostname::gethostname().into_string().unwrap();
    fs::write(&lock, format!("{}\nposthole {host}\n", child.id())).unwrap();
    assert!(can_lock(), "dead");
    fs::write(&lock, format!("{}\nposthole elsewhere\n", child.id())).unwrap();
    assert!(!can_lock(), "of another machine");
    fs::write(&lock, format!("1\nposthole {host}\n")).unwrap();
    assert!(!can_lock(), "alive");
}

#[test]
fn many_at_once_do_not_mix() {
    let world = World::new();
    let path = world.path();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let path = &path;
            scope.spawn(move || {
                let other = World::new();
                let to = vec![DeliverTo::Mbox(MboxTo {
                    path: path.clone(),
                    owner: None,
                })];
                let means = means();
                for round in 0..5 {
                    let mut delivery = Delivery::open(&to, &other.mailbox, &means).unwrap();
                    let staging = Arc::clone(delivery.staging());
                    let text = format!("Subject: {thread}-{round}\n\n{thread}-{round}\n");
                    let mut incoming = staging.begin().unwrap();
                    incoming.write(text.as_bytes()).unwrap();
                    let batch = vec![incoming.finish(identity(&text), message(0))];
                    delivery
                        .deliver(batch, &other.mailbox, &mut |_| {})
                        .unwrap();
                }
            });
        }
    });
    let mut found = world.bodies();
    found.sort();
    let expected: Vec<_> = (0..4)
        .flat_map(|thread| (0..5).map(move |round| format!("{thread}-{round}")))
        .collect();
    assert_eq!(found, expected);
}

#[test]
fn more_than_the_process_may_write_is_not_begun() {
    let path = Path::new("/m");
    place::check_limit(1, path).unwrap();
    // What the limit is cannot be changed here without changing it for all tests.
    if let Some(limit) = rustix::process::getrlimit(rustix::process::Resource::Fsize).current {
        assert!(place::check_limit(limit.saturating_add(1), path).is_err());
    }
}

#[test]
fn commands_are_appended_to_a_batch_and_recovered_too() {
    let world = World::new();
    let recipients = ["msingh@localhost".to_owned()];
    let to = vec![DeliverTo::Bsmtp(crate::plan::BsmtpTo {
        path: Some(world.path()),
        recipients: recipients.to_vec(),
        domain: "localhost".to_owned(),
    })];
    let means = means();
    let mut delivery = Delivery::open(&to, &world.mailbox, &means).unwrap();
    let mut incoming = delivery.staging().begin().unwrap();
    incoming.write(TEXT.as_bytes()).unwrap();
    let batch = vec![incoming.finish(identity(TEXT), message(0))];
    delivery
        .deliver(batch, &world.mailbox, &mut |_| {})
        .unwrap();
    let expected = "MAIL FROM:<a@b>\r\nRCPT TO:<msingh@localhost>\r\nDATA\r\nFrom: a@b\r\n\
                    Subject: x\r\n\r\nFirst line\r\nFrom here on\r\n.\r\n";
    assert_eq!(world.content(), expected);

    for (cut, delivered) in [
        (10, false),
        (expected.len() - 1, false),
        (expected.len(), true),
    ] {
        let died = world.intend(TEXT);
        world.append(&expected.as_bytes()[..cut]);
        let file = AppendFile::bsmtp(&world.path(), &recipients).unwrap();
        let recovered = file.recover(vec![died.intent], &world.staging()).unwrap();
        assert_eq!(recovered.receipts.len() == 1, delivered, "cut at {cut}");
        if !delivered {
            assert_eq!(world.content(), expected);
        }
    }
}

#[test]
fn whom_a_cut_off_message_was_for_is_read_from_the_batch() {
    let world = World::new();
    let found = ["golux@localhost", "snark@example.org"].map(str::to_owned);
    let mut expected = Vec::new();
    Batch::new(TEXT.as_bytes(), "a@b", &found)
        .read_to_end(&mut expected)
        .unwrap();
    let usual = ["msingh@localhost".to_owned()];
    let before = "MAIL FROM:<>\r\nRCPT TO:<x@y>\r\nDATA\r\nold\r\n.\r\n";
    fs::write(world.path(), before).unwrap();
    for cut in 0..=expected.len() {
        for hole in [0, 1, 3000] {
            let died = world.intend(TEXT);
            world.append(&expected[..cut]);
            world.append(&vec![0; hole]);
            let file = AppendFile::bsmtp(&world.path(), &usual).unwrap();
            let recovered = file.recover(vec![died.intent], &world.staging()).unwrap();
            let is_there = recovered.receipts.len() == 1;
            assert_eq!(is_there, cut == expected.len(), "cut at {cut}, {hole} NULs");
            if !is_there {
                assert_eq!(world.content(), before, "cut at {cut}, {hole} NULs");
            }
            fs::write(world.path(), before).unwrap();
        }
    }
}

mod recovery;
