//! What STLS costs, what is remembered of it, and when it is asked for.
//!
//! Servers that would rather have the login in the clear are in `tests/stls`.

use posthole_core::plan::{Keep, TlsStart};
use posthole_testkit::mail;
use posthole_testkit::pop3::{Faults, Reply};

use crate::account::Account;
use crate::tls::ordinary;

#[tokio::test]
async fn where_tls_is_required_the_capabilities_before_it_do_not_matter() {
    for capabilities in [
        Reply::send("-ERR unknown command\r\n"),
        Reply::send("+OK\r\nUSER\r\n.\r\n"),
        Reply::hang_up(),
    ] {
        let faults = Faults::new().rule(move |request| {
            // The first command of the connection is STLS, so CAPA before it would be number 1.
            (request.verb == "CAPA" && request.index == 1).then(|| capabilities.clone())
        });
        let account = ordinary(&[mail::tiny(1)], TlsStart::Required, faults);
        account.fetch().await;
        account.assert_delivered(&[mail::tiny(1)]);
        let lines = account.server.lines();
        assert_eq!(lines[..2], ["STLS", "CAPA"], "{lines:?}");
        assert_eq!(account.server.connections(), 1);
    }
}

#[tokio::test]
async fn what_was_said_before_tls_is_forgotten() {
    // Before TLS the server claims what it cannot do inside.
    let before = "+OK\r\nSTLS\r\nPIPELINING\r\nUIDL\r\n.\r\n";
    let inside = "+OK\r\nUIDL\r\n.\r\n";
    let faults = || {
        Faults::new()
            .on_nth(1, "CAPA", Reply::send(before))
            .on_nth(2, "CAPA", Reply::send(inside))
            .pipelining_is_a_lie()
    };
    let messages = mail::corpus(1, 10);
    let account = ordinary(&messages, TlsStart::IfOffered, faults());
    account.fetch().await;
    account.assert_delivered(&messages);
    let lines = account.server.lines();
    assert_eq!(
        lines[..4],
        ["CAPA", "STLS", "CAPA", "USER msingh"],
        "{lines:?}"
    );
    assert_eq!(account.server.connections(), 1, "nothing was sent ahead");
}

#[tokio::test]
async fn what_is_remembered_from_inside_tls_saves_a_flight_the_next_time() {
    for start in [TlsStart::Required, TlsStart::IfOffered] {
        let account = ordinary(&mail::corpus(1, 5), start, Faults::new()).keep(Keep::Always);
        account.fetch().await;
        account.server.clear_log();
        account.fetch().await;
        assert_eq!(
            account.server.lines(),
            [
                "STLS",
                "USER msingh",
                "PASS secret",
                "STAT",
                "UIDL",
                "LIST",
                "QUIT"
            ],
            "{start:?}"
        );
        // STLS, the opening, and the goodbye.
        assert_eq!(account.server.flights(2), 3, "{start:?}");
    }
}

#[tokio::test]
async fn what_is_remembered_from_the_clear_does_not_count_inside_tls() {
    let mut account = ordinary(&[mail::tiny(1)], TlsStart::Never, Faults::new()).keep(Keep::Always);
    let opening = async |account: &Account| {
        account.server.clear_log();
        account.fetch().await;
        let lines = account.server.lines();
        lines
            .into_iter()
            .take_while(|line| !line.starts_with("USER"))
            .collect::<Vec<_>>()
    };
    assert_eq!(opening(&account).await, ["CAPA"]);
    assert_eq!(opening(&account).await, [""; 0]);
    account.job.tls.start = TlsStart::Required;
    assert_eq!(opening(&account).await, ["STLS", "CAPA"]);
    assert_eq!(opening(&account).await, ["STLS"]);
    account.job.tls.start = TlsStart::Never;
    assert_eq!(opening(&account).await, ["CAPA"]);
}

#[tokio::test]
async fn tls_that_is_welcome_is_used_if_it_is_there() {
    let there = ordinary(&[mail::tiny(1)], TlsStart::IfOffered, Faults::new());
    there.fetch().await;
    assert_eq!(there.server.lines()[..3], ["CAPA", "STLS", "CAPA"]);
    let heard = there.server.traffic().heard();
    assert!(!String::from_utf8_lossy(&heard).contains("secret"));

    let lines = ["UIDL", "PIPELINING"];
    let not_there = Faults::new().capabilities(lines);
    let not_there = ordinary(&[mail::tiny(1)], TlsStart::IfOffered, not_there);
    not_there.fetch().await;
    assert_eq!(not_there.server.lines()[..2], ["CAPA", "USER msingh"]);
    not_there.assert_delivered(&[mail::tiny(1)]);

    let no_capa = Faults::new().without_capa();
    let no_capa = ordinary(&[mail::tiny(1)], TlsStart::IfOffered, no_capa);
    no_capa.fetch().await;
    no_capa.assert_delivered(&[mail::tiny(1)]);
}

#[tokio::test]
async fn without_being_asked_for_stls_is_not_tried() {
    let account = ordinary(&[mail::tiny(1)], TlsStart::Never, Faults::new());
    account.fetch().await;
    assert_eq!(account.server.count("STLS"), 0);
}
