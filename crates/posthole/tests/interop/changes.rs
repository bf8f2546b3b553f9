//! Messages that are changed, asked about and sorted on their way, as a user has it done.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use posthole_testkit::Home;
use posthole_testkit::real::{Dovecot, Requirement, Suite};
use posthole_testkit::smtp::SmtpServer;

use crate::world::{Ended, run};

use Requirement::Dovecot as HasDovecot;

pub(crate) fn tests(suite: Suite) -> Suite {
    suite
        .test(
            "messages_are_changed_on_their_way",
            &[HasDovecot],
            messages_are_changed_on_their_way,
        )
        .test(
            "a_filter_decides_and_a_dry_run_shows_it",
            &[HasDovecot],
            a_filter_decides_and_a_dry_run_shows_it,
        )
        .test(
            "the_mail_of_several_people_is_told_apart",
            &[HasDovecot],
            the_mail_of_several_people_is_told_apart,
        )
}

fn home_with(dovecot: &Dovecot, options: &str) -> Home {
    let home = Home::new();
    home.write_password(Dovecot::PASSWORD);
    home.write_config(&format!(
        "[account.work]\n\
         server = \"pop3://{}@{}\"\n\
         password = {{ file = \"~/mail-password\" }}\n\
         keep = false\n\
         {options}\n",
        Dovecot::USER,
        dovecot.addr()
    ));
    home
}

fn message(to: &str, subject: &str) -> Vec<u8> {
    format!("Status: RO\r\nFrom: joe\r\nTo: {to}\r\nSubject: {subject}\r\n\r\nabout {subject}\r\n")
        .into_bytes()
}

fn json(ended: &Ended) -> serde_json::Value {
    ended.json()[0].clone()
}

fn messages_are_changed_on_their_way() {
    let dovecot = Dovecot::start([message("me", "ham")]);
    let home = home_with(&dovecot, "deliver = \"maildir:~/Mail\"\nstrip-cr = true");
    run(&home, &["check", "--plan", "--received"])
        .exits(0)
        .prints(&["edits: Received added, carriage returns dropped"]);
    let flags = [
        "fetch",
        "--received",
        "--tracepolls",
        "--rewrite=example.org",
        "--drop-status",
    ];
    run(&home, &flags).exits(0).prints(&["1 new"]);
    let delivered = home.delivered();
    let text = std::str::from_utf8(&delivered[0]).unwrap();
    assert!(text.starts_with("Received: from "), "{text}");
    let polled = format!("polling work account {}", Dovecot::USER);
    assert!(text.contains(&polled), "{text}");
    let rest = "From: joe@example.org\nTo: me@example.org\nSubject: ham\n\nabout ham\n";
    assert!(text.ends_with(rest), "{text}");
}

fn a_filter_decides_and_a_dry_run_shows_it() {
    let subjects = ["ham", "later", "spam", "riddle"];
    let dovecot = Dovecot::start(subjects.map(|subject| message("me", subject)));
    let options = "deliver = \"maildir:~/Mail\"\nfilter = [\"~/filter\", \"%F\"]";
    let home = home_with(&dovecot, options);
    let program = home.path().join("filter");
    let script = "#!/bin/sh\ntest \"$1\" = joe || exit 1\ncase $(grep ^Subject:) in\n\
                  *ham) exit 0;; *later) exit 10;; *spam) exit 11;; esac\n\
                  echo 'I do not know' >&2; exit 1\n";
    fs::write(&program, script).unwrap();
    fs::set_permissions(&program, fs::Permissions::from_mode(0o755)).unwrap();

    let shown = run(&home, &["fetch", "--dry-run"]);
    shown.exits(0).prints(&[
        "would fetch 1",
        "delete 2, leave 2",
        "I do not know",
        "exit code 1",
    ]);
    assert_eq!(dovecot.messages().len(), 4);
    let ended = run(&home, &["fetch", "--json"]);
    assert_eq!(ended.status.code(), Some(75), "{}", ended.text());
    let fetched = json(&ended);
    assert_eq!(fetched["new"], 1);
    assert_eq!(fetched["deleted"], 2);
    assert_eq!(fetched["filtered"].as_array().unwrap().len(), 1);
    assert_eq!(fetched["failed"].as_array().unwrap().len(), 1);
    assert_eq!(dovecot.messages().len(), 2);
    // The riddle and what was left come without it.
    run(&home, &["fetch", "--no-filter"])
        .exits(0)
        .prints(&["2 new"]);
    assert_eq!(home.delivered().len(), 3);
}

fn the_mail_of_several_people_is_told_apart() {
    let envelope = |to: &str| {
        [
            format!("X-Original-To: {to}\r\n").into_bytes(),
            message(to, "x"),
        ]
    };
    let messages = [
        envelope("max.power@example.org"),
        envelope("joe@example.org"),
        envelope("eve@elsewhere.example"),
    ];
    let dovecot = Dovecot::start(messages.map(|parts| parts.concat()));
    let server = SmtpServer::start();
    let options = format!(
        "deliver = \"smtp:127.0.0.1:{}\"\nmultidrop = {{ envelope = \"X-Original-To\", names = \
         [\"joe\", \"max.power=max\"], aka = \"example.org\", dns = false, postmaster = \"root\" }}",
        server.port()
    );
    let home = home_with(&dovecot, &options);
    run(&home, &["check", "--plan"])
        .exits(0)
        .prints(&["names: joe, max.power as max", "postmaster: root"]);
    run(&home, &["fetch"])
        .exits(0)
        .prints(&["3 new", "3 deleted"]);
    let messages = server.messages();
    let mut told: Vec<_> = messages.iter().map(|one| one.recipient.as_str()).collect();
    told.sort_unstable();
    assert_eq!(told, ["joe@localhost", "max@localhost", "root@localhost"]);
}
