//! The end of a poll: what it means for the next one, and who is told.

use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::{Id, JoinError};
use tokio::time::Instant;

use super::answers::{Answers, UNLOCK};
use super::files::Stamps;
use super::hooks::{self, Hook};
use super::schedule::{Ended, State, Trouble};
use super::{Chore, Daemon, History, Polled, Reason, counted, route, seconds};
use crate::ask::SecretQuestion;
use crate::error::{Class, Error};
use crate::plan::{Job, PasswordSource};
use crate::retrieve::Report;
use crate::session::SessionError;
use crate::transport::TransportError;
use crate::tunnel::TunnelErrorKind;

impl Daemon {
    /// Takes note of the end of a poll.
    pub(super) fn ended(&mut self, ended: Result<(Id, Polled), JoinError>) {
        let (id, report, files) = match ended {
            Ok((id, Polled { report, files })) => (id, Ok(report), files),
            Err(error) => (error.id(), Err(error), Stamps::default()),
        };
        let Some(name) = self.polled.remove(&id) else {
            return;
        };
        let Some(account) = self.accounts.get_mut(&name) else {
            return;
        };
        // The account was taken out and put in again meanwhile.
        if account.poll.as_ref().is_none_or(|poll| poll.id != id) {
            return;
        }
        account.poll = None;
        let now = SystemTime::now();
        let before = account.history.failures;
        let (ended, delay, fetched) = match &report {
            Ok(report) => {
                account.history.note(report, now);
                let ended = match &report.error {
                    None => Ended::Well,
                    Some(Error::Stopped) => Ended::Interrupted,
                    Some(Error::Session(error @ SessionError::Asleep { .. })) => {
                        tracing::info!(account = %name, "{error}, and is asked anew");
                        Ended::Interrupted
                    }
                    Some(error) => Ended::Badly(trouble(error, &account.job, &self.answers)),
                };
                let summary = &report.summary;
                (ended, summary.login_delay, summary.fetched)
            }
            Err(error) if error.is_cancelled() => (Ended::Interrupted, None, 0),
            Err(_) => {
                account.history.fail(Reason::crashed(), now);
                (Ended::Badly(Trouble::Temporary), None, 0)
            }
        };
        account.is_changed = true;
        if let Ended::Badly(Trouble::Unanswered) = ended
            && let Some(reason) = &mut account.history.error
        {
            reason.hint = Some(UNLOCK.to_owned());
        }
        if let Ok(report) = &report
            && let Some(Error::Transport(TransportError::Tunnel(error))) = &report.error
            && let TunnelErrorKind::Authentication | TunnelErrorKind::Unanswered = error.kind()
            && !self.has_agent
            && !names_an_agent(&account.job)
            && let Some(reason) = &mut account.history.error
        {
            let hint = reason.hint.get_or_insert_default();
            if !hint.is_empty() {
                hint.push_str("; ");
            }
            hint.push_str(NO_AGENT);
        }
        let chance = RandomState::new().hash_one(id);
        self.schedule
            .ended(&name, ended, delay, Instant::now(), chance);
        if let Ok(report) = &report {
            tell_of_messages(&name, report);
        }
        let state = self.schedule.state(&name);
        tell_of_end(&name, &account.history, before, ended, state);
        if let Ended::Badly(trouble) = ended
            && !matches!(trouble, Trouble::Temporary | Trouble::Busy)
        {
            account.files = Some(files);
        }
        if ended == Ended::Well && before > 0 {
            self.forget_ssh_questions();
        }
        if fetched > 0 {
            self.announce_mail(&name, fetched);
        }
        self.alarm(&name);
    }

    /// An account got in again, perhaps by another way than the one that was asked about; who still
    /// needs an answer asks again.
    fn forget_ssh_questions(&self) {
        let is_unanswered =
            |name: &Arc<str>| self.schedule.state(name) == Some(State::Stuck(Trouble::Unanswered));
        if !self.order.iter().any(is_unanswered) {
            let is_of_mail =
                |question: &SecretQuestion| matches!(question, SecretQuestion::MailPassword { .. });
            self.answers.retain(is_of_mail);
        }
    }

    pub(super) fn announce_mail(&mut self, name: &Arc<str>, fetched: u64) {
        let Some(command) = self.plan.daemon.on_new_mail.clone() else {
            return;
        };
        // One that still waits for its turn announces this mail as well.
        if self.hooks.add_mail(name, fetched) {
            let (hooks, account) = (self.hooks.clone(), Arc::clone(name));
            self.chores.spawn_local(async move {
                hooks.announce_mail(account, command).await;
                Chore::Done
            });
        }
    }

    /// Tells somebody that an account is in trouble, if it is time to.
    pub(super) fn alarm(&mut self, name: &Arc<str>) {
        let now = seconds(SystemTime::now());
        let stuck = match self.schedule.state(name) {
            Some(State::Stuck(trouble)) => Some(trouble),
            _ => None,
        };
        let Some(account) = self.accounts.get_mut(name) else {
            return;
        };
        let (history, every) = (&account.history, account.job.every);
        let plan = &self.plan.daemon;
        let Some(why) = hooks::alarm(history, plan, every, stuck, self.awake, now) else {
            return;
        };
        account.history.alarmed = Some(now);
        account.is_changed = true;
        let history = account.history.clone();
        tracing::error!(account = %name, "this account needs attention: {why}");
        let Some(command) = self.plan.daemon.on_failure.clone() else {
            return;
        };
        let class = history.error.as_ref().map(|reason| reason.class.clone());
        let last_success = history.last_success.unwrap_or(0);
        self.hook(Hook {
            name: "on-failure",
            command,
            account: Arc::clone(name),
            variables: vec![
                ("POSTHOLE_FAILURES", history.failures.to_string()),
                ("POSTHOLE_CLASS", class.unwrap_or_default()),
                ("POSTHOLE_LAST_SUCCESS", last_success.to_string()),
            ],
            stdin: hooks::letter(name, &history, &why),
        });
    }

    pub(super) fn hook(&mut self, hook: Hook) {
        let hooks = self.hooks.clone();
        self.chores.spawn_local(async move {
            hooks.run(hook).await;
            Chore::Done
        });
    }
}

/// Whether the configuration says which agent is asked.
fn names_an_agent(job: &Job) -> bool {
    route(job).is_some_and(|hops| hops.iter().any(|hop| hop.agent.is_some()))
}

/// What trouble an error means.
pub(super) fn trouble(error: &Error, job: &Job, answers: &Answers) -> Trouble {
    if error.wants_answer() {
        return Trouble::Unanswered;
    }
    if error.is_busy() {
        return Trouble::Busy;
    }
    match error {
        // No server was bothered, and a keyring may be unlocked any time.
        Error::Secret(_) => return Trouble::Permanent,
        Error::Session(_)
            if error.class() == Class::Authentication
                && job.password == PasswordSource::Prompt
                && answers.refuse(&job.password_question()) =>
        {
            return Trouble::Unanswered;
        }
        _ => {}
    }
    match error.class() {
        Class::Authentication => Trouble::Authentication,
        Class::Certificate | Class::Config | Class::HostKey => Trouble::Permanent,
        Class::Local | Class::Protocol | Class::Temporary | Class::Unavailable => {
            Trouble::Temporary
        }
    }
}

pub(super) fn tell_of_messages(name: &str, report: &Report) {
    let summary = &report.summary;
    if summary.fetched > 0 || summary.deleted > 0 {
        tracing::info!(
            account = name,
            "{} new ({} octets), {} deleted, {} left, {:.1} s",
            summary.fetched,
            summary.octets,
            summary.deleted,
            summary.left,
            summary.took.as_secs_f64()
        );
    } else if report.error.is_none() {
        tracing::debug!(account = name, "nothing new, {} left", summary.left);
    }
    for failure in &summary.failed {
        tracing::warn!(
            account = name,
            "message {} could not be fetched, and is tried again later: {}",
            failure.uid,
            failure.reason
        );
    }
}

pub(super) fn tell_of_end(
    name: &str,
    history: &History,
    before: u32,
    ended: Ended,
    state: Option<State>,
) {
    if ended == Ended::Well && before > 0 {
        let failures = counted(usize::try_from(before).unwrap_or(usize::MAX), "failure");
        tracing::info!(account = name, "works again after {failures}");
    }
    let (Ended::Badly(trouble), Some(reason)) = (ended, &history.error) else {
        return;
    };
    let mut text = reason.message.clone();
    if let Some(hint) = &reason.hint {
        text += &format!("; {hint}");
    }
    let next = match state {
        Some(State::Waiting(due)) => {
            let pause = due
                .saturating_duration_since(Instant::now())
                .as_secs()
                .max(1);
            let pause = humantime::format_duration(Duration::from_secs(pause));
            format!("next try in {pause}")
        }
        Some(State::Stuck(Trouble::Unanswered)) => "it waits for that".to_owned(),
        _ => format!(
            "it is not tried again until a file it needs changes, or by `posthole wake {name}`"
        ),
    };
    match trouble {
        Trouble::Temporary | Trouble::Busy => tracing::warn!(account = name, "{text} ({next})"),
        _ => tracing::error!(account = name, "{text} ({next})"),
    }
}

/// What a service that was not started from a shell has to be told.
const NO_AGENT: &str = "no ssh-agent is asked, since SSH_AUTH_SOCK is not set here: run `systemctl \
     --user import-environment SSH_AUTH_SOCK` and restart the service, or name the socket with \
     `agent` below [ssh.NAME], or run `posthole reload` in a shell that has an agent";
