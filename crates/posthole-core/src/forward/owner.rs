//! Whose socket it is: the kernel's table of TCP sockets tells the user of each.

use std::net::SocketAddr;

/// The user of the socket at the other end of a connection within this machine, or `None` if nobody
/// has it any more; blocks.
///
/// The error says why it cannot be told.
pub(super) fn of_client(client: SocketAddr, here: SocketAddr) -> Result<Option<u32>, String> {
    // The table is not read at once, and a socket may be missed where it changes meanwhile.
    let mut found = End::Elsewhere;
    for _ in 0..TRIES {
        found = look_for(&sockets()?, client, here);
        if let End::Here(user) = found {
            return Ok(Some(user));
        }
    }
    match found {
        End::Elsewhere => Err("its socket is not among those of this machine".to_owned()),
        _ => Ok(None),
    }
}

/// Where the other end of a connection is.
#[derive(Debug, Eq, PartialEq)]
enum End {
    /// Not on this machine.
    Elsewhere,
    /// The connection has no such end any more.
    Gone,
    /// At a process of this user.
    Here(u32),
}

fn look_for(sockets: &[Socket], client: SocketAddr, here: SocketAddr) -> End {
    let find = |local, remote| {
        let is_it = |socket: &&Socket| same(socket.local, local) && same(socket.remote, remote);
        sockets.iter().find(is_it)
    };
    match find(client, here) {
        Some(socket) if socket.inode != 0 => End::Here(socket.uid),
        // One that was closed belongs to no process, and the table has it as root's.
        Some(_) => End::Gone,
        // A connection that was reset is gone at both ends.
        None if find(here, client).is_none() => End::Gone,
        None => End::Elsewhere,
    }
}

/// Who listens at an address, as far as it can be seen; blocks.
pub(super) fn of_listener(address: SocketAddr) -> Option<String> {
    let everywhere = |ip: std::net::IpAddr| ip.to_canonical().is_unspecified();
    let sockets = sockets().ok()?;
    let socket = sockets.iter().find(|socket| {
        socket.is_listening
            && socket.local.port() == address.port()
            && (same(socket.local, address) || everywhere(socket.local.ip()))
    })?;
    Some(process(socket.inode).unwrap_or_else(|| format!("a process of user {}", socket.uid)))
}

/// IPv4 may be spelt as IPv6.
fn same(a: SocketAddr, b: SocketAddr) -> bool {
    a.ip().to_canonical() == b.ip().to_canonical() && a.port() == b.port()
}

/// A TCP socket of this machine.
struct Socket {
    local: SocketAddr,
    remote: SocketAddr,
    is_listening: bool,
    uid: u32,
    inode: u64,
}

#[cfg(target_os = "linux")]
fn sockets() -> Result<Vec<Socket>, String> {
    use procfs::net::TcpState;

    let unreadable = |error| format!("the sockets of this machine cannot be read: {error}");
    let mut entries = procfs::net::tcp().map_err(unreadable)?;
    // There is none where there is no IPv6.
    entries.extend(procfs::net::tcp6().unwrap_or_default());
    let sockets = entries.into_iter().map(|entry| Socket {
        local: entry.local_address,
        remote: entry.remote_address,
        is_listening: entry.state == TcpState::Listen,
        uid: entry.uid,
        inode: entry.inode,
    });
    Ok(sockets.collect())
}

#[cfg(not(target_os = "linux"))]
fn sockets() -> Result<Vec<Socket>, String> {
    Err("this system does not tell whose sockets they are".to_owned())
}

/// The process that has a socket, if it is one we may look at.
#[cfg(target_os = "linux")]
fn process(inode: u64) -> Option<String> {
    use procfs::process::{FDTarget, all_processes};

    let process = all_processes().ok()?.flatten().find(|process| {
        let mut descriptors = process.fd().into_iter().flatten().flatten();
        descriptors.any(|fd| matches!(fd.target, FDTarget::Socket(socket) if socket == inode))
    })?;
    let name = process.stat().ok()?.comm;
    let name = crate::config::one_line(&name);
    Some(format!("`{name}` (process {})", process.pid))
}

#[cfg(not(target_os = "linux"))]
fn process(_inode: u64) -> Option<String> {
    None
}

const TRIES: usize = 3;

#[cfg(all(test, target_os = "linux"))]
mod tests {
    use std::net::{TcpListener, TcpStream};

    use super::*;

    #[test]
    fn a_client_and_a_listener_of_this_process_are_found_out() {
        for place in ["127.0.0.1:0", "[::1]:0"] {
            // Not every machine has IPv6.
            let Ok(listener) = TcpListener::bind(place) else {
                continue;
            };
            let client = TcpStream::connect(listener.local_addr().unwrap()).unwrap();
            let (accepted, _) = listener.accept().unwrap();
            let ends = (
                accepted.peer_addr().unwrap(),
                accepted.local_addr().unwrap(),
            );
            let us = rustix::process::geteuid().as_raw();
            assert_eq!(of_client(ends.0, ends.1), Ok(Some(us)));
            let name = of_listener(ends.1).unwrap();
            assert!(name.contains(&std::process::id().to_string()), "{name}");
            // Who has closed it has no socket any more, and is not taken for root.
            drop(client);
            assert_eq!(of_client(ends.0, ends.1), Ok(None));
            drop(accepted);
            assert_eq!(of_client(ends.0, ends.1), Ok(None));
        }
    }

    #[test]
    fn an_end_that_is_not_here_is_told_from_one_that_was_closed() {
        let (client, here) = (
            "10.0.0.1:40000".parse().unwrap(),
            "10.0.0.2:110".parse().unwrap(),
        );
        let socket = |local, remote, inode| Socket {
            local,
            remote,
            is_listening: false,
            uid: 7,
            inode,
        };
        let ours = || socket(here, client, 1);
        assert_eq!(look_for(&[ours()], client, here), End::Elsewhere);
        for (theirs, end) in [(2, End::Here(7)), (0, End::Gone)] {
            let sockets = [ours(), socket(client, here, theirs)];
            assert_eq!(look_for(&sockets, client, here), end);
        }
        assert_eq!(look_for(&[], client, here), End::Gone);
    }
}
