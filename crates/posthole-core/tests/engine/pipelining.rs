//! How many flights a poll takes, and servers that cannot keep up.

use std::time::Duration;

use posthole_core::plan::Keep;
use posthole_testkit::mail;
use posthole_testkit::pop3::{Faults, Reply};

use crate::account::Account;

#[tokio::test]
async fn with_remembered_capabilities_a_poll_without_news_is_one_flight() {
    let messages = mail::corpus(1, 20);
    let account = Account::with(&messages, Faults::new()).keep(Keep::Always);
    account.fetch().await;
    account.server.clear_log();
    account.fetch().await;
    assert_eq!(
        account.server.lines(),
        ["USER msingh", "PASS secret", "STAT", "UIDL", "LIST", "QUIT"]
    );
    // The opening, and the goodbye.
    assert_eq!(account.server.flights(2), 2);
}

#[tokio::test]
async fn the_first_poll_asks_for_the_capabilities_and_sends_the_rest_ahead() {
    let messages = mail::corpus(1, 200);
    let account = Account::with(&messages, Faults::new());
    account.fetch().await;
    account.assert_delivered(&messages);
    // CAPA; the opening; RETR; DELE as batches are done, how many the disk decides; QUIT.
    let flights = account.server.flights(1);
    assert!(flights <= 40, "{flights} flights for 200 messages");
}

#[tokio::test]
async fn a_server_without_pipelining_is_spoken_to_one_command_at_a_time() {
    let messages = mail::corpus(2, 30);
    let account = Account::with(&messages, Faults::new().without_pipelining());
    account.fetch().await;
    account.assert_delivered(&messages);
    assert!(account.maildrop.is_empty());
    assert_eq!(account.server.connections(), 1, "no command was lost");
}

#[tokio::test]
async fn a_server_without_capa_is_spoken_to_one_command_at_a_time() {
    let messages = mail::corpus(2, 10);
    let account = Account::with(
        &messages,
        Faults::new().without_capa().pipelining_is_a_lie(),
    );
    account.fetch().await;
    account.assert_delivered(&messages);
    assert_eq!(account.server.connections(), 1);
}

#[tokio::test]
async fn a_server_that_lies_about_pipelining_is_noticed_and_remembered() {
    let messages = mail::corpus(3, 10);
    let account = Account::with(&messages, Faults::new().pipelining_is_a_lie())
        .timeout(Duration::from_millis(500));
    account.fetch().await;
    account.assert_delivered(&messages);
    assert_eq!(
        account.server.connections(),
        2,
        "one attempt with, one without"
    );
    account.maildrop.add(mail::tiny(1));
    account.fetch().await;
    assert_eq!(account.server.connections(), 3, "the lie is remembered");
    assert_eq!(account.delivered().len(), 11);
}

#[tokio::test]
async fn a_server_that_hangs_up_on_commands_in_advance_is_asked_again_without() {
    let messages = mail::corpus(4, 10);
    let hangs_up = Faults::new()
        .on("PASS", Reply::hang_up())
        .for_connections(..=1);
    let account = Account::with(&messages, hangs_up);
    account.fetch().await;
    account.assert_delivered(&messages);
    assert_eq!(account.server.connections(), 2);
}

#[tokio::test]
async fn a_server_that_stalls_on_messages_in_advance_is_remembered_for_the_next_poll() {
    let messages = mail::corpus(5, 10);
    // It takes the opening in one flight, but of many RETR it answers only one.
    let stalls = Faults::new()
        .on_nth(2, "RETR", Reply::silence())
        .for_connections(..=1);
    let account = Account::with(&messages, stalls).timeout(Duration::from_millis(500));
    account.poll().await.error.expect("the first poll stalls");
    account.fetch().await;
    account.assert_delivered(&messages);
    assert!(account.maildrop.is_empty());
}

#[tokio::test]
async fn a_server_cannot_ask_for_more_than_a_day_between_logins() {
    for (seconds, hours) in [(7200, 2), (9_999_999, 24)] {
        let capabilities = format!("+OK\r\nUIDL\r\nUSER\r\nLOGIN-DELAY {seconds}\r\n.\r\n");
        let faults = Faults::new().on("CAPA", Reply::send(capabilities));
        let account = Account::with(&mail::corpus(6, 1), faults);
        let delay = account.fetch().await.login_delay;
        assert_eq!(delay, Some(Duration::from_secs(hours * 60 * 60)));
    }
}
