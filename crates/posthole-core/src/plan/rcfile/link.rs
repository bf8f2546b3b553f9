//! Which network interfaces a server is polled over: `interface` and `monitor`.

use std::fmt;
use std::net::Ipv4Addr;

use super::{Mapping, Refused};
use crate::config::Diagnostic;

/// An interface that must be up, with an address in a range.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct InterfaceTest {
    /// The interface.
    pub name: String,
    /// An address of the range.
    pub address: Ipv4Addr,
    /// The bits in which all addresses of the range are equal.
    pub mask: Ipv4Addr,
}

impl InterfaceTest {
    /// Whether an address is in the range.
    #[must_use]
    pub fn admits(&self, address: Ipv4Addr) -> bool {
        address & self.mask == self.address & self.mask
    }
}

impl fmt::Display for InterfaceTest {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            name,
            address,
            mask,
        } = self;
        write!(f, "{name}/{address}")?;
        match *mask {
            Ipv4Addr::BROADCAST => Ok(()),
            mask => write!(f, "/{mask}"),
        }
    }
}

impl Mapping<'_> {
    /// `NAME/ADDRESS[/MASK]`
    pub(super) fn interface(&self) -> Result<Option<InterfaceTest>, Refused> {
        let Some(written) = &self.entry.interface else {
            return Ok(None);
        };
        let written = self.text(written, "interface")?;
        let mut parts = written.splitn(3, '/');
        let name = parts.next().unwrap_or_default().to_owned();
        let wrong = |what: &str| {
            let message = format!("{}: `interface {written}` has {what}", self.account());
            Diagnostic::error(message).help("write \"ppp0/192.168.1.0/255.255.255.0\", by IPv4")
        };
        let address = parts.next().ok_or_else(|| wrong("no address"))?;
        let address = address.parse();
        let address = address.map_err(|_| wrong("an address that is none"))?;
        let mask = match parts.next() {
            Some(mask) => mask.parse().map_err(|_| wrong("a mask that is none"))?,
            None => Ipv4Addr::BROADCAST,
        };
        Ok(Some(InterfaceTest {
            name,
            address,
            mask,
        }))
    }

    /// The interface whose silence skips polls.
    pub(super) fn monitor(&self) -> Result<Option<String>, Refused> {
        let monitor = self.entry.monitor.as_ref();
        monitor.map(|name| self.text(name, "monitor")).transpose()
    }
}
