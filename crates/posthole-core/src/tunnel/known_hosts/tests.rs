use std::os::unix::fs::{PermissionsExt, symlink};
use std::process::Command;

use data_encoding::BASE64;
use posthole_testkit::certificates::CertificateBuilder;
use posthole_testkit::keys::{self, KeyType};
use russh::keys::PrivateKey;

use super::*;
use crate::plan::{Hop, HostPort};

/// Files in a directory that goes away, and keys to put into them.
struct Files {
    directory: tempfile::TempDir,
}

impl Files {
    fn new() -> Self {
        Self {
            directory: tempfile::tempdir().unwrap(),
        }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.directory.path().join(name)
    }

    fn write(&self, name: &str, text: &str) -> PathBuf {
        let path = self.path(name);
        fs::write(&path, text).unwrap();
        path
    }
}

fn key(index: usize) -> PublicKey {
    PublicKey::from_openssh(KEYS[index]).unwrap()
}

fn hop(host: &str, port: u16) -> Hop {
    Hop {
        address: HostPort {
            host: host.to_owned(),
            port,
        },
        ..Hop::new("pop", "msingh")
    }
}

fn shown(host: &str, port: u16, index: usize) -> HostKey {
    HostKey::new(&hop(host, port), key(index), None)
}

/// What is thought of a key that came without a certificate.
fn standing(files: &[PathBuf], key: &HostKey) -> Standing {
    judge(files, key).unwrap().standing
}

/// Judges `ED_A` of popserver on a port against one file.
#[track_caller]
fn check(text: &str, port: u16, expected: &str) {
    let files = Files::new();
    let file = files.write(
        "known_hosts",
        &text
            .replace("ED_A", KEYS[0])
            .replace("ED_B", KEYS[1])
            .replace("RSA", KEYS[2]),
    );
    let judgement = judge(&[file], &shown("popserver", port, 0));
    let standing = match judgement.map(|judgement| judgement.standing) {
        Ok(Standing::Known { line, .. }) => format!("known {line}"),
        Ok(Standing::Changed { line, .. }) => format!("changed {line}"),
        Ok(Standing::Revoked { line, .. }) => format!("revoked {line}"),
        Ok(Standing::Unknown) => "unknown".to_owned(),
        Ok(Standing::Certified { .. }) => unreachable!("there is no certificate"),
        Err(KnownHostsError::Damaged { line, .. }) => format!("damaged {line}"),
        Err(error) => panic!("{error}"),
    };
    assert_eq!(standing, expected, "port {port}, file:\n{text}");
}

#[test]
fn a_recorded_key_is_known_in_every_spelling() {
    check("popserver ED_A", 22, "known 1");
    check(
        "# comment\n\n \tPOPSERVER,192.0.2.1\tED_A and a comment\n",
        22,
        "known 3",
    );
    check("pop* ED_A", 22, "known 1");
    check("other ED_B\npopserver ED_A\r\n", 22, "known 2");
    check("[popserver]:2222 ED_A", 2222, "known 1");
    check(
        "caf\u{e9} ED_B\npopserver ED_A Gr\u{fc}\u{df}e",
        22,
        "known 2",
    );
}

#[test]
fn a_host_without_a_line_is_unknown() {
    check("", 22, "unknown");
    check("other ED_A", 22, "unknown");
    check("#popserver ED_A", 22, "unknown");
    check("!popserver,* ED_A", 22, "unknown");
    check("[popserver]:2222 ED_A", 22, "unknown");
    check("[popserver]:2222 ED_B", 22, "unknown");
}

#[test]
fn any_matching_line_with_the_key_is_enough() {
    check(
        "popserver ED_B\npopserver RSA\npopserver ED_A",
        22,
        "known 3",
    );
}

#[test]
fn a_changed_key_names_the_line_of_its_own_kind() {
    check("popserver ED_B", 22, "changed 1");
    check("popserver RSA\npopserver ED_B", 22, "changed 2");
    check("[popserver]:2222 ED_B\npopserver ED_A", 2222, "changed 1");
}

#[test]
fn a_key_of_another_kind_than_the_recorded_has_changed() {
    check("popserver RSA", 22, "changed 1");
}

#[test]
fn the_plain_name_vouches_for_an_unusual_port_but_raises_no_alarm() {
    check("popserver ED_A", 2222, "known 1");
    check("popserver ED_B", 2222, "unknown");
}

#[test]
fn a_revoked_key_is_refused_whatever_else_is_recorded() {
    check("popserver ED_A\n@revoked * ED_A", 22, "revoked 2");
    check(
        "@revoked popserver ED_A\n[popserver]:2222 ED_A",
        2222,
        "revoked 1",
    );
    check("@revoked * ED_B\npopserver ED_A", 22, "known 2");
    check("@revoked * ED_B", 22, "unknown");
}

#[test]
fn an_authority_does_not_vouch_for_a_plain_key() {
    check("@cert-authority * ED_A", 22, "unknown");
    check("@cert-authority * ED_B\npopserver ED_A", 22, "known 2");
}

/// Judges a key that came with a certificate, by lines in which CA, OTHER and KEY stand for the
/// authority that signed it, another one, and the key itself.
#[track_caller]
fn check_certified(text: &str, port: u16, alter: Alter, expected: &str) {
    let authority = keys::generate(KeyType::Ed25519);
    let other = keys::generate(KeyType::Ed25519);
    let host_key = keys::generate(KeyType::Ed25519);
    let certificate = CertificateBuilder::host(host_key.public_key()).principal("popserver");
    let certificate = alter(certificate).sign(&authority);
    let fields = |key: &PrivateKey| shown::key_fields(key.public_key());
    let files = Files::new();
    // Word by word, since a key may have any of these letters in it.
    let filled = text.split_inclusive([' ', '\n']).map(|word| {
        let fields = match word.trim_end() {
            "CA" => fields(&authority),
            "OTHER" => fields(&other),
            "KEY" => fields(&host_key),
            _ => return word.to_owned(),
        };
        fields + &word[word.trim_end().len()..]
    });
    let file = files.write("known_hosts", &filled.collect::<String>());
    let key = HostKey::new(
        &hop("popserver", port),
        host_key.public_key().clone(),
        Some(certificate),
    );
    let judgement = judge(&[file], &key).unwrap();
    let standing = match judgement.standing {
        Standing::Certified { line, .. } => format!("certified {line}"),
        Standing::Known { line, .. } => format!("known {line}"),
        Standing::Changed { line, .. } => format!("changed {line}"),
        Standing::Revoked { line, what, .. } => {
            let what = what.split_once(" SHA256:").unwrap().0;
            format!("revoked {line}: {what}")
        }
        Standing::Unknown => "unknown".to_owned(),
    };
    let flaw = match judgement.flaw {
        None => "",
        Some(flaw) if flaw.is_authority_trusted => ", flawed",
        Some(_) => ", by a stranger",
    };
    assert_eq!(format!("{standing}{flaw}"), expected, "file:\n{text}");
}

type Alter = fn(CertificateBuilder) -> CertificateBuilder;

#[test]
fn an_authority_vouches_for_the_hosts_that_its_line_names() {
    let as_it_is: Alter = |certificate| certificate;
    check_certified("@cert-authority pop* CA", 22, as_it_is, "certified 1");
    check_certified(
        "@cert-authority * OTHER\n@cert-authority * CA",
        22,
        as_it_is,
        "certified 2",
    );
    check_certified(
        "@cert-authority popserver CA",
        2222,
        as_it_is,
        "certified 1",
    );
    check_certified(
        "@cert-authority [popserver]:2222 CA",
        2222,
        as_it_is,
        "certified 1",
    );
    // Though another key is recorded, or none.
    check_certified(
        "popserver OTHER\n@cert-authority * CA",
        22,
        as_it_is,
        "certified 2",
    );
    for line in [
        "@cert-authority *.org CA",
        "@cert-authority *,!popserver CA",
        "popserver CA",
    ] {
        let expected = if line.starts_with('@') {
            "unknown"
        } else {
            "changed 1"
        };
        check_certified(line, 22, as_it_is, &format!("{expected}, by a stranger"));
    }
    check_certified(
        "@cert-authority * OTHER",
        22,
        as_it_is,
        "unknown, by a stranger",
    );
}

#[test]
fn a_certificate_that_does_not_count_leaves_a_plain_key() {
    let expired: Alter = CertificateBuilder::expired;
    check_certified("@cert-authority * CA", 22, expired, "unknown, flawed");
    check_certified(
        "@cert-authority * CA\npopserver KEY",
        22,
        expired,
        "known 2, flawed",
    );
    check_certified(
        "@cert-authority * CA\npopserver OTHER",
        22,
        expired,
        "changed 2, flawed",
    );
    check_certified("popserver KEY", 22, expired, "known 1, by a stranger");
    let optional: Alter = |certificate| certificate.critical_option("verify-required");
    check_certified("@cert-authority * CA", 22, optional, "unknown, flawed");
}

#[test]
fn a_revoked_key_or_authority_is_refused_though_certified() {
    let as_it_is: Alter = |certificate| certificate;
    let revoked_key = "@cert-authority * CA\n@revoked * KEY";
    check_certified(revoked_key, 22, as_it_is, "revoked 2: host key");
    let revoked_authority = "@revoked pop* CA\n@cert-authority * CA\npopserver KEY";
    check_certified(
        revoked_authority,
        22,
        as_it_is,
        "revoked 1: certificate authority",
    );
    check_certified(
        "@revoked * OTHER\n@cert-authority * CA",
        22,
        as_it_is,
        "certified 2",
    );
}

#[test]
fn an_alias_is_what_is_looked_up_and_recorded() {
    let files = Files::new();
    let file = files.path("known_hosts");
    let aliased = Hop {
        host_key_alias: Some("Pop".to_owned()),
        ..hop("10.0.0.1", 2222)
    };
    let key = HostKey::new(&aliased, key(0), None);
    append(&file, &key, false).unwrap();
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        format!("pop {}\n", KEYS[0])
    );
    let files = [file];
    assert!(matches!(standing(&files, &key), Standing::Known { .. }));
    assert_eq!(
        standing(&files, &shown("10.0.0.1", 2222, 0)),
        Standing::Unknown
    );
}

#[test]
fn keys_of_unknown_types_and_certificates_are_no_keys_of_the_host() {
    let key = keys::generate(KeyType::Ed25519);
    let certificate = CertificateBuilder::host(key.public_key()).sign(&key);
    let certificate = certificate.to_openssh().unwrap();
    check(&format!("popserver {certificate}"), 22, "unknown");
    let foreign = BASE64.encode(b"\0\0\0\x0fssh-new@example\0\0\0\x01x");
    check(
        &format!("popserver ssh-new@example {foreign}"),
        22,
        "unknown",
    );
}

#[test]
fn a_damaged_line_about_the_host_is_an_error() {
    check("other ssh-ed25519 ???\npopserver ED_A", 22, "known 2");
    check("popserver ED_A\npopserver ssh-ed25519 ???", 22, "damaged 2");
    check("popserver", 22, "damaged 1");
    check("@revokd * ED_A", 22, "damaged 1");
    check("popserver 1024 35 13572468\npopserver ED_A", 22, "known 2");
}

#[test]
fn all_files_are_read_and_missing_ones_are_empty() {
    let files = Files::new();
    let first = files.write("known_hosts", &format!("popserver {}\n", KEYS[1]));
    let second = files.write("known_hosts2", &format!("popserver {}\n", KEYS[0]));
    let standing = standing(
        &[files.path("none"), first, second.clone()],
        &shown("popserver", 22, 0),
    );
    assert_eq!(
        standing,
        Standing::Known {
            file: second,
            line: 1
        }
    );
}

#[test]
fn a_file_that_cannot_be_read_is_an_error() {
    let files = Files::new();
    let error = judge(
        &[files.directory.path().to_owned()],
        &shown("popserver", 22, 0),
    )
    .unwrap_err()
    .to_string();
    assert!(error.starts_with("cannot read "), "{error}");
    assert!(error.ends_with(": is a directory"), "{error}");
}

#[test]
fn known_algorithms_are_those_of_the_exact_name_first() {
    let files = Files::new();
    let text = format!(
        "popserver {}\n[popserver]:2222 {}\n@revoked * {}",
        KEYS[0], KEYS[2], KEYS[1]
    );
    let file = files.write("known_hosts", &text);
    let algorithms = |host, port| {
        let names = Names::of(&hop(host, port));
        let recorded = Recorded::load(std::slice::from_ref(&file), &names);
        recorded.unwrap().known().algorithms
    };
    assert_eq!(
        algorithms("popserver", 2222),
        [Algorithm::Rsa { hash: None }]
    );
    assert_eq!(algorithms("popserver", 2223), [Algorithm::Ed25519]);
    assert_eq!(algorithms("popserver", 22), [Algorithm::Ed25519]);
    assert_eq!(algorithms("elsewhere", 22), []);
}

#[test]
fn an_appended_key_is_known_to_us_and_to_ssh_keygen() {
    for (port, host) in [(22, "popserver"), (2222, "[popserver]:2222")] {
        let files = Files::new();
        let file = files.path("new/.ssh/known_hosts");
        append(&file, &shown("PopServer", port, 0), false).unwrap();
        assert_eq!(
            fs::read_to_string(&file).unwrap(),
            format!("{host} {}\n", KEYS[0])
        );
        assert_eq!(mode(&file), 0o600);
        assert_eq!(mode(file.parent().unwrap()), 0o700);
        let standing = standing(std::slice::from_ref(&file), &shown("popserver", port, 0));
        assert_eq!(
            standing,
            Standing::Known {
                file: file.clone(),
                line: 1
            }
        );
        assert!(ssh_keygen_finds(&file, host));
    }
}

#[test]
fn a_name_is_hashed_where_names_are_hashed() {
    let files = Files::new();
    let hashed = format!(
        "|1|faqZqEplNO1MGmFAVL9MtMKThjk=|4VQCgpxC+/W8mAKQh7XCTP+Ym08= {}\n",
        KEYS[1]
    );
    let file = files.write("known_hosts", &hashed);
    append(&file, &shown("mail.example.org", 22, 0), false).unwrap();
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.starts_with(&hashed), "{text}");
    assert!(!text.contains("mail.example.org"), "{text}");
    let standing = standing(
        std::slice::from_ref(&file),
        &shown("mail.example.org", 22, 0),
    );
    assert_eq!(
        standing,
        Standing::Known {
            file: file.clone(),
            line: 2
        }
    );
    assert!(ssh_keygen_finds(&file, "mail.example.org"));
}

#[test]
fn a_name_is_hashed_where_the_configuration_says_so() {
    let files = Files::new();
    let file = files.path("known_hosts");
    let key = shown("mail.example.org", 2222, 0);
    append(&file, &key, true).unwrap();
    let text = fs::read_to_string(&file).unwrap();
    assert!(
        text.starts_with("|1|") && !text.contains("example"),
        "{text}"
    );
    assert!(ssh_keygen_finds(&file, "[mail.example.org]:2222"));
    assert!(matches!(standing(&[file], &key), Standing::Known { .. }));
}

#[test]
fn a_last_line_without_an_end_is_not_run_into() {
    let files = Files::new();
    let file = files.write("known_hosts", &format!("other {}", KEYS[1]));
    append(&file, &shown("popserver", 22, 0), false).unwrap();
    assert_eq!(
        fs::read_to_string(&file).unwrap(),
        format!("other {}\npopserver {}\n", KEYS[1], KEYS[0])
    );
}

#[test]
fn a_link_to_the_real_file_stays_a_link() {
    let files = Files::new();
    let real = files.write("dotfiles", "");
    let link = files.path("known_hosts");
    symlink(&real, &link).unwrap();
    append(&link, &shown("popserver", 22, 0), false).unwrap();
    assert!(link.is_symlink());
    assert_eq!(
        fs::read_to_string(&real).unwrap(),
        format!("popserver {}\n", KEYS[0])
    );
}

#[test]
fn fingerprints_are_those_of_ssh_keygen() {
    let key = shown("popserver", 22, 0);
    assert_eq!(
        key.fingerprint(),
        "SHA256:2Y7PsMKGkh1gb/PjfDMkEsfReWPUqfzfmieMX/lv8LE"
    );
    assert_eq!(key.algorithm(), "ssh-ed25519");
    assert_eq!(
        key.md5_fingerprint(),
        "MD5:37:a2:bc:e9:ee:e1:04:59:5e:5e:70:90:c9:4c:c2:1c"
    );
}

fn mode(path: &Path) -> u32 {
    fs::metadata(path).unwrap().permissions().mode() & 0o777
}

/// What `ssh-keygen -F` says; yes where there is none to ask.
fn ssh_keygen_finds(file: &Path, host: &str) -> bool {
    match Command::new("ssh-keygen")
        .arg("-F")
        .arg(host)
        .arg("-f")
        .arg(file)
        .output()
    {
        Ok(output) => output.status.success(),
        Err(_) => {
            eprintln!("skipped: no ssh-keygen here to compare with");
            true
        }
    }
}

/// Two of a kind and one of another.
const KEYS: [&str; 3] = [
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIO9Dki3FW+SlRfDsLVD20dVv8lTz6hVQcFt69fS4x3cI",
    "ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAINtOSYOdDJsRaP0wTGuj3vi0+9yNu3MBOwKB/N70kVRJ",
    concat!(
        "ssh-rsa AAAAB3NzaC1yc2EAAAADAQABAAABAQCp+IPvmijWj8eqXn2J1dxZDMwHxEjJm1ebBuTwsk/QdCda21uO",
        "PUMDtOtNNIb5/LXU7oSbVmtEjv6br0a6opKSjZj0tgHsXYk7xWqAq98ZAmDaljybmFNIWnMrayNk1xXsV/EWt8QX",
        "43UCjge/oWXgsH3W0D3hxqFlWbT6hrgOk0zN4KLn2GvkFJu0tjR5QCaAX/PGl1OuBWTi02Ol6mULA7YmKuagIIAn",
        "3Xt0Z3YWoLLdcNppArEOy8NkENgox3Ob34JXOFEWjWm5kbSheI9LeH8eEmWAjz6C3k9GWuRzZkjKBGV66tYyWxBE",
        "EOhO3BpAhHsSIXUD8ZCCBO02uz6B",
    ),
];
