//! SASL exchanges, APOP and STLS.

use expect_test::expect;
use posthole_proto::pop3::{Client, Command, Event, Limits, Misuse};
use posthole_proto::sasl::Mechanism;

use crate::transcript::check;

fn greeted() -> Client {
    let mut client = Client::new(Limits::default());
    client.receive(b"+OK\r\n").expect("a greeting");
    client
}

fn auth(mechanism: Mechanism, initial: Option<&[u8]>) -> Command {
    Command::Auth {
        mechanism,
        initial: initial.map(|octets| octets.to_vec().into()),
    }
}

#[test]
fn an_exchange_with_an_initial_response_is_one_command() {
    check(
        r"
        S: +OK
        C: AUTH PLAIN \0msingh\0secret
        S: +OK Logged in.
        C: STAT
        S: +OK 1 20",
        expect![[r#"
            Greeting ""
            Ok to AUTH PLAIN "Logged in."
            Maildrop 1 20
        "#]],
    );
}

#[test]
fn the_exchange_of_rfc_2195_goes_to_and_fro() {
    check(
        r"
        S: +OK
        C: AUTH CRAM-MD5
        S: + PDE4OTYuNjk3MTcwOTUyQHBvc3RvZmZpY2UucmVzdG9uLm1jaS5uZXQ+
        C+ tim b913a602c7eda7a495b4e6e7334d3890
        S: +OK CRAM authentication successful
        C: QUIT
        S: +OK",
        expect![[r#"
            Greeting ""
            Challenge <<1896.697170952@postoffice.reston.mci.net>>
            Ok to AUTH CRAM-MD5 "CRAM authentication successful"
            Ok to QUIT ""
        "#]],
    );
}

#[test]
fn challenges_may_be_empty_in_two_ways() {
    check(
        "S: +OK\nC: AUTH LOGIN\nS: +\nC+ tim\nS: + \nC+ secret\nS: -ERR [AUTH] no",
        expect![[r#"
            Greeting ""
            Challenge <>
            Challenge <>
            Rejected AUTH LOGIN <AUTH> "[AUTH] no"
        "#]],
    );
}

#[test]
fn a_challenge_that_is_nonsense_is_cancelled_and_the_session_goes_on() {
    check(
        r"
        S: +OK
        C: AUTH CRAM-MD5
        S: + what is your name?
        C*
        S: -ERR cancelled
        C: NOOP
        S: +OK",
        expect![[r#"
            Greeting ""
            Challenge that cannot be decoded
            Rejected AUTH CRAM-MD5 "cancelled"
            Ok to NOOP ""
        "#]],
    );
}

#[test]
fn a_challenge_is_a_challenge_only_to_auth() {
    check(
        "S: +OK\nC: NOOP\nS: + abcd",
        expect![[r#"
            Greeting ""
            violation: expected the reply to NOOP, received `+ abcd`
        "#]],
    );
    check(
        "S: +OK\nC: AUTH PLAIN\nS: +abcd",
        expect![[r#"
            Greeting ""
            violation: expected the reply to AUTH PLAIN, received `+abcd`
        "#]],
    );
    check(
        "S: + abcd",
        expect![[r#"
            violation: expected the greeting of a POP3 server, received `+ abcd`
        "#]],
    );
}

#[test]
fn nothing_may_follow_a_challenge_before_its_response() {
    check(
        "S: +OK\nC: AUTH PLAIN\nS: + \nS: +OK you are in",
        expect![[r#"
            Greeting ""
            violation: received `+OK you are in` when no reply was due
        "#]],
    );
    check(
        "S: +OK\nC: AUTH PLAIN\nS: + \nC+ x\nS: +OK\nS: +OK",
        expect![[r#"
            Greeting ""
            Challenge <>
            violation: received `+OK` when no reply was due
        "#]],
    );
}

#[test]
fn a_connection_that_ends_in_an_exchange_has_ended_too_early() {
    check(
        "S: +OK\nC: AUTH PLAIN\nS: + \nEOF",
        expect![[r#"
            Greeting ""
            Challenge <>
            closed: the server closed the connection instead of answering AUTH PLAIN
        "#]],
    );
}

#[test]
fn apop_is_answered_like_a_password() {
    check(
        r"
        S: +OK POP3 server ready <1896.697170952@dbc.mtview.ca.us>
        C: APOP mrose c4c9334bac560ecc979e58001b3e22fb
        S: -ERR bad digest c4c9334bac560ecc979e58001b3e22fb",
        expect![[r#"
            Greeting "POP3 server ready <1896.697170952@dbc.mtview.ca.us>"
            Rejected APOP "(not shown, because it repeats the password)"
        "#]],
    );
}

#[test]
fn a_response_that_comes_back_is_not_shown() {
    check(
        r"
        S: +OK
        C: AUTH PLAIN \0me\0hunter2
        S: -ERR syntax error: AUTH PLAIN AG1lAGh1bnRlcjI=",
        expect![[r#"
            Greeting ""
            Rejected AUTH PLAIN "(not shown, because it repeats the password)"
        "#]],
    );
    let mut client = greeted();
    client.conceal(&"hunter2".into());
    client.send(auth(Mechanism::Login, None)).expect("alone");
    client.output_written(usize::MAX);
    let received = client.receive(b"-ERR no hunter2\r\n").expect("a refusal");
    let shown = format!("{:?}", received.event);
    assert!(!shown.contains("hunter2"), "{shown}");
}

#[test]
fn a_response_may_be_longer_than_a_command_and_is_one_line() {
    let mut client = greeted();
    client.send(auth(Mechanism::XOAuth2, None)).expect("alone");
    assert_eq!(client.output(), b"AUTH XOAUTH2\r\n");
    client.output_written(usize::MAX);
    client.receive(b"+ \r\n").expect("a challenge");
    let token = vec![b'\n'; 3000];
    client.respond(&token.into()).expect("a challenge is there");
    let line = [&b"CgoK".repeat(1000)[..], b"\r\n"].concat();
    assert_eq!(client.output(), line);
    assert_eq!(client.in_flight(), 1);
}

#[test]
fn a_response_counts_as_sent_only_once_it_was_written() {
    let mut client = greeted();
    client.send(auth(Mechanism::Login, None)).expect("alone");
    client.output_written(usize::MAX);
    client.receive(b"+ \r\n").expect("a challenge");
    client
        .respond(&b"tim".to_vec().into())
        .expect("a challenge");
    client.output_written(client.output().len() - 1);
    client
        .receive(b"+OK\r\n")
        .expect_err("the LF is still here");
}

#[test]
fn auth_and_stls_are_alone_in_flight() {
    for alone in [auth(Mechanism::Login, None), Command::Stls] {
        let kind = alone.kind();
        let mut client = greeted();
        client.send(Command::Noop).expect("no argument");
        let refused = Misuse::NotAlone {
            command: kind,
            other: Command::Noop.kind(),
        };
        assert_eq!(client.send(alone.clone()), Err(refused));
        assert_eq!(client.output(), b"NOOP\r\n");

        let mut client = greeted();
        client.send(alone).expect("nothing else");
        for command in [Command::Quit, Command::Noop, Command::Stls] {
            let refused = Misuse::NotAlone {
                command: command.kind(),
                other: kind,
            };
            assert_eq!(client.send(command), Err(refused));
        }
        client.output_written(usize::MAX);
        client.receive(b"-ERR\r\n").expect("a refusal");
        client.send(Command::Quit).expect("it was not quitting");
    }
}

#[test]
fn without_a_challenge_there_is_no_response() {
    let mut client = greeted();
    assert_eq!(client.cancel(), Err(Misuse::NoChallenge));
    client.send(auth(Mechanism::Login, None)).expect("alone");
    let response = b"tim".to_vec().into();
    assert_eq!(client.respond(&response), Err(Misuse::NoChallenge));
    client.output_written(usize::MAX);
    client.receive(b"+ \r\n").expect("a challenge");
    assert_eq!(client.respond(&response), Ok(()));
    assert_eq!(client.respond(&response), Err(Misuse::NoChallenge));
}

#[test]
fn an_endless_challenge_is_not_held() {
    let mut client = greeted();
    client.send(auth(Mechanism::Login, None)).expect("alone");
    client.output_written(usize::MAX);
    client.receive(b"+ ").expect("the beginning of a challenge");
    for _ in 0..10 {
        client.receive(&[b'A'; 4000]).expect("more of it");
    }
    let received = client.receive(b"\r\n").expect("its end");
    assert_eq!(received.event, Some(Event::Challenge { octets: None }));
}

#[test]
fn after_stls_the_session_goes_on_without_a_greeting() {
    check(
        "S: +OK\nC: STLS\nS: +OK Begin TLS negotiation\nC: CAPA\nS: +OK\nS: UIDL\nS: .",
        expect![[r#"
            Greeting ""
            Ok to STLS "Begin TLS negotiation"
            Capabilities ["UIDL"]
        "#]],
    );
    check(
        "S: +OK\nC: STLS\nS: -ERR Command not permitted\nC: QUIT\nS: +OK",
        expect![[r#"
            Greeting ""
            Rejected STLS "Command not permitted"
            Ok to QUIT ""
        "#]],
    );
}

#[test]
fn what_follows_stls_in_the_clear_is_an_attack() {
    check(
        "S: +OK\nC: STLS\nS: +OK begin\nS: +OK you are logged in already",
        expect![[r#"
            Greeting ""
            violation: received `+OK you are logged in already` in the clear where TLS was to begin
        "#]],
    );
    // Octets that come alone are for TLS to refuse; here they are still out of place.
    let mut client = greeted();
    client.send(Command::Stls).expect("alone");
    client.output_written(usize::MAX);
    client.receive(b"+OK\r\n").expect("begin");
    client.receive(b"+").expect_err("nothing was asked");
}
