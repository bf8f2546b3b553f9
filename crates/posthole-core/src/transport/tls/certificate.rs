//! What a certificate says, for people and for channel bindings.
//!
//! Nothing is judged by it: rustls does that with a parser of its own.

use std::net::IpAddr;
use std::time::SystemTime;

use posthole_proto::text;
use rustls::pki_types::CertificateDer;
use rustls::server::ParsedCertificate;
use sha2::{Digest, Sha224, Sha256, Sha384, Sha512};
use x509_cert::der::asn1::{AnyRef, ObjectIdentifier};
use x509_cert::der::{Decode, Reader, SliceReader, TagMode, TagNumber};
use x509_cert::ext::pkix::SubjectAltName;
use x509_cert::ext::pkix::name::GeneralName;
use x509_cert::spki::AlgorithmIdentifierRef;

use crate::plan::Pin;

/// A server's certificate, in words. They are the server's, and cleaned of control characters.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Certificate {
    /// Whom it is for, such as `CN=mail.example.org` (RFC 4514).
    pub subject: String,
    /// Who signed it.
    pub issuer: String,
    /// The host names and addresses it is for (subjectAltName, RFC 5280 §4.2.1.6).
    pub names: Vec<String>,
    /// When it begins to be valid.
    pub not_before: SystemTime,
    /// When it ends.
    pub not_after: SystemTime,
    /// Its SHA-256.
    pub fingerprint: Pin,
}

impl Certificate {
    /// Reads a certificate as far as people care; none if it cannot be read.
    pub(super) fn read(der: &CertificateDer<'_>) -> Option<Self> {
        let certificate = x509_cert::Certificate::from_der(der).ok()?;
        let certificate = certificate.tbs_certificate();
        let names = match certificate.get_extension::<SubjectAltName>() {
            Ok(Some((_critical, SubjectAltName(names)))) => {
                names.iter().filter_map(host_name).collect()
            }
            _ => Vec::new(),
        };
        Some(Self {
            subject: clean(&certificate.subject().to_string()),
            issuer: clean(&certificate.issuer().to_string()),
            names,
            not_before: certificate.validity().not_before.to_system_time(),
            not_after: certificate.validity().not_after.to_system_time(),
            fingerprint: fingerprint(der),
        })
    }

    /// Whether it is signed by whom it is for, as far as the names tell.
    pub(super) fn is_self_signed(&self) -> bool {
        self.subject == self.issuer
    }
}

/// The SHA-256 of a certificate.
pub(super) fn fingerprint(der: &CertificateDer<'_>) -> Pin {
    Pin::Certificate(Sha256::digest(der).into())
}

/// The SHA-256 of its public key.
pub(super) fn public_key(der: &CertificateDer<'_>) -> Option<Pin> {
    let key = ParsedCertificate::try_from(der).ok()?;
    let digest = Sha256::digest(key.subject_public_key_info());
    Some(Pin::PublicKey(digest.into()))
}

/// `tls-server-end-point` (RFC 5929 §4.1): the digest of the certificate with the hash function of
/// its signature, but SHA-256 in place of MD5 and SHA-1.
pub(super) fn server_end_point(der: &CertificateDer<'_>) -> Option<Vec<u8>> {
    let certificate = x509_cert::Certificate::from_der(der).ok()?;
    let algorithm = certificate.signature_algorithm();
    let oid = if algorithm.oid == RSASSA_PSS {
        let parameters = algorithm.parameters.as_ref()?;
        pss_hash(AnyRef::from(parameters))?
    } else {
        algorithm.oid
    };
    let is = |oids: &[&str]| {
        oids.iter()
            .any(|known| oid == ObjectIdentifier::new_unwrap(known))
    };
    if is(SHA_256) {
        Some(Sha256::digest(der).to_vec())
    } else if is(SHA_384) {
        Some(Sha384::digest(der).to_vec())
    } else if is(SHA_512) {
        Some(Sha512::digest(der).to_vec())
    } else if is(SHA_224) {
        Some(Sha224::digest(der).to_vec())
    } else {
        None
    }
}

/// The hash function of an RSASSA-PSS signature (RFC 4055 §3.1).
fn pss_hash(parameters: AnyRef<'_>) -> Option<ObjectIdentifier> {
    let mut reader = SliceReader::new(parameters.value()).ok()?;
    let hash: Option<AlgorithmIdentifierRef<'_>> = reader
        .context_specific(TagNumber(0), TagMode::Explicit)
        .ok()?;
    // SHA-1 is the default.
    Some(hash.map_or(SHA_1, |hash| hash.oid))
}

fn host_name(name: &GeneralName) -> Option<String> {
    match name {
        GeneralName::DnsName(name) => Some(clean(name.as_ref())),
        GeneralName::IpAddress(octets) => {
            let octets = octets.as_bytes();
            let address = <[u8; 4]>::try_from(octets).map(IpAddr::from);
            let address = address.or_else(|_| <[u8; 16]>::try_from(octets).map(IpAddr::from));
            Some(address.ok()?.to_string())
        }
        _ => None,
    }
}

fn clean(words: &str) -> String {
    text::excerpt(words.as_bytes())
}

const RSASSA_PSS: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.2.840.113549.1.1.10");
const SHA_1: ObjectIdentifier = ObjectIdentifier::new_unwrap("1.3.14.3.2.26");

/// Hash functions and signatures (RFC 8017 appendix C, RFC 5758 §3) that are taken with SHA-256,
/// those with MD5 and SHA-1 among them.
const SHA_256: &[&str] = &[
    "2.16.840.1.101.3.4.2.1",
    "1.2.840.113549.1.1.11",
    "1.2.840.10045.4.3.2",
    "1.2.840.113549.2.5",
    "1.2.840.113549.1.1.4",
    "1.3.14.3.2.26",
    "1.2.840.113549.1.1.5",
    "1.2.840.10045.4.1",
];
const SHA_384: &[&str] = &[
    "2.16.840.1.101.3.4.2.2",
    "1.2.840.113549.1.1.12",
    "1.2.840.10045.4.3.3",
];
const SHA_512: &[&str] = &[
    "2.16.840.1.101.3.4.2.3",
    "1.2.840.113549.1.1.13",
    "1.2.840.10045.4.3.4",
];
const SHA_224: &[&str] = &[
    "2.16.840.1.101.3.4.2.4",
    "1.2.840.113549.1.1.14",
    "1.2.840.10045.4.3.1",
];
