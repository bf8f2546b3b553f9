//! Many accounts on one host, fetched at once.

use std::path::Path;

use posthole_testkit::mail;
use posthole_testkit::real::Dovecot;

use super::Bench;
use super::contender::{Contender, peers, posthole};
use super::mail::Expected;
use super::measure::{self, Cost, Medians};
use super::report::{self, Table};
use super::stage::Stage;

/// 50 accounts, Posthole's one connection and mpop one account after the other.
pub(super) fn fifty(bench: &Bench) -> Result<String, String> {
    let many = Many::build(bench, 50)?;
    let (mut ours, mut theirs) = (Vec::new(), Vec::new());
    for _ in 0..bench.rounds.unwrap_or(3) {
        ours.push(many.posthole(&bench.fresh()?)?);
        if bench.has(Contender::Mpop) {
            theirs.push(many.mpop(&bench.fresh()?)?);
        }
    }
    let mut table = Table::new(["", "seconds", "× Posthole", "CPU s", "MiB"]);
    let mut first = None;
    for (name, costs) in [("posthole", &ours), ("mpop --all-accounts", &theirs)] {
        let Some(cost) = Medians::of(costs) else {
            continue;
        };
        table.row([
            name.to_owned(),
            report::seconds(cost.wall),
            format!("{:.2}", cost.wall / *first.get_or_insert(cost.wall)),
            report::seconds(cost.cpu),
            report::mib(cost.peak_kib),
        ]);
    }
    Ok(table.markdown())
}

/// So many accounts with 20 small messages each.
pub(super) struct Many {
    stage: Stage,
    users: Vec<String>,
    expected: Expected,
}

impl Many {
    /// Starts the servers and fills the mailboxes.
    pub(super) fn build(bench: &Bench, n_accounts: usize) -> Result<Self, String> {
        let messages = mail::small(20);
        Ok(Self {
            stage: Stage::with_accounts(&bench.posthole, n_accounts, &messages)?,
            users: (0..n_accounts).map(Dovecot::user).collect(),
            expected: Expected::of(&messages),
        })
    }

    /// Lets Posthole fetch all accounts into Maildirs below `fresh`.
    pub(super) fn posthole(&self, fresh: &Path) -> Result<Cost, String> {
        rustix::fs::sync();
        let cost = measure::run(
            &posthole::of_accounts(&self.stage, &self.users, fresh),
            fresh,
        )?;
        self.check(fresh)?;
        Ok(cost)
    }

    fn mpop(&self, fresh: &Path) -> Result<Cost, String> {
        let maildirs: Vec<_> = self.users.iter().map(|user| fresh.join(user)).collect();
        let mailboxes = self.users.iter().zip(&maildirs);
        let mailboxes = mailboxes.map(|(user, dir)| (user.as_str(), dir.as_path()));
        let mailboxes: Vec<_> = mailboxes.collect();
        let port = self.stage.tunnel().pop3_port();
        let command = peers::mpop_through(&self.stage, port, &mailboxes, fresh)?;
        rustix::fs::sync();
        let cost = measure::run(&command, fresh)?;
        self.check(fresh)?;
        Ok(cost)
    }

    fn check(&self, fresh: &Path) -> Result<(), String> {
        let mut users = self.users.iter();
        users.try_for_each(|user| self.expected.check(&fresh.join(user)))
    }
}
