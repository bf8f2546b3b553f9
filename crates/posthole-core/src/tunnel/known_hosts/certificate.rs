//! Host certificates: whether one says what it must (PROTOCOL.certkeys; sshkey.c,
//! `sshkey_cert_check_host`).
//!
//! OpenSSH changed its mind about names in 10.3, and this follows: they may have wildcards, and a
//! certificate without any is good for no host rather than for all of them.
//!
//! Who may sign them is not decided here but by the `@cert-authority` lines, and neither is whether
//! the server has the key that the certificate is about: the key exchange has proved that.

use std::fmt;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use russh::keys::ssh_key::certificate::CertType;
use russh::keys::{Algorithm, Certificate, HashAlg};

use crate::tunnel::text::{SHOWN, clean};

use super::line::matches_pattern;

/// Whether a certificate vouches for a host under this name, now.
pub(super) fn check(
    certificate: &Certificate,
    principal: &str,
    now: SystemTime,
) -> Result<(), Flaw> {
    if certificate.cert_type() != CertType::Host {
        return Err(Flaw::NotOfHost);
    }
    let now = now.duration_since(UNIX_EPOCH).unwrap_or_default().as_secs();
    if now < certificate.valid_after() {
        return Err(Flaw::NotYetValid(certificate.valid_after()));
    }
    if now >= certificate.valid_before() {
        return Err(Flaw::Expired(certificate.valid_before()));
    }
    let principals = certificate.valid_principals();
    if principals.is_empty() {
        return Err(Flaw::NoHost);
    }
    let is_meant = |pattern: &String| matches_pattern(pattern.as_bytes(), principal.as_bytes());
    if !principals.iter().any(is_meant) {
        let names: Vec<_> = principals.iter().take(NAMES_SHOWN).cloned().collect();
        return Err(Flaw::OtherHost {
            wanted: principal.to_owned(),
            names: clean(&names.join(", "), SHOWN),
        });
    }
    if let Some(option) = certificate.critical_options().keys().next() {
        return Err(Flaw::CriticalOption(clean(option, SHOWN)));
    }
    // ssh_config(5), `CASignatureAlgorithms`: SHA-1 is not among them.
    match certificate.signature().algorithm() {
        Algorithm::Rsa { hash: None } | Algorithm::Dsa => return Err(Flaw::WeakSignature),
        _ => {}
    }
    let authority = certificate.signature_key().fingerprint(HashAlg::Sha256);
    // The times were looked at, so all that is left is the signature.
    certificate
        .validate_at(now, [&authority])
        .map_err(|_| Flaw::BadSignature)
}

/// Why a certificate vouches for nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Flaw {
    BadSignature,
    CriticalOption(String),
    Expired(u64),
    NoHost,
    NotOfHost,
    NotYetValid(u64),
    OtherHost { wanted: String, names: String },
    WeakSignature,
}

impl fmt::Display for Flaw {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::BadSignature => f.write_str("its signature is wrong"),
            Self::CriticalOption(option) => {
                write!(f, "it has the critical option {option}, which is not known")
            }
            Self::Expired(at) => write!(f, "it expired on {}", date(*at)),
            Self::NoHost => f.write_str("it names no host"),
            Self::NotOfHost => f.write_str("it is for a user, not for a host"),
            Self::NotYetValid(at) => write!(f, "it is not valid before {}", date(*at)),
            Self::OtherHost { wanted, names } => {
                write!(f, "it is for {names}, and not for {wanted}")
            }
            Self::WeakSignature => f.write_str("it is signed with SHA-1"),
        }
    }
}

/// A time in a certificate, which may be any number.
fn date(seconds: u64) -> String {
    UNIX_EPOCH
        .checked_add(Duration::from_secs(seconds))
        .filter(|_| seconds < LAST_DATE)
        .map_or_else(
            || "a day that never comes".to_owned(),
            |time| humantime::format_rfc3339_seconds(time).to_string(),
        )
}

/// The first second of the year 10000, beyond what RFC 3339 can write.
const LAST_DATE: u64 = 253_402_300_800;
/// Enough to see whose certificate it is.
const NAMES_SHOWN: usize = 5;

#[cfg(test)]
mod tests {
    use posthole_testkit::certificates::CertificateBuilder;
    use posthole_testkit::keys::{self, KeyType};
    use russh::keys::PrivateKey;

    use super::*;

    fn key() -> PrivateKey {
        keys::generate(KeyType::Ed25519)
    }

    fn host() -> CertificateBuilder {
        nameless().principal("popserver")
    }

    fn nameless() -> CertificateBuilder {
        CertificateBuilder::host(key().public_key())
    }

    #[track_caller]
    fn check_name(certificate: CertificateBuilder, name: &str, expected: bool) {
        let checked = check(&certificate.sign(&key()), name, SystemTime::now());
        assert_eq!(checked.is_ok(), expected, "{checked:?}");
    }

    #[track_caller]
    fn flaw(certificate: CertificateBuilder) -> Flaw {
        let certificate = certificate.sign(&key());
        check(&certificate, "popserver", SystemTime::now()).unwrap_err()
    }

    #[test]
    fn a_certificate_is_for_the_hosts_that_it_names() {
        let names = |names: &[&str]| {
            let all = names.iter();
            all.fold(nameless(), |certificate, name| certificate.principal(name))
        };
        check_name(names(&["popserver"]), "popserver", true);
        check_name(names(&["a", "popserver"]), "popserver", true);
        check_name(names(&["a", "b"]), "popserver", false);
        check_name(names(&["*.example.org"]), "pop.example.org", true);
        check_name(names(&["*.example.org"]), "example.org", false);
        check_name(names(&["pop?"]), "pop1", true);
        check_name(names(&["POPSERVER"]), "popserver", false);
        check_name(names(&["!popserver"]), "popserver", false);
        check_name(names(&[]), "popserver", false);
    }

    #[test]
    fn a_certificate_is_valid_from_its_first_second_to_before_its_last() {
        let certificate = host().sign(&key());
        let at = |seconds| {
            let time = UNIX_EPOCH + Duration::from_secs(seconds);
            check(&certificate, "popserver", time)
        };
        let (after, before) = (certificate.valid_after(), certificate.valid_before());
        assert_eq!(at(after), Ok(()));
        assert_eq!(at(before - 1), Ok(()));
        assert_eq!(at(after - 1), Err(Flaw::NotYetValid(after)));
        assert_eq!(at(before), Err(Flaw::Expired(before)));
    }

    #[test]
    fn a_certificate_that_says_something_else_vouches_for_nothing() {
        let user = CertificateBuilder::user(key().public_key()).principal("popserver");
        assert_eq!(flaw(user), Flaw::NotOfHost);
        assert_eq!(flaw(nameless()), Flaw::NoHost);
        assert!(matches!(flaw(host().expired()), Flaw::Expired(_)));
        assert!(matches!(flaw(host().not_yet_valid()), Flaw::NotYetValid(_)));
        let option = flaw(host().critical_option("verify-required"));
        assert_eq!(option, Flaw::CriticalOption("verify-required".to_owned()));
        let text = flaw(nameless().principal("a").principal("b\u{1b}[2J")).to_string();
        assert_eq!(text, "it is for a, b?[2J, and not for popserver");
    }

    #[test]
    fn every_type_of_authority_can_sign_and_a_forged_signature_is_seen() {
        for key_type in KeyType::ALL {
            let certificate = host().sign(&keys::generate(key_type));
            let mut octets = certificate.to_bytes().unwrap();
            let checked = check(&certificate, "popserver", SystemTime::now());
            assert_eq!(checked, Ok(()), "{key_type:?}");
            // The last octet is the signature's.
            *octets.last_mut().unwrap() ^= 1;
            let forged = Certificate::from_bytes(&octets).unwrap();
            let checked = check(&forged, "popserver", SystemTime::now());
            assert_eq!(checked, Err(Flaw::BadSignature), "{key_type:?}");
        }
    }

    #[test]
    fn a_time_beyond_all_calendars_can_be_named() {
        assert_eq!(date(0), "1970-01-01T00:00:00Z");
        assert_eq!(date(LAST_DATE - 1), "9999-12-31T23:59:59Z");
        for never in [LAST_DATE, u64::MAX] {
            assert_eq!(date(never), "a day that never comes");
        }
    }
}
