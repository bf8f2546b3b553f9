//! The crash matrix: a poll killed before and after each of its durable steps.
//!
//! The poll runs in a child process (this program again), which counts its durable steps and kills
//! itself with SIGKILL at the one it was told. The server lives on here. Afterwards a second poll
//! must deliver everything exactly once, and a third must find nothing to do. What is asked of
//! destinations other than a Maildir is in [`others`].

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

#[path = "../engine/account.rs"]
#[allow(
    dead_code,
    reason = "shared with the engine's tests, which use more of it"
)]
mod account;
mod others;

use std::collections::BTreeSet;
use std::os::unix::process::ExitStatusExt;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use account::Account;
use libtest_mimic::{Arguments, Trial};
use others::Target;
use posthole_core::durable::{self, Moment, Step};
use posthole_core::plan::Keep;
use posthole_core::retrieve::{self, BatchLimits};
use posthole_testkit::mail;
use posthole_testkit::pop3::{Commit, Faults};
use rustix::process::{Signal, getpid, kill_process};
use tokio_util::sync::CancellationToken;

fn main() -> ExitCode {
    if let Ok(orders) = std::env::var(ORDERS) {
        return child(&orders);
    }
    let scenario = |name: &str, run: fn()| {
        Trial::test(name.to_owned(), move || {
            run();
            Ok(())
        })
    };
    let trials = vec![
        scenario(
            "killed_anywhere_while_deleting_nothing_is_lost_or_doubled",
            || {
                matrix(Keep::Never, Commit::AtQuit, Client::Idle);
            },
        ),
        scenario(
            "killed_anywhere_while_keeping_nothing_is_lost_or_doubled",
            || {
                matrix(Keep::Always, Commit::AtQuit, Client::Idle);
            },
        ),
        scenario(
            "a_server_that_deletes_at_once_is_never_asked_too_early",
            || {
                matrix(Keep::Never, Commit::AtDele, Client::Idle);
            },
        ),
        scenario(
            "a_mail_client_may_move_new_mail_before_the_next_poll",
            || {
                matrix(Keep::Never, Commit::AtQuit, Client::MovesMail);
            },
        ),
        scenario(
            "a_mail_client_may_delete_new_mail_before_the_next_poll",
            || {
                matrix(Keep::Always, Commit::AtQuit, Client::DeletesMail);
            },
        ),
        scenario("an_mbox_gets_everything_once_killed_anywhere", || {
            others::mbox(others::Reader::Idle);
        }),
        scenario("a_mail_program_may_mark_an_mbox_meanwhile", || {
            others::mbox(others::Reader::MarksRead);
        }),
        scenario("another_program_may_append_to_an_mbox_meanwhile", || {
            others::mbox(others::Reader::Appends);
        }),
        scenario("an_mbox_is_recovered_though_that_is_killed_too", || {
            others::killed_twice();
        }),
        scenario("a_batch_file_gets_everything_once_killed_anywhere", || {
            others::batch_file();
        }),
        scenario("a_command_gets_everything_killed_anywhere", || {
            others::at_least_once(Target::Mda);
        }),
        scenario("a_server_of_smtp_gets_everything_killed_anywhere", || {
            others::at_least_once(Target::Smtp);
        }),
        scenario("a_server_of_lmtp_gets_everything_killed_anywhere", || {
            others::at_least_once(Target::Lmtp);
        }),
        scenario(
            "several_destinations_get_everything_killed_anywhere",
            || {
                others::several();
            },
        ),
    ];
    libtest_mimic::run(&Arguments::from_args(), trials).exit_code()
}

/// What a mail client does with the mail in `new/` between the crash and the next poll.
#[derive(Clone, Copy, Eq, PartialEq)]
enum Client {
    DeletesMail,
    Idle,
    MovesMail,
}

/// Kills a poll at every step, on both sides of it.
fn matrix(keep: Keep, commit: Commit, client: Client) {
    let steps = run(keep, commit, client, None);
    let steps: Vec<_> = steps.iter().map(String::as_str).collect();
    // A kill cannot show that a sync is missing, since the kernel outlives it.
    let batch = [
        &["SyncFile"; BATCH][..],
        &["SyncDir", "Commit"],
        &["Rename"; BATCH],
        &["SyncDir", "SyncDir", "Commit"],
    ]
    .concat();
    let retired: &[&str] = if keep == Keep::Never {
        &["Commit"]
    } else {
        &[]
    };
    // Whether the sizes that the server lists are right is remembered for the next poll.
    let sizes = &["Commit"];
    let expected = [&batch, &batch, &sizes[..], retired].concat();
    assert!(steps.ends_with(&expected), "the steps were {steps:?}");
    let count = steps.len();
    for step in 1..=count {
        for moment in [Moment::Before, Moment::After] {
            run(keep, commit, client, Some((step, moment)));
        }
    }
}

/// One crash and its aftermath; returns the durable steps of the first poll if it lived.
fn run(keep: Keep, commit: Commit, client: Client, at: Option<(usize, Moment)>) -> Vec<String> {
    let messages: Vec<_> = (0..MESSAGES).map(mail::tiny).collect();
    let account = Account::with(&messages, Faults::new().commit(commit)).keep(keep);
    let steps = poll_in_child(&account, Target::Maildir, 0, at);
    let idle = account.server.wait_until_idle(Duration::from_secs(10));
    assert!(idle, "the child's connection did not end");

    let after_crash: BTreeSet<_> = account.delivered().into_iter().collect();
    let left: BTreeSet<_> = account
        .maildrop
        .messages()
        .iter()
        .map(|m| mail::delivered(m))
        .collect();
    for message in messages.iter().map(|message| mail::delivered(message)) {
        assert!(
            after_crash.contains(&message) || left.contains(&message),
            "killed at {at:?}: a message was deleted that is not delivered"
        );
    }
    let taken = touch(&account, client);

    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    runtime.block_on(account.fetch());
    let mut all = account.delivered();
    assert!(
        account.in_tmp() == 0,
        "killed at {at:?}: files are left in tmp"
    );
    all.extend(taken);
    all.sort();
    assert_eq!(
        all.len(),
        messages.len(),
        "killed at {at:?}: messages lost or doubled"
    );
    assert!(
        all == mail::delivered_sorted(&messages),
        "killed at {at:?}: a message was changed"
    );
    let kept = if keep == Keep::Never {
        0
    } else {
        messages.len()
    };
    assert_eq!(account.maildrop.len(), kept, "killed at {at:?}");

    let third = runtime.block_on(account.fetch());
    assert_eq!(
        (third.fetched, third.deleted),
        (0, 0),
        "killed at {at:?}: a third poll has work"
    );
    steps
}

/// Lets the mail client at the new mail, and returns the messages it deleted.
fn touch(account: &Account, client: Client) -> Vec<Vec<u8>> {
    let Ok(new) = std::fs::read_dir(account.maildir().join("new")) else {
        return Vec::new();
    };
    let mut deleted = Vec::new();
    for path in new.map(|entry| entry.unwrap().path()) {
        match client {
            Client::DeletesMail => {
                deleted.push(std::fs::read(&path).unwrap());
                std::fs::remove_file(path).unwrap();
            }
            Client::Idle => {}
            Client::MovesMail => {
                let name = format!("{}:2,S", path.file_name().unwrap().to_str().unwrap());
                std::fs::rename(path, account.maildir().join("cur").join(name)).unwrap();
            }
        }
    }
    deleted
}

/// Polls in a child process that is to die at a step; returns its steps if it lives.
fn poll_in_child(
    account: &Account,
    target: Target,
    sink: u16,
    at: Option<(usize, Moment)>,
) -> Vec<String> {
    let (step, before) = match at {
        None => (usize::MAX, true),
        Some((step, moment)) => (step, moment == Moment::Before),
    };
    let keep = account.job.keep == Keep::Always;
    let orders = format!(
        "{} {step} {before} {keep} {target} {sink}",
        account.job.server.port
    );
    let status = Command::new(std::env::current_exe().unwrap())
        .env(ORDERS, orders)
        .current_dir(account.directory())
        .status()
        .unwrap();
    if at.is_some() {
        assert_eq!(
            status.signal(),
            Some(Signal::KILL.as_raw()),
            "at {at:?} it ended {status}"
        );
        return Vec::new();
    }
    assert!(status.success(), "an undisturbed poll ended {status}");
    let steps = std::fs::read_to_string(account.directory().join(STEPS)).unwrap();
    steps.lines().map(str::to_owned).collect()
}

/// The child: polls below the current directory, and dies at the ordered step.
fn child(orders: &str) -> ExitCode {
    let words: Vec<_> = orders.split(' ').collect();
    let [port, step, before, keep, target, sink] = words[..] else {
        panic!("orders are `{orders}`")
    };
    let (port, step): (u16, usize) = (port.parse().unwrap(), step.parse().unwrap());
    let moment = if before == "true" {
        Moment::Before
    } else {
        Moment::After
    };

    static BEGUN: AtomicUsize = AtomicUsize::new(0);
    static ENDED: Mutex<Vec<Step>> = Mutex::new(Vec::new());
    durable::watch(Box::new(move |kind, now| {
        let count = if now == Moment::Before {
            BEGUN.fetch_add(1, Ordering::SeqCst) + 1
        } else {
            let mut ended = ENDED.lock().unwrap();
            ended.push(kind);
            ended.len()
        };
        if count == step && now == moment {
            kill_process(getpid(), Signal::KILL).unwrap();
            // Another thread might do the next step before the signal is delivered.
            std::thread::sleep(Duration::from_secs(60));
        }
    }));

    let directory = Path::new(".").canonicalize().unwrap();
    let mut job = account::job(&directory, port);
    job.deliver = Target::named(target).deliver(&directory, sink.parse().unwrap());
    job.keep = if keep == "true" {
        Keep::Always
    } else {
        Keep::Never
    };
    // Batches by number only, so that every run takes the same steps.
    let batch = BatchLimits {
        messages: BATCH,
        gather: Duration::from_secs(60),
        ..Default::default()
    };
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .unwrap();
    let cx = account::context(&directory, CancellationToken::new(), batch);
    let report = runtime.block_on(retrieve::poll(&job, &cx));
    assert!(report.error.is_none(), "{:?}", report.error);
    let steps: String = ENDED
        .lock()
        .unwrap()
        .iter()
        .map(|step| format!("{step:?}\n"))
        .collect();
    std::fs::write(directory.join(STEPS), steps).unwrap();
    ExitCode::SUCCESS
}

/// The environment variable that makes this program a child.
const ORDERS: &str = "POSTHOLE_CRASH_ORDERS";

/// The file in which a child that lives says which steps it took.
const STEPS: &str = "steps";

/// Messages in a batch.
const BATCH: usize = 4;

/// Two batches.
const MESSAGES: usize = 2 * BATCH;
