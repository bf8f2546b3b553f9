//! The SSH client against OpenSSH's own server and agent.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

mod links;
mod openssh;
#[path = "../tunnel/world.rs"]
mod world;

use std::fs;
use std::future::Future;
use std::process::ExitCode;
use std::sync::Arc;

use posthole_core::plan::HostPort;
use posthole_core::tunnel::{AuthenticationFailed, Refusal, TunnelError};
use posthole_testkit::keys::{self, KeyFormat, KeyType};
use posthole_testkit::real::Requirement::{self, NssWrapper, OpenSsl, SshAgent, SshKeygen};
use posthole_testkit::real::{Agent, Sshd, SshdBuilder, Suite};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use world::{Client, Person, carries, echo};

fn main() -> ExitCode {
    openssh::tests(links::tests(Suite::new()))
        .test("every_kind_of_key_file_logs_in", SSHD, || {
            run(every_kind_of_key_file_logs_in());
        })
        .test("keys_made_by_ssh_keygen_log_in", SSH_KEYGEN, || {
            run(keys_made_by_ssh_keygen_log_in());
        })
        .test("keys_in_the_agent_log_in", SSH_AGENT, || {
            run(keys_in_the_agent_log_in());
        })
        .test("a_named_key_is_used_through_the_agent", SSH_AGENT, || {
            run(a_named_key_is_used_through_the_agent());
        })
        .test("a_locked_agent_is_an_empty_one", SSH_AGENT, || {
            run(a_locked_agent_is_an_empty_one());
        })
        .test("a_password_logs_in", PASSWORD, || run(a_password_logs_in()))
        .test("a_key_and_then_a_password_log_in", PASSWORD, || {
            run(a_key_and_then_a_password_log_in());
        })
        .test("too_many_wrong_keys_are_a_verdict", SSHD, || {
            run(too_many_wrong_keys_are_a_verdict());
        })
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
const PASSWORD: &[Requirement] = &[Requirement::Sshd, NssWrapper, OpenSsl];
const SSH_AGENT: &[Requirement] = &[Requirement::Sshd, NssWrapper, SshAgent];
const SSH_KEYGEN: &[Requirement] = &[Requirement::Sshd, NssWrapper, SshKeygen];

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

async fn failed(client: &Client) -> AuthenticationFailed {
    match client.error().await {
        TunnelError::AuthenticationFailed(failed) => *failed,
        other => panic!("{other}"),
    }
}

async fn every_kind_of_key_file_logs_in() {
    for key_type in KeyType::ALL {
        for format in [KeyFormat::OpenSsh, KeyFormat::Pkcs8] {
            let key = keys::generate(key_type);
            let person = Person::knowing(&["correct horse"]);
            let (_sshd, client) = client_of(person, |sshd| sshd.key(key.public_key())).await;
            let path = keys::write(client.path("id"), &key, format, Some("correct horse"));
            let client = client.identity(path);
            let mut stream = client.open().await.unwrap();
            assert!(carries(&mut stream).await, "{key_type:?} {format:?}");
        }
    }
}

async fn keys_made_by_ssh_keygen_log_in() {
    let directory = tempfile::tempdir().unwrap();
    for (kind, format) in [
        ("ed25519", "RFC4716"),
        ("ecdsa", "RFC4716"),
        ("rsa", "RFC4716"),
        ("ecdsa", "PKCS8"),
        ("rsa", "PKCS8"),
        ("ecdsa", "PEM"),
        ("rsa", "PEM"),
    ] {
        for passphrase in ["", "correct horse"] {
            let path = directory
                .path()
                .join(format!("{kind}-{format}-{}", passphrase.len()));
            let output = std::process::Command::new("ssh-keygen")
                .args(["-q", "-t", kind, "-m", format, "-N", passphrase, "-f"])
                .arg(&path)
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            let public = fs::read_to_string(path.with_extension("pub")).unwrap();
            let person = Person::knowing(&[passphrase]);
            let (_sshd, client) =
                client_of(person.clone(), |sshd| sshd.authorized_keys(&public)).await;
            let client = client.identity(path);
            if (kind, format) == ("ecdsa", "PEM") && !passphrase.is_empty() {
                // A format that nobody has written by default since OpenSSL 0.9.
                let failed = failed(&client).await;
                assert!(
                    failed.tried[0]
                        .outcome
                        .contains("rewrite it with ssh-keygen -p")
                );
                continue;
            }
            client
                .open()
                .await
                .unwrap_or_else(|error| panic!("{kind} {format}: {error}"));
            let asked = person.asked.lock().unwrap().len();
            assert_eq!(
                asked,
                usize::from(!passphrase.is_empty()),
                "{kind} {format}"
            );
        }
    }
}

async fn keys_in_the_agent_log_in() {
    for key_type in KeyType::ALL {
        let agent = Agent::start();
        agent.add(&keys::generate(KeyType::Ed25519));
        let key = keys::generate(key_type);
        agent.add(&key);
        let (_sshd, mut client) =
            client_of(Person::absent(), |sshd| sshd.key(key.public_key())).await;
        client.hop.agent = Some(agent.socket());
        client.open().await.unwrap();
        let method = client.notes.method();
        let expected = format!("{} from the agent", keys::fingerprint(key.public_key()));
        assert!(method.ends_with(&expected), "{method}");
    }
}

async fn a_named_key_is_used_through_the_agent() {
    let agent = Agent::start();
    for _ in 0..8 {
        agent.add(&keys::generate(KeyType::Ed25519));
    }
    let key = keys::generate(KeyType::Rsa);
    agent.add(&key);
    let person = Person::absent();
    let (sshd, client) = client_of(person, |sshd| sshd.key(key.public_key())).await;
    // Locked, but the agent has it open.
    let path = keys::write(
        client.path("id"),
        &key,
        KeyFormat::OpenSsh,
        Some("correct horse"),
    );
    let mut client = client.identity(path.clone());
    client.hop.agent = Some(agent.socket());
    client.open().await.unwrap();
    let method = client.notes.method();
    assert!(
        method.ends_with(&format!("from {} in the agent", path.display())),
        "{method}"
    );
    assert!(!sshd.log().contains("Failed publickey"), "{}", sshd.log());

    // The public half alone says which key is meant, too.
    fs::remove_file(&path).unwrap();
    client.hop.compression = true;
    client.open().await.unwrap();
}

async fn a_locked_agent_is_an_empty_one() {
    let agent = Agent::start();
    let key = keys::generate(KeyType::Ed25519);
    agent.add(&key);
    let mut ssh = russh::keys::agent::client::AgentClient::connect_uds(agent.socket())
        .await
        .unwrap();
    ssh.lock(b"secret").await.unwrap();
    let (_sshd, mut client) = client_of(Person::absent(), |sshd| sshd.key(key.public_key())).await;
    client.hop.agent = Some(agent.socket());
    let failed = failed(&client).await;
    assert_eq!(failed.offered, ["publickey"]);
    assert!(failed.tried.is_empty(), "{failed}");
    assert!(
        failed
            .to_string()
            .contains("there was no key or password to try"),
        "{failed}"
    );
}

async fn a_password_logs_in() {
    let (_sshd, client) = client_of(Person::absent(), |sshd| sshd.password("sesame")).await;
    let client = client.given_password("sesame");
    client.open().await.unwrap();
    assert_eq!(client.notes.method(), "password");

    let (_sshd, client) = client_of(Person::knowing(&["no", "sesame"]), |sshd| {
        sshd.password("sesame")
    })
    .await;
    client.open().await.unwrap();
}

async fn a_key_and_then_a_password_log_in() {
    let key = keys::generate(KeyType::Ed25519);
    let (_sshd, client) = client_of(Person::knowing(&["sesame"]), |sshd| {
        sshd.key(key.public_key())
            .password("sesame")
            .option("AuthenticationMethods publickey,password")
    })
    .await;
    let path = keys::write(client.path("id"), &key, KeyFormat::OpenSsh, None);
    let client = client.identity(path);
    client.open().await.unwrap();
    let method = client.notes.method();
    assert!(method.ends_with(", then password"), "{method}");
}

async fn too_many_wrong_keys_are_a_verdict() {
    let right = keys::generate(KeyType::Ed25519);
    let (_sshd, mut client) = client_of(Person::absent(), |sshd| {
        sshd.key(right.public_key()).option("MaxAuthTries 2")
    })
    .await;
    for index in 0..3 {
        let path = client.path(&format!("id_{index}"));
        let key = keys::generate(KeyType::Ed25519);
        client = client.identity(keys::write(path, &key, KeyFormat::OpenSsh, None));
    }
    let failed = failed(&client).await;
    assert_eq!(failed.tried.len(), 2, "{failed}");
    let said = failed.said.unwrap();
    assert_eq!(
        said,
        "the server disconnected: Too many authentication failures"
    );
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
