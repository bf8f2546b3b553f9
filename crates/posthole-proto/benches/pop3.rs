//! What a mailbox costs on its way through the protocol, without any IO.
//!
//! Input comes in pieces of 32 KiB, as a channel of OpenSSH brings it. What is measured is a
//! function in [`unit`], and each runs alone in `cargo xtask instructions` too, where instructions
//! are counted instead of time.

use divan::counter::{BytesCount, ItemsCount};
use divan::{AllocProfiler, Bencher, black_box};
use posthole_proto::pop3::Command;

fn main() {
    divan::main();
}

/// Shows how often memory is allocated, beside the times.
#[global_allocator]
static ALLOCATOR: AllocProfiler = AllocProfiler::system();

#[divan::bench]
fn line_framing(bencher: Bencher<'_, '_>) {
    let text = text(MEBIBYTE);
    bencher
        .counter(BytesCount::of_slice(&text))
        .bench_local(|| unit::line_framing(black_box(&text)));
}

#[divan::bench]
fn dot_unstuffing(bencher: Bencher<'_, '_>) {
    let text = body(MEBIBYTE);
    bencher
        .counter(BytesCount::of_slice(&text))
        .bench_local(|| unit::dot_unstuffing(black_box(&text)));
}

/// One message of 1 MiB.
#[divan::bench]
fn retr_large(bencher: Bencher<'_, '_>) {
    let reply = retr_reply(MEBIBYTE);
    bencher
        .counter(BytesCount::of_slice(&reply))
        .bench_local(|| unit::retr_large(black_box(&reply)));
}

/// 400 messages of 2.5 kB, all asked for at once.
#[divan::bench]
fn retr_small(bencher: Bencher<'_, '_>) {
    let replies = retr_reply(2_500).repeat(SMALL as usize);
    bencher
        .counter(ItemsCount::new(SMALL))
        .bench_local(|| unit::retr_small(black_box(&replies)));
}

#[divan::bench]
fn uidl(bencher: Bencher<'_, '_>) {
    let mut reply = "+OK\r\n".to_owned();
    for number in 1..=LISTED {
        reply += &format!("{number} {number:08x}65f2c1d4\r\n");
    }
    reply += ".\r\n";
    bencher
        .counter(ItemsCount::new(LISTED))
        .bench_local(|| unit::uidl(black_box(reply.as_bytes())));
}

/// The measured functions. They are not inlined, so that they can be found by name.
mod unit {
    use posthole_proto::dot::Unstuffer;
    use posthole_proto::line::{LineEnd, LineReader};

    use super::{Command, PIECE, SMALL, session};

    #[inline(never)]
    pub(super) fn line_framing(text: &[u8]) -> usize {
        let mut lines = LineReader::new(usize::MAX);
        let mut found = 0;
        for mut piece in text.chunks(PIECE) {
            while !piece.is_empty() {
                let (consumed, line) = lines.next(piece, 2048).expect("no limit");
                found += usize::from(line.is_some());
                piece = &piece[consumed..];
            }
        }
        found
    }

    #[inline(never)]
    pub(super) fn dot_unstuffing(text: &[u8]) -> usize {
        let mut unstuffer = Unstuffer::new(LineEnd::Crlf);
        let mut octets = 0;
        for mut piece in text.chunks(PIECE) {
            while !piece.is_empty() {
                let step = unstuffer.next(piece);
                octets += step.body.len();
                piece = &piece[step.consumed..];
            }
        }
        octets
    }

    #[inline(never)]
    pub(super) fn retr_large(reply: &[u8]) -> u64 {
        session([Command::Retr(super::number(1))], reply)
    }

    #[inline(never)]
    pub(super) fn retr_small(replies: &[u8]) -> u64 {
        session(
            (1..=SMALL).map(|n| Command::Retr(super::number(n))),
            replies,
        )
    }

    #[inline(never)]
    pub(super) fn uidl(reply: &[u8]) -> u64 {
        session([Command::Uidl(None)], reply)
    }
}

/// Sends commands, takes the answers, and counts the octets of messages and unique-ids.
fn session(commands: impl IntoIterator<Item = Command>, answers: &[u8]) -> u64 {
    use posthole_proto::pop3::{Client, Event, Limits};

    let mut client = Client::new(Limits::default());
    client.receive(b"+OK\r\n").expect("a greeting");
    for command in commands {
        client.send(command).expect("a command in order");
    }
    client.output_written(usize::MAX);
    let mut octets = 0;
    for mut piece in answers.chunks(PIECE) {
        while !piece.is_empty() {
            let received = client.receive(piece).expect("a faultless server");
            octets += match received.event {
                Some(Event::Body(body)) => body.len() as u64,
                Some(Event::UniqueIdListing { uid, .. }) => uid.len() as u64,
                _ => 0,
            };
            piece = &piece[received.consumed..];
        }
    }
    assert_eq!(client.in_flight(), 0, "everything is answered");
    octets
}

fn number(number: u32) -> posthole_proto::pop3::MessageNumber {
    number.try_into().expect("not zero")
}

fn retr_reply(octets: usize) -> Vec<u8> {
    [b"+OK\r\n", body(octets).as_slice(), b".\r\n"].concat()
}

/// Text as RETR brings it: every 50th line begins with a dot, which is doubled.
fn body(octets: usize) -> Vec<u8> {
    let mut body = Vec::with_capacity(octets + 100);
    for (line, number) in LINES.iter().cycle().zip(0..) {
        if body.len() >= octets {
            break;
        }
        if number % 50 == 49 {
            body.extend_from_slice(b"..");
        }
        body.extend_from_slice(line.as_bytes());
        body.extend_from_slice(b"\r\n");
    }
    body
}

/// Text without dots in the way.
fn text(octets: usize) -> Vec<u8> {
    let mut text = LINES.join("\r\n").into_bytes();
    text.extend_from_slice(b"\r\n");
    text.repeat(octets / text.len() + 1)
}

/// Lines of all lengths that mail has.
const LINES: [&str; 8] = [
    "Received: from mx.example.net (mx.example.net [192.0.2.25]) by mail.example.org with ESMTPS",
    "\tfor <msingh@example.edu>; Tue, 3 Feb 2026 09:14:55 +0000 (UTC)",
    "",
    "Dear all,",
    "the minutes of the last meeting are attached. Please tell me before Friday what is missing,",
    "> and whether the second item was postponed or dropped.",
    "JVBERi0xLjQKJcOkw7zDtsOfCjIgMCBvYmoKPDwvTGVuZ3RoIDMgMCBSL0ZpbHRlci9GbGF0ZURl",
    "-- ",
];

const MEBIBYTE: usize = 1 << 20;
const PIECE: usize = 32 << 10;
const SMALL: u32 = 400;
const LISTED: u32 = 20_000;
