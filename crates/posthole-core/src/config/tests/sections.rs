//! Sections besides that of an account, and their names.

use expect_test::expect;

use super::*;

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
