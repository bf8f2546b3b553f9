//! Trust in host keys.

use std::fs;

use posthole_core::plan::HostPort;
use posthole_core::progress::Step;
use posthole_core::tunnel::known_hosts::{self, Standing};
use posthole_core::tunnel::{TunnelError, TunnelErrorKind};
use posthole_testkit::keys::{self, KeyType};
use posthole_testkit::ssh::{Login, SshServer};

use crate::world::{Client, Person, echo};

async fn server() -> SshServer {
    SshServer::builder()
        .login("msingh", Login::new().password("sesame"))
        .forward("localhost", 110, echo().await)
        .start()
}

#[tokio::test]
async fn a_known_key_passes_and_is_told_with_its_line() {
    let server = server().await;
    let client = Client::of(&server, Person::absent()).given_password("sesame");
    client.open().await.unwrap();
    let steps = client.notes.steps();
    let step = steps
        .iter()
        .find(|step| matches!(step, Step::HostKey { .. }));
    let expected = Step::HostKey {
        host: format!("[127.0.0.1]:{}", server.port()),
        algorithm: "ssh-ed25519".to_owned(),
        fingerprint: keys::fingerprint(&server.host_key()),
        recorded: Some((client.known_hosts().to_owned(), 1)),
    };
    assert_eq!(step, Some(&expected));
}

#[tokio::test]
async fn without_a_terminal_an_unknown_key_names_the_command_to_run() {
    let server = server().await;
    let client = Client::of(&server, Person::absent()).given_password("sesame");
    fs::write(client.known_hosts(), "").unwrap();
    let error = client.error().await;
    assert_eq!(error.kind(), TunnelErrorKind::HostKey);
    assert!(!error.is_temporary());
    let (text, port) = (error.to_string(), server.port());
    let fingerprint = keys::fingerprint(&server.host_key());
    assert_eq!(
        text,
        format!("the host key of [127.0.0.1]:{port} is not known: ssh-ed25519 {fingerprint}")
    );
    assert_eq!(
        error.hint().unwrap(),
        format!(
            "compare the fingerprint with the host's own, then run: posthole trust --known-hosts {} \
             popserver:{port}",
            client.known_hosts().display()
        )
    );
    assert!(server.attempts().is_empty(), "nobody logs in to a stranger");
}

#[tokio::test]
async fn a_yes_records_the_key_and_the_question_does_not_come_again() {
    let server = server().await;
    let person = Person::saying(true);
    let mut client = Client::of(&server, person.clone()).given_password("sesame");
    fs::write(client.known_hosts(), "").unwrap();
    client.open().await.unwrap();
    client.hop.compression = true;
    client.open().await.unwrap();
    assert_eq!(server.connections(), 2);
    assert_eq!(person.asked_to_trust.lock().unwrap().len(), 1);
    let recorded = fs::read_to_string(client.known_hosts()).unwrap();
    assert_eq!(recorded, server.known_hosts_line("127.0.0.1"));
}

#[tokio::test]
async fn two_connections_to_an_unknown_host_ask_once() {
    let server = server().await;
    let person = Person::saying(true);
    let client = Client::of(&server, person.clone()).given_password("sesame");
    fs::write(client.known_hosts(), "").unwrap();
    let mut other = client.hop.clone();
    other.compression = true;
    let others = [other];
    let (one, two) = tokio::join!(
        client.open(),
        client.tunnels.open("home", &others, &client.target)
    );
    one.unwrap();
    two.unwrap();
    assert_eq!(person.asked_to_trust.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn a_no_ends_it_without_a_trace() {
    let server = server().await;
    let client = Client::of(&server, Person::saying(false)).given_password("sesame");
    fs::write(client.known_hosts(), "").unwrap();
    let error = client.error().await;
    assert!(
        matches!(error, TunnelError::HostKeyDeclined { .. }),
        "{error}"
    );
    assert_eq!(fs::read_to_string(client.known_hosts()).unwrap(), "");
    assert!(server.attempts().is_empty());
}

#[tokio::test]
async fn a_changed_key_is_refused_without_a_question() {
    let server = server().await;
    let person = Person::saying(true);
    let client = Client::of(&server, person.clone()).given_password("sesame");
    let before = fs::read_to_string(client.known_hosts()).unwrap();
    fs::write(client.known_hosts(), format!("# mine\n{before}")).unwrap();
    server.set_host_keys(vec![keys::generate(KeyType::Ed25519)]);
    let error = client.error().await;
    let TunnelError::HostKeyChanged(changed) = &error else {
        panic!("{error}")
    };
    assert_eq!(
        (changed.file.as_path(), changed.line),
        (client.known_hosts(), 2)
    );
    assert!(error.hint().unwrap().contains("delete line 2 of "));
    assert!(person.asked_to_trust.lock().unwrap().is_empty());
    assert!(server.attempts().is_empty());
}

#[tokio::test]
async fn a_revoked_key_is_refused_without_a_question() {
    let server = server().await;
    let person = Person::saying(true);
    let client = Client::of(&server, person.clone()).given_password("sesame");
    let known = fs::read_to_string(client.known_hosts()).unwrap();
    let key = known.split_once(' ').unwrap().1;
    fs::write(client.known_hosts(), format!("{known}@revoked * {key}")).unwrap();
    let error = client.error().await;
    assert!(
        matches!(error, TunnelError::HostKeyRevoked { line: 2, .. }),
        "{error}"
    );
    assert!(person.asked_to_trust.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_server_with_several_keys_shows_the_one_that_is_known() {
    for known in KeyType::ALL {
        let mut builder = SshServer::builder()
            .login("msingh", Login::new().password("sesame"))
            .forward("localhost", 110, echo().await);
        for key_type in KeyType::ALL {
            builder = builder.host_key(keys::generate(key_type));
        }
        let server = builder.start();
        let client = Client::of(&server, Person::absent()).given_password("sesame");
        let lines = fs::read_to_string(client.known_hosts()).unwrap();
        let index = KeyType::ALL
            .iter()
            .position(|&key_type| key_type == known)
            .unwrap();
        fs::write(client.known_hosts(), lines.lines().nth(index).unwrap()).unwrap();
        client
            .open()
            .await
            .unwrap_or_else(|error| panic!("{known:?}: {error}"));
    }
}

#[tokio::test]
async fn a_damaged_line_about_the_host_stops_the_connection_before_it_is_made() {
    let server = server().await;
    let client = Client::of(&server, Person::saying(true)).given_password("sesame");
    fs::write(client.known_hosts(), "\n[127.0.0.1]:* ssh-ed25519 AAAA\n").unwrap();
    let error = client.error().await;
    assert!(matches!(error, TunnelError::KnownHosts(_)), "{error}");
    assert!(error.to_string().contains("line 2 is damaged"), "{error}");
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn a_scan_shows_the_key_without_logging_in_and_append_makes_it_known() {
    let server = server().await;
    let client = Client::of(&server, Person::absent()).given_password("sesame");
    fs::remove_file(client.known_hosts()).unwrap();
    let hops = std::slice::from_ref(&client.hop);
    let key = client.tunnels.scan_host_key("work", hops).await.unwrap();
    assert_eq!(key.fingerprint(), keys::fingerprint(&server.host_key()));
    assert_eq!(key.line() + "\n", server.known_hosts_line("127.0.0.1"));
    assert!(server.attempts().is_empty());
    assert!(!client.known_hosts().exists());

    let files = &client.hop.known_hosts;
    assert_eq!(known_hosts::judge(files, &key).unwrap(), Standing::Unknown);
    known_hosts::append(client.known_hosts(), &key).unwrap();
    client.open().await.unwrap();
}

#[tokio::test]
async fn a_name_is_compared_without_regard_to_case() {
    let server = server().await;
    let mut client = Client::of(&server, Person::absent()).given_password("sesame");
    client.hop.address = HostPort {
        host: "LocalHost".to_owned(),
        port: server.port(),
    };
    fs::write(client.known_hosts(), server.known_hosts_line("localhost")).unwrap();
    client.open().await.unwrap();
}
