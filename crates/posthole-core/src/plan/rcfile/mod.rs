//! From what fetchmail would do to what will be done.
//!
//! [`resolve_rcfile`] makes an [`Errand`] of each user of each server that is to be polled. What
//! fetchmail means by an option is kept; where we cannot do the same, that is said ([`Undoable`],
//! or a warning), and the manual page posthole-fetchmail(1) has a table of all options. Two things
//! are done otherwise on purpose: a command that only makes a tunnel becomes a tunnel of ours
//! ([`way`]), and no password goes over a network in the clear unless the file forbids TLS.
//!
//! Pure, like the rest of the plan.

mod deliver;
mod edits;
mod link;
mod tls;
mod unobeyed;
mod way;

use std::ffi::OsStr;
use std::num::NonZeroU32;
use std::os::unix::ffi::OsStrExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use bstr::{BString, ByteSlice};
use posthole_proto::sasl::Mechanism;
use secrecy::{ExposeSecret, SecretSlice, SecretString};

use super::mailbox;
use super::resolve::{EVERY, usual_port};
use super::{
    Auth, Environment, HostPort, Job, Keep, KeptMail, MAX_SIZE, NetrcEntry, PasswordSource,
    Remarks, Select, TlsStart,
};
use crate::config::{Diagnostic, SshTarget};
use crate::fetchmailrc::{self, Configuration, Entry, Globals, Protocol, User};
use crate::openssh::OpenSsh;

pub use link::InterfaceTest;
use way::Way;

/// What the rc file does not say.
#[derive(Clone, Debug)]
pub struct RcWishes {
    /// Whether commands that only make a tunnel are replaced by a tunnel of ours.
    pub native_tunnels: bool,
    /// Whether root asks, so that mail is delivered with its owner's rights.
    pub superuser: bool,
    /// Where `.netrc` is.
    pub netrc: Option<PathBuf>,
}

/// What an rc file and a command line come to.
#[derive(Clone, Debug, Default)]
pub struct RcPlan {
    /// In the order of the file, what is to be done for each user of each server that is polled.
    pub errands: Vec<Result<Errand, Undoable>>,
    /// What a person should know about it.
    pub remarks: Remarks,
}

/// One user of one server, ready to be polled.
#[derive(Clone, Debug)]
pub struct Errand {
    /// What is done between the commands.
    pub job: Job,
    /// Which server and user it is.
    pub who: Who,
    /// The command to run before.
    pub preconnect: Option<BString>,
    /// The command to run after.
    pub postconnect: Option<BString>,
    /// The SSH host that the mailbox lies behind, as the command names it.
    pub via: Option<SshTarget>,
    /// What else the command says about the connection: keywords of ssh_config(5) and values.
    pub ssh_settings: Vec<(String, String)>,
    /// What our own tunnel stands for, if there is one.
    pub tunnel_for: Option<TunnelFor>,
    /// It is polled in every so many-eth cycle; zero is every one.
    pub interval: u32,
    /// The interface that must be up.
    pub interface: Option<InterfaceTest>,
    /// The interface that somebody else must have used since the last poll of a daemon.
    pub monitor: Option<String>,
    /// How long somebody hears nothing more of messages that are too large, once told of some.
    pub warnings: Duration,
}

/// What a tunnel of ours stands for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TunnelFor {
    /// A `preconnect`.
    Preconnect,
    /// A `plugin`.
    Plugin,
}

/// A user of a server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Who {
    /// What the server is called in the file.
    pub entry: String,
    /// The host as fetchmail would connect to it, and as it remembers what was seen.
    pub host: BString,
    /// The user's name on the server.
    pub user: BString,
}

/// A user of a server that cannot be polled.
#[derive(Clone, Debug)]
pub struct Undoable {
    /// Which one.
    pub who: Who,
    /// Whether it is the protocol that we do not speak.
    pub is_protocol: bool,
    /// Why.
    pub why: Diagnostic,
}

/// Works out what will be done for the servers that this run polls.
#[must_use]
pub fn resolve_rcfile(
    configuration: &Configuration,
    wishes: &RcWishes,
    environment: &Environment,
    openssh: &dyn OpenSsh,
) -> RcPlan {
    let mut plan = RcPlan::default();
    for entry in configuration.entries.iter().filter(|entry| entry.active) {
        for user in &entry.users {
            let mut mapping = Mapping {
                globals: &configuration.globals,
                entry,
                user,
                wishes,
                environment,
                openssh,
                remarks: &mut plan.remarks,
            };
            let errand = mapping.errand().map_err(|why| Undoable {
                who: mapping.who(),
                is_protocol: why.is_protocol,
                why: why.diagnostic,
            });
            if errand.is_ok() {
                mapping.warn_of_unobeyed();
            }
            plan.errands.push(errand);
        }
    }
    plan
}

/// One user on the way to an errand.
struct Mapping<'a> {
    globals: &'a Globals,
    entry: &'a Entry,
    user: &'a User,
    wishes: &'a RcWishes,
    environment: &'a Environment,
    openssh: &'a dyn OpenSsh,
    remarks: &'a mut Remarks,
}

/// Why there is no errand.
struct Refused {
    diagnostic: Diagnostic,
    is_protocol: bool,
}

impl From<Diagnostic> for Refused {
    fn from(diagnostic: Diagnostic) -> Self {
        Self {
            diagnostic,
            is_protocol: false,
        }
    }
}

impl Mapping<'_> {
    fn errand(&mut self) -> Result<Errand, Refused> {
        self.check_protocol()?;
        let auth = self.auth()?;
        let host = self.text(self.entry.host(), "the server's name")?;
        let user = self.text(&self.user.remote, "the user's name")?;
        let server = HostPort {
            host,
            port: self.port()?,
        };
        let Way {
            route,
            server,
            known_as,
            via,
            tunnel_for,
            preconnect,
            ssh_settings,
        } = self.way(server)?;
        let (tls, allow_plaintext) = self.tls(&server, &route, auth)?;
        let deliver = self.deliver()?;
        let job = Job {
            account: format!("{user} at {}", self.entry.name),
            mailbox: mailbox::key(
                &user,
                &known_as,
                usual_port(tls.start == TlsStart::AtOnce),
                via.as_ref(),
            ),
            password: self.password(&user)?,
            user,
            server,
            route,
            auth,
            keep: if self.user.keep {
                Keep::Always
            } else {
                Keep::Never
            },
            select: self.select(),
            every: EVERY,
            filter: None,
            edits: self.edits()?,
            multidrop: self.multidrop()?,
            timeout: self.timeout(),
            max_size: MAX_SIZE,
            deliver: vec![deliver],
            allow_plaintext,
            tls,
        };
        Ok(Errand {
            job,
            who: self.who(),
            preconnect,
            postconnect: self.user.postconnect.clone(),
            via,
            ssh_settings,
            tunnel_for,
            interval: self.entry.interval,
            interface: self.interface()?,
            monitor: self.monitor()?,
            warnings: Duration::from_secs(self.user.warnings.into()),
        })
    }

    fn who(&self) -> Who {
        Who {
            entry: self.entry.name.to_string(),
            host: self.entry.host().clone(),
            user: self.user.remote.clone(),
        }
    }

    /// `msingh at localhost`
    fn account(&self) -> String {
        format!("{} at {}", self.user.remote, self.entry.name)
    }

    fn check_protocol(&mut self) -> Result<(), Refused> {
        let name = match self.entry.protocol {
            Protocol::Apop | Protocol::Pop3 => return Ok(()),
            Protocol::Auto => {
                self.notice(format!(
                    "{}: no protocol is written; POP3 is spoken, and IMAP not tried first",
                    self.account()
                ));
                return Ok(());
            }
            Protocol::Etrn => "ETRN",
            Protocol::Imap => "IMAP",
            Protocol::Odmr => "ODMR",
            Protocol::Pop2 => "POP2",
            Protocol::Rpop => "RPOP",
        };
        let server = &self.entry.name;
        let diagnostic = Diagnostic::error(format!("`{server}` is polled by {name}, which posthole does not speak"))
            .help("write `proto pop3` if the server speaks that too, or keep fetchmail for this server: `posthole fetchmail` polls the others");
        Err(Refused {
            diagnostic,
            is_protocol: true,
        })
    }

    fn auth(&self) -> Result<Auth, Refused> {
        use fetchmailrc::Auth as Written;
        let unknown = |name: &str, help: &str| {
            let message = format!("{}: `auth {name}` is not known to posthole", self.account());
            Err(Diagnostic::error(message).help(help).into())
        };
        Ok(match self.entry.auth {
            _ if self.entry.protocol == Protocol::Apop => Auth::Apop,
            Written::Any => Auth::Auto,
            Written::Apop => Auth::Apop,
            Written::CramMd5 => Auth::Sasl(Mechanism::CramMd5),
            Written::External => Auth::Sasl(Mechanism::External),
            Written::Gssapi | Written::KerberosV5 if cfg!(feature = "gssapi") => {
                Auth::Sasl(Mechanism::Gssapi)
            }
            Written::Gssapi | Written::KerberosV5 => {
                return unknown("gssapi", "build posthole with the feature `gssapi`");
            }
            Written::OAuthBearer => Auth::Sasl(Mechanism::OAuthBearer),
            Written::Password => Auth::UserPass,
            Written::Implicit | Written::Ssh => {
                return unknown(
                    "ssh",
                    "with POP3 it skips the login altogether; leave it out, SSH needs no word",
                );
            }
            Written::KerberosV4 => {
                return unknown("kerberos_v4", "Kerberos 4 is long dead; use `auth gssapi`");
            }
            Written::Msn | Written::Ntlm => {
                return unknown("ntlm", "use `auth password` through SSH or TLS");
            }
            Written::Otp => return unknown("otp", "use `auth password` through SSH or TLS"),
        })
    }

    fn port(&self) -> Result<u16, Refused> {
        match (&self.entry.service, self.entry.port()) {
            (None, _) => Ok(usual_port(self.user.ssl)),
            (Some(_), Some(port)) => Ok(port),
            (Some(service), None) => Err(Diagnostic::error(format!(
                "`{}`: the port of the service `{service}` is not known",
                self.entry.name
            ))
            .help("write the number of the port")
            .into()),
        }
    }

    fn select(&self) -> Select {
        Select {
            limit: (self.user.limit > 0).then_some(self.user.limit.into()),
            limit_flush: self.user.limitflush,
            fetch_limit: (self.user.fetchlimit > 0).then_some(self.user.fetchlimit),
            // What goes once it was fetched here need not come twice.
            fetch_all: self.user.fetchall && self.user.keep,
            kept: if self.user.fetchall {
                KeptMail::ComesAgain
            } else {
                KeptMail::Stays
            },
            flush: self.user.flush,
            expunge: NonZeroU32::new(self.user.expunge),
        }
    }

    fn timeout(&self) -> Duration {
        match self.entry.timeout {
            0 => FOREVER,
            seconds => Duration::from_secs(seconds.into()),
        }
    }

    /// A password that the file gives outright.
    fn given(&self, password: &SecretSlice<u8>, origin: &str) -> Result<PasswordSource, Refused> {
        let secret = std::str::from_utf8(password.expose_secret()).map_err(|_| {
            Diagnostic::error(format!("{}: the password is not UTF-8", self.account()))
                .help("write the file in UTF-8")
        })?;
        Ok(PasswordSource::Given {
            origin: origin.to_owned(),
            secret: SecretString::from(secret),
        })
    }

    /// As fetchmail looks for one: in the file, then in `.netrc` for the name or the host, then it
    /// asks.
    fn password(&self, user: &str) -> Result<PasswordSource, Refused> {
        if let Some(password) = &self.user.password {
            return self.given(password, "the rc file");
        }
        if let Some(command) = &self.user.passwordeval {
            return Ok(PasswordSource::Command(self.text(command, "passwordeval")?));
        }
        if let Some(path) = &self.user.passwordfile {
            return Ok(PasswordSource::File(path_of(path)));
        }
        let Some(file) = &self.wishes.netrc else {
            return Ok(PasswordSource::Prompt);
        };
        let mut machines = vec![self.text(&self.entry.name, "the server's name")?];
        if let Some(via) = &self.entry.via {
            machines.push(self.text(via, "the server's name")?);
        }
        machines.dedup();
        Ok(PasswordSource::Netrc(NetrcEntry {
            file: file.clone(),
            machines,
            login: user.to_owned(),
        }))
    }

    fn text(&self, text: &BString, what: &str) -> Result<String, Refused> {
        text.to_str().map(str::to_owned).map_err(|_| {
            Diagnostic::error(format!("{}: {what} is not UTF-8", self.account()))
                .help("write the file in UTF-8")
                .into()
        })
    }

    fn notice(&mut self, notice: String) {
        if !self.remarks.notices.contains(&notice) {
            self.remarks.notices.push(notice);
        }
    }

    fn warn(&mut self, warning: Diagnostic) {
        if !self.remarks.warnings.contains(&warning) {
            self.remarks.warnings.push(warning);
        }
    }
}

fn path_of(path: &[u8]) -> PathBuf {
    Path::new(OsStr::from_bytes(path)).to_owned()
}

/// `timeout 0` waits for ever; a week of silence is as good.
const FOREVER: Duration = Duration::from_secs(7 * 24 * 60 * 60);

#[cfg(test)]
mod tests;
