//! The commands that are run for the user: when mail has come, and when an account is in trouble.

use std::collections::HashMap;
use std::process::Stdio;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::Semaphore;
use tokio_util::task::AbortOnDropHandle;

use super::counted;
use super::schedule::Trouble;
use super::status::History;
use crate::exec;
use crate::plan::DaemonPlan;
use crate::process_group::ProcessGroup;

/// Runs commands, a few at a time.
#[derive(Clone, Debug)]
pub(super) struct Hooks {
    turns: Arc<Semaphore>,
    /// How many new messages are still to be announced.
    mail: Arc<Mutex<HashMap<Arc<str>, u64>>>,
}

/// A command and what it is told.
#[derive(Debug)]
pub(super) struct Hook {
    /// The key of the configuration that it stands under.
    pub(super) name: &'static str,
    pub(super) command: String,
    pub(super) account: Arc<str>,
    pub(super) variables: Vec<(&'static str, String)>,
    pub(super) stdin: String,
}

impl Default for Hooks {
    fn default() -> Self {
        Self {
            turns: Arc::new(Semaphore::new(AT_A_TIME)),
            mail: Arc::default(),
        }
    }
}

impl Hooks {
    /// Runs a command to its end, and says how it went wrong if it did.
    pub(super) async fn run(&self, hook: Hook) {
        let Ok(_turn) = self.turns.acquire().await else {
            return;
        };
        Self::run_now(&hook).await;
    }

    /// Counts new messages; whether [`Hooks::announce_mail`] is to be called for them.
    pub(super) fn add_mail(&self, account: &Arc<str>, messages: u64) -> bool {
        let mut mail = self.mail();
        let is_first = !mail.contains_key(account);
        *mail.entry(Arc::clone(account)).or_default() += messages;
        is_first
    }

    /// Runs the command for the messages that have come until it is its turn.
    pub(super) async fn announce_mail(&self, account: Arc<str>, command: String) {
        let Ok(_turn) = self.turns.acquire().await else {
            return;
        };
        let new = self.mail().remove(&account).unwrap_or_default();
        let messages = counted(usize::try_from(new).unwrap_or(usize::MAX), "new message");
        Self::run_now(&Hook {
            name: "on-new-mail",
            command,
            variables: vec![("POSTHOLE_NEW", new.to_string())],
            stdin: format!("{account}: {messages}\n"),
            account,
        })
        .await;
    }

    fn mail(&self) -> MutexGuard<'_, HashMap<Arc<str>, u64>> {
        self.mail.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn run_now(hook: &Hook) {
        let account = &*hook.account;
        match run(hook).await {
            Ok(()) => tracing::debug!(account, "the command of `{}` has run", hook.name),
            Err(problem) => {
                tracing::error!(account, "the command of `{}` {problem}", hook.name);
            }
        }
    }
}

async fn run(hook: &Hook) -> Result<(), String> {
    let mut command = exec::shell(&hook.command);
    command
        .env("POSTHOLE_ACCOUNT", &*hook.account)
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::piped())
        .process_group(0)
        .kill_on_drop(true);
    for (name, value) in &hook.variables {
        command.env(name, value);
    }
    let mut child = command
        .spawn()
        .map_err(|error| format!("could not be started: {error}"))?;
    let group = ProcessGroup::of(&child);
    let (stdin, stderr) = (child.stdin.take(), child.stderr.take());
    let feed = async {
        if let Some(mut stdin) = stdin {
            // A command that does not want to know is free not to read it.
            stdin.write_all(hook.stdin.as_bytes()).await.ok();
        }
    };
    let listen = tokio::spawn(async {
        let mut words = Vec::new();
        if let Some(stderr) = stderr {
            stderr.take(WORDS).read_to_end(&mut words).await.ok();
        }
        words
    });
    let listen = AbortOnDropHandle::new(listen);
    let ending = async { tokio::join!(child.wait(), feed).0 };
    let Ok(status) = tokio::time::timeout(TIME_LIMIT, ending).await else {
        return Err(format!(
            "did not end within {}",
            humantime::format_duration(TIME_LIMIT)
        ));
    };
    // What it left in the background may still hold its standard error.
    let words = tokio::time::timeout(LAST_WORDS, listen).await;
    let words = words.ok().and_then(Result::ok).unwrap_or_default();
    let status = status.map_err(|error| format!("could not be waited for: {error}"))?;
    if status.success() {
        group.leave_alone();
        return Ok(());
    }
    let words = String::from_utf8_lossy(&words);
    let words = words.lines().next().unwrap_or_default().trim();
    let how = match (status.code(), words) {
        (Some(code), "") => format!("failed with exit status {code}"),
        (Some(code), words) => format!("failed with exit status {code}: {words}"),
        (None, _) => "was killed".to_owned(),
    };
    Err(how)
}

/// Why somebody has to be told about an account, if so.
///
/// `stuck` is an account that nobody but a person gets going again; `awake` is since when polls
/// could have gone well at all.
pub(super) fn alarm(
    history: &History,
    plan: &DaemonPlan,
    every: Duration,
    stuck: Option<Trouble>,
    awake: u64,
    now: u64,
) -> Option<String> {
    if let Some(alarmed) = history.alarmed {
        let is_old = now.saturating_sub(alarmed) >= AGAIN.as_secs();
        if !is_old || history.failures == 0 {
            return None;
        }
    }
    let failing = now.saturating_sub(history.failing_since.unwrap_or(now));
    let is_left_alone = match stuck {
        None => false,
        // Whoever has started the daemon may be about to.
        Some(Trouble::Unanswered) => failing >= TO_UNLOCK.as_secs(),
        Some(_) => true,
    };
    if history.failures > 0 && is_left_alone {
        return Some("it waits for somebody to do something about it".to_owned());
    }
    if history.failures >= plan.failures {
        return Some(match history.failures {
            1 => "the last poll failed".to_owned(),
            failures => format!("the last {failures} polls failed"),
        });
    }
    // An account that is polled once a day is not silent after half of one.
    let silence = plan.silence?.max(every * 2).as_secs();
    let heard = history.last_success.unwrap_or(0).max(awake);
    (now.saturating_sub(heard) >= silence).then(|| {
        let time = Duration::from_secs(now.saturating_sub(heard));
        format!("no poll went well for {}", humantime::format_duration(time))
    })
}

/// What a command of `on-failure` reads.
pub(super) fn letter(account: &str, history: &History, why: &str) -> String {
    let mut text = format!("posthole: {account}: {why}\n");
    if let Some(reason) = &history.error {
        text += &format!("\n{}\n", reason.message);
        if let Some(hint) = &reason.hint {
            text += &format!("hint: {hint}\n");
        }
    }
    text += "\n`posthole status` shows more.\n";
    text
}

pub(crate) const AT_A_TIME: usize = 4;
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(60);
const LAST_WORDS: Duration = Duration::from_secs(1);
/// How much of what a command says is read.
const WORDS: u64 = 4096;
/// How long somebody may take to unlock what was started.
const TO_UNLOCK: Duration = Duration::from_secs(5 * 60);
/// An account that is still in trouble after a day is mentioned again.
const AGAIN: Duration = Duration::from_secs(24 * 60 * 60);

#[cfg(test)]
mod tests {
    use super::*;

    const MINUTE: Duration = Duration::from_secs(60);
    const HOUR: u64 = 3600;

    fn failing(failures: u32) -> History {
        History {
            failures,
            last_success: Some(100 * HOUR),
            ..History::default()
        }
    }

    #[test]
    fn somebody_is_told_after_failures_and_after_silence_and_daily() {
        let plan = DaemonPlan::default();
        let told = |history: &History, stuck: bool, now| {
            let stuck = stuck.then_some(Trouble::Authentication);
            alarm(history, &plan, 5 * MINUTE, stuck, 0, now).is_some()
        };
        assert!(!told(&failing(0), false, 101 * HOUR));
        assert!(!told(&failing(2), false, 101 * HOUR));
        assert!(told(&failing(3), false, 101 * HOUR));
        assert!(told(&failing(1), true, 101 * HOUR));
        assert!(!told(&failing(1), false, 111 * HOUR));
        assert!(told(&failing(1), false, 112 * HOUR));
        // A poll that hangs fails never.
        assert!(told(&failing(0), false, 112 * HOUR));
        let told_before = History {
            alarmed: Some(112 * HOUR),
            ..failing(9)
        };
        assert!(!told(&told_before, true, 135 * HOUR));
        assert!(told(&told_before, true, 136 * HOUR));
    }

    #[test]
    fn whoever_starts_the_daemon_has_time_to_unlock_it() {
        let plan = DaemonPlan::default();
        let history = History {
            failures: 1,
            failing_since: Some(200 * HOUR),
            last_success: Some(200 * HOUR),
            ..History::default()
        };
        let unanswered = Some(Trouble::Unanswered);
        let at = |now| alarm(&history, &plan, 5 * MINUTE, unanswered, 0, now);
        assert!(at(200 * HOUR + 299).is_none() && at(200 * HOUR + 300).is_some());
    }

    #[test]
    fn a_machine_that_slept_was_not_silent() {
        let plan = DaemonPlan::default();
        let history = failing(0);
        let at = |awake| alarm(&history, &plan, 5 * MINUTE, None, awake, 200 * HOUR);
        assert!(at(0).is_some() && at(199 * HOUR).is_none());
        let rarely = alarm(&history, &plan, 1500 * MINUTE, None, 0, 140 * HOUR);
        assert!(rarely.is_none(), "half of the interval is no silence");
    }

    fn hook(command: &str, stdin: &str) -> Hook {
        Hook {
            name: "on-failure",
            command: command.to_owned(),
            account: "work".into(),
            variables: vec![("POSTHOLE_FAILURES", "3".to_owned())],
            stdin: stdin.to_owned(),
        }
    }

    #[tokio::test]
    async fn a_command_reads_the_reason_and_knows_the_account() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("letter");
        let command = format!(
            "{{ cat; echo $POSTHOLE_ACCOUNT $POSTHOLE_FAILURES; }} > {}",
            path.display()
        );
        run(&hook(&command, "the reason\n")).await.unwrap();
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(text, "the reason\nwork 3\n");
    }

    #[tokio::test]
    async fn mail_that_comes_before_it_was_announced_is_announced_at_once() {
        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("mail");
        let command = format!("cat >> {}", path.display());
        let hooks = Hooks::default();
        let (work, home): (Arc<str>, Arc<str>) = ("work".into(), "home".into());
        assert!(hooks.add_mail(&work, 2) && hooks.add_mail(&home, 1));
        assert!(!hooks.add_mail(&work, 3));
        hooks.announce_mail(work.clone(), command.clone()).await;
        hooks.announce_mail(home, command).await;
        let text = std::fs::read_to_string(path).unwrap();
        assert_eq!(text, "work: 5 new messages\nhome: 1 new message\n");
        assert!(
            hooks.add_mail(&work, 1),
            "the next needs an announcement of its own"
        );
    }

    #[tokio::test]
    async fn a_command_that_fails_is_quoted_and_one_that_does_not_read_is_fine() {
        let failed = run(&hook("echo no mail >&2; exit 7", "x")).await;
        assert_eq!(failed, Err("failed with exit status 7: no mail".to_owned()));
        let long = "x".repeat(1 << 20);
        assert_eq!(run(&hook("exit 0", &long)).await, Ok(()));
    }

    #[tokio::test(start_paused = true)]
    async fn a_command_that_does_not_end_is_ended() {
        let endless = hook("exec sleep 600", "");
        let running = tokio::time::timeout(2 * TIME_LIMIT, run(&endless));
        let problem = running.await.expect("an end of it").unwrap_err();
        assert_eq!(problem, "did not end within 1m");
    }

    #[tokio::test(start_paused = true)]
    async fn four_commands_run_at_a_time_and_the_next_waits() {
        let hooks = Hooks::default();
        let directory = tempfile::tempdir().unwrap();
        let has_run = directory.path().join("has-run");
        let hook = || hook(&format!("exec touch {}", has_run.display()), "");
        let others = hooks.turns.acquire_many(4).await.unwrap();
        let waiting = tokio::time::timeout(60 * MINUTE, hooks.run(hook())).await;
        assert!(waiting.is_err() && !has_run.exists());
        drop(others);
        tokio::time::resume();
        hooks.run(hook()).await;
        assert!(has_run.exists());
    }
}
