//! The host key: known, unknown, changed.

use std::fs;
use std::os::unix::fs::symlink;
use std::process::Command;

use posthole_testkit::keys::{self, KeyType};
use posthole_testkit::mail;
use posthole_testkit::real::{Mailhost, Requirement, Suite};

use crate::world::{BIN, at_a_terminal, run};

pub(crate) fn tests(suite: Suite) -> Suite {
    let needs = Requirement::MAILHOST;
    suite
        .test(
            "an_unknown_key_is_trusted_by_the_line_that_the_error_names",
            needs,
            an_unknown_key_is_trusted_by_the_line_that_the_error_names,
        )
        .test(
            "a_person_accepts_an_unknown_key_by_typing_yes",
            needs,
            a_person_accepts_an_unknown_key_by_typing_yes,
        )
        .test(
            "a_person_declines_an_unknown_key_by_typing_no",
            needs,
            a_person_declines_an_unknown_key_by_typing_no,
        )
        .test(
            "a_changed_key_is_always_refused",
            needs,
            a_changed_key_is_always_refused,
        )
        .test("a_hashed_host_is_known", needs, a_hashed_host_is_known)
}

fn an_unknown_key_is_trusted_by_the_line_that_the_error_names() {
    let messages = mail::corpus(31, 5);
    let host = Mailhost::start(&messages);
    let known_hosts = host.home().known_hosts();
    fs::remove_file(&known_hosts).unwrap();
    let fingerprint = keys::fingerprint(host.sshd().host_key());

    let ended = run(host.home(), &["fetch"]);
    ended.exits(68).says(&["is not known", &fingerprint]);
    let line = ended
        .stderr
        .lines()
        .find_map(|line| Some(&line[line.find("posthole trust ")?..]))
        .unwrap_or_else(|| panic!("{}", ended.text()));
    assert!(!known_hosts.exists());

    // As a person would: pasted into a shell that finds the program by its name.
    let bin = host.home().path().join("bin");
    fs::create_dir(&bin).unwrap();
    symlink(BIN, bin.join("posthole")).unwrap();
    let shell = |line: &str| {
        let mut shell: Command = host.home().posthole("/bin/sh".as_ref());
        shell.env("PATH", &bin).args(["-c", line]).output().unwrap()
    };
    let wrong = line.replace(&fingerprint, &keys::fingerprint(host.key().public_key()));
    let output = shell(&wrong);
    assert_eq!(output.status.code(), Some(68), "{output:?}");
    assert!(!known_hosts.exists());
    let output = shell(line);
    assert!(output.status.success(), "{line}: {output:?}");
    assert!(
        fs::read_to_string(&known_hosts)
            .unwrap()
            .contains(&keys::public_line(host.sshd().host_key())[..60])
    );

    run(host.home(), &["fetch"]).exits(0);
    host.home().assert_delivered(&messages);
}

fn a_person_accepts_an_unknown_key_by_typing_yes() {
    let messages = mail::corpus(32, 5);
    let host = Mailhost::start(&messages);
    fs::remove_file(host.home().known_hosts()).unwrap();
    let fingerprint = keys::fingerprint(host.sshd().host_key());
    let mut terminal = at_a_terminal(host.home(), &["fetch"]);
    terminal.expect(&fingerprint);
    terminal.expect("Type yes, no or the fingerprint you expect: ");
    terminal.type_line("y");
    terminal.expect("Type yes, no or the fingerprint you expect: ");
    terminal.type_line("yes");
    let (status, screen) = terminal.end();
    assert!(status.success(), "{screen}");
    host.home().assert_delivered(&messages);
    // Nobody needs to be there from then on.
    run(host.home(), &["fetch"]).exits(0);
}

fn a_person_declines_an_unknown_key_by_typing_no() {
    let host = Mailhost::start([mail::tiny(1)]);
    fs::remove_file(host.home().known_hosts()).unwrap();
    let mut terminal = at_a_terminal(host.home(), &["fetch"]);
    terminal.expect("Type yes, no or the fingerprint you expect: ");
    terminal.type_line("no");
    let (status, screen) = terminal.end();
    assert_eq!(status.code(), Some(68), "{screen}");
    assert!(screen.contains("was not accepted"), "{screen}");
    assert!(!host.home().known_hosts().exists());
    assert!(!host.sshd().log().contains("Accepted"));
    assert!(!host.maildir().exists());
}

fn a_changed_key_is_always_refused() {
    let host = Mailhost::start([mail::tiny(1)]);
    let other = keys::generate(KeyType::Ed25519);
    let line = keys::known_hosts_line("127.0.0.1", host.sshd().port(), other.public_key());
    let known_hosts = format!("# of old\n{line}");
    host.home().write_known_hosts(&known_hosts);
    let file = host.home().known_hosts().display().to_string();
    let fingerprint = keys::fingerprint(host.sshd().host_key());
    let recorded = keys::fingerprint(other.public_key());

    let ended = run(host.home(), &["fetch"]);
    ended
        .exits(68)
        .says(&["has changed", &file, "line 2", &fingerprint, &recorded]);
    let via = host.via();
    run(host.home(), &["trust", &via, "--fingerprint", &fingerprint])
        .exits(68)
        .says(&["has changed", &format!("{file}:2"), &recorded]);
    // No question either, where there is somebody to ask.
    for args in [&["fetch"][..], &["check"], &["trust", &via]] {
        let (status, screen) = at_a_terminal(host.home(), args).end();
        assert_eq!(status.code(), Some(68), "{screen}");
        assert!(screen.contains("has changed"), "{screen}");
        assert!(!screen.contains("Type yes"), "{screen}");
    }
    assert_eq!(
        fs::read_to_string(host.home().known_hosts()).unwrap(),
        known_hosts
    );
    assert!(!host.sshd().log().contains("Accepted"));
    assert!(!host.maildir().exists());
}

fn a_hashed_host_is_known() {
    // What OpenSSH writes with HashKnownHosts, as Debian sets it (sshd(8), SSH_KNOWN_HOSTS FILE
    // FORMAT): here by ssh-keygen -H.
    let messages = mail::corpus(33, 5);
    let host = Mailhost::start(&messages);
    let known_hosts = host.home().known_hosts();
    let output = Command::new("ssh-keygen")
        .args(["-H", "-f"])
        .arg(&known_hosts)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = fs::read_to_string(&known_hosts).unwrap();
    assert!(text.starts_with("|1|"), "{text}");
    run(host.home(), &["fetch"]).exits(0);
    host.home().assert_delivered(&messages);
}
