//! The host key: known, unknown, changed.

use std::fs;
use std::os::unix::fs::symlink;
use std::os::unix::process::CommandExt;
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
        .test(
            "a_hashed_host_is_known",
            &[needs, &[Requirement::SshKeygen]].concat(),
            a_hashed_host_is_known,
        )
        .test(
            "a_changed_key_of_a_hashed_host_is_refused",
            &[needs, &[Requirement::SshKeygen]].concat(),
            a_changed_key_of_a_hashed_host_is_refused,
        )
        .test(
            "a_key_is_known_for_its_port_as_ssh_knows_it",
            needs,
            a_key_is_known_for_its_port_as_ssh_knows_it,
        )
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

    // As a script would, in a shell that finds the program by its name: nobody types yes, so the
    // fingerprint has to be the right one.
    let bin = host.home().path().join("bin");
    fs::create_dir(&bin).unwrap();
    symlink(BIN, bin.join("posthole")).unwrap();
    let shell = |line: &str| {
        let mut shell = host.home().command_as_user("/bin/sh".as_ref());
        shell.env("PATH", &bin).args(["-c", line]).process_group(0);
        shell.output().unwrap()
    };
    let other = keys::fingerprint(host.key().public_key());
    for (line, code) in [
        (line.to_owned(), 68),
        (format!("{line} --fingerprint {other}"), 68),
        (format!("{line} --fingerprint {fingerprint}"), 0),
    ] {
        assert!(!known_hosts.exists());
        let output = shell(&line);
        assert_eq!(output.status.code(), Some(code), "{line}: {output:?}");
    }

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
    ended.exits(68).says(&[
        "has changed",
        &format!("{file}:2"),
        &fingerprint,
        &recorded,
        "ssh-keygen -R",
    ]);
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
    let messages = mail::corpus(33, 5);
    let host = Mailhost::start(&messages);
    hash_known_hosts(&host);
    run(host.home(), &["fetch"]).exits(0);
    host.home().assert_delivered(&messages);
}

fn a_changed_key_of_a_hashed_host_is_refused() {
    let host = Mailhost::start([mail::tiny(1)]);
    let other = keys::generate(KeyType::Ed25519);
    let line = keys::known_hosts_line("127.0.0.1", host.sshd().port(), other.public_key());
    host.home().write_known_hosts(&format!("# of old\n{line}"));
    hash_known_hosts(&host);
    let file = host.home().known_hosts().display().to_string();
    let recorded = keys::fingerprint(other.public_key());
    run(host.home(), &["fetch"])
        .exits(68)
        .says(&["has changed", &format!("{file}:2"), &recorded]);
    assert!(!host.sshd().log().contains("Accepted"));
}

fn a_key_is_known_for_its_port_as_ssh_knows_it() {
    let host = Mailhost::start([mail::tiny(1)]);
    let (port, key) = (host.sshd().port(), host.sshd().host_key());
    let other = keys::generate(KeyType::Ed25519);
    let line = |port, key| keys::known_hosts_line("127.0.0.1", port, key);
    // Another port is another server, and what is recorded without a port says nothing against a
    // key that is not there.
    host.home().write_known_hosts(&format!(
        "{}{}",
        line(port ^ 1, key),
        line(22, other.public_key())
    ));
    run(host.home(), &["fetch"]).exits(68).says(&[
        &format!("the host key of [127.0.0.1]:{port} is not known"),
        &format!("posthole trust 127.0.0.1:{port}"),
    ]);
    // ssh(1) is content with the same key under the name alone.
    for port in [22, port] {
        host.home().write_known_hosts(&line(port, key));
        run(host.home(), &["fetch"]).exits(0);
    }
    host.home().assert_delivered([mail::tiny(1)]);
}

/// Makes of known_hosts what OpenSSH writes with HashKnownHosts, as Debian sets it (sshd(8),
/// SSH_KNOWN_HOSTS FILE FORMAT).
#[track_caller]
fn hash_known_hosts(host: &Mailhost) {
    let known_hosts = host.home().known_hosts();
    let output = Command::new("ssh-keygen")
        .args(["-H", "-f"])
        .arg(&known_hosts)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    let text = fs::read_to_string(&known_hosts).unwrap();
    assert!(text.contains("|1|"), "{text}");
    assert!(!text.contains("127.0.0.1"), "{text}");
}
