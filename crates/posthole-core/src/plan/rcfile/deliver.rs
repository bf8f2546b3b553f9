//! Where the mail goes: `bsmtp`, `mda`, or `smtphost` and its kin.

use bstr::{BString, ByteSlice};

use super::way::plugin_words;
use super::{Mapping, Refused, path_of};
use crate::config::Diagnostic;
use crate::fetchmailrc::service_port;
use crate::plan::resolve::{MDA_TIMEOUT, SMTP_PORT, for_commands, is_loopback, local_part};
use crate::plan::{
    BsmtpTo, DeliverTo, HostPort, MdaCommand, MdaTo, ReportTo, SmtpLogin, SmtpProtocol, SmtpServer,
    SmtpTo, Tls, TlsStart, Undeliverable,
};

impl Mapping<'_> {
    pub(super) fn deliver(&self) -> Result<DeliverTo, Refused> {
        let local = self.recipient()?;
        if let Some(file) = &self.user.bsmtp {
            return Ok(DeliverTo::Bsmtp(BsmtpTo {
                path: (file != "-").then(|| path_of(file)),
                recipients: self.addresses(&local, "localhost")?,
                domain: match &self.user.smtpaddress {
                    Some(address) => self.text(address, "smtpaddress")?,
                    None => "localhost".to_owned(),
                },
            }));
        }
        if let Some(command) = &self.user.mda {
            return Ok(DeliverTo::Mda(MdaTo {
                command: MdaCommand::Shell(self.text(command, "mda")?),
                user: self.wishes.superuser.then(|| local_part(&local).to_owned()),
                recipients: vec![local],
                environment: for_commands(self.environment),
                timeout: MDA_TIMEOUT,
            }));
        }
        let servers = self.user.smtphunt.iter().map(|host| self.server(host));
        let servers = servers.collect::<Result<Vec<_>, _>>()?;
        let is_socket = matches!(servers[..], [SmtpServer::Unix(_), ..]);
        let protocol = if self.user.lmtp || is_socket {
            SmtpProtocol::Lmtp
        } else {
            SmtpProtocol::Smtp
        };
        let first = servers[0].clone();
        let mut to = SmtpTo::new(first, protocol, std::slice::from_ref(&local));
        if self.user.smtpname.is_some() || self.user.smtpaddress.is_some() {
            to.recipients = self.addresses(&local, "localhost")?;
        }
        if let Some(address) = &self.user.smtpaddress {
            to.domain = self.text(address, "smtpaddress")?;
        }
        to.servers = servers;
        to.antispam = self
            .user
            .antispam
            .iter()
            .filter_map(|code| u16::try_from(*code).ok())
            .collect();
        to.undeliverable = Some(Undeliverable {
            stays: self.globals.softbounce,
            report_to: if self.globals.bouncemail {
                ReportTo::Sender
            } else {
                ReportTo::Postmaster
            },
            reports_spam: self.globals.spambounce,
            postmaster: match self.postmaster()? {
                Some(name) if !name.contains('@') => Some(format!("{name}@{}", to.domain)),
                postmaster => postmaster,
            },
        });
        to.batch_limit = self.user.batchlimit.try_into().ok();
        if let Some(secret) = &self.entry.esmtppassword {
            to.login = Some(SmtpLogin {
                user: self.text(&self.entry.esmtpname, "esmtpname")?,
                password: self.given(secret, "`esmtppassword` in the rc file")?,
            });
            // fetchmail goes without; what the password is worth to others depends on the way to it.
            if let Some(
                SmtpServer::Tcp(HostPort { host, .. })
                | SmtpServer::Plugin(HostPort { host, .. }, _),
            ) = to.servers.first()
                && !is_loopback(host)
            {
                to.tls = Tls {
                    start: TlsStart::IfOffered,
                    authorities: self.authorities(),
                    ..Tls::never(host)
                };
            }
        }
        Ok(DeliverTo::Smtp(Box::new(to)))
    }

    /// Whom the mail is for, by the name here; the postmaster, as long as it is not known which of
    /// several people.
    pub(super) fn recipient(&self) -> Result<String, Refused> {
        if self.user.is_multidrop()
            && let Some(postmaster) = self.postmaster()?
        {
            return Ok(postmaster);
        }
        // Resolving the rc file put in the user who asks where nobody was named.
        let name = self.user.localnames.first();
        let name = name.map(|name| name.client.as_ref().unwrap_or(&name.server));
        self.text(name.unwrap_or(&self.user.remote), "the local name")
    }

    /// The recipient's address: `smtpname`, or the name at `smtpaddress`.
    fn addresses(&self, local: &str, domain: &str) -> Result<Vec<String>, Refused> {
        if let Some(name) = &self.user.smtpname {
            return Ok(vec![self.text(name, "smtpname")?]);
        }
        let domain = match &self.user.smtpaddress {
            Some(address) => self.text(address, "smtpaddress")?,
            None => domain.to_owned(),
        };
        let name = local.split_once('@').map_or(local, |(name, _)| name);
        let keeps_domain = local.contains('@') && self.user.smtpaddress.is_none();
        Ok(vec![if keeps_domain {
            local.to_owned()
        } else {
            format!("{name}@{domain}")
        }])
    }

    /// `HOST`, `HOST/PORT` or `/SOCKET`.
    fn server(&self, written: &BString) -> Result<SmtpServer, Refused> {
        if written.starts_with(b"/") {
            return Ok(SmtpServer::Unix(path_of(written)));
        }
        let (host, port) = match written.split_once_str("/") {
            Some((host, port)) => (BString::from(host), service_port(port)),
            None => (written.clone(), Some(SMTP_PORT)),
        };
        let Some(port) = port else {
            let message = format!(
                "{}: `smtphost {written}` has no port that is known",
                self.account()
            );
            let help = "write HOST/NUMBER";
            return Err(Diagnostic::error(message).help(help).into());
        };
        let to = HostPort {
            host: self.text(&host, "smtphost")?,
            port,
        };
        Ok(match &self.entry.plugout {
            Some(command) => {
                let words = plugin_words(command, &to);
                SmtpServer::Plugin(to, words)
            }
            None => SmtpServer::Tcp(to),
        })
    }
}
