//! `via`: an SSH host to go through.

use std::fmt;
use std::str::FromStr;

use super::ValueError;
use super::listen::parse_authority;
use crate::config::name::check_ssh_user;

/// `[ssh://][user@]host[:port]`, as ssh(1) takes a destination.
///
/// With more than one `:` and no brackets it is an IPv6 address without a port.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SshTarget {
    /// The user, where one was written.
    pub user: Option<String>,
    /// The host as written; an IPv6 address stands without brackets.
    pub host: String,
    /// The port, where one was written.
    pub port: Option<u16>,
}

impl FromStr for SshTarget {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let (start, rest) = match text.split_once("://") {
            Some(("ssh", rest)) => ("ssh://".len(), rest.strip_suffix('/').unwrap_or(rest)),
            Some((scheme, _)) => {
                return Err(
                    ValueError::new("only `ssh://` can be gone through", 0..scheme.len())
                        .help(format!("write {EXAMPLE}")),
                );
            }
            None => (0, text),
        };
        let (user, host_at) = match rest.rsplit_once('@') {
            Some((user, _)) => (Some(user), user.len() + 1),
            None => (None, 0),
        };
        if let Some(user) = user {
            if let Some((name, password)) = user.split_once(':') {
                let at = start + name.len() + 1;
                return Err(ValueError::new(
                    "a password does not belong here",
                    at..at + password.len(),
                )
                .help(
                    "take it out and use `password` in [ssh.HOST], or leave that out to be asked",
                ));
            }
            check_ssh_user(user)
                .map_err(|message| ValueError::new(message, start..start + user.len()))?;
        }
        if rest[host_at..].is_empty() {
            return Err(ValueError::new("the host is missing", 0..text.len())
                .help(format!("write {EXAMPLE}")));
        }
        if let Some(comma) = text.find(',') {
            let error = ValueError::new("this is more than one host", comma..comma + 1);
            return Err(error.help(
                "to go through several, repeat --via, or write a list in the file, such as \
                 via = [\"gate\", \"popserver\"]",
            ));
        }
        let (host, port) =
            parse_authority(&rest[host_at..]).map_err(|error| error.shifted(start + host_at))?;
        Ok(Self {
            user: user.map(str::to_owned),
            host,
            port,
        })
    }
}

impl fmt::Display for SshTarget {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Some(user) = &self.user {
            write!(f, "{user}@")?;
        }
        match self.port {
            Some(port) if self.host.contains(':') => write!(f, "[{}]:{port}", self.host),
            Some(port) => write!(f, "{}:{port}", self.host),
            None => f.write_str(&self.host),
        }
    }
}

const EXAMPLE: &str = "`[user@]host[:port]`, such as `msingh@popserver`";
