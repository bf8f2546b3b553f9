//! Commands that only wait, and commands that only connect on.

use super::forward::parse_host_port;
use super::{NotUnderstood, shell};
use crate::plan::HostPort;

/// Refuses what does anything on the host but keep the connection open.
pub(super) fn check_waits_only(command: &str) -> Result<(), NotUnderstood> {
    let words = words(command)?;
    let program = words.first().map(|word| shell::program(word));
    match program {
        None | Some("sleep" | "true" | ":" | "exit") => Ok(()),
        Some(program) => Err(format!("it runs `{program}` on the host").into()),
    }
}

/// Where a command on the host connects to.
pub(super) fn target_of_command(command: &str) -> Result<HostPort, NotUnderstood> {
    let words = words(command)?;
    target(&words).map_err(|reason| format!("on the host: {reason}").into())
}

/// Where a command connects its standard input and output to.
pub(super) fn target(words: &[String]) -> Result<HostPort, NotUnderstood> {
    let Some((program, arguments)) = words.split_first() else {
        return Err("it is empty".into());
    };
    match shell::program(program) {
        "nc" | "netcat" | "nc.openbsd" | "nc.traditional" => target_of_nc(arguments),
        "socat" => target_of_socat(arguments),
        program => Err(format!("it runs `{program}`").into()),
    }
}

/// `nc [-46nNv] [-q seconds] [-w seconds] host port` (nc(1)).
fn target_of_nc(arguments: &[String]) -> Result<HostPort, NotUnderstood> {
    let mut arguments = arguments.iter();
    let mut names = Vec::new();
    while let Some(argument) = arguments.next() {
        let Some(options) = argument.strip_prefix('-') else {
            names.push(argument);
            continue;
        };
        let end = options.find(['q', 'w']);
        let (plain, rest) = options.split_at(end.unwrap_or(options.len()));
        if plain.is_empty() && rest.is_empty() || !plain.chars().all(|c| "46nNv".contains(c)) {
            return Err(format!("`{argument}` makes nc do more than connect").into());
        }
        if rest.len() == 1 {
            arguments.next();
        }
    }
    let [host, port] = names[..] else {
        return Err("nc is not given one host and one port".into());
    };
    host_port(host, port)
}

/// `socat - TCP:host:port`, either way round (socat(1)).
fn target_of_socat(arguments: &[String]) -> Result<HostPort, NotUnderstood> {
    let (address, stdio) = match arguments {
        [one, other] if is_stdio(other) => (one, other),
        [one, other] => (other, one),
        _ => return Err("socat has options".into()),
    };
    if !is_stdio(stdio) {
        return Err("socat does not use standard input and output".into());
    }
    let (kind, rest) = address.split_once(':').unwrap_or((address, ""));
    let kinds = [
        "TCP",
        "TCP4",
        "TCP6",
        "TCP-CONNECT",
        "TCP4-CONNECT",
        "TCP6-CONNECT",
    ];
    if !kinds.iter().any(|known| kind.eq_ignore_ascii_case(known)) {
        return Err(format!("socat connects to `{kind}`").into());
    }
    if rest.contains(',') {
        return Err("socat has options for the connection".into());
    }
    parse_host_port(rest)
        .ok_or_else(|| format!("socat's `{address}` names no host and port").into())
}

fn is_stdio(address: &str) -> bool {
    address == "-" || address.eq_ignore_ascii_case("stdio")
}

fn host_port(host: &str, port: &str) -> Result<HostPort, NotUnderstood> {
    let port = super::super::service_port(port.as_bytes());
    let port = port.ok_or("it connects to no single port")?;
    Ok(HostPort {
        host: host.to_owned(),
        port,
    })
}

/// The words that a shell on the host would see; its variables are not ours.
fn words(command: &str) -> Result<Vec<String>, NotUnderstood> {
    let words = shell::split(command, &|_| None);
    words.map_err(|reason| format!("on the host, {reason}").into())
}
