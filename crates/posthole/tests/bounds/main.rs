//! Whatever comes without end, from servers, programs and files: the program says what is wrong, or
//! takes it, and stays small.
//!
//! What memory a process has used at its peak is what the kernel says. What an SSH server can do is
//! in `hostile`.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs::{self, File};
use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::net::UnixStream;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use posthole_testkit::mail::{self, Big};
use posthole_testkit::pop3::{Faults, Maildrop, Reply};
use posthole_testkit::smtp::{self, SmtpServer};
use posthole_testkit::{Home, World};

/// More than any limit on what is kept of one thing, and enough to be seen in what a process uses.
const MUCH: usize = 12 << 20;
const PEAK_MIB: i64 = 64;

fn much(of: &str) -> String {
    much_after("", of)
}

/// Made in one piece: what this process has in memory is counted.
fn much_after(head: &str, of: &str) -> String {
    let mut text = String::with_capacity(head.len() + MUCH + 16);
    text += head;
    while text.len() + of.len() <= MUCH {
        text += of;
    }
    text
}

/// Runs a poll; what it said.
#[expect(clippy::print_stderr, reason = "the figure is for whoever looks")]
#[track_caller]
fn fetch(world: &World, code: i32) -> String {
    let output = command(world, "fetch").output().unwrap();
    let said = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(code), "{said}");
    let is_clean = |c: char| c == '\n' || !c.is_control();
    assert!(said.chars().all(is_clean) && said.len() < 4_000, "{said}");
    // What its own children had is in it, and what this process had when it was started: the one
    // shares the memory of the other until it executes the program.
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
    let peak = usage.max_rss() / 1024;
    eprintln!("{peak} MiB");
    assert!(peak < PEAK_MIB, "{peak} MiB: {said}");
    said
}

fn command(world: &World, what: &str) -> Command {
    let mut command = world.posthole(Path::new(BIN));
    command.arg(what).stdin(Stdio::null()).process_group(0);
    command
}

#[track_caller]
fn refused(faults: Faults, code: i32, why: &str) {
    let world = World::builder().faults(faults);
    let world = world.messages(mail::small(1)).build();
    let said = fetch(&world, code);
    assert!(said.contains(why), "{why:?} is not in {said}");
    assert!(world.delivered().is_empty());
}

fn configure(home: &Home, change: impl FnOnce(String) -> String) {
    let before = fs::read_to_string(home.config()).unwrap();
    home.write_config(&change(before));
}

fn deliver_to(world: &World, destination: &str) {
    configure(world.home(), |text| {
        text.replace("\"maildir:~/Mail\"", destination)
    });
}

#[test]
fn a_greeting_without_end() {
    refused(
        Faults::new().on("greeting", Reply::send(much("+OK all hail "))),
        76,
        "in the reply to the connection",
    );
}

#[test]
fn a_status_line_without_end() {
    refused(
        Faults::new().on("STAT", Reply::send(much("+OK 1 1 "))),
        76,
        "STAT",
    );
}

#[test]
fn capabilities_without_end() {
    let many = much_after("+OK\r\n", "X-AND-ANOTHER\r\n");
    refused(
        Faults::new().on("CAPA", Reply::send(many)),
        76,
        "capabilities",
    );
}

#[test]
fn one_capability_without_end() {
    let long = much_after("+OK\r\n", "SASL PLAIN ");
    refused(Faults::new().on("CAPA", Reply::send(long)), 76, "CAPA");
}

#[test]
fn a_line_of_a_listing_without_end() {
    let list = much_after("+OK\r\n1 ", "1 ");
    refused(Faults::new().on("LIST", Reply::send(list)), 76, "LIST");
}

#[test]
fn a_unique_id_without_end() {
    let long = much_after("+OK\r\n1 ", "abcdefgh");
    refused(Faults::new().on("UIDL", Reply::send(long)), 76, "UIDL");
}

#[test]
fn a_challenge_without_end() {
    let world = World::builder()
        .messages(mail::small(1))
        .pop3(|builder| builder.sasl(["SCRAM-SHA-256"]))
        .faults(Faults::new().on("AUTH", Reply::send(much_after("+ ", "AAAA"))))
        .build();
    let said = fetch(&world, 76);
    assert!(said.contains("AUTH"), "{said}");
}

/// Such a message is one all the same.
#[test]
fn lines_of_a_message_without_end() {
    for head in ["Subject: ", "Subject: x\r\n\r\n"] {
        let text = much_after(head, "very long ") + "\r\n";
        let world = World::builder().messages([text.as_bytes()]).build();
        fetch(&world, 0);
        world.assert_delivered([&text]);
    }
}

#[test]
fn a_reply_of_smtp_without_end() {
    refused_by_smtp(&much_after("250-", "hello "));
}

#[test]
fn lines_of_a_reply_of_smtp_without_end() {
    refused_by_smtp(&much("250-EXT\r\n"));
}

fn refused_by_smtp(reply: &str) {
    let server = SmtpServer::builder()
        .on("EHLO", smtp::Reply::send(reply))
        .start();
    let world = World::builder().messages(mail::small(1)).build();
    deliver_to(&world, &format!("\"smtp:127.0.0.1:{}\"", server.port()));
    let said = fetch(&world, 76);
    assert!(said.contains("127.0.0.1"), "{said}");
    assert_eq!(server.messages().len(), 0);
}

#[test]
fn complaints_without_end() {
    let world = World::builder().messages(mail::small(1)).build();
    let complain = format!("yes complaint | head -c {MUCH} >&2; exit 75");
    deliver_to(&world, &format!("\"mda:/bin/sh -c '{complain}'\""));
    let said = fetch(&world, 75);
    assert!(said.contains("complaint"), "{said}");

    let world = World::builder().messages(mail::small(1)).build();
    configure(world.home(), |text| {
        format!("{text}filter = [\"/bin/sh\", \"-c\", \"{complain}\"]\n")
    });
    let said = fetch(&world, 75);
    assert!(said.contains("complaint"), "{said}");
}

#[test]
fn a_password_without_end() {
    for (answer, why) in [
        (format!("yes | head -c {MUCH} | tr -d '\\\\n'"), "password"),
        (
            format!("yes complaint | head -c {MUCH} >&2; false"),
            "complaint",
        ),
    ] {
        let world = World::builder().messages(mail::small(1)).build();
        configure(world.home(), |text| {
            text.replace(
                "{ file = \"~/mail-password\" }",
                &format!("{{ command = \"{answer}\" }}"),
            )
        });
        let said = fetch(&world, 77);
        assert!(said.contains(why), "{said}");
    }
}

/// A message that is larger than the memory that is allowed.
#[track_caller]
fn is_taken(destination: &str) {
    let maildrop = Maildrop::of([Big::new(1, 96 << 20)]);
    let world = World::builder().maildrop(&maildrop).build();
    deliver_to(&world, destination);
    fetch(&world, 0);
}

#[test]
fn a_message_larger_than_the_memory_for_a_maildir() {
    is_taken("\"maildir:~/Mail\"");
}

#[test]
fn a_message_larger_than_the_memory_for_an_mbox() {
    is_taken("\"mbox:~/mbox\"");
}

#[test]
fn a_message_larger_than_the_memory_for_a_command() {
    is_taken("\"mda:sh -c 'cat > ~/taken'\"");
}

#[test]
fn a_message_larger_than_the_memory_for_servers() {
    // Without a limit on the size. They remember what they get, so there is one run.
    let lmtp = SmtpServer::builder().lmtp().extensions(&["PIPELINING"]);
    let smtp = SmtpServer::builder().extensions(&["PIPELINING"]);
    let (lmtp, smtp) = (lmtp.start(), smtp.start());
    let (to_lmtp, to_smtp) = (lmtp.port(), smtp.port());
    is_taken(&format!(
        "[\"lmtp:127.0.0.1:{to_lmtp}\", \"smtp:127.0.0.1:{to_smtp}\"]"
    ));
    assert_eq!((lmtp.messages().len(), smtp.messages().len()), (1, 1));
}

/// A daemon, which is ended when this is dropped.
struct Daemon(Child);

impl Drop for Daemon {
    fn drop(&mut self) {
        // It has ended, or it is no good.
        self.0.kill().ok();
        self.0.wait().ok();
    }
}

#[cfg(target_os = "linux")]
#[test]
fn a_request_to_the_daemon_without_end() {
    let world = World::builder().build();
    let log = File::create(world.home().path().join("log")).unwrap();
    let mut daemon = command(&world, "daemon");
    let daemon = daemon.stdout(Stdio::null()).stderr(log).spawn().unwrap();
    let daemon = Daemon(daemon);
    let socket = world.home().state_dir().join("control");
    let deadline = Instant::now() + Duration::from_secs(60);
    let mut connection = loop {
        if let Ok(connection) = UnixStream::connect(&socket) {
            break connection;
        }
        assert!(Instant::now() < deadline, "the daemon does not answer");
        std::thread::sleep(Duration::from_millis(10));
    };
    // It hangs up once it has heard enough.
    let sent = connection.write_all(much("{\"").as_bytes());
    assert!(sent.is_err());
    let mut answer = String::new();
    connection.read_to_string(&mut answer).ok();
    assert!(command(&world, "status").output().unwrap().status.success());
    let status = File::open(format!("/proc/{}/status", daemon.0.id())).unwrap();
    let peak = BufReader::new(status)
        .lines()
        .map_while(Result::ok)
        .find_map(|line| {
            let kib = line.strip_prefix("VmHWM:")?.trim().trim_end_matches(" kB");
            kib.parse::<i64>().ok()
        });
    let peak = peak.unwrap() / 1024;
    assert!(peak < PEAK_MIB, "{peak} MiB");
}

const BIN: &str = env!("CARGO_BIN_EXE_posthole");
