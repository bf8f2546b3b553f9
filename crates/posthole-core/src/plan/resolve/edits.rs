//! What is changed in messages, what is asked about them first, and whom they are for.

use std::sync::Arc;
use std::time::Duration;

use super::super::{
    DeliverTo, Edits, Filter, HostPort, KeptMail, Multidrop, Select, StatusFields, Trace,
};
use super::deliver::for_commands;
use super::{Resolver, Wanted, is_loopback};
use crate::config::{Diagnostic, EditOptions, MultidropOptions, Rewrite, Spanned};
use crate::message;

impl Resolver<'_> {
    pub(super) fn which(&self, wanted: &Wanted<'_>) -> Select {
        let flags = self.overrides;
        let is_on = |flag: Option<bool>, option: Option<bool>| flag.or(option).unwrap_or(false);
        Select {
            limit: flags
                .limit
                .or_else(|| self.option(wanted, |options| options.limit.as_ref())),
            limit_flush: is_on(
                flags.limit_flush,
                self.option(wanted, |options| options.limit_flush.as_ref()),
            ),
            fetch_limit: flags
                .fetch_limit
                .or_else(|| self.option(wanted, |options| options.fetch_limit.as_ref())),
            kept: KeptMail::AsKeepSays,
            fetch_all: is_on(
                flags.fetch_all,
                self.option(wanted, |options| options.fetch_all.as_ref()),
            ),
            flush: is_on(
                flags.flush,
                self.option(wanted, |options| options.flush.as_ref()),
            ),
            expunge: flags
                .expunge
                .or_else(|| self.option(wanted, |options| options.expunge.as_ref()))
                .and_then(|count| count.try_into().ok()),
        }
    }

    pub(super) fn filter(&mut self, wanted: &Wanted<'_>) -> Option<Filter> {
        let own = wanted.options.and_then(|options| options.filter.as_ref());
        let written = own.or(self.config.defaults.filter.as_ref());
        let (mut command, span) = match (&self.overrides.filter, written) {
            (Some(flag), _) => (flag.clone(), None),
            (None, Some(Spanned { value, span })) => (value.clone(), Some(span.clone())),
            (None, None) => return None,
        };
        // With a slash in it, it is a path like all others.
        let program = command.first_mut()?;
        if program.contains('/') {
            let path = self.place(program.as_ref(), span.as_ref())?;
            path.to_str()?.clone_into(program);
        }
        Some(Filter {
            command,
            user: self.local_user(wanted),
            environment: for_commands(self.environment),
            timeout: FILTER_TIMEOUT,
        })
    }

    /// `server` is the mail server's real name.
    pub(super) fn edits(
        &mut self,
        wanted: &Wanted<'_>,
        user: &str,
        server: &str,
        deliver: &[DeliverTo],
    ) -> Option<Edits> {
        let flags = &self.overrides.edits;
        let is_on = |flag: Option<bool>, field: fn(&EditOptions) -> &Option<Spanned<bool>>| {
            let option = self.option(wanted, |options| field(&options.edits).as_ref());
            flag.or(option).unwrap_or(false)
        };
        let account =
            is_on(flags.tracepolls, |edits| &edits.tracepolls).then(|| wanted.name.clone());
        let trace = Trace {
            from: server.to_owned(),
            account: account.map(|name| (name, user.to_owned())),
            recipient: only_recipient(deliver),
        };
        let is_shared = self.multidrop_options(wanted).is_some();
        let edits = Edits {
            received: is_on(flags.received, |edits| &edits.received).then_some(Trace {
                recipient: trace.recipient.filter(|_| !is_shared),
                ..trace
            }),
            return_path: is_on(flags.return_path, |edits| &edits.return_path),
            rewrite: None,
            status: flags
                .drop_status
                .or_else(|| self.option(wanted, |options| options.edits.drop_status.as_ref()))
                .unwrap_or(StatusFields::Keep),
            drop_delivered: is_on(flags.drop_delivered, |edits| &edits.drop_delivered),
            mimedecode: is_on(flags.mimedecode, |edits| &edits.mimedecode),
            strip_cr: is_on(flags.strip_cr, |edits| &edits.strip_cr),
        };
        Some(Edits {
            rewrite: self.rewrite(wanted, server)?,
            ..edits
        })
    }

    fn rewrite(&mut self, wanted: &Wanted<'_>, server: &str) -> Option<Option<String>> {
        let own = |options: &crate::config::Options| options.edits.rewrite.clone();
        let written = wanted.options.and_then(own);
        let written = written.or_else(|| own(&self.config.defaults));
        let (rewrite, span) = match (&self.overrides.edits.rewrite, written) {
            (Some(flag), _) => (flag.clone(), None),
            (None, Some(Spanned { value, span })) => (value, Some(span)),
            (None, None) => return Some(None),
        };
        match rewrite {
            Rewrite::Off => Some(None),
            Rewrite::To(host) => Some(Some(host)),
            // To whoever reads the mail here, that would be this machine.
            Rewrite::Server if is_loopback(server) => {
                let mut diagnostic = Diagnostic::error(format!(
                    "the mail server of `{}` has no name that addresses could be completed with",
                    wanted.name
                ))
                .help("name the host, as in rewrite = \"mail.example.org\"");
                diagnostic.span = span;
                self.note(diagnostic);
                None
            }
            Rewrite::Server => Some(Some(server.to_owned())),
        }
    }

    pub(super) fn multidrop_options(
        &self,
        wanted: &Wanted<'_>,
    ) -> Option<&Spanned<MultidropOptions>> {
        let own = wanted
            .options
            .and_then(|options| options.multidrop.as_ref());
        // Not a reference into `wanted`, whose options are the file's as well.
        let account = own.and_then(|own| {
            let all = self.config.accounts.iter();
            all.filter_map(|account| account.options.multidrop.as_ref())
                .find(|other| other.span == own.span)
        });
        account.or(self.config.defaults.multidrop.as_ref())
    }

    /// None inside is an account of one person.
    pub(super) fn multidrop(
        &mut self,
        wanted: &Wanted<'_>,
        server: &HostPort,
        real_name: &str,
        deliver: &[DeliverTo],
    ) -> Option<Option<Arc<Multidrop>>> {
        let Some(Spanned { value, span }) = self.multidrop_options(wanted).cloned() else {
            return Some(None);
        };
        let is_told = |to: &DeliverTo| !matches!(to, DeliverTo::Maildir(_) | DeliverTo::Mbox(_));
        if !deliver.iter().any(is_told) {
            self.note(
                Diagnostic::error(format!(
                    "the mail of `{}` is for several people, and its destination is told nobody",
                    wanted.name
                ))
                .at(span)
                .help(
                    "deliver it to a server or a command that knows them, such as \
                     deliver = \"smtp:localhost\"",
                ),
            );
            return None;
        }
        if value.envelope == message::Envelope::Nowhere {
            self.note(
                Diagnostic::warning(
                    "without the envelope, recipients are guessed from To, Cc and Bcc",
                )
                .at(span.clone())
                .help(
                    "mail from lists and blind copies goes to the postmaster; ask whoever runs \
                     the server for a field such as X-Original-To, and name it in `envelope`",
                ),
            );
        }
        let postmaster = value.postmaster.or_else(|| self.environment.user.clone());
        if postmaster.is_none() {
            self.note(
                Diagnostic::error(
                    "it is not said who gets mail that is for nobody here, and the local user's \
                     name is not known",
                )
                .at(span)
                .help("write postmaster = \"NAME\""),
            );
            return None;
        }
        let mut servers = vec![real_name.to_owned()];
        if !servers.contains(&server.host) && !is_loopback(&server.host) {
            servers.push(server.host.clone());
        }
        Some(Some(Arc::new(Multidrop {
            rules: message::Multidrop {
                envelope: value.envelope,
                prefix: value.qvirtual,
                servers,
                aliases: value.aka,
                local_domains: value.localdomains,
                names: value.names,
                passes_others: value.passes_others,
            },
            dns: value.dns,
            check_alias: value.checkalias,
            postmaster,
        })))
    }
}

/// The only one whom mail is for, as far as the destinations are told.
fn only_recipient(deliver: &[DeliverTo]) -> Option<String> {
    let mut told = deliver.iter().filter_map(|to| match to {
        DeliverTo::Bsmtp(to) => Some(&to.recipients),
        DeliverTo::Maildir(_) | DeliverTo::Mbox(_) => None,
        DeliverTo::Mda(to) => Some(&to.recipients),
        DeliverTo::Smtp(to) => Some(&to.recipients),
    });
    match (told.next()?.as_slice(), told.next()) {
        ([only], None) => Some(only.clone()),
        _ => None,
    }
}

/// A script that looks at a header takes no longer, and the mail server waits meanwhile.
pub(crate) const FILTER_TIMEOUT: Duration = Duration::from_secs(60);
