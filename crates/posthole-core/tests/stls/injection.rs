//! Answers in the clear that are to be taken for answers inside TLS (CVE-2011-0411 and its like).

use std::time::Duration;

use posthole_core::error::Class;
use posthole_testkit::pop3::{Faults, Reply};

use crate::row::{Row, row};

/// What would follow inside TLS, and is put behind the answer to STLS instead.
const ANSWERS: &[(&str, &[u8])] = &[
    ("a_single_octet", b"+"),
    ("a_line_end", b"\r\n"),
    ("a_yes", b"+OK\r\n"),
    ("half_a_yes", b"+O"),
    ("a_no", b"-ERR [AUTH] wrong password\r\n"),
    ("a_greeting", b"+OK POP3 server ready\r\n"),
    ("capabilities", b"+OK\r\nUSER\r\nPIPELINING\r\n.\r\n"),
    ("methods", b"+OK\r\nPLAIN\r\nLOGIN\r\n.\r\n"),
    ("the_answer_to_user", b"+OK send PASS\r\n"),
    ("the_answer_to_user_and_pass", b"+OK\r\n+OK logged in\r\n"),
    ("a_challenge", b"+ \r\n"),
    (
        "the_answers_up_to_the_listing",
        b"+OK\r\nUIDL\r\n.\r\n+OK\r\n+OK\r\n+OK 0 0\r\n+OK\r\n.\r\n+OK\r\n.\r\n",
    ),
    (
        "the_answers_up_to_a_message",
        b"+OK\r\nUIDL\r\n.\r\n+OK\r\n+OK\r\n+OK 1 30\r\n+OK\r\n1 evil\r\n.\r\n+OK\r\n1 30\r\n.\r\n\
          +OK\r\nSubject: evil\r\n\r\nclick here\r\n.\r\n+OK\r\n+OK bye\r\n",
    ),
    (
        "octets_that_mean_nothing",
        b"\xc2\xb9\xc2\xb3\x00\xff\x1b[2J",
    ),
    (
        "the_beginning_of_tls",
        b"\x16\x03\x03\x00\x7a\x02\x00\x00\x76\x03\x03",
    ),
    ("an_alert", b"\x15\x03\x03\x00\x02\x02\x28"),
];

pub(crate) fn rows() -> Vec<Row> {
    let mut rows = Vec::new();
    for (what, octets) in ANSWERS {
        let with = |mut answer: Vec<u8>| {
            answer.extend_from_slice(octets);
            answer
        };
        rows.push(
            row(
                format!("{what}_with_the_answer_to_stls"),
                Faults::new().on("STLS", Reply::edit(with)),
            )
            .fails(
                Class::Protocol,
                &[
                    "said more than its answer to STLS before TLS began",
                    "no password was sent",
                ],
            ),
        );
    }
    rows.extend(late());
    rows
}

/// The same after the answer, when the handshake has begun on our side.
fn late() -> Vec<Row> {
    let late = |octets: &'static [u8]| {
        let answer = Reply::send("+OK begin TLS\r\n").pause(Duration::from_millis(30));
        Faults::new().on("STLS", answer.then_send(octets))
    };
    let instead = "answered in plain text instead of TLS";
    vec![
        row("a_yes_before_tls", late(b"+OK\r\n")).fails(
            Class::Protocol,
            &["instead of TLS: `+OK`", "no password was sent"],
        ),
        row("a_no_before_tls", late(b"-ERR no TLS after all\r\n"))
            .fails(Class::Protocol, &[instead, "no TLS after all"]),
        row(
            "a_login_before_tls",
            late(b"+OK\r\n+OK logged in\r\n+OK 0 0\r\n"),
        )
        .fails(Class::Protocol, &[instead]),
        row(
            "a_wish_for_the_password_before_tls",
            late(b"-ERR \x1b[2Jtype your password again:\r\n"),
        )
        .fails(Class::Protocol, &[instead, "type your password again"]),
        row("a_line_end_before_tls", late(b"\r\n")).fails(Class::Protocol, &[instead]),
    ]
}
