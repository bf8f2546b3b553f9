//! TLS to the mail server, by rustls: whom to believe, and what goes wrong.
//!
//! A [`Client`] is made before anything is sent, since it reads files, and then makes one
//! handshake on a stream that stands, be that a TCP connection or a channel through SSH. The hard
//! part is what is said when it fails: rustls knows that a certificate is bad, and a person wants
//! to know which one, whose, since when, and what to do (`verify`, `certificate`, [`TlsError`]).
//!
//! Sessions are not resumed: with TLS 1.3 that saves no round trip, and it would let a server
//! recognise us.

mod authorities;
mod certificate;
mod error;
mod files;
mod stream;
mod verify;

use std::fmt;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use rustls::client::Resumption;
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, ClientConnection, ProtocolVersion};
use tokio_rustls::TlsConnector;

use super::BoxStream;
use crate::plan::{HostPort, Tls};
use stream::{Protected, Wire};
use verify::Verifier;

pub use authorities::TrustStores;
pub use certificate::Certificate;
pub use error::{Flaw, TlsError, TlsFileProblem, UntrustedCertificate};

/// Everything that one handshake needs.
pub(crate) struct Client {
    config: Arc<ClientConfig>,
    verifier: Arc<Verifier>,
    name: ServerName<'static>,
    server: HostPort,
    /// Whether the server was asked for TLS (STLS) on a connection without.
    stls: bool,
    limit: Duration,
}

impl Client {
    /// Reads what the plan names; nothing is sent.
    pub(crate) async fn prepare(
        tls: &Tls,
        server: &HostPort,
        stores: &Arc<TrustStores>,
        limit: Duration,
    ) -> Result<Self, TlsError> {
        let name = server_name(&tls.name)?;
        let (tls, stores) = (tls.clone(), Arc::clone(stores));
        let stls = tls.start != crate::plan::TlsStart::AtOnce;
        let reading = tokio::task::spawn_blocking(move || read(&tls, &stores));
        let (config, verifier) = match reading.await {
            Ok(read) => read?,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // Only a runtime that shuts down cancels such a task.
                Err(_cancelled) => return Err(TlsError::Stopping),
            },
        };
        Ok(Self {
            config: Arc::new(config),
            verifier,
            name,
            server: server.clone(),
            stls,
            limit,
        })
    }

    /// Makes the handshake; the stream is gone if it fails.
    pub(crate) async fn handshake(
        &self,
        stream: BoxStream,
    ) -> Result<(BoxStream, Secured), TlsError> {
        let connector = TlsConnector::from(Arc::clone(&self.config));
        let connecting = connector
            .connect(self.name.clone(), Wire::new(stream))
            .into_fallible();
        let connected = match tokio::time::timeout(self.limit, connecting).await {
            Ok(connected) => connected,
            Err(_elapsed) => {
                return Err(TlsError::Timeout {
                    server: self.server.clone(),
                    after: self.limit,
                });
            }
        };
        let mut stream = connected.map_err(|(error, wire)| self.explain(error, &wire))?;
        stream.get_mut().0.end_of_handshake();
        let secured = Secured::of(stream.get_ref().1, self.stls);
        Ok((
            Box::new(Protected::new(stream, self.server.clone())),
            secured,
        ))
    }

    /// Finds out what is behind an error of the handshake.
    fn explain(&self, error: io::Error, wire: &Wire) -> TlsError {
        let server = self.server.clone();
        if let Some(received) = wire.plain_text() {
            return TlsError::NotTls {
                server,
                received,
                stls: self.stls,
            };
        }
        let Some(error) = rustls_error(&error) else {
            return TlsError::Lost {
                server,
                error: Arc::new(error),
            };
        };
        match error {
            rustls::Error::InvalidCertificate(flaw) => {
                self.verifier.untrusted(flaw, &self.name, &self.server)
            }
            error => TlsError::of(error, server),
        }
    }
}

fn read(tls: &Tls, stores: &TrustStores) -> Result<(ClientConfig, Arc<Verifier>), TlsError> {
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let verifier = Arc::new(Verifier::read(tls, stores, &provider)?);
    let builder = ClientConfig::builder_with_provider(provider)
        .with_protocol_versions(&[&rustls::version::TLS13, &rustls::version::TLS12])
        .map_err(|error| TlsError::Setup {
            reason: error.to_string(),
        })?
        .dangerous()
        .with_custom_certificate_verifier(Arc::clone(&verifier) as _);
    let mut config = match &tls.identity {
        None => builder.with_no_client_auth(),
        Some(identity) => {
            let (chain, key) = files::identity(identity)?;
            builder
                .with_client_auth_cert(chain, key)
                .map_err(|error| files::unfit(identity, &error))?
        }
    };
    config.resumption = Resumption::disabled();
    Ok((config, verifier))
}

fn server_name(name: &str) -> Result<ServerName<'static>, TlsError> {
    // The zone of an address (RFC 4007 §11) is about this machine, not about the server.
    let bare = match name.split_once('%') {
        Some((address, _zone)) if address.contains(':') => address,
        _ => name,
    };
    ServerName::try_from(bare.to_owned()).map_err(|_| TlsError::Name {
        name: name.to_owned(),
    })
}

/// The error of rustls in an input/output error, if that is where it came from.
fn rustls_error(error: &io::Error) -> Option<&rustls::Error> {
    error.get_ref()?.downcast_ref()
}

/// What a handshake came to.
#[derive(Clone, Debug)]
pub struct Secured {
    /// For people.
    pub parameters: Parameters,
    /// For logins that bind themselves to this connection.
    pub binding: ChannelBinding,
}

/// What protects a stream, for people.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Parameters {
    /// Such as `TLS 1.3`.
    pub version: &'static str,
    /// Such as `TLS_AES_256_GCM_SHA384`.
    pub cipher_suite: String,
    /// How the keys were agreed upon, such as `X25519MLKEM768`.
    pub key_exchange: Option<String>,
    /// The server's certificate, unless it cannot be read any further than it was needed.
    pub certificate: Option<Certificate>,
    /// Whether it began with STLS and not with the connection.
    pub stls: bool,
}

/// What ties a login to the TLS connection it goes through (RFC 5056).
///
/// SCRAM-PLUS (RFC 5802 §6) sends it along, so that nobody in between can pass the login on.
#[derive(Clone, Default, Eq, PartialEq)]
pub struct ChannelBinding {
    /// `tls-exporter` (RFC 9266); with TLS 1.3 only.
    pub exporter: Option<[u8; 32]>,
    /// `tls-server-end-point` (RFC 5929 §4): the certificate's digest; none for signatures
    /// without a hash function of their own, such as Ed25519.
    pub server_end_point: Option<Vec<u8>>,
}

impl fmt::Debug for ChannelBinding {
    /// Names what is there and not the octets, which belong to the keys of the connection.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("ChannelBinding")
            .field("exporter", &self.exporter.is_some())
            .field("server_end_point", &self.server_end_point.is_some())
            .finish()
    }
}

impl Secured {
    fn of(connection: &ClientConnection, stls: bool) -> Self {
        let is_13 = connection.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        let suite = connection.negotiated_cipher_suite();
        let suite = suite.and_then(|suite| suite.suite().as_str()).unwrap_or("");
        let group = connection.negotiated_key_exchange_group();
        let certificate = connection
            .peer_certificates()
            .and_then(|chain| chain.first());
        Self {
            parameters: Parameters {
                version: if is_13 { "TLS 1.3" } else { "TLS 1.2" },
                // rustls tells the suites of TLS 1.3 apart by a prefix that no standard has.
                cipher_suite: suite.replacen("TLS13_", "TLS_", 1),
                key_exchange: group.and_then(|group| Some(group.name().as_str()?.to_owned())),
                certificate: certificate.and_then(Certificate::read),
                stls,
            },
            binding: ChannelBinding {
                exporter: if is_13 { exporter(connection) } else { None },
                server_end_point: certificate.and_then(certificate::server_end_point),
            },
        }
    }
}

/// RFC 9266 §2. Not with TLS 1.2, where it needs an extension that rustls does not tell of.
fn exporter(connection: &ClientConnection) -> Option<[u8; 32]> {
    connection
        .export_keying_material([0; 32], b"EXPORTER-Channel-Binding", Some(b""))
        .ok()
}

#[cfg(test)]
mod tests;
