//! What is below an SSH session: its octets, counted, and cut off when nothing else ends it.

use std::io;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::task::{Context, Poll};

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_util::sync::{CancellationToken, WaitForCancellationFutureOwned};

use crate::transport::BoxStream;

/// What an SSH session runs over.
///
/// Its shutdown never fails: russh forgets why a session ended when it cannot even shut down the
/// broken connection, and the reason is worth more.
pub(super) struct Wire {
    stream: BoxStream,
    heard: Heard,
    cut: Pin<Box<WaitForCancellationFutureOwned>>,
    is_cut: bool,
}

impl Wire {
    /// A stream that breaks, in both directions, once this token is cancelled.
    ///
    /// russh ends a session by nothing else while it exchanges keys: it looks at no request then,
    /// and does not notice that all handles are gone.
    pub(super) fn new(stream: BoxStream, cut: CancellationToken) -> Self {
        Self {
            stream,
            heard: Heard::default(),
            cut: Box::pin(cut.cancelled_owned()),
            is_cut: false,
        }
    }

    /// Fails if the stream was cut. Both halves are polled by russh's one task, so that one waker
    /// is enough.
    fn check(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        self.is_cut = self.is_cut || self.cut.as_mut().poll(cx).is_ready();
        if self.is_cut {
            let text = "the server stopped answering";
            return Err(io::Error::new(io::ErrorKind::TimedOut, text));
        }
        Ok(())
    }

    /// The count of what comes in.
    pub(super) fn heard(&self) -> Heard {
        self.heard.clone()
    }
}

/// How many octets the other side has sent so far, by which it shows whether it said anything.
#[derive(Clone, Debug, Default)]
pub(super) struct Heard(Arc<AtomicU64>);

impl Heard {
    pub(super) fn octets(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl AsyncRead for Wire {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check(cx)?;
        let before = buffer.filled().len();
        let read = Pin::new(&mut self.stream).poll_read(cx, buffer);
        let count = buffer.filled().len() - before;
        self.heard.0.fetch_add(count as u64, Ordering::Relaxed);
        read
    }
}

impl AsyncWrite for Wire {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.check(cx).is_err() {
            return Poll::Ready(Ok(()));
        }
        Pin::new(&mut self.stream).poll_shutdown(cx).map(|_| Ok(()))
    }
}

/// A TCP connection that acknowledges at once while the session is being set up.
///
/// sshd leaves Nagle's algorithm on and sends its handshake in small packets, so each of them waits
/// for the acknowledgement that the kernel likes to delay by 40 ms.
pub(super) struct QuickAck {
    stream: TcpStream,
    reads_left: u32,
}

impl QuickAck {
    pub(super) fn new(stream: TcpStream) -> Self {
        Self {
            stream,
            reads_left: READS_OF_A_HANDSHAKE,
        }
    }
}

impl AsyncRead for QuickAck {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        #[cfg(target_os = "linux")]
        if self.reads_left > 0 {
            self.reads_left -= 1;
            // The kernel falls back into delaying by itself (tcp(7)), hence again and again. It is
            // an optimisation only, so a refusal does not matter.
            rustix::net::sockopt::set_tcp_quickack(&self.stream, true).ok();
        }
        Pin::new(&mut self.stream).poll_read(cx, buffer)
    }
}

impl AsyncWrite for QuickAck {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        Pin::new(&mut self.stream).poll_write(cx, bytes)
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}

/// Enough reads for a handshake, and too few to matter afterwards.
const READS_OF_A_HANDSHAKE: u32 = 64;
