//! Mail servers that take mail, and those that do not want to.

use std::time::{Duration, Instant};

use posthole_core::error::Class;
use posthole_core::plan::{DeliverTo, HostPort, SmtpProtocol, SmtpServer as Server, SmtpTo};
use posthole_testkit::mail;
use posthole_testkit::pop3::Faults;
use posthole_testkit::smtp::{Builder, Reply, SmtpServer};

use crate::account::{Account, chain};

const PROTOCOLS: [SmtpProtocol; 2] = [SmtpProtocol::Smtp, SmtpProtocol::Lmtp];

fn builder(protocol: SmtpProtocol) -> Builder {
    match protocol {
        SmtpProtocol::Lmtp => SmtpServer::builder().lmtp(),
        SmtpProtocol::Smtp => SmtpServer::builder(),
    }
}

fn to(server: &SmtpServer, protocol: SmtpProtocol, recipients: &[&str]) -> SmtpTo {
    let server = Server::Tcp(HostPort {
        host: "127.0.0.1".to_owned(),
        port: server.port(),
    });
    let recipients: Vec<_> = recipients.iter().map(|&one| one.to_owned()).collect();
    SmtpTo::new(server, protocol, &recipients)
}

/// An account whose mail goes there.
fn account(messages: &[Vec<u8>], to: SmtpTo) -> Account {
    let mut account = Account::with(messages, Faults::new());
    account.job.deliver = vec![DeliverTo::Smtp(Box::new(to))];
    account
}

/// A message as a server is to receive it: lines end in CR LF, and no other CR or LF is left.
fn on_the_wire(message: &[u8]) -> Vec<u8> {
    let text = mail::delivered(message);
    let mut wire = Vec::new();
    for line in text.split_inclusive(|octet| *octet == b'\n') {
        let line = line.strip_suffix(b"\n").unwrap_or(line);
        let end = line
            .iter()
            .rposition(|octet| *octet != b'\r')
            .map_or(0, |last| last + 1);
        let blank = |octet: &u8| if *octet == b'\r' { b' ' } else { *octet };
        wire.extend(line[..end].iter().map(blank));
        wire.extend_from_slice(b"\r\n");
    }
    wire
}

fn sorted_on_the_wire(messages: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut all: Vec<_> = messages
        .iter()
        .map(|message| on_the_wire(message))
        .collect();
    all.sort();
    all
}

#[tokio::test]
async fn a_mailbox_goes_through_one_connection() {
    for protocol in PROTOCOLS {
        let messages = mail::corpus(1, 40);
        let server = builder(protocol).start();
        let account = account(&messages, to(&server, protocol, &["msingh"]));
        let summary = account.fetch().await;
        assert_eq!((summary.fetched, summary.deleted), (40, 40));
        assert_eq!(server.breaches(), Vec::<String>::new());
        for (found, expected) in server.texts().iter().zip(sorted_on_the_wire(&messages)) {
            assert_eq!(
                found.escape_ascii().to_string(),
                expected.escape_ascii().to_string()
            );
        }
        assert!(
            server
                .messages()
                .iter()
                .all(|one| one.recipient == "msingh@localhost")
        );
        assert_eq!(server.connections(), 1);
        assert_eq!(server.commands().last().unwrap().1, "QUIT");
        assert_eq!(account.maildrop.len(), 0);
        assert_eq!(account.fetch().await.fetched, 0);
        assert_eq!(
            server.connections(),
            1,
            "nothing to deliver is no reason to connect"
        );
    }
}

#[tokio::test]
async fn a_socket_is_as_good_as_a_port() {
    let messages = mail::corpus(2, 5);
    let directory = tempfile::TempDir::new().unwrap();
    let socket = directory.path().join("lmtp");
    let server = SmtpServer::builder().lmtp().socket(&socket).start();
    let to = SmtpTo::new(
        Server::Unix(socket),
        SmtpProtocol::Lmtp,
        &["a@example.org".to_owned()],
    );
    let account = account(&messages, to);
    account.check().await.unwrap();
    account.fetch().await;
    assert!(server.texts() == sorted_on_the_wire(&messages));
    assert!(
        server
            .messages()
            .iter()
            .all(|one| one.recipient == "a@example.org")
    );
}

#[tokio::test]
async fn a_server_without_extensions_gets_one_command_at_a_time() {
    let messages = mail::corpus(3, 6);
    for server in [
        SmtpServer::builder().extensions(&[]).start(),
        SmtpServer::builder()
            .on("EHLO", Reply::send("502 what?"))
            .start(),
    ] {
        let account = account(&messages, to(&server, SmtpProtocol::Smtp, &["a", "b"]));
        let summary = account.fetch().await;
        assert_eq!(summary.fetched, 6, "{summary:?}");
        assert_eq!(server.breaches(), Vec::<String>::new());
        assert_eq!(server.messages().len(), 12);
        assert!(
            server
                .messages()
                .iter()
                .all(|one| one.parameters.is_empty())
        );
        assert_eq!(account.maildrop.len(), 0);
    }
}

#[tokio::test]
async fn the_envelope_says_what_is_known_of_a_message() {
    let messages = vec![
        b"Return-Path: <list-bounces@example.org>\r\nFrom: a@b\r\n\r\nplain\r\n".to_vec(),
        b"Return-Path: <>\r\nFrom: a@b\r\n\r\ncaf\xc3\xa9\r\n".to_vec(),
        "From: <gr\u{fc}n@example.org>\r\n\r\nx\r\n"
            .as_bytes()
            .to_vec(),
    ];
    let server = SmtpServer::start();
    let account = account(&messages, to(&server, SmtpProtocol::Smtp, &["msingh"]));
    account.fetch().await;
    let envelopes: Vec<_> = server
        .messages()
        .into_iter()
        .map(|one| (one.sender, one.parameters))
        .collect();
    let sizes = messages.iter().map(Vec::len).collect::<Vec<_>>();
    let expected = [
        (
            "list-bounces@example.org".to_owned(),
            format!("SIZE={}", sizes[0]),
        ),
        (String::new(), format!("SIZE={} BODY=8BITMIME", sizes[1])),
        (
            "gr\u{fc}n@example.org".to_owned(),
            format!("SIZE={} BODY=8BITMIME SMTPUTF8", sizes[2]),
        ),
    ];
    assert_eq!(envelopes, expected);
}

#[tokio::test]
async fn a_message_cannot_smuggle_another_in() {
    let evil =
        b"Subject: x\r\n\r\na\n.\nMAIL FROM:<evil@x>\nRCPT TO:<b>\nDATA\n\rx\r\n.\r.\r\n..\r\n"
            .to_vec();
    let messages = vec![evil];
    let server = SmtpServer::start();
    let account = account(&messages, to(&server, SmtpProtocol::Smtp, &["msingh"]));
    account.fetch().await;
    assert_eq!(server.breaches(), Vec::<String>::new());
    assert_eq!(server.messages().len(), 1);
    assert!(server.texts() == sorted_on_the_wire(&messages));
}

#[tokio::test]
async fn a_connection_is_made_anew_after_so_many_messages() {
    let messages = mail::corpus(4, 7);
    let server = SmtpServer::start();
    let to = SmtpTo {
        batch_limit: std::num::NonZeroU32::new(3),
        ..to(&server, SmtpProtocol::Smtp, &["msingh"])
    };
    account(&messages, to).fetch().await;
    assert_eq!(server.connections(), 3);
    assert_eq!(server.messages().len(), 7);
}

/// Whatever goes wrong once, nothing is deleted that was not accepted, and in the end everything
/// is there.
#[tokio::test]
async fn a_server_that_fails_once_at_any_step_costs_no_message() {
    let messages: Vec<_> = (0..4).map(mail::tiny).collect();
    for protocol in PROTOCOLS {
        let hello = match protocol {
            SmtpProtocol::Lmtp => "LHLO",
            SmtpProtocol::Smtp => "EHLO",
        };
        for step in [
            "GREETING",
            hello,
            "MAIL",
            "RCPT",
            "DATA",
            "TEXT",
            "INSIDE TEXT",
        ] {
            for (fault, reply) in [
                ("4xx", Reply::send("451-try\r\n451 later")),
                ("421", Reply::send("421 going down").then_close()),
                ("close", Reply::close()),
                ("stall", Reply::stall()),
                ("garbage", Reply::send("what?")),
                ("accepted, then lost", Reply::accept_and_close()),
            ] {
                let what = format!("{protocol:?}: {fault} at {step}");
                let closes = matches!(fault, "421" | "close" | "stall");
                if (fault == "accepted, then lost" && step != "TEXT")
                    || (step == "INSIDE TEXT" && !closes)
                {
                    continue;
                }
                let server = builder(protocol).on_first(1, step, reply).start();
                let to = SmtpTo {
                    timeout: Duration::from_millis(300),
                    ..to(&server, protocol, &["msingh"])
                };
                let account = account(&messages, to);
                let first = account.poll().await;
                let accepted = server.texts();
                for message in &messages {
                    assert!(
                        account.maildrop.messages().contains(message)
                            || accepted.contains(&on_the_wire(message)),
                        "{what}: a message is lost"
                    );
                }
                if let Some(error) = &first.error {
                    let class = error.class();
                    let garbage = fault == "garbage";
                    assert!(
                        class == Class::Temporary || garbage,
                        "{what}: {}",
                        chain(error)
                    );
                }
                account.fetch().await;
                account.fetch().await;
                let mut texts = server.texts();
                let doubled = texts.len() - messages.len();
                texts.dedup();
                assert!(
                    texts == sorted_on_the_wire(&messages),
                    "{what}: not all is there"
                );
                assert_eq!(account.maildrop.len(), 0, "{what}");
                let may_double = fault == "accepted, then lost";
                assert_eq!(doubled, usize::from(may_double), "{what}: doubled");
            }
        }
    }
}

#[tokio::test]
async fn a_message_refused_for_good_stays_and_is_set_aside() {
    let messages: Vec<_> = (0..3).map(mail::tiny).collect();
    for protocol in PROTOCOLS {
        for step in ["MAIL", "RCPT", "DATA", "TEXT"] {
            let reply = Reply::send("550-5.7.1 we do not\r\n550 5.7.1 want \x1b[2Jthis");
            let server = builder(protocol).on_first(1, step, reply).start();
            let account = account(&messages, to(&server, protocol, &["msingh"]));
            let summary = account.fetch().await;
            let [failure] = &summary.failed[..] else {
                panic!("{step}: one message is refused: {summary:?}")
            };
            assert!(failure.reason.contains("want"), "{}", failure.reason);
            assert!(!failure.reason.contains('\x1b'));
            assert_eq!(server.messages().len(), 2, "{step}: the others are taken");
            // Not asked again so soon, and the others are deleted now.
            let summary = account.fetch().await;
            let [failure] = &summary.failed[..] else {
                panic!("{step}: one message is set aside: {summary:?}")
            };
            let reason = &failure.reason;
            assert!(
                reason.starts_with("it is set aside for now, since smtp:")
                    || reason.starts_with("it is set aside for now, since lmtp:"),
                "{reason}"
            );
            assert_eq!(server.messages().len(), 2, "{step}");
            assert_eq!(account.maildrop.len(), 1, "{step}");
            assert_eq!(server.breaches(), Vec::<String>::new());
        }
    }
}

#[tokio::test]
async fn each_recipient_gets_a_message_once_though_another_is_put_off() {
    for (protocol, step) in [
        (SmtpProtocol::Lmtp, "TEXT b@localhost"),
        (SmtpProtocol::Lmtp, "RCPT TO:<b@localhost>"),
        (SmtpProtocol::Smtp, "RCPT TO:<b@localhost>"),
    ] {
        let messages: Vec<_> = (0..3).map(mail::tiny).collect();
        let server = builder(protocol)
            .on_first(2, step, Reply::send("452 full"))
            .start();
        let account = account(&messages, to(&server, protocol, &["a", "b", "c"]));
        let summary = account.fetch().await;
        assert_eq!((summary.fetched, summary.failed.len()), (1, 2), "{step}");
        let summary = account.fetch().await;
        assert_eq!((summary.fetched, summary.failed.len()), (2, 0), "{step}");
        for recipient in ["a@localhost", "b@localhost", "c@localhost"] {
            let mut texts: Vec<_> = server
                .messages()
                .into_iter()
                .filter(|one| one.recipient == recipient)
                .map(|one| one.text)
                .collect();
            texts.sort();
            assert!(texts == sorted_on_the_wire(&messages), "{step} {recipient}");
        }
        assert_eq!(account.maildrop.len(), 0);
        assert_eq!(server.breaches(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn only_the_codes_of_spam_drop_a_message() {
    let messages: Vec<_> = (0..3).map(mail::tiny).collect();
    for (step, code, dropped) in [
        ("MAIL", 571, true),
        ("MAIL", 550, false),
        ("RCPT", 571, false),
    ] {
        let reply = Reply::send(&format!("{code} spam"));
        let server = SmtpServer::builder().on_first(1, step, reply).start();
        let to = SmtpTo {
            antispam: vec![571],
            ..to(&server, SmtpProtocol::Smtp, &["msingh"])
        };
        let account = account(&messages, to);
        let summary = account.fetch().await;
        assert_eq!(summary.failed.is_empty(), dropped, "{code} to {step}");
        account.fetch().await;
        assert_eq!(account.maildrop.len(), usize::from(!dropped));
        assert_eq!(server.messages().len(), 2);
    }
}

#[tokio::test]
async fn what_is_too_big_for_a_server_is_not_sent() {
    let mut messages: Vec<_> = (0..2).map(mail::tiny).collect();
    messages.push(mail::attachments(1, 20_000).remove(0));
    let server = SmtpServer::builder()
        .extensions(&["SIZE 9000", "8BITMIME"])
        .start();
    let account = account(&messages, to(&server, SmtpProtocol::Smtp, &["msingh"]));
    let summary = account.fetch().await;
    assert!(
        summary.failed[0].reason.contains("no more than 9000"),
        "{summary:?}"
    );
    assert_eq!(server.messages().len(), 2);
    let mails = server
        .commands()
        .iter()
        .filter(|(_, line)| line.starts_with("MAIL"))
        .count();
    assert_eq!(mails, 2);
}

#[tokio::test]
async fn a_server_that_is_not_there_ends_the_poll_and_nothing_else() {
    let messages: Vec<_> = (0..3).map(mail::tiny).collect();
    let port = std::net::TcpListener::bind(("127.0.0.1", 0))
        .unwrap()
        .local_addr()
        .unwrap()
        .port();
    let there = SmtpServer::start();
    let nowhere = Server::Tcp(HostPort {
        host: "127.0.0.1".to_owned(),
        port,
    });
    let to = SmtpTo::new(nowhere.clone(), SmtpProtocol::Smtp, &["msingh".to_owned()]);
    let mut account = account(&messages, to.clone());
    let error = account.poll().await.error.unwrap();
    assert_eq!(error.class(), Class::Temporary, "{}", chain(&error));
    assert!(account.check().await.is_err());
    assert_eq!(account.maildrop.len(), 3);
    // Of several servers the next one does.
    let second = Server::Tcp(HostPort {
        host: "127.0.0.1".to_owned(),
        port: there.port(),
    });
    account.job.deliver = vec![DeliverTo::Smtp(Box::new(SmtpTo {
        servers: vec![nowhere, second],
        ..to
    }))];
    account.fetch().await;
    assert_eq!(there.messages().len(), 3);
}

#[tokio::test]
async fn the_wrong_protocol_is_told_apart() {
    let server = SmtpServer::start();
    let account = account(
        &[mail::tiny(0)],
        to(&server, SmtpProtocol::Lmtp, &["msingh"]),
    );
    let error = account.poll().await.error.unwrap();
    assert!(error.hint().unwrap().contains("smtp:"), "{}", chain(&error));
}

#[tokio::test]
async fn a_server_that_falls_silent_at_any_step_is_given_up_on() {
    for step in ["EHLO", "MAIL", "RCPT", "DATA", "TEXT"] {
        let silent = Reply::send("250 taken").after(Duration::from_secs(600));
        let server = SmtpServer::builder().on(step, silent).start();
        let mut to = to(&server, SmtpProtocol::Smtp, &["msingh"]);
        to.timeout = Duration::from_millis(100);
        let account = account(&[mail::tiny(1)], to);
        let report = account.poll().await;
        let is_failed = report.error.is_some() || !report.summary.failed.is_empty();
        assert!(is_failed && account.maildrop.len() == 1, "{step}");
    }
}

#[tokio::test]
async fn a_request_to_stop_does_not_wait_for_a_slow_server() {
    let messages: Vec<_> = (0..5).map(mail::tiny).collect();
    let slow = Reply::send("250 taken").after(Duration::from_secs(600));
    let server = SmtpServer::builder().on("TEXT", slow).start();
    let account = account(&messages, to(&server, SmtpProtocol::Smtp, &["msingh"]));
    let stop = account.stop.clone();
    let started = Instant::now();
    let (report, ()) = tokio::join!(account.poll(), async {
        tokio::time::sleep(Duration::from_millis(300)).await;
        stop.cancel();
    });
    assert!(report.error.is_some());
    assert!(started.elapsed() < Duration::from_secs(30));
    assert_eq!(account.maildrop.len(), 5);
}
