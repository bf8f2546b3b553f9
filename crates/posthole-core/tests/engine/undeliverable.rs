//! Mail that a server refuses for good, and who is told of it.

use posthole_core::plan::{
    DeliverTo, HostPort, ReportTo, SmtpProtocol, SmtpServer as Server, SmtpTo, Undeliverable,
};
use posthole_testkit::pop3::Faults;
use posthole_testkit::smtp::{Builder, Delivered, Reply, SmtpServer};

use crate::account::Account;

const HARD: Undeliverable = Undeliverable {
    stays: false,
    report_to: ReportTo::Sender,
    reports_spam: false,
    postmaster: None,
};

fn with_postmaster(rules: Undeliverable) -> Undeliverable {
    Undeliverable {
        postmaster: Some("master@localhost".to_owned()),
        ..rules
    }
}

fn from(sender: &str) -> Vec<u8> {
    format!("Return-Path: <{sender}>\r\nSubject: hello\r\n\r\nthe body\r\n").into_bytes()
}

/// An account with a message from Joe, which goes to a server for two people.
fn account(server: &SmtpServer, rules: Undeliverable, message: Vec<u8>) -> Account {
    let there = Server::Tcp(HostPort {
        host: "127.0.0.1".to_owned(),
        port: server.port(),
    });
    let people = ["a", "b"].map(str::to_owned);
    let to = SmtpTo {
        undeliverable: Some(rules),
        antispam: vec![571],
        ..SmtpTo::new(there, SmtpProtocol::Smtp, &people)
    };
    let mut account = Account::with(&[message], Faults::new());
    account.job.deliver = vec![DeliverTo::Smtp(Box::new(to))];
    account
}

fn refusing(step: &str, reply: &str) -> Builder {
    SmtpServer::builder().on(step, Reply::send(reply))
}

/// `sender>recipient`, of what was taken, sorted.
fn taken(server: &SmtpServer) -> Vec<String> {
    let way = |one: Delivered| format!("{}>{}", one.sender, one.recipient);
    let mut taken: Vec<_> = server.messages().into_iter().map(way).collect();
    taken.sort();
    taken
}

fn only_text(server: &SmtpServer) -> String {
    let texts = server.texts();
    assert_eq!(texts.len(), 1, "{:?}", taken(server));
    String::from_utf8(texts.into_iter().next().unwrap()).unwrap()
}

#[tokio::test]
async fn who_sent_what_is_refused_for_good_is_told_before_it_is_deleted() {
    for step in ["MAIL FROM:<joe", "RCPT TO:<a@", "DATA", "TEXT"] {
        let no = Reply::send("554-5.6.0 not\r\n554 today");
        let no = if step == "DATA" || step == "TEXT" {
            SmtpServer::builder().on_first(1, step, no)
        } else {
            SmtpServer::builder().on(step, no)
        };
        let server = no.start();
        let account = account(&server, HARD, from("joe@example.org"));
        let summary = account.fetch().await;
        assert_eq!((summary.deleted, summary.failed.len()), (1, 0), "{step}");
        let reports = server
            .messages()
            .into_iter()
            .filter(|one| one.sender.is_empty());
        let reports: Vec<_> = reports.collect();
        let [report] = &reports[..] else {
            panic!("{step}: {:?}", taken(&server))
        };
        assert_eq!(report.recipient, "joe@example.org");
        let text = String::from_utf8(report.text.clone()).unwrap();
        for part in [
            "Content-Type: multipart/report; report-type=delivery-status;",
            "Final-Recipient: rfc822; a@localhost\r\nAction: failed\r\nStatus: 5.6.0\r\n",
            "Diagnostic-Code: smtp; 554 5.6.0 not today\r\n",
            "Content-Type: text/rfc822-headers\r\n",
            "\r\nSubject: hello\r\n",
        ] {
            assert!(text.contains(part), "{step}: {part} is not in {text}");
        }
        assert!(!text.contains("the body"), "{text}");
        // Whoever can get it has it.
        let others = server.messages().len() - 1;
        assert_eq!(others, usize::from(step.starts_with("RCPT")), "{step}");
        assert_eq!(text.contains("rfc822; b@localhost"), others == 0, "{step}");
        assert_eq!(account.maildrop.len(), 0);
        assert_eq!(server.breaches(), Vec::<String>::new());
    }
}

#[tokio::test]
async fn nothing_is_deleted_before_the_report_is_taken() {
    for reply in ["451 later", "550 never"] {
        let server = refusing("RCPT TO:<a@", "550 no")
            .on("RCPT TO:<b@", Reply::send("550 no"))
            .on_first(1, "RCPT TO:<joe", Reply::send(reply))
            .start();
        let account = account(&server, HARD, from("joe@example.org"));
        let summary = account.fetch().await;
        let [failure] = &summary.failed[..] else {
            panic!("{summary:?}")
        };
        let reason = &failure.reason;
        assert!(
            reason.contains("the report of it was not taken"),
            "{reason}"
        );
        assert_eq!(account.maildrop.len(), 1);
        let summary = account.fetch().await;
        assert_eq!((summary.deleted, summary.left), (1, 0));
        assert_eq!(taken(&server), [">joe@example.org"]);
    }
}

#[tokio::test]
async fn reports_are_not_answered() {
    for sender in ["", "MAILER-DAEMON@example.org"] {
        let server = refusing("RCPT TO:<a@", "550 no")
            .on("RCPT TO:<b@", Reply::send("550 no"))
            .start();
        // With nobody else to tell, it is discarded.
        let lost = account(&server, HARD, from(sender));
        assert_eq!(lost.fetch().await.deleted, 1);
        assert_eq!(server.messages(), []);
        // The postmaster gets it itself.
        let rules = with_postmaster(HARD);
        assert_eq!(
            account(&server, rules, from(sender)).fetch().await.deleted,
            1
        );
        assert_eq!(
            taken(&server),
            [">master@localhost", &format!("{sender}>master@localhost")]
        );
    }
}

#[tokio::test]
async fn the_postmaster_is_told_in_place_of_the_sender() {
    let server = refusing("MAIL FROM:<joe", "550 no").start();
    let rules = with_postmaster(Undeliverable {
        report_to: ReportTo::Postmaster,
        ..HARD
    });
    let account = account(&server, rules, from("joe@example.org"));
    assert_eq!(account.fetch().await.deleted, 1);
    assert_eq!(taken(&server), [">master@localhost"]);
    let text = only_text(&server);
    assert!(text.contains("A message from <joe@example.org> could not"));
    // Nobody has seen it otherwise.
    assert!(text.contains("Content-Type: message/rfc822\r\n"), "{text}");
    assert!(text.contains("\r\nthe body\r\n"), "{text}");
}

#[tokio::test]
async fn what_stays_is_not_reported_but_the_postmaster_gets_what_nobody_else_can() {
    let soft = with_postmaster(Undeliverable {
        stays: true,
        ..HARD
    });
    for step in ["MAIL FROM:<joe", "RCPT TO:<a@"] {
        let server = refusing(step, "550 no").start();
        let account = account(&server, soft.clone(), from("joe@example.org"));
        let summary = account.fetch().await;
        assert_eq!((summary.failed.len(), summary.left), (1, 1), "{step}");
        assert!(
            taken(&server)
                .iter()
                .all(|one| one.ends_with(">b@localhost"))
        );
    }
    let server = refusing("RCPT TO:<a@", "550 no")
        .on("RCPT TO:<b@", Reply::send("571 spam"))
        .start();
    let account = account(&server, soft, from("joe@example.org"));
    let summary = account.fetch().await;
    assert_eq!((summary.fetched, summary.deleted), (1, 1));
    assert_eq!(taken(&server), ["joe@example.org>master@localhost"]);
    assert!(only_text(&server).ends_with("\r\nthe body\r\n"));
}

#[tokio::test]
async fn a_postmaster_who_cannot_be_reached_costs_no_message() {
    let soft = with_postmaster(Undeliverable {
        stays: true,
        ..HARD
    });
    let server = refusing("RCPT TO:", "550 nobody is").start();
    let account = account(&server, soft, from("joe@example.org"));
    assert_eq!(account.fetch().await.left, 1);
    assert_eq!(account.maildrop.len(), 1);
}

#[tokio::test]
async fn spam_is_dropped_and_reported_only_if_that_is_wanted() {
    for (reports_spam, stays) in [(false, true), (true, true), (true, false)] {
        let rules = Undeliverable {
            reports_spam,
            stays,
            ..HARD
        };
        let server = SmtpServer::builder()
            .on_first(1, "TEXT", Reply::send("571 spam"))
            .start();
        let account = account(&server, rules, from("joe@example.org"));
        assert_eq!(account.fetch().await.deleted, 1);
        let expected: &[&str] = if reports_spam {
            &[">joe@example.org"]
        } else {
            &[]
        };
        assert_eq!(taken(&server), expected);
    }
}

#[tokio::test]
async fn some_codes_are_no_reason_to_write_to_anybody() {
    for (code, deleted) in [("553 what sender", 1), ("530 STARTTLS first", 0)] {
        let server = refusing("MAIL FROM:<joe", code).start();
        let account = account(&server, with_postmaster(HARD), from("joe@example.org"));
        assert_eq!(account.fetch().await.deleted, deleted, "{code}");
        assert_eq!(server.messages(), [], "{code}");
    }
}
