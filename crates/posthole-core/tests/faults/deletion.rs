//! DELE, and servers that delete at other times.

use posthole_core::error::Class::{Protocol, Temporary};
use posthole_testkit::pop3::{Commit, Faults, Reply};

use crate::row::{Row, UIDS, row, slow};

pub(crate) fn rows() -> Vec<Row> {
    [answers(), times()].concat()
}

/// A row about an account that deletes; one that keeps sees nothing of it.
fn deleting(name: &'static str, faults: Faults) -> Row {
    row(name, faults)
}

/// A reply to all commands of a kind, or to those about one message: `DELE 2` is about the second,
/// whatever its number.
fn on(pattern: &str, reply: Reply) -> Faults {
    match pattern.split_once(' ') {
        None => Faults::new().on(pattern, reply),
        Some((verb, n)) => {
            Faults::new().on_message(verb, UIDS[n.parse::<usize>().unwrap() - 1], reply)
        }
    }
}

fn answers() -> Vec<Row> {
    let lost = |name, pattern, reply: Reply| {
        deleting(name, on(pattern, reply))
            .fails(Temporary)
            .leaves([1, 2, 3])
            .keeping(Row::succeeds)
    };
    let broken = |name, pattern, reply: Reply| {
        deleting(name, on(pattern, reply))
            .fails(Protocol)
            .leaves([1, 2, 3])
            .keeping(Row::succeeds)
    };
    vec![
        deleting(
            "DELE 2 refused",
            on("DELE 2", Reply::send("-ERR not now\r\n")),
        )
        .leaves([2])
        .keeping(Row::succeeds),
        deleting(
            "DELE refused for all",
            on("DELE", Reply::send("-ERR read-only\r\n")),
        )
        .leaves([1, 2, 3]),
        deleting(
            "DELE refused with escapes",
            on("DELE", Reply::send("-ERR \x1b[2J\r\n")),
        )
        .leaves([1, 2, 3]),
        deleting(
            "DELE refused in the first session",
            on("DELE", Reply::send("-ERR\r\n")).for_connections(..=1),
        ),
        lost("DELE 1 ends the connection", "DELE 1", Reply::hang_up()),
        lost("DELE 3 ends the connection", "DELE 3", Reply::hang_up()),
        lost(
            "DELE 2 resets the connection",
            "DELE 2",
            Reply::send("").reset(),
        ),
        lost(
            "DELE is done, then the connection ends",
            "DELE 2",
            Reply::normal().close(),
        ),
        broken(
            "DELE answered twice",
            "DELE 1",
            Reply::normal().then_send("+OK\r\n"),
        ),
        broken(
            "DELE 3 answered twice",
            "DELE 3",
            Reply::normal().then_send("+OK\r\n"),
        ),
        broken(
            "DELE answered with SMTP",
            "DELE 2",
            Reply::send("250 ok\r\n"),
        ),
        broken(
            "DELE answered with an empty line",
            "DELE 2",
            Reply::send("\r\n"),
        ),
        broken(
            "DELE answered with 12 MB",
            "DELE 2",
            Reply::send("x".repeat(12 << 20)),
        ),
        slow("DELE is not answered", on("DELE 2", Reply::silence()))
            .fails(Temporary)
            .leaves([1, 2, 3])
            .keeping(Row::succeeds),
        deleting(
            "DELE answered in lower case",
            on("DELE", Reply::apply().then_send("+ok\r\n")),
        ),
        deleting(
            "DELE acknowledged and not done",
            on("DELE", Reply::send("+OK\r\n")),
        )
        .leaves([1, 2, 3])
        .polls(3),
    ]
}

fn times() -> Vec<Row> {
    let all = [1, 2, 3];
    vec![
        row(
            "deletes never, says +OK",
            Faults::new().commit(Commit::Never),
        )
        .leaves(all)
        .polls(4),
        row("deletes at DELE", Faults::new().commit(Commit::AtDele)),
        row(
            "deletes at DELE and renumbers",
            Faults::new().commit(Commit::AtDeleRenumbering),
        ),
        row(
            "deletes at DELE and renumbers, 2 refused",
            on("RETR 2", Reply::send("-ERR no\r\n")).commit(Commit::AtDeleRenumbering),
        )
        .delivers([1, 3]),
        row(
            "deletes at DELE and renumbers, 3 refused",
            on("RETR 3", Reply::send("-ERR no\r\n")).commit(Commit::AtDeleRenumbering),
        )
        .delivers([1, 2]),
        row(
            "deletes when the connection ends",
            Faults::new().commit(Commit::WhenConnectionEnds),
        ),
        row(
            "deletes when the connection ends, which RETR 3 does",
            on("RETR 3", Reply::hang_up()).commit(Commit::WhenConnectionEnds),
        )
        .fails(Temporary)
        .delivers([1, 2])
        .leaves(all),
        row(
            "deletes what was fetched, at QUIT",
            Faults::new().commit(Commit::RetrievedAtQuit),
        )
        .taking(),
        row(
            "deletes what was fetched, at QUIT, 2 was empty",
            on("RETR 2", Reply::apply().then_send("+OK\r\n.\r\n")).commit(Commit::RetrievedAtQuit),
        )
        .delivers([1, 3])
        .leaves(all),
        row(
            "deletes what was fetched, at QUIT, 2 broke off",
            on("RETR 2", Reply::prefix(500).close()).commit(Commit::RetrievedAtQuit),
        )
        .poisoned(Temporary),
    ]
}
