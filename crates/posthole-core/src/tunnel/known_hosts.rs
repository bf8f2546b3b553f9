//! Host keys that are already trusted: reading, judging and extending known_hosts files.
//!
//! The rules are OpenSSH's (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT"; sshconnect.c): plain, hashed,
//! wildcard and negated host names, several files, `[host]:port` with the plain name as a fallback,
//! `@revoked`. Where OpenSSH shrugs, this is stricter: a file that cannot be read and a damaged line
//! about the very host are errors, because either may hide the line that says "changed" or
//! "revoked".
//!
//! `@cert-authority` lines are recognised and vouch for no plain key; host certificates are not
//! asked for.

mod line;

use std::error::Error;
use std::fs::{self, File, OpenOptions};
use std::io::{self, Read, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_encoding::BASE64;
use russh::keys::ssh_key::rand_core::Rng;
use russh::keys::{Algorithm, HashAlg, PublicKey};

use crate::durable;
use crate::plan::HostPort;
use crate::transport::dial::plain;

use line::{Line, Marker, host_hash};

/// A host key as a server showed it.
#[derive(Clone, Debug)]
pub struct HostKey {
    host: String,
    key: PublicKey,
}

impl HostKey {
    pub(super) fn new(address: &HostPort, key: PublicKey) -> Self {
        Self {
            host: host_name(address),
            key,
        }
    }

    /// The host as known_hosts spells it: `host` or `[host]:port`, in lower case.
    #[must_use]
    pub fn host(&self) -> &str {
        &self.host
    }

    /// The key's algorithm, such as `ssh-ed25519`.
    #[must_use]
    pub fn algorithm(&self) -> String {
        self.key.algorithm().to_string()
    }

    /// The key's fingerprint in OpenSSH's form, `SHA256:…`.
    #[must_use]
    pub fn fingerprint(&self) -> String {
        fingerprint(&self.key)
    }

    /// The fingerprint as a picture, as `VisualHostKey` in ssh_config(5).
    #[must_use]
    pub fn randomart(&self) -> String {
        let label = format!("[{} {}]", kind(&self.key.algorithm()), "SHA256");
        self.key.fingerprint(HashAlg::Sha256).to_randomart(&label)
    }

    /// The line that records the key with its host in plain sight.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{} {}", self.host, key_fields(&self.key))
    }
}

/// What the files say about a host key.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Standing {
    /// Other keys are recorded for the host, and this one is not.
    Changed {
        /// The file with the recorded key, one of the same algorithm if there is any.
        file: PathBuf,
        /// The line in it.
        line: usize,
        /// Algorithm and fingerprint of the recorded key.
        recorded: String,
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
    },
    /// No key is recorded for the host.
    Unknown,
}

/// Reads the files and judges a host key; files that do not exist are empty.
///
/// # Errors
///
/// A file cannot be read, or a line about this host cannot be understood.
pub fn judge(files: &[PathBuf], key: &HostKey) -> Result<Standing, KnownHostsError> {
    Ok(Recorded::load(files, &key.host)?.judge(&key.key))
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
    /// Reads the lines about a host, spelled as [`host_name`] does.
    pub(super) fn load(files: &[PathBuf], host: &str) -> Result<Self, KnownHostsError> {
        let portless = host
            .strip_prefix('[')
            .and_then(|rest| rest.rsplit_once("]:"));
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
                let entries = if line.matches(host) {
                    &mut recorded.exact
                } else if portless.is_some_and(|(name, _)| line.matches(name)) {
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
    pub(super) fn judge(&self, key: &PublicKey) -> Standing {
        // The comment is no part of the key, so `PublicKey`'s own equality will not do.
        let is_same = |entry: &&Entry| entry.key.key_data() == key.key_data();
        let all = || self.exact.iter().chain(&self.portless);
        let place = |entry: &Entry| (entry.file.clone(), entry.line);

        if let Some(entry) = all()
            .filter(|entry| entry.marker == Marker::Revoked)
            .find(is_same)
        {
            let (file, line) = place(entry);
            return Standing::Revoked { file, line };
        }
        let host_keys = || {
            self.exact
                .iter()
                .filter(|entry| entry.marker == Marker::None)
        };
        if let Some(entry) = host_keys().find(is_same) {
            let (file, line) = place(entry);
            return Standing::Known { file, line };
        }
        let is_same_kind = |entry: &&Entry| entry.key.algorithm() == key.algorithm();
        if let Some(entry) = host_keys()
            .find(is_same_kind)
            .or_else(|| host_keys().next())
        {
            let (file, line) = place(entry);
            let recorded = format!("{} {}", entry.key.algorithm(), fingerprint(&entry.key));
            return Standing::Changed {
                file,
                line,
                recorded,
            };
        }
        let portless = self
            .portless
            .iter()
            .filter(|entry| entry.marker == Marker::None);
        match { portless }.find(is_same) {
            Some(entry) => {
                let (file, line) = place(entry);
                Standing::Known { file, line }
            }
            None => Standing::Unknown,
        }
    }

    /// The algorithms of the recorded keys, to be preferred in the key exchange, so that a server
    /// with several keys shows one that is known.
    pub(super) fn algorithms(&self) -> Vec<Algorithm> {
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

/// Adds a host key to a file, making file (0600) and directory (0700) if they are missing.
///
/// The host name is hashed if the file holds hashed names already, as `HashKnownHosts` of
/// ssh_config(5) would have it, and stands in plain sight otherwise. The line is appended in one
/// write and synced, so it cannot mingle with what an `ssh` adds at the same time, other lines are
/// never rewritten, and a link to a file elsewhere stays a link. A last line without an end is
/// ended first.
///
/// # Errors
///
/// The file could not be written; other lines are as they were.
pub fn append(file: &Path, key: &HostKey) -> Result<(), KnownHostsError> {
    write_line(file, key).map_err(|error| KnownHostsError::Write {
        path: file.to_owned(),
        problem: match error.downcast_ref::<io::Error>() {
            Some(error) => plain(error),
            None => error.to_string(),
        },
    })
}

fn write_line(path: &Path, key: &HostKey) -> Result<(), Box<dyn Error>> {
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    durable::create_dir(directory)?;
    let mut options = OpenOptions::new();
    options.read(true).append(true).create(true).mode(0o600);
    let mut file = options.open(path)?;
    let mut text = Vec::new();
    file.read_to_end(&mut text)?;

    let mut lines = text.split(|&octet| octet == b'\n').filter_map(Line::split);
    let line = if lines.any(|line| line.is_hashed()) {
        hashed_line(key)
    } else {
        key.line()
    };
    let lead = if text.last().is_some_and(|&octet| octet != b'\n') {
        "\n"
    } else {
        ""
    };
    file.write_all(format!("{lead}{line}\n").as_bytes())?;
    durable::sync_files(&[(file, path.to_owned())])?;
    durable::sync_dir(&File::open(directory)?, directory)?;
    Ok(())
}

fn hashed_line(key: &HostKey) -> String {
    let mut salt = [0; 20];
    russh::keys::key::safe_rng().fill_bytes(&mut salt);
    let hash = host_hash(&salt, &key.host);
    format!(
        "|1|{}|{} {}",
        BASE64.encode(&salt),
        BASE64.encode(&hash),
        key_fields(&key.key)
    )
}

/// Algorithm and key in base64, without a comment.
fn key_fields(key: &PublicKey) -> String {
    use russh::keys::PublicKeyBase64;
    format!("{} {}", key.algorithm(), key.public_key_base64())
}

/// A key's fingerprint in OpenSSH's form, `SHA256:…`.
pub(super) fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// An algorithm as ssh-keygen(1) names the kind of key, such as `ED25519`.
pub(super) fn kind(algorithm: &Algorithm) -> &'static str {
    match algorithm {
        Algorithm::Dsa => "DSA",
        Algorithm::Ecdsa { .. } => "ECDSA",
        Algorithm::Ed25519 => "ED25519",
        Algorithm::Rsa { .. } => "RSA",
        Algorithm::SkEcdsaSha2NistP256 => "ECDSA-SK",
        Algorithm::SkEd25519 => "ED25519-SK",
        _ => "unknown",
    }
}

/// The host as known_hosts spells it: lower case, and in brackets with its port unless that is 22.
pub(super) fn host_name(address: &HostPort) -> String {
    let host = address.host.to_ascii_lowercase();
    if address.port == 22 {
        host
    } else {
        format!("[{host}]:{}", address.port)
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
