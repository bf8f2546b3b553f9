//! The connection, the greeting and the capabilities.

use std::time::Duration;

use posthole_core::error::Class::{Authentication, Protocol, Temporary, Unavailable};
use posthole_testkit::pop3::{Faults, Reply};

use crate::row::{Row, row, slow};

pub(crate) fn rows() -> Vec<Row> {
    [greetings(), capabilities(), segments()].concat()
}

fn greeting(line: impl AsRef<[u8]>) -> Faults {
    Faults::new().on("GREETING", Reply::send(line))
}

fn capa(reply: Reply) -> Faults {
    Faults::new().on("CAPA", reply)
}

fn greetings() -> Vec<Row> {
    let looks_like = |name, line: &str, hint| {
        row(name, greeting(line))
            .fetches_nothing(Protocol)
            .says(hint)
    };
    vec![
        row("conforming", Faults::new()),
        row(
            "greeting with escape sequences",
            greeting("+OK \x1b[31mred\x1b]0;title\x07\r\n"),
        ),
        row("greeting of two words", greeting("+OK\r\n")),
        row("greeting in lower case", greeting("+ok ready\r\n")),
        row("greeting without a blank", greeting("+OKready\r\n")),
        row(
            "greeting with bytes that are no UTF-8",
            greeting(b"+OK \xff\xfe\x80\r\n"),
        ),
        row("greeting with NUL", greeting(b"+OK a\0b\r\n")),
        row("greeting with a bare LF", greeting("+OK ready\n")),
        row(
            "greeting of 100 kB",
            greeting(["+OK ", &"x".repeat(100_000), "\r\n"].concat()),
        ),
        row(
            "greeting of 12 MB",
            greeting(["+OK ", &"x".repeat(12 << 20), "\r\n"].concat()),
        )
        .fetches_nothing(Protocol)
        .says("more than 1048576 octets"),
        row("greeting in pieces", greeting_in_pieces()),
        row("greeting that is a refusal", greeting("-ERR go away\r\n"))
            .fetches_nothing(Temporary)
            .says("go away"),
        row(
            "greeting [SYS/TEMP]",
            greeting("-ERR [SYS/TEMP] too busy\r\n"),
        )
        .fetches_nothing(Temporary)
        .says("too busy"),
        row(
            "greeting [SYS/PERM]",
            greeting("-ERR [SYS/PERM] closed for good\r\n"),
        )
        .fetches_nothing(Unavailable)
        .says("closed for good"),
        row(
            "greeting [IN-USE]",
            greeting("-ERR [IN-USE] one at a time\r\n"),
        )
        .fetches_nothing(Temporary)
        .says("another program"),
        row(
            "greeting [LOGIN-DELAY]",
            greeting("-ERR [LOGIN-DELAY] later\r\n"),
        )
        .fetches_nothing(Temporary)
        .says("less often"),
        row("greeting [AUTH]", greeting("-ERR [AUTH] not you\r\n"))
            .fetches_nothing(Authentication)
            .says("not you"),
        looks_like(
            "greeting of SMTP",
            "220 mail.example ESMTP\r\n",
            "looks like an SMTP",
        ),
        looks_like(
            "greeting of IMAP",
            "* OK IMAP4rev1 ready\r\n",
            "looks like an IMAP",
        ),
        looks_like(
            "greeting of IMAP, logged in",
            "* PREAUTH welcome\r\n",
            "looks like an IMAP",
        ),
        looks_like(
            "greeting of SSH",
            "SSH-2.0-OpenSSH_9.6\r\n",
            "looks like an SSH",
        ),
        looks_like(
            "greeting of HTTP",
            "HTTP/1.1 400 Bad Request\r\n\r\n",
            "looks like a web",
        ),
        looks_like("greeting that is an empty line", "\r\n", "an empty line"),
        looks_like(
            "greeting that is a challenge",
            "+ bm8=\r\n",
            "greeting of a POP3 server",
        ),
        looks_like(
            "greeting of TLS",
            "\x16\x03\x01\x02\0\n",
            "greeting of a POP3 server",
        ),
        row(
            "greeting with a second line",
            greeting("+OK ready\r\n+OK really\r\n"),
        )
        .fetches_nothing(Protocol)
        .says("+OK really"),
        row(
            "greeting with the answers to everything",
            greeting("+OK ready\r\n+OK\r\n+OK\r\n+OK 0 0\r\n+OK\r\n.\r\n+OK\r\n.\r\n+OK bye\r\n"),
        )
        .fetches_nothing(Protocol),
        slow(
            "greeting never comes",
            Faults::new().on("GREETING", Reply::silence()),
        )
        .fetches_nothing(Temporary)
        .says("did not greet"),
        slow(
            "greeting never ends",
            Faults::new().on("GREETING", Reply::prefix(5).stall()),
        )
        .fetches_nothing(Temporary),
        slow("greeting comes an octet at a time", greeting_drips())
            .polls(1)
            .fetches_nothing(Temporary)
            .says("too slow"),
        row(
            "accepts and closes",
            Faults::new().on("GREETING", Reply::hang_up()),
        )
        .fetches_nothing(Temporary),
        row(
            "accepts and resets",
            Faults::new().on("GREETING", Reply::send("").reset()),
        )
        .fetches_nothing(Temporary),
        row(
            "closes after its greeting",
            Faults::new().on("GREETING", Reply::normal().close()),
        )
        .fetches_nothing(Temporary),
        row(
            "closes within its greeting",
            Faults::new().on("GREETING", Reply::prefix(4).close()),
        )
        .fetches_nothing(Temporary),
    ]
}

fn greeting_in_pieces() -> Faults {
    let wait = Duration::from_millis(5);
    let pieces = Reply::send("+")
        .pause(wait)
        .then_send("OK rea")
        .pause(wait)
        .then_send("dy\r");
    Faults::new().on("GREETING", pieces.pause(wait).then_send("\n"))
}

fn greeting_drips() -> Faults {
    Faults::new().on("GREETING", drip("+OK ", "x"))
}

/// Something now and then, for ever, always just before patience ends.
pub(crate) fn drip(first: &str, then: &str) -> Reply {
    let pause = Duration::from_millis(200);
    (0..200)
        .fold(Reply::send(first), |reply, _| {
            reply.pause(pause).then_send(then)
        })
        .stall()
}

fn capabilities() -> Vec<Row> {
    let first_time = |faults: Faults| faults.for_connections(..=1);
    vec![
        row("CAPA is unknown", capa(Reply::send("-ERR unknown\r\n"))),
        row(
            "CAPA is [SYS/PERM] unknown",
            capa(Reply::send("-ERR [SYS/PERM] unknown\r\n")),
        ),
        row("CAPA ends the connection", capa(Reply::hang_up())),
        row(
            "CAPA ends the connection once",
            first_time(capa(Reply::hang_up())),
        ),
        row("CAPA resets the connection", capa(Reply::send("").reset())),
        row(
            "CAPA ends the connection in its list",
            capa(Reply::prefix(9).close()),
        ),
        slow("CAPA is not answered", capa(Reply::silence())),
        slow(
            "CAPA is never ended",
            capa(Reply::send("+OK\r\nUIDL\r\nTOP\r\n").stall()),
        ),
        slow("CAPA has no list", capa(Reply::send("+OK\r\n").stall())),
        slow(
            "CAPA goes on for ever, slowly",
            capa(drip("+OK\r\n", "X\r\n")),
        )
        .polls(1),
        row(
            "CAPA goes on for ever",
            capa(Reply::send(["+OK\r\n", &"X-Y\r\n".repeat(99_999)].concat())),
        )
        .fetches_nothing(Protocol)
        .says("capabilities"),
        row(
            "CAPA of 12 MB in a line",
            capa(Reply::send(["+OK\r\n", &"X".repeat(12 << 20)].concat())),
        )
        .fetches_nothing(Protocol),
        row("CAPA with nothing in it", capa(Reply::send("+OK\r\n.\r\n"))),
        row(
            "CAPA with unknown, odd and 8-bit lines",
            capa(Reply::send(
                b"+OK\r\nUTF8 USER\r\nLANG\r\n\r\n  \r\n..x\r\n\x1b[2J\xff\0\r\nuidl\r\n.\r\n",
            )),
        ),
        row(
            "CAPA says UIDL is not there",
            capa(Reply::send("+OK\r\nTOP\r\nUSER\r\n.\r\n")),
        ),
        row(
            "CAPA says USER is not there",
            capa(Reply::send("+OK\r\nTOP\r\nUIDL\r\n.\r\n")),
        ),
        row(
            "CAPA with a number that does not fit",
            capa(Reply::send(
                "+OK\r\nUSER\r\nEXPIRE 99999999999999999999\r\nLOGIN-DELAY 99999999999999999999\r\n.\r\n",
            )),
        ),
        row(
            "CAPA followed by a second reply",
            capa(Reply::normal().then_send("+OK\r\n")),
        )
        .fetches_nothing(Protocol),
        row(
            "CAPA answered with another protocol",
            capa(Reply::send("500 what?\r\n")),
        )
        .fetches_nothing(Protocol)
        .says("500 what?"),
        row(
            "CAPA with a reply inside",
            capa(Reply::send("+OK\r\nUIDL\r\n-ERR sorry\r\n.\r\n")),
        )
        .fetches_nothing(Protocol),
    ]
}

fn segments() -> Vec<Row> {
    vec![
        row("speaks with bare LF", Faults::new().bare_lf()),
        row("sends an octet at a time", Faults::new().write_size(1)),
        row("sends seven octets at a time", Faults::new().write_size(7)),
        slow(
            "advertises PIPELINING and cannot do it",
            Faults::new().pipelining_is_a_lie(),
        ),
        row("cut after 40 octets", Faults::new().cut_after_sent(40)).fetches_nothing(Temporary),
    ]
}
