//! What becomes of a connection, by the known_hosts file.

use std::fs;
use std::process::{Command, Stdio};

use posthole_core::plan::UnknownHostKey;
use posthole_core::tunnel::TunnelError;
use posthole_testkit::certificates::CertificateBuilder;
use posthole_testkit::keys::{self, KeyFormat, KeyType};
use posthole_testkit::real::{Sshd, SshdBuilder};
use russh::keys::{PrivateKey, PublicKey};

use crate::world::{Client, Person};

/// What became of it.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outcome {
    Changed,
    Passes,
    Revoked,
    Unknown,
}

use Outcome::{Changed, Passes, Revoked, Unknown};

/// An sshd, and the keys that lines about it are made of.
struct Case {
    sshd: Sshd,
    /// Words that stand for keys in known_hosts lines.
    words: Vec<(&'static str, PublicKey)>,
}

impl Case {
    /// Lets both sides connect, which must come to the same end.
    #[track_caller]
    fn check(
        &self,
        text: &str,
        alias: Option<&str>,
        expected: Outcome,
    ) -> impl Future<Output = ()> {
        self.check_both(text, alias, expected, expected)
    }

    /// Where the end is another on purpose.
    async fn check_both(&self, text: &str, alias: Option<&str>, ours: Outcome, theirs: Outcome) {
        let client = self.check_ours(text, alias, ours).await;
        let (outcome, said) = self.ssh(&client, alias);
        assert_eq!(outcome, theirs, "theirs: {text:?} as {alias:?}: {said}");
    }

    /// Where it depends on their version.
    async fn check_ours(&self, text: &str, alias: Option<&str>, ours: Outcome) -> Client {
        let known_hosts = self.written(text);
        let about = format!("{text:?} as {alias:?}");
        let mut client = Client::at(self.sshd.addr(), &known_hosts, Person::absent());
        client.hop.host_key_alias = alias.map(str::to_owned);
        client.hop.unknown_host_key = UnknownHostKey::Refuse;
        let error = client.error().await;
        let outcome = match error {
            TunnelError::AuthenticationFailed(_) => Passes,
            TunnelError::HostKeyChanged(_) => Changed,
            TunnelError::HostKeyRevoked { .. } => Revoked,
            TunnelError::HostKeyUnknown { .. } => Unknown,
            error => panic!("{about}: {error}"),
        };
        assert_eq!(outcome, ours, "ours: {about}: {error}");
        client
    }

    /// The text with the port and the keys that its words stand for.
    fn written(&self, text: &str) -> String {
        let text = text.replace("PORT", &self.sshd.port().to_string());
        let word = |word: &str| {
            let (name, blank) = word.split_at(word.trim_end().len());
            match self.words.iter().find(|(known, _)| *known == name) {
                Some((_, key)) => {
                    let line = keys::public_line(key);
                    let fields: Vec<_> = line.split(' ').take(2).collect();
                    fields.join(" ") + blank
                }
                None => word.to_owned(),
            }
        };
        text.split_inclusive(char::is_whitespace)
            .map(word)
            .collect()
    }

    fn ssh(&self, client: &Client, alias: Option<&str>) -> (Outcome, String) {
        let mut command = Command::new("ssh");
        command.args(["-F", "none", "-p", &self.sshd.port().to_string()]);
        for option in [
            "BatchMode=yes",
            "CheckHostIP=no",
            "GlobalKnownHostsFile=/dev/null",
            "IdentityAgent=none",
            // Its own favourite takes a tenth of a second.
            "KexAlgorithms=curve25519-sha256",
            "PreferredAuthentications=none",
            "StrictHostKeyChecking=yes",
            "UpdateHostKeys=no",
        ] {
            command.args(["-o", option]);
        }
        let file = client.known_hosts().display();
        command.args(["-o", &format!("UserKnownHostsFile={file}")]);
        if let Some(alias) = alias {
            command.args(["-o", &format!("HostKeyAlias={alias}")]);
        }
        let output = command
            .args(["msingh@127.0.0.1", "true"])
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        let outcome = if said.contains("was revoked") {
            Revoked
        } else if said.contains("REMOTE HOST IDENTIFICATION HAS CHANGED") {
            Changed
        } else if said.contains("host key is known for") {
            Unknown
        } else if said.contains("Permission denied") {
            Passes
        } else {
            panic!("ssh says {said}")
        };
        (outcome, said)
    }
}

/// ED and RSA are the server's, ED2 and RSA2 are not.
fn plain() -> Case {
    let [ed, ed2] = [(); 2].map(|()| keys::generate(KeyType::Ed25519));
    let (rsa, ecdsa) = (
        keys::generate(KeyType::Rsa),
        keys::generate(KeyType::EcdsaP256),
    );
    Case {
        sshd: Sshd::builder().host_key(&ed).host_key(&rsa).start(),
        words: vec![
            ("ED", ed.public_key().clone()),
            ("ED2", ed2.public_key().clone()),
            ("ECDSA", ecdsa.public_key().clone()),
            ("RSA", rsa.public_key().clone()),
        ],
    }
}

pub(crate) async fn recorded_keys_count_as_for_ssh() {
    let case = plain();
    let host = "[127.0.0.1]:PORT";
    for (text, expected) in [
        ("", Unknown),
        ("HOST ED", Passes),
        // Of several keys the known one is asked for.
        ("HOST RSA", Passes),
        ("HOST ECDSA\nHOST RSA", Passes),
        ("HOST ED2", Changed),
        ("HOST ECDSA", Changed),
        ("HOST ED2\nHOST ED", Passes),
        // The other key would be known, but this type is preferred and known, too.
        ("HOST ED2\nHOST RSA", Changed),
        ("127.0.0.1 ED", Passes),
        ("127.0.0.1 ED2", Unknown),
        ("HOST ED2\n127.0.0.1 ED", Changed),
        ("* ED", Passes),
        ("[127.0.0.?]:* ED", Passes),
        ("*,!HOST ED", Passes),
        ("*,!HOST,!127.0.0.1 ED", Unknown),
        ("!HOST,* ED2", Unknown),
        ("HOST,127.0.0.1 ED2", Changed),
        ("  \t HOST \t ED \t a comment", Passes),
        ("# HOST ED", Unknown),
        ("HOST ED\r", Passes),
        ("@revoked HOST ED\nHOST ED", Revoked),
        ("HOST ED\n@revoked * ED", Revoked),
        ("@revoked * ED2\nHOST ED", Passes),
        ("@revoked * RSA\nHOST ED", Passes),
        ("@cert-authority * ED", Unknown),
        ("@cert-authority * ED2\nHOST ED", Passes),
        ("HOST 1024 35 13572468\nHOST ED", Passes),
    ] {
        case.check(&text.replace("HOST", host), None, expected)
            .await;
    }
    for (text, expected) in [
        ("pop ED", Passes),
        ("POP ED", Passes),
        ("pop ED2", Changed),
        ("[pop]:PORT ED", Unknown),
        ("HOST ED", Unknown),
    ] {
        case.check(&text.replace("HOST", host), Some("Pop"), expected)
            .await;
    }
    // Where a line is damaged or its marker unknown, nobody knows what it was meant to forbid.
    for line in ["@revokd HOST ED", "HOST ssh-ed25519 AAAA"] {
        let text = format!("{line}\nHOST ED").replace("HOST", host);
        let client = Client::at(case.sshd.addr(), &case.written(&text), Person::absent());
        let error = client.error().await;
        assert!(
            matches!(error, TunnelError::KnownHosts(_)),
            "{line}: {error}"
        );
        assert_eq!(case.ssh(&client, None).0, Passes, "{line}");
    }
    // A key that is known under the plain name is asked for, too.
    case.check_both("127.0.0.1 RSA", None, Passes, Unknown)
        .await;
    // What is revoked under a host's plain name is not welcome on its other ports either.
    let text = "@revoked 127.0.0.1 ED\n[127.0.0.1]:PORT ED";
    case.check_both(text, None, Revoked, Passes).await;
}

/// HK is the host key of an sshd with a certificate by CA.
fn certified(change: impl FnOnce(&PrivateKey, &PrivateKey, SshdBuilder) -> SshdBuilder) -> Case {
    let [ca, ca2, host_key, other] = [(); 4].map(|()| keys::generate(KeyType::Ed25519));
    let sshd = change(&ca, &host_key, Sshd::builder().host_key(&host_key));
    Case {
        sshd: sshd.start(),
        words: vec![
            ("CA2", ca2.public_key().clone()),
            ("CA", ca.public_key().clone()),
            ("HK2", other.public_key().clone()),
            ("HK", host_key.public_key().clone()),
        ],
    }
}

/// The certificate as it stands in a file.
fn file_of(certificate: CertificateBuilder, ca: &PrivateKey) -> String {
    certificate.sign(ca).to_openssh().unwrap() + "\n"
}

type Alter = fn(CertificateBuilder) -> CertificateBuilder;

pub(crate) async fn certificates_count_as_for_ssh() {
    let case = certified(|ca, key, sshd| {
        let certificate = CertificateBuilder::host(key.public_key())
            .principal("*.example.org")
            .principal("pop");
        sshd.host_certificate(&file_of(certificate, ca))
    });
    for (text, alias, expected) in [
        ("@cert-authority pop CA", "pop", Passes),
        ("@cert-authority * CA", "example.org", Unknown),
        ("@cert-authority * CA", "elsewhere", Unknown),
        ("@cert-authority * CA", "POP", Passes),
        ("@cert-authority POP CA", "pop", Passes),
        ("@cert-authority *,!pop CA", "pop", Unknown),
        ("@cert-authority * CA2", "pop", Unknown),
        ("@cert-authority * CA2\n@cert-authority * CA", "pop", Passes),
        ("pop CA", "pop", Changed),
        // A certificate that does not count leaves a plain key.
        ("@cert-authority * CA\nelsewhere HK", "elsewhere", Passes),
        ("@cert-authority * CA\nelsewhere HK2", "elsewhere", Changed),
        ("@cert-authority * CA2\npop HK", "pop", Passes),
        ("@cert-authority * CA2\npop HK2", "pop", Changed),
        // One that counts makes other keys irrelevant.
        ("@cert-authority * CA\npop HK2", "pop", Passes),
        ("@revoked * CA\n@cert-authority * CA", "pop", Revoked),
        ("@revoked * HK\n@cert-authority * CA", "pop", Revoked),
        (
            "@revoked * CA\n@cert-authority * CA\npop HK",
            "pop",
            Revoked,
        ),
        ("@revoked * CA2\n@cert-authority * CA", "pop", Passes),
        ("pop HK", "pop", Passes),
    ] {
        case.check(text, Some(alias), expected).await;
    }
    // Before 10.3 OpenSSH knew no wildcards in them.
    let mail = Some("mail.example.org");
    case.check_ours("@cert-authority * CA", mail, Passes).await;
    // The name of a host has no port in a certificate; the authority may be that of either name.
    let case = certified(|ca, key, sshd| {
        let certificate = CertificateBuilder::host(key.public_key()).principal("127.0.0.1");
        sshd.host_certificate(&file_of(certificate, ca))
    });
    for line in ["[127.0.0.1]:PORT", "127.0.0.1", "[127.*"] {
        let text = format!("@cert-authority {line} CA");
        case.check(&text, None, Passes).await;
    }

    for (alter, expected) in [
        ((|one| one) as Alter, Passes),
        (CertificateBuilder::expired, Unknown),
        (CertificateBuilder::not_yet_valid, Unknown),
        (|one| one.critical_option("force-command"), Unknown),
    ] {
        let case = certified(|ca, key, sshd| {
            let certificate = CertificateBuilder::host(key.public_key()).principal("pop");
            sshd.host_certificate(&file_of(alter(certificate), ca))
        });
        case.check("@cert-authority * CA", Some("pop"), expected)
            .await;
    }

    // And took one without a name for all of them.
    let case = certified(|ca, key, sshd| {
        let certificate = CertificateBuilder::host(key.public_key());
        sshd.host_certificate(&file_of(certificate, ca))
    });
    case.check_ours("@cert-authority * CA", Some("pop"), Unknown)
        .await;

    every_type_of_key_and_authority().await;
}

/// Certificates as ssh-keygen makes them.
async fn every_type_of_key_and_authority() {
    let types = KeyType::ALL
        .iter()
        .map(|&key_type| (key_type, None, Passes));
    let weak = (KeyType::Rsa, Some("ssh-rsa"), Unknown);
    for (key_type, signature, expected) in types.chain([weak]) {
        let dir = tempfile::tempdir().unwrap();
        let ca = keys::generate(key_type);
        let host_key = keys::generate(key_type);
        let ca_file = keys::write(dir.path().join("ca"), &ca, KeyFormat::OpenSsh, None);
        let key_file = keys::write(dir.path().join("key"), &host_key, KeyFormat::OpenSsh, None);
        let mut command = Command::new("ssh-keygen");
        command.args(["-q", "-h", "-I", "pop's key", "-n", "pop", "-s"]);
        command.arg(&ca_file);
        if let Some(signature) = signature {
            command.args(["-t", signature]);
        }
        let made = command
            .arg(key_file.with_extension("pub"))
            .output()
            .unwrap();
        assert!(made.status.success(), "{made:?}");
        let certificate = fs::read_to_string(dir.path().join("key-cert.pub")).unwrap();
        let sshd = Sshd::builder().host_key(&host_key);
        let case = Case {
            sshd: sshd.host_certificate(&certificate).start(),
            words: vec![("CA", ca.public_key().clone())],
        };
        case.check("@cert-authority * CA", Some("pop"), expected)
            .await;
    }
}
