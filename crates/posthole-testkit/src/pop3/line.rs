//! The line to a client, in the clear or with TLS.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use rustls::ServerConfig;
use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, ReadBuf};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use crate::net::{Connection, Metered};

/// A connection that may begin to speak TLS; its limits count what is on the wire.
pub(super) enum Line<S> {
    Clear(Metered<S>),
    Tls(Box<TlsStream<Metered<S>>>),
    /// In the middle of a handshake.
    Between,
}

impl<S: Connection> Line<S> {
    /// Waits for the client's handshake and answers it.
    pub(super) async fn start_tls(&mut self, config: Arc<ServerConfig>) -> io::Result<()> {
        let Self::Clear(stream) = std::mem::replace(self, Self::Between) else {
            return Err(io::Error::other("there is TLS already"));
        };
        let accept = TlsAcceptor::from(config).accept(stream).into_fallible();
        match accept.await {
            Ok(stream) => {
                *self = Self::Tls(Box::new(stream));
                Ok(())
            }
            Err((error, stream)) => {
                *self = Self::Clear(stream);
                Err(error)
            }
        }
    }

    pub(super) fn is_tls(&self) -> bool {
        matches!(self, Self::Tls(_))
    }

    /// What names the TLS connection for `tls-exporter` (RFC 9266), where there is TLS 1.3.
    pub(super) fn exporter(&self) -> Option<Vec<u8>> {
        let Self::Tls(stream) = self else {
            return None;
        };
        let connection = stream.get_ref().1;
        if connection.protocol_version() != Some(rustls::ProtocolVersion::TLSv1_3) {
            return None;
        }
        let label = b"EXPORTER-Channel-Binding";
        let exported = connection.export_keying_material([0; 32], label, Some(b""));
        exported.ok().map(|octets| octets.to_vec())
    }

    /// The bare connection, after the goodbye of TLS if that is to be said and no limit was reached.
    pub(super) async fn into_bare(self, says_goodbye: bool) -> Option<Metered<S>> {
        match self {
            Self::Clear(stream) => Some(stream),
            Self::Tls(mut stream) => {
                if says_goodbye && !stream.get_ref().0.is_spent() {
                    stream.shutdown().await.ok();
                }
                Some(stream.into_inner().0)
            }
            Self::Between => None,
        }
    }
}

impl<S: Connection> AsyncRead for Line<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Clear(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_read(cx, buf),
            Self::Between => Poll::Ready(Ok(())),
        }
    }
}

impl<S: Connection> AsyncWrite for Line<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        match &mut *self {
            Self::Clear(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Tls(stream) => Pin::new(stream).poll_write(cx, buf),
            Self::Between => Poll::Ready(Err(io::ErrorKind::BrokenPipe.into())),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Clear(stream) => Pin::new(stream).poll_flush(cx),
            Self::Tls(stream) => Pin::new(stream).poll_flush(cx),
            Self::Between => Poll::Ready(Ok(())),
        }
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        match &mut *self {
            Self::Clear(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Tls(stream) => Pin::new(stream).poll_shutdown(cx),
            Self::Between => Poll::Ready(Ok(())),
        }
    }
}
