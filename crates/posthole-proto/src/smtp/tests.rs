use std::string::{String, ToString};
use std::vec::Vec;

use proptest::prelude::*;

use super::*;

/// A client that has been greeted.
fn greeted(protocol: Protocol) -> Client {
    let mut client = Client::new(protocol, Limits::default());
    hear(&mut client, b"220 mail.example ESMTP\r\n").unwrap();
    client
}

/// Feeds everything; returns what was answered, as `COMMAND CODE`.
fn hear(client: &mut Client, mut input: &[u8]) -> Result<Vec<String>, Error> {
    let mut heard = Vec::new();
    while !input.is_empty() {
        let received = client.receive(input)?;
        assert!(received.consumed > 0, "no progress");
        input = &input[received.consumed..];
        match received.event {
            Some(Event::Reply { to, reply }) => heard.push(std::format!("{to} {}", reply.code())),
            Some(Event::Unasked(reply)) => heard.push(std::format!("- {}", reply.code())),
            None => {}
        }
    }
    Ok(heard)
}

fn sent(client: &mut Client) -> String {
    let output = String::from_utf8(client.output().to_vec()).unwrap();
    client.output_written(usize::MAX);
    output
}

fn mail(path: &str) -> Command {
    Command::Mail {
        reverse_path: path.into(),
        parameters: MailParameters::default(),
    }
}

#[test]
fn nothing_is_sent_to_a_server_that_is_none_of_smtp() {
    for greeting in [
        "+OK ready\r\n",
        "SSH-2.0-OpenSSH\r\n",
        "* OK IMAP4\r\n",
        "354 go\r\n",
    ] {
        let mut client = Client::new(Protocol::Smtp, Limits::default());
        client.send(Command::Ehlo("us".into())).unwrap();
        let error = hear(&mut client, greeting.as_bytes()).unwrap_err();
        assert!(
            matches!(error, Error::Violation(Violation::NotSmtp { .. })),
            "{error}"
        );
        assert_eq!(sent(&mut client), "");
    }
}

#[test]
fn a_message_in_two_flights() {
    let mut client = greeted(Protocol::Smtp);
    for command in [mail("a@b"), Command::Rcpt("c@d".into()), Command::Data] {
        client.send(command).unwrap();
    }
    assert_eq!(
        sent(&mut client),
        "MAIL FROM:<a@b>\r\nRCPT TO:<c@d>\r\nDATA\r\n"
    );
    assert!(client.text(b"too early").is_err());
    let heard = hear(&mut client, b"250 ok\r\n250-two\r\n250 lines\r\n354 go\r\n").unwrap();
    assert_eq!(heard, ["MAIL FROM 250", "RCPT TO 250", "DATA 354"]);
    client.text(b"Subject: x\n\n.\n").unwrap();
    assert!(client.send(Command::Noop).is_err(), "inside the text");
    client.end_text().unwrap();
    assert_eq!(sent(&mut client), "Subject: x\r\n\r\n..\r\n.\r\n");
    assert_eq!(client.in_flight(), 1);
    assert_eq!(
        hear(&mut client, b"250 2.0.0 queued\r\n").unwrap(),
        ["the message 250"]
    );
}

#[test]
fn lmtp_answers_the_text_for_each_recipient_it_accepted() {
    let mut client = greeted(Protocol::Lmtp);
    client.send(mail("")).unwrap();
    for recipient in ["a@b", "c@d", "e@f"] {
        client.send(Command::Rcpt(recipient.into())).unwrap();
    }
    hear(&mut client, b"250 ok\r\n250 ok\r\n550 no\r\n250 ok\r\n").unwrap();
    client.send(Command::Data).unwrap();
    hear(&mut client, b"354 go\r\n").unwrap();
    client.end_text().unwrap();
    let heard = hear(&mut client, b"250 ok\r\n452 full\r\n").unwrap();
    assert_eq!(heard, ["the message 250", "the message 452"]);
    assert!(hear(&mut client, b"250 one too many\r\n").is_err());
}

#[test]
fn an_argument_cannot_bring_a_command_of_its_own() {
    let mut client = greeted(Protocol::Smtp);
    for path in [
        "a\r\nRCPT TO:<b>",
        "a>",
        "a b@c",
        "a\n",
        "a\0",
        "\"a",
        "",
        &"a".repeat(600),
    ] {
        assert!(client.send(Command::Rcpt(path.into())).is_err(), "{path:?}");
    }
    for path in ["\"a b>\"@c", "\"a\\\"b\"@c", "grün@example.org"] {
        client.send(Command::Rcpt(path.into())).unwrap();
    }
    assert!(client.send(Command::Ehlo("a b".into())).is_err());
    assert!(client.send(mail("a> SIZE=1")).is_err());
}

#[test]
fn the_parameters_of_a_message_are_told() {
    let command = Command::Mail {
        reverse_path: "a@b".into(),
        parameters: MailParameters {
            size: Some(12),
            eight_bit: true,
            utf8: true,
        },
    };
    assert_eq!(
        command.to_string(),
        "MAIL FROM:<a@b> SIZE=12 BODY=8BITMIME SMTPUTF8"
    );
    assert_eq!(mail("").to_string(), "MAIL FROM:<>");
}

#[test]
fn extensions_are_read_from_the_reply_to_ehlo() {
    let extensions = |reply: &[u8]| {
        let mut client = greeted(Protocol::Smtp);
        client.send(Command::Ehlo("us".into())).unwrap();
        let mut input = reply;
        loop {
            let received = client.receive(input).unwrap();
            input = &input[received.consumed..];
            if let Some(Event::Reply { reply, .. }) = received.event {
                return Extensions::of(&reply);
            }
        }
    };
    let all = extensions(
        b"250-PIPELINING.example\r\n250-PIPELINING\r\n250-size 1000\r\n250-8BITMIME\r\n\
          250-SMTPUTF8\r\n250-STARTTLS\r\n250-AUTH PLAIN LOGIN\r\n250-AUTH=LOGIN\r\n250 X-NEW y\r\n",
    );
    assert_eq!(
        all,
        Extensions {
            auth: ["PLAIN", "LOGIN"].map(String::from).into(),
            eight_bit_mime: true,
            pipelining: true,
            size: true,
            size_limit: Some(1000),
            smtp_utf8: true,
            start_tls: true,
        }
    );
    assert_eq!(extensions(b"250 PIPELINING\r\n"), Extensions::default());
    assert_eq!(extensions(b"250-x\r\n250 SIZE 0\r\n").size_limit, None);
    assert_eq!(extensions(b"250-x\r\n250 SIZE -1\r\n").size_limit, None);
}

#[test]
fn what_is_no_reply_ends_the_session() {
    let table: &[&[u8]] = &[
        b"hello\r\n",
        b"25 x\r\n",
        b"2500 x\r\n",
        b"150 x\r\n",
        b"650 x\r\n",
        b"250-a\r\n251 b\r\n",
        b"\r\n",
    ];
    for reply in table {
        let mut client = greeted(Protocol::Smtp);
        client.send(Command::Noop).unwrap();
        let error = hear(&mut client, reply).unwrap_err();
        assert!(matches!(error, Error::Violation(_)), "{error}");
        assert_eq!(hear(&mut client, b"250 ok\r\n").unwrap_err(), error);
    }
}

#[test]
fn replies_are_bounded() {
    let mut client = greeted(Protocol::Smtp);
    client.send(Command::Noop).unwrap();
    let endless = b"250-more\r\n".repeat(1000);
    let error = hear(&mut client, &endless).unwrap_err();
    assert!(matches!(error, Error::Limit(Limit::ReplyLines { .. })));

    let mut client = greeted(Protocol::Smtp);
    client.send(Command::Noop).unwrap();
    let error = hear(&mut client, &[b'2'; 100_000]).unwrap_err();
    assert!(matches!(error, Error::Limit(Limit::LineLength { .. })));
}

#[test]
fn a_server_may_say_goodbye_at_any_time_and_nothing_else() {
    let mut client = greeted(Protocol::Smtp);
    assert_eq!(hear(&mut client, b"421 bye\r\n").unwrap(), ["- 421"]);
    let mut client = greeted(Protocol::Smtp);
    assert!(hear(&mut client, b"250 unasked\r\n").is_err());
    // While a text is being sent, a server may have had enough of it.
    let mut client = greeted(Protocol::Smtp);
    client.send(Command::Data).unwrap();
    hear(&mut client, b"354 go\r\n").unwrap();
    client.text(b"long").unwrap();
    assert_eq!(hear(&mut client, b"552 too long\r\n").unwrap(), ["- 552"]);
}

#[test]
fn the_end_of_the_connection_is_expected_after_quit_only() {
    let mut client = greeted(Protocol::Smtp);
    client.send(Command::Quit).unwrap();
    assert!(client.send(Command::Noop).is_err());
    hear(&mut client, b"221 bye\r\n").unwrap();
    client.end_of_input().unwrap();

    let mut client = greeted(Protocol::Smtp);
    client.send(Command::Data).unwrap();
    let error = client.end_of_input().unwrap_err();
    assert_eq!(
        error.to_string(),
        "the server closed the connection instead of answering DATA"
    );
}

#[test]
fn the_words_of_a_reply_are_cleaned_and_short() {
    let mut client = greeted(Protocol::Smtp);
    client.send(Command::Noop).unwrap();
    let reply = std::format!("550-5.1.1 \x1b[2J\r\n550 {}\r\n", "x".repeat(500));
    let mut input = reply.as_bytes();
    let words = loop {
        let received = client.receive(input).unwrap();
        input = &input[received.consumed..];
        if let Some(Event::Reply { reply, .. }) = received.event {
            break reply.to_text();
        }
    };
    assert!(words.starts_with("550 5.1.1 \u{fffd}[2J x"), "{words}");
    assert!(words.chars().count() <= 401);
}

proptest! {
    #[test]
    fn no_octets_at_all_can_hurt_the_client(
        octets in proptest::collection::vec(prop_oneof![
            Just(b"220 hi\r\n".to_vec()), Just(b"250 ok\r\n".to_vec()), Just(b"354 go\r\n".to_vec()),
            Just(b"250-a\r\n".to_vec()), Just(b"\n.\n".to_vec()), Just(b"\r\n.\r\n".to_vec()),
            proptest::collection::vec(any::<u8>(), 0..20)
        ], 0..20),
    ) {
        crate::fuzz::smtp_client(&octets.concat());
    }

    #[test]
    fn no_input_panics_and_every_step_makes_progress(
        input in proptest::collection::vec(prop_oneof![
            Just(b"250 ok\r\n".to_vec()), Just(b"354 go\r\n".to_vec()), Just(b"250-a\r\n".to_vec()),
            Just(b"421 bye\r\n".to_vec()), proptest::collection::vec(any::<u8>(), 0..20)
        ], 0..20),
        lmtp in any::<bool>(),
    ) {
        let protocol = if lmtp { Protocol::Lmtp } else { Protocol::Smtp };
        let mut client = Client::new(protocol, Limits::default());
        for command in [Command::Lhlo("us".into()), mail("a@b"), Command::Rcpt("c@d".into()), Command::Data] {
            client.send(command).unwrap();
        }
        hear(&mut client, &input.concat()).ok();
        client.end_text().ok();
        client.end_of_input().ok();
    }
}

#[test]
fn a_login_goes_step_by_step() {
    let mut client = greeted(Protocol::Smtp);
    let initial = Some(b"\0me\0hunter2".to_vec().into());
    let mechanism = sasl::Mechanism::Plain;
    client.send(Command::Auth { mechanism, initial }).unwrap();
    assert_eq!(sent(&mut client), "AUTH PLAIN AG1lAGh1bnRlcjI=\r\n");
    assert_eq!(
        hear(&mut client, b"235 welcome\r\n"),
        Ok(std::vec!["AUTH 235".into()])
    );

    let mechanism = sasl::Mechanism::Login;
    let command = Command::Auth {
        mechanism,
        initial: None,
    };
    client.send(command).unwrap();
    assert_eq!(sent(&mut client), "AUTH LOGIN\r\n");
    let response = b"me".to_vec().into();
    assert_eq!(client.respond(&response), Err(Misuse::NoChallenge));
    hear(&mut client, b"334 VXNlcm5hbWU6\r\n").unwrap();
    client.respond(&response).unwrap();
    assert_eq!(sent(&mut client), "bWU=\r\n");
    assert_eq!(client.respond(&response), Err(Misuse::NoChallenge));
    hear(&mut client, b"334 UGFzc3dvcmQ6\r\n").unwrap();
    client.cancel().unwrap();
    assert_eq!(sent(&mut client), "*\r\n");
    assert_eq!(
        hear(&mut client, b"501 cancelled\r\n"),
        Ok(std::vec!["AUTH 501".into()])
    );
}

#[test]
fn neither_a_command_nor_a_reply_shows_the_password() {
    let mut client = greeted(Protocol::Smtp);
    let initial = Some(b"\0me\0hunter2".to_vec().into());
    let mechanism = sasl::Mechanism::Plain;
    let command = Command::Auth { mechanism, initial };
    assert_eq!(command.to_string(), "AUTH PLAIN ****");
    assert!(!std::format!("{command:?}").contains("hunter2"));
    client.conceal(&"hunter2".into());
    client.send(command).unwrap();
    for echo in ["hunter2", "AUTH PLAIN AG1lAGh1bnRlcjI="] {
        let input = std::format!("535 refused: {echo}\r\n");
        let event = client.receive(input.as_bytes()).unwrap().event;
        let Some(Event::Reply { reply, .. }) = event else {
            panic!("no reply: {event:?}");
        };
        assert!(!reply.to_text().contains(echo), "{}", reply.to_text());
        client.awaiting.push_back(CommandKind::Auth);
    }
}

#[test]
fn written_octets_are_wiped() {
    let mut client = greeted(Protocol::Smtp);
    client.send(Command::Noop).unwrap();
    client.output_written(2);
    assert_eq!(client.output(), b"OP\r\n");
    client.output_written(4);
    assert_eq!(client.output(), b"");
}
