//! From the hosts of a `via` to all SSH hosts on the way, those of `ProxyJump` included.
//!
//! A list of hosts is what `ssh -J` makes of one: the first host is reached as its own
//! configuration says, through jump hosts or a command of its own if need be, and each other host
//! through the one before it, whatever its configuration says about proxies. The hosts of a
//! `ProxyJump` are such a list, too.

use std::ops::Range;
use std::str::FromStr;
use std::sync::Arc;

use super::Resolver;
use super::said::Said;
use super::tokens::{Tokens, expand};
use crate::config::{Diagnostic, SshHost, SshTarget};
use crate::openssh::{Answer, Files, Query};
use crate::plan::Hop;

/// A host of a `via`, and where that stands in the file.
pub(super) type Listed = (SshTarget, Option<Range<usize>>);

impl<'a> Resolver<'a> {
    /// All hosts on the way through these, in order; `None` after noting why not.
    pub(super) fn way(&mut self, targets: &[Listed]) -> Option<Vec<Hop>> {
        self.list(targets, &mut Vec::new())
    }

    /// `trail` is who asked for these hosts to be jumped through, and who asked for them.
    fn list(&mut self, targets: &[Listed], trail: &mut Vec<SshTarget>) -> Option<Vec<Hop>> {
        let Some((first, others)) = targets.split_first() else {
            return Some(Vec::new());
        };
        // Each is looked at even after one failed, so that all problems are told at once.
        let mut hops = self.first(first, trail);
        for (target, span) in others {
            let said = self.ask(target, true);
            let hop = said.and_then(|said| self.hop(target, span, said.as_ref(), true));
            hops = hops.zip(hop).map(|(mut hops, hop)| {
                hops.push(hop);
                hops
            });
        }
        hops
    }

    /// A host that is reached as its own configuration says.
    fn first(&mut self, (target, span): &Listed, trail: &mut Vec<SshTarget>) -> Option<Vec<Hop>> {
        let said = self.ask(target, false)?;
        let jumps = match &said {
            // A command of ours stands in the place of any proxy of OpenSSH's.
            Some(said)
                if self
                    .section(target)
                    .is_none_or(|ssh| ssh.proxy_command.is_none()) =>
            {
                self.jumps(target, span, said)?
            }
            _ => Vec::new(),
        };
        let mut hops = if jumps.is_empty() {
            Vec::new()
        } else {
            trail.push(target.clone());
            let hops = self
                .check_trail(&jumps, trail)
                .and_then(|()| self.list(&jumps, trail));
            trail.pop();
            hops?
        };
        hops.push(self.hop(target, span, said.as_ref(), !hops.is_empty())?);
        Some(hops)
    }

    /// The hosts of `ProxyJump`.
    fn jumps(
        &mut self,
        target: &SshTarget,
        span: &Option<Range<usize>>,
        said: &Said,
    ) -> Option<Vec<Listed>> {
        let Some(jumps) = said.holds("proxyjump") else {
            return Some(Vec::new());
        };
        let tokens = Tokens {
            host: said.holds("hostname").unwrap_or(&target.host),
            original: &target.host,
            port: said.holds("port").unwrap_or("22"),
            user: said.holds("user").unwrap_or_default(),
        };
        let parse = |jump: &str| {
            let jump = expand(jump, &tokens)?;
            SshTarget::from_str(&jump).map_err(|error| format!("`{jump}`: {error}"))
        };
        let targets: Result<Vec<_>, _> = jumps.split(',').map(parse).collect();
        match targets {
            Ok(targets) => Some(
                targets
                    .into_iter()
                    .map(|target| (target, span.clone()))
                    .collect(),
            ),
            Err(problem) => {
                let host = &target.host;
                self.note(
                    Diagnostic::error(format!("the ProxyJump of {host} is of no use: {problem}"))
                        .help(format!("`ssh -G {host}` shows it; put it right there")),
                );
                None
            }
        }
    }

    /// Refuses to go round in circles, and for ever.
    fn check_trail(&mut self, jumps: &[Listed], trail: &[SshTarget]) -> Option<()> {
        // The others are reached through it, and their own jump hosts do not count.
        let circle = jumps.first().and_then(|(jump, _)| {
            let is_it = |earlier: &SshTarget| is_same(earlier, jump);
            trail.iter().position(is_it)
        });
        let message = if let Some(start) = circle {
            let names: Vec<_> = trail[start..]
                .iter()
                .chain([&trail[start]])
                .map(SshTarget::to_string)
                .collect();
            format!(
                "the jump hosts of {} lead in a circle: {}",
                trail[0].host,
                names.join(" through ")
            )
        } else if trail.len() > MAX_JUMPS {
            format!(
                "the jump hosts of {} have jump hosts in turn, and that more than {MAX_JUMPS} times",
                trail[0].host
            )
        } else {
            return Some(());
        };
        self.note(
            Diagnostic::error(message)
                .help("write ProxyJump none for the first of them into ~/.ssh/config"),
        );
        None
    }

    /// What OpenSSH says about a host.
    ///
    /// The outer `None` is for an answer that there should have been, and was noted as missing;
    /// the inner one is for a machine without OpenSSH.
    fn ask(&mut self, target: &SshTarget, is_behind: bool) -> Option<Option<Said>> {
        let section = self.section(target);
        let own = |field: fn(&SshHost) -> Option<String>| section.and_then(field);
        let query = Query {
            host: target.host.clone(),
            user: target
                .user
                .clone()
                .or_else(|| own(|ssh| Some(ssh.user.as_ref()?.value.clone()))),
            port: target
                .port
                .or_else(|| section.and_then(|ssh| Some(ssh.port.as_ref()?.value))),
            hostname: own(|ssh| Some(ssh.hostname.as_ref()?.value.clone())),
            is_behind,
            files: Files::All,
            arguments: Vec::new(),
        };
        let Some(answer) = self.answer(&query)? else {
            self.warn_of_unread_configuration();
            return Some(None);
        };
        let Some(defaults) = self.answer(&Query::defaults())? else {
            return Some(None);
        };
        let home = self.environment.home.as_deref();
        Some(Some(Said::new(
            answer,
            defaults,
            home,
            &self.environment.cwd,
        )))
    }

    fn answer(&mut self, query: &Query) -> Option<Option<Arc<Answer>>> {
        match self.openssh.answer(query) {
            Ok(answer) => Some(answer),
            Err(error) => {
                self.note(Diagnostic::error(error.to_string()).help(error.hint()));
                None
            }
        }
    }

    /// What the system's configuration alone says about a host.
    pub(super) fn system_answer(&self, target: &SshTarget) -> Option<Arc<Answer>> {
        let query = Query {
            host: target.host.clone(),
            files: Files::System,
            ..Query::default()
        };
        self.openssh.answer(&query).ok()?
    }

    /// What it says is not guessed at; but somebody wrote it for a reason.
    fn warn_of_unread_configuration(&mut self) {
        let Some(home) = &self.environment.home else {
            return;
        };
        let file = home.join(".ssh/config");
        if !self.openssh.is_there(&file) {
            return;
        }
        self.note(
            Diagnostic::warning(format!(
                "{} is not read, because there is no `ssh` that works",
                file.display()
            ))
            .help("install OpenSSH's client, or write what is needed into [ssh.NAME]"),
        );
    }

    /// `[ssh.NAME]` for a host.
    pub(super) fn section(&self, target: &SshTarget) -> Option<&'a SshHost> {
        let mut sections = self.config.ssh.iter();
        sections.find(|ssh| ssh.name.value.eq_ignore_ascii_case(&target.host))
    }
}

fn is_same(a: &SshTarget, b: &SshTarget) -> bool {
    a.host.eq_ignore_ascii_case(&b.host) && a.user == b.user && a.port == b.port
}

/// Nobody has that many, and a configuration may make up new names without end.
pub(crate) const MAX_JUMPS: usize = 16;
