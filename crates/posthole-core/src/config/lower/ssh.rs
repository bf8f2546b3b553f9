//! `[ssh.NAME]`: what is said about one SSH host.

use toml::de::{DeTable, DeValue};

use super::super::name::check_host;
use super::super::section::{Entry, Limits, Reader, entries, one_line};
use super::super::value::{
    parse_address_family, parse_backend, parse_bind_address, parse_names, parse_rekey_limit,
    parse_strictness,
};
use super::super::{Diagnostic, Spanned, SshHost};
use crate::plan::UnknownHostKey;

impl Reader<'_> {
    pub(super) fn ssh_host(&mut self, named: Entry<'_>, table: &DeTable<'_>) -> Option<SshHost> {
        let name = self.section_name(named, "ssh", |name| {
            if name.parse::<std::net::Ipv6Addr>().is_ok() {
                Ok(())
            } else {
                check_host(name)
            }
        });
        let place = format!("[ssh.{}]", one_line(named.key));
        let mut host = SshHost::new(Spanned::new(named.key.to_owned(), named.key_span()));
        for entry in entries(table) {
            match entry.key {
                "address-family" => {
                    host.address_family = self.parsed_with(entry, parse_address_family);
                }
                "agent" => host.agent = self.agent(entry),
                "backend" => host.backend = self.parsed_with(entry, parse_backend),
                "bind-address" => host.bind_address = self.parsed_with(entry, parse_bind_address),
                "certificate" => host.certificate = self.paths(entry),
                "ciphers" => host.ciphers = self.names(entry),
                "compression" => host.compression = self.boolean(entry),
                "connect-timeout" => host.connect_timeout = self.duration(entry, Limits::TIMEOUT),
                "hash-known-hosts" => host.hash_known_hosts = self.boolean(entry),
                "host-key-algorithms" => host.host_key_algorithms = self.names(entry),
                "host-key-alias" => host.host_key_alias = self.hostname(entry),
                "hostname" => host.hostname = self.hostname(entry),
                "identities-only" => host.identities_only = self.boolean(entry),
                "identity" => host.identity = self.paths(entry),
                "keepalive" => host.keepalive = self.duration(entry, Limits::TIMEOUT_OR_NEVER),
                "keepalive-max" => host.keepalive_max = self.number(entry, 1..=1000),
                "kex-algorithms" => host.kex_algorithms = self.names(entry),
                "known-hosts" => host.known_hosts = self.paths(entry),
                "macs" => host.macs = self.names(entry),
                "password" => host.password = self.password(entry),
                "password-prompts" => host.password_prompts = self.number(entry, 0..=100),
                "port" => host.port = self.port(entry),
                "preferred-authentications" => {
                    host.preferred_authentications = self.names(entry);
                }
                "proxy-command" => {
                    host.proxy_command = self.nonempty(entry, "command");
                }
                "pubkey-accepted-algorithms" => {
                    host.pubkey_accepted_algorithms = self.names(entry);
                }
                "rekey-limit" => host.rekey_limit = self.parsed_with(entry, parse_rekey_limit),
                "strict-host-key-checking" => {
                    host.strict_host_key_checking = self.strictness(entry);
                }
                "user" => host.user = self.ssh_user(entry),
                _ if self.dotted_name(entry, "ssh", named) => return None,
                _ => self.unknown_option(entry, &format!("in {place}"), SSH_KEYS),
            }
        }
        name.map(|_| host)
    }

    /// Names as ssh_config(5) lists them, with commas between them, or as a list.
    fn names(&mut self, entry: Entry<'_>) -> Option<Spanned<Vec<String>>> {
        let names = self.list(entry, parse_names)?;
        let names: Vec<_> = names.into_iter().flat_map(|names| names.value).collect();
        if names.is_empty() {
            self.note(
                Diagnostic::error(format!("`{}` names nothing", entry.key)).at(entry.value.span()),
            );
            return None;
        }
        Some(Spanned::new(names, entry.value.span()))
    }

    fn strictness(&mut self, entry: Entry<'_>) -> Option<Spanned<UnknownHostKey>> {
        match entry.value.get_ref() {
            // What `yes` is in TOML.
            DeValue::Boolean(true) => {
                Some(Spanned::new(UnknownHostKey::Refuse, entry.value.span()))
            }
            DeValue::Boolean(false) => {
                self.note(
                    Diagnostic::error("host keys are always checked")
                        .at(entry.value.span())
                        .help("write \"accept-new\" to have unknown ones recorded unasked"),
                );
                None
            }
            _ => self.parsed_with(entry, parse_strictness),
        }
    }
}

/// What to write for a keyword of ssh_config(5) that we call otherwise, or do not have.
pub(super) fn foreign_key(key: &str) -> Option<String> {
    let folded: String = key
        .chars()
        .filter(char::is_ascii_alphanumeric)
        .map(|c| c.to_ascii_lowercase())
        .collect();
    let (_, ours) = FOREIGN_KEYS
        .iter()
        .find(|(keyword, _)| *keyword == folded)?;
    Some((*ours).to_owned())
}

/// The keys of `[ssh.NAME]`.
pub(super) const SSH_KEYS: &[&str] = &[
    "address-family",
    "agent",
    "backend",
    "bind-address",
    "certificate",
    "ciphers",
    "compression",
    "connect-timeout",
    "hash-known-hosts",
    "host-key-algorithms",
    "host-key-alias",
    "hostname",
    "identities-only",
    "identity",
    "keepalive",
    "keepalive-max",
    "kex-algorithms",
    "known-hosts",
    "macs",
    "password",
    "password-prompts",
    "port",
    "preferred-authentications",
    "proxy-command",
    "pubkey-accepted-algorithms",
    "rekey-limit",
    "strict-host-key-checking",
    "user",
];
/// ssh_config(5), in lower case and without `-`.
const FOREIGN_KEYS: &[(&str, &str)] = &[
    ("certificatefile", "write certificate = \"PATH\""),
    ("globalknownhostsfile", "write all files into `known-hosts`"),
    (
        "identityagent",
        "write agent = \"SOCKET\", or agent = false",
    ),
    ("identityfile", "write identity = \"PATH\""),
    ("numberofpasswordprompts", "write password-prompts = 3"),
    (
        "proxyjump",
        "write the hosts as a list in `via`, this one last",
    ),
    ("serveralivecountmax", "write keepalive-max = 3"),
    ("serveraliveinterval", "write keepalive = \"30s\""),
    ("userknownhostsfile", "write known-hosts = \"PATH\""),
];
