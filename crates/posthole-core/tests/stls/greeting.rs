//! The greeting, which is never protected, and so nothing to go by.

use std::time::Duration;

use posthole_core::error::Class;
use posthole_testkit::pop3::{Faults, GREETING, Reply};

use crate::row::{Row, row, slow};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = welcomes();
    rows.extend(refusals());
    rows.extend(others());
    rows
}

fn greeting(text: impl AsRef<[u8]>) -> Faults {
    Faults::new().on(GREETING, Reply::send(text))
}

fn welcomes() -> Vec<Row> {
    vec![
        row("the_greeting_is_a_yes", greeting("+OK\r\n")),
        row(
            "the_greeting_paints",
            greeting("+OK \x1b[31;1;4mPOP3\x1b[0m server ready\r\n"),
        ),
        row(
            "the_greeting_warns_for_good",
            greeting("+OK [SYS/PERM] ready\r\n"),
        ),
        row(
            "the_greeting_warns_for_now",
            greeting("+OK [SYS/TEMP] ready\r\n"),
        ),
        row(
            "the_greeting_warns_of_somebody",
            greeting("+OK [IN-USE] ready\r\n"),
        ),
        row(
            "the_greeting_has_a_challenge",
            greeting("+OK ready <1896.697170952@example.org>\r\n"),
        )
        .server(|builder| builder.apop()),
        // Of all methods, whoever stands in between would like this one best.
        row("the_greeting_has_a_challenge_and_methods_are_offered", {
            let greeting = greeting("+OK ready <1234.123456789@example.org>\r\n");
            greeting.capabilities(["USER", "SASL PLAIN", "STLS", "UIDL"])
        })
        .server(|builder| builder.apop().sasl(["PLAIN"])),
        row(
            "the_greeting_comes_an_octet_at_a_time",
            Faults::new().write_size(1),
        ),
    ]
}

fn refusals() -> Vec<Row> {
    let says = "refused the connection";
    let with_goodbye = |answer: &'static str| {
        let faults = greeting("-ERR go away\r\n");
        faults.on("QUIT", Reply::send(answer))
    };
    vec![
        row(
            "the_greeting_is_a_no",
            greeting("-ERR POP3 server ready\r\n"),
        )
        .fails(Class::Temporary, &[says, "POP3 server ready"]),
        row("the_greeting_is_a_no_without_a_word", greeting("-ERR\r\n"))
            .fails(Class::Temporary, &[says]),
        row(
            "the_greeting_is_a_no_that_paints",
            greeting("-ERR \x1b[31;1;4mPOP3\x1b[0m is closed\r\n"),
        )
        .fails(Class::Temporary, &[says, "POP3"]),
        row(
            "the_greeting_is_a_no_for_good",
            greeting("-ERR [SYS/PERM] no\r\n"),
        )
        .fails(Class::Unavailable, &[says]),
        row(
            "the_greeting_is_a_no_for_now",
            greeting("-ERR [SYS/TEMP] no\r\n"),
        )
        .fails(Class::Temporary, &[says]),
        row(
            "the_greeting_is_a_no_with_a_challenge",
            greeting("-ERR not ready <1896.697170952@example.org>\r\n"),
        )
        .server(|builder| builder.apop())
        .fails(Class::Temporary, &[says]),
        row(
            "the_greeting_is_a_no_about_a_password_that_nobody_gave",
            greeting("-ERR [AUTH] your password has expired: new password?\r\n"),
        )
        .fails(Class::Authentication, &[says]),
        row(
            "the_greeting_and_the_goodbye_are_a_no",
            with_goodbye("-ERR stay\r\n"),
        )
        .fails(Class::Temporary, &[says]),
        row(
            "the_greeting_is_a_no_and_the_goodbye_a_yes",
            with_goodbye("+OK bye\r\n"),
        )
        .fails(Class::Temporary, &[says]),
    ]
}

fn others() -> Vec<Row> {
    let expected = "expected the greeting of a POP3 server";
    vec![
        row(
            "the_greeting_is_nearly_a_yes",
            greeting("+Do you even care?\r\n"),
        )
        .fails(Class::Protocol, &[expected]),
        row("the_greeting_is_one_of_imap", greeting("* OK ready\r\n"))
            .fails(Class::Protocol, &[expected]),
        row(
            "the_greeting_says_that_there_is_no_need_to_log_in",
            greeting("* PREAUTH ready\r\n"),
        )
        .fails(Class::Protocol, &[expected]),
        row("the_greeting_is_one_of_smtp", greeting("220 ready\r\n"))
            .fails(Class::Protocol, &[expected]),
        slow(
            "the_greeting_is_an_alert_of_tls",
            greeting(b"\x15\x03\x01\x00\x02\x02\x28"),
        )
        .fails(Class::Temporary, &["did not greet us", "pop3s://"]),
        row(
            "a_listing_comes_with_the_greeting",
            greeting("+OK 2 messages (320 octets)\r\n1 120\r\n2 200\r\n.\r\n"),
        )
        .fails(Class::Protocol, &["when no reply was due"]),
        row(
            "the_answer_to_stls_comes_with_the_greeting",
            greeting("+OK ready\r\n+OK begin TLS\r\n"),
        )
        .fails(
            Class::Protocol,
            &["received `+OK begin TLS` when no reply was due"],
        ),
        row(
            "a_refusal_of_stls_comes_with_the_greeting",
            greeting("+OK ready\r\n-ERR no TLS\r\n"),
        )
        .fails(Class::Protocol, &["when no reply was due"]),
        row(
            "answers_to_the_whole_session_come_with_the_greeting",
            greeting("+OK ready\r\n+OK\r\n+OK\r\n+OK logged in\r\n+OK 0 0\r\n.\r\n.\r\n"),
        )
        .fails(Class::Protocol, &["when no reply was due"]),
        row("the_greeting_has_no_end", greeting("+OK ".repeat(300_000)))
            .fails(Class::Protocol, &["a line of more than"]),
        slow(
            "there_is_no_greeting",
            Faults::new().on(GREETING, Reply::silence()),
        )
        .fails(Class::Temporary, &["did not greet us", "pop3s://"]),
        row(
            "the_server_closes_instead_of_a_greeting",
            Faults::new().on(GREETING, Reply::hang_up()),
        )
        .fails(Class::Temporary, &["greeting"]),
        row(
            "the_server_closes_after_the_greeting",
            Faults::new().on(
                GREETING,
                Reply::normal().pause(Duration::from_millis(20)).close(),
            ),
        )
        .fails(Class::Temporary, &[]),
    ]
}
