//! One mailbox for several people.

use std::collections::HashSet;
use std::sync::{Arc, Mutex};

use posthole_core::message::{self, Envelope};
use posthole_core::plan::{
    BsmtpTo, DeliverTo, HostPort, MboxTo, Multidrop, NameService, SmtpProtocol,
    SmtpServer as Server, SmtpTo, Trace,
};
use posthole_testkit::pop3::Faults;
use posthole_testkit::smtp::{Reply, SmtpServer};
use tokio::net::UdpSocket;
use tokio::task::JoinHandle;

use crate::account::Account;

fn for_whom(to: &str) -> Vec<u8> {
    format!("From: a@b\r\nTo: {to}\r\n\r\nfor {to}\r\n").into_bytes()
}

fn rules() -> Multidrop {
    let same = |name: &str| (name.to_owned(), name.to_owned());
    Multidrop {
        rules: message::Multidrop {
            servers: vec!["mail.example.org".to_owned()],
            names: vec![
                same("golux"),
                ("hurkle".to_owned(), "happy".to_owned()),
                same("snark"),
            ],
            ..message::Multidrop::default()
        },
        dns: NameService::Off,
        check_alias: false,
        postmaster: Some("master".to_owned()),
    }
}

fn smtp(server: &SmtpServer, protocol: SmtpProtocol) -> DeliverTo {
    let to = Server::Tcp(HostPort {
        host: "127.0.0.1".to_owned(),
        port: server.port(),
    });
    DeliverTo::Smtp(Box::new(SmtpTo::new(to, protocol, &["msingh".to_owned()])))
}

fn account(messages: &[Vec<u8>], multidrop: Multidrop, to: DeliverTo) -> Account {
    let mut account = Account::with(messages, Faults::new());
    account.job.multidrop = Some(Arc::new(multidrop));
    account.job.deliver = vec![to];
    account
}

/// `recipient: text`, sorted.
fn got(server: &SmtpServer) -> Vec<String> {
    let got = server.messages().into_iter().map(|delivered| {
        let text = String::from_utf8(delivered.text).unwrap();
        let body = text.split_once("\r\n\r\n").unwrap().1.trim_end().to_owned();
        format!("{}: {body}", delivered.recipient)
    });
    let mut got: Vec<_> = got.collect();
    got.sort();
    got
}

#[tokio::test]
async fn each_message_goes_to_those_whom_it_is_for() {
    for protocol in [SmtpProtocol::Smtp, SmtpProtocol::Lmtp] {
        let builder = SmtpServer::builder();
        let server = match protocol {
            SmtpProtocol::Lmtp => builder.lmtp().start(),
            SmtpProtocol::Smtp => builder.start(),
        };
        let messages = [
            "golux@mail.example.org, hurkle@mail.example.org",
            "snark",
            "nobody@elsewhere.net",
        ]
        .map(for_whom);
        let mut account = account(&messages, rules(), smtp(&server, protocol));
        account.job.edits.received = Some(Trace {
            from: "mail.example.org".to_owned(),
            account: None,
            recipient: None,
        });
        let summary = account.fetch().await;
        assert_eq!((summary.fetched, summary.deleted), (3, 3));
        let both = "for golux@mail.example.org, hurkle@mail.example.org";
        assert_eq!(
            got(&server),
            [
                &*format!("golux@localhost: {both}"),
                &*format!("happy@localhost: {both}"),
                "master@localhost: for nobody@elsewhere.net",
                "snark@localhost: for snark",
            ]
        );
        let texts = server.texts().concat();
        let texts = String::from_utf8(texts).unwrap();
        assert!(
            texts.contains("for <snark@localhost> (multi-drop); "),
            "{texts}"
        );
        assert!(texts.contains("for <master@localhost> (by default); "));
        assert_eq!(
            texts.matches("\tfor <").count(),
            2,
            "not in that for two people"
        );
    }
}

#[tokio::test]
async fn a_recipient_who_refuses_gets_it_later_and_the_others_once() {
    let server = SmtpServer::builder()
        .lmtp()
        .on_first(1, "RCPT TO:<happy", Reply::send("450 later"))
        .start();
    let messages = [for_whom("golux, hurkle")];
    let account = account(&messages, rules(), smtp(&server, SmtpProtocol::Lmtp));
    let summary = account.fetch().await;
    assert_eq!((summary.fetched, summary.failed.len()), (0, 1));
    let summary = account.fetch().await;
    assert_eq!((summary.fetched, summary.deleted), (1, 1));
    assert_eq!(
        got(&server),
        [
            "golux@localhost: for golux, hurkle",
            "happy@localhost: for golux, hurkle",
        ]
    );
}

#[tokio::test]
async fn mail_for_nobody_is_dropped_where_there_is_no_postmaster() {
    let server = SmtpServer::start();
    let nobody = Multidrop {
        postmaster: None,
        ..rules()
    };
    let messages = [for_whom("nobody@elsewhere.net")];
    let account = account(&messages, nobody, smtp(&server, SmtpProtocol::Smtp));
    let summary = account.fetch().await;
    assert_eq!((summary.fetched, summary.deleted), (1, 1));
    assert_eq!(got(&server), [""; 0]);
}

#[tokio::test]
async fn the_field_of_the_envelope_counts_though_it_is_taken_out() {
    let server = SmtpServer::start();
    let mut multidrop = rules();
    multidrop.rules.envelope = Envelope::Field {
        name: "Delivered-To".to_owned(),
        skip: 1,
    };
    let message = [
        b"Delivered-To: golux\r\nDelivered-To: hurkle\r\n".to_vec(),
        for_whom("snark"),
    ]
    .concat();
    let mut account = account(&[message], multidrop, smtp(&server, SmtpProtocol::Smtp));
    account.job.edits.drop_delivered = true;
    account.fetch().await;
    assert_eq!(got(&server), ["happy@localhost: for snark"]);
    assert!(!server.texts()[0].starts_with(b"Delivered-To"));
}

#[tokio::test]
async fn batches_and_files_beside_them_hold_it_all() {
    let messages = ["golux, snark", "hurkle"].map(for_whom);
    let batch = BsmtpTo {
        path: None,
        recipients: vec!["msingh@localhost".to_owned()],
        domain: "example.org".to_owned(),
    };
    let mut account = Account::with(&messages, Faults::new());
    let (path, mbox) = (
        account.directory().join("batch"),
        account.directory().join("mbox"),
    );
    account.job.multidrop = Some(Arc::new(rules()));
    account.job.deliver = vec![
        DeliverTo::Bsmtp(BsmtpTo {
            path: Some(path.clone()),
            ..batch
        }),
        DeliverTo::Mbox(MboxTo {
            path: mbox.clone(),
            owner: None,
        }),
    ];
    assert_eq!(account.fetch().await.fetched, 2);
    let commands = std::fs::read_to_string(path).unwrap();
    let told: Vec<_> = commands
        .lines()
        .filter(|line| line.starts_with("RCPT"))
        .collect();
    assert_eq!(
        told,
        [
            "RCPT TO:<golux@example.org>",
            "RCPT TO:<snark@example.org>",
            "RCPT TO:<happy@example.org>",
        ]
    );
    let mbox = std::fs::read_to_string(mbox).unwrap();
    assert_eq!(mbox.matches("\nTo: ").count(), 2);
}

#[tokio::test]
async fn what_a_stranger_writes_is_no_option_of_a_command_and_no_line_of_smtp() {
    let server = SmtpServer::start();
    let mut multidrop = rules();
    multidrop.rules.passes_others = true;
    multidrop.rules.local_domains = vec!["local.example".to_owned()];
    let messages = [
        "-oQ/tmp",
        "\"a b\"@local.example",
        "\"x>\r\n RCPT TO:<y\"@local.example",
        "-f@local.example, `reboot`@local.example",
    ]
    .map(for_whom);
    let account = account(&messages, multidrop, smtp(&server, SmtpProtocol::Smtp));
    assert_eq!(account.fetch().await.fetched, 4);
    assert_eq!(server.breaches(), Vec::<String>::new());
    for delivered in server.messages() {
        assert_eq!(delivered.recipient, "master@localhost");
    }
    assert_eq!(server.messages().len(), 4);
}

/// A resolver that knows a host whose mail goes to ours, and fails over one.
struct Dns {
    address: std::net::SocketAddr,
    task: JoinHandle<()>,
    /// The questions; one that is repeated is one.
    asked: Arc<Mutex<HashSet<Vec<u8>>>>,
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.task.abort();
    }
}

impl Dns {
    async fn start() -> Self {
        let socket = UdpSocket::bind("127.0.0.1:0").await.unwrap();
        let address = socket.local_addr().unwrap();
        let asked = Arc::<Mutex<HashSet<_>>>::default();
        let heard = Arc::clone(&asked);
        let task = tokio::spawn(async move {
            let mut query = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut query).await {
                heard.lock().unwrap().insert(query[12..length].to_vec());
                socket
                    .send_to(&answer(&query[..length]), from)
                    .await
                    .unwrap();
            }
        });
        Self {
            address,
            task,
            asked,
        }
    }
}

/// RFC 1035 §4: an MX record for whatever begins with `same`, SERVFAIL for `lost`.
fn answer(query: &[u8]) -> Vec<u8> {
    let end = 12 + query[12..].iter().position(|&octet| octet == 0).unwrap() + 5;
    let (is_same, is_lost) = (
        query[13..].starts_with(b"same"),
        query[13..].starts_with(b"lost"),
    );
    let code = if is_lost { 2 } else { 0 };
    let mut answer = vec![query[0], query[1], 0x81, 0x80 | code];
    answer.extend([0, 1, 0, u8::from(is_same), 0, 0, 0, 0]);
    answer.extend(&query[12..end]);
    if is_same {
        let exchange = b"\x04mail\x07example\x03org\x00";
        answer.extend([
            0xc0,
            12,
            0,
            15,
            0,
            1,
            0,
            0,
            0,
            60,
            0,
            exchange.len() as u8 + 2,
            0,
            10,
        ]);
        answer.extend(exchange);
    }
    answer
}

#[tokio::test]
async fn the_dns_says_which_hosts_are_the_server() {
    let dns = Dns::start().await;
    let multidrop = Multidrop {
        dns: NameService::At(dns.address),
        ..rules()
    };
    let server = SmtpServer::start();
    let messages = ["golux@same.example.net", "golux@other.example.net"].map(for_whom);
    let account = account(&messages, multidrop, smtp(&server, SmtpProtocol::Smtp));
    assert_eq!(account.fetch().await.fetched, 2);
    assert_eq!(
        got(&server),
        [
            "golux@localhost: for golux@same.example.net",
            "master@localhost: for golux@other.example.net",
        ]
    );
    // While nobody can tell, it goes to nobody, and stays.
    account.maildrop.add(for_whom("golux@lost.example.net"));
    let summary = account.fetch().await;
    assert_eq!((summary.fetched, summary.left), (0, 1));
    let reason = &summary.failed[0].reason;
    assert!(
        reason.contains("whether lost.example.net is the mail server"),
        "{reason}"
    );
    assert_eq!(server.messages().len(), 2);
}

#[tokio::test]
async fn the_dns_is_not_asked_about_more_hosts_of_a_message_than_are_sensible() {
    let dns = Dns::start().await;
    let multidrop = Multidrop {
        dns: NameService::At(dns.address),
        ..rules()
    };
    let server = SmtpServer::start();
    let to = (0..50).map(|n| format!("golux@same{n}.example.net"));
    let messages = [for_whom(&to.collect::<Vec<_>>().join(", "))];
    let account = account(&messages, multidrop, smtp(&server, SmtpProtocol::Smtp));
    assert_eq!(account.fetch().await.fetched, 1);
    assert_eq!(dns.asked.lock().unwrap().len(), 32);
}
