//! `posthole trust`, and host keys of several types and with certificates.

use std::fs;
use std::net::{SocketAddr, UdpSocket};
use std::process::Command;

use posthole_testkit::certificates::CertificateBuilder;
use posthole_testkit::keys::{self, KeyType, PrivateKey, PublicKey};
use posthole_testkit::mail;
use posthole_testkit::real::{Mailhost, Requirement, Suite};

use crate::world::{at_a_terminal, run};

pub(crate) fn tests(suite: Suite) -> Suite {
    let needs = Requirement::MAILHOST;
    let keygen = &[needs, &[Requirement::SshKeygen]].concat();
    suite
        .test(
            "an_authority_vouches_for_a_host",
            needs,
            an_authority_vouches_for_a_host,
        )
        .test(
            "a_revoked_key_is_refused_by_every_command",
            needs,
            a_revoked_key_is_refused_by_every_command,
        )
        .test(
            "a_fingerprint_of_any_of_the_keys_will_do",
            keygen,
            a_fingerprint_of_any_of_the_keys_will_do,
        )
        .test("all_keys_can_be_recorded", needs, all_keys_can_be_recorded)
        .test(
            "the_question_shows_the_picture_of_ssh_keygen",
            keygen,
            the_question_shows_the_picture_of_ssh_keygen,
        )
        .test(
            "the_dns_vouches_for_a_key_if_it_can_be_believed",
            keygen,
            the_dns_vouches_for_a_key_if_it_can_be_believed,
        )
}

/// A host with an Ed25519 and an RSA key, and one that knows none of them.
fn host_of_two_keys() -> (Mailhost, [PrivateKey; 2]) {
    let all = [KeyType::Ed25519, KeyType::Rsa].map(keys::generate);
    let host = Mailhost::start_with([mail::tiny(1)], |sshd| {
        all.iter().fold(sshd, |sshd, key| sshd.host_key(key))
    });
    host.home().write_known_hosts("");
    (host, all)
}

fn known_hosts(host: &Mailhost) -> String {
    fs::read_to_string(host.home().known_hosts()).unwrap()
}

fn line(host: &Mailhost, key: &PublicKey) -> String {
    keys::known_hosts_line("127.0.0.1", host.sshd().port(), key)
}

/// What ssh-keygen prints about a key.
fn ssh_keygen(key: &PublicKey, args: &[&str]) -> String {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("key.pub");
    fs::write(&file, keys::public_line(key)).unwrap();
    let output = Command::new("ssh-keygen")
        .args(args)
        .arg(&file)
        .output()
        .unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap()
}

fn an_authority_vouches_for_a_host() {
    let messages = mail::corpus(34, 3);
    let authority = keys::generate(KeyType::EcdsaP256);
    let host_key = keys::generate(KeyType::Ed25519);
    let certificate = |valid: CertificateBuilder| valid.sign(&authority).to_openssh().unwrap();
    let valid = || CertificateBuilder::host(host_key.public_key()).principal("127.0.0.*");
    let host = Mailhost::start_with(&messages, |sshd| {
        sshd.host_key(&host_key)
            .host_certificate(&certificate(valid()))
    });
    let authorities = format!(
        "@cert-authority 127.* {}\n",
        keys::public_line(authority.public_key())
    );
    host.home().write_known_hosts(&authorities);
    run(host.home(), &["fetch"]).exits(0);
    host.home().assert_delivered(&messages);
    let by = format!(
        "certified by ecdsa-sha2-nistp256 {} of {}:1",
        keys::fingerprint(authority.public_key()),
        host.home().known_hosts().display()
    );
    run(host.home(), &["check"]).exits(0).prints(&[&by]);
    let trusted = run(host.home(), &["trust", "--json", &host.via()]);
    let trusted = &trusted.exits(0).json()[0];
    assert_eq!(trusted["status"], "certified");
    assert_eq!(known_hosts(&host), authorities);

    // One that has run out does not count, and its host is unknown then.
    let expired = Mailhost::start_with(&messages, |sshd| {
        sshd.host_key(&host_key)
            .host_certificate(&certificate(valid().expired()))
    });
    expired.home().write_known_hosts(&authorities);
    run(expired.home(), &["fetch"]).exits(68).says(&[
        "is not known",
        "its certificate",
        "it expired on",
    ]);
    let key = line(&expired, host_key.public_key());
    expired.home().write_known_hosts(&(authorities + &key));
    let fetched = run(expired.home(), &["fetch"]);
    assert_eq!(fetched.status.code(), Some(0), "{}", fetched.text());
    fetched.says(&["is recorded by itself, but its certificate"]);
}

fn a_revoked_key_is_refused_by_every_command() {
    let host = Mailhost::start([mail::tiny(1)]);
    let key = host.sshd().host_key();
    let text = line(&host, key) + &format!("@revoked * {}\n", keys::public_line(key));
    host.home().write_known_hosts(&text);
    let file = host.home().known_hosts().display().to_string();
    let via = host.via();
    let fingerprint = keys::fingerprint(key);
    let trust = ["trust", &via, "--fingerprint", &fingerprint];
    for args in [&["fetch"][..], &["check"], &trust] {
        let ended = run(host.home(), args);
        ended.exits(68);
        let said = ended.text();
        assert!(said.contains(&format!("is revoked by {file}:2")), "{said}");
    }
    assert_eq!(known_hosts(&host), text);
}

fn a_fingerprint_of_any_of_the_keys_will_do() {
    let (host, [ed25519, rsa]) = host_of_two_keys();
    let via = host.via();
    let unknown = keys::fingerprint(host.key().public_key());
    run(host.home(), &["trust", &via, "--fingerprint", &unknown])
        .exits(68)
        .says(&[
            "no key of",
            &unknown,
            &keys::fingerprint(ed25519.public_key()),
            &keys::fingerprint(rsa.public_key()),
        ]);
    assert_eq!(known_hosts(&host), "");
    // That of the key which nobody would be shown, as old versions printed it.
    let said = ssh_keygen(rsa.public_key(), &["-l", "-E", "md5", "-f"]);
    let md5 = said.split(' ').nth(1).unwrap();
    run(host.home(), &["trust", &via, "--fingerprint", md5]).exits(0);
    assert_eq!(known_hosts(&host), line(&host, rsa.public_key()));
    // It is the one that is shown from now on.
    run(host.home(), &["fetch"]).exits(0);
    let fingerprint = keys::fingerprint(ed25519.public_key());
    run(host.home(), &["trust", &via, "--fingerprint", &fingerprint]).exits(0);
    let both = line(&host, rsa.public_key()) + &line(&host, ed25519.public_key());
    assert_eq!(known_hosts(&host), both);
}

fn all_keys_can_be_recorded() {
    let (host, [ed25519, rsa]) = host_of_two_keys();
    let via = host.via();
    // Nobody is there to say yes.
    run(host.home(), &["trust", &via, "--all"]).exits(68);
    assert_eq!(known_hosts(&host), "");
    let mut terminal = at_a_terminal(host.home(), &["trust", &via, "--all"]);
    for key in [&ed25519, &rsa] {
        terminal.expect(&keys::fingerprint(key.public_key()));
        terminal.expect("Type yes, no or the fingerprint you expect: ");
        terminal.type_line("yes");
    }
    let (status, screen) = terminal.end();
    assert!(status.success(), "{screen}");
    let both = line(&host, ed25519.public_key()) + &line(&host, rsa.public_key());
    assert_eq!(known_hosts(&host), both);
    let known = run(host.home(), &["trust", &via, "--all", "--json"]);
    let known = known.exits(0).json();
    let statuses: Vec<_> = known.iter().map(|one| &one["status"]).collect();
    assert_eq!(statuses, ["known", "known"]);

    // A key that changed makes none of them welcome.
    let other = keys::generate(KeyType::Ed25519);
    let changed = line(&host, other.public_key()) + &line(&host, rsa.public_key());
    host.home().write_known_hosts(&changed);
    run(host.home(), &["trust", &via, "--all"])
        .exits(68)
        .says(&["has changed"]);
    assert_eq!(known_hosts(&host), changed);
}

fn the_question_shows_the_picture_of_ssh_keygen() {
    let (host, [ed25519, _]) = host_of_two_keys();
    let said = ssh_keygen(ed25519.public_key(), &["-l", "-v", "-f"]);
    let mut terminal = at_a_terminal(host.home(), &["trust", &host.via()]);
    for line in said.lines().skip(1) {
        terminal.expect(line);
    }
    terminal.expect("Type yes, no or the fingerprint you expect: ");
    terminal.type_line(&keys::fingerprint(ed25519.public_key()));
    let (status, screen) = terminal.end();
    assert!(status.success(), "{screen}");
    // A known key is shown once more, and nothing is asked.
    let shown = run(host.home(), &["trust", &host.via()]);
    shown.exits(0).prints(&["is trusted already, by "]);
    let picture = said.split_once('\n').unwrap().1;
    shown.prints(&[picture]);
}

fn the_dns_vouches_for_a_key_if_it_can_be_believed() {
    let (host, [ed25519, rsa]) = host_of_two_keys();
    let by_name = format!("{}@localhost:{}", Mailhost::USER, host.sshd().port());
    let trust = |dns: SocketAddr| {
        let resolver = format!("--sshfp={dns}");
        run(host.home(), &["trust", "--json", &resolver, &by_name])
    };
    // "pop IN SSHFP 4 2 0123…": a line for each digest.
    let records = |key: &PrivateKey| ssh_keygen(key.public_key(), &["-r", "pop", "-f"]);
    const AUTHENTIC: bool = true;

    let hint = trust(dns(&records(&ed25519), !AUTHENTIC));
    let hint = &hint.exits(68).json()[0]["error"]["message"];
    let hint = hint.as_str().unwrap();
    assert!(hint.contains("the DNS has this fingerprint"), "{hint}");
    assert!(hint.contains("no more than a hint"), "{hint}");
    assert_eq!(known_hosts(&host), "");

    let other = records(host.key());
    let wrong = trust(dns(&other, AUTHENTIC));
    let wrong = &wrong.exits(68).json()[0]["error"]["message"];
    let wrong = wrong.as_str().unwrap();
    assert!(wrong.contains("the DNS has another fingerprint"), "{wrong}");
    assert_eq!(known_hosts(&host), "");

    // About this type of key it says nothing.
    trust(dns(&records(&rsa), AUTHENTIC)).exits(68);
    let added = trust(dns(&records(&ed25519), AUTHENTIC));
    let added = &added.exits(0).json()[0];
    assert_eq!(added["status"], "added");
    assert_eq!(added["sshfp"]["verdict"], "match");
    assert_eq!(added["sshfp"]["authenticated"], true);
    let port = host.sshd().port();
    let line = keys::known_hosts_line("localhost", port, ed25519.public_key());
    assert_eq!(known_hosts(&host), line);

    run(host.home(), &["trust", "--sshfp", &host.via()])
        .exits(75)
        .says(&["the DNS has fingerprints of names, not of addresses"]);
}

/// A resolver that answers one question with the records that ssh-keygen wrote.
fn dns(records: &str, authentic: bool) -> SocketAddr {
    let mut answers = Vec::new();
    let mut count = 0;
    for record in records.lines() {
        let fields: Vec<_> = record.split(' ').collect();
        let [_, "IN", "SSHFP", algorithm, kind, digest] = fields[..] else {
            panic!("{record}")
        };
        let digest: Vec<_> = (0..digest.len() / 2)
            .map(|at| u8::from_str_radix(&digest[2 * at..2 * at + 2], 16).unwrap())
            .collect();
        // A pointer to the name in the question (RFC 1035 §4.1.4), SSHFP, IN, a minute.
        answers.extend([0xc0, 12, 0, 44, 0, 1, 0, 0, 0, 60]);
        answers.extend([0, u8::try_from(digest.len() + 2).unwrap()]);
        answers.extend([algorithm, kind].map(|field| field.parse::<u8>().unwrap()));
        answers.extend(digest);
        count += 1;
    }
    let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
    let address = socket.local_addr().unwrap();
    std::thread::spawn(move || {
        let mut query = [0; 512];
        let (length, from) = socket.recv_from(&mut query).unwrap();
        let end = 12
            + query[12..length]
                .iter()
                .position(|&octet| octet == 0)
                .unwrap()
            + 5;
        let flags = if authentic { 0xa0 } else { 0x80 };
        let mut answer = vec![query[0], query[1], 0x81, flags, 0, 1, 0, count, 0, 0, 0, 0];
        answer.extend(&query[12..end]);
        answer.extend(answers);
        socket.send_to(&answer, from).unwrap();
    });
    address
}
