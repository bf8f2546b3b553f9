//! The words of a forward.

use std::str::FromStr;

use super::ValueError;
use crate::config::name::check_section_name;

/// What is spoken through a forward: which words tell a client that it cannot be served.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Protocol {
    /// IMAP (RFC 3501): `* BYE` and the reason.
    Imap,
    /// Something else: the connection just ends.
    Other,
    /// POP3 (RFC 1939): `-ERR` and the reason.
    Pop3,
}

impl FromStr for Protocol {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "imap" => Ok(Self::Imap),
            "other" => Ok(Self::Other),
            "pop3" => Ok(Self::Pop3),
            _ => Err(ValueError::new("the protocol is not known", 0..text.len())
                .help("write \"pop3\", \"imap\" or \"other\"")),
        }
    }
}

/// Reads `allow`, which is true for `any`.
pub(in crate::config) fn parse_allow(text: &str) -> Result<bool, ValueError> {
    match text {
        "any" => Ok(true),
        "same-user" => Ok(false),
        _ => Err(
            ValueError::new("whom to allow is not known", 0..text.len()).help(
                "write \"same-user\" for programs of your own, or \"any\" for all that can connect",
            ),
        ),
    }
}

/// Reads `login`, which is true for `local-token`.
pub(in crate::config) fn parse_login(text: &str) -> Result<bool, ValueError> {
    match text {
        "local-token" => Ok(true),
        "pass-through" => Ok(false),
        _ => Err(
            ValueError::new("how programs log in is not known", 0..text.len()).help(
                "write \"local-token\", or \"pass-through\" to have them log in to the server",
            ),
        ),
    }
}

/// Reads the name of an account, or of a socket.
pub(in crate::config) fn parse_name(text: &str) -> Result<String, ValueError> {
    check_section_name(text).map_err(|message| ValueError::new(message, 0..text.len()))?;
    Ok(text.to_owned())
}
