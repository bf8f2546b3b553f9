//! The place of a connection: one attempt at a time, and not again too soon.
//!
//! Many accounts may want the same connection at once. One of them makes it while the others wait,
//! and what came of it is theirs, too. Who comes after a failure gets the same failure for a while,
//! which grows with every failed attempt and differs from host to host: a server that is down is not
//! hammered, and one that has refused us is not asked again and again until it shuts us out.

use std::hash::{BuildHasher, RandomState};
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use tokio::sync::Mutex;
use tokio::time::Instant;

use super::error::{TunnelError, TunnelErrorKind};

/// The place of a connection, existing or not.
#[derive(Debug)]
pub(super) struct Slot<T> {
    /// How often a connection was attempted.
    attempts: AtomicU64,
    /// Held by whoever is connecting.
    state: Mutex<State<T>>,
}

#[derive(Debug)]
struct State<T> {
    connection: Option<T>,
    failure: Option<Failure>,
}

impl<T> Default for Slot<T> {
    fn default() -> Self {
        Self {
            attempts: AtomicU64::new(0),
            state: Mutex::new(State {
                connection: None,
                failure: None,
            }),
        }
    }
}

impl<T: Clone> Slot<T> {
    /// The connection, made by `connect` if there is none that is alive, and whether it was made
    /// just now.
    pub(super) async fn get(
        &self,
        is_alive: impl Fn(&T) -> bool,
        connect: impl Future<Output = Result<T, TunnelError>>,
    ) -> Result<(T, bool), TunnelError> {
        let seen = self.attempts.load(Ordering::Acquire);
        let mut state = self.state.lock().await;
        if let Some(connection) = &state.connection
            && is_alive(connection)
        {
            return Ok((connection.clone(), false));
        }
        if let Some(failure) = &state.failure {
            // Somebody else may have tried while we waited for our turn.
            let has_waited = self.attempts.load(Ordering::Acquire) != seen;
            if has_waited || Instant::now() < failure.until {
                return Err(failure.error.clone());
            }
        }
        state.connection = None;
        let connected = connect.await;
        self.attempts.fetch_add(1, Ordering::Release);
        match connected {
            Ok(connection) => {
                state.failure = None;
                state.connection = Some(connection.clone());
                Ok((connection, true))
            }
            Err(error) => {
                let failures = state.failure.as_ref().map_or(0, |failure| failure.count);
                state.failure = Some(Failure::new(error.clone(), failures.saturating_add(1)));
                Err(error)
            }
        }
    }

    /// The connection, unless somebody is making one.
    pub(super) fn look(&self) -> Option<T> {
        self.state.try_lock().ok()?.connection.clone()
    }

    /// Lets the next attempt be made at once.
    pub(super) fn forgive(&self) {
        if let Ok(mut state) = self.state.try_lock() {
            state.failure = None;
        }
    }

    /// Takes the connection out.
    pub(super) async fn take(&self) -> Option<T> {
        self.state.lock().await.connection.take()
    }
}

/// Why there is no connection.
#[derive(Debug)]
struct Failure {
    error: TunnelError,
    /// How many attempts in a row have failed.
    count: u32,
    /// When the next attempt may be made.
    until: Instant,
}

impl Failure {
    fn new(error: TunnelError, count: u32) -> Self {
        let pause = match error.kind() {
            TunnelErrorKind::Network | TunnelErrorKind::Refused => pause_after(count),
            // It will fail the same way until a person has done something.
            _ => LONGEST_PAUSE,
        };
        Self {
            error,
            count,
            until: Instant::now() + jittered(pause),
        }
    }
}

/// Doubles with every failure.
fn pause_after(failures: u32) -> Duration {
    let factor = 1_u32
        .checked_shl(failures.saturating_sub(1))
        .unwrap_or(u32::MAX);
    FIRST_PAUSE.saturating_mul(factor).min(LONGEST_PAUSE)
}

/// Up to a quarter shorter, so that what failed together is not tried again together.
fn jittered(pause: Duration) -> Duration {
    // Keyed at random for each instance, which is all the chance that is needed here.
    let chance = RandomState::new().hash_one(0_u8) % 1024;
    let share = u32::try_from(chance).unwrap_or(0);
    pause - pause / 4 * share / 1024
}

const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(60);

#[cfg(test)]
mod tests {
    use std::sync::Arc;
    use std::sync::atomic::AtomicUsize;

    use super::super::error::Phase;
    use super::*;

    fn down() -> TunnelError {
        TunnelError::Timeout {
            host: "popserver".to_owned(),
            during: Phase::KeyExchange,
            after: Duration::from_secs(30),
        }
    }

    fn declined() -> TunnelError {
        TunnelError::HostKeyDeclined {
            host: "popserver".to_owned(),
            fingerprint: "SHA256:x".to_owned(),
        }
    }

    /// Counts the attempts made in a slot.
    #[derive(Default)]
    struct Attempts {
        slot: Slot<u8>,
        made: AtomicUsize,
    }

    impl Attempts {
        async fn get(&self, outcome: Result<u8, TunnelError>) -> Result<(u8, bool), TunnelError> {
            let connect = async {
                self.made.fetch_add(1, Ordering::Relaxed);
                tokio::time::sleep(Duration::from_millis(100)).await;
                outcome
            };
            self.slot.get(|&connection| connection != 0, connect).await
        }

        fn made(&self) -> usize {
            self.made.load(Ordering::Relaxed)
        }
    }

    #[tokio::test(start_paused = true)]
    async fn who_waits_shares_what_comes_of_an_attempt() {
        let attempts = Attempts::default();
        let (a, b) = tokio::join!(attempts.get(Err(down())), attempts.get(Ok(1)));
        assert!(a.is_err() && b.is_err());
        assert_eq!(attempts.made(), 1);
        tokio::time::advance(FIRST_PAUSE).await;
        let (a, b) = tokio::join!(attempts.get(Ok(2)), attempts.get(Ok(3)));
        assert_eq!((a.unwrap(), b.unwrap()), ((2, true), (2, false)));
    }

    #[tokio::test(start_paused = true)]
    async fn a_host_that_is_down_is_tried_ever_less_often() {
        let attempts = Attempts::default();
        // Somebody comes back every 100 ms for ten minutes.
        let began = Instant::now();
        let mut when = Vec::new();
        while began.elapsed() < Duration::from_secs(600) {
            let made = attempts.made();
            attempts.get(Err(down())).await.unwrap_err();
            if attempts.made() > made {
                when.push(began.elapsed());
            }
            tokio::time::advance(Duration::from_millis(100)).await;
        }
        assert!((15..=22).contains(&when.len()), "{when:?}");
        let pause = when[when.len() - 1] - when[when.len() - 2];
        assert!(
            pause >= LONGEST_PAUSE * 3 / 4 && pause < LONGEST_PAUSE * 5 / 4,
            "{when:?}"
        );
        // Once it is up, all is forgotten.
        tokio::time::advance(LONGEST_PAUSE).await;
        attempts.get(Ok(0)).await.unwrap();
        attempts.get(Err(down())).await.unwrap_err();
        tokio::time::advance(FIRST_PAUSE).await;
        attempts.get(Ok(1)).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_not_provoked_again_at_once() {
        let attempts = Attempts::default();
        attempts.get(Err(declined())).await.unwrap_err();
        tokio::time::advance(LONGEST_PAUSE / 2).await;
        let again = attempts.get(Ok(1)).await.unwrap_err();
        assert!(matches!(again, TunnelError::HostKeyDeclined { .. }));
        assert_eq!(attempts.made(), 1);
        tokio::time::advance(LONGEST_PAUSE).await;
        attempts.get(Ok(1)).await.unwrap();
    }

    #[tokio::test(start_paused = true)]
    async fn giving_up_an_attempt_leaves_the_turn_to_the_next() {
        let attempts = Arc::new(Attempts::default());
        let first = Arc::clone(&attempts);
        let first = tokio::spawn(async move { first.get(Ok(1)).await });
        tokio::task::yield_now().await;
        first.abort();
        assert_eq!(attempts.get(Ok(2)).await.unwrap(), (2, true));
        assert_eq!(attempts.made(), 2);
    }

    #[test]
    fn pauses_differ() {
        let pauses: Vec<_> = (0..50).map(|_| jittered(LONGEST_PAUSE)).collect();
        assert!(pauses.iter().any(|pause| *pause != pauses[0]));
        let bounds = LONGEST_PAUSE * 3 / 4..=LONGEST_PAUSE;
        assert!(pauses.iter().all(|pause| bounds.contains(pause)));
    }
}
