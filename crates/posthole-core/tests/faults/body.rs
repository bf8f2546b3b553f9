//! RETR: what comes instead of a message, and what messages look like.

use std::time::Duration;

use posthole_core::error::Class::{Protocol, Temporary};
use posthole_testkit::mail;
use posthole_testkit::pop3::{Faults, Reply};

use crate::opening::drip;
use crate::row::{Row, UIDS, first, row, second, slow, third};

pub(crate) fn rows() -> Vec<Row> {
    [refusals(), losses(), ends(), breaches(), texts()].concat()
}

fn retr2(reply: Reply) -> Faults {
    Faults::new().on_message("RETR", "bbb", reply)
}

fn says(answer: impl AsRef<[u8]>) -> Faults {
    retr2(Reply::send(answer))
}

fn once(faults: Faults) -> Faults {
    faults.for_connections(..=1)
}

fn refusals() -> Vec<Row> {
    let refused = |name, line: &str, says_| row(name, says(line)).delivers([1, 3]).says(says_);
    vec![
        refused(
            "RETR 2 refused",
            "-ERR message is corrupt\r\n",
            "message is corrupt",
        ),
        refused("RETR 2 refused without a word", "-ERR\r\n", "refused it"),
        refused(
            "RETR 2 [SYS/TEMP]",
            "-ERR [SYS/TEMP] no disk\r\n",
            "no disk",
        ),
        refused(
            "RETR 2 [SYS/PERM]",
            "-ERR [SYS/PERM] lost it\r\n",
            "lost it",
        ),
        refused(
            "RETR 2 refused with escapes",
            "-ERR \x1b[2Jgone\r\n",
            "gone",
        ),
        row("RETR 2 refused once", once(says("-ERR not now\r\n"))).says("not now"),
        row(
            "RETR refused for all",
            Faults::new().on("RETR", Reply::send("-ERR quota\r\n")),
        )
        .delivers([])
        .says("quota"),
        row(
            "RETR refused in several lines",
            says("-ERR no\r\nbecause\r\nof this\r\n.\r\n"),
        )
        .poisoned(Protocol)
        .says("because")
        // The third message is blamed for what came in place of its reply.
        .pipelined(|row| row.delivers([1]).leaves([1, 2, 3])),
        row(
            "RETR empty where LIST says more",
            says("+OK 0 octets\r\n.\r\n"),
        )
        .delivers([1, 3])
        .leaves([1, 2, 3])
        .says("sent nothing"),
        row("RETR empty once", once(says("+OK\r\n.\r\n"))).says("sent nothing"),
    ]
}

fn losses() -> Vec<Row> {
    let lost = |name, reply: Reply| row(name, retr2(reply)).poisoned(Temporary);
    vec![
        lost("RETR 2 ends the connection", Reply::hang_up()),
        lost("RETR 2 resets the connection", Reply::send("").reset()),
        lost("RETR 2 ends it after the status", Reply::prefix(17).close()),
        lost("RETR 2 ends it in the header", Reply::prefix(50).close()),
        lost("RETR 2 ends it in the body", Reply::prefix(1000).close()),
        lost("RETR 2 resets it in the body", Reply::prefix(1000).reset()),
        lost("RETR 2 ends it before the last dot", short(3).close()),
        lost("RETR 2 ends it within the last dot", short(1).close()),
        row(
            "RETR 2 ends the connection once",
            once(retr2(Reply::prefix(99).close())),
        )
        .fails(Temporary),
        row(
            "RETR 3 ends the connection always",
            on3(Reply::prefix(30).close()),
        )
        .fails(Temporary)
        .delivers([1, 2])
        .leaves([1, 2, 3]),
        slow("RETR 2 is not answered", retr2(Reply::silence())).poisoned(Temporary),
        slow(
            "RETR 2 stalls in the header",
            retr2(Reply::prefix(50).stall()),
        )
        .poisoned(Temporary),
        slow(
            "RETR 2 stalls in the body",
            retr2(Reply::prefix(1000).stall()),
        )
        .poisoned(Temporary),
        slow("RETR 2 stalls before the last dot", retr2(short(3).stall())).poisoned(Temporary),
        slow("RETR 2 stalls within the last dot", retr2(short(1).stall())).poisoned(Temporary),
        slow(
            "RETR 2 comes an octet at a time, for ever",
            retr2(drip("+OK\r\nSubject: ", "x")),
        )
        .poisoned(Temporary)
        .says("too slow"),
        slow(
            "RETR 2 comes a line at a time, for ever",
            retr2(drip("+OK\r\n", "X:y\r\n")),
        )
        .poisoned(Temporary),
        row("RETR 2 never ends", retr2(Reply::send(endless())))
            .max_size(1 << 20)
            .poisoned(Protocol)
            .says("max-size"),
        row("RETR 2 pauses and goes on", paused()),
    ]
}

fn on3(reply: Reply) -> Faults {
    Faults::new().on_message("RETR", "ccc", reply)
}

/// A message without its last octets.
fn short(octets: usize) -> Reply {
    Reply::edit(move |mut text| {
        text.truncate(text.len() - octets);
        text
    })
}

fn endless() -> Vec<u8> {
    let mut text = b"+OK 120 octets\r\nSubject: endless\r\n\r\n".to_vec();
    text.extend_from_slice(&b"and so on and on and on and on\r\n".repeat((12 << 20) / 32));
    text
}

fn paused() -> Faults {
    let wire = String::from_utf8(wire(&second())).unwrap();
    let (head, tail) = wire.split_at(700);
    let status = format!("+OK {} octets\r\n", second().len());
    let reply = Reply::send(status + head)
        .pause(Duration::from_millis(30))
        .then_send(tail);
    retr2(reply)
}

/// A message as it is sent, with the last dot.
fn wire(message: &[u8]) -> Vec<u8> {
    let mut wire = Vec::new();
    for line in mail::as_received(message).split_inclusive(|octet| *octet == b'\n') {
        if line.starts_with(b".") {
            wire.push(b'.');
        }
        wire.extend_from_slice(line);
    }
    wire.extend_from_slice(b".\r\n");
    wire
}

/// How a text ends, and what only looks like it.
fn ends() -> Vec<Row> {
    let text = |name, text: &[u8]| row(name, Faults::new()).second(text);
    let dots = b"Subject: x\r\n\r\na\n.\nb\r\n.\nc\n.\r\nd\r\n";
    let glued = [&b"+OK\r\n"[..], b"Subject: glued\r\n\r\ntext.\r\n"].concat();
    vec![
        // A Maildir cannot tell a bare LF from a line end, so this is what must be there.
        text("LF dot LF inside", dots),
        text("CR dot CR inside", b"Subject: x\r\n\r\na\r.\rb\r\n.\rc\r\n"),
        text(
            "CR LF dot CR inside",
            b"Subject: x\r\n\r\na\r\n.\r \r\n.\r.\r\n",
        ),
        text("dots alone", b".\r\n..\r\n...\r\n....\r\n"),
        text("dot with a blank", b"Subject: x\r\n\r\n. \r\n .\r\n.\t\r\n"),
        text(
            "CR CR LF line ends",
            b"Subject: x\r\r\n\r\r\ntext\r\r\n.\r\r\nend\r\r\n",
        ),
        text("CR at the end", b"Subject: x\r\n\r\ntext\r"),
        text("no line end at the end", b"Subject: x\r\n\r\ntext"),
        text(
            "replies inside",
            b"Subject: x\r\n\r\n+OK\r\n-ERR\r\n+OK bye\r\n",
        ),
        slow("the dot glued to the text", says(&glued)).poisoned(Temporary),
        slow(
            "the dot glued, only LF",
            says("+OK\r\nSubject: x\r\n\r\ntext\n.\n"),
        )
        .poisoned(Temporary),
        slow(
            "the dot glued once, then the next message",
            once(says(&glued)),
        )
        .fails(Temporary),
        text("lines end in LF, the dot in CR LF", &mail::to_lf(&second())),
    ]
}

/// Something unasked for behind a message. Who waits for one reply only knows at once that it is
/// none; who waits for more, when the next comes.
fn after(n: usize, name: &'static str, extra: &'static str) -> Row {
    let faults = Faults::new().on_message("RETR", UIDS[n - 1], Reply::normal().then_send(extra));
    let others = move |row: Row| {
        let others = [1, 2, 3].into_iter().filter(|other| *other != n);
        row.delivers(Vec::from_iter(others)).leaves([1, 2, 3])
    };
    let row = row(name, faults).fails(Protocol).in_lockstep(others);
    if n == 3 { row.pipelined(others) } else { row }
}

/// Replies out of step.
fn breaches() -> Vec<Row> {
    vec![
        after(1, "an extra +OK after message 1", "+OK\r\n"),
        after(2, "an extra +OK after message 2", "+OK\r\n"),
        after(3, "an extra +OK after message 3", "+OK\r\n"),
        after(1, "an extra -ERR after message 1", "-ERR\r\n"),
        after(1, "an extra line after message 1", "Have a nice day\r\n"),
        after(2, "an extra empty line after message 2", "\r\n"),
        after(2, "an extra dot after message 2", ".\r\n"),
        row("RETR 2 answered with SMTP", says("250 ok\r\n")).poisoned(Protocol),
        row("RETR 2 without a status", says(wire(&second()))).poisoned(Protocol),
        row(
            "RETR 2 with two statuses",
            says([b"+OK\r\n+OK\r\n", &*wire(&second())].concat()),
        )
        .poisoned(Protocol),
        row(
            "RETR 2 +OK, then -ERR",
            says("+OK\r\n-ERR cannot open it\r\n.\r\n"),
        )
        .poisoned(Protocol)
        .says("cannot open it"),
        row("RETR 2 with a status of 12 MB", says("+".repeat(12 << 20))).poisoned(Protocol),
        row(
            "RETR 2 +OK without a blank",
            says([b"+OKmessage follows\r\n", &*wire(&second())].concat()),
        ),
        row(
            "RETR 2 +OK alone",
            says([b"+OK\r\n", &*wire(&second())].concat()),
        ),
        row(
            "RETR 2 returns message 3",
            says([b"+OK\r\n", &*wire(&third())].concat()),
        )
        .delivers([1, 3])
        .leaves([1, 2, 3]),
        row(
            "RETR 2 returns message 1 again",
            says([b"+OK\r\n", &*wire(&first())].concat()),
        )
        .delivers([1, 3])
        .leaves([1, 2, 3]),
    ]
}

fn texts() -> Vec<Row> {
    let text = |name, text: Vec<u8>| row(name, Faults::new()).second(text);
    let header = b"From: <a@example.org>\r\nSubject: x\r\n".to_vec();
    let with = |more: &[u8]| [&header[..], more].concat();
    let hostile = b"From: \"`touch /tmp/x`; $(id) | sh\" <a;b|c&d@example.org>\r\n\
                    To: <../../../etc/passwd@example.org>\r\nSubject: \x1b]0;x\x07\r\n\r\nhi\r\n";
    vec![
        text("bare CRs", with(b"\r\na\rb\rc\r\n\rd\r\n")),
        text(
            "line of 1 MB",
            with(&[b"\r\n", &*b"x".repeat(1 << 20), b"\r\n"].concat()),
        ),
        text(
            "header line of 200 kB",
            [b"X: ", &*b"y".repeat(200_000), b"\r\n\r\nhi\r\n"].concat(),
        ),
        text(
            "header of 2 MB",
            [&*b"X: y\r\n".repeat(350_000), b"\r\nhi\r\n"].concat(),
        ),
        text("no header", b"\r\nonly a body\r\n".to_vec()),
        text("no body", with(b"")),
        text(
            "no empty line",
            b"just text\r\nno header at all\r\n".to_vec(),
        ),
        text(
            "garbage in the header",
            with(b"this is no field\r\n: neither\r\n\tnor this\r\n\r\nhi\r\n"),
        ),
        text(
            "begins with From_",
            [
                b"From a@b Mon Jan  1 00:00:00 2024\r\n",
                &*with(b"\r\nhi\r\n"),
            ]
            .concat(),
        ),
        text(
            "begins with a blank",
            b" folded\r\nSubject: x\r\n\r\nhi\r\n".to_vec(),
        ),
        text(
            "From_ lines inside",
            with(b"\r\nFrom here on\r\n>From there\r\n"),
        ),
        text(
            "8-bit header",
            with(b"X-Name: J\xf6rg \xc3\xa9\r\n\r\n\xff\xfe\r\n"),
        ),
        text("NUL inside", with(b"\r\na\0b\0\0c\r\n")),
        text("shell characters", hostile.to_vec()),
        text("one octet", b"x".to_vec()),
        text("one line end", b"\r\n".to_vec()),
        text("an octet that is a dot", b".".to_vec()),
        row("no text, and LIST says so", Faults::new()).second(b""),
        row("dots at the edges of segments", Faults::new().write_size(1)).second(mail::dot_first()),
        row("begins with a dot", Faults::new()).second(mail::dot_first()),
        row(
            "TOP is broken",
            Faults::new().on("TOP", Reply::send("-ERR unknown\r\n")),
        ),
    ]
}
