use std::sync::Arc;

use posthole_testkit::keys::{self, KeyType};
use russh::keys::PrivateKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, UdpSocket};
use tokio::task::JoinHandle;

use super::*;
use crate::plan::Hop;

fn shown(key: &PrivateKey) -> HostKey {
    HostKey::new(
        &Hop::new("popserver", "msingh"),
        key.public_key().clone(),
        None,
    )
}

/// A resolver that answers every question alike, by UDP and TCP on one port.
struct Dns {
    address: SocketAddr,
    tasks: Vec<JoinHandle<()>>,
}

impl Drop for Dns {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

#[derive(Clone, Default)]
struct Says {
    /// Of the header: AD 0x20, the code of an error.
    flags: u8,
    /// Fits into no datagram.
    is_long: bool,
    /// Behind an alias.
    alias: bool,
    records: Vec<(u8, u8, Vec<u8>)>,
    /// Datagrams that are not the answer come first.
    noise: bool,
}

impl Dns {
    async fn start(says: Says) -> Self {
        let says = Arc::new(says);
        let tcp = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = tcp.local_addr().unwrap();
        let udp = UdpSocket::bind(address).await.unwrap();
        let datagrams = Arc::clone(&says);
        let by_udp = tokio::spawn(async move {
            let mut query = [0; 512];
            while let Ok((length, from)) = udp.recv_from(&mut query).await {
                let query = &query[..length];
                if datagrams.noise {
                    let mut other = datagrams.answer(query, false);
                    other[0] ^= 1;
                    for noise in [&b"x"[..], &other] {
                        udp.send_to(noise, from).await.unwrap();
                    }
                }
                let answer = datagrams.answer(query, datagrams.is_long);
                udp.send_to(&answer, from).await.unwrap();
            }
        });
        let by_tcp = tokio::spawn(async move {
            while let Ok((mut stream, _)) = tcp.accept().await {
                let length = stream.read_u16().await.unwrap();
                let mut query = vec![0; length.into()];
                stream.read_exact(&mut query).await.unwrap();
                let answer = says.answer(&query, false);
                stream.write_u16(answer.len() as u16).await.unwrap();
                stream.write_all(&answer).await.unwrap();
            }
        });
        Self {
            address,
            tasks: vec![by_udp, by_tcp],
        }
    }

    async fn ask(&self, host: &str) -> Result<Fingerprints, SshfpError> {
        Resolver::at(self.address).sshfp(host).await
    }
}

impl Says {
    /// An answer to a query, octet by octet (RFC 1035 §4).
    fn answer(&self, query: &[u8], is_truncated: bool) -> Vec<u8> {
        let question_end = 12 + query[12..].iter().position(|&octet| octet == 0).unwrap() + 5;
        // QR, RD and TC; RA.
        let mut answer = vec![query[0], query[1], 0x81, 0x80 | self.flags];
        if is_truncated {
            answer[2] |= 0x02;
        }
        let count = self.records.len() + usize::from(self.alias);
        let count = if is_truncated { 0 } else { count as u8 };
        answer.extend([0, 1, 0, count, 0, 0, 0, 0]);
        answer.extend(&query[12..question_end]);
        if is_truncated {
            return answer;
        }
        // A pointer to the question's name, unless that is an alias.
        let alias = b"\x05alias\x07example\x00";
        let mut owner = vec![0xc0, 12];
        if self.alias {
            answer.extend(&owner);
            answer.extend([0, 5, 0, 1, 0, 0, 0, 60, 0, alias.len() as u8]);
            answer.extend(alias);
            owner = alias.to_vec();
        }
        for (algorithm, kind, fingerprint) in &self.records {
            answer.extend(&owner);
            answer.extend([0, 44, 0, 1, 0, 0, 0, 60, 0, fingerprint.len() as u8 + 2]);
            answer.extend([*algorithm, *kind]);
            answer.extend(fingerprint);
        }
        answer
    }
}

const AUTHENTIC: u8 = 0x20;

/// A record of a key, made by nobody but sha2 and sha1.
fn record(key: &PrivateKey, algorithm: u8, kind: u8) -> (u8, u8, Vec<u8>) {
    let digest = shown(key).sshfp_digest(kind).unwrap();
    (algorithm, kind, digest)
}

#[tokio::test]
async fn a_record_of_the_key_matches_and_one_of_another_differs() {
    let [key, other] = [(); 2].map(|()| keys::generate(KeyType::Ed25519));
    let rsa = keys::generate(KeyType::Rsa);
    for (records, verdict) in [
        (vec![record(&key, 4, 2)], Verdict::Matches),
        (vec![record(&key, 4, 1)], Verdict::Matches),
        (vec![record(&other, 4, 2)], Verdict::Differs),
        (
            vec![record(&other, 4, 2), record(&key, 4, 2)],
            Verdict::Matches,
        ),
        // SHA-1 does not count beside SHA-256.
        (
            vec![record(&other, 4, 2), record(&key, 4, 1)],
            Verdict::Differs,
        ),
        // Of other keys, and of digests that nobody knows.
        (vec![record(&rsa, 1, 2)], Verdict::Silent),
        (vec![(4, 7, vec![1; 32])], Verdict::Silent),
        (vec![], Verdict::Silent),
    ] {
        let dns = Dns::start(Says {
            records: records.clone(),
            ..Says::default()
        });
        let found = dns.await.ask("pop.example.org").await.unwrap();
        assert_eq!(found.verdict(&shown(&key)), verdict, "{records:?}");
        assert!(!found.is_authenticated());
    }
}

#[tokio::test]
async fn an_answer_is_authenticated_when_the_named_resolver_here_says_so() {
    let key = keys::generate(KeyType::Ed25519);
    let says = Says {
        flags: AUTHENTIC,
        records: vec![record(&key, 4, 2)],
        ..Says::default()
    };
    let dns = Dns::start(says).await;
    let found = dns.ask("pop.example.org").await.unwrap();
    assert!(found.is_authenticated());
    let said = found.describe(&shown(&key));
    assert!(
        said.ends_with("(authenticated by the resolver 127.0.0.1)"),
        "{said}"
    );
}

#[test]
fn a_resolver_elsewhere_is_believed_where_resolv_conf_says_so() {
    let key = keys::generate(KeyType::Ed25519);
    let (algorithm, fingerprint_type, fingerprint) = record(&key, 4, 2);
    let far = Fingerprints {
        records: vec![Record {
            algorithm,
            fingerprint_type,
            fingerprint,
        }],
        server: ([192, 0, 2, 1], 53).into(),
        is_authenticated: true,
        unbelieved: false,
    };
    let weighed = Resolver::parse("nameserver 192.0.2.1").weigh(far.clone());
    assert!(!weighed.is_authenticated());
    let said = weighed.describe(&shown(&key));
    assert!(said.contains("vouches: no more than a hint"), "{said}");
    let trusting = Resolver::parse("nameserver 192.0.2.1\noptions trust-ad");
    assert!(trusting.weigh(far.clone()).is_authenticated());
    // Docker's, which validates nothing, is on this machine as well.
    let near = Fingerprints {
        server: ([127, 0, 0, 11], 53).into(),
        ..far.clone()
    };
    let docker = Resolver::parse("nameserver 127.0.0.11");
    assert!(!docker.weigh(near.clone()).is_authenticated());
    assert!(Resolver::at(near.server).weigh(near).is_authenticated());
    // Whom the person named is not nearer for it.
    assert!(!Resolver::at(far.server).weigh(far).is_authenticated());
}

#[tokio::test]
async fn a_long_answer_comes_by_tcp_and_an_alias_is_followed() {
    let key = keys::generate(KeyType::Ed25519);
    let dns = Dns::start(Says {
        is_long: true,
        alias: true,
        records: vec![record(&key, 4, 2)],
        ..Says::default()
    });
    let found = dns.await.ask("pop.example.org").await.unwrap();
    assert_eq!(found.verdict(&shown(&key)), Verdict::Matches);
}

#[tokio::test]
async fn datagrams_that_are_not_the_answer_are_passed_over() {
    let key = keys::generate(KeyType::Ed25519);
    let dns = Dns::start(Says {
        noise: true,
        records: vec![record(&key, 4, 2)],
        ..Says::default()
    });
    let found = dns.await.ask("pop.example.org").await.unwrap();
    assert_eq!(found.verdict(&shown(&key)), Verdict::Matches);
}

#[tokio::test]
async fn a_refusal_is_no_answer_and_a_name_that_does_not_exist_is_one() {
    const SERVFAIL: u8 = 2;
    const NXDOMAIN: u8 = 3;
    let dns = Dns::start(Says {
        flags: SERVFAIL,
        ..Says::default()
    });
    let error = dns.await.ask("pop.example.org").await.unwrap_err();
    assert!(
        error.to_string().contains("127.0.0.1: it could not"),
        "{error}"
    );
    let dns = Dns::start(Says {
        flags: NXDOMAIN,
        ..Says::default()
    });
    let found = dns.await.ask("pop.example.org").await.unwrap();
    let said = found.describe(&shown(&keys::generate(KeyType::Ed25519)));
    assert!(
        said.starts_with("the DNS has no fingerprints of its keys"),
        "{said}"
    );
}

#[tokio::test]
async fn addresses_have_no_records() {
    let resolver = Resolver::at(([127, 0, 0, 1], 9).into());
    assert_eq!(resolver.sshfp("::1").await, Err(SshfpError::Address));
    assert_eq!(resolver.sshfp("a..b").await, Err(SshfpError::NoName));
}

#[test]
fn resolv_conf_is_read_as_its_manual_says() {
    let resolver = Resolver::parse(
        "# comment\nnameserver 192.0.2.1\nnameserver\t2001:db8::1\nnameserver nonsense\n\
         nameserver 192.0.2.2\nnameserver 192.0.2.3\ndomain example.com\n\
         search example.org example.net\noptions ndots:2 trust-ad\n",
    );
    let servers: Vec<_> = resolver.servers.iter().map(ToString::to_string).collect();
    assert_eq!(
        servers,
        ["192.0.2.1:53", "[2001:db8::1]:53", "192.0.2.2:53"]
    );
    assert_eq!(resolver.search, ["example.org", "example.net"]);
    assert!(resolver.trust_ad);
    let resolver = Resolver::parse("");
    assert_eq!(resolver.servers, [SocketAddr::from(([127, 0, 0, 1], 53))]);
    assert!(!resolver.trust_ad);
}

#[test]
fn a_short_name_is_looked_for_in_the_search_domains() {
    let resolver = Resolver::parse("search example.org example.net");
    let names = |host| {
        let names = resolver.names(host).unwrap();
        names.iter().map(ToString::to_string).collect::<Vec<_>>()
    };
    assert_eq!(names("pop"), ["pop.example.org", "pop.example.net", "pop"]);
    assert_eq!(names("pop.example.com."), ["pop.example.com"]);
}
