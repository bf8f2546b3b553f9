//! SSH certificates for tests, made in process (PROTOCOL.certkeys of OpenSSH).

use std::time::{Duration, SystemTime, UNIX_EPOCH};

use russh::keys::key::safe_rng;
use russh::keys::ssh_key::certificate::{Builder, CertType};
use russh::keys::{Certificate, PrivateKey, PublicKey};

/// A certificate in the making.
///
/// ```
/// use posthole_testkit::certificates::CertificateBuilder;
/// use posthole_testkit::keys::{self, KeyType};
///
/// let (authority, host) = (keys::generate(KeyType::Ed25519), keys::generate(KeyType::Ed25519));
/// let certificate = CertificateBuilder::host(host.public_key())
///     .principal("*.example.org")
///     .sign(&authority);
/// assert_eq!(certificate.valid_principals(), ["*.example.org"]);
/// ```
#[derive(Debug)]
pub struct CertificateBuilder {
    key: PublicKey,
    cert_type: CertType,
    principals: Vec<String>,
    critical_options: Vec<String>,
    after: SystemTime,
    before: SystemTime,
}

impl CertificateBuilder {
    /// One for a host, valid from an hour ago for a day; it names no host yet.
    #[must_use]
    pub fn host(key: &PublicKey) -> Self {
        Self::new(key, CertType::Host)
    }

    /// One for a user, valid from an hour ago for a day; it names no user yet.
    #[must_use]
    pub fn user(key: &PublicKey) -> Self {
        Self::new(key, CertType::User)
    }

    fn new(key: &PublicKey, cert_type: CertType) -> Self {
        let now = SystemTime::now();
        Self {
            key: key.clone(),
            cert_type,
            principals: Vec::new(),
            critical_options: Vec::new(),
            after: now - HOUR,
            before: now + 23 * HOUR,
        }
    }

    /// Makes it valid for this name, and others given like this.
    #[must_use]
    pub fn principal(mut self, name: &str) -> Self {
        self.principals.push(name.to_owned());
        self
    }

    /// Adds a critical option without data.
    #[must_use]
    pub fn critical_option(mut self, name: &str) -> Self {
        self.critical_options.push(name.to_owned());
        self
    }

    /// Makes it one that ended an hour ago.
    #[must_use]
    pub fn expired(mut self) -> Self {
        self.after -= 24 * HOUR;
        self.before -= 24 * HOUR;
        self
    }

    /// Makes it one that begins in an hour.
    #[must_use]
    pub fn not_yet_valid(mut self) -> Self {
        self.after += 2 * HOUR;
        self
    }

    /// Has it signed; an RSA key signs with SHA-2.
    #[must_use]
    pub fn sign(self, authority: &PrivateKey) -> Certificate {
        let seconds = |time: SystemTime| {
            let since = time.duration_since(UNIX_EPOCH);
            since.expect("it is later than 1970").as_secs()
        };
        let (after, before) = (seconds(self.after), seconds(self.before));
        let mut builder = Builder::new_with_random_nonce(&mut safe_rng(), &self.key, after, before)
            .expect("it ends after it begins");
        let filled = (|| {
            builder
                .cert_type(self.cert_type)?
                .key_id("test certificate")?;
            if self.principals.is_empty() {
                builder.all_principals_valid()?;
            }
            for name in self.principals {
                builder.valid_principal(name)?;
            }
            for name in self.critical_options {
                builder.critical_option(name, "")?;
            }
            builder.sign(authority)
        })();
        filled.expect("a certificate can be made of this")
    }
}

const HOUR: Duration = Duration::from_secs(60 * 60);
