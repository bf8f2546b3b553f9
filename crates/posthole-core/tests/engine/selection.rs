//! Which messages are fetched, and what else becomes of the others.

use std::num::NonZeroU32;
use std::path::Path;
use std::time::Duration;

use posthole_core::plan::{Filter, Keep, KeptMail};
use posthole_testkit::mail;
use posthole_testkit::pop3::{Commit, Faults, Reply};

use crate::account::Account;

/// A filter that runs this for `sh`, with the header on standard input.
fn filter(script: &str) -> Option<Filter> {
    let command = ["sh", "-c", script, "sh", "%S", "%F"];
    Some(Filter {
        command: command.map(str::to_owned).to_vec(),
        user: None,
        environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
        timeout: Duration::from_secs(30),
    })
}

fn about(subject: &str) -> Vec<u8> {
    format!("From: Joe <joe@example.org>\r\nSubject: {subject}\r\n\r\nFrom here: ham\r\n")
        .into_bytes()
}

/// Leaves what is about `later`, deletes `spam`, fails over `riddle`, and fetches the rest.
const BY_SUBJECT: &str = "case $(grep ^Subject:) in
    *later) exit 10;; *spam) exit 11;; *riddle) echo what? >&2; exit 1;; *) exit 0;; esac";

#[tokio::test]
async fn a_filter_has_messages_fetched_left_or_deleted() {
    for pipelining in [true, false] {
        let faults = if pipelining {
            Faults::new()
        } else {
            Faults::new().without_pipelining()
        };
        let subjects = ["ham", "later", "spam", "riddle", "more ham"];
        let mut account = Account::with(&subjects.map(about), faults).keep(Keep::Always);
        account.job.filter = filter(BY_SUBJECT);

        let preview = account.preview().await.unwrap();
        assert_eq!((preview.fetch.len(), preview.delete.len()), (2, 1));
        assert_eq!((preview.filtered.len(), preview.left), (1, 4));
        assert!(preview.undecided[0].reason.contains("exit code 1"));
        assert_eq!(account.server.count("DELE"), 0);

        let summary = account.fetch().await;
        assert_eq!((summary.fetched, summary.deleted, summary.left), (2, 1, 4));
        assert_eq!((summary.filtered.len(), summary.failed.len()), (1, 1));
        let reason = &summary.failed[0].reason;
        assert!(reason.ends_with("(delete): what?"), "{reason}");
        account.assert_delivered(&["ham", "more ham"].map(about));

        // Those that stayed are asked about again; what is here is not.
        account.server.clear_log();
        account.job.filter = filter("exit 0");
        assert_eq!(account.fetch().await.fetched, 2);
        assert_eq!(account.server.count("TOP"), 2);
        account.assert_delivered(&["ham", "later", "more ham", "riddle"].map(about));
    }
}

#[tokio::test]
async fn a_filter_sees_the_header_the_size_and_the_sender() {
    let message = about("ham");
    let mut account = Account::with(std::slice::from_ref(&message), Faults::new());
    account.job.filter = filter(&format!(
        "test \"$(cat)\" = \"$(printf 'From: Joe <joe@example.org>\\nSubject: ham')\" \
         && test $1 = {} && test $2 = joe@example.org",
        message.len()
    ));
    assert_eq!(account.fetch().await.fetched, 1);
}

#[tokio::test]
async fn a_filter_is_shown_only_so_much_of_a_header() {
    let mut message = about("ham");
    message.splice(..0, b"X-Much: xxxxxxxx\r\n".repeat(30_000));
    let mut account = Account::with(&[message], Faults::new());
    account.job.filter = filter(&format!("test $(wc -c) = {}", 256 * 1024));
    assert_eq!(account.fetch().await.fetched, 1);
}

#[tokio::test]
async fn a_filter_that_cannot_decide_costs_no_message() {
    let mut account = Account::with(&[about("ham")], Faults::new());
    let mut slow = filter("exec sleep 600").unwrap();
    slow.timeout = Duration::from_millis(50);
    let mut nowhere = filter("").unwrap();
    nowhere.command = vec!["/nonexistent/filter".to_owned()];
    for (filter, reason) in [
        (filter("kill -9 $$").unwrap(), "signal: 9"),
        (slow, "took longer than 50ms"),
        (nowhere, "could not be run"),
    ] {
        account.job.filter = Some(filter);
        let summary = account.fetch().await;
        assert_eq!((summary.fetched, summary.left), (0, 1));
        let found = &summary.failed[0].reason;
        assert!(found.contains(reason), "{found}");
    }
    account
        .server
        .set_faults(Faults::new().on("TOP", Reply::send("-ERR what?\r\n")));
    account.job.filter = filter("exit 0");
    let summary = account.fetch().await;
    assert!(summary.failed[0].reason.contains("what?"));
    account.server.set_faults(Faults::new());
    assert_eq!(account.fetch().await.fetched, 1);
}

#[tokio::test]
async fn what_was_fetched_before_is_fetched_again_if_all_is_to_be() {
    let messages = mail::corpus(1, 6);
    let mut account = Account::with(&messages, Faults::new()).keep(Keep::Always);
    account.fetch().await;
    account.job.select.fetch_all = true;
    assert_eq!(account.preview().await.unwrap().fetch.len(), 6);
    assert_eq!(account.fetch().await.fetched, 6);
    assert_eq!(account.delivered().len(), 12);
    account.job.keep = Keep::Never;
    let summary = account.fetch().await;
    assert_eq!((summary.fetched, summary.deleted, summary.left), (6, 6, 0));
}

#[tokio::test]
async fn what_was_kept_on_purpose_stays_when_keep_is_gone() {
    let messages = mail::corpus(6, 4);
    let mut account = Account::with(&messages, Faults::new()).keep(Keep::Always);
    account.job.select.kept = KeptMail::Stays;
    account.fetch().await;
    account.job.keep = Keep::Never;
    let new = mail::tiny(1);
    account.maildrop.add(new.clone());
    assert_eq!(account.preview().await.unwrap().delete.len(), 1);
    let summary = account.fetch().await;
    assert_eq!((summary.fetched, summary.deleted, summary.left), (1, 1, 4));

    // A deletion of ours that was not confirmed is another matter.
    account.maildrop.add(mail::tiny(2));
    let lost = Faults::new().on("QUIT", Reply::hang_up());
    account.server.set_faults(lost);
    assert_eq!(account.fetch().await.fetched, 1);
    account.server.set_faults(Faults::new());
    let summary = account.fetch().await;
    assert_eq!((summary.fetched, summary.deleted, summary.left), (0, 1, 4));

    account.job.select.kept = KeptMail::ComesAgain;
    account.job.select.expunge = NonZeroU32::new(3);
    let summary = account.fetch().await;
    assert_eq!((summary.fetched, summary.deleted, summary.left), (4, 4, 0));
    let twice = [messages.clone(), messages, vec![new, mail::tiny(2)]].concat();
    account.assert_delivered(&twice);
}

#[tokio::test]
async fn what_was_fetched_before_is_flushed_and_nothing_else() {
    let messages = mail::corpus(2, 6);
    let mut account = Account::with(&messages, Faults::new()).keep(Keep::Always);
    account.fetch().await;
    account.maildrop.add(mail::tiny(1));
    account.job.select.flush = true;
    let preview = account.preview().await.unwrap();
    assert_eq!(
        (preview.fetch.len(), preview.delete.len(), preview.left),
        (1, 6, 1)
    );
    let summary = account.fetch().await;
    assert_eq!((summary.fetched, summary.deleted, summary.left), (1, 6, 1));
    account.assert_delivered(&[messages, vec![mail::tiny(1)]].concat());
}

#[tokio::test]
async fn deletions_become_real_after_so_many() {
    let messages = mail::corpus(3, 10);
    let mut account = Account::with(&messages, Faults::new());
    account.job.select.expunge = NonZeroU32::new(4);
    let summary = account.fetch().await;
    assert_eq!(
        (summary.fetched, summary.deleted, summary.left),
        (10, 10, 0)
    );
    account.assert_delivered(&messages);
    assert_eq!(account.server.connections(), 3);
    assert_eq!(
        (account.server.count("RETR"), account.server.count("QUIT")),
        (10, 3)
    );
}

#[tokio::test]
async fn a_server_that_never_deletes_is_not_asked_for_ever() {
    let messages = mail::corpus(4, 5);
    let mut account = Account::with(&messages, Faults::new().commit(Commit::Never));
    account.job.select.expunge = NonZeroU32::new(2);
    for _ in 0..2 {
        let before = account.server.connections();
        account.fetch().await;
        assert_eq!(account.server.connections() - before, 2);
    }
    account.job.select.fetch_limit = Some(3);
    account.server.set_faults(Faults::new());
    account.fetch().await;
    account.assert_delivered(&messages);
}

#[tokio::test]
async fn expunging_goes_with_limits_filters_and_all_that_was_there_before() {
    let messages: Vec<_> = (0..7).map(|n| about(["ham", "later"][n % 2])).collect();
    let mut account = Account::with(&messages, Faults::new());
    account.job.select.expunge = NonZeroU32::new(1);
    account.job.select.fetch_limit = Some(3);
    account.job.filter = filter(BY_SUBJECT);
    let summary = account.fetch().await;
    // As it would be in one session: three of those that the filter lets through.
    assert_eq!((summary.fetched, summary.filtered.len()), (3, 2));
    assert_eq!((summary.deleted, summary.left), (3, 4));

    let messages = mail::corpus(5, 6);
    let mut account = Account::with(&messages, Faults::new()).keep(Keep::Newest(3));
    account.job.select.expunge = NonZeroU32::new(2);
    account.job.select.fetch_all = true;
    let summary = account.fetch().await;
    assert_eq!((summary.fetched, summary.deleted, summary.left), (6, 3, 3));
    account.assert_delivered(&messages);
}

#[tokio::test]
async fn what_a_filter_started_does_not_outlive_it() {
    let mut account = Account::with(&[about("ham")], Faults::new());
    let left = account.directory().join("left");
    account.job.filter = filter(&format!("echo > {}; exec sleep 600", left.display()));
    let stop = account.stop.clone();
    let (report, ()) = tokio::join!(account.poll(), async {
        wait_for(&left).await;
        stop.cancel();
    });
    assert!(matches!(
        report.error,
        Some(posthole_core::error::Error::Stopped)
    ));
    assert_eq!(account.maildrop.len(), 1);
}

async fn wait_for(path: &Path) {
    while !path.exists() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

#[tokio::test]
async fn what_the_filter_leaves_does_not_use_up_the_limit() {
    let messages: Vec<_> = (0..9)
        .map(|n| about(if n < 7 { "later" } else { "ham" }))
        .collect();
    let mut account = Account::with(&messages, Faults::new());
    account.job.select.fetch_limit = Some(1);
    account.job.filter = filter(BY_SUBJECT);
    for left in [8, 7] {
        let summary = account.fetch().await;
        assert_eq!((summary.fetched, summary.left), (1, left));
    }
}

#[tokio::test]
async fn a_header_that_ends_every_session_holds_up_nobody_for_long() {
    let messages: Vec<_> = (0..3).map(|_| about("ham")).collect();
    let faults = Faults::new().on("TOP 2 0", Reply::hang_up());
    let mut account = Account::with(&messages, faults).keep(Keep::Always);
    account.job.filter = filter(BY_SUBJECT);
    // The first poll suspects commands in advance, the second one the message.
    for _ in 0..2 {
        assert!(account.poll().await.error.is_some());
    }
    assert_eq!(account.fetch().await.fetched, 2);
    // It is tried by itself, and then set aside.
    for _ in 0..2 {
        assert!(account.poll().await.error.is_some());
    }
    let summary = account.fetch().await;
    assert_eq!((summary.failed.len(), summary.left), (1, 3));
}

#[tokio::test]
async fn what_the_filter_does_not_want_goes_though_a_quit_got_lost() {
    let messages = vec![about("spam"), about("ham")];
    let lost = Faults::new().on("QUIT", Reply::hang_up());
    let mut account = Account::with(&messages, lost).keep(Keep::Always);
    account.job.filter = filter(BY_SUBJECT);
    assert_eq!(account.fetch().await.deleted, 0);
    assert_eq!(account.maildrop.len(), 2);
    account.server.set_faults(Faults::new());
    let summary = account.fetch().await;
    assert_eq!((summary.fetched, summary.deleted, summary.left), (0, 1, 1));
}

#[tokio::test]
async fn root_has_a_filter_run_with_the_rights_of_the_user() {
    if !rustix::process::geteuid().is_root() {
        return;
    }
    let mut account = Account::with(&[about("ham")], Faults::new());
    let script = "[ \"$(id -un) $USER $HOME\" = \"nobody nobody /nonexistent\" ]";
    account.job.filter = filter(script).map(|filter| Filter {
        user: Some("nobody".to_owned()),
        ..filter
    });
    assert_eq!(account.fetch().await.fetched, 1);
}
