//! Which server certificate is taken.
//!
//! Without pins it is the one that an authority signed for the expected name (RFC 9525), as
//! rustls's WebPKI judges it; the common name of a subject counts for nothing. A certificate that
//! a person put among the trusted ones is also taken when it is its own authority, which WebPKI
//! does not know: that is how small servers are run, and what OpenSSL and GnuTLS do.
//!
//! The signature of the handshake is checked in every case, so that a certificate is worth nothing
//! without its key.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use rustls::client::danger::{HandshakeSignatureValid, ServerCertVerified, ServerCertVerifier};
use rustls::client::{WebPkiServerVerifier, verify_server_name};
use rustls::crypto::{
    CryptoProvider, WebPkiSupportedAlgorithms, verify_tls12_signature, verify_tls13_signature,
};
use rustls::pki_types::{CertificateDer, ServerName, UnixTime};
use rustls::server::ParsedCertificate;
use rustls::{CertificateError, DigitallySignedStruct, Error, SignatureScheme};

use super::authorities::{TrustStore, TrustStores};
use super::certificate::{self, Certificate};
use super::error::{Flaw, TlsError, UntrustedCertificate};
use super::files;
use crate::plan::{HostPort, NameFrom, Pin, Tls};

/// Judges the certificate of one server.
#[derive(Debug)]
pub(super) struct Verifier {
    trust: Trust,
    /// Where the name is from that certificates must be for.
    name_from: NameFrom,
    algorithms: WebPkiSupportedAlgorithms,
    /// The certificate that was shown last, for the error: rustls tells only what is wrong with it.
    shown: Mutex<Option<CertificateDer<'static>>>,
}

/// What a certificate is judged by.
enum Trust {
    Authorities {
        web_pki: Arc<WebPkiServerVerifier>,
        store: Arc<TrustStore>,
    },
    Pins(Vec<Pin>),
}

impl std::fmt::Debug for Trust {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Authorities { .. } => f.write_str("Authorities"),
            Self::Pins(pins) => f.debug_tuple("Pins").field(pins).finish(),
        }
    }
}

impl Verifier {
    /// Reads what certificates are judged by; blocks.
    pub(super) fn read(
        tls: &Tls,
        stores: &TrustStores,
        provider: &Arc<CryptoProvider>,
    ) -> Result<Self, TlsError> {
        let trust = if tls.pins.is_empty() {
            let store = stores.get(&tls.authorities)?;
            Trust::Authorities {
                web_pki: web_pki(tls, &store, provider)?,
                store,
            }
        } else {
            Trust::Pins(tls.pins.clone())
        };
        Ok(Self {
            trust,
            name_from: tls.name_from,
            algorithms: provider.signature_verification_algorithms,
            shown: Mutex::default(),
        })
    }

    /// The error for a certificate that was not taken.
    pub(super) fn untrusted(
        &self,
        error: &CertificateError,
        name: &ServerName<'_>,
        server: &HostPort,
    ) -> TlsError {
        let shown = self.shown.lock().unwrap_or_else(PoisonError::into_inner);
        let certificate = shown.as_ref().and_then(Certificate::read);
        let flaw = match (&self.trust, flaw(error, certificate.as_ref())) {
            (Trust::Pins(_), _) => Flaw::NotPinned,
            (Trust::Authorities { .. }, flaw) => flaw,
        };
        TlsError::Untrusted(Box::new(UntrustedCertificate {
            server: server.clone(),
            name: name.to_str().into_owned(),
            name_from: self.name_from,
            flaw,
            certificate,
            now: SystemTime::now(),
        }))
    }
}

fn web_pki(
    tls: &Tls,
    store: &TrustStore,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<WebPkiServerVerifier>, TlsError> {
    let mut builder =
        WebPkiServerVerifier::builder_with_provider(Arc::clone(&store.roots), Arc::clone(provider));
    for path in &tls.revocation_lists {
        builder = builder.with_crls(files::revocation_lists(path)?);
    }
    if !tls.revocation_lists.is_empty() {
        // Not every authority on the way needs to have a list here; but one that is out of date
        // says nothing about today.
        builder = builder
            .allow_unknown_revocation_status()
            .enforce_revocation_expiration();
    }
    builder.build().map_err(|error| TlsError::Setup {
        reason: error.to_string(),
    })
}

impl ServerCertVerifier for Verifier {
    fn verify_server_cert(
        &self,
        end_entity: &CertificateDer<'_>,
        intermediates: &[CertificateDer<'_>],
        server_name: &ServerName<'_>,
        ocsp_response: &[u8],
        now: UnixTime,
    ) -> Result<ServerCertVerified, Error> {
        *self.shown.lock().unwrap_or_else(PoisonError::into_inner) =
            Some(end_entity.clone().into_owned());
        match &self.trust {
            Trust::Pins(pins) => {
                let ours = [
                    Some(certificate::fingerprint(end_entity)),
                    certificate::public_key(end_entity),
                ];
                if ours.iter().flatten().any(|pin| pins.contains(pin)) {
                    Ok(ServerCertVerified::assertion())
                } else {
                    Err(CertificateError::ApplicationVerificationFailure.into())
                }
            }
            Trust::Authorities { web_pki, store } => {
                let judged = web_pki.verify_server_cert(
                    end_entity,
                    intermediates,
                    server_name,
                    ocsp_response,
                    now,
                );
                match judged {
                    Err(Error::InvalidCertificate(flaw))
                        if is_about_its_issuer(&flaw) && store.holds(end_entity) =>
                    {
                        check_own_authority(end_entity, server_name, now)
                    }
                    judged => judged,
                }
            }
        }
    }

    fn verify_tls12_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls12_signature(message, cert, dss, &self.algorithms)
    }

    fn verify_tls13_signature(
        &self,
        message: &[u8],
        cert: &CertificateDer<'_>,
        dss: &DigitallySignedStruct,
    ) -> Result<HandshakeSignatureValid, Error> {
        verify_tls13_signature(message, cert, dss, &self.algorithms)
    }

    fn supported_verify_schemes(&self) -> Vec<SignatureScheme> {
        self.algorithms.supported_schemes()
    }
}

/// Checks what is left to be checked of a certificate that a person trusts as it is.
fn check_own_authority(
    end_entity: &CertificateDer<'_>,
    server_name: &ServerName<'_>,
    now: UnixTime,
) -> Result<ServerCertVerified, Error> {
    let certificate = Certificate::read(end_entity).ok_or(CertificateError::BadEncoding)?;
    let time = UNIX_EPOCH + Duration::from_secs(now.as_secs());
    if time < certificate.not_before {
        return Err(CertificateError::NotValidYet.into());
    }
    if time > certificate.not_after {
        return Err(CertificateError::Expired.into());
    }
    verify_server_name(&ParsedCertificate::try_from(end_entity)?, server_name)?;
    Ok(ServerCertVerified::assertion())
}

/// Whether an error says no more than that nobody vouches for a certificate but itself.
fn is_about_its_issuer(error: &CertificateError) -> bool {
    matches!(error, CertificateError::UnknownIssuer) || is_an_authority(error)
}

/// Whether the certificate is that of an authority and not of a server: most that sign themselves
/// are, since `openssl req -x509` makes them so.
fn is_an_authority(error: &CertificateError) -> bool {
    matches!(error, CertificateError::Other(other) if
        other.0.downcast_ref::<webpki::Error>() == Some(&webpki::Error::CaUsedAsEndEntity))
}

fn flaw(error: &CertificateError, certificate: Option<&Certificate>) -> Flaw {
    match error {
        CertificateError::Expired | CertificateError::ExpiredContext { .. } => Flaw::Expired,
        CertificateError::NotValidYet | CertificateError::NotValidYetContext { .. } => {
            Flaw::NotYetValid
        }
        CertificateError::NotValidForName | CertificateError::NotValidForNameContext { .. } => {
            Flaw::WrongName
        }
        CertificateError::Revoked => Flaw::Revoked,
        CertificateError::ExpiredRevocationList
        | CertificateError::ExpiredRevocationListContext { .. } => Flaw::RevocationListExpired,
        error if is_about_its_issuer(error) => {
            if certificate.is_some_and(Certificate::is_self_signed) {
                Flaw::SelfSigned
            } else {
                Flaw::UnknownIssuer
            }
        }
        CertificateError::BadEncoding => Flaw::Unusable("it is damaged".to_owned()),
        CertificateError::BadSignature => {
            Flaw::Unusable("its signature, or that of the handshake, is wrong".to_owned())
        }
        CertificateError::InvalidPurpose | CertificateError::InvalidPurposeContext { .. } => {
            Flaw::Unusable("it is not meant for servers".to_owned())
        }
        CertificateError::UnsupportedSignatureAlgorithmContext { .. }
        | CertificateError::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            Flaw::Unusable("it is signed in a way that is not supported, or too weak".to_owned())
        }
        CertificateError::UnhandledCriticalExtension => {
            Flaw::Unusable("it demands something that is not supported".to_owned())
        }
        CertificateError::Other(other) => Flaw::Unusable(other.0.to_string()),
        other => Flaw::Unusable(other.to_string()),
    }
}
