//! The fault catalogue: servers that do wrong, and what must come of it.
//!
//! A row is a named misbehaviour of a POP3 server. Each is met in four ways: by an account that
//! keeps its mail on the server and by one that deletes it, on a server that advertises PIPELINING
//! and on one that does not. The faulty server is polled, mended, and polled again. What counts is
//! the Maildir, octet for octet, and what is left on the server, never what a poll says of itself:
//! nothing is lost, nothing is delivered in part, nothing twice, nothing hangs, nothing panics.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod body;
mod deletion;
mod goodbye;
mod judge;
mod listing;
mod login;
mod opening;
mod row;

#[path = "../engine/account.rs"]
#[allow(dead_code, reason = "it is made for another test")]
mod account;

use std::process::ExitCode;

use libtest_mimic::{Arguments, Trial};

fn main() -> ExitCode {
    let rows = [
        opening::rows(),
        login::rows(),
        listing::rows(),
        body::rows(),
        deletion::rows(),
        goodbye::rows(),
    ]
    .concat();
    let trial = |row: row::Row| Trial::test(row.name, move || Ok(judge::judge(&row)?));
    let trials = rows.into_iter().map(trial).collect();
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}
