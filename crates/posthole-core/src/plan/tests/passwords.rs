//! Where passwords come from.

use std::ffi::OsString;
use std::path::Path;

use expect_test::expect;

use super::*;

#[test]
fn passwords_of_the_environment_are_taken_at_once() {
    let with = |name: &str| case(&format!("{ACCOUNT}password = {{ env = '{name}' }}"));
    let job = with("MAILPW").job();
    let PasswordSource::Given { origin, secret } = &job.password else {
        panic!("{job}")
    };
    assert_eq!(origin, "the environment variable MAILPW");
    assert_eq!(secret.expose_secret(), "hunter2");
    with("UNSET").refused(expect![[r#"
        the environment variable UNSET is not set ^{ env = 'UNSET' }^
          help: set it for posthole, or take the password from elsewhere
    "#]]);
    with("EMPTY").refused(expect![[r#"
        the environment variable EMPTY is of no use: the password is empty ^{ env = 'EMPTY' }^
          help: set it for posthole, or take the password from elsewhere
    "#]]);
    with("LINES").refused(expect![[r#"
        the environment variable LINES is of no use: a password cannot hold a line break or NUL ^{ env = 'LINES' }^
          help: set it for posthole, or take the password from elsewhere
    "#]]);
    case(ACCOUNT)
        .with(|flags| flags.password = Some(Password::Env("UNSET".to_owned())))
        .refused(expect![[r#"
            the environment variable UNSET is not set
              help: set it for posthole, or take the password from elsewhere
        "#]]);
}

#[test]
fn the_keyring_is_asked_for_the_service_the_host_and_the_user() {
    let described = |case: &Case| {
        let job = case.job();
        let PasswordSource::Keyring(Keyring { bus, attributes }) = &job.password else {
            panic!("{job}")
        };
        assert_eq!(
            bus.as_deref(),
            Some("unix:path=/run/user/%e2%82%ac%201/bus")
        );
        let one = |(name, value): &(String, String)| format!("{name}={value}");
        let all = |one_item: &Vec<_>| one_item.iter().map(one).collect::<Vec<_>>().join(" ");
        attributes.iter().map(all).collect::<Vec<_>>()
    };
    let keyring = |text: &str, value: &str| {
        let mut case = case(&format!("{text}password = {{ keyring = {value} }}"));
        let run = (
            OsString::from("XDG_RUNTIME_DIR"),
            OsString::from("/run/user/€ 1"),
        );
        case.environment.vars.extend([run]);
        case
    };
    assert_eq!(
        described(&keyring(ACCOUNT, "true")),
        ["host=localhost service=pop3 user=msingh"]
    );
    // Behind an SSH host that is what the SSH host calls it, so its own name will do.
    assert_eq!(
        described(&keyring(TUNNELLED, "true")),
        [
            "host=localhost service=pop3 user=msingh",
            "host=popserver service=pop3 user=msingh"
        ]
    );
    let own = keyring(TUNNELLED, "{ account = 'work', purpose = 'mail' }");
    assert_eq!(described(&own), ["account=work purpose=mail"]);
    let flagged = keyring(ACCOUNT, "true");
    let by_flag = flagged.with(|flags| flags.password = Some(Password::Keyring(Vec::new())));
    assert_eq!(
        described(&by_flag),
        ["host=localhost service=pop3 user=msingh"]
    );

    let ssh = keyring(
        &format!("{TUNNELLED}[ssh.popserver]\nhostname = '192.0.2.1'\n"),
        "true",
    );
    let PasswordSource::Keyring(found) = ssh.hop().password else {
        panic!("another source")
    };
    assert_eq!(
        found.look_up_command(),
        "secret-tool lookup host popserver service ssh user me"
    );
    assert_eq!(found.attributes[1][0].1, "192.0.2.1");
}

#[test]
fn the_address_of_the_bus_is_that_of_the_environment() {
    let mut case = case("");
    assert_eq!(case.environment.session_bus(), None);
    for (name, value, address) in [
        ("XDG_RUNTIME_DIR", "run", None),
        (
            "XDG_RUNTIME_DIR",
            "/run/user/1000",
            Some("unix:path=/run/user/1000/bus"),
        ),
        (
            "DBUS_SESSION_BUS_ADDRESS",
            "unix:abstract=x",
            Some("unix:abstract=x"),
        ),
    ] {
        case.environment.vars.insert(name.into(), value.into());
        assert_eq!(case.environment.session_bus().as_deref(), address);
    }
}

#[test]
fn netrc_is_asked_for_the_machine_and_the_login() {
    let netrc = |text: &str, value: &str| {
        let job = case(&format!("{text}password = {{ netrc = {value} }}")).job();
        let PasswordSource::Netrc(entry) = &job.password else {
            panic!("{job}")
        };
        format!(
            "{} {} {}",
            entry.file.display(),
            entry.machines.join(","),
            entry.login
        )
    };
    assert_eq!(netrc(ACCOUNT, "true"), "/home/me/.netrc localhost msingh");
    assert_eq!(
        netrc(TUNNELLED, "'netrc'"),
        "/etc/posthole/netrc localhost,popserver msingh"
    );
    let elsewhere = ACCOUNT.replace("localhost", "mail.example.org") + "via = 'gate'\n";
    assert_eq!(
        netrc(&elsewhere, "'~/n'"),
        "/home/me/n mail.example.org msingh"
    );
}

#[test]
fn credentials_are_in_the_directory_that_systemd_names() {
    let text = format!("{ACCOUNT}password = {{ credential = 'mail' }}");
    case(&text).refused(expect![[r#"
        there is no credential mail: CREDENTIALS_DIRECTORY is not set ^{ credential = 'mail' }^
          help: only a service of systemd has credentials: start it with LoadCredential=mail:FILE
    "#]]);
    let mut case = case(&text);
    let directory = (
        OsString::from("CREDENTIALS_DIRECTORY"),
        OsString::from("/run/credentials/posthole.service"),
    );
    case.environment.vars.extend([directory]);
    let job = case.job();
    let PasswordSource::Credential { name, path } = &job.password else {
        panic!("{job}")
    };
    assert_eq!(name, "mail");
    assert_eq!(path, Path::new("/run/credentials/posthole.service/mail"));
    assert_eq!(job.password.to_string(), "the credential mail of systemd");
}
