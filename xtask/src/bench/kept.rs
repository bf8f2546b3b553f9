//! Polls of mailboxes that are kept on the server and have nothing new: what happens every five
//! minutes, where fetching happens once.
//!
//! Such a poll cannot be quicker than the download of the unique-ids alone, which therefore stands
//! beside it.

use std::path::{Path, PathBuf};
use std::time::Instant;

use posthole_testkit::pop3::{Body, Maildrop};
use posthole_testkit::{World, mail};
use rusqlite::Connection;

use super::Bench;
use super::contender::{Answers, Attempt, Contender, posthole};
use super::mail::Expected;
use super::measure::{self, Cost, Medians};
use super::report::{self, Table};
use super::stage::{Line, Stage};
use super::stats::Sample;
use super::tunnel::{Tunnel, Way};

/// 20 000 messages that each contender has fetched before.
pub(super) fn nothing_new(bench: &Bench) -> Result<String, String> {
    let messages: Vec<_> = (0..20_000).map(mail::tiny).collect();
    let expected = Expected::of(&messages);
    let stage = Stage::build(&bench.posthole, &messages, Line::default())?;
    drop(messages);

    let mut polls = Vec::new();
    for contender in [Contender::Posthole, Contender::Mpop, Contender::Mbsync] {
        if !bench.has(contender) {
            continue;
        }
        let fresh = bench.fresh()?;
        let Attempt::Program { command, maildir } = contender.prepare(&stage, &fresh)? else {
            continue;
        };
        measure::run(&command, &fresh)?;
        expected.check(&maildir)?;
        polls.push((contender, command, maildir, fresh, Vec::new()));
    }
    let wires = [
        ("the wire: UIDL", Answers::Uidl),
        ("the wire: UIDL, LIST", Answers::UidlAndList),
    ];
    let mut downloads = wires.map(|wire| (wire, Sample::default()));
    for _ in 0..bench.rounds.unwrap_or(5) {
        for (_, command, _, fresh, costs) in &mut polls {
            costs.push(measure::run(command, fresh)?);
        }
        for ((_, answers), sample) in &mut downloads {
            sample.add(download(*answers, stage.tunnel())?);
        }
    }

    let mut table = Table::new(["", "seconds", "× Posthole", "CPU s", "MiB"]);
    let mut ours = None;
    for (contender, _, maildir, _, costs) in polls {
        // Still each message once: nothing was fetched again.
        expected.check(&maildir)?;
        let Some(cost) = Medians::of(&costs) else {
            continue;
        };
        table.row([
            contender.name().to_owned(),
            report::seconds(cost.wall),
            format!("{:.2}", cost.wall / *ours.get_or_insert(cost.wall)),
            report::seconds(cost.cpu),
            report::mib(cost.peak_kib),
        ]);
    }
    for ((name, _), sample) in downloads {
        let wall = sample.median().unwrap_or_default();
        table.row([
            name.to_owned(),
            report::seconds(wall),
            format!("{:.2}", wall / ours.unwrap_or(wall)),
            "–".to_owned(),
            "–".to_owned(),
        ]);
    }
    Ok(table.markdown())
}

/// A mailbox of any number of kept messages, from servers in this process, with a record that says
/// they were all fetched.
pub(super) struct Kept<'a> {
    posthole: &'a Path,
    world: World,
    tunnel: Tunnel,
    n_messages: u32,
    fresh: PathBuf,
}

impl<'a> Kept<'a> {
    /// Starts the servers, fills the mailbox and writes the record.
    pub(super) fn build(bench: &'a Bench, n_messages: u32) -> Result<Self, String> {
        let maildrop = Maildrop::of_tiny(1);
        let world = World::builder().maildrop(&maildrop).build();
        let tunnel = Tunnel::open(&Way {
            home: world.home(),
            entrance: world.ssh().addr(),
            compressed: false,
            pop3: 110,
            imap: None,
        })?;
        let kept = Self {
            posthole: &bench.posthole,
            world,
            tunnel,
            n_messages,
            fresh: bench.fresh()?,
        };
        kept.fetch(1, 1)?;
        let uids = (1..n_messages).map(|number| maildrop.add(Body::Tiny(number)));
        record(&kept.fresh.join("state").join("state.db"), uids)
            .map_err(|error| format!("cannot prepare the record: {error}"))?;
        Ok(kept)
    }

    /// Polls, and makes sure that nothing was new.
    pub(super) fn poll(&self) -> Result<Cost, String> {
        self.fetch(0, self.n_messages)
    }

    /// Downloads the unique-ids alone; says how many seconds it took.
    pub(super) fn download(&self, answers: Answers) -> Result<f64, String> {
        download(answers, &self.tunnel)
    }

    fn fetch(&self, new: u32, left: u32) -> Result<Cost, String> {
        let (maildir, state) = (self.fresh.join("Mail"), self.fresh.join("state"));
        let command = posthole::from_world(self.posthole, &self.world, &maildir, &state);
        let cost = measure::run(&command, &self.fresh)?;
        let said = measure::output_of(&self.fresh);
        let right = [format!("\"new\":{new},"), format!("\"left\":{left},")];
        if right.iter().all(|field| said.contains(field)) {
            Ok(cost)
        } else {
            Err(format!(
                "{new} of {left} messages should be new, but: {said}"
            ))
        }
    }
}

/// Adds messages to a record by copying its one message under other unique-ids.
fn record(path: &Path, uids: impl Iterator<Item = Vec<u8>>) -> rusqlite::Result<()> {
    let mut db = Connection::open(path)?;
    let all = db.transaction()?;
    all.execute_batch("CREATE TEMP TABLE one AS SELECT * FROM message")?;
    {
        let mut rename = all.prepare("UPDATE one SET uid = ?1")?;
        let mut copy = all.prepare("INSERT INTO message SELECT * FROM one")?;
        for uid in uids {
            rename.execute([uid])?;
            copy.execute([])?;
        }
    }
    all.commit()
}

fn download(answers: Answers, tunnel: &Tunnel) -> Result<f64, String> {
    let start = Instant::now();
    answers.download(tunnel.pop3_port())?;
    Ok(start.elapsed().as_secs_f64())
}
