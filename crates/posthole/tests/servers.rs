//! The program against servers: what is printed, asked and returned.
//!
//! That mail arrives whole and once is the engine's affair and tested there; here it is what a
//! person and a script see of it.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::io::Read;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Command, Output, Stdio};

use expect_test::{Expect, expect};
use posthole_testkit::pop3::{Faults, Reply};
use posthole_testkit::{Terminal, World, mail};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

const BIN: &str = env!("CARGO_BIN_EXE_posthole");

/// The program, in the background of whatever terminal runs the tests: it has nobody to ask.
fn posthole(world: &World, args: &[&str]) -> Command {
    let mut command = world.posthole(Path::new(BIN));
    command.args(args).stdin(Stdio::null()).process_group(0);
    command
}

struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

impl Ended {
    fn json(&self) -> Vec<Value> {
        self.stdout
            .lines()
            .map(|line| serde_json::from_str(line).unwrap())
            .collect()
    }
}

/// Runs the program; what differs from run to run is replaced in what it prints.
fn run(world: &World, args: &[&str]) -> Ended {
    let Output {
        status,
        stdout,
        stderr,
    } = posthole(world, args).output().unwrap();
    let home = world.home().path().display().to_string();
    let port = world.ssh().port().to_string();
    let text = |output| {
        let text = String::from_utf8(output)
            .unwrap()
            .replace(&home, "~")
            .replace(&port, "PORT");
        without_times(&without_fingerprints(&text))
    };
    Ended {
        code: status.code(),
        stdout: text(stdout),
        stderr: text(stderr),
    }
}

/// `SHA256:…` with nothing behind it.
fn without_fingerprints(text: &str) -> String {
    let mut parts = text.split("SHA256:");
    let mut clean = parts.next().unwrap().to_owned();
    for part in parts {
        clean.push_str("SHA256:…");
        clean.push_str(&part[43..]);
    }
    clean
}

/// Every number that ends in `s` or `ms` becomes `#`, with the blanks before it.
fn without_times(text: &str) -> String {
    let is_time = |word: &str| {
        let number = word.strip_suffix("ms").or_else(|| word.strip_suffix('s'));
        number.is_some_and(|number| number.parse::<f64>().is_ok())
    };
    let mut clean = String::new();
    for word in text.split_inclusive([' ', '\n', ',', ')']) {
        let end = word.len() - usize::from(word.ends_with([' ', '\n', ',', ')']));
        if is_time(&word[..end]) {
            // The padding depends on the time's width.
            clean.truncate(clean.trim_end_matches(' ').len());
            clean.push_str(" #");
            clean.push_str(&word[end..]);
        } else {
            clean.push_str(word);
        }
    }
    clean
}

#[track_caller]
fn check(ended: &Ended, code: i32, stdout: Expect, stderr: Expect) {
    stdout.assert_eq(&ended.stdout);
    stderr.assert_eq(&ended.stderr);
    assert_eq!(ended.code, Some(code));
}

fn world(messages: usize) -> World {
    World::builder()
        .messages((0..messages).map(mail::tiny))
        .build()
}

#[test]
fn a_poll_is_one_line_and_no_mail_is_success() {
    let world = world(3);
    check(
        &run(&world, &["fetch"]),
        0,
        expect![[r#"
            work: 3 new (351 B), 0 deleted, 3 left, #
        "#]],
        expect![[r#""#]],
    );
    check(
        &run(&world, &["fetch", "--no-keep"]),
        0,
        expect![[r#"
            work: 0 new, 3 deleted, 0 left, #
        "#]],
        expect![[r#""#]],
    );
    check(
        &run(&world, &["fetch", "work"]),
        0,
        expect![[r#"
            work: 0 new, 0 deleted, 0 left, #
        "#]],
        expect![[r#""#]],
    );
    world.assert_delivered((0..3).map(mail::tiny));
}

#[test]
fn the_one_liner_needs_no_configuration() {
    let world = world(2);
    std::fs::remove_file(world.home().config()).unwrap();
    let url = world.url();
    let via = world.via();
    let password = world.home().password_file();
    let args = [
        "fetch",
        &url,
        "--via",
        &via,
        "--to",
        "maildir:~/Mail",
        "--password-file",
    ];
    let args = [&args[..], &[password.to_str().unwrap()]].concat();
    check(
        &run(&world, &args),
        0,
        expect![[r#"
        msingh@localhost:110: 2 new (234 B), 0 deleted, 2 left, #
    "#]],
        expect![[r#""#]],
    );
    world.assert_delivered((0..2).map(mail::tiny));
}

#[test]
fn a_poll_in_json_has_the_fields_of_the_manual() {
    let world = world(2);
    let ended = run(&world, &["fetch", "--json"]);
    let [object] = &ended.json()[..] else {
        panic!("{}", ended.stdout)
    };
    assert_eq!(object["account"], "work");
    assert_eq!(
        (&object["ok"], &object["new"]),
        (&Value::from(true), &Value::from(2))
    );
    assert_eq!(
        (&object["deleted"], &object["left"]),
        (&Value::from(0), &Value::from(2))
    );
    assert_eq!(
        (&object["error"], &object["exit_code"]),
        (&Value::Null, &Value::from(0))
    );
    assert!(object["bytes"].is_u64() && object["seconds"].is_f64());
    assert_eq!(run(&world, &["fetch", "--json", "-q"]).stdout, "");
}

#[test]
fn a_dry_run_lists_messages_and_changes_nothing() {
    let world = world(2);
    let ended = run(&world, &["fetch", "--dry-run", "--no-keep"]);
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
    assert!(
        ended.stdout.starts_with("work: would fetch 2 ("),
        "{}",
        ended.stdout
    );
    assert_eq!(
        ended.stdout.matches("\n  fetch   ").count(),
        2,
        "{}",
        ended.stdout
    );
    assert_eq!(
        ended.stdout.matches("\n  delete  ").count(),
        2,
        "{}",
        ended.stdout
    );
    let json = run(&world, &["fetch", "-n", "-K", "--json"]).json();
    assert_eq!(json[0]["fetch"].as_array().unwrap().len(), 2);
    assert_eq!(world.maildrop().len(), 2);
    assert_eq!(world.delivered(), Vec::<Vec<u8>>::new());
}

#[test]
fn a_failed_message_is_named_and_the_rest_arrives() {
    let faults = Faults::new().on("RETR 2", Reply::send("-ERR message is corrupt\r\n"));
    let world = World::builder()
        .messages((0..3).map(mail::tiny))
        .faults(faults)
        .build();
    let ended = run(&world, &["fetch"]);
    assert!(
        ended.stdout.starts_with("work: 2 new ("),
        "{}",
        ended.stdout
    );
    assert!(ended.stdout.contains(", 1 failed, "), "{}", ended.stdout);
    assert!(
        ended.stderr.starts_with("posthole: work: message "),
        "{}",
        ended.stderr
    );
    assert!(
        ended.stderr.contains("message is corrupt"),
        "{}",
        ended.stderr
    );
    assert_eq!(ended.code, Some(75));
}

#[test]
fn a_refused_login_says_so_and_the_password_never_shows() {
    let world = world(1);
    world.home().write_password("wr0ng");
    let ended = run(&world, &["-vv", "fetch"]);
    assert_eq!(ended.code, Some(77));
    assert!(ended.stderr.contains("C: PASS ****"), "{}", ended.stderr);
    assert!(!ended.stderr.contains("wr0ng"), "{}", ended.stderr);
    check(
        &run(&world, &["fetch"]),
        77,
        expect![[r#""#]],
        expect![[r#"
            posthole: work: the mail server refused the login: [AUTH] authentication failed
              hint: check the user name and the password's source
        "#]],
    );
    let json = run(&world, &["fetch", "--json"]).json();
    assert_eq!(json[0]["error"]["class"], "authentication");
}

/// Clears the screen, sets the title, starts a C1 sequence, turns the writing round, ends the line.
const HOSTILE: &str = "\x1b[2J\x1b]0;owned\x07\u{9b}31m\u{202e}\rposthole: work: all is well";

#[test]
fn a_hostile_server_cannot_paint_on_the_screen() {
    let faults = Faults::new()
        .on("GREETING", Reply::send(format!("+OK {HOSTILE}\r\n")))
        .on("RETR 2", Reply::send(format!("-ERR {HOSTILE}\r\n")))
        .on("DELE 1", Reply::send(format!("-ERR {HOSTILE}\r\n")));
    let world = World::builder().faults(faults).build();
    for (n, uid) in [HOSTILE, "b\x1b[31m", "c"].into_iter().enumerate() {
        world.maildrop().add_with_uid(uid, mail::tiny(n));
    }
    let refused = Faults::new().on("PASS", Reply::send(format!("-ERR {HOSTILE}\r\n")));
    let calm = |text: &str| {
        let is_wild = |c: char| c != '\n' && (c.is_control() || c == '\u{202e}');
        assert!(!text.contains(is_wild), "{text:?}");
        let claims = |line: &str| line.starts_with("posthole: work: all is well");
        assert!(!text.lines().any(claims), "{text}");
    };
    let runs = [
        &["fetch", "-n"][..],
        &["fetch", "-n", "--json"],
        &["check"],
        &["check", "--json"],
        &["fetch", "-vv", "-K"],
        &["fetch", "--json"],
    ];
    for args in runs {
        let ended = run(&world, args);
        calm(&ended.stdout);
        calm(&ended.stderr);
        let text = ended.stdout + &ended.stderr;
        assert!(
            text.contains("owned") || text.contains("\\u{1b}"),
            "{args:?}: {text}"
        );
    }
    world.pop3().set_faults(refused);
    for args in [
        &["fetch"][..],
        &["check"],
        &["fetch", "--json"],
        &["fetch", "-vv"],
    ] {
        let ended = run(&world, args);
        assert_eq!(ended.code, Some(77), "{args:?}: {}", ended.stderr);
        calm(&ended.stdout);
        calm(&ended.stderr);
        assert!((ended.stdout + &ended.stderr).contains("owned"), "{args:?}");
    }
}

#[test]
fn the_worst_account_decides_and_the_others_are_polled() {
    let world = world(1);
    let port = world.pop3().port();
    let mut config = std::fs::read_to_string(world.home().config()).unwrap();
    config.push_str(&format!(
        "[account.away]\n\
         server = \"pop3://msingh@127.0.0.1:1\"\n\
         password = {{ file = \"~/mail-password\" }}\n\
         deliver = \"maildir:~/Away\"\n\
         [account.wrong]\n\
         server = \"pop3://msingh@127.0.0.1:{port}\"\n\
         password = {{ command = \"echo wrong\" }}\n\
         deliver = \"maildir:~/Wrong\"\n"
    ));
    world.home().write_config(&config);
    let ended = run(&world, &["fetch"]);
    assert!(ended.stdout.starts_with("work: 1 new"), "{}", ended.stdout);
    assert_eq!(
        ended.stderr.matches("posthole: ").count(),
        2,
        "{}",
        ended.stderr
    );
    assert_eq!(ended.code, Some(77));
}

#[test]
fn a_check_walks_every_step() {
    let world = world(3);
    check(
        &run(&world, &["check"]),
        0,
        expect![[r#"
              config       ok #  ~/.config/posthole/config.toml
            work
              name         ok #  127.0.0.1 is an address
              tcp          ok #  connected to 127.0.0.1:PORT
              host key     ok #  [127.0.0.1]:PORT ssh-ed25519 SHA256:…, recorded in ~/.ssh/known_hosts:1
              ssh login    ok #  msingh@127.0.0.1 by publickey ED25519 SHA256:… from ~/.ssh/id_ed25519
              channel      ok #  open to localhost:110
              greeting     ok #  posthole test server ready
              capabilities ok #  TOP, UIDL, USER, RESP-CODES, AUTH-RESP-CODE, PIPELINING, EXPIRE NEVER, IMPLEMENTATION posthole-testkit
              login        ok #  accepted by USER/PASS, password: the file ~/mail-password
              mailbox      ok #  3 messages, 369 B
              destination  ok #  maildir:~/Mail can take mail
        "#]],
        expect![[r#""#]],
    );
    let steps = run(&world, &["check", "--json"]).json();
    let names: Vec<_> = steps
        .iter()
        .map(|step| step["step"].as_str().unwrap())
        .collect();
    assert_eq!(
        names,
        [
            "config",
            "name",
            "tcp",
            "host key",
            "ssh login",
            "channel",
            "greeting",
            "capabilities",
            "login",
            "mailbox",
            "destination"
        ]
    );
    assert!(!world.maildir().exists());
    assert_eq!(world.maildrop().len(), 3);
}

#[test]
fn a_check_ends_at_the_first_step_that_fails() {
    let world = world(0);
    let failing = |args: &[&str]| {
        let ended = run(&world, &[&["check", "--json"], args].concat());
        let last = ended.json().pop().unwrap();
        assert_eq!(last["ok"], false, "{args:?}");
        (last["step"].as_str().unwrap().to_owned(), ended.code)
    };
    let via = world.via();
    let address = via.split_once('@').unwrap().1;
    let table: [(&[&str], &str, i32); 6] = [
        (&["--via", "msingh@127.0.0.1:1"], "tcp", 75),
        (&["--via", "msingh@host.invalid"], "name", 75),
        (&["--known-hosts", "/dev/null"], "host key", 68),
        (&["--via", &format!("otto@{address}")], "ssh login", 77),
        (&["--password-command", "echo wrong"], "login", 77),
        (&["--password-command", "exit 3"], "password", 77),
    ];
    for (args, step, code) in table {
        assert_eq!(failing(args), (step.to_owned(), Some(code)), "{args:?}");
    }
    let url = "pop3://msingh@localhost:111";
    let elsewhere = [url, "--via", &via, "--to", "maildir:~/Mail"];
    assert_eq!(failing(&elsewhere), ("channel".to_owned(), Some(69)));
}

#[test]
fn an_unknown_host_key_is_an_error_that_says_what_to_run() {
    let world = World::builder().without_known_host().build();
    check(
        &run(&world, &["fetch"]),
        68,
        expect![[r#""#]],
        expect![[r#"
            posthole: work: the host key of [127.0.0.1]:PORT is not known: ssh-ed25519 SHA256:…
              hint: compare the fingerprint with the host's own, then run: posthole trust 127.0.0.1:PORT
        "#]],
    );
}

#[test]
fn trust_records_a_key_by_its_fingerprint_and_only_once() {
    let world = World::builder().without_known_host().build();
    let via = world.via();
    check(
        &run(&world, &["trust", &via]),
        68,
        expect![[r#""#]],
        expect![[r#"
            posthole: the host key of [127.0.0.1]:PORT is not known: ssh-ed25519 SHA256:…; there is no terminal to ask on
              hint: once you have compared it: posthole trust msingh@127.0.0.1:PORT --fingerprint SHA256:…
        "#]],
    );
    let elsewhere = ["trust", &via, "--known-hosts", "known hosts"];
    let ended = run(&world, &elsewhere);
    let command = "posthole trust --known-hosts 'known hosts' msingh@127.0.0.1:PORT --fingerprint";
    assert!(ended.stderr.contains(command), "{}", ended.stderr);

    let wrong = "SHA256:uNiVztksCsDhcc0u9e8BrQJTdXVU5+cLCWGdxYu4PPw";
    let ended = run(&world, &["trust", &via, "--fingerprint", wrong]);
    assert_eq!((ended.code, &*ended.stdout), (Some(68), ""));
    assert!(!world.home().known_hosts().exists());

    let fingerprint = posthole_testkit::keys::fingerprint(&world.ssh().host_key());
    let trust = ["trust", &via, "--fingerprint", &fingerprint];
    check(
        &run(&world, &trust),
        0,
        expect![[r#"
        [127.0.0.1]:PORT: ssh-ed25519 SHA256:… is trusted now, recorded in ~/.ssh/known_hosts
    "#]],
        expect![[r#""#]],
    );
    let mut known = run(&world, &["trust", &via]);
    let (said, picture) = known.stdout.split_once('\n').unwrap();
    assert!(picture.starts_with("+--[ED25519 256]--+\n"), "{picture}");
    known.stdout = format!("{said}\n");
    check(
        &known,
        0,
        expect![[r#"
            [127.0.0.1]:PORT: ssh-ed25519 SHA256:… is trusted already, by ~/.ssh/known_hosts:1
        "#]],
        expect![[r#""#]],
    );
    let quiet = run(&world, &["trust", &via, "--json", "-q"]);
    assert_eq!((quiet.code, &*quiet.stdout), (Some(0), ""));
    assert_eq!(run(&world, &trust).code, Some(0));
    assert_eq!(
        run(&world, &["trust", &via, "--fingerprint", wrong]).code,
        Some(68)
    );
    assert_eq!(run(&world, &["fetch", "-q"]).code, Some(0));
}

#[test]
fn trust_takes_a_section_of_the_configuration() {
    let world = World::builder().without_known_host().build();
    let mut config = std::fs::read_to_string(world.home().config()).unwrap();
    config.push_str(&format!(
        "[ssh.popserver]\nhostname = \"127.0.0.1\"\nport = {}\n",
        world.ssh().port()
    ));
    world.home().write_config(&config);
    let fingerprint = posthole_testkit::keys::fingerprint(&world.ssh().host_key());
    let ended = run(
        &world,
        &[
            "trust",
            "popserver",
            "--fingerprint",
            &fingerprint,
            "--json",
        ],
    );
    assert_eq!(ended.json()[0]["status"], "added");
    assert_eq!(ended.json()[0]["host"], "[127.0.0.1]:PORT");
}

#[test]
fn a_changed_host_key_is_refused_and_never_replaced() {
    let world = world(0);
    let another = posthole_testkit::keys::generate(posthole_testkit::keys::KeyType::Ed25519);
    world.ssh().set_host_keys(vec![another]);
    let before = std::fs::read(world.home().known_hosts()).unwrap();
    check(
        &run(&world, &["trust", &world.via()]),
        68,
        expect![[r#""#]],
        expect![[r#"
            posthole: the host key of [127.0.0.1]:PORT has changed: it is ssh-ed25519 SHA256:… now, but ~/.ssh/known_hosts:1 records ssh-ed25519 SHA256:…
              hint: somebody may be listening in. Ask the host's administrator; only if the key was really changed, remove the old one with `ssh-keygen -R '[127.0.0.1]:PORT' -f ~/.ssh/known_hosts`
        "#]],
    );
    assert_eq!(run(&world, &["fetch"]).code, Some(68));
    assert_eq!(std::fs::read(world.home().known_hosts()).unwrap(), before);
}

#[test]
fn a_signal_ends_the_run_and_the_process_by_that_signal() {
    let faults = Faults::new().on("STAT", Reply::silence());
    let world = World::builder().faults(faults).build();
    for signal in [Signal::INT, Signal::TERM] {
        let mut child = posthole(&world, &["-vv", "fetch"])
            .stdout(Stdio::piped())
            .stderr(Stdio::piped())
            .spawn()
            .unwrap();
        let mut stderr = child.stderr.take().unwrap();
        read_until(&mut stderr, "C: STAT");
        kill_process(Pid::from_child(&child), signal).unwrap();
        let status = child.wait().unwrap();
        assert_eq!(status.signal(), Some(signal.as_raw()));
    }
}

#[test]
fn a_second_signal_ends_the_run_at_once() {
    let faults = Faults::new().on("RETR 1", Reply::silence());
    let world = World::builder()
        .messages([mail::tiny(1)])
        .faults(faults)
        .build();
    let mut child = posthole(&world, &["-vv", "fetch"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = child.stderr.take().unwrap();
    read_until(&mut stderr, "C: RETR 1");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    read_until(&mut stderr, "stopping after what is in hand");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    assert_eq!(child.wait().unwrap().signal(), Some(Signal::INT.as_raw()));
}

#[test]
fn a_check_that_is_stopped_names_the_accounts_it_did_not_come_to() {
    let faults = Faults::new().on("STAT", Reply::silence());
    let world = World::builder().faults(faults).build();
    let via = world.via();
    let url = "pop3://otto@localhost";
    let args = ["check", "--jobs", "1", "--json", "-vv", "work", url];
    let mut child = posthole(&world, &args)
        .args(["--via", &via, "--to", "maildir:~/Other"])
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut stderr = child.stderr.take().unwrap();
    read_until(&mut stderr, "C: STAT");
    kill_process(Pid::from_child(&child), Signal::INT).unwrap();
    let ended = child.wait_with_output().unwrap();
    let stdout = String::from_utf8(ended.stdout).unwrap();
    let last: Value = serde_json::from_str(stdout.lines().last().unwrap()).unwrap();
    assert_eq!(last["account"], "otto@localhost");
    assert_eq!(last["error"]["message"], "stopped before its turn came");
    assert_eq!(ended.status.signal(), Some(Signal::INT.as_raw()));
}

/// Reads up to a text.
fn read_until(from: &mut impl Read, text: &str) -> String {
    let mut read = Vec::new();
    let mut octet = [0];
    while !read.ends_with(text.as_bytes()) {
        match from.read(&mut octet) {
            Ok(1) => read.push(octet[0]),
            _ => panic!(
                "there is no {text:?} in {:?}",
                String::from_utf8_lossy(&read)
            ),
        }
    }
    String::from_utf8(read).unwrap()
}

/// The program in the foreground of a terminal of its own.
fn at_a_terminal(world: &World, args: &[&str]) -> Terminal {
    let mut command = world.posthole(Path::new(BIN));
    command.args(args);
    Terminal::start(command)
}

#[test]
fn a_terminal_is_asked_for_the_host_key_and_the_passwords() {
    let world = World::builder()
        .messages([mail::tiny(1)])
        .without_known_host()
        .build();
    std::fs::remove_file(world.home().identity()).unwrap();
    let (url, via) = (world.url(), world.via());
    let args = ["fetch", &url, "--via", &via, "--to", "maildir:~/Mail"];
    let mut person = at_a_terminal(&world, &args);
    person.expect("Type yes, no or the fingerprint you expect: ");
    person.type_line("y");
    person.expect("Type yes, no or the fingerprint you expect: ");
    person.type_line("yes");
    person.expect(&format!("SSH password for {via}: "));
    person.type_line("not it");
    person.expect(&format!("That was refused. SSH password for {via}: "));
    person.type_line(World::SSH_PASSWORD);
    person.expect("Mail password for msingh@localhost: ");
    person.type_line(World::MAIL_PASSWORD);
    let (status, screen) = person.end();
    assert!(screen.contains(": 1 new"), "{screen}");
    for secret in [World::SSH_PASSWORD, World::MAIL_PASSWORD, "not it"] {
        assert!(!screen.contains(secret), "{screen}");
    }
    assert!(status.success());
    assert!(world.home().known_hosts().exists());
}

#[test]
fn a_key_that_is_declined_is_not_recorded() {
    let world = World::builder().without_known_host().build();
    let mut person = at_a_terminal(&world, &["trust", &world.via()]);
    person.expect("Type yes, no or the fingerprint you expect: ");
    person.type_line("no");
    let (status, screen) = person.end();
    assert!(
        screen.contains("was not accepted, and nothing was recorded"),
        "{screen}"
    );
    assert_eq!(status.code(), Some(68));
    assert!(!world.home().known_hosts().exists());
}

#[test]
fn an_interrupt_at_a_host_key_records_nothing_and_gives_no_advice() {
    let world = World::builder().without_known_host().build();
    let mut person = at_a_terminal(&world, &["trust", &world.via()]);
    person.expect("Type yes, no or the fingerprint you expect: ");
    person.press("\x03");
    let (status, screen) = person.end();
    assert_eq!(status.signal(), Some(Signal::INT.as_raw()));
    assert!(!screen.contains("hint:"), "{screen}");
    assert!(!world.home().known_hosts().exists());
}

#[test]
fn an_interrupt_at_a_question_ends_the_run() {
    let world = world(1);
    let mut person = at_a_terminal(&world, &["fetch", "--password-prompt"]);
    person.expect("Mail password for msingh@localhost (work): ");
    person.press("\x03");
    let (status, _) = person.end();
    assert_eq!(status.signal(), Some(Signal::INT.as_raw()));
}
