//! From where a password is written to come from to where it will be looked for.

use std::ffi::OsStr;
use std::ops::Range;
use std::path::{Path, PathBuf};

use secrecy::SecretString;

use super::{Resolver, Wanted, is_loopback};
use crate::config::{Diagnostic, Password, Spanned, SshTarget, check_password};
use crate::plan::{Keyring, NetrcEntry, PasswordSource};

/// What a password is for, as collections of passwords file it.
pub(super) struct Login<'a> {
    /// The service, as mpop(1) calls it in the keyring.
    service: &'static str,
    user: Option<&'a str>,
    /// The names of the host, the likeliest first.
    hosts: Vec<&'a str>,
}

impl<'a> Login<'a> {
    /// A login to a mail server.
    ///
    /// Behind an SSH host the mail server is mostly called `localhost`, as is that of every other
    /// account, so the name of the SSH host will do as well.
    pub(super) fn of_mail(
        user: Option<&'a str>,
        host: &'a str,
        via: Option<&'a SshTarget>,
    ) -> Self {
        let mut hosts = vec![host];
        hosts.extend(
            via.filter(|_| is_loopback(host))
                .map(|via| via.host.as_str()),
        );
        Self {
            service: "pop3",
            user,
            hosts,
        }
    }

    /// A login to a server that takes mail.
    pub(super) fn of_smtp(user: &'a str, host: &'a str) -> Self {
        Self {
            service: "smtp",
            user: Some(user),
            hosts: vec![host],
        }
    }

    /// A login to an SSH host, by its name in `via` or its address.
    pub(super) fn of_ssh(user: Option<&'a str>, name: &'a str, address: &'a str) -> Self {
        let mut hosts = vec![name];
        hosts.extend((address != name).then_some(address));
        Self {
            service: "ssh",
            user,
            hosts,
        }
    }
}

impl Resolver<'_> {
    pub(super) fn mail_password(
        &mut self,
        wanted: &Wanted<'_>,
        login: &Login<'_>,
    ) -> Option<PasswordSource> {
        if let Some(password) = &self.overrides.password {
            return self.password(password, None, login);
        }
        let own = wanted.options.and_then(|options| options.password.as_ref());
        match own.or(self.config.defaults.password.as_ref()) {
            Some(Spanned { value, span }) => self.password(value, Some(span), login),
            None => Some(PasswordSource::Prompt),
        }
    }

    /// `span` is where it stands in the file, or none for the command line.
    pub(super) fn password(
        &mut self,
        password: &Password,
        span: Option<&Range<usize>>,
        login: &Login<'_>,
    ) -> Option<PasswordSource> {
        match password {
            Password::Command(command) => Some(PasswordSource::Command(command.clone())),
            Password::Credential(name) => self.credential(name, span),
            Password::Env(name) => self.environment_password(name, span),
            Password::File(path) => Some(PasswordSource::File(self.written_path(path, span)?)),
            Password::Keyring(attributes) => Some(PasswordSource::Keyring(Keyring {
                bus: self.environment.session_bus(),
                attributes: keyring_attributes(attributes, login)?,
            })),
            Password::Literal(secret) => Some(PasswordSource::Given {
                origin: match span {
                    Some(_) => "the configuration file".to_owned(),
                    None => "the command line".to_owned(),
                },
                secret: secret.clone(),
            }),
            Password::Netrc(path) => {
                let usual = Path::new("~/.netrc");
                Some(PasswordSource::Netrc(NetrcEntry {
                    file: self.written_path(path.as_deref().unwrap_or(usual), span)?,
                    machines: login.hosts.iter().map(|&host| host.to_owned()).collect(),
                    // That there is none was noted where it was looked for.
                    login: login.user?.to_owned(),
                }))
            }
            Password::Prompt => Some(PasswordSource::Prompt),
        }
    }

    fn written_path(&mut self, path: &Path, span: Option<&Range<usize>>) -> Option<PathBuf> {
        match span {
            Some(span) => self.file_path(path, span),
            None => self.command_line_path(path),
        }
    }

    fn credential(&mut self, name: &str, span: Option<&Range<usize>>) -> Option<PasswordSource> {
        if let Some(directory) = self.environment.credentials() {
            return Some(PasswordSource::Credential {
                name: name.to_owned(),
                path: directory.join(name),
            });
        }
        let mut diagnostic = Diagnostic::error(format!(
            "there is no credential {name}: CREDENTIALS_DIRECTORY is not set"
        ))
        .help(format!(
            "only a service of systemd has credentials: start it with LoadCredential={name}:FILE"
        ));
        diagnostic.span = span.cloned();
        self.note(diagnostic);
        None
    }

    fn environment_password(
        &mut self,
        name: &str,
        span: Option<&Range<usize>>,
    ) -> Option<PasswordSource> {
        let origin = format!("the environment variable {name}");
        let problem = match self.environment.vars.get(OsStr::new(name)) {
            None => "is not set".to_owned(),
            Some(value) => match value.to_str().map(|text| (text, check_password(text))) {
                Some((text, Ok(()))) => {
                    let secret = SecretString::from(text);
                    return Some(PasswordSource::Given { origin, secret });
                }
                Some((_, Err(message))) => format!("is of no use: {message}"),
                None => "is not UTF-8".to_owned(),
            },
        };
        let mut diagnostic = Diagnostic::error(format!("{origin} {problem}"))
            .help("set it for posthole, or take the password from elsewhere");
        diagnostic.span = span.cloned();
        self.note(diagnostic);
        None
    }
}

/// The attributes that were written, or those under which mpop(1) keeps a password.
fn keyring_attributes(
    written: &[(String, String)],
    login: &Login<'_>,
) -> Option<Vec<Vec<(String, String)>>> {
    if !written.is_empty() {
        return Some(vec![written.to_vec()]);
    }
    let user = login.user?;
    let of = |host: &str| {
        let attributes = [("host", host), ("service", login.service), ("user", user)];
        attributes.map(|(name, value)| (name.to_owned(), value.to_owned()))
    };
    Some(login.hosts.iter().map(|&host| of(host).to_vec()).collect())
}
