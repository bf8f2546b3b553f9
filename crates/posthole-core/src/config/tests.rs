//! The file as a whole: what is understood, and what is said about what is not.

use std::fmt::Write as _;

use expect_test::{Expect, expect};

mod edits;
mod ssh;

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

#[test]
fn a_server_is_needed() {
    check(
        "[account.a]\nkeep = true",
        expect![[r#"
        1:10 [account.a] has no `server` ^a^ needed here
          help: write server = "pop3://user@host"
    "#]],
    );
}

#[test]
fn servers_are_urls_of_known_schemes_without_passwords() {
    check_each(
        "[account.a]\nserver = '{}'",
        &[
            "localhost",
            "msingh@localhost:110",
            "pop3s://u@h",
            "imap://u@h",
            "pop://u@h",
            "http://h",
            "pop3://",
            "pop3://u@",
            "pop3://@h",
            "pop3://u:hunter2@h",
            "pop3://u@h:0",
            "pop3://u@h:65536",
            "pop3://u@h:",
            "pop3://u@h:+1",
            "pop3://u@h/INBOX",
            "pop3://u@[::1",
            "pop3://u@[::g]:110",
            "pop3://u@[::1]110",
            "pop3://u@[::1%25]",
            "pop3://u@1:2:3",
            "pop3://u%4@h",
            "pop3://u%ff@h",
            "pop3://u%0d%0aQUIT@h",
            "pop3://u@-oProxyCommand=x",
            "pop3://u@h$(id)",
            "pop3://-u@h",
            "pop3://u v@h",
            "pop3://u@h\u{202e}",
        ],
        expect![[r#"
            localhost
              2:11 `server`: this is not the URL of a mail server ^localhost^
                help: write `pop3://user@host`, such as `pop3://msingh@localhost:110`
            msingh@localhost:110
              2:11 `server`: this is not the URL of a mail server ^msingh@localhost:110^
                help: write `pop3://user@host`, such as `pop3://msingh@localhost:110`
            pop3s://u@h
            imap://u@h
              2:11 `server`: `imap` is not supported yet ^imap^
                help: only `pop3` and `pop3s` are
            pop://u@h
              2:11 `server`: unknown kind of mail server ^pop^
                help: did you mean `pop3`?
            http://h
              2:11 `server`: unknown kind of mail server ^http^
                help: write `pop3://user@host`, such as `pop3://msingh@localhost:110`
            pop3://
              2:10 `server`: the host is missing ^'pop3://'^
            pop3://u@
              2:10 `server`: the host is missing ^'pop3://u@'^
            pop3://@h
              2:10 `server`: the user name is empty ^'pop3://@h'^
            pop3://u:hunter2@h
              2:20 `server`: a password does not belong in the URL ^hunter2^
                help: take it out and use `password`, or leave that out to be asked; a `:` that is part of the user name is written `%3A`
            pop3://u@h:0
              2:22 `server`: the port is not a number from 1 to 65535 ^0^
            pop3://u@h:65536
              2:22 `server`: the port is not a number from 1 to 65535 ^65536^
            pop3://u@h:
              2:10 `server`: the port is not a number from 1 to 65535 ^'pop3://u@h:'^
            pop3://u@h:+1
              2:22 `server`: the port is not a number from 1 to 65535 ^+1^
            pop3://u@h/INBOX
              2:21 `server`: nothing may follow the host ^/INBOX^
                help: a POP3 server has one mailbox for each user; write a `/`, `?` or `#` in the user name as `%2F`, `%3F` or `%23`
            pop3://u@[::1
              2:20 `server`: the closing `]` of the address is missing ^[::1^
            pop3://u@[::g]:110
              2:21 `server`: this is not an IPv6 address ^::g^
            pop3://u@[::1]110
              2:25 `server`: only a `:` and a port may follow the `]` ^110^
            pop3://u@[::1%25]
              2:21 `server`: this is not an IPv6 address ^::1%25^
            pop3://u@1:2:3
              2:20 `server`: this is neither `host:port` nor an IPv6 address ^1:2:3^
                help: with a port, an IPv6 address stands in brackets, such as `[::1]:110`
            pop3://u%4@h
              2:19 `server`: `%` is not followed by two hexadecimal digits ^%^
                help: write a `%` that is part of the user name as `%25`
            pop3://u%ff@h
              2:18 `server`: the user name does not decode to UTF-8 ^u%ff^
            pop3://u%0d%0aQUIT@h
              2:18 `server`: a user name cannot hold U+000D ^u%0d%0aQUIT^
            pop3://u@-oProxyCommand=x
              2:20 `server`: a host name cannot start with `-` ^-oProxyCommand=x^
            pop3://u@h$(id)
              2:20 `server`: a host name cannot hold `$` ^h$(id)^
            pop3://-u@h
              2:18 `server`: a user name cannot start with `-` ^-u^
            pop3://u v@h
              2:18 `server`: a user name cannot hold a blank ^u v^
            pop3://u@h\u{202e}
              2:20 `server`: a host name cannot hold U+202E ^h\u{202e}^
        "#]],
    );
}

#[test]
fn via_is_a_destination_or_a_list_of_them() {
    check_each(
        &ACCOUNT.replace("{}", "via = {}"),
        &[
            "''",
            "'u@'",
            "'@h'",
            "22",
            "['a', 2, 'c d']",
            "'http://h'",
            "'-oProxyCommand=x'",
            "'u;id@h'",
            "'u:hunter2@h'",
            "'h:ssh'",
            "'h:22:23'",
            "'a,b'",
        ],
        expect![[r#"
            ''
              3:7 `via`: the host is missing ^''^
                help: write `[user@]host[:port]`, such as `msingh@popserver`
            'u@'
              3:8 `via`: the host is missing ^u@^
                help: write `[user@]host[:port]`, such as `msingh@popserver`
            '@h'
              3:7 `via`: the user name is empty ^'@h'^
            22
              3:7 `via` must be a string or a list of strings, not a number ^22^
            ['a', 2, 'c d']
              3:13 `via` must be a string, not a number ^2^
              3:17 `via`: a host name cannot hold a blank ^c d^
            'http://h'
              3:8 `via`: only `ssh://` can be gone through ^http^
                help: write `[user@]host[:port]`, such as `msingh@popserver`
            '-oProxyCommand=x'
              3:8 `via`: a host name cannot start with `-` ^-oProxyCommand=x^
            'u;id@h'
              3:8 `via`: a user name cannot hold `;` ^u;id^
            'u:hunter2@h'
              3:10 `via`: a password does not belong here ^hunter2^
                help: take it out and use `password` in [ssh.HOST], or leave that out to be asked
            'h:ssh'
              3:10 `via`: the port is not a number from 1 to 65535 ^ssh^
            'h:22:23'
              3:8 `via`: this is neither `host:port` nor an IPv6 address ^h:22:23^
                help: with a port, an IPv6 address stands in brackets, such as `[::1]:110`
            'a,b'
              3:9 `via`: this is more than one host ^,^
                help: to go through several, repeat --via, or write a list in the file, such as via = ["gate", "popserver"]
        "#]],
    );
}

#[test]
fn destinations_may_be_tables_and_lists() {
    check_each(
        &ACCOUNT.replace("{}", "deliver = {}"),
        &[
            "[]",
            "['maildir:m', 'x']",
            "['maildir:m', 5]",
            "true",
            "{ mda = ['a', '%T'], timeout = '1m', user = 'vmail' }",
            "{ mda = 'a b' }",
            "{ mda = [] }",
            "{ mda = [''] }",
            "{ mda = 'a \"b' }",
            "{ mda = ['a', 5] }",
            "{ timeout = '1m' }",
            "{ mda = ['a'], timout = '1m' }",
            "{ mda = ['a'], timeout = '0s' }",
            "{ maildir = 'm' }",
            "{ smtp = 'relay', user = 'me', password = { env = 'P' }, tls = 'required' }",
            "{ smtps = 'relay:465', tls-name = 'mail.example.org', tls-ca-file = 'ca.pem' }",
            "{ smtp = 'relay', smtps = 'relay' }",
            "{ smtp = 'relay:smtp', pasword = 'x' }",
            "{ smtp = 'relay', user = 'me', password = 'x' }",
        ],
        expect![[r#"
            []
              3:11 `deliver`: the list names no destination ^[]^
                help: write deliver = "maildir:~/Mail"
            ['maildir:m', 'x']
              3:26 `deliver`: it is not said what kind of destination this is ^x^
                help: write `maildir:` and a directory, such as `maildir:~/Mail`
            ['maildir:m', 5]
              3:25 `deliver` must be a destination, such as "maildir:~/Mail", or a list of them, not a number ^5^
            true
              3:11 `deliver` must be a destination, such as "maildir:~/Mail", or a list of them, not true or false ^true^
            { mda = ['a', '%T'], timeout = '1m', user = 'vmail' }
            { mda = 'a b' }
            { mda = [] }
              3:19 `mda`: the command is empty ^[]^
            { mda = [''] }
              3:19 `mda`: the command has an empty name ^['']^
            { mda = 'a \"b' }
              3:19 `mda`: a quote in the command is not closed ^'a "b'^
            { mda = ['a', 5] }
              3:25 `mda` must be a string, not a number ^5^
            { timeout = '1m' }
              3:11 `deliver`: this table has not one of `mda`, `smtp`, `smtps` ^{ timeout = '1m' }^
                help: write { mda = ["procmail", "-d", "%T"] } or { smtp = "HOST", user = "NAME" }; other destinations are strings
            { mda = ['a'], timout = '1m' }
              3:26 unknown key `timout` beside `mda` ^timout^ did you mean `timeout`?
                help: known are timeout, user
            { mda = ['a'], timeout = '0s' }
              3:37 `timeout`: the duration is shorter than 1s ^0s^
            { maildir = 'm' }
              3:11 `deliver`: this table has not one of `mda`, `smtp`, `smtps` ^{ maildir = 'm' }^
                help: write { mda = ["procmail", "-d", "%T"] } or { smtp = "HOST", user = "NAME" }; other destinations are strings
            { smtp = 'relay', user = 'me', password = { env = 'P' }, tls = 'required' }
            { smtps = 'relay:465', tls-name = 'mail.example.org', tls-ca-file = 'ca.pem' }
            { smtp = 'relay', smtps = 'relay' }
              3:11 `deliver`: this table has not one of `mda`, `smtp`, `smtps` ^{ smtp = 'relay', smtps = 'relay' }^
                help: write { mda = ["procmail", "-d", "%T"] } or { smtp = "HOST", user = "NAME" }; other destinations are strings
            { smtp = 'relay:smtp', pasword = 'x' }
              3:27 `smtp`: the port is not a number from 1 to 65535 ^smtp^
              3:34 unknown key `pasword` beside `smtp` ^pasword^ did you mean `password`?
                help: known are password, tls, tls-ca-file, tls-fingerprint, tls-name, user
            { smtp = 'relay', user = 'me', password = 'x' }
              3:53 a password does not stand here as it is ^'x'^ "prompt" or where to get it from
                help: write password = "prompt" or one of { command = "…" }, { keyring = true }, { netrc = true }, { file = "…" }, { env = "…" }, { credential = "…" }, { literal = "…" }
        "#]],
    );
}

#[test]
fn recipients_are_names_or_addresses() {
    check_each(
        &ACCOUNT.replace("{}", "recipients = {}"),
        &[
            "'msingh'",
            "['a', 'b@c']",
            "[]",
            "''",
            "'-d'",
            "'a b'",
            "'a,b'",
            "'<a@b>'",
            "5",
        ],
        expect![[r#"
            'msingh'
            ['a', 'b@c']
            []
              3:14 `recipients`: the list names nobody ^[]^
            ''
              3:14 `recipients`: the recipient is empty ^''^
            '-d'
              3:15 `recipients`: a recipient cannot start with `-`, which a command would take for an option ^-^
            'a b'
              3:16 `recipients`: a recipient has no blanks, commas, semicolons, brackets or control characters ^ ^
                help: write one recipient in each string: ["msingh", "max@example.org"]
            'a,b'
              3:16 `recipients`: a recipient has no blanks, commas, semicolons, brackets or control characters ^,^
                help: write one recipient in each string: ["msingh", "max@example.org"]
            '<a@b>'
              3:15 `recipients`: a recipient has no blanks, commas, semicolons, brackets or control characters ^<^
                help: write one recipient in each string: ["msingh", "max@example.org"]
            5
              3:14 `recipients` must be a string or a list of strings, not a number ^5^
        "#]],
    );
}

#[test]
fn destinations_have_a_kind() {
    check_each(
        &ACCOUNT.replace("{}", "deliver = '{}'"),
        &[
            "~/Mail",
            "Maildir:~/Mail",
            "mh:~/Mail",
            "maildir:",
            "maildir:~mail/x",
            "mbox:",
            "bsmtp:",
            "lmtp:localhost",
            "lmtp:[::1]",
            "smtp:",
            "smtp:local host",
            "smtp:localhost:smtp",
            "mda:",
            "mda:procmail -d \"x",
        ],
        expect![[r#"
            ~/Mail
              3:12 `deliver`: it is not said what kind of destination this is ^~/Mail^
                help: write `maildir:` and a directory, such as `maildir:~/Mail`
            Maildir:~/Mail
              3:12 `deliver`: unknown kind of destination ^Maildir^
                help: did you mean `maildir:`?
            mh:~/Mail
              3:12 `deliver`: unknown kind of destination ^mh^
                help: known are `bsmtp:`, `lmtp:`, `maildir:`, `mbox:`, `mda:`, `smtp:`, `smtps:`
            maildir:
              3:11 `deliver`: the path is empty ^'maildir:'^
            maildir:~mail/x
              3:20 `deliver`: only `~/` is expanded, not another user's home ^~mail^
                help: write the directory out, or `./~…` for a file of that name
            mbox:
              3:11 `deliver`: the path is empty ^'mbox:'^
            bsmtp:
              3:11 `deliver`: the path is empty ^'bsmtp:'^
            lmtp:localhost
              3:17 `deliver`: the port is missing ^localhost^
                help: write `lmtp:HOST:PORT`, or `lmtp:/PATH` for a socket; LMTP has no usual port
            lmtp:[::1]
              3:17 `deliver`: the port is missing ^[::1]^
                help: write `lmtp:HOST:PORT`, or `lmtp:/PATH` for a socket; LMTP has no usual port
            smtp:
              3:11 `deliver`: the host is missing ^'smtp:'^
            smtp:local host
              3:17 `deliver`: a host name cannot hold a blank ^local host^
            smtp:localhost:smtp
              3:27 `deliver`: the port is not a number from 1 to 65535 ^smtp^
            mda:
              3:11 `deliver`: the command is empty ^'mda:'^
            mda:procmail -d \"x
              3:16 `deliver`: a quote in the command is not closed ^procmail -d "x^
                help: or write the words as a list: { mda = ["procmail", "-d", "%T"] }
        "#]],
    );
}

#[test]
fn durations_say_what_they_miss() {
    check_each(
        &ACCOUNT.replace("{}", "timeout = {}"),
        &[
            "''",
            "'60'",
            "60",
            "'sixty'",
            "'60 parsecs'",
            "'-5s'",
            "'5s!'",
            "'1h ½m'",
            "'99999999999999999999s'",
            "'2d'",
            "'0s'",
            "'0'",
            "true",
        ],
        expect![[r#"
            ''
              3:11 `timeout`: the duration is empty ^''^
                help: write a number and a unit, such as `30s`, `5m`, `12h` or `14d`
            '60'
              3:12 `timeout`: the number has no unit ^60^
                help: write `60s` for seconds, `60m` for minutes
            60
              3:11 `timeout` must be a duration in quotes, not a number ^60^
                help: write "60s" for seconds or "60m" for minutes
            'sixty'
              3:12 `timeout`: a duration starts with a number ^s^
                help: write a number and a unit, such as `30s`, `5m`, `12h` or `14d`
            '60 parsecs'
              3:15 `timeout`: unknown unit of time ^parsecs^
                help: the units are s, m (minutes), h, d and w
            '-5s'
              3:12 `timeout`: a duration cannot be negative ^-^
                help: write a number and a unit, such as `30s`, `5m`, `12h` or `14d`
            '5s!'
              3:14 `timeout`: this does not belong in a duration ^!^
                help: write a number and a unit, such as `30s`, `5m`, `12h` or `14d`
            '1h ½m'
              3:15 `timeout`: this does not belong in a duration ^½^
                help: write a number and a unit, such as `30s`, `5m`, `12h` or `14d`
            '99999999999999999999s'
              3:12 `timeout`: the duration is longer than a century ^99999999999999999999s^
            '2d'
              3:12 `timeout`: the duration is longer than 1day ^2d^
            '0s'
              3:12 `timeout`: the duration is shorter than 1s ^0s^
            '0'
              3:12 `timeout`: the duration is shorter than 1s ^0^
            true
              3:11 `timeout` must be a duration in quotes, not true or false ^true^
        "#]],
    );
    check_each(
        ACCOUNT,
        &["every = '100ms'", "keep = '101y'"],
        expect![[r#"
            every = '100ms'
              3:10 `every`: the duration is shorter than 1s ^100ms^
            keep = '101y'
              3:9 `keep`: the duration is longer than a century ^101y^
        "#]],
    );
}

#[test]
fn limits_are_numbers_above_zero() {
    check_each(
        ACCOUNT,
        &[
            "limit = '10 parsecs'",
            "limit = 0",
            "limit = '0K'",
            "limit = -5",
            "limit = true",
            "fetch-limit = 0",
            "fetch-limit = '7'",
            "fetch-limit = 5_000_000_000",
            "limit-flush = 'yes'",
            "keep = 'newest'",
            "keep = 'newest x'",
            "keep = 'newest -1'",
        ],
        expect![[r#"
            limit = '10 parsecs'
              3:10 `limit`: this is not a size ^10 parsecs^
                help: write a number and a unit, such as `500K`, `10M` or `10MiB`
            limit = 0
              3:9 `limit` must be a number from 1 to 18446744073709551615 ^0^
                help: leave it out for no limit
            limit = '0K'
              3:10 `limit`: the size is zero ^0K^
                help: write a number and a unit, such as `500K`, `10M` or `10MiB`
            limit = -5
              3:9 `limit` must be a number from 1 to 18446744073709551615 ^-5^
                help: leave it out for no limit
            limit = true
              3:9 `limit` must be a size, such as "10M", not true or false ^true^
            fetch-limit = 0
              3:15 `fetch-limit` must be a number from 1 to 4294967295 ^0^
                help: leave it out for no limit
            fetch-limit = '7'
              3:15 `fetch-limit` must be a number, not a string ^'7'^
                help: write it without quotes
            fetch-limit = 5_000_000_000
              3:15 `fetch-limit` must be a number from 1 to 4294967295 ^5_000_000_000^
                help: leave it out for no limit
            limit-flush = 'yes'
              3:15 `limit-flush` must be true or false, not a string ^'yes'^
                help: write it without quotes
            keep = 'newest'
              3:9 `keep`: a duration starts with a number ^n^
                help: write a number and a unit, such as `30s`, `5m`, `12h` or `14d`
            keep = 'newest x'
              3:16 `keep`: this is not a number of messages ^x^
                help: write how many messages stay, such as `newest 100`
            keep = 'newest -1'
              3:16 `keep`: this is not a number of messages ^-1^
                help: write how many messages stay, such as `newest 100`
        "#]],
    );
}

#[test]
fn limits_are_read() {
    let read = |options: &str| {
        let (config, diagnostics) = parse(&ACCOUNT.replace("{}", options));
        assert!(diagnostics.is_empty(), "{options}");
        config.accounts[0].options.clone()
    };
    for (text, octets) in [
        ("100000", 100_000),
        ("'100000'", 100_000),
        ("'500K'", 500_000),
        ("'10 MB'", 10_000_000),
        ("'1.5MiB'", 1_572_864),
    ] {
        let limit = read(&format!("limit = {text}")).limit;
        assert_eq!(limit.map(|limit| limit.value), Some(octets), "{text}");
    }
    let fetch_limit = read("fetch-limit = 7").fetch_limit;
    assert_eq!(fetch_limit.map(|limit| limit.value), Some(7));
    for (text, keep) in [
        ("newest 100", Keep::Newest(100)),
        ("newest  1", Keep::Newest(1)),
        ("newest 0", Keep::Never),
    ] {
        let read = read(&format!("keep = '{text}'")).keep;
        assert_eq!(read.map(|keep| keep.value), Some(keep), "{text}");
    }
}

#[test]
fn keep_is_a_truth_or_a_time() {
    check_each(
        &ACCOUNT.replace("{}", "keep = {}"),
        &["14", "'false'", "'forever'", "[]"],
        expect![[r#"
            14
              3:8 `keep` must be true, false, a duration in quotes or "newest N", not a number ^14^
                help: write "14d" for days, "newest 14" for messages
            'false'
              3:8 `keep` must be true, false, a duration or `newest N`, not a string ^'false'^
                help: write it without quotes
            'forever'
              3:9 `keep`: a duration starts with a number ^f^
                help: write a number and a unit, such as `30s`, `5m`, `12h` or `14d`
            []
              3:8 `keep` must be true, false, a duration or `newest N`, not a list ^[]^
        "#]],
    );
}

#[test]
fn passwords_come_from_exactly_one_known_source() {
    check_each(
        &ACCOUNT.replace("{}", "password = {}"),
        &[
            "'hunter2'",
            "1234",
            "{}",
            "{ command = 'a', file = 'b' }",
            "{ comand = 'a' }",
            "{ command = '  ' }",
            "{ command = 1 }",
            "{ keyring = false }",
            "{ keyring = {} }",
            "{ keyring = { host = 1, user = 2 } }",
            "{ netrc = false }",
            "{ netrc = '' }",
            "{ credential = 'a/b' }",
            "{ credential = '..' }",
            "{ literal = '' }",
            "{ literal = \"a\\nb\" }",
            "{ env = 'A=B' }",
            "{ file = '' }",
        ],
        expect![[r#"
            'hunter2'
              3:12 a password does not stand here as it is ^'hunter2'^ "prompt" or where to get it from
                help: write password = "prompt" or one of { command = "…" }, { keyring = true }, { netrc = true }, { file = "…" }, { env = "…" }, { credential = "…" }, { literal = "…" }
            1234
              3:12 `password` must be "prompt" or a table, not a number ^1234^
                help: write password = "prompt" or one of { command = "…" }, { keyring = true }, { netrc = true }, { file = "…" }, { env = "…" }, { credential = "…" }, { literal = "…" }
            {}
              3:1 a password has exactly one source ^password^ none is given
                help: write password = "prompt" or one of { command = "…" }, { keyring = true }, { netrc = true }, { file = "…" }, { env = "…" }, { credential = "…" }, { literal = "…" }
            { command = 'a', file = 'b' }
              3:1 a password has exactly one source ^password^ 2 are given
                help: write password = "prompt" or one of { command = "…" }, { keyring = true }, { netrc = true }, { file = "…" }, { env = "…" }, { credential = "…" }, { literal = "…" }
            { comand = 'a' }
              3:14 unknown key `comand` in the table of a password ^comand^ did you mean `command`?
                help: known are command, credential, env, file, keyring, literal, netrc
            { command = '  ' }
              3:25 `command`: the command is empty ^  ^
            { command = 1 }
              3:24 `command` must be a string, not a number ^1^
            { keyring = false }
              3:24 `keyring = false` is no source of a password ^false^
                help: write password = "prompt" or one of { command = "…" }, { keyring = true }, { netrc = true }, { file = "…" }, { env = "…" }, { credential = "…" }, { literal = "…" }
            { keyring = {} }
              3:24 an item of the keyring has attributes ^{}^
                help: write keyring = true, or keyring = { service = "pop3", user = "msingh" } with the attributes that `secret-tool store` was given
            { keyring = { host = 1, user = 2 } }
              3:33 `host` must be a string, not a number ^1^
              3:43 `user` must be a string, not a number ^2^
            { netrc = false }
              3:22 `netrc = false` is no source of a password ^false^
                help: write password = "prompt" or one of { command = "…" }, { keyring = true }, { netrc = true }, { file = "…" }, { env = "…" }, { credential = "…" }, { literal = "…" }
            { netrc = '' }
              3:22 `netrc`: the path is empty ^''^
            { credential = 'a/b' }
              3:28 `credential`: that is no name of a credential ^a/b^
            { credential = '..' }
              3:28 `credential`: that is no name of a credential ^..^
            { literal = '' }
              3:24 `literal`: the password is empty ^''^
            { literal = \"a\\nb\" }
              3:24 `literal`: a password cannot hold a line break or NUL ^"a\\nb"^
            { env = 'A=B' }
              3:20 the name of a variable cannot hold `=` or NUL ^'A=B'^
            { file = '' }
              3:21 `file`: the path is empty ^''^
        "#]],
    );
}

#[test]
fn ssh_sections_are_checked() {
    check_each(
        "[ssh.h]\n{}",
        &[
            "port = '22'",
            "port = 70000",
            "user = 'a b'",
            "hostname = 'a/b'",
            "identity = ['a', '']",
            "compression = 'yes'",
            "agent = true",
            "backend = 'putty'",
            "keepalive = '0s'",
            "connect-timeout = '0s'",
        ],
        expect![[r#"
            port = '22'
              2:8 `port` must be a number from 1 to 65535, not a string ^'22'^
                help: write it without quotes
            port = 70000
              2:8 `port` must be a number from 1 to 65535 ^70000^
            user = 'a b'
              2:9 `user`: a user name cannot hold a blank ^a b^
            hostname = 'a/b'
              2:13 `hostname`: a host name cannot hold `/` ^a/b^
            identity = ['a', '']
              2:18 `identity`: the path is empty ^''^
            compression = 'yes'
              2:15 `compression` must be true or false, not a string ^'yes'^
                help: write it without quotes
            agent = true
              2:9 `agent` must be a socket's path or false ^true^
                help: leave `agent` out to use the agent of SSH_AUTH_SOCK
            backend = 'putty'
              2:12 `backend`: unknown SSH client ^putty^
                help: write builtin or openssh
            keepalive = '0s'
            connect-timeout = '0s'
              2:20 `connect-timeout`: the duration is shorter than 1s ^0s^
        "#]],
    );
    check_each(
        "{}",
        &["[ssh.'me@h']", "[ssh.'h:22']", "[ssh.H]\n[ssh.h]"],
        expect![[r#"
            [ssh.'me@h']
              1:6 a host name cannot hold `@` ^'me@h'^
                help: the name is the host as `via` spells it, without user and port, which have keys of their own
            [ssh.'h:22']
              1:6 a host name cannot hold `:` ^'h:22'^
                help: the name is the host as `via` spells it, without user and port, which have keys of their own
            [ssh.H]\n[ssh.h]
              2:6 [ssh.h] is there twice ^h^
                help: upper and lower case make no difference to a host name
        "#]],
    );
}

#[test]
fn a_name_with_dots_needs_quotes() {
    check_each(
        "{}",
        &[
            "[ssh.mail.example.org]\ncompression = true",
            "[account.example.org]\nserver = 'pop3://u@h'",
            "[ssh.h]\npassword.command = 'x'",
        ],
        expect![[r#"
            [ssh.mail.example.org]\ncompression = true
              1:6 a name with dots needs quotes ^mail.example.org^
                help: write [ssh."mail.example.org"]
            [account.example.org]\nserver = 'pop3://u@h'
              1:10 a name with dots needs quotes ^example.org^
                help: write [account."example.org"]
            [ssh.h]\npassword.command = 'x'
        "#]],
    );
}

#[test]
fn forwards_are_checked() {
    check(
        "[forward.netscape]\n",
        expect![[r#"
            1:10 [forward.netscape] has no `listen` ^netscape^ needed here
              help: write listen = "11110"
            1:10 [forward.netscape] has no `via` ^netscape^ needed here
              help: write via = "popserver"
            1:10 [forward.netscape] has no `to` ^netscape^ needed here
              help: write to = "localhost:110"
        "#]],
    );
    check(
        "[forward.f]
listen = '127.0.0.1'
via = []
to = 'localhost'
idle = '5'
allow = 'all'
",
        expect![[r#"
            2:11 `listen`: the port is missing ^127.0.0.1^
              help: write `host:port`, such as `localhost:110` or `[::1]:110`
            3:7 a forward goes through at least one SSH host ^[]^
            4:7 `to`: the port is missing ^localhost^
              help: write `host:port`, such as `localhost:110` or `[::1]:110`
            5:9 `idle`: the number has no unit ^5^
              help: write `5s` for seconds, `5m` for minutes
            6:10 `allow`: whom to allow is not known ^all^
              help: write "same-user" for programs of your own, or "any" for all that can connect
        "#]],
    );
    check(
        "[forward.token]
listen = 'systemd:'
login = 'local-token'
via = 'h'
[forward.g]
listen = '110'
account = 'work'
via = 'h'
to = 'h:1'
protocol = 'smtp'
login = 'password'
",
        expect![[r#"
            1:10 `posthole forward token` means something else ^token^
            1:10 [forward.token] has no `account` ^token^ needed here
              help: write account = "work"
            2:10 `listen`: the name is empty ^'systemd:'^
            4:1 `via` has no place in [forward.token] ^via^
              help: with login = "local-token", the account says where its mailbox is
            7:1 `account` has no place in [forward.g] ^account^
              help: `account` is for login = "local-token"
            10:13 `protocol`: the protocol is not known ^smtp^
              help: write "pop3", "imap" or "other"
            11:10 `login`: how programs log in is not known ^password^
              help: write "local-token", or "pass-through" to have them log in to the server
        "#]],
    );
}

#[test]
fn names_are_fit_for_screens_and_command_lines() {
    check_each(
        "[account.{}]\nserver = 'pop3://u@h'\nx = 1",
        &["'-x'", "'a b'", "\"a\\u001b[31m\"", "'pop3://h'", "''"],
        expect![[r#"
            '-x'
              1:10 a name cannot start with `-` ^'-x'^
              3:1 unknown key `x` in [account.-x] ^x^
                help: known are allow-plaintext, auth, batch-limit, deliver, drop-delivered, drop-status, every, expunge, fetch-all, fetch-limit, filter, flush, keep, limit, limit-flush, max-size, mimedecode, multidrop, password, received, recipients, return-path, rewrite, server, strip-cr, timeout, tls, tls-ca-file, tls-certificate, tls-crl-file, tls-fingerprint, tls-key, tls-name, tracepolls, via
            'a b'
              1:10 a name cannot hold a blank ^'a b'^
              3:1 unknown key `x` in [account.a b] ^x^
                help: known are allow-plaintext, auth, batch-limit, deliver, drop-delivered, drop-status, every, expunge, fetch-all, fetch-limit, filter, flush, keep, limit, limit-flush, max-size, mimedecode, multidrop, password, received, recipients, return-path, rewrite, server, strip-cr, timeout, tls, tls-ca-file, tls-certificate, tls-crl-file, tls-fingerprint, tls-key, tls-name, tracepolls, via
            \"a\\u001b[31m\"
              1:10 a name cannot hold U+001B ^"a\\u001b[31m"^
              3:1 unknown key `x` in [account.a\u{1b}[31m] ^x^
                help: known are allow-plaintext, auth, batch-limit, deliver, drop-delivered, drop-status, every, expunge, fetch-all, fetch-limit, filter, flush, keep, limit, limit-flush, max-size, mimedecode, multidrop, password, received, recipients, return-path, rewrite, server, strip-cr, timeout, tls, tls-ca-file, tls-certificate, tls-crl-file, tls-fingerprint, tls-key, tls-name, tracepolls, via
            'pop3://h'
              1:10 a name that holds `://` would be taken for a URL ^'pop3://h'^
              3:1 unknown key `x` in [account.pop3://h] ^x^
                help: known are allow-plaintext, auth, batch-limit, deliver, drop-delivered, drop-status, every, expunge, fetch-all, fetch-limit, filter, flush, keep, limit, limit-flush, max-size, mimedecode, multidrop, password, received, recipients, return-path, rewrite, server, strip-cr, timeout, tls, tls-ca-file, tls-certificate, tls-crl-file, tls-fingerprint, tls-key, tls-name, tracepolls, via
            ''
              1:10 the name is empty ^''^
              3:1 unknown key `x` in [account.] ^x^
                help: known are allow-plaintext, auth, batch-limit, deliver, drop-delivered, drop-status, every, expunge, fetch-all, fetch-limit, filter, flush, keep, limit, limit-flush, max-size, mimedecode, multidrop, password, received, recipients, return-path, rewrite, server, strip-cr, timeout, tls, tls-ca-file, tls-certificate, tls-crl-file, tls-fingerprint, tls-key, tls-name, tracepolls, via
        "#]],
    );
}

/// Everything that can be said, said.
const FULL: &str = r#"
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
    let manual = include_str!("../../../../doc/posthole.toml.5");
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
    let text = include_str!("../../../../doc/examples/config.toml");
    let (config, diagnostics) = parse(text);
    assert_eq!(render(text, &diagnostics), "");
    assert!(!config.accounts.is_empty() && !config.ssh.is_empty());
}

/// What is commented out in the sample is meant to be uncommented.
#[test]
fn every_commented_key_of_the_sample_is_understood() {
    let text = include_str!("../../../../doc/examples/config.toml");
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

#[test]
fn literal_passwords_need_a_file_that_nobody_else_can_read() {
    let (with, _) = parse(FULL);
    let (without, _) = parse("[account.a]\nserver = 'pop3://u@h'\npassword = { command = 'x' }");
    for (mode, refused) in [
        (0o100_600, false),
        (0o100_400, false),
        (0o100_700, false),
        (0o100_640, true),
        (0o100_604, true),
        (0o100_644, true),
        (0o100_666, true),
        // Who may only write may not read.
        (0o100_622, false),
    ] {
        assert_eq!(
            check_permissions(mode, &with).is_some(),
            refused,
            "{mode:o}"
        );
        assert!(check_permissions(mode, &without).is_none(), "{mode:o}");
    }
    let refusal = check_permissions(0o100_644, &with).unwrap();
    assert_eq!(&FULL[refusal.span.clone().unwrap()], "hunter2");
    let refusal = Diagnostic {
        span: None,
        ..refusal
    };
    expect![[r#"
        the file holds a password and everybody can read it this password is not secret
          help: `chmod 600` the file (its mode is 644), or keep the password elsewhere, such as password = { command = "pass show mail" }
    "#]].assert_eq(&render(FULL, &[refusal]));
}

#[test]
fn misplaced_passwords_need_such_a_file_too() {
    for line in [
        "password = 'hunter2'",
        "passwd = 'hunter2'",
        "password = { litteral = 'hunter2' }",
    ] {
        let (config, _) = parse(&format!("[account.a]\nserver = 'pop3://u@h'\n{line}"));
        assert!(check_permissions(0o644, &config).is_some(), "{line}");
    }
}

/// Texts with the password `hunter2` where it belongs, where it does not, and where nobody could
/// have meant it.
const LEAKS: &[&str] = &[
    "[account.a]\nserver = 'pop3://u@h'\npassword = { literal = 'hunter2' }",
    "[account.a]\nserver = 'pop3://u@h'\npassword = { literal = 'hunter2', x = 1 }",
    "[account.a]\nserver = 'pop3://u@h'\npassword = { litteral = 'hunter2' }",
    "[account.a]\nserver = 'pop3://u@h'\npassword = { value = ['hunter2'] }",
    "[account.a]\nserver = 'pop3://u@h'\npassword = { literal = \"\"\"hunter2\nhunter2\"\"\" }",
    "[account.a]\nserver = 'pop3://u@h'\npassword.literal = 'hunter2'\nkep = 1",
    "[account.a.password]\nliteral = 'hunter2'\nx = 1",
    "[account.a]\nserver = 'pop3://u@h'\npassword = 'hunter2'",
    "[account.a]\nserver = 'pop3://u@h'\npassword = ['hunter2']",
    "[account.a]\nserver = 'pop3://u@h'\npasswrod = 'hunter2'",
    "[account.a]\nserver = 'pop3://u@h'\npass = 'hunter2'",
    "[account.a]\nserver = 'pop3://u@h'\nsecret = { a = 'hunter2' }",
    "[account.a]\nserver = 'pop3://u@h'\ntunnel = { password = 'hunter2' }",
    "[account.a]\nserver = 'pop3://u@h'\n[account.a.secret]\na = [1, 'hunter2']",
    "[account.a]\nserver = 'pop3://u@h'\n[account.a.b]\npassword = 'hunter2'",
    "[accounts.a]\npassword = { literal = 'hunter2' }",
    "[account]\npassword = { literal = 'hunter2' }",
    "[[account.a]]\npassword = { literal = 'hunter2' }",
    "password = 'hunter2'",
    "[account.a]\nserver = 'pop3://u:hunter2@h'",
    "[account.a]\nserver = 'pop3://u:hunter2/x@h'",
    "[account.a]\nserver = 'pop3://u:x@hunter2@h'",
    "[account.a]\nserver = 'pop3://u:hunter2#@h:x'",
    "[account.a]\nserver = 'imaps://u:hunter2@h'",
    "[account.a]\nserver = 'u:hunter2@h'",
    "[account.a]\nserver = \"pop3://u:\\u0068unter2hunter2@h\"",
    "[account.a]\nserver = 'pop3://u@h'\nvia = 'u:hunter2@h'",
    "[account.a]\nserver = 'pop3://u@h'\nvia = ['a', 'ssh://u:hunter2@h']",
    "[ssh.h]\npassword = { literal = 'hunter2' }\nport = 'x'",
    "[ssh.h]\npassword = 'hunter2'",
    // Broken syntax.
    "[account.a]\npassword = hunter2",
    "[account.a]\npassword = 'hunter2",
    "[account.a]\npassword = { literal = 'hunter2'",
    "[account.a]\npassword = { literal = 'hunter2', }}",
    "[account.a]\npassword = { literal 'hunter2' }\npassword = { literal = 'hunter2' }",
    "[account.a\npassword = { literal = 'hunter2' }",
    "[account.a]\npassword = { literal = '''hunter2\nhunter2\nhunter2",
    "[account.a]\npassword = { literal = \"\"\"\nhunter2\nhunter2\"\"\" } x",
    "[account.a]\nserver = pop3://u:hunter2@h",
    "[account.a]\nserver = 'pop3://u:hunter2@h",
];

#[test]
fn no_password_is_shown_wherever_it_stands() {
    for text in LEAKS {
        let (config, diagnostics) = parse(text);
        let shown = config.redact(text);
        assert_eq!(shown.len(), text.len());
        let mut all = format!("{shown}{config:?}");
        for Diagnostic {
            message,
            label,
            help,
            ..
        } in diagnostics
        {
            write!(all, "{message}{label}{help:?}").unwrap();
        }
        assert!(!all.contains("hunter2"), "{text}\n=>\n{all}");
    }
}

#[test]
fn redaction_leaves_everything_else_alone() {
    let text =
        "[account.a]\nserver = 'pop3://u@h'\npassword = { literal = 'ä\"b' } # tail\nx = 1\n";
    let (config, _) = parse(text);
    assert_eq!(
        config.redact(text),
        "[account.a]\nserver = 'pop3://u@h'\npassword = { literal = '****' } # tail\nx = 1\n"
    );
    let text =
        "[account.a]\nserver = 'pop3://u@h'\npassword = { command = 'pass show x' }\nkeep = 14d\n";
    assert_eq!(parse(text).0.redact(text), text);
}

#[test]
fn a_text_that_the_spans_are_not_of_does_no_harm() {
    let (config, _) = parse(FULL);
    assert_eq!(config.redact("short"), "short");
}

#[test]
fn load_says_what_stands_between() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    let missing = load(&path).unwrap_err();
    assert!(missing.is_not_found() && missing.hint().is_some());

    std::fs::write(&path, b"[defaults]\n\xff").unwrap();
    let error = load(&path).unwrap_err();
    assert!(
        matches!(error, LoadError::NotUtf8 { line: 2, .. }),
        "{error}"
    );

    std::fs::write(&path, vec![b'#'; (16 << 20) + 1]).unwrap();
    assert!(matches!(
        load(&path).unwrap_err(),
        LoadError::TooLarge { .. }
    ));

    let error = load(dir.path()).unwrap_err();
    assert!(
        matches!(error, LoadError::Read { .. }) && !error.is_not_found(),
        "{error}"
    );
}

#[test]
fn a_readable_file_with_a_literal_password_is_refused_when_loaded() {
    use std::os::unix::fs::PermissionsExt;
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("config.toml");
    std::fs::write(&path, FULL).unwrap();
    for (mode, refused) in [(0o600, false), (0o644, true)] {
        std::fs::set_permissions(&path, std::fs::Permissions::from_mode(mode)).unwrap();
        let source = load(&path).unwrap();
        assert!(!format!("{source:?}").contains("hunter2"));
        let (_, diagnostics) = source.parse();
        assert_eq!(
            diagnostics.iter().any(Diagnostic::is_error),
            refused,
            "{mode:o}"
        );
    }
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
