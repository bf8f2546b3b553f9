//! TCP connections: names to addresses, addresses to a connection.
//!
//! The hard part is a name with several addresses of which some are dead, typically an IPv6
//! address without a route. The addresses are tried in the resolver's order (RFC 6724) one after
//! another, and none but the last may use up the time: an address that does not answer within
//! a few seconds is left behind.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::net::{TcpSocket, TcpStream, lookup_host};
use tokio::time::timeout_at;

use crate::plan::{AddressFamily, HostPort};
use crate::progress::{Event, Observer, Step};

/// Which of the ways to a host a connection may take.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Choice<'a> {
    /// The local address to connect from, or a name for it.
    pub(crate) bind_address: Option<&'a str>,
    /// Which addresses of the host count.
    pub(crate) family: AddressFamily,
}

/// Connects to a host, telling the observer what it resolved to and who answered.
///
/// Nagle's algorithm is off, since both protocols spoken here write whole commands at once, and
/// TCP keepalive is on, as `TCPKeepAlive` in ssh_config(5).
pub(crate) async fn tcp(
    to: &HostPort,
    choice: Choice<'_>,
    account: &str,
    observer: &dyn Observer,
    limit: Duration,
) -> Result<TcpStream, DialError> {
    let began = Instant::now();
    let deadline = tokio::time::Instant::now() + limit;
    let timed_out = || DialError::Timeout {
        to: to.clone(),
        after: limit,
    };

    let resolving = async {
        let sources = match choice.bind_address {
            None => None,
            Some(name) => Some(Sources::resolve(name).await?),
        };
        Ok((resolve(to, choice.family).await?, sources))
    };
    let (addresses, sources) = timeout_at(deadline, resolving)
        .await
        .map_err(|_| timed_out())??;
    let step = Step::Resolved {
        host: to.host.clone(),
        addresses: addresses.iter().map(SocketAddr::ip).collect(),
    };
    observer.event(
        account,
        &Event::Step {
            step,
            took: began.elapsed(),
        },
    );

    let began = Instant::now();
    let mut attempts = Vec::new();
    for (tried, &address) in addresses.iter().enumerate() {
        let now = tokio::time::Instant::now();
        if now >= deadline {
            break;
        }
        let is_last = tried + 1 == addresses.len();
        let until = if is_last {
            deadline
        } else {
            deadline.min(now + PATIENCE_PER_ADDRESS)
        };
        let error = match timeout_at(until, connect(address, sources.as_ref())).await {
            Ok(Ok(stream)) => {
                let step = Step::Connected { address };
                observer.event(
                    account,
                    &Event::Step {
                        step,
                        took: began.elapsed(),
                    },
                );
                return Ok(stream);
            }
            Ok(Err(error)) => error,
            Err(_) => io::Error::new(io::ErrorKind::TimedOut, "no answer"),
        };
        attempts.push(Attempt {
            address,
            error: Arc::new(error),
        });
    }
    if attempts
        .iter()
        .all(|attempt| attempt.error.kind() == io::ErrorKind::TimedOut)
    {
        return Err(timed_out());
    }
    Err(DialError::Connect {
        to: to.clone(),
        attempts: Attempts(attempts),
    })
}

async fn resolve(to: &HostPort, family: AddressFamily) -> Result<Vec<SocketAddr>, DialError> {
    let failed = |error| DialError::Resolve {
        host: to.host.clone(),
        error: Arc::new(error),
    };
    let found = lookup_host((to.host.as_str(), to.port))
        .await
        .map_err(failed)?;
    let mut addresses: Vec<SocketAddr> = Vec::new();
    for address in found {
        let counts = match family {
            AddressFamily::Any => true,
            AddressFamily::Inet => address.is_ipv4(),
            AddressFamily::Inet6 => address.is_ipv6(),
        };
        if counts && !addresses.contains(&address) {
            addresses.push(address);
        }
    }
    match family {
        _ if !addresses.is_empty() => Ok(addresses),
        AddressFamily::Any => Err(failed(io::Error::new(
            io::ErrorKind::NotFound,
            "it has no address",
        ))),
        AddressFamily::Inet | AddressFamily::Inet6 => Err(DialError::Family {
            host: to.host.clone(),
            family: if family == AddressFamily::Inet {
                "IPv4"
            } else {
                "IPv6"
            },
        }),
    }
}

/// The local addresses that a connection may come from.
struct Sources {
    name: String,
    addresses: Vec<IpAddr>,
}

impl Sources {
    async fn resolve(name: &str) -> Result<Self, DialError> {
        let found = lookup_host((name, 0))
            .await
            .map_err(|error| DialError::Source {
                name: name.to_owned(),
                error: Arc::new(error),
            })?;
        Ok(Self {
            name: name.to_owned(),
            addresses: found.map(|address| address.ip()).collect(),
        })
    }

    /// The first address of the kind that leads to the peer.
    fn towards(&self, peer: SocketAddr) -> io::Result<SocketAddr> {
        let mut addresses = self.addresses.iter();
        let address = addresses.find(|address| address.is_ipv4() == peer.is_ipv4());
        let Some(&address) = address else {
            let kind = if peer.is_ipv4() { "IPv4" } else { "IPv6" };
            return Err(io::Error::new(
                io::ErrorKind::AddrNotAvailable,
                format!("the local address {} is not one of {kind}", self.name),
            ));
        };
        Ok((address, 0).into())
    }
}

async fn connect(address: SocketAddr, sources: Option<&Sources>) -> io::Result<TcpStream> {
    let socket = if address.is_ipv4() {
        TcpSocket::new_v4()?
    } else {
        TcpSocket::new_v6()?
    };
    if let Some(sources) = sources {
        socket.bind(sources.towards(address)?).map_err(|error| {
            let text = format!(
                "cannot use the local address {}: {}",
                sources.name,
                plain(&error)
            );
            io::Error::new(error.kind(), text)
        })?;
    }
    socket.set_keepalive(true)?;
    let stream = socket.connect(address).await?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// Why a host could not be reached over TCP.
#[derive(Clone, Debug, thiserror::Error)]
#[non_exhaustive]
pub enum DialError {
    /// Every address refused or was unreachable.
    #[error("cannot connect to {to}: {}", attempts.of(to))]
    Connect {
        /// The host.
        to: HostPort,
        /// What happened at each address.
        attempts: Attempts,
    },
    /// The name has addresses, but none of the family that is wanted.
    #[error("{host} has no address of {family}")]
    Family {
        /// The name.
        host: String,
        /// `IPv4` or `IPv6`.
        family: &'static str,
    },
    /// The name has no address.
    #[error("cannot resolve the name {host}: {}", plain(error))]
    Resolve {
        /// The name.
        host: String,
        /// The resolver's answer.
        error: Arc<io::Error>,
    },
    /// The local address to connect from is not known.
    #[error("cannot resolve the local address {name}: {}", plain(error))]
    Source {
        /// The address or its name.
        name: String,
        /// The resolver's answer.
        error: Arc<io::Error>,
    },
    /// Nobody answered in time.
    #[error("{to} did not answer within {}", humantime::format_duration(*after))]
    Timeout {
        /// The host.
        to: HostPort,
        /// How long was waited.
        after: Duration,
    },
}

impl DialError {
    /// What the reader can do about it.
    #[must_use]
    pub fn hint(&self) -> Option<String> {
        match self {
            Self::Connect { to, attempts } if attempts.all(io::ErrorKind::ConnectionRefused) => {
                Some(format!(
                    "{} answers, but nothing listens on port {} there",
                    to.host, to.port
                ))
            }
            Self::Connect { attempts, .. } if attempts.all(io::ErrorKind::AddrNotAvailable) => {
                Some(
                    "check the local address that is to be used (bind-address, BindAddress)"
                        .to_owned(),
                )
            }
            Self::Connect { .. } => None,
            Self::Family { .. } => {
                Some("allow the other family, too (address-family, AddressFamily)".to_owned())
            }
            Self::Resolve { .. } => {
                Some("check the spelling of the host and that the network is up".to_owned())
            }
            Self::Source { .. } => Some(
                "check the local address that is to be used (bind-address, BindAddress)".to_owned(),
            ),
            Self::Timeout { .. } => Some(
                "check that the network is up, the host is right and no firewall drops the port"
                    .to_owned(),
            ),
        }
    }

    /// Whether the same attempt may well succeed later without anybody doing anything.
    ///
    /// All of them may: a laptop that is not on the network yet looks just like a wrong name.
    #[must_use]
    pub fn is_temporary(&self) -> bool {
        true
    }
}

/// What happened at each address of a host, in the order they were tried.
#[derive(Clone, Debug)]
pub struct Attempts(Vec<Attempt>);

#[derive(Clone, Debug)]
struct Attempt {
    address: SocketAddr,
    error: Arc<io::Error>,
}

impl Attempts {
    fn all(&self, kind: io::ErrorKind) -> bool {
        self.0.iter().all(|attempt| attempt.error.kind() == kind)
    }

    /// What happened at the addresses of this host; an address that is the host is not repeated.
    fn of(&self, to: &HostPort) -> String {
        match &self.0[..] {
            [Attempt { address, error }] if to.host.parse() == Ok(address.ip()) => plain(error),
            _ => self.to_string(),
        }
    }
}

impl fmt::Display for Attempts {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, Attempt { address, error }) in self.0.iter().enumerate() {
            let separator = if index == 0 { "" } else { "; " };
            write!(f, "{separator}{}: {}", address.ip(), plain(error))?;
        }
        Ok(())
    }
}

/// The message of an input/output error without the number that `std` appends to it, and without
/// the words that it puts before those of the resolver.
pub(crate) fn plain(error: &io::Error) -> String {
    let text = error.to_string();
    let text = text.split(" (os error").next().unwrap_or(&text);
    let text = text
        .strip_prefix("failed to lookup address information: ")
        .unwrap_or(text);
    let mut letters = text.chars();
    match letters.next() {
        // "Connection refused" reads as part of a sentence; an abbreviation is left alone.
        Some(first) if letters.clone().next().is_some_and(char::is_lowercase) => {
            first.to_lowercase().chain(letters).collect()
        }
        _ => text.to_owned(),
    }
}

/// How long an address may keep the ones after it waiting.
///
/// A handshake over a slow line takes a second, and a lost first packet is repeated after one and
/// three seconds.
const PATIENCE_PER_ADDRESS: Duration = Duration::from_secs(5);

#[cfg(test)]
mod tests {
    use std::net::Ipv4Addr;

    use crate::progress::Silent;

    use super::*;

    #[tokio::test]
    async fn a_refused_port_is_named_with_its_address() {
        let listener = std::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
        let port = listener.local_addr().unwrap().port();
        drop(listener);
        let to = HostPort {
            host: "127.0.0.1".to_owned(),
            port,
        };
        let error = tcp(
            &to,
            Choice::default(),
            "work",
            &Silent,
            Duration::from_secs(5),
        )
        .await
        .unwrap_err();
        assert_eq!(
            error.to_string(),
            format!("cannot connect to 127.0.0.1:{port}: connection refused")
        );
        let hint = error.hint().unwrap();
        assert!(hint.contains("nothing listens on port"), "{hint}");

        let to = HostPort {
            host: "localhost".to_owned(),
            port,
        };
        let error = tcp(
            &to,
            Choice::default(),
            "work",
            &Silent,
            Duration::from_secs(5),
        )
        .await
        .unwrap_err();
        assert!(
            error.to_string().contains("127.0.0.1: connection refused"),
            "{error}"
        );
    }

    #[tokio::test]
    async fn a_name_without_address_says_which_name() {
        let to = HostPort {
            host: "nowhere.invalid".to_owned(),
            port: 22,
        };
        let error = tcp(
            &to,
            Choice::default(),
            "work",
            &Silent,
            Duration::from_secs(30),
        )
        .await
        .unwrap_err();
        let text = error.to_string();
        let reason = text.strip_prefix("cannot resolve the name nowhere.invalid: ");
        let reason = reason.unwrap_or_else(|| panic!("{text}"));
        assert!(!reason.contains(": "), "{text}");
        assert!(error.is_temporary());
    }

    #[test]
    fn io_errors_lose_their_number_and_capital() {
        assert_eq!(
            plain(&io::Error::from_raw_os_error(111)),
            "connection refused"
        );
        assert_eq!(plain(&io::Error::other("TLS is off")), "TLS is off");
    }

    async fn listening(ip: &str) -> (tokio::net::TcpListener, HostPort) {
        let listener = tokio::net::TcpListener::bind((ip, 0)).await.unwrap();
        let to = HostPort {
            host: ip.to_owned(),
            port: listener.local_addr().unwrap().port(),
        };
        (listener, to)
    }

    async fn from(bind_address: &str, to: &HostPort) -> Result<TcpStream, DialError> {
        let choice = Choice {
            bind_address: Some(bind_address),
            ..Choice::default()
        };
        tcp(to, choice, "work", &Silent, Duration::from_secs(5)).await
    }

    #[cfg(target_os = "linux")]
    #[tokio::test]
    async fn a_connection_comes_from_the_address_it_is_bound_to() {
        let (listener, to) = listening("127.0.0.1").await;
        let _stream = from("127.0.0.9", &to).await.unwrap();
        let (_, peer) = listener.accept().await.unwrap();
        assert_eq!(peer.ip().to_string(), "127.0.0.9");
    }

    #[tokio::test]
    async fn a_local_address_that_cannot_be_used_is_named() {
        let (_listener, to) = listening("127.0.0.1").await;
        // Of TEST-NET-1, which nobody has (RFC 5737).
        let error = from("192.0.2.7", &to).await.unwrap_err();
        let text = error.to_string();
        assert!(
            text.contains("cannot use the local address 192.0.2.7: cannot assign"),
            "{text}"
        );
        assert!(error.hint().unwrap().contains("BindAddress"));
        let error = from("::1", &to).await.unwrap_err().to_string();
        assert!(
            error.contains("the local address ::1 is not one of IPv4"),
            "{error}"
        );
        let error = from("nowhere.invalid", &to).await.unwrap_err().to_string();
        assert!(
            error.starts_with("cannot resolve the local address nowhere.invalid: "),
            "{error}"
        );
    }

    #[tokio::test]
    async fn addresses_of_the_other_family_do_not_count() {
        let (_listener, to) = listening("127.0.0.1").await;
        for (family, is_good) in [(AddressFamily::Inet, true), (AddressFamily::Inet6, false)] {
            let choice = Choice {
                family,
                ..Choice::default()
            };
            let stream = tcp(&to, choice, "work", &Silent, Duration::from_secs(5)).await;
            match stream {
                Ok(_) => assert!(is_good),
                Err(error) => {
                    let text = error.to_string();
                    assert!(
                        !is_good && text.ends_with("127.0.0.1 has no address of IPv6"),
                        "{text}"
                    );
                }
            }
        }
    }
}
