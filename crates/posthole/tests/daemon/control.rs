//! Talking to it.

use std::io::{BufRead, BufReader, Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixStream;
use std::path::PathBuf;
use std::sync::{Arc, OnceLock};

use posthole_testkit::pop3::{Faults, Reply};
use posthole_testkit::{World, mail};

use crate::world::{Daemon, configure, ok, run, status, wait_until};

#[test]
fn mail_is_fetched_over_one_connection_whenever_it_is_woken() {
    let messages = mail::small(5);
    let world = World::builder().messages(messages[..2].to_vec()).build();
    let daemon = Daemon::start(&world, &[]);
    daemon.wait_for("the first poll is over", |a| a["fetched"] == 2);
    for n in 3..=5 {
        world.maildrop().add(&messages[n - 1][..]);
        assert_eq!(ok(&world, &["wake", "work"]), "polling work\n");
        daemon.wait_for("the next has come", |a| a["fetched"] == n);
    }
    world.assert_delivered(&messages);
    assert_eq!(world.ssh().connections(), 1);
    let account = daemon.account();
    assert_eq!(account["failures"], 0);
    assert!(account["last_success"].is_u64() && account["next_poll"].is_u64());
    let text = ok(&world, &["status"]);
    assert!(
        text.contains("daemon: running for") && text.contains("work"),
        "{text}"
    );

    assert_eq!(ok(&world, &["stop"]), "stopped\n");
    let (code, log) = daemon.end();
    assert_eq!(code.code(), Some(0), "{log}");
    assert!(log.contains(" info work: 2 new ("), "{log}");
    // What became of the account is known without it.
    assert_eq!(status(&world)["accounts"][0]["fetched"], 5);
    assert!(ok(&world, &["status"]).starts_with("no daemon is running"));
    for command in ["wake", "pause", "resume", "reload", "unlock", "stop"] {
        let ended = run(&world, &[command]);
        assert_eq!(ended.code, Some(69), "{command}: {}", ended.stderr);
        assert!(
            ended.stderr.contains("no daemon is running"),
            "{}",
            ended.stderr
        );
    }
}

#[test]
fn fetch_leaves_word_for_status() {
    let world = World::builder().messages(mail::small(1)).build();
    ok(&world, &["fetch"]);
    world.home().write_password("wrong");
    assert_eq!(run(&world, &["fetch"]).code, Some(77));
    let account = &status(&world)["accounts"][0];
    assert_eq!(
        (&account["fetched"], &account["failures"]),
        (&1.into(), &1.into())
    );
    assert_eq!(account["error"]["class"], "authentication");
}

#[test]
fn a_second_daemon_is_told_about_the_first() {
    let world = World::builder().build();
    let daemon = Daemon::start(&world, &[]);
    let pid = daemon.status().unwrap()["daemon"]["pid"].to_string();
    let second = run(&world, &["daemon"]);
    assert_eq!(second.code, Some(75));
    let told = format!("already running (process {pid})");
    assert!(second.stderr.contains(&told), "{}", second.stderr);
}

#[test]
fn a_pause_ends_by_resume_and_that_of_the_network_by_wake() {
    let messages = mail::small(3);
    let world = World::builder().messages(messages[..1].to_vec()).build();
    let daemon = Daemon::start(&world, &[]);
    daemon.wait_for("the first poll is over", |a| a["fetched"] == 1);
    ok(&world, &["pause"]);
    world.maildrop().add(&messages[1][..]);
    assert!(ok(&world, &["wake"]).contains("still paused"));
    assert_eq!(daemon.account()["state"], "paused");
    assert_eq!(world.maildrop().retrieved().len(), 1);
    ok(&world, &["resume"]);
    daemon.wait_for("it goes on", |a| a["fetched"] == 2);

    ok(&world, &["pause", "--until-wake"]);
    world.maildrop().add(&messages[2][..]);
    ok(&world, &["wake"]);
    daemon.wait_for("it goes on", |a| a["fetched"] == 3);
}

#[test]
fn only_its_user_can_reach_the_socket_and_nonsense_is_answered() {
    let world = World::builder().build();
    let _daemon = Daemon::start(&world, &[]);
    let socket = world.home().state_dir().join("control");
    let mode = std::fs::metadata(&socket).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    for nonsense in [
        "hello\n",
        "{\"command\":\"answer\",\"answer\":\"hunter2\"}\n",
        "{}\n",
    ] {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.write_all(nonsense.as_bytes()).unwrap();
        let mut reply = String::new();
        stream.read_to_string(&mut reply).unwrap();
        assert!(
            reply.contains("\"failed\"") && !reply.contains("hunter2"),
            "{reply}"
        );
    }
    // A line without an end is not read for ever.
    let mut stream = UnixStream::connect(&socket).unwrap();
    let chunk = vec![b'x'; 1 << 20];
    stream.write_all(&chunk).ok();
    let mut reply = Vec::new();
    stream.read_to_end(&mut reply).ok();
    assert!(!status(&world)["daemon"].is_null());
}

#[test]
fn whoever_keeps_connections_to_the_daemon_gets_so_many_and_no_more() {
    let world = World::builder().build();
    let _daemon = Daemon::start(&world, &[]);
    let socket = world.home().state_dir().join("control");
    let answered = || {
        let mut stream = UnixStream::connect(&socket).unwrap();
        stream.write_all(b"{\"command\":\"status\"}\n").ok()?;
        let mut answer = String::new();
        let mut reader = BufReader::new(stream);
        reader.read_line(&mut answer).ok()?;
        answer.ends_with('\n').then_some(reader)
    };
    let held: Vec<_> = (0..100).map_while(|_| answered()).collect();
    assert!((20..=32).contains(&held.len()), "{}", held.len());
    drop(held);
    wait_until("there is room again", || answered().is_some());
}

#[test]
fn a_refused_login_waits_for_the_file_that_was_wrong() {
    let world = World::builder().messages(mail::small(1)).build();
    world.home().write_password("wrong");
    let daemon = Daemon::start(&world, &[]);
    daemon.wait_for("the login is refused", |a| a["state"] == "stuck");
    let logins = || world.pop3().count("PASS");
    let before = logins();
    ok(&world, &["wake"]);
    ok(&world, &["wake"]);
    daemon.wait_for("it waits", |a| a["state"] == "stuck");
    assert_eq!(logins(), before, "a refused login is not hammered");
    world.home().write_password(World::MAIL_PASSWORD);
    daemon.wait_for("it works", |a| a["fetched"] == 1 && a["failures"] == 0);
    assert!(
        daemon.log().contains("works again after 1 failure"),
        "{}",
        daemon.log()
    );
}

#[test]
fn a_password_that_is_corrected_during_the_login_is_noticed() {
    let file = Arc::new(OnceLock::<PathBuf>::new());
    let corrected = Arc::clone(&file);
    let faults = Faults::new().rule(move |request| {
        if request.verb == "PASS" {
            std::fs::write(corrected.get()?, World::MAIL_PASSWORD).unwrap();
        }
        None
    });
    let world = World::builder()
        .messages(mail::small(1))
        .faults(faults)
        .build();
    world.home().write_password("wrong");
    file.set(world.home().password_file()).unwrap();
    let daemon = Daemon::start(&world, &[]);
    daemon.wait_for("it works", |a| a["fetched"] == 1 && a["failures"] == 0);
    assert_eq!(world.pop3().count("PASS"), 2);
}

#[test]
fn a_mailbox_in_use_and_an_account_in_trouble_hold_nobody_up() {
    let world = World::builder()
        .messages(mail::small(2))
        .faults(
            Faults::new()
                .on("PASS", Reply::send("-ERR [IN-USE] locked\r\n"))
                .for_connections(1..=1),
        )
        .build();
    configure(&world, |text| {
        let down = text.replace("work", "down").replace(":110", ":111");
        format!("{text}\n{}", down.replace("~/Mail", "~/Down"))
    });
    let daemon = Daemon::start(&world, &[]);
    wait_until("one is busy, one is down", || {
        let status = daemon.status().unwrap();
        status["accounts"][0]["failures"] == 1 && status["accounts"][1]["failures"] == 1
    });
    let status = daemon.status().unwrap();
    assert_eq!(status["accounts"][0]["error"]["class"], "temporary");
    assert_eq!(status["accounts"][0]["state"], "waiting");
    assert_eq!(status["accounts"][1]["account"], "down");
}
