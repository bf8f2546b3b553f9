//! Why there is no TLS, sorted by who must act.
//!
//! Each error names the server, and where it is about a certificate also what that says, so that
//! a person can compare. Words of a server are cleaned before they get in.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use posthole_proto::pop3::RespCode;
use posthole_proto::text::Text;
use rustls::{AlertDescription, PeerIncompatible};

use super::Certificate;
use crate::error::Class;
use crate::plan::{HostPort, NameFrom, SystemStore};
use crate::transport::dial::plain;

/// Why there is no TLS.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsError {
    /// The server ended the handshake.
    #[error("{server} refused TLS with us: {}", alert_text(*alert))]
    Alert {
        /// The server.
        server: HostPort,
        /// Its reason (RFC 8446 §6).
        alert: AlertDescription,
    },
    /// A file that the configuration names cannot be used.
    #[error("{} {problem}", path.display())]
    File {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        problem: TlsFileProblem,
    },
    /// There was more after the answer to STLS, before TLS began.
    #[error("{server} said more than its answer to STLS before TLS began: `{received}`")]
    Injected {
        /// The server.
        server: HostPort,
        /// What came, cleaned.
        received: String,
    },
    /// The connection ended or broke during the handshake.
    #[error(
        "the connection to {server} was lost in the TLS handshake: {}",
        loss(error)
    )]
    Lost {
        /// The server.
        server: HostPort,
        /// How.
        error: Arc<io::Error>,
    },
    /// No certificate can be for such a name.
    #[error("`{name}` is not a name that a certificate can be for")]
    Name {
        /// The expected name.
        name: String,
    },
    /// This machine trusts no authority.
    #[error("no certificate authorities are known: {}", missing(store, reason.as_deref()))]
    NoAuthorities {
        /// Where they were looked for.
        store: SystemStore,
        /// What was in the way.
        reason: Option<String>,
    },
    /// What answered speaks no TLS.
    #[error("{server} answered in plain text instead of TLS: `{received}`")]
    NotTls {
        /// The server.
        server: HostPort,
        /// The first line of it, cleaned.
        received: String,
        /// Whether it had agreed to TLS before.
        stls: bool,
    },
    /// The server and we do not agree about TLS.
    #[error("cannot speak TLS with {server}: {reason}")]
    Protocol {
        /// The server.
        server: HostPort,
        /// What was wrong.
        reason: String,
    },
    /// The server said no to STLS.
    #[error("{server} refused TLS (STLS): {text}")]
    Refused {
        /// The server.
        server: HostPort,
        /// Its words, cleaned.
        text: String,
        /// Whether it called it temporary.
        is_temporary: bool,
    },
    /// TLS cannot be had on this machine.
    #[error("cannot set up TLS: {reason}")]
    Setup {
        /// Why.
        reason: String,
    },
    /// The program is stopping.
    #[error("the program is stopping")]
    Stopping,
    /// The handshake took too long.
    #[error("{server} did not finish the TLS handshake within {}", humantime::format_duration(*after))]
    Timeout {
        /// The server.
        server: HostPort,
        /// How long was waited.
        after: Duration,
    },
    /// The server's certificate was not taken.
    #[error(transparent)]
    Untrusted(Box<UntrustedCertificate>),
}

impl TlsError {
    /// What an error of rustls, other than about a certificate, means.
    pub(super) fn of(error: &rustls::Error, server: HostPort) -> Self {
        let reason = match error {
            rustls::Error::AlertReceived(alert) => {
                return Self::Alert {
                    server,
                    alert: *alert,
                };
            }
            rustls::Error::PeerIncompatible(PeerIncompatible::ServerDoesNotSupportTls12Or13) => {
                "it knows neither TLS 1.3 nor TLS 1.2".to_owned()
            }
            rustls::Error::PeerIncompatible(
                PeerIncompatible::NoCipherSuitesInCommon | PeerIncompatible::NoKxGroupsInCommon,
            ) => "it knows no cipher that is safe".to_owned(),
            error => error.to_string(),
        };
        Self::Protocol { server, reason }
    }

    /// A no to STLS in the server's words.
    pub(crate) fn refused(server: HostPort, code: Option<RespCode>, words: Text<'_>) -> Self {
        let text = match words.clean().trim() {
            "" => "it gave no reason".to_owned(),
            text => text.to_owned(),
        };
        Self::Refused {
            server,
            text,
            is_temporary: matches!(
                code,
                Some(RespCode::InUse | RespCode::LoginDelay | RespCode::SysTemp)
            ),
        }
    }

    pub(super) fn file(path: &Path, problem: TlsFileProblem) -> Self {
        Self::File {
            path: path.to_owned(),
            problem,
        }
    }

    /// What the reader can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        Some(match self {
            Self::Alert { alert, .. } if is_about_our_certificate(*alert) => {
                "it wants a certificate of yours: name the one it knows with tls-certificate and \
                 tls-key"
                    .to_owned()
            }
            Self::Alert {
                alert: AlertDescription::ProtocolVersion | AlertDescription::HandshakeFailure,
                ..
            } => "the server may be too old for TLS 1.2, or may want a certificate of yours \
                  (tls-certificate); -vv shows how far it came"
                .to_owned(),
            Self::Alert {
                alert: AlertDescription::UnrecognisedName,
                ..
            } => "the server does not know the name it was asked for: set tls-name to one of its \
                  names"
                .to_owned(),
            Self::File { path, problem } => return problem.hint(path),
            Self::Injected { .. } => {
                "somebody in between may have put it there; no password was sent".to_owned()
            }
            Self::NoAuthorities { .. } => "install them (on Debian, the package ca-certificates), \
                 or name a file with tls-ca-file or SSL_CERT_FILE"
                .to_owned(),
            Self::Refused { .. } => {
                "no password was sent; use pop3s:// if the server has it (port 995), or go through \
                 SSH with `via`"
                    .to_owned()
            }
            Self::NotTls { stls: true, .. } => {
                "the server agreed to TLS and then did not speak it; no password was sent"
                    .to_owned()
            }
            Self::NotTls { server, .. } => {
                let is_pop3 = match server.port {
                    995 => "",
                    _ => ", as port 995 does",
                };
                format!(
                    "port {} does not speak TLS from the start{is_pop3}: for POP3 without, or with \
                     STLS, write pop3:// in place of pop3s://",
                    server.port
                )
            }
            Self::Untrusted(untrusted) => return untrusted.hint(),
            Self::Timeout { server, .. } => format!(
                "check that port {} is that of a POP3 server with TLS; raise `timeout` if the \
                 server is only slow",
                server.port
            ),
            Self::Alert { .. }
            | Self::Lost { .. }
            | Self::Name { .. }
            | Self::Protocol { .. }
            | Self::Setup { .. }
            | Self::Stopping => return None,
        })
    }

    /// Says who must act.
    #[must_use]
    pub fn class(&self) -> Class {
        match self {
            Self::Alert { alert, .. } if is_about_our_certificate(*alert) => Class::Authentication,
            Self::Alert { .. }
            | Self::Injected { .. }
            | Self::NotTls { .. }
            | Self::Protocol { .. } => Class::Protocol,
            Self::File { .. } | Self::Name { .. } => Class::Config,
            Self::Lost { .. } | Self::Stopping | Self::Timeout { .. } => Class::Temporary,
            Self::NoAuthorities { .. } | Self::Setup { .. } => Class::Local,
            Self::Refused {
                is_temporary: true, ..
            } => Class::Temporary,
            Self::Refused { .. } => Class::Unavailable,
            Self::Untrusted(_) => Class::Certificate,
        }
    }
}

/// A certificate that was not taken.
#[derive(Clone, Debug, thiserror::Error)]
#[error("{}", self.text())]
pub struct UntrustedCertificate {
    /// The server that showed it.
    pub server: HostPort,
    /// The name it should be for.
    pub name: String,
    /// Where that name is from.
    pub name_from: NameFrom,
    /// Why it was not taken.
    pub flaw: Flaw,
    /// What it says, if it can be read.
    pub certificate: Option<Certificate>,
    /// What the clock said.
    pub now: SystemTime,
}

/// Why a certificate is not taken.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Flaw {
    /// Its time is over.
    Expired,
    /// It is none of those that the configuration takes.
    NotPinned,
    /// Its time is still to come.
    NotYetValid,
    /// The list that would say whether it is revoked is out of date.
    RevocationListExpired,
    /// Its authority has taken it back.
    Revoked,
    /// Nobody but itself vouches for it.
    SelfSigned,
    /// An authority that is not trusted signed it.
    UnknownIssuer,
    /// Something else is wrong with it.
    Unusable(String),
    /// It is for other names.
    WrongName,
}

impl UntrustedCertificate {
    fn text(&self) -> String {
        let server = &self.server;
        let certificate = self.certificate.as_ref();
        let time = |time: fn(&Certificate) -> SystemTime| match certificate {
            Some(certificate) => format!(" {}", date(time(certificate))),
            None => String::new(),
        };
        match &self.flaw {
            Flaw::Expired => format!(
                "the certificate of {server} ended{}",
                time(|certificate| certificate.not_after)
            ),
            Flaw::NotPinned => {
                let fingerprint = certificate.map_or_else(String::new, |certificate| {
                    format!(" {}", certificate.fingerprint)
                });
                format!(
                    "the certificate of {server} has the fingerprint{fingerprint}, which is not \
                     that of tls-fingerprint"
                )
            }
            Flaw::NotYetValid => format!(
                "the certificate of {server} only begins{}",
                time(|certificate| certificate.not_before)
            ),
            Flaw::RevocationListExpired => format!(
                "the list of revoked certificates for the authority of {server} is out of date"
            ),
            Flaw::Revoked => {
                format!("the certificate of {server} was revoked by its authority")
            }
            Flaw::SelfSigned => {
                format!("the certificate of {server} is signed by nobody but itself")
            }
            Flaw::UnknownIssuer => {
                let issuer = certificate.map_or_else(
                    || "somebody".to_owned(),
                    |certificate| format!("`{}`", certificate.issuer),
                );
                format!(
                    "the certificate of {server} is signed by {issuer}, who is not trusted here"
                )
            }
            Flaw::Unusable(reason) => {
                format!("the certificate of {server} cannot be used: {reason}")
            }
            Flaw::WrongName => {
                let names = certificate.map_or(&[][..], |certificate| &certificate.names);
                format!(
                    "the certificate of {server} is not for {}, but for {}",
                    self.name,
                    names_text(names)
                )
            }
        }
    }

    fn hint(&self) -> Option<String> {
        let clock = || format!("this machine's clock says {}", date(self.now));
        let certificate = self.certificate.as_ref();
        Some(match &self.flaw {
            Flaw::Expired => format!(
                "the server's administrator must renew it, unless the clock is wrong: {}",
                clock()
            ),
            Flaw::NotYetValid => format!("check the clock: {}", clock()),
            Flaw::NotPinned => "the server has a new certificate, or somebody is in between: ask \
                                its administrator before you change tls-fingerprint"
                .to_owned(),
            Flaw::RevocationListExpired => {
                "fetch a newer list for tls-crl-file from the authority".to_owned()
            }
            Flaw::SelfSigned | Flaw::UnknownIssuer => match certificate {
                Some(certificate) => format!(
                    "if the server's administrator confirms it, trust its authority with \
                     tls-ca-file, or this certificate alone with\n\
                     tls-fingerprint = \"{}\"",
                    certificate.fingerprint
                ),
                None => "trust its authority with tls-ca-file".to_owned(),
            },
            Flaw::WrongName => self.hint_about_names(),
            Flaw::Revoked | Flaw::Unusable(_) => return None,
        })
    }
}

impl UntrustedCertificate {
    fn hint_about_names(&self) -> String {
        let names = self.certificate.as_ref().map(|shown| &shown.names[..]);
        let Some([name, ..]) = names else {
            return "it names no host at all, which only tls-fingerprint can mend here".to_owned();
        };
        let why = match self.name_from {
            NameFrom::Person | NameFrom::Server => String::new(),
            NameFrom::SshHost => format!(
                "{} is the SSH host, which `{}` stands for; ",
                self.name, self.server.host
            ),
        };
        // A name for any host of a domain is not itself that of a host.
        let name = name
            .strip_prefix("*.")
            .map_or_else(|| name.clone(), |domain| format!("HOST.{domain}"));
        format!("{why}if this is the right server all the same, set tls-name = \"{name}\"")
    }
}

/// What is wrong with a file; the text goes on from its name.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TlsFileProblem {
    /// A certificate in it cannot be read.
    #[error("holds a certificate that is damaged")]
    BadCertificate,
    /// The key needs a passphrase.
    #[error("holds a private key that is encrypted")]
    EncryptedKey,
    /// The key belongs to another certificate.
    #[error("holds a private key that does not belong to {}", certificate.display())]
    KeyOfAnother {
        /// The certificate's file.
        certificate: PathBuf,
    },
    /// There is no certificate in it.
    #[error("holds no certificate in PEM")]
    NoCertificate,
    /// There is no private key in it that can be used.
    #[error("holds no private key in PEM that can be used")]
    NoKey,
    /// There is no list of revoked certificates in it.
    #[error("holds no list of revoked certificates")]
    NoRevocationList,
    /// Others can read or write the key.
    #[error("is open to others (its mode is {mode:03o}), and holds a private key")]
    OpenToOthers {
        /// Its permission bits.
        mode: u32,
    },
    /// It cannot be read.
    #[error("cannot be read: {}", plain(error))]
    Unreadable {
        /// The system's reason.
        error: Arc<io::Error>,
    },
}

impl TlsFileProblem {
    pub(super) fn unreadable(error: io::Error) -> Self {
        Self::Unreadable {
            error: Arc::new(error),
        }
    }

    fn hint(&self, path: &Path) -> Option<String> {
        let path = path.display();
        Some(match self {
            Self::EncryptedKey => format!(
                "nobody is asked for its passphrase: write it without one into a file that only \
                 you can read, with `(umask 077; openssl pkey -in {path} -out NEW)`"
            ),
            Self::NoKey => "keys are RSA, ECDSA or Ed25519, and begin with `-----BEGIN PRIVATE \
                            KEY-----` or the like"
                .to_owned(),
            Self::BadCertificate | Self::NoCertificate => {
                "certificates begin with `-----BEGIN CERTIFICATE-----`; `openssl x509 -in FILE` \
                 shows whether one can be read"
                    .to_owned()
            }
            Self::OpenToOthers { .. } => format!("run `chmod 600 {path}`"),
            Self::KeyOfAnother { .. } | Self::NoRevocationList | Self::Unreadable { .. } => {
                return None;
            }
        })
    }
}

/// Whether the server is not content with the certificate that we showed, or did not show.
fn is_about_our_certificate(alert: AlertDescription) -> bool {
    use AlertDescription as Alert;
    matches!(
        alert,
        Alert::CertificateRequired
            | Alert::NoCertificate
            | Alert::BadCertificate
            | Alert::UnsupportedCertificate
            | Alert::CertificateRevoked
            | Alert::CertificateExpired
            | Alert::CertificateUnknown
            | Alert::UnknownCA
            | Alert::AccessDenied
    )
}

/// RFC 8446 §6.2.
fn alert_text(alert: AlertDescription) -> String {
    use AlertDescription as Alert;
    match alert {
        Alert::AccessDenied => "it denies us access".to_owned(),
        Alert::BadCertificate | Alert::CertificateUnknown | Alert::UnsupportedCertificate => {
            "it does not take our certificate".to_owned()
        }
        Alert::CertificateExpired => "our certificate has expired".to_owned(),
        Alert::CertificateRequired | Alert::NoCertificate => {
            "it wants a certificate of ours".to_owned()
        }
        Alert::CertificateRevoked => "our certificate was revoked".to_owned(),
        Alert::HandshakeFailure => "we have no way to do it in common".to_owned(),
        Alert::InternalError => "something went wrong inside it".to_owned(),
        Alert::ProtocolVersion => "we have no version of TLS in common".to_owned(),
        Alert::UnknownCA => "it does not trust whoever signed our certificate".to_owned(),
        Alert::UnrecognisedName => "it is not the host of that name".to_owned(),
        other => format!("alert {}", u8::from(other)),
    }
}

fn loss(error: &io::Error) -> String {
    match error.kind() {
        io::ErrorKind::UnexpectedEof => "the server closed it".to_owned(),
        _ => plain(error),
    }
}

fn missing(store: &SystemStore, reason: Option<&str>) -> String {
    let place = match store {
        SystemStore {
            file: None,
            directories,
        } if directories.is_empty() => "this machine keeps none where others do".to_owned(),
        store => format!("there are none {store}"),
    };
    match reason {
        Some(reason) => format!("{place} ({reason})"),
        None => place,
    }
}

/// `a`, `a and b`, `a, b and c`, `a, b, c and 4 others`; no names is no host.
fn names_text(names: &[String]) -> String {
    let (shown, hidden) = names.split_at(names.len().min(NAMES_SHOWN));
    let mut words: Vec<_> = shown.to_vec();
    match hidden.len() {
        0 => {}
        1 => words.push("one other".to_owned()),
        more => words.push(format!("{more} others")),
    }
    match &words[..] {
        [] => "no host at all".to_owned(),
        [one] => one.clone(),
        [most @ .., last] => format!("{} and {last}", most.join(", ")),
    }
}

/// `on 2026-11-24 at 08:00 UTC`
fn date(time: SystemTime) -> Date {
    Date(time)
}

struct Date(SystemTime);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // RFC 3339: 2026-11-24T08:00:00Z
        let text = humantime::format_rfc3339_seconds(self.0).to_string();
        match text.split_once('T') {
            Some((day, time)) => write!(f, "{day} {} UTC", time.get(..5).unwrap_or(time)),
            None => f.write_str(&text),
        }
    }
}

/// A certificate of a big provider has dozens.
const NAMES_SHOWN: usize = 6;
