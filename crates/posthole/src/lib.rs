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
mod notify;
mod progress;
mod prompt;
mod render;
mod report;
mod signals;
mod steps;
mod tty;

use std::ffi::OsString;
use std::io::{self, Write as _};
use std::process::ExitCode;
use std::sync::Arc;

use anstream::ColorChoice;
use clap::Parser;

use args::{Cli, ColorWhen, Command, GlobalArgs};
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
    if let Some(exit) = as_fetchmail(&args) {
        return exit;
    }
    let Cli { command, global } = match Cli::try_parse_from(&args) {
        Ok(cli) => cli,
        Err(error) => return refuse_arguments(&error, &args).into(),
    };
    let colour = match global.color {
        ColorWhen::Auto => ColorChoice::Auto,
        ColorWhen::Always => ColorChoice::Always,
        ColorWhen::Never => ColorChoice::Never,
    };
    let bars = !global.quiet && global.verbose < 2;
    let console = Arc::new(Console::new(colour, bars));
    if !matches!(command, Command::Daemon(_)) {
        logging::start(Arc::clone(&console), global.quiet, global.verbose);
    }
    let run = &Run::new(Arc::clone(&console), global);
    let exit = match command {
        Command::Fetch(args) => run.in_runtime(async |run| commands::fetch(run, &args).await),
        Command::Daemon(args) => commands::daemon(run, args),
        Command::Status(args) => run.to_end(|run| commands::status(run, &args)),
        Command::Wake(args) => run.to_end(|run| commands::wake(run, args)),
        Command::Pause(args) => run.to_end(|run| commands::pause(run, &args)),
        Command::Resume => run.to_end(commands::resume),
        Command::Reload => run.to_end(commands::reload),
        Command::Unlock => run.to_end(commands::unlock),
        Command::Stop => run.to_end(commands::stop),
        Command::Check(args) => run.in_runtime(async |run| commands::check(run, &args).await),
        Command::Trust(args) => run.in_runtime(async |run| commands::trust(run, &args).await),
        Command::Forward(args) => run.in_runtime(async |run| commands::forward(run, &args).await),
        // Its own command line is read elsewhere; this one has none.
        Command::Fetchmail(_) => return commands::fetchmail(run.global.clone(), []),
        Command::Import(args) => run.in_runtime(async |run| commands::import(run, &args)),
        Command::Completions(args) => commands::completions(run, &args),
        Command::Man => commands::man(run),
    };
    exit.worse(run.output_exit()).into()
}

/// Runs with fetchmail's command line, if the program is called `fetchmail` or told to be.
///
/// What follows the word `fetchmail` is none of clap's business: fetchmail's options have other
/// meanings, and other rules.
fn as_fetchmail(args: &[OsString]) -> Option<ExitCode> {
    let (name, rest) = args.split_first()?;
    if commands::is_called_fetchmail(Some(name)) {
        let global = GlobalArgs::default();
        return Some(commands::fetchmail(global, rest.iter().cloned()));
    }
    let place = args.iter().position(|arg| arg == "fetchmail")?;
    let (ours, theirs) = args.split_at(place + 1);
    match Cli::try_parse_from(ours) {
        Ok(Cli {
            command: Command::Fetchmail(_),
            global,
        }) => Some(commands::fetchmail(global, theirs.iter().cloned())),
        _ => None,
    }
}

/// Help and version are printed as data; everything else clap has to say is a mistake.
fn refuse_arguments(error: &clap::Error, args: &[OsString]) -> Exit {
    let is_harmless = |arg: &OsString| !arg.to_string_lossy().contains(char::is_control);
    // A reader who closed the pipe has seen enough.
    if args.iter().all(is_harmless) {
        error.print().ok();
    } else {
        // clap repeats an argument as it is, and a script may have it from anywhere.
        let text = report::printable(&error.to_string());
        io::stderr().write_all(text.as_bytes()).ok();
    }
    if error.use_stderr() {
        Exit::Usage
    } else {
        Exit::Success
    }
}
