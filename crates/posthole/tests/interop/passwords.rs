//! Where passwords come from, and what is said about it.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::process::{Command, Stdio};

use posthole_testkit::mail;
use posthole_testkit::real::{Keyring, Mailhost, Requirement, Suite};

use crate::world::{BIN, Ended, end, posthole};

pub(crate) fn tests(suite: Suite) -> Suite {
    let needs = Requirement::MAILHOST;
    let keyring = &[needs, &[Requirement::SecretService]].concat();
    suite
        .test(
            "a_password_comes_from_the_keyring",
            keyring,
            a_password_comes_from_the_keyring,
        )
        .test(
            "a_keyring_that_gives_no_password_is_explained",
            keyring,
            a_keyring_that_gives_no_password_is_explained,
        )
        .test(
            "a_password_comes_from_netrc",
            needs,
            a_password_comes_from_netrc,
        )
        .test(
            "a_password_comes_from_a_credential_of_systemd",
            needs,
            a_password_comes_from_a_credential_of_systemd,
        )
        .test(
            "a_password_command_inherits_neither_limits_nor_descriptors",
            needs,
            a_password_command_inherits_neither_limits_nor_descriptors,
        )
}

/// Has the account take its mail password from this source.
fn configure(host: &Mailhost, password: &str, rest: &str) {
    host.home().write_config(&format!(
        "[account.work]\n\
         server = \"{}\"\n\
         via = \"{}\"\n\
         password = {password}\n\
         deliver = \"maildir:~/Mail\"\n\
         {rest}",
        host.url(),
        host.via()
    ));
}

#[track_caller]
fn run_with(host: &Mailhost, variables: &[(&str, &str)], args: &[&str]) -> Ended {
    let mut command = posthole(host.home(), args);
    command.envs(variables.iter().copied());
    let child = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn();
    end(child.unwrap())
}

fn a_password_comes_from_the_keyring() {
    let messages = mail::corpus(61, 3);
    let host = Mailhost::start_with(&messages, |sshd| {
        sshd.option("AuthenticationMethods password")
    });
    let keyring = Keyring::start();
    let bus = keyring.bus();
    let variables = [("DBUS_SESSION_BUS_ADDRESS", bus.as_str())];
    let user = ["user", Mailhost::USER];
    let of = |words: &[&'static str]| [words, &user].concat();
    keyring.store(&of(&["host", "elsewhere", "service", "pop3"]), "wrong");
    keyring.store(
        &of(&["host", "127.0.0.1", "service", "pop3"]),
        Mailhost::MAIL_PASSWORD,
    );
    keyring.store(
        &of(&["host", "127.0.0.1", "service", "ssh"]),
        Mailhost::SSH_PASSWORD,
    );
    let ssh = "[ssh.\"127.0.0.1\"]\npassword = { keyring = true }\n";
    configure(&host, "{ keyring = true }", ssh);
    run_with(&host, &variables, &["fetch"]).exits(0);
    host.home().assert_delivered(&messages);

    let checked = run_with(&host, &variables, &["check"]);
    checked.exits(0).prints(&[
        "password: the keyring, as by `secret-tool lookup host 127.0.0.1 service ssh user msingh`",
        "password: the keyring, as by `secret-tool lookup host localhost service pop3 user msingh`",
    ]);
    for secret in [Mailhost::MAIL_PASSWORD, Mailhost::SSH_PASSWORD] {
        assert!(!checked.text().contains(secret));
    }

    // Under attributes of one's own, and by a flag.
    keyring.store(&["purpose", "my mail"], Mailhost::MAIL_PASSWORD);
    configure(&host, "{ keyring = { purpose = \"my mail\" } }", ssh);
    run_with(&host, &variables, &["check"])
        .exits(0)
        .prints(&["`secret-tool lookup purpose 'my mail'`"]);
    configure(&host, "{ file = \"/nonexistent\" }", ssh);
    run_with(&host, &variables, &["check", "--password-keyring"]).exits(0);
}

fn a_keyring_that_gives_no_password_is_explained() {
    let host = Mailhost::start([mail::tiny(1)]);
    configure(&host, "{ keyring = true }", "");
    run_with(&host, &[], &["fetch"])
        .exits(77)
        .says(&["the session's D-Bus cannot be reached"]);

    let keyring = Keyring::start();
    let bus = keyring.bus();
    let variables = [("DBUS_SESSION_BUS_ADDRESS", bus.as_str())];
    run_with(&host, &variables, &["fetch"]).exits(77).says(&[
        "there is no such item in it",
        "store it: secret-tool store --label=Posthole host localhost service pop3 user msingh",
    ]);
    let attributes = ["host", "localhost", "service", "pop3", "user", "msingh"];
    keyring.store(&attributes, Mailhost::MAIL_PASSWORD);
    run_with(&host, &variables, &["fetch"]).exits(0);
    keyring.lock();
    run_with(&host, &variables, &["fetch"])
        .exits(77)
        .says(&["it is locked", "unlock it"]);
}

fn a_password_comes_from_netrc() {
    let messages = mail::corpus(62, 3);
    let host = Mailhost::start(&messages);
    configure(&host, "{ netrc = true }", "");
    let file = host.home().path().join(".netrc");
    let write = |text: &str, mode: u32| {
        fs::write(&file, text).unwrap();
        fs::set_permissions(&file, PermissionsExt::from_mode(mode)).unwrap();
    };
    run_with(&host, &[], &["fetch"]).exits(77).says(&[
        "cannot read",
        ".netrc",
        "machine localhost login msingh",
    ]);
    let entry = format!(
        "machine localhost\n\tlogin msingh\n\tpassword \"{}\"\n",
        Mailhost::MAIL_PASSWORD
    );
    write(&entry, 0o644);
    run_with(&host, &[], &["fetch"])
        .exits(77)
        .says(&["is open to others", "chmod 600"]);
    write(&entry.replace("msingh", "somebody"), 0o600);
    run_with(&host, &[], &["fetch"]).exits(77).says(&[
        "has no password for the login msingh on localhost or 127.0.0.1",
        "machine localhost login msingh password",
    ]);
    write(&entry.replace(Mailhost::MAIL_PASSWORD, "wrong"), 0o600);
    let from = format!("the password was from the entry of {}", file.display());
    run_with(&host, &[], &["check"]).exits(77).prints(&[&from]);
    write(&entry, 0o600);
    run_with(&host, &[], &["fetch"]).exits(0);
    host.home().assert_delivered(&messages);

    configure(&host, "{ file = \"/nonexistent\" }", "");
    let other = host.home().path().join("netrc");
    fs::rename(&file, &other).unwrap();
    let flag = "--password-netrc=netrc";
    let shown = format!("the entry of {} for msingh on localhost", other.display());
    run_with(&host, &[], &["check", flag])
        .exits(0)
        .prints(&[&shown]);
}

fn a_password_comes_from_a_credential_of_systemd() {
    let host = Mailhost::start([mail::tiny(1)]);
    configure(&host, "{ credential = \"mail\" }", "");
    run_with(&host, &[], &["fetch"])
        .exits(78)
        .says(&["CREDENTIALS_DIRECTORY is not set", "LoadCredential=mail:"]);
    let directory = host.home().path().join("credentials");
    fs::create_dir(&directory).unwrap();
    let credential = directory.join("mail");
    fs::write(&credential, Mailhost::MAIL_PASSWORD).unwrap();
    fs::set_permissions(&credential, PermissionsExt::from_mode(0o400)).unwrap();
    let variables = [("CREDENTIALS_DIRECTORY", directory.to_str().unwrap())];
    run_with(&host, &variables, &["fetch"]).exits(0);
    run_with(&host, &variables, &["check"])
        .exits(0)
        .prints(&["password: the credential mail of systemd"]);
}

fn a_password_command_inherits_neither_limits_nor_descriptors() {
    let host = Mailhost::start([mail::tiny(1)]);
    // The descriptor with which ls(1) reads the directory is there while it looks.
    let command = "ulimit -S -n > limit; ls /proc/self/fd > descriptors; cat mail-password";
    configure(&host, &format!("{{ command = \"{command}\" }}"), "");
    // As from a shell that left some open, with a limit of its own.
    let mut shell = Command::new("/bin/sh");
    let as_usual = host.home().posthole(BIN.as_ref());
    shell.env_clear().current_dir(host.home().path());
    for (name, value) in as_usual.get_envs() {
        shell.env(name, value.unwrap());
    }
    let script = "ulimit -S -n 177; exec 3</dev/null 5</dev/null 9</dev/null; exec \"$0\" fetch";
    let output = shell.args(["-c", script, BIN]).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    let read = |name: &str| {
        let path: PathBuf = host.home().path().join(name);
        fs::read_to_string(path).unwrap()
    };
    assert_eq!(read("limit"), "177\n");
    // Those with more digits, which a shell cannot close, may be of whoever runs the tests.
    let descriptors = read("descriptors");
    let few: Vec<_> = descriptors.lines().filter(|line| line.len() == 1).collect();
    assert_eq!(few, ["0", "1", "2", "3"]);
}
