//! What a run prints, for people, for scripts and for cron.

use posthole_testkit::mail;
use posthole_testkit::real::{Mailhost, Requirement, Suite};
use posthole_testkit::relay::Relay;

use crate::world::{Ended, at_a_terminal, run, through};

pub(crate) fn tests(suite: Suite) -> Suite {
    let needs = Requirement::MAILHOST;
    suite
        .test(
            "json_has_a_line_for_each_account_and_no_secret",
            needs,
            json_has_a_line_for_each_account_and_no_secret,
        )
        .test(
            "a_dry_run_changes_nothing_anywhere",
            needs,
            a_dry_run_changes_nothing_anywhere,
        )
        .test(
            "the_dialogue_has_no_password_and_no_control_characters",
            needs,
            the_dialogue_has_no_password_and_no_control_characters,
        )
        .test("quiet_is_silent", needs, quiet_is_silent)
        .test(
            "a_long_download_has_a_bar_on_a_terminal",
            needs,
            a_long_download_has_a_bar_on_a_terminal,
        )
}

fn json_has_a_line_for_each_account_and_no_secret() {
    let messages = mail::corpus(61, 10);
    let host = Mailhost::start(&messages);
    let octets: usize = mail::delivered_sorted(&messages).iter().map(Vec::len).sum();
    let ended = run(host.home(), &["fetch", "--json", "-K"]);
    ended.exits(0);
    let [line] = &ended.json()[..] else {
        panic!("{}", ended.text());
    };
    assert_eq!(line["account"], "work");
    assert_eq!(line["ok"], true);
    assert_eq!(line["new"], 10);
    assert_eq!(line["bytes"], octets);
    assert_eq!(line["deleted"], 10);
    assert_eq!(line["left"], 0);
    assert!(line["seconds"].as_f64().unwrap() > 0.0);
    assert_eq!(line["failed"], serde_json::json!([]));
    assert!(line["error"].is_null());
    assert_eq!(line["exit_code"], 0);
    assert_no_secret(&ended);

    host.home().write_password("not the password");
    let ended = run(host.home(), &["fetch", "--json", "-vv"]);
    ended.exits(77);
    let line = &ended.json()[0];
    assert_eq!(line["ok"], false);
    assert_eq!(line["error"]["class"], "authentication");
    assert_eq!(line["exit_code"], 77);
    assert_no_secret(&ended);
    assert!(!ended.text().contains("not the password"));
}

fn a_dry_run_changes_nothing_anywhere() {
    let messages = mail::corpus(62, 5);
    let host = Mailhost::start(&messages);
    let ended = run(host.home(), &["fetch", "--dry-run", "-K"]);
    ended
        .exits(0)
        .prints(&["work: would fetch 5 (", "delete 5, leave 0"]);
    assert_eq!(ended.stdout.lines().count(), 11, "{}", ended.text());
    assert!(!host.maildir().exists());
    assert_eq!(host.dovecot().messages().len(), 5);
    let json = run(host.home(), &["fetch", "-n", "--json"]).exits(0).json();
    assert_eq!(json[0]["fetch"].as_array().unwrap().len(), 5);
    assert_eq!(json[0]["dry_run"], true);
    run(host.home(), &["fetch"]).exits(0).prints(&["5 new"]);
    run(host.home(), &["fetch", "-n"])
        .exits(0)
        .prints(&["work: would fetch 0, delete 0, leave 5\n"]);
    host.home().assert_delivered(&messages);
}

fn the_dialogue_has_no_password_and_no_control_characters() {
    let messages = mail::corpus(63, 30);
    let host = Mailhost::start(&messages);
    let ended = run(host.home(), &["fetch", "-vv", "-K"]);
    // It says something on standard error, which is where a dialogue belongs.
    assert_eq!(ended.status.code(), Some(0), "{}", ended.text());
    ended.says(&[
        "C: USER msingh",
        "C: PASS ",
        "C: RETR 30",
        "C: DELE 30",
        "C: QUIT",
        "S: +OK Logging out",
    ]);
    assert_no_secret(&ended);
    let has_controls = |text: &str| text.contains(|c: char| c.is_control() && c != '\n');
    assert!(!has_controls(&ended.stderr), "{}", ended.text());
    assert!(!has_controls(&ended.stdout), "{}", ended.text());
    // Nobody's mail is in it.
    let lines = messages.iter().flat_map(|m| m.split(|b| *b == b'\n'));
    for line in lines.filter(|line| line.len() > 30) {
        let line = String::from_utf8_lossy(line);
        assert!(!ended.stderr.contains(line.trim_end()), "{line}");
    }

    let ended = run(host.home(), &["fetch", "-v"]);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.text());
    assert!(!ended.stderr.contains("C: "), "{}", ended.text());
    assert_no_secret(&ended);
}

fn quiet_is_silent() {
    let messages = mail::corpus(64, 5);
    let host = Mailhost::start(&messages);
    for args in [
        &["fetch", "-q", "--dry-run"][..],
        &["check", "-q"],
        &["fetch", "-q"],
        &["fetch", "-q"],
        &["fetch", "-q", "--json", "-K"],
    ] {
        let ended = run(host.home(), args);
        ended.exits(0);
        assert_eq!(ended.text(), "stdout:\nstderr:\n", "{args:?}");
    }
    host.home().assert_delivered(&messages);
    assert!(host.dovecot().messages().is_empty());
    host.home().write_password("wrong");
    run(host.home(), &["fetch", "-q"])
        .exits(77)
        .says(&["posthole: work: "]);
}

fn a_long_download_has_a_bar_on_a_terminal() {
    let messages = mail::corpus(65, 100);
    let host = Mailhost::start(&messages);
    let line = Relay::to(host.sshd().addr())
        .bytes_per_second(250_000)
        .start();
    through(&host, &line);
    let mut terminal = at_a_terminal(host.home(), &["fetch"]);
    terminal.expect("/100, ");
    terminal.expect(" of ");
    let (status, screen) = terminal.end();
    assert!(status.success(), "{screen}");
    assert!(screen.contains("work: 100 new ("), "{screen}");
    host.home().assert_delivered(&messages);
    // None where nobody looks.
    let ended = run(host.home(), &["fetch"]);
    assert_eq!(ended.stderr, "");
}

#[track_caller]
fn assert_no_secret(ended: &Ended) {
    let text = ended.text();
    for secret in [Mailhost::MAIL_PASSWORD, Mailhost::SSH_PASSWORD] {
        assert!(!text.contains(secret), "{text}");
    }
}
