//! Local forwards, and hosts with a port.

use std::net::IpAddr;

use super::super::service_port;
use super::NotUnderstood;
use crate::plan::HostPort;

/// One `-L`, or `LocalForward` in ssh_config(5).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Forward {
    /// The address that is listened on; none is the loopback interface.
    pub bind: Option<String>,
    /// The port that is listened on.
    pub port: u16,
    /// Where connections go, as the SSH host sees it.
    pub to: HostPort,
}

impl Forward {
    /// Whether a client that connects to this host and port on this machine reaches it.
    #[must_use]
    pub fn listens_on(&self, host: &str, port: u16) -> bool {
        let bind = self.bind.as_deref().unwrap_or("localhost");
        let everywhere = matches!(bind, "*" | "" | "0.0.0.0" | "::");
        let meets = match (is_loopback(bind), is_loopback(host)) {
            (true, true) => true,
            (_, loopback) => (everywhere && loopback) || bind.eq_ignore_ascii_case(host),
        };
        port == self.port && meets
    }
}

/// `[bind:]port:host:hostport` (ssh(1), `-L`).
pub(super) fn parse(spec: &str) -> Result<Forward, NotUnderstood> {
    let refusal = || NotUnderstood::from(format!("`-L {spec}` forwards no port to a port"));
    if spec.contains('/') || spec.contains('\\') {
        return Err(format!("`-L {spec}` uses a socket in the file system").into());
    }
    let fields = fields(spec).ok_or_else(refusal)?;
    let (bind, port, host, host_port) = match fields[..] {
        [port, host, host_port] => (None, port, host, host_port),
        [bind, port, host, host_port] => (Some(bind.to_owned()), port, host, host_port),
        _ => return Err(refusal()),
    };
    let (port, host_port) = (
        service_port(port.as_bytes()),
        service_port(host_port.as_bytes()),
    );
    let (Some(port), Some(host_port)) = (port, host_port) else {
        return Err(refusal());
    };
    if host.is_empty() {
        return Err(refusal());
    }
    Ok(Forward {
        bind,
        port,
        to: HostPort {
            host: host.to_owned(),
            port: host_port,
        },
    })
}

/// `[bind:]port host:hostport` (ssh_config(5), `LocalForward`).
pub(super) fn parse_setting(value: &str) -> Result<Forward, NotUnderstood> {
    let words: Vec<_> = value.split_ascii_whitespace().collect();
    parse(&words.join(":"))
}

/// `host:port`, with brackets around an IPv6 address.
pub(super) fn parse_host_port(text: &str) -> Option<HostPort> {
    let (host, port) = host_and_port(text)?;
    let port = port.filter(|_| !host.is_empty())?;
    Some(HostPort {
        host: host.to_owned(),
        port,
    })
}

/// `host` or `host:port`, with brackets around an IPv6 address.
pub(super) fn host_and_port(text: &str) -> Option<(&str, Option<u16>)> {
    match fields(text)?[..] {
        [host] => Some((host, None)),
        [host, port] => Some((host, Some(service_port(port.as_bytes())?))),
        _ => None,
    }
}

/// Splits at colons outside of brackets, and takes the brackets off.
fn fields(mut text: &str) -> Option<Vec<&str>> {
    let mut fields = Vec::new();
    loop {
        let (field, rest) = match text.strip_prefix('[') {
            Some(bracketed) => bracketed.split_once(']')?,
            None => text.split_at(text.find(':').unwrap_or(text.len())),
        };
        fields.push(field);
        match rest.strip_prefix(':') {
            Some(rest) => text = rest,
            None if rest.is_empty() => return Some(fields),
            None => return None,
        }
    }
}

fn is_loopback(host: &str) -> bool {
    let name = host.strip_suffix('.').unwrap_or(host);
    match host.parse::<IpAddr>() {
        Ok(address) => address.is_loopback(),
        Err(_) => LOOPBACK
            .iter()
            .any(|known| name.eq_ignore_ascii_case(known)),
    }
}

const LOOPBACK: &[&str] = &[
    "ip6-localhost",
    "ip6-loopback",
    "localhost",
    "localhost.localdomain",
];
