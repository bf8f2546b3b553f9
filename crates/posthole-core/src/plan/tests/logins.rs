//! Whether a password may be sent, and how one logs in.

use expect_test::expect;

use super::*;

#[test]
fn a_password_does_not_cross_a_network_in_the_clear() {
    for server in [
        "localhost",
        "LOCALHOST.",
        "pop.localhost",
        "127.0.0.1",
        "127.9.9.9",
        "[::1]",
        "[::ffff:127.0.0.1]",
    ] {
        assert!(
            matches!(
                url(&format!("pop3://u@{server}")).job().route,
                Route::Direct
            ),
            "{server}"
        );
    }
    for server in [
        "example.org",
        "localhost.example.org",
        "notlocalhost",
        "192.0.2.1",
        "0.0.0.0",
        "[::]",
        "[fe80::1]",
    ] {
        let case = url(&format!("pop3://u@{server}"));
        assert_eq!(case.job().tls.start, TlsStart::Required, "{server}");
        let case = case.with(|flags| flags.tls.when = Some(TlsWhen::Never));
        assert_eq!(case.resolve().unwrap_err().len(), 1, "{server}");
        case.clone().via(&["h"]).job();
        case.with(|flags| flags.allow_plaintext = Some(true)).job();
    }
    url("pop3://u@example.org")
        .with(|flags| flags.tls.when = Some(TlsWhen::Never))
        .refused(expect![[r#"
            the password of `u@example.org` would cross the network to example.org in the clear
              help: allow TLS with --tls required, go through SSH with `via`, or accept the risk with --allow-plaintext
        "#]]);
    let text = ACCOUNT.replace("localhost", "example.org") + "tls = 'never'\n";
    case(&text).refused(expect![[r#"
        the password of `work` would cross the network to example.org in the clear ^'pop3://msingh@example.org'^
          help: allow TLS with tls = "required", go through SSH with `via`, or accept the risk with allow-plaintext = true
    "#]]);
    case(&format!("{text}allow-plaintext = true")).job();
}

#[test]
fn a_login_that_gives_nothing_away_may_be_overheard_where_tls_is_given_up_on_purpose() {
    for (auth, gives_away) in [
        ("auto", true),
        ("user", true),
        ("plain", true),
        ("xoauth2", true),
        ("apop", false),
        ("cram-md5", false),
        ("scram-sha-256", false),
        ("external", false),
    ] {
        let case = url("pop3://u@example.org").with(|flags| flags.auth = auth.parse().ok());
        // The mail itself is worth TLS, whatever the login.
        assert_eq!(case.job().tls.start, TlsStart::Required, "{auth}");
        let case = case.with(|flags| flags.tls.when = Some(TlsWhen::Never));
        assert_eq!(case.resolve().is_err(), gives_away, "{auth}");
    }
}

#[test]
fn the_login_is_said_by_the_flag_or_the_account_or_the_defaults() {
    let text = |auth: &str| format!("[defaults]\nauth = 'plain'\n{ACCOUNT}{auth}\n");
    assert_eq!(case(&text("")).job().auth.to_string(), "plain");
    assert_eq!(case(&text("auth = 'apop'")).job().auth.to_string(), "apop");
    let flag = case(&text("auth = 'apop'")).with(|flags| flags.auth = Some(Auth::UserPass));
    assert_eq!(flag.job().auth.to_string(), "user");
}

#[test]
#[cfg(not(feature = "gssapi"))]
fn kerberos_that_was_not_built_in_is_missed_before_anything_is_tried() {
    case(&format!("{ACCOUNT}auth = 'gssapi'\n")).refused(expect![[r#"
        `work` logs in by Kerberos, which this posthole was built without ^work^
          help: build it with the feature `gssapi`, or use a package that has it
    "#]]);
}

#[test]
fn a_way_on_from_the_last_ssh_host_that_is_not_encrypted_is_said() {
    let says = |server: &str| {
        let plan = url(server).via(&["jump", "gate"]).plan().to_string();
        plan.lines()
            .find(|line| line.starts_with("  server:"))
            .unwrap()
            .to_owned()
    };
    assert_eq!(says("pop3://u@localhost"), "  server: localhost:110");
    assert_eq!(
        says("pop3://u@mail"),
        "  server: mail:110, unencrypted between gate and there"
    );
    assert_eq!(says("pop3s://u@mail"), "  server: mail:995");
}
