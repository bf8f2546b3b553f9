//! STLS with servers, or with somebody in between, that would rather have the login in the clear.
//!
//! [`SITUATIONS`] is made to grow: the study "Why TLS is better without STARTTLS" (Poddebniak and
//! others, USENIX Security 2021) has dozens for POP3.

use std::time::Duration;

use posthole_core::error::Class;
use posthole_core::plan::{Keep, TlsStart};
use posthole_testkit::mail;
use posthole_testkit::pop3::{Faults, GREETING, Reply};

use crate::account::{Account, chain};
use crate::tls::{assert_no_login, ordinary};

/// What somebody does when TLS is required, and what must come of it.
struct Situation {
    what: &'static str,
    faults: fn() -> Faults,
    class: Class,
    /// Some words of the error.
    says: &'static str,
}

const SITUATIONS: &[Situation] = &[
    Situation {
        what: "STLS is refused",
        faults: || Faults::new().on("STLS", Reply::send("-ERR not today\r\n")),
        class: Class::Unavailable,
        says: "refused TLS (STLS): not today",
    },
    Situation {
        what: "STLS is refused without a word",
        faults: || Faults::new().on("STLS", Reply::send("-ERR\r\n")),
        class: Class::Unavailable,
        says: "refused TLS (STLS): it gave no reason",
    },
    Situation {
        what: "STLS is refused for now",
        faults: || Faults::new().on("STLS", Reply::send("-ERR [SYS/TEMP] no entropy\r\n")),
        class: Class::Temporary,
        says: "refused TLS (STLS)",
    },
    Situation {
        what: "STLS is refused and everything else is offered",
        faults: || {
            let lines = ["USER", "SASL PLAIN LOGIN", "PIPELINING", "UIDL"];
            Faults::new()
                .capabilities(lines)
                .on("STLS", Reply::send("-ERR unknown command\r\n"))
        },
        class: Class::Unavailable,
        says: "refused TLS (STLS)",
    },
    Situation {
        what: "STLS is answered with what is no answer",
        faults: || Faults::new().on("STLS", Reply::send("250 go ahead\r\n")),
        class: Class::Protocol,
        says: "expected the reply to STLS, received `250 go ahead`",
    },
    Situation {
        what: "STLS is answered with an empty line",
        faults: || Faults::new().on("STLS", Reply::send("\r\n")),
        class: Class::Protocol,
        says: "expected the reply to STLS",
    },
    Situation {
        what: "STLS is not answered",
        faults: || Faults::new().on("STLS", Reply::silence()),
        class: Class::Temporary,
        says: "silent",
    },
    Situation {
        what: "STLS is answered by closing",
        faults: || Faults::new().on("STLS", Reply::hang_up()),
        class: Class::Temporary,
        says: "instead of answering STLS",
    },
    Situation {
        what: "STLS is answered by half a line",
        faults: || Faults::new().on("STLS", Reply::send("+OK beg").close()),
        class: Class::Temporary,
        says: "in the middle of the reply to STLS",
    },
    Situation {
        what: "STLS is answered by a line without end",
        faults: || Faults::new().on("STLS", Reply::send("+OK ".repeat(300_000))),
        class: Class::Protocol,
        says: "line of more than",
    },
    Situation {
        what: "an answer to the next command comes with that to STLS",
        faults: || {
            let injected = |mut answer: Vec<u8>| {
                answer.extend_from_slice(b"+OK\r\nUSER\r\nPIPELINING\r\n.\r\n");
                answer
            };
            Faults::new().on("STLS", Reply::edit(injected))
        },
        class: Class::Protocol,
        says: "said more than its answer to STLS before TLS began: `+OK`",
    },
    Situation {
        what: "answers to the whole login come with that to STLS",
        faults: || {
            let injected = |mut answer: Vec<u8>| {
                answer.extend_from_slice(b"+OK\r\n+OK logged in\r\n+OK 0 0\r\n");
                answer
            };
            Faults::new().on("STLS", Reply::edit(injected))
        },
        class: Class::Protocol,
        says: "said more than its answer to STLS",
    },
    Situation {
        what: "a single octet comes with the answer to STLS",
        faults: || {
            let injected = |mut answer: Vec<u8>| {
                answer.push(b'+');
                answer
            };
            Faults::new().on("STLS", Reply::edit(injected))
        },
        class: Class::Protocol,
        says: "said more than its answer to STLS",
    },
    Situation {
        what: "the answer to STLS has several lines",
        faults: || Faults::new().on("STLS", Reply::send("+OK\r\nTLS follows\r\n.\r\n")),
        class: Class::Protocol,
        says: "said more than its answer to STLS",
    },
    Situation {
        what: "answers come after that to STLS, but before TLS",
        faults: || {
            let late = Reply::send("+OK\r\n").pause(Duration::from_millis(30));
            Faults::new().on("STLS", late.then_send("+OK\r\n+OK logged in\r\n"))
        },
        class: Class::Protocol,
        says: "answered in plain text instead of TLS: `+OK`",
    },
    Situation {
        what: "the answer to STLS came with the greeting",
        faults: || {
            let both = "+OK ready\r\n+OK begin TLS\r\n";
            Faults::new().on(GREETING, Reply::send(both))
        },
        class: Class::Protocol,
        says: "received `+OK begin TLS` when no reply was due",
    },
    Situation {
        what: "the server says yes and goes on in the clear",
        faults: || Faults::new().on("STLS", Reply::send("+OK begin TLS\r\n")),
        class: Class::Protocol,
        says: "answered in plain text instead of TLS",
    },
    Situation {
        what: "the server says yes and closes",
        faults: || Faults::new().on("STLS", Reply::send("+OK begin TLS\r\n").close()),
        class: Class::Temporary,
        says: "lost in the TLS handshake",
    },
    Situation {
        what: "the server says yes and resets",
        faults: || Faults::new().on("STLS", Reply::send("+OK begin TLS\r\n").reset()),
        class: Class::Temporary,
        says: "lost in the TLS handshake",
    },
    Situation {
        what: "the server says yes and no more",
        faults: || Faults::new().on("STLS", Reply::send("+OK begin TLS\r\n").stall()),
        class: Class::Temporary,
        says: "did not finish the TLS handshake within",
    },
    Situation {
        what: "the server says yes and answers the handshake with an alert",
        faults: || {
            let answer = b"+OK begin TLS\r\n".as_slice();
            let alert = Reply::send(answer).pause(Duration::from_millis(30));
            // Fatal, handshake_failure (RFC 8446 §6).
            Faults::new().on(
                "STLS",
                alert.then_send(b"\x15\x03\x03\x00\x02\x02\x28").stall(),
            )
        },
        class: Class::Protocol,
        says: "refused TLS with us: we have no way to do it in common",
    },
    Situation {
        what: "the server knows only old versions",
        faults: || {
            let answer = b"+OK begin TLS\r\n".as_slice();
            let alert = Reply::send(answer).pause(Duration::from_millis(30));
            Faults::new().on(
                "STLS",
                alert.then_send(b"\x15\x03\x01\x00\x02\x02\x46").stall(),
            )
        },
        class: Class::Protocol,
        says: "we have no version of TLS in common",
    },
    Situation {
        what: "the server says yes and sends a record of nonsense",
        faults: || {
            let answer = b"+OK begin TLS\r\n".as_slice();
            let record = Reply::send(answer).pause(Duration::from_millis(30));
            Faults::new().on(
                "STLS",
                record
                    .then_send(b"\x16\x03\x03\x00\x04\xff\xff\xff\xff")
                    .stall(),
            )
        },
        class: Class::Protocol,
        says: "cannot speak TLS with",
    },
    Situation {
        what: "the greeting is a refusal",
        faults: || Faults::new().on(GREETING, Reply::send("-ERR [SYS/TEMP] later\r\n")),
        class: Class::Temporary,
        says: "refused the connection",
    },
    Situation {
        what: "the greeting tells to log in at once",
        faults: || {
            let greeting = "+OK no TLS here, send USER and PASS\r\n";
            Faults::new()
                .on(GREETING, Reply::send(greeting))
                .on("STLS", Reply::send("-ERR log in first\r\n"))
        },
        class: Class::Unavailable,
        says: "refused TLS (STLS)",
    },
    Situation {
        what: "the greeting is that of another protocol",
        faults: || Faults::new().on(GREETING, Reply::send("* PREAUTH ready\r\n")),
        class: Class::Protocol,
        says: "expected the greeting of a POP3 server",
    },
];

#[tokio::test]
async fn no_login_leaves_before_tls_stands() {
    for Situation {
        what,
        faults,
        class,
        says,
    } in SITUATIONS
    {
        let account = ordinary(&[mail::tiny(1)], TlsStart::Required, faults())
            .timeout(Duration::from_millis(400));
        let error = account.poll().await.error;
        let error = error.unwrap_or_else(|| panic!("{what}: the poll went well"));
        let text = chain(&error);
        assert_eq!(error.class(), *class, "{what}: {text}");
        assert!(text.contains(says), "{what}: {says:?} is not in {text:?}");
        assert_no_login(&account, what);
        assert!(account.delivered().is_empty(), "{what}");
    }
}

/// The same while TLS is only welcome, where the server has been known to offer it.
#[tokio::test]
async fn whoever_breaks_off_tls_that_was_welcome_gets_no_login_either() {
    for Situation {
        what, faults, says, ..
    } in SITUATIONS
    {
        let account = ordinary(&[mail::tiny(1)], TlsStart::IfOffered, faults())
            .timeout(Duration::from_millis(400));
        let report = account.poll().await;
        if says.contains("refused TLS (STLS)") {
            // A login without TLS is allowed here, and a plain no is an answer.
            assert!(report.error.is_none(), "{what}");
        } else {
            assert!(report.error.is_some(), "{what}");
            assert_no_login(&account, what);
        }
    }
}

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
