//! The program under its other name, which `ssh` starts to ask somebody something.
//!
//! It carries the question to the process that started `ssh`, and prints what comes back.

use std::ffi::OsString;
use std::io::Write;
use std::path::Path;
use std::process::ExitCode;

use posthole_core::tunnel::messenger;
use secrecy::ExposeSecret;

/// Does the errand, if these are the arguments of one.
pub(crate) fn run(args: &[OsString]) -> Option<ExitCode> {
    let (program, args) = args.split_first()?;
    let program = Path::new(program);
    if program.file_name()? != messenger::NAME {
        return None;
    }
    let question = args.first().map(|text| text.to_string_lossy());
    let hint = std::env::var("SSH_ASKPASS_PROMPT").unwrap_or_default();
    let answer = messenger::carry(program, &question.unwrap_or_default(), &hint);
    // Where there is no answer, `ssh` goes on without one, and says so itself.
    let Ok(answer) = answer else {
        return Some(ExitCode::FAILURE);
    };
    let mut output = std::io::stdout().lock();
    let written = output
        .write_all(answer.expose_secret().as_bytes())
        .and_then(|()| output.write_all(b"\n"))
        .and_then(|()| output.flush());
    Some(match written {
        Ok(()) => ExitCode::SUCCESS,
        Err(_) => ExitCode::FAILURE,
    })
}
