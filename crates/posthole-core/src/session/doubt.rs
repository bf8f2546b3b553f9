//! Doubt about connections that stood before the machine slept.
//!
//! Mostly they are dead, and neither end says so. Whoever has noticed the sleep raises the doubt;
//! a session that waits for its server then has to hear something soon. One that does not wait is
//! left alone, however long it takes: a command is running, or a person is being asked.

use std::future::pending;
use std::time::Duration;

use tokio::sync::watch;

/// Tells sessions that their connections may be dead.
#[derive(Clone, Debug, Default)]
pub struct Doubts(watch::Sender<Duration>);

impl Doubts {
    /// From now on each session that waits for an answer gives it this long to come.
    pub(crate) fn raise(&self, limit: Duration) {
        self.0.send_replace(limit);
    }

    /// For a connection that is made now.
    pub(crate) fn follow(&self) -> Doubt {
        Doubt(Some(self.0.subscribe()))
    }
}

/// What a session knows of doubts about its connection; by default there are none.
#[derive(Clone, Debug, Default)]
pub(crate) struct Doubt(Option<watch::Receiver<Duration>>);

impl Doubt {
    /// Something was heard.
    pub(super) fn dispel(&mut self) {
        if let Some(doubts) = &mut self.0 {
            doubts.mark_unchanged();
        }
    }

    /// Returns once there is a doubt and the limit that was set with it has passed.
    pub(super) async fn confirmed(mut self) -> Duration {
        let Some(doubts) = &mut self.0 else {
            return pending().await;
        };
        if doubts.changed().await.is_err() {
            return pending().await;
        }
        let limit = *doubts.borrow();
        tokio::time::sleep(limit).await;
        limit
    }
}
