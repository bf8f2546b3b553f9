//! The streams below and above TLS.

use std::io;
use std::pin::Pin;
use std::task::{Context, Poll, ready};

use posthole_proto::text;
use tokio::io::{AsyncRead, AsyncWrite, BufReader, ReadBuf};
use tokio_rustls::client::TlsStream;

use super::{TlsError, rustls_error};
use crate::plan::HostPort;
use crate::transport::BoxStream;

/// What TLS runs on.
///
/// rustls reads 4 KiB at a time, and a record has four times as much, so there is a buffer
/// in between. It also keeps the first octets of the server, because a server that speaks
/// no TLS says in them what it speaks.
pub(super) struct Wire {
    inner: BufReader<BoxStream>,
    /// None once the handshake is over.
    first: Option<Vec<u8>>,
}

impl Wire {
    pub(super) fn new(stream: BoxStream) -> Self {
        Self {
            inner: BufReader::with_capacity(BUFFER_SIZE, stream),
            first: Some(Vec::new()),
        }
    }

    /// Stops keeping what the server sends.
    pub(super) fn end_of_handshake(&mut self) {
        self.first = None;
    }

    /// The first line of the server, if it cannot be TLS; cleaned for a person.
    pub(super) fn plain_text(&self) -> Option<String> {
        let first = self.first.as_deref()?;
        // RFC 8446 §5.1: the first octet of a record is its type, and no letter is one.
        if RECORD_TYPES.contains(first.first()?) {
            return None;
        }
        let line = first.split(|octet| *octet == b'\n').next()?;
        Some(text::excerpt(line.strip_suffix(b"\r").unwrap_or(line)))
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let before = buf.filled().len();
        ready!(Pin::new(&mut self.inner).poll_read(cx, buf))?;
        if let Some(first) = &mut self.first {
            let room = KEPT.saturating_sub(first.len());
            let new = &buf.filled()[before..];
            first.extend_from_slice(&new[..new.len().min(room)]);
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.inner).poll_write(cx, buf)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

/// What the session runs on: TLS, with errors that say what a person can do.
///
/// An end without TLS's own goodbye (close_notify, RFC 8446 §6.1) is an error: somebody in
/// between may have cut the connection.
pub(super) struct Protected {
    inner: TlsStream<Wire>,
    server: HostPort,
}

impl Protected {
    pub(super) fn new(inner: TlsStream<Wire>, server: HostPort) -> Self {
        Self { inner, server }
    }

    fn explain(&self, error: io::Error) -> io::Error {
        if error.kind() == io::ErrorKind::UnexpectedEof {
            return io::Error::new(
                io::ErrorKind::UnexpectedEof,
                "it ended without the goodbye of TLS",
            );
        }
        match rustls_error(&error) {
            Some(inner) => io::Error::new(error.kind(), TlsError::of(inner, self.server.clone())),
            None => error,
        }
    }
}

impl AsyncRead for Protected {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let read = Pin::new(&mut self.inner).poll_read(cx, buf);
        read.map_err(|error| self.explain(error))
    }
}

impl AsyncWrite for Protected {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let wrote = Pin::new(&mut self.inner).poll_write(cx, buf);
        wrote.map_err(|error| self.explain(error))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let flushed = Pin::new(&mut self.inner).poll_flush(cx);
        flushed.map_err(|error| self.explain(error))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let shut = Pin::new(&mut self.inner).poll_shutdown(cx);
        shut.map_err(|error| self.explain(error))
    }
}

/// As much as a session reads at a time.
const BUFFER_SIZE: usize = 64 * 1024;

/// How much of what the server said first is kept.
const KEPT: usize = 512;

/// change_cipher_spec, alert, handshake, application_data (RFC 8446 §5.1), heartbeat (RFC 6520).
const RECORD_TYPES: std::ops::RangeInclusive<u8> = 20..=24;
