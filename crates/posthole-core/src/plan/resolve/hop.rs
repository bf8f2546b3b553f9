//! What is written about an SSH host to what is done about it.
//!
//! There are four layers, and for each setting the first that says something counts: the command
//! line with what `via` spells out, `[ssh.NAME]`, OpenSSH's configuration, and our own defaults or,
//! where we have no opinion, OpenSSH's.

use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use super::Resolver;
use super::backend::KNOWN_METHODS;
use super::password::Login;
use super::said::Said;
use super::tokens::{Tokens, expand};
use crate::config::{Agent, Diagnostic, Spanned, SshHost, SshTarget};
use crate::config::{check_address, check_ssh_user};
use crate::plan::hop::SSH_PORT;
use crate::plan::{
    AddressFamily, Algorithms, Hop, HostPort, PasswordSource, Rekey, UnknownHostKey,
};

/// What is written about a host, in both places.
#[derive(Clone, Copy)]
struct Written<'s> {
    section: Option<&'s SshHost>,
    said: Option<&'s Said>,
}

impl<'s> Written<'s> {
    /// What `[ssh.NAME]` says.
    fn own<T: Clone>(self, field: impl Fn(&SshHost) -> &Option<Spanned<T>>) -> Option<T> {
        let option = field(self.section?).as_ref()?;
        Some(option.value.clone())
    }

    /// What OpenSSH says, whoever told it to.
    fn holds(self, keyword: &str) -> Option<&'s str> {
        self.said?.holds(keyword)
    }
}

impl Resolver<'_> {
    /// Works out one host; `is_behind` another one, its own proxies do not count.
    pub(super) fn hop(
        &mut self,
        target: &SshTarget,
        span: &Option<Range<usize>>,
        said: Option<&Said>,
        is_behind: bool,
    ) -> Option<Hop> {
        self.hosts.push(target.host.clone());
        let section = self.section(target);
        let written = Written { section, said };
        let flags = &self.overrides.ssh;

        let user = target
            .user
            .clone()
            .or_else(|| written.own(|ssh| &ssh.user))
            .or_else(|| written.holds("user").map(str::to_owned))
            .or_else(|| self.environment.user.clone());
        if user.is_none() {
            let mut diagnostic = Diagnostic::error(format!(
                "no user is named for the SSH host {}, and the local user's name is not known",
                target.host
            ))
            .help(format!("write `user@{}`", target.host));
            diagnostic.span.clone_from(span);
            self.note(diagnostic);
        }
        let address = HostPort {
            host: written
                .own(|ssh| &ssh.hostname)
                .or_else(|| written.holds("hostname").map(str::to_owned))
                .unwrap_or_else(|| target.host.clone()),
            port: target
                .port
                .or_else(|| written.own(|ssh| &ssh.port))
                .or_else(|| written.holds("port")?.parse().ok())
                .unwrap_or(SSH_PORT),
        };
        let names = [
            (check_address(&address.host), "HostName", &address.host),
            (
                user.as_deref().map_or(Ok(()), check_ssh_user),
                "User",
                user.as_ref().unwrap_or(&address.host),
            ),
        ];
        let refused: Vec<_> = names
            .into_iter()
            .filter_map(|(checked, keyword, value)| {
                Some((checked.err()?, keyword, value.escape_debug().to_string()))
            })
            .collect();
        if !refused.is_empty() {
            for (why, keyword, value) in refused {
                let mut diagnostic = Diagnostic::error(format!(
                    "{keyword} of the SSH host {} is not usable: {why}: {value}",
                    target.host
                ))
                .help(format!(
                    "correct {keyword}, probably in ~/.ssh/config; `ssh -G {}` shows it",
                    target.host
                ));
                diagnostic.span.clone_from(span);
                self.note(diagnostic);
            }
            return None;
        }
        let identities = self.identities(written);
        let certificates = self.certificates(written);
        let known_hosts = self.known_hosts(written);
        let agent = self.agent(written);
        let password = match section.and_then(|ssh| ssh.password.as_ref()) {
            Some(Spanned { value, span }) => {
                let login = Login::of_ssh(user.as_deref(), &target.host, &address.host);
                self.password(value, Some(span), &login)
            }
            None => Some(PasswordSource::Prompt),
        };
        let user = user?;
        let proxy_command = if is_behind {
            Some(None)
        } else {
            self.proxy_command(written, target, &address, &user)
        };
        let unknown_host_key = self.unknown_host_key(written, target);
        let base = Hop::new(&target.host, &user);
        let mut hop = Hop {
            address,
            proxy_command: proxy_command?,
            bind_address: written
                .own(|ssh| &ssh.bind_address)
                .or_else(|| Some(said?.says("bindaddress")?.to_owned())),
            address_family: written
                .own(|ssh| &ssh.address_family)
                .or_else(|| address_family(said?.says("addressfamily")?))
                .unwrap_or(base.address_family),
            connect_timeout: flags
                .connect_timeout
                .or_else(|| written.own(|ssh| &ssh.connect_timeout))
                .or_else(|| seconds(said?, "connecttimeout"))
                .unwrap_or(base.connect_timeout),
            keepalive: flags
                .keepalive
                .or_else(|| written.own(|ssh| &ssh.keepalive))
                .or_else(|| seconds(said?, "serveraliveinterval"))
                .unwrap_or(base.keepalive),
            keepalive_max: written
                .own(|ssh| &ssh.keepalive_max)
                .or_else(|| said?.number("serveralivecountmax"))
                .unwrap_or(base.keepalive_max),
            compression: flags
                .compression
                .or_else(|| written.own(|ssh| &ssh.compression))
                .unwrap_or_else(|| said.is_some_and(|said| said.is_on("compression"))),
            algorithms: algorithms(written),
            rekey: written
                .own(|ssh| &ssh.rekey_limit)
                .or_else(|| rekey(said?.says("rekeylimit")?))
                .unwrap_or(base.rekey),
            known_hosts: known_hosts?,
            host_key_alias: written
                .own(|ssh| &ssh.host_key_alias)
                .or_else(|| written.holds("hostkeyalias").map(str::to_owned)),
            unknown_host_key,
            hash_known_hosts: written
                .own(|ssh| &ssh.hash_known_hosts)
                .unwrap_or_else(|| said.is_some_and(|said| said.is_on("hashknownhosts"))),
            identities: identities?,
            // One that ssh_config names may be missing: ssh(1) does not mind either.
            identities_named: flags.identity.is_some()
                || section.is_some_and(|ssh| ssh.identity.is_some()),
            identities_only: written
                .own(|ssh| &ssh.identities_only)
                .unwrap_or_else(|| said.is_some_and(|said| said.is_on("identitiesonly"))),
            certificates: certificates?,
            agent: agent?,
            methods: methods(written),
            password: password?,
            password_prompts: written
                .own(|ssh| &ssh.password_prompts)
                .or_else(|| said?.number("numberofpasswordprompts"))
                .unwrap_or(base.password_prompts),
            ..base
        };
        hop.backend = self.backend(&hop, target, section, said)?;
        Some(hop)
    }

    /// Without a home directory there are no default keys; an agent or a password may still do.
    fn identities(&mut self, written: Written<'_>) -> Option<Vec<PathBuf>> {
        let own = written.section.and_then(|ssh| ssh.identity.as_ref());
        if let Some(named) = self.named_files(self.overrides.ssh.identity.as_deref(), own) {
            return named;
        }
        if let Some(said) = written.said {
            return Some(said.files("identityfile"));
        }
        let Some(home) = &self.environment.home else {
            return Some(Vec::new());
        };
        Some(
            IDENTITIES
                .iter()
                .map(|file| home.join(".ssh").join(file))
                .collect(),
        )
    }

    fn certificates(&mut self, written: Written<'_>) -> Option<Vec<PathBuf>> {
        let own = written.section.and_then(|ssh| ssh.certificate.as_ref());
        match (self.named_files(None, own), written.said) {
            (Some(named), _) => named,
            (None, Some(said)) => Some(said.files("certificatefile")),
            (None, None) => Some(Vec::new()),
        }
    }

    /// As with ssh(1), naming the user's files (`UserKnownHostsFile`) leaves the system's alone.
    fn known_hosts(&mut self, written: Written<'_>) -> Option<Vec<PathBuf>> {
        let own = written.section.and_then(|ssh| ssh.known_hosts.as_ref());
        let named = self.named_files(self.overrides.ssh.known_hosts.as_deref(), own);
        let mut files = match (named, written.said, &self.environment.home) {
            (Some(named), _, _) => named?,
            (None, Some(said), _) => said.files_in_line("userknownhostsfile"),
            (None, None, Some(home)) => USER_KNOWN_HOSTS
                .iter()
                .map(|file| home.join(".ssh").join(file))
                .collect(),
            (None, None, None) => {
                self.note(
                    Diagnostic::error("there is no known_hosts file: no home directory is known")
                        .help("set HOME, or name a file with `known-hosts` in [ssh.NAME] or --known-hosts"),
                );
                return None;
            }
        };
        match written.said {
            Some(said) => files.extend(said.files_in_line("globalknownhostsfile")),
            None => files.extend(SYSTEM_KNOWN_HOSTS.iter().map(PathBuf::from)),
        }
        Some(files)
    }

    /// The outer `None` is for files that nobody named, the inner one for a path that was noted
    /// as wrong.
    pub(super) fn named_files(
        &mut self,
        flag: Option<&[PathBuf]>,
        written: Option<&Vec<Spanned<PathBuf>>>,
    ) -> Option<Option<Vec<PathBuf>>> {
        match (flag, written) {
            (Some(paths), _) => Some(
                paths
                    .iter()
                    .map(|path| self.command_line_path(path))
                    .collect(),
            ),
            (None, Some(paths)) => Some(
                paths
                    .iter()
                    .map(|Spanned { value, span }| self.file_path(value, span))
                    .collect(),
            ),
            (None, None) => None,
        }
    }

    /// The outer `None` is for a path that was noted as wrong.
    fn agent(&mut self, written: Written<'_>) -> Option<Option<PathBuf>> {
        match (
            &self.overrides.ssh.agent,
            written.section.and_then(|ssh| ssh.agent.as_ref()),
        ) {
            (Some(Agent::Off), _) => Some(None),
            (Some(Agent::Socket(path)), _) => self.command_line_path(path).map(Some),
            (
                None,
                Some(Spanned {
                    value: Agent::Off, ..
                }),
            ) => Some(None),
            (
                None,
                Some(Spanned {
                    value: Agent::Socket(path),
                    span,
                }),
            ) => self.file_path(path, span).map(Some),
            (None, None) => Some(self.openssh_agent(written.said)),
        }
    }

    /// `IdentityAgent`, or `SSH_AUTH_SOCK` where that says nothing else.
    fn openssh_agent(&self, said: Option<&Said>) -> Option<PathBuf> {
        match (
            said,
            said.and_then(|said| said.answer().get("identityagent")),
        ) {
            (_, None | Some("SSH_AUTH_SOCK")) => self.environment.agent(),
            (_, Some("none")) => None,
            (Some(said), Some(value)) => Some(match value.strip_prefix('$') {
                Some(variable) => PathBuf::from(self.environment.var(variable)?),
                None => said.path(value),
            }),
            (None, Some(_)) => None,
        }
    }

    /// The outer `None` is for one that was noted as wrong.
    fn proxy_command(
        &mut self,
        written: Written<'_>,
        target: &SshTarget,
        address: &HostPort,
        user: &str,
    ) -> Option<Option<String>> {
        let own = written.section.and_then(|ssh| ssh.proxy_command.as_ref());
        let command = match own {
            Some(own) => Some(own.value.as_str()).filter(|command| *command != "none"),
            None => written.holds("proxycommand"),
        };
        let Some(command) = command else {
            return Some(None);
        };
        let port = address.port.to_string();
        let tokens = Tokens {
            host: &address.host,
            original: &target.host,
            port: &port,
            user,
        };
        let expanded = match command {
            "-" => Err("`-` is a connection that somebody has made already".to_owned()),
            command => expand(command, &tokens),
        };
        match expanded {
            Ok(command) => Some(Some(command)),
            Err(problem) => {
                let host = &target.host;
                let mut diagnostic = Diagnostic::error(format!(
                    "the proxy command of {host} is of no use: {problem}"
                ))
                .help("the tokens are %h, %n, %p, %r and %%; see ssh_config(5)");
                diagnostic.span = own.map(|own| own.span.clone());
                self.note(diagnostic);
                None
            }
        }
    }

    /// OpenSSH's configuration may make us stricter than we are, and may have new keys recorded;
    /// but not have whatever key there is accepted for good.
    fn unknown_host_key(&mut self, written: Written<'_>, target: &SshTarget) -> UnknownHostKey {
        if let Some(own) = written.own(|ssh| &ssh.strict_host_key_checking) {
            return own;
        }
        match written.holds("stricthostkeychecking") {
            Some("yes" | "true") => UnknownHostKey::Refuse,
            Some("accept-new") => UnknownHostKey::Record,
            Some("no" | "false" | "off") => {
                self.notice(format!(
                    "OpenSSH's configuration turns StrictHostKeyChecking off for {}, and an \
                     unknown host key is asked about all the same",
                    target.host
                ));
                UnknownHostKey::Ask
            }
            _ if written.said.is_some_and(|said| said.is_on("batchmode")) => UnknownHostKey::Refuse,
            _ => UnknownHostKey::Ask,
        }
    }
}

fn address_family(family: &str) -> Option<AddressFamily> {
    match family {
        "inet" => Some(AddressFamily::Inet),
        "inet6" => Some(AddressFamily::Inet6),
        _ => None,
    }
}

fn seconds(said: &Said, keyword: &str) -> Option<Duration> {
    said.number(keyword).map(Duration::from_secs)
}

/// An amount of data and a time in seconds; zero for none.
fn rekey(limit: &str) -> Option<Rekey> {
    let (octets, time) = limit.split_once(' ')?;
    let number = |text: &str| text.parse::<u64>().ok().filter(|number| *number > 0);
    Some(Rekey {
        octets: number(octets),
        time: number(time).map(Duration::from_secs),
    })
}

fn algorithms(written: Written<'_>) -> Algorithms {
    let said = |keyword: &str| written.said?.names(keyword);
    Algorithms {
        ciphers: written.own(|ssh| &ssh.ciphers).or_else(|| said("ciphers")),
        key_exchanges: written
            .own(|ssh| &ssh.kex_algorithms)
            .or_else(|| said("kexalgorithms")),
        macs: written.own(|ssh| &ssh.macs).or_else(|| said("macs")),
        host_keys: written
            .own(|ssh| &ssh.host_key_algorithms)
            .or_else(|| said("hostkeyalgorithms")),
        public_keys: written
            .own(|ssh| &ssh.pubkey_accepted_algorithms)
            .or_else(|| said("pubkeyacceptedalgorithms")),
    }
}

/// `PreferredAuthentications`, without the methods that are switched off one by one.
fn methods(written: Written<'_>) -> Option<Vec<String>> {
    if let Some(own) = written.own(|ssh| &ssh.preferred_authentications) {
        return Some(own);
    }
    let said = written.said?;
    // Nobody is to be asked; but a password from elsewhere is no question.
    let is_batch =
        said.is_on("batchmode") && written.section.is_none_or(|ssh| ssh.password.is_none());
    let no_interaction = is_batch
        || said.is_off("kbdinteractiveauthentication")
        || said.is_off("challengeresponseauthentication");
    let off = [
        ("publickey", said.is_off("pubkeyauthentication")),
        ("keyboard-interactive", no_interaction),
        (
            "password",
            is_batch || said.is_off("passwordauthentication"),
        ),
    ];
    let is_on = |method: &str| !off.contains(&(method, true));
    let preferred = said.names("preferredauthentications");
    if preferred.is_none() && KNOWN_METHODS.iter().all(|method| is_on(method)) {
        return None;
    }
    let methods =
        preferred.unwrap_or_else(|| KNOWN_METHODS.iter().copied().map(str::to_owned).collect());
    Some(methods.into_iter().filter(|method| is_on(method)).collect())
}

const IDENTITIES: &[&str] = &["id_ed25519", "id_ecdsa", "id_rsa"];
/// ssh_config(5), `UserKnownHostsFile`.
const USER_KNOWN_HOSTS: &[&str] = &["known_hosts", "known_hosts2"];
/// ssh_config(5), `GlobalKnownHostsFile`.
const SYSTEM_KNOWN_HOSTS: &[&str] = &["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"];
