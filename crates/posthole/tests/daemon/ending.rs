//! The end of it.

use posthole_testkit::pop3::{Faults, Reply};
use posthole_testkit::{World, mail};
use rustix::process::Signal;

use crate::world::{Daemon, configure, ok, wait_until};

#[test]
fn a_signal_ends_it_and_the_socket_goes() {
    for signal in [Signal::TERM, Signal::INT] {
        let world = World::builder().messages(mail::small(1)).build();
        let daemon = Daemon::start(&world, &[]);
        daemon.wait_for("the first poll is over", |a| a["fetched"] == 1);
        daemon.signal(signal);
        let (status, log) = daemon.end();
        assert_eq!(status.code(), Some(0), "{signal:?}: {log}");
        assert!(log.ends_with("info stopped\n"), "{log}");
        assert!(!world.home().state_dir().join("control").exists());
    }
}

#[test]
fn a_server_that_stalls_delays_the_end_only_so_long_and_nothing_is_lost() {
    let messages = mail::small(3);
    let world = World::builder()
        .messages(messages.clone())
        .faults(
            Faults::new()
                .without_pipelining()
                .on_nth(2, "RETR", Reply::prefix(30).stall())
                .for_connections(1..=1),
        )
        .build();
    configure(&world, |text| text + "[daemon]\nstop-timeout = \"1s\"\n");
    let daemon = Daemon::start(&world, &[]);
    wait_until("the second message stalls", || {
        world.pop3().count("RETR") == 2
    });
    daemon.signal(Signal::TERM);
    let (status, log) = daemon.end();
    assert_eq!(status.code(), Some(0), "{log}");
    assert!(
        log.contains("1 poll did not come to an end within 1s"),
        "{log}"
    );
    ok(&world, &["fetch"]);
    world.assert_delivered(&messages);
}

#[test]
fn being_killed_loses_nothing_and_the_next_one_starts() {
    let messages = mail::small(20);
    let world = World::builder().messages(messages.clone()).build();
    for _ in 0..3 {
        let daemon = Daemon::start(&world, &[]);
        daemon.signal(Signal::KILL);
        daemon.end();
    }
    let daemon = Daemon::start(&world, &[]);
    daemon.wait_for("all is well", |a| {
        a["last_success"].is_u64() && a["failures"] == 0
    });
    wait_until("all has come", || world.delivered().len() == messages.len());
    world.assert_delivered(&messages);
}
