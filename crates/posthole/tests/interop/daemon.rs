//! The daemon with OpenSSH's sshd and Dovecot, through bad times.

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

fn a_daemon_comes_through_bad_times_and_nothing_is_lost_or_doubled() {
    let messages = mail::corpus(21, 12);
    let (start_with, more) = messages.split_at(3);
    let mut host = Mailhost::start_on(Dovecot::start_for(ACCOUNTS, start_with), |sshd| sshd);
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
    host.home().write_config(&config);
    let child = start(host.home(), &["daemon"]);
    wait_until("all is well", || {
        statuses(&host).is_some_and(|a| a.iter().all(|a| a["last_success"].is_u64()))
    });
    wait_until("it is idle", || open_files(&child) <= IDLE);

    for (round, message) in more.iter().enumerate() {
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
    }
    wait_until("all is well again", || {
        statuses(&host).is_some_and(|a| a.iter().all(|a| a["failures"] == 0))
    });
    wait_until("no descriptor was left behind", || {
        open_files(&child) <= IDLE
    });
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

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// More than a daemon has open that polls nobody: its database, socket, locks, signals and one
/// connection.
const IDLE: usize = 32;
