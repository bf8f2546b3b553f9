//! The POP3 server, spoken to over plain sockets.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::time::{Duration, Instant};

use posthole_testkit::mail::{self, Big};
use posthole_testkit::net::Ending;
use posthole_testkit::pop3::{Commit, Faults, GREETING, Maildrop, Pop3Server, Reply};

/// A client as dumb as telnet.
struct Client(BufReader<TcpStream>);

impl Client {
    fn connect(addr: SocketAddr) -> Self {
        let stream = TcpStream::connect(addr).unwrap();
        stream
            .set_read_timeout(Some(Duration::from_secs(10)))
            .unwrap();
        Self(BufReader::new(stream))
    }

    fn log_in(server: &Pop3Server) -> Self {
        let mut client = Self::connect(server.addr());
        assert!(client.line().starts_with("+OK"));
        assert_eq!(client.ask("USER msingh"), "+OK");
        assert_eq!(client.ask("PASS secret"), "+OK logged in");
        client
    }

    fn send(&mut self, bytes: &[u8]) {
        self.0.get_mut().write_all(bytes).unwrap();
    }

    fn line(&mut self) -> String {
        let mut line = String::new();
        self.0.read_line(&mut line).unwrap();
        line.strip_suffix("\r\n").unwrap_or(&line).to_owned()
    }

    fn ask(&mut self, command: &str) -> String {
        self.send(format!("{command}\r\n").as_bytes());
        self.line()
    }

    /// The lines of a multi-line answer, undone of dot-stuffing, with their line ends.
    fn body(&mut self) -> Vec<u8> {
        let mut body = Vec::new();
        loop {
            let mut line = Vec::new();
            // Only LF ends these lines, so that a bare CR stays inside.
            while !line.ends_with(b"\r\n") {
                assert_ne!(
                    self.0.read_until(b'\n', &mut line).unwrap(),
                    0,
                    "early end of file"
                );
            }
            if line == b".\r\n" {
                return body;
            }
            body.extend_from_slice(line.strip_prefix(b".").unwrap_or(&line));
        }
    }

    fn ask_lines(&mut self, command: &str) -> Vec<String> {
        let status = self.ask(command);
        assert!(status.starts_with("+OK"), "{status}");
        String::from_utf8(self.body())
            .unwrap()
            .lines()
            .map(str::to_owned)
            .collect()
    }

    fn rest(&mut self) -> std::io::Result<Vec<u8>> {
        let mut rest = Vec::new();
        self.0.read_to_end(&mut rest).map(|_| rest)
    }
}

const LONG: Duration = Duration::from_secs(10);

#[test]
fn a_whole_session_by_the_book() {
    let maildrop = Maildrop::of(["A: 1\r\n\r\none\r\n", "A: 2\r\n\r\n.two\r\n", "three"]);
    let server = Pop3Server::start(&maildrop);
    let mut client = Client::connect(server.addr());
    assert_eq!(client.line(), "+OK posthole test server ready");
    assert!(client.ask_lines("CAPA").contains(&"PIPELINING".to_owned()));
    assert_eq!(client.ask("STAT"), "-ERR unknown command in this state");
    assert_eq!(client.ask("user msingh"), "+OK");
    assert_eq!(
        client.ask("PASS wrong"),
        "-ERR [AUTH] authentication failed"
    );
    assert_eq!(client.ask("USER msingh"), "+OK");
    assert_eq!(client.ask("PASS secret"), "+OK logged in");
    assert_eq!(client.ask("STAT"), "+OK 3 32");
    assert_eq!(client.ask_lines("LIST"), ["1 13", "2 14", "3 5"]);
    assert_eq!(client.ask("LIST 2"), "+OK 2 14");
    let uids = maildrop.uids();
    let uid = |i: usize| String::from_utf8(uids[i].clone()).unwrap();
    assert_eq!(
        client.ask_lines("UIDL"),
        (0..3)
            .map(|i| format!("{} {}", i + 1, uid(i)))
            .collect::<Vec<_>>()
    );
    assert_eq!(client.ask("UIDL 3"), format!("+OK 3 {}", uid(2)));
    assert_eq!(client.ask("RETR 2"), "+OK 14 octets");
    assert_eq!(client.body(), b"A: 2\r\n\r\n.two\r\n");
    assert_eq!(client.ask("RETR 3"), "+OK 5 octets");
    assert_eq!(client.body(), b"three\r\n");
    assert_eq!(client.ask("DELE 2"), "+OK marked for deletion");
    assert_eq!(client.ask("RETR 2"), "-ERR no such message");
    assert_eq!(client.ask("STAT"), "+OK 2 18");
    assert_eq!(client.ask_lines("LIST"), ["1 13", "3 5"]);
    assert_eq!(client.ask("RSET"), "+OK");
    assert_eq!(client.ask("STAT"), "+OK 3 32");
    assert_eq!(client.ask("DELE 1"), "+OK marked for deletion");
    assert_eq!(client.ask("NOOP"), "+OK");
    assert_eq!(client.ask("FROB"), "-ERR unknown command");
    assert_eq!(maildrop.len(), 3);
    assert_eq!(client.ask("QUIT"), "+OK bye");
    assert_eq!(maildrop.deleted(), [uids[0].clone()]);
    assert_eq!(maildrop.uids(), uids[1..]);
    assert_eq!(client.rest().unwrap(), b"");
    let retrieved: Vec<_> = maildrop.retrieved().into_iter().collect();
    assert_eq!(retrieved, [(uids[1].clone(), 1), (uids[2].clone(), 1)]);
}

#[test]
fn a_connection_that_ends_without_quit_deletes_nothing() {
    let maildrop = Maildrop::of(mail::small(2));
    let server = Pop3Server::start(&maildrop);
    let mut client = Client::log_in(&server);
    assert_eq!(client.ask("DELE 1"), "+OK marked for deletion");
    drop(client);
    assert!(server.wait_until_idle(LONG));
    assert_eq!((maildrop.len(), maildrop.deleted().len()), (2, 0));
}

#[test]
fn every_message_of_the_corpus_arrives_as_the_model_says() {
    let mut messages = mail::corpus(5, 100);
    messages.push(mail::dot_first());
    let maildrop = Maildrop::of(messages.clone());
    for faults in [Faults::new(), Faults::new().write_size(1_000)] {
        let server = Pop3Server::start(&maildrop);
        server.set_faults(faults);
        let mut client = Client::log_in(&server);
        for (i, message) in messages.iter().enumerate() {
            assert_eq!(
                client.ask(&format!("RETR {}", i + 1)),
                format!("+OK {} octets", message.len())
            );
            assert_eq!(client.body(), mail::as_received(message));
        }
    }
}

#[test]
fn a_big_message_is_the_same_on_the_wire_and_in_the_model() {
    let big = Big::new(3, 20_000_000);
    let maildrop = Maildrop::of([big.clone()]);
    let server = Pop3Server::start(&maildrop);
    let mut client = Client::log_in(&server);
    assert_eq!(client.ask("RETR 1"), "+OK 20000000 octets");
    let mut expected = Vec::new();
    big.read_crlf().read_to_end(&mut expected).unwrap();
    assert!(client.body() == expected);
    assert_eq!(client.ask_lines("TOP 1 2").len(), 5 + 2);
}

#[test]
fn a_pipelined_opening_is_one_flight_and_lock_step_is_many() {
    let maildrop = Maildrop::of(mail::small(2));
    let builder = Pop3Server::builder().account("msingh", "secret", &maildrop);
    let server = builder.gather(Duration::from_millis(20)).start();
    let mut client = Client::connect(server.addr());
    client.line();
    client.send(b"USER msingh\r\nPASS secret\r\nST");
    client.send(b"AT\r\nQUIT\r\n");
    assert!(client.rest().unwrap().ends_with(b"+OK bye\r\n"));
    assert_eq!(server.flights(1), 1);
    assert_eq!(
        server.log().iter().map(|c| c.pipelined).collect::<Vec<_>>(),
        [false, true, true, true]
    );

    let mut client = Client::log_in(&server);
    client.ask("QUIT");
    assert_eq!(server.flights(2), 3);
    assert_eq!(server.lines()[4..], ["USER msingh", "PASS secret", "QUIT"]);
    assert_eq!((server.count("PASS"), server.connections()), (2, 2));
}

#[test]
fn only_one_session_at_a_time_when_exclusive() {
    let maildrop = Maildrop::of(mail::small(1));
    let server = Pop3Server::builder()
        .account("msingh", "secret", &maildrop)
        .exclusive()
        .start();
    let mut first = Client::log_in(&server);
    let mut second = Client::connect(server.addr());
    second.line();
    second.ask("USER msingh");
    assert!(second.ask("PASS secret").starts_with("-ERR [IN-USE]"));
    assert_eq!(first.ask("QUIT"), "+OK bye");
    second.ask("USER msingh");
    assert_eq!(second.ask("PASS secret"), "+OK logged in");
}

#[test]
fn cuts_pass_exactly_the_bytes_they_allow() {
    let maildrop = Maildrop::of(mail::small(1));
    let server = Pop3Server::start(&maildrop);
    for n in [0, 1, 31, 40] {
        server.set_faults(Faults::new().cut_after_sent(n));
        let mut client = Client::connect(server.addr());
        // The client may be cut off while it still talks.
        client.0.get_mut().write_all(b"CAPA\r\n").ok();
        assert_eq!(client.rest().unwrap().len() as u64, n);
    }
    server.set_faults(Faults::new().cut_after_received(9));
    let mut client = Client::connect(server.addr());
    client.send(b"CAPA\r\nCAPA\r\n");
    assert_eq!(
        client
            .rest()
            .unwrap()
            .windows(5)
            .filter(|w| w == b"\r\n.\r\n")
            .count(),
        1
    );

    server.set_faults(Faults::new().cut_after_sent(10).ending(Ending::Stall));
    let mut client = Client::connect(server.addr());
    client
        .0
        .get_mut()
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    assert!(client.rest().is_err());
    drop(client);
    assert!(server.wait_until_idle(LONG));
}

#[test]
fn rules_replace_answers() {
    let maildrop = Maildrop::of(mail::small(3));
    let server = Pop3Server::start(&maildrop);
    let faults = Faults::new()
        .on("RETR 2", Reply::send("-ERR corrupt\r\n"))
        .on("DELE", Reply::prefix(4).close())
        .on("NOOP", Reply::silence())
        .on_nth(2, "STAT", Reply::send("+OK 9 9\r\n"))
        .for_connections(2..)
        .on(GREETING, Reply::send("+OK hi\r\n"))
        .on("LIST", Reply::edit(|bytes| bytes.to_ascii_lowercase()));
    server.set_faults(faults);
    let mut first = Client::log_in(&server);
    assert!(first.ask("RETR 2").starts_with("+OK"));
    let mut client = Client::log_in(&server);
    assert_eq!(client.ask("RETR 2"), "-ERR corrupt");
    assert!(client.ask("RETR 1").starts_with("+OK 2"));
    client.body();
    assert!(client.ask("STAT").starts_with("+OK 3 "));
    assert_eq!(client.ask("STAT"), "+OK 9 9");
    assert!(client.ask("LIST").starts_with("+ok 3 messages"));
    client.body();
    client.send(b"DELE 1\r\n");
    assert_eq!(client.rest().unwrap(), b"+OK ");
    let mut client = Client::log_in(&server);
    client
        .0
        .get_mut()
        .set_read_timeout(Some(Duration::from_millis(50)))
        .unwrap();
    client.send(b"NOOP\r\nSTAT\r\n");
    assert!(client.rest().is_err());
}

#[test]
fn a_server_without_pipelining_throws_away_what_comes_too_early() {
    let maildrop = Maildrop::of(mail::small(1));
    let server = Pop3Server::builder()
        .account("msingh", "secret", &maildrop)
        .faults(Faults::new().without_pipelining())
        .gather(Duration::from_millis(10))
        .start();
    let mut client = Client::log_in(&server);
    assert!(!client.ask_lines("CAPA").contains(&"PIPELINING".to_owned()));
    client.send(b"STAT\r\nNOOP\r\n");
    assert!(client.line().starts_with("+OK 1 "));
    assert_eq!(client.ask("QUIT"), "+OK bye");
    assert_eq!(server.lines()[2..], ["CAPA", "STAT", "QUIT"]);
}

#[test]
fn quit_may_be_applied_and_not_answered_or_answered_and_not_applied() {
    let maildrop = Maildrop::of(mail::small(3));
    let server = Pop3Server::start(&maildrop);
    let quit = |faults: Faults| {
        server.set_faults(faults);
        let mut client = Client::log_in(&server);
        client.send(b"DELE 1\r\nQUIT\r\n");
        assert_eq!(client.line(), "+OK marked for deletion");
        (client.rest().unwrap(), maildrop.len())
    };
    assert_eq!(
        quit(Faults::new().on("QUIT", Reply::apply().close())),
        (b"".to_vec(), 2)
    );
    assert_eq!(
        quit(Faults::new().on("QUIT", Reply::hang_up())),
        (b"".to_vec(), 2)
    );
    assert_eq!(
        quit(Faults::new().commit(Commit::Never)),
        (b"+OK bye\r\n".to_vec(), 2)
    );
    assert_eq!(
        quit(
            Faults::new()
                .on("QUIT", Reply::hang_up())
                .commit(Commit::AtDele)
        ),
        (b"".to_vec(), 1)
    );
}

#[test]
fn what_a_session_sees_can_be_another_thing_than_what_is_there() {
    let maildrop = Maildrop::new();
    maildrop.add_with_uid(b"\xff\x1b", "a\r\n");
    maildrop.add_with_uid("same", "b\r\n");
    let server = Pop3Server::start(&maildrop);
    server.set_faults(Faults::new().bare_lf().view(|connection, mut entries| {
        if connection == 1 {
            entries.remove(1);
        }
        entries
    }));
    for expected in [
        b"+OK\n1 \xff\x1b\n.\n".as_slice(),
        b"+OK\n1 \xff\x1b\n2 same\n.\n",
    ] {
        let mut client = Client::connect(server.addr());
        client.send(b"USER msingh\r\nPASS secret\r\nUIDL\r\nQUIT\r\n");
        let all = client.rest().unwrap();
        assert!(
            all.windows(expected.len()).any(|w| w == expected),
            "{}",
            all.escape_ascii()
        );
    }
    maildrop.renumber();
    assert_eq!(
        maildrop.uids().concat().escape_ascii().to_string().len(),
        32
    );
}

#[test]
fn a_million_messages_are_listed_in_a_moment() {
    let maildrop = Maildrop::of_tiny(1_000_000);
    let server = Pop3Server::start(&maildrop);
    let start = Instant::now();
    let mut client = Client::log_in(&server);
    client.send(b"UIDL\r\n");
    client.line();
    assert_eq!(
        client.body().iter().filter(|b| **b == b'\n').count(),
        1_000_000
    );
    assert!(start.elapsed() < LONG, "{:?}", start.elapsed());
}

#[test]
fn a_connection_in_memory_is_served_too() {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};

    let server = Pop3Server::start(&Maildrop::new());
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let all = runtime.block_on(async {
        tokio::time::pause();
        let mut stream = server.connect_in_memory();
        stream.write_all(b"QUIT\r\n").await.unwrap();
        let mut all = String::new();
        stream.read_to_string(&mut all).await.unwrap();
        all
    });
    assert_eq!(all, "+OK posthole test server ready\r\n+OK bye\r\n");
}
