//! Servers that do what they should.

use std::time::Duration;

use posthole_core::error::{Class, Error};
use posthole_core::plan::Keep;
use posthole_testkit::mail;
use posthole_testkit::pop3::{Body, Commit, Faults};

use crate::account::Account;

#[tokio::test]
async fn new_mail_is_delivered_whole_and_deleted() {
    let messages = mail::corpus(1, 300);
    let account = Account::with(&messages, Faults::new());
    let summary = account.fetch().await;
    account.assert_delivered(&messages);
    assert!(account.maildrop.is_empty());
    assert_eq!(
        (summary.fetched, summary.deleted, summary.left),
        (300, 300, 0)
    );
    let octets: usize = account.delivered().iter().map(Vec::len).sum();
    assert_eq!(summary.octets, octets as u64);
    let again = account.fetch().await;
    assert_eq!((again.fetched, again.deleted, again.left), (0, 0, 0));
    account.assert_delivered(&messages);
}

#[tokio::test]
async fn kept_mail_stays_and_is_fetched_once() {
    let messages = mail::corpus(2, 40);
    let account = Account::with(&messages, Faults::new()).keep(Keep::Always);
    let summary = account.fetch().await;
    assert_eq!(
        (summary.fetched, summary.deleted, summary.left),
        (40, 0, 40)
    );
    account.maildrop.add(mail::tiny(1));
    let again = account.fetch().await;
    assert_eq!((again.fetched, again.deleted, again.left), (1, 0, 41));
    account.assert_delivered(&[messages, vec![mail::tiny(1)]].concat());
    assert_eq!(account.server.count("DELE"), 0);
    assert_eq!(account.server.count("RETR"), 41);
}

#[tokio::test]
async fn mail_kept_for_a_time_goes_when_it_is_over() {
    let messages = mail::corpus(3, 5);
    let mut account = Account::with(&messages, Faults::new()).keep(Keep::For(Duration::MAX));
    assert_eq!(account.fetch().await.left, 5);
    account.job.keep = Keep::For(Duration::ZERO);
    let summary = account.fetch().await;
    assert_eq!((summary.fetched, summary.deleted, summary.left), (0, 5, 0));
    account.assert_delivered(&messages);
}

#[tokio::test]
async fn the_newest_messages_stay_and_older_ones_go_once_they_are_fetched() {
    let messages = mail::corpus(11, 9);
    let account = Account::with(&messages, Faults::new()).keep(Keep::Newest(4));
    let preview = account.preview().await.unwrap();
    assert_eq!(
        (preview.fetch.len(), preview.delete.len(), preview.left),
        (9, 5, 4)
    );
    let summary = account.fetch().await;
    assert_eq!((summary.fetched, summary.deleted, summary.left), (9, 5, 4));
    account.maildrop.add(mail::tiny(1));
    let summary = account.fetch().await;
    assert_eq!((summary.fetched, summary.deleted, summary.left), (1, 1, 4));
    account.assert_delivered(&[messages, vec![mail::tiny(1)]].concat());
}

#[tokio::test]
async fn what_is_too_large_stays_unless_it_is_to_be_flushed() {
    let small = vec![mail::tiny(1), mail::tiny(2)];
    let large = [mail::tiny(3), b"padding\r\n".repeat(500)].concat();
    let messages = [small.clone(), vec![large]].concat();
    let mut account = Account::with(&messages, Faults::new()).keep(Keep::Always);
    account.job.select.limit = Some(2000);
    for fetched in [2, 0] {
        let summary = account.fetch().await;
        assert_eq!(
            (summary.fetched, summary.deleted, summary.left),
            (fetched, 0, 3)
        );
        assert_eq!(summary.too_large.len(), 1);
    }
    assert_eq!(account.preview().await.unwrap().too_large.len(), 1);
    account.job.select.limit_flush = true;
    assert_eq!(account.preview().await.unwrap().delete.len(), 1);
    let summary = account.fetch().await;
    assert_eq!((summary.fetched, summary.deleted, summary.left), (0, 1, 2));
    assert!(summary.too_large.is_empty());
    account.assert_delivered(&small);
}

#[tokio::test]
async fn a_poll_fetches_no_more_than_its_limit_and_the_next_ones_the_rest() {
    let messages = mail::corpus(12, 7);
    let mut account = Account::with(&messages, Faults::new()).keep(Keep::Always);
    account.job.select.fetch_limit = Some(3);
    for fetched in [3, 3, 1, 0] {
        assert_eq!(account.fetch().await.fetched, fetched);
    }
    account.assert_delivered(&messages);
}

#[tokio::test]
async fn what_the_client_did_with_its_mail_does_not_matter() {
    let messages = mail::corpus(4, 6);
    let account = Account::with(&messages, Faults::new()).keep(Keep::Always);
    account.fetch().await;
    for (i, entry) in std::fs::read_dir(account.maildir().join("new"))
        .unwrap()
        .enumerate()
    {
        let path = entry.unwrap().path();
        match i % 2 {
            0 => std::fs::remove_file(path).unwrap(),
            _ => {
                let name = format!("{}:2,S", path.file_name().unwrap().to_str().unwrap());
                std::fs::rename(&path, account.maildir().join("cur").join(name)).unwrap();
            }
        }
    }
    assert_eq!(account.fetch().await.fetched, 0);
    assert_eq!(account.delivered().len(), 3);
}

#[tokio::test]
async fn a_deletion_that_was_not_confirmed_is_repeated_without_fetching_again() {
    let messages = mail::corpus(5, 7);
    let account = Account::with(&messages, Faults::new().commit(Commit::Never));
    for _ in 0..3 {
        account.fetch().await;
    }
    account.assert_delivered(&messages);
    assert_eq!(
        (account.server.count("RETR"), account.server.count("DELE")),
        (7, 21)
    );
    account.server.set_faults(Faults::new());
    assert_eq!(account.fetch().await.deleted, 7);
    assert!(account.maildrop.is_empty());
}

#[tokio::test]
async fn a_preview_says_what_a_poll_does_and_does_nothing() {
    let messages = mail::corpus(6, 9);
    let account = Account::with(&messages, Faults::new());
    let preview = account.preview().await.unwrap();
    assert_eq!(
        (preview.fetch.len(), preview.delete.len(), preview.left),
        (9, 9, 0)
    );
    let octets: u64 = account
        .maildrop
        .messages()
        .iter()
        .map(|text| text.len() as u64)
        .sum();
    assert_eq!(
        preview.fetch.iter().map(|entry| entry.size).sum::<u64>(),
        octets
    );
    assert_eq!(
        (account.server.count("RETR"), account.server.count("DELE")),
        (0, 0)
    );
    assert!(!account.maildir().exists());
    account.fetch().await;
    account.assert_delivered(&messages);
    let preview = account.preview().await.unwrap();
    assert_eq!(
        (preview.fetch.len(), preview.delete.len(), preview.left),
        (0, 0, 0)
    );
}

#[tokio::test]
async fn a_check_changes_neither_side() {
    let account = Account::with(&mail::corpus(7, 3), Faults::new());
    account.check().await.unwrap();
    assert!(
        !account.maildir().exists(),
        "it is only made when mail comes"
    );
    assert_eq!(account.maildrop.len(), 3);
    std::fs::create_dir(account.maildir()).unwrap();
    account.check().await.unwrap();
    assert_eq!(std::fs::read_dir(account.maildir()).unwrap().count(), 0);
    account.fetch().await;
    account.check().await.unwrap();
    assert_eq!((account.delivered().len(), account.in_tmp()), (3, 0));
}

#[tokio::test]
async fn a_large_message_arrives_whole() {
    let big = mail::Big::new(1, 30 << 20);
    let account = Account::with(&[], Faults::new());
    account.maildrop.add(Body::from(big.clone()));
    assert_eq!(account.fetch().await.fetched, 1);
    let mut expected = Vec::new();
    std::io::Read::read_to_end(&mut big.read_lf(), &mut expected).unwrap();
    assert!(
        account.delivered() == [expected],
        "the text was changed on the way"
    );
}

#[tokio::test]
async fn a_second_poll_of_the_same_account_gives_way_to_the_first() {
    let account = Account::with(&mail::corpus(8, 200), Faults::new());
    let (first, second) = tokio::join!(account.poll(), account.poll());
    let errors = [&first, &second].map(|report| report.error.as_ref().map(Error::class));
    assert!(
        errors.contains(&None) && errors.contains(&Some(Class::Temporary)),
        "{errors:?}"
    );
    assert_eq!(first.summary.fetched + second.summary.fetched, 200);
}

#[tokio::test]
async fn a_server_that_deletes_what_was_fetched_by_itself_is_no_trouble() {
    let messages = mail::corpus(9, 5);
    let account =
        Account::with(&messages, Faults::new().commit(Commit::RetrievedAtQuit)).keep(Keep::Always);
    account.fetch().await;
    account.fetch().await;
    account.assert_delivered(&messages);
}

#[tokio::test]
async fn a_wrong_password_is_an_authentication_failure() {
    let mut account = Account::with(&mail::corpus(10, 2), Faults::new());
    account.job.user = "nobody".to_owned();
    let error = account.poll().await.error.unwrap();
    assert_eq!(error.class(), Class::Authentication, "{error}");
    assert!(error.hint().unwrap().contains("password"));
    assert_eq!(account.maildrop.len(), 2);
}

#[tokio::test]
async fn a_check_sees_a_file_in_the_way_as_a_poll_would() {
    let account = Account::with(&mail::corpus(7, 1), Faults::new());
    std::fs::write(account.maildir(), "a file").unwrap();
    let checked = account.check().await.unwrap_err();
    let polled = account.poll().await.error.unwrap();
    assert_eq!(checked.hint(), polled.hint());
    assert!(checked.hint().unwrap().contains("in the way"));
}
