//! SSH keys for tests, made in process.
//!
//! Keys are random, because a key that stands in a repository is sooner or later trusted by
//! somebody. Making an RSA key is slow, so a process makes one and shares it.

pub mod short_scalar;

use std::fs::{self, OpenOptions};
use std::io::Write;
use std::os::unix::fs::OpenOptionsExt;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use russh::keys::key::safe_rng;
use russh::keys::ssh_key::LineEnding;
use russh::keys::ssh_key::private::{KeypairData, RsaKeypair};
use russh::keys::{Algorithm, EcdsaCurve, HashAlg};
pub use russh::keys::{PrivateKey, PublicKey};

use crate::base64;

/// The key types that OpenSSH makes.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum KeyType {
    /// ECDSA over NIST P-256.
    EcdsaP256,
    /// ECDSA over NIST P-384.
    EcdsaP384,
    /// ECDSA over NIST P-521.
    EcdsaP521,
    /// Ed25519, ssh-keygen's default.
    Ed25519,
    /// RSA with 2048 bits.
    Rsa,
}

impl KeyType {
    /// All of them.
    pub const ALL: [Self; 5] = [
        Self::EcdsaP256,
        Self::EcdsaP384,
        Self::EcdsaP521,
        Self::Ed25519,
        Self::Rsa,
    ];
}

/// The file formats of private keys.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum KeyFormat {
    /// `BEGIN OPENSSH PRIVATE KEY`.
    OpenSsh,
    /// `BEGIN PRIVATE KEY`, or `BEGIN ENCRYPTED PRIVATE KEY` with a passphrase (RFC 5958).
    ///
    /// An encrypted Ed25519 key is in version 2 of the format, which OpenSSL does not read.
    Pkcs8,
}

/// Makes a key; of type RSA, the same one each time.
///
/// ```
/// use posthole_testkit::keys::{self, KeyFormat, KeyType};
///
/// let dir = tempfile::tempdir()?;
/// let key = keys::generate(KeyType::Ed25519);
/// let path = keys::write(dir.path().join("id"), &key, KeyFormat::OpenSsh, Some("sesame"));
/// assert!(path.with_extension("pub").exists());
/// # Ok::<(), std::io::Error>(())
/// ```
#[must_use]
pub fn generate(key_type: KeyType) -> PrivateKey {
    static RSA: OnceLock<PrivateKey> = OnceLock::new();
    let random = |algorithm| {
        PrivateKey::random(&mut safe_rng(), algorithm).expect("this kind of key can be made")
    };
    let mut key = match key_type {
        KeyType::EcdsaP256 => random(Algorithm::Ecdsa {
            curve: EcdsaCurve::NistP256,
        }),
        KeyType::EcdsaP384 => random(Algorithm::Ecdsa {
            curve: EcdsaCurve::NistP384,
        }),
        KeyType::EcdsaP521 => random(Algorithm::Ecdsa {
            curve: EcdsaCurve::NistP521,
        }),
        KeyType::Ed25519 => random(Algorithm::Ed25519),
        KeyType::Rsa => RSA
            .get_or_init(|| {
                let pair = RsaKeypair::random(&mut safe_rng(), 2048).expect("2048 bits are enough");
                PrivateKey::new(pair.into(), "").expect("a key pair makes a key")
            })
            .clone(),
    };
    key.set_comment("test key");
    key
}

/// The text of a private key file.
#[must_use]
pub fn encode(key: &PrivateKey, format: KeyFormat, passphrase: Option<&str>) -> String {
    match (format, passphrase) {
        (KeyFormat::OpenSsh, None) => key
            .to_openssh(LineEnding::LF)
            .expect("a key can be written")
            .to_string(),
        (KeyFormat::OpenSsh, Some(passphrase)) => {
            let locked = key
                .encrypt(&mut safe_rng(), passphrase)
                .expect("a key can be encrypted");
            locked
                .to_openssh(LineEnding::LF)
                .expect("a key can be written")
                .to_string()
        }
        (KeyFormat::Pkcs8, None) => {
            if let KeypairData::Ed25519(pair) = key.key_data() {
                // russh writes the public key too (RFC 5958 v2), which OpenSSL does not read; what
                // people have is RFC 8410 §7, with the 32 octets of the seed and nothing else.
                let seed = pair.private.to_bytes();
                return pem("PRIVATE KEY", &[ED25519_PKCS8.as_slice(), &seed].concat());
            }
            let mut pem = Vec::new();
            russh::keys::encode_pkcs8_pem(key, &mut pem).expect("a key can be written");
            rewrap(&pem)
        }
        (KeyFormat::Pkcs8, Some(passphrase)) => {
            let mut pem = Vec::new();
            russh::keys::encode_pkcs8_pem_encrypted(key, passphrase.as_bytes(), ROUNDS, &mut pem)
                .expect("a key can be encrypted");
            rewrap(&pem)
        }
    }
}

fn pem(label: &str, der: &[u8]) -> String {
    let base64 = base64::encode(der);
    rewrap(format!("-----BEGIN {label}-----\n{base64}\n-----END {label}-----\n").as_bytes())
}

/// Breaks the lines of a PEM file after 64 characters, as RFC 7468 §3 wants and OpenSSL insists;
/// russh breaks them later and leaves an empty one.
fn rewrap(pem: &[u8]) -> String {
    let pem = std::str::from_utf8(pem).expect("PEM is ASCII");
    let mut lines = pem.lines();
    let mut text = lines.next().unwrap_or_default().to_owned() + "\n";
    let mut base64 = String::new();
    let mut end = "";
    for line in lines {
        if line.starts_with("-----") {
            end = line;
        } else {
            base64 += line;
        }
    }
    let mut rest = base64.as_str();
    while !rest.is_empty() {
        let (line, after) = rest.split_at(rest.len().min(64));
        text = text + line + "\n";
        rest = after;
    }
    text + end + "\n"
}

/// Writes a private key with mode 0600, and its public key beside it as `.pub`; returns the path.
pub fn write(
    path: impl AsRef<Path>,
    key: &PrivateKey,
    format: KeyFormat,
    passphrase: Option<&str>,
) -> PathBuf {
    let path = path.as_ref();
    write_private(path, encode(key, format, passphrase).as_bytes());
    fs::write(
        path.with_extension("pub"),
        public_line(key.public_key()) + "\n",
    )
    .unwrap_or_else(|error| panic!("cannot write {}.pub: {error}", path.display()));
    path.to_owned()
}

/// The line for `authorized_keys`, or for a `.pub` file.
#[must_use]
pub fn public_line(key: &PublicKey) -> String {
    key.to_openssh().expect("a public key can be written")
}

/// The line for `known_hosts`; a port other than 22 makes the host `[host]:port`.
#[must_use]
pub fn known_hosts_line(host: &str, port: u16, key: &PublicKey) -> String {
    let name = if port == 22 {
        host.to_owned()
    } else {
        format!("[{host}]:{port}")
    };
    let mut key = key.clone();
    key.set_comment("");
    format!("{name} {}\n", public_line(&key).trim_end())
}

/// The fingerprint as OpenSSH shows it, `SHA256:…`.
#[must_use]
pub fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// Writes a file that only its owner can read.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) {
    let mut options = OpenOptions::new();
    options.write(true).create(true).truncate(true).mode(0o600);
    options
        .open(path)
        .and_then(|mut file| file.write_all(bytes))
        .unwrap_or_else(|error| panic!("cannot write {}: {error}", path.display()));
}

/// The fixed part of an Ed25519 key in RFC 8410's form, before the 32 octets of the seed.
const ED25519_PKCS8: [u8; 16] = [
    0x30, 0x2e, 0x02, 0x01, 0x00, 0x30, 0x05, 0x06, 0x03, 0x2b, 0x65, 0x70, 0x04, 0x22, 0x04, 0x20,
];
/// Few, because these files protect nothing and tests should be quick.
const ROUNDS: u32 = 2_000;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_type_in_every_format_can_be_read_back() {
        for key_type in KeyType::ALL {
            let key = generate(key_type);
            for format in [KeyFormat::OpenSsh, KeyFormat::Pkcs8] {
                for passphrase in [None, Some("correct horse")] {
                    let text = encode(&key, format, passphrase);
                    let read = russh::keys::decode_secret_key(&text, passphrase);
                    let read = read.unwrap_or_else(|e| panic!("{key_type:?} {format:?}: {e}"));
                    assert_eq!(read.public_key().key_data(), key.public_key().key_data());
                    if passphrase.is_some() {
                        assert!(russh::keys::decode_secret_key(&text, None).is_err());
                    }
                }
            }
        }
    }

    #[test]
    fn a_known_hosts_line_names_the_port_unless_it_is_22() {
        let key = generate(KeyType::Ed25519);
        assert!(known_hosts_line("::1", 2022, key.public_key()).starts_with("[::1]:2022 ssh-ed"));
        assert!(known_hosts_line("host", 22, key.public_key()).starts_with("host ssh-ed25519 "));
    }
}
