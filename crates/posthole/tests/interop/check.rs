//! `posthole check`: every step of a good way, and the first that fails of a bad one.

use std::fs;
use std::os::unix::fs::PermissionsExt;

use posthole_testkit::keys;
use posthole_testkit::mail;
use posthole_testkit::real::{Mailhost, Requirement, Suite};

use crate::world::{Ended, account, run};

pub(crate) fn tests(suite: Suite) -> Suite {
    let needs = Requirement::MAILHOST;
    suite
        .test(
            "a_good_way_is_walked_to_its_end",
            needs,
            a_good_way_is_walked_to_its_end,
        )
        .test(
            "the_first_step_that_fails_says_what_to_do",
            needs,
            the_first_step_that_fails_says_what_to_do,
        )
}

fn a_good_way_is_walked_to_its_end() {
    let host = Mailhost::start(mail::corpus(51, 7));
    let fingerprint = keys::fingerprint(host.sshd().host_key());
    let key = keys::fingerprint(host.key().public_key());
    for _ in 0..2 {
        let ended = run(host.home(), &["check"]);
        ended.exits(0).prints(&[
            &fingerprint,
            &key,
            &format!("open to localhost:{}", host.dovecot().port()),
            "7 messages, ",
            "PIPELINING",
            "maildir:",
        ]);
        assert_eq!(
            steps(&ended),
            [
                "config",
                "work",
                "name",
                "tcp",
                "host key",
                "ssh login",
                "channel",
                "greeting",
                "capabilities",
                "login",
                "mailbox",
                "destination"
            ]
        );
    }
    // A look changes nothing: no Maildir, no record of mail, nothing on the server.
    assert!(!host.maildir().exists());
    assert_eq!(host.dovecot().messages().len(), 7);
    run(host.home(), &["fetch"]).exits(0).prints(&["7 new"]);

    let json = run(host.home(), &["check", "--json"]);
    let steps = json.exits(0).json();
    assert_eq!(steps.len(), 11);
    for step in steps {
        assert_eq!(step["ok"], true, "{step}");
        assert!(step["seconds"].as_f64().unwrap() < 60.0, "{step}");
        assert!(step["error"].is_null(), "{step}");
    }
}

fn the_first_step_that_fails_says_what_to_do() {
    let host = Mailhost::start([mail::tiny(1)]);
    let home = host.home();
    let good = fs::read_to_string(home.config()).unwrap();
    let known_hosts = fs::read_to_string(home.known_hosts()).unwrap();
    let fails = |step: &str, code: i32, words: &[&str]| {
        let ended = run(home, &["check"]);
        ended.exits(code).prints(words).prints(&["hint: "]);
        let last = steps(&ended).pop().unwrap();
        assert_eq!(last, step, "{}", ended.text());
        let line = ended.stdout.lines().find(|l| l.contains("FAILED")).unwrap();
        assert!(line.trim_start().starts_with(step), "{line}");
        // The same in one line of JSON, after those for what went well.
        let json = run(home, &["check", "--json"]).exits(code).json();
        let last = json.last().unwrap();
        assert_eq!((&last["step"], &last["ok"]), (&step.into(), &false.into()));
        assert_eq!(last["error"]["exit_code"], code);
    };

    // Too long a label for any name server to be asked (RFC 1035 §2.3.4).
    let nowhere = format!("{}.invalid", "x".repeat(64));
    home.write_config(&good.replace("@127.0.0.1:", &format!("@{nowhere}:")));
    fails("name", 75, &["cannot resolve the name xxx"]);

    home.write_config(&account("work", &host.url(), "msingh@127.0.0.1:1"));
    fails("tcp", 75, &["127.0.0.1", "refused"]);
    home.write_config(&good);

    home.write_known_hosts("");
    fails("host key", 68, &["is not known", "posthole trust"]);
    home.write_known_hosts(&known_hosts);

    let key = fs::read(home.identity()).unwrap();
    fs::remove_file(home.identity()).unwrap();
    fails("ssh login", 77, &["cannot log in to msingh@127.0.0.1"]);
    fs::write(home.identity(), &key).unwrap();
    fails("ssh login", 77, &["others can read it", "chmod 600"]);
    fs::set_permissions(home.identity(), fs::Permissions::from_mode(0o600)).unwrap();

    home.write_config(&account("work", "pop3://msingh@localhost:1", &host.via()));
    fails(
        "channel",
        69,
        &["administratively prohibited", "PermitOpen"],
    );
    home.write_config(&good);

    home.write_password("wrong");
    fails("login", 77, &["[AUTH] Authentication failed."]);
    home.write_password(Mailhost::MAIL_PASSWORD);

    fs::remove_file(home.password_file()).unwrap();
    fails("password", 77, &["mail-password", "No such file"]);
    home.write_password(Mailhost::MAIL_PASSWORD);

    fs::write(host.maildir(), "in the way").unwrap();
    fails("destination", 74, &["Mail"]);
    fs::remove_file(host.maildir()).unwrap();

    run(home, &["check"]).exits(0);
}

/// The names of the accounts and of the steps, in the order of the lines.
fn steps(ended: &Ended) -> Vec<String> {
    // Further lines of a step start below its text.
    let lines = ended.stdout.lines().filter(|l| !l.starts_with("    "));
    let name = |line: &str| {
        let words = line.split_whitespace();
        let name: Vec<_> = words
            .take_while(|w| !["ok", "FAILED"].contains(w))
            .collect();
        name.join(" ")
    };
    lines.map(name).filter(|name| !name.is_empty()).collect()
}
