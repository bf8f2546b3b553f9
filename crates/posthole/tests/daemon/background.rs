//! The process: in the background, with a log file and a pidfile, under a service manager.

use std::os::unix::net::UnixDatagram;
use std::time::Duration;

use posthole_testkit::{World, mail};
use rustix::process::{Pid, Signal, kill_process};

use crate::world::{Daemon, InBackground, command, configure, ok, run, wait_until};

#[test]
fn it_goes_to_the_background_with_a_log_that_can_be_rotated() {
    let world = World::builder().messages(mail::small(1)).build();
    let args = ["daemon", "--detach", "--logfile", "log", "--pidfile", "pid"];
    let _ended = InBackground(&world);
    let said = ok(&world, &args);
    let home = world.home().path();
    let read = |name: &str| std::fs::read_to_string(home.join(name)).unwrap_or_default();
    let pid = read("pid").trim().to_owned();
    assert!(said.contains(&format!("runs as process {pid}")), "{said}");
    wait_until("mail has come", || read("log").contains("info work: 1 new"));
    std::fs::rename(home.join("log"), home.join("log.1")).unwrap();
    let process = Pid::from_raw(pid.parse().unwrap()).unwrap();
    kill_process(process, Signal::USR2).unwrap();
    kill_process(process, Signal::USR1).unwrap();
    wait_until("the new file is written", || {
        read("log").contains("info woken")
    });
    assert!(!read("log.1").contains("woken"));
    ok(&world, &["stop"]);
    assert!(!home.join("pid").exists());
    assert!(read("log").ends_with("info stopped\n"), "{}", read("log"));
}

#[test]
fn a_pidfile_is_nobody_elses() {
    let world = World::builder().build();
    let home = world.home().path();
    std::fs::write(home.join("precious"), "mine\n").unwrap();
    std::os::unix::fs::symlink("precious", home.join("link")).unwrap();
    let refused = run(&world, &["daemon", "--pidfile", "link"]);
    assert_eq!(refused.code, Some(74), "{}", refused.stderr);
    assert!(
        refused.stderr.contains("symbolic link"),
        "{}",
        refused.stderr
    );
    let read = |name: &str| std::fs::read_to_string(home.join(name)).unwrap();
    assert_eq!(read("precious"), "mine\n");

    let daemon = Daemon::start(&world, &["--pidfile", "pid"]);
    assert_eq!(read("pid"), format!("{}\n", daemon.pid()));
    std::fs::write(home.join("pid"), "1\n").unwrap();
    ok(&world, &["stop"]);
    daemon.end();
    assert_eq!(read("pid"), "1\n", "another one's is left alone");
}

#[test]
fn what_is_wrong_at_the_start_is_said_before_it_goes_to_the_background() {
    let world = World::builder().build();
    configure(&world, |text| text + "nonsense = 1\n");
    let args = ["daemon", "--detach", "--logfile", "log"];
    let ended = run(&world, &args);
    assert_eq!(ended.code, Some(78), "{}", ended.stderr);
    assert!(
        ended.stderr.contains("unknown key `nonsense`"),
        "{}",
        ended.stderr
    );
    let log = std::fs::read_to_string(world.home().path().join("log")).unwrap();
    assert!(log.contains("the daemon cannot run"), "{log}");
}

#[test]
fn the_service_manager_is_told_how_it_goes() {
    let world = World::builder().messages(mail::small(1)).build();
    let path = world.home().path().join("notify");
    let manager = UnixDatagram::bind(&path).unwrap();
    manager
        .set_read_timeout(Some(Duration::from_secs(60)))
        .unwrap();
    let expect = |wanted: &str| {
        let mut buffer = [0; 4096];
        loop {
            let length = manager.recv(&mut buffer).unwrap();
            let text = String::from_utf8_lossy(&buffer[..length]).into_owned();
            if text.lines().any(|line| line.starts_with(wanted)) {
                return text;
            }
        }
    };
    let mut command = command(&world, &["daemon"]);
    command
        .env("NOTIFY_SOCKET", &path)
        .env("WATCHDOG_USEC", "400000");
    let daemon = Daemon::launch(&world, command);
    expect("READY=1");
    expect("STATUS=1 account, 1 being polled");
    expect("WATCHDOG=1");
    daemon.signal(Signal::HUP);
    assert!(expect("RELOADING=1").contains("MONOTONIC_USEC="));
    expect("READY=1");
    daemon.signal(Signal::TERM);
    expect("STOPPING=1");
    let (status, log) = daemon.end();
    assert_eq!(status.code(), Some(0), "{log}");
}
