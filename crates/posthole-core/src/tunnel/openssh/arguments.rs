//! The command line of `ssh` for what the plan says.
//!
//! `ssh` reads the person's configuration itself, and what is on the command line wins over it. So
//! all that the plan knows is said, and what it does not know, such as GSSAPI, is left alone. The
//! options go through the parser of ssh_config(5), with its quotes and its percent signs.

use std::fmt::Display;
use std::path::Path;

use crate::plan::{AddressFamily, Hop, HostPort, UnknownHostKey};

use super::split;

/// The arguments that make `ssh` connect its standard input and output to a host as the last hop
/// sees it.
pub(super) fn of(hops: &[Hop], to: &HostPort, may_ask: bool) -> Vec<String> {
    // The first debug level names the steps, and is silent once the channel is open.
    forwarding(hops, to, may_ask, "DEBUG1")
}

fn forwarding(hops: &[Hop], to: &HostPort, may_ask: bool, log_level: &str) -> Vec<String> {
    let (hop, before) = split(hops);
    let mut arguments = Arguments(Vec::new());
    arguments.plain("-T");
    arguments.plain("-W");
    arguments.plain(&to.to_string());
    arguments.word("LogLevel", log_level);
    arguments.word("BatchMode", yes(!may_ask));
    arguments.word("PermitLocalCommand", "no");
    arguments.word("RemoteCommand", "none");
    arguments.host(hop);
    if let Some(command) = proxy_command(hop, before, may_ask) {
        arguments.option("ProxyCommand", &percent(&command));
    }
    arguments.plain("--");
    arguments.plain(&hop.name);
    arguments.0
}

/// How a host is reached if not from here.
fn proxy_command(hop: &Hop, before: &[Hop], may_ask: bool) -> Option<String> {
    if before.is_empty() {
        return hop.proxy_command.clone();
    }
    // At any higher level the banner of a host on the way would be among what the last `ssh` says.
    let arguments = forwarding(before, &hop.address, may_ask, "ERROR");
    let words = std::iter::once("ssh".to_owned()).chain(arguments);
    Some(shell_words::join(words))
}

struct Arguments(Vec<String>);

impl Arguments {
    /// What the plan says about a host.
    fn host(&mut self, hop: &Hop) {
        // No `..`, so that whoever adds a setting has to think of it here.
        let Hop {
            name,
            address,
            user,
            backend: _,
            proxy_command: _,
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
            password: _,
            password_prompts,
        } = hop;
        self.plain("-l");
        self.plain(user);
        // The usual port may be one that nobody has said anything about.
        if address.port != SSH_PORT {
            self.word("Port", address.port);
        }
        if address.host != *name {
            self.option("HostName", &percent(&address.host));
        }
        if let Some(address) = bind_address {
            self.option("BindAddress", address);
        }
        match address_family {
            AddressFamily::Any => {}
            AddressFamily::Inet => self.word("AddressFamily", "inet"),
            AddressFamily::Inet6 => self.word("AddressFamily", "inet6"),
        }
        self.word("ConnectTimeout", connect_timeout.as_secs().max(1));
        self.word("ServerAliveInterval", keepalive.as_secs_f64().ceil());
        self.word("ServerAliveCountMax", keepalive_max);
        self.word("Compression", yes(*compression));
        self.names("Ciphers", algorithms.ciphers.as_deref());
        self.names("KexAlgorithms", algorithms.key_exchanges.as_deref());
        self.names("MACs", algorithms.macs.as_deref());
        self.names("HostKeyAlgorithms", algorithms.host_keys.as_deref());
        self.names(
            "PubkeyAcceptedAlgorithms",
            algorithms.public_keys.as_deref(),
        );
        if rekey.octets.is_some() || rekey.time.is_some() {
            let octets = rekey
                .octets
                .map_or_else(|| "default".to_owned(), |octets| octets.to_string());
            let time = rekey
                .time
                .map_or_else(|| "none".to_owned(), |time| time.as_secs().to_string());
            self.word("RekeyLimit", format_args!("{octets} {time}"));
        }
        if !known_hosts.is_empty() {
            self.files("UserKnownHostsFile", known_hosts);
            self.word("GlobalKnownHostsFile", "/dev/null");
        }
        if let Some(alias) = host_key_alias {
            self.option("HostKeyAlias", alias);
        }
        let strict = match unknown_host_key {
            UnknownHostKey::Ask | UnknownHostKey::Refuse => "yes",
            UnknownHostKey::Record => "accept-new",
        };
        self.word("StrictHostKeyChecking", strict);
        self.word("HashKnownHosts", yes(*hash_known_hosts));
        // Otherwise they are the usual ones, of which ssh(1) knows more.
        if *identities_named {
            for identity in identities {
                self.files("IdentityFile", [identity]);
            }
        }
        self.word("IdentitiesOnly", yes(*identities_only));
        for certificate in certificates {
            self.files("CertificateFile", [certificate]);
        }
        match agent {
            Some(socket) => self.files("IdentityAgent", [socket]),
            None => self.word("IdentityAgent", "none"),
        }
        self.word("NumberOfPasswordPrompts", password_prompts);
        self.names("PreferredAuthentications", methods.as_deref());
    }

    fn plain(&mut self, argument: &str) {
        self.0.push(argument.to_owned());
    }

    /// An option whose value needs no quotes.
    fn word(&mut self, name: &str, value: impl Display) {
        self.0.push("-o".to_owned());
        self.0.push(format!("{name}={value}"));
    }

    /// An option whose value is the rest of the line, quotes and all.
    fn option(&mut self, name: &str, value: &str) {
        if name == "ProxyCommand" {
            self.word(name, value);
        } else {
            self.word(name, quoted(value));
        }
    }

    fn names(&mut self, name: &str, names: Option<&[String]>) {
        // An empty list stands for the default, which is something else.
        if let Some(names) = names.filter(|names| !names.is_empty()) {
            self.word(name, names.join(","));
        }
    }

    fn files(&mut self, name: &str, files: impl IntoIterator<Item = impl AsRef<Path>>) {
        let files = files.into_iter();
        let files: Vec<_> = files
            .map(|file| quoted(&percent(&file.as_ref().display().to_string())))
            .collect();
        self.word(name, files.join(" "));
    }
}

fn yes(is_so: bool) -> &'static str {
    if is_so { "yes" } else { "no" }
}

/// As one word for ssh_config(5).
fn quoted(value: &str) -> String {
    let is_plain = |c: char| c.is_ascii_alphanumeric() || "/._-+:@%,[]".contains(c);
    if !value.is_empty() && value.chars().all(is_plain) {
        return value.to_owned();
    }
    let escaped = value.replace('\\', "\\\\").replace('"', "\\\"");
    format!("\"{escaped}\"")
}

/// With percent signs that stand for themselves (ssh_config(5), TOKENS).
fn percent(value: &str) -> String {
    value.replace('%', "%%")
}

/// RFC 4253 §4.1.
const SSH_PORT: u16 = 22;
