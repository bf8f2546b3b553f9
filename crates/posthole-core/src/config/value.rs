//! The small languages inside strings.
//!
//! Each has one parser for the file and the command line alike, and an error that points into
//! the string and says what to write instead. Whatever might be a password is never repeated in
//! a message.

mod account;
mod auth;
mod deliver;
mod duration;
mod forward;
mod listen;
mod server;
mod size;
mod ssh;
mod tls;
mod via;

use std::ops::Range;
use std::path::PathBuf;

pub use account::AccountArg;
pub use deliver::{Deliver, LmtpServer, SmtpOptions, parse_recipient};
pub use duration::{parse_duration, parse_keep};
pub use forward::Protocol;
pub use listen::{Listen, parse_host_port};
pub use server::ServerUrl;
pub use size::parse_size;
pub use tls::{Pin, TlsWhen};
pub use via::SshTarget;

pub(super) use deliver::check_command;
pub(super) use duration::parse_keep_some;
pub(super) use forward::{parse_allow, parse_login, parse_name};
pub(super) use ssh::{
    parse_address_family, parse_backend, parse_bind_address, parse_names, parse_rekey_limit,
    parse_strictness,
};

/// Why a string is not what it should be.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[error("{message}")]
pub struct ValueError {
    /// What is wrong: lower case, no final period, without the string itself.
    pub message: String,
    /// The bytes of the string it is about.
    pub at: Range<usize>,
    /// What to do about it.
    pub help: Option<String>,
}

impl ValueError {
    pub(super) fn new(message: impl Into<String>, at: Range<usize>) -> Self {
        Self {
            message: message.into(),
            at,
            help: None,
        }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }

    /// The same error for a string that starts `offset` bytes into a larger one.
    pub(super) fn shifted(mut self, offset: usize) -> Self {
        self.at = self.at.start + offset..self.at.end + offset;
        self
    }
}

/// Reads a path; a leading `~` is left for the plan, which knows the home directory.
///
/// # Errors
/// When it is empty or starts with another user's home directory.
pub fn parse_path(text: &str) -> Result<PathBuf, ValueError> {
    if text.is_empty() {
        return Err(ValueError::new("the path is empty", 0..0));
    }
    if let Some(nul) = text.find('\0') {
        return Err(ValueError::new("the path has a NUL in it", nul..nul + 1));
    }
    let first = text.split('/').next().unwrap_or_default();
    if first.len() > 1 && first.starts_with('~') {
        return Err(ValueError::new(
            "only `~/` is expanded, not another user's home",
            0..first.len(),
        )
        .help("write the directory out, or `./~…` for a file of that name"));
    }
    Ok(PathBuf::from(text))
}
