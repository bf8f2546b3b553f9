//! Sizes that must not matter, and those that must end.

use posthole_proto::pop3::{Client, Command, Error, Event, Limit, Limits};

/// A client to which this command was sent.
fn asked(command: Command) -> Client {
    let mut client = Client::new(Limits::default());
    client.receive(b"+OK\r\n").expect("a greeting");
    client.send(command).expect("an ordinary command");
    client.output_written(usize::MAX);
    client
}

fn retr() -> Command {
    Command::Retr(1.try_into().expect("not 0"))
}

/// Hands in octets and counts the events.
fn events(client: &mut Client, mut input: &[u8]) -> Result<usize, Error> {
    let mut events = 0;
    loop {
        let available = input.len();
        let received = client.receive(input)?;
        input = &input[received.consumed..];
        match received.event {
            Some(_) => events += 1,
            None if received.consumed == available => return Ok(events),
            None => {}
        }
    }
}

#[test]
fn a_message_is_lent_from_the_input_in_large_pieces() {
    let mut client = asked(retr());
    assert_eq!(events(&mut client, b"+OK\r\n"), Ok(1));
    let input = b"a line of ordinary length, such as people write\r\n".repeat(1000);
    for _ in 0..1000 {
        let received = client.receive(&input).expect("a part of the message");
        assert_eq!(received.consumed, input.len());
        let Some(Event::Body(body)) = received.event else {
            panic!("{:?}", received.event)
        };
        assert!(std::ptr::eq(body, &*input), "not the input itself");
    }
    assert_eq!(events(&mut client, b".\r\n"), Ok(1));
}

#[test]
fn a_line_of_a_message_may_have_any_length() {
    let mut client = asked(retr());
    events(&mut client, b"+OK\r\n").expect("a status line");
    for _ in 0..1000 {
        assert_eq!(events(&mut client, &[b'x'; 10_000]), Ok(1));
    }
    assert_eq!(events(&mut client, b"\r\n.\r\n"), Ok(2));
}

#[test]
fn a_million_unique_ids_are_a_million_events() {
    let mut client = asked(Command::Uidl(None));
    events(&mut client, b"+OK\r\n").expect("a status line");
    let lines = b"123456 000000000000000000000000012d5f27\r\n".repeat(1000);
    for _ in 0..1000 {
        assert_eq!(events(&mut client, &lines), Ok(1000));
    }
    assert_eq!(events(&mut client, b".\r\n"), Ok(1));
}

#[test]
fn an_endless_listing_ends() {
    let limits = Limits {
        listing_entries: 10_000,
        ..Limits::default()
    };
    for command in [Command::List(None), Command::Uidl(None)] {
        let mut client = Client::new(limits);
        client.receive(b"+OK\r\n").expect("a greeting");
        let kind = command.kind();
        client.send(command).expect("no argument");
        client.output_written(usize::MAX);
        events(&mut client, b"+OK\r\n").expect("a status line");
        let lines = b"1 1\r\n".repeat(10_000);
        assert_eq!(events(&mut client, &lines), Ok(10_000));
        let limit = Limit::ListingEntries {
            command: kind,
            limit: 10_000,
        };
        assert_eq!(events(&mut client, b"1 1\r\n"), Err(limit.into()));
    }
}

#[test]
fn an_endless_list_of_capabilities_ends() {
    let mut client = asked(Command::Capa);
    let lines = b"X\r\n".repeat(256);
    assert_eq!(
        events(&mut client, &[b"+OK\r\n", &lines[..]].concat()),
        Ok(0)
    );
    let limit = Limit::CapabilityLines { limit: 256 };
    assert_eq!(events(&mut client, b"X\r\n"), Err(limit.into()));
}

#[test]
fn a_greeting_of_100_kb_is_cut_and_the_session_goes_on() {
    let mut client = Client::new(Limits::default());
    let greeting = [b"+OK ", &[b'x'; 100_000][..], b"\r\n"].concat();
    for piece in greeting.chunks(1000) {
        let received = client.receive(piece).expect("a part of the greeting");
        assert_eq!(received.consumed, piece.len());
        if let Some(event) = received.event {
            let Event::Greeting { text } = event else {
                panic!("{event:?}")
            };
            assert_eq!(text.as_bytes().len(), Limits::default().status_line - 4);
        }
    }
    client.send(Command::Noop).expect("no argument");
    client.output_written(usize::MAX);
    assert_eq!(events(&mut client, b"+OK\r\n"), Ok(1));
}

#[test]
fn a_status_line_that_does_not_end_is_given_up_on() {
    let mut client = asked(Command::Noop);
    let error = (0..2000)
        .find_map(|_| events(&mut client, &[b'x'; 1000]).err())
        .expect("an end to our patience");
    let Error::Limit(Limit::LineLength { limit, .. }) = error else {
        panic!("{error:?}")
    };
    assert_eq!(limit, Limits::default().unended_line);
}
