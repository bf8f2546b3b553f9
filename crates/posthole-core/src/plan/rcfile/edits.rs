//! What is changed in messages, and whom they are for where a mailbox is several people's.

use std::sync::Arc;

use bstr::BString;

use super::{Mapping, Refused};
use crate::config::Diagnostic;
use crate::message::{self, Envelope};
use crate::plan::{Edits, Multidrop, NameService, StatusFields, Trace};

impl Mapping<'_> {
    /// fetchmail's `Received` field and its rewriting are there unless they are turned off.
    pub(super) fn edits(&self) -> Result<Edits, Refused> {
        let user = self.user;
        let server = self.text(self.entry.host(), "the server's name")?;
        let account = || {
            let name = self.text(&self.entry.name, "the server's name")?;
            Ok::<_, Refused>((name, self.text(&user.remote, "the user's name")?))
        };
        let received = if self.globals.invisible {
            None
        } else {
            Some(Trace {
                from: server.clone(),
                account: self.entry.tracepolls.then(account).transpose()?,
                recipient: match user.is_multidrop() {
                    true => None,
                    false => Some(self.recipient()?),
                },
            })
        };
        Ok(Edits {
            received,
            return_path: false,
            rewrite: user.rewrite.then_some(server),
            status: if user.dropstatus {
                StatusFields::Drop
            } else {
                StatusFields::DropEmpty
            },
            drop_delivered: user.dropdelivered,
            mimedecode: user.mimedecode,
            strip_cr: user.stripcr,
        })
    }

    /// None for a mailbox of one person.
    pub(super) fn multidrop(&mut self) -> Result<Option<Arc<Multidrop>>, Refused> {
        let (entry, user) = (self.entry, self.user);
        if !user.is_multidrop() {
            return Ok(None);
        }
        let envelope = match &entry.envelope {
            None => Envelope::Nowhere,
            Some(name) if name.eq_ignore_ascii_case(b"Received") => Envelope::Received {
                skip: entry.envskip as usize,
            },
            Some(name) => Envelope::Field {
                name: self.text(name, "envelope")?,
                skip: entry.envskip as usize,
            },
        };
        if envelope == Envelope::Nowhere {
            let message = format!(
                "{}: without the envelope, recipients are guessed from To, Cc and Bcc",
                self.account()
            );
            let help = "mail from lists and blind copies goes to the postmaster; ask whoever runs \
                        the server for a field such as X-Original-To, and name it in `envelope`";
            self.warn(Diagnostic::warning(message).help(help));
        }
        let mut servers = vec![self.text(&entry.name, "the server's name")?];
        if let Some(via) = &entry.via {
            servers.push(self.text(via, "the server's name")?);
        }
        let texts = |names: &[BString], what| {
            let texts = names.iter().map(|name| self.text(name, what));
            texts.collect::<Result<Vec<_>, _>>()
        };
        let names = user.localnames.iter().map(|name| {
            let there = self.text(&name.server, "a local name")?;
            let here = match &name.client {
                Some(here) => self.text(here, "a local name")?,
                None => there.clone(),
            };
            Ok((there, here))
        });
        Ok(Some(Arc::new(Multidrop {
            rules: message::Multidrop {
                envelope,
                prefix: match &entry.qvirtual {
                    Some(prefix) => Some(self.text(prefix, "qvirtual")?),
                    None => None,
                },
                servers,
                aliases: texts(&entry.aka, "aka")?,
                local_domains: texts(&entry.localdomains, "localdomains")?,
                names: names.collect::<Result<_, Refused>>()?,
                passes_others: user.wildcard,
            },
            dns: if entry.dns {
                NameService::System
            } else {
                NameService::Off
            },
            check_alias: entry.checkalias,
            postmaster: self.postmaster()?,
        })))
    }

    /// Who gets what is for nobody here.
    pub(super) fn postmaster(&self) -> Result<Option<String>, Refused> {
        let postmaster = &self.globals.postmaster;
        match postmaster.is_empty() {
            true => Ok(None),
            false => Ok(Some(self.text(postmaster, "postmaster")?)),
        }
    }
}
