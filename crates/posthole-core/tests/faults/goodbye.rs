//! QUIT, and mailboxes that come back in another shape.

use posthole_core::error::Class::{Config, Protocol, Temporary};
use posthole_testkit::mail;
use posthole_testkit::pop3::{Commit, Entry, Faults, Reply, Uid};

use crate::opening::drip;
use crate::row::{Row, row, slow};

pub(crate) fn rows() -> Vec<Row> {
    [quits(), renumbered()].concat()
}

fn quit(reply: Reply) -> Faults {
    Faults::new().on("QUIT", reply)
}

fn quits() -> Vec<Row> {
    let all = [1, 2, 3];
    vec![
        row(
            "QUIT refused, nothing deleted",
            quit(Reply::send("-ERR not removed\r\n").close()),
        )
        .fails(Temporary)
        .leaves(all)
        .says("not removed"),
        row(
            "QUIT refused, all deleted",
            quit(Reply::apply().then_send("-ERR some remain\r\n")),
        )
        .fails(Temporary)
        .says("some remain"),
        row(
            "QUIT [SYS/TEMP]",
            quit(Reply::send("-ERR [SYS/TEMP] no disk\r\n").close()),
        )
        .fails(Temporary)
        .leaves(all),
        row(
            "QUIT done, closed without a word",
            quit(Reply::apply().close()),
        )
        .says("did not confirm")
        .keeping(Row::quietly),
        row(
            "QUIT done, reset without a word",
            quit(Reply::apply().then_send("").reset()),
        ),
        row(
            "QUIT not done, closed without a word",
            quit(Reply::hang_up()),
        )
        .leaves(all),
        row(
            "QUIT +OK, nothing done",
            quit(Reply::send("+OK\r\n").close()),
        )
        .leaves(all),
        row("QUIT in half a line", quit(Reply::prefix(3).close())),
        row(
            "QUIT in two lines",
            quit(Reply::apply().then_send("+OK bye\r\nsee you\r\n")),
        )
        .fails(Protocol),
        row(
            "QUIT answered twice",
            quit(Reply::apply().then_send("+OK\r\n+OK bye\r\n")),
        )
        .fails(Protocol),
        row(
            "QUIT in lower case",
            quit(Reply::apply().then_send("+ok\r\n")),
        ),
        row(
            "QUIT with escapes",
            quit(Reply::apply().then_send("+OK \x1b[2J\r\n")),
        ),
        row(
            "QUIT answered with SMTP",
            quit(Reply::send("221 bye\r\n").close()),
        )
        .fails(Protocol)
        .leaves(all),
        row(
            "QUIT of 12 MB",
            quit(Reply::send("x".repeat(12 << 20)).close()),
        )
        .fails(Protocol)
        .leaves(all),
        slow(
            "QUIT is not answered, all done",
            quit(Reply::apply().stall()),
        ),
        slow("QUIT is not answered, nothing done", quit(Reply::silence())).leaves(all),
        slow("QUIT is answered too slowly", quit(drip("+O", "K")))
            .polls(1)
            .leaves(all),
        row(
            "QUIT refused in the first session",
            quit(Reply::send("-ERR\r\n").close()).for_connections(..=1),
        )
        .fails(Temporary),
    ]
}

/// The same mail with other unique-ids.
fn rename(entries: Vec<Entry>, name: impl Fn(usize) -> Vec<u8>) -> Vec<Entry> {
    let rename = |(n, entry)| Entry {
        uid: Uid::Bytes(name(n).into()),
        ..entry
    };
    entries.into_iter().enumerate().map(rename).collect()
}

fn renumbered() -> Vec<Row> {
    let every_time = || {
        Faults::new()
            .view(|session, entries| rename(entries, |n| format!("s{session}-{n}").into_bytes()))
    };
    let once = || {
        Faults::new().view(|session, entries| match session {
            1 => entries,
            _ => rename(entries, |n| format!("new-{n}").into_bytes()),
        })
    };
    let back = Faults::new().view(|session, entries| match session {
        2 => rename(entries, |n| format!("new-{n}").into_bytes()),
        _ => entries,
    });
    let shortened = Faults::new().view(|session, entries| match session {
        1 => entries,
        _ => rename(entries.into_iter().skip(1).collect(), |n| {
            format!("new-{n}").into_bytes()
        }),
    });
    let many = |row: Row| row.mail((0..30).map(|n| (format!("u{n}"), mail::tiny(n))));
    let no_top = |faults: Faults| faults.on("TOP", Reply::send("-ERR unknown\r\n"));
    vec![
        row("UIDs new in every session", every_time()).polls(3),
        row(
            "UIDs new in every session, nothing is deleted",
            every_time().commit(Commit::Never),
        )
        .polls(3)
        .leaves([1, 2, 3])
        .unavoidable("what the server says it deleted is not looked for in all that is new"),
        row("UIDs new from the second session on", once()).polls(3),
        row("UIDs new in the second session only", back).polls(3),
        row("UIDs new, and one message is gone", shortened)
            .polls(3)
            .for_good(),
        many(row("thirty UIDs new in every session", every_time())).polls(3),
        row("UIDs new, and no TOP", no_top(once()))
            .polls(2)
            .keeping(|row| {
                row.unavoidable("without TOP the texts would be fetched to compare them")
            }),
        many(row("thirty UIDs new, and no TOP", no_top(once())))
            .polls(2)
            .keeping(|row| row.fails_later(Config)),
    ]
}
