//! The program `posthole`: arguments, questions, what is printed, signals and exit codes.
//!
//! The mail is moved by `posthole-core`, which neither prints nor asks nor exits; this crate is
//! everything between it and a person, a cron job or a script. It is a library only so that a test
//! can run the program in a process of its own making; [`run`] is all there is to it.

mod args;
mod askpass;
mod commands;
mod console;
mod exit;
mod limits;
mod logging;
mod messenger;
mod progress;
mod prompt;
mod render;
mod report;
mod signals;
mod steps;
mod tty;

use std::ffi::OsString;
use std::process::ExitCode;
use std::sync::Arc;

use anstream::ColorChoice;
use clap::Parser;

use args::{Cli, ColorWhen, Command};
use commands::Run;
use console::Console;
use exit::Exit;

/// Runs the program with these arguments, the first of which is its name.
///
/// It ends the process itself where a signal told it to stop, so that the process is seen to have
/// ended by the signal.
pub fn run(args: impl IntoIterator<Item = OsString>) -> ExitCode {
    limits::set();
    let args: Vec<_> = args.into_iter().collect();
    if let Some(exit) = messenger::run(&args) {
        return exit;
    }
    let Cli { command, global } = match Cli::try_parse_from(args) {
        Ok(cli) => cli,
        Err(error) => return refuse_arguments(&error).into(),
    };
    let colour = match global.color {
        ColorWhen::Auto => ColorChoice::Auto,
        ColorWhen::Always => ColorChoice::Always,
        ColorWhen::Never => ColorChoice::Never,
    };
    let bars = !global.quiet && global.verbose < 2;
    let console = Arc::new(Console::new(colour, bars));
    logging::start(Arc::clone(&console), global.quiet, global.verbose);
    let run = Run::new(Arc::clone(&console), global);
    let exit = match command {
        Command::Fetch(args) => run.in_runtime(async |run| commands::fetch(run, &args).await),
        Command::Check(args) => run.in_runtime(async |run| commands::check(run, &args).await),
        Command::Trust(args) => run.in_runtime(async |run| commands::trust(run, &args).await),
        Command::Forward(args) => run.in_runtime(async |run| commands::forward(run, &args).await),
        Command::Completions(args) => commands::completions(&run, &args),
        Command::Man => commands::man(&run),
    };
    exit.worse(run.output_exit()).into()
}

/// Help and version are printed as data; everything else clap has to say is a mistake.
fn refuse_arguments(error: &clap::Error) -> Exit {
    // A reader who closed the pipe has seen enough.
    error.print().ok();
    if error.use_stderr() {
        Exit::Usage
    } else {
        Exit::Success
    }
}
