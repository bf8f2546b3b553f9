//! Posthole, the program; all of it is in the library beside this file.

use std::process::ExitCode;

fn main() -> ExitCode {
    posthole::run(std::env::args_os())
}
