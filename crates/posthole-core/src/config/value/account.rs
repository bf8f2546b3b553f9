//! An account as the command line names it.

use std::fmt;
use std::str::FromStr;

use super::{ServerUrl, ValueError};

/// An account of the file by its name, or a mailbox by its URL.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum AccountArg {
    /// `[account.NAME]`.
    Name(String),
    /// A mailbox that need not be in the file.
    Url(ServerUrl),
}

impl FromStr for AccountArg {
    type Err = ValueError;

    /// Takes what has a scheme for a URL, and everything else for a name.
    fn from_str(text: &str) -> Result<Self, ValueError> {
        if text.contains("://") {
            Ok(Self::Url(text.parse()?))
        } else {
            Ok(Self::Name(text.to_owned()))
        }
    }
}

impl fmt::Display for AccountArg {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Name(name) => f.write_str(name),
            Self::Url(url) => url.fmt(f),
        }
    }
}
