//! What the plan makes of TLS.

use super::*;

/// When TLS starts with an account that has these further lines.
#[track_caller]
fn start(server: &str, lines: &str) -> TlsStart {
    account(server, lines).job().tls.start
}

fn account(server: &str, lines: &str) -> Case {
    case(&format!(
        "[account.work]\nserver = '{server}'\ndeliver = 'maildir:Mail'\n{lines}\n"
    ))
}

#[test]
fn tls_starts_where_a_password_would_be_exposed_and_where_it_is_asked_for() {
    use TlsStart::{AtOnce, IfOffered, Never, Required};
    let away = "pop3://u@pop.example.org";
    let here = "pop3://u@localhost";
    let secure = "pop3s://u@pop.example.org";
    let ssh = "via = 'gate'";
    for (server, lines, expected) in [
        (away, "", Required),
        (away, "tls = 'auto'", Required),
        (away, "tls = 'required'", Required),
        (away, "allow-plaintext = true", IfOffered),
        (away, "allow-plaintext = true\ntls = 'auto'", IfOffered),
        (away, "allow-plaintext = true\ntls = 'required'", Required),
        (away, "allow-plaintext = true\ntls = 'never'", Never),
        (here, "", Never),
        (here, "tls = 'auto'", IfOffered),
        (here, "tls = 'required'", Required),
        (away, ssh, Never),
        (away, "via = 'gate'\ntls = 'auto'", IfOffered),
        (away, "via = 'gate'\ntls = 'required'", Required),
        (here, "via = 'gate'\nallow-plaintext = true", Never),
        (secure, "", AtOnce),
        (secure, ssh, AtOnce),
        (secure, "tls = 'auto'", AtOnce),
        (secure, "tls = 'required'", AtOnce),
        (secure, "[defaults]\ntls = 'never'", AtOnce),
        (here, "[defaults]\ntls = 'required'", Required),
        (here, "tls = 'never'\n[defaults]\ntls = 'required'", Never),
    ] {
        assert_eq!(start(server, lines), expected, "{server} {lines}");
    }
    let flag = |when| {
        account(here, "tls = 'never'")
            .with(|flags| flags.tls.when = Some(when))
            .job()
            .tls
            .start
    };
    assert_eq!(flag(TlsWhen::Required), Required);
}

#[test]
fn the_certificate_is_for_the_host_that_is_really_there() {
    let host = "\n[ssh.pop]\nhostname = 'popserver.example.org'";
    let address = "\n[ssh.pop]\nhostname = '192.0.2.7'";
    for (server, lines, expected) in [
        ("pop3s://u@mail.example.org.", "", "mail.example.org"),
        ("pop3s://u@192.0.2.1", "", "192.0.2.1"),
        ("pop3s://u@localhost", "", "localhost"),
        ("pop3s://u@mail", "via = 'gate.example.org'", "mail"),
        (
            "pop3s://u@localhost",
            "via = 'gate.example.org'",
            "gate.example.org",
        ),
        ("pop3s://u@127.0.0.1", "via = ['jump', 'gate']", "gate"),
        (
            "pop3s://u@[::1]",
            &format!("via = 'me@pop:2222'{host}"),
            "popserver.example.org",
        ),
        // Hardly a certificate is for an address, and it is not what the person calls the host.
        (
            "pop3s://u@localhost",
            &format!("via = 'pop'{address}"),
            "pop",
        ),
        ("pop3s://u@localhost", "via = '192.0.2.7'", "192.0.2.7"),
        (
            "pop3s://u@localhost",
            "via = 'gate'\ntls-name = 'imap.example.org'",
            "imap.example.org",
        ),
        ("pop3s://u@mail", "tls-name = '192.0.2.9'", "192.0.2.9"),
    ] {
        let name = &account(server, lines).job().tls.name;
        assert_eq!(name, expected, "{server} {lines}");
    }
}

#[test]
fn a_port_that_is_usual_is_not_part_of_a_mailbox() {
    for (server, port, mailbox) in [
        ("pop3://u@mail", 110, "pop3:u@mail"),
        ("pop3s://u@mail", 995, "pop3:u@mail"),
        ("pop3s://u@mail:995", 995, "pop3:u@mail"),
        ("pop3s://u@mail:110", 110, "pop3:u@mail:110"),
        ("pop3s://u@mail:1995", 1995, "pop3:u@mail:1995"),
    ] {
        let job = url(server).job();
        assert_eq!(
            (job.server.port, &*job.mailbox),
            (port, mailbox),
            "{server}"
        );
    }
}

#[test]
fn our_certificate_brings_its_key() {
    let identity = |lines: &str| account("pop3s://u@mail", lines).job().tls.identity.clone();
    let paths = |certificate: &str, key: &str| {
        Some(TlsIdentity {
            certificate: certificate.into(),
            key: key.into(),
        })
    };
    assert_eq!(identity(""), None);
    assert_eq!(
        identity("tls-certificate = '~/me.pem'"),
        paths("/home/me/me.pem", "/home/me/me.pem")
    );
    assert_eq!(
        identity("tls-certificate = 'me.pem'\ntls-key = 'me.key'"),
        paths("/etc/posthole/me.pem", "/etc/posthole/me.key")
    );
    // The key of another certificate would be of no use.
    assert_eq!(
        identity(
            "tls-certificate = 'me.pem'\n[defaults]\ntls-certificate = 'd.pem'\ntls-key = 'd.key'"
        ),
        paths("/etc/posthole/me.pem", "/etc/posthole/me.pem")
    );
    let flags = account(
        "pop3s://u@mail",
        "tls-certificate = 'me.pem'\ntls-key = 'me.key'",
    )
    .with(|flags| flags.tls.certificate = Some("new.pem".into()));
    assert_eq!(
        flags.job().tls.identity,
        paths("/cwd/new.pem", "/cwd/new.pem")
    );
    account("pop3s://u@mail", "tls-key = 'me.key'").refused(expect![[r#"
        `tls-key` stands without a `tls-certificate` ^'me.key'^
          help: write tls-certificate = "PATH" beside it
    "#]]);
    account("pop3s://u@mail", "")
        .with(|flags| flags.tls.key = Some("me.key".into()))
        .refused(expect![[r#"
            `--tls-key` is given without a certificate
              help: add --tls-certificate FILE
        "#]]);
}

#[test]
fn the_authorities_are_the_systems_unless_files_are_named() {
    let authorities = |case: &Case| case.job().tls.authorities.clone();
    let plain = account("pop3s://u@mail", "");
    assert_eq!(
        authorities(&plain),
        Authorities::System(SystemStore::default())
    );
    let mut set = plain;
    for (name, value) in [("SSL_CERT_FILE", "/a.pem"), ("SSL_CERT_DIR", "/b:/c")] {
        set.environment.vars.insert(name.into(), value.into());
    }
    assert_eq!(
        authorities(&set),
        Authorities::System(SystemStore {
            file: Some("/a.pem".into()),
            directories: vec!["/b".into(), "/c".into()],
        })
    );
    let files = |paths: &[&str]| Authorities::Files(paths.iter().map(PathBuf::from).collect());
    let own = account(
        "pop3s://u@mail",
        "tls-ca-file = 'ca.pem'\n[defaults]\ntls-ca-file = 'd.pem'",
    );
    assert_eq!(authorities(&own), files(&["/etc/posthole/ca.pem"]));
    let defaults = account(
        "pop3s://u@mail",
        "[defaults]\ntls-ca-file = ['d.pem', '/e.pem']",
    );
    assert_eq!(
        authorities(&defaults),
        files(&["/etc/posthole/d.pem", "/e.pem"])
    );
    let flag = own.with(|flags| flags.tls.ca_file = Some(vec!["f.pem".into()]));
    assert_eq!(authorities(&flag), files(&["/cwd/f.pem"]));
}

#[test]
fn what_contradicts_itself_is_refused() {
    account("pop3s://u@mail", "tls = 'never'").refused(expect![[r#"
        `tls` is never, but the server of `work` is pop3s://, which is TLS from the start ^'never'^
          help: write pop3:// for a server without TLS, or leave `tls` out
    "#]]);
    account("pop3s://u@mail", "")
        .with(|flags| flags.tls.when = Some(TlsWhen::Never))
        .refused(expect![[r#"
            `tls` is never, but the server of `work` is pop3s://, which is TLS from the start
              help: write pop3:// for a server without TLS, or leave `tls` out
        "#]]);
    // Whoever names a certificate thinks that it is looked at.
    account("pop3://u@localhost", "via = 'gate'\ntls-name = 'mail'").refused(expect![[r#"
        `tls-name` is given, but TLS is not used with the server of `work` unless `tls` says so ^'mail'^
          help: write tls = "required", or tls = "never" to do without
    "#]]);
    account("pop3://u@localhost", "tls = 'never'\ntls-name = 'mail'").job();
    account("pop3://u@localhost", "")
        .with(|flags| flags.tls.fingerprint = Some(vec![Pin::Certificate([0; 32])]))
        .refused(expect![[r#"
            `--tls-fingerprint` is given, but TLS is not used with the server of `work` unless `tls` says so
              help: add --tls required, or --tls never to do without
        "#]]);
}

#[test]
fn tls_is_described_as_it_will_be() {
    let shown = |server: &str, lines: &str| {
        let plan = account(server, lines).plan().to_string();
        let lines = plan.lines().skip_while(|line| !line.starts_with("  tls:"));
        let lines = lines.take_while(|line| !line.starts_with("  auth:"));
        let lines = lines.map(|line| line.strip_prefix("  ").unwrap_or(line));
        lines.collect::<Vec<_>>().join("\n")
    };
    expect!["tls: never"].assert_eq(&shown("pop3://u@localhost", ""));
    expect![[r#"
        tls: from the start
          certificate: for gate.example.org (the SSH host), signed by an authority that this machine trusts"#]]
    .assert_eq(&shown("pop3s://u@localhost", "via = 'gate.example.org'"));
    expect![[r#"
          tls: after STLS, or there is no login
            certificate: for mail, signed by an authority that this machine trusts"#]]
    .assert_eq(&shown("pop3://u@mail", ""));
    expect![[r#"
          tls: from the start
            certificate: for imap, signed by an authority in /etc/posthole/ca.pem, /ca2.pem
            unless revoked in: /etc/posthole/crl.pem
            our certificate: /etc/posthole/me.pem with the key /home/me/me.key"#]]
    .assert_eq(&shown(
        "pop3s://u@mail",
        "tls-ca-file = ['ca.pem', '/ca2.pem']\ntls-name = 'imap'\ntls-crl-file = 'crl.pem'\n\
         tls-certificate = 'me.pem'\ntls-key = '~/me.key'",
    ));
    let pins = format!(
        "tls = 'auto'\nvia = 'gate'\ntls-fingerprint = ['{}', 'sha256//{}=']",
        "ab".repeat(32),
        "A".repeat(43)
    );
    expect![[r#"
          tls: after STLS, if the server offers it
            certificate: with the fingerprint AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB:AB
            certificate: with the public key sha256//AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA="#]]
    .assert_eq(&shown("pop3://u@mail", &pins));
}
