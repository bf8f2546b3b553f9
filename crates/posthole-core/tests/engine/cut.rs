//! The connection cut after every so many octets of a session, in both directions.

use posthole_core::plan::Keep;
use posthole_testkit::mail;
use posthole_testkit::pop3::Faults;

use crate::account::Account;

/// However a session is cut, the next ones deliver the rest, and nothing twice.
async fn cut(keep: Keep, faults: impl Fn(u64) -> Faults, total: u64, step: usize) {
    let messages: Vec<_> = (0..6).map(mail::tiny).collect();
    for after in (0..=total).step_by(step) {
        let account = Account::with(&messages, faults(after)).keep(keep);
        let report = account.poll().await;
        assert!(
            report.error.is_some() || report.summary.fetched == 6,
            "cut after {after} was not noticed"
        );
        account.server.set_faults(Faults::new());
        account.fetch().await;
        account.fetch().await;
        account.assert_delivered(&messages);
        let left = if keep == Keep::Never {
            0
        } else {
            messages.len()
        };
        assert_eq!(account.maildrop.len(), left, "cut after {after}");
    }
}

/// How many octets an undisturbed session sends and receives.
async fn size_of_session(keep: Keep) -> (u64, u64) {
    let messages: Vec<_> = (0..6).map(mail::tiny).collect();
    let account = Account::with(&messages, Faults::new()).keep(keep);
    account.fetch().await;
    (
        account.server.traffic().sent(),
        account.server.traffic().received(),
    )
}

#[tokio::test]
async fn cut_anywhere_in_what_the_server_sends_nothing_is_lost_or_doubled() {
    for keep in [Keep::Never, Keep::Always] {
        let (sent, _) = size_of_session(keep).await;
        cut(keep, |after| Faults::new().cut_after_sent(after), sent, 19).await;
    }
}

#[tokio::test]
async fn cut_anywhere_in_what_the_server_hears_nothing_is_lost_or_doubled() {
    for keep in [Keep::Never, Keep::Always] {
        let (_, received) = size_of_session(keep).await;
        cut(
            keep,
            |after| Faults::new().cut_after_received(after),
            received,
            3,
        )
        .await;
    }
}

#[tokio::test]
async fn one_octet_at_a_time_is_as_good_as_all_at_once() {
    let messages = mail::corpus(1, 30);
    let account = Account::with(&messages, Faults::new().write_size(1));
    account.fetch().await;
    account.assert_delivered(&messages);
}
