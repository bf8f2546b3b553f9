//! OpenSSH's own client as the way to an sshd.

use std::fs;
use std::time::Duration;

use posthole_core::plan::{Backend, Hop, HostPort};
use posthole_core::progress::Step;
use posthole_core::tunnel::{Refusal, TunnelError, TunnelErrorKind};
use posthole_testkit::keys::{self, KeyFormat, KeyType};
use posthole_testkit::real::Suite;
use tokio::io::AsyncReadExt;
use tokio::net::TcpListener;

use crate::links::{Host, SSH, carries, client, error, exchange, greeted, greeter};
use crate::run;

pub(crate) fn tests(suite: Suite) -> Suite {
    suite
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

/// A port that nobody listens on.
fn closed_port() -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}

fn openssh(mut hop: Hop) -> Hop {
    hop.backend = Backend::OpenSsh { needed_for: None };
    hop
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
