//! Certificates that are not taken, and the login that must not happen without TLS for that.
//!
//! What is said of each certificate is for `engine/tls.rs`.

use std::time::{Duration, SystemTime};

use posthole_core::error::Class;
use posthole_testkit::pop3::Faults;
use posthole_testkit::tls::{Authority, Identity, Request};

use crate::row::{NAME, Row, row};

type Issue = fn(&Authority) -> Identity;

/// Each with some words of the error.
const CERTIFICATES: &[(&str, Issue, &str)] = &[
    (
        "an_expired",
        |ca| ca.sign(&Request::new(&[NAME]).valid(now() - days(400), now() - days(35))),
        "ended",
    ),
    (
        "a_future",
        |ca| ca.sign(&Request::new(&[NAME]).valid(now() + days(3), now() + days(400))),
        "only begins",
    ),
    (
        "a_self_signed",
        |_| Request::new(&[NAME]).self_signed(),
        "nobody but itself",
    ),
    (
        "a_strangers",
        |_| Authority::new("Stranger CA").issue(&[NAME]),
        "who is not trusted",
    ),
    // Of the same name as the one that is trusted.
    (
        "an_impostors",
        |_| Authority::new("Test CA").issue(&[NAME]),
        "the certificate of",
    ),
    (
        "another_hosts",
        |ca| ca.issue(&["mail.example.com"]),
        "is not for mail.example.org",
    ),
    (
        "the_domains",
        |ca| ca.issue(&["example.org"]),
        "is not for mail.example.org",
    ),
    (
        "the_top_levels",
        |ca| ca.issue(&["*.org"]),
        "is not for mail.example.org",
    ),
    (
        "a_sub_domains",
        |ca| ca.issue(&["*.mail.example.org"]),
        "is not for mail.example.org",
    ),
    (
        "an_addresss",
        |ca| ca.issue(&["127.0.0.1"]),
        "is not for mail.example.org",
    ),
    (
        "this_machines",
        |ca| ca.issue(&["localhost"]),
        "is not for mail.example.org",
    ),
    (
        "a_common_names",
        |ca| ca.sign(&Request::new(&[]).common_name(NAME)),
        "for no host at all",
    ),
    (
        "a_clients",
        |ca| ca.sign(&Request::client(NAME)),
        "not meant for servers",
    ),
];

pub(crate) fn rows() -> Vec<Row> {
    let sound = Faults::new;
    let refused = |(whose, issue, says): &(&str, Issue, &'static str)| {
        row(format!("{whose}_certificate"), sound())
            .certificate(*issue)
            .fails(Class::Certificate, &[says])
    };
    let mut rows: Vec<_> = CERTIFICATES.iter().map(refused).collect();
    rows.push(
        row("a_certificate_for_any_host", sound()).certificate(|ca| ca.issue(&["*.example.org"])),
    );
    rows
}

fn now() -> SystemTime {
    SystemTime::now()
}

const fn days(days: u64) -> Duration {
    Duration::from_secs(days * 24 * 60 * 60)
}
