//! The byte stream to a mail server, whichever way it goes.
//!
//! A route is either a TCP connection from here or a direct-tcpip channel through SSH hosts. What
//! comes out is the same: a [`BoxStream`] whose end is told apart from its failure, so that a
//! protocol driver above never takes a broken connection for a server that said goodbye.
//!
//! TLS is not spoken here; it will be wrapped around the stream.

pub mod dial;

use std::net::IpAddr;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::plan::{HostPort, Job, Route};
use crate::progress::Observer;
use crate::tunnel::{TunnelError, Tunnels};

use dial::DialError;

/// Opens a stream to the mail server of a job, by way of its route.
///
/// The job's time limit is for a direct connection; an SSH host brings limits of its own in the
/// route. Dropping the future closes whatever it had opened, except an SSH connection that others
/// share.
///
/// # Errors
///
/// Nothing was left open, and nothing was sent to the mail server.
pub async fn open(
    job: &Job,
    tunnels: &Tunnels,
    observer: &dyn Observer,
) -> Result<BoxStream, TransportError> {
    let Job {
        account,
        server,
        timeout,
        ..
    } = job;
    match &job.route {
        Route::Direct => {
            let stream = dial::tcp(server, account, observer, *timeout).await?;
            // The plan has looked at the name; what it stands for is known only now.
            let peer = stream.peer_addr().map(|peer| peer.ip());
            match peer {
                Ok(ip)
                    if job.auth.may_reveal_secret() && !job.allow_plaintext && is_exposed(ip) =>
                {
                    Err(TransportError::Exposed {
                        server: server.clone(),
                        address: ip,
                    })
                }
                // A peer without address is gone, which the first read will tell.
                _ => Ok(Box::new(stream)),
            }
        }
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
    /// A password would cross the network unprotected.
    #[error(
        "{server} is not on this machine but at {address}, where the password could be overheard"
    )]
    Exposed {
        /// The mail server.
        server: HostPort,
        /// Where its name led.
        address: IpAddr,
    },
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
            Self::Exposed { .. } => Some(
                "fetch through SSH with `via`, or allow it with allow-plaintext = true".to_owned(),
            ),
            Self::Tunnel(error) => error.hint(),
        }
    }

    /// Whether the same attempt may well succeed later without anybody doing anything.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Dial(error) => error.is_temporary(),
            Self::Exposed { .. } => false,
            Self::Tunnel(error) => error.is_temporary(),
        }
    }
}

/// Whether what is sent to an address leaves this machine.
fn is_exposed(address: IpAddr) -> bool {
    !address.to_canonical().is_loopback()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_loopback_is_not_exposed() {
        for (address, exposed) in [
            ("127.0.0.1", false),
            ("127.8.9.10", false),
            ("::1", false),
            ("::ffff:127.0.0.1", false),
            ("192.0.2.1", true),
            ("0.0.0.0", true),
            ("fe80::1", true),
            ("::ffff:192.0.2.1", true),
        ] {
            assert_eq!(is_exposed(address.parse().unwrap()), exposed, "{address}");
        }
    }
}
