//! What `[ssh.NAME]` takes from ssh_config(5), in its own words.

use std::time::Duration;

use super::{ValueError, parse_duration};
use crate::config::SshBackend;
use crate::config::name::check_host;
use crate::plan::{AddressFamily, Rekey, UnknownHostKey};

/// Reads `builtin` or `openssh`.
pub(in crate::config) fn parse_backend(text: &str) -> Result<SshBackend, ValueError> {
    match text {
        "builtin" => Ok(SshBackend::BuiltIn),
        "openssh" => Ok(SshBackend::OpenSsh),
        _ => {
            Err(ValueError::new("unknown SSH client", 0..text.len())
                .help("write builtin or openssh"))
        }
    }
}

/// Reads `any`, `inet` or `inet6`.
pub(in crate::config) fn parse_address_family(text: &str) -> Result<AddressFamily, ValueError> {
    match text {
        "any" => Ok(AddressFamily::Any),
        "inet" => Ok(AddressFamily::Inet),
        "inet6" => Ok(AddressFamily::Inet6),
        _ => Err(
            ValueError::new("unknown family of addresses", 0..text.len())
                .help("write any, inet (IPv4) or inet6 (IPv6)"),
        ),
    }
}

/// Reads `yes`, `ask` or `accept-new`; there is no `no`.
pub(in crate::config) fn parse_strictness(text: &str) -> Result<UnknownHostKey, ValueError> {
    let help = "write yes (unknown host keys are refused), ask, or accept-new (they are recorded)";
    match text {
        "yes" => Ok(UnknownHostKey::Refuse),
        "ask" => Ok(UnknownHostKey::Ask),
        "accept-new" => Ok(UnknownHostKey::Record),
        "no" | "off" => {
            Err(ValueError::new("host keys are always checked", 0..text.len()).help(help))
        }
        _ => Err(ValueError::new("this is not a way to check host keys", 0..text.len()).help(help)),
    }
}

/// Reads a local address to connect from.
pub(in crate::config) fn parse_bind_address(text: &str) -> Result<String, ValueError> {
    if text.parse::<std::net::Ipv6Addr>().is_err() {
        check_host(text).map_err(|message| ValueError::new(message, 0..text.len()))?;
    }
    Ok(text.to_owned())
}

/// Reads names with commas between them.
///
/// A `+`, `-` or `^` in front changes OpenSSH's own list (ssh_config(5), `Ciphers`), which we have
/// not got here.
pub(in crate::config) fn parse_names(text: &str) -> Result<Vec<String>, ValueError> {
    if text.starts_with(['+', '-', '^']) {
        return Err(
            ValueError::new("a list is not changed here but written out", 0..1)
                .help("write all names, or put the line into ~/.ssh/config"),
        );
    }
    let mut start = 0;
    let mut names = Vec::new();
    for name in text.split(',') {
        let at = start..start + name.len();
        start = at.end + 1;
        let trimmed = name.trim();
        if trimmed.is_empty() {
            return Err(ValueError::new("a name is missing", at));
        }
        // RFC 4251 §6: printable US-ASCII without commas.
        if !trimmed.bytes().all(|byte| byte.is_ascii_graphic()) {
            return Err(ValueError::new(
                "this cannot be the name of an algorithm",
                at,
            ));
        }
        names.push(trimmed.to_owned());
    }
    Ok(names)
}

/// Reads `RekeyLimit`: an amount of data, such as `1G`, and perhaps a time, such as `1h`.
pub(in crate::config) fn parse_rekey_limit(text: &str) -> Result<Rekey, ValueError> {
    let mut words = text.split_whitespace();
    let amount = words.next().unwrap_or_default();
    let time = words.next();
    if amount.is_empty() || words.next().is_some() {
        return Err(
            ValueError::new("this is not an amount and a time", 0..text.len()).help(REKEY_EXAMPLES),
        );
    }
    let octets = match amount {
        "default" | "none" => None,
        _ => Some(parse_octets(amount).ok_or_else(|| {
            let at = text.find(amount).unwrap_or_default();
            ValueError::new(
                "this is not an amount of data from 16K to 4G",
                at..at + amount.len(),
            )
            .help(REKEY_EXAMPLES)
        })?),
    };
    let time = match time {
        None | Some("none") => None,
        Some(time) => {
            let at = text.rfind(time).unwrap_or_default();
            let parsed = parse_duration(time).map_err(|error| error.shifted(at))?;
            if parsed < Duration::from_secs(1) {
                return Err(ValueError::new(
                    "the time is too short",
                    at..at + time.len(),
                ));
            }
            Some(parsed)
        }
    };
    Ok(Rekey { octets, time })
}

/// `K`, `M` and `G` as in ssh_config(5), and its bounds.
fn parse_octets(text: &str) -> Option<u64> {
    let (digits, unit) = match text.as_bytes().last()?.to_ascii_uppercase() {
        b'K' => (&text[..text.len() - 1], 10),
        b'M' => (&text[..text.len() - 1], 20),
        b'G' => (&text[..text.len() - 1], 30),
        _ => (text, 0),
    };
    let octets = digits.parse::<u64>().ok()?.checked_mul(1 << unit)?;
    ((16 << 10)..=(4 << 30)).contains(&octets).then_some(octets)
}

const REKEY_EXAMPLES: &str = "write \"1G\", \"512M 1h\" or \"default 1h\"";
