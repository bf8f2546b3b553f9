//! Trust in host keys.

use std::fs;

use posthole_core::plan::{HostPort, UnknownHostKey};
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
        authority: None,
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
    let place = format!("{}:2 records", client.known_hosts().display());
    assert!(error.to_string().contains(&place), "{error}");
    let remove = format!("`ssh-keygen -R '[127.0.0.1]:{}' -f ", server.port());
    assert!(
        error.hint().unwrap().contains(&remove),
        "{:?}",
        error.hint()
    );
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
    let judgement = known_hosts::judge(files, &key).unwrap();
    assert_eq!(judgement.standing, Standing::Unknown);
    known_hosts::append(client.known_hosts(), &key, false).unwrap();
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

#[tokio::test]
async fn what_is_to_be_recorded_unseen_is_recorded_and_told() {
    let server = server().await;
    let person = Person::saying(false);
    let mut client = Client::of(&server, person.clone()).given_password("sesame");
    fs::write(client.known_hosts(), "").unwrap();
    client.hop.unknown_host_key = UnknownHostKey::Record;
    client.open().await.unwrap();
    let recorded = fs::read_to_string(client.known_hosts()).unwrap();
    assert_eq!(recorded, server.known_hosts_line("127.0.0.1"));
    let fingerprint = keys::fingerprint(&server.host_key());
    let notices = client.notes.notices();
    assert!(
        notices
            .iter()
            .any(|notice| notice.contains("unseen") && notice.contains(&fingerprint)),
        "{notices:?}"
    );
    // What is known from then on is as good as if it had been compared.
    server.set_host_keys(vec![keys::generate(KeyType::Ed25519)]);
    client.hop.compression = true;
    let error = client.error().await;
    assert!(matches!(error, TunnelError::HostKeyChanged(_)), "{error}");
    assert!(person.asked_to_trust.lock().unwrap().is_empty());
}

#[tokio::test]
async fn what_cannot_be_recorded_is_not_trusted_unseen() {
    let server = server().await;
    let mut client = Client::of(&server, Person::absent()).given_password("sesame");
    // Not a directory, so that no file can be made in it, by root neither.
    let no_directory = client.path("file");
    fs::write(&no_directory, "").unwrap();
    client.hop.known_hosts = vec![no_directory.join("known_hosts")];
    client.hop.unknown_host_key = UnknownHostKey::Record;
    let error = client.error().await;
    assert!(matches!(error, TunnelError::KnownHosts(_)), "{error}");
    client.hop.known_hosts.clear();
    let error = client.error().await;
    assert!(
        matches!(error, TunnelError::HostKeyUnknown { .. }),
        "{error}"
    );
    assert!(server.attempts().is_empty());
}

#[tokio::test]
async fn an_unknown_key_is_refused_without_a_question_where_the_plan_says_so() {
    let server = server().await;
    let person = Person::saying(true);
    let mut client = Client::of(&server, person.clone()).given_password("sesame");
    fs::write(client.known_hosts(), "").unwrap();
    client.hop.unknown_host_key = UnknownHostKey::Refuse;
    let error = client.error().await;
    assert!(
        matches!(error, TunnelError::HostKeyUnknown { .. }),
        "{error}"
    );
    assert!(person.asked_to_trust.lock().unwrap().is_empty());
}

#[tokio::test]
async fn an_alias_is_what_the_host_is_known_as() {
    let server = server().await;
    let mut client = Client::of(&server, Person::saying(true)).given_password("sesame");
    client.hop.host_key_alias = Some("Pop".to_owned());
    client.hop.hash_known_hosts = true;
    client.open().await.unwrap();
    let text = fs::read_to_string(client.known_hosts()).unwrap();
    let added = text.lines().last().unwrap();
    assert!(added.starts_with("|1|"), "{text}");
    let mut other = client.hop.clone();
    other.known_hosts = vec![client.path("known_hosts2")];
    let line = server.known_hosts_line("127.0.0.1");
    let key = line.split_once(' ').unwrap().1;
    fs::write(&other.known_hosts[0], format!("pop {key}")).unwrap();
    let known = client.tunnels.open("work", &[other], &client.target).await;
    known.unwrap();
}

#[tokio::test]
async fn all_keys_of_a_server_are_seen_where_all_are_wanted() {
    let mut builder = SshServer::builder();
    let types = [KeyType::Rsa, KeyType::EcdsaP384, KeyType::Ed25519];
    for key_type in types {
        builder = builder.host_key(keys::generate(key_type));
    }
    let server = builder.start();
    let client = Client::of(&server, Person::absent());
    let hops = std::slice::from_ref(&client.hop);
    let seen = client.tunnels.scan_host_keys("work", hops).await.unwrap();
    let algorithms: Vec<_> = seen.iter().map(known_hosts::HostKey::algorithm).collect();
    assert_eq!(
        algorithms,
        ["ssh-ed25519", "ecdsa-sha2-nistp384", "ssh-rsa"]
    );
}

#[tokio::test]
async fn what_is_allowed_limits_the_host_key_that_is_shown() {
    let server = SshServer::builder()
        .login("msingh", Login::new().password("sesame"))
        .forward("localhost", 110, echo().await)
        .host_key(keys::generate(KeyType::Rsa))
        .host_key(keys::generate(KeyType::Ed25519))
        .start();
    let mut client = Client::of(&server, Person::absent()).given_password("sesame");
    for allowed in ["rsa-sha2-256", "ssh-ed25519"] {
        client.hop.algorithms.host_keys = Some(vec![allowed.to_owned()]);
        client.open().await.unwrap();
        let Some(Step::HostKey { algorithm, .. }) = client
            .notes
            .steps()
            .into_iter()
            .rfind(|step| matches!(step, Step::HostKey { .. }))
        else {
            panic!("no host key was told of")
        };
        let expected = if allowed.starts_with("rsa") {
            "ssh-rsa"
        } else {
            allowed
        };
        assert_eq!(algorithm, expected);
    }
    client.hop.algorithms.host_keys = Some(vec!["ssh-rsa".to_owned()]);
    let error = client.error().await;
    assert!(matches!(error, TunnelError::Unsupported { .. }), "{error}");
}
