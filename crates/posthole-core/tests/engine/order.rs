//! The order of things: no DELE before the message is on disk and on record.

use posthole_testkit::mail;
use posthole_testkit::pop3::{Faults, Reply};

use crate::account::Account;

#[tokio::test]
async fn dele_is_not_sent_before_the_message_is_in_new() {
    let messages = mail::corpus(1, 50);
    let account = Account::with(&messages, Faults::new());
    let new = account.maildir().join("new");
    let at_dele = Faults::new().rule(move |request| {
        if request.verb != "DELE" {
            return None;
        }
        let delivered = std::fs::read_dir(&new).map_or(0, Iterator::count) as u64;
        // Messages are fetched and deleted in the order of their numbers.
        let early = delivered < request.number().unwrap_or(u64::MAX);
        early.then(|| Reply::send("-ERR too early\r\n"))
    });
    account.server.set_faults(at_dele);
    let summary = account.fetch().await;
    assert_eq!((summary.fetched, summary.deleted), (50, 50));
}
