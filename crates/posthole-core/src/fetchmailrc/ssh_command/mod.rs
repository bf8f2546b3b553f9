//! The SSH command in `preconnect` and `plugin`, understood rather than run.
//!
//! Twenty-five years of howtos have people write `preconnect "ssh -f -L 11110:popserver:110 me@gate
//! sleep 5"` and poll localhost at port 11110, or `plugin "ssh %h nc localhost %p"`. Both say where
//! to connect and through whom, which is all that a tunnel of our own needs to know.
//!
//! Understood is only what can be understood wholly. Where a shell has more to do than to split
//! words, or a command has any other effect, the answer is [`NotUnderstood`] with the reason, and
//! the command is to be run as fetchmail runs it. Whether hosts, keys and options make sense is
//! left to whoever connects: options come out as what ssh_config(5) calls them. Pure.

mod arguments;
mod forward;
mod remote;
mod shell;

use std::borrow::Cow;
use std::fmt;

use bstr::ByteSlice;

use super::configuration::Entry;
use crate::plan::HostPort;

pub use forward::Forward;

/// An SSH connection, as an `ssh` command asks for it.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct SshCommand {
    /// The host, as `Host` in ssh_config(5) would match it.
    pub host: String,
    /// The user, from `-l`, `-o User` or before the host; the first counts.
    pub user: Option<String>,
    /// The port, from `-p`, `-o Port` or behind the host; the first counts.
    pub port: Option<u16>,
    /// The configuration file of `-F`.
    pub config_file: Option<String>,
    /// Everything else that says how to connect, in order; as in ssh_config(5), the first counts.
    pub settings: Vec<Setting>,
    /// What `-L` and `-o LocalForward` ask for.
    pub forwards: Vec<Forward>,
}

/// One line of ssh_config(5).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Setting {
    /// The keyword, as ssh_config(5) or the command spells it.
    pub keyword: String,
    /// Its arguments.
    pub value: String,
}

/// A tunnel that takes the place of a `preconnect`.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tunnel {
    /// The connection to the SSH host.
    pub command: SshCommand,
    /// Where that host connects to, as it sees it.
    pub target: HostPort,
}

/// Where a `plugin` connects to.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Plugin {
    /// Through an SSH host, which connects on.
    Ssh {
        /// The connection to it.
        command: SshCommand,
        /// Where that host connects to, as it sees it.
        target: HostPort,
    },
    /// Directly.
    Tcp(HostPort),
}

/// Why a command has to be run as it is.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct NotUnderstood(Cow<'static, str>);

/// What a shell would put in the place of a variable.
pub type Variables<'v> = &'v dyn Fn(&str) -> Option<String>;

impl SshCommand {
    /// Understands a `preconnect` that only makes tunnels, which `/bin/sh` would run.
    ///
    /// # Errors
    /// Says why the command must be run instead.
    pub fn of_preconnect(command: &[u8], variables: Variables<'_>) -> Result<Self, NotUnderstood> {
        let words = shell::split(text(command)?, variables)?;
        let parsed = arguments::parse(&words)?;
        if parsed.stdio.is_some() {
            return Err(
                "`-W` uses standard input and output, which a preconnect does not have".into(),
            );
        }
        if parsed.command.forwards.is_empty() {
            return Err("it forwards no port".into());
        }
        match &parsed.remote {
            Some(remote) => remote::check_waits_only(remote)?,
            None if parsed.no_command => {}
            None => return Err("it starts a shell on the host".into()),
        }
        Ok(parsed.command)
    }

    /// The forward that a client which connects to this host and port on this machine would use.
    #[must_use]
    pub fn forward_for(&self, host: &str, port: u16) -> Option<&Forward> {
        self.forwards
            .iter()
            .find(|forward| forward.listens_on(host, port))
    }
}

impl Tunnel {
    /// Understands the `preconnect` of an entry whose server is a forwarded port of this machine.
    ///
    /// # Errors
    /// Says why the command must be run instead: also when it forwards more than this port, since
    /// somebody may rely on that.
    pub fn of(
        entry: &Entry,
        preconnect: &[u8],
        variables: Variables<'_>,
    ) -> Result<Self, NotUnderstood> {
        let command = SshCommand::of_preconnect(preconnect, variables)?;
        let (Ok(host), Some(port)) = (entry.host().to_str(), entry.port()) else {
            return Err("the server and its port are not known".into());
        };
        let forward = command.forward_for(host, port);
        let forward = forward.ok_or_else(|| format!("it forwards no `{host}` port {port}"))?;
        if command.forwards.len() > 1 {
            return Err("it forwards other ports as well".into());
        }
        Ok(Self {
            target: forward.to.clone(),
            command,
        })
    }
}

impl Plugin {
    /// Understands the `plugin` of an entry.
    ///
    /// # Errors
    /// As [`parse`](Self::parse).
    pub fn of(entry: &Entry, plugin: &[u8]) -> Result<Self, NotUnderstood> {
        let host = text(entry.host())?;
        match (&entry.service, entry.port()) {
            (Some(service), _) => Self::parse(plugin, host, text(service)?),
            (None, Some(port)) => Self::parse(plugin, host, &port.to_string()),
            (None, None) => Err("the server's port is not known".into()),
        }
    }

    /// Understands a `plugin`, which fetchmail runs without a shell.
    ///
    /// It splits the command at blanks only, so that quotes mean nothing, and puts the server for
    /// each `%h` and the port for each `%p`.
    ///
    /// # Errors
    /// Says why the command must be run instead.
    pub fn parse(command: &[u8], host: &str, port: &str) -> Result<Self, NotUnderstood> {
        let words: Vec<_> = text(command)?
            .split_ascii_whitespace()
            .map(|word| substitute(word, host, port))
            .collect();
        let Some(program) = words.first().map(|word| shell::program(word)) else {
            return Err("it is empty".into());
        };
        if program != "ssh" {
            return remote::target(&words).map(Self::Tcp);
        }
        let parsed = arguments::parse(&words)?;
        if let Some(forward) = parsed.command.forwards.first() {
            return Err(format!("besides, it forwards port {}", forward.port).into());
        }
        let target = match (parsed.stdio, parsed.remote) {
            (Some(target), None) => target,
            (None, Some(remote)) => remote::target_of_command(&remote)?,
            _ => return Err("it does not say where the host shall connect".into()),
        };
        Ok(Self::Ssh {
            command: parsed.command,
            target,
        })
    }
}

impl fmt::Display for NotUnderstood {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for NotUnderstood {}

impl From<&'static str> for NotUnderstood {
    fn from(reason: &'static str) -> Self {
        Self(reason.into())
    }
}

impl From<String> for NotUnderstood {
    fn from(reason: String) -> Self {
        Self(reason.into())
    }
}

fn text(command: &[u8]) -> Result<&str, NotUnderstood> {
    std::str::from_utf8(command).map_err(|_| "it is not UTF-8".into())
}

/// Puts host and port into a word. What is put in is not looked at again.
fn substitute(word: &str, host: &str, port: &str) -> String {
    let mut parts = word.split('%');
    let mut substituted = parts.next().unwrap_or_default().to_owned();
    for part in parts {
        match part.as_bytes().first() {
            Some(b'h') => substituted.extend([host, &part[1..]]),
            Some(b'p') => substituted.extend([port, &part[1..]]),
            _ => substituted.extend(["%", part]),
        }
    }
    substituted
}

/// Compares how a command is split with how the crate `shell_words` splits it, which does not tell
/// what else a shell would do.
pub(super) fn assert_words_agree(command: &str) {
    let special = |c: char| "$`~<>#\n".contains(c);
    if let (Ok(words), false) = (shell::split(command, &|_| None), command.contains(special)) {
        let mut theirs = shell_words::split(command).unwrap_or_default();
        if theirs.first().is_some_and(|word| word == "exec") {
            theirs.remove(0);
        }
        assert_eq!(words, theirs, "{command}");
    }
}

#[cfg(test)]
mod tests;
