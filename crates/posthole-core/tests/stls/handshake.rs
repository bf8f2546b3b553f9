//! STLS is granted, and what follows is not the TLS that was meant.

use std::time::Duration;

use posthole_core::error::Class;
use posthole_testkit::pop3::{Faults, Reply};

use crate::row::{Row, row, slow};

/// The server says yes, and then this.
fn then(octets: &'static [u8]) -> Faults {
    let answer = Reply::send("+OK begin TLS\r\n").pause(Duration::from_millis(30));
    Faults::new().on("STLS", answer.then_send(octets).stall())
}

pub(crate) fn rows() -> Vec<Row> {
    let yes = || Reply::send("+OK begin TLS\r\n");
    let after = |reply: Reply| Faults::new().on("STLS", reply);
    vec![
        row("a_yes_and_everything_goes_on_in_the_clear", after(yes())).fails(
            Class::Protocol,
            &[
                "answered in plain text instead of TLS",
                "agreed to TLS and then did not speak it",
            ],
        ),
        row("a_yes_and_an_end", after(yes().close()))
            .fails(Class::Temporary, &["lost in the TLS handshake"]),
        row("a_yes_and_a_reset", after(yes().reset()))
            .fails(Class::Temporary, &["lost in the TLS handshake"]),
        slow("a_yes_and_silence", after(yes().stall())).fails(
            Class::Temporary,
            &["did not finish the TLS handshake within"],
        ),
        // Fatal, handshake_failure (RFC 8446 §6).
        row(
            "a_yes_and_nothing_in_common",
            then(b"\x15\x03\x03\x00\x02\x02\x28"),
        )
        .fails(
            Class::Protocol,
            &["refused TLS with us: we have no way to do it in common"],
        ),
        row(
            "a_yes_and_old_versions_alone",
            then(b"\x15\x03\x01\x00\x02\x02\x46"),
        )
        .fails(Class::Protocol, &["we have no version of TLS in common"]),
        row(
            "a_yes_and_an_unknown_name",
            then(b"\x15\x03\x03\x00\x02\x02\x70"),
        )
        .fails(Class::Protocol, &["refused TLS with us", "tls-name"]),
        row(
            "a_yes_and_trouble_inside",
            then(b"\x15\x03\x03\x00\x02\x02\x50"),
        )
        .fails(Class::Protocol, &["refused TLS with us"]),
        row(
            "a_yes_and_nonsense",
            then(b"\x16\x03\x03\x00\x04\xff\xff\xff\xff"),
        )
        .fails(Class::Protocol, &["cannot speak TLS with"]),
        row(
            "a_yes_and_data_without_keys",
            then(b"\x17\x03\x03\x00\x05+OK\r\n"),
        )
        .fails(Class::Protocol, &["cannot speak TLS with"]),
        // A ServerHello of TLS 1.0 (RFC 2246 §7.4.1.3).
        row(
            "a_yes_and_tls_of_1999",
            then(
                b"\x16\x03\x01\x00\x2a\x02\x00\x00\x26\x03\x01\
                  01234567890123456789012345678901\x00\x00\x2f\x00",
            ),
        )
        .fails(Class::Protocol, &["it knows neither TLS 1.3 nor TLS 1.2"]),
        slow("a_yes_and_half_a_record", then(b"\x16\x03\x03\x10\x00\x02"))
            .fails(Class::Temporary, &["did not finish the TLS handshake"]),
    ]
}
