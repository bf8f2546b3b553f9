//! One scenario: all contenders in turn, round after round.

use std::collections::BTreeMap;
use std::path::Path;
use std::time::Instant;

use super::Bench;
use super::contender::{Attempt, Contender};
use super::mail::Expected;
use super::measure::{self, Cost, Medians};
use super::report::{self, Table};
use super::scenario::Scenario;
use super::stage::Stage;
use super::stats::Sample;

/// What came of a scenario.
#[derive(Debug, Default)]
pub(super) struct Comparison {
    costs: BTreeMap<Contender, Vec<Cost>>,
    /// What went wrong, for each contender that failed; it is not run again.
    failures: BTreeMap<Contender, String>,
}

/// Runs a scenario.
///
/// Nothing is deleted meanwhile: ext4 avoids inodes that were freed a short while ago, and looking
/// for others would cost the next contender up to a second.
pub(super) fn compare(bench: &Bench, scenario: &Scenario) -> Result<Comparison, String> {
    let messages = scenario.messages();
    let expected = Expected::of(&messages);
    let stage = Stage::build(&bench.posthole, &messages, scenario.line())?;
    drop(messages);
    let rounds = bench.rounds.unwrap_or(scenario.rounds);
    let mut comparison = Comparison::default();
    for round in 0..rounds {
        for contender in &bench.contenders {
            let is_out = comparison.failures.contains_key(contender);
            if is_out || round >= scenario.rounds_of(*contender, rounds) {
                continue;
            }
            let fresh = bench.fresh()?;
            match fetch(*contender, &stage, &expected, &fresh) {
                Ok(cost) => comparison.costs.entry(*contender).or_default().push(cost),
                Err(error) => {
                    eprintln!("{} is out: {error}", contender.name());
                    comparison.failures.insert(*contender, error);
                }
            }
        }
    }
    Ok(comparison)
}

/// Lets a contender fetch the whole mailbox, and makes sure that it did.
pub(super) fn fetch(
    contender: Contender,
    stage: &Stage,
    expected: &Expected,
    fresh: &Path,
) -> Result<Cost, String> {
    let attempt = contender.prepare(stage, fresh)?;
    // What the one before left unsynced would be charged to whoever syncs first.
    rustix::fs::sync();
    match attempt {
        Attempt::Program { command, maildir } => {
            let cost = measure::run(&command, fresh)?;
            expected
                .check(&maildir)
                .map_err(|error| format!("{error}\n{}", measure::output_of(fresh)))?;
            Ok(cost)
        }
        Attempt::Wire(answers) => {
            let start = Instant::now();
            let octets = answers.download(stage.tunnel().pop3_port())?;
            let wall = start.elapsed();
            if octets < expected.octets() {
                let all = expected.octets();
                return Err(format!("only {octets} of {all} octets came"));
            }
            Ok(Cost {
                wall,
                ..Cost::default()
            })
        }
    }
}

impl Comparison {
    /// The median of a contender's times, in seconds.
    pub(super) fn median(&self, contender: Contender) -> Option<f64> {
        let costs = self.costs.get(&contender)?;
        Medians::of(costs).map(|cost| cost.wall)
    }

    /// All figures as a table.
    pub(super) fn table(&self) -> String {
        let mut table = Table::new([
            "",
            "seconds",
            "from",
            "to",
            "runs",
            "× Posthole",
            "CPU s",
            "MiB",
        ]);
        let ours = self.median(Contender::Posthole);
        for contender in Contender::ALL {
            let costs = self.costs.get(&contender).map_or(&[][..], Vec::as_slice);
            let Some(cost) = Medians::of(costs) else {
                if self.failures.contains_key(&contender) {
                    let name = contender.name().to_owned();
                    table.row([name, "failed".to_owned()]);
                }
                continue;
            };
            let wall: Sample = costs.iter().map(|cost| cost.wall.as_secs_f64()).collect();
            // The wire is no process of its own.
            let of_process = |text: String| match contender {
                Contender::Wire => "–".to_owned(),
                _ => text,
            };
            table.row([
                contender.name().to_owned(),
                report::seconds(cost.wall),
                report::seconds(wall.least().unwrap_or_default()),
                report::seconds(wall.most().unwrap_or_default()),
                costs.len().to_string(),
                ours.map_or_else(String::new, |ours| format!("{:.2}", cost.wall / ours)),
                of_process(report::seconds(cost.cpu)),
                of_process(report::mib(cost.peak_kib)),
            ]);
        }
        table.markdown()
    }
}

/// The medians of all scenarios side by side.
pub(super) fn overview(comparisons: &[(&Scenario, Comparison)]) -> String {
    let mut head = vec!["seconds".to_owned()];
    head.extend(Contender::ALL.map(|contender| contender.name().to_owned()));
    head.extend(["mpop / Posthole", "mbsync / Posthole", "Posthole / wire"].map(str::to_owned));
    let mut table = Table::with_head(head);
    for (scenario, comparison) in comparisons {
        let median = |contender| comparison.median(contender);
        let ratio = |of: Contender, to: Contender| match (median(of), median(to)) {
            (Some(of), Some(to)) => report::ratio(of, to),
            _ => "–".to_owned(),
        };
        let mut row = vec![scenario.title.to_owned()];
        row.extend(
            Contender::ALL.map(|one| median(one).map_or_else(|| "–".to_owned(), report::seconds)),
        );
        row.push(ratio(Contender::Mpop, Contender::Posthole));
        row.push(ratio(Contender::Mbsync, Contender::Posthole));
        row.push(ratio(Contender::Posthole, Contender::Wire));
        table.row(row);
    }
    table.markdown()
}
