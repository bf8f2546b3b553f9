//! Logins.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;

use posthole_core::ask::{SecretQuestion, Unanswered};
use posthole_core::plan::PasswordSource;
use posthole_core::tunnel::{AuthenticationFailed, TunnelError, TunnelErrorKind};
use posthole_testkit::keys::{self, KeyFormat, KeyType};
use posthole_testkit::relay::Relay;
use posthole_testkit::ssh::{Login, SshServer};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixListener;

use crate::fake_agent::{self, Held};
use crate::world::{Client, Person, carries, echo};

async fn server(login: Login) -> SshServer {
    SshServer::builder()
        .login("msingh", login)
        .forward("localhost", 110, echo().await)
        .start()
}

async fn failed(client: &Client) -> AuthenticationFailed {
    match client.error().await {
        TunnelError::AuthenticationFailed(failed) => *failed,
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn every_kind_of_key_in_every_format_logs_in() {
    for key_type in KeyType::ALL {
        for format in [KeyFormat::OpenSsh, KeyFormat::Pkcs8] {
            for passphrase in [None, Some("correct horse")] {
                let key = keys::generate(key_type);
                let server = server(Login::new().key(key.public_key())).await;
                let person = Person::knowing(passphrase.as_slice());
                let client = Client::of(&server, person.clone());
                let path = keys::write(client.path("id"), &key, format, passphrase);
                let client = client.identity(path.clone());
                let mut stream = client.open().await.unwrap();
                assert!(carries(&mut stream).await);

                let asked = person.asked.lock().unwrap().len();
                assert_eq!(asked, passphrase.iter().count(), "{key_type:?} {format:?}");
                let method = client.notes.method();
                let fingerprint = keys::fingerprint(key.public_key());
                let from = format!("{fingerprint} from {}", path.display());
                assert!(method.ends_with(&from), "{method}");
            }
        }
    }
}

#[tokio::test]
async fn rsa_keys_sign_with_sha2() {
    let key = keys::generate(KeyType::Rsa);
    let server = server(Login::new().key(key.public_key())).await;
    let client = Client::of(&server, Person::absent());
    let path = keys::write(client.path("id_rsa"), &key, KeyFormat::OpenSsh, None);
    let client = client.identity(path);
    client.open().await.unwrap();
    let attempts = server.attempts();
    let (algorithm, _) = attempts.last().unwrap().key.clone().unwrap();
    assert_eq!(algorithm, "rsa-sha2-512");
}

#[tokio::test]
async fn a_passphrase_is_not_asked_for_a_key_that_the_server_does_not_want() {
    let key = keys::generate(KeyType::Ed25519);
    let other = keys::generate(KeyType::Ed25519);
    let server = server(Login::new().key(other.public_key())).await;
    let person = Person::knowing(&["correct horse"]);
    let client = Client::of(&server, person.clone());
    let path = keys::write(
        client.path("id"),
        &key,
        KeyFormat::OpenSsh,
        Some("correct horse"),
    );
    let client = client.identity(path);
    let failed = failed(&client).await;
    assert!(person.asked.lock().unwrap().is_empty());
    assert_eq!(failed.offered, ["publickey"]);
    assert_eq!(failed.tried.len(), 1);
    assert!(
        failed.tried[0]
            .what
            .starts_with("publickey ED25519 SHA256:")
    );
    assert_eq!(failed.tried[0].outcome, "not accepted");
}

#[tokio::test]
async fn a_wrong_passphrase_is_asked_for_again_and_the_right_one_is_kept() {
    let key = keys::generate(KeyType::Ed25519);
    let server = server(Login::new().key(key.public_key())).await;
    let person = Person::knowing(&["wrong", "correct horse"]);
    let client = Client::of(&server, person.clone());
    let path = keys::write(
        client.path("id"),
        &key,
        KeyFormat::OpenSsh,
        Some("correct horse"),
    );
    let mut client = client.identity(path.clone());
    client.open().await.unwrap();
    let question = |again| SecretQuestion::Passphrase {
        key: path.clone(),
        again,
    };
    assert_eq!(
        *person.asked.lock().unwrap(),
        [question(false), question(true)]
    );

    // Another connection, the same passphrase.
    client.hop.compression = true;
    client.open().await.unwrap();
    assert_eq!(server.connections(), 2);
    assert_eq!(person.asked.lock().unwrap().len(), 2);
}

#[tokio::test]
async fn accounts_that_need_the_same_passphrase_at_once_ask_once() {
    let key = keys::generate(KeyType::Ed25519);
    let first = server(Login::new().key(key.public_key())).await;
    let person = Person::knowing(&["correct horse"]);
    let client = Client::of(&first, person.clone());
    let path = keys::write(
        client.path("id"),
        &key,
        KeyFormat::OpenSsh,
        Some("correct horse"),
    );
    let client = client.identity(path);
    let mut other = client.hop.clone();
    other.compression = true;
    let others = [other];
    let (one, two) = tokio::join!(
        client.open(),
        client.tunnels.open("home", &others, &client.target)
    );
    one.unwrap();
    two.unwrap();
    assert_eq!(first.connections(), 2);
    assert_eq!(person.asked.lock().unwrap().len(), 1);
}

#[tokio::test]
async fn without_a_terminal_a_locked_key_is_passed_over() {
    let key = keys::generate(KeyType::Ed25519);
    let server = server(Login::new().key(key.public_key()).password("sesame")).await;
    let client = Client::of(&server, Person::absent()).given_password("sesame");
    let path = keys::write(
        client.path("id"),
        &key,
        KeyFormat::OpenSsh,
        Some("correct horse"),
    );
    let client = client.identity(path);
    client.open().await.unwrap();
    assert_eq!(client.notes.method(), "password");
}

#[tokio::test]
async fn without_a_terminal_the_error_says_what_was_missing() {
    let key = keys::generate(KeyType::Ed25519);
    let server = server(Login::new().key(key.public_key()).password("sesame")).await;
    let client = Client::of(&server, Person::absent());
    let path = keys::write(
        client.path("id"),
        &key,
        KeyFormat::OpenSsh,
        Some("correct horse"),
    );
    let client = client.identity(path);
    let failed = failed(&client).await;
    assert!(failed.no_terminal);
    let outcomes: Vec<_> = failed.tried.iter().map(|a| a.outcome.as_str()).collect();
    assert_eq!(
        outcomes,
        [
            "needs its passphrase, and there is no terminal to ask on",
            "there is no terminal to ask on"
        ]
    );
    let error = TunnelError::AuthenticationFailed(Box::new(failed));
    assert!(error.hint().unwrap().contains("run it in a terminal"));
}

#[tokio::test]
async fn giving_up_at_a_prompt_ends_the_login() {
    let server = server(Login::new().password("sesame")).await;
    let client = Client::of(&server, Person::giving_up());
    let error = client.error().await;
    assert!(matches!(
        error,
        TunnelError::Unanswered {
            reason: Unanswered::Cancelled,
            ..
        }
    ));
    assert_eq!(error.kind(), TunnelErrorKind::Unanswered);
}

#[tokio::test]
async fn a_person_may_mistype_the_password() {
    let server = server(Login::new().password("sesame")).await;
    let person = Person::knowing(&["seasme", "sesame"]);
    let client = Client::of(&server, person.clone());
    client.open().await.unwrap();
    assert_eq!(client.notes.method(), "password");
    let login = || format!("msingh@popserver:{}", server.port());
    assert_eq!(
        *person.asked.lock().unwrap(),
        [
            SecretQuestion::SshPassword {
                login: login(),
                again: false
            },
            SecretQuestion::SshPassword {
                login: login(),
                again: true
            },
        ]
    );
}

#[tokio::test]
async fn a_wrong_configured_password_is_sent_once() {
    let server = server(Login::new().password("sesame")).await;
    let client = Client::of(&server, Person::knowing(&["sesame"])).given_password("seasme");
    let failed = failed(&client).await;
    assert_eq!(failed.tried.len(), 1);
    let passwords = server
        .attempts()
        .iter()
        .filter(|a| a.method == "password")
        .count();
    assert_eq!(passwords, 1);
    assert!(!failed.to_string().contains("seasme"));
}

#[tokio::test]
async fn a_configured_password_answers_a_lone_hidden_prompt() {
    let server = server(Login::new().keyboard_interactive("Password: ", "sesame")).await;
    let person = Person::absent();
    let client = Client::of(&server, person.clone()).given_password("sesame");
    client.open().await.unwrap();
    assert_eq!(client.notes.method(), "keyboard-interactive");
    assert!(person.asked.lock().unwrap().is_empty());
}

#[tokio::test]
async fn a_code_is_asked_for_each_time_and_is_never_the_password() {
    let login = Login::new().keyboard_interactive("Verification code: ", "123");
    let server = server(login).await;
    let person = Person::knowing(&["123", "123"]);
    let mut client = Client::of(&server, person.clone());
    client.open().await.unwrap();
    client.hop.compression = true;
    client.open().await.unwrap();
    assert_eq!(person.asked.lock().unwrap().len(), 2);

    let client = Client::of(&server, Person::absent()).given_password("123");
    failed(&client).await;
}

#[tokio::test]
async fn a_password_that_was_typed_goes_to_no_other_server_of_the_same_name() {
    let first = server(Login::new().password("sesame")).await;
    let second = server(Login::new().password("sesame")).await;
    let person = Person::knowing(&["sesame", "sesame"]);
    let mut client = Client::of(&first, person.clone());
    client.open().await.unwrap();
    let (known, more) = (
        first.known_hosts_line("127.0.0.1"),
        second.known_hosts_line("127.0.0.1"),
    );
    fs::write(client.known_hosts(), known + &more).unwrap();
    client.hop.address.port = second.port();
    client.open().await.unwrap();
    let asked = person.asked.lock().unwrap();
    let logins = [&first, &second].map(|server| SecretQuestion::SshPassword {
        login: format!("msingh@popserver:{}", server.port()),
        again: false,
    });
    assert_eq!(*asked, logins);
}

#[tokio::test]
async fn a_prompt_is_shown_in_the_servers_own_cleaned_words() {
    let login = Login::new().keyboard_interactive("Code\x1b[31m: ", "123");
    let server = server(login).await;
    let person = Person::knowing(&["123"]);
    let client = Client::of(&server, person.clone());
    client.open().await.unwrap();
    let question = SecretQuestion::SshPrompt {
        login: "msingh@popserver".to_owned(),
        prompt: "Code?[31m:".to_owned(),
        echo: false,
    };
    assert_eq!(*person.asked.lock().unwrap(), [question]);
}

#[tokio::test]
async fn a_named_key_file_that_is_missing_is_an_error_and_a_usual_one_is_not() {
    let server = server(Login::new().password("sesame")).await;
    let mut client = Client::of(&server, Person::absent()).given_password("sesame");
    let missing = client.path("id_none");
    client.hop.identities.push(missing.clone());
    client.open().await.unwrap();

    client.hop.identities_named = true;
    client.hop.compression = true;
    match client.error().await {
        TunnelError::IdentityMissing { path, .. } => assert_eq!(path, missing),
        other => panic!("{other}"),
    }
}

#[tokio::test]
async fn a_key_file_that_others_can_read_is_not_used() {
    let key = keys::generate(KeyType::Ed25519);
    let server = server(Login::new().key(key.public_key())).await;
    let client = Client::of(&server, Person::absent());
    let path = keys::write(client.path("id"), &key, KeyFormat::OpenSsh, None);
    fs::set_permissions(&path, Permissions::from_mode(0o644)).unwrap();
    let client = client.identity(path);
    let failed = failed(&client).await;
    assert_eq!(failed.tried.len(), 1);
    let outcome = &failed.tried[0].outcome;
    assert_eq!(
        outcome,
        "is not used, because others can read it (mode 0644)"
    );
    let error = TunnelError::AuthenticationFailed(Box::new(failed));
    assert!(error.hint().unwrap().contains("chmod 600"));
}

#[tokio::test]
async fn an_agent_that_is_gone_is_noted_and_done_without() {
    let key = keys::generate(KeyType::Ed25519);
    let server = server(Login::new().key(key.public_key())).await;
    let client = Client::of(&server, Person::absent());
    let path = keys::write(client.path("id"), &key, KeyFormat::OpenSsh, None);
    let mut client = client.identity(path);
    client.hop.agent = Some(client.path("agent"));
    client.open().await.unwrap();
}

#[tokio::test]
async fn many_keys_leave_the_password_a_chance() {
    let server = server(
        Login::new()
            .key(keys::generate(KeyType::Ed25519).public_key())
            .password("sesame"),
    );
    let server = server.await;
    let mut client = Client::of(&server, Person::absent()).given_password("sesame");
    for index in 0..9 {
        let key = keys::generate(KeyType::Ed25519);
        let path = client.path(&format!("id_{index}"));
        client = client.identity(keys::write(path, &key, KeyFormat::OpenSsh, None));
    }
    client.open().await.unwrap();
    assert_eq!(client.notes.method(), "password");
    let offers = server
        .attempts()
        .iter()
        .filter(|a| a.method == "publickey-offer")
        .count();
    // The server hangs up at the sixth failure.
    assert_eq!(offers, 5);
}

#[tokio::test]
async fn the_banner_is_part_of_a_failure() {
    let server = SshServer::builder()
        .login("msingh", Login::new().password("sesame"))
        .banner("Accounts of 2019 are closed.\r\n")
        .start();
    let client = Client::of(&server, Person::absent()).given_password("x");
    let failed = failed(&client).await;
    assert_eq!(failed.said.as_deref(), Some("Accounts of 2019 are closed."));
}

#[tokio::test]
async fn an_agent_that_talks_nonsense_is_noted_and_done_without() {
    let right = keys::generate(KeyType::Ed25519);
    let server = server(Login::new().key(right.public_key())).await;
    let mut client = Client::of(&server, Person::absent());
    let socket = client.path("agent");
    let listener = UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            // One key of a single zero octet (draft-miller-ssh-agent §4.4), to every request.
            let answer = b"\0\0\0\x0e\x0c\0\0\0\x01\0\0\0\x01\0\0\0\0\0";
            while stream
                .read(&mut [0; 4096])
                .await
                .is_ok_and(|count| count > 0)
            {
                stream.write_all(answer).await.ok();
            }
        }
    });
    client.hop.agent = Some(socket.clone());
    let failed = failed(&client).await;
    assert_eq!(failed.tried.len(), 1, "{failed}");
    assert_eq!(
        failed.tried[0].what,
        format!("ssh-agent at {}", socket.display())
    );

    let path = keys::write(client.path("id"), &right, KeyFormat::OpenSsh, None);
    client.identity(path).open().await.unwrap();
}

#[tokio::test]
async fn without_a_password_to_give_keys_may_use_all_attempts() {
    let right = keys::generate(KeyType::Ed25519);
    let server = server(Login::new().key(right.public_key()).password("sesame")).await;
    let mut client = Client::of(&server, Person::absent());
    for index in 0..5 {
        let key = keys::generate(KeyType::Ed25519);
        let path = client.path(&format!("id_{index}"));
        client = client.identity(keys::write(path, &key, KeyFormat::OpenSsh, None));
    }
    // As with ssh(1), the sixth is the last that is reached.
    let path = keys::write(client.path("id"), &right, KeyFormat::OpenSsh, None);
    client.identity(path).open().await.unwrap();
}

#[tokio::test]
async fn whoever_can_type_a_password_is_asked_before_the_server_hangs_up() {
    let server = server(
        Login::new()
            .key(keys::generate(KeyType::Ed25519).public_key())
            .password("sesame"),
    );
    let server = server.await;
    let mut client = Client::of(&server, Person::knowing(&["sesame"]));
    for index in 0..9 {
        let key = keys::generate(KeyType::Ed25519);
        let path = client.path(&format!("id_{index}"));
        client = client.identity(keys::write(path, &key, KeyFormat::OpenSsh, None));
    }
    client.open().await.unwrap();
    assert_eq!(client.notes.method(), "password");
}

#[tokio::test]
async fn without_anybody_to_answer_prompts_are_not_asked_for() {
    let server = server(Login::new().keyboard_interactive("Password: ", "sesame")).await;
    let client = Client::of(&server, Person::absent());
    let failed = failed(&client).await;
    assert!(failed.no_terminal);
    let methods: Vec<_> = server.attempts().iter().map(|a| a.method).collect();
    assert_eq!(methods, ["none"]);
}

#[tokio::test]
async fn a_password_that_cannot_be_had_is_not_the_servers_refusal() {
    let server = server(Login::new().password("sesame")).await;
    let mut client = Client::of(&server, Person::absent());
    client.hop.password = PasswordSource::Command("echo no such entry >&2; exit 3".to_owned());
    let failed = failed(&client).await;
    let text = failed.to_string();
    assert!(
        text.starts_with("cannot log in to msingh@popserver: password: "),
        "{text}"
    );
    assert!(text.contains("no such entry"), "{text}");
    let methods: Vec<_> = server.attempts().iter().map(|a| a.method).collect();
    assert_eq!(methods, ["none"]);
}

#[tokio::test]
async fn a_person_is_asked_as_often_as_the_configuration_says() {
    let server = server(Login::new().password("sesame")).await;
    for prompts in [1, 2] {
        let person = Person::knowing(&["a", "b", "c", "d"]);
        let mut client = Client::of(&server, person.clone());
        client.hop.password_prompts = prompts;
        assert_eq!(failed(&client).await.tried.len(), prompts as usize);
        assert_eq!(person.asked.lock().unwrap().len(), prompts as usize);
    }
}

#[tokio::test]
async fn a_login_with_a_key_at_hand_takes_as_few_round_trips_as_russh_can() {
    let key = keys::generate(KeyType::Ed25519);
    let server = server(Login::new().key(key.public_key()).password("sesame")).await;
    let turns = async |change: fn(Client) -> Client| {
        let line = Relay::to(server.addr()).latency(LATENCY).start();
        let known = keys::known_hosts_line("127.0.0.1", line.port(), &server.host_key());
        let client = Client::at(line.addr(), &known, Person::absent());
        keys::write(client.path("id"), &key, KeyFormat::OpenSsh, None);
        let client = change(client);
        let before = server.attempts().len();
        client.open().await.unwrap();
        let methods: Vec<_> = server.attempts()[before..]
            .iter()
            .map(|a| a.method)
            .collect();
        (line.turns(), methods)
    };
    let with_key = turns(|client| {
        let path = client.path("id");
        client.identity(path)
    });
    let (with_key, methods) = with_key.await;
    // The question whether the key would do, and the signature.
    assert_eq!(methods, ["publickey-offer", "publickey"]);
    let (with_password, methods) = turns(|client| client.given_password("sesame")).await;
    // The question for the methods, and the password.
    assert_eq!(methods, ["none", "password"]);
    assert_eq!(with_key, with_password);
    let (with_both, methods) = turns(|client| {
        let path = client.path("id");
        let mut client = client.identity(path).given_password("sesame");
        client.hop.methods = Some(vec!["password".to_owned(), "publickey".to_owned()]);
        client
    })
    .await;
    assert_eq!(methods, ["none", "password"]);
    assert_eq!(with_both, with_password);
    // Version, key exchange, new keys and the service, the login's two, the channel.
    assert!(with_key <= 7, "{with_key}");
}

/// So long that what belongs together arrives together.
const LATENCY: std::time::Duration = std::time::Duration::from_millis(20);

#[tokio::test]
async fn a_key_that_nobody_knows_does_not_lose_the_others_of_the_agent() {
    let key = keys::generate(KeyType::Ed25519);
    let server = server(Login::new().key(key.public_key())).await;
    let mut client = Client::of(&server, Person::absent());
    let held = vec![Held::Unknown, Held::Ed25519(key), Held::Unknown];
    client.hop.agent = Some(fake_agent::start(client.home.path(), held));
    client.open().await.unwrap();
    assert!(client.notes.method().ends_with(" from the agent"));

    let path = client.home.path().join("other");
    fs::create_dir(&path).unwrap();
    client.hop.agent = Some(fake_agent::start(&path, vec![Held::Unknown]));
    let failed = failed(&client).await;
    assert_eq!(failed.tried.len(), 1);
    let outcome = &failed.tried[0].outcome;
    assert_eq!(outcome, "holds a key of a kind that is not known here");
}

#[tokio::test]
async fn an_agent_that_signs_with_sha1_is_not_believed() {
    let key = keys::generate(KeyType::Rsa);
    let server = server(Login::new().key(key.public_key())).await;
    let mut client = Client::of(&server, Person::absent());
    let held = vec![Held::OldRsa(key)];
    client.hop.agent = Some(fake_agent::start(client.home.path(), held));
    let failed = failed(&client).await;
    let outcome = &failed.tried[0].outcome;
    assert_eq!(outcome, "the agent is too old to sign as rsa-sha2-512");
}

#[tokio::test]
async fn what_is_no_key_is_named_and_not_waited_for() {
    let key = keys::generate(KeyType::Ed25519);
    let server = server(Login::new().key(key.public_key())).await;
    let mut client = Client::of(&server, Person::absent());
    rustix::fs::mknodat(
        rustix::fs::CWD,
        client.path("pipe"),
        rustix::fs::FileType::Fifo,
        rustix::fs::Mode::RUSR,
        0,
    )
    .unwrap();
    fs::write(client.path("long"), vec![b'x'; 100_000]).unwrap();
    fs::write(client.path("poem"), "Roses are red\n").unwrap();
    fs::write(
        client.path("damaged"),
        "-----BEGIN PRIVATE KEY-----\nAAAA\n",
    )
    .unwrap();
    for name in ["pipe", "long", "poem", "damaged"] {
        let path = client.path(name);
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        client = client.identity(path);
    }
    let failed = failed(&client).await;
    let outcomes: Vec<_> = failed.tried.iter().map(|a| a.outcome.as_str()).collect();
    assert_eq!(
        outcomes[..3],
        [
            "cannot be read: it is not a regular file",
            "cannot be read: it is too long to be a key",
            "does not hold a key"
        ]
    );
    assert!(
        outcomes[3].starts_with("cannot be understood: "),
        "{failed}"
    );
}

#[tokio::test]
async fn a_passphrase_that_stays_wrong_is_named_with_its_file() {
    let key = keys::generate(KeyType::Ed25519);
    let server = server(Login::new().key(key.public_key())).await;
    let person = Person::knowing(&["a", "b", "c", "d"]);
    let client = Client::of(&server, person.clone());
    let path = keys::write(
        client.path("id"),
        &key,
        KeyFormat::OpenSsh,
        Some("correct horse"),
    );
    let client = client.identity(path.clone());
    let failed = failed(&client).await;
    assert_eq!(person.asked.lock().unwrap().len(), 3);
    assert_eq!(failed.tried.len(), 1);
    assert_eq!(failed.tried[0].outcome, "the passphrase was wrong");
    let error = TunnelError::AuthenticationFailed(Box::new(failed));
    let expected = format!(
        "try the passphrase with ssh-keygen -y -f {}",
        path.display()
    );
    assert_eq!(error.hint(), Some(expected));
}
