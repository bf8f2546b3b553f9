//! What servers do that they should not.

use expect_test::expect;
use posthole_proto::pop3::{Client, Command, Event, Limits, Misuse};

use crate::transcript::check;

#[test]
fn odd_greetings_are_accepted_or_named() {
    check(
        r"S: +OK \x1b]0;owned\x07 hello \x1b[2J",
        expect![[r#"
        Greeting "�]0;owned� hello �[2J"
    "#]],
    );
    check(
        "S: +OK",
        expect![[r#"
        Greeting ""
    "#]],
    );
    check(
        "S: +ok hello",
        expect![[r#"
        Greeting "hello"
    "#]],
    );
    check(
        "S: +OKready",
        expect![[r#"
        Greeting "ready"
    "#]],
    );
    check(
        "S: 220 mail.example ESMTP \\x1b[31mPostfix",
        expect![[r#"
        violation: expected the greeting of a POP3 server, received `220 mail.example ESMTP �[31mPostfix`
        hint: this looks like an SMTP or FTP server; POP3 usually listens on port 110
    "#]],
    );
    check(
        "S: * OK [CAPABILITY IMAP4rev1] ready",
        expect![[r#"
        violation: expected the greeting of a POP3 server, received `* OK [CAPABILITY IMAP4rev1] ready`
        hint: this looks like an IMAP server; POP3 usually listens on port 110
    "#]],
    );
    check(
        "S: SSH-2.0-OpenSSH_9.6",
        expect![[r#"
        violation: expected the greeting of a POP3 server, received `SSH-2.0-OpenSSH_9.6`
        hint: this looks like an SSH server; POP3 usually listens on port 110
    "#]],
    );
    check(
        "S: hello there",
        expect![[r#"
        violation: expected the greeting of a POP3 server, received `hello there`
    "#]],
    );
    check(
        "S:",
        expect![[r#"
        violation: expected the greeting of a POP3 server, received an empty line
    "#]],
    );
}

#[test]
fn a_line_after_the_greeting_is_unsolicited() {
    check(
        "S: +OK\nS: +OK and by the way\nC: DELE 1",
        expect![[r#"
        violation: received `+OK and by the way` when no reply was due
    "#]],
    );
}

#[test]
fn a_server_that_speaks_bare_lf_throughout_is_understood() {
    check(
        r"
        s: +OK
        C: CAPA
        C: UIDL
        C: RETR 1
        s: +OK
        s: UIDL
        s: .
        s: +OK
        s: 1 abc
        s: .
        s: +OK
        s: Subject: x
        s:
        s: ..dot
        s: .
        C: QUIT
        s: +OK
        EOF",
        expect![[r#"
            Greeting ""
            Capabilities ["UIDL"]
            UniqueIdListing 1 <abc>
            End of UIDL
            Ok to RETR 1 ""
            Body Subject: x\n\n.dot\n
            End of RETR 1
            Ok to QUIT ""
        "#]],
    );
}

#[test]
fn a_server_that_once_ends_a_line_in_crlf_must_end_messages_so() {
    check(
        r"
        s: +OK
        C: RETR 1
        S: +OK
        s: one
        s: .
        s: -ERR is part of the message
        S:
        S: .",
        expect![[r#"
            Greeting ""
            Ok to RETR 1 ""
            Body one\n.\n-ERR is part of the message\n\r\n
            End of RETR 1
        "#]],
    );
    check(
        r"
        S: +OK
        C: RETR 1
        s: +OK
        S~ one\n.\ntwo\r\n
        S: .
        C: LIST
        s: +OK
        s: 1 20
        s: .
        S: .",
        expect![[r#"
            Greeting ""
            Ok to RETR 1 ""
            Body one\n.\ntwo\r\n
            End of RETR 1
            ScanListing 1 20
            MalformedListing of LIST ""
            End of LIST
        "#]],
    );
}

#[test]
fn only_the_right_lone_dot_ends_a_message() {
    check(
        r"
        S: +OK
        C: RETR 1
        S: +OK
        S: LF.LF: \n.\n-ERR not a reply
        S: LF.CRLF: \n.
        S~ CRLF.LF: \r\n.\n\r\n
        S: CR.CR: \r.\r and CR.CRLF: \r.
        S: CR CR LF: \r
        S~ \r\n
        S: .\rx
        S: ...
        S: \xff\0
        S: .
        C: DELE 1
        S: +OK",
        expect![[r#"
            Greeting ""
            Ok to RETR 1 ""
            Body LF.LF: \n.\n-ERR not a reply\r\nLF.CRLF: \n.\r\nCRLF.LF: \r\n\n\r\nCR.CR: \r.\r and CR.CRLF: \r.\r\nCR CR LF: \r\r\n\r\n\rx\r\n..\r\n\xff\x00\r\n
            End of RETR 1
            Ok to DELE 1 ""
        "#]],
    );
}

#[test]
fn a_message_whose_last_line_has_no_end_does_not_seem_to_end() {
    check(
        "S: +OK\nC: RETR 1\nS: +OK\nS: text.\nEOF",
        expect![[r#"
        Greeting ""
        Ok to RETR 1 ""
        Body text.\r\n
        closed: the server closed the connection in the middle of the reply to RETR 1
    "#]],
    );
}

#[test]
fn capa_answered_without_a_list_is_noticed() {
    check(
        "S: +OK\nC: CAPA\nC: USER x\nS: +OK\nS: +OK",
        expect![[r#"
        Greeting ""
        violation: the reply to CAPA was not ended before `+OK`
    "#]],
    );
    check(
        "S: +OK\nC: CAPA\nS: +OK\nEOF",
        expect![[r#"
        Greeting ""
        closed: the server closed the connection in the middle of the reply to CAPA
    "#]],
    );
}

#[test]
fn a_list_that_breaks_off_is_noticed() {
    check(
        "S: +OK\nC: UIDL\nS: +OK\nS: 1 abc\nS: -ERR internal error",
        expect![[r#"
            Greeting ""
            UniqueIdListing 1 <abc>
            violation: the reply to UIDL was not ended before `-ERR internal error`
        "#]],
    );
}

#[test]
fn stat_is_only_advice() {
    check(
        "S: +OK\nC: STAT\nS: +OK 99999999999999999999 1",
        expect![[r#"
            Greeting ""
            Ok to STAT "99999999999999999999 1"
        "#]],
    );
    check(
        "S: +OK\nC: STAT\nS: +OK 2000000000 99999999999999999999",
        expect![[r#"
            Greeting ""
            Maildrop 2000000000 18446744073709551615
        "#]],
    );
    check(
        "S: +OK\nC: STAT\nS: +OK -1 -5",
        expect![[r#"
        Greeting ""
        Ok to STAT "-1 -5"
    "#]],
    );
    check(
        "S: +OK\nC: STAT\nS: +OK",
        expect![[r#"
        Greeting ""
        Ok to STAT ""
    "#]],
    );
}

#[test]
fn listings_are_read_with_patience() {
    check(
        r"
        S: +OK
        C: LIST
        S: +OK
        S: 3 30
        S: 001   00010 extra column
        S: \t2 20
        S: 1 18446744073709551616
        S: 4
        S:
        S: five 50
        S: 0 1
        S: .6 60
        S: .
        C: UIDL
        S: +OK
        S: 9   abc
        S: 1 abc \t
        S: 2 \xff\x1b[2J
        S: 3 a\0a
        S: 4 ../../../../tmp/x
        S: 5
        S: 6 \x20
        S:
        S: seven
        S: .",
        expect![[r#"
            Greeting ""
            ScanListing 3 30
            ScanListing 1 10
            ScanListing 2 20
            ScanListing 1 18446744073709551615
            ScanListing 4 0
            MalformedListing of LIST ""
            MalformedListing of LIST "five 50"
            MalformedListing of LIST "0 1"
            ScanListing 6 60
            End of LIST
            UniqueIdListing 9 <abc>
            UniqueIdListing 1 <abc>
            UniqueIdListing 2 <\xff\x1b[2J>
            UniqueIdListing 3 <a\x00a>
            UniqueIdListing 4 <../../../../tmp/x>
            UniqueIdListing 5 <>
            UniqueIdListing 6 <>
            MalformedListing of UIDL ""
            MalformedListing of UIDL "seven"
            End of UIDL
        "#]],
    );
}

#[test]
fn a_unique_id_too_long_to_keep_is_none() {
    for (length, whole) in [(500, true), (2046, true), (2047, false)] {
        let mut client = Client::new(Limits::default());
        client.receive(b"+OK\r\n").expect("a greeting");
        client.send(Command::Uidl(None)).expect("no argument");
        client.output_written(usize::MAX);
        client.receive(b"+OK\r\n").expect("a status line");
        let line = format!("1 {}\r\n", "u".repeat(length));
        let received = client.receive(line.as_bytes()).expect("a line");
        match received.event {
            Some(Event::UniqueIdListing { uid, .. }) => assert!(whole && uid.len() == length),
            Some(Event::MalformedListing { .. }) => assert!(!whole),
            other => panic!("{other:?}"),
        }
    }
}

#[test]
fn a_reply_too_many_is_never_taken_for_the_next() {
    // With the end of a message.
    check(
        "S: +OK\nC: RETR 1\nS: +OK\nS: x\nS: .\nS: +OK\nC: DELE 1",
        expect![[r#"
            Greeting ""
            Ok to RETR 1 ""
            Body x\r\n
            violation: received `+OK` when no reply was due
        "#]],
    );
    // With the confirmation of a DELE, which then is none.
    check(
        "S: +OK\nC: DELE 1\nS: +OK\nS: +OK",
        expect![[r#"
        Greeting ""
        violation: received `+OK` when no reply was due
    "#]],
    );
    // In a pipeline it shows at the end, and QUIT is not confirmed.
    check(
        "S: +OK\nC: DELE 1\nC: QUIT\nS: +OK\nS: +OK\nS: +OK",
        expect![[r#"
            Greeting ""
            Ok to DELE 1 ""
            violation: received `+OK` when no reply was due
        "#]],
    );
}

#[test]
fn an_explanation_of_several_lines_is_noticed() {
    check(
        "S: +OK\nC: DELE 1\nS: -ERR\nS: because\nS: .",
        expect![[r#"
            Greeting ""
            violation: received `because` when no reply was due
        "#]],
    );
    check(
        "S: +OK\nC: DELE 1\nC: DELE 2\nS: -ERR\nS: because\nS: .",
        expect![[r#"
            Greeting ""
            Rejected DELE 1 ""
            violation: expected the reply to DELE 2, received `because`
        "#]],
    );
}

#[test]
fn a_message_with_undoubled_dots_is_not_complete() {
    check(
        "S: +OK\nC: RETR 1\nS: +OK\nS: one\nS: .\nS: two\nS: .",
        expect![[r#"
            Greeting ""
            Ok to RETR 1 ""
            Body one\r\n
            violation: received `two` when no reply was due
        "#]],
    );
}

#[test]
fn a_password_that_comes_back_is_not_shown() {
    check(
        r"
        S: +OK
        C: PASS hunter2
        S: -ERR [AUTH] wrong password hunter2 for msingh
        C: NOOP
        S: PASS hunter2",
        expect![[r#"
            Greeting ""
            Rejected PASS <AUTH> "(not shown, because it repeats the password)"
            violation: expected the reply to NOOP, received `(not shown, because it repeats the password)`
        "#]],
    );
    check(
        "S: +OK\nC: PASS hunter2\nS: +OK\nS: hunter2",
        expect![[r#"
        Greeting ""
        violation: received `(not shown, because it repeats the password)` when no reply was due
    "#]],
    );
}

#[test]
fn after_an_error_nothing_is_sent_any_more() {
    let mut client = Client::new(Limits::default());
    client.receive(b"+OK\r\n").expect("a greeting");
    client.send(Command::Noop).expect("no argument");
    client.output_written(6);
    client.send(Command::Quit).expect("no argument");
    let error = client.receive(b"what?\r\n").expect_err("no reply");
    assert_eq!(client.output(), b"");
    assert_eq!(client.receive(b"+OK\r\n+OK\r\n"), Err(error.clone()));
    assert_eq!(client.end_of_input(), Err(error));
    assert!(
        client.send(Command::Noop).is_err(),
        "QUIT was sent, whatever the server did"
    );
}

#[test]
fn a_closed_connection_stays_closed() {
    let mut client = Client::new(Limits::default());
    client.receive(b"+OK\r\n").expect("a greeting");
    let error = client.end_of_input().expect_err("no QUIT");
    assert_eq!(client.receive(b"+OK\r\n"), Err(error));
    assert_eq!(client.send(Command::Noop), Ok(()));
    assert_eq!(client.output(), b"");
}

#[test]
fn a_command_is_not_answered_before_it_was_written() {
    let mut client = Client::new(Limits::default());
    client.receive(b"+OK\r\n").expect("a greeting");
    client.send(Command::Noop).expect("no argument");
    client.output_written(5);
    client
        .receive(b"+OK\r\n")
        .expect_err("the LF is still here");

    let mut client = Client::new(Limits::default());
    client.receive(b"+OK\r\n").expect("a greeting");
    client.send(Command::Noop).expect("no argument");
    client.output_written(5);
    client.output_written(1);
    client.receive(b"+OK\r\n").expect("a reply");
}

#[test]
fn a_command_that_waits_for_the_greeting_is_not_answered_with_it() {
    let mut client = Client::new(Limits::default());
    client.send(Command::Noop).expect("no argument");
    client
        .receive(b"+OK\r\n+OK\r\n")
        .expect_err("NOOP has not left");
}

#[test]
fn no_octet_leaves_before_the_greeting() {
    let mut client = Client::new(Limits::default());
    client
        .send(Command::Pass("secret".into()))
        .expect("a password");
    assert_eq!(client.output(), b"");
    client.output_written(100);
    client.receive(b"+OK\r\n").expect("a greeting");
    assert_eq!(client.output(), b"PASS secret\r\n");

    for greeting in [&b"220 mail.example\r\n"[..], b"-ERR [SYS/TEMP] later\r\n"] {
        let mut client = Client::new(Limits::default());
        client
            .send(Command::Pass("secret".into()))
            .expect("a password");
        drop(client.receive(greeting));
        assert_eq!(client.output(), b"", "{}", greeting.escape_ascii());
        client.send(Command::Noop).expect("no argument");
        assert_eq!(client.output(), b"", "{}", greeting.escape_ascii());
    }
}

#[test]
fn after_a_refused_greeting_no_reply_is_due() {
    let mut client = Client::new(Limits::default());
    client.send(Command::Capa).expect("no argument");
    assert_eq!(client.in_flight(), 2);
    client.receive(b"-ERR later\r\n").expect("a refusal");
    assert_eq!((client.in_flight(), client.end_of_input()), (0, Ok(())));
}

#[test]
fn no_octet_of_a_command_with_a_line_break_leaves() {
    let mut client = Client::new(Limits::default());
    client.receive(b"+OK\r\n").expect("a greeting");
    for smuggled in ["a\r\nDELE 1", "a\nDELE 1", "a\rDELE 1", "a\0"] {
        for command in [
            Command::User(smuggled.into()),
            Command::Pass(smuggled.into()),
        ] {
            let misuse = Misuse::ForbiddenOctet {
                command: command.kind(),
            };
            assert_eq!(client.send(command), Err(misuse));
            assert_eq!((client.output(), client.in_flight()), (&b""[..], 0));
        }
    }
}

#[test]
fn nothing_that_the_client_prints_holds_the_password() {
    let mut client = Client::new(Limits::default());
    client.receive(b"+OK\r\n").expect("a greeting");
    client
        .send(Command::Pass("hunter2".into()))
        .expect("a password");
    assert!(!format!("{client:?}").contains("hunter2"));
}
