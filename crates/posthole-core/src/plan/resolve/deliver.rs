//! Where messages go, and for whom.

use std::ffi::{OsStr, OsString};
use std::net::IpAddr;
use std::num::NonZeroU32;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::super::{
    BsmtpTo, DeliverTo, Environment, HostPort, MboxTo, MdaCommand, MdaTo, NameFrom, SmtpLogin,
    SmtpProtocol, SmtpServer, SmtpTo, Tls, TlsStart,
};
use super::password::Login;
use super::{Resolver, Wanted, is_loopback};
use crate::config::{Deliver, Diagnostic, LmtpServer, Password, SmtpOptions, Spanned, TlsWhen};

impl Resolver<'_> {
    pub(super) fn deliver(&mut self, wanted: &Wanted<'_>) -> Option<Vec<DeliverTo>> {
        let own = wanted.options.and_then(|options| options.deliver.as_ref());
        let (written, span) = if let Some(flag) = &self.overrides.deliver {
            (flag.clone(), None)
        } else if let Some(Spanned { value, span }) = own.or(self.config.defaults.deliver.as_ref())
        {
            (value.clone(), Some(span.clone()))
        } else {
            let diagnostic = Diagnostic::error(format!(
                "it is not said where the mail of `{}` goes",
                wanted.name
            ));
            self.note(wanted.at_name(match wanted.options {
                Some(_) => diagnostic.help(
                    "write deliver = \"maildir:~/Mail\" here or below [defaults], or give --to",
                ),
                None => diagnostic.help("add `--to maildir:~/Mail`"),
            }));
            return None;
        };
        let mut destinations: Vec<DeliverTo> = Vec::with_capacity(written.len());
        for deliver in &written {
            let to = self.destination(wanted, deliver, span.as_ref())?;
            let name = to.to_string();
            // What a destination has got is remembered by its name.
            if destinations.iter().any(|other| other.to_string() == name) {
                let mut diagnostic =
                    Diagnostic::error(format!("the destination {name} is there twice"))
                        .help("take one of them out");
                diagnostic.span = span;
                self.note(diagnostic);
                return None;
            }
            destinations.push(to);
        }
        Some(destinations)
    }

    fn destination(
        &mut self,
        wanted: &Wanted<'_>,
        deliver: &Deliver,
        span: Option<&Range<usize>>,
    ) -> Option<DeliverTo> {
        Some(match deliver {
            Deliver::Bsmtp(path) => {
                let recipients = self.recipients(wanted)?;
                DeliverTo::Bsmtp(BsmtpTo {
                    path: match path {
                        Some(path) => Some(self.place(path, span)?),
                        None => None,
                    },
                    recipients: addresses(&recipients, "localhost"),
                    domain: "localhost".to_owned(),
                })
            }
            Deliver::Lmtp(server) => {
                let recipients = self.recipients(wanted)?;
                let server = match server {
                    LmtpServer::Tcp(to) => SmtpServer::Tcp(to.clone()),
                    LmtpServer::Unix(path) => SmtpServer::Unix(self.place(path, span)?),
                };
                DeliverTo::Smtp(Box::new(SmtpTo {
                    batch_limit: self.batch_limit(wanted),
                    ..SmtpTo::new(server, SmtpProtocol::Lmtp, &recipients)
                }))
            }
            Deliver::Maildir(path) => DeliverTo::Maildir(self.place(path, span)?),
            Deliver::Mbox(path) => DeliverTo::Mbox(MboxTo {
                path: self.place(path, span)?,
                owner: self.local_user(wanted),
            }),
            Deliver::Mda {
                command,
                timeout,
                user,
            } => {
                let mut command = command.clone();
                // With a slash in it, it is a path like all others.
                if let Some(program) = command.first_mut()
                    && program.contains('/')
                {
                    let path = self.place(Path::new(&*program), span)?;
                    if let Some(path) = path.to_str() {
                        path.clone_into(program);
                    }
                }
                DeliverTo::Mda(MdaTo {
                    command: MdaCommand::Argv(command),
                    recipients: self.recipients(wanted)?,
                    user: user.clone().or_else(|| self.local_user(wanted)),
                    environment: for_commands(self.environment),
                    timeout: timeout.unwrap_or(MDA_TIMEOUT),
                })
            }
            Deliver::Smtp(options) => {
                let recipients = self.recipients(wanted)?;
                let (tls, login) = self.smtp_security(options)?;
                let usual = if options.is_tls {
                    SMTPS_PORT
                } else {
                    SMTP_PORT
                };
                let server = SmtpServer::Tcp(HostPort {
                    host: options.host.clone(),
                    port: options.port.unwrap_or(usual),
                });
                DeliverTo::Smtp(Box::new(SmtpTo {
                    batch_limit: self.batch_limit(wanted),
                    tls,
                    login,
                    ..SmtpTo::new(server, SmtpProtocol::Smtp, &recipients)
                }))
            }
        })
    }

    fn batch_limit(&self, wanted: &Wanted<'_>) -> Option<NonZeroU32> {
        let limit = self.overrides.batch_limit;
        let limit = limit.or_else(|| self.option(wanted, |options| options.batch_limit.as_ref()));
        limit.and_then(NonZeroU32::new)
    }

    /// How the stream to a server is protected, and who logs in there.
    ///
    /// A login goes through TLS or stays on this machine. Without one TLS is a courtesy, and a
    /// server here needs none.
    fn smtp_security(&mut self, options: &SmtpOptions) -> Option<(Tls, Option<SmtpLogin>)> {
        let SmtpOptions {
            host,
            is_tls,
            user,
            password,
            tls,
            ..
        } = options;
        let is_remote = !is_loopback(host);
        let start = match tls.when.as_ref().map(|when| when.value) {
            Some(TlsWhen::Never) if *is_tls => {
                let message = "`tls` is never, but `smtps` is TLS from the start";
                let mut diagnostic = Diagnostic::error(message)
                    .help("write smtp in place of smtps, or leave `tls` out");
                diagnostic.span = tls.when.as_ref().map(|when| when.span.clone());
                self.note(diagnostic);
                return None;
            }
            _ if *is_tls => TlsStart::AtOnce,
            Some(TlsWhen::Never) => TlsStart::Never,
            Some(TlsWhen::Required) => TlsStart::Required,
            None if is_remote && user.is_some() => TlsStart::Required,
            Some(TlsWhen::Auto) => TlsStart::IfOffered,
            None if is_remote => TlsStart::IfOffered,
            None => TlsStart::Never,
        };
        let login = match (user, password) {
            (None, None) => None,
            (Some(user), Some(Spanned { value, span })) => {
                if matches!(value, Password::Prompt) {
                    self.note(
                        Diagnostic::error("nobody can be asked for this password in the middle of a delivery")
                            .at(span.clone())
                            .help("write password = { command = \"…\" }, { file = \"…\" }, { keyring = true } or { netrc = true }"),
                    );
                    return None;
                }
                let of_smtp = Login::of_smtp(&user.value, host);
                Some(SmtpLogin {
                    user: user.value.clone(),
                    password: self.password(value, Some(span), &of_smtp)?,
                })
            }
            (Some(user), None) => {
                self.note(
                    Diagnostic::error("`user` stands without a `password`")
                        .at(user.span.clone())
                        .help("write password = { command = \"…\" } beside it"),
                );
                return None;
            }
            (None, Some(password)) => {
                self.note(
                    Diagnostic::error("`password` stands without a `user`")
                        .at(password.span.clone())
                        .help("write user = \"NAME\" beside it"),
                );
                return None;
            }
        };
        let ca_files = tls.ca_file.as_ref();
        let ca_files = ca_files.or(self.config.defaults.tls.ca_file.as_ref());
        let (name, name_from) = match &tls.name {
            Some(name) => (name.value.clone(), NameFrom::Person),
            None => (host.trim_end_matches('.').to_owned(), NameFrom::Server),
        };
        let pins = tls.fingerprint.iter().flatten().map(|pin| pin.value);
        let tls = Tls {
            start,
            name,
            name_from,
            authorities: self.authorities(None, ca_files)?,
            pins: pins.collect(),
            revocation_lists: Vec::new(),
            identity: None,
        };
        Some((tls, login))
    }

    pub(super) fn place(&mut self, path: &Path, span: Option<&Range<usize>>) -> Option<PathBuf> {
        match span {
            Some(span) => self.file_path(path, span),
            None => self.command_line_path(path),
        }
    }

    /// Whom the mail is for: who is named, or the local user.
    fn recipients(&mut self, wanted: &Wanted<'_>) -> Option<Vec<String>> {
        if let Some(named) = self.named_recipients(wanted) {
            return Some(named);
        }
        let user = self.environment.user.clone();
        if user.is_none() {
            self.note(
                wanted.at_name(
                    Diagnostic::error(format!(
                        "it is not said whom the mail of `{}` is for, and the local user's name \
                         is not known",
                        wanted.name
                    ))
                    .help("write recipients = \"msingh\""),
                ),
            );
        }
        Some(vec![user?])
    }

    fn named_recipients(&self, wanted: &Wanted<'_>) -> Option<Vec<String>> {
        if let Some(recipients) = &self.overrides.recipients {
            return Some(recipients.clone());
        }
        let own = wanted
            .options
            .and_then(|options| options.recipients.as_ref());
        let recipients = own.or(self.config.defaults.recipients.as_ref());
        recipients.map(|recipients| recipients.value.clone())
    }

    /// The local user that root delivers for: the first recipient who is named, without a domain;
    /// nobody where each message says whom it is for.
    pub(super) fn local_user(&self, wanted: &Wanted<'_>) -> Option<String> {
        if self.multidrop_options(wanted).is_some() {
            return None;
        }
        let first = self.named_recipients(wanted)?.into_iter().next()?;
        Some(local_part(&first).to_owned())
    }
}

/// The local user's name in an address.
pub(in crate::plan) fn local_part(address: &str) -> &str {
    address.split_once('@').map_or(address, |(local, _)| local)
}

impl SmtpTo {
    /// A server and whom the mail is for, with everything else as usual.
    ///
    /// As with fetchmail, a recipient without a domain gets the server's name for one, or
    /// `localhost` where that is no domain.
    #[must_use]
    pub fn new(server: SmtpServer, protocol: SmtpProtocol, recipients: &[String]) -> Self {
        let domain = match &server {
            SmtpServer::Plugin(to, _) | SmtpServer::Tcp(to) => domain_of(&to.host),
            SmtpServer::Unix(_) => "localhost".to_owned(),
        };
        Self {
            servers: vec![server],
            protocol,
            recipients: addresses(recipients, &domain),
            tls: Tls::never(&domain),
            domain,
            antispam: Vec::new(),
            undeliverable: None,
            batch_limit: None,
            login: None,
            timeout: SMTP_TIMEOUT,
        }
    }
}

/// A host as the domain of an address: an IP address is written as a literal (RFC 5321 §4.1.3).
fn domain_of(host: &str) -> String {
    let plain = host
        .split_once('%')
        .map_or(host, |(address, _zone)| address);
    match plain.parse::<IpAddr>() {
        Ok(address) if address.is_loopback() => "localhost".to_owned(),
        Ok(IpAddr::V4(address)) => format!("[{address}]"),
        Ok(IpAddr::V6(address)) => format!("[IPv6:{address}]"),
        Err(_) => host.trim_end_matches('.').to_owned(),
    }
}

fn addresses(recipients: &[String], domain: &str) -> Vec<String> {
    let address = |recipient: &String| {
        if recipient.contains('@') {
            recipient.clone()
        } else {
            format!("{recipient}@{domain}")
        }
    };
    recipients.iter().map(address).collect()
}

/// The environment of a command: who and where, and how to speak; nothing else of ours.
pub(in crate::plan) fn for_commands(environment: &Environment) -> Vec<(OsString, OsString)> {
    let wanted = |name: &OsStr| {
        name.to_str()
            .is_some_and(|name| PASSED_ON.contains(&name) || name.starts_with("LC_"))
    };
    let mut variables: Vec<_> = environment
        .vars
        .iter()
        .filter(|(name, _)| wanted(name))
        .map(|(name, value)| (name.clone(), value.clone()))
        .collect();
    let mut default = |name: &str, value: Option<&OsStr>| {
        if let Some(value) = value
            && !variables.iter().any(|(other, _)| other == name)
        {
            variables.push((name.into(), value.to_owned()));
        }
    };
    default("PATH", Some(OsStr::new(PATH)));
    default(
        "HOME",
        environment.home.as_ref().map(|home| home.as_os_str()),
    );
    let user = environment.user.as_ref().map(OsStr::new);
    default("LOGNAME", user);
    default("USER", user);
    variables
}

const PASSED_ON: &[&str] = &[
    "HOME", "LANG", "LOGNAME", "PATH", "SHELL", "TMPDIR", "TZ", "USER",
];

/// What a command is looked for in when nobody says otherwise.
const PATH: &str = "/usr/local/bin:/usr/bin:/bin";

/// Filters that ask a database or another server may take their time.
pub(crate) const MDA_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// RFC 5321 §4.5.3.2 wants this much for most steps, and twice as much for the last.
pub(crate) const SMTP_TIMEOUT: Duration = Duration::from_secs(5 * 60);

/// RFC 8314 §3.3.
const SMTPS_PORT: u16 = 465;

/// RFC 5321 §2.3.4.
pub(in crate::plan) const SMTP_PORT: u16 = 25;

#[cfg(test)]
mod tests;
