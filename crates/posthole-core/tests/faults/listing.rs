//! STAT, UIDL and LIST.

use posthole_core::error::Class::{Config, Protocol, Temporary};
use posthole_testkit::pop3::{Faults, Reply};

use crate::opening::drip;
use crate::row::{Row, row, slow};

pub(crate) fn rows() -> Vec<Row> {
    [stat(), list(), uidl(), uids(), sights()].concat()
}

fn on(verb: &str, reply: Reply) -> Faults {
    Faults::new().on(verb, reply)
}

fn says(verb: &str, answer: impl AsRef<[u8]>) -> Faults {
    on(verb, Reply::send(answer))
}

/// Changes the text of an answer.
fn edit(verb: &str, change: impl Fn(&str) -> String + Send + Sync + 'static) -> Faults {
    on(
        verb,
        Reply::edit(move |bytes| change(&String::from_utf8_lossy(&bytes)).into_bytes()),
    )
}

fn stat() -> Vec<Row> {
    vec![
        row(
            "STAT does not fit",
            says("STAT", "+OK 99999999999999999999 1\r\n"),
        ),
        row(
            "STAT counts 2000000000",
            says("STAT", "+OK 2000000000 2000000000\r\n"),
        ),
        row("STAT is negative", says("STAT", "+OK -1 -5\r\n")),
        row("STAT is text", says("STAT", "+OK you have mail\r\n")),
        row("STAT says nothing", says("STAT", "+OK\r\n")),
        row("STAT says 5", says("STAT", "+OK 5 5000\r\n")),
        row("STAT says 0", says("STAT", "+OK 0 0\r\n")),
        row("STAT says 1", says("STAT", "+OK 1 100\r\n")),
        row("STAT refused", says("STAT", "-ERR not now\r\n")),
        row(
            "STAT answered with a list",
            says("STAT", "+OK 3 500\r\n1 100\r\n2 200\r\n.\r\n"),
        )
        .fetches_nothing(Protocol),
        row(
            "STAT answered twice",
            on("STAT", Reply::normal().then_send("+OK 3 1\r\n")),
        )
        .fetches_nothing(Protocol),
        row("STAT ends the connection", on("STAT", Reply::hang_up())).fetches_nothing(Temporary),
        slow("STAT is not answered", on("STAT", Reply::silence())).fetches_nothing(Temporary),
    ]
}

/// A listing with the sizes changed.
fn sizes(change: impl Fn(u64) -> String + Send + Sync + 'static) -> Faults {
    edit("LIST", move |text| {
        let mut lines = text.lines();
        let mut out = format!("{}\r\n", lines.next().unwrap());
        for line in lines {
            match line.split_once(' ') {
                Some((n, size)) => out += &format!("{n} {}\r\n", change(size.parse().unwrap())),
                None => out += ".\r\n",
            }
        }
        out
    })
}

fn list() -> Vec<Row> {
    vec![
        row("LIST sizes halved", sizes(|size| (size / 2).to_string())),
        row("LIST sizes doubled", sizes(|size| (size * 2).to_string())),
        row(
            "LIST sizes times 1000",
            sizes(|size| (size * 1000).to_string()),
        ),
        row("LIST sizes all 0", sizes(|_| "0".into())),
        row("LIST sizes all 1", sizes(|_| "1".into())),
        row("LIST sizes negative", sizes(|_| "-1".into())),
        row("LIST sizes in words", sizes(|_| "big".into())),
        row("LIST sizes missing", sizes(|_| String::new())),
        row("LIST sizes 2^64", sizes(|_| "18446744073709551616".into())),
        row(
            "LIST sizes 2^64-1",
            sizes(|_| "18446744073709551615".into()),
        ),
        row("LIST sizes with 4000 digits", sizes(|_| "9".repeat(4000))),
        row(
            "LIST with more columns",
            sizes(|size| format!("{size} octets  of mail")),
        ),
        row(
            "LIST in another order",
            says("LIST", "+OK\r\n3 1\r\n1 1\r\n2 1\r\n.\r\n"),
        ),
        row(
            "LIST says 1 twice",
            says("LIST", "+OK\r\n1 1\r\n1 9\r\n2 1\r\n3 1\r\n.\r\n"),
        ),
        row(
            "LIST padded",
            says("LIST", "+OK\r\n  001   01 \r\n\t2\t1\r\n3 1\r\n.\r\n"),
        ),
        row("LIST lacks 2", says("LIST", "+OK\r\n1 1\r\n3 1\r\n.\r\n")),
        row("LIST is empty", says("LIST", "+OK\r\n.\r\n")),
        row(
            "LIST has more",
            says("LIST", "+OK\r\n1 1\r\n2 1\r\n3 1\r\n4 9\r\n.\r\n"),
        )
        .says("no such message"),
        row(
            "LIST has number 0",
            says("LIST", "+OK\r\n0 9\r\n1 1\r\n2 1\r\n3 1\r\n.\r\n"),
        ),
        row(
            "LIST has number 2^32",
            says("LIST", "+OK\r\n4294967296 9\r\n1 1\r\n.\r\n"),
        ),
        row(
            "LIST has number -1",
            says("LIST", "+OK\r\n-1 9\r\n1 1\r\n.\r\n"),
        ),
        row(
            "LIST with empty lines",
            says("LIST", "+OK\r\n\r\n1 1\r\n\r\n2 1\r\n3 1\r\n.\r\n"),
        ),
        row(
            "LIST dot-stuffed",
            says("LIST", "+OK\r\n.1 1\r\n.2 1\r\n.3 1\r\n.\r\n"),
        ),
        row("LIST refused", says("LIST", "-ERR not now\r\n")),
        row(
            "LIST is one line",
            says("LIST", "+OK 3 messages\r\n+OK bye\r\n"),
        )
        .fetches_nothing(Protocol),
        row(
            "LIST with bare LF",
            says("LIST", "+OK\r\n1 1\n2 1\n3 1\n.\r\n"),
        ),
        row(
            "LIST ends the connection",
            on("LIST", Reply::prefix(30).close()),
        )
        .fetches_nothing(Temporary),
        row(
            "LIST answered with something else",
            says("LIST", "213 3\r\n"),
        )
        .fetches_nothing(Protocol),
        slow(
            "LIST never ends",
            says("LIST", "+OK\r\n1 1\r\n").for_connections(1..),
        )
        .fetches_nothing(Temporary),
        slow(
            "LIST goes on for ever, slowly",
            on("LIST", drip("+OK\r\n", "1 1\r\n")),
        )
        .polls(1)
        .fetches_nothing(Temporary),
        row(
            "LIST of 12 MB",
            on("LIST", Reply::apply().then_send(endless_list())),
        ),
        row(
            "LIST of 12 MB in a line",
            on(
                "LIST",
                Reply::send(["+OK\r\n1 ", &"9".repeat(12 << 20)].concat()),
            ),
        )
        .fetches_nothing(Protocol),
    ]
}

/// The same number again and again.
fn endless_list() -> String {
    let lines = format!("2 2 {}\r\n", "and so on ".repeat(100)).repeat(12 << 10);
    ["+OK\r\n1 1\r\n", &lines, "3 1\r\n.\r\n"].concat()
}

fn uidl() -> Vec<Row> {
    let answer = |lines: &str| says("UIDL", format!("+OK\r\n{lines}.\r\n"));
    let without = |row: Row| row.keeping(|row| row.fetches_nothing(Config).says("UIDL"));
    let long_lines = format!("2 {}\r\n", "u".repeat(1000)).repeat(12 << 10);
    let garbage = ["+OK\r\n2 bbb\r\n", &long_lines, "1 aaa\r\n3 ccc\r\n.\r\n"];
    vec![
        without(row("UIDL unknown", says("UIDL", "-ERR unknown\r\n"))),
        without(row("UIDL is empty", answer(""))),
        without(row("UIDL all blank", answer("1 \r\n2  \r\n3\r\n"))),
        row("UIDL blank for 2", answer("1 aaa\r\n2 \r\n3 ccc\r\n"))
            .keeping(|row| row.says("no unique-id").unavoidable(NAMELESS)),
        row(
            "UIDL lacks the blank for 2",
            answer("1 aaa\r\n2\r\n3 ccc\r\n"),
        )
        .keeping(|row| row.unavoidable(NAMELESS)),
        row("UIDL lacks 2", answer("1 aaa\r\n3 ccc\r\n")).keeping(|row| row.unavoidable(NAMELESS)),
        row("UIDL reversed", answer("3 ccc\r\n2 bbb\r\n1 aaa\r\n")),
        row(
            "UIDL zero-padded",
            answer("001 aaa\r\n002 bbb\r\n003 ccc\r\n"),
        ),
        row(
            "UIDL with three blanks",
            answer("1   aaa\r\n2   bbb\r\n3   ccc\r\n"),
        ),
        row("UIDL with tabs", answer("1\taaa\r\n2\tbbb\r\n3\tccc\r\n")),
        row(
            "UIDL with blanks behind",
            answer("1 aaa \r\n2 bbb  \r\n3 ccc\t\r\n"),
        ),
        row(
            "UIDL lists 9 that STAT does not",
            answer("1 aaa\r\n2 bbb\r\n3 ccc\r\n9 iii\r\n"),
        )
        .says("no such message"),
        row(
            "UIDL lists 2 twice",
            answer("1 aaa\r\n2 bbb\r\n2 bbb\r\n3 ccc\r\n"),
        ),
        row(
            "UIDL lists number 0",
            answer("0 xxx\r\n1 aaa\r\n2 bbb\r\n3 ccc\r\n"),
        ),
        row(
            "UIDL lists number 4294967295",
            answer("1 aaa\r\n2 bbb\r\n3 ccc\r\n4294967295 x\r\n"),
        ),
        row(
            "UIDL with lines of text",
            answer("your mail:\r\n1 aaa\r\n2 bbb\r\n3 ccc\r\n\r\n"),
        ),
        row(
            "UIDL with bare LF",
            says("UIDL", "+OK\r\n1 aaa\n2 bbb\n3 ccc\n.\r\n"),
        ),
        row("UIDL of 12 MB", says("UIDL", garbage.concat())),
        row(
            "UIDL of 12 MB in a line",
            says("UIDL", ["+OK\r\n1 ", &"u".repeat(12 << 20)].concat()),
        )
        .fetches_nothing(Protocol),
        row(
            "UIDL with a reply inside",
            says("UIDL", "+OK\r\n1 aaa\r\n-ERR disk died\r\n"),
        )
        .fetches_nothing(Protocol)
        .says("disk died"),
        row("UIDL cut short", on("UIDL", Reply::prefix(14).close())).fetches_nothing(Temporary),
        slow("UIDL never ends", says("UIDL", "+OK\r\n1 aaa\r\n")).fetches_nothing(Temporary),
        slow("UIDL is not answered", on("UIDL", Reply::silence())).fetches_nothing(Temporary),
        slow(
            "UIDL goes on for ever, slowly",
            on("UIDL", drip("+OK\r\n", "1 a\r\n")),
        )
        .polls(1)
        .fetches_nothing(Temporary),
        row("UIDL and LIST refused", refuse_both()).fetches_nothing(Temporary),
        row("UIDL cut short by a lone dot", answer("1 aaa\r\n"))
            .polls(1)
            .keeping(|row| row.unavoidable(NAMELESS)),
    ]
}

/// Without an identity in the first session, a message cannot be recognised by the one it is
/// given in the next.
const NAMELESS: &str = "a message that had no unique-id may have any of those it is shown next";

fn refuse_both() -> Faults {
    says("UIDL", "-ERR not now\r\n").on("LIST", Reply::send("-ERR not now\r\n"))
}

fn uids() -> Vec<Row> {
    let named = |name, uids: [&[u8]; 3]| row(name, Faults::new()).uids(uids);
    let long = |last: u8| [&[b'u'; 500][..], &[last]].concat();
    vec![
        named(
            "UID with escapes and 8-bit octets",
            [b"\x1b[2J", b"\xff\xfe", b"\x07\x7f"],
        ),
        named("UID with NUL", [b"a\0b", b"a\0c", b"a"]),
        named(
            "UID is a path",
            [b"../../../../tmp/x", b"/etc/passwd", b"."],
        ),
        named("UID with blanks inside", [b"a b", b"a  b", b"a"]),
        named("UID is a number", [b"3", b"1", b"2"]),
        named("UIDs differ in case", [b"abc", b"ABC", b"Abc"]),
        named("UID like a reply", [b"+OK", b"-ERR", b".."]),
        named(
            "UID in quotes and SQL",
            [b"'; DROP TABLE message; --", b"\"", b"%s%n"],
        ),
        named("UID of one octet", [b"a", b"b", b"c"]),
        named("UID the same for all", [b"same", b"same", b"same"]),
        named("UID the same for two", [b"same", b"other", b"same"]),
        row("UID of 500 octets", Faults::new()).uids([long(1), long(2), long(3)]),
        row("UIDs of 3000 octets", says("UIDL", longest()))
            .keeping(|row| row.fetches_nothing(Config)),
    ]
}

/// Longer than are taken.
fn longest() -> String {
    let line = |n: u32| format!("{n} {}{n}\r\n", "u".repeat(3000));
    format!("+OK\r\n{}{}{}.\r\n", line(1), line(2), line(3))
}

/// What a session sees of the mailbox.
fn sights() -> Vec<Row> {
    let few = || Faults::new().view(|_, entries| entries.into_iter().take(2).collect());
    let empty_second = Faults::new().view(|n, entries| if n == 2 { Vec::new() } else { entries });
    let only_third = Faults::new().view(|n, mut entries| {
        if n == 2 {
            entries.retain(|entry| entry.uid.bytes()[..] == *b"ccc");
        }
        entries
    });
    let reversed = Faults::new().view(|n, mut entries| {
        if n % 2 == 0 {
            entries.reverse();
        }
        entries
    });
    vec![
        row("lists two messages per session", few()).keeping(|row| row.delivers([1, 2])),
        row("shows an empty mailbox in between", empty_second).polls(3),
        row("shows only the third in between", only_third).polls(3),
        row("shows the mailbox the other way around", reversed).polls(3),
        row("mailbox is empty", Faults::new()).mail(Vec::<(&str, Vec<u8>)>::new()),
    ]
}
