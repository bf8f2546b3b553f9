//! The name under which a mailbox is remembered.

use std::net::IpAddr;

use super::HostPort;
use super::hop::SSH_PORT;
use crate::config::SshTarget;

/// `pop3:USER@HOST[:PORT][ via SSHHOST[:PORT]]`.
///
/// Everything fetched is recorded under this key, so when it changes, all mail is new again. It
/// holds what tells two mailboxes apart and nothing else:
///
/// - not the account's name, the SSH user or the hosts before the last one, which are ways to the
///   same mailbox;
/// - not TLS, and not its usual port, since it is the same mailbox either way;
/// - ports where they are not the usual ones, because two servers may share a host. The SSH port
///   is the one written in `via`: one written in `[ssh.NAME]` belongs to NAME;
/// - host names in lower case and without the root's dot (RFC 4343), and one name, `localhost`,
///   for what everybody takes to be the same: `localhost`, `127.0.0.1` and `::1`.
///
/// The user's name is kept as written: some servers tell upper case from lower.
pub(super) fn key(
    user: &str,
    server: &HostPort,
    usual_port: u16,
    via: Option<&SshTarget>,
) -> String {
    let mut key = format!("pop3:{user}@");
    push_host(&mut key, &server.host, server.port, usual_port);
    if let Some(SshTarget {
        user: _,
        host,
        port,
    }) = via
    {
        key.push_str(" via ");
        push_host(&mut key, host, port.unwrap_or(SSH_PORT), SSH_PORT);
    }
    key
}

fn push_host(key: &mut String, host: &str, port: u16, usual: u16) {
    let host = match host.parse::<IpAddr>() {
        Ok(address) if address == IpAddr::from([127, 0, 0, 1]) => "localhost".to_owned(),
        Ok(IpAddr::V6(address)) if address.is_loopback() => "localhost".to_owned(),
        Ok(address) => address.to_string(),
        Err(_) => host.strip_suffix('.').unwrap_or(host).to_lowercase(),
    };
    if host.contains(':') {
        key.push('[');
        key.push_str(&host);
        key.push(']');
    } else {
        key.push_str(&host);
    }
    if port != usual {
        key.push_str(&format!(":{port}"));
    }
}
