//! Certificates, keys and lists of revoked certificates in files.
//!
//! All are PEM (RFC 7468), which other text may stand around; lists of revoked certificates may
//! also be DER, since that is how authorities publish them.

use std::fs;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, CertificateRevocationListDer, PrivateKeyDer};
use secrecy::zeroize::Zeroizing;

use super::error::{TlsError, TlsFileProblem};
use crate::plan::TlsIdentity;
use crate::secret::is_open_to_others;

/// All certificates in a file; at least one.
pub(super) fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    let octets = read(path)?;
    let certificates: Result<Vec<_>, _> = CertificateDer::pem_slice_iter(&octets).collect();
    match certificates {
        Ok(certificates) if certificates.is_empty() => {
            Err(TlsError::file(path, TlsFileProblem::NoCertificate))
        }
        Ok(certificates) => Ok(certificates),
        Err(_) => Err(TlsError::file(path, TlsFileProblem::BadCertificate)),
    }
}

/// All lists of revoked certificates in a file; at least one, and all of them good.
pub(super) fn revocation_lists(
    path: &Path,
) -> Result<Vec<CertificateRevocationListDer<'static>>, TlsError> {
    let octets = read(path)?;
    // A DER SEQUENCE, and no PEM begins with a `0`.
    let lists = if octets.first() == Some(&0x30) {
        Ok(vec![octets.to_vec().into()])
    } else {
        CertificateRevocationListDer::pem_slice_iter(&octets).collect::<Result<Vec<_>, _>>()
    };
    let is_list = |der: &CertificateRevocationListDer<'_>| {
        webpki::OwnedCertRevocationList::from_der(der).is_ok()
    };
    lists
        .ok()
        .filter(|lists| !lists.is_empty() && lists.iter().all(is_list))
        .ok_or_else(|| TlsError::file(path, TlsFileProblem::NoRevocationList))
}

/// Our certificate with those that lead to its authority, and its key.
pub(super) fn identity(
    identity: &TlsIdentity,
) -> Result<(Vec<CertificateDer<'static>>, PrivateKeyDer<'static>), TlsError> {
    let chain = certificates(&identity.certificate)?;
    let path = &identity.key;
    let octets = read_private(path)?;
    if is_encrypted(&octets) {
        return Err(TlsError::file(path, TlsFileProblem::EncryptedKey));
    }
    let key = PrivateKeyDer::from_pem_slice(&octets)
        .map_err(|_| TlsError::file(path, TlsFileProblem::NoKey))?;
    Ok((chain, key))
}

/// Why rustls cannot use our certificate with its key.
pub(super) fn unfit(identity: &TlsIdentity, error: &rustls::Error) -> TlsError {
    let (path, problem) = match error {
        rustls::Error::InconsistentKeys(_) => (
            &identity.key,
            TlsFileProblem::KeyOfAnother {
                certificate: identity.certificate.clone(),
            },
        ),
        rustls::Error::InvalidCertificate(_) => {
            (&identity.certificate, TlsFileProblem::BadCertificate)
        }
        _ => (&identity.key, TlsFileProblem::NoKey),
    };
    TlsError::file(path, problem)
}

fn read(path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let file = open(path)?;
    read_all(path, file)
}

/// Reads a file that nobody else may read; one that is somebody else's is theirs to keep secret.
fn read_private(path: &Path) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    let file = open(path)?;
    let metadata = file
        .metadata()
        .map_err(|error| TlsError::file(path, TlsFileProblem::unreadable(error)))?;
    let (mode, owner) = (metadata.mode() & 0o777, metadata.uid());
    if is_open_to_others(mode, owner, rustix::process::getuid().as_raw()) {
        return Err(TlsError::file(path, TlsFileProblem::OpenToOthers { mode }));
    }
    read_all(path, file)
}

fn open(path: &Path) -> Result<fs::File, TlsError> {
    fs::File::open(path).map_err(|error| TlsError::file(path, TlsFileProblem::unreadable(error)))
}

fn read_all(path: &Path, file: fs::File) -> Result<Zeroizing<Vec<u8>>, TlsError> {
    // Made once with all its room, so that no copy of a key is left behind.
    let room = file.metadata().map_or(0, |metadata| metadata.len()) + 1;
    let room = usize::try_from(room.min(LONGEST)).unwrap_or_default();
    let mut octets = Zeroizing::new(Vec::with_capacity(room));
    file.take(LONGEST)
        .read_to_end(&mut octets)
        .map_err(|error| TlsError::file(path, TlsFileProblem::unreadable(error)))?;
    Ok(octets)
}

/// The marks of PKCS#8 (RFC 7468 §11) and of OpenSSL's older format (RFC 1421 §4.6.1.1).
fn is_encrypted(octets: &[u8]) -> bool {
    let has = |mark: &str| memchr::memmem::find(octets, mark.as_bytes()).is_some();
    has("-----BEGIN ENCRYPTED PRIVATE KEY-----") || has("Proc-Type: 4,ENCRYPTED")
}

/// A hundred times the bundle of a browser.
const LONGEST: u64 = 32 << 20;
