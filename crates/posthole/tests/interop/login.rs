//! The ways to log in to sshd: key files, the agent, and a person at a terminal.

use posthole_testkit::keys::{self, KeyFormat, KeyType};
use posthole_testkit::mail;
use posthole_testkit::real::{Agent, Mailhost, Requirement, Suite};

use crate::world::{at_a_terminal, run};

pub(crate) fn tests(suite: Suite) -> Suite {
    let needs = Requirement::MAILHOST;
    suite
        .test(
            "every_kind_of_key_logs_in",
            needs,
            every_kind_of_key_logs_in,
        )
        .test(
            "a_passphrase_is_asked_for_at_the_terminal",
            needs,
            a_passphrase_is_asked_for_at_the_terminal,
        )
        .test(
            "passwords_are_asked_for_at_the_terminal_and_not_shown",
            needs,
            passwords_are_asked_for_at_the_terminal_and_not_shown,
        )
        .test(
            "an_ssh_password_that_stays_wrong_ends_the_run",
            needs,
            an_ssh_password_that_stays_wrong_ends_the_run,
        )
        .test(
            "a_refused_login_tells_what_was_tried_and_what_is_taken",
            needs,
            a_refused_login_tells_what_was_tried_and_what_is_taken,
        )
        .test(
            "without_a_terminal_nothing_is_asked",
            needs,
            without_a_terminal_nothing_is_asked,
        )
        .test(
            "the_agent_holds_the_key",
            &[needs, &[Requirement::SshAgent]].concat(),
            the_agent_holds_the_key,
        )
        .test(
            "an_agent_in_trouble_is_told_what_is_wrong",
            &[needs, &[Requirement::SshAgent]].concat(),
            an_agent_in_trouble_is_told_what_is_wrong,
        )
}

fn every_kind_of_key_logs_in() {
    for format in [KeyFormat::OpenSsh, KeyFormat::Pkcs8] {
        for key_type in KeyType::ALL {
            let key = keys::generate(key_type);
            let message = mail::tiny(1);
            let host = Mailhost::start_with([&message], |sshd| sshd.key(key.public_key()));
            // Not under a name that is tried by itself.
            std::fs::remove_file(host.home().identity()).unwrap();
            keys::write(host.home().path().join("id_pop"), &key, format, None);
            run(host.home(), &["fetch", "--identity", "id_pop"]).exits(0);
            host.home().assert_delivered([&message]);
            let log = host.sshd().log();
            let accepted = log
                .lines()
                .find(|l| l.starts_with("Accepted publickey for msingh "));
            let fingerprint = keys::fingerprint(key.public_key());
            assert!(
                accepted.is_some_and(|line| line.ends_with(&fingerprint)),
                "{key_type:?} {format:?}: {log}"
            );
        }
    }
}

fn a_passphrase_is_asked_for_at_the_terminal() {
    for (key_type, format) in [
        (KeyType::Ed25519, KeyFormat::OpenSsh),
        (KeyType::EcdsaP256, KeyFormat::Pkcs8),
        (KeyType::Rsa, KeyFormat::OpenSsh),
        (KeyType::Rsa, KeyFormat::Pkcs8),
    ] {
        let key = keys::generate(key_type);
        let messages = mail::corpus(21, 5);
        let host = Mailhost::start_with(&messages, |sshd| sshd.key(key.public_key()));
        host.home()
            .write_identity(&key, format, Some("correct horse"));
        let question = format!(
            "Passphrase for the key {}: ",
            host.home().identity().display()
        );
        let mut terminal = at_a_terminal(host.home(), &["fetch"]);
        terminal.expect(&question);
        terminal.type_line("wrong horse");
        terminal.expect("That is not the passphrase. ");
        terminal.expect(&question);
        terminal.type_line("correct horse");
        let (status, screen) = terminal.end();
        assert!(status.success(), "{key_type:?} {format:?}: {screen}");
        assert!(screen.contains("work: 5 new ("), "{screen}");
        assert!(!screen.contains("horse"), "{screen}");
        host.home().assert_delivered(&messages);
    }
}

fn passwords_are_asked_for_at_the_terminal_and_not_shown() {
    let messages = mail::corpus(22, 5);
    let host = Mailhost::start(&messages);
    std::fs::remove_file(host.home().identity()).unwrap();
    let (url, via) = (host.url(), host.via());
    let args = ["fetch", &url, "--via", &via, "--to", "maildir:~/Mail"];
    let mut terminal = at_a_terminal(host.home(), &args);
    terminal.expect(&format!("SSH password for {via}: "));
    terminal.type_line("not it");
    terminal.expect(&format!("That was refused. SSH password for {via}: "));
    terminal.type_line(Mailhost::SSH_PASSWORD);
    terminal.expect("Mail password for msingh@localhost: ");
    terminal.type_line(Mailhost::MAIL_PASSWORD);
    let (status, screen) = terminal.end();
    assert!(status.success(), "{screen}");
    assert!(screen.contains(": 5 new ("), "{screen}");
    for secret in ["not it", Mailhost::SSH_PASSWORD, Mailhost::MAIL_PASSWORD] {
        assert!(!screen.contains(secret), "{screen}");
    }
    host.home().assert_delivered(&messages);
}

fn an_ssh_password_that_stays_wrong_ends_the_run() {
    let host = Mailhost::start([mail::tiny(1)]);
    std::fs::remove_file(host.home().identity()).unwrap();
    let question = &format!("SSH password for {}: ", host.via());
    let mut terminal = at_a_terminal(host.home(), &["fetch"]);
    // As often as ssh(1) asks (NumberOfPasswordPrompts in ssh_config(5)).
    for _ in 0..3 {
        terminal.expect(question);
        terminal.type_line("not it");
    }
    let (status, screen) = terminal.end();
    assert_eq!(status.code(), Some(77), "{screen}");
    assert_eq!(screen.matches(question).count(), 3, "{screen}");
    assert!(
        screen.contains("msingh@127.0.0.1 did not let us in"),
        "{screen}"
    );
    assert!(!screen.contains("not it"), "{screen}");
    let failed = host
        .sshd()
        .log()
        .matches("Failed password for msingh")
        .count();
    assert_eq!(failed, 3, "{}", host.sshd().log());
    assert!(!host.maildir().exists());
}

fn a_refused_login_tells_what_was_tried_and_what_is_taken() {
    let host = Mailhost::start_with([mail::tiny(1)], |sshd| {
        sshd.option("PasswordAuthentication no")
    });
    let (home, stranger) = (host.home(), keys::generate(KeyType::EcdsaP256));
    home.write_identity(&stranger, KeyFormat::OpenSsh, None);
    let tried = format!(
        "publickey ECDSA {} from {}",
        keys::fingerprint(stranger.public_key()),
        home.identity().display()
    );
    run(home, &["fetch"]).exits(77).says(&[
        "posthole: work: msingh@127.0.0.1 did not let us in: ",
        &tried,
        "not accepted; the server takes publickey",
        "hint: the server takes keys only: put the public key into ~/.ssh/authorized_keys of \
         msingh@127.0.0.1",
    ]);
    // A named key that is not there is a mistake of its own.
    run(home, &["fetch", "--identity", "id_lost"])
        .exits(78)
        .says(&["id_lost", "hint: correct the path"]);
    assert!(!host.maildir().exists());
}

fn without_a_terminal_nothing_is_asked() {
    let host = Mailhost::start([mail::tiny(1)]);
    let (url, via) = (host.url(), host.via());
    let args = ["fetch", &url, "--via", &via, "--to", "maildir:~/Mail"];
    run(host.home(), &args).exits(77).says(&[
        "there is no password for msingh@localhost",
        "there is no terminal to ask on",
        "hint: ",
    ]);
    host.home()
        .write_identity(host.key(), KeyFormat::OpenSsh, Some("correct horse"));
    run(host.home(), &args).exits(77).says(&[
        "cannot log in to msingh@127.0.0.1",
        "needs its passphrase, and there is no terminal to ask on",
        "password: there is no terminal to ask on",
        "hint: run it in a terminal to be asked, hold the key in ssh-agent",
    ]);
    assert!(!host.maildir().exists());
}

fn an_agent_in_trouble_is_told_what_is_wrong() {
    let host = Mailhost::start([mail::tiny(1)]);
    let home = host.home();
    std::fs::remove_file(home.identity()).unwrap();
    let agent = Agent::start();
    let socket = agent.socket().display().to_string();
    let fetch = || run(home, &["fetch", "--agent", &socket]);
    let name = format!("ssh-agent at {socket}: ");
    fetch().exits(77).says(&[
        &format!("cannot log in to msingh@127.0.0.1: {name}holds no keys; "),
        "hint: add the key to the agent with ssh-add",
    ]);
    agent.add(host.key());
    agent.lock("secret");
    fetch().exits(77).says(&[
        &format!("{name}shows no keys; it may be locked"),
        "hint: unlock the agent with ssh-add -X",
    ]);
    drop(agent);
    fetch().exits(77).says(&[
        &format!("{name}not there, since there is no such socket"),
        "hint: start ssh-agent and add the key with ssh-add",
    ]);
}

fn the_agent_holds_the_key() {
    for key_type in [KeyType::Ed25519, KeyType::EcdsaP256, KeyType::Rsa] {
        let key = keys::generate(key_type);
        let messages = mail::corpus(23, 5);
        let host = Mailhost::start_with(&messages, |sshd| sshd.key(key.public_key()));
        std::fs::remove_file(host.home().identity()).unwrap();
        let agent = Agent::start();
        agent.add(&keys::generate(KeyType::Ed25519));
        agent.add(&key);
        let mut command = crate::world::posthole(host.home(), &["fetch"]);
        command.env("SSH_AUTH_SOCK", agent.socket());
        let status = command.status().unwrap();
        assert!(status.success());
        host.home().assert_delivered(&messages);
        // Named instead of inherited, and switched off.
        let socket = agent.socket().display().to_string();
        run(host.home(), &["fetch", "--agent", &socket]).exits(0);
        run(host.home(), &["fetch", "--no-agent"]).exits(77);
    }
}
