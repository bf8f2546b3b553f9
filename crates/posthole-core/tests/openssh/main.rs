//! Trust in host keys compared with OpenSSH's, whose `ssh` and `ssh-keygen` know best what a
//! known_hosts file means.
//!
//! Where we differ it is on purpose, and said beside the case.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

#[path = "../tunnel/world.rs"]
mod world;

mod decisions;
mod names;
mod pictures;

use std::future::Future;
use std::process::ExitCode;

use posthole_testkit::real::Requirement::{NssWrapper, Ssh, SshKeygen, Sshd};
use posthole_testkit::real::{Requirement, Suite};

fn main() -> ExitCode {
    Suite::new()
        .test("names_match_as_ssh_keygen_finds_them", &[SshKeygen], || {
            run(names::match_as_ssh_keygen_finds_them());
        })
        .test("pictures_are_those_of_ssh_keygen", &[SshKeygen], || {
            run(pictures::are_those_of_ssh_keygen());
        })
        .test("recorded_keys_count_as_for_ssh", ORACLE, || {
            run(decisions::recorded_keys_count_as_for_ssh());
        })
        .test("certificates_count_as_for_ssh", ORACLE, || {
            run(decisions::certificates_count_as_for_ssh());
        })
        .run()
}

const ORACLE: &[Requirement] = &[Ssh, SshKeygen, Sshd, NssWrapper];

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Runtime::new().unwrap().block_on(test);
}
