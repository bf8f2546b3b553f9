//! Fingerprints and their pictures.

use std::process::Command;

use posthole_testkit::keys::{self, KeyType};
use posthole_testkit::ssh::SshServer;

use crate::world::{Client, Person};

pub(crate) async fn are_those_of_ssh_keygen() {
    let directory = tempfile::tempdir().unwrap();
    let mut all: Vec<_> = KeyType::ALL
        .iter()
        .map(|&one| keys::generate(one))
        .collect();
    all.extend((0..20).map(|_| keys::generate(KeyType::Ed25519)));
    for bits in ["1024", "1039", "3072"] {
        let path = directory.path().join(bits);
        let made = Command::new("ssh-keygen")
            .args(["-q", "-t", "rsa", "-b", bits, "-N", "", "-f"])
            .arg(&path)
            .status();
        assert!(made.unwrap().success());
        all.push(russh::keys::load_secret_key(&path, None).unwrap());
    }
    for key in all {
        let public = directory.path().join("key.pub");
        std::fs::write(&public, keys::public_line(key.public_key())).unwrap();
        let keygen = |args: &[&str]| {
            let output = Command::new("ssh-keygen")
                .args(args)
                .arg(&public)
                .output()
                .unwrap();
            assert!(output.status.success(), "{output:?}");
            String::from_utf8(output.stdout).unwrap()
        };
        let server = SshServer::builder().host_key(key).start();
        let client = Client::of(&server, Person::absent());
        let hops = std::slice::from_ref(&client.hop);
        let shown = client.tunnels.scan_host_key("work", hops).await.unwrap();
        let said = keygen(&["-l", "-v", "-f"]);
        let (line, picture) = said.split_once('\n').unwrap();
        assert!(line.contains(&shown.fingerprint()), "{line}");
        assert_eq!(shown.randomart(), picture.trim_end(), "{line}");
        let said = keygen(&["-l", "-E", "md5", "-f"]);
        assert!(said.contains(&shown.md5_fingerprint()), "{said}");
    }
}
