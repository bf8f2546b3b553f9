//! Hosts with ports: what clients connect to and what connections go to.

use std::net::Ipv6Addr;
use std::path::PathBuf;
use std::str::FromStr;

use super::forward::parse_name;
use super::{ValueError, parse_path};
use crate::config::name::check_host;
use crate::plan::HostPort;

/// Where a forward's clients connect.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Listen {
    /// `port`: the loopback interface, whether IPv4 or IPv6.
    Loopback(u16),
    /// `systemd` or `systemd:NAME`: sockets that systemd passes, which are called as the forward is
    /// if nothing else is said.
    Systemd(Option<String>),
    /// `host:port`.
    Tcp(HostPort),
    /// `unix:PATH`.
    Unix(PathBuf),
}

impl FromStr for Listen {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if let Some(path) = text.strip_prefix("unix:") {
            let path = parse_path(path).map_err(|error| error.shifted("unix:".len()))?;
            return Ok(Self::Unix(path));
        }
        if text == "systemd" {
            return Ok(Self::Systemd(None));
        }
        if let Some(name) = text.strip_prefix("systemd:") {
            let name = parse_name(name).map_err(|error| error.shifted("systemd:".len()))?;
            return Ok(Self::Systemd(Some(name)));
        }
        if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
            return parse_port(text, 0).map(Self::Loopback);
        }
        parse_host_port(text).map(Self::Tcp)
    }
}

/// Reads `host:port`.
///
/// # Errors
///
/// The text is something else.
pub fn parse_host_port(text: &str) -> Result<HostPort, ValueError> {
    let (host, port) = parse_authority(text)?;
    let port = port.ok_or_else(|| {
        ValueError::new("the port is missing", 0..text.len())
            .help("write `host:port`, such as `localhost:110` or `[::1]:110`")
    })?;
    Ok(HostPort { host, port })
}

/// Reads `host[:port]`, `[ipv6][:port]` or a bare IPv6 address.
pub(super) fn parse_authority(text: &str) -> Result<(String, Option<u16>), ValueError> {
    if let Some(rest) = text.strip_prefix('[') {
        let Some((address, after)) = rest.split_once(']') else {
            return Err(ValueError::new(
                "the closing `]` of the address is missing",
                0..text.len(),
            ));
        };
        let host = ipv6(address)
            .ok_or_else(|| ValueError::new("this is not an IPv6 address", 1..1 + address.len()))?;
        let after_at = address.len() + "[]".len();
        return match after.strip_prefix(':') {
            Some(port) => Ok((host, Some(parse_port(port, after_at + 1)?))),
            None if after.is_empty() => Ok((host, None)),
            None => Err(ValueError::new(
                "only a `:` and a port may follow the `]`",
                after_at..text.len(),
            )),
        };
    }
    if text.matches(':').count() > 1 {
        let host = ipv6(text).ok_or_else(|| {
            ValueError::new(
                "this is neither `host:port` nor an IPv6 address",
                0..text.len(),
            )
            .help("with a port, an IPv6 address stands in brackets, such as `[::1]:110`")
        })?;
        return Ok((host, None));
    }
    let (host, port) = match text.split_once(':') {
        Some((host, port)) => (host, Some(parse_port(port, host.len() + 1)?)),
        None => (text, None),
    };
    check_host(host).map_err(|message| ValueError::new(message, 0..host.len()))?;
    Ok((host.to_owned(), port))
}

/// An IPv6 address in its one canonical spelling (RFC 5952), with its zone if it has one, which
/// a URL writes after `%25` (RFC 6874).
fn ipv6(text: &str) -> Option<String> {
    let (address, zone) = match text.split_once('%') {
        Some((address, zone)) => (address, Some(zone.strip_prefix("25").unwrap_or(zone))),
        None => (text, None),
    };
    let address: Ipv6Addr = address.parse().ok()?;
    match zone {
        None => Some(address.to_string()),
        Some(zone) if !zone.is_empty() && zone.bytes().all(is_zone_byte) => {
            Some(format!("{address}%{zone}"))
        }
        Some(_) => None,
    }
}

fn is_zone_byte(byte: u8) -> bool {
    byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'.' | b'_')
}

/// The text is not repeated: in a mistyped URL it may be the beginning of a password.
fn parse_port(text: &str, at: usize) -> Result<u16, ValueError> {
    let digits = text.bytes().all(|byte| byte.is_ascii_digit());
    text.parse()
        .ok()
        .filter(|port| digits && *port > 0)
        .ok_or_else(|| {
            ValueError::new(
                "the port is not a number from 1 to 65535",
                at..at + text.len(),
            )
        })
}
