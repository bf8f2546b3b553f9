//! What the kernel says of network interfaces, for fetchmail's `interface` and `monitor`.

use std::io;
use std::net::Ipv4Addr;

use nix::ifaddrs::{InterfaceAddress, getifaddrs};
use nix::net::if_::InterfaceFlags;
use nix::sys::socket::SockaddrStorage;

use crate::plan::InterfaceTest;

/// Why a server is not to be polled over an interface.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Unfit {
    /// It is not up, or not there.
    Down,
    /// It has no address of the range.
    Excluded,
}

/// Whether an interface is as it must be; the address may be its own or that of the other end.
///
/// # Errors
/// When the kernel does not say.
pub fn test(wanted: &InterfaceTest) -> io::Result<Result<(), Unfit>> {
    let mut found = Err(Unfit::Down);
    for one in getifaddrs()? {
        if one.interface_name != wanted.name || !is_up(&one) {
            continue;
        }
        let ends = [one.address, one.destination];
        let mut addresses = ends.iter().flatten().filter_map(address).peekable();
        if addresses.peek().is_none() {
            continue;
        }
        if addresses.any(|address| wanted.admits(address)) {
            return Ok(Ok(()));
        }
        found = Err(Unfit::Excluded);
    }
    Ok(found)
}

fn is_up(one: &InterfaceAddress) -> bool {
    let wanted = InterfaceFlags::IFF_UP | InterfaceFlags::IFF_RUNNING;
    one.flags.contains(wanted)
}

fn address(address: &SockaddrStorage) -> Option<Ipv4Addr> {
    Some(address.as_sockaddr_in()?.ip())
}

/// How many packets an interface has moved in both directions; none if it is not up, or nobody
/// knows.
#[cfg(target_os = "linux")]
#[must_use]
pub fn packets(interface: &str) -> Option<u64> {
    let mut addresses = getifaddrs().ok()?;
    if !addresses.any(|one| one.interface_name == interface && is_up(&one)) {
        return None;
    }
    let all = procfs::net::dev_status().ok()?;
    let device = all.get(interface)?;
    Some(device.recv_packets.wrapping_add(device.sent_packets))
}

/// How many packets an interface has moved in both directions; none if it is not up, or nobody
/// knows.
#[cfg(not(target_os = "linux"))]
#[must_use]
pub fn packets(_interface: &str) -> Option<u64> {
    None
}

#[cfg(test)]
mod tests {
    use super::*;

    fn of(name: &str, address: [u8; 4], mask: [u8; 4]) -> Result<(), Unfit> {
        let wanted = InterfaceTest {
            name: name.to_owned(),
            address: address.into(),
            mask: mask.into(),
        };
        test(&wanted).unwrap()
    }

    #[test]
    fn an_interface_is_fit_by_its_address() {
        assert_eq!(of("lo", [127, 0, 0, 1], [255; 4]), Ok(()));
        assert_eq!(of("lo", [127, 9, 9, 9], [255, 0, 0, 0]), Ok(()));
        assert_eq!(of("lo", [127, 9, 9, 9], [255; 4]), Err(Unfit::Excluded));
        assert_eq!(of("ppp77", [127, 0, 0, 1], [255; 4]), Err(Unfit::Down));
    }

    #[test]
    fn what_an_interface_moves_is_counted() {
        let before = packets("lo").unwrap();
        let socket = std::net::UdpSocket::bind("127.0.0.1:0").unwrap();
        for _ in 0..9 {
            socket.send_to(b"x", socket.local_addr().unwrap()).unwrap();
        }
        assert!(packets("lo").unwrap() >= before + 18);
        assert_eq!(packets("ppp77"), None);
    }
}
