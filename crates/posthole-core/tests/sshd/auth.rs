//! Logins at OpenSSH's server: each method, each kind of key in each kind of file, the agent.

use std::fs::{self, Permissions};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use posthole_core::ask::SecretQuestion;
use posthole_core::tunnel::{AuthenticationFailed, TunnelError};
use posthole_testkit::keys::{self, KeyFormat, KeyType, short_scalar};
use posthole_testkit::real::Requirement::{
    self, AsyncSsh as NeedsAsyncSsh, NssWrapper, OpenSsl, PamWrapper, SshAgent, SshKeygen,
};
use posthole_testkit::real::{Agent, AsyncSsh, Round, Suite};
use russh::keys::ssh_key::certificate::{Builder, CertType};
use russh::keys::{PrivateKey, PublicKey};
use tempfile::TempDir;

use crate::fake_agent::{self, Held};
use crate::world::{Client, Person, carries};
use crate::{SSHD, client_of, run};

pub(crate) fn tests(suite: Suite) -> Suite {
    macro_rules! tests {
        ($suite:expr, $($needs:expr => $($name:ident),+;)+) => {
            $suite$($(.test(stringify!($name), $needs, || run($name())))+)+
        };
    }
    tests! { suite,
        SSHD =>
            every_kind_of_key_file_logs_in,
            ecdsa_keys_that_begin_with_a_zero_log_in,
            too_many_wrong_keys_are_a_verdict,
            keys_leave_off_before_the_server_does,
            two_keys_log_in_one_after_the_other,
            a_certificate_beside_its_key_logs_in,
            a_certificate_that_is_refused_says_what_may_be_wrong,
            a_key_on_a_device_signs_through_the_agent,
            only_accepted_algorithms_are_used,
            the_banner_is_shown;
        SSH_KEYGEN =>
            keys_made_by_ssh_keygen_log_in;
        OPENSSL =>
            keys_made_by_openssl_log_in,
            encryption_that_is_not_known_is_not_taken_for_a_wrong_passphrase,
            a_password_logs_in,
            a_key_and_then_a_password_log_in,
            a_password_and_then_a_key_log_in,
            an_expired_password_forwards_nothing,
            methods_are_tried_in_the_order_asked_for;
        SSH_AGENT =>
            keys_in_the_agent_log_in,
            a_named_key_is_used_through_the_agent,
            only_named_keys_are_used_if_that_is_wanted,
            a_certificate_with_its_key_in_the_agent_logs_in,
            a_certificate_in_the_agent_logs_in,
            a_locked_agent_is_told_from_an_empty_one,
            an_agent_that_is_gone_is_named,
            an_agent_that_may_not_sign_is_passed_over,
            a_key_bound_to_the_host_logs_in_there_only;
        PAM =>
            rounds_of_prompts_log_in,
            a_configured_password_answers_the_first_prompt_only,
            prompts_and_then_a_key_log_in,
            a_key_and_then_prompts_log_in,
            wrong_answers_are_asked_for_again;
        &[NeedsAsyncSsh] =>
            an_expired_password_is_reported_as_such;
    }
}

const OPENSSL: &[Requirement] = &[Requirement::Sshd, NssWrapper, OpenSsl];
const PAM: &[Requirement] = &[Requirement::Sshd, NssWrapper, OpenSsl, PamWrapper];
const SSH_AGENT: &[Requirement] = &[Requirement::Sshd, NssWrapper, SshAgent, SshKeygen];
const SSH_KEYGEN: &[Requirement] = &[Requirement::Sshd, NssWrapper, SshKeygen];

async fn failed(client: &Client) -> AuthenticationFailed {
    match client.error().await {
        TunnelError::AuthenticationFailed(failed) => *failed,
        other => panic!("{other}"),
    }
}

fn hint(failed: &AuthenticationFailed) -> String {
    let error = TunnelError::AuthenticationFailed(Box::new(failed.clone()));
    error.hint().unwrap()
}

/// What came of the attempts, one after another.
fn outcomes(failed: &AuthenticationFailed) -> Vec<&str> {
    let outcomes = failed.tried.iter().map(|attempt| attempt.outcome.as_str());
    outcomes.collect()
}

fn ed25519() -> PrivateKey {
    keys::generate(KeyType::Ed25519)
}

fn write(path: PathBuf, key: &PrivateKey) -> PathBuf {
    keys::write(path, key, KeyFormat::OpenSsh, None)
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

/// Logs in with a key file, twice: at a server that knows the key, which asks for the passphrase,
/// and at one that does not, where nobody is asked for it.
async fn check_key_file(path: &Path, public: &PublicKey, passphrase: &str, name: &str) {
    let locked = usize::from(!passphrase.is_empty());
    let person = Person::knowing(&[passphrase]);
    let (_sshd, client) = client_of(person.clone(), |sshd| sshd.key(public)).await;
    let client = client.identity(path.to_owned());
    client
        .open()
        .await
        .unwrap_or_else(|error| panic!("{name}: {error}"));
    assert_eq!(person.asked.lock().unwrap().len(), locked, "{name}");

    let person = Person::knowing(&[passphrase]);
    let other = ed25519();
    let (_sshd, client) = client_of(person.clone(), |sshd| sshd.key(other.public_key())).await;
    let client = client.identity(path.to_owned());
    assert_eq!(outcomes(&failed(&client).await), ["not accepted"], "{name}");
    assert!(person.asked.lock().unwrap().is_empty(), "{name}");
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
            let name = format!("{kind}-{format}-{}", passphrase.len());
            let path = directory.path().join(&name);
            run_program(
                "ssh-keygen",
                &[
                    "-q",
                    "-t",
                    kind,
                    "-m",
                    format,
                    "-N",
                    passphrase,
                    "-f",
                    &text(&path),
                ],
            );
            let public = fs::read_to_string(path.with_extension("pub")).unwrap();
            let public = PublicKey::from_openssh(&public).unwrap();
            check_key_file(&path, &public, passphrase, &name).await;
        }
    }
}

async fn ecdsa_keys_that_begin_with_a_zero_log_in() {
    let directory = tempfile::tempdir().unwrap();
    let public = PublicKey::from_openssh(short_scalar::PUBLIC).unwrap();
    for (name, contents, passphrase) in [
        ("open", short_scalar::OPEN, ""),
        ("ctr", short_scalar::AES256_CTR, short_scalar::PASSPHRASE),
        ("gcm", short_scalar::AES256_GCM, short_scalar::PASSPHRASE),
    ] {
        let path = directory.path().join(name);
        fs::write(&path, contents).unwrap();
        fs::set_permissions(&path, Permissions::from_mode(0o600)).unwrap();
        check_key_file(&path, &public, passphrase, name).await;
    }
}

async fn keys_made_by_openssl_log_in() {
    let directory = tempfile::tempdir().unwrap();
    let plain = |name: &str| text(&directory.path().join(name));
    let (ec, rsa, ed) = (plain("ec"), plain("rsa"), plain("ed25519"));
    run_program(
        "openssl",
        &[
            "ecparam",
            "-genkey",
            "-name",
            "secp384r1",
            "-noout",
            "-out",
            &ec,
        ],
    );
    run_program("openssl", &["genrsa", "-out", &rsa, "2048"]);
    run_program(
        "openssl",
        &["genpkey", "-algorithm", "ed25519", "-out", &ed],
    );
    let pkcs8 = |key: &'static str, more: &[&'static str]| {
        let mut command = vec!["pkcs8", "-topk8", key];
        command.extend(more);
        command
    };
    let commands = [
        vec!["ec", "EC", "-aes128"],
        vec!["ec", "EC", "-aes192"],
        vec!["ec", "EC", "-aes256"],
        vec!["ec", "EC", "-des3"],
        vec!["rsa", "RSA", "-traditional", "-aes128"],
        vec!["rsa", "RSA", "-traditional", "-aes192"],
        vec!["rsa", "RSA", "-traditional", "-aes256"],
        vec!["rsa", "RSA", "-traditional", "-des3"],
        pkcs8("EC", &[]),
        pkcs8("RSA", &[]),
        pkcs8("ED25519", &[]),
        pkcs8("EC", &["-v2", "aes-128-cbc"]),
        pkcs8("RSA", &["-v2", "des3"]),
        pkcs8("EC", &["-v2prf", "hmacWithSHA1"]),
        pkcs8("EC", &["-v2prf", "hmacWithSHA512"]),
        pkcs8("ED25519", &["-scrypt", "-scrypt_N", "1024"]),
    ];
    for command in commands {
        let name = command.join(" ");
        let source = match () {
            () if command.contains(&"EC") => &ec,
            () if command.contains(&"RSA") => &rsa,
            () => &ed,
        };
        let path = directory.path().join("locked");
        lock(&command, source, &path);
        let unlocked = fs::read_to_string(source).unwrap();
        let key = russh::keys::decode_secret_key(&unlocked, None).unwrap();
        let line = keys::public_line(key.public_key());
        fs::write(path.with_extension("pub"), line).unwrap();
        check_key_file(&path, key.public_key(), PASSPHRASE, &name).await;

        // Without the file beside it the public key is behind the passphrase, too.
        fs::remove_file(path.with_extension("pub")).unwrap();
        let person = Person::knowing(&["wrong", PASSPHRASE]);
        let (_sshd, client) = client_of(person, |sshd| sshd.key(key.public_key())).await;
        let opened = client.identity(path).open().await;
        opened.unwrap_or_else(|error| panic!("{name}: {error}"));
    }
}

async fn encryption_that_is_not_known_is_not_taken_for_a_wrong_passphrase() {
    let directory = tempfile::tempdir().unwrap();
    let ec = text(&directory.path().join("ec"));
    run_program(
        "openssl",
        &[
            "ecparam",
            "-genkey",
            "-name",
            "prime256v1",
            "-noout",
            "-out",
            &ec,
        ],
    );
    for command in [
        vec!["ec", "EC", "-camellia256"],
        vec!["pkcs8", "-topk8", "-v1", "PBE-SHA1-3DES"],
        vec!["pkcs8", "-topk8", "-v2", "camellia-256-cbc"],
    ] {
        let path = directory.path().join("locked");
        lock(&command, &ec, &path);
        let person = Person::knowing(&[PASSPHRASE]);
        let (_sshd, client) =
            client_of(person.clone(), |sshd| sshd.key(ed25519().public_key())).await;
        let failed = failed(&client.identity(path.clone())).await;
        assert!(person.asked.lock().unwrap().is_empty(), "{command:?}");
        let [outcome] = outcomes(&failed)[..] else {
            panic!("{failed}")
        };
        assert!(outcome.starts_with("is encrypted"), "{outcome}");
        let expected = format!("rewrite the key: ssh-keygen -p -f {}", path.display());
        assert_eq!(hint(&failed), expected);
    }
}

/// Encrypts a key file as openssl does with these arguments.
fn lock(command: &[&str], source: &str, path: &Path) {
    // Which kind of key it is stands there for us only.
    let mut arguments: Vec<_> = command
        .iter()
        .copied()
        .filter(|argument| !["EC", "RSA", "ED25519"].contains(argument))
        .collect();
    let (out, pass) = (text(path), format!("pass:{PASSPHRASE}"));
    arguments.extend(["-in", source, "-out", &out, "-passout", &pass]);
    run_program("openssl", &arguments);
    // Some of its commands leave the mode to the umask.
    run_program("chmod", &["600", &out]);
}

const PASSPHRASE: &str = "correct horse";

#[track_caller]
fn run_program(program: &str, arguments: &[&str]) {
    let output = Command::new(program).args(arguments).output().unwrap();
    assert!(
        output.status.success(),
        "{program} {arguments:?}: {output:?}"
    );
}

fn text(path: &Path) -> String {
    path.to_str().unwrap().to_owned()
}

async fn keys_in_the_agent_log_in() {
    for key_type in KeyType::ALL {
        let agent = Agent::start();
        agent.add(&ed25519());
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
        agent.add(&ed25519());
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
        Some(PASSPHRASE),
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

async fn keys_leave_off_before_the_server_does() {
    let key = ed25519();
    let (sshd, mut client) = client_of(Person::absent(), |sshd| {
        sshd.key(key.public_key())
            .password("sesame")
            .option("MaxAuthTries 6")
    })
    .await;
    for index in 0..8 {
        let path = client.path(&format!("id_{index}"));
        client = client.identity(write(path, &ed25519()));
    }
    let client = client.given_password("sesame");
    client.open().await.unwrap();
    assert_eq!(client.notes.method(), "password");
    assert!(!sshd.log().contains("Too many"), "{}", sshd.log());
}

async fn too_many_wrong_keys_are_a_verdict() {
    let right = ed25519();
    let (_sshd, mut client) = client_of(Person::absent(), |sshd| {
        sshd.key(right.public_key()).option("MaxAuthTries 2")
    })
    .await;
    for index in 0..4 {
        let path = client.path(&format!("id_{index}"));
        client = client.identity(write(path, &ed25519()));
    }
    let failed = failed(&client).await;
    assert_eq!(failed.tried.len(), 3, "{failed}");
    assert_eq!(failed.tried[2].what, "2 more keys");
    let said = failed.said.as_deref().unwrap();
    assert_eq!(
        said,
        "the server disconnected: Too many authentication failures"
    );
    assert!(
        hint(&failed).contains("IdentitiesOnly"),
        "{}",
        hint(&failed)
    );
}

async fn only_named_keys_are_used_if_that_is_wanted() {
    let agent = Agent::start();
    for _ in 0..8 {
        agent.add(&ed25519());
    }
    let key = ed25519();
    agent.add(&key);
    let (_sshd, mut client) = client_of(Person::absent(), |sshd| sshd.key(key.public_key())).await;
    client.hop.agent = Some(agent.socket());
    let error = failed(&client).await;
    let last = error.tried.last().unwrap();
    assert!(last.what.ends_with(" more keys"), "{error}");
    assert!(hint(&error).contains("IdentitiesOnly"), "{error}");

    client.hop.identities_only = true;
    let error = failed(&client).await;
    assert!(error.tried.is_empty(), "{error}");
    client.hop.identities = vec![client.path("id")];
    let line = keys::public_line(key.public_key());
    fs::write(client.path("id.pub"), line).unwrap();
    client.open().await.unwrap();
}

async fn a_locked_agent_is_told_from_an_empty_one() {
    let agent = Agent::start();
    let key = ed25519();
    let (_sshd, mut client) = client_of(Person::absent(), |sshd| sshd.key(key.public_key())).await;
    client.hop.agent = Some(agent.socket());
    let empty = failed(&client).await;
    assert_eq!(outcomes(&empty), ["holds no keys"]);
    assert_eq!(hint(&empty), "add the key to the agent with ssh-add");

    agent.add(&key);
    let mut ssh = russh::keys::agent::client::AgentClient::connect_uds(agent.socket())
        .await
        .unwrap();
    ssh.lock(b"secret").await.unwrap();
    // Which forgets that it has just failed.
    client.tunnels.close().await;
    let locked = failed(&client).await;
    assert_eq!(locked.offered, ["publickey"]);
    assert_eq!(outcomes(&locked), ["shows no keys; it may be locked"]);
    assert!(hint(&locked).starts_with("unlock the agent with ssh-add -X"));
    ssh.unlock(b"secret").await.unwrap();
    client.tunnels.close().await;
    client.open().await.unwrap();
}

async fn an_agent_that_is_gone_is_named() {
    let agent = Agent::start();
    let key = ed25519();
    let (_sshd, mut client) = client_of(Person::absent(), |sshd| sshd.key(key.public_key())).await;
    let socket = agent.socket();
    client.hop.agent = Some(socket.clone());
    drop(agent);
    let error = failed(&client).await;
    let expected = format!(
        "cannot log in to msingh@popserver: ssh-agent at {}: not there, since there is no such socket; the \
         server takes publickey",
        socket.display()
    );
    assert_eq!(error.to_string(), expected);
    assert!(hint(&error).starts_with("start ssh-agent"), "{error}");
}

async fn an_agent_that_may_not_sign_is_passed_over() {
    // Whoever should confirm does not.
    let agent = Agent::start_with(|command| {
        command
            .env("SSH_ASKPASS", "/bin/false")
            .env("DISPLAY", ":0")
    });
    let (asked, other) = (ed25519(), ed25519());
    let (_sshd, client) = client_of(Person::absent(), |sshd| {
        sshd.key(asked.public_key()).key(other.public_key())
    })
    .await;
    let path = write(client.path("asked"), &asked);
    agent.add_with(&["-c"], &path);
    fs::remove_file(&path).unwrap();
    let mut client = client.identity(path.clone());
    client.hop.agent = Some(agent.socket());
    let error = failed(&client).await;
    assert_eq!(outcomes(&error), ["the agent declined to sign"]);

    let other = write(client.path("other"), &other);
    let client = client.identity(other.clone());
    client.open().await.unwrap();
    let method = client.notes.method();
    assert!(
        method.ends_with(&format!("from {}", other.display())),
        "{method}"
    );
}

async fn a_key_bound_to_the_host_logs_in_there_only() {
    let agent = Agent::start();
    let key = ed25519();
    let bound_to = |sshd: &posthole_testkit::real::Sshd, directory: &TempDir| {
        let known_hosts = directory.path().join("known_hosts");
        fs::write(&known_hosts, sshd.known_hosts_line("127.0.0.1")).unwrap();
        let path = write(directory.path().join("id"), &key);
        let host = format!("[127.0.0.1]:{}", sshd.port());
        agent.add_with(&["-H", &text(&known_hosts), "-h", &host], &path);
    };
    let (sshd, mut client) = client_of(Person::absent(), |sshd| sshd.key(key.public_key())).await;
    bound_to(&sshd, &tempfile::tempdir().unwrap());
    client.hop.agent = Some(agent.socket());
    client.open().await.unwrap();

    let (_sshd, mut client) = client_of(Person::absent(), |sshd| sshd.key(key.public_key())).await;
    client.hop.agent = Some(agent.socket());
    failed(&client).await;
}

/// A certificate authority of users, and sshd's option that trusts it.
struct Authority {
    key: PrivateKey,
    directory: TempDir,
}

impl Authority {
    fn new() -> Self {
        let (key, directory) = (ed25519(), tempfile::tempdir().unwrap());
        let line = keys::public_line(key.public_key());
        fs::write(directory.path().join("ca.pub"), line).unwrap();
        Self { key, directory }
    }

    fn option(&self) -> String {
        let path = self.directory.path().join("ca.pub");
        format!("TrustedUserCAKeys {}", path.display())
    }

    /// A certificate for a user that is valid from now on for so many seconds, or was so long ago.
    fn certify(&self, key: &PublicKey, principal: &str, seconds: i64) -> String {
        let now = std::time::SystemTime::UNIX_EPOCH
            .elapsed()
            .unwrap()
            .as_secs();
        let then = now.saturating_add_signed(seconds);
        let mut builder = Builder::new_with_random_nonce(
            &mut russh::keys::key::safe_rng(),
            key,
            now.min(then) - 3600,
            now.max(then) - if seconds < 0 { 1800 } else { 0 },
        )
        .unwrap();
        builder.cert_type(CertType::User).unwrap();
        builder.valid_principal(principal).unwrap();
        builder.extension("permit-port-forwarding", "").unwrap();
        builder.sign(&self.key).unwrap().to_openssh().unwrap()
    }
}

async fn a_certificate_beside_its_key_logs_in() {
    let authority = Authority::new();
    for key_type in KeyType::ALL {
        for passphrase in [None, Some(PASSPHRASE)] {
            let key = keys::generate(key_type);
            let person = Person::knowing(passphrase.as_slice());
            let (sshd, client) =
                client_of(person.clone(), |sshd| sshd.option(&authority.option())).await;
            let path = keys::write(client.path("id"), &key, KeyFormat::Pkcs8, passphrase);
            // What is beside the key says what its public half is, too.
            fs::remove_file(client.path("id.pub")).unwrap();
            let certificate = authority.certify(key.public_key(), "msingh", 60);
            fs::write(client.path("id-cert.pub"), certificate).unwrap();
            let mut client = client.identity(path);
            let mut stream = client
                .open()
                .await
                .unwrap_or_else(|error| panic!("{key_type:?}: {error}\n{}", sshd.log()));
            assert!(carries(&mut stream).await);
            let method = client.notes.method();
            assert!(method.contains("-CERT SHA256:"), "{method}");
            assert!(method.ends_with("/id-cert.pub"), "{method}");
            let asked = person.asked.lock().unwrap().len();
            assert_eq!(asked, passphrase.iter().count(), "{key_type:?}");

            // Named outright, it is the only one, wherever it is; but whose it is must be known.
            let line = keys::public_line(key.public_key());
            fs::write(client.path("id.pub"), line).unwrap();
            fs::rename(client.path("id-cert.pub"), client.path("named")).unwrap();
            client.hop.certificates = vec![client.path("named")];
            client.open().await.unwrap();
            let method = client.notes.method();
            assert!(method.ends_with("/named"), "{method}");
        }
    }
}

async fn a_certificate_with_its_key_in_the_agent_logs_in() {
    let authority = Authority::new();
    for key_type in [KeyType::Rsa, KeyType::Ed25519] {
        let agent = Agent::start();
        let key = keys::generate(key_type);
        agent.add(&key);
        let (_sshd, mut client) =
            client_of(Person::absent(), |sshd| sshd.option(&authority.option())).await;
        client.hop.agent = Some(agent.socket());
        let certificate = authority.certify(key.public_key(), "msingh", 60);
        fs::write(client.path("certificate"), certificate).unwrap();
        client.hop.certificates = vec![client.path("certificate")];
        client.hop.identities_only = true;
        client.open().await.unwrap();
        let method = client.notes.method();
        assert!(method.ends_with("/certificate"), "{method}");
    }
}

async fn a_certificate_in_the_agent_logs_in() {
    let authority = Authority::new();
    for key_type in [KeyType::Rsa, KeyType::EcdsaP256] {
        let agent = Agent::start();
        let key = keys::generate(key_type);
        let directory = tempfile::tempdir().unwrap();
        let path = write(directory.path().join("id"), &key);
        let certificate = authority.certify(key.public_key(), "msingh", 60);
        fs::write(directory.path().join("id-cert.pub"), certificate).unwrap();
        agent.add_file(&path);
        let (_sshd, mut client) =
            client_of(Person::absent(), |sshd| sshd.option(&authority.option())).await;
        client.hop.agent = Some(agent.socket());
        client.open().await.unwrap();
        let method = client.notes.method();
        assert!(method.contains("-CERT SHA256:"), "{method}");
        assert!(method.ends_with(" from the agent"), "{method}");
    }
}

async fn a_certificate_that_is_refused_says_what_may_be_wrong() {
    let authority = Authority::new();
    let key = ed25519();
    for (principal, seconds, expected) in [
        ("msingh", -3600, "not accepted: it expired on 20"),
        ("root", 60, "not accepted: it is for root, not for msingh"),
    ] {
        let (_sshd, client) =
            client_of(Person::absent(), |sshd| sshd.option(&authority.option())).await;
        let path = write(client.path("id"), &key);
        let certificate = authority.certify(key.public_key(), principal, seconds);
        fs::write(client.path("id-cert.pub"), certificate).unwrap();
        let error = failed(&client.identity(path)).await;
        let [plain, certified] = outcomes(&error)[..] else {
            panic!("{error}")
        };
        assert_eq!(plain, "not accepted");
        assert!(certified.starts_with(expected), "{certified}");
        assert!(
            hint(&error).starts_with("get another certificate"),
            "{error}"
        );
    }
}

async fn only_accepted_algorithms_are_used() {
    let (rsa, ed) = (keys::generate(KeyType::Rsa), ed25519());
    let (sshd, client) = client_of(Person::absent(), |sshd| {
        sshd.key(rsa.public_key()).key(ed.public_key())
    })
    .await;
    let (ed, rsa) = (
        write(client.path("ed"), &ed),
        write(client.path("rsa"), &rsa),
    );
    let mut client = client.identity(ed).identity(rsa);
    client.hop.algorithms.public_keys = Some(vec!["rsa-sha2-256".to_owned()]);
    // The server takes rsa-sha2-512 as well, and rather.
    let error = failed(&client).await;
    let expected = "not offered, since PubkeyAcceptedAlgorithms does not list ";
    assert_eq!(
        outcomes(&error),
        [
            format!("{expected}ssh-ed25519"),
            format!("{expected}rsa-sha2-512")
        ]
    );
    client.hop.algorithms.public_keys = Some(vec!["rsa-sha2-512".to_owned()]);
    client.open().await.unwrap();
    assert!(sshd.log().contains("Accepted publickey"), "{}", sshd.log());
    assert!(!sshd.log().contains("Failed publickey"), "{}", sshd.log());
}

async fn two_keys_log_in_one_after_the_other() {
    let (first, second, third) = (ed25519(), ed25519(), ed25519());
    let (sshd, client) = client_of(Person::absent(), |sshd| {
        sshd.key(first.public_key())
            .key(third.public_key())
            .option("AuthenticationMethods publickey,publickey")
    })
    .await;
    let mut client = client;
    for (name, key) in [("first", &first), ("second", &second), ("third", &third)] {
        let path = write(client.path(name), key);
        client = client.identity(path);
    }
    client.open().await.unwrap();
    let log = sshd.log();
    let accepted =
        log.matches("Accepted publickey").count() + log.matches("Partial publickey").count();
    assert_eq!(accepted, 2, "{log}");
    let method = client.notes.method();
    let [one, two] = method.split(", then ").collect::<Vec<_>>()[..] else {
        panic!("{method}")
    };
    assert!(
        one.ends_with("/first") && two.ends_with("/third"),
        "{method}"
    );

    // With one key only, that is not offered twice.
    client.hop.identities.truncate(1);
    client.hop.compression = true;
    let error = failed(&client).await;
    assert!(error.tried.is_empty(), "{error}");
    assert_eq!(error.offered, ["publickey"]);
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
    let key = ed25519();
    let (_sshd, client) = client_of(Person::knowing(&["sesame"]), |sshd| {
        sshd.key(key.public_key())
            .password("sesame")
            .option("AuthenticationMethods publickey,password")
    })
    .await;
    let path = write(client.path("id"), &key);
    let client = client.identity(path);
    client.open().await.unwrap();
    let method = client.notes.method();
    assert!(method.ends_with(", then password"), "{method}");
}

async fn a_password_and_then_a_key_log_in() {
    let key = ed25519();
    let (_sshd, client) = client_of(Person::absent(), |sshd| {
        sshd.key(key.public_key())
            .password("sesame")
            .option("AuthenticationMethods password,publickey")
    })
    .await;
    // Shown before the server wanted to see it, and once more when it did.
    let path = write(client.path("id"), &key);
    let client = client.identity(path).given_password("sesame");
    client.open().await.unwrap();
    let method = client.notes.method();
    assert!(method.starts_with("password, then publickey "), "{method}");
}

async fn methods_are_tried_in_the_order_asked_for() {
    let key = ed25519();
    let (_sshd, client) = client_of(Person::absent(), |sshd| {
        sshd.key(key.public_key()).password("sesame")
    })
    .await;
    let path = write(client.path("id"), &key);
    let mut client = client.identity(path).given_password("sesame");
    client.hop.methods = Some(
        ["gssapi-with-mic", "password", "publickey"]
            .map(str::to_owned)
            .into(),
    );
    client.open().await.unwrap();
    assert_eq!(client.notes.method(), "password");

    client.hop.methods = Some(vec!["keyboard-interactive".to_owned()]);
    let error = failed(&client).await;
    assert!(error.tried.is_empty(), "{error}");
    assert_eq!(error.offered, ["publickey", "password"]);
    let expected = "PreferredAuthentications allows only keyboard-interactive";
    assert_eq!(hint(&error), expected);
}

async fn rounds_of_prompts_log_in() {
    let person = Person::knowing(&["sesame", "blue", "123456"]);
    let (_sshd, client) = client_of(person.clone(), |sshd| sshd.rounds(&ROUNDS)).await;
    let mut stream = client.open().await.unwrap();
    assert!(carries(&mut stream).await);
    assert_eq!(client.notes.method(), "keyboard-interactive");
    let asked = person.asked.lock().unwrap();
    let echoes: Vec<_> = asked
        .iter()
        .map(|question| match question {
            SecretQuestion::SshPrompt { login, echo, .. } => {
                assert_eq!(login, "msingh@popserver");
                *echo
            }
            other => panic!("{other:?}"),
        })
        .collect();
    assert_eq!(echoes, [false, true, false]);
}

const ROUNDS: [Round; 3] = [
    Round {
        answer: "sesame",
        echo: false,
    },
    Round {
        answer: "blue",
        echo: true,
    },
    Round {
        answer: "123456",
        echo: false,
    },
];

async fn a_configured_password_answers_the_first_prompt_only() {
    let person = Person::knowing(&["blue", "123456"]);
    let (_sshd, client) = client_of(person.clone(), |sshd| sshd.rounds(&ROUNDS)).await;
    let client = client.given_password("sesame");
    client.open().await.unwrap();
    assert_eq!(person.asked.lock().unwrap().len(), 2);

    // Nobody is there for the second one.
    let (_sshd, client) = client_of(Person::absent(), |sshd| sshd.rounds(&ROUNDS)).await;
    let client = client.given_password("sesame");
    let error = failed(&client).await;
    assert_eq!(outcomes(&error), ["there is no terminal to ask on"]);
    assert!(error.no_terminal);
}

async fn wrong_answers_are_asked_for_again() {
    let person = Person::knowing(&["no", "sesame"]);
    let (_sshd, mut client) = client_of(person.clone(), |sshd| sshd.rounds(&ROUNDS[..1])).await;
    client.open().await.unwrap();
    assert_eq!(person.asked.lock().unwrap().len(), 2);
    // The right one was kept.
    client.hop.compression = true;
    client.open().await.unwrap();
    assert_eq!(person.asked.lock().unwrap().len(), 2);

    let person = Person::knowing(&["no", "no", "no"]);
    let (sshd, mut client) = client_of(person.clone(), |sshd| sshd.rounds(&ROUNDS[..1])).await;
    client.hop.password_prompts = 2;
    let error = failed(&client).await;
    assert_eq!(outcomes(&error), ["not accepted", "not accepted"]);
    assert_eq!(person.asked.lock().unwrap().len(), 2, "{}", sshd.log());
}

async fn prompts_and_then_a_key_log_in() {
    let key = ed25519();
    let (_sshd, client) = client_of(Person::knowing(&["sesame"]), |sshd| {
        sshd.key(key.public_key())
            .rounds(&ROUNDS[..1])
            .option("AuthenticationMethods keyboard-interactive,publickey")
    })
    .await;
    let path = write(client.path("id"), &key);
    let client = client.identity(path);
    client.open().await.unwrap();
    let method = client.notes.method();
    assert!(
        method.starts_with("keyboard-interactive, then publickey "),
        "{method}"
    );
}

async fn a_key_and_then_prompts_log_in() {
    let key = ed25519();
    let (_sshd, client) = client_of(Person::knowing(&["sesame", "blue"]), |sshd| {
        sshd.key(key.public_key())
            .rounds(&ROUNDS[..2])
            .option("AuthenticationMethods publickey,keyboard-interactive")
    })
    .await;
    let path = write(client.path("id"), &key);
    let client = client.identity(path);
    client.open().await.unwrap();
    let method = client.notes.method();
    assert!(method.ends_with(", then keyboard-interactive"), "{method}");
}

async fn the_banner_is_shown() {
    let key = ed25519();
    let directory = tempfile::tempdir().unwrap();
    let banner = directory.path().join("banner");
    fs::write(&banner, "Welcome\x1b[2J to\n\n  the mail host.\n").unwrap();
    let option = format!("Banner {}", banner.display());
    let (_sshd, client) = client_of(Person::absent(), |sshd| {
        sshd.key(key.public_key()).option(&option)
    })
    .await;
    let path = write(client.path("id"), &key);
    let client = client.identity(path);
    client.open().await.unwrap();
    assert_eq!(
        client.notes.notices(),
        ["popserver says: Welcome?[2J to\nthe mail host."]
    );
}

async fn an_expired_password_is_reported_as_such() {
    let server = AsyncSsh::start();
    let known = server.known_hosts_line("127.0.0.1");
    let given = Client::at(server.addr(), &known, Person::absent()).given_password("sesame");
    let typed = Client::at(server.addr(), &known, Person::knowing(&["sesame"]));
    let (given, typed) = tokio::join!(failed(&given), failed(&typed));
    for error in [given, typed] {
        assert_eq!(
            outcomes(&error),
            [
                "it may have expired: the server said something to it that is neither yes nor no, and waits"
            ]
        );
        let expected =
            "see what it says, and set a new password if it wants one: ssh msingh@popserver";
        assert_eq!(hint(&error), expected);
    }
}

async fn an_expired_password_forwards_nothing() {
    let (_sshd, client) = client_of(Person::absent(), |sshd| {
        sshd.password("sesame").expired_password()
    })
    .await;
    let error = client.given_password("sesame").error().await;
    // That is all sshd says.
    let expected = "administratively prohibited";
    assert!(error.to_string().ends_with(expected), "{error}");
    let hint = error.hint().unwrap();
    assert!(hint.contains("a password that has expired"), "{hint}");
}

async fn a_key_on_a_device_signs_through_the_agent() {
    let held = Held::OnDevice(ed25519());
    let public = russh::keys::key::parse_public_key(&held.blob()).unwrap();
    let (_sshd, mut client) = client_of(Person::absent(), |sshd| sshd.key(&public)).await;
    let keys = vec![Held::Unknown, held];
    client.hop.agent = Some(fake_agent::start(client.home.path(), keys));
    client.open().await.unwrap();
    let method = client.notes.method();
    assert!(
        method.starts_with("publickey ED25519-SK SHA256:"),
        "{method}"
    );
}
