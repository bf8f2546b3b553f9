//! What is said about mistakes, and what is hidden of passwords.

use std::fmt::Write as _;

use bstr::BString;
use expect_test::{Expect, expect};
use secrecy::ExposeSecret as _;

use super::*;
use crate::config::Severity;

/// Renders what is said about `text`: place, message, what is underlined, and the help.
fn render(text: &str, rcfile: &Rcfile, diagnostics: &[Diagnostic]) -> String {
    let text = rcfile.redact(text.as_bytes());
    let mut out = String::new();
    for found in diagnostics {
        if let Some(span) = &found.span {
            let line = 1 + text[..span.start].matches('\n').count();
            write!(out, "{line}: ").unwrap();
        }
        if found.severity == Severity::Warning {
            out.push_str("warning: ");
        }
        out.push_str(&found.message);
        if let Some(span) = &found.span {
            write!(out, " ^{}^", text[span.clone()].escape_debug()).unwrap();
        }
        if !found.label.is_empty() {
            write!(out, " {}", found.label).unwrap();
        }
        out.push('\n');
        if let Some(help) = &found.help {
            writeln!(out, "  help: {help}").unwrap();
        }
    }
    out
}

fn request() -> Request {
    Request {
        check_all: true,
        flags: Flags::default(),
        hostname: "host.example".into(),
        idfile: "/home/me/.fetchids".into(),
        names: Vec::new(),
        rcfile_dir: "/home/me".into(),
        superuser: false,
        user: "me".into(),
    }
}

/// Everything that is said about `text`, also once it is merged.
fn diagnose(text: &str) -> String {
    let (rcfile, mut diagnostics) = parse(text.as_bytes());
    if !diagnostics.iter().any(Diagnostic::is_error) {
        diagnostics.extend(rcfile.resolve(&request()).1);
    }
    render(text, &rcfile, &diagnostics)
}

#[track_caller]
fn check(text: &str, expect: Expect) {
    expect.assert_eq(&diagnose(text));
}

/// Checks each of `texts`, and shows it above what is said.
#[track_caller]
fn check_each(texts: &[&str], expect: Expect) {
    let mut out = String::new();
    for text in texts {
        writeln!(
            out,
            "{}",
            text.escape_debug()
                .to_string()
                .replace("\\\"", "\"")
                .replace("\\'", "'")
        )
        .unwrap();
        for line in diagnose(text).lines() {
            writeln!(out, "    {line}").unwrap();
        }
    }
    expect.assert_eq(&out);
}

#[test]
fn options_in_the_wrong_order_are_explained() {
    check_each(
        &[
            "poll x user joe pass b port 110\n",
            "poll x user joe keep no dns\n",
            "poll x user joe keep aka a b uidl timeout 3\n",
            "poll x pass b user joe\n",
            "keep\n",
            "set daemon 30 keep\n",
            "poll x syslog user joe\n",
            "poll x user joe no syslog\n",
            "set keep\n",
            "set timeout 30\n",
            "set foo\n",
            "set logfil x\n",
        ],
        expect![[r#"
            poll x user joe pass b port 110\n
                1: server option after user options: `port` ^port 110^ belongs to the server
                  help: move `port` before the first option of a user (`user`, `pass`, `is`, `keep` …)
            poll x user joe keep no dns\n
                1: server option after user options: `dns` ^dns^ belongs to the server
                  help: move `dns` before the first option of a user (`user`, `pass`, `is`, `keep` …)
            poll x user joe keep aka a b uidl timeout 3\n
                1: server option after user options: `aka` ^aka a b^ belongs to the server
                  help: move `aka` before the first option of a user (`user`, `pass`, `is`, `keep` …)
            poll x pass b user joe\n
                1: `user` stands behind options of a user ^user^ must come first
                  help: options such as `pass`, `is` and `keep` follow the `user` they belong to; those of the server come before it
            keep\n
                1: `keep` stands where `poll`, `skip`, `defaults` or `set` belongs ^keep^
                  help: options follow the `poll`, `skip` or `defaults` that they are for
            set daemon 30 keep\n
                1: `keep` stands where `poll`, `skip`, `defaults` or `set` belongs ^keep^
                  help: options follow the `poll`, `skip` or `defaults` that they are for
            poll x syslog user joe\n
                1: `syslog` is no option of a server or a user ^syslog^
                  help: it holds for the whole run: write `set syslog` before the first `poll`
            poll x user joe no syslog\n
                1: `syslog` is no option of a server or a user ^syslog^
                  help: it holds for the whole run: write `set syslog` before the first `poll`
            set keep\n
                1: `keep` cannot be set for the whole run ^keep^
                  help: to set it for all servers, write it in an entry `defaults` at the beginning
            set timeout 30\n
                1: `timeout` cannot be set for the whole run ^timeout^
                  help: to set it for all servers, write it in an entry `defaults` at the beginning
            set foo\n
                1: `foo` cannot be set for the whole run ^foo^
                  help: known are bouncemail, daemon, idfile, invisible, logfile, pidfile, postmaster, properties, showdots, softbounce, spambounce, syslog
            set logfil x\n
                1: `logfil` cannot be set for the whole run ^logfil^ did you mean `logfile`?
        "#]],
    );
}

#[test]
fn text_without_quotes_is_explained() {
    check_each(
        &[
            "poll x user joe folder a=b\n",
            "poll x user joe folder a;b\n",
            "poll x user joe mda /bin/mail -d joe\n",
            "poll x user joe mda '/bin/mail' '-d'\n",
            "poll x user joe is a b keep c\n",
            "poll x user joe folder any\n",
            "poll x user joe folder keep\n",
            "poll x user joe folder 2024\n",
            "poll 12345\n",
            "poll x:110 user joe\n",
            "poll x 110 user joe\n",
            "poll pop3 user joe\n",
            "poll x user joe folder \"a\n",
            "poll x user joe folder \"a\nkeep\npoll y user \"b\"\n",
            "poll x user joe folder \"a\nb\"\n",
            "poll x user joe folder \"a\"b\n",
            "poll x user joe preconnect \"a\nb\"\n",
            "poll x user joe fetchall # comment",
        ],
        expect![[r#"
            poll x user joe folder a=b\n
                1: a text without quotes ends at `=` ^=^ this no longer belongs to it
                  help: a text with `=` must stand in quotes
            poll x user joe folder a;b\n
            poll x user joe mda /bin/mail -d joe\n
                1: `-d` stands where an option of the user or the next `poll` belongs ^-d^
                  help: it belongs to no option; a text with blanks must stand in quotes
            poll x user joe mda '/bin/mail' '-d'\n
                1: a text in quotes stands where an option of the user or the next `poll` belongs ^\'-d\'^
                  help: it belongs to no option; the option before takes one text, or none
            poll x user joe is a b keep c\n
                1: `c` stands where an option of the user or the next `poll` belongs ^c^
                  help: `keep` takes no argument; if it is meant as one of several names, write it in quotes
            poll x user joe folder any\n
                1: `any` stands where the text for `folder` belongs ^any^
                  help: a word of the language that is meant as a text must stand in quotes
            poll x user joe folder keep\n
                1: `keep` stands where the text for `folder` belongs ^keep^
                  help: a word of the language that is meant as a text must stand in quotes
            poll x user joe folder 2024\n
                1: `2024` stands where the text for `folder` belongs ^2024^
                  help: a text of digits only must stand in quotes
            poll 12345\n
                1: `12345` stands where the name of a server belongs ^12345^
                  help: a text of digits only must stand in quotes
            poll x:110 user joe\n
                1: `110` stands where an option or the next `poll` belongs ^110^
                  help: a port is written `port 110`, behind the name of the server
            poll x 110 user joe\n
                1: `110` stands where an option or the next `poll` belongs ^110^
                  help: a port is written `port 110`, behind the name of the server
            poll pop3 user joe\n
                1: `pop3` stands where the name of a server belongs ^pop3^
                  help: a word of the language that is meant as a text must stand in quotes
            poll x user joe folder "a\n
                1: warning: the quotes here are part of the text ^\"a^ not a text in quotes
                  help: what is in quotes ends with a blank behind the closing quote; a quote inside is written \x22 or \x27
            poll x user joe folder "a\nkeep\npoll y user "b"\n
                1: warning: this text runs over 3 lines ^\"^ the quote opens here
                  help: is a closing quote missing? To break a long text, end its lines with a backslash
                3: warning: the quotes here are part of the text ^b\"^ not a text in quotes
                  help: what is in quotes ends with a blank behind the closing quote; a quote inside is written \x22 or \x27
            poll x user joe folder "a\nb"\n
                1: warning: this text runs over 2 lines ^\"^ the quote opens here
                  help: is a closing quote missing? To break a long text, end its lines with a backslash
            poll x user joe folder "a"b\n
                1: warning: the quotes here are part of the text ^\"a\"b^ not a text in quotes
                  help: what is in quotes ends with a blank behind the closing quote; a quote inside is written \x22 or \x27
            poll x user joe preconnect "a\nb"\n
            poll x user joe fetchall # comment
                1: a comment without the end of its line ^#^
                  help: end the last line of the file with a newline
        "#]],
    );
}

#[test]
fn wrong_values_are_explained() {
    check_each(
        &[
            "poll x proto Pop3\n",
            "poll x proto 'pop3'\n",
            "poll x proto pop\n",
            "poll x proto pop3s\n",
            "poll x proto imaps\n",
            "poll x proto pop33\n",
            "poll x proto smtp\n",
            "poll x proto = pop3\n",
            "poll x auth 'cram-md5'\n",
            "poll x auth plain\n",
            "poll x auth cramm-md5\n",
            "poll x bad-header ignore\n",
            "poll x retrieve-error foo\n",
            "poll x user y limit 50k\n",
            "poll x timeout '30'\n",
            "poll x timeout thirty\n",
            "poll x timeout = 30\n",
            "set daemon = 30\n",
            "poll x port pop3s\n",
            "poll x port pop3\n",
            "poll x user y sslproto = tls1\n",
        ],
        expect![[r#"
            poll x proto Pop3\n
                1: `proto` does not know `Pop3` ^Pop3^
                  help: write `pop3`: these words are not mixed of small and capital letters
            poll x proto 'pop3'\n
                1: `proto` takes a word without quotes ^\'pop3\'^
                  help: known are apop, auto, etrn, imap, kpop, odmr, pop2, pop3, rpop, sdps
            poll x proto pop\n
                1: `proto` does not know `pop` ^pop^
                  help: write `pop3`
            poll x proto pop3s\n
                1: `proto` does not know `pop3s` ^pop3s^ did you mean `pop3`?
                  help: write `proto pop3`, and `ssl` as an option of the user
            poll x proto imaps\n
                1: `proto` does not know `imaps` ^imaps^ did you mean `imap`?
                  help: write `proto imap`, and `ssl` as an option of the user
            poll x proto pop33\n
                1: `proto` does not know `pop33` ^pop33^ did you mean `pop3`?
                  help: known are apop, auto, etrn, imap, kpop, odmr, pop2, pop3, rpop, sdps
            poll x proto smtp\n
                1: `proto` does not know `smtp` ^smtp^
                  help: known are apop, auto, etrn, imap, kpop, odmr, pop2, pop3, rpop, sdps
            poll x proto = pop3\n
                1: `proto` takes no `=` ^=^
                  help: leave it out
            poll x auth 'cram-md5'\n
                1: `auth` takes a word without quotes ^\'cram-md5\'^
                  help: known are any, apop, cram-md5, external, gssapi, implicit, kerberos, kerberos_v5, msn, ntlm, oauthbearer, otp, password, ssh
            poll x auth plain\n
                1: `auth` does not know `plain` ^plain^
                  help: write `auth password`
            poll x auth cramm-md5\n
                1: `auth` does not know `cramm-md5` ^cramm-md5^ did you mean `cram-md5`?
                  help: known are any, apop, cram-md5, external, gssapi, implicit, kerberos, kerberos_v5, msn, ntlm, oauthbearer, otp, password, ssh
            poll x bad-header ignore\n
                1: `bad-header` does not know `ignore` ^ignore^
                  help: known are accept, reject
            poll x retrieve-error foo\n
                1: `retrieve-error` does not know `foo` ^foo^
                  help: known are abort, continue, markseen
            poll x user y limit 50k\n
                1: `limit` needs a number, not `50k` ^50k^
                  help: write all of its digits and no unit: sizes are in octets, times in seconds
            poll x timeout '30'\n
                1: `timeout` needs a number, not a text in quotes ^\'30\'^
                  help: write it without quotes
            poll x timeout thirty\n
                1: `timeout` needs a number, not `thirty` ^thirty^
            poll x timeout = 30\n
                1: `timeout` takes no `=` ^=^
                  help: write `timeout` and the number
            set daemon = 30\n
                1: `daemon` takes no `=` ^30^
                  help: write `daemon` and the number
            poll x port pop3s\n
                1: `port` needs a number, not `pop3s` ^pop3s^
                  help: `service` takes the name of a service as well as a number
            poll x port pop3\n
                1: `port` needs a number, not `pop3` ^pop3^
                  help: `service` takes the name of a service as well as a number
            poll x user y sslproto = tls1\n
                1: `=` stands where the text for `sslproto` belongs ^=^
                  help: leave the `=` out; a text that begins with `=` must stand in quotes
        "#]],
    );
}

#[test]
fn words_that_are_none_are_explained() {
    check_each(
        &[
            "Poll x\n",
            "pol x\n",
            "poll x USER joe\n",
            "poll x user joe nosslcertck\n",
            "poll x user joe no mda\n",
            "poll x user joe no frobnicate\n",
            "poll x user joe no\n",
            "poll x user joe keep yes\n",
            "poll x user joe ssl on\n",
            "poll x user joe kep\n",
            "poll x user joe frobnicate\n",
            "poll x user joe kep limit 3\n",
            "poll x user joe is me here folder INBOX nosslcertck\n",
            "poll x user joe is me Keep\n",
            "poll x pop3 user joe\n",
            "poll x cram-md5 user joe\n",
            "poll x user joe here there\n",
            "poll x user joe is a here b\n",
            "poll x user a b is c there\n",
            "poll x user joe ,, accept\n",
            "\u{feff}poll x\n",
            "poll\n",
            "poll x proto\n",
            "poll x user y folder\n",
            "poll x user y limit\n",
            "poll x user y no",
        ],
        expect![[r#"
            Poll x\n
                1: `Poll` stands where `poll`, `skip`, `defaults` or `set` belongs ^Poll^
                  help: write `poll`
            pol x\n
                1: `pol` stands where `poll`, `skip`, `defaults` or `set` belongs ^pol^ did you mean `poll`?
            poll x USER joe\n
                1: `USER` stands where an option or the next `poll` belongs ^USER^
                  help: write `user`
            poll x user joe nosslcertck\n
                1: `nosslcertck` is taken for one more name of the user, and `here` is missing ^nosslcertck^
                  help: write `no sslcertck`
            poll x user joe no mda\n
                1: `mda` cannot be denied with `no` ^mda^
                  help: leave it out; what is not said is not done
            poll x user joe no frobnicate\n
                1: `frobnicate` cannot be denied with `no` ^frobnicate^ expected an option that can be on or off
            poll x user joe no\n
                2: the file ends where what `no` denies belongs ^^ after `no`
            poll x user joe keep yes\n
                1: `yes` stands where an option of the user or the next `poll` belongs ^yes^
                  help: `keep` alone switches it on, `no keep` off
            poll x user joe ssl on\n
                1: `on` stands where an option of the user or the next `poll` belongs ^on^
                  help: `ssl` alone switches it on, `no ssl` off
            poll x user joe kep\n
                1: `kep` is taken for one more name of the user, and `here` is missing ^kep^ did you mean `keep`?
            poll x user joe frobnicate\n
                2: the end of the file stands where `here` belongs ^^
                  help: several names after `user` are local ones and end with `here`; the name on the server stands alone
            poll x user joe kep limit 3\n
                1: `kep` is taken for one more name of the user, and `here` is missing ^kep^ did you mean `keep`?
            poll x user joe is me here folder INBOX nosslcertck\n
                1: warning: `nosslcertck` is taken for one more name ^nosslcertck^
                  help: write `no sslcertck` if the option is meant, or quotes if it is a name
            poll x user joe is me Keep\n
                1: warning: `Keep` is taken for one more name ^Keep^
                  help: write `keep` if the option is meant, or quotes if it is a name
                1: warning: several local names for joe at `x`, and no `envelope` ^is me Keep^
                  help: without the header that names the envelope's recipient, mail is sorted by guessing, and what is not recognised goes to the postmaster
            poll x pop3 user joe\n
                1: `pop3` stands where an option or the next `poll` belongs ^pop3^
                  help: write `proto` before it: proto pop3
            poll x cram-md5 user joe\n
                1: `cram-md5` stands where an option or the next `poll` belongs ^cram-md5^
                  help: write `auth` before it: auth cram-md5
            poll x user joe here there\n
                1: `there` stands where an option of the user or the next `poll` belongs ^there^
                  help: it belongs behind the names after `user`, `is` or `to`, and only once
            poll x user joe is a here b\n
                1: `b` stands where an option of the user or the next `poll` belongs ^b^
                  help: `here` ends a list of names; the other names come before it
            poll x user a b is c there\n
                1: `is` stands where `here` belongs ^is^
                  help: several names after `user` are local ones and end with `here`; the name on the server stands alone
            poll x user joe ,, accept\n
                1: `accept` stands where an option of the user or the next `poll` belongs ^accept^
                  help: write `bad-header` before it
            \u{feff}poll x\n
                1: the file begins with a byte order mark, which fetchmail takes for text ^\u{feff}poll^
                  help: save the file as UTF-8 without BOM
            poll\n
                2: the file ends where the name of a server belongs ^^ after `poll`
            poll x proto\n
                2: the file ends where a protocol belongs ^^ after `proto`
            poll x user y folder\n
                2: the file ends where a text belongs ^^ after `folder`
            poll x user y limit\n
                2: the file ends where a number belongs ^^ after `limit`
            poll x user y no
                1: the file ends where what `no` denies belongs ^^ after `no`
        "#]],
    );
}

#[test]
fn all_mistakes_are_reported_at_once() {
    check(
        "set demon 300\npoll a proto Pop3 user joe\npoll b user joe limit many\nskip c user joe pass x\n\
         poll d user joe kep\n",
        expect![[r#"
            1: `demon` cannot be set for the whole run ^demon^ did you mean `daemon`?
            2: `proto` does not know `Pop3` ^Pop3^
              help: write `pop3`: these words are not mixed of small and capital letters
            3: `limit` needs a number, not `many` ^many^
            5: `kep` is taken for one more name of the user, and `here` is missing ^kep^ did you mean `keep`?
        "#]],
    );
}

#[test]
fn passwords_are_never_shown() {
    check_each(
        &[
            "poll x user joe pass s3cret;s3cret\n",
            "poll x user joe pass s3cret=s3cret\n",
            "poll x user joe pass s3cret s3cret\n",
            "poll x user joe pass = s3cret\n",
            "poll x user joe pass #s3cret\n is joe here\n",
            "poll x user joe pass #s3cret\n is\n",
            "poll x user joe pass #s3cret s3cret\n",
            "poll x user joe passwd #s3cret s3cret\n",
            "poll x user joe pass \"s3cret s3cret\n",
            "poll x user joe pass 's3'cret'\n",
            "poll x user joe pass 's3cret\ns3cret'\n",
            "poll x user joe passwd s3cret\n",
            "poll x user joe Password s3cret is foo\n",
            "poll x user joe PASSWORD \"s3cret\" is foo\n",
            "poll x esmtppassword s3cret,s3cret\n",
            "poll x user joe pass s3cret,keep kep\n",
            "poll x user joe pass keep kep\n",
            "poll x user joe pass s3\x01cret\u{202e} s3cret\n",
        ],
        expect![[r##"
            poll x user joe pass s3cret;s3cret\n
                1: a text without quotes ends at `;` ^******^ this no longer belongs to it
                  help: a text with `;` must stand in quotes
            poll x user joe pass s3cret=s3cret\n
                1: a text without quotes ends at `=` ^*^ this no longer belongs to it
                  help: a text with `=` must stand in quotes
            poll x user joe pass s3cret s3cret\n
                1: this word stands where an option of the user or the next `poll` belongs ^******^
                  help: it belongs to no option; a text with blanks must stand in quotes
            poll x user joe pass = s3cret\n
                1: `=` stands where the text for `pass` belongs ^*^
                  help: leave the `=` out; a text that begins with `=` must stand in quotes
            poll x user joe pass #s3cret\n is joe here\n
                1: warning: a comment stands where the password is expected ^*******^ this is ignored, and the next word is taken as the password
                  help: a password with `#` must stand in quotes: pass "#…"
                2: this word stands where an option of the user or the next `poll` belongs ^***^
                  help: it belongs to no option; a text with blanks must stand in quotes
            poll x user joe pass #s3cret\n is\n
                1: warning: a comment stands where the password is expected ^*******^ this is ignored, and the next word is taken as the password
                  help: a password with `#` must stand in quotes: pass "#…"
            poll x user joe pass #s3cret s3cret\n
                2: the file ends where a text belongs ^^ after `pass`
            poll x user joe passwd #s3cret s3cret\n
                1: `passwd` is taken for one more name of the user, and `here` is missing ^passwd^ did you mean `password`?
            poll x user joe pass "s3cret s3cret\n
                1: warning: the quotes here are part of the text ^*******^ not a text in quotes
                  help: what is in quotes ends with a blank behind the closing quote; a quote inside is written \x22 or \x27
                1: this word stands where an option of the user or the next `poll` belongs ^******^
                  help: the quote that opens on line 1 is never closed
            poll x user joe pass 's3'cret'\n
                1: warning: the quotes here are part of the text ^*********^ not a text in quotes
                  help: what is in quotes ends with a blank behind the closing quote; a quote inside is written \x22 or \x27
            poll x user joe pass 's3cret\ns3cret'\n
                1: warning: this text runs over 2 lines ^*^ the quote opens here
                  help: is a closing quote missing? To break a long text, end its lines with a backslash
            poll x user joe passwd s3cret\n
                1: `passwd` is taken for one more name of the user, and `here` is missing ^passwd^ did you mean `password`?
            poll x user joe Password s3cret is foo\n
                1: `Password` is taken for one more name of the user, and `here` is missing ^Password^
                  help: write `password`
            poll x user joe PASSWORD "s3cret" is foo\n
                1: `PASSWORD` is taken for one more name of the user, and `here` is missing ^PASSWORD^
                  help: write `password`
            poll x esmtppassword s3cret,s3cret\n
                1: a text without quotes ends at `,` ^******^ this no longer belongs to it
                  help: a text with `,` must stand in quotes
            poll x user joe pass s3cret,keep kep\n
                1: `kep` stands where an option of the user or the next `poll` belongs ^kep^ did you mean `keep`?
            poll x user joe pass keep kep\n
                1: this word stands where an option of the user or the next `poll` belongs ^***^
                  help: it belongs to no option; a text with blanks must stand in quotes
            poll x user joe pass s3\u{1}cret\u{202e} s3cret\n
                1: this word stands where an option of the user or the next `poll` belongs ^******^
                  help: it belongs to no option; a text with blanks must stand in quotes
        "##]],
    );
}

#[test]
fn redaction_keeps_every_place() {
    let text = b"poll caf\xe9 user \xc3\xa9 pass \"s3\ncr\xe9t\" esmtp\xff pass s3cret";
    let (rcfile, _) = parse(text);
    let redacted = rcfile.redact(text);
    assert_eq!(redacted.len(), text.len());
    expect![[r#"
        poll caf? user é pass ***
        ************ pass ******"#]]
    .assert_eq(&redacted);
}

#[test]
fn secrets_are_in_no_debug_output() {
    let (rcfile, diagnostics) = parse(b"poll x esmtppassword s3cret user y pass s3cret\n");
    assert_eq!(diagnostics, []);
    let (configuration, _) = rcfile.resolve(&request());
    let password = configuration.entries[0].users[0].password.as_ref().unwrap();
    assert_eq!(password.expose_secret(), b"s3cret");
    let shown = format!("{rcfile:?} {configuration:?}");
    assert!(!shown.contains("s3cret"), "{shown}");
}

#[test]
fn what_counts_only_when_merged_is_checked() {
    check_each(
        &[
            "poll x proto pop3 user joe folder INBOX\n",
            "poll x proto pop3 port 995 user joe\n",
            "poll x proto imap service imap2 user joe ssl\n",
            "poll x proto rpop port 1110 user joe\n",
            "poll x user joe is a b here\n",
            "poll x user joe lmtp\n",
            "poll x user joe lmtp smtphost localhost/24\n",
            "poll x interface eth0\n",
            "poll x port 65536\n",
            "poll x user joe idle poll y user joe\n",
            "poll x user joe poll y via x user joe\n",
            "poll x user joe fetchall keep idle\n",
            "poll x poll y defaults proto pop3\n",
            "defaults user a user b\npoll x\n",
            "poll x user joe keep pass a nokeep pass b\n",
        ],
        expect![[r#"
            poll x proto pop3 user joe folder INBOX\n
                1: warning: POP3 has no folders ^folder INBOX^
                  help: use `proto imap`, or leave `folder` out
            poll x proto pop3 port 995 user joe\n
                1: warning: the port of `x` does not go with the user's `ssl` ^port 995^
                  help: port 995 is for TLS from the start: add `ssl` to the user's options
            poll x proto imap service imap2 user joe ssl\n
                1: warning: the port of `x` does not go with the user's `ssl` ^service imap2^
                  help: with `ssl` the port is usually 993; without it, STARTTLS is used on port 143
            poll x proto rpop port 1110 user joe\n
                1: RPOP of `x` needs a port below 1024 ^port 1110^
                  help: a server believes RPOP only from such ports
            poll x user joe is a b here\n
                1: warning: several local names for joe at `x`, and no `envelope` ^is a b here^
                  help: without the header that names the envelope's recipient, mail is sorted by guessing, and what is not recognised goes to the postmaster
            poll x user joe lmtp\n
                1: LMTP for `x` cannot use SMTP's port ^lmtp^
                  help: name the port or the socket: smtphost localhost/24, or smtphost /run/lmtp
            poll x user joe lmtp smtphost localhost/24\n
            poll x interface eth0\n
                1: the interface is without an address ^eth0^
                  help: write `interface NAME/ADDRESS` or `interface NAME/ADDRESS/MASK`
            poll x port 65536\n
                1: `65536` is no port ^port 65536^
                  help: a port is a number from 1 to 65535
            poll x user joe idle poll y user joe\n
                1: `idle` waits on one mailbox and never comes to the others ^idle^
                  help: use it with a single account and folder only, or run one fetchmail for each
            poll x user joe poll y via x user joe\n
                1: warning: joe at `x` is there twice ^user joe^
                  help: fetchmail cannot tell apart what was seen through the one and the other
            poll x user joe fetchall keep idle\n
                1: warning: with `fetchall` and `keep`, every poll fetches everything again ^fetchall^
                  help: leave one of them out
            poll x poll y defaults proto pop3\n
                1: `defaults` is not the first entry, or not the only one ^defaults^
                  help: write everything that holds for all servers into one `defaults` at the beginning
            defaults user a user b\npoll x\n
                1: warning: only the first user of `defaults` counts ^defaults^
                  help: fetchmail takes the rest for a server called `defaults`; leave it out
            poll x user joe keep pass a nokeep pass b\n
                1: warning: `nokeep` overrides line 1 ^nokeep^ the last one counts
                1: warning: `pass` overrides line 1 ^pass *^ the last one counts
        "#]],
    );
}

#[test]
fn words_of_later_versions_are_understood() {
    let text = "set pinentry_timeout 5\n\
                poll a proto imap auth oauthbearer idletimeout 60 retrieve-error markseen\n  \
                user joe passwordfile token forceidle sslmode starttls=must sslprotocolversion tls1.3\n\
                poll b auth implicit retrieve-error continue\n  \
                user joe passwordfd 3 sslmode wrapped passeval \"pass show mail\" pwmd_file f\n\
                poll c auth apop retrieve-error abort user joe no forceidle folder continue abort\n";
    let (rcfile, diagnostics) = parse(text.as_bytes());
    assert_eq!(diagnostics, []);
    let (configuration, diagnostics) = rcfile.resolve(&request());
    assert_eq!(diagnostics, []);
    let [a, b, c] = &configuration.entries[..] else {
        panic!("three entries");
    };
    assert_eq!(configuration.globals.pinentry_timeout, Some(5));
    assert_eq!(
        (a.auth, b.auth, c.auth),
        (Auth::OAuthBearer, Auth::Implicit, Auth::Apop)
    );
    assert_eq!(a.idletimeout, Some(60));
    assert_eq!(a.retrieve_error, Some(RetrieveError::MarkSeen));
    assert_eq!(b.retrieve_error, Some(RetrieveError::Continue));
    assert_eq!(c.retrieve_error, Some(RetrieveError::Abort));
    let user = &a.users[0];
    assert_eq!(user.passwordfile, Some(BString::from("/home/me/token")));
    assert_eq!(user.sslmode, Some(BString::from("starttls=must")));
    assert_eq!(user.sslproto, Some(BString::from("tls1.3")));
    assert_eq!(
        (user.forceidle, c.users[0].forceidle),
        (Some(true), Some(false))
    );
    assert_eq!(b.users[0].passwordfd, Some(3));
    assert_eq!(
        b.users[0].passwordeval,
        Some(BString::from("pass show mail"))
    );
    assert_eq!(b.users[0].sslmode, Some(BString::from("wrapped")));
    assert_eq!(c.users[0].folders, ["continue", "abort"]);
}

#[test]
fn ports_come_from_numbers_and_from_the_names_that_mail_has() {
    for (text, port) in [
        ("proto pop3", Some(110)),
        ("proto pop3 user joe ssl", Some(995)),
        ("proto imap", Some(143)),
        ("proto imap user joe ssl", Some(993)),
        ("proto kpop", Some(1109)),
        ("proto pop3 port 11110", Some(11110)),
        ("service ' 11110'", Some(11110)),
        ("service pop3s", Some(995)),
        ("service frobnicate", None),
    ] {
        let (rcfile, _) = parse(format!("poll x {text}\n").as_bytes());
        let (configuration, _) = rcfile.resolve(&request());
        assert_eq!(configuration.entries[0].port(), port, "{text}");
    }
}

#[test]
fn an_option_is_found_where_it_was_written() {
    let text = "set no bouncemail\npoll x no dns, port 110 user joe there is a, b here keep\n";
    let (rcfile, _) = parse(text.as_bytes());
    let entry = &rcfile.entries[0];
    let written = rcfile
        .set
        .iter()
        .chain(&entry.written)
        .chain(&entry.users[0].written);
    let places: Vec<_> = written
        .map(|written| (written.keyword, written.denied, &text[written.span.clone()]))
        .collect();
    assert_eq!(
        places,
        [
            (Keyword::Bouncemail, true, "no bouncemail"),
            (Keyword::Dns, true, "no dns"),
            (Keyword::Port, false, "port 110"),
            (Keyword::User, false, "user joe there"),
            (Keyword::Is, false, "is a, b here"),
            (Keyword::Keep, false, "keep"),
        ]
    );
}

#[test]
fn negations_that_fetchmail_takes_for_the_contrary_are_obeyed() {
    let (rcfile, _) = parse(b"set no showdots poll x no tracepolls poll y tracepolls\n");
    let (configuration, _) = rcfile.resolve(&request());
    assert!(!configuration.globals.showdots);
    let tracepolls: Vec<_> = configuration
        .entries
        .iter()
        .map(|entry| entry.tracepolls)
        .collect();
    assert_eq!(tracepolls, [false, true]);
}

mod untrusted {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::fuzz;

    /// Words that come close to an rc file.
    fn words() -> impl Strategy<Value = Vec<u8>> {
        let word = prop_oneof![
            6 => "(poll|defaults|user|pass|is|to|here|there|set|no|nokeep|keep|port|110|proto|pop3|=)",
            3 => "(auth|password|folder|Keep|nossl|#x|'a b'|\"|'|esmtppassword|daemon|smtphost|lmtp)",
            2 => "[ -~]{0,12}",
            1 => "\\PC{0,6}",
        ];
        let separator = prop_oneof![8 => Just(" "), 2 => Just("\n"), 1 => Just(";"), 1 => Just("")];
        vec((word, separator), 0..30).prop_map(|words| {
            let text = words
                .into_iter()
                .flat_map(|(word, separator)| [word, separator.into()]);
            text.collect::<String>().into_bytes()
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(2000))]

        #[test]
        fn no_words_can_hurt(text in words()) {
            fuzz::rcfile(&text);
        }

        #[test]
        fn no_octets_can_hurt(text in vec(any::<u8>(), 0..200)) {
            fuzz::rcfile(&text);
            fuzz::ssh_command(&text);
        }

        #[test]
        fn no_command_can_hurt(
            command in "(%?(exec )?ssh|%?nc|%socat)( -[NLWCpilJo]{1,2}| [a-z0-9:@%~$=.\\[\\]/*'\"\\\\-]{1,9}| 1:a:2|\\PC){0,9}",
        ) {
            fuzz::ssh_command(command.as_bytes());
        }
    }
}
