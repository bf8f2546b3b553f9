//! The same for destinations other than a Maildir.
//!
//! Files get everything exactly once. Commands and servers get everything, and of what was in hand
//! when the poll was killed perhaps twice: one message.

use std::collections::BTreeMap;
use std::fmt;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use posthole_core::durable::Moment;
use posthole_core::plan::{
    BsmtpTo, DeliverTo, HostPort, Keep, MboxTo, MdaCommand, MdaTo, SmtpProtocol,
    SmtpServer as Server, SmtpTo,
};
use posthole_testkit::mail;
use posthole_testkit::pop3::Faults;
use posthole_testkit::smtp::SmtpServer;

use crate::account::Account;
use crate::{MESSAGES, poll_in_child};

/// Where mail goes.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Target {
    Batch,
    Lmtp,
    Maildir,
    Mbox,
    Mda,
    Several,
    Smtp,
}

impl fmt::Display for Target {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Debug::fmt(self, f)
    }
}

impl Target {
    pub(crate) fn named(name: &str) -> Self {
        use Target::*;
        let all = [Batch, Lmtp, Maildir, Mbox, Mda, Several, Smtp];
        all.into_iter().find(|one| one.to_string() == name).unwrap()
    }

    /// What a job is told, with the server of the test at a port.
    pub(crate) fn deliver(self, directory: &Path, sink: u16) -> Vec<DeliverTo> {
        let to_server = |protocol| {
            let server = Server::Tcp(HostPort {
                host: "127.0.0.1".to_owned(),
                port: sink,
            });
            DeliverTo::Smtp(Box::new(SmtpTo::new(
                server,
                protocol,
                &["msingh".to_owned()],
            )))
        };
        let mbox = DeliverTo::Mbox(MboxTo {
            path: directory.join("mbox"),
            owner: None,
        });
        match self {
            Self::Batch => vec![DeliverTo::Bsmtp(BsmtpTo {
                path: Some(directory.join("batch")),
                recipients: vec!["msingh@localhost".to_owned()],
                domain: "localhost".to_owned(),
            })],
            Self::Lmtp => vec![to_server(SmtpProtocol::Lmtp)],
            Self::Maildir => vec![DeliverTo::Maildir(directory.join("Mail"))],
            Self::Mbox => vec![mbox],
            Self::Mda => vec![keeper(directory)],
            Self::Several => vec![
                mbox,
                to_server(SmtpProtocol::Smtp),
                DeliverTo::Maildir(directory.join("Mail")),
            ],
            Self::Smtp => vec![to_server(SmtpProtocol::Smtp)],
        }
    }
}

/// A command that keeps everything it is given.
fn keeper(directory: &Path) -> DeliverTo {
    let kept = directory.join("kept");
    let script = "cd \"$1\" && cat > part.$$ && mv part.$$ $$.mail";
    let words = ["/bin/sh", "-c", script, "sh", kept.to_str().unwrap()];
    DeliverTo::Mda(MdaTo {
        command: MdaCommand::Argv(words.map(str::to_owned).into()),
        recipients: vec!["msingh".to_owned()],
        user: None,
        environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
        timeout: Duration::from_secs(60),
    })
}

/// What a mail program does with an mbox between the crash and the next poll.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Reader {
    Appends,
    Idle,
    MarksRead,
}

/// A poll that is killed, and what there is afterwards.
struct Scene {
    account: Account,
    target: Target,
    server: SmtpServer,
    messages: Vec<Vec<u8>>,
}

impl Scene {
    fn new(target: Target) -> Self {
        // So large that one write of a file does not hold a message.
        let messages = mail::attachments(MESSAGES, 40_000);
        let mut account = Account::with(&messages, Faults::new()).keep(Keep::Never);
        let server = match target {
            Target::Lmtp => SmtpServer::builder().lmtp().start(),
            _ => SmtpServer::start(),
        };
        fs::create_dir(account.directory().join("kept")).unwrap();
        account.job.deliver = target.deliver(account.directory(), server.port());
        Self {
            account,
            target,
            server,
            messages,
        }
    }

    fn poll_in_child(&self, at: Option<(usize, Moment)>) -> Vec<String> {
        let steps = poll_in_child(&self.account, self.target, self.server.port(), at);
        let idle = self.account.server.wait_until_idle(Duration::from_secs(10));
        assert!(idle, "the child's connection did not end");
        steps
    }

    /// Polls undisturbed, and checks that a further poll finds nothing to do.
    fn poll_to_the_end(&self, what: &str) {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(self.account.fetch());
        assert_eq!(self.account.maildrop.len(), 0, "{what}: mail is left");
        let again = runtime.block_on(self.account.fetch());
        assert_eq!((again.fetched, again.deleted), (0, 0), "{what}");
        let spool = self.path("state/spool");
        let left = fs::read_dir(spool).map_or(0, Iterator::count);
        assert_eq!(left, 0, "{what}: texts are left in the spool");
    }

    fn path(&self, name: &str) -> PathBuf {
        self.account.directory().join(name)
    }

    fn mbox(&self) -> Vec<Vec<u8>> {
        read_mbox(&self.path("mbox"))
    }

    /// What the server or the command has got, with lines that end in LF.
    fn given(&self) -> Vec<Vec<u8>> {
        if self.target == Target::Mda {
            let entries = fs::read_dir(self.path("kept")).unwrap();
            return entries
                .map(|entry| entry.unwrap().path())
                .filter(|path| path.extension().is_some_and(|end| end == "mail"))
                .map(|path| fs::read(path).unwrap())
                .collect();
        }
        self.server
            .texts()
            .iter()
            .map(|text| mail::to_lf(text))
            .collect()
    }

    /// Requires that each message is in `place` or on the server.
    fn assert_nothing_lost(&self, place: &[Vec<u8>], what: &str) {
        let left = self.account.maildrop.messages();
        for message in &self.messages {
            assert!(
                left.contains(message) || place.contains(&mail::delivered(message)),
                "{what}: a message was deleted that is not delivered"
            );
        }
    }

    #[track_caller]
    fn assert_once(&self, mut found: Vec<Vec<u8>>, what: &str) {
        found.sort();
        let expected = mail::delivered_sorted(&self.messages);
        assert_eq!(
            found.len(),
            expected.len(),
            "{what}: messages lost or doubled"
        );
        assert!(found == expected, "{what}: a message was changed");
    }

    #[track_caller]
    fn assert_at_least_once(&self, found: Vec<Vec<u8>>, what: &str) {
        let mut count: BTreeMap<Vec<u8>, usize> = BTreeMap::new();
        for text in found {
            *count.entry(text).or_default() += 1;
        }
        let expected = mail::delivered_sorted(&self.messages);
        assert!(
            count.keys().eq(expected.iter()),
            "{what}: messages were lost or changed"
        );
        let doubled: usize = count.values().map(|count| count - 1).sum();
        assert!(doubled <= 1, "{what}: {doubled} messages came twice");
    }
}

/// Runs `after` after a kill at every step, on both sides of it.
fn at_every_step(target: Target, after: impl Fn(&Scene, &str)) -> Vec<String> {
    let scene = Scene::new(target);
    let steps = scene.poll_in_child(None);
    after(&scene, "not killed");
    for step in 1..=steps.len() {
        for moment in [Moment::Before, Moment::After] {
            let scene = Scene::new(target);
            scene.poll_in_child(Some((step, moment)));
            after(
                &scene,
                &format!("killed {moment:?} step {step}, {}", steps[step - 1]),
            );
        }
    }
    steps
}

pub(crate) fn mbox(reader: Reader) {
    let steps = at_every_step(Target::Mbox, |scene, what| {
        scene.assert_nothing_lost(&scene.mbox(), what);
        let was_there = scene.path("mbox").exists();
        touch(&scene.path("mbox"), reader);
        scene.poll_to_the_end(what);
        let mut found: Vec<_> = scene.mbox().iter().map(|text| unmarked(text)).collect();
        if reader == Reader::Appends && was_there {
            let others = found
                .iter()
                .filter(|text| **text == b"of another\n")
                .count();
            assert_eq!(others, 1, "{what}: the mail of another is lost");
            found.retain(|text| text != b"of another\n");
            // What was cut off in front of it stays, since taking it out would endanger the rest.
            let expected = mail::delivered_sorted(&scene.messages);
            let is_beginning = |text: &Vec<u8>| {
                let length = text.len().saturating_sub(1);
                let whole = |message: &Vec<u8>| message.starts_with(&text[..length]);
                !expected.contains(text) && expected.iter().any(whole)
            };
            if let Some(beginning) = found.iter().position(is_beginning) {
                found.remove(beginning);
            }
        }
        scene.assert_once(found, what);
    });
    let appends = steps.iter().filter(|step| *step == "Append").count();
    assert!(appends > 4, "no message was cut in two: {steps:?}");
    // What is spooled is durable before it is on record where it goes, and it is there durably
    // before that is on record.
    let order = [
        "SyncFile", "SyncDir", "Commit", "Append", "SyncFile", "Commit",
    ];
    let mut tail: Vec<_> = steps.iter().map(String::as_str).rev().skip(1).collect();
    tail.dedup();
    let last: Vec<_> = tail.into_iter().take(order.len()).rev().collect();
    assert_eq!(last, order, "{steps:?}");
}

/// Kills a poll in the middle of a message, and then the next one at every step.
pub(crate) fn killed_twice() {
    let steps = Scene::new(Target::Mbox).poll_in_child(None);
    let appends: Vec<_> = steps
        .iter()
        .enumerate()
        .filter(|(_, step)| *step == "Append")
        .map(|(idx, _)| idx + 1)
        .collect();
    let middle = (appends[1], Moment::After);
    let mut second = 1;
    loop {
        for moment in [Moment::Before, Moment::After] {
            let scene = Scene::new(Target::Mbox);
            scene.poll_in_child(Some(middle));
            let length = fs::metadata(scene.path("mbox")).unwrap().len();
            assert!(length > 0, "the first run left nothing");
            scene.poll_in_child(Some((second, moment)));
            let what = format!("killed again {moment:?} step {second}");
            scene.assert_nothing_lost(&scene.mbox(), &what);
            scene.poll_to_the_end(&what);
            scene.assert_once(scene.mbox(), &what);
        }
        // Recovery takes this many steps at most; what follows is a poll like any other.
        second += 1;
        if second > 8 {
            break;
        }
    }
}

pub(crate) fn batch_file() {
    at_every_step(Target::Batch, |scene, what| {
        scene.assert_nothing_lost(&read_batch(&scene.path("batch")), what);
        scene.poll_to_the_end(what);
        scene.assert_once(read_batch(&scene.path("batch")), what);
    });
}

pub(crate) fn at_least_once(target: Target) {
    at_every_step(target, |scene, what| {
        scene.assert_nothing_lost(&scene.given(), what);
        scene.poll_to_the_end(what);
        scene.assert_at_least_once(scene.given(), what);
        assert_eq!(scene.server.breaches(), Vec::<String>::new());
    });
}

pub(crate) fn several() {
    at_every_step(Target::Several, |scene, what| {
        scene.assert_nothing_lost(&scene.mbox(), what);
        scene.assert_nothing_lost(&scene.given(), what);
        scene.assert_nothing_lost(&scene.account.delivered(), what);
        scene.poll_to_the_end(what);
        scene.assert_once(scene.mbox(), &format!("{what}, in the mbox"));
        scene.assert_once(
            scene.account.delivered(),
            &format!("{what}, in the Maildir"),
        );
        scene.assert_at_least_once(scene.given(), &format!("{what}, on the server"));
    });
}

fn touch(mbox: &Path, reader: Reader) {
    let Ok(content) = fs::read(mbox) else { return };
    match reader {
        Reader::Appends => {
            // As carefully as we do.
            let end: &[u8] = match content.ends_with(b"\n\n") || content.is_empty() {
                true => b"",
                false => b"\n\n",
            };
            let mail = b"From another Thu Jan  1 00:00:00 1970\n\nof another\n\n";
            fs::write(mbox, [&content[..], end, mail].concat()).unwrap();
        }
        Reader::Idle => {}
        // Whole messages only: a program that finds a part of one makes of it what it likes.
        Reader::MarksRead if content.ends_with(b"\n\n") => {
            let mut marked = Vec::new();
            for line in content.split_inclusive(|octet| *octet == b'\n') {
                marked.extend_from_slice(line);
                if line.starts_with(b"From ") {
                    marked.extend_from_slice(b"Status: RO\n");
                }
            }
            let new = mbox.with_extension("new");
            fs::write(&new, marked).unwrap();
            fs::set_permissions(&new, fs::Permissions::from_mode(0o600)).unwrap();
            fs::rename(new, mbox).unwrap();
        }
        Reader::MarksRead => {}
    }
}

fn unmarked(text: &[u8]) -> Vec<u8> {
    let text = text.strip_prefix(b"Status: RO\n").unwrap_or(text);
    // Of a message without a header it is the header.
    text.strip_prefix(b"\n")
        .filter(|rest| *rest == b"of another\n")
        .unwrap_or(text)
        .to_vec()
}

/// The messages as a reader of mboxrd sees them.
fn read_mbox(path: &Path) -> Vec<Vec<u8>> {
    let content = fs::read(path).unwrap_or_default();
    let mut messages: Vec<Vec<u8>> = Vec::new();
    for line in content.split_inclusive(|octet| *octet == b'\n') {
        if line.starts_with(b"From ") {
            messages.push(Vec::new());
        } else if let Some(message) = messages.last_mut() {
            let quotes = line.iter().take_while(|octet| **octet == b'>').count();
            let is_quoted = quotes > 0 && line[quotes..].starts_with(b"From ");
            message.extend_from_slice(if is_quoted { &line[1..] } else { line });
        }
    }
    for message in &mut messages {
        message.pop();
    }
    messages
}

/// The messages of a batch of SMTP commands, with lines that end in LF.
fn read_batch(path: &Path) -> Vec<Vec<u8>> {
    let content = fs::read(path).unwrap_or_default();
    let mut messages: Vec<Vec<u8>> = Vec::new();
    let mut current: Option<Vec<u8>> = None;
    for line in content.split_inclusive(|octet| *octet == b'\n') {
        match (&mut current, line) {
            (Some(_), b".\r\n") => messages.extend(current.take()),
            (Some(text), line) => {
                let line = line.strip_prefix(b".").unwrap_or(line);
                text.extend_from_slice(&mail::to_lf(line));
            }
            (None, b"DATA\r\n") => current = Some(Vec::new()),
            (None, _) => {}
        }
    }
    messages
}
