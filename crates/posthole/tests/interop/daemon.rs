//! The daemon with OpenSSH's sshd and Dovecot, through bad times.

use std::io::{Read, Write};
use std::os::unix::net::UnixStream;
use std::path::Path;
use std::process::Child;

use posthole_testkit::home::assert_maildir_holds;
use posthole_testkit::mail;
use posthole_testkit::real::{Dovecot, Mailhost, Requirement, Suite};
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;

use crate::world::{end, run, start, wait_until};

pub(crate) fn tests(suite: Suite) -> Suite {
    suite.test(
        "a_daemon_comes_through_bad_times_and_nothing_is_lost_or_doubled",
        Requirement::MAILHOST,
        a_daemon_comes_through_bad_times_and_nothing_is_lost_or_doubled,
    )
}

const ACCOUNTS: usize = 4;

/// With `POSTHOLE_SOAK=N` there are as many bad times, and it says what they took.
fn a_daemon_comes_through_bad_times_and_nothing_is_lost_or_doubled() {
    let said = std::env::var("POSTHOLE_SOAK").ok();
    let rounds = said.as_deref().map_or(9, |said| said.parse().unwrap());
    let messages = mail::corpus(21, 3 + rounds);
    let (start_with, more) = messages.split_at(3);
    let mut host = Mailhost::start_on(Dovecot::start_for(ACCOUNTS + 1, start_with), |sshd| sshd);
    let mut config = format!(
        "[defaults]\nevery = \"1s\"\nkeep = false\nvia = \"{}\"\ntimeout = \"3s\"\n\
         password = {{ file = \"~/mail-password\" }}\n\
         [ssh.\"127.0.0.1\"]\nkeepalive = \"1s\"\nkeepalive-max = 1\nconnect-timeout = \"2s\"\n",
        host.via()
    );
    for number in 0..ACCOUNTS {
        config += &format!(
            "[account.a{number}]\nserver = \"pop3://{}@localhost:{}\"\n\
             deliver = \"maildir:~/Mail{number}\"\n",
            Dovecot::user(number),
            host.dovecot().port()
        );
    }
    config += &format!(
        "[forward.pop]\nlisten = \"unix:~/pop\"\nvia = \"{}\"\nto = \"localhost:{}\"\n\
         protocol = \"pop3\"\n",
        host.via(),
        host.dovecot().port()
    );
    host.home().write_config(&config);
    let socket = host.home().path().join("pop");
    let child = start(host.home(), &["daemon"]);
    wait_until("all is well", || {
        statuses(&host).is_some_and(|a| a.iter().all(|a| a["last_success"].is_u64()))
    });
    wait_until("it is idle", || open_files(&child) <= IDLE);
    wait_until("the forward serves", || is_served(&socket));
    let before = resident(&child);

    for (round, message) in more.iter().enumerate() {
        // It has a connection when the bad time begins, and does nothing.
        let idle = UnixStream::connect(&socket).unwrap();
        match round % 4 {
            0 => host.sshd_mut().restart(),
            1 => {
                host.sshd().freeze();
                wait_until("it is noticed", || {
                    statuses(&host).is_some_and(|a| a.iter().all(|a| a["failures"] != 0))
                });
                host.sshd().thaw();
            }
            2 => {
                host.home().write_config(&format!("{config}nonsense = 1\n"));
                run(host.home(), &["reload"]).exits(78);
                host.home().write_config(&config);
            }
            _ => {
                // The program stands still, as it does when the machine sleeps.
                signal(&child, Signal::STOP);
                host.sshd_mut().restart();
                signal(&child, Signal::CONT);
            }
        }
        host.dovecot().add(message);
        run(host.home(), &["wake"]).exits(0);
        let so_far = start_with.len() + round + 1;
        wait_until("the message has come", || delivered(&host, 0) == so_far);
        wait_until("the forward serves again", || is_served(&socket));
        drop(idle);
    }
    wait_until("all is well again", || {
        statuses(&host).is_some_and(|a| a.iter().all(|a| a["failures"] == 0))
    });
    wait_until("no descriptor was left behind", || {
        open_files(&child) <= IDLE
    });
    if said.is_some() {
        report(&format!(
            "{rounds} bad times: {before} before, {} after, {} files open; {}",
            resident(&child),
            open_files(&child),
            run(host.home(), &["status"]).stdout
        ));
    }
    run(host.home(), &["stop"]).exits(0);
    let ended = end(child);
    assert!(ended.status.success(), "{}", ended.text());
    assert_maildir_holds(&host.home().path().join("Mail0"), &messages);
    for number in 1..ACCOUNTS {
        assert_maildir_holds(
            &host.home().path().join(format!("Mail{number}")),
            start_with,
        );
    }
    assert!(
        host.dovecot().messages().is_empty(),
        "what was fetched is deleted"
    );
}

/// Whether a mail program that connects there can log in to the mailbox that nobody polls, and
/// finds all in it.
fn is_served(socket: &Path) -> bool {
    let Ok(stream) = UnixStream::connect(socket) else {
        return false;
    };
    let (user, password) = (Dovecot::user(ACCOUNTS), Mailhost::MAIL_PASSWORD);
    let commands = format!("USER {user}\r\nPASS {password}\r\nSTAT\r\nQUIT\r\n");
    let mut said = String::new();
    let exchange = (&stream)
        .write_all(commands.as_bytes())
        .and_then(|()| (&stream).read_to_string(&mut said));
    // What cannot be reached at the moment says so, or closes.
    exchange.is_ok() && said.contains("+OK 3 ")
}

fn statuses(host: &Mailhost) -> Option<Vec<Value>> {
    let ended = run(host.home(), &["status", "--json"]);
    let status = ended.json().pop()?;
    (!status["daemon"].is_null()).then(|| status["accounts"].as_array().unwrap().clone())
}

fn delivered(host: &Mailhost, number: usize) -> usize {
    let maildir = host.home().path().join(format!("Mail{number}"));
    posthole_testkit::home::maildir_messages(&maildir).len()
}

fn open_files(child: &Child) -> usize {
    std::fs::read_dir(format!("/proc/{}/fd", child.id())).map_or(0, Iterator::count)
}

/// What it has in memory.
fn resident(child: &Child) -> String {
    let status = std::fs::read_to_string(format!("/proc/{}/status", child.id())).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    line.unwrap_or_default().trim().to_owned()
}

#[expect(clippy::print_stderr, reason = "for whoever runs it to see")]
fn report(text: &str) {
    eprintln!("{text}");
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// More than a daemon has open that polls nobody: its database, socket, locks, signals and one
/// connection.
const IDLE: usize = 32;
