//! Private key files: what is in them, and how they are opened.
//!
//! A passphrase should be asked for only once the server has said that it would take the key, so a
//! file is read in two steps: [`KeyFile::read`] finds the public key, in the file itself where the
//! format shows it and in the `.pub` beside it otherwise; [`LockedKey::open`] decrypts.

use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::keys::{PrivateKey, PublicKey, decode_secret_key};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use crate::transport::dial::plain;

/// What a key file holds.
pub(super) enum KeyFile {
    /// A private key that needs no passphrase.
    Open(Arc<PrivateKey>),
    /// A private key that does.
    Locked(LockedKey),
    /// A public key, whose private half may be in the agent.
    Public(PublicKey),
}

/// An encrypted private key.
#[derive(Clone)]
pub(super) struct LockedKey {
    path: PathBuf,
    /// Its public half, if that could be had without the passphrase.
    pub(super) public: Option<PublicKey>,
    text: Arc<Zeroizing<String>>,
}

impl KeyFile {
    /// Reads a file.
    pub(super) fn read(path: &Path) -> Result<Self, KeyFileError> {
        let text = match read_private(path) {
            // The private half may live in an agent only.
            Err(KeyFileError::Missing(error)) => {
                return read_public(path)
                    .map(Self::Public)
                    .ok_or(KeyFileError::Missing(error));
            }
            other => other?,
        };
        if let Some(public) = parse_public(&text) {
            return Ok(Self::Public(public));
        }
        match encryption(&text) {
            Encryption::None => match decode_secret_key(&text, None) {
                Ok(key) => Ok(Self::Open(Arc::new(key))),
                Err(error) => Err(KeyFileError::Unusable(unusable(&text, &error))),
            },
            Encryption::Known => {
                let public = PrivateKey::from_openssh(text.as_bytes())
                    .ok()
                    .map(|key| key.public_key().clone())
                    .or_else(|| read_public(path));
                let text = Arc::new(text);
                Ok(Self::Locked(LockedKey {
                    path: path.to_owned(),
                    public,
                    text,
                }))
            }
            Encryption::Unknown(name) => Err(KeyFileError::Unusable(format!(
                "is encrypted with {name} in an old format; rewrite it with ssh-keygen -p -f {}",
                path.display()
            ))),
        }
    }
}

impl LockedKey {
    /// The file.
    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Decrypts the key; none if the passphrase is wrong.
    ///
    /// Slow by design of the formats, so it belongs on a thread that may block.
    pub(super) fn open(&self, passphrase: &SecretString) -> Option<PrivateKey> {
        // What a wrong passphrase looks like differs between formats. The header was understood, so
        // it is taken for the reason of whatever goes wrong.
        decode_secret_key(&self.text, Some(passphrase.expose_secret())).ok()
    }
}

fn read_private(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let metadata = fs::metadata(path).map_err(KeyFileError::from)?;
    let mode = metadata.mode();
    // As ssh: what others own may have any mode, since it is theirs to keep secret.
    if metadata.uid() == rustix::process::getuid().as_raw()
        && mode & 0o077 != 0
        && metadata.is_file()
    {
        // A public key is no secret.
        let is_public = fs::read_to_string(path).is_ok_and(|text| parse_public(&text).is_some());
        if !is_public {
            return Err(KeyFileError::Unusable(format!(
                "is not used, because others can read it (mode {:04o})",
                mode & 0o7777
            )));
        }
    }
    let octets = Zeroizing::new(fs::read(path).map_err(KeyFileError::from)?);
    if octets.len() > LONGEST {
        return Err(KeyFileError::Unusable("is too long to be a key".to_owned()));
    }
    match std::str::from_utf8(&octets) {
        Ok(text) => Ok(Zeroizing::new(text.to_owned())),
        Err(_) => Err(KeyFileError::Unusable("does not hold a key".to_owned())),
    }
}

/// The `.pub` beside a private key.
fn read_public(path: &Path) -> Option<PublicKey> {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    parse_public(&fs::read_to_string(name).ok()?)
}

fn parse_public(text: &str) -> Option<PublicKey> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    PublicKey::from_openssh(line).ok()
}

enum Encryption {
    None,
    Known,
    Unknown(String),
}

/// Looks for the signs of encryption that the formats carry in the clear.
fn encryption(text: &str) -> Encryption {
    let has = |line: &str| text.lines().any(|other| other.trim_end() == line);
    if has("-----BEGIN OPENSSH PRIVATE KEY-----") {
        match PrivateKey::from_openssh(text.as_bytes()) {
            Ok(key) if key.is_encrypted() => Encryption::Known,
            _ => Encryption::None,
        }
    } else if has("-----BEGIN ENCRYPTED PRIVATE KEY-----") {
        Encryption::Known
    } else if let Some(cipher) = text.lines().find_map(|line| line.strip_prefix("DEK-Info:")) {
        // RFC 1421 headers, as OpenSSL wrote them before PKCS#8.
        let cipher = cipher.trim().split(',').next().unwrap_or_default();
        if cipher == "AES-128-CBC" && has("-----BEGIN RSA PRIVATE KEY-----") {
            Encryption::Known
        } else {
            Encryption::Unknown(super::super::text::clean(cipher, 40))
        }
    } else {
        match text
            .lines()
            .find_map(|line| line.strip_prefix("Encryption:"))
        {
            Some(cipher) if text.starts_with("PuTTY-") && cipher.trim() != "none" => {
                Encryption::Known
            }
            _ => Encryption::None,
        }
    }
}

fn unusable(text: &str, error: &russh::keys::Error) -> String {
    if text.contains("PRIVATE KEY-----") || text.starts_with("PuTTY-") {
        format!("cannot be understood: {error}")
    } else {
        "does not hold a key".to_owned()
    }
}

/// Why a key file is of no use.
pub(super) enum KeyFileError {
    /// It is not there, or cannot be read.
    Missing(io::Error),
    /// It is there. The text goes on from the name of the file.
    Unusable(String),
}

impl From<io::Error> for KeyFileError {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::NotADirectory => Self::Missing(error),
            _ => Self::Unusable(format!("cannot be read: {}", plain(&error))),
        }
    }
}

/// A key of 16384 bits takes some 13 kB.
const LONGEST: usize = 256 * 1024;
