//! The daemon with clocks that can be told what to say.

use std::cell::Cell;
use std::path::PathBuf;
use std::rc::Rc;
use std::sync::Arc;
use std::time::Duration;

use posthole_core::daemon::{Daemon, Load, Loaded, News, Reading, Setup, Teller};
use posthole_core::plan::{DaemonPlan, Plan, Remarks};
use posthole_testkit::mail;
use posthole_testkit::pop3::Faults;
use tokio_util::sync::CancellationToken;

use crate::account::Account;

struct Nobody;

impl Teller for Nobody {
    fn tell(&self, _news: &News) {}
}

fn plan(account: &Account, every: Duration) -> Plan {
    let mut job = account.job.clone();
    job.every = every;
    Plan {
        jobs: vec![Arc::new(job)],
        forwards: Vec::new(),
        state_dir: account.directory().join("state"),
        daemon: DaemonPlan::default(),
        remarks: Remarks::default(),
    }
}

fn setup(plan: Plan, clocks: impl Fn() -> Reading + 'static, stop: &CancellationToken) -> Setup {
    let again = plan.clone();
    let load: Load = Arc::new(move |_: Option<PathBuf>| {
        Ok(Loaded {
            plan: again.clone(),
            watch: Vec::new(),
            has_agent: true,
        })
    });
    Setup {
        loaded: Loaded {
            plan,
            watch: Vec::new(),
            has_agent: true,
        },
        load,
        open_files: 1024,
        teller: Rc::new(Nobody),
        messenger: None,
        clocks: Box::new(clocks),
        tick: Duration::from_millis(10),
        services: Vec::new(),
        passed: Vec::new(),
        stop: stop.clone(),
    }
}

#[tokio::test]
async fn after_a_sleep_everybody_is_polled() {
    let account = Account::with(&mail::small(1), Faults::new());
    let stop = CancellationToken::new();
    let slept = Rc::new(Cell::new(Duration::ZERO));
    let clocks = {
        let slept = Rc::clone(&slept);
        move || {
            let now = Reading::take();
            Reading {
                boot: now.boot.map(|boot| boot + slept.get()),
                wall: now.wall + slept.get(),
                ..now
            }
        }
    };
    // Nothing is due for a year.
    let plan = plan(&account, Duration::from_secs(365 * 24 * 60 * 60));
    let (daemon, _handle) = Daemon::new(setup(plan, clocks, &stop)).unwrap();
    let watch = async {
        wait_for(|| account.server.count("QUIT") == 1).await;
        slept.set(Duration::from_secs(8 * 60 * 60));
        wait_for(|| account.server.count("QUIT") == 2).await;
        // Once, not again and again.
        for _ in 0..20 {
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
        assert_eq!(account.server.connections(), 2);
        stop.cancel();
    };
    let (ended, ()) = tokio::join!(daemon.run(), watch);
    ended.unwrap();
    account.assert_delivered(&mail::small(1));
}

async fn wait_for(mut so: impl FnMut() -> bool) {
    let patience = async {
        while !so() {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(Duration::from_secs(60), patience)
        .await
        .expect("it comes true");
}
