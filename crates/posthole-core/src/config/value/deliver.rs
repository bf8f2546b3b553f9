//! `deliver`: where messages go.

use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use super::listen::{parse_authority, parse_host_port};
use super::{ValueError, parse_path};
use crate::config::{Password, Spanned, TlsOptions, did_you_mean};
use crate::plan::HostPort;

/// A destination as written, its path not yet expanded.
#[derive(Clone, Debug)]
pub enum Deliver {
    /// `bsmtp:PATH`; without a path it is standard output, written `-`.
    Bsmtp(Option<PathBuf>),
    /// `lmtp:HOST:PORT` or `lmtp:/SOCKET`.
    Lmtp(LmtpServer),
    /// `maildir:PATH`.
    Maildir(PathBuf),
    /// `mbox:PATH`.
    Mbox(PathBuf),
    /// `mda:COMMAND`, split into words as a shell would.
    Mda {
        /// The program and its arguments; never empty.
        command: Vec<String>,
        /// How long it may take; only the table `{ mda = … }` says so.
        timeout: Option<Duration>,
        /// As which local user root runs it; only the table says so.
        user: Option<String>,
    },
    /// `smtp:HOST[:PORT]` or `smtps:HOST[:PORT]`.
    Smtp(Box<SmtpOptions>),
}

/// A server that takes mail. Only the table `{ smtp = …, user = … }` says more than where it is.
#[derive(Clone, Debug, Default)]
pub struct SmtpOptions {
    /// Name or address.
    pub host: String,
    /// The port, if it is written.
    pub port: Option<u16>,
    /// Whether it speaks TLS from the start (`smtps:`, RFC 8314 §3.3).
    pub is_tls: bool,
    /// Who logs in.
    pub user: Option<Spanned<String>>,
    /// With what.
    pub password: Option<Spanned<Password>>,
    /// When TLS is started otherwise, and which certificate is taken.
    pub tls: TlsOptions,
}

impl SmtpOptions {
    /// Reads what stands behind `smtp:` or, with TLS, behind `smtps:`.
    ///
    /// # Errors
    /// When that is not where a server could be.
    pub(in crate::config) fn parse(place: &str, is_tls: bool) -> Result<Self, ValueError> {
        let (host, port) = parse_authority(place)?;
        Ok(Self {
            host,
            port,
            is_tls,
            ..Self::default()
        })
    }
}

/// Where an LMTP server listens.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum LmtpServer {
    /// A host and its port; there is no usual one (RFC 2033 §5).
    Tcp(HostPort),
    /// A Unix socket.
    Unix(PathBuf),
}

impl FromStr for Deliver {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let Some((kind, place)) = text.split_once(':') else {
            return Err(ValueError::new(
                "it is not said what kind of destination this is",
                0..text.len(),
            )
            .help(format!("write {EXAMPLE}")));
        };
        let parsed = match kind {
            "bsmtp" if place == "-" => Ok(Self::Bsmtp(None)),
            "bsmtp" => parse_path(place).map(|path| Self::Bsmtp(Some(path))),
            "lmtp" => lmtp(place).map(Self::Lmtp),
            "maildir" => parse_path(place).map(Self::Maildir),
            "mbox" => parse_path(place).map(Self::Mbox),
            "mda" => words(place).map(|command| Self::Mda {
                command,
                timeout: None,
                user: None,
            }),
            "smtp" | "smtps" => {
                SmtpOptions::parse(place, kind == "smtps").map(|to| Self::Smtp(Box::new(to)))
            }
            _ => {
                let error = ValueError::new("unknown kind of destination", 0..kind.len());
                return Err(match did_you_mean(kind, KINDS) {
                    Some(near) => error.help(format!("did you mean `{near}:`?")),
                    None => error.help(format!("known are `{}:`", KINDS.join(":`, `"))),
                });
            }
        };
        parsed.map_err(|error| error.shifted(kind.len() + 1))
    }
}

/// Reads the recipient of a message: a local user's name, or an address.
///
/// # Errors
/// When no mail program could be given this for a recipient.
pub fn parse_recipient(text: &str) -> Result<String, ValueError> {
    let all = 0..text.len();
    if text.is_empty() {
        return Err(ValueError::new("the recipient is empty", all));
    }
    if text.starts_with('-') {
        return Err(ValueError::new(
            "a recipient cannot start with `-`, which a command would take for an option",
            0..1,
        ));
    }
    let unfit = |c: char| c.is_control() || c.is_whitespace() || matches!(c, '<' | '>' | ',' | ';');
    match text.char_indices().find(|&(_, c)| unfit(c)) {
        None => Ok(text.to_owned()),
        Some((at, c)) => Err(ValueError::new(
            "a recipient has no blanks, commas, semicolons, brackets or control characters",
            at..at + c.len_utf8(),
        )
        .help("write one recipient in each string: [\"msingh\", \"max@example.org\"]")),
    }
}

/// Checks a command that is run without a shell.
///
/// # Errors
/// When there is nothing to run.
pub(in crate::config) fn check_command(command: &[String]) -> Result<(), String> {
    match command.first() {
        None => Err("the command is empty".to_owned()),
        Some(program) if program.is_empty() => Err("the command has an empty name".to_owned()),
        Some(_) if command.iter().any(|word| word.contains('\0')) => {
            Err("the command has a NUL in it".to_owned())
        }
        Some(_) => Ok(()),
    }
}

fn words(text: &str) -> Result<Vec<String>, ValueError> {
    let all = 0..text.len();
    let command = shell_words::split(text).map_err(|_| {
        ValueError::new("a quote in the command is not closed", all.clone())
            .help("or write the words as a list: { mda = [\"procmail\", \"-d\", \"%T\"] }")
    })?;
    check_command(&command).map_err(|message| ValueError::new(message, all))?;
    Ok(command)
}

fn lmtp(place: &str) -> Result<LmtpServer, ValueError> {
    if place.starts_with('/') || place.starts_with('~') || place.starts_with('.') {
        return parse_path(place).map(LmtpServer::Unix);
    }
    parse_host_port(place)
        .map(LmtpServer::Tcp)
        .map_err(|error| {
            error.help(
                "write `lmtp:HOST:PORT`, or `lmtp:/PATH` for a socket; LMTP has no usual port",
            )
        })
}

const EXAMPLE: &str = "`maildir:` and a directory, such as `maildir:~/Mail`";
pub(in crate::config) const KINDS: &[&str] =
    &["bsmtp", "lmtp", "maildir", "mbox", "mda", "smtp", "smtps"];
