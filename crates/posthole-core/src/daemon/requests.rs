//! What the daemon does when it is asked to.

use std::time::SystemTime;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::control::{Reply, Request};
use super::schedule::{State, Trouble};
use super::{Account, CURIOSITY, Daemon, Pause, route, seconds};
use crate::ask::SecretQuestion;
use crate::config::did_you_mean;
use crate::plan::PasswordSource;

impl Daemon {
    pub(super) fn request(&mut self, request: Request, reply: oneshot::Sender<Reply>) {
        let now = Instant::now();
        let answer = match request {
            Request::Status => Reply::Status {
                status: Box::new(self.status()),
            },
            Request::Wake { account: None } => {
                tracing::info!("woken");
                if self.paused == Some(Pause::UntilWake) {
                    self.paused = None;
                }
                self.wake_all();
                match self.paused {
                    Some(_) => Reply::done("woken, but still paused (`posthole resume` goes on)"),
                    None => Reply::done("polling all accounts"),
                }
            }
            Request::Wake {
                account: Some(name),
            } => {
                self.forgive();
                if self.schedule.wake(&name, now) {
                    tracing::info!(account = name, "woken");
                    match self.paused {
                        Some(_) => {
                            Reply::done("woken, but still paused (`posthole resume` goes on)")
                        }
                        None => Reply::done(format!("polling {name}")),
                    }
                } else {
                    let names: Vec<_> = self.order.iter().map(|name| &**name).collect();
                    let hint = match did_you_mean(&name, names.iter().copied()) {
                        Some(near) => format!("did you mean `{near}`?"),
                        None => "`posthole status` lists the accounts; `posthole reload` reads a \
                                 changed configuration"
                            .to_owned(),
                    };
                    let message = format!("the daemon has no account `{name}`");
                    Reply::failed(message, Some(&hint))
                }
            }
            Request::Pause { until_wake } => {
                if until_wake && self.paused.is_none() {
                    self.paused = Some(Pause::UntilWake);
                } else if !until_wake {
                    self.paused = Some(Pause::Asked);
                }
                tracing::info!("paused");
                Reply::done("paused; polls that are going on finish")
            }
            Request::Resume => {
                let was_paused = self.paused.take().is_some();
                if was_paused {
                    tracing::info!("resumed");
                    self.awake = seconds(SystemTime::now());
                    self.wake_all();
                    Reply::done("resumed; polling all accounts")
                } else {
                    Reply::done("it was not paused")
                }
            }
            Request::Reload { agent } => return self.reload(agent, Some(reply)),
            Request::Questions { wait: true } => {
                return self.curious.push((now + CURIOSITY, reply));
            }
            Request::Questions { wait: false } => Reply::Questions {
                questions: self.answers.open(),
            },
            Request::Answer { question, answer } => {
                self.answers.give(&question, &answer);
                drop(answer);
                self.forgive();
                match &question {
                    SecretQuestion::MailPassword { account, .. } => {
                        self.schedule.wake(account, now);
                    }
                    _ => self.wake_the_unanswered(),
                }
                Reply::done("kept in memory")
            }
            Request::Stop => {
                self.stop.cancel();
                Reply::done("stopping")
            }
        };
        // Whoever asked may have left.
        reply.send(answer).ok();
    }

    /// Has everybody polled, after dead connections are gone.
    pub(super) fn wake_all(&mut self) {
        self.forgive();
        self.probe();
        self.schedule.wake_all(Instant::now());
    }

    /// Has those polled who wait for an answer that is not the password of their mailbox.
    fn wake_the_unanswered(&mut self) {
        for name in self.order.clone() {
            let waits = self.schedule.state(&name) == Some(State::Stuck(Trouble::Unanswered));
            let question = self.accounts.get(&name).map(|a| a.job.password_question());
            if waits && !question.is_some_and(|question| self.answers.is_open(&question)) {
                self.schedule.wake(&name, Instant::now());
            }
        }
    }

    /// Tells those who wait for questions that there are some, or that there will be none.
    pub(super) fn satisfy_the_curious(&mut self) {
        if self.curious.is_empty() {
            return;
        }
        let questions = self.answers.open();
        let now = Instant::now();
        let mut accounts = self.accounts.iter();
        let may_ask = questions.is_empty() && accounts.any(|(name, a)| self.may_ask(name, a, now));
        for (deadline, reply) in std::mem::take(&mut self.curious) {
            if may_ask && now < deadline {
                self.curious.push((deadline, reply));
                continue;
            }
            let questions = questions.clone();
            reply.send(Reply::Questions { questions }).ok();
        }
    }

    /// Whether an account that is being polled, or is about to be, may turn out to need an answer.
    fn may_ask(&self, name: &str, account: &Account, now: Instant) -> bool {
        let is_prompt = account.job.password == PasswordSource::Prompt;
        let needs_answer = match &account.poll {
            Some(poll) if poll.activity.is_logged_in() => return false,
            Some(_) => is_prompt,
            None => {
                let state = self.schedule.state(name);
                let is_due = matches!(state, Some(State::Waiting(due)) if due <= now);
                if !is_due || self.paused.is_some() {
                    return false;
                }
                is_prompt && !self.answers.knows(&account.job.password_question())
            }
        };
        let is_connected = |hops| self.context.tunnels.are_connected(hops);
        needs_answer || route(&account.job).is_some_and(|hops| !is_connected(hops))
    }
}
