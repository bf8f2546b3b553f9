//! The byte stream to a mail server, whichever way it goes.
//!
//! A route is either a TCP connection from here or a direct-tcpip channel through SSH hosts. What
//! comes out is the same: a [`BoxStream`] whose end is told apart from its failure, so that a
//! protocol driver above never takes a broken connection for a server that said goodbye.
//!
//! TLS from the start is part of it. Where TLS comes later (STLS), or not at all, [`Protection`]
//! says whether a password may go without: it never may by accident.

pub mod dial;
pub mod tls;

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Instant;

use tokio::io::{AsyncRead, AsyncWrite};

use crate::error::Class;
use crate::plan::{HostPort, Job, Route, TlsStart};
use crate::progress::{Event, Observer, Step};
use crate::tunnel::{TunnelError, Tunnels};

use dial::{Choice, DialError};
use tls::{Secured, TlsError, TrustStores};

/// A stream to a mail server, and what protects it.
pub(crate) struct Opened {
    pub(crate) stream: BoxStream,
    pub(crate) protection: Protection,
}

/// What protects a stream to a mail server.
pub(crate) enum Protection {
    /// TLS.
    Tls(Box<Secured>),
    /// No TLS so far, which nothing secret may be sent without.
    NeedsTls(Box<tls::Client>),
    /// SSH, or that it does not leave this machine, or that a person said it need not be
    /// protected. TLS may be started if the server offers it.
    Enough(Option<Box<tls::Client>>),
}

/// Opens a stream to the mail server of a job, by way of its route, and speaks TLS on it if that
/// is due from the start.
///
/// The job's time limit is for a direct connection and for TLS; an SSH host brings limits of its
/// own in the route. Dropping the future closes whatever it had opened, except an SSH connection
/// that others share.
///
/// # Errors
///
/// Nothing was left open, and nothing but a TLS handshake was sent to the mail server.
pub(crate) async fn open(
    job: &Job,
    tunnels: &Tunnels,
    stores: &Arc<TrustStores>,
    observer: &dyn Observer,
) -> Result<Opened, TransportError> {
    let start = job.tls.start;
    let client = async {
        Ok(match start {
            TlsStart::Never => None,
            _ => Some(tls::Client::prepare(&job.tls, &job.server, stores, job.timeout).await?),
        })
    };
    let ((stream, exposed), client) = tokio::try_join!(connect(job, tunnels, observer), client)?;
    // Where a password could be overheard.
    let exposed = exposed.filter(|_| !job.allow_plaintext);
    let (stream, protection) = match due(start, client, exposed) {
        Ok(Due::AtOnce(client)) => {
            let (stream, secured) = secure(&client, stream, &job.account, observer).await?;
            (stream, Protection::Tls(Box::new(secured)))
        }
        Ok(Due::BeforeLogin(client)) => (stream, Protection::NeedsTls(Box::new(client))),
        Ok(Due::IfOffered(client)) => (stream, Protection::Enough(Some(Box::new(client)))),
        Ok(Due::Never) => (stream, Protection::Enough(None)),
        // A person wants no TLS, and nothing of the login is worth overhearing.
        Err(_) if job.may_be_overheard() => (stream, Protection::Enough(None)),
        Err(address) => {
            return Err(TransportError::Exposed {
                server: job.server.clone(),
                address,
            });
        }
    };
    Ok(Opened { stream, protection })
}

/// When TLS is due on a stream, with what it takes.
#[derive(Debug, Eq, PartialEq)]
enum Due<C> {
    AtOnce(C),
    BeforeLogin(C),
    IfOffered(C),
    Never,
}

/// Says when TLS is due: what is only welcome elsewhere is needed where a password would be
/// exposed, and to do without there is an error.
fn due<C>(start: TlsStart, client: Option<C>, exposed: Option<IpAddr>) -> Result<Due<C>, IpAddr> {
    match (client, exposed) {
        (None, None) => Ok(Due::Never),
        (None, Some(address)) => Err(address),
        (Some(client), None) if start == TlsStart::IfOffered => Ok(Due::IfOffered(client)),
        (Some(client), _) if start == TlsStart::AtOnce => Ok(Due::AtOnce(client)),
        (Some(client), _) => Ok(Due::BeforeLogin(client)),
    }
}

/// Speaks TLS on a stream, and tells the observer what came of it.
pub(crate) async fn secure(
    client: &tls::Client,
    stream: BoxStream,
    account: &str,
    observer: &dyn Observer,
) -> Result<(BoxStream, Secured), TlsError> {
    let began = Instant::now();
    let (stream, secured) = client.handshake(stream).await?;
    let step = Step::Secured(Box::new(secured.parameters.clone()));
    let took = began.elapsed();
    observer.event(account, &Event::Step { step, took });
    Ok((stream, secured))
}

/// A stream without TLS, and where it leads if that is beyond this machine and not through SSH.
async fn connect(
    job: &Job,
    tunnels: &Tunnels,
    observer: &dyn Observer,
) -> Result<(BoxStream, Option<IpAddr>), TransportError> {
    let Job {
        account,
        server,
        timeout,
        ..
    } = job;
    match &job.route {
        Route::Direct => {
            let stream = dial::tcp(server, Choice::default(), account, observer, *timeout).await?;
            // The plan has looked at the name; what it stands for is known only now. A peer
            // without address is gone, which the first read will tell.
            let peer = stream.peer_addr().map(|peer| peer.ip()).ok();
            Ok((Box::new(stream), peer.filter(|ip| is_exposed(*ip))))
        }
        Route::Plugin(words) => Ok((tunnels.plugin(account, words)?, None)),
        Route::Ssh(hops) => Ok((tunnels.open(account, hops, server).await?, None)),
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
    /// TLS failed.
    #[error(transparent)]
    Tls(#[from] TlsError),
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
                "use TLS with tls = \"required\", fetch through SSH with `via`, or allow it with \
                 allow-plaintext = true"
                    .to_owned(),
            ),
            Self::Tls(error) => error.hint(),
            Self::Tunnel(error) => error.hint(),
        }
    }

    /// Whether the same attempt may well succeed later without anybody doing anything.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        match self {
            Self::Dial(error) => error.is_temporary(),
            Self::Exposed { .. } => false,
            Self::Tls(error) => error.class() == Class::Temporary,
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
    fn no_password_is_exposed_because_a_server_offers_no_tls() {
        let away: IpAddr = "192.0.2.1".parse().unwrap();
        for (start, exposed, expected) in [
            (TlsStart::AtOnce, None, Ok(Due::AtOnce(()))),
            (TlsStart::AtOnce, Some(away), Ok(Due::AtOnce(()))),
            (TlsStart::Required, None, Ok(Due::BeforeLogin(()))),
            (TlsStart::Required, Some(away), Ok(Due::BeforeLogin(()))),
            (TlsStart::IfOffered, None, Ok(Due::IfOffered(()))),
            (TlsStart::IfOffered, Some(away), Ok(Due::BeforeLogin(()))),
            (TlsStart::Never, None, Ok(Due::Never)),
            (TlsStart::Never, Some(away), Err(away)),
        ] {
            let client = (start != TlsStart::Never).then_some(());
            assert_eq!(
                due(start, client, exposed),
                expected,
                "{start:?} {exposed:?}"
            );
        }
    }

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
