//! Everything that can be said, and the manual's own samples.

use super::*;

/// Everything that can be said, said.
pub(super) const FULL: &str = r#"
[defaults]
every = "5m"
deliver = "maildir:~/Mail"
password = "prompt"
keep = true
timeout = "2m"
via = "gate"

[account.work]
server = "pop3://msingh%40example.org@[::1]:1110"
via = ["ssh://a@jump:2222/", "b@fe80::1%eth0"]
password = { command = "pass show mail/work" }
keep = "14d"
timeout = "60s"
every = "1h 30m"
deliver = "maildir:Mail/work"
allow-plaintext = true

[account."max@example.org"]
server = "pop3://localhost"
via = []
keep = false
password.file = "~/.pw"

[account.env]
server = "pop3://me@example.org@localhost/"
keep = "0d"
password = { env = "MAILPW" }

[ssh."b.example.org"]
hostname = "192.0.2.1"
port = 2200
user = "b"
identity = ["~/.ssh/id_pop", "other"]
known-hosts = "hosts"
compression = true
keepalive = "0"
connect-timeout = "10s"
password = { literal = "hunter2" }
agent = false
backend = "openssh"

[ssh.gate]
agent = "/run/agent"

[forward.netscape]
listen = "11110"
via = "popserver"
to = "localhost:110"
idle = "10m"
allow = "any"

[forward.socket]
listen = "unix:~/pop.sock"
via = ["a", "b"]
to = "[::1]:110"
protocol = "pop3"
login = "pass-through"

[forward.proxy]
listen = "systemd:pop"
login = "local-token"
account = "work"
"#;

#[test]
fn everything_that_can_be_said_is_understood() {
    let (config, diagnostics) = parse(FULL);
    assert_eq!(render(FULL, &diagnostics), "");

    let [work, max, env] = &config.accounts[..] else {
        panic!("{:?}", config.accounts)
    };
    assert_eq!(work.name.value, "work");
    assert_eq!(
        work.server.value.user.as_deref(),
        Some("msingh@example.org")
    );
    assert_eq!(work.server.value.host, "::1");
    assert_eq!(work.server.value.port, Some(1110));
    let via: Vec<_> = work
        .options
        .via
        .as_ref()
        .unwrap()
        .value
        .iter()
        .map(SshTarget::to_string)
        .collect();
    assert_eq!(via, ["a@jump:2222", "b@fe80::1%eth0"]);
    assert!(matches!(&work.options.password.as_ref().unwrap().value,
        Password::Command(command) if command == "pass show mail/work"));
    assert_eq!(
        work.options.keep.as_ref().unwrap().value,
        Keep::For(Duration::from_secs(14 * 86_400))
    );
    assert_eq!(
        work.options.timeout.as_ref().unwrap().value,
        Duration::from_secs(60)
    );
    assert_eq!(
        work.options.every.as_ref().unwrap().value,
        Duration::from_secs(5400)
    );
    assert!(matches!(
        &work.options.deliver.as_ref().unwrap().value[..],
        [Deliver::Maildir(path)] if path == std::path::Path::new("Mail/work")
    ));
    assert!(work.options.allow_plaintext.as_ref().unwrap().value);

    assert_eq!(max.name.value, "max@example.org");
    assert_eq!(
        (&max.server.value.user, max.server.value.port),
        (&None, None)
    );
    assert_eq!(max.options.via.as_ref().unwrap().value, []);
    assert_eq!(max.options.keep.as_ref().unwrap().value, Keep::Never);
    assert!(matches!(&max.options.password.as_ref().unwrap().value,
        Password::File(path) if path.to_str() == Some("~/.pw")));
    assert!(
        max.options.deliver.is_none(),
        "defaults are folded in by the plan"
    );

    assert_eq!(env.server.value.user.as_deref(), Some("me@example.org"));
    assert_eq!(env.options.keep.as_ref().unwrap().value, Keep::Never);
    assert!(matches!(&env.options.password.as_ref().unwrap().value,
        Password::Env(name) if name == "MAILPW"));

    let [b, gate] = &config.ssh[..] else {
        panic!("{:?}", config.ssh)
    };
    assert_eq!(b.name.value, "b.example.org");
    assert_eq!(b.hostname.as_ref().unwrap().value, "192.0.2.1");
    assert_eq!(b.port.as_ref().unwrap().value, 2200);
    assert_eq!(b.user.as_ref().unwrap().value, "b");
    assert_eq!(b.identity.as_ref().unwrap().len(), 2);
    assert_eq!(
        b.known_hosts.as_ref().unwrap()[0].value,
        PathBuf::from("hosts")
    );
    assert!(b.compression.as_ref().unwrap().value);
    assert_eq!(b.keepalive.as_ref().unwrap().value, Duration::ZERO);
    assert_eq!(
        b.connect_timeout.as_ref().unwrap().value,
        Duration::from_secs(10)
    );
    assert!(matches!(
        b.password.as_ref().unwrap().value,
        Password::Literal(_)
    ));
    assert_eq!(b.agent.as_ref().unwrap().value, Agent::Off);
    assert_eq!(
        gate.agent.as_ref().unwrap().value,
        Agent::Socket("/run/agent".into())
    );

    let [netscape, socket, proxy] = &config.forwards[..] else {
        panic!("{:?}", config.forwards)
    };
    assert_eq!(netscape.listen.value, Listen::Loopback(11110));
    assert!(netscape.allow_any && !socket.allow_any);
    let to = |forward: &Forward| match &forward.target {
        ForwardTarget::Through { to, .. } => to.value.to_string(),
        ForwardTarget::Account(account) => account.value.clone(),
    };
    assert_eq!(to(netscape), "localhost:110");
    assert_eq!(
        netscape.idle.as_ref().unwrap().value,
        Duration::from_secs(600)
    );
    assert_eq!(socket.listen.value, Listen::Unix("~/pop.sock".into()));
    assert_eq!(to(socket), "[::1]:110");
    assert_eq!(socket.protocol.as_ref().unwrap().value, Protocol::Pop3);
    let passed = Listen::Systemd(Some("pop".to_owned()));
    assert_eq!(proxy.listen.value, passed);
    assert_eq!(to(proxy), "work");
}

/// A key that is read but not listed would never be suggested, and one that is listed but not
/// read would be suggested in vain.
#[test]
fn every_known_key_is_read_and_in_the_manual() {
    let manual = include_str!("../../../../../doc/posthole.toml.5");
    for (section, keys) in lower::KEYS {
        for key in *keys {
            assert!(
                manual.contains(&format!(".It Ic {key}\n"))
                    || manual.contains(&format!(".It Ic {key} No")),
                "{key}"
            );
            // The right type or not, an unknown key it is not.
            let name = if ["daemon", "defaults"].contains(section) {
                ""
            } else {
                ".x"
            };
            let (_, diagnostics) = parse(&format!("[{section}{name}]\n{key} = 1979-05-27"));
            let found = diagnostics
                .iter()
                .find(|found| found.message.contains(&format!("`{key}` must be")));
            assert!(found.is_some(), "{section} {key}: {diagnostics:?}");
        }
    }
}

#[test]
fn the_sample_in_the_manual_is_understood() {
    let text = include_str!("../../../../../doc/examples/config.toml");
    let (config, diagnostics) = parse(text);
    assert_eq!(render(text, &diagnostics), "");
    assert!(!config.accounts.is_empty() && !config.ssh.is_empty());
}

/// What is commented out in the sample is meant to be uncommented.
#[test]
fn every_commented_key_of_the_sample_is_understood() {
    let text = include_str!("../../../../../doc/examples/config.toml");
    let mut seen = 0;
    for line in text.lines() {
        let Some(setting) = line
            .strip_prefix("#")
            .filter(|rest| !rest.starts_with([' ', '#']) && !rest.is_empty())
        else {
            continue;
        };
        seen += 1;
        let section = text[..text.find(line).unwrap()]
            .lines()
            .rev()
            .find(|line| line.starts_with('['));
        let setting = format!("{}\n{setting}\n", section.unwrap());
        let (_, diagnostics) = parse(&setting);
        let unknown: Vec<_> = diagnostics
            .into_iter()
            .filter(|found| !found.message.contains(" has no `"))
            .collect();
        assert_eq!(render(&setting, &unknown), "");
    }
    assert!(seen > 5, "the sample has commented settings");
}
