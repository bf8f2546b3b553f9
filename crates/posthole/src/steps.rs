//! The steps towards a mailbox, in words.

use std::time::{Duration, SystemTime};

use posthole_core::error::Error;
use posthole_core::progress::Step;
use posthole_core::session::SessionError;
use posthole_core::transport::TransportError;
use posthole_core::transport::dial::DialError;
use posthole_core::transport::tls::{Certificate, Parameters};
use posthole_core::tunnel::{Phase, TunnelError, TunnelErrorKind};

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
        Step::Secured(parameters) => ("tls", secured(parameters)),
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
        Step::LoggedIn { mechanism, .. } => ("login", format!("accepted by {mechanism}")),
        Step::Listed { messages, octets } => (
            "mailbox",
            format!("{}, {}", count(*messages, "message"), size(*octets)),
        ),
        Step::Destination { to } => ("destination", format!("{to} can take mail")),
        _ => ("step", String::new()),
    }
}

/// `TLS 1.3, TLS_AES_256_GCM_SHA384, X25519MLKEM768`, and below it whose certificate it is.
fn secured(parameters: &Parameters) -> String {
    let Parameters {
        version,
        cipher_suite,
        key_exchange,
        certificate,
        stls: _,
    } = parameters;
    let mut text = format!("{version}, {cipher_suite}");
    if let Some(key_exchange) = key_exchange {
        text = format!("{text}, {key_exchange}");
    }
    let Some(certificate) = certificate else {
        return format!("{text}\ncertificate that cannot be shown");
    };
    let Certificate {
        subject,
        issuer,
        names,
        not_before: _,
        not_after,
        fingerprint,
    } = certificate;
    let names = match &names[..] {
        [] => String::new(),
        names if names.len() > 4 => format!(" ({}, …)", names[..4].join(", ")),
        names => format!(" ({})", names.join(", ")),
    };
    // An empty subject is usual where the names say it all.
    let subject = if subject.is_empty() {
        "no subject"
    } else {
        subject
    };
    format!(
        "{text}\n\
         certificate of {subject}{names}\n\
         signed by {issuer}, until {}\n\
         SHA-256 {fingerprint}",
        day(*not_after)
    )
}

/// What there is to say about a certificate that soon ends, or has ended and is pinned.
pub(crate) fn ends_soon(step: &Step, now: SystemTime) -> Option<String> {
    let Step::Secured(parameters) = step else {
        return None;
    };
    let not_after = parameters.certificate.as_ref()?.not_after;
    let day_of_end = day(not_after);
    match not_after.duration_since(now) {
        Ok(left) if left >= SOON => None,
        Ok(left) => {
            let days = left.as_secs() / DAY.as_secs();
            Some(format!(
                "the mail server's certificate ends in {} ({day_of_end})",
                count(days, "day")
            ))
        }
        Err(_) => Some(format!(
            "the mail server's certificate has ended ({day_of_end})"
        )),
    }
}

/// `2027-01-31`
fn day(time: SystemTime) -> String {
    let text = humantime::format_rfc3339_seconds(time).to_string();
    text.get(..10).unwrap_or(&text).to_owned()
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
        Some(Step::Secured(parameters)) if parameters.stls => "capabilities",
        Some(Step::Secured(_)) => "greeting",
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
        Error::Session(SessionError::Tls(_)) | Error::Transport(TransportError::Tls(_)) => {
            Some("tls")
        }
        Error::Transport(TransportError::Dial(error)) => Some(failed_dial(error)),
        Error::Transport(TransportError::Tunnel(error)) => failed_tunnel(error),
        _ => None,
    }
}

fn failed_dial(error: &DialError) -> &'static str {
    match error {
        DialError::Family { .. } | DialError::Resolve { .. } => "name",
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
        | TunnelError::NothingInCommon { .. }
        | TunnelError::NotSsh { .. }
        | TunnelError::Unsupported { .. } => Some("host key"),
        TunnelError::OpenSsh { kind, .. } => Some(match kind {
            TunnelErrorKind::Authentication => "ssh login",
            TunnelErrorKind::HostKey => "host key",
            TunnelErrorKind::Refused => "channel",
            _ => "ssh",
        }),
        TunnelError::ProxyCommand { .. } => Some("proxy"),
        _ => None,
    }
}

/// `1 message`, `2 messages`
pub(crate) fn count(number: u64, noun: &str) -> String {
    format!("{number} {noun}{}", if number == 1 { "" } else { "s" })
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
/// Authorities that renew by themselves do it a month before the end.
const SOON: Duration = Duration::from_secs(14 * DAY.as_secs());
