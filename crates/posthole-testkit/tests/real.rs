//! The real servers, and real clients of the servers in process.

#![allow(clippy::unwrap_used, reason = "a test fails by panicking")]

use std::ffi::OsStr;
use std::io::Write;
use std::path::Path;
use std::process::{Command, ExitCode, Output, Stdio};

use posthole_testkit::home::Home;
use posthole_testkit::keys::{self, KeyFormat, KeyType};
use posthole_testkit::real::{Agent, Mailhost, Requirement, Sshd, Suite};
use posthole_testkit::{World, mail};

fn main() -> ExitCode {
    use Requirement::{NssWrapper, OpenSsl, Ssh, SshAgent, SshKeygen, Sshd};

    let mailhost = [Requirement::MAILHOST, &[Ssh]].concat();
    Suite::new()
        .test(
            "mail_passes_from_dovecot_through_sshd",
            &mailhost,
            dovecot_through_sshd,
        )
        .test(
            "a_deleted_message_leaves_dovecot_and_nothing_else",
            &mailhost,
            dovecot_deletes,
        )
        .test(
            "sshd_takes_the_password_of_a_user_without_shell",
            &mailhost,
            sshd_password,
        )
        .test(
            "sshd_forwards_only_where_it_may",
            &mailhost,
            sshd_permit_open,
        )
        .test(
            "nothing_of_the_daemons_outlives_the_fixture",
            &mailhost,
            nothing_is_left,
        )
        .test(
            "an_agent_lets_in",
            &[Sshd, NssWrapper, Ssh, SshAgent],
            agent_lets_in,
        )
        .test(
            "openssh_passes_through_the_server_in_process",
            &[Ssh],
            openssh_through_ours,
        )
        .test("ssh_keygen_reads_every_key", &[SshKeygen], ssh_keygen_reads)
        .test("openssl_reads_pkcs8_keys", &[OpenSsl], openssl_reads)
        .run()
}

fn dovecot_through_sshd() {
    let messages = mail::corpus(1, 300);
    let host = Mailhost::start(&messages);
    let retrs: String = (1..=messages.len())
        .map(|n| format!("RETR {n}\r\n"))
        .collect();
    let said = talk(&host, &format!("{LOGIN}STAT\r\n{retrs}QUIT\r\n"));
    assert!(find(&said, format!("+OK {} ", messages.len()).as_bytes()));
    let mut got = answers(&said, "octets\r\n");
    got.sort();
    let mut expected: Vec<_> = messages.iter().map(|m| mail::as_received(m)).collect();
    expected.sort();
    assert_eq!(got.len(), expected.len());
    for (got, expected) in got.iter().zip(&expected) {
        assert_eq!(
            got.escape_ascii().to_string(),
            expected.escape_ascii().to_string()
        );
    }
    let mut left = messages;
    left.sort();
    assert_eq!(host.dovecot().messages(), left);
}

fn dovecot_deletes() {
    let messages = mail::small(3);
    let host = Mailhost::start(&messages);
    host.dovecot().add(b"Subject: late\r\n\r\nlate\r\n");
    talk(
        &host,
        &format!("{LOGIN}DELE 1\r\nDELE 2\r\nDELE 3\r\nQUIT\r\n"),
    );
    assert_eq!(
        host.dovecot().messages(),
        [b"Subject: late\r\n\r\nlate\r\n"]
    );
}

fn sshd_password() {
    let host = Mailhost::start(mail::small(1));
    let askpass = host.home().path().join("askpass");
    std::fs::write(
        &askpass,
        format!("#!/bin/sh\necho '{}'\n", Mailhost::SSH_PASSWORD),
    )
    .unwrap();
    Command::new("chmod")
        .arg("700")
        .arg(&askpass)
        .status()
        .unwrap();
    let mut ssh = ssh(host.home(), host.sshd().port(), host.dovecot().port());
    ssh.args(["-o", "PubkeyAuthentication=no", "-o", "BatchMode=no"]);
    ssh.env("SSH_ASKPASS", &askpass)
        .env("SSH_ASKPASS_REQUIRE", "force");
    let output = run(&mut ssh, b"QUIT\r\n");
    assert!(find(&output.stdout, b"Logging out"), "{}", text(&output));
    assert!(host.sshd().log().contains("Accepted password for msingh"));
}

fn sshd_permit_open() {
    let host = Mailhost::start(mail::small(1));
    let output = run(&mut ssh(host.home(), host.sshd().port(), 1), b"");
    assert!(
        find(&output.stderr, b"administratively prohibited"),
        "{}",
        text(&output)
    );
    let mut command = ssh(host.home(), host.sshd().port(), 1);
    command.args(["-o", "ClearAllForwardings=yes"]);
    let output = command
        .args(["-T", "msingh@127.0.0.1", "id"])
        .output()
        .unwrap();
    assert!(!output.status.success());
}

fn nothing_is_left() {
    let host = Mailhost::start(mail::small(1));
    let mut ssh = ssh(host.home(), host.sshd().port(), host.dovecot().port());
    let mut child = ssh
        .arg("msingh@127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut greeting = [0; 3];
    std::io::Read::read_exact(child.stdout.as_mut().unwrap(), &mut greeting).unwrap();
    let dirs = [host
        .dovecot()
        .maildir()
        .ancestors()
        .nth(2)
        .unwrap()
        .to_owned()];
    let marks = [
        dirs[0].to_str().unwrap().to_owned(),
        format!("127.0.0.1:{}", host.sshd().port()),
    ];
    assert!(processes(&marks[0]) > 0);
    let port = host.sshd().port();
    drop(host);
    // The connection was open, and ends with its server.
    assert!(!child.wait().unwrap().success());
    assert_eq!(processes(&marks[0]), 0);
    assert!(std::net::TcpStream::connect(("127.0.0.1", port)).is_err());
}

fn agent_lets_in() {
    let key = keys::generate(KeyType::EcdsaP256);
    let world = World::builder().build();
    let port = world.pop3().port();
    let sshd = Sshd::builder()
        .key(key.public_key())
        .permit_open("localhost", port)
        .start();
    let agent = Agent::start();
    agent.add(&key);
    world
        .home()
        .write_known_hosts(&sshd.known_hosts_line("127.0.0.1"));
    let mut ssh = ssh(world.home(), sshd.port(), port);
    ssh.env("SSH_AUTH_SOCK", agent.socket());
    let output = run(&mut ssh, b"QUIT\r\n");
    assert!(output.stdout.ends_with(b"+OK bye\r\n"), "{}", text(&output));
    assert_eq!(world.pop3().lines(), ["QUIT"]);
}

fn openssh_through_ours() {
    for compression in ["no", "yes"] {
        let messages = mail::corpus(2, 30);
        let world = World::builder().messages(messages.clone()).build();
        let mut ssh = ssh(world.home(), world.ssh().port(), 110);
        ssh.args(["-o", &format!("Compression={compression}")]);
        let retrs: String = (1..=messages.len())
            .map(|n| format!("RETR {n}\r\n"))
            .collect();
        let output = run(&mut ssh, format!("{LOGIN}{retrs}QUIT\r\n").as_bytes());
        let expected: Vec<_> = messages.iter().map(|m| mail::as_received(m)).collect();
        assert!(
            answers(&output.stdout, "octets\r\n") == expected,
            "{}",
            text(&output)
        );
        assert!(world.ssh().channels()[0].opened);
    }
    let world = World::builder().key_type(KeyType::Rsa).build();
    let output = run(&mut ssh(world.home(), world.ssh().port(), 111), b"");
    assert!(
        find(&output.stderr, b"administratively prohibited"),
        "{}",
        text(&output)
    );
    assert!(!shell(world.home(), world.ssh().port()).status.success());
    assert_eq!(world.ssh().misplaced_requests(), ["session"]);
}

fn ssh_keygen_reads() {
    let dir = tempfile::tempdir().unwrap();
    for key_type in KeyType::ALL {
        for passphrase in [None, Some("correct horse")] {
            let key = keys::generate(key_type);
            let path = keys::write(dir.path().join("id"), &key, KeyFormat::OpenSsh, passphrase);
            let mut command = Command::new("ssh-keygen");
            command
                .args(["-y", "-P", passphrase.unwrap_or("")])
                .arg("-f")
                .arg(&path);
            let output = command.output().unwrap();
            assert!(output.status.success(), "{key_type:?}: {}", text(&output));
            let line = String::from_utf8(output.stdout).unwrap();
            let read: Vec<_> = line.split_whitespace().take(2).map(str::to_owned).collect();
            assert!(keys::public_line(key.public_key()).starts_with(&read.join(" ")));
        }
    }
}

fn openssl_reads() {
    let dir = tempfile::tempdir().unwrap();
    for key_type in KeyType::ALL {
        for passphrase in [None, Some("sesame")] {
            let key = keys::generate(key_type);
            let path = keys::write(dir.path().join("id"), &key, KeyFormat::Pkcs8, passphrase);
            if key_type == KeyType::Ed25519 && passphrase.is_some() {
                // Written in version 2 of the format, which OpenSSL does not read; see `encode`.
                continue;
            }
            let mut command = Command::new("openssl");
            command
                .args(["pkey", "-noout", "-passin", "pass:sesame"])
                .arg("-in")
                .arg(&path);
            let output = command.output().unwrap();
            assert!(output.status.success(), "{key_type:?}: {}", text(&output));
        }
    }
}

/// Sends a dialogue through `ssh -W` and returns what came back.
fn talk(host: &Mailhost, dialogue: &str) -> Vec<u8> {
    let mut ssh = ssh(host.home(), host.sshd().port(), host.dovecot().port());
    let output = run(&mut ssh, dialogue.as_bytes());
    assert!(
        find(&output.stdout, b"+OK Logging out"),
        "{}",
        text(&output)
    );
    output.stdout
}

/// `ssh -W localhost:TO` as somebody who has this home, whoever runs the test.
fn ssh(home: &Home, port: u16, to: u16) -> Command {
    let mut ssh = plain_ssh(home, port);
    ssh.args(["-W", &format!("localhost:{to}")])
        .stderr(Stdio::piped());
    ssh
}

/// What comes of asking for a command.
fn shell(home: &Home, port: u16) -> Output {
    plain_ssh(home, port)
        .args(["-T", "msingh@127.0.0.1", "id"])
        .output()
        .unwrap()
}

fn plain_ssh(home: &Home, port: u16) -> Command {
    let mut ssh = home.command(Path::new("ssh"));
    // OpenSSH takes the home directory from the user database, not from HOME.
    let known_hosts = format!("UserKnownHostsFile={}", home.known_hosts().display());
    ssh.args(["-F", "none", "-p", &port.to_string()])
        .arg("-i")
        .arg(home.identity());
    ssh.args(["-o", &known_hosts, "-o", "StrictHostKeyChecking=yes"]);
    ssh.args(["-o", "PreferredAuthentications=publickey,password"]);
    ssh
}

/// Adds the host, runs the command, writes to it while reading from it.
fn run(ssh: &mut Command, input: &[u8]) -> Output {
    let mut child = ssh
        .arg("msingh@127.0.0.1")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    let input = input.to_vec();
    let writer = std::thread::spawn(move || {
        stdin.write_all(&input).ok();
        // Held open until the server has hung up: `ssh -W` ends with its input.
        stdin
    });
    let output = child.wait_with_output().unwrap();
    drop(writer.join().unwrap());
    output
}

/// The multi-line answers whose status line ends like this, undone of dot-stuffing.
fn answers(said: &[u8], status: &str) -> Vec<Vec<u8>> {
    let mut answers = Vec::new();
    let mut lines = said.split_inclusive(|b| *b == b'\n').peekable();
    while let Some(line) = lines.next() {
        if !(line.starts_with(b"+OK") && line.ends_with(status.as_bytes())) {
            continue;
        }
        let mut answer = Vec::new();
        let mut start = true;
        for line in lines.by_ref() {
            if start && line == b".\r\n" {
                break;
            }
            let dotted = if start { line.strip_prefix(b".") } else { None };
            answer.extend_from_slice(dotted.unwrap_or(line));
            start = line.ends_with(b"\r\n");
        }
        answers.push(answer);
    }
    answers
}

fn find(said: &[u8], what: &[u8]) -> bool {
    said.windows(what.len()).any(|window| window == what)
}

fn text(output: &Output) -> String {
    format!(
        "{}\n{}",
        String::from_utf8_lossy(&output.stdout),
        String::from_utf8_lossy(&output.stderr)
    )
}

/// How many processes have this in their command line.
fn processes(mark: &str) -> usize {
    let entries = std::fs::read_dir("/proc").unwrap().flatten();
    let lines = entries.filter_map(|entry| std::fs::read(entry.path().join("cmdline")).ok());
    lines
        .filter(|line| find(line, OsStr::new(mark).as_encoded_bytes()))
        .count()
}

const LOGIN: &str = "USER msingh\r\nPASS mail secret #1\r\n";
