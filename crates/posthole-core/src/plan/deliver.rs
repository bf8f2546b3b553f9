//! Where messages go, with everything a destination needs to know.

use std::ffi::OsString;
use std::fmt;
use std::num::NonZeroU32;
use std::path::PathBuf;
use std::time::Duration;

use bstr::BString;

use super::{HostPort, PasswordSource, Tls};

/// Where messages go.
///
/// `Display` is the name under which records remember what a destination has already got, where an
/// account has several.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum DeliverTo {
    /// A file of SMTP commands.
    Bsmtp(BsmtpTo),
    /// A Maildir, made when it is missing.
    Maildir(PathBuf),
    /// An mbox file, made when it is missing.
    Mbox(MboxTo),
    /// A command that delivers mail.
    Mda(MdaTo),
    /// A server that takes mail.
    Smtp(Box<SmtpTo>),
}

impl fmt::Display for DeliverTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bsmtp(BsmtpTo { path: None, .. }) => f.write_str("bsmtp:-"),
            Self::Bsmtp(BsmtpTo {
                path: Some(path), ..
            }) => write!(f, "bsmtp:{}", path.display()),
            Self::Maildir(path) => write!(f, "maildir:{}", path.display()),
            Self::Mbox(MboxTo { path, .. }) => write!(f, "mbox:{}", path.display()),
            Self::Mda(MdaTo { command, .. }) => write!(f, "mda:{command}"),
            Self::Smtp(to) => to.fmt(f),
        }
    }
}

/// An mbox file.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MboxTo {
    /// The file.
    pub path: PathBuf,
    /// The local user it belongs to, where that is not whoever runs this: only root can.
    pub owner: Option<String>,
}

/// A command that delivers mail, and is given the message on standard input.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct MdaTo {
    /// The command.
    pub command: MdaCommand,
    /// What `%T` stands for; never empty.
    pub recipients: Vec<String>,
    /// The local user it runs as, where that is not whoever runs this: only root can.
    pub user: Option<String>,
    /// All environment variables it gets.
    pub environment: Vec<(OsString, OsString)>,
    /// How long it may take for a message.
    pub timeout: Duration,
}

/// How a command is run. `%T` stands for the recipients, `%F` for the sender.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum MdaCommand {
    /// A program and its arguments, without a shell; never empty.
    Argv(Vec<String>),
    /// Text for `/bin/sh -c`, as fetchmail runs it; `%s` stands for the recipients too.
    Shell(String),
}

impl fmt::Display for MdaCommand {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Argv(words) => f.write_str(&shell_words::join(words)),
            Self::Shell(text) => f.write_str(text),
        }
    }
}

/// Servers that take mail, of which the first that can be reached is used.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SmtpTo {
    /// Where they are; never empty.
    pub servers: Vec<SmtpServer>,
    /// What is spoken.
    pub protocol: SmtpProtocol,
    /// The forward-paths (RFC 5321 §4.1.2), without angle brackets; never empty.
    pub recipients: Vec<String>,
    /// What stands behind a recipient who is found in a message and has no domain.
    pub domain: String,
    /// Reply codes to MAIL, DATA or the text by which a message counts as spam that nobody wants: it
    /// is dropped as if it had been delivered. Usually none.
    pub antispam: Vec<u16>,
    /// What becomes of mail that is refused for good; without it, that stays on the mail server.
    pub undeliverable: Option<Undeliverable>,
    /// How many messages go through one connection.
    pub batch_limit: Option<NonZeroU32>,
    /// How TLS protects the stream to a server over TCP. The name in it is that of the first.
    pub tls: Tls,
    /// With what to log in, where the server wants that.
    pub login: Option<SmtpLogin>,
    /// How long the server may take for each step; for the message as a whole twice that.
    pub timeout: Duration,
}

impl fmt::Display for SmtpTo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = match self.protocol {
            SmtpProtocol::Lmtp => "lmtp:",
            SmtpProtocol::Smtp => "smtp:",
        };
        f.write_str(scheme)?;
        for (idx, server) in self.servers.iter().enumerate() {
            let comma = if idx > 0 { "," } else { "" };
            write!(f, "{comma}{server}")?;
        }
        Ok(())
    }
}

/// What becomes of mail that a server refuses for good, where it does not simply stay where it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Undeliverable {
    /// Whether it stays on the mail server all the same, unless somebody else can get it
    /// (`softbounce`).
    pub stays: bool,
    /// Who is told of it before it goes (`bouncemail`).
    pub report_to: ReportTo,
    /// Whether somebody is told of spam too (`spambounce`).
    pub reports_spam: bool,
    /// Who gets what is refused for everybody it is for, and what cannot be told to its sender. If
    /// nobody does, it is discarded.
    pub postmaster: Option<String>,
}

/// Who is told of mail that could not be delivered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum ReportTo {
    /// The postmaster.
    Postmaster,
    /// Whoever sent it.
    Sender,
}

/// Who logs in to a server that takes mail.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SmtpLogin {
    /// The name.
    pub user: String,
    /// Where the password is from.
    pub password: PasswordSource,
}

/// Where a server that takes mail listens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum SmtpServer {
    /// The standard input and output of a command, a program and its arguments, that connects
    /// there. Never empty.
    Plugin(HostPort, Vec<BString>),
    /// A TCP port.
    Tcp(HostPort),
    /// A Unix socket.
    Unix(PathBuf),
}

impl fmt::Display for SmtpServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Plugin(to, _) | Self::Tcp(to) => to.fmt(f),
            Self::Unix(path) => path.display().fmt(f),
        }
    }
}

/// What a server that takes mail speaks.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum SmtpProtocol {
    /// LMTP (RFC 2033), which answers for each recipient by itself.
    Lmtp,
    /// SMTP (RFC 5321).
    Smtp,
}

/// A file that SMTP commands are appended to (RFC 2442).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct BsmtpTo {
    /// The file; none is standard output.
    pub path: Option<PathBuf>,
    /// The forward-paths, without angle brackets; never empty.
    pub recipients: Vec<String>,
    /// What stands behind a recipient who is found in a message and has no domain.
    pub domain: String,
}
