//! A host key as a server showed it, and how people recognise it.

use std::fmt::Write as _;

use russh::keys::ssh_key::public::KeyData;
use russh::keys::{Algorithm, Certificate, EcdsaCurve, HashAlg, PublicKey, PublicKeyBase64};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use crate::plan::Hop;

use super::names::Names;

/// A host key as a server showed it.
#[derive(Clone, Debug)]
pub struct HostKey {
    pub(super) names: Names,
    pub(super) key: PublicKey,
    pub(super) certificate: Option<Box<Certificate>>,
}

impl HostKey {
    pub(in crate::tunnel) fn new(
        hop: &Hop,
        key: PublicKey,
        certificate: Option<Certificate>,
    ) -> Self {
        Self {
            names: Names::of(hop),
            key,
            certificate: certificate.map(Box::new),
        }
    }

    /// The host as known_hosts spells it: `host` or `[host]:port` in lower case, or its alias.
    #[must_use]
    pub fn host(&self) -> &str {
        self.names.entry()
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

    /// The key's fingerprint as OpenSSH gave it before version 6.8, `MD5:` and octets in hex.
    #[must_use]
    pub fn md5_fingerprint(&self) -> String {
        let digest = md5::compute(self.key.public_key_bytes());
        digest.iter().fold("MD5".to_owned(), |mut text, octet| {
            // Writing to a string cannot fail.
            _ = write!(text, ":{octet:02x}");
            text
        })
    }

    /// The fingerprint as a picture, as `ssh-keygen -lv` and `VisualHostKey` of ssh_config(5) draw
    /// it.
    #[must_use]
    pub fn randomart(&self) -> String {
        let kind = kind(&self.key.algorithm());
        let sized = format!("[{kind} {}]", bits(self.key.key_data()));
        // sshkey.c, `fingerprint_randomart`: what is too wide for the frame goes without the size.
        let label = if sized.len() > RANDOMART_WIDTH {
            format!("[{kind}]")
        } else {
            sized
        };
        self.key.fingerprint(HashAlg::Sha256).to_randomart(&label)
    }

    /// The line that records the key with its host in plain sight.
    #[must_use]
    pub fn line(&self) -> String {
        format!("{} {}", self.host(), key_fields(&self.key))
    }

    /// The number of the key's algorithm in SSHFP records (RFC 4255 §3.1.1, RFC 6594, RFC 7479),
    /// if it has one.
    pub(in crate::tunnel) fn sshfp_algorithm(&self) -> Option<u8> {
        match self.key.algorithm() {
            Algorithm::Rsa { .. } => Some(1),
            Algorithm::Dsa => Some(2),
            Algorithm::Ecdsa { .. } => Some(3),
            Algorithm::Ed25519 => Some(4),
            _ => None,
        }
    }

    /// The digest of an SSHFP record's type (RFC 4255 §3.1.2, RFC 6594 §3.1.2), if it is known.
    pub(in crate::tunnel) fn sshfp_digest(&self, fingerprint_type: u8) -> Option<Vec<u8>> {
        let key = self.key.public_key_bytes();
        match fingerprint_type {
            1 => Some(Sha1::digest(key).to_vec()),
            2 => Some(Sha256::digest(key).to_vec()),
            _ => None,
        }
    }

    /// The size of an RSA modulus, which may be too small to mean anything.
    pub(in crate::tunnel) fn rsa_bits(&self) -> Option<u32> {
        let data = self.key.key_data();
        data.is_rsa().then(|| bits(data))
    }
}

/// Algorithm and key in base64, without a comment.
pub(super) fn key_fields(key: &PublicKey) -> String {
    format!("{} {}", key.algorithm(), key.public_key_base64())
}

/// A key's fingerprint in OpenSSH's form, `SHA256:…`.
pub(in crate::tunnel) fn fingerprint(key: &PublicKey) -> String {
    key.fingerprint(HashAlg::Sha256).to_string()
}

/// An algorithm as ssh-keygen(1) names the kind of key, such as `ED25519`.
pub(in crate::tunnel) fn kind(algorithm: &Algorithm) -> &'static str {
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

/// The size of a key as ssh-keygen(1) counts it.
fn bits(key: &KeyData) -> u32 {
    match key {
        KeyData::Rsa(rsa) => {
            let modulus = rsa.n().as_positive_bytes().unwrap_or_default();
            let leading = modulus.first().map_or(0, |octet| octet.leading_zeros());
            u32::try_from(modulus.len() * 8).unwrap_or(u32::MAX) - leading
        }
        other => match other.algorithm() {
            Algorithm::Ecdsa {
                curve: EcdsaCurve::NistP384,
            } => 384,
            Algorithm::Ecdsa {
                curve: EcdsaCurve::NistP521,
            } => 521,
            Algorithm::Dsa => 1024,
            _ => 256,
        },
    }
}

/// The columns inside the frame.
const RANDOMART_WIDTH: usize = 17;
