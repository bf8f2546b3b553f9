//! Whom each message of a shared mailbox is for.
//!
//! The rules are [`message::Multidrop`](crate::message::Multidrop)'s; here the DNS is asked what
//! they leave open, once for each host. A host that nobody can tell anything about now is no reason
//! to give its mail to the wrong one: such a message is tried again later.

use std::collections::HashMap;
use std::net::{IpAddr, SocketAddr};
use std::path::Path;
use std::sync::Arc;

use domain::base::{Message, Name, ParsedName, Rtype};
use domain::rdata::{A, Aaaa, Mx};
use tokio::runtime::Handle;

use crate::deliver::is_address;
use crate::dns;
use crate::message::Recipient;
use crate::plan::{DeliverTo, Job, Multidrop, NameService};
use crate::tunnel::sshfp::Resolver;

/// Sorts the messages of a mailbox.
pub(super) struct Sorter {
    multidrop: Arc<Multidrop>,
    /// What stands behind a name without a domain, in the field that says whom it is for.
    domain: String,
    names: Names,
}

/// Whom a message is for.
#[derive(Debug, Default)]
pub(super) struct Sorted {
    /// Local names and addresses; none drops it.
    pub(super) recipients: Vec<String>,
    /// What our field in front says of that.
    pub(super) shown: Option<Recipient>,
}

impl Sorter {
    /// For a job whose mail is for several people; none for all others.
    pub(super) fn new(job: &Job) -> Option<Self> {
        let multidrop = Arc::clone(job.multidrop.as_ref()?);
        let domain = job.deliver.iter().find_map(|to| match to {
            DeliverTo::Bsmtp(to) => Some(to.domain.clone()),
            DeliverTo::Smtp(to) => Some(to.domain.clone()),
            DeliverTo::Maildir(_) | DeliverTo::Mbox(_) | DeliverTo::Mda(_) => None,
        });
        Some(Self {
            domain: domain.unwrap_or_else(|| "localhost".to_owned()),
            names: Names::new(multidrop.dns),
            multidrop,
        })
    }

    /// Finds out from its header whom a message is for.
    ///
    /// # Errors
    /// When the DNS cannot tell now; in words for a person.
    pub(super) fn sort(&mut self, header: &[u8]) -> Result<Sorted, String> {
        let Self {
            multidrop,
            domain,
            names,
        } = self;
        let (mut failure, mut hosts) = (None, 0);
        let found = multidrop.rules.recipients(header, &mut |host| {
            // Whoever wrote the header decides how many there are, and the mail behind waits.
            hosts += usize::from(!names.knows(host));
            if failure.is_some() || hosts > HOSTS_OF_A_MESSAGE {
                return false;
            }
            let asked = names.is_server(host, multidrop);
            asked.unwrap_or_else(|why| {
                failure.get_or_insert_with(|| {
                    format!("whether {host} is the mail server is not known: {why}")
                });
                false
            })
        });
        if let Some(failure) = failure {
            return Err(failure);
        }
        // Anybody may have written these; they become arguments of commands and lines of SMTP.
        let found = found.into_iter().filter(|name| is_address(name));
        let found: Vec<_> = found.collect();
        let address = |name: &str| match name.contains('@') {
            true => name.to_owned(),
            false => format!("{name}@{domain}"),
        };
        let (recipients, how) = match found.is_empty() {
            true => (Vec::from_iter(multidrop.postmaster.clone()), "by default"),
            false => (found, "multi-drop"),
        };
        let shown = match recipients.as_slice() {
            [only] => Some(Recipient {
                address: address(only),
                how,
            }),
            _ => None,
        };
        Ok(Sorted { recipients, shown })
    }
}

/// What the DNS says of hosts, remembered for a poll.
struct Names {
    servers: Vec<SocketAddr>,
    known: HashMap<String, Result<bool, String>>,
    runtime: Handle,
}

impl Names {
    fn new(service: NameService) -> Self {
        let servers = match service {
            NameService::At(server) => vec![server],
            NameService::Off => Vec::new(),
            NameService::System => match Resolver::from_file(Path::new(RESOLV_CONF)) {
                Ok(resolver) => resolver.servers().to_vec(),
                Err(error) => {
                    tracing::warn!(%error, "{RESOLV_CONF} cannot be read, so the DNS is not asked");
                    Vec::new()
                }
            },
        };
        Self {
            servers,
            known: HashMap::new(),
            runtime: Handle::current(),
        }
    }

    /// Whether nobody need be asked about a host.
    fn knows(&self, host: &str) -> bool {
        self.known.contains_key(&normal(host))
    }

    /// Whether a host is the mail server by another name, by MX records or by its addresses.
    fn is_server(&mut self, host: &str, multidrop: &Multidrop) -> Result<bool, String> {
        if self.servers.is_empty() {
            return Ok(false);
        }
        let host = normal(host);
        if let Some(known) = self.known.get(&host) {
            return known.clone();
        }
        // What cannot be a name in the DNS is not there: `user@[192.0.2.1]`.
        let answer = match Name::vec_from_str(&host) {
            Ok(name) => self.runtime.block_on(ask(&self.servers, &name, multidrop)),
            Err(_) => Ok(false),
        };
        if self.known.len() >= HOSTS_REMEMBERED {
            self.known.clear();
        }
        self.known.insert(host, answer.clone());
        answer
    }
}

fn normal(host: &str) -> String {
    host.trim_end_matches('.').to_ascii_lowercase()
}

async fn ask(
    servers: &[SocketAddr],
    name: &Name<Vec<u8>>,
    multidrop: &Multidrop,
) -> Result<bool, String> {
    let rules = &multidrop.rules;
    let mail = first_answer(servers, name, Rtype::MX).await?;
    let canonical = mail.canonical_name().map(|name| name.to_string());
    if canonical.is_some_and(|name| rules.is_server(name.trim_end_matches('.'))) {
        return Ok(true);
    }
    let exchanges = exchanges(&mail);
    if exchanges.iter().any(|exchange| rules.is_server(exchange)) {
        return Ok(true);
    }
    if !multidrop.check_alias {
        return Ok(false);
    }
    let theirs = addresses(servers, name).await?;
    for ours in &rules.servers {
        if let Ok(ours) = Name::vec_from_str(ours)
            && addresses(servers, &ours)
                .await?
                .iter()
                .any(|address| theirs.contains(address))
        {
            return Ok(true);
        }
    }
    Ok(false)
}

async fn first_answer(
    servers: &[SocketAddr],
    name: &Name<Vec<u8>>,
    rtype: Rtype,
) -> Result<Message<Vec<u8>>, String> {
    let mut failures = Vec::new();
    for server in servers {
        match dns::ask(*server, name, rtype).await {
            Ok(answer) => return Ok(answer),
            Err(why) => failures.push(format!("{}: {why}", server.ip())),
        }
    }
    Err(format!("the DNS gave no answer ({})", failures.join("; ")))
}

/// The hosts that take a domain's mail.
fn exchanges(answer: &Message<Vec<u8>>) -> Vec<String> {
    let Ok(section) = answer.answer() else {
        return Vec::new();
    };
    section
        .limit_to_in::<Mx<ParsedName<_>>>()
        .filter_map(Result::ok)
        .map(|record| record.data().exchange().to_string())
        .map(|name| name.trim_end_matches('.').to_owned())
        .collect()
}

async fn addresses(servers: &[SocketAddr], name: &Name<Vec<u8>>) -> Result<Vec<IpAddr>, String> {
    let mut addresses = Vec::new();
    let answer = first_answer(servers, name, Rtype::A).await?;
    if let Ok(section) = answer.answer() {
        let records = section.limit_to_in::<A>().filter_map(Result::ok);
        addresses.extend(records.map(|record| IpAddr::V4(record.data().addr())));
    }
    let answer = first_answer(servers, name, Rtype::AAAA).await?;
    if let Ok(section) = answer.answer() {
        let records = section.limit_to_in::<Aaaa>().filter_map(Result::ok);
        addresses.extend(records.map(|record| IpAddr::V6(record.data().addr())));
    }
    Ok(addresses)
}

const RESOLV_CONF: &str = "/etc/resolv.conf";

/// How many hosts are looked up for one message.
pub(crate) const HOSTS_OF_A_MESSAGE: usize = 32;

/// Hosts in headers are chosen by strangers, so not all of them are remembered.
const HOSTS_REMEMBERED: usize = 10_000;
