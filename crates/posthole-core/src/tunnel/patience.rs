//! Time limits that stand still while a person is asked.
//!
//! A server has half a minute to answer; a person looking for a passphrase has as long as they
//! like. Both happen inside the same steps, so a limit knows about questions being open.

use std::future::Future;
use std::pin::pin;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::Instant;

/// Knows whether somebody is being asked, and for how long they were.
#[derive(Debug)]
pub(super) struct Patience {
    asking: watch::Sender<usize>,
    asked: Mutex<Duration>,
}

impl Patience {
    pub(super) fn new() -> Self {
        Self {
            asking: watch::Sender::new(0),
            asked: Mutex::new(Duration::ZERO),
        }
    }

    /// Stops the clock until the guard is dropped.
    pub(super) fn pause(&self) -> Pause<'_> {
        self.asking.send_modify(|asking| *asking += 1);
        Pause {
            patience: self,
            since: Instant::now(),
        }
    }

    /// How long questions have been open in total.
    pub(super) fn asked(&self) -> Duration {
        *self.asked.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for the future, but no longer than the limit, not counting pauses.
    pub(super) async fn limit<F: Future>(
        &self,
        limit: Duration,
        future: F,
    ) -> Result<F::Output, TimedOut> {
        let mut future = pin!(future);
        let mut asking = self.asking.subscribe();
        let mut left = limit;
        loop {
            let is_paused = *asking.borrow_and_update() > 0;
            let since = Instant::now();
            tokio::select! {
                biased;
                output = &mut future => return Ok(output),
                // The sender lives in `self`, so a change is the only way this can end.
                _ = asking.changed() => {}
                () = tokio::time::sleep(left), if !is_paused => return Err(TimedOut),
            }
            if !is_paused {
                left = left.saturating_sub(since.elapsed());
            }
        }
    }
}

/// Keeps the clock stopped.
#[derive(Debug)]
pub(super) struct Pause<'a> {
    patience: &'a Patience,
    since: Instant,
}

impl Drop for Pause<'_> {
    fn drop(&mut self) {
        *self
            .patience
            .asked
            .lock()
            .unwrap_or_else(PoisonError::into_inner) += self.since.elapsed();
        self.patience.asking.send_modify(|asking| *asking -= 1);
    }
}

/// The limit was reached.
#[derive(Clone, Copy, Debug)]
pub(super) struct TimedOut;

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn time_spent_on_a_question_does_not_count() {
        let patience = Patience::new();
        let work = async {
            tokio::time::sleep(Duration::from_secs(8)).await;
            let pause = patience.pause();
            tokio::time::sleep(Duration::from_secs(600)).await;
            drop(pause);
            tokio::time::sleep(Duration::from_secs(1)).await;
        };
        patience.limit(Duration::from_secs(10), work).await.unwrap();
        assert_eq!(patience.asked(), Duration::from_secs(600));
    }

    #[tokio::test(start_paused = true)]
    async fn time_before_and_after_a_question_adds_up() {
        let patience = Patience::new();
        let work = async {
            tokio::time::sleep(Duration::from_secs(8)).await;
            drop(patience.pause());
            tokio::time::sleep(Duration::from_secs(8)).await;
        };
        patience
            .limit(Duration::from_secs(10), work)
            .await
            .unwrap_err();
    }
}
