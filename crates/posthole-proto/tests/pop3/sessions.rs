//! What goes well, or is refused in good order.

use expect_test::expect;

use crate::transcript::check;

#[test]
fn an_ordinary_session_one_command_at_a_time() {
    check(
        r"
        S: +OK Dovecot ready.
        C: CAPA
        S: +OK
        S: CAPA
        S: TOP
        S: UIDL
        S: PIPELINING
        S: SASL PLAIN
        S: .
        C: USER msingh
        S: +OK
        C: PASS secret
        S: +OK Logged in.
        C: STAT
        S: +OK 2 320
        C: UIDL
        S: +OK
        S: 1 0000001a
        S: 2 0000001b
        S: .
        C: LIST
        S: +OK 2 messages:
        S: 1 120
        S: 2 200
        S: .
        C: RETR 1
        S: +OK 120 octets
        S: Subject: hello
        S:
        S: ..leading dot
        S: end
        S: .
        C: TOP 2 0
        S: +OK
        S: Subject: again
        S:
        S: .
        C: NOOP
        S: +OK
        C: DELE 1
        S: +OK Marked to be deleted.
        C: RSET
        S: +OK
        C: QUIT
        S: +OK Logging out.
        EOF",
        expect![[r#"
            Greeting "Dovecot ready."
            Capabilities ["TOP", "UIDL", "PIPELINING", "SASL PLAIN", "CAPA"]
            Ok to USER ""
            Ok to PASS "Logged in."
            Maildrop 2 320
            UniqueIdListing 1 <0000001a>
            UniqueIdListing 2 <0000001b>
            End of UIDL
            ScanListing 1 120
            ScanListing 2 200
            End of LIST
            Ok to RETR 1 "120 octets"
            Body Subject: hello\r\n\r\n.leading dot\r\nend\r\n
            End of RETR 1
            Ok to TOP 2 0 ""
            Body Subject: again\r\n\r\n
            End of TOP 2 0
            Ok to NOOP ""
            Ok to DELE 1 "Marked to be deleted."
            Ok to RSET ""
            Ok to QUIT "Logging out."
        "#]],
    );
}

#[test]
fn a_pipelined_session_keeps_replies_and_commands_together() {
    check(
        r"
        S: +OK
        C: USER msingh
        C: PASS secret
        C: STAT
        C: UIDL
        C: LIST
        S: +OK
        S: +OK
        S: +OK 1 20
        S: +OK
        S: 1 a
        S: .
        S: +OK
        S: 1 20
        S: .
        C: RETR 1
        C: RETR 2
        C: DELE 1
        C: RETR 3
        C: QUIT
        S: +OK
        S: one
        S: .
        S: -ERR there is no message 2
        S: +OK deleted
        S: +OK
        S: .
        S: +OK bye
        EOF",
        expect![[r#"
            Greeting ""
            Ok to USER ""
            Ok to PASS ""
            Maildrop 1 20
            UniqueIdListing 1 <a>
            End of UIDL
            ScanListing 1 20
            End of LIST
            Ok to RETR 1 ""
            Body one\r\n
            End of RETR 1
            Rejected RETR 2 "there is no message 2"
            Ok to DELE 1 "deleted"
            Ok to RETR 3 ""
            End of RETR 3
            Ok to QUIT "bye"
        "#]],
    );
}

#[test]
fn a_refusal_is_one_line_whatever_was_asked() {
    check(
        r"
        S: +OK
        C: CAPA
        S: -ERR unknown command
        C: UIDL
        C: LIST
        C: RETR 1
        C: TOP 1 5
        C: STAT
        S: -ERR no UIDL
        S: -ERR
        S: -ERR [SYS/TEMP] disk busy
        S: -ERR no
        S: -ERR
        C: QUIT
        S: -ERR nothing was deleted
        EOF",
        expect![[r#"
            Greeting ""
            Rejected CAPA "unknown command"
            Rejected UIDL "no UIDL"
            Rejected LIST ""
            Rejected RETR 1 <SYS/TEMP> "[SYS/TEMP] disk busy"
            Rejected TOP 1 5 "no"
            Rejected STAT ""
            Rejected QUIT "nothing was deleted"
        "#]],
    );
}

#[test]
fn single_listings_answer_in_one_line() {
    check(
        r"
        S: +OK
        C: LIST 2
        C: UIDL 2
        C: UIDL 2
        C: UIDL 3
        C: LIST 3
        S: +OK 2 200
        S: +OK 2 abc
        S: +OK abc
        S: +OK 1 abc
        S: +OK message has 200 octets",
        expect![[r#"
            Greeting ""
            ScanListing 2 200
            UniqueIdListing 2 <abc>
            Ok to UIDL 2 "abc"
            Ok to UIDL 3 "1 abc"
            Ok to LIST 3 "message has 200 octets"
        "#]],
    );
}

#[test]
fn response_codes_tell_the_reason() {
    check(
        r"
        S: +OK
        C: PASS a
        C: PASS b
        C: PASS c
        C: PASS d
        C: PASS e
        C: PASS f
        S: -ERR [AUTH] invalid credentials
        S: -ERR [LOGIN-DELAY] wait 900 s
        S: -ERR [SYS/TEMP] backend down
        S: -ERR [SYS/PERM] disk died
        S: -ERR [in-use] maildrop already locked by another POP3 session
        S: -ERR [UTF8] no",
        expect![[r#"
            Greeting ""
            Rejected PASS <AUTH> "[AUTH] invalid credentials"
            Rejected PASS <LOGIN-DELAY> "[LOGIN-DELAY] wait 900 s"
            Rejected PASS <SYS/TEMP> "[SYS/TEMP] backend down"
            Rejected PASS <SYS/PERM> "[SYS/PERM] disk died"
            Rejected PASS <IN-USE> "[in-use] maildrop already locked by another POP3 session"
            Rejected PASS <UTF8> "[UTF8] no"
        "#]],
    );
}

#[test]
fn the_server_may_close_after_quit_only() {
    check(
        "S: +OK\nC: QUIT\nS: +OK\nEOF",
        expect![[r#"
        Greeting ""
        Ok to QUIT ""
    "#]],
    );
    check(
        "S: +OK\nC: QUIT\nEOF",
        expect![[r#"
        Greeting ""
        closed: the server closed the connection instead of answering QUIT
    "#]],
    );
    check(
        "S: +OK\nEOF",
        expect![[r#"
        Greeting ""
        closed: the server closed the connection before the end of the session
    "#]],
    );
    check(
        "EOF",
        expect![[r#"
        closed: the server closed the connection without a greeting
    "#]],
    );
    check(
        "S~ +OK rea\nEOF",
        expect![[r#"
        closed: the server closed the connection in the middle of the greeting
    "#]],
    );
    check(
        "S: +OK\nC: PASS x\nEOF",
        expect![[r#"
        Greeting ""
        closed: the server closed the connection instead of answering PASS
    "#]],
    );
    check(
        "S: +OK\nC: PASS x\nS~ +\nEOF",
        expect![[r#"
        Greeting ""
        closed: the server closed the connection in the middle of the reply to PASS
    "#]],
    );
    check(
        "S: +OK\nC: RETR 1\nS: +OK\nS: half\nEOF",
        expect![[r#"
        Greeting ""
        Ok to RETR 1 ""
        Body half\r\n
        closed: the server closed the connection in the middle of the reply to RETR 1
    "#]],
    );
    check(
        "S: +OK\nC: RETR 1\nS: +OK\nS~ text\\r\\n.\\r\nEOF",
        expect![[r#"
            Greeting ""
            Ok to RETR 1 ""
            Body text\r\n
            closed: the server closed the connection in the middle of the reply to RETR 1
        "#]],
    );
    check(
        "S: +OK\nC: UIDL\nS: +OK\nEOF",
        expect![[r#"
        Greeting ""
        closed: the server closed the connection in the middle of the reply to UIDL
    "#]],
    );
    check(
        "S: -ERR [SYS/TEMP] come back later\nEOF",
        expect![[r#"
        Rejected the connection <SYS/TEMP> "[SYS/TEMP] come back later"
    "#]],
    );
}

#[test]
fn nothing_can_be_sent_after_quit() {
    check(
        "S: +OK\nC: QUIT\nC: DELE 1",
        expect![[r#"
        Greeting ""
        misuse: DELE 1 cannot be sent after QUIT
    "#]],
    );
}
