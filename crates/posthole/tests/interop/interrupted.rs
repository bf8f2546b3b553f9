//! Runs that do not come to their end: killed, told to stop, cut off, or one too many.

use std::collections::HashSet;
use std::process::Child;
use std::time::{Duration, Instant};

use posthole_testkit::mail;
use posthole_testkit::net::Ending;
use posthole_testkit::real::{Mailhost, Requirement, Suite};
use posthole_testkit::relay::Relay;
use rustix::process::{Pid, Signal, kill_process};

use crate::world::{end, run, start, through, wait_until};

pub(crate) fn tests(suite: Suite) -> Suite {
    let needs = Requirement::MAILHOST;
    suite
        .test(
            "a_run_that_is_killed_again_and_again_gets_there",
            needs,
            || a_run_that_is_killed_again_and_again_gets_there(&["fetch"]),
        )
        .test(
            "a_run_that_is_killed_while_it_deletes_gets_there",
            needs,
            || a_run_that_is_killed_again_and_again_gets_there(&["fetch", "-K"]),
        )
        .test(
            "a_signal_ends_the_run_after_what_is_in_hand",
            needs,
            a_signal_ends_the_run_after_what_is_in_hand,
        )
        .test(
            "a_line_that_is_cut_anywhere_costs_nothing_but_time",
            needs,
            a_line_that_is_cut_anywhere_costs_nothing_but_time,
        )
        .test(
            "a_line_that_ends_anywhere_costs_nothing_but_time",
            needs,
            a_line_that_ends_anywhere_costs_nothing_but_time,
        )
        .test(
            "a_line_that_goes_dead_is_given_up",
            needs,
            a_line_that_goes_dead_is_given_up,
        )
        .test(
            "the_second_of_two_runs_says_so",
            needs,
            the_second_of_two_runs_says_so,
        )
}

fn a_run_that_is_killed_again_and_again_gets_there(args: &[&str]) {
    let messages = mail::corpus(11, 300);
    let host = Mailhost::start(&messages);
    let line = Relay::to(host.sshd().addr())
        .bytes_per_second(3_000_000)
        .start();
    through(&host, &line);
    let delivered = || names(&host).len();
    let mut kills = 0;
    // Before the login, and then at moments that have nothing to do with each other, in bytes on
    // the line and in messages delivered.
    for moment in [
        Moment::Octets(1_000),
        Moment::Octets(5_000),
        Moment::Octets(40_000),
        Moment::Messages(1),
        Moment::Octets(150_000),
        Moment::Messages(30),
        Moment::Octets(333_333),
        Moment::Messages(45),
        Moment::Octets(100_001),
        Moment::Messages(2),
        Moment::Octets(77_777),
        Moment::Octets(3_000),
    ] {
        let (octets, before) = (line.bytes_to_client(), delivered());
        let mut running = start(host.home(), args);
        wait_until("the moment has come", || {
            let come = match moment {
                Moment::Octets(n) => line.bytes_to_client() >= octets + n,
                Moment::Messages(n) => delivered() >= before + n,
            };
            come || running.try_wait().unwrap().is_some()
        });
        kills += usize::from(running.try_wait().unwrap().is_none());
        running.kill().unwrap();
        end(running);
        assert_no_message_twice(&host);
    }
    assert!(kills >= 10, "most runs must be killed, not {kills}");
    assert!(delivered() < messages.len(), "all was there too soon");
    // It comes to its end, and there is no message to be fetched again, as every run knew.
    run(host.home(), args).exits(0);
    host.home().assert_delivered(&messages);
    let left = if args.contains(&"-K") { 0 } else { 300 };
    run(host.home(), args)
        .exits(0)
        .prints(&[&format!("work: 0 new, 0 deleted, {left} left, ")]);
    host.home().assert_delivered(&messages);
    assert_eq!(host.dovecot().messages().len(), left);
}

#[derive(Clone, Copy)]
enum Moment {
    /// So many bytes came from sshd in this run.
    Octets(u64),
    /// So many messages were delivered in this run.
    Messages(usize),
}

fn a_signal_ends_the_run_after_what_is_in_hand() {
    for signal in [Signal::TERM, Signal::INT] {
        // More than is under way at any time.
        let messages: Vec<_> = (0..200).map(|n| large(n, 60_000)).collect();
        let host = Mailhost::start(&messages);
        let line = Relay::to(host.sshd().addr())
            .bytes_per_second(12_000_000)
            .start();
        through(&host, &line);
        let running = start(host.home(), &["fetch", "-K"]);
        wait_until("mail is delivered", || names(&host).len() >= 5);
        let stopped = Instant::now();
        send(&running, signal);
        let ended = end(running);
        assert!(stopped.elapsed() < Duration::from_secs(5));
        ended
            .ends_by(signal.as_raw())
            .says(&["posthole: stopping after what is in hand; again to stop at once"])
            .prints(&[" new (", ", unfinished"]);
        let got = host.home().delivered();
        assert!((5..200).contains(&got.len()), "{}", got.len());
        let left = host.dovecot().messages();
        // It took leave of the server, so what is here is gone there; nothing is in tmp.
        assert_eq!(got.len() + left.len(), 200, "{}", ended.text());
        let tmp = std::fs::read_dir(host.maildir().join("tmp")).unwrap();
        assert_eq!(tmp.count(), 0);
        run(host.home(), &["fetch", "-K"])
            .exits(0)
            .prints(&[&format!("work: {} new (", left.len())]);
        host.home().assert_delivered(&messages);
        assert!(host.dovecot().messages().is_empty());
    }
}

fn a_line_that_is_cut_anywhere_costs_nothing_but_time() {
    // Banner, key exchange, login, channel, greeting and the mail; then the same from here.
    let to_client = [
        0, 1, 40, 700, 1_100, 1_600, 2_000, 2_400, 2_700, 2_900, 3_100, 5_000, 30_000, 100_000,
        250_000,
    ];
    let to_server = [1, 30, 1_500, 2_000, 2_400, 2_800, 3_200, 3_600, 4_500];
    a_line_that_breaks(Ending::Reset, &to_client, &to_server);
}

fn a_line_that_ends_anywhere_costs_nothing_but_time() {
    let to_client = [0, 20, 1_600, 2_300, 2_900, 50_000, 150_000];
    a_line_that_breaks(Ending::Close, &to_client, &[1_800, 3_200]);
}

/// Breaks the line after so many bytes, once for each position, and then leaves it whole.
fn a_line_that_breaks(ending: Ending, to_client: &[u64], to_server: &[u64]) {
    let messages = mail::corpus(13, 200);
    let host = Mailhost::start(&messages);
    let line = Relay::to(host.sshd().addr()).ending(ending).start();
    through(&host, &line);
    let to_client = to_client.iter().map(|n| (Some(*n), None));
    let to_server = to_server.iter().map(|n| (None, Some(*n)));
    for (to_client, to_server) in to_client.chain(to_server) {
        line.cut_to_client(to_client);
        line.cut_to_server(to_server);
        // To be tried again later by whoever runs it.
        run(host.home(), &["fetch", "-K"])
            .exits(75)
            .says(&["posthole: work: ", "connection"]);
        assert_no_message_twice(&host);
    }
    line.cut_to_client(None);
    line.cut_to_server(None);
    run(host.home(), &["fetch", "-K"]).exits(0);
    host.home().assert_delivered(&messages);
    assert!(host.dovecot().messages().is_empty());
}

fn a_line_that_goes_dead_is_given_up() {
    let messages = mail::corpus(14, 50);
    let host = Mailhost::start(&messages);
    let line = Relay::to(host.sshd().addr()).ending(Ending::Stall).start();
    through(&host, &line);
    for (position, timeout) in [(10, "--connect-timeout=1s"), (100_000, "--timeout=1s")] {
        line.cut_to_client(Some(position));
        let since = Instant::now();
        let ended = run(host.home(), &["fetch", timeout]);
        ended.exits(75).says(&["posthole: work: ", "1s"]);
        assert!(since.elapsed() < Duration::from_secs(10));
        assert_no_message_twice(&host);
    }
    line.cut_to_client(None);
    run(host.home(), &["fetch"]).exits(0);
    host.home().assert_delivered(&messages);
}

fn the_second_of_two_runs_says_so() {
    let messages = mail::corpus(15, 100);
    let host = Mailhost::start(&messages);
    let line = Relay::to(host.sshd().addr())
        .bytes_per_second(400_000)
        .start();
    through(&host, &line);
    let first = start(host.home(), &["fetch"]);
    wait_until("the first is at work", || !names(&host).is_empty());
    run(host.home(), &["fetch"])
        .exits(75)
        .says(&["posthole: work: another posthole is fetching this account"]);
    end(first).exits(0).prints(&["work: 100 new ("]);
    host.home().assert_delivered(&messages);
    run(host.home(), &["fetch"]).exits(0);
}

/// A message of about so many octets.
fn large(number: usize, octets: usize) -> Vec<u8> {
    let mut message = mail::tiny(number);
    while message.len() < octets {
        message
            .extend_from_slice(b"All work and no play makes Jack a dull boy, says the wall.\r\n");
    }
    message
}

fn send(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

/// The names of the files in `new`.
fn names(host: &Mailhost) -> HashSet<std::ffi::OsString> {
    let entries = std::fs::read_dir(host.maildir().join("new"));
    let entries = entries.into_iter().flatten();
    entries.map(|entry| entry.unwrap().file_name()).collect()
}

#[track_caller]
fn assert_no_message_twice(host: &Mailhost) {
    let delivered = host.home().delivered();
    let distinct: HashSet<_> = delivered.iter().collect();
    assert_eq!(distinct.len(), delivered.len());
}
