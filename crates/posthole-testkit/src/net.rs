//! A byte stream that counts what passes and stops where it is told to.
//!
//! Both in-process servers put their connections through it, so that "cut after n bytes"
//! means the same everywhere: exactly n bytes pass, in either direction, and then the connection
//! ends or falls silent.

use std::io;
use std::pin::Pin;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, AsyncWriteExt, DuplexStream, ReadBuf};
use tokio::net::TcpStream;

/// How a connection ends.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Ending {
    /// With a FIN after the last byte, so that the peer sees all bytes and then end of file.
    #[default]
    Close,
    /// With an RST; the peer may lose bytes that were on the way.
    Reset,
    /// Not at all: nothing moves any more, and the connection stays open.
    Stall,
}

/// Where a connection ends, counted from the server's point of view.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub struct Limits {
    /// Bytes that may be sent before the end.
    pub sent: Option<u64>,
    /// Bytes that may be received before the end.
    pub received: Option<u64>,
    /// What happens then.
    pub ending: Ending,
}

/// Bytes that passed, over all connections that share the counter.
#[derive(Clone, Debug, Default)]
pub struct Traffic(Arc<TrafficInner>);

#[derive(Debug, Default)]
struct TrafficInner {
    sent: AtomicU64,
    received: AtomicU64,
    heard: Mutex<Vec<u8>>,
}

impl Traffic {
    /// Bytes the server sent.
    #[must_use]
    pub fn sent(&self) -> u64 {
        self.0.sent.load(Ordering::SeqCst)
    }

    /// Bytes the server received.
    #[must_use]
    pub fn received(&self) -> u64 {
        self.0.received.load(Ordering::SeqCst)
    }

    /// The octets that the server received, as they were on the wire; the first 64 KiB of them.
    #[must_use]
    pub fn heard(&self) -> Vec<u8> {
        self.heard_so_far().clone()
    }

    fn heard_so_far(&self) -> std::sync::MutexGuard<'_, Vec<u8>> {
        self.0.heard.lock().expect("no holder of this lock panics")
    }
}

/// A connection that can be ended hard.
pub trait Connection: AsyncRead + AsyncWrite + Send + Unpin + 'static {
    /// Makes the coming drop send an RST instead of a FIN, where the kind of stream knows one.
    fn reset_on_drop(&self) {}
}

impl Connection for TcpStream {
    fn reset_on_drop(&self) {
        // Without it the peer sees a FIN, which a test for resets would notice.
        self.set_zero_linger().ok();
    }
}

impl Connection for DuplexStream {}

/// A stream that counts, and ends at its limits.
#[derive(Debug)]
pub(crate) struct Metered<S> {
    inner: S,
    limits: Limits,
    sent: u64,
    received: u64,
    traffic: Traffic,
}

impl<S: Connection> Metered<S> {
    pub(crate) fn new(inner: S, limits: Limits, traffic: Traffic) -> Self {
        Self {
            inner,
            limits,
            sent: 0,
            received: 0,
            traffic,
        }
    }

    /// Whether a limit was reached.
    pub(crate) fn is_spent(&self) -> bool {
        self.limits.sent.is_some_and(|limit| self.sent >= limit)
            || self
                .limits
                .received
                .is_some_and(|limit| self.received >= limit)
    }

    /// How the connection is to end when a limit is reached.
    pub(crate) fn ending(&self) -> Ending {
        self.limits.ending
    }

    /// Ends the connection; a stalled one when the peer gives up.
    pub(crate) async fn end(mut self, ending: Ending) {
        match ending {
            Ending::Close => {
                self.inner.shutdown().await.ok();
                // Closing a socket with unread input sends an RST, which may destroy what the peer
                // has not read yet; so what still comes is read away for a while.
                tokio::time::timeout(DRAIN, self.gone()).await.ok();
            }
            Ending::Reset => self.inner.reset_on_drop(),
            Ending::Stall => self.gone().await,
        }
    }

    /// Waits until the peer has left, ignoring what it says until then.
    pub(crate) async fn gone(&mut self) {
        std::future::poll_fn(|cx| self.poll_gone(cx)).await;
    }

    fn poll_gone(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        let mut waste = [0; 4096];
        loop {
            let mut buf = ReadBuf::new(&mut waste);
            match ready!(Pin::new(&mut self.inner).poll_read(cx, &mut buf)) {
                Ok(()) if !buf.filled().is_empty() => {}
                _ => return Poll::Ready(()),
            }
        }
    }
}

/// How long the end of a closed connection is waited for.
const DRAIN: Duration = Duration::from_secs(5);

impl<S: Connection> AsyncRead for Metered<S> {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if self.is_spent() {
            if self.limits.ending == Ending::Stall {
                ready!(self.poll_gone(cx));
            }
            return Poll::Ready(Ok(()));
        }
        let room = match self.limits.received {
            Some(limit) => buf.remaining().min(clamp(limit - self.received)),
            None => buf.remaining(),
        };
        let mut part = ReadBuf::new(buf.initialize_unfilled_to(room));
        ready!(Pin::new(&mut self.inner).poll_read(cx, &mut part))?;
        let n = part.filled().len();
        buf.advance(n);
        self.received += n as u64;
        let mut heard = self.traffic.heard_so_far();
        let kept = n.min(HEARD.saturating_sub(heard.len()));
        heard.extend_from_slice(&buf.filled()[buf.filled().len() - n..][..kept]);
        drop(heard);
        self.traffic
            .0
            .received
            .fetch_add(n as u64, Ordering::SeqCst);
        Poll::Ready(Ok(()))
    }
}

impl<S: Connection> AsyncWrite for Metered<S> {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &[u8],
    ) -> Poll<io::Result<usize>> {
        let room = match self.limits.sent {
            Some(limit) => buf.len().min(clamp(limit - self.sent)),
            None => buf.len(),
        };
        if room == 0 && !buf.is_empty() {
            if self.limits.ending == Ending::Stall {
                ready!(self.poll_gone(cx));
            }
            return Poll::Ready(Err(io::ErrorKind::BrokenPipe.into()));
        }
        let n = ready!(Pin::new(&mut self.inner).poll_write(cx, &buf[..room]))?;
        self.sent += n as u64;
        self.traffic.0.sent.fetch_add(n as u64, Ordering::SeqCst);
        Poll::Ready(Ok(n))
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.inner).poll_shutdown(cx)
    }
}

const HEARD: usize = 64 * 1024;

fn clamp(n: u64) -> usize {
    usize::try_from(n).unwrap_or(usize::MAX)
}
