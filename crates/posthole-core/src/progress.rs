//! What the library tells its caller while it works.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;
use std::time::Duration;

use crate::forward::ClientEvent;
use crate::transport::tls::Parameters;

/// Somebody who is told what happens.
///
/// Called often and from several threads, so an implementation is quick and never blocks.
pub trait Observer: Send + Sync {
    /// Takes note of an event of the named account.
    fn event(&self, account: &str, event: &Event);
}

/// An observer that takes no note.
#[derive(Clone, Copy, Debug, Default)]
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _account: &str, _event: &Event) {}
}

/// Something that happened on the way.
#[derive(Clone, Debug)]
#[non_exhaustive]
pub enum Event {
    /// A client of the forward of that name came or went.
    Client(ClientEvent),
    /// Messages are safe here.
    Delivered {
        /// How many became durable and were recorded.
        messages: u64,
    },
    /// Something a person should know, though the work goes on.
    Notice(String),
    /// Octets of message text arrived.
    Received {
        /// How many octets.
        octets: u64,
    },
    /// Messages are about to be fetched.
    Started {
        /// How many messages will be fetched.
        messages: u64,
        /// Their size as the server lists it: advice, not a promise.
        octets: u64,
    },
    /// A step towards the mailbox is done.
    Step {
        /// What was done, with the other side's words.
        step: Step,
        /// How long it took.
        took: Duration,
    },
}

/// A step between the configuration and the mailbox, in the order they are taken.
///
/// Text from a server is cleaned of control characters before it gets here.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum Step {
    /// A host name was resolved.
    Resolved {
        /// The name.
        host: String,
        /// Its addresses, in the order they are tried.
        addresses: Vec<IpAddr>,
    },
    /// A TCP connection stands.
    Connected {
        /// The peer's address.
        address: SocketAddr,
    },
    /// The SSH server's host key was accepted.
    HostKey {
        /// The host as known_hosts spells it.
        host: String,
        /// Key algorithm.
        algorithm: String,
        /// `SHA256:…`.
        fingerprint: String,
        /// Where it is recorded, or the authority that certified it, with the line; none when it was
        /// only just accepted.
        recorded: Option<(PathBuf, usize)>,
        /// Algorithm and fingerprint of the authority that certified it.
        authority: Option<String>,
    },
    /// The SSH server let us in.
    Authenticated {
        /// `user@host`.
        login: String,
        /// The method and key, such as `publickey ED25519 SHA256:… from /home/x/.ssh/id_ed25519`.
        method: String,
    },
    /// A direct-tcpip channel stands.
    ChannelOpen {
        /// `host:port` as the SSH server sees it.
        to: String,
    },
    /// TLS protects the connection to the mail server: before its greeting, or after its
    /// capabilities were asked for without.
    Secured(Box<Parameters>),
    /// The mail server greeted us.
    Greeting {
        /// Its words.
        text: String,
    },
    /// The mail server's capabilities are known.
    Capabilities {
        /// One capability line each.
        lines: Vec<String>,
        /// Whether they were remembered from an earlier session instead of asked for.
        remembered: bool,
    },
    /// The mail server accepted the login.
    LoggedIn {
        /// The mechanism, such as `USER/PASS`.
        mechanism: String,
        /// Whether it took a password or a token of ours.
        with_secret: bool,
    },
    /// The mailbox was listed.
    Listed {
        /// Messages in it.
        messages: u64,
        /// Their octets as the server counts them.
        octets: u64,
    },
    /// The destination can take mail.
    Destination {
        /// The destination, as `maildir:PATH`.
        to: String,
    },
}
