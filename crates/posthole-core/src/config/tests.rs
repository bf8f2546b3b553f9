//! The file as a whole: what is understood, and what is said about what is not.

use std::fmt::Write as _;

use expect_test::{Expect, expect};

mod edits;
mod everything;
mod secrets;
mod sections;
mod ssh;
mod values;

use super::*;

/// Renders what is said about `text`: place, message, what is underlined, and the help.
fn render(text: &str, diagnostics: &[Diagnostic]) -> String {
    let mut out = String::new();
    for Diagnostic {
        severity,
        message,
        span,
        label,
        help,
    } in diagnostics
    {
        if let Some(span) = span {
            let line = 1 + text[..span.start].matches('\n').count();
            let column = 1 + text[..span.start]
                .chars()
                .rev()
                .take_while(|c| *c != '\n')
                .count();
            write!(out, "{line}:{column} ").unwrap();
        }
        let severity = match severity {
            Severity::Error => "",
            Severity::Warning => "warning: ",
        };
        write!(out, "{severity}{message}").unwrap();
        if let Some(span) = span {
            let underlined: String = text[span.clone()]
                .chars()
                .flat_map(|c| {
                    if c == '\'' || c == '"' {
                        vec![c]
                    } else {
                        c.escape_debug().collect()
                    }
                })
                .collect();
            write!(out, " ^{underlined}^").unwrap();
        }
        if !label.is_empty() {
            write!(out, " {label}").unwrap();
        }
        out.push('\n');
        if let Some(help) = help {
            writeln!(out, "  help: {help}").unwrap();
        }
    }
    out
}

#[track_caller]
fn check(text: &str, expect: Expect) {
    let (_, diagnostics) = parse(text);
    expect.assert_eq(&render(text, &diagnostics));
}

/// Checks each of `values` where `{}` stands in `text`, and shows it above what is said.
#[track_caller]
fn check_each(text: &str, values: &[&str], expect: Expect) {
    let mut out = String::new();
    for value in values {
        let text = text.replace("{}", value);
        let (_, diagnostics) = parse(&text);
        writeln!(
            out,
            "{}",
            value.escape_debug().to_string().replace("\\'", "'")
        )
        .unwrap();
        for line in render(&text, &diagnostics).lines() {
            writeln!(out, "  {line}").unwrap();
        }
    }
    expect.assert_eq(&out);
}

/// Where lines can be added to an account that is right.
const ACCOUNT: &str = "[account.a]\nserver = 'pop3://u@h'\n{}\n";

#[test]
fn an_empty_file_is_right() {
    check_each(
        "{}",
        &["", "# nothing\n", "\u{feff}[defaults]\r\n"],
        expect![[r#"

            # nothing\n
            \u{feff}[defaults]\r\n
        "#]],
    );
}

#[test]
fn all_problems_are_reported_at_once() {
    check(
        "
[defaults]
every = 5
deliverr = 'maildir:~/Mail'

[account.work]
server = 'pop3://msingh@local host'
keep = 'a while'
timeout = '0s'

[acount.home]
server = 'imaps://me@home'
",
        expect![[r#"
            3:9 `every` must be a duration in quotes, not a number ^5^
              help: write "5s" for seconds or "5m" for minutes
            4:1 unknown key `deliverr` in [defaults] ^deliverr^ did you mean `deliver`?
              help: known are auth, batch-limit, deliver, drop-delivered, drop-status, every, expunge, fetch-all, fetch-limit, filter, flush, keep, limit, limit-flush, max-size, mimedecode, multidrop, password, received, recipients, return-path, rewrite, strip-cr, timeout, tls, tls-ca-file, tls-certificate, tls-crl-file, tls-key, tracepolls, via
            7:25 `server`: a host name cannot hold a blank ^local host^
            8:9 `keep`: a duration starts with a number ^a^
              help: write a number and a unit, such as `30s`, `5m`, `12h` or `14d`
            9:12 `timeout`: the duration is shorter than 1s ^0s^
            11:2 unknown section `acount` ^acount^ did you mean `account`?
              help: known are [defaults], [account.NAME], [ssh.NAME], [forward.NAME] and [daemon]
        "#]],
    );
}

#[test]
fn unknown_keys_are_answered_with_the_nearest_known_one_or_with_all() {
    check_each(
        ACCOUNT,
        &[
            "kep = true",
            "allow_plaintext = true",
            "Timeout = '1s'",
            "colour = 'red'",
            "identity = '~/.ssh/id'",
            "username = 'me'",
            "[ssh.h]\ncompress = true",
        ],
        expect![[r#"
            kep = true
              3:1 unknown key `kep` in [account.a] ^kep^ did you mean `keep`?
                help: known are allow-plaintext, auth, batch-limit, deliver, drop-delivered, drop-status, every, expunge, fetch-all, fetch-limit, filter, flush, keep, limit, limit-flush, max-size, mimedecode, multidrop, password, received, recipients, return-path, rewrite, server, strip-cr, timeout, tls, tls-ca-file, tls-certificate, tls-crl-file, tls-fingerprint, tls-key, tls-name, tracepolls, via
            allow_plaintext = true
              3:1 unknown key `allow_plaintext` in [account.a] ^allow_plaintext^ did you mean `allow-plaintext`?
                help: known are allow-plaintext, auth, batch-limit, deliver, drop-delivered, drop-status, every, expunge, fetch-all, fetch-limit, filter, flush, keep, limit, limit-flush, max-size, mimedecode, multidrop, password, received, recipients, return-path, rewrite, server, strip-cr, timeout, tls, tls-ca-file, tls-certificate, tls-crl-file, tls-fingerprint, tls-key, tls-name, tracepolls, via
            Timeout = '1s'
              3:1 unknown key `Timeout` in [account.a] ^Timeout^ did you mean `timeout`?
                help: known are allow-plaintext, auth, batch-limit, deliver, drop-delivered, drop-status, every, expunge, fetch-all, fetch-limit, filter, flush, keep, limit, limit-flush, max-size, mimedecode, multidrop, password, received, recipients, return-path, rewrite, server, strip-cr, timeout, tls, tls-ca-file, tls-certificate, tls-crl-file, tls-fingerprint, tls-key, tls-name, tracepolls, via
            colour = 'red'
              3:1 unknown key `colour` in [account.a] ^colour^
                help: known are allow-plaintext, auth, batch-limit, deliver, drop-delivered, drop-status, every, expunge, fetch-all, fetch-limit, filter, flush, keep, limit, limit-flush, max-size, mimedecode, multidrop, password, received, recipients, return-path, rewrite, server, strip-cr, timeout, tls, tls-ca-file, tls-certificate, tls-crl-file, tls-fingerprint, tls-key, tls-name, tracepolls, via
            identity = '~/.ssh/id'
              3:1 unknown key `identity` in [account.a] ^identity^
                help: it belongs in [ssh.NAME]
            username = 'me'
              3:1 unknown key `username` in [account.a] ^username^
                help: the user is part of `server`: "pop3://user@host"
            [ssh.h]\ncompress = true
              4:1 unknown key `compress` in [ssh.h] ^compress^ did you mean `compression`?
                help: known are address-family, agent, backend, bind-address, certificate, ciphers, compression, connect-timeout, hash-known-hosts, host-key-algorithms, host-key-alias, hostname, identities-only, identity, keepalive, keepalive-max, kex-algorithms, known-hosts, macs, password, password-prompts, port, preferred-authentications, proxy-command, pubkey-accepted-algorithms, rekey-limit, strict-host-key-checking, user
        "#]],
    );
    check(
        "[defaults]\nallow-plaintext = true\nserver = 'pop3://h'",
        expect![[r#"
            2:1 unknown key `allow-plaintext` in [defaults] ^allow-plaintext^
              help: it belongs in [account.NAME]
            3:1 unknown key `server` in [defaults] ^server^
              help: it belongs in [account.NAME]
        "#]],
    );
    check(
        "[forward.f]\nfrom = 1",
        expect![[r#"
            1:10 [forward.f] has no `listen` ^f^ needed here
              help: write listen = "11110"
            1:10 [forward.f] has no `via` ^f^ needed here
              help: write via = "popserver"
            1:10 [forward.f] has no `to` ^f^ needed here
              help: write to = "localhost:110"
            2:1 unknown key `from` in [forward.f] ^from^
              help: known are account, allow, idle, listen, login, protocol, to, via
        "#]],
    );
}

#[test]
fn unknown_sections_are_never_ignored() {
    check_each(
        "{}",
        &[
            "[accounts.a]\nserver = 'pop3://h'",
            "server = 'pop3://h'",
            "nonsense = 1",
            "account = 'a'",
            "[account]\nwork = 1",
            "[account]\nserver = 'pop3://h'",
            "[[account.a]]\nserver = 'pop3://h'",
            "defaults = true",
        ],
        expect![[r#"
            [accounts.a]\nserver = 'pop3://h'
              1:2 unknown section `accounts` ^accounts^ did you mean `account`?
                help: known are [defaults], [account.NAME], [ssh.NAME], [forward.NAME] and [daemon]
            server = 'pop3://h'
              1:1 unknown key `server` outside of any section ^server^
                help: it belongs below [account.NAME] or [defaults]
            nonsense = 1
              1:1 unknown key `nonsense` outside of any section ^nonsense^
                help: known are account, daemon, defaults, forward, ssh
            account = 'a'
              1:11 `account` must be a table, not a string ^'a'^
                help: write [account.NAME] and its keys below it
            [account]\nwork = 1
              2:1 [account] is without a name ^work^
                help: write [account.NAME] and its keys below it
            [account]\nserver = 'pop3://h'
              2:1 [account] is without a name ^server^
                help: write [account.NAME] and its keys below it
            [[account.a]]\nserver = 'pop3://h'
              1:1 `a` must be a table, not a list ^[[account.a]]^
                help: write [account.NAME] and its keys below it
            defaults = true
              1:12 `defaults` must be a table, not true or false ^true^
                help: write [defaults] and its keys below it
        "#]],
    );
}

#[test]
fn syntax_errors_are_reported_with_the_rest() {
    check(
        "[account.a]
server = pop3://u@h
keep = 14d

[account.b]
server = 'pop3://u@h'
timeout = 5
",
        expect![[r#"
            2:10 this value must stand in quotes ^pop3://u@h^
            3:8 this value must stand in quotes ^14d^
            7:11 `timeout` must be a duration in quotes, not a number ^5^
              help: write "5s" for seconds or "5m" for minutes
        "#]],
    );
    check_each(
        "{}",
        &[
            "[account.a\nserver = 'pop3://u@h'\nkeep = 5\n[ssh.h]\nport = 0",
            "[account.a]\nserver = 'pop3://u@h'\nserver = 'pop3://u@i'",
            "[account.a]\nserver = 'pop3://u@h'\n[account.a]\nserver = 'pop3://u@i'",
            "[account.a]\nserver = 'pop3://u@h'\nserver.x = 1",
            "[account.me@example.org]\nserver = 'pop3://u@h'",
            "[account.a]\nserver 'pop3://u@h'",
            "[account.a]\nserver = \"pop3://u@h\nkeep = true",
            "[account.a]\nserver = 'pop3://u@h'\nkeep = True",
            "[account.a]\nserver = 'pop3://u@h'\nvia = ['a', 'b'",
            "[account.a]\nserver = 'pop3://u@h'\npassword = { command = 'x'",
            "\u{0}",
        ],
        expect![[r#"
            [account.a\nserver = 'pop3://u@h'\nkeep = 5\n[ssh.h]\nport = 0
              1:11 unclosed table, expected `]` ^^
              5:8 `port` must be a number from 1 to 65535 ^0^
            [account.a]\nserver = 'pop3://u@h'\nserver = 'pop3://u@i'
              3:1 duplicate key ^server^
            [account.a]\nserver = 'pop3://u@h'\n[account.a]\nserver = 'pop3://u@i'
              3:10 duplicate key ^a^
              4:1 duplicate key ^server^
            [account.a]\nserver = 'pop3://u@h'\nserver.x = 1
              3:1 cannot extend value of type string with a dotted key ^server^
            [account.me@example.org]\nserver = 'pop3://u@h'
              1:12 invalid unquoted key, expected letters, numbers, `-`, `_` ^@^
                help: a name with other characters stands in quotes, such as [account."me@home"]
            [account.a]\nserver 'pop3://u@h'
              2:8 key with no value, expected `=` ^^
            [account.a]\nserver = \"pop3://u@h\nkeep = true
              2:21 invalid basic string, expected `"` ^^
            [account.a]\nserver = 'pop3://u@h'\nkeep = True
              3:8 invalid boolean, expected `true` ^True^
            [account.a]\nserver = 'pop3://u@h'\nvia = ['a', 'b'
              3:16 unclosed array, expected `]` ^^
            [account.a]\nserver = 'pop3://u@h'\npassword = { command = 'x'
              3:27 unclosed inline table, expected `}` ^^
            \0
              1:1 invalid unquoted key, expected letters, numbers, `-`, `_` ^\0^
                help: a name with other characters stands in quotes, such as [account."me@home"]
        "#]],
    );
}

mod properties {
    use proptest::prelude::*;

    use super::*;

    /// Pieces that a configuration is made of, in any order.
    fn fragments() -> impl Strategy<Value = String> {
        let piece = prop_oneof![
            Just("[account.a]\n".to_owned()),
            Just("[ssh.\"h.é\"]\n".to_owned()),
            Just("[ssh.h.i]\n".to_owned()),
            Just("[forward.f]\n".to_owned()),
            Just("server = ".to_owned()),
            Just("password = { literal = ".to_owned()),
            Just("password.command = ".to_owned()),
            Just("via = [".to_owned()),
            Just("keep = 14d\n".to_owned()),
            Just("\"pop3://u%40:é@h\"\n".to_owned()),
            Just("'ssh://ü@[::1]:x'".to_owned()),
            Just("\"\"\"".to_owned()),
            Just("\"a\\u00e9\"".to_owned()),
            Just("]".to_owned()),
            Just("}\n".to_owned()),
            "[a-z=\\[\\]{}'\".,#@:%/ \néß€\u{1F4EC}\u{0}-]{0,8}",
            "\\PC{0,4}",
        ];
        prop::collection::vec(piece, 0..24).prop_map(|pieces| pieces.concat())
    }

    fn spans_fit(text: &str) {
        let (config, diagnostics) = parse(text);
        for Diagnostic { span, message, .. } in &diagnostics {
            let span = span.clone().expect("all that parsing finds has a place");
            assert!(text.get(span.clone()).is_some(), "{message}: {span:?}");
        }
        assert_eq!(config.redact(text).len(), text.len());
    }

    proptest! {
        #[test]
        fn no_text_panics_and_every_span_fits(text in "\\PC{0,200}") {
            spans_fit(&text);
        }

        #[test]
        fn no_configuration_panics_and_every_span_fits(text in fragments()) {
            spans_fit(&text);
        }

        #[test]
        fn no_value_panics_and_every_place_fits(text in "[pop3ssh:/@%\\[\\]0-9a-zé.~ -]{0,40}") {
            let errors = [
                text.parse::<ServerUrl>().err(),
                text.parse::<SshTarget>().err(),
                text.parse::<Deliver>().err(),
                text.parse::<Listen>().err(),
                text.parse::<AccountArg>().err(),
                parse_duration(&text).err(),
                parse_keep(&text).err(),
                parse_path(&text).err(),
            ];
            for error in errors.into_iter().flatten() {
                prop_assert!(text.get(error.at.clone()).is_some(), "{error:?}");
            }
        }

        #[test]
        fn servers_and_destinations_survive_being_written_and_read(
            user in prop::option::of("[a-zA-Z0-9.@%:/?#é_+'&-]{1,12}".prop_filter("leading -", |u| !u.starts_with('-'))),
            host in prop_oneof!["[a-z][a-z0-9.-]{0,12}", Just("::1".to_owned()), Just("fe80::1%eth0".to_owned())],
            port in prop::option::of(1u16..),
            is_tls in any::<bool>(),
        ) {
            let url = ServerUrl { is_tls, user, host: host.clone(), port };
            prop_assert_eq!(url.to_string().parse::<ServerUrl>().unwrap(), url);
            let target = SshTarget { user: Some("u".to_owned()), host, port };
            prop_assert_eq!(target.to_string().parse::<SshTarget>().unwrap(), target);
        }
    }
}
