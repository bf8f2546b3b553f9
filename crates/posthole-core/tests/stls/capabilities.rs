//! What the server says that it can do, before TLS, is anybody's word.

use posthole_core::error::Class;
use posthole_testkit::pop3::{Faults, Reply};

use crate::row::{Row, first, list, row, slow};

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = lists();
    rows.extend(tampering());
    rows
}

/// Lists of all kinds, the same before TLS and inside.
fn lists() -> Vec<Row> {
    let everything = [
        "TOP",
        "USER",
        "RESP-CODES",
        "LOGIN-DELAY 15 USER",
        "LOGIN-DELAY 15",
        "PIPELINING",
        "EXPIRE NEVER USER",
        "EXPIRE 0 USER",
        "EXPIRE 1337",
        "UIDL",
        "IMPLEMENTATION posthole-testkit",
        "STLS",
        "AUTH-RESP-CODE",
        "UTF8 USER",
        "LANG",
    ];
    let without_capa = |answer: &'static str| Faults::new().on("CAPA", Reply::send(answer));
    let methods = |answer: &'static str| {
        let faults = Faults::new().without_capa();
        faults.on("AUTH", Reply::send(answer))
    };
    vec![
        row("a_sound_server", Faults::new()),
        row(
            "only_stls_is_offered",
            Faults::new().capabilities(["STLS", "UIDL"]),
        ),
        row(
            "everything_is_offered",
            Faults::new().capabilities(everything),
        ),
        row("nothing_is_offered", Faults::new().capabilities([""; 0])).in_the_clear_if_welcome(&[]),
        row(
            "methods_are_offered_but_not_stls",
            Faults::new().capabilities(["SASL PLAIN LOGIN", "UIDL"]),
        )
        .server(|builder| builder.sasl(["PLAIN", "LOGIN"]))
        .in_the_clear_if_welcome(&[]),
        row("capabilities_are_refused", Faults::new().without_capa()).in_the_clear_if_welcome(&[]),
        row(
            "capabilities_are_refused_for_good",
            without_capa("-ERR [SYS/PERM] never\r\n"),
        )
        .in_the_clear_if_welcome(&[]),
        row(
            "capabilities_are_refused_and_methods_too",
            methods("-ERR no such command\r\n"),
        )
        .in_the_clear_if_welcome(&[]),
        row(
            "capabilities_are_refused_and_methods_are_listed",
            methods("+OK\r\nSASL PLAIN LOGIN\r\nPLAIN\r\nLOGIN\r\n+APOP\r\nCRAM-MD5\r\n.\r\n"),
        )
        .in_the_clear_if_welcome(&[]),
        row(
            "capabilities_are_refused_and_no_method_is_listed",
            methods("+OK\r\n.\r\n"),
        )
        .in_the_clear_if_welcome(&[]),
        row(
            "stls_is_offered_in_small_letters",
            first(Faults::new(), "CAPA", list(&["stls"])),
        ),
        row(
            "stls_is_offered_with_an_argument",
            first(Faults::new(), "CAPA", list(&["STLS later"])),
        ),
        row(
            "stls_is_offered_twice",
            first(Faults::new(), "CAPA", list(&["STLS", "STLS"])),
        ),
        // To ask for it again would be a mistake (RFC 2595 §4).
        row(
            "stls_is_offered_inside_tls",
            Faults::new().capabilities(["STLS", "UIDL", "PIPELINING"]),
        ),
    ]
}

/// What is put into the list on the way, or taken out.
fn tampering() -> Vec<Row> {
    vec![
        row(
            "stls_is_taken_out",
            first(Faults::new(), "CAPA", list(&["USER", "UIDL"])),
        )
        .in_the_clear_if_welcome(&[]),
        row(
            "stls_is_written_over",
            first(Faults::new(), "CAPA", list(&["USER", "XTLS", "UIDL"])),
        )
        .in_the_clear_if_welcome(&[]),
        row(
            "stls_stands_after_the_end_of_the_list",
            first(
                Faults::new(),
                "CAPA",
                Reply::send("+OK\r\nUSER\r\n.\r\nSTLS\r\n.\r\n"),
            ),
        )
        .fails_if_welcome(Class::Protocol, &["when no reply was due"]),
        row(
            "methods_are_put_in_that_there_are_not_inside",
            first(
                Faults::new(),
                "CAPA",
                list(&["STLS", "SASL PLAIN LOGIN EXTERNAL XOAUTH2", "PIPELINING"]),
            ),
        ),
        row(
            "pipelining_is_put_in_that_there_is_not_inside",
            first(
                Faults::new().without_pipelining(),
                "CAPA",
                list(&["STLS", "PIPELINING", "UIDL"]),
            ),
        ),
        row(
            "a_delay_is_put_in",
            first(
                Faults::new(),
                "CAPA",
                list(&["STLS", "LOGIN-DELAY 4000000000"]),
            ),
        ),
        row(
            "controls_are_put_in",
            first(
                Faults::new(),
                "CAPA",
                list(&["STLS", "IMPLEMENTATION \x1b[2J\x07\x08", "+like this?"]),
            ),
        ),
        row(
            "the_list_has_a_status_that_is_nearly_one",
            first(Faults::new(), "CAPA", Reply::send("+Okay\r\nSTLS\r\n.\r\n")),
        ),
        row(
            "an_answer_to_stls_comes_with_the_list",
            first(
                Faults::new(),
                "CAPA",
                Reply::send("+OK\r\nSTLS\r\n.\r\n+OK begin TLS\r\n"),
            ),
        )
        .fails_if_welcome(Class::Protocol, &["when no reply was due"]),
        row(
            "a_refusal_of_stls_comes_with_the_list",
            first(
                Faults::new(),
                "CAPA",
                Reply::send("+OK\r\nSTLS\r\n.\r\n-ERR not today\r\n"),
            ),
        )
        .fails_if_welcome(Class::Protocol, &["when no reply was due"]),
        slow(
            "the_list_does_not_end",
            first(
                Faults::new(),
                "CAPA",
                Reply::send("+OK\r\nSTLS\r\n").stall(),
            ),
        )
        .in_the_clear_if_welcome(&[]),
        row(
            "the_list_has_no_end",
            first(
                Faults::new(),
                "CAPA",
                Reply::send(format!("+OK\r\n{}", "X-NOISE\r\n".repeat(200_000))),
            ),
        )
        .fails_if_welcome(Class::Protocol, &["lists more than"]),
    ]
}
