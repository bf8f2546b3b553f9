//! Where the time goes before the first message: `posthole check` walks the same way as a fetch, a
//! step at a time, and says how long each step took.

use std::path::Path;

use posthole_testkit::{Home, mail};

use super::contender::{Attempt, Contender};
use super::report::{self, Table};
use super::stage::{Line, Stage};
use super::stats::Sample;
use super::{Bench, measure};

/// Each step on a line without latency, on one of 50 ms, and in round trips.
pub(super) fn opening(bench: &Bench) -> Result<String, String> {
    let messages = mail::small(20);
    let mut steps: Vec<(String, [Sample; 2])> = Vec::new();
    for (column, rtt) in RTT_MS.into_iter().enumerate() {
        let stage = Stage::build(&bench.posthole, &messages, Line::with_rtt(rtt))?;
        for _ in 0..bench.rounds.unwrap_or(5) {
            let mut seconds = check(bench, &stage)?;
            let fresh = bench.fresh()?;
            for fetch in [FIRST, SECOND] {
                seconds.push((fetch.to_owned(), fetch_into(&stage, &fresh)?));
            }
            for (name, seconds) in seconds {
                let known = steps.iter().position(|(step, _)| *step == name);
                let index = known.unwrap_or_else(|| {
                    steps.push((name, [Sample::default(), Sample::default()]));
                    steps.len() - 1
                });
                steps[index].1[column].add(seconds);
            }
        }
    }
    let mut table = Table::new(["step", "s at RTT 0", "s at RTT 50 ms", "round trips"]);
    let mut all = [0.0; 2];
    for (name, samples) in &steps {
        let [near, far] = [0, 1].map(|column| samples[column].median().unwrap_or_default());
        let mut row = |name: &str, near: f64, far: f64| {
            let round_trips = format!("{:.1}", (far - near) / RTT_S);
            let (near, far) = (report::seconds(near), report::seconds(far));
            table.row([name.to_owned(), near, far, round_trips]);
        };
        if name == FIRST {
            row("all steps of the check", all[0], all[1]);
        }
        all = [all[0] + near, all[1] + far];
        row(name, near, far);
    }
    Ok(table.markdown())
}

/// A fetch into this directory, with the record of the fetches before.
fn fetch_into(stage: &Stage, fresh: &Path) -> Result<f64, String> {
    let Attempt::Program { command, .. } = Contender::Posthole.prepare(stage, fresh)? else {
        return Err("posthole is a program".to_owned());
    };
    rustix::fs::sync();
    Ok(measure::run(&command, fresh)?.wall.as_secs_f64())
}

/// The steps of one check, with their seconds.
fn check(bench: &Bench, stage: &Stage) -> Result<Vec<(String, f64)>, String> {
    let fresh = bench.fresh()?;
    let mut command = stage.home().posthole(stage.posthole());
    command
        .args(["check", "--json", &stage.url(Home::USER)])
        .args(["--via", &stage.via(), "--password-file", "mail-password"])
        .arg("--to")
        .arg(format!("maildir:{}", fresh.join("Mail").display()))
        .arg("--state-dir")
        .arg(fresh.join("state"));
    measure::run(&command, &fresh)?;
    let said = std::fs::read_to_string(fresh.join("output"));
    let said = said.map_err(|error| format!("cannot read what check said: {error}"))?;
    let steps = said.lines().map(|line| {
        let step: serde_json::Value = serde_json::from_str(line).ok()?;
        Some((step["step"].as_str()?.to_owned(), step["seconds"].as_f64()?))
    });
    let steps: Option<Vec<_>> = steps.collect();
    steps.ok_or_else(|| format!("check says what is not understood: {said}"))
}

const FIRST: &str = "the first fetch, of 20 messages";
const SECOND: &str = "the second fetch, of nothing";
const RTT_MS: [u64; 2] = [0, 50];
const RTT_S: f64 = 0.050;
