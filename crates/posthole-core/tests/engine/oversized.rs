//! Mail of our own about messages that are too large.

use std::time::Duration;

use posthole_core::plan::{
    BsmtpTo, DeliverTo, HostPort, Keep, MdaCommand, MdaTo, SmtpProtocol, SmtpServer as Server,
    SmtpTo,
};
use posthole_core::retrieve;
use posthole_testkit::mail;
use posthole_testkit::pop3::Faults;
use posthole_testkit::smtp::SmtpServer;

use crate::account::Account;

const HOUR: Duration = Duration::from_secs(3600);

fn limited(to: DeliverTo) -> Account {
    let messages = [
        mail::tiny(1),
        vec![b'x'; 3000],
        vec![b'y'; 2000],
        vec![b'z'; 3000],
    ];
    let mut account = Account::with(&messages, Faults::new()).keep(Keep::Always);
    account.job.select.limit = Some(1500);
    account.job.deliver = vec![to];
    account
}

fn smtp(server: &SmtpServer) -> DeliverTo {
    let there = Server::Tcp(HostPort {
        host: "127.0.0.1".to_owned(),
        port: server.port(),
    });
    let to = SmtpTo::new(there, SmtpProtocol::Smtp, &["msingh".to_owned()]);
    DeliverTo::Smtp(Box::new(to))
}

/// Polls, and says what is too large.
async fn poll(account: &Account, every: Duration) -> bool {
    let summary = account.fetch().await;
    let who = ("mail.example.org", "singh");
    let warned =
        retrieve::warn_of_oversized(&account.job, &account.context(), &summary, who, every).await;
    warned.unwrap()
}

#[tokio::test]
async fn what_is_too_large_is_said_once_in_an_interval() {
    let server = SmtpServer::start();
    let mut account = limited(smtp(&server));
    assert!(poll(&account, HOUR).await);
    let messages = server.messages();
    let warning = &messages[1];
    assert!(warning.sender.starts_with("FETCHMAIL-DAEMON@"));
    assert_eq!(warning.recipient, "msingh@localhost");
    let text = String::from_utf8(warning.text.clone()).unwrap();
    assert!(text.contains("\r\nSubject: Fetchmail oversized-messages warning\r\n"));
    let (_, body) = text.split_once("\r\n\r\n").unwrap();
    assert_eq!(
        body,
        "The following oversized messages remain on server mail.example.org account singh:\r\n\
         \r\n\
         \x20 1 message  2000 octets long skipped by fetchmail.\r\n\
         \x20 2 messages 3000 octets long skipped by fetchmail.\r\n\
         \r\n-- \r\nThe Fetchmail Daemon\r\n"
    );
    // Not again, by another run either, before the time has passed.
    assert!(!poll(&account, HOUR).await);
    assert!(poll(&account, Duration::ZERO).await);
    // Nothing was too large meanwhile, and then it is news.
    account.job.select.limit = None;
    account.job.select.fetch_limit = Some(0);
    assert!(!poll(&account, HOUR).await);
    account.job.select.limit = Some(1500);
    assert!(poll(&account, HOUR).await);
    assert_eq!(server.messages().len(), 4);
    assert_eq!(server.breaches(), Vec::<String>::new());
}

#[tokio::test]
async fn what_was_deleted_for_its_size_is_said_at_once() {
    let server = SmtpServer::start();
    let mut account = limited(smtp(&server));
    account.job.select.limit_flush = true;
    assert!(poll(&account, HOUR).await);
    account.maildrop.add(vec![b'x'; 4000]);
    assert!(poll(&account, HOUR).await);
    assert!(!poll(&account, HOUR).await);
    let said = |size: &str| {
        let texts = server.texts().concat();
        let text = String::from_utf8(texts).unwrap();
        text.contains(&format!("{size} octets long deleted by fetchmail."))
            && text.contains("were deleted on server")
    };
    assert!(said("messages 3000") && said("message  4000"));
    assert_eq!(account.maildrop.len(), 1);
}

#[tokio::test]
async fn a_warning_goes_where_the_mail_goes() {
    let directory = tempfile::TempDir::new().unwrap();
    let path = directory.path().join("out");
    let bsmtp = DeliverTo::Bsmtp(BsmtpTo {
        path: Some(path.clone()),
        recipients: vec!["msingh@localhost".to_owned()],
        domain: "localhost".to_owned(),
    });
    let mda = DeliverTo::Mda(MdaTo {
        command: MdaCommand::Shell(format!("cat >> {}", path.display())),
        recipients: vec!["msingh".to_owned()],
        user: None,
        environment: vec![("PATH".into(), "/usr/bin:/bin".into())],
        timeout: Duration::from_secs(30),
    });
    for to in [bsmtp, mda] {
        let account = limited(to);
        assert!(poll(&account, HOUR).await);
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(
            text.contains("oversized messages remain on server"),
            "{text}"
        );
        std::fs::remove_file(&path).unwrap();
        // It leaves nothing behind that a later poll could stumble over.
        assert_eq!(account.fetch().await.fetched, 0);
    }
}

#[tokio::test]
async fn a_warning_that_nobody_takes_is_tried_again() {
    let server = SmtpServer::builder()
        .on_first(
            1,
            "MAIL FROM:<FETCHMAIL",
            posthole_testkit::smtp::Reply::send("451 later"),
        )
        .start();
    let account = limited(smtp(&server));
    assert!(!poll(&account, HOUR).await);
    assert!(poll(&account, HOUR).await);
}
