//! STLS with servers, or with somebody in between, that would rather have the login in the clear.
//!
//! A row is a named situation. Each is met in four ways: by an account that requires TLS, on a server
//! it has not seen before and on one whose capabilities it remembers, by one to which TLS is only
//! welcome, and by one that expects TLS from the start. What counts is which octets of a login the
//! wire carried, what is in the Maildir, what is left on the server, and what the user reads.
//!
//! The situations of the study "Why TLS is better without STARTTLS" (Poddebniak and others, USENIX
//! Security 2021) for clients of POP3 are among them, and their neighbours.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod capabilities;
mod certificates;
mod greeting;
mod handshake;
mod injection;
mod judge;
mod refusal;
mod row;

#[path = "../engine/account.rs"]
#[allow(dead_code, reason = "it is made for another test")]
mod account;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let rows = [
        refusal::rows(),
        capabilities::rows(),
        greeting::rows(),
        injection::rows(),
        handshake::rows(),
        certificates::rows(),
    ]
    .concat();
    let trial = |row: row::Row| Trial::test(row.name.clone(), move || Ok(judge::judge(&row)?));
    let trials = rows.into_iter().map(trial).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
