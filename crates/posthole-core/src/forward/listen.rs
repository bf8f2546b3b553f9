//! The places where clients connect, and the clients that come.

use std::future::poll_fn;
use std::io;
use std::net::{SocketAddr, TcpListener as StdTcpListener};
use std::os::unix::fs::{FileTypeExt, MetadataExt, PermissionsExt};
use std::os::unix::net::UnixListener as StdUnixListener;
use std::path::{Path, PathBuf};
use std::task::Poll;
use std::time::Duration;

use rustix::process::geteuid;
use tokio::io::Interest;
use tokio::net::{TcpListener, TcpStream, UnixListener, UnixStream};

use super::error::ForwardError;
use super::owner;
use crate::plan::{Forward, ListenOn};
use crate::transport::Stream;

/// A socket that somebody else made and passed to this process, such as systemd.
#[derive(Debug)]
pub enum Passed {
    /// TCP.
    Tcp(StdTcpListener),
    /// A Unix socket.
    Unix(StdUnixListener),
}

/// All places of a forward.
#[derive(Debug)]
pub(super) struct Listeners(Vec<Listener>);

#[derive(Debug)]
enum Listener {
    Tcp(TcpListener),
    Unix(UnixListener, Option<SocketFile>),
}

impl Listeners {
    /// Takes the places of a forward.
    pub(super) async fn bind(
        forward: &Forward,
        passed: &[(String, Passed)],
    ) -> Result<Self, ForwardError> {
        let listeners = match &forward.listen {
            ListenOn::Loopback(port) => {
                let mut listeners = vec![tcp(([127, 0, 0, 1], *port).into()).await?];
                match tcp(SocketAddr::from(([0, 0, 0, 0, 0, 0, 0, 1], *port))).await {
                    Ok(listener) => listeners.push(listener),
                    Err(ForwardError::Listen { source, .. }) if lacks_ipv6(&source) => {}
                    Err(error) => return Err(error),
                }
                listeners
            }
            ListenOn::Systemd(name) => take(forward, name.as_deref(), passed)?,
            ListenOn::Tcp(address) => {
                let place = address.to_string();
                let at = (address.host.as_str(), address.port);
                let addresses = tokio::net::lookup_host(at).await;
                let addresses =
                    addresses.map_err(|source| ForwardError::Listen { place, source })?;
                let mut listeners = Vec::new();
                for address in addresses {
                    listeners.push(tcp(address).await?);
                }
                listeners
            }
            ListenOn::Unix(path) => vec![unix(path)?],
        };
        Ok(Self(listeners))
    }

    /// The places as text.
    pub(super) fn places(&self) -> Vec<String> {
        let place = |listener: &Listener| match listener {
            Listener::Tcp(listener) => listener.local_addr().map(|address| address.to_string()),
            Listener::Unix(listener, _) => listener.local_addr().map(|address| {
                let path = address.as_pathname().map(|path| path.display().to_string());
                format!("unix:{}", path.unwrap_or_default())
            }),
        };
        self.0
            .iter()
            .map(|listener| match listener {
                Listener::Unix(_, Some(file)) => format!("unix:{}", file.path.display()),
                listener => place(listener).unwrap_or_else(|error| error.to_string()),
            })
            .collect()
    }

    /// The next client, wherever it comes.
    pub(super) async fn accept(&self) -> io::Result<Client> {
        poll_fn(|cx| {
            for listener in &self.0 {
                let accepted = match listener {
                    Listener::Tcp(listener) => listener.poll_accept(cx).map_ok(|(stream, from)| {
                        set_linger(&stream, Some(Duration::ZERO));
                        Client::Tcp { stream, from }
                    }),
                    Listener::Unix(listener, _) => listener
                        .poll_accept(cx)
                        .map_ok(|(stream, _)| Client::Unix(stream)),
                };
                if accepted.is_ready() {
                    return accepted;
                }
            }
            Poll::Pending
        })
        .await
    }
}

/// Takes over sockets that listen already; what was passed stays, for the next time.
fn take(
    forward: &Forward,
    name: Option<&str>,
    passed: &[(String, Passed)],
) -> Result<Vec<Listener>, ForwardError> {
    let adopt = |passed: &Passed| match passed {
        Passed::Tcp(listener) => {
            let listener = listener.try_clone().and_then(|listener| {
                listener.set_nonblocking(true)?;
                TcpListener::from_std(listener)
            });
            let listener = listener.map_err(ForwardError::Passed)?;
            let address = listener.local_addr().map_err(ForwardError::Passed)?;
            if !forward.allow_any && !address.ip().to_canonical().is_loopback() {
                let place = address.to_string();
                return Err(ForwardError::PassedExposed { place });
            }
            Ok(Listener::Tcp(listener))
        }
        Passed::Unix(listener) => {
            let listener = listener.try_clone().and_then(|listener| {
                listener.set_nonblocking(true)?;
                UnixListener::from_std(listener)
            });
            let listener = listener.map_err(ForwardError::Passed)?;
            Ok(Listener::Unix(listener, None))
        }
    };
    let wanted = passed.iter().filter(|(called, _)| {
        // Without a name of its own, a socket has that of its unit.
        let called = called.strip_suffix(".socket").unwrap_or(called);
        name.is_none_or(|name| called == name)
    });
    let listeners: Vec<_> = wanted
        .map(|(_, socket)| adopt(socket))
        .collect::<Result<_, _>>()?;
    if listeners.is_empty() {
        return Err(ForwardError::NotPassed {
            name: name.map(str::to_owned),
            passed: passed.iter().map(|(name, _)| name.clone()).collect(),
        });
    }
    Ok(listeners)
}

async fn tcp(address: SocketAddr) -> Result<Listener, ForwardError> {
    let source = match TcpListener::bind(address).await {
        Ok(listener) => return Ok(Listener::Tcp(listener)),
        Err(source) => source,
    };
    let place = address.to_string();
    if source.kind() != io::ErrorKind::AddrInUse {
        return Err(ForwardError::Listen { place, source });
    }
    let looking = tokio::task::spawn_blocking(move || owner::of_listener(address));
    let by = looking.await.ok().flatten();
    Err(ForwardError::Taken { place, by })
}

fn lacks_ipv6(error: &io::Error) -> bool {
    let errno = rustix::io::Errno::from_io_error(error);
    error.kind() == io::ErrorKind::AddrNotAvailable || errno == Some(rustix::io::Errno::AFNOSUPPORT)
}

/// Makes a socket that only this user can connect to, in the place of one that is dead.
///
/// It is made in a directory of its own and moved when it is private, so there is no moment at
/// which others could reach it.
fn unix(path: &Path) -> Result<Listener, ForwardError> {
    let failed = |source| ForwardError::Listen {
        place: format!("unix:{}", path.display()),
        source,
    };
    match std::fs::symlink_metadata(path) {
        Err(error) if error.kind() == io::ErrorKind::NotFound => {}
        Err(error) => return Err(failed(error)),
        Ok(metadata) => {
            if !metadata.file_type().is_socket() || metadata.uid() != geteuid().as_raw() {
                let path = path.to_owned();
                return Err(ForwardError::NotOurSocket { path });
            }
            match std::os::unix::net::UnixStream::connect(path) {
                // Its process is gone.
                Err(error) if error.kind() == io::ErrorKind::ConnectionRefused => {}
                Err(error) if error.kind() == io::ErrorKind::NotFound => {}
                Err(error) if error.kind() != io::ErrorKind::WouldBlock => {
                    return Err(failed(error));
                }
                _ => {
                    return Err(ForwardError::Taken {
                        place: format!("unix:{}", path.display()),
                        by: Some("a program that listens there".to_owned()),
                    });
                }
            }
        }
    }
    let directory = match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    };
    let mut builder = tempfile::Builder::new();
    let nursery = builder.prefix(".ph").rand_bytes(4).tempdir_in(directory);
    let nursery = nursery.map_err(failed)?;
    let born = nursery.path().join("s");
    let listener = UnixListener::bind(&born).map_err(failed)?;
    let private = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&born, private).map_err(failed)?;
    let metadata = std::fs::symlink_metadata(&born).map_err(failed)?;
    std::fs::rename(&born, path).map_err(failed)?;
    let file = SocketFile {
        path: path.to_owned(),
        identity: (metadata.dev(), metadata.ino()),
    };
    Ok(Listener::Unix(listener, Some(file)))
}

/// A socket's place in the file system, which is given back at the end.
#[derive(Debug)]
struct SocketFile {
    path: PathBuf,
    identity: (u64, u64),
}

impl Drop for SocketFile {
    fn drop(&mut self) {
        // Somebody may have put another in its place.
        if let Ok(metadata) = std::fs::symlink_metadata(&self.path)
            && (metadata.dev(), metadata.ino()) == self.identity
        {
            std::fs::remove_file(&self.path).ok();
        }
    }
}

/// A program that has connected.
///
/// Until it is said that it [`ends_in_order`](Self::ends_in_order), dropping it resets the
/// connection, so that nobody takes that for the end of what the server says. A Unix socket has no
/// such way to end.
#[derive(Debug)]
pub(super) enum Client {
    Tcp { stream: TcpStream, from: SocketAddr },
    Unix(UnixStream),
}

impl Client {
    /// Finds out whose program it is.
    pub(super) async fn visitor(&self) -> Visitor {
        let owner = match self {
            Self::Unix(stream) => match stream.peer_cred() {
                Ok(peer) => Ok(Some(peer.uid())),
                Err(error) => Err(format!("a client whose user cannot be told: {error}")),
            },
            Self::Tcp { stream, from } => owner_of(stream, *from)
                .await
                .map_err(|error| format!("a client at {from}, whose user cannot be told: {error}")),
        };
        match owner {
            Ok(Some(owner)) if owner == geteuid().as_raw() => Visitor::Ours,
            Ok(Some(owner)) => {
                Visitor::Stranger(format!("a client of user {owner}, who is somebody else"))
            }
            Ok(None) => Visitor::Gone,
            Err(reason) => Visitor::Stranger(reason),
        }
    }

    /// Returns when the client is seen to have broken off; one that has only said all it will is
    /// still there.
    pub(super) async fn gone(&self) {
        loop {
            let ready = match self {
                Self::Tcp { stream, .. } => stream.ready(Interest::ERROR).await,
                Self::Unix(stream) => stream.ready(Interest::ERROR).await,
            };
            match ready {
                Ok(ready) if !ready.is_error() => tokio::time::sleep(LOOK_AGAIN).await,
                _ => return,
            }
        }
    }

    /// What it says and hears.
    pub(super) fn stream(&mut self) -> &mut dyn Stream {
        match self {
            Self::Tcp { stream, .. } => {
                // What waits would wait for no reason; without it everything works, too.
                stream.set_nodelay(true).ok();
                stream
            }
            Self::Unix(stream) => stream,
        }
    }

    /// Says that its connection was served to the end, and may end in order.
    pub(super) fn ends_in_order(&self) {
        if let Self::Tcp { stream, .. } = self {
            set_linger(stream, None);
        }
    }
}

async fn owner_of(stream: &TcpStream, from: SocketAddr) -> Result<Option<u32>, String> {
    let here = match stream.local_addr() {
        Ok(here) => here,
        // The connection is no more.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => return Ok(None),
        Err(error) => return Err(error.to_string()),
    };
    let looking = tokio::task::spawn_blocking(move || owner::of_client(from, here));
    looking.await.map_err(|error| error.to_string())?
}

/// Whose program a client is.
#[derive(Debug)]
pub(super) enum Visitor {
    /// It has left already.
    Gone,
    /// One of the user we work for.
    Ours,
    /// Somebody else's, in these words.
    Stranger(String),
}

/// With no time to linger, a socket that is closed resets its connection.
fn set_linger(stream: &TcpStream, time: Option<Duration>) {
    // Fails only on what is no socket.
    rustix::net::sockopt::set_socket_linger(stream, time).ok();
}

/// In case the system says that something is ready and it is not.
const LOOK_AGAIN: Duration = Duration::from_millis(100);
