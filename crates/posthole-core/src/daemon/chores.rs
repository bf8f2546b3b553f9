//! What is done on the side: looking for dead connections, changed files and silent accounts.

use std::sync::Arc;
use std::time::{Duration, SystemTime};

use tokio::task::{JoinError, JoinHandle, spawn_blocking};
use tokio::time::Instant;

use super::histories::{self, Histories};
use super::{Account, Chore, Daemon, News, SIGN_OF_LIFE, counted, seconds};

impl Daemon {
    /// Lets what failed be tried again: somebody has done something about it.
    pub(super) fn forgive(&mut self) {
        self.context.tunnels.forgive();
        for service in &mut self.services {
            service.forgive();
        }
    }

    /// Gives up SSH connections that are dead.
    pub(super) fn probe(&mut self) {
        for service in &mut self.services {
            service.probe();
        }
        let tunnels = Arc::clone(&self.context.tunnels);
        self.chores.spawn_local(async move {
            Chore::Probed {
                dead: tunnels.drop_dead(SIGN_OF_LIFE).await,
            }
        });
    }

    pub(super) fn chore(&mut self, chore: Result<Chore, JoinError>) {
        match chore {
            Ok(Chore::Files { account, changed }) => {
                if let Some(known) = self.accounts.get_mut(&account) {
                    known.is_looking = false;
                    if changed && known.poll.is_none() {
                        tracing::info!(account = %account, "a file it needs has changed");
                        known.files = None;
                        self.forgive();
                        self.schedule.wake(&account, Instant::now());
                    }
                }
            }
            Ok(Chore::Configuration { changed }) => {
                self.is_looking = false;
                if changed && self.loading.is_none() {
                    tracing::info!("the configuration, or what it depends on, has changed");
                    self.reload(None, None);
                }
            }
            Ok(Chore::Loaded(loaded)) => self.loaded(*loaded),
            Ok(Chore::Saved) => self.is_saving = false,
            Ok(Chore::Probed { dead: 0 } | Chore::Done) => {}
            Ok(Chore::Probed { dead }) => {
                tracing::info!("{} given up", counted(dead, "dead connection"));
                self.schedule.wake_all(Instant::now());
            }
            Err(error) if error.is_panic() => tracing::error!("internal error in a chore"),
            Err(_) => {}
        }
    }

    /// What is done every few seconds.
    pub(super) fn look_around(&mut self) {
        self.teller.tell(&News::Alive);
        let clock = (self.clocks)();
        if let Some(jump) = self.clock.jump_until(&clock, self.tick) {
            tracing::info!("{jump}: polling all accounts");
            self.awake = seconds(SystemTime::now());
            self.context.doubts.raise(SIGN_OF_LIFE * 2);
            self.wake_all();
        }
        self.clock = clock;
        self.look_at_files();
        if self.paused.is_none() {
            for name in self.order.clone() {
                self.alarm(&name);
            }
        }
        if self.saved.elapsed() >= SAVE_EVERY {
            self.save_aside();
        }
    }

    /// Writes down what has changed, unless that is being done.
    pub(super) fn save_aside(&mut self) {
        if !self.is_saving
            && let Some(saving) = self.save()
        {
            self.is_saving = true;
            self.chores.spawn_local(async move {
                saving.await.ok();
                Chore::Saved
            });
        }
    }

    /// Looks whether somebody has done something about accounts in trouble.
    pub(super) fn look_at_files(&mut self) {
        // An agent that has moved is found by reading it again.
        let mut services = self.services.iter().flat_map(|service| service.status());
        let mut is_anybody_in_trouble =
            self.config_problem.is_some() || services.any(|service| !service.ok);
        for (name, account) in &mut self.accounts {
            let Some(stamps) = account.files.clone() else {
                continue;
            };
            is_anybody_in_trouble = true;
            if !std::mem::replace(&mut account.is_looking, true) {
                let name = Arc::clone(name);
                self.chores.spawn_blocking(move || Chore::Files {
                    changed: stamps.have_changed(),
                    account: name,
                });
            }
        }
        if is_anybody_in_trouble && self.loading.is_none() && !self.is_looking {
            self.is_looking = true;
            let stamps = self.watch.clone();
            self.chores.spawn_blocking(move || Chore::Configuration {
                changed: stamps.have_changed(),
            });
        }
    }

    /// Writes down what has changed, in a task of its own.
    pub(super) fn save(&mut self) -> Option<JoinHandle<()>> {
        self.saved = Instant::now();
        let take = |(name, account): (&Arc<str>, &mut Account)| {
            let is_changed = std::mem::take(&mut account.is_changed);
            is_changed.then(|| (name.to_string(), account.history.clone()))
        };
        let changed: Histories = self.accounts.iter_mut().filter_map(take).collect();
        if changed.is_empty() {
            return None;
        }
        let state_dir = self.plan.state_dir.clone();
        Some(spawn_blocking(move || {
            if let Err(error) = histories::update(&state_dir, changed) {
                let state_dir = state_dir.display();
                tracing::warn!("cannot write the state of the accounts in {state_dir}: {error}");
            }
        }))
    }
}

const SAVE_EVERY: Duration = Duration::from_secs(10);
