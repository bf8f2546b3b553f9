//! `posthole completions` and `posthole man`: texts that are part of the program.

use clap::CommandFactory;

use super::Run;
use crate::args::{Cli, CompletionsArgs};
use crate::exit::Exit;

/// Prints a completion script.
pub(crate) fn completions(run: &Run, args: &CompletionsArgs) -> Exit {
    let mut script = Vec::new();
    clap_complete::generate(args.shell, &mut Cli::command(), "posthole", &mut script);
    let script = String::from_utf8_lossy(&script);
    run.console.print(script.trim_end());
    Exit::Success
}

/// Prints the manual page's source, as it is installed.
pub(crate) fn man(run: &Run) -> Exit {
    run.console.print(MANUAL.trim_end());
    Exit::Success
}

/// Written by hand: a list of options is no manual.
pub(crate) const MANUAL: &str = include_str!("../../../../doc/posthole.1");
