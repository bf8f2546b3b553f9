//! One scenario: all contenders in turn, round after round.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;
use std::time::Instant;

use super::contender::{Attempt, Contender};
use super::mail::Expected;
use super::measure;
use super::scenario::Scenario;
use super::stage::Stage;
use super::stats::Sample;

/// What came of a scenario.
#[derive(Debug)]
pub(super) struct Comparison {
    /// Seconds, for each contender that took part.
    pub(super) seconds: BTreeMap<Contender, Sample>,
    /// What went wrong, for each contender that failed; it was not run again.
    pub(super) failures: BTreeMap<Contender, String>,
}

impl Comparison {
    /// The median of a contender, in seconds.
    pub(super) fn median(&self, contender: Contender) -> Option<f64> {
        self.seconds.get(&contender).and_then(Sample::median)
    }
}

/// Runs a scenario with these contenders, each of which writes below the directory `dir`.
///
/// Nothing is deleted meanwhile: ext4 avoids inodes that were freed in the last seconds, and looking
/// for others would cost the next contender up to a second.
pub(super) fn compare(
    scenario: &Scenario,
    contenders: &[Contender],
    rounds: usize,
    posthole: &Path,
    dir: &Path,
) -> Result<Comparison, String> {
    let messages = scenario.messages();
    let expected = Expected::of(&messages);
    let stage = Stage::build(posthole, &messages, scenario.line(), false)?;
    drop(messages);
    let mut comparison = Comparison {
        seconds: BTreeMap::new(),
        failures: BTreeMap::new(),
    };
    for round in 0..rounds {
        for contender in contenders {
            let is_out = comparison.failures.contains_key(contender);
            if is_out || round >= scenario.rounds_of(*contender, rounds) {
                continue;
            }
            let fresh = dir.join(format!("{}-{round}-{contender:?}", scenario.name));
            match once(*contender, &stage, &expected, &fresh) {
                Ok(seconds) => {
                    eprintln!("  {:<14} {seconds:7.3} s", contender.name());
                    comparison
                        .seconds
                        .entry(*contender)
                        .or_default()
                        .add(seconds);
                }
                Err(error) => {
                    eprintln!("  {:<14} {error}", contender.name());
                    comparison.failures.insert(*contender, error);
                }
            }
        }
    }
    Ok(comparison)
}

fn once(
    contender: Contender,
    stage: &Stage,
    expected: &Expected,
    fresh: &Path,
) -> Result<f64, String> {
    fs::create_dir_all(fresh)
        .map_err(|error| format!("cannot make {}: {error}", fresh.display()))?;
    let attempt = contender.prepare(stage, fresh)?;
    // What the one before left unsynced would be charged to whoever syncs first.
    rustix::fs::sync();
    match attempt {
        Attempt::Program {
            mut command,
            maildir,
        } => {
            let took = measure::time(&mut command, fresh)?;
            expected
                .check(&maildir)
                .map_err(|error| format!("{error}\n{}", measure::output_of(fresh)))?;
            Ok(took.as_secs_f64())
        }
        Attempt::Wire(answers) => {
            let start = Instant::now();
            let octets = answers.download(stage.tunnel().pop3_port())?;
            let took = start.elapsed();
            if octets < expected.octets() {
                return Err(format!(
                    "only {octets} of {} octets came",
                    expected.octets()
                ));
            }
            Ok(took.as_secs_f64())
        }
    }
}
