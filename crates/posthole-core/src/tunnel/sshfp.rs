//! Fingerprints of host keys in the DNS (SSHFP, RFC 4255).
//!
//! What the DNS says is worth as much as the way it came. This asks a resolver and does not
//! validate by itself: an answer counts as authenticated when the resolver says so (the AD bit,
//! RFC 6840 §5.7-5.8) and somebody vouches for that: resolv.conf(5) by `trust-ad`, or a person who
//! names a resolver on this machine. To be on this machine is not enough, since many a resolver
//! there, such as Docker's, passes on what it was told. Everything else is a hint, which whoever can change host keys on
//! the way could have changed as well.

use std::fmt;
use std::io;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;

use domain::base::{Message, Name, Rtype, UnknownRecordData};

use super::known_hosts::HostKey;
use crate::dns;

/// Who is asked.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Resolver {
    servers: Vec<SocketAddr>,
    /// Domains that a name without a dot may be in.
    search: Vec<String>,
    /// Whether the servers' word about validation is to be believed though they are elsewhere.
    trust_ad: bool,
    /// Whether a person named it.
    is_named: bool,
}

impl Resolver {
    /// The resolvers of this machine, from a file as resolv.conf(5) describes it.
    ///
    /// # Errors
    ///
    /// The file cannot be read. One that does not exist stands for a resolver on this machine.
    pub fn from_file(path: &Path) -> io::Result<Self> {
        match std::fs::read(path) {
            Ok(text) => Ok(Self::parse(&String::from_utf8_lossy(&text))),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::parse("")),
            Err(error) => Err(error),
        }
    }

    /// One server.
    #[must_use]
    pub fn at(server: SocketAddr) -> Self {
        Self {
            servers: vec![server],
            search: Vec::new(),
            trust_ad: false,
            is_named: true,
        }
    }

    /// Who is asked, one after another until there is an answer.
    pub(crate) fn servers(&self) -> &[SocketAddr] {
        &self.servers
    }

    fn parse(text: &str) -> Self {
        let mut resolver = Self {
            servers: Vec::new(),
            search: Vec::new(),
            trust_ad: false,
            is_named: false,
        };
        for line in text.lines() {
            let mut words = line.split_ascii_whitespace();
            match words.next() {
                Some("nameserver") => {
                    let address = words.next().and_then(|word| word.parse::<IpAddr>().ok());
                    let server = address.map(|address| SocketAddr::new(address, DNS_PORT));
                    resolver.servers.extend(server);
                }
                // The last of these lines counts.
                Some("domain" | "search") => {
                    resolver.search = words.map(str::to_owned).collect();
                }
                Some("options") => resolver.trust_ad |= words.any(|word| word == "trust-ad"),
                _ => {}
            }
        }
        resolver.servers.truncate(SERVERS_ASKED);
        if resolver.servers.is_empty() {
            resolver
                .servers
                .push(SocketAddr::new([127, 0, 0, 1].into(), DNS_PORT));
        }
        resolver
    }

    /// Looks up the fingerprints of a host's keys.
    ///
    /// # Errors
    ///
    /// There is no answer. That a host has no such records is one.
    pub async fn sshfp(&self, host: &str) -> Result<Fingerprints, SshfpError> {
        let names = self.names(host)?;
        let mut failure = SshfpError::NoAnswer(Vec::new());
        for server in &self.servers {
            match self.ask(*server, &names).await {
                Ok(fingerprints) => return Ok(fingerprints),
                Err(why) => failure.add(*server, why),
            }
        }
        Err(failure)
    }

    /// The names to ask for, one after another.
    fn names(&self, host: &str) -> Result<Vec<Name<Vec<u8>>>, SshfpError> {
        if host.parse::<IpAddr>().is_ok() {
            return Err(SshfpError::Address);
        }
        let host = host.trim_end_matches('.');
        let mut texts = vec![host.to_owned()];
        if !host.contains('.') {
            let inside = self.search.iter().map(|domain| format!("{host}.{domain}"));
            texts.splice(0..0, inside);
        }
        let names: Vec<_> = texts
            .iter()
            .filter_map(|text| Name::vec_from_str(text).ok())
            .collect();
        if names.is_empty() {
            return Err(SshfpError::NoName);
        }
        Ok(names)
    }

    async fn ask(
        &self,
        server: SocketAddr,
        names: &[Name<Vec<u8>>],
    ) -> Result<Fingerprints, String> {
        let mut answer = None;
        for name in names {
            let found = exchange(server, name).await?;
            let is_last = !found.records.is_empty();
            answer = Some(found);
            if is_last {
                break;
            }
        }
        // INVARIANT: there is a name at least.
        Ok(self.weigh(answer.ok_or("no name was asked for")?))
    }

    /// Takes the server's word about validation for what it is worth.
    fn weigh(&self, answer: Fingerprints) -> Fingerprints {
        let is_believed = self.trust_ad || self.is_named && answer.server.ip().is_loopback();
        Fingerprints {
            is_authenticated: answer.is_authenticated && is_believed,
            unbelieved: answer.is_authenticated && !is_believed,
            ..answer
        }
    }
}

/// What the DNS says about the keys of a host.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Fingerprints {
    records: Vec<Record>,
    server: SocketAddr,
    is_authenticated: bool,
    /// Whether the server says that it validated the answer, and nobody vouches for it.
    unbelieved: bool,
}

impl Fingerprints {
    /// Whether the answer was validated, by somebody who can be believed.
    #[must_use]
    pub fn is_authenticated(&self) -> bool {
        self.is_authenticated
    }

    /// What they say of a key.
    #[must_use]
    pub fn verdict(&self, key: &HostKey) -> Verdict {
        let of_algorithm = |record: &&Record| key.sshfp_algorithm() == Some(record.algorithm);
        // A digest of an unknown type says nothing, for or against.
        let digests = self
            .records
            .iter()
            .filter(of_algorithm)
            .filter_map(|record| {
                let digest = key.sshfp_digest(record.fingerprint_type)?;
                Some((record.fingerprint_type, digest == record.fingerprint))
            });
        let digests: Vec<_> = digests.collect();
        // RFC 6594 §4.1: SHA-1 is not to be looked at where there is SHA-256.
        let best = digests.iter().map(|(kind, _)| *kind).max();
        let mut best = digests
            .iter()
            .filter(|(kind, _)| Some(*kind) == best)
            .peekable();
        if best.peek().is_none() {
            Verdict::Silent
        } else if best.any(|(_, matches)| *matches) {
            Verdict::Matches
        } else {
            Verdict::Differs
        }
    }

    /// What they say of a key, in words.
    #[must_use]
    pub fn describe(&self, key: &HostKey) -> String {
        let algorithm = key.algorithm();
        let verdict = self.verdict(key);
        let said = match verdict {
            Verdict::Differs => format!("the DNS has another fingerprint of its {algorithm} key"),
            Verdict::Matches => format!("the DNS has this fingerprint of its {algorithm} key"),
            Verdict::Silent if self.records.is_empty() => {
                "the DNS has no fingerprints of its keys".to_owned()
            }
            Verdict::Silent => format!("the DNS has no fingerprint of its {algorithm} key"),
        };
        if verdict == Verdict::Silent {
            return said;
        }
        let server = self.server.ip();
        let worth = if self.is_authenticated {
            format!("authenticated by the resolver {server}")
        } else if self.unbelieved {
            format!(
                "authenticated by the resolver {server}, for which no `options trust-ad` vouches: no \
                 more than a hint"
            )
        } else {
            format!("not authenticated by the resolver {server}: no more than a hint")
        };
        format!("{said} ({worth})")
    }
}

/// What the DNS says of a key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Verdict {
    /// It has fingerprints of keys of that algorithm, and this is none of them.
    Differs,
    /// It has this fingerprint.
    Matches,
    /// It has none of keys of that algorithm.
    Silent,
}

/// Why the DNS says nothing.
#[derive(Clone, Debug, Eq, PartialEq)]
#[non_exhaustive]
pub enum SshfpError {
    /// The host has no name to ask for.
    Address,
    /// No server gave an answer; what each did instead.
    NoAnswer(Vec<String>),
    /// The host's name cannot be one in the DNS.
    NoName,
}

impl SshfpError {
    fn add(&mut self, server: SocketAddr, why: String) {
        if let Self::NoAnswer(all) = self {
            all.push(format!("{}: {why}", server.ip()));
        }
    }
}

impl fmt::Display for SshfpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Address => f.write_str("the DNS has fingerprints of names, not of addresses"),
            Self::NoAnswer(all) => write!(f, "the DNS gave no answer ({})", all.join("; ")),
            Self::NoName => f.write_str("the host's name cannot be one in the DNS"),
        }
    }
}

impl std::error::Error for SshfpError {}

#[derive(Clone, Debug, Eq, PartialEq)]
struct Record {
    algorithm: u8,
    fingerprint_type: u8,
    fingerprint: Vec<u8>,
}

/// Asks for the fingerprints of a host's keys.
async fn exchange(server: SocketAddr, name: &Name<Vec<u8>>) -> Result<Fingerprints, String> {
    let answer = dns::ask(server, name, Rtype::SSHFP).await?;
    Ok(Fingerprints {
        records: records(&answer).ok_or("its answer makes no sense")?,
        server,
        is_authenticated: answer.header().ad(),
        unbelieved: false,
    })
}

/// The records of the name that the question's name is an alias of, if it is one.
fn records(answer: &Message<Vec<u8>>) -> Option<Vec<Record>> {
    let name = answer.canonical_name()?;
    let mut records = Vec::new();
    for record in answer.answer().ok()?.limit_to_in::<UnknownRecordData<_>>() {
        let record = record.ok()?;
        if record.rtype() == Rtype::SSHFP && *record.owner() == name {
            let [algorithm, fingerprint_type, fingerprint @ ..] = record.data().data() else {
                return None;
            };
            records.push(Record {
                algorithm: *algorithm,
                fingerprint_type: *fingerprint_type,
                fingerprint: fingerprint.to_vec(),
            });
        }
    }
    Some(records)
}

const DNS_PORT: u16 = 53;
/// resolv.conf(5), `MAXNS`.
const SERVERS_ASKED: usize = 3;

#[cfg(test)]
mod tests;
