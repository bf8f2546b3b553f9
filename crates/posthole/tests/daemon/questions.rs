//! What is asked, by whom and when.

use std::path::Path;

use posthole_testkit::pop3::{Faults, Reply};
use posthole_testkit::{Terminal, World, mail};

use crate::world::{BIN, Daemon, InBackground, configure, ok, run, wait_until};

const PASSPHRASE: &str = "open the door";

fn locked_world() -> World {
    let world = World::builder()
        .messages(mail::small(1))
        .passphrase(PASSPHRASE)
        .build();
    configure(&world, |text| {
        text.replace("{ file = \"~/mail-password\" }", "\"prompt\"")
    });
    world
}

pub(crate) fn terminal(world: &World, args: &[&str]) -> Terminal {
    let mut command = world.posthole(Path::new(BIN));
    command.args(args).env("TERM", "xterm");
    Terminal::start(command)
}

#[test]
fn unlock_gives_what_is_waited_for_and_wrong_answers_are_asked_again() {
    let world = locked_world();
    let daemon = Daemon::start(&world, &[]);
    daemon.wait_for("it waits", |a| a["state"] == "stuck");
    // The passphrase, or else the password for SSH.
    assert_eq!(daemon.status().unwrap()["daemon"]["questions"], 2);
    let hint = daemon.account()["error"]["hint"].to_string();
    assert!(hint.contains("posthole unlock"), "{hint}");
    assert_eq!(
        run(&world, &["unlock"]).code,
        Some(77),
        "nobody is there to ask"
    );

    let mut unlock = terminal(&world, &["unlock"]);
    unlock.expect("Passphrase for the key");
    unlock.type_line("wrong");
    unlock.expect("That is not the passphrase.");
    unlock.type_line(PASSPHRASE);
    unlock.expect("Mail password for msingh@localhost (work): ");
    unlock.type_line("wrong as well");
    unlock.expect("Mail password for msingh@localhost (work): ");
    unlock.type_line(World::MAIL_PASSWORD);
    let (status, screen) = unlock.end();
    assert!(status.success() && screen.contains("4 given"), "{screen}");
    daemon.wait_for("it works", |a| a["fetched"] == 1);
    assert_eq!(world.pop3().count("PASS"), 2);
    // Nothing of it is in the log, and it is kept.
    let log = daemon.log();
    assert!(
        !log.contains(PASSPHRASE) && !log.contains(World::MAIL_PASSWORD),
        "{log}"
    );
    ok(&world, &["wake", "work"]);
    daemon.wait_for("it still works", |a| {
        a["polls"].as_u64() >= Some(5) && a["failures"] == 0
    });
    assert_eq!(ok(&world, &["unlock"]), "nothing is waited for\n");
}

#[test]
fn nobody_waits_for_downloads_to_be_asked() {
    let stalled = Faults::new().on("RETR", Reply::send("+OK\r\n").stall());
    let world = World::builder()
        .messages(mail::small(1))
        .faults(stalled)
        .build();
    configure(&world, |text| {
        let second = text.replace("work", "home").replace("~/Mail", "~/Home");
        let second = second.replace(":110", ":111");
        format!("{text}\n{second}\n[daemon]\njobs = 1\nstop-timeout = \"1s\"\n")
    });
    let daemon = Daemon::start(&world, &[]);
    wait_until("one is fetched, and one waits for its turn", || {
        let accounts = daemon.status().unwrap()["accounts"].clone();
        world.pop3().count("RETR") == 1
            && accounts[0]["state"] == "polling"
            && accounts[1]["state"] == "queued"
    });
    assert_eq!(ok(&world, &["unlock"]), "nothing is waited for\n");
}

#[test]
fn a_daemon_that_is_started_at_a_terminal_asks_there() {
    let world = locked_world();
    let mut screen = terminal(&world, &["daemon"]);
    screen.expect("Passphrase for the key");
    screen.type_line(PASSPHRASE);
    screen.expect("Mail password for msingh@localhost (work): ");
    screen.type_line(World::MAIL_PASSWORD);
    screen.expect("info work: 1 new");
    screen.press("\x03");
    let (status, text) = screen.end();
    assert_eq!(status.code(), Some(0), "{text}");
    assert!(!text.contains(PASSPHRASE), "{text}");
}

#[test]
fn the_process_that_stays_is_told_what_was_asked() {
    let world = locked_world();
    let _ended = InBackground(&world);
    let mut screen = terminal(&world, &["daemon", "--detach", "--logfile", "log"]);
    screen.expect("Passphrase for the key");
    screen.type_line(PASSPHRASE);
    screen.expect("Mail password for msingh@localhost (work): ");
    screen.type_line(World::MAIL_PASSWORD);
    screen.expect("posthole: the daemon runs as process ");
    let (status, text) = screen.end();
    assert!(status.success(), "{text}");
    wait_until("mail has come", || world.delivered().len() == 1);
    ok(&world, &["stop"]);
}

#[test]
fn without_an_agent_the_log_says_how_to_name_one() {
    let world = World::builder().passphrase(PASSPHRASE).build();
    let daemon = Daemon::start(&world, &["--no-ask"]);
    daemon.wait_for("it waits", |a| a["state"] == "stuck");
    daemon.wait_for_log("SSH_AUTH_SOCK is not set");
    assert!(
        daemon.log().contains("import-environment"),
        "{}",
        daemon.log()
    );
}
