//! The ways to reach an sshd: through others, by a program, and by OpenSSH's own client.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use posthole_core::plan::{Hop, HostPort, Rekey};
use posthole_core::progress::Step;
use posthole_core::transport::BoxStream;
use posthole_core::tunnel::{TunnelError, TunnelErrorKind};
use posthole_testkit::keys::{self, KeyFormat, KeyType};
use posthole_testkit::real::Requirement::{self, NssWrapper, Ssh};
use posthole_testkit::real::{Sshd, SshdBuilder, Suite};
use russh::keys::PrivateKey;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use crate::world::{Client, Person};
use crate::{SSHD, run};

pub(crate) fn tests(suite: Suite) -> Suite {
    suite
        .test("three_hosts_lead_to_each_other", SSHD, || {
            run(three_hosts_lead_to_each_other());
        })
        .test("forwarding_that_is_switched_off_is_explained", SSHD, || {
            run(forwarding_that_is_switched_off_is_explained());
        })
        .test("a_host_on_the_way_is_named_when_it_fails", SSHD, || {
            run(a_host_on_the_way_is_named_when_it_fails());
        })
        .test("only_the_last_host_compresses", SSHD, || {
            run(only_the_last_host_compresses());
        })
        .test("a_proxy_command_connects", SSH, || {
            run(a_proxy_command_connects());
        })
        .test("a_failed_proxy_command_says_why", SSH, || {
            run(a_failed_proxy_command_says_why());
        })
        .test("keys_are_renewed_on_our_initiative", SSHD, || {
            run(keys_are_renewed_on_our_initiative());
        })
}

pub(crate) const SSH: &[Requirement] = &[Requirement::Sshd, NssWrapper, Ssh];

/// A host with a key that opens it.
pub(crate) struct Host {
    pub(crate) sshd: Sshd,
    pub(crate) key: PrivateKey,
}

impl Host {
    pub(crate) fn start(change: impl FnOnce(SshdBuilder) -> SshdBuilder) -> Self {
        let key = keys::generate(KeyType::Ed25519);
        let sshd = change(Sshd::builder().key(key.public_key())).start();
        Self { sshd, key }
    }

    /// One that forwards there.
    pub(crate) fn to(addr: SocketAddr) -> Self {
        Self::start(|sshd| sshd.permit_open("127.0.0.1", addr.port()))
    }

    /// The host in a client's plan, with files of its own.
    pub(crate) fn hop(&self, client: &Client, name: &str) -> Hop {
        let known_hosts = client.path(&format!("known_hosts_{name}"));
        fs::write(&known_hosts, self.sshd.known_hosts_line("127.0.0.1")).unwrap();
        Hop {
            address: host_port(self.sshd.addr()),
            known_hosts: vec![known_hosts],
            identities: vec![self.identity(client, name)],
            identities_named: true,
            connect_timeout: Duration::from_secs(20),
            ..Hop::new(name, Sshd::USER)
        }
    }

    fn identity(&self, client: &Client, name: &str) -> PathBuf {
        let path = client.path(&format!("id {name}"));
        keys::write(path, &self.key, KeyFormat::OpenSsh, None)
    }

    pub(crate) fn logins(&self) -> usize {
        self.sshd.log().matches("Accepted publickey").count()
    }
}

fn host_port(addr: SocketAddr) -> HostPort {
    HostPort {
        host: addr.ip().to_string(),
        port: addr.port(),
    }
}

/// Somebody who fetches from there, and knows no host yet.
pub(crate) fn client(target: SocketAddr) -> Client {
    let mut client = Client::at(target, "", Person::absent());
    client.target = host_port(target);
    client
}

/// A server that greets, sends back what it gets, and closes when the client does.
pub(crate) async fn greeter() -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move {
                stream.write_all(GREETING).await.ok();
                let (mut reader, mut writer) = stream.split();
                tokio::io::copy(&mut reader, &mut writer).await.ok();
                writer.shutdown().await.ok();
            });
        }
    });
    address
}

pub(crate) async fn greeted(stream: &mut BoxStream) {
    let mut greeting = [0; GREETING.len()];
    stream.read_exact(&mut greeting).await.unwrap();
    assert_eq!(greeting, GREETING);
}

pub(crate) async fn carries(stream: &mut BoxStream) {
    stream.write_all(b"CAPA\r\n").await.unwrap();
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"CAPA\r\n");
}

pub(crate) async fn error(client: &Client, hops: &[Hop]) -> TunnelError {
    match client.tunnels.open("work", hops, &client.target).await {
        Ok(_) => panic!("a channel was opened"),
        Err(error) => error,
    }
}

async fn three_hosts_lead_to_each_other() {
    let mail = greeter().await;
    let inner = Host::to(mail);
    let middle = Host::to(inner.sshd.addr());
    let gate = Host::to(middle.sshd.addr());
    let client = client(mail);
    let hops = [
        gate.hop(&client, "gate"),
        middle.hop(&client, "middle"),
        inner.hop(&client, "inner"),
    ];
    let (tunnels, to) = (&client.tunnels, &client.target);
    let (a, b) = tokio::join!(
        tunnels.open("work", &hops, to),
        tunnels.open("home", &hops, to)
    );
    for stream in [&mut a.unwrap(), &mut b.unwrap()] {
        greeted(stream).await;
        carries(stream).await;
    }
    for host in [&gate, &middle, &inner] {
        assert_eq!(host.logins(), 1, "{}", host.sshd.log());
        let fingerprint = keys::fingerprint(host.key.public_key());
        assert!(host.sshd.log().contains(&fingerprint));
    }
    let hosts: Vec<_> = client
        .notes
        .steps()
        .into_iter()
        .filter_map(|step| match step {
            Step::HostKey { fingerprint, .. } => Some(fingerprint),
            _ => None,
        })
        .collect();
    let expected = [&gate, &middle, &inner].map(|host| keys::fingerprint(host.sshd.host_key()));
    assert_eq!(hosts, expected);
    client.tunnels.close().await;
}

async fn a_host_on_the_way_is_named_when_it_fails() {
    let mail = greeter().await;
    let inner = Host::to(mail);
    let middle = Host::to(mail);
    let gate = Host::to(middle.sshd.addr());
    let client = client(mail);
    let gate_hop = gate.hop(&client, "gate");
    let middle_hop = middle.hop(&client, "middle");
    let inner_hop = inner.hop(&client, "inner");
    let all = [gate_hop.clone(), middle_hop.clone(), inner_hop.clone()];
    let refused = error(&client, &all).await;
    assert_eq!(
        refused.to_string(),
        format!(
            "middle could not open a channel to inner (127.0.0.1:{}): administratively prohibited",
            inner.sshd.port()
        )
    );
    let hint = refused.hint().unwrap();
    assert!(
        hint.starts_with("middle does not let this login forward to"),
        "{hint}"
    );
    assert_eq!(refused.kind(), TunnelErrorKind::Refused);

    // Each host has the key that is its own, and no other.
    let mut changed = all.clone();
    changed[1].known_hosts = gate_hop.known_hosts.clone();
    let line = fs::read_to_string(&gate_hop.known_hosts[0]).unwrap();
    let line = line.replace(
        &gate.sshd.port().to_string(),
        &middle.sshd.port().to_string(),
    );
    fs::write(&changed[1].known_hosts[0], line).unwrap();
    let changed = error(&client, &changed).await;
    assert!(
        matches!(changed, TunnelError::HostKeyChanged(_)),
        "{changed}"
    );

    let mut stranger = all.clone();
    stranger[1].identities = inner_hop.identities.clone();
    let stranger = error(&client, &stranger).await.to_string();
    assert!(
        stranger.starts_with("msingh@middle did not let us in"),
        "{stranger}"
    );
    client.tunnels.close().await;
}

async fn forwarding_that_is_switched_off_is_explained() {
    let mail = greeter().await;
    for option in ["AllowTcpForwarding no", "DisableForwarding yes"] {
        let host = Host::start(|sshd| sshd.permit_open("127.0.0.1", mail.port()).option(option));
        let client = client(mail);
        let hops = [host.hop(&client, "popserver")];
        let refused = error(&client, &hops).await;
        assert_eq!(
            refused.to_string(),
            format!(
                "popserver could not open a channel to {}: administratively prohibited",
                client.target
            )
        );
        let hint = refused.hint().unwrap();
        assert!(hint.contains("AllowTcpForwarding"), "{hint}");
    }
}

async fn only_the_last_host_compresses() {
    let mail = greeter().await;
    let inner = Host::start(|sshd| {
        sshd.permit_open("127.0.0.1", mail.port())
            .option("LogLevel DEBUG1")
    });
    let gate = Host::start(|sshd| {
        sshd.permit_open("127.0.0.1", inner.sshd.port())
            .option("LogLevel DEBUG1")
    });
    let client = client(mail);
    let mut hops = [gate.hop(&client, "gate"), inner.hop(&client, "inner")];
    for hop in &mut hops {
        hop.compression = true;
    }
    let mut stream = client
        .tunnels
        .open("work", &hops, &client.target)
        .await
        .unwrap();
    greeted(&mut stream).await;
    let compresses = |host: &Host| host.sshd.log().contains("compression: zlib@openssh.com");
    assert!(compresses(&inner), "{}", inner.sshd.log());
    assert!(!compresses(&gate), "{}", gate.sshd.log());
}

/// `ssh -W` through a gate, as people write it for `ProxyCommand`.
fn by_way_of(gate: &Host, client: &Client, to: &Hop) -> String {
    let hop = gate.hop(client, "gate");
    format!(
        "ssh -F none -o 'UserKnownHostsFile={}' -o BatchMode=yes -i '{}' -p {} -W {} msingh@127.0.0.1",
        hop.known_hosts[0].display(),
        hop.identities[0].display(),
        hop.address.port,
        to.address
    )
}

async fn a_proxy_command_connects() {
    let mail = greeter().await;
    let inner = Host::to(mail);
    let gate = Host::to(inner.sshd.addr());
    let client = client(mail);
    let mut hop = inner.hop(&client, "inner");
    hop.proxy_command = Some(by_way_of(&gate, &client, &hop));
    // Not dialled, so its name need not mean anything here.
    hop.address.host = "inner.invalid".to_owned();
    fs::write(
        &hop.known_hosts[0],
        keys::known_hosts_line("inner.invalid", hop.address.port, inner.sshd.host_key()),
    )
    .unwrap();
    let hops = [hop];
    let mut stream = client
        .tunnels
        .open("work", &hops, &client.target)
        .await
        .unwrap();
    greeted(&mut stream).await;
    carries(&mut stream).await;
    assert_eq!((gate.logins(), inner.logins()), (1, 1));
    let steps = client.notes.steps();
    let dials = |step: &Step| matches!(step, Step::Resolved { .. } | Step::Connected { .. });
    assert!(!steps.iter().any(dials), "{steps:?}");
    drop(stream);
    client.tunnels.close().await;
    while !gate.sshd.log().contains("Disconnected from user msingh")
        && !gate.sshd.log().contains("Connection closed by")
    {
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn a_failed_proxy_command_says_why() {
    let mail = greeter().await;
    let inner = Host::to(mail);
    let gate = Host::to(mail);
    let client = client(mail);
    let hop = inner.hop(&client, "inner");
    let with = |command: &str| {
        let mut hop = hop.clone();
        hop.proxy_command = Some(command.to_owned());
        [hop]
    };

    let command = by_way_of(&gate, &client, &hop);
    let failed = error(&client, &with(&command)).await;
    let text = failed.to_string();
    assert!(
        text.starts_with("the proxy command for inner failed: exit status 255: ")
            && text.contains("open failed: administratively prohibited"),
        "{text}"
    );
    assert!(failed.hint().unwrap().contains(&command), "{failed}");
    assert_eq!(failed.kind(), TunnelErrorKind::Network);

    let failed = error(&client, &with("no-such-program --at all")).await;
    assert!(failed.to_string().contains("no-such-program"), "{failed}");
    assert_eq!(failed.kind(), TunnelErrorKind::Local);

    let failed = error(&client, &with("echo 'HTTP/1.0 403 Forbidden'; cat")).await;
    assert!(
        matches!(
            failed,
            TunnelError::ConnectionLost { .. } | TunnelError::NotSsh { .. }
        ),
        "{failed}"
    );

    let mut silent = with("sleep 600");
    silent[0].connect_timeout = Duration::from_millis(300);
    let failed = error(&client, &silent).await;
    assert!(matches!(failed, TunnelError::Timeout { .. }), "{failed}");
    client.tunnels.close().await;
}

async fn keys_are_renewed_on_our_initiative() {
    for compression in [false, true] {
        let mail = greeter().await;
        let host = Host::start(|sshd| {
            sshd.permit_open("127.0.0.1", mail.port())
                .option("LogLevel DEBUG1")
        });
        let client = client(mail);
        let mut hop = host.hop(&client, "popserver");
        hop.compression = compression;
        hop.rekey = Rekey {
            octets: Some(4 * 1024 * 1024),
            time: None,
        };
        let hops = [hop];
        let mut stream = client
            .tunnels
            .open("work", &hops, &client.target)
            .await
            .unwrap();
        greeted(&mut stream).await;
        exchange(stream, 24_000_000).await;
        let renewed = host.sshd.log().matches("set_newkeys: rekeying").count()
            + host.sshd.log().matches("rekey out after").count();
        assert!(renewed > 4, "{renewed} times\n{}", host.sshd.log());
    }
}

/// Sends so many octets to an echo and checks what comes back.
pub(crate) async fn exchange(stream: BoxStream, octets: u32) {
    let octet = |n: u32| (n.wrapping_mul(n) >> 9) as u8;
    let (mut reader, mut writer) = tokio::io::split(stream);
    let writing = tokio::spawn(async move {
        let mut sent = 0;
        while sent < octets {
            let until = octets.min(sent + 60_000);
            let chunk: Vec<u8> = (sent..until).map(octet).collect();
            writer.write_all(&chunk).await.unwrap();
            sent = until;
        }
        writer.shutdown().await.unwrap();
    });
    let mut chunk = vec![0; 65_536];
    let mut got = 0;
    loop {
        let count = reader.read(&mut chunk).await.unwrap();
        if count == 0 {
            break;
        }
        for &found in &chunk[..count] {
            assert_eq!(found, octet(got), "at octet {got}");
            got += 1;
        }
    }
    assert_eq!(got, octets);
    writing.await.unwrap();
}

const GREETING: &[u8] = b"+OK ready\r\n";
