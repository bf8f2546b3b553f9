//! Many accounts for a long time, in short.

use std::fmt::Write as _;
use std::time::Duration;

use posthole_testkit::pop3::{Maildrop, Pop3Server};
use posthole_testkit::{World, mail};

use crate::world::{Daemon, ok, status};

/// With `POSTHOLE_STRESS=ACCOUNTS:POLLS` it is as many, and says what it took.
#[test]
fn many_accounts_are_served_again_and_again_and_nothing_is_left_behind() {
    let said = std::env::var("POSTHOLE_STRESS").ok();
    let (accounts, rounds) = said.as_deref().map_or((60, 5), |said| {
        let (accounts, rounds) = said.split_once(':').unwrap();
        (accounts.parse().unwrap(), rounds.parse().unwrap())
    });
    let world = World::builder().build();
    let mut server = Pop3Server::builder();
    let maildrops: Vec<_> = (0..accounts)
        .map(|_| Maildrop::of(mail::small(2)))
        .collect();
    for (number, maildrop) in maildrops.iter().enumerate() {
        server = server.account(&format!("user{number}"), World::MAIL_PASSWORD, maildrop);
    }
    let server = server.start();
    let mut config = "[defaults]\nevery = \"1s\"\ntls = \"never\"\nkeep = true\n\
                      password = { file = \"~/mail-password\" }\n\
                      [daemon]\njobs-per-host = 16\n"
        .to_owned();
    for number in 0..accounts {
        write!(
            config,
            "[account.a{number}]\nserver = \"pop3://user{number}@127.0.0.1:{}\"\n\
             deliver = \"maildir:~/Mail/a{number}\"\n",
            server.port()
        )
        .unwrap();
    }
    world.home().write_config(&config);
    let began = std::time::Instant::now();
    let daemon = Daemon::start(&world, &[]);
    let polls = |least: u64| {
        let status = status(&world);
        let accounts = status["accounts"].as_array().unwrap();
        accounts.iter().all(|a| a["polls"].as_u64() >= Some(least))
    };
    let wait = |what: &str, least| wait_long(what, || polls(least));
    wait("each was polled once", 1);
    let first = began.elapsed();
    let before = Used::by(&daemon);
    wait("each was polled again and again", rounds);
    let after = Used::by(&daemon);
    for account in status(&world)["accounts"].as_array().unwrap() {
        assert_eq!(
            (&account["failures"], &account["fetched"]),
            (&0.into(), &2.into())
        );
    }
    // At most each of those that are polled at the moment has some open.
    assert!(
        after.files <= before.files.max(64) + 64,
        "{before:?} {after:?}"
    );
    report(&format!(
        "{accounts} accounts: served once after {first:?}, then {rounds} times each by {:?}; \
         {before:?} {after:?}",
        began.elapsed()
    ));
    ok(&world, &["stop"]);
}

/// Looks now and then, so that looking is not what takes the time.
#[track_caller]
fn wait_long(what: &str, mut so: impl FnMut() -> bool) {
    for _ in 0..2400 {
        if so() {
            return;
        }
        std::thread::sleep(Duration::from_millis(250));
    }
    panic!("not so after ten minutes: {what}");
}

/// What a process uses.
#[derive(Debug)]
#[expect(dead_code, reason = "it is for reading")]
struct Used {
    files: usize,
    memory: String,
    threads: String,
    ticks: u64,
}

impl Used {
    fn by(daemon: &Daemon<'_>) -> Self {
        let proc = format!("/proc/{}", daemon.pid());
        let status = std::fs::read_to_string(format!("{proc}/status")).unwrap();
        let field = |name: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(name));
            line.unwrap_or_default().trim().to_owned()
        };
        let stat = std::fs::read_to_string(format!("{proc}/stat")).unwrap();
        let fields: Vec<_> = stat.rsplit_once(')').unwrap().1.split(' ').collect();
        let ticks = |index: usize| fields[index].parse::<u64>().unwrap();
        Self {
            files: std::fs::read_dir(format!("{proc}/fd")).unwrap().count(),
            memory: field("VmRSS:"),
            threads: field("Threads:"),
            // utime and stime, in hundredths of a second (proc_pid_stat(5)).
            ticks: ticks(12) + ticks(13),
        }
    }
}

#[expect(
    clippy::print_stderr,
    reason = "for whoever runs it to see what it takes"
)]
fn report(text: &str) {
    eprintln!("{text}");
}
