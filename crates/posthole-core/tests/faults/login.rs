//! USER and PASS.

use posthole_core::error::Class::{self, Authentication, Protocol, Temporary, Unavailable};
use posthole_testkit::pop3::{Faults, Reply};

use crate::opening::drip;
use crate::row::{Row, row, slow};

pub(crate) fn rows() -> Vec<Row> {
    [refusals(), breaches(), losses()].concat()
}

fn on(verb: &str, reply: Reply) -> Faults {
    Faults::new().on(verb, reply)
}

fn refusals() -> Vec<Row> {
    let refused = |name, line: &str, class: Class, says| {
        row(name, on("PASS", Reply::send(line)))
            .fetches_nothing(class)
            .says(says)
    };
    vec![
        refused(
            "PASS refused",
            "-ERR no\r\n",
            Authentication,
            "refused the login: no",
        ),
        refused(
            "PASS refused without a word",
            "-ERR\r\n",
            Authentication,
            "gave no reason",
        ),
        refused(
            "PASS refused in lower case",
            "-err no\r\n",
            Authentication,
            "no",
        ),
        refused(
            "PASS [AUTH]",
            "-ERR [AUTH] invalid\r\n",
            Authentication,
            "user name",
        ),
        refused(
            "PASS [LOGIN-DELAY]",
            "-ERR [LOGIN-DELAY] wait 900 s\r\n",
            Temporary,
            "less often",
        ),
        refused(
            "PASS [SYS/TEMP]",
            "-ERR [SYS/TEMP] backend down\r\n",
            Temporary,
            "backend down",
        ),
        refused(
            "PASS [SYS/PERM]",
            "-ERR [SYS/PERM] disk died\r\n",
            Unavailable,
            "disk died",
        ),
        refused(
            "PASS [IN-USE]",
            "-ERR [IN-USE] locked\r\n",
            Temporary,
            "another program",
        ),
        refused(
            "PASS [in-use]",
            "-ERR [in-use] locked\r\n",
            Temporary,
            "another program",
        ),
        refused(
            "PASS [SYS/TEMP/DISK]",
            "-ERR [SYS/TEMP/DISK] full\r\n",
            Temporary,
            "full",
        ),
        refused(
            "PASS with an unknown code",
            "-ERR [X-WAT] no\r\n",
            Authentication,
            "no",
        ),
        refused(
            "PASS with a code that does not end",
            "-ERR [AUTH no\r\n",
            Authentication,
            "no",
        ),
        refused(
            "PASS with escapes",
            "-ERR \x1b[2J\x1b]0;x\x07no\r\n",
            Authentication,
            "no",
        ),
        refused(
            "PASS echoes the password",
            "-ERR wrong password Tr0ub4dor-and-3 for msingh\r\n",
            Authentication,
            "repeats the password",
        ),
        row(
            "PASS refused with 100 kB",
            on("PASS", Reply::send(long("-ERR "))),
        )
        .fetches_nothing(Authentication),
        row(
            "USER refused",
            on("USER", Reply::send("-ERR no such user\r\n")),
        )
        .fetches_nothing(Authentication)
        .says("no such user"),
        row(
            "USER [SYS/TEMP]",
            on("USER", Reply::send("-ERR [SYS/TEMP] no database\r\n")),
        )
        .fetches_nothing(Temporary),
        row(
            "PASS refused once",
            on("PASS", Reply::send("-ERR no\r\n")).for_connections(..=1),
        )
        .fails(Authentication),
        row(
            "PASS accepted with 100 kB",
            on("PASS", Reply::apply().then_send(long("+OK "))),
        ),
        row(
            "PASS accepted in lower case",
            on("PASS", Reply::apply().then_send("+ok\r\n")),
        ),
    ]
}

fn long(start: &str) -> String {
    [start, &"x".repeat(100_000), "\r\n"].concat()
}

fn breaches() -> Vec<Row> {
    let broken = |name, verb, reply: Reply| row(name, on(verb, reply)).fetches_nothing(Protocol);
    vec![
        broken("USER answered with SMTP", "USER", Reply::send("250 ok\r\n")).says("250 ok"),
        broken(
            "PASS answered with IMAP",
            "PASS",
            Reply::send("* OK in\r\n"),
        ),
        broken(
            "PASS answered with an empty line",
            "PASS",
            Reply::send("\r\n"),
        ),
        broken("PASS answered with NUL", "PASS", Reply::send(b"\0\0\0\r\n")),
        broken(
            "PASS answered with 12 MB",
            "PASS",
            Reply::send("x".repeat(12 << 20)),
        ),
        row(
            "PASS refused in several lines",
            on(
                "PASS",
                Reply::send("-ERR no\r\nfor many\r\nreasons\r\n.\r\n"),
            ),
        )
        .fetches_nothing(Protocol)
        .pipelined(|row| row.fails(Authentication)),
        row(
            "PASS accepted twice",
            on("PASS", Reply::normal().then_send("+OK\r\n")),
        )
        .fetches_nothing(Protocol),
        row(
            "USER accepted twice",
            on("USER", Reply::normal().then_send("+OK\r\n")),
        )
        .fetches_nothing(Protocol),
    ]
}

fn losses() -> Vec<Row> {
    let lost = |name, verb, reply: Reply| row(name, on(verb, reply)).fetches_nothing(Temporary);
    vec![
        lost("drops after USER", "USER", Reply::hang_up()),
        lost("drops after PASS", "PASS", Reply::hang_up()),
        lost("resets after PASS", "PASS", Reply::send("").reset()),
        lost(
            "drops within the answer to PASS",
            "PASS",
            Reply::prefix(3).close(),
        ),
        lost("drops once logged in", "PASS", Reply::normal().close()),
        row(
            "drops after PASS once",
            on("PASS", Reply::hang_up()).for_connections(..=1),
        )
        .in_lockstep(|row| row.fails(Temporary)),
        slow("USER is not answered", on("USER", Reply::silence())).fetches_nothing(Temporary),
        slow("PASS is not answered", on("PASS", Reply::silence())).fetches_nothing(Temporary),
        slow("PASS is answered too slowly", on("PASS", drip("+O", "K")))
            .polls(1)
            .fetches_nothing(Temporary),
    ]
}
