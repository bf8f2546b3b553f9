//! What is changed in messages on their way, wherever they go.

use posthole_core::plan::{DeliverTo, Edits, Keep, MboxTo, StatusFields, Trace};
use posthole_testkit::mail;
use posthole_testkit::pop3::{Body, Faults};

use crate::account::Account;

const MESSAGE: &str = "Status: RO\r\nDelivered-To: msingh@example.org\r\nFrom: joe\r\n\
                       Subject: =?utf-8?q?caf=C3=A9?=\r\n\
                       Content-Transfer-Encoding: quoted-printable\r\n\r\na=\r\nb\rc\r\n";

fn all() -> Edits {
    Edits {
        received: Some(Trace {
            from: "pop.example.org".to_owned(),
            account: Some(("work".to_owned(), "msingh".to_owned())),
            recipient: Some("msingh@localhost".to_owned()),
        }),
        return_path: true,
        rewrite: Some("example.org".to_owned()),
        status: StatusFields::Drop,
        drop_delivered: true,
        mimedecode: true,
        strip_cr: true,
    }
}

/// The text with the time taken out of our own field, and the names that differ.
fn shown(text: &[u8]) -> String {
    let text = String::from_utf8(text.to_vec()).unwrap();
    let (before, after) = text.split_once("\n\tby ").unwrap();
    let (_, after) = after.split_once(" with ").unwrap();
    let (said, after) = after.split_once("; ").unwrap();
    let (_, after) = after.split_once('\n').unwrap();
    let version = env!("CARGO_PKG_VERSION");
    format!("{before}\n\tby HERE with {said}; TIME\n{after}").replace(version, "VERSION")
}

#[tokio::test]
async fn each_message_is_changed_as_it_is_said() {
    let mut account = Account::with(&[MESSAGE.into()], Faults::new());
    account.job.edits = all();
    account.fetch().await;
    let [delivered] = &account.delivered()[..] else {
        panic!("not one message")
    };
    assert_eq!(
        shown(delivered),
        "Return-Path: <joe>\n\
         Received: from pop.example.org [127.0.0.1]\n\tby HERE with POP3 (posthole-VERSION polling \
         work account msingh)\n\tfor <msingh@localhost> (single-drop); TIME\n\
         From: joe@example.org\nSubject: café\nContent-Transfer-Encoding: 8bit\n\nabc\n"
    );
    assert!(account.maildrop.is_empty());
}

#[tokio::test]
async fn all_destinations_get_the_same_changes() {
    let messages = [
        MESSAGE.into(),
        mail::tiny(1),
        b"\r\nno header\r\n".to_vec(),
        Vec::new(),
    ];
    let mut account = Account::with(&messages[..3], Faults::new());
    account.job.edits = Edits {
        received: None,
        ..all()
    };
    let mbox = account.directory().join("mbox");
    account.job.deliver.push(DeliverTo::Mbox(MboxTo {
        path: mbox.clone(),
        owner: None,
    }));
    assert_eq!(account.fetch().await.fetched, 3);
    let mbox = std::fs::read_to_string(mbox).unwrap();
    assert_eq!(account.delivered().len(), 3);
    for message in account.delivered() {
        assert!(mbox.contains(std::str::from_utf8(&message).unwrap()));
    }
}

#[tokio::test]
async fn a_message_without_a_unique_id_is_known_by_what_the_server_sent() {
    let mut account = Account::with(&[], Faults::new()).keep(Keep::Never);
    account
        .maildrop
        .add_with_uid("", Body::from(MESSAGE.as_bytes().to_vec()));
    account
        .server
        .set_faults(Faults::new().commit(posthole_testkit::pop3::Commit::Never));
    account.fetch().await;
    account.job.edits = all();
    account.fetch().await;
    assert_eq!(account.delivered().len(), 1);
}

#[tokio::test]
async fn a_large_body_streams_through_its_changes() {
    let big = mail::Big::new(1, 20 << 20);
    let mut account = Account::with(&[], Faults::new());
    account.maildrop.add(Body::from(big.clone()));
    account.job.edits.drop_delivered = true;
    assert_eq!(account.fetch().await.fetched, 1);
    let mut expected = Vec::new();
    std::io::Read::read_to_end(&mut big.read_lf(), &mut expected).unwrap();
    assert!(account.delivered() == [expected], "the text was changed");
}
