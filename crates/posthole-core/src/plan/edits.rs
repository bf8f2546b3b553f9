//! What is changed in messages, what is asked about them first, and whom they are for.

use std::ffi::OsString;
use std::fmt;
use std::net::SocketAddr;
use std::time::Duration;

use crate::message;
pub use crate::message::StatusFields;

/// What is changed in each message on its way; by default nothing.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Edits {
    /// The `Received` field that is put in front, if one is.
    pub received: Option<Trace>,
    /// Whether a `Return-Path` is put in front where there is none.
    pub return_path: bool,
    /// The host that is appended to addresses without one.
    pub rewrite: Option<String>,
    /// What happens to `Status` and `X-Mozilla-Status`.
    pub status: StatusFields,
    /// Whether `Delivered-To` is taken out.
    pub drop_delivered: bool,
    /// Whether quoted-printable text becomes eight-bit text.
    pub mimedecode: bool,
    /// Whether carriage returns are taken out wherever they stand.
    pub strip_cr: bool,
}

impl Edits {
    /// Whether every octet stays as it came.
    #[must_use]
    pub fn is_none(&self) -> bool {
        *self == Self::default()
    }
}

/// What our `Received` field says besides where and when a message came from.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Trace {
    /// The mail server's name.
    pub from: String,
    /// The name of the account and the user there, where they are to be told (`tracepolls`).
    pub account: Option<(String, String)>,
    /// The one whom the mail is for, as an address, unless that is found out for each message.
    pub recipient: Option<String>,
}

/// A command that looks at the header of each new message and says what is done with it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Filter {
    /// Program and arguments, without a shell; never empty. `%F` stands for the sender, `%S` for
    /// the size in octets.
    pub command: Vec<String>,
    /// The local user it runs as, where that is not whoever runs this: only root can.
    pub user: Option<String>,
    /// All environment variables it gets.
    pub environment: Vec<(OsString, OsString)>,
    /// How long it may take for a message.
    pub timeout: Duration,
}

impl fmt::Display for Filter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&shell_words::join(&self.command))
    }
}

/// How the mail of several people in one mailbox is told apart.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Multidrop {
    /// Where recipients are looked for, and which of them are ours.
    pub rules: message::Multidrop,
    /// Who is asked whether a host is another name of the server.
    pub dns: NameService,
    /// Whether a host with an address of the server's counts as the server (`checkalias`).
    pub check_alias: bool,
    /// Who gets what is for nobody here; without one, that is dropped.
    pub postmaster: Option<String>,
}

/// Who is asked about names.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum NameService {
    /// This one.
    At(SocketAddr),
    /// Nobody.
    Off,
    /// The resolvers of this machine.
    #[default]
    System,
}

impl fmt::Display for NameService {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::At(server) => server.fmt(f),
            Self::Off => f.write_str("not asked"),
            Self::System => f.write_str("asked"),
        }
    }
}
