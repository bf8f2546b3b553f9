//! The names of a host: in known_hosts files, and in certificates.

use crate::plan::Hop;

/// The names that one host is looked up under.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(in crate::tunnel) struct Names {
    entry: String,
    portless: Option<String>,
    principal: String,
}

impl Names {
    /// The names of a host in the plan.
    ///
    /// As with ssh(1), `HostKeyAlias` stands for all of them, and no port is added to it.
    pub(in crate::tunnel) fn of(hop: &Hop) -> Self {
        let alias = hop.host_key_alias.as_ref();
        let host = alias.unwrap_or(&hop.address.host).to_ascii_lowercase();
        if alias.is_some() || hop.address.port == 22 {
            return Self {
                entry: host.clone(),
                portless: None,
                principal: host,
            };
        }
        Self {
            entry: format!("[{host}]:{}", hop.address.port),
            portless: Some(host.clone()),
            principal: host,
        }
    }

    /// As known_hosts spells it: in lower case, and in brackets with its port unless that is 22.
    pub(in crate::tunnel) fn entry(&self) -> &str {
        &self.entry
    }

    /// The name without the port, which may vouch for a key too, if there is a port to it.
    pub(super) fn portless(&self) -> Option<&str> {
        self.portless.as_deref()
    }

    /// The name that a certificate must be valid for (sshconnect.c, `check_host_key`): no port.
    pub(super) fn principal(&self) -> &str {
        &self.principal
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::plan::HostPort;

    #[track_caller]
    fn check(host: &str, port: u16, alias: Option<&str>, expected: (&str, Option<&str>, &str)) {
        let names = Names::of(&Hop {
            address: HostPort {
                host: host.to_owned(),
                port,
            },
            host_key_alias: alias.map(str::to_owned),
            ..Hop::new("pop", "msingh")
        });
        let (entry, portless, principal) = expected;
        assert_eq!(names.entry(), entry);
        assert_eq!(names.portless(), portless);
        assert_eq!(names.principal(), principal);
    }

    #[test]
    fn a_host_has_its_port_in_files_but_not_in_certificates() {
        let plain = ("pop.example.org", None, "pop.example.org");
        check("Pop.Example.org", 22, None, plain);
        let with_port = (
            "[pop.example.org]:2222",
            Some("pop.example.org"),
            "pop.example.org",
        );
        check("Pop.Example.org", 2222, None, with_port);
        check("::1", 22, None, ("::1", None, "::1"));
        check("::1", 2222, None, ("[::1]:2222", Some("::1"), "::1"));
    }

    #[test]
    fn an_alias_stands_for_everything_and_has_no_port() {
        check("10.0.0.1", 22, Some("Pop"), ("pop", None, "pop"));
        check("10.0.0.1", 2222, Some("Pop"), ("pop", None, "pop"));
    }
}
