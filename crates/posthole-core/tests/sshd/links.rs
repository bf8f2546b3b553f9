//! The ways to reach an sshd: through others, by a program, and by OpenSSH's own client.

use std::fs;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use posthole_core::plan::{Backend, Hop, HostPort, Rekey};
use posthole_core::progress::Step;
use posthole_core::transport::BoxStream;
use posthole_core::tunnel::{Refusal, TunnelError, TunnelErrorKind};
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
        .test(
            "ssh_carries_a_channel",
            SSH,
            || run(ssh_carries_a_channel()),
        )
        .test("ssh_takes_us_through_other_hosts", SSH, || {
            run(ssh_takes_us_through_other_hosts());
        })
        .test(
            "a_host_behind_ssh_is_reached_by_the_built_in_client",
            SSH,
            || {
                run(a_host_behind_ssh_is_reached_by_the_built_in_client());
            },
        )
        .test("what_ssh_says_becomes_our_errors", SSH, || {
            run(what_ssh_says_becomes_our_errors());
        })
        .test("an_ssh_that_dies_is_an_error_and_not_the_end", SSH, || {
            run(an_ssh_that_dies_is_an_error_and_not_the_end());
        })
        .test("an_ssh_that_hears_nothing_is_given_up", SSH, || {
            run(an_ssh_that_hears_nothing_is_given_up());
        })
}

const SSH: &[Requirement] = &[Requirement::Sshd, NssWrapper, Ssh];

/// A host with a key that opens it.
struct Host {
    sshd: Sshd,
    key: PrivateKey,
}

impl Host {
    fn start(change: impl FnOnce(SshdBuilder) -> SshdBuilder) -> Self {
        let key = keys::generate(KeyType::Ed25519);
        let sshd = change(Sshd::builder().key(key.public_key())).start();
        Self { sshd, key }
    }

    /// One that forwards there.
    fn to(addr: SocketAddr) -> Self {
        Self::start(|sshd| sshd.permit_open("127.0.0.1", addr.port()))
    }

    /// The host in a client's plan, with files of its own.
    fn hop(&self, client: &Client, name: &str) -> Hop {
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

    fn logins(&self) -> usize {
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
fn client(target: SocketAddr) -> Client {
    let mut client = Client::at(target, "", Person::absent());
    client.target = host_port(target);
    client
}

/// A server that greets, sends back what it gets, and closes when the client does.
async fn greeter() -> SocketAddr {
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

async fn greeted(stream: &mut BoxStream) {
    let mut greeting = [0; GREETING.len()];
    stream.read_exact(&mut greeting).await.unwrap();
    assert_eq!(greeting, GREETING);
}

async fn carries(stream: &mut BoxStream) {
    stream.write_all(b"CAPA\r\n").await.unwrap();
    let mut answer = [0; 6];
    stream.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"CAPA\r\n");
}

async fn error(client: &Client, hops: &[Hop]) -> TunnelError {
    match client.tunnels.open("work", hops, &client.target).await {
        Ok(_) => panic!("a channel was opened"),
        Err(error) => error,
    }
}

/// A port that nobody listens on.
fn closed_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn openssh(mut hop: Hop) -> Hop {
    hop.backend = Backend::OpenSsh { needed_for: None };
    hop
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
    let real = std::mem::replace(&mut hop.address.host, "inner.invalid".to_owned());
    hop.host_key_alias = Some(real);
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
async fn exchange(stream: BoxStream, octets: u32) {
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

async fn ssh_carries_a_channel() {
    let mail = greeter().await;
    let host = Host::to(mail);
    let client = client(mail);
    let mut hop = openssh(host.hop(&client, "popserver"));
    hop.compression = true;
    let hops = [hop];
    let mut stream = client
        .tunnels
        .open("work", &hops, &client.target)
        .await
        .unwrap();
    greeted(&mut stream).await;
    let steps: Vec<_> = client
        .notes
        .steps()
        .into_iter()
        .map(|step| match step {
            Step::Connected { address } => {
                assert_eq!(address, host.sshd.addr());
                "connected".to_owned()
            }
            Step::HostKey { fingerprint, .. } => fingerprint,
            Step::Authenticated { method, .. } => method,
            Step::ChannelOpen { to } => to,
            other => panic!("{other:?}"),
        })
        .collect();
    let expected = [
        "connected".to_owned(),
        keys::fingerprint(host.sshd.host_key()),
        format!(
            "publickey ED25519 {} from {}",
            keys::fingerprint(host.key.public_key()),
            hops[0].identities[0].display()
        ),
        client.target.to_string(),
    ];
    assert_eq!(steps, expected);
    exchange(stream, 20_000_000).await;
    client.tunnels.close().await;
}

async fn ssh_takes_us_through_other_hosts() {
    let mail = greeter().await;
    let inner = Host::to(mail);
    let middle = Host::to(inner.sshd.addr());
    let gate = Host::to(middle.sshd.addr());
    let client = client(mail);
    let mut hops = [
        gate.hop(&client, "gate"),
        middle.hop(&client, "middle"),
        openssh(inner.hop(&client, "inner")),
    ];
    let mut stream = client
        .tunnels
        .open("work", &hops, &client.target)
        .await
        .unwrap();
    greeted(&mut stream).await;
    carries(&mut stream).await;
    assert_eq!([&gate, &middle, &inner].map(Host::logins), [1, 1, 1]);
    drop(stream);

    hops[0].known_hosts = vec![client.path("empty 100%")];
    let unknown = error(&client, &hops).await;
    assert_eq!(unknown.kind(), TunnelErrorKind::HostKey, "{unknown}");
    let text = format!(
        "the host key of [127.0.0.1]:{} is not known",
        gate.sshd.port()
    );
    assert!(unknown.to_string().contains(&text), "{unknown}");
    let hint = unknown.hint().unwrap();
    let trust = format!("gate:{}", gate.sshd.port());
    assert!(
        hint.ends_with(&trust) && hint.contains("empty 100%"),
        "{hint}"
    );
    client.tunnels.close().await;
}

async fn a_host_behind_ssh_is_reached_by_the_built_in_client() {
    let mail = greeter().await;
    let inner = Host::to(mail);
    let gate = Host::to(inner.sshd.addr());
    let client = client(mail);
    let hops = [
        openssh(gate.hop(&client, "gate")),
        inner.hop(&client, "inner"),
    ];
    let mut stream = client
        .tunnels
        .open("work", &hops, &client.target)
        .await
        .unwrap();
    greeted(&mut stream).await;
    carries(&mut stream).await;
    client.tunnels.close().await;
}

async fn what_ssh_says_becomes_our_errors() {
    let mail = greeter().await;
    let host = Host::to(mail);
    let client = client(mail);
    let hop = openssh(host.hop(&client, "popserver"));
    let port = hop.address.port;

    let mut unknown = hop.clone();
    unknown.known_hosts = vec![client.path("empty")];
    let unknown = error(&client, &[unknown]).await;
    assert_eq!(
        unknown.to_string(),
        format!(
            "the host key of [127.0.0.1]:{port} is not known: ssh-ed25519 {}",
            keys::fingerprint(host.sshd.host_key())
        )
    );
    let hint = unknown.hint().unwrap();
    assert!(hint.ends_with(&format!("popserver:{port}")), "{hint}");

    let other = keys::generate(KeyType::Ed25519);
    let line = keys::known_hosts_line("127.0.0.1", port, other.public_key());
    let mut changed = hop.clone();
    changed.known_hosts = vec![client.path("other")];
    fs::write(&changed.known_hosts[0], format!("# of old\n{line}")).unwrap();
    let TunnelError::HostKeyChanged(changed) = error(&client, &[changed]).await else {
        panic!()
    };
    assert_eq!((&changed.file, changed.line), (&client.path("other"), 2));
    assert_eq!(changed.fingerprint, keys::fingerprint(host.sshd.host_key()));

    let mut stranger = hop.clone();
    let path = keys::write(client.path("stranger"), &other, KeyFormat::OpenSsh, None);
    stranger.identities = vec![path];
    stranger.identities_only = true;
    let TunnelError::AuthenticationFailed(failed) = error(&client, &[stranger]).await else {
        panic!()
    };
    assert_eq!(failed.login, "msingh@popserver");
    assert_eq!(failed.tried.len(), 1, "{failed}");
    assert_eq!(failed.offered, ["publickey"]);

    let mut closed = hop.clone();
    closed.address.port = closed_port();
    let closed = error(&client, &[closed]).await;
    assert_eq!(closed.kind(), TunnelErrorKind::Network, "{closed}");
    assert!(
        closed.to_string().contains("Connection refused"),
        "{closed}"
    );

    let mut nowhere = hop.clone();
    nowhere.address.host = "nowhere.invalid".to_owned();
    let nowhere = error(&client, &[nowhere]).await;
    assert!(
        nowhere.to_string().contains("Could not resolve"),
        "{nowhere}"
    );

    let mut cipher = hop.clone();
    cipher.algorithms.ciphers = Some(vec!["aes128-cbc".to_owned()]);
    let cipher = error(&client, &[cipher]).await;
    assert_eq!(cipher.kind(), TunnelErrorKind::Protocol, "{cipher}");

    let to = HostPort {
        host: "127.0.0.1".to_owned(),
        port: 1,
    };
    for _ in 0..2 {
        let opened = client
            .tunnels
            .open("work", std::slice::from_ref(&hop), &to)
            .await;
        let TunnelError::ChannelRefused { refusal, .. } = opened.err().unwrap() else {
            panic!()
        };
        assert_eq!(refusal, Refusal::AdministrativelyProhibited);
    }
    // Others are let through.
    let mut stream = client
        .tunnels
        .open("work", &[hop], &client.target)
        .await
        .unwrap();
    greeted(&mut stream).await;
    client.tunnels.close().await;
}

async fn an_ssh_that_dies_is_an_error_and_not_the_end() {
    let mail = greeter().await;
    let host = Host::to(mail);
    let client = client(mail);
    let hops = [openssh(host.hop(&client, "popserver"))];
    let mut stream = client
        .tunnels
        .open("work", &hops, &client.target)
        .await
        .unwrap();
    greeted(&mut stream).await;
    drop(host);
    let error = stream.read(&mut [0; 8]).await.unwrap_err();
    assert_eq!(error.kind(), std::io::ErrorKind::ConnectionReset);
    let text = error.to_string();
    assert!(text.contains("ssh ended with exit status 255: "), "{text}");
    client.tunnels.close().await;
}

async fn an_ssh_that_hears_nothing_is_given_up() {
    let mail = greeter().await;
    let host = Host::to(mail);
    let client = client(mail);
    let silent = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let mut hop = openssh(host.hop(&client, "popserver"));
    hop.address.port = silent.local_addr().unwrap().port();
    hop.connect_timeout = Duration::from_secs(1);
    let error = error(&client, &[hop]).await;
    assert_eq!(error.kind(), TunnelErrorKind::Network);
    assert!(error.is_temporary());
    client.tunnels.close().await;
}

const GREETING: &[u8] = b"+OK ready\r\n";
