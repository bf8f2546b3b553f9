//! How long somebody waits for the first message, who has neither a connection nor a record yet.

use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use posthole_testkit::mail;
use posthole_testkit::real::Dovecot;

use super::Bench;
use super::contender::{Attempt, Contender, peers};
use super::report::{self, Table};
use super::stage::{Line, Stage};
use super::stats::Sample;

/// From the start to the first file in `new/`: Posthole, and mpop after an `ssh -L` of its own.
pub(super) fn arrival(bench: &Bench) -> Result<String, String> {
    let messages = mail::small(2_000);
    let mut table = Table::new(["seconds", "posthole", "ssh -L, then mpop", "× Posthole"]);
    for rtt in [0, 50] {
        let stage = Stage::build(&bench.posthole, &messages, Line::with_rtt(rtt))?;
        let (mut ours, mut theirs) = (Sample::default(), Sample::default());
        for _ in 0..bench.rounds.unwrap_or(5) {
            ours.add(posthole(&stage, &bench.fresh()?)?);
            if bench.has(Contender::Mpop) {
                theirs.add(mpop(&stage, &bench.fresh()?)?);
            }
        }
        let (ours, theirs) = (ours.median(), theirs.median());
        let show = |median: Option<f64>| median.map_or_else(|| "–".to_owned(), report::seconds);
        let ratio = ours.zip(theirs).map(|(ours, theirs)| theirs / ours);
        table.row([
            format!("RTT {rtt} ms"),
            show(ours),
            show(theirs),
            ratio.map_or_else(|| "–".to_owned(), |ratio| format!("{ratio:.2}")),
        ]);
    }
    Ok(table.markdown())
}

fn posthole(stage: &Stage, fresh: &Path) -> Result<f64, String> {
    let Attempt::Program { command, maildir } = Contender::Posthole.prepare(stage, fresh)? else {
        return Err("posthole is a program".to_owned());
    };
    rustix::fs::sync();
    let start = Instant::now();
    wait_for_mail(*command, &maildir, start)
}

fn mpop(stage: &Stage, fresh: &Path) -> Result<f64, String> {
    let maildir = fresh.join("Mail");
    rustix::fs::sync();
    let start = Instant::now();
    let tunnel = stage.new_tunnel()?;
    let mailboxes = [(Dovecot::USER, maildir.as_path())];
    let command = peers::mpop_through(stage, tunnel.pop3_port(), &mailboxes, fresh)?;
    wait_for_mail(command, &maildir, start)
}

/// Runs a program until a message shows, and how long that took; then lets it end.
fn wait_for_mail(mut command: Command, maildir: &Path, start: Instant) -> Result<f64, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let child = command
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    let mut child = child.map_err(|error| format!("cannot run {name}: {error}"))?;
    let new = maildir.join("new");
    while !has_a_file(&new) {
        if is_over(&mut child) && !has_a_file(&new) {
            return Err(format!("{name} ended without any mail"));
        }
        std::thread::sleep(Duration::from_micros(100));
    }
    let took = start.elapsed().as_secs_f64();
    match child.wait() {
        Ok(status) if status.success() => Ok(took),
        Ok(status) => Err(format!("{name} failed: {status}")),
        Err(error) => Err(format!("cannot wait for {name}: {error}")),
    }
}

fn has_a_file(dir: &Path) -> bool {
    std::fs::read_dir(dir).is_ok_and(|mut entries| entries.next().is_some())
}

fn is_over(child: &mut Child) -> bool {
    !matches!(child.try_wait(), Ok(None))
}
