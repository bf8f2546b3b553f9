//! What is written about an SSH host to what is done about it.

use std::ops::Range;
use std::path::PathBuf;

use super::Resolver;
use super::password::Login;
use crate::config::{Agent, Diagnostic, Spanned, SshHost, SshTarget};
use crate::plan::hop::SSH_PORT;
use crate::plan::{Hop, HostPort, PasswordSource};

impl Resolver<'_> {
    /// What `via` spells out wins over `[ssh.NAME]`, as a destination of ssh(1) wins over
    /// ssh_config(5); flags win over both.
    pub(in crate::plan) fn hop(
        &mut self,
        target: &SshTarget,
        span: &Option<Range<usize>>,
    ) -> Option<Hop> {
        let mut sections = self.config.ssh.iter();
        let section = sections.find(|ssh| ssh.name.value.eq_ignore_ascii_case(&target.host));
        let flags = &self.overrides.ssh;

        let user = target
            .user
            .clone()
            .or_else(|| section?.user.as_ref().map(|user| user.value.clone()))
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
            host: section
                .and_then(|ssh| ssh.hostname.as_ref())
                .map_or_else(|| target.host.clone(), |hostname| hostname.value.clone()),
            port: target
                .port
                .or_else(|| section?.port.as_ref().map(|port| port.value))
                .unwrap_or(SSH_PORT),
        };
        let identities = self.identities(section);
        let known_hosts = self.known_hosts(section);
        let agent = self.agent(section);
        let password = match section.and_then(|ssh| ssh.password.as_ref()) {
            Some(Spanned { value, span }) => {
                let login = Login::of_ssh(user.as_deref(), &target.host, &address.host);
                self.password(value, Some(span), &login)
            }
            None => Some(PasswordSource::Prompt),
        };
        let base = Hop::new(&target.host, &user?);
        Some(Hop {
            address,
            identities: identities?,
            identities_named: flags.identity.is_some()
                || section.is_some_and(|ssh| ssh.identity.is_some()),
            agent: agent?,
            known_hosts: known_hosts?,
            password: password?,
            compression: flags
                .compression
                .or_else(|| Some(section?.compression.as_ref()?.value))
                .unwrap_or(base.compression),
            connect_timeout: flags
                .connect_timeout
                .or_else(|| Some(section?.connect_timeout.as_ref()?.value))
                .unwrap_or(base.connect_timeout),
            keepalive: flags
                .keepalive
                .or_else(|| Some(section?.keepalive.as_ref()?.value))
                .unwrap_or(base.keepalive),
            ..base
        })
    }

    /// Without a home directory there are no default keys; an agent or a password may still do.
    fn identities(&mut self, section: Option<&SshHost>) -> Option<Vec<PathBuf>> {
        let written = section.and_then(|ssh| ssh.identity.as_ref());
        if let Some(named) = self.named_files(self.overrides.ssh.identity.as_deref(), written) {
            return named;
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

    /// As with ssh(1), naming the user's files (`UserKnownHostsFile`) leaves the system's alone.
    fn known_hosts(&mut self, section: Option<&SshHost>) -> Option<Vec<PathBuf>> {
        let written = section.and_then(|ssh| ssh.known_hosts.as_ref());
        let named = self.named_files(self.overrides.ssh.known_hosts.as_deref(), written);
        let mut files = match (named, &self.environment.home) {
            (Some(named), _) => named?,
            (None, Some(home)) => USER_KNOWN_HOSTS
                .iter()
                .map(|file| home.join(".ssh").join(file))
                .collect(),
            (None, None) => {
                self.note(
                    Diagnostic::error("there is no known_hosts file: no home directory is known")
                        .help("set HOME, or name a file with `known-hosts` in [ssh.NAME] or --known-hosts"),
                );
                return None;
            }
        };
        files.extend(SYSTEM_KNOWN_HOSTS.iter().map(PathBuf::from));
        Some(files)
    }

    /// The outer `None` is for files that nobody named, the inner one for a path that was noted
    /// as wrong.
    fn named_files(
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
    fn agent(&mut self, section: Option<&SshHost>) -> Option<Option<PathBuf>> {
        match (
            &self.overrides.ssh.agent,
            section.and_then(|ssh| ssh.agent.as_ref()),
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
            (None, None) => Some(self.environment.agent()),
        }
    }
}

const IDENTITIES: &[&str] = &["id_ed25519", "id_ecdsa", "id_rsa"];
/// ssh_config(5), `UserKnownHostsFile`.
const USER_KNOWN_HOSTS: &[&str] = &["known_hosts", "known_hosts2"];
/// ssh_config(5), `GlobalKnownHostsFile`.
const SYSTEM_KNOWN_HOSTS: &[&str] = &["/etc/ssh/ssh_known_hosts", "/etc/ssh/ssh_known_hosts2"];
