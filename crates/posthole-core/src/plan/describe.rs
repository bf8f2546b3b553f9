//! The plan in words, as `posthole check --plan` prints it: everything but the secrets.

use std::fmt;
use std::path::Path;
use std::time::Duration;

use bstr::BString;

use super::resolve::is_loopback;
use super::{
    AddressFamily, Algorithms, Backend, DeliverTo, Edits, Hop, Job, Keep, MAX_SIZE, Multidrop,
    Plan, Rekey, Route, Select, SmtpLogin, SmtpTo, StatusFields, TlsStart, UnknownHostKey,
};
use crate::config::one_line;
use crate::message::Envelope;

impl fmt::Display for Plan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            jobs,
            forwards,
            state_dir,
            daemon,
            remarks,
        } = self;
        for job in jobs {
            writeln!(f, "{job}")?;
        }
        for forward in forwards {
            let listen = &forward.listen;
            writeln!(f, "forward {}: {listen} leads to {forward}", forward.name)?;
        }
        writeln!(f, "records: {}", state_dir.display())?;
        write!(f, "{daemon}")?;
        // The warnings are shown wherever they come up.
        remarks
            .notices
            .iter()
            .try_for_each(|notice| writeln!(f, "note: {notice}"))
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
            auth,
            password,
            keep,
            select,
            filter,
            edits,
            multidrop,
            every,
            timeout,
            max_size,
            deliver,
            allow_plaintext,
            tls,
        } = self;
        writeln!(f, "account {account}")?;
        writeln!(f, "  mailbox: {mailbox}")?;
        match route {
            // Allowed, since the way beyond the last SSH host is for its owner to judge; but said.
            Route::Ssh(hops) if !is_loopback(&server.host) && !tls.is_certain() => {
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
                let risk = if *allow_plaintext && !tls.is_certain() {
                    ", even if the password is in the clear"
                } else {
                    ""
                };
                writeln!(f, "  way: directly{risk}")?;
            }
            Route::Plugin(words) => {
                let words = words.iter().map(BString::to_string);
                writeln!(f, "  way: the command {}", shell_words::join(words))?;
            }
            Route::Ssh(hops) => hops.iter().try_for_each(|hop| hop.fmt(f))?,
        }
        tls.describe(f)?;
        writeln!(f, "  auth: {auth}")?;
        if auth.may_need_secret() {
            writeln!(f, "  password: {password}")?;
        }
        writeln!(f, "  keep: {keep}")?;
        write!(f, "{select}")?;
        writeln!(f, "  every: {}", duration(every))?;
        if let Some(filter) = filter {
            writeln!(f, "  filter: {}", one_line(&filter.to_string()))?;
        }
        edits.fmt(f)?;
        writeln!(f, "  timeout: {}", duration(timeout))?;
        if *max_size != MAX_SIZE {
            writeln!(f, "  max size: {max_size} octets")?;
        }
        if let Some(multidrop) = multidrop {
            multidrop.fmt(f)?;
        }
        deliver.iter().try_for_each(|to| {
            match recipients(to) {
                Some(_) if multidrop.is_some() => {
                    writeln!(f, "  deliver: {to}, told whom each message is for")?;
                }
                Some(recipients) => {
                    writeln!(f, "  deliver: {to} for {}", recipients.join(", "))?;
                }
                None => writeln!(f, "  deliver: {to}")?,
            }
            match to {
                DeliverTo::Smtp(to) => describe_entrance(to, f),
                _ => Ok(()),
            }
        })
    }
}

/// How a server that takes mail lets us in, unless that goes without saying.
fn describe_entrance(to: &SmtpTo, f: &mut fmt::Formatter<'_>) -> fmt::Result {
    let when = match to.tls.start {
        TlsStart::AtOnce => "from the start",
        TlsStart::IfOffered => "if the server offers it",
        TlsStart::Never => "never",
        TlsStart::Required => "after STARTTLS, or nothing is delivered",
    };
    if to.tls.start != TlsStart::Never || to.login.is_some() {
        writeln!(f, "    tls: {when}")?;
    }
    if let Some(SmtpLogin { user, password }) = &to.login {
        writeln!(f, "    login: {user}, password: {password}")?;
    }
    Ok(())
}

/// What is as it is for most hosts is left out.
impl fmt::Display for Hop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            address,
            user,
            backend,
            proxy_command,
            bind_address,
            address_family,
            connect_timeout,
            keepalive,
            keepalive_max,
            compression,
            algorithms,
            rekey,
            known_hosts,
            host_key_alias,
            unknown_host_key,
            hash_known_hosts,
            identities,
            identities_named,
            identities_only,
            certificates,
            agent,
            methods,
            password,
            password_prompts,
        } = self;
        let usual = Self::new(name, user);
        writeln!(f, "  via {name}")?;
        writeln!(f, "    address: {address}")?;
        writeln!(f, "    user: {user}")?;
        if *backend != Backend::BuiltIn {
            writeln!(f, "    client: {backend}")?;
        }
        if let Some(command) = proxy_command {
            writeln!(f, "    proxy command: {}", one_line(command))?;
        }
        if let Some(address) = bind_address {
            writeln!(f, "    bind address: {}", one_line(address))?;
        }
        match address_family {
            AddressFamily::Any => {}
            AddressFamily::Inet => writeln!(f, "    addresses: IPv4 only")?,
            AddressFamily::Inet6 => writeln!(f, "    addresses: IPv6 only")?,
        }
        let which = if *identities_named {
            "identities"
        } else {
            "identities, where they exist"
        };
        writeln!(f, "    {which}: {}", list(identities))?;
        if !certificates.is_empty() {
            writeln!(f, "    certificates: {}", list(certificates))?;
        }
        let agent = agent
            .as_deref()
            .map_or_else(|| "none".to_owned(), |path| path.display().to_string());
        let only = if *identities_only {
            ", for these identities only"
        } else {
            ""
        };
        writeln!(f, "    agent: {agent}{only}")?;
        if let Some(methods) = methods {
            writeln!(f, "    methods: {}", names(methods))?;
        }
        writeln!(f, "    known hosts: {}", list(known_hosts))?;
        if let Some(alias) = host_key_alias {
            writeln!(f, "    known as: {}", one_line(alias))?;
        }
        match unknown_host_key {
            UnknownHostKey::Ask => {}
            UnknownHostKey::Record => writeln!(f, "    unknown host keys: recorded")?,
            UnknownHostKey::Refuse => writeln!(f, "    unknown host keys: refused")?,
        }
        if *hash_known_hosts {
            writeln!(f, "    new known hosts: hashed")?;
        }
        writeln!(f, "    password: {password}")?;
        if *password_prompts != usual.password_prompts {
            writeln!(f, "    password prompts: {password_prompts}")?;
        }
        writeln!(
            f,
            "    compression: {}",
            if *compression { "yes" } else { "no" }
        )?;
        writeln!(f, "    connect timeout: {}", duration(connect_timeout))?;
        if keepalive.is_zero() {
            writeln!(f, "    keepalive: never")?;
        } else if *keepalive_max == usual.keepalive_max {
            writeln!(f, "    keepalive: {}", duration(keepalive))?;
        } else {
            let keepalive = duration(keepalive);
            writeln!(
                f,
                "    keepalive: {keepalive}, dead after {keepalive_max} without an answer"
            )?;
        }
        rekey.fmt(f)?;
        algorithms.fmt(f)
    }
}

impl fmt::Display for Backend {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BuiltIn => f.write_str("the built-in one"),
            Self::OpenSsh { needed_for: None } => f.write_str("ssh"),
            Self::OpenSsh {
                needed_for: Some(need),
            } => write!(f, "ssh, for its {}", one_line(need)),
        }
    }
}

/// A line of its own, or none.
impl fmt::Display for Rekey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let after: Vec<_> = [
            self.octets.map(|octets| format!("{octets} octets")),
            self.time.as_ref().map(duration),
        ]
        .into_iter()
        .flatten()
        .collect();
        if after.is_empty() {
            return Ok(());
        }
        writeln!(f, "    new keys: after {}", after.join(" or "))
    }
}

/// A line for each kind that is not our own choice.
impl fmt::Display for Algorithms {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            ciphers,
            key_exchanges,
            macs,
            host_keys,
            public_keys,
        } = self;
        for (what, chosen) in [
            ("ciphers", ciphers),
            ("key exchanges", key_exchanges),
            ("macs", macs),
            ("host key algorithms", host_keys),
            ("signature algorithms", public_keys),
        ] {
            if let Some(chosen) = chosen {
                writeln!(f, "    {what}: {}", names(chosen))?;
            }
        }
        Ok(())
    }
}

/// Only what differs from fetching everything.
impl fmt::Display for Select {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            limit,
            limit_flush,
            fetch_limit,
            fetch_all,
            kept: _,
            flush,
            expunge,
        } = self;
        if let Some(limit) = limit {
            let fate = if *limit_flush {
                "larger messages are deleted"
            } else {
                "larger messages stay on the server"
            };
            writeln!(f, "  limit: {limit} octets; {fate}")?;
        }
        if let Some(limit) = fetch_limit {
            writeln!(f, "  fetch limit: {limit} messages a poll")?;
        }
        if *flush {
            writeln!(f, "  flush: what was fetched before is deleted first")?;
        }
        if *fetch_all {
            writeln!(f, "  fetch all: also what was fetched before")?;
        }
        match expunge {
            Some(count) => writeln!(f, "  expunge: after {count} deletions"),
            None => Ok(()),
        }
    }
}

/// Only what is changed.
impl fmt::Display for Edits {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            received,
            return_path,
            rewrite,
            status,
            drop_delivered,
            mimedecode,
            strip_cr,
        } = self;
        let mut edits = Vec::new();
        if let Some(trace) = received {
            edits.push(match &trace.account {
                Some((name, _)) => format!("Received added, naming {name}"),
                None => "Received added".to_owned(),
            });
        }
        let mut note = |is_made: bool, edit: &str| {
            if is_made {
                edits.push(edit.to_owned());
            }
        };
        note(*return_path, "Return-Path added where it is missing");
        note(*status == StatusFields::Drop, "Status fields dropped");
        note(
            *status == StatusFields::DropEmpty,
            "empty Status fields dropped",
        );
        note(*drop_delivered, "Delivered-To dropped");
        note(*mimedecode, "quoted-printable decoded");
        note(*strip_cr, "carriage returns dropped");
        if let Some(host) = rewrite {
            edits.push(format!("addresses completed with {host}"));
        }
        if edits.is_empty() {
            return Ok(());
        }
        writeln!(f, "  edits: {}", one_line(&edits.join(", ")))
    }
}

impl fmt::Display for Multidrop {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            rules,
            dns,
            check_alias,
            postmaster,
        } = self;
        writeln!(f, "  multidrop:")?;
        match &rules.envelope {
            Envelope::Field { name, skip: 0 } => writeln!(f, "    envelope: {name}")?,
            Envelope::Field { name, skip } => {
                writeln!(f, "    envelope: {name}, after {skip} others")?;
            }
            Envelope::Nowhere => writeln!(f, "    envelope: none; from To, Cc and Bcc")?,
            Envelope::Received { skip: 0 } => writeln!(f, "    envelope: Received")?,
            Envelope::Received { skip } => {
                writeln!(f, "    envelope: Received, after {skip} of them")?;
            }
        }
        let people = rules.names.iter().map(|(there, here)| match there == here {
            true => here.clone(),
            false => format!("{there} as {here}"),
        });
        let everybody = rules.passes_others.then(|| "everybody else".to_owned());
        let people: Vec<_> = people.chain(everybody).collect();
        writeln!(f, "    names: {}", names(&people))?;
        if let Some(prefix) = &rules.prefix {
            writeln!(f, "    without: {}", one_line(prefix))?;
        }
        writeln!(f, "    server: {}", names(&rules.servers))?;
        if !rules.aliases.is_empty() {
            writeln!(f, "    also known as: {}", names(&rules.aliases))?;
        }
        if !rules.local_domains.is_empty() {
            writeln!(f, "    local domains: {}", names(&rules.local_domains))?;
        }
        let by_address = if *check_alias { ", by address too" } else { "" };
        writeln!(f, "    DNS: {dns}{by_address}")?;
        match postmaster {
            Some(name) => writeln!(f, "    postmaster: {}", one_line(name)),
            None => writeln!(f, "    postmaster: none, other mail is dropped"),
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

/// Whom a destination is told that mail is for, if it is told.
fn recipients(to: &DeliverTo) -> Option<&[String]> {
    match to {
        DeliverTo::Bsmtp(to) => Some(&to.recipients),
        DeliverTo::Maildir(_) | DeliverTo::Mbox(_) => None,
        DeliverTo::Mda(to) => Some(&to.recipients),
        DeliverTo::Smtp(to) => Some(&to.recipients),
    }
}

fn duration(duration: &Duration) -> String {
    humantime::format_duration(*duration).to_string()
}

fn names(names: &[String]) -> String {
    if names.is_empty() {
        return "none".to_owned();
    }
    one_line(&names.join(", "))
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
