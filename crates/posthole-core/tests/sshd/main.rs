//! The SSH client against OpenSSH's own server and agent.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod auth;
#[path = "../tunnel/fake_agent.rs"]
mod fake_agent;
mod links;
mod openssh;
#[path = "../tunnel/world.rs"]
mod world;

use std::fs;
use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;

use posthole_core::plan::HostPort;
use posthole_core::tunnel::{Refusal, TunnelError};
use posthole_testkit::keys::{self, KeyFormat, KeyType};
use posthole_testkit::real::Requirement::{self, NssWrapper};
use posthole_testkit::real::{Sshd, SshdBuilder, Suite};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use world::{Client, Person, carries, echo};

fn main() -> ExitCode {
    openssh::tests(links::tests(auth::tests(Suite::new())))
        .test("host_keys_of_all_kinds_are_known", SSHD, || {
            run(host_keys_of_all_kinds_are_known());
        })
        .test("refusals_come_in_the_words_of_sshd", SSHD, || {
            run(refusals_come_in_the_words_of_sshd());
        })
        .test("a_restricted_key_explains_its_refusal", SSHD, || {
            run(a_restricted_key_explains_its_refusal());
        })
        .test("data_survives_compression_and_new_keys", SSHD, || {
            run(data_survives_compression_and_new_keys());
        })
        .test("ciphers_are_agreed_on", SSHD, || {
            run(ciphers_are_agreed_on());
        })
        .test("many_channels_at_once_share_a_connection", SSHD, || {
            run(many_channels_at_once_share_a_connection());
        })
        .run()
}

const SSHD: &[Requirement] = &[Requirement::Sshd, NssWrapper];

fn run(test: impl Future<Output = ()>) {
    tokio::runtime::Runtime::new().unwrap().block_on(test);
}

/// An sshd that forwards to an echo, and a client that knows it.
async fn client_of(
    person: Arc<Person>,
    change: impl FnOnce(SshdBuilder) -> SshdBuilder,
) -> (Sshd, Client) {
    let echo = echo().await;
    let sshd = change(Sshd::builder().permit_open("127.0.0.1", echo.port())).start();
    let mut client = Client::at(sshd.addr(), &sshd.known_hosts_line("127.0.0.1"), person);
    client.target = HostPort {
        host: "127.0.0.1".to_owned(),
        port: echo.port(),
    };
    (sshd, client)
}

async fn host_keys_of_all_kinds_are_known() {
    let directory = tempfile::tempdir().unwrap();
    let key = keys::generate(KeyType::Ed25519);
    for key_type in KeyType::ALL {
        let host_key = keys::generate(key_type);
        let path = directory.path().join(format!("{key_type:?}"));
        keys::write(&path, &host_key, KeyFormat::OpenSsh, None);
        let (sshd, client) = client_of(Person::absent(), |sshd| {
            sshd.key(key.public_key())
                .option(&format!("HostKey {}", path.display()))
        })
        .await;
        let known = keys::known_hosts_line("127.0.0.1", sshd.port(), host_key.public_key());
        fs::write(client.known_hosts(), known).unwrap();
        let id = keys::write(client.path("id"), &key, KeyFormat::OpenSsh, None);
        let client = client.identity(id);
        client
            .open()
            .await
            .unwrap_or_else(|error| panic!("{key_type:?}: {error}"));
    }
}

async fn refusals_come_in_the_words_of_sshd() {
    let key = keys::generate(KeyType::Ed25519);
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = closed.local_addr().unwrap().port();
    drop(closed);
    let (_sshd, client) = client_of(Person::absent(), |sshd| {
        sshd.key(key.public_key())
            .permit_open("127.0.0.1", port)
            .permit_open("no.invalid", 110)
    })
    .await;
    let path = keys::write(client.path("id"), &key, KeyFormat::OpenSsh, None);
    let mut client = client.identity(path);

    let good = std::mem::replace(&mut client.target.port, port);
    let error = client.error().await;
    assert!(
        error
            .to_string()
            .ends_with("connect failed: Connection refused"),
        "{error}"
    );
    assert!(
        error.hint().unwrap().contains("nothing listens on port"),
        "{error}"
    );

    client.target = HostPort {
        host: "no.invalid".to_owned(),
        port: 110,
    };
    let error = client.error().await;
    let hint = error.hint().unwrap();
    assert_eq!(
        hint, "popserver cannot resolve the name no.invalid",
        "{error}"
    );

    client.target = HostPort {
        host: "127.0.0.1".to_owned(),
        port: 1,
    };
    let error = client.error().await;
    assert!(error.hint().unwrap().contains("PermitOpen"), "{error}");

    client.target.port = good;
    let mut stream = client.open().await.unwrap();
    assert!(carries(&mut stream).await);
}

async fn a_restricted_key_explains_its_refusal() {
    let key = keys::generate(KeyType::Ed25519);
    let line = format!("restrict {}", keys::public_line(key.public_key()));
    let (_sshd, client) = client_of(Person::absent(), |sshd| sshd.authorized_keys(&line)).await;
    let path = keys::write(client.path("id"), &key, KeyFormat::OpenSsh, None);
    let error = client.identity(path).error().await;
    let TunnelError::ChannelRefused { refusal, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(*refusal, Refusal::AdministrativelyProhibited);
    assert!(
        error.hint().unwrap().contains("permitopen and restrict"),
        "{error}"
    );
}

async fn data_survives_compression_and_new_keys() {
    for compression in [false, true] {
        let key = keys::generate(KeyType::Ed25519);
        let (_sshd, client) = client_of(Person::absent(), |sshd| {
            sshd.key(key.public_key()).option("RekeyLimit 1M")
        })
        .await;
        let path = keys::write(client.path("id"), &key, KeyFormat::OpenSsh, None);
        let mut client = client.identity(path);
        client.hop.compression = compression;
        let (mut reader, mut writer) = tokio::io::split(client.open().await.unwrap());
        let sent: Vec<u8> = (0..12_000_000_u32)
            .map(|n| (n.wrapping_mul(n) >> 9) as u8)
            .collect();
        let expected = sent.clone();
        let writing = tokio::spawn(async move {
            writer.write_all(&sent).await.unwrap();
            writer.shutdown().await.unwrap();
        });
        let mut got = Vec::new();
        reader.read_to_end(&mut got).await.unwrap();
        writing.await.unwrap();
        assert!(
            got == expected,
            "compression {compression}: {} octets",
            got.len()
        );
    }
}

async fn ciphers_are_agreed_on() {
    for cipher in [
        "aes256-gcm@openssh.com",
        "chacha20-poly1305@openssh.com",
        "aes256-ctr",
    ] {
        let key = keys::generate(KeyType::Ed25519);
        let (_sshd, client) = client_of(Person::absent(), |sshd| {
            sshd.key(key.public_key())
                .option(&format!("Ciphers {cipher}"))
        })
        .await;
        let path = keys::write(client.path("id"), &key, KeyFormat::OpenSsh, None);
        let mut stream = client.identity(path).open().await.unwrap();
        assert!(carries(&mut stream).await, "{cipher}");
    }
}

async fn many_channels_at_once_share_a_connection() {
    let key = keys::generate(KeyType::Ed25519);
    let (sshd, client) = client_of(Person::absent(), |sshd| sshd.key(key.public_key())).await;
    let path = keys::write(client.path("id"), &key, KeyFormat::OpenSsh, None);
    let client = Arc::new(client.identity(path));
    let mut tasks = tokio::task::JoinSet::new();
    for _ in 0..40 {
        let client = Arc::clone(&client);
        tasks.spawn(async move {
            let mut stream = client.open().await.unwrap();
            for _ in 0..20 {
                assert!(carries(&mut stream).await);
            }
        });
    }
    while let Some(ended) = tasks.join_next().await {
        ended.unwrap();
    }
    assert_eq!(sshd.log().matches("Accepted publickey").count(), 1);
    client.tunnels.close().await;
}
