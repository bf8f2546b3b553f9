//! The authorities that are trusted, read once for all accounts.

use std::collections::{HashMap, HashSet};
use std::fmt;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls_native_certs::{CertificateResult, load_certs_from_paths, load_native_certs};

use super::error::{TlsError, TlsFileProblem};
use super::{certificate, files};
use crate::plan::{Authorities, Pin, SystemStore};

/// The authorities that the accounts of a run trust.
///
/// This machine's own are some hundred and fifty certificates in as many files, which are read once
/// and not for each of a few hundred accounts.
#[derive(Default)]
pub struct TrustStores {
    stores: Mutex<HashMap<Authorities, (Instant, Arc<TrustStore>)>>,
}

/// Certificates that are trusted.
pub(super) struct TrustStore {
    pub(super) roots: Arc<RootCertStore>,
    fingerprints: HashSet<Pin>,
}

impl TrustStores {
    /// The certificates of some authorities; blocks while they are read, also for others.
    pub(super) fn get(&self, authorities: &Authorities) -> Result<Arc<TrustStore>, TlsError> {
        let mut stores = self.stores.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some((read, store)) = stores.get(authorities)
            && read.elapsed() < KEEP
        {
            return Ok(Arc::clone(store));
        }
        let store = Arc::new(match authorities {
            Authorities::Files(files) => from_files(files)?,
            Authorities::System(store) => from_system(store)?,
        });
        stores.insert(authorities.clone(), (Instant::now(), Arc::clone(&store)));
        Ok(store)
    }
}

impl fmt::Debug for TrustStores {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TrustStores").finish_non_exhaustive()
    }
}

impl TrustStore {
    /// Whether a certificate is itself among those that are trusted.
    pub(super) fn holds(&self, der: &CertificateDer<'_>) -> bool {
        self.fingerprints.contains(&certificate::fingerprint(der))
    }

    /// Trusts what can be read of these, as it is with a bundle of somebody else's.
    fn lenient(certificates: Vec<CertificateDer<'static>>) -> Self {
        let fingerprints = certificates.iter().map(certificate::fingerprint).collect();
        let mut roots = RootCertStore::empty();
        roots.add_parsable_certificates(certificates);
        Self {
            roots: Arc::new(roots),
            fingerprints,
        }
    }
}

fn from_files(paths: &[impl AsRef<Path>]) -> Result<TrustStore, TlsError> {
    let mut roots = RootCertStore::empty();
    let mut fingerprints = HashSet::new();
    for path in paths {
        let path = path.as_ref();
        for der in files::certificates(path)? {
            fingerprints.insert(certificate::fingerprint(&der));
            // A person put it there, so it is meant to count.
            roots
                .add(der)
                .map_err(|_| TlsError::file(path, TlsFileProblem::BadCertificate))?;
        }
    }
    Ok(TrustStore {
        roots: Arc::new(roots),
        fingerprints,
    })
}

fn from_system(system: &SystemStore) -> Result<TrustStore, TlsError> {
    let SystemStore { file, directories } = system;
    let mut found = CertificateResult::default();
    if file.is_none() && directories.is_empty() {
        found = load_native_certs();
    }
    let mut add = |file, directory| {
        let more = load_certs_from_paths(file, directory);
        found.certs.extend(more.certs);
        found.errors.extend(more.errors);
    };
    if file.is_some() {
        add(file.as_deref(), None);
    }
    for directory in directories {
        add(None, Some(directory.as_path()));
    }
    for error in &found.errors {
        tracing::debug!(%error, "a part of the system's certificates");
    }
    let store = TrustStore::lenient(found.certs);
    if store.roots.is_empty() {
        return Err(TlsError::NoAuthorities {
            store: system.clone(),
            reason: found.errors.first().map(ToString::to_string),
        });
    }
    Ok(store)
}

/// How long certificates are believed to be what the files hold.
const KEEP: Duration = Duration::from_secs(60 * 60);
