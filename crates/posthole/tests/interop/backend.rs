//! Mail through OpenSSH's own client, and through proxy commands.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::process::Stdio;

use posthole_testkit::keys::{self, KeyFormat, KeyType};
use posthole_testkit::mail;
use posthole_testkit::real::{Mailhost, Requirement, Sshd, Suite};
use posthole_testkit::relay::Relay;
use rustix::process::{Pid, Signal, kill_process};

use crate::world::{account, at_a_terminal, end, run, start, wait_until};

pub(crate) fn tests(suite: Suite) -> Suite {
    let needs = &[Requirement::MAILHOST, &[Requirement::Ssh]].concat();
    suite
        .test("mail_comes_through_ssh", needs, mail_comes_through_ssh)
        .test(
            "a_shared_connection_of_ssh_is_used",
            needs,
            a_shared_connection_of_ssh_is_used,
        )
        .test(
            "what_ssh_complains_of_has_the_usual_exit_codes",
            needs,
            what_ssh_complains_of_has_the_usual_exit_codes,
        )
        .test(
            "what_ssh_asks_is_asked_at_the_terminal_once",
            needs,
            what_ssh_asks_is_asked_at_the_terminal_once,
        )
        .test(
            "a_password_that_is_configured_is_given_to_ssh",
            needs,
            a_password_that_is_configured_is_given_to_ssh,
        )
        .test(
            "a_signal_leaves_no_ssh_behind",
            needs,
            a_signal_leaves_no_ssh_behind,
        )
        .test(
            "a_proxy_command_of_the_configuration_leads_through_a_gate",
            needs,
            a_proxy_command_of_the_configuration_leads_through_a_gate,
        )
        .test(
            "a_proxy_command_asks_at_the_terminal",
            needs,
            a_proxy_command_asks_at_the_terminal,
        )
}

/// A mail host that forwards to another way to its mail server, too.
struct TwoWays {
    host: Mailhost,
    relay: Relay,
}

impl TwoWays {
    fn start<M: AsRef<[u8]>>(messages: &[M]) -> Self {
        let host = Mailhost::start_with(messages, |sshd| sshd.option("PermitOpen any"));
        let relay = Relay::to(host.dovecot().addr()).start();
        Self { host, relay }
    }

    /// The configuration of two accounts behind the host `pop`.
    fn configure(&self, section: &str) {
        let url = format!("pop3://msingh@localhost:{}", self.relay.port());
        let accounts = [("work", self.host.url()), ("home", url)];
        self.host.home().write_config(&config(&accounts, section));
    }
}

/// The configuration of an account behind the host `pop`.
fn configure(host: &Mailhost, section: &str) {
    let accounts = [("work", host.url())];
    host.home().write_config(&config(&accounts, section));
}

fn config(accounts: &[(&str, String)], section: &str) -> String {
    let accounts = accounts
        .iter()
        .map(|(name, url)| account(name, url, "pop").replace("~/Mail", &format!("~/Mail/{name}")));
    format!("{}[ssh.pop]\n{section}", accounts.collect::<String>())
}

/// What OpenSSH has to know to get to `pop`.
fn entry(host: &Mailhost) -> String {
    format!(
        "Host pop\n  HostName 127.0.0.1\n  Port {}\n  User msingh\n",
        host.sshd().port()
    )
}

fn logins(host: &Mailhost) -> usize {
    host.sshd().log().matches("Accepted publickey").count()
}

fn assert_delivered<M: AsRef<[u8]>>(host: &Mailhost, account: &str, messages: &[M]) {
    let maildir = host.home().path().join("Mail").join(account);
    posthole_testkit::home::assert_maildir_holds(&maildir, messages);
}

fn mail_comes_through_ssh() {
    let messages = mail::corpus(71, 60);
    let host = Mailhost::start(&messages);
    host.home().write_ssh_config(&entry(&host));
    for compression in ["true", "false"] {
        let section = format!("backend = \"openssh\"\ncompression = {compression}\n");
        configure(&host, &section);
        run(host.home(), &["fetch"]).exits(0);
        assert_delivered(&host, "work", &messages);
    }
    let said = run(host.home(), &["-v", "fetch"]);
    assert!(said.status.success(), "{}", said.text());
    said.says(&["using ssh, as the configuration says"]);
    let fingerprint = keys::fingerprint(host.sshd().host_key());
    run(host.home(), &["check"]).exits(0).prints(&[
        &fingerprint,
        "msingh@pop by publickey ED25519",
        "channel      ok",
    ]);
}

fn a_shared_connection_of_ssh_is_used() {
    let messages = mail::corpus(72, 20);
    let both = TwoWays::start(&messages);
    let host = &both.host;
    let home = host.home();
    home.write_ssh_config(&format!(
        "{}  ControlMaster auto\n  ControlPath ~/.ssh/shared\n",
        entry(host)
    ));
    both.configure("");
    let ssh = |args: &[&str]| {
        let mut ssh = home.command_as_user("ssh".as_ref());
        // A master that goes into the background keeps what it has of standard error.
        let status = ssh.args(args).stderr(Stdio::null()).status().unwrap();
        assert!(status.success(), "{args:?}: {status}");
    };
    ssh(&["-f", "-N", "pop"]);
    let said = run(home, &["-v", "fetch"]);
    assert!(said.status.success(), "{}", said.text());
    said.says(&["using ssh, which alone can do: ControlPath, where a master connection is open"]);
    for account in ["work", "home"] {
        assert_delivered(host, account, &messages);
    }
    run(home, &["fetch"]).exits(0);
    assert_eq!(logins(host), 1, "{}", host.sshd().log());
    ssh(&["-O", "exit", "pop"]);
}

fn what_ssh_complains_of_has_the_usual_exit_codes() {
    let host = Mailhost::start([mail::tiny(1)]);
    let home = host.home();
    home.write_ssh_config(&entry(&host));
    configure(&host, "backend = \"openssh\"\n");
    let known = fs::read_to_string(home.known_hosts()).unwrap();
    let fetch = || run(home, &["fetch"]);

    home.write_known_hosts("");
    fetch().exits(68).says(&[
        "is not known: ssh-ed25519 SHA256:",
        "hint: compare the fingerprint",
        "posthole trust pop",
    ]);
    let other = keys::generate(KeyType::Ed25519);
    home.write_known_hosts(&keys::known_hosts_line(
        "127.0.0.1",
        host.sshd().port(),
        other.public_key(),
    ));
    fetch().exits(68).says(&["has changed", "known_hosts:1 "]);
    home.write_known_hosts(&known);

    let forbidden = account("work", "pop3://msingh@localhost:1", "pop");
    home.write_config(&format!("{forbidden}[ssh.pop]\nbackend = \"openssh\"\n"));
    fetch()
        .exits(69)
        .says(&["administratively prohibited", "hint: ", "PermitOpen"]);

    configure(
        &host,
        "backend = \"openssh\"\nport = 1\nconnect-timeout = \"5s\"\n",
    );
    fetch().exits(75).says(&["Connection refused", "hint: "]);

    configure(&host, "backend = \"openssh\"\n");
    home.write_identity(&other, KeyFormat::OpenSsh, None);
    fetch().exits(77).says(&[
        "msingh@pop did not let us in: publickey ED25519 ",
        "not accepted; the server takes publickey, password",
    ]);
    assert!(!host.maildir().exists());
}

fn what_ssh_asks_is_asked_at_the_terminal_once() {
    let messages = mail::corpus(73, 5);
    let both = TwoWays::start(&messages);
    let host = &both.host;
    let home = host.home();
    home.write_ssh_config(&entry(host));
    both.configure("backend = \"openssh\"\n");
    home.write_identity(host.key(), KeyFormat::OpenSsh, Some("correct horse"));
    let question = format!("Passphrase for the key {}: ", home.identity().display());
    let mut terminal = at_a_terminal(home, &["fetch"]);
    terminal.expect(&question);
    terminal.type_line("wrong horse");
    terminal.expect("That is not the passphrase. ");
    terminal.type_line("correct horse");
    let (status, screen) = terminal.end();
    assert!(status.success(), "{screen}");
    assert_eq!(screen.matches(&question).count(), 2, "{screen}");
    assert!(!screen.contains("horse"), "{screen}");
    for account in ["work", "home"] {
        assert_delivered(host, account, &messages);
    }

    fs::remove_file(home.identity()).unwrap();
    configure(host, "backend = \"openssh\"\n");
    let via = host.via();
    let (_, port) = via.rsplit_once(':').unwrap();
    let question = &*format!("SSH password for msingh@pop:{port}: ");
    let mut terminal = at_a_terminal(home, &["fetch"]);
    terminal.expect(question);
    terminal.type_line(Mailhost::SSH_PASSWORD);
    let (status, screen) = terminal.end();
    assert!(status.success(), "{screen}");

    // Who gives up is not asked again.
    let mut terminal = at_a_terminal(home, &["fetch"]);
    terminal.expect(question);
    terminal.type_line("\x04");
    let (status, screen) = terminal.end();
    assert_eq!(status.code(), Some(77), "{screen}");
    assert_eq!(screen.matches(question).count(), 1, "{screen}");

    // Without a terminal nobody is.
    run(home, &["fetch"]).exits(77).says(&[
        "cannot log in to msingh@pop: ",
        "hint: run it in a terminal",
    ]);
}

fn a_password_that_is_configured_is_given_to_ssh() {
    let messages = mail::corpus(74, 5);
    let host = Mailhost::start(&messages);
    let home = host.home();
    home.write_ssh_config(&entry(&host));
    fs::remove_file(home.identity()).unwrap();
    let path = home.path().join("ssh-password");
    fs::write(&path, Mailhost::SSH_PASSWORD).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    configure(
        &host,
        "backend = \"openssh\"\npassword = { file = \"~/ssh-password\" }\n",
    );
    run(home, &["fetch"]).exits(0);
    assert_delivered(&host, "work", &messages);
}

fn a_signal_leaves_no_ssh_behind() {
    let messages = mail::corpus(75, 300);
    let host = Mailhost::start(&messages);
    let home = host.home();
    let line = Relay::to(host.sshd().addr())
        .bytes_per_second(500_000)
        .start();
    home.write_ssh_config(&entry(&host));
    let known = keys::known_hosts_line("127.0.0.1", line.port(), host.sshd().host_key());
    home.write_known_hosts(&known);
    configure(
        &host,
        &format!("backend = \"openssh\"\nport = {}\n", line.port()),
    );
    for signal in [Signal::KILL, Signal::TERM] {
        let sent = line.bytes_to_client();
        let child = start(home, &["fetch"]);
        wait_until("mail arrives", || line.bytes_to_client() > sent + 100_000);
        let port = line.port().to_string();
        assert!(has_ssh(&port));
        let pid = Pid::from_raw(i32::try_from(child.id()).unwrap()).unwrap();
        kill_process(pid, signal).unwrap();
        end(child).ends_by(signal.as_raw());
        wait_until("ssh is gone", || !has_ssh(&port));
    }
    drop(line);
}

/// Whether there is an `ssh` with this word on its command line.
fn has_ssh(word: &str) -> bool {
    let processes = fs::read_dir("/proc").unwrap().flatten();
    let mut lines = processes.filter_map(|entry| fs::read(entry.path().join("cmdline")).ok());
    lines.any(|line| {
        let mut words = line.split(|octet| *octet == 0);
        words.next() == Some(b"ssh") && words.any(|found| found.ends_with(word.as_bytes()))
    })
}

/// A gate in front of the mail host, which opens to `key`.
fn gate(host: &Mailhost, passphrase: Option<&str>) -> Sshd {
    let key = keys::generate(KeyType::Ed25519);
    let gate = Sshd::builder()
        .key(key.public_key())
        .permit_open("127.0.0.1", host.sshd().port())
        .start();
    let home = host.home();
    let path = home.path().join(".ssh/id_gate");
    keys::write(path, &key, KeyFormat::OpenSsh, passphrase);
    home.write_known_hosts(
        &[
            gate.known_hosts_line("127.0.0.1"),
            host.sshd().known_hosts_line("127.0.0.1"),
        ]
        .concat(),
    );
    home.write_ssh_config(&format!(
        "{}  ProxyCommand ssh -W %h:%p gate\nHost gate\n  HostName 127.0.0.1\n  Port {}\n  \
         User msingh\n  IdentityFile ~/.ssh/id_gate\n  IdentitiesOnly yes\n",
        entry(host),
        gate.port()
    ));
    gate
}

fn a_proxy_command_of_the_configuration_leads_through_a_gate() {
    let messages = mail::corpus(76, 20);
    let both = TwoWays::start(&messages);
    let host = &both.host;
    let gate = gate(host, None);
    both.configure("");
    run(host.home(), &["fetch"]).exits(0);
    for account in ["work", "home"] {
        assert_delivered(host, account, &messages);
    }
    assert_eq!(logins(host), 1);
    // The key of a host behind it is fetched the same way.
    let known = fs::read_to_string(host.home().known_hosts()).unwrap();
    host.home()
        .write_known_hosts(&gate.known_hosts_line("127.0.0.1"));
    run(host.home(), &["fetch"])
        .exits(68)
        .says(&["is not known", "posthole trust pop"]);
    let fingerprint = keys::fingerprint(host.sshd().host_key());
    run(
        host.home(),
        &["trust", "pop", "--fingerprint", &fingerprint],
    )
    .exits(0);
    host.home().write_known_hosts(&known);
    drop(gate);
    run(host.home(), &["fetch"]).exits(75).says(&[
        "posthole: work: the proxy command for pop failed: exit status 255: ",
        "Connection refused",
        "hint: run it by hand to see what it does: ssh -W 127.0.0.1:",
    ]);
}

fn a_proxy_command_asks_at_the_terminal() {
    let messages = mail::corpus(77, 5);
    let host = Mailhost::start(&messages);
    let _gate = gate(&host, Some("open sesame"));
    configure(&host, "");
    let key = host.home().path().join(".ssh/id_gate");
    let mut terminal = at_a_terminal(host.home(), &["fetch"]);
    terminal.expect(&format!("Passphrase for the key {}: ", key.display()));
    terminal.type_line("open sesame");
    let (status, screen) = terminal.end();
    assert!(status.success(), "{screen}");
    assert_delivered(&host, "work", &messages);
    // Without a terminal the key stays shut, and nobody waits.
    run(host.home(), &["fetch"])
        .exits(75)
        .says(&["the proxy command for pop failed", "Permission denied"]);
}
