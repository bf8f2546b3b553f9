//! Certificates for tests, made when they are needed, and servers that show them.
//!
//! ```
//! use posthole_testkit::pop3::{Maildrop, Pop3Server};
//! use posthole_testkit::tls::{Authority, Tls};
//!
//! let authority = Authority::new("Test CA");
//! let certificate = authority.issue(&["mail.example.org"]);
//! let server = Pop3Server::builder()
//!     .account("msingh", "secret", &Maildrop::of([b"Subject: hi\r\n\r\n".to_vec()]))
//!     .stls(Tls::new(&certificate))
//!     .start();
//! // … let a client that trusts authority.pem() talk to server.addr() …
//! ```
//!
//! Keys are ECDSA on P-256 unless asked otherwise, since those are quick to make.

pub mod raw;

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, SystemTime};

use rcgen::{
    BasicConstraints, Certificate, CertificateParams, CertificateRevocationListParams, DnType,
    ExtendedKeyUsagePurpose, IsCa, Issuer, KeyIdMethod, KeyPair, KeyUsagePurpose,
    RevokedCertParams, SerialNumber, SignatureAlgorithm,
};
use rustls::crypto::CryptoProvider;
use rustls::crypto::aws_lc_rs::{cipher_suite, default_provider};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion};

/// Who signs certificates.
pub struct Authority {
    issuer: Issuer<'static, KeyPair>,
    certificate: Certificate,
}

impl Authority {
    /// An authority that signed itself.
    ///
    /// # Panics
    ///
    /// If a certificate cannot be made, which is no fault of the caller.
    #[must_use]
    pub fn new(name: &str) -> Self {
        let key = KeyPair::generate().expect("a key can be made");
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        params.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
        let certificate = params.self_signed(&key).expect("an authority can be made");
        Self {
            issuer: Issuer::new(params, key),
            certificate,
        }
    }

    /// Its certificate (PEM).
    #[must_use]
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// Signs a certificate for a server with these names, good for a year.
    #[must_use]
    pub fn issue(&self, names: &[&str]) -> Identity {
        self.sign(&Request::new(names))
    }

    /// Signs a certificate as it is asked for.
    ///
    /// # Panics
    ///
    /// As [`new`](Self::new) does, and for a name that cannot be in a certificate.
    #[must_use]
    pub fn sign(&self, request: &Request) -> Identity {
        let key = request.generate_key();
        let (params, serial) = request.params();
        let certificate = params.signed_by(&key, &self.issuer);
        let certificate = certificate.expect("a certificate can be made");
        Identity {
            certificate,
            key,
            serial,
        }
    }

    /// A list of revoked certificates (PEM) that is good until `until`.
    ///
    /// # Panics
    ///
    /// As [`new`](Self::new) does.
    #[must_use]
    pub fn revocation_list(&self, revoked: &[&Identity], until: SystemTime) -> String {
        let now = SystemTime::now();
        let revoked = revoked.iter().map(|identity| RevokedCertParams {
            serial_number: identity.serial.into(),
            revocation_time: (now - DAY).into(),
            reason_code: None,
            invalidity_date: None,
        });
        let list = CertificateRevocationListParams {
            this_update: (now - 30 * DAY).into(),
            next_update: until.into(),
            crl_number: SerialNumber::from(1),
            issuing_distribution_point: None,
            revoked_certs: revoked.collect(),
            key_identifier_method: KeyIdMethod::Sha256,
        };
        let list = list.signed_by(&self.issuer).and_then(|list| list.pem());
        list.expect("a list can be made")
    }
}

impl fmt::Debug for Authority {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authority").finish_non_exhaustive()
    }
}

/// A certificate that is asked for.
#[derive(Clone, Debug)]
pub struct Request {
    names: Vec<String>,
    common_name: Option<String>,
    not_before: SystemTime,
    not_after: SystemTime,
    algorithm: &'static SignatureAlgorithm,
    is_ca: bool,
    usage: ExtendedKeyUsagePurpose,
}

impl Request {
    /// For a server with these host names or addresses, from yesterday on and for a year.
    #[must_use]
    pub fn new(names: &[&str]) -> Self {
        let now = SystemTime::now();
        Self {
            names: names.iter().map(|&name| name.to_owned()).collect(),
            common_name: None,
            not_before: now - DAY,
            not_after: now + 365 * DAY,
            algorithm: &rcgen::PKCS_ECDSA_P256_SHA256,
            is_ca: false,
            usage: ExtendedKeyUsagePurpose::ServerAuth,
        }
    }

    /// For a client with this name.
    #[must_use]
    pub fn client(name: &str) -> Self {
        Self {
            usage: ExtendedKeyUsagePurpose::ClientAuth,
            ..Self::new(&[]).common_name(name)
        }
    }

    /// Gives the subject a name.
    #[must_use]
    pub fn common_name(mut self, name: &str) -> Self {
        self.common_name = Some(name.to_owned());
        self
    }

    /// Changes its time.
    #[must_use]
    pub fn valid(mut self, from: SystemTime, to: SystemTime) -> Self {
        self.not_before = from;
        self.not_after = to;
        self
    }

    /// Asks for an Ed25519 key.
    #[must_use]
    pub fn ed25519(mut self) -> Self {
        self.algorithm = &rcgen::PKCS_ED25519;
        self
    }

    /// Asks for an ECDSA key on P-384.
    #[must_use]
    pub fn p384(mut self) -> Self {
        self.algorithm = &rcgen::PKCS_ECDSA_P384_SHA384;
        self
    }

    /// Makes it the certificate of an authority, as `openssl req -x509` does.
    #[must_use]
    pub fn authority(mut self) -> Self {
        self.is_ca = true;
        self
    }

    /// A certificate that is signed by its own key.
    ///
    /// # Panics
    ///
    /// As [`Authority::sign`] does.
    #[must_use]
    pub fn self_signed(&self) -> Identity {
        let key = self.generate_key();
        let (params, serial) = self.params();
        let certificate = params.self_signed(&key);
        let certificate = certificate.expect("a certificate can be made");
        Identity {
            certificate,
            key,
            serial,
        }
    }

    fn generate_key(&self) -> KeyPair {
        KeyPair::generate_for(self.algorithm).expect("a key can be made")
    }

    fn params(&self) -> (CertificateParams, u64) {
        let params = CertificateParams::new(self.names.clone());
        let mut params = params.expect("these can be names of a certificate");
        params.distinguished_name = rcgen::DistinguishedName::new();
        let common_name = self.common_name.as_ref().or_else(|| self.names.first());
        if let Some(name) = common_name {
            params.distinguished_name.push(DnType::CommonName, name);
        }
        params.not_before = self.not_before.into();
        params.not_after = self.not_after.into();
        params.extended_key_usages = vec![self.usage.clone()];
        if self.is_ca {
            params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        }
        let serial = SERIAL.fetch_add(1, Ordering::Relaxed);
        params.serial_number = Some(serial.into());
        (params, serial)
    }
}

/// A certificate with its private key.
pub struct Identity {
    certificate: Certificate,
    key: KeyPair,
    serial: u64,
}

impl Identity {
    /// The certificate (PEM).
    #[must_use]
    pub fn pem(&self) -> String {
        self.certificate.pem()
    }

    /// The certificate (DER).
    #[must_use]
    pub fn der(&self) -> &[u8] {
        self.certificate.der()
    }

    /// The private key (PKCS#8 in PEM).
    #[must_use]
    pub fn key_pem(&self) -> String {
        self.key.serialize_pem()
    }

    /// The public key with its algorithm (SubjectPublicKeyInfo in DER).
    #[must_use]
    pub fn public_key(&self) -> Vec<u8> {
        rcgen::PublicKeyData::subject_public_key_info(&self.key)
    }
}

impl fmt::Debug for Identity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Identity")
            .field("serial", &self.serial)
            .finish_non_exhaustive()
    }
}

/// How a server speaks TLS.
#[derive(Clone)]
pub struct Tls {
    certificate_pem: String,
    key_pem: String,
    chain_pem: Vec<String>,
    versions: &'static [&'static SupportedProtocolVersion],
    clients_pem: Option<String>,
}

impl Tls {
    /// A server that shows a certificate and takes any client, with TLS 1.2 and 1.3.
    #[must_use]
    pub fn new(identity: &Identity) -> Self {
        Self {
            certificate_pem: identity.pem(),
            key_pem: identity.key_pem(),
            chain_pem: Vec::new(),
            versions: rustls::ALL_VERSIONS,
            clients_pem: None,
        }
    }

    /// Leaves out TLS 1.3.
    #[must_use]
    pub fn only_tls_1_2(mut self) -> Self {
        self.versions = ONLY_TLS_1_2;
        self
    }

    /// Shows these certificates (PEM) after its own, whether they have to do with it or not.
    #[must_use]
    pub fn also_showing(mut self, chain: impl IntoIterator<Item = String>) -> Self {
        self.chain_pem.extend(chain);
        self
    }

    /// Takes only clients with a certificate of this authority.
    #[must_use]
    pub fn only_clients_of(mut self, authority: &Authority) -> Self {
        self.clients_pem = Some(authority.pem());
        self
    }

    /// The certificate (PEM).
    pub(crate) fn certificate_pem(&self) -> &str {
        &self.certificate_pem
    }

    /// Its private key (PEM).
    pub(crate) fn key_pem(&self) -> &str {
        &self.key_pem
    }

    /// The authority that clients must have a certificate of (PEM).
    pub(crate) fn clients_pem(&self) -> Option<&str> {
        self.clients_pem.as_deref()
    }

    /// What rustls needs to know of it.
    ///
    /// # Panics
    ///
    /// If the parts do not fit together, which is no fault of the caller.
    #[must_use]
    pub fn config(&self) -> Arc<ServerConfig> {
        Arc::new(self.config_with(default_provider()))
    }

    /// The same for a server whose keys can be had, with AES-128-GCM alone.
    fn extractable(&self) -> Arc<ServerConfig> {
        let mut provider = default_provider();
        provider.cipher_suites = vec![
            cipher_suite::TLS13_AES_128_GCM_SHA256,
            cipher_suite::TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256,
        ];
        let mut config = self.config_with(provider);
        config.enable_secret_extraction = true;
        Arc::new(config)
    }

    fn config_with(&self, provider: CryptoProvider) -> ServerConfig {
        let provider = Arc::new(provider);
        let signs = provider.key_provider;
        let builder = ServerConfig::builder_with_provider(Arc::clone(&provider))
            .with_protocol_versions(self.versions)
            .expect("the provider knows these versions");
        let certificate =
            |pem: &str| CertificateDer::from_pem_slice(pem.as_bytes()).expect("it is PEM");
        let builder = match &self.clients_pem {
            None => builder.with_no_client_auth(),
            Some(authority) => {
                let mut roots = RootCertStore::empty();
                let added = roots.add(certificate(authority));
                added.expect("it is an authority");
                let verifier =
                    WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider).build();
                builder.with_client_cert_verifier(verifier.expect("there is an authority"))
            }
        };
        let key = PrivateKeyDer::from_pem_slice(self.key_pem.as_bytes()).expect("it is a key");
        let shown = std::iter::once(&self.certificate_pem).chain(&self.chain_pem);
        let shown = shown.map(|pem| certificate(pem)).collect();
        let key = signs.load_private_key(key).expect("it can sign");
        // rustls would look at the certificate, and refuse to show what no client should take.
        let shown = CertifiedKey::new(shown, key);
        builder.with_cert_resolver(Arc::new(SingleCertAndKey::from(shown)))
    }
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls")
            .field("clients", &self.clients_pem.is_some())
            .finish_non_exhaustive()
    }
}

static ONLY_TLS_1_2: &[&SupportedProtocolVersion] = &[&rustls::version::TLS12];
static SERIAL: AtomicU64 = AtomicU64::new(1);
const DAY: Duration = Duration::from_secs(24 * 60 * 60);
