//! The program on disks that are full, read-only or damaged, and in folders where others put things.
//!
//! What is injected call by call is `cargo xtask injure`; here disks and files are really as they
//! are. Mail is judged by what is in its place and on the server.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

mod full;
mod place;
mod records;

use std::path::Path;
use std::process::ExitCode;

use posthole_testkit::mail;
use posthole_testkit::real::Suite;

fn main() -> ExitCode {
    let suite = Suite::new();
    let suite = full::tests(suite);
    let suite = place::tests(suite);
    let suite = records::tests(suite);
    suite.run()
}

/// Small, larger than what is written at once, and with lines that an mbox has to quote.
fn messages() -> Vec<Vec<u8>> {
    let mut messages: Vec<_> = (0..3).map(mail::tiny).collect();
    messages.extend(mail::attachments(1, 60_000));
    let mut quoted = mail::tiny(3);
    quoted.extend_from_slice(b"From here on\r\n>From there\r\n");
    messages.push(quoted);
    messages
}

fn bin() -> &'static Path {
    Path::new(env!("CARGO_BIN_EXE_posthole"))
}
