//! Files and commands that mail goes to, one or several of them.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use posthole_core::error::Class;
use posthole_core::plan::{BsmtpTo, DeliverTo, MboxTo, MdaCommand, MdaTo};
use posthole_testkit::mail;
use posthole_testkit::pop3::Faults;

use crate::account::{Account, chain};

fn mbox(path: PathBuf) -> DeliverTo {
    DeliverTo::Mbox(MboxTo { path, owner: None })
}

/// A command that keeps what it is given in a folder, unless it finds a reason not to.
fn keeper(directory: &Path, script: &str) -> DeliverTo {
    let program = directory.join("keeper");
    let kept = directory.join("kept");
    fs::create_dir_all(&kept).unwrap();
    let text = format!(
        "#!/bin/sh\ncd {} || exit 1\ncat > part.$$ || exit 1\n{script}\nmv part.$$ $$.mail\n",
        kept.display()
    );
    fs::write(&program, text).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();
    DeliverTo::Mda(MdaTo {
        command: MdaCommand::Argv(vec![program.to_str().unwrap().to_owned(), "%T".to_owned()]),
        recipients: vec!["msingh".to_owned()],
        user: None,
        environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
        timeout: Duration::from_secs(60),
    })
}

fn kept(directory: &Path) -> Vec<Vec<u8>> {
    let entries = fs::read_dir(directory.join("kept")).unwrap();
    let mut kept: Vec<_> = entries
        .map(|entry| entry.unwrap().path())
        .filter(|path| path.extension().is_some_and(|end| end == "mail"))
        .map(|path| fs::read(path).unwrap())
        .collect();
    kept.sort();
    kept
}

/// The messages of an mbox as a reader of mboxrd sees them, sorted.
fn read_mbox(path: &Path) -> Vec<Vec<u8>> {
    let content = fs::read(path).unwrap_or_default();
    let mut messages: Vec<Vec<u8>> = Vec::new();
    for line in content.split_inclusive(|octet| *octet == b'\n') {
        let quotes = line.iter().take_while(|octet| **octet == b'>').count();
        if line.starts_with(b"From ") {
            messages.push(Vec::new());
        } else if let Some(message) = messages.last_mut() {
            let is_quoted = quotes > 0 && line[quotes..].starts_with(b"From ");
            message.extend_from_slice(if is_quoted { &line[1..] } else { line });
        }
    }
    for message in &mut messages {
        assert_eq!(
            message.pop(),
            Some(b'\n'),
            "an empty line is between messages"
        );
    }
    messages.sort();
    messages
}

/// What of a message an mbox can keep: the last line has an end.
fn in_mbox(messages: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let complete = |message: &Vec<u8>| {
        let mut text = mail::delivered(message);
        if !text.ends_with(b"\n") && !text.is_empty() {
            text.push(b'\n');
        }
        text
    };
    let mut all: Vec<_> = messages.iter().map(complete).collect();
    all.sort();
    all
}

#[tokio::test]
async fn an_mbox_gives_back_what_was_put_in() {
    let mut messages = mail::corpus(5, 120);
    messages.push(b"From me to you\r\nFrom: a@b\r\n\r\n>From x\r\n>>From y\r\nFrom z".to_vec());
    let mut account = Account::with(&messages, Faults::new());
    let path = account.directory().join("folder/mbox");
    account.job.deliver = vec![mbox(path.clone())];
    account.check().await.unwrap();
    assert!(!path.exists());
    let summary = account.fetch().await;
    assert_eq!((summary.fetched, summary.deleted), (121, 121));
    assert!(
        read_mbox(&path) == in_mbox(&messages),
        "a message was changed"
    );
    account.check().await.unwrap();
    assert_eq!(account.fetch().await.fetched, 0);
    let spool = account.directory().join("state/spool");
    assert_eq!(fs::read_dir(spool).unwrap().count(), 0);
}

#[tokio::test]
async fn what_is_no_mbox_is_refused_before_anything_is_lost() {
    let messages = mail::corpus(6, 3);
    let mut account = Account::with(&messages, Faults::new());
    let path = account.directory().join("notes.txt");
    fs::write(&path, "milk, bread\n").unwrap();
    account.job.deliver = vec![mbox(path.clone())];
    let error = account.poll().await.error.unwrap();
    assert_eq!(error.class(), Class::Config, "{}", chain(&error));
    assert_eq!(fs::read_to_string(&path).unwrap(), "milk, bread\n");
    assert_eq!(account.maildrop.len(), 3);
    account.job.deliver = vec![mbox(account.directory().join("mbox"))];
    assert_eq!(account.fetch().await.fetched, 3);
}

#[tokio::test]
async fn a_command_gets_every_message_as_it_is() {
    let messages = mail::corpus(7, 25);
    let mut account = Account::with(&messages, Faults::new());
    account.job.deliver = vec![keeper(
        account.directory(),
        "[ \"$*\" = msingh ] || exit 64",
    )];
    account.check().await.unwrap();
    let summary = account.fetch().await;
    assert_eq!((summary.fetched, summary.deleted), (25, 25));
    assert!(kept(account.directory()) == mail::delivered_sorted(&messages));
}

#[tokio::test]
async fn a_command_that_cannot_now_is_asked_again_and_one_that_never_can_is_not() {
    let messages: Vec<_> = (0..4).map(mail::tiny).collect();
    for (code, again) in [(75, true), (67, false)] {
        let mut account = Account::with(&messages, Faults::new());
        let script =
            format!("[ -e ../failed ] || {{ touch ../failed; echo full >&2; exit {code}; }}");
        account.job.deliver = vec![keeper(account.directory(), &script)];
        let summary = account.fetch().await;
        assert_eq!((summary.fetched, summary.failed.len()), (3, 1), "{code}");
        assert!(
            summary.failed[0].reason.contains(": full"),
            "{}",
            summary.failed[0].reason
        );
        account.fetch().await;
        assert_eq!(
            kept(account.directory()).len(),
            if again { 4 } else { 3 },
            "{code}"
        );
        assert_eq!(account.maildrop.len(), usize::from(!again), "{code}");
    }
}

#[tokio::test]
async fn all_destinations_get_every_message_once() {
    let messages = mail::corpus(8, 12);
    let mut account = Account::with(&messages, Faults::new());
    let directory = account.directory().to_owned();
    let batch = directory.join("batch");
    // The first five runs of the command fail.
    let script =
        "n=$(cat ../n 2>/dev/null || echo 0); echo $((n+1)) > ../n; [ $n -ge 5 ] || exit 75";
    account.job.deliver = vec![
        mbox(directory.join("mbox")),
        keeper(&directory, script),
        DeliverTo::Maildir(directory.join("Mail")),
        DeliverTo::Bsmtp(BsmtpTo {
            path: Some(batch.clone()),
            recipients: vec!["msingh@localhost".to_owned()],
            domain: "localhost".to_owned(),
        }),
    ];
    let summary = account.fetch().await;
    assert_eq!((summary.fetched, summary.failed.len()), (7, 5));
    assert_eq!(
        account.maildrop.len(),
        5,
        "a session of its own deletes what is safe"
    );
    let summary = account.fetch().await;
    assert_eq!((summary.fetched, summary.failed.len()), (5, 0));
    account.fetch().await;
    assert_eq!(account.maildrop.len(), 0);
    account.assert_delivered(&messages);
    assert!(
        kept(&directory) == mail::delivered_sorted(&messages),
        "by the command"
    );
    assert!(
        read_mbox(&directory.join("mbox")) == in_mbox(&messages),
        "in the mbox"
    );
    let batch = fs::read(batch).unwrap();
    let mails = batch
        .split(|octet| *octet == b'\n')
        .filter(|line| line.starts_with(b"MAIL FROM:<"));
    assert!(mails.count() >= 12);
}

#[tokio::test]
async fn a_destination_taken_out_is_not_waited_for() {
    let messages: Vec<_> = (0..3).map(mail::tiny).collect();
    let mut account = Account::with(&messages, Faults::new());
    let directory = account.directory().to_owned();
    let maildir = DeliverTo::Maildir(directory.join("Mail"));
    account.job.deliver = vec![maildir.clone(), keeper(&directory, "exit 75")];
    assert_eq!(account.fetch().await.failed.len(), 3);
    account.assert_delivered(&messages);
    account.job.deliver = vec![maildir, mbox(directory.join("mbox"))];
    assert_eq!(account.fetch().await.fetched, 3);
    account.assert_delivered(&messages);
    assert!(read_mbox(&directory.join("mbox")) == in_mbox(&messages));
}

#[tokio::test]
async fn a_locked_mbox_is_waited_for_and_no_longer_than_one_may() {
    let messages: Vec<_> = (0..3).map(mail::tiny).collect();
    let mut account = Account::with(&messages, Faults::new());
    let path = account.directory().join("mbox");
    let lock = account.directory().join("mbox.lock");
    account.job.deliver = vec![mbox(path.clone())];
    fs::write(&lock, "1\n").unwrap();
    let stop = account.stop.clone();
    let started = std::time::Instant::now();
    let (report, ()) = tokio::join!(account.poll(), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        stop.cancel();
    });
    assert!(report.error.is_some());
    assert!(
        started.elapsed() < Duration::from_secs(10),
        "it was asked to stop"
    );
    assert_eq!(account.maildrop.len(), 3);

    account.stop = tokio_util::sync::CancellationToken::new();
    let (report, ()) = tokio::join!(account.poll(), async {
        tokio::time::sleep(Duration::from_millis(1500)).await;
        fs::remove_file(&lock).unwrap();
    });
    assert!(report.error.is_none());
    assert!(read_mbox(&path) == in_mbox(&messages));
}

/// An SSH connection that is not read stands still for all who share it.
#[tokio::test]
async fn a_slow_command_does_not_hold_up_the_network() {
    // More than the queues hold that a slow disk fills, where a batch is small.
    let messages = mail::attachments(60, 600_000);
    let mut account = Account::with(&messages, Faults::new());
    let directory = account.directory().to_owned();
    let go_on = directory.join("go-on");
    let script = "while [ ! -e ../go-on ]; do sleep 0.05; done";
    account.batch.messages = 2;
    account.job.deliver = vec![keeper(&directory, script)];
    let (report, ()) = tokio::join!(account.poll(), async {
        let deadline = std::time::Instant::now() + Duration::from_secs(60);
        while account.server.count("RETR") < 60 {
            assert!(std::time::Instant::now() < deadline, "the network waits");
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        fs::write(&go_on, "").unwrap();
    });
    assert!(report.error.is_none());
    assert_eq!(report.summary.fetched, 60);
    assert_eq!(account.maildrop.len(), 0);
}

#[tokio::test]
async fn no_more_is_asked_for_than_may_wait() {
    let messages = mail::attachments(60, 600_000);
    let mut account = Account::with(&messages, Faults::new());
    let directory = account.directory().to_owned();
    let go_on = directory.join("go-on");
    account.batch.backlog = 1 << 20;
    account.job.deliver = vec![keeper(
        &directory,
        "while [ ! -e ../go-on ]; do sleep 0.05; done",
    )];
    let (report, ()) = tokio::join!(account.poll(), async {
        while account.server.count("RETR") == 0 {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
        // Long enough for all of them, if nothing kept them back.
        tokio::time::sleep(Duration::from_secs(2)).await;
        // What was under way when there was enough, and no more.
        let asked = account.server.count("RETR");
        assert!(asked < 40, "{asked} were asked for");
        fs::write(&go_on, "").unwrap();
    });
    assert!(report.error.is_none());
    assert_eq!(report.summary.fetched, 60);
    assert!(kept(&directory) == mail::delivered_sorted(&messages));
}

#[tokio::test]
async fn what_is_safe_goes_though_one_was_refused_and_all_is_to_be_fetched() {
    let mut account = Account::with(&mail::corpus(3, 4), Faults::new());
    let directory = account.directory().to_owned();
    let script = "[ -e ../once ] || { touch ../once; exit 69; }";
    account.job.deliver = vec![keeper(&directory, script)];
    account.job.select.fetch_all = true;
    let summary = account.fetch().await;
    assert_eq!((summary.fetched, summary.failed.len()), (3, 1));
    assert_eq!((summary.deleted, account.maildrop.len()), (3, 1));
}
