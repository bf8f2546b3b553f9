//! What polls tell while they run.

use std::collections::HashMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::progress::{Event, Observer, Step};

/// Follows the polls of all accounts.
#[derive(Debug, Default)]
pub(super) struct Watcher {
    polls: Mutex<HashMap<Arc<str>, Arc<Activity>>>,
}

/// How a poll moves on.
#[derive(Debug, Default)]
pub(super) struct Activity {
    is_logged_in: AtomicBool,
}

impl Activity {
    /// Whether it is past all questions.
    pub(super) fn is_logged_in(&self) -> bool {
        self.is_logged_in.load(Ordering::Relaxed)
    }
}

impl Watcher {
    /// Follows a new poll of an account.
    pub(super) fn follow(&self, account: &Arc<str>) -> Arc<Activity> {
        let activity = Arc::<Activity>::default();
        self.polls()
            .insert(Arc::clone(account), Arc::clone(&activity));
        activity
    }

    /// The account is gone.
    pub(super) fn forget(&self, account: &str) {
        self.polls().remove(account);
    }

    fn polls(&self) -> MutexGuard<'_, HashMap<Arc<str>, Arc<Activity>>> {
        self.polls.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Watcher {
    fn event(&self, account: &str, event: &Event) {
        match event {
            Event::Notice(text) => tracing::info!(account, "{text}"),
            Event::Step {
                step: step @ (Step::Authenticated { .. } | Step::Secured(_)),
                ..
            } => tracing::debug!(account, "{step:?}"),
            _ => {}
        }
        let Some(activity) = self.polls().get(account).cloned() else {
            return;
        };
        if let Event::Step {
            step: Step::LoggedIn { .. },
            ..
        } = event
        {
            activity.is_logged_in.store(true, Ordering::Relaxed);
        }
    }
}
