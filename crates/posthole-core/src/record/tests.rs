use std::time::{Duration, SystemTime, UNIX_EPOCH};

use tempfile::TempDir;

use super::*;
use crate::session::ListingBuilder;

const DAY: Duration = Duration::from_secs(24 * 60 * 60);

fn now() -> SystemTime {
    UNIX_EPOCH + 20_000 * DAY
}

fn uid(uid: &str) -> Identity {
    Identity {
        kind: IdentityKind::UniqueId,
        bytes: uid.as_bytes().into(),
        occurrence: 0,
    }
}

fn listing(uids: &[&str]) -> Listing {
    let mut builder = ListingBuilder::default();
    for (uid, number) in uids.iter().zip(1u32..) {
        let number = number.try_into().unwrap();
        builder.scan_listing(number, 100).unwrap();
        builder.unique_id_listing(number, uid.as_bytes()).unwrap();
    }
    builder.finish()
}

/// Records with one mailbox in which messages were delivered at a time.
fn delivered(at: SystemTime, uids: &[&str]) -> (TempDir, Mailbox) {
    let directory = TempDir::new().unwrap();
    let mailbox = Records::open(directory.path())
        .unwrap()
        .mailbox("pop3:a@b")
        .unwrap()
        .keeping(false);
    let identities = uids.iter().map(|name| uid(name)).collect::<Vec<_>>();
    mailbox
        .store
        .settle(
            mailbox.id,
            &Vec::from_iter(identities.iter().map(Into::into)),
            &[],
            at,
        )
        .unwrap();
    (directory, mailbox)
}

fn seen(mailbox: &Mailbox, uids: &[&str], now: SystemTime) -> Vec<Seen> {
    let standings = mailbox.update(&listing(uids), now).unwrap();
    (0..u32::try_from(uids.len()).unwrap())
        .map(|idx| standings.get(idx))
        .collect()
}

fn was_delivered() -> Seen {
    Seen::Delivered {
        at: now(),
        kept: false,
    }
}

fn is_known(mailbox: &Mailbox, name: &str) -> bool {
    mailbox.store.is_delivered(mailbox.id, &uid(name)).unwrap()
}

#[test]
fn only_what_is_on_record_is_known() {
    let (_directory, mailbox) = delivered(now(), &["a", "c"]);
    let known = was_delivered();
    assert_eq!(
        seen(&mailbox, &["a", "b", "c"], now()),
        [known, Seen::New, known]
    );
    let other = mailbox.store.mailbox("pop3:other@b").unwrap();
    assert!(
        !mailbox.store.is_delivered(other, &uid("a")).unwrap(),
        "mailboxes are apart"
    );
}

#[test]
fn what_is_to_stay_by_now_counts_as_kept_from_then_on() {
    let (_directory, mailbox) = delivered(now(), &["a"]);
    let kept = Seen::Delivered {
        at: now(),
        kept: true,
    };
    let keeping = mailbox.clone().keeping(true);
    assert_eq!(seen(&keeping, &["a"], now()), [was_delivered()]);
    assert_eq!(seen(&mailbox, &["a"], now()), [kept]);
}

#[test]
fn records_outlive_the_process() {
    let (directory, mailbox) = delivered(now(), &["a"]);
    let instance = mailbox.store.instance().unwrap();
    drop(mailbox);
    let mailbox = Records::open(directory.path())
        .unwrap()
        .mailbox("pop3:a@b")
        .unwrap();
    assert!(is_known(&mailbox, "a"));
    assert_eq!(mailbox.store.instance().unwrap(), instance);
}

#[test]
fn a_mailbox_is_locked_against_a_second_run_until_the_first_ends() {
    let directory = TempDir::new().unwrap();
    let records = Records::open(directory.path()).unwrap();
    let first = records.mailbox("pop3:a@b").unwrap();
    assert!(matches!(
        records.mailbox("pop3:a@b"),
        Err(Error::Locked { .. })
    ));
    records.mailbox("pop3:other@b").unwrap();
    drop(first);
    records.mailbox("pop3:a@b").unwrap();
}

#[test]
fn an_intent_ends_as_a_delivery_or_as_nothing() {
    let (_directory, mailbox) = delivered(now(), &[]);
    let intent = |name: &str| StoredIntent {
        identity: uid(name),
        destination: "/m".into(),
        name: format!("{name}.file"),
        place: u64::MAX,
        at: now(),
        offset: None,
    };
    let intents = [intent("a"), intent("b"), intent("c")];
    mailbox.store.intend(mailbox.id, &intents).unwrap();
    assert_eq!(mailbox.intents().unwrap(), intents);
    mailbox
        .store
        .settle(mailbox.id, &[(&uid("a")).into()], &[uid("b")], now())
        .unwrap();
    assert_eq!(mailbox.intents().unwrap(), [intent("c")]);
    assert_eq!(
        ["a", "b", "c"].map(|name| is_known(&mailbox, name)),
        [true, false, false]
    );
}

#[test]
fn a_delivered_message_is_forgotten_only_after_three_listings_over_thirty_days() {
    let (_directory, mailbox) = delivered(now(), &["gone", "here"]);
    // Many listings in one day count once.
    for hour in 0..20 {
        seen(
            &mailbox,
            &["here"],
            now() + Duration::from_secs(hour * 3600),
        );
    }
    seen(&mailbox, &["here"], now() + 31 * DAY);
    assert!(is_known(&mailbox, "gone"), "only two listings were counted");
    seen(&mailbox, &["here"], now() + 32 * DAY);
    assert!(
        is_known(&mailbox, "gone"),
        "the third listing is counted, and judged next time"
    );
    seen(&mailbox, &["here"], now() + 32 * DAY);
    assert!(!is_known(&mailbox, "gone"));
    assert!(is_known(&mailbox, "here"));
}

#[test]
fn a_message_that_comes_back_starts_anew() {
    let (_directory, mailbox) = delivered(now(), &["a"]);
    for day in 0..29 {
        seen(&mailbox, &[], now() + day * DAY);
    }
    assert_eq!(seen(&mailbox, &["a"], now() + 29 * DAY), [was_delivered()]);
    seen(&mailbox, &[], now() + 31 * DAY);
    seen(&mailbox, &[], now() + 31 * DAY);
    assert!(
        is_known(&mailbox, "a"),
        "the days before it came back no longer count"
    );
}

#[test]
fn a_listing_that_cannot_be_read_whole_proves_nothing_missing() {
    let (_directory, mailbox) = delivered(now(), &["a"]);
    for day in 0..60 {
        let mut builder = ListingBuilder::default();
        builder.malformed();
        mailbox
            .standings(&builder.finish(), now() + day * DAY)
            .unwrap();
    }
    assert!(is_known(&mailbox, "a"));
}

#[test]
fn a_listing_without_news_writes_nothing() {
    let (directory, mailbox) = delivered(now(), &["a", "gone"]);
    seen(&mailbox, &["a"], now());
    let log = directory.path().join("state.db-wal");
    let before = std::fs::metadata(&log).unwrap().len();
    seen(&mailbox, &["a"], now() + DAY / 2);
    assert_eq!(std::fs::metadata(&log).unwrap().len(), before);
    seen(&mailbox, &["a"], now() + DAY);
    assert!(
        std::fs::metadata(&log).unwrap().len() > before,
        "the log shows writes at all"
    );
}

#[test]
fn what_one_destination_refused_need_not_wait_for_another() {
    let (_directory, mailbox) = delivered(now(), &[]);
    let mailbox = mailbox.delivering_to("mda:false");
    mailbox.failed(&uid("a"), "why", true, now()).unwrap();
    let retry_at = |mailbox: &Mailbox| match seen(mailbox, &["a"], now() + DAY / 48)[..] {
        [Seen::Failed { retry_at, .. }] => retry_at,
        _ => panic!("not failed"),
    };
    assert!(retry_at(&mailbox) > now() + DAY / 48);
    let elsewhere = mailbox.delivering_to("maildir:/m");
    assert_eq!(retry_at(&elsewhere), now() + DAY / 48);
}

#[test]
fn failures_are_counted_and_end_with_a_delivery() {
    let (_directory, mailbox) = delivered(now(), &[]);
    for sessions in 1..=4 {
        mailbox.failed(&uid("a"), "why", false, now()).unwrap();
        let [
            Seen::Failed {
                sessions: counted,
                retry_at,
            },
        ] = seen(&mailbox, &["a"], now())[..]
        else {
            panic!("not failed")
        };
        assert_eq!(counted, sessions);
        let wait = retry_at.duration_since(now()).unwrap().as_secs() / 3600;
        assert_eq!(
            wait,
            [0, 0, 1, 2][sessions as usize - 1],
            "after {sessions}"
        );
    }
    mailbox
        .store
        .settle(mailbox.id, &[(&uid("a")).into()], &[], now())
        .unwrap();
    assert_eq!(seen(&mailbox, &["a"], now()), [was_delivered()]);
    assert!(mailbox.store.failures(mailbox.id).unwrap().is_empty());
}

#[test]
fn a_failure_of_a_message_that_is_gone_is_forgotten() {
    let (_directory, mailbox) = delivered(now(), &[]);
    mailbox.failed(&uid("a"), "why", false, now()).unwrap();
    seen(&mailbox, &["b"], now());
    assert!(mailbox.store.failures(mailbox.id).unwrap().is_empty());
}

#[test]
fn a_mere_look_writes_nothing() {
    let (_directory, mailbox) = delivered(now(), &["gone"]);
    mailbox.failed(&uid("a"), "why", false, now()).unwrap();
    for day in 0..99 {
        mailbox.standings(&listing(&[]), now() + day * DAY).unwrap();
    }
    assert!(is_known(&mailbox, "gone"));
    assert_eq!(mailbox.store.failures(mailbox.id).unwrap().len(), 1);
}

#[test]
fn a_message_may_fail_for_a_year_and_is_still_tried_once_a_day() {
    assert_eq!(retry_delay(400), DAY);
    assert_eq!(retry_delay(u32::MAX), DAY);
}

#[test]
fn what_is_no_database_of_ours_is_refused_and_left_as_it_is() {
    let foreign = |make: &dyn Fn(&Path)| {
        let directory = TempDir::new().unwrap();
        let path = directory.path().join("state.db");
        make(&path);
        let before = std::fs::read(&path).unwrap();
        let error = Records::open(directory.path())
            .err()
            .expect("must be refused");
        assert!(
            std::fs::read(&path).unwrap() == before,
            "the file was changed"
        );
        error
    };
    let garbage = foreign(&|path| std::fs::write(path, "this is no database".repeat(99)).unwrap());
    assert!(garbage.hint().unwrap().contains("damaged"), "{garbage}");
    let newer = foreign(&|path| {
        Records::open(path.parent().unwrap()).unwrap();
        rusqlite::Connection::open(path)
            .unwrap()
            .pragma_update(None, "user_version", 99)
            .unwrap();
    });
    assert!(
        matches!(newer, RecordError::Newer { found: 99, .. }),
        "{newer}"
    );
    let other = foreign(&|path| {
        let connection = rusqlite::Connection::open(path).unwrap();
        connection
            .execute_batch("CREATE TABLE t (x); PRAGMA user_version = 1")
            .unwrap();
    });
    assert!(matches!(other, RecordError::NotOurs { .. }), "{other}");
}

#[test]
fn everything_is_private_from_the_first_moment() {
    use std::os::unix::fs::PermissionsExt;
    let directory = TempDir::new().unwrap();
    let state = directory.path().join("a/b");
    let mailbox = Records::open(&state).unwrap().mailbox("pop3:a@b").unwrap();
    let mode = |name: &str| {
        std::fs::metadata(state.join(name))
            .unwrap()
            .permissions()
            .mode()
            & 0o777
    };
    assert_eq!([".", "..", "locks"].map(mode), [0o700; 3]);
    assert_eq!(
        ["state.db", "state.db-wal", "state.db-shm"].map(mode),
        [0o600; 3]
    );
    drop(mailbox);
}

#[test]
fn records_of_older_versions_are_taken_over() {
    let to_fourth = "ALTER TABLE message DROP COLUMN kept;
                     ALTER TABLE mailbox DROP COLUMN warned_at;
                     PRAGMA user_version = 4;";
    let to_third = "ALTER TABLE message DROP COLUMN fingerprint;
                    ALTER TABLE mailbox DROP COLUMN exact_sizes;
                    PRAGMA user_version = 3;";
    let to_second = "DROP TABLE part;
                     ALTER TABLE intent DROP COLUMN start;
                     ALTER TABLE failure DROP COLUMN destinations;
                     PRAGMA user_version = 2;";
    let to_first = "ALTER TABLE mailbox DROP COLUMN capabilities_tls;
                    PRAGMA user_version = 1;";
    let steps = [to_fourth, to_third, to_second, to_first];
    for n in 1..=steps.len() {
        are_taken_over(&steps[..n]);
    }
}

fn are_taken_over(older: &[&str]) {
    let (directory, mailbox) = delivered(now(), &["a"]);
    drop(mailbox);
    let file = directory.path().join("state.db");
    let database = rusqlite::Connection::open(&file).unwrap();
    let known = "UPDATE mailbox SET capabilities = 'UIDL', capabilities_at = 1;";
    database.execute_batch(known).unwrap();
    for step in older {
        database.execute_batch(step).unwrap();
    }
    drop(database);
    for _ in 0..2 {
        let records = Records::open(directory.path()).unwrap();
        let mailbox = records.mailbox("pop3:a@b").unwrap();
        // Nobody knows any more whether it was to stay.
        let kept = Seen::Delivered {
            at: now(),
            kept: true,
        };
        assert_eq!(seen(&mailbox, &["a"], now()), [kept]);
        let known = mailbox.server().unwrap().capabilities.unwrap();
        assert_eq!(
            (&*known.lines, known.secrecy),
            ("UIDL", Secrecy::Plain),
            "it knew no TLS"
        );
    }
}

#[test]
fn what_was_learnt_inside_tls_is_marked_as_such() {
    let (_directory, mailbox) = delivered(now(), &[]);
    for secrecy in [Secrecy::Tls, Secrecy::Plain] {
        let memory = ServerMemory {
            capabilities: Some(KnownCapabilities {
                lines: "UIDL\nPIPELINING".to_owned(),
                at: now(),
                secrecy,
            }),
            pipelining_failed: None,
            exact_sizes: true,
            warned_at: Some(now()),
        };
        mailbox.remember_server(&memory).unwrap();
        assert_eq!(mailbox.server().unwrap(), memory);
    }
}

#[test]
fn where_every_name_is_new_nothing_counts_as_missing() {
    let (_directory, mailbox) = delivered(now(), &["a", "b"]);
    let renamed = listing(&["x", "y"]);
    for day in 0..40 {
        let standings = mailbox.update(&renamed, now() + day * DAY).unwrap();
        let strangers = standings.strangers().unwrap();
        assert_eq!((strangers.recorded, strangers.unmarked), (2, 2));
    }
    assert!(is_known(&mailbox, "a") && is_known(&mailbox, "b"));

    let names = vec![(uid("a"), 1), (uid("b"), 0)];
    mailbox.rename(&renamed, names).unwrap();
    let later = now() + 40 * DAY;
    let delivered = was_delivered();
    assert_eq!(seen(&mailbox, &["x", "y"], later), [delivered; 2]);
    assert!(!is_known(&mailbox, "a"));
}

#[test]
fn equal_fingerprints_are_found_as_often_as_they_are_on_record() {
    let (_directory, mailbox) = delivered(now(), &["a"]);
    let twins = [uid("b"), uid("c")];
    let marked = Vec::from_iter(twins.iter().map(|identity| Delivered {
        identity,
        fingerprint: Some([7; 16]),
        kept: false,
    }));
    mailbox
        .store
        .settle(mailbox.id, &marked, &[], now())
        .unwrap();
    let renamed = listing(&["w", "x", "y", "z"]);
    let listed = vec![([7; 16], 0), ([8; 16], 1), ([7; 16], 2), ([7; 16], 3)];
    let found = mailbox.recognise(&renamed, listed).unwrap();
    let found = Vec::from_iter(found.into_iter().map(|(_, idx)| idx));
    assert_eq!(found, [0, 2], "a third one is another message");
}

#[test]
fn a_message_that_goes_on_failing_is_left_alone_for_an_hour_up_to_a_day() {
    let hours = |sessions| retry_delay(sessions).as_secs() / 3600;
    assert_eq!(
        [0, 2, 3, 4, 7, 8, u32::MAX].map(hours),
        [0, 0, 1, 2, 16, 24, 24]
    );
}
