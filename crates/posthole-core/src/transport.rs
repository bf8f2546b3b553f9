//! The byte stream to a mail server, whichever way it goes.
//!
//! A route is either a TCP connection from here or a direct-tcpip channel through SSH hosts. What
//! comes out is the same: a [`BoxStream`] whose end is told apart from its failure, so that a
//! protocol driver above never takes a broken connection for a server that said goodbye.
//!
//! TLS is not spoken here; it will be wrapped around the stream.

pub mod dial;

use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::plan::{HostPort, Route};
use crate::progress::Observer;
use crate::tunnel::{TunnelError, Tunnels};

use dial::DialError;

/// Opens a stream to the mail server by way of the route.
///
/// `timeout` limits a direct connection; an SSH host brings limits of its own in the route.
/// Dropping the future closes whatever it had opened, except an SSH connection that others share.
///
/// # Errors
///
/// Nothing was left open, and nothing was sent to the mail server.
pub async fn open(
    route: &Route,
    server: &HostPort,
    account: &str,
    tunnels: &Tunnels,
    observer: &dyn Observer,
    timeout: Duration,
) -> Result<BoxStream, TransportError> {
    match route {
        Route::Direct => Ok(Box::new(
            dial::tcp(server, account, observer, timeout).await?,
        )),
        Route::Ssh(hops) => Ok(tunnels.open(account, hops, server).await?),
    }
}

/// A byte stream in both directions.
///
/// An implementation returns an error, and not the end of the stream, when the connection below it
/// was lost.
pub trait Stream: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Stream for T {}

/// A stream whose kind no longer matters.
pub type BoxStream = Box<dyn Stream>;

/// Why there is no stream to the mail server.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum TransportError {
    /// The mail server could not be reached from here.
    #[error(transparent)]
    Dial(#[from] DialError),
    /// The way through SSH failed.
    #[error(transparent)]
    Tunnel(#[from] TunnelError),
}

impl TransportError {
    /// What the reader can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Dial(error) => error.hint(),
            Self::Tunnel(error) => error.hint(),
        }
    }

    /// Whether the same attempt may well succeed later without anybody doing anything.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Dial(error) => error.is_temporary(),
            Self::Tunnel(error) => error.is_temporary(),
        }
    }
}
