//! Certificates of users (PROTOCOL.certkeys in OpenSSH's sources): a public key, and what somebody
//! whom the server trusts says about it.
//!
//! Whether a certificate is good is the server's to say, and it says only yes or no. What can be
//! seen from here, by our clock, is told with the no.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};
use std::time::{Duration, SystemTime};

use russh::keys::ssh_key::certificate::{CertType, Certificate};

use crate::transport::dial::plain;

use super::super::text::clean;
use super::key_file::read_bounded;

/// Reads the first line of a certificate file that is not empty.
pub(super) fn read(path: &Path) -> Result<Certificate, CertificateError> {
    let octets = read_bounded(path).map_err(CertificateError::Unreadable)?;
    let text = std::str::from_utf8(&octets).map_err(|_| CertificateError::NotOne)?;
    let mut lines = text.lines().map(str::trim).filter(|line| !line.is_empty());
    let line = lines.next().ok_or(CertificateError::NotOne)?;
    let certificate = Certificate::from_openssh(line).map_err(|_| CertificateError::NotOne)?;
    match certificate.cert_type() {
        CertType::User => Ok(certificate),
        CertType::Host => Err(CertificateError::OfHost),
    }
}

/// The certificate that belongs to a key file by its name (`CertificateFile` in ssh_config(5)).
pub(super) fn beside(key: &Path) -> PathBuf {
    let mut name = key.as_os_str().to_owned();
    name.push("-cert.pub");
    name.into()
}

/// What a server may hold against a certificate.
pub(super) fn trouble(certificate: &Certificate, user: &str, now: SystemTime) -> Option<String> {
    let now = now
        .duration_since(SystemTime::UNIX_EPOCH)
        .unwrap_or_default()
        .as_secs();
    let principals = certificate.valid_principals();
    if certificate.valid_before() <= now {
        Some(format!(
            "it expired on {}",
            Date(certificate.valid_before())
        ))
    } else if certificate.valid_after() > now {
        let date = Date(certificate.valid_after());
        Some(format!("it is not valid before {date}"))
    } else if principals.is_empty() {
        Some("it names nobody whom it is for".to_owned())
    } else if !principals.iter().any(|principal| principal == user) {
        let names = clean(&principals.join(", "), NAMES);
        Some(format!("it is for {names}, not for {user}"))
    } else {
        None
    }
}

/// Seconds since 1970 as a day and a time.
struct Date(u64);

impl fmt::Display for Date {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let time = SystemTime::UNIX_EPOCH.checked_add(Duration::from_secs(self.0));
        match time {
            // The format has four digits for the year.
            Some(time) if self.0 < YEAR_10000 => humantime::format_rfc3339_seconds(time).fmt(f),
            _ => f.write_str("a day after the year 9999"),
        }
    }
}

/// Why a certificate is of no use. The text goes on from the name of the file.
#[derive(Debug)]
pub(super) enum CertificateError {
    NotOne,
    OfHost,
    Unreadable(io::Error),
}

impl CertificateError {
    /// Whether there is no such file.
    pub(super) fn is_missing(&self) -> bool {
        matches!(self, Self::Unreadable(error) if error.kind() == io::ErrorKind::NotFound)
    }
}

impl fmt::Display for CertificateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::NotOne => f.write_str("does not hold a certificate"),
            Self::OfHost => f.write_str("is the certificate of a host, not of a user"),
            Self::Unreadable(error) => write!(f, "cannot be read: {}", plain(error)),
        }
    }
}

const YEAR_10000: u64 = 253_402_300_800;

/// As much of a list of names as anybody reads.
const NAMES: usize = 200;

#[cfg(test)]
mod tests {
    use russh::keys::key::safe_rng;
    use russh::keys::ssh_key::certificate::Builder;
    use russh::keys::{Algorithm, PrivateKey};

    use super::*;

    fn certificate(valid: (u64, u64), principals: &[&str]) -> Certificate {
        let key = || PrivateKey::random(&mut safe_rng(), Algorithm::Ed25519).unwrap();
        let subject = key();
        let mut builder =
            Builder::new_with_random_nonce(&mut safe_rng(), subject.public_key(), valid.0, valid.1)
                .unwrap();
        builder.cert_type(CertType::User).unwrap();
        for principal in principals {
            builder.valid_principal(*principal).unwrap();
        }
        if principals.is_empty() {
            builder.all_principals_valid().unwrap();
        }
        builder.sign(&key()).unwrap()
    }

    #[test]
    fn what_speaks_against_a_certificate_is_named() {
        let now = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        let table = [
            ((0, u64::MAX), &["msingh"][..], None),
            ((0, 1_700_000_001), &["root", "msingh"], None),
            (
                (0, 1_700_000_000),
                &["msingh"],
                Some("it expired on 2023-11-14T22:13:20Z"),
            ),
            (
                (1_700_000_001, u64::MAX),
                &["msingh"],
                Some("it is not valid before 2023-11-14T22:13:21Z"),
            ),
            (
                (u64::MAX - 1, u64::MAX),
                &["msingh"],
                Some("it is not valid before a day after the year 9999"),
            ),
            (
                (0, u64::MAX),
                &["root", "mail"],
                Some("it is for root, mail, not for msingh"),
            ),
            ((0, u64::MAX), &[], Some("it names nobody whom it is for")),
        ];
        for (valid, principals, expected) in table {
            let trouble = trouble(&certificate(valid, principals), "msingh", now);
            assert_eq!(trouble.as_deref(), expected, "{valid:?} {principals:?}");
        }
    }
}
