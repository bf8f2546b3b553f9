//! The SSH server, spoken to by russh's client.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::io::Read;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use posthole_testkit::keys::{self, KeyType};
use posthole_testkit::mail;
use posthole_testkit::net::{Ending, Limits};
use posthole_testkit::pop3::{Maildrop, Pop3Server};
use posthole_testkit::ssh::{Login, SshServer, Target};
use russh::client::{self, AuthResult, Handle, KeyboardInteractiveAuthResponse};
use russh::keys::{HashAlg, PrivateKey, PrivateKeyWithHashAlg, PublicKey, PublicKeyOrCertificate};
use russh::{ChannelOpenFailure, Preferred, compression};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

#[derive(Clone, Default)]
struct Client(Arc<Mutex<Option<PublicKey>>>);

impl client::Handler for Client {
    type Error = russh::Error;

    async fn check_server_key(
        &mut self,
        key: &PublicKeyOrCertificate,
    ) -> Result<bool, russh::Error> {
        // Any key will do here: the test compares it afterwards.
        *self.0.lock().unwrap() = Some(key.public_key());
        Ok(true)
    }
}

async fn connect(server: &SshServer) -> Result<(Handle<Client>, Client), russh::Error> {
    connect_with(server, client::Config::default()).await
}

async fn connect_with(
    server: &SshServer,
    config: client::Config,
) -> Result<(Handle<Client>, Client), russh::Error> {
    let client = Client::default();
    Ok((
        client::connect(Arc::new(config), server.addr(), client.clone()).await?,
        client,
    ))
}

async fn with_key(handle: &mut Handle<Client>, key: &PrivateKey) -> AuthResult {
    let key = PrivateKeyWithHashAlg::new(Arc::new(key.clone()), Some(HashAlg::Sha512));
    handle.authenticate_publickey("msingh", key).await.unwrap()
}

fn world() -> (Pop3Server, SshServer, PrivateKey) {
    let pop3 = Pop3Server::start(&Maildrop::of(mail::small(3)));
    let key = keys::generate(KeyType::Ed25519);
    let ssh = SshServer::builder()
        .login(
            "msingh",
            Login::new().key(key.public_key()).password("sesame"),
        )
        .forward("localhost", 110, pop3.addr())
        .start();
    (pop3, ssh, key)
}

async fn talk(handle: &Handle<Client>) -> String {
    let channel = handle
        .channel_open_direct_tcpip("localhost", 110, "127.0.0.1", 0)
        .await
        .unwrap();
    let mut stream = channel.into_stream();
    stream
        .write_all(b"USER msingh\r\nPASS secret\r\nSTAT\r\nQUIT\r\n")
        .await
        .unwrap();
    let mut all = String::new();
    stream.read_to_string(&mut all).await.unwrap();
    all
}

#[tokio::test]
async fn a_pop3_dialogue_passes_through_a_channel() {
    let (pop3, ssh, key) = world();
    let (mut handle, seen) = connect(&ssh).await.unwrap();
    assert!(with_key(&mut handle, &key).await.success());
    let all = talk(&handle).await;
    assert!(all.contains("+OK 3 "), "{all}");
    assert!(all.ends_with("+OK bye\r\n"), "{all}");
    assert_eq!(
        seen.0.lock().unwrap().as_ref().unwrap().key_data(),
        ssh.host_key().key_data()
    );
    let channels = ssh.channels();
    assert_eq!(
        (
            channels[0].host.as_str(),
            channels[0].port,
            channels[0].opened
        ),
        ("localhost", 110, true)
    );
    assert_eq!(pop3.lines().len(), 4);
    assert_eq!(
        ssh.attempts().last().map(|attempt| attempt.method),
        Some("publickey")
    );
}

#[tokio::test]
async fn keys_passwords_and_prompts_let_in_and_wrong_ones_do_not() {
    let (_pop3, ssh, _key) = world();
    let other = keys::generate(KeyType::Ed25519);
    let (mut handle, _) = connect(&ssh).await.unwrap();
    assert!(!with_key(&mut handle, &other).await.success());
    assert!(
        !handle
            .authenticate_password("msingh", "wrong")
            .await
            .unwrap()
            .success()
    );
    assert!(
        !handle
            .authenticate_password("nobody", "sesame")
            .await
            .unwrap()
            .success()
    );
    assert!(
        handle
            .authenticate_password("msingh", "sesame")
            .await
            .unwrap()
            .success()
    );

    ssh.set_login("msingh", Login::new().keyboard_interactive("Code: ", "123"));
    let (mut handle, _) = connect(&ssh).await.unwrap();
    let asked = handle
        .authenticate_keyboard_interactive_start("msingh", None)
        .await
        .unwrap();
    let KeyboardInteractiveAuthResponse::InfoRequest { prompts, .. } = asked else {
        panic!("no prompt")
    };
    assert_eq!(prompts[0].prompt, "Code: ");
    let answered = handle
        .authenticate_keyboard_interactive_respond(vec!["123".into()])
        .await;
    assert!(matches!(
        answered.unwrap(),
        KeyboardInteractiveAuthResponse::Success
    ));
}

#[tokio::test]
async fn every_key_type_lets_in() {
    let (_pop3, ssh, _key) = world();
    for key_type in KeyType::ALL {
        let key = keys::generate(key_type);
        ssh.set_login("msingh", Login::new().key(key.public_key()));
        let (mut handle, _) = connect(&ssh).await.unwrap();
        assert!(with_key(&mut handle, &key).await.success(), "{key_type:?}");
    }
}

#[tokio::test]
async fn targets_are_refused_or_ignored_as_the_table_says() {
    let (_pop3, ssh, key) = world();
    ssh.set_target(
        "nowhere",
        1,
        Target::Connect("127.0.0.1:1".parse().unwrap()),
    );
    ssh.set_target(
        "forbidden",
        1,
        Target::Refuse(ChannelOpenFailure::ResourceShortage),
    );
    ssh.set_target("silent", 1, Target::Ignore);
    let (mut handle, _) = connect(&ssh).await.unwrap();
    assert!(with_key(&mut handle, &key).await.success());
    for (host, expected) in [
        ("nowhere", ChannelOpenFailure::ConnectFailed),
        ("forbidden", ChannelOpenFailure::ResourceShortage),
        ("unknown", ChannelOpenFailure::AdministrativelyProhibited),
    ] {
        match handle
            .channel_open_direct_tcpip(host, 1, "127.0.0.1", 0)
            .await
        {
            Err(russh::Error::ChannelOpenFailure(reason)) => assert_eq!(reason, expected, "{host}"),
            other => panic!("{host}: {:?}", other.map(|channel| channel.id())),
        }
    }
    let silent = handle.channel_open_direct_tcpip("silent", 1, "127.0.0.1", 0);
    assert!(
        tokio::time::timeout(Duration::from_millis(100), silent)
            .await
            .is_err()
    );
    assert!(ssh.channels().iter().all(|channel| !channel.opened));
}

#[tokio::test]
async fn sessions_and_remote_forwards_are_refused_and_noted() {
    let (_pop3, ssh, key) = world();
    let (mut handle, _) = connect(&ssh).await.unwrap();
    assert!(with_key(&mut handle, &key).await.success());
    assert!(handle.channel_open_session().await.is_err());
    assert!(handle.tcpip_forward("127.0.0.1", 0).await.is_err());
    assert_eq!(
        ssh.misplaced_requests(),
        ["session", "tcpip-forward 127.0.0.1:0"]
    );
}

#[tokio::test]
async fn connections_end_where_the_limits_say() {
    let (_pop3, ssh, key) = world();
    ssh.set_limits(Limits {
        sent: Some(500),
        ..Limits::default()
    });
    assert!(connect(&ssh).await.is_err());
    ssh.set_limits(Limits {
        sent: Some(500),
        ending: Ending::Stall,
        ..Limits::default()
    });
    assert!(
        tokio::time::timeout(Duration::from_millis(200), connect(&ssh))
            .await
            .is_err()
    );
    ssh.set_limits(Limits::default());
    let (mut handle, _) = connect(&ssh).await.unwrap();
    assert!(with_key(&mut handle, &key).await.success());
    assert!(talk(&handle).await.ends_with("+OK bye\r\n"));
}

#[tokio::test]
async fn another_host_key_can_be_presented() {
    let (_pop3, ssh, _key) = world();
    let (_handle, before) = connect(&ssh).await.unwrap();
    ssh.set_host_keys(vec![keys::generate(KeyType::EcdsaP256)]);
    let (_handle, after) = connect(&ssh).await.unwrap();
    assert_ne!(*before.0.lock().unwrap(), *after.0.lock().unwrap());
    assert!(
        ssh.known_hosts_line("localhost")
            .contains("ecdsa-sha2-nistp256")
    );
}

#[tokio::test]
async fn much_mail_passes_compressed_and_with_new_keys_in_between() {
    let big = mail::Big::new(1, 3_000_000);
    let pop3 = Pop3Server::start(&Maildrop::of([big.clone()]));
    let key = keys::generate(KeyType::Ed25519);
    let ssh = SshServer::builder()
        .login("msingh", Login::new().key(key.public_key()))
        .forward("localhost", 110, pop3.addr())
        .rekey_after(500_000)
        .start();
    let preferred = Preferred {
        compression: vec![compression::ZLIB_LEGACY].into(),
        ..Preferred::default()
    };
    let config = client::Config {
        preferred,
        ..client::Config::default()
    };
    let (mut handle, _) = connect_with(&ssh, config).await.unwrap();
    assert!(with_key(&mut handle, &key).await.success());
    let start = Instant::now();
    let channel = handle
        .channel_open_direct_tcpip("localhost", 110, "::1", 0)
        .await
        .unwrap();
    let mut stream = channel.into_stream();
    stream
        .write_all(b"USER msingh\r\nPASS secret\r\nRETR 1\r\nQUIT\r\n")
        .await
        .unwrap();
    let mut all = Vec::new();
    stream.read_to_end(&mut all).await.unwrap();
    let mut text = Vec::new();
    big.read_crlf().read_to_end(&mut text).unwrap();
    // Lines of dots are the only ones that differ on the wire.
    assert!(all.len() > text.len() && all.ends_with(b"\r\n.\r\n+OK bye\r\n"));
    assert!(ssh.traffic().sent() < all.len() as u64, "not compressed");
    println!("{:?}", start.elapsed());
}
