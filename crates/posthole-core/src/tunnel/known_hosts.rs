//! Host keys that are already trusted: reading, judging and extending known_hosts files.
//!
//! The rules are OpenSSH's (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"; sshconnect.c): plain, hashed,
//! wildcard and negated host names, several files, `[host]:port` with the plain name as a fallback,
//! `@revoked`, and `@cert-authority` for host certificates. Where OpenSSH shrugs, this is stricter:
//! a file that cannot be read and a damaged line about the very host are errors, because either may
//! hide the line that says "changed" or "revoked".
//!
//! A certificate that does not count is not the end: the key in it may be recorded as a plain one.

mod certificate;
#[doc(hidden)]
pub mod fuzz;
mod line;
mod names;
mod shown;
mod write;

use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::SystemTime;

use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, Certificate, HashAlg, PublicKey};

use crate::transport::dial::plain;

use super::error::{HostKeyChanged, TunnelError};
use super::offer::Known;
use super::text::{SHOWN, clean};

use line::{Line, Marker};

pub use shown::HostKey;
pub use write::append;

pub(super) use names::Names;
pub(super) use shown::{fingerprint, kind};

/// What the files say about a host key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Standing {
    /// An authority that is trusted for the host has signed a certificate for the key.
    Certified {
        /// The file that trusts the authority.
        file: PathBuf,
        /// The line in it.
        line: usize,
        /// Algorithm and fingerprint of the authority's key.
        authority: String,
    },
    /// Other keys are recorded for the host, and this one is not.
    Changed {
        /// The file with the recorded key, one of the same algorithm if there is any.
        file: PathBuf,
        /// The line in it.
        line: usize,
        /// Algorithm and fingerprint of the recorded key.
        recorded: String,
        /// Whether the recorded key is of the same algorithm.
        same_algorithm: bool,
    },
    /// The key is recorded for the host.
    Known {
        /// The file that records it.
        file: PathBuf,
        /// The line in it.
        line: usize,
    },
    /// The key must not be accepted.
    Revoked {
        /// The file that says so.
        file: PathBuf,
        /// The line in it.
        line: usize,
        /// What it revokes, such as `host key SHA256:…`.
        what: String,
    },
    /// No key is recorded for the host.
    Unknown,
}

/// What is to be thought of a host key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Judgement {
    /// What the files say.
    pub standing: Standing,
    /// What is wrong with the certificate that came with the key; the standing is that of the key
    /// alone then.
    pub flaw: Option<CertificateFlaw>,
}

impl Judgement {
    /// The error if nothing that anybody says could make the key acceptable.
    #[must_use]
    pub fn refusal(&self, key: &HostKey) -> Option<TunnelError> {
        match &self.standing {
            Standing::Changed {
                file,
                line,
                recorded,
                same_algorithm: _,
            } => Some(TunnelError::HostKeyChanged(Box::new(HostKeyChanged {
                host: key.host().to_owned(),
                algorithm: key.algorithm(),
                fingerprint: key.fingerprint(),
                recorded: recorded.clone(),
                file: file.clone(),
                line: *line,
                flaw: self.flaw.as_ref().map(|flaw| flaw.text.clone()),
            }))),
            Standing::Revoked { file, line, what } => Some(TunnelError::HostKeyRevoked {
                host: key.host().to_owned(),
                what: what.clone(),
                file: file.clone(),
                line: *line,
            }),
            Standing::Certified { .. } | Standing::Known { .. } | Standing::Unknown => None,
        }
    }
}

/// Why a host certificate does not count.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct CertificateFlaw {
    /// The certificate and what is wrong with it, in a sentence that follows one about the key.
    pub text: String,
    /// Whether its authority is trusted for the host, so that it would count but for the flaw.
    pub is_authority_trusted: bool,
}

/// Reads the files and judges a host key; files that do not exist are empty.
///
/// # Errors
///
/// A file cannot be read, or a line about this host cannot be understood.
pub fn judge(files: &[PathBuf], key: &HostKey) -> Result<Judgement, KnownHostsError> {
    Ok(Recorded::load(files, &key.names)?.judge(key, SystemTime::now()))
}

/// The lines of all files that are about one host.
#[derive(Debug)]
pub(super) struct Recorded {
    /// About the host under its own port.
    exact: Vec<Entry>,
    /// About the host without its port, if that is not the usual one.
    portless: Vec<Entry>,
}

#[derive(Debug)]
struct Entry {
    file: PathBuf,
    line: usize,
    marker: Marker,
    key: PublicKey,
}

impl Recorded {
    /// Reads the lines about a host.
    pub(super) fn load(files: &[PathBuf], names: &Names) -> Result<Self, KnownHostsError> {
        let mut recorded = Self {
            exact: Vec::new(),
            portless: Vec::new(),
        };
        for file in files {
            let text = match fs::read(file) {
                Ok(text) => text,
                Err(error) if error.kind() == io::ErrorKind::NotFound => continue,
                Err(error) => return Err(KnownHostsError::read(file, error)),
            };
            for (index, text) in text.split(|&octet| octet == b'\n').enumerate() {
                let Some(line) = Line::split(text) else {
                    continue;
                };
                let entries = if line.matches(names.entry()) {
                    &mut recorded.exact
                } else if names.portless().is_some_and(|name| line.matches(name)) {
                    &mut recorded.portless
                } else {
                    continue;
                };
                let line_number = index + 1;
                let damaged = |problem| KnownHostsError::Damaged {
                    path: file.clone(),
                    line: line_number,
                    problem,
                };
                let marker = line.marker().map_err(damaged)?;
                if let Some(key) = line.key().map_err(damaged)? {
                    entries.push(Entry {
                        file: file.clone(),
                        line: line_number,
                        marker,
                        key,
                    });
                }
            }
        }
        Ok(recorded)
    }

    /// Judges a key.
    ///
    /// As in OpenSSH, a key is accepted if any line has it, however many others there are, and a
    /// host of which only keys of other types are recorded has changed: who sits in between could
    /// otherwise turn a loud alarm into a question. The plain name of a host on an unusual port can
    /// vouch for a key but raises no alarm.
    pub(super) fn judge(&self, shown: &HostKey, now: SystemTime) -> Judgement {
        let certificate = shown.certificate.as_deref();
        let revoked = self.find(Marker::Revoked, shown.key.key_data());
        let revoked = revoked.map(|entry| (entry, "host key"));
        let revoked = revoked.or_else(|| {
            let entry = self.find(Marker::Revoked, certificate?.signature_key())?;
            Some((entry, "certificate authority"))
        });
        if let Some((entry, what)) = revoked {
            return Judgement::from(Standing::Revoked {
                file: entry.file.clone(),
                line: entry.line,
                what: format!("{what} {}", fingerprint(&entry.key)),
            });
        }
        let flaw = match certificate.map(|one| self.judge_certificate(one, &shown.names, now)) {
            Some(Ok(certified)) => return Judgement::from(certified),
            Some(Err(flaw)) => Some(flaw),
            None => None,
        };
        Judgement {
            standing: self.judge_plain(&shown.key),
            flaw,
        }
    }

    /// The standing of a certified key, or why the certificate does not count.
    fn judge_certificate(
        &self,
        certificate: &Certificate,
        names: &Names,
        now: SystemTime,
    ) -> Result<Standing, CertificateFlaw> {
        let authority = certificate.signature_key();
        let authority_text = format!(
            "{} {}",
            authority.algorithm(),
            authority.fingerprint(HashAlg::Sha256)
        );
        let flaw = |is_authority_trusted, why: &str| {
            let id = clean(certificate.key_id(), SHOWN);
            let text =
                format!("its certificate \"{id}\" by {authority_text} does not count: {why}");
            CertificateFlaw {
                text,
                is_authority_trusted,
            }
        };
        let Some(entry) = self.find(Marker::CertAuthority, authority) else {
            return Err(flaw(false, "that authority is not trusted for the host"));
        };
        match certificate::check(certificate, names.principal(), now) {
            Ok(()) => Ok(Standing::Certified {
                file: entry.file.clone(),
                line: entry.line,
                authority: authority_text,
            }),
            Err(error) => Err(flaw(true, &error.to_string())),
        }
    }

    fn judge_plain(&self, key: &PublicKey) -> Standing {
        let host_keys = || {
            self.exact
                .iter()
                .filter(|entry| entry.marker == Marker::None)
        };
        let known = |entry: &Entry| Standing::Known {
            file: entry.file.clone(),
            line: entry.line,
        };
        if let Some(entry) = host_keys().find(|entry| entry.has(key.key_data())) {
            return known(entry);
        }
        let is_same_kind = |entry: &&Entry| entry.key.algorithm() == key.algorithm();
        if let Some(entry) = host_keys()
            .find(is_same_kind)
            .or_else(|| host_keys().next())
        {
            return Standing::Changed {
                file: entry.file.clone(),
                line: entry.line,
                recorded: format!("{} {}", entry.key.algorithm(), fingerprint(&entry.key)),
                same_algorithm: is_same_kind(&entry),
            };
        }
        // Of the plain name there can only be lines left.
        self.find(Marker::None, key.key_data())
            .map_or(Standing::Unknown, known)
    }

    /// The first line with this marker and key.
    fn find(&self, marker: Marker, key: &KeyData) -> Option<&Entry> {
        let mut all = self.exact.iter().chain(&self.portless);
        all.find(|entry| entry.marker == marker && entry.has(key))
    }

    /// What the key exchange should know.
    pub(super) fn known(&self) -> Known {
        let mut all = self.exact.iter().chain(&self.portless);
        Known {
            algorithms: self.algorithms(),
            has_authority: all.any(|entry| entry.marker == Marker::CertAuthority),
        }
    }

    fn algorithms(&self) -> Vec<Algorithm> {
        let of = |entries: &[Entry]| -> Vec<Algorithm> {
            let host_keys = entries.iter().filter(|entry| entry.marker == Marker::None);
            host_keys.map(|entry| entry.key.algorithm()).collect()
        };
        let exact = of(&self.exact);
        if exact.is_empty() {
            of(&self.portless)
        } else {
            exact
        }
    }
}

impl Entry {
    /// Whether it is about this key. The comment is no part of it, so `PublicKey`'s own equality
    /// will not do.
    fn has(&self, key: &KeyData) -> bool {
        self.key.key_data() == key
    }
}

impl From<Standing> for Judgement {
    fn from(standing: Standing) -> Self {
        Self {
            standing,
            flaw: None,
        }
    }
}

/// Why a known_hosts file is of no use.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum KnownHostsError {
    /// A line about the host cannot be understood.
    #[error("{} line {line} is damaged: {problem}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong with it.
        problem: String,
    },
    /// A file cannot be read.
    #[error("cannot read {}: {}", path.display(), plain(error))]
    Read {
        /// The file.
        path: PathBuf,
        /// What the system said.
        error: Arc<io::Error>,
    },
    /// A file cannot be extended.
    #[error("cannot record the host key in {}: {problem}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What went wrong.
        problem: String,
    },
}

impl KnownHostsError {
    fn read(path: &Path, error: io::Error) -> Self {
        Self::Read {
            path: path.to_owned(),
            error: Arc::new(error),
        }
    }

    /// What the reader can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Damaged { path, line, .. } => Some(format!(
                "correct or delete line {line} of {}",
                path.display()
            )),
            Self::Read { .. } | Self::Write { .. } => {
                Some("check the permissions of the file and its directory".to_owned())
            }
        }
    }
}

#[cfg(test)]
mod tests;
