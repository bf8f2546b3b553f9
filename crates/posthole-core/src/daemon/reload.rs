//! A new configuration: what it changes is changed, and what it leaves is left alone.

use std::path::PathBuf;
use std::sync::Arc;

use tokio::sync::oneshot;
use tokio::time::Instant;

use super::control::Reply;
use super::files::Stamps;
use super::histories::{self, Histories};
use super::{Account, Chore, Daemon, Loaded, Loading, News, NotLoaded, counted, limits, route};
use crate::ask::SecretQuestion;
use crate::plan::{Forward, Hop, Job, PasswordSource, Plan};
use crate::retrieve::BatchLimits;

/// What was read for a new configuration.
pub(super) struct Read {
    /// What the files it depends on so far looked like before.
    pub(super) watch: Stamps,
    pub(super) loaded: Result<Loaded, NotLoaded>,
    /// Of accounts that may be new, or come again.
    pub(super) histories: Histories,
}

impl Daemon {
    pub(super) fn reload(&mut self, agent: Option<PathBuf>, reply: Option<oneshot::Sender<Reply>>) {
        if let Some(loading) = &mut self.loading {
            loading.replies.extend(reply);
            loading.again = Some(agent.or_else(|| loading.again.take().flatten()));
            return;
        }
        self.loading = Some(Loading {
            replies: reply.into_iter().collect(),
            again: None,
        });
        self.teller.tell(&News::Reloading);
        let load = Arc::clone(&self.load);
        let (watch, state_dir) = (self.watch.clone(), self.plan.state_dir.clone());
        self.chores.spawn_local(async move {
            let read = tokio::task::spawn_blocking(move || Read {
                // Before the files are read, so that no change is missed.
                watch: watch.again(),
                loaded: load(agent),
                histories: histories::read(&state_dir),
            });
            let read = read.await.unwrap_or_else(|_| {
                let message = "internal error while the configuration was read".to_owned();
                Read {
                    watch: Stamps::default(),
                    loaded: Err(NotLoaded {
                        details: message.clone(),
                        message,
                    }),
                    histories: Histories::default(),
                }
            });
            Chore::Loaded(Box::new(read))
        });
    }

    pub(super) fn loaded(&mut self, read: Read) {
        let Read {
            watch: before,
            loaded,
            histories,
        } = read;
        let Some(Loading { replies, again }) = self.loading.take() else {
            return;
        };
        let answer = match loaded {
            Ok(Loaded { plan, .. }) if plan.state_dir != self.plan.state_dir => {
                let message = "the configuration is not taken over: its records are elsewhere";
                tracing::error!("{message}");
                let hint = "restart the daemon for that";
                Err(Reply::failed(message, Some(hint)))
            }
            Ok(Loaded {
                plan,
                watch,
                has_agent,
            }) => {
                self.has_agent = has_agent;
                self.watch = before.about(watch);
                self.config_problem = None;
                let what = self.adopt(plan, &histories);
                self.configure_services();
                tracing::info!("configuration read: {what}");
                Ok(format!("configuration read: {what}"))
            }
            Err(NotLoaded { message, details }) => {
                self.watch = before;
                self.config_problem = Some(message.clone());
                for line in details.lines().filter(|line| !line.trim().is_empty()) {
                    tracing::error!("{line}");
                }
                tracing::error!("{message}: the old configuration stays in force");
                Err(Reply::Failed {
                    message,
                    hint: Some("the old configuration stays in force".to_owned()),
                    details: Some(details).filter(|details| !details.is_empty()),
                })
            }
        };
        self.teller.tell(&News::Ready);
        self.said.clear();
        for reply in replies {
            let answer = match &answer {
                Ok(text) => Reply::done(text.clone()),
                Err(refusal) => refusal.clone(),
            };
            reply.send(answer).ok();
        }
        if let Some(agent) = again {
            self.reload(agent, None);
        }
    }

    /// Does from now on what the plan says, and says what that changed.
    pub(super) fn adopt(&mut self, plan: Plan, histories: &Histories) -> String {
        let now = Instant::now();
        let (mut added, mut changed, mut same) = (0, 0, 0);
        let order: Vec<Arc<str>> = plan
            .jobs
            .iter()
            .map(|job| job.account.as_str().into())
            .collect();
        let gone: Vec<_> = self.accounts.keys().cloned().collect();
        let gone: Vec<_> = gone.into_iter().filter(|n| !order.contains(n)).collect();
        // One that comes again finds its history.
        self.save_aside();
        for name in &gone {
            self.schedule.remove(name);
            self.watcher.forget(name);
            if let Some(Account {
                poll: Some(poll), ..
            }) = self.accounts.remove(name)
            {
                poll.stop.cancel();
            }
        }
        self.schedule.set_limits(limits(&plan));
        for (name, job) in order.iter().zip(&plan.jobs) {
            match self.accounts.get_mut(name) {
                Some(account) if account.job == *job => {
                    same += 1;
                    continue;
                }
                Some(account) => {
                    changed += 1;
                    account.job = Arc::clone(job);
                    account.files = None;
                    if let Some(poll) = &account.poll {
                        // It takes up the rest as the new configuration wants it.
                        poll.stop.cancel();
                    }
                }
                None => {
                    added += 1;
                    let account = Account {
                        job: Arc::clone(job),
                        history: histories.get(&**name).cloned().unwrap_or_default(),
                        is_changed: false,
                        poll: None,
                        files: None,
                        is_looking: false,
                    };
                    self.accounts.insert(Arc::clone(name), account);
                }
            }
            self.schedule.put(name, job.every, &host(job), now);
        }
        self.context
            .tunnels
            .retain(plan.jobs.iter().filter_map(|job| route(job)));
        if added + changed + gone.len() > 0 {
            self.forgive();
        }
        let jobs = plan.daemon.jobs.min(plan.jobs.len());
        self.context.batch = BatchLimits::within(self.open_files, jobs);
        self.forget_questions(&plan);
        let forwards = forwards_changed(&self.plan, &plan);
        self.order = order;
        self.plan = plan;
        let text = format!(
            "{}, {added} added, {changed} changed, {} removed, {same} as before{forwards}",
            counted(self.order.len(), "account"),
            gone.len()
        );
        text.replace(", 0 added", "")
            .replace(", 0 changed", "")
            .replace(", 0 removed", "")
            .replace(", 0 as before", "")
    }

    /// Does not ask for passwords of accounts that are gone.
    pub(super) fn forget_questions(&self, plan: &Plan) {
        let wanted: Vec<_> = plan
            .jobs
            .iter()
            .filter(|job| job.password == PasswordSource::Prompt)
            .map(|job| job.password_question())
            .collect();
        self.answers.retain(|question| match question {
            SecretQuestion::MailPassword { .. } => wanted.contains(question),
            _ => true,
        });
    }

    pub(super) fn configure_services(&mut self) {
        for service in &mut self.services {
            service.configure(&self.plan, &self.handle);
        }
    }
}

/// `, 2 forwards (1 new or changed)`, where there are forwards.
fn forwards_changed(before: &Plan, after: &Plan) -> String {
    if before.forwards.is_empty() && after.forwards.is_empty() {
        return String::new();
    }
    let is_new = |forward: &&Arc<Forward>| !before.forwards.contains(forward);
    let count = counted(after.forwards.len(), "forward");
    match after.forwards.iter().filter(is_new).count() {
        0 => format!(", {count}"),
        new => format!(", {count} ({new} new or changed)"),
    }
}

/// The mail server as far as its load goes: `localhost` is another one behind each SSH host.
pub(super) fn host(job: &Job) -> String {
    let behind = route(job).and_then(<[Hop]>::last);
    let behind = behind.map_or("", |hop| &hop.address.host);
    format!("{} behind {behind}", job.server.host).to_ascii_lowercase()
}
