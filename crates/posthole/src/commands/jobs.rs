//! Many accounts side by side.

use std::collections::HashMap;
use std::future::Future;
use std::sync::Arc;
use std::time::{Duration, Instant};

use posthole_core::plan::Job;
use tokio::sync::Semaphore;
use tokio::task::{JoinError, JoinSet, LocalSet};
use tokio_util::sync::CancellationToken;

use crate::report::Problem;

/// Runs `work` for each account, at most `limit` of them at a time, and hands each outcome to
/// `done` as it comes, with the time it took.
///
/// A panic ends one account's work and becomes a problem of that account. Accounts whose turn has
/// not come when `stop` is cancelled are left out.
pub(crate) async fn side_by_side<T, F>(
    jobs: Vec<Arc<Job>>,
    limit: u16,
    stop: &CancellationToken,
    work: impl Fn(Arc<Job>) -> F,
    mut done: impl FnMut(&Job, Result<T, Problem>, Duration),
) where
    T: 'static,
    F: Future<Output = T> + 'static,
{
    // All of it stays on this thread, so a session need not be fit to move to another.
    let here = LocalSet::new();
    let turns = Arc::new(Semaphore::new(limit.into()));
    let mut tasks = JoinSet::new();
    let mut running = HashMap::with_capacity(jobs.len());
    for job in jobs {
        let work = work(Arc::clone(&job));
        let turns = Arc::clone(&turns);
        let stop = stop.clone();
        let task = async move {
            // INVARIANT: nothing closes this semaphore.
            let _turn = turns.acquire_owned().await.expect("the semaphore is open");
            if stop.is_cancelled() {
                return None;
            }
            let start = Instant::now();
            Some((work.await, start.elapsed()))
        };
        running.insert(tasks.spawn_local_on(task, &here).id(), job);
    }
    let collect = async {
        while let Some(ended) = tasks.join_next_with_id().await {
            let (id, outcome) = match ended {
                Ok((_, None)) => continue,
                Ok((id, Some((outcome, took)))) => (id, (Ok(outcome), took)),
                Err(error) => (error.id(), (Err(crashed(error)), Duration::ZERO)),
            };
            // INVARIANT: every task was entered under its id when it was spawned, and ends once.
            let job = running.remove(&id).expect("the task is known");
            done(&job, outcome.0, outcome.1);
        }
    };
    here.run_until(collect).await;
}

pub(super) fn crashed(error: JoinError) -> Problem {
    let Ok(payload) = error.try_into_panic() else {
        return Problem::internal("internal error: the account's task was cancelled");
    };
    let text = payload.downcast_ref::<&str>().copied();
    let text = text.or_else(|| payload.downcast_ref::<String>().map(String::as_str));
    Problem::internal(format!(
        "internal error: {}",
        text.unwrap_or("a panic without words")
    ))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use posthole_core::plan::{
        Auth, DeliverTo, Edits, HostPort, Keep, PasswordSource, Route, Select, Tls,
    };

    use super::*;
    use crate::exit::Exit;

    fn jobs(count: usize) -> Vec<Arc<Job>> {
        let job = |number: usize| Job {
            account: format!("account{number}"),
            mailbox: format!("pop3:user{number}@localhost"),
            user: format!("user{number}"),
            server: HostPort {
                host: "localhost".to_owned(),
                port: 110,
            },
            route: Route::Direct,
            auth: Auth::Auto,
            password: PasswordSource::Prompt,
            keep: Keep::Always,
            select: Select::default(),
            every: Duration::from_secs(300),
            filter: None,
            edits: Edits::default(),
            multidrop: None,
            timeout: Duration::from_secs(60),
            max_size: 1 << 30,
            deliver: vec![DeliverTo::Maildir(PathBuf::from("/nonexistent"))],
            allow_plaintext: false,
            tls: Tls::never("localhost"),
        };
        (0..count).map(|number| Arc::new(job(number))).collect()
    }

    #[tokio::test]
    async fn a_panic_is_one_accounts_problem() {
        let stop = CancellationToken::new();
        let work = |job: Arc<Job>| async move {
            assert_ne!(job.account, "account1", "a bug");
            job.account.clone()
        };
        let mut outcomes = Vec::new();
        side_by_side(jobs(3), 2, &stop, work, |job, outcome, _| {
            outcomes.push((job.account.clone(), outcome));
        })
        .await;
        outcomes.sort_by(|(a, _), (b, _)| a.cmp(b));
        let [(_, first), (_, second), (_, third)] = &outcomes[..] else {
            panic!()
        };
        assert!(first.is_ok() && third.is_ok());
        let problem = second.as_ref().unwrap_err();
        assert_eq!(problem.exit, Exit::Software);
        assert!(problem.message.contains("a bug"), "{}", problem.message);
    }

    #[tokio::test]
    async fn no_more_than_the_limit_run_at_a_time() {
        let stop = CancellationToken::new();
        let (now, most) = (Arc::new(AtomicUsize::new(0)), Arc::new(AtomicUsize::new(0)));
        let work = |_| {
            let (now, most) = (Arc::clone(&now), Arc::clone(&most));
            async move {
                most.fetch_max(now.fetch_add(1, Ordering::SeqCst) + 1, Ordering::SeqCst);
                for _ in 0..10 {
                    tokio::task::yield_now().await;
                }
                now.fetch_sub(1, Ordering::SeqCst);
            }
        };
        let mut ended = 0;
        side_by_side(jobs(12), 3, &stop, work, |_, _, _| ended += 1).await;
        assert_eq!((ended, most.load(Ordering::SeqCst)), (12, 3));
    }

    #[tokio::test]
    async fn accounts_whose_turn_has_not_come_are_left_out_after_a_stop() {
        let stop = CancellationToken::new();
        let stopper = stop.clone();
        let work = |_| {
            let stop = stopper.clone();
            async move { stop.cancel() }
        };
        let mut ended = Vec::new();
        side_by_side(jobs(5), 1, &stop, work, |job, _, _| {
            ended.push(job.account.clone());
        })
        .await;
        assert_eq!(ended, ["account0"]);
    }
}
