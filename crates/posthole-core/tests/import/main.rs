//! Records that fetchmail and mpop really leave behind.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::collections::BTreeSet;
use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::{Command, ExitCode};

use posthole_core::record::import::{Account, Import, fetchids, uidls};
use posthole_testkit::mail;
use posthole_testkit::pop3::{Maildrop, Pop3Server};
use posthole_testkit::real::{Requirement, Suite};

fn main() -> ExitCode {
    Suite::new()
        .test(
            "fetchids_are_read_as_fetchmail_leaves_them",
            &[Requirement::Fetchmail],
            fetchids_are_read_as_fetchmail_leaves_them,
        )
        .test(
            "uidls_are_read_as_mpop_leaves_them",
            &[Requirement::Mpop],
            uidls_are_read_as_mpop_leaves_them,
        )
        .run()
}

fn fetchids_are_read_as_fetchmail_leaves_them() {
    let (server, maildrop) = server("me@home there");
    let dir = tempfile::tempdir().unwrap();
    let rcfile = write(
        dir.path(),
        "rc",
        &format!(
            "poll localhost via 127.0.0.1 port {} proto pop3 auth password uidl\n\
             user \"me@home there\" pass secret sslproto \"\" keep mda \"cat >/dev/null\"\n",
            server.port()
        ),
    );
    let mut fetchmail = Command::new("fetchmail");
    fetchmail.args(["-s", "-f"]).arg(&rcfile);
    run(fetchmail.env("FETCHMAILHOME", dir.path()));
    let import = fetchids(&fs::read(dir.path().join(".fetchids")).unwrap());
    check(&import, &maildrop, "me@home there");
}

fn uidls_are_read_as_mpop_leaves_them() {
    let (server, maildrop) = server("me@home there");
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("uidls");
    let config = write(
        dir.path(),
        "mpoprc",
        &format!(
            "account a\nhost 127.0.0.1\nport {}\nuser \"me@home there\"\npassword secret\nauth user\n\
             tls off\nkeep on\nuidls_file {}\ndelivery mbox {}\n",
            server.port(),
            file.display(),
            dir.path().join("mbox").display()
        ),
    );
    run(Command::new("mpop")
        .args(["-q", "-C"])
        .arg(&config)
        .arg("a"));
    let import = uidls(&fs::read(&file).unwrap());
    check(&import, &maildrop, "me@home there");
}

/// A server with messages of well-formed and of odd unique-ids.
fn server(user: &str) -> (Pop3Server, Maildrop) {
    let maildrop = Maildrop::of(mail::small(3));
    for uid in ["<a@b.c>", "x\"y\\z", "#1", "~!@$%^&*()", "inter@mail:1"] {
        maildrop.add_with_uid(uid.as_bytes(), mail::tiny(7));
    }
    let server = Pop3Server::builder()
        .account(user, "secret", &maildrop)
        .start();
    (server, maildrop)
}

#[track_caller]
fn check(import: &Import, maildrop: &Maildrop, user: &str) {
    assert_eq!(import.skipped, []);
    let seen = import
        .seen
        .iter()
        .map(|seen| seen.unique_id.as_bytes().to_vec());
    let seen: BTreeSet<_> = seen.collect();
    assert_eq!(seen, maildrop.uids().into_iter().collect());
    let account = Account {
        user: user.into(),
        host: "127.0.0.1".into(),
        port: None,
    };
    assert!(
        import
            .seen
            .iter()
            .all(|seen| seen.account.as_ref() == Some(&account)),
        "{import:?}"
    );
}

fn write(dir: &Path, name: &str, text: &str) -> std::path::PathBuf {
    let path = dir.join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
    path
}

#[track_caller]
fn run(command: &mut Command) {
    let output = command.output().unwrap();
    let words = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{words}");
}
