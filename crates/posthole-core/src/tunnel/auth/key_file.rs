//! Private key files: what is in them, and how they are opened.
//!
//! A passphrase should be asked for only once the server has said that it would take the key, so a
//! file is read in two steps: [`KeyFile::read`] finds the public key, in the file itself where the
//! format shows it and in a file beside it otherwise; [`LockedKey::open`] decrypts. A file whose
//! encryption is not known here is told from one whose passphrase is wrong, lest somebody be asked
//! in vain.

use std::fs::{self, File};
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use data_encoding::BASE64;
use pkcs8::EncryptedPrivateKeyInfoRef;
use russh::keys::{PrivateKey, PublicKey, decode_secret_key};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};

use crate::transport::dial::plain;

use super::super::text::{SHOWN, clean};
use super::{pem, short_scalar};

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
    sealed: Arc<Sealed>,
}

/// An encrypted private key, by what takes the encryption off.
enum Sealed {
    Pem(pem::Encrypted),
    /// The text of the file.
    Whole(Zeroizing<String>),
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
        let (public, sealed) = match seal(text)? {
            Seal::Open(key) => return Ok(Self::Open(key)),
            Seal::Locked { public, sealed } => (public, sealed),
        };
        Ok(Self::Locked(LockedKey {
            public: public.map(|key| *key).or_else(|| read_public(path)),
            path: path.to_owned(),
            sealed: Arc::new(sealed),
        }))
    }

    /// The public key, if that is known by now.
    pub(super) fn public(&self) -> Option<&PublicKey> {
        match self {
            Self::Open(key) => Some(key.public_key()),
            Self::Locked(key) => key.public.as_ref(),
            Self::Public(key) => Some(key),
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
        // What a wrong passphrase looks like differs between formats. What is around the key was
        // understood, so the passphrase is taken for the reason of whatever goes wrong.
        let passphrase = passphrase.expose_secret();
        match &*self.sealed {
            Sealed::Pem(encrypted) => decode_secret_key(&encrypted.decrypt(passphrase)?, None).ok(),
            Sealed::Whole(text) => decode(text, Some(passphrase)).ok(),
        }
    }
}

enum Seal {
    Locked {
        public: Option<Box<PublicKey>>,
        sealed: Sealed,
    },
    Open(Arc<PrivateKey>),
}

/// Looks for the signs of encryption that the formats carry in the clear.
fn seal(text: Zeroizing<String>) -> Result<Seal, KeyFileError> {
    let has = |line: &str| text.lines().any(|other| other.trim_end() == line);
    let mut public = None;
    let is_locked = if has("-----BEGIN OPENSSH PRIVATE KEY-----") {
        let key = PrivateKey::from_openssh(text.as_bytes()).ok();
        let locked = key.filter(PrivateKey::is_encrypted);
        public = locked
            .as_ref()
            .map(|key| Box::new(key.public_key().clone()));
        locked.is_some()
    } else if has("-----BEGIN ENCRYPTED PRIVATE KEY-----") {
        check_pkcs8(&text).map_err(KeyFileError::Encryption)?;
        true
    } else if let Some(encrypted) = pem::Encrypted::parse(&text) {
        let encrypted = encrypted.map_err(KeyFileError::Encryption)?;
        return Ok(Seal::Locked {
            public: None,
            sealed: Sealed::Pem(encrypted),
        });
    } else {
        text.starts_with("PuTTY-")
            && text
                .lines()
                .filter_map(|line| line.strip_prefix("Encryption:"))
                .any(|cipher| cipher.trim() != "none")
    };
    if is_locked {
        let sealed = Sealed::Whole(text);
        return Ok(Seal::Locked { public, sealed });
    }
    match decode(&text, None) {
        Ok(key) => Ok(Seal::Open(Arc::new(key))),
        Err(error) => Err(KeyFileError::Unusable(unusable(&text, &error))),
    }
}

fn decode(text: &str, passphrase: Option<&str>) -> Result<PrivateKey, russh::keys::Error> {
    decode_secret_key(text, passphrase).or_else(|error| {
        // Only then, since taking the encryption off a second time is slow.
        let key = short_scalar::is_suspected(&error)
            .then(|| short_scalar::decode(text, passphrase))
            .flatten();
        key.ok_or(error)
    })
}

/// Makes sure that the encryption of a PKCS#8 file (RFC 5958 §3) can be taken off here.
fn check_pkcs8(text: &str) -> Result<(), String> {
    let inside = text
        .lines()
        .map(str::trim_end)
        .skip_while(|line| *line != "-----BEGIN ENCRYPTED PRIVATE KEY-----")
        .skip(1)
        .take_while(|line| !line.starts_with("-----END "));
    let base64: String = inside.collect();
    let der = BASE64
        .decode(base64.as_bytes())
        .map_err(|_| "is damaged".to_owned())?;
    match EncryptedPrivateKeyInfoRef::try_from(&der[..]) {
        Ok(info) if info.encryption_algorithm.pbes2().is_some() => Ok(()),
        _ => Err("is encrypted in a way that is not known here".to_owned()),
    }
}

fn read_private(path: &Path) -> Result<Zeroizing<String>, KeyFileError> {
    let metadata = fs::metadata(path).map_err(KeyFileError::from)?;
    let octets = read_bounded(path).map_err(KeyFileError::from)?;
    let Ok(text) = std::str::from_utf8(&octets) else {
        return Err(KeyFileError::Unusable("does not hold a key".to_owned()));
    };
    let mode = metadata.mode();
    // As ssh: what others own may have any mode, since it is theirs to keep secret. A public key
    // is no secret.
    if metadata.uid() == rustix::process::getuid().as_raw()
        && mode & 0o077 != 0
        && parse_public(text).is_none()
    {
        return Err(KeyFileError::Exposed {
            path: path.to_owned(),
            mode: mode & 0o7777,
        });
    }
    Ok(Zeroizing::new(text.to_owned()))
}

/// Reads a file that is no longer than a key can be.
pub(super) fn read_bounded(path: &Path) -> io::Result<Zeroizing<Vec<u8>>> {
    let metadata = fs::metadata(path)?;
    if !metadata.is_file() {
        // A pipe might never end, or never begin.
        return Err(io::Error::other("it is not a regular file"));
    }
    if metadata.len() > LONGEST {
        return Err(io::Error::other("it is too long to be a key"));
    }
    // Never grows, so no copy of a key is left behind.
    let mut octets = Zeroizing::new(Vec::with_capacity(LONGEST as usize + 1));
    File::open(path)?
        .take(LONGEST + 1)
        .read_to_end(&mut octets)?;
    if octets.len() as u64 > LONGEST {
        return Err(io::Error::other("it is too long to be a key"));
    }
    Ok(octets)
}

/// The `.pub` beside a private key.
fn read_public(path: &Path) -> Option<PublicKey> {
    let mut name = path.as_os_str().to_owned();
    name.push(".pub");
    let octets = read_bounded(Path::new(&name)).ok()?;
    parse_public(std::str::from_utf8(&octets).ok()?)
}

fn parse_public(text: &str) -> Option<PublicKey> {
    let line = text.lines().map(str::trim).find(|line| !line.is_empty())?;
    PublicKey::from_openssh(line).ok()
}

fn unusable(text: &str, error: &russh::keys::Error) -> String {
    if text.contains("PRIVATE KEY-----") || text.starts_with("PuTTY-") {
        let error = clean(&error.to_string(), SHOWN);
        format!("cannot be understood: {error}")
    } else if text.contains("-cert-v01@openssh.com ") {
        "is a certificate; name the private key it belongs to instead".to_owned()
    } else {
        "does not hold a key".to_owned()
    }
}

/// Why a key file is of no use.
pub(super) enum KeyFileError {
    /// It is encrypted in a way that is not known here, as the text says from the file's name on.
    Encryption(String),
    /// Others can read it.
    Exposed { path: PathBuf, mode: u32 },
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
pub(crate) const LONGEST: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::io::Write;

    use posthole_testkit::keys::short_scalar::{AES256_CTR, AES256_GCM, OPEN, PASSPHRASE, PUBLIC};
    use tempfile::NamedTempFile;

    use super::*;

    fn read(text: &str) -> KeyFile {
        let mut file = NamedTempFile::new().unwrap();
        file.write_all(text.as_bytes()).unwrap();
        match KeyFile::read(file.path()) {
            Ok(key) => key,
            Err(KeyFileError::Encryption(why) | KeyFileError::Unusable(why)) => panic!("{why}"),
            Err(_) => panic!("it is there, and others cannot read it"),
        }
    }

    #[test]
    fn an_ecdsa_key_that_begins_with_a_zero_opens() {
        let public = PublicKey::from_openssh(PUBLIC).unwrap();
        let KeyFile::Open(key) = read(OPEN) else {
            panic!("it has no passphrase");
        };
        assert_eq!(key.public_key().key_data(), public.key_data());

        for text in [AES256_CTR, AES256_GCM] {
            let KeyFile::Locked(locked) = read(text) else {
                panic!("it has a passphrase");
            };
            let open = |passphrase: &str| locked.open(&SecretString::from(passphrase));
            assert!(open("wrong").is_none());
            let key = open(PASSPHRASE).unwrap();
            assert_eq!(key.public_key().key_data(), public.key_data());
        }
    }

    #[test]
    fn what_is_too_long_to_be_a_key_is_not_read() {
        let file = NamedTempFile::new().unwrap();
        file.as_file().set_len(64 * 1024).unwrap();
        assert_eq!(read_bounded(file.path()).unwrap().len(), 64 * 1024);
        file.as_file().set_len(64 * 1024 + 1).unwrap();
        assert!(read_bounded(file.path()).is_err());
    }
}
