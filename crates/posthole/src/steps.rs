//! The steps towards a mailbox, in words.

use posthole_core::error::Error;
use posthole_core::progress::Step;
use posthole_core::transport::TransportError;
use posthole_core::transport::dial::DialError;
use posthole_core::tunnel::{Phase, TunnelError};

use crate::render::size;

/// A step's short name and what was found.
pub(crate) fn describe(step: &Step) -> (&'static str, String) {
    match step {
        Step::Resolved { host, addresses } => {
            let addresses: Vec<_> = addresses.iter().map(ToString::to_string).collect();
            match &addresses[..] {
                [address] if address == host => ("name", format!("{host} is an address")),
                _ => ("name", format!("{host} is {}", addresses.join(", "))),
            }
        }
        Step::Connected { address } => ("tcp", format!("connected to {address}")),
        Step::HostKey {
            host,
            algorithm,
            fingerprint,
            recorded,
            authority,
        } => {
            let recorded = match (recorded, authority) {
                (Some((file, line)), None) => format!("recorded in {}:{line}", file.display()),
                (Some((file, line)), Some(authority)) => {
                    format!("certified by {authority} of {}:{line}", file.display())
                }
                (None, _) => "recorded just now".to_owned(),
            };
            (
                "host key",
                format!("{host} {algorithm} {fingerprint}, {recorded}"),
            )
        }
        Step::Authenticated { login, method } => ("ssh login", format!("{login} by {method}")),
        Step::ChannelOpen { to } => ("channel", format!("open to {to}")),
        Step::Greeting { text } => ("greeting", text.clone()),
        Step::Capabilities { lines, remembered } => {
            let lines = if lines.is_empty() {
                "none".to_owned()
            } else {
                lines.join(", ")
            };
            let remembered = if *remembered {
                " (remembered from the last time)"
            } else {
                ""
            };
            ("capabilities", format!("{lines}{remembered}"))
        }
        Step::LoggedIn { mechanism } => ("login", format!("accepted by {mechanism}")),
        Step::Listed { messages, octets } => (
            "mailbox",
            format!("{}, {}", count(*messages, "message"), size(*octets)),
        ),
        Step::Destination { to } => ("destination", format!("{to} can take mail")),
        _ => ("step", String::new()),
    }
}

/// The name of the step after this one.
///
/// `more_hops` says that the SSH host just reached is not the last.
pub(crate) fn after(step: Option<&Step>, through_ssh: bool, more_hops: bool) -> &'static str {
    match step {
        None => "name",
        Some(Step::Resolved { .. }) => "tcp",
        Some(Step::Connected { .. }) if through_ssh => "host key",
        Some(Step::Connected { .. }) => "greeting",
        Some(Step::HostKey { .. }) => "ssh login",
        Some(Step::Authenticated { .. }) => "channel",
        Some(Step::ChannelOpen { .. }) if more_hops => "host key",
        Some(Step::ChannelOpen { .. }) => "greeting",
        Some(Step::Greeting { .. }) => "capabilities",
        Some(Step::Capabilities { .. }) => "login",
        Some(Step::LoggedIn { .. }) => "mailbox",
        Some(Step::Listed { .. }) => "destination",
        Some(_) => "end",
    }
}

/// The name of the step that an error belongs to, where the error itself tells.
pub(crate) fn failed(error: &Error) -> Option<&'static str> {
    match error {
        Error::Deliver(_) => Some("destination"),
        Error::Locked { .. } | Error::Record(_) => Some("records"),
        Error::Secret(_) => Some("password"),
        Error::Transport(TransportError::Dial(error)) => Some(failed_dial(error)),
        Error::Transport(TransportError::Tunnel(error)) => failed_tunnel(error),
        _ => None,
    }
}

fn failed_dial(error: &DialError) -> &'static str {
    match error {
        DialError::Resolve { .. } => "name",
        _ => "tcp",
    }
}

fn failed_tunnel(error: &TunnelError) -> Option<&'static str> {
    match error {
        TunnelError::AuthenticationFailed(_) | TunnelError::IdentityMissing { .. } => {
            Some("ssh login")
        }
        TunnelError::ChannelRefused { .. } => Some("channel"),
        TunnelError::ConnectionLost { during, .. } | TunnelError::Timeout { during, .. } => {
            match during {
                Phase::Authentication => Some("ssh login"),
                Phase::Channel => Some("channel"),
                Phase::KeyExchange => Some("host key"),
                _ => None,
            }
        }
        TunnelError::Dial(error) => Some(failed_dial(error)),
        TunnelError::HostKeyChanged { .. }
        | TunnelError::HostKeyDeclined { .. }
        | TunnelError::HostKeyRevoked { .. }
        | TunnelError::HostKeyUnknown { .. }
        | TunnelError::KnownHosts(_)
        | TunnelError::NoHostKeyAlgorithm { .. } => Some("host key"),
        _ => None,
    }
}

/// `1 message`, `2 messages`
pub(crate) fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}
