//! How time and memory grow with the number of kept messages and of accounts.

use super::Bench;
use super::accounts::Many;
use super::contender::Answers;
use super::kept::Kept;
use super::measure::Medians;
use super::plot::{Chart, Series};
use super::report::{self, Table};
use super::stats::Sample;

/// A poll with nothing new, of mailboxes from a thousand to a million messages.
pub(super) fn kept(bench: &Bench) -> Result<String, String> {
    let mut table = Table::new([
        "kept messages",
        "seconds",
        "CPU s",
        "MiB",
        "UIDL alone, s",
        "UIDL and LIST, s",
        "× UIDL alone",
    ]);
    let (mut time, mut uidl, mut memory) = (Vec::new(), Vec::new(), Vec::new());
    for n in [1_000, 10_000, 100_000, 1_000_000] {
        let kept = Kept::build(bench, n)?;
        let mut costs = Vec::new();
        let mut downloads = [Sample::default(), Sample::default()];
        for _ in 0..bench.rounds.unwrap_or(3) {
            costs.push(kept.poll()?);
            downloads[0].add(kept.download(Answers::Uidl)?);
            downloads[1].add(kept.download(Answers::UidlAndList)?);
        }
        let Some(cost) = Medians::of(&costs) else {
            continue;
        };
        let [one, both] = downloads.map(|sample| sample.median().unwrap_or_default());
        table.row([
            report::thousands(n.into()),
            report::seconds(cost.wall),
            report::seconds(cost.cpu),
            report::mib(cost.peak_kib),
            report::seconds(one),
            report::seconds(both),
            format!("{:.2}", cost.wall / one),
        ]);
        time.push((f64::from(n), cost.wall));
        uidl.push((f64::from(n), one));
        memory.push((f64::from(n), cost.peak_kib / 1024.0));
    }
    let chart = Chart {
        title: "A poll with nothing new",
        x: "kept messages",
        y: "seconds",
        series: vec![
            Series::new("posthole fetch, SSH set-up included", time),
            Series::new("download of UIDL alone", uidl),
        ],
    };
    bench.save("growth-kept-time.svg", &chart.svg())?;
    let chart = Chart {
        title: "Memory of a poll with nothing new",
        x: "kept messages",
        y: "MiB at most",
        series: vec![Series::new("posthole fetch", memory)],
    };
    bench.save("growth-kept-memory.svg", &chart.svg())?;
    Ok(table.markdown())
}

/// One fetch of 1, 10 and 100 accounts with 20 small messages each.
pub(super) fn accounts(bench: &Bench) -> Result<String, String> {
    let mut table = Table::new(["accounts", "seconds", "CPU s", "MiB", "ms per account"]);
    let (mut time, mut memory) = (Vec::new(), Vec::new());
    for n in [1, 10, 100] {
        let many = Many::build(bench, n)?;
        let mut costs = Vec::new();
        for _ in 0..bench.rounds.unwrap_or(3) {
            costs.push(many.posthole(&bench.fresh()?)?);
        }
        let Some(cost) = Medians::of(&costs) else {
            continue;
        };
        table.row([
            n.to_string(),
            report::seconds(cost.wall),
            report::seconds(cost.cpu),
            report::mib(cost.peak_kib),
            format!("{:.1}", cost.wall * 1e3 / n as f64),
        ]);
        time.push((n as f64, cost.wall));
        memory.push((n as f64, cost.peak_kib / 1024.0));
    }
    let chart = Chart {
        title: "Fetching accounts with 20 small messages each",
        x: "accounts",
        y: "seconds",
        series: vec![Series::new("posthole fetch, SSH set-up included", time)],
    };
    bench.save("growth-accounts-time.svg", &chart.svg())?;
    let chart = Chart {
        title: "Memory of a fetch of many accounts",
        x: "accounts",
        y: "MiB at most",
        series: vec![Series::new("posthole fetch", memory)],
    };
    bench.save("growth-accounts-memory.svg", &chart.svg())?;
    Ok(table.markdown())
}
