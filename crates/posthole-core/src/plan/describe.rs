//! The plan in words, as `posthole check --plan` prints it: everything but the secrets.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use super::resolve::is_loopback;
use super::{Hop, Job, Keep, PasswordSource, Plan, Route, Select};
use crate::config::one_line;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { jobs, state_dir } = self;
        for job in jobs {
            writeln!(f, "{job}")?;
        }
        writeln!(f, "records: {}", state_dir.display())
    }
}

/// The exhaustive patterns make a new field decide how it is shown.
impl fmt::Display for Job {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            account,
            mailbox,
            user,
            server,
            route,
            password,
            keep,
            select,
            timeout,
            deliver,
            allow_plaintext,
        } = self;
        writeln!(f, "account {account}")?;
        writeln!(f, "  mailbox: {mailbox}")?;
        match route {
            // Allowed, since the way beyond the last SSH host is for its owner to judge; but said.
            Route::Ssh(hops) if !is_loopback(&server.host) => {
                let last = hops.last().map_or("", |hop| &hop.name);
                writeln!(
                    f,
                    "  server: {server}, unencrypted between {last} and there"
                )?;
            }
            _ => writeln!(f, "  server: {server}")?,
        }
        writeln!(f, "  user: {user}")?;
        match route {
            Route::Direct => {
                let risk = if *allow_plaintext {
                    ", even if the password is in the clear"
                } else {
                    ""
                };
                writeln!(f, "  way: directly{risk}")?;
            }
            Route::Ssh(hops) => hops.iter().try_for_each(|hop| hop.fmt(f))?,
        }
        writeln!(f, "  password: {password}")?;
        writeln!(f, "  keep: {keep}")?;
        write!(f, "{select}")?;
        writeln!(f, "  timeout: {}", duration(timeout))?;
        writeln!(f, "  deliver: {deliver}")
    }
}

impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            address,
            user,
            backend: _,
            proxy_command: _,
            bind_address: _,
            address_family: _,
            connect_timeout,
            keepalive,
            keepalive_max: _,
            compression,
            algorithms: _,
            rekey: _,
            known_hosts,
            host_key_alias: _,
            unknown_host_key: _,
            hash_known_hosts: _,
            identities,
            identities_named,
            identities_only: _,
            certificates: _,
            agent,
            methods: _,
            password,
            password_prompts: _,
        } = self;
        writeln!(f, "  via {name}")?;
        writeln!(f, "    address: {address}")?;
        writeln!(f, "    user: {user}")?;
        let which = if *identities_named {
            "identities"
        } else {
            "identities, where they exist"
        };
        writeln!(f, "    {which}: {}", list(identities))?;
        let agent = agent
            .as_deref()
            .map_or_else(|| "none".to_owned(), |path| path.display().to_string());
        writeln!(f, "    agent: {agent}")?;
        writeln!(f, "    known hosts: {}", list(known_hosts))?;
        writeln!(f, "    password: {password}")?;
        writeln!(
            f,
            "    compression: {}",
            if *compression { "yes" } else { "no" }
        )?;
        writeln!(f, "    connect timeout: {}", duration(connect_timeout))?;
        let keepalive = if keepalive.is_zero() {
            "never".to_owned()
        } else {
            duration(keepalive)
        };
        writeln!(f, "    keepalive: {keepalive}")
    }
}

/// Where the password comes from, never what it is.
impl fmt::Display for PasswordSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Command(command) => write!(f, "the output of `{}`", one_line(command)),
            Self::File(path) => write!(f, "the file {}", path.display()),
            Self::Given { origin, secret: _ } => f.write_str(origin),
            Self::Prompt => f.write_str("asked for when it is needed"),
        }
    }
}

/// Only what differs from fetching everything.
impl fmt::Display for Select {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            limit,
            limit_flush,
            fetch_limit,
        } = self;
        if let Some(limit) = limit {
            let fate = if *limit_flush {
                "larger messages are deleted"
            } else {
                "larger messages stay on the server"
            };
            writeln!(f, "  limit: {limit} octets; {fate}")?;
        }
        match fetch_limit {
            Some(limit) => writeln!(f, "  fetch limit: {limit} messages a poll"),
            None => Ok(()),
        }
    }
}

impl fmt::Display for Keep {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Always => f.write_str("always"),
            Self::For(time) => write!(f, "{} after fetching", duration(time)),
            Self::Newest(count) => write!(f, "the newest {count}"),
            Self::Never => f.write_str("no longer than it takes to be safe here"),
        }
    }
}

fn duration(duration: &Duration) -> String {
    humantime::format_duration(*duration).to_string()
}

fn list(paths: &[impl AsRef<Path>]) -> String {
    let paths: Vec<_> = paths
        .iter()
        .map(|path| path.as_ref().display().to_string())
        .collect();
    if paths.is_empty() {
        "none".to_owned()
    } else {
        paths.join(", ")
    }
}
