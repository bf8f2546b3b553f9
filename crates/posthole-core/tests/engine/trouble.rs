//! Servers and disks that do not do what they should: the rest of the mail flows.

use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, Instant};

use posthole_core::error::{Class, Error};
use posthole_core::plan::Keep;
use posthole_testkit::mail;
use posthole_testkit::pop3::{Faults, Reply};
use posthole_testkit::relay::Relay;

use crate::account::{Account, chain};

#[tokio::test]
async fn a_message_the_server_refuses_is_reported_and_the_rest_flows() {
    let messages = mail::corpus(1, 5);
    let refuse = Faults::new().on("RETR 2", Reply::send("-ERR it is \x1b[31mbroken\r\n"));
    let account = Account::with(&messages, refuse);
    let summary = account.fetch().await;
    assert_eq!((summary.fetched, summary.deleted, summary.left), (4, 4, 1));
    let [failure] = &summary.failed[..] else {
        panic!("one message failed")
    };
    assert!(failure.reason.contains("broken") && !failure.reason.contains('\x1b'));
    account.server.set_faults(Faults::new());
    assert_eq!(account.fetch().await.fetched, 1);
    account.assert_delivered(&messages);
}

#[tokio::test]
async fn a_message_that_kills_every_session_ends_up_alone_and_then_set_aside() {
    let messages = mail::corpus(2, 6);
    let account = Account::with(&messages, Faults::new());
    let kill = Faults::new().on("RETR 2", Reply::prefix(100).close());
    account.server.set_faults(kill);
    let first = account.poll().await;
    assert_eq!(first.error.unwrap().class(), Class::Temporary);
    // The poisoned message comes last from now on, and the others get through.
    let second = account.poll().await;
    assert!(second.error.is_some());
    assert_eq!(account.delivered().len(), 5, "all but the poisoned one");
    let third = account.poll().await;
    assert!(third.error.is_some());
    let fourth = account.fetch().await;
    assert_eq!(fourth.failed.len(), 1, "it is set aside, and said so");
    assert_eq!(fourth.left, 1);
    assert_eq!(account.maildrop.len(), 1);
}

#[tokio::test]
async fn a_message_that_failed_before_is_asked_for_alone() {
    let messages = mail::corpus(2, 6);
    let refuse = Faults::new().on("RETR 2", Reply::send("-ERR not now\r\n"));
    let account = Account::with(&messages, refuse).keep(Keep::Always);
    account.fetch().await;
    account.maildrop.add(mail::tiny(1));
    account.maildrop.add(mail::tiny(2));
    account.server.clear_log();
    account.server.set_faults(Faults::new());
    account.fetch().await;
    let log = account.server.log();
    let flights: Vec<_> = log
        .iter()
        .filter(|received| received.verb() == "RETR")
        .map(|received| (received.line.as_str(), received.flight))
        .collect();
    let [("RETR 7", first), ("RETR 8", second), ("RETR 2", alone)] = flights[..] else {
        panic!("{flights:?}")
    };
    assert_eq!((first, alone), (second, second + 1), "{flights:?}");
}

#[tokio::test]
async fn a_refused_deletion_is_asked_for_again() {
    let messages = mail::corpus(2, 3);
    let refuse = Faults::new().on("DELE 2", Reply::send("-ERR not now\r\n"));
    let account = Account::with(&messages, refuse);
    let summary = account.fetch().await;
    assert_eq!((summary.fetched, summary.deleted, summary.left), (3, 2, 1));
    account.server.set_faults(Faults::new());
    let summary = account.fetch().await;
    assert_eq!((summary.fetched, summary.deleted, summary.left), (0, 1, 0));
    account.assert_delivered(&messages);
}

#[tokio::test]
async fn an_empty_answer_is_not_taken_for_the_message() {
    let messages = mail::corpus(3, 3);
    let empty = Faults::new().on("RETR 2", Reply::send("+OK\r\n.\r\n"));
    let account = Account::with(&messages, empty);
    let summary = account.fetch().await;
    assert_eq!(
        (summary.fetched, summary.failed.len(), summary.deleted),
        (2, 1, 0)
    );
    assert_eq!(account.maildrop.len(), 3, "without QUIT nothing is deleted");
    account.server.set_faults(Faults::new());
    account.fetch().await;
    account.assert_delivered(&messages);
    assert!(account.maildrop.is_empty());
}

#[tokio::test]
async fn without_unique_ids_mail_can_be_fetched_but_not_kept() {
    let messages = mail::corpus(4, 4);
    let no_uidl = || Faults::new().on("UIDL", Reply::send("-ERR unknown\r\n"));
    let account = Account::with(&messages, no_uidl()).keep(Keep::Always);
    let error = account.poll().await.error.unwrap();
    assert_eq!(error.class(), Class::Config);
    assert!(error.hint().unwrap().contains("keep = false"));
    assert_eq!(account.server.count("RETR"), 0);

    let account = Account::with(&messages, no_uidl());
    assert_eq!(account.fetch().await.deleted, 4);
    account.assert_delivered(&messages);
}

#[tokio::test]
async fn a_message_without_unique_id_is_known_by_its_text() {
    let message = mail::tiny(1);
    let account = Account::with(
        &[],
        Faults::new().commit(posthole_testkit::pop3::Commit::Never),
    );
    for _ in 0..3 {
        account.maildrop.add_with_uid(b"".to_vec(), message.clone());
    }
    account
        .maildrop
        .add_with_uid(b"uid".to_vec(), mail::tiny(2));
    for _ in 0..3 {
        account.fetch().await;
    }
    // Three equal messages are three messages, and each poll finds them again.
    account.assert_delivered(&[message.clone(), message.clone(), message, mail::tiny(2)]);
}

#[tokio::test]
async fn the_same_unique_id_twice_is_two_messages() {
    let account = Account::with(&[], Faults::new()).keep(Keep::Always);
    for n in 0..3 {
        account
            .maildrop
            .add_with_uid(b"same".to_vec(), mail::tiny(n));
    }
    account.fetch().await;
    assert_eq!(account.fetch().await.fetched, 0);
    account.assert_delivered(&[mail::tiny(0), mail::tiny(1), mail::tiny(2)]);
}

#[tokio::test]
async fn messages_with_the_same_unique_id_are_deleted_together_or_not_at_all() {
    let account = Account::with(&[], Faults::new());
    for n in 0..3 {
        account
            .maildrop
            .add_with_uid(b"same".to_vec(), mail::tiny(n));
    }
    // Were the first two deleted alone, the third would be taken for the first next time.
    account
        .server
        .set_faults(Faults::new().on("RETR 3", Reply::send("-ERR not now\r\n")));
    let summary = account.fetch().await;
    assert_eq!((summary.fetched, summary.deleted, summary.left), (2, 0, 3));
    account.server.set_faults(Faults::new());
    let summary = account.fetch().await;
    assert_eq!((summary.fetched, summary.deleted, summary.left), (1, 3, 0));
    account.assert_delivered(&[mail::tiny(0), mail::tiny(1), mail::tiny(2)]);
}

#[tokio::test]
async fn a_server_that_hangs_up_over_capa_is_asked_again_without() {
    let messages = mail::corpus(4, 4);
    let account = Account::with(&messages, Faults::new().on("CAPA", Reply::hang_up()));
    account.fetch().await;
    account.assert_delivered(&messages);
}

#[tokio::test]
async fn a_unique_id_is_never_a_path() {
    let account = Account::with(&[], Faults::new()).keep(Keep::Always);
    for uid in [
        &b"../../../../tmp/x"[..],
        b"a\xff\x1b[2J",
        b"/etc/passwd",
        &[b'x'; 500],
    ] {
        account
            .maildrop
            .add_with_uid(uid.to_vec(), mail::tiny(uid.len()));
    }
    assert_eq!(account.fetch().await.fetched, 4);
    assert_eq!(account.fetch().await.fetched, 0);
    assert_eq!(account.delivered().len(), 4);
}

#[tokio::test]
async fn a_maildir_that_cannot_be_written_fails_before_anything_is_fetched() {
    if rustix::process::geteuid().is_root() {
        // Root may write everywhere; a file in the way stops it too.
        let account = Account::with(&mail::corpus(5, 2), Faults::new());
        std::fs::write(account.maildir(), "a file").unwrap();
        let error = account.poll().await.error.unwrap();
        assert_eq!(error.class(), Class::Local, "{}", chain(&error));
        assert_eq!(account.server.count("RETR"), 0);
        return;
    }
    let account = Account::with(&mail::corpus(5, 2), Faults::new());
    std::fs::create_dir(account.maildir()).unwrap();
    std::fs::set_permissions(account.maildir(), PermissionsExt::from_mode(0o500)).unwrap();
    let error = account.poll().await.error.unwrap();
    assert_eq!(error.class(), Class::Local, "{}", chain(&error));
    assert!(
        chain(&error).contains("Mail"),
        "the path is named: {}",
        chain(&error)
    );
    assert_eq!(account.server.count("RETR"), 0);
}

#[tokio::test]
async fn a_folder_of_something_else_is_not_made_a_maildir() {
    let account = Account::with(&mail::corpus(6, 2), Faults::new());
    std::fs::create_dir(account.maildir()).unwrap();
    std::fs::write(account.maildir().join("notes.txt"), "mine").unwrap();
    let error = account.poll().await.error.unwrap();
    assert_eq!(error.class(), Class::Config);
    assert_eq!(std::fs::read_dir(account.maildir()).unwrap().count(), 1);
    assert_eq!(account.maildrop.len(), 2);
}

#[tokio::test]
async fn a_maildir_may_be_made_around_another() {
    let messages = mail::corpus(6, 3);
    let account = Account::with(&messages, Faults::new());
    for part in ["cur", "new", "tmp"] {
        std::fs::create_dir_all(account.maildir().join("lists/rust").join(part)).unwrap();
    }
    std::fs::write(account.maildir().join("lists/rust/new/1"), "1").unwrap();
    // One whose making has just begun.
    std::fs::create_dir(account.maildir().join("work")).unwrap();
    account.fetch().await;
    account.assert_delivered(&messages);
}

#[tokio::test]
async fn a_link_in_place_of_a_folder_is_not_followed() {
    let account = Account::with(&mail::corpus(7, 2), Faults::new());
    let elsewhere = tempfile::TempDir::new().unwrap();
    for part in ["cur", "new"] {
        std::fs::create_dir_all(account.maildir().join(part)).unwrap();
    }
    std::os::unix::fs::symlink(elsewhere.path(), account.maildir().join("tmp")).unwrap();
    let error = account.poll().await.error.unwrap();
    assert_eq!(error.class(), Class::Config, "{}", chain(&error));
    assert_eq!(std::fs::read_dir(elsewhere.path()).unwrap().count(), 0);
}

#[tokio::test]
async fn a_stop_finishes_what_is_in_hand_and_no_more() {
    let messages = mail::corpus(8, 200);
    let mut account = Account::with(&messages, Faults::new().without_pipelining());
    let stop = account.stop.clone();
    let stopping = async {
        while account.server.count("RETR") < 20 {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    let (report, ()) = tokio::join!(account.poll(), stopping);
    assert!(matches!(report.error, Some(Error::Stopped)));
    let summary = report.summary;
    assert!(
        (20..100).contains(&summary.fetched),
        "{} fetched",
        summary.fetched
    );
    assert_eq!(summary.fetched, account.delivered().len() as u64);
    assert_eq!((summary.deleted, account.in_tmp()), (summary.fetched, 0));
    assert_eq!(account.maildrop.len() as u64, summary.left);

    account.stop = tokio_util::sync::CancellationToken::new();
    account.fetch().await;
    account.assert_delivered(&messages);
    assert!(account.maildrop.is_empty());
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_slow_line() {
    // Minutes of mail are in flight.
    let messages = mail::corpus(12, 300);
    let mut account = Account::with(&messages, Faults::new());
    let line = Relay::to(account.server.addr()).bytes_per_second(10_000);
    let line = line.start();
    account.job.server.port = line.port();
    let stop = account.stop.clone();
    let stopping = async {
        while account.server.count("RETR") < 300 {
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        stop.cancel();
        Instant::now()
    };
    let (report, stopped) = tokio::join!(account.poll(), stopping);
    assert!(matches!(report.error, Some(Error::Stopped)));
    assert!(stopped.elapsed() < Duration::from_secs(15));
    assert_eq!(report.summary.fetched, account.delivered().len() as u64);
    assert_eq!((report.summary.deleted, account.in_tmp()), (0, 0));

    account.job.server.port = account.server.port();
    account.stop = tokio_util::sync::CancellationToken::new();
    account.fetch().await;
    account.assert_delivered(&messages);
    assert!(account.maildrop.is_empty());
}

#[tokio::test]
async fn a_stop_does_not_wait_for_a_server_that_does_not_greet() {
    let account = Account::with(&[], Faults::new().on("GREETING", Reply::silence()));
    let stop = account.stop.clone();
    let stopping = async {
        while account.server.connections() == 0 {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    };
    let (report, ()) = tokio::join!(account.poll(), stopping);
    assert!(matches!(report.error, Some(Error::Stopped)));
}

#[tokio::test]
async fn a_server_that_falls_silent_is_given_up_on_and_nothing_partial_is_kept() {
    let messages = mail::corpus(9, 4);
    let stall = Faults::new()
        .on("RETR 3", Reply::prefix(50).stall())
        .for_connections(..=1);
    let account = Account::with(&messages, stall).timeout(Duration::from_millis(300));
    let report = account.poll().await;
    assert_eq!(report.error.unwrap().class(), Class::Temporary);
    assert_eq!((account.delivered().len(), account.in_tmp()), (2, 0));
    account.fetch().await;
    account.assert_delivered(&messages);
}

#[tokio::test]
async fn refusals_are_told_apart_by_their_code() {
    for (code, class) in [
        ("[IN-USE] busy", Class::Temporary),
        ("[LOGIN-DELAY] wait", Class::Temporary),
        ("[SYS/TEMP] down", Class::Temporary),
        ("[SYS/PERM] gone", Class::Unavailable),
        ("[AUTH] no", Class::Authentication),
        ("no", Class::Authentication),
    ] {
        let refuse = Faults::new().on("PASS", Reply::send(format!("-ERR {code}\r\n")));
        let account = Account::with(&[], refuse);
        assert_eq!(account.poll().await.error.unwrap().class(), class, "{code}");
    }
}
