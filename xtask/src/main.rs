//! Posthole's own chores, run as `cargo xtask NAME`.
//!
//! They are Rust and not shell, so that they work wherever Posthole is built and are checked by the
//! same compiler; each lives in a module of its own and only [`main`] knows them all.

#![allow(
    clippy::print_stdout,
    clippy::print_stderr,
    reason = "a chore reports to a terminal"
)]

mod bench;
mod cargo;
mod demo;
mod fuzz;
mod injure;
mod instructions;

use std::env;
use std::process::ExitCode;

fn main() -> ExitCode {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let arguments: Vec<&str> = arguments.iter().map(String::as_str).collect();
    let done = match arguments.as_slice() {
        ["bench", rest @ ..] => bench::bench(rest),
        ["demo"] => demo::demo(),
        ["fuzz", rest @ ..] => fuzz::fuzz(rest),
        ["injure", rest @ ..] => injure::injure(rest),
        ["instructions", rest @ ..] => instructions::instructions(rest),
        [] | ["help" | "--help" | "-h"] => {
            print!("{HELP}");
            return ExitCode::SUCCESS;
        }
        _ => Err(format!(
            "there is no chore `{}`\n\n{HELP}",
            arguments.join(" ")
        )),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("xtask: {error}");
            ExitCode::FAILURE
        }
    }
}

const HELP: &str = "\
cargo xtask CHORE

  bench [--list] [--rounds N] [NAME…]
                                    compare speed with fetchmail, fdm, mbsync and mpop
  demo                              fetch sample mail through SSH, with servers in this process
  fuzz [--seconds N] [TARGET…]      fuzz each target for a while (5 seconds), on stable Rust
  injure [--seconds N] [--seed N] [--said] [--binary PATH] [--one FAULT] [TARGET…]
                                    kill the program before every call by which it touches a
                                    file, or let the call fail (needs strace; an hour, or some
                                    faults at random for a while); the targets are maildir, mbox,
                                    lmtp and mda
  instructions [--bless]            count the instructions of hot paths; fail if they grew
";
