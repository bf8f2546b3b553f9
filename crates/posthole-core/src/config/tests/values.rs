//! What a key can be, and what is said about what it cannot.

use expect_test::expect;

use super::*;

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
