//! `server`: the mail server's URL.

use std::fmt;
use std::str::FromStr;

use super::ValueError;
use super::listen::parse_authority;
use crate::config::did_you_mean;
use crate::config::name::check_mail_user;

/// `pop3://[user@]host[:port]`, after RFC 2384 (which calls the scheme `pop`), or `pop3s://…` for
/// TLS from the start (RFC 8314 §3.2).
///
/// A user name stands percent-encoded where it holds `:`, `/`, `?`, `#` or `%` (RFC 3986 §2.1);
/// an `@` may stand as it is. There is no place for a password: the command line is visible to
/// everybody, and a file has better places.
#[derive(Clone, Eq, PartialEq)]
pub struct ServerUrl {
    /// Whether TLS is spoken from the start.
    pub is_tls: bool,
    /// The user name, decoded.
    pub user: Option<String>,
    /// Name or address; an IPv6 address stands without brackets.
    pub host: String,
    /// The port, where one was written.
    pub port: Option<u16>,
}

impl FromStr for ServerUrl {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let Some((scheme, rest)) = text.split_once("://") else {
            return Err(
                ValueError::new("this is not the URL of a mail server", 0..text.len())
                    .help(format!("write {EXAMPLE}")),
            );
        };
        let rest_at = scheme.len() + "://".len();
        // First of all, and over everything up to the last `@`: no later message may tear a piece
        // out of a password that holds `/` or `@`.
        let userinfo = rest.rsplit_once('@').map(|(userinfo, _)| userinfo);
        if let Some((user, password)) = userinfo.and_then(|userinfo| userinfo.split_once(':')) {
            let at = rest_at + user.len() + 1;
            return Err(ValueError::new(
                "a password does not belong in the URL",
                at..at + password.len(),
            )
            .help(
                "take it out and use `password`, or leave that out to be asked; a `:` that is \
                     part of the user name is written `%3A`",
            ));
        }
        let is_tls = check_scheme(scheme)?;
        let end = rest.find(['/', '?', '#']).unwrap_or(rest.len());
        let (authority, tail) = rest.split_at(end);
        if !matches!(tail, "" | "/") {
            let at = rest_at + end;
            return Err(ValueError::new("nothing may follow the host", at..text.len()).help(
                "a POP3 server has one mailbox for each user; write a `/`, `?` or `#` in the user \
                 name as `%2F`, `%3F` or `%23`",
            ));
        }
        let (userinfo, host_at) = match authority.rsplit_once('@') {
            Some((userinfo, _)) => (Some(userinfo), userinfo.len() + 1),
            None => (None, 0),
        };
        let user = userinfo
            .map(|written| {
                let user = percent_decode(written)?;
                check_mail_user(&user)
                    .map_err(|message| ValueError::new(message, 0..written.len()))?;
                Ok(user)
            })
            .transpose()
            .map_err(|error: ValueError| error.shifted(rest_at))?;
        let (host, port) = parse_authority(&authority[host_at..])
            .map_err(|error| error.shifted(rest_at + host_at))?;
        Ok(Self {
            is_tls,
            user,
            host,
            port,
        })
    }
}

impl fmt::Display for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(if self.is_tls { "pop3s://" } else { "pop3://" })?;
        if let Some(user) = &self.user {
            for character in user.chars() {
                match character {
                    ':' | '/' | '?' | '#' | '%' => write!(f, "%{:02X}", u32::from(character))?,
                    _ => write!(f, "{character}")?,
                }
            }
            f.write_str("@")?;
        }
        if self.host.contains(':') {
            write!(f, "[{}]", self.host)?;
        } else {
            f.write_str(&self.host)?;
        }
        self.port.map_or(Ok(()), |port| write!(f, ":{port}"))
    }
}

impl fmt::Debug for ServerUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

/// Whether it is the scheme for TLS from the start.
fn check_scheme(scheme: &str) -> Result<bool, ValueError> {
    let at = 0..scheme.len();
    match scheme.to_ascii_lowercase().as_str() {
        "pop3" => Ok(false),
        "pop3s" => Ok(true),
        known @ ("imap" | "imaps") => Err(ValueError::new(
            format!("`{known}` is not supported yet"),
            at,
        )
        .help("only `pop3` and `pop3s` are")),
        unknown => {
            let error = ValueError::new("unknown kind of mail server", at);
            Err(match did_you_mean(unknown, SCHEMES) {
                Some(near) => error.help(format!("did you mean `{near}`?")),
                None => error.help(format!("write {EXAMPLE}")),
            })
        }
    }
}

/// RFC 3986 §2.1.
fn percent_decode(text: &str) -> Result<String, ValueError> {
    let mut decoded = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&byte, after)) = rest.split_first() {
        if byte != b'%' {
            decoded.push(byte);
            rest = after;
            continue;
        }
        let at = text.len() - rest.len();
        let digit = |index: usize| char::from(*after.get(index)?).to_digit(16);
        let (Some(high), Some(low)) = (digit(0), digit(1)) else {
            return Err(ValueError::new(
                "`%` is not followed by two hexadecimal digits",
                at..at + 1,
            )
            .help("write a `%` that is part of the user name as `%25`"));
        };
        decoded.push((high * 16 + low) as u8);
        rest = &after[2..];
    }
    String::from_utf8(decoded)
        .map_err(|_| ValueError::new("the user name does not decode to UTF-8", 0..text.len()))
}

const EXAMPLE: &str = "`pop3://user@host`, such as `pop3://msingh@localhost:110`";
const SCHEMES: &[&str] = &["imap", "imaps", "pop3", "pop3s"];
