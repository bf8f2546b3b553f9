//! What each contender asks of the kernel and of the line, for 2 000 small messages.
//!
//! strace counts system calls. A contender that waits for answers pays the round-trip time once for
//! each wait; how often, is what its time grows by as the line gets longer.

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use posthole_testkit::mail;
use rustix::process::{Pid, Signal, kill_process};

use super::contender::{Attempt, Contender};
use super::mail::Expected;
use super::report::{self, Table};
use super::stage::{Line, Stage};
use super::stats::Sample;
use super::{Bench, compare, is_installed, measure};

/// System calls by kind, and round trips.
pub(super) fn calls(bench: &Bench) -> Result<String, String> {
    let messages = mail::small(2_000);
    let counted = count(bench, &messages)?;
    let waits = waits(bench, &messages)?;
    Ok(format!("{counted}\n{waits}"))
}

fn count(bench: &Bench, messages: &[Vec<u8>]) -> Result<String, String> {
    if !is_installed("strace") {
        return Ok("System calls were not counted: Debian package strace is missing.\n".to_owned());
    }
    let expected = Expected::of(messages);
    let stage = Stage::build(&bench.posthole, messages, Line::default())?;
    let mut head = vec![
        "system calls".to_owned(),
        "all".to_owned(),
        "a message".to_owned(),
    ];
    head.extend(KINDS.iter().map(|(kind, _)| (*kind).to_owned()));
    let mut table = Table::with_head(head);
    for contender in &bench.contenders {
        let fresh = bench.fresh()?;
        let Attempt::Program { command, maildir } = contender.prepare(&stage, &fresh)? else {
            continue;
        };
        // Posthole needs no ssh.
        let ssh = if *contender == Contender::Posthole {
            None
        } else {
            Some(Watcher::attach(
                stage.tunnel().pid(),
                &fresh.join("strace-ssh"),
            )?)
        };
        let counts = traced(&stage, &command, &fresh)?;
        expected.check(&maildir)?;
        table.row(counts.cells(contender.name(), messages.len()));
        if let Some(ssh) = ssh {
            let name = format!("{}’s ssh", contender.name());
            table.row(ssh.finish()?.cells(&name, messages.len()));
        }
    }
    Ok(table.markdown())
}

/// The time on a line of 50 ms and on one of 150 ms, and what follows from the two.
fn waits(bench: &Bench, messages: &[Vec<u8>]) -> Result<String, String> {
    let expected = Expected::of(messages);
    let contenders = bench.contenders.iter().copied();
    // A command at a time, these two take minutes.
    let contenders = contenders.filter(|one| !matches!(one, Contender::Fdm | Contender::Fetchmail));
    let contenders: Vec<_> = contenders.collect();
    let mut figures: BTreeMap<Contender, Vec<(f64, u64)>> = BTreeMap::new();
    for rtt in WAITS_MS {
        let stage = Stage::build(&bench.posthole, messages, Line::with_rtt(rtt))?;
        for contender in &contenders {
            let mut wall = Sample::default();
            let mut turns = 0;
            for _ in 0..bench.rounds.unwrap_or(3) {
                let before = stage.relay().map_or(0, |relay| relay.turns());
                let cost = compare::fetch(*contender, &stage, &expected, &bench.fresh()?)?;
                turns = stage.relay().map_or(0, |relay| relay.turns()) - before;
                wall.add(cost.wall.as_secs_f64());
            }
            let least = wall.least().unwrap_or_default();
            figures.entry(*contender).or_default().push((least, turns));
        }
    }
    let mut table = Table::new([
        "the line",
        "s at RTT 50 ms",
        "s at RTT 150 ms",
        "round trips waited for",
        "turns seen by the relay",
    ]);
    for (contender, figures) in figures {
        let [(near, turns), (far, _)] = figures.as_slice() else {
            continue;
        };
        let step = (WAITS_MS[1] - WAITS_MS[0]) as f64 / 1e3;
        table.row([
            contender.name().to_owned(),
            report::seconds(*near),
            report::seconds(*far),
            format!("{:.1}", (far - near) / step),
            turns.to_string(),
        ]);
    }
    Ok(table.markdown())
}

/// Runs a command under strace, in the same environment.
fn traced(stage: &Stage, command: &Command, fresh: &Path) -> Result<Calls, String> {
    let file = fresh.join("strace");
    let mut traced = stage.home().posthole(Path::new("strace"));
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            traced.env(name, value);
        }
    }
    traced
        .args(["--follow-forks", "--summary-only", "--output"])
        .arg(&file)
        .arg(command.get_program())
        .args(command.get_args());
    measure::run(&traced, fresh)?;
    Calls::read(&file)
}

/// An strace of a process that runs already.
struct Watcher {
    child: Child,
    file: PathBuf,
}

impl Watcher {
    fn attach(pid: u32, file: &Path) -> Result<Self, String> {
        let failed = |error: std::io::Error| format!("cannot run strace: {error}");
        let mut child = Command::new("strace")
            .args(["--follow-forks", "--summary-only", "--output"])
            .arg(file)
            .arg(format!("--attach={pid}"))
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .map_err(failed)?;
        let mut line = String::new();
        if let Some(stderr) = child.stderr.take() {
            BufReader::new(stderr)
                .read_line(&mut line)
                .map_err(failed)?;
        }
        if line.contains("attached") {
            let file = file.to_owned();
            return Ok(Self { child, file });
        }
        child.kill().ok();
        child.wait().ok();
        Err(format!("strace cannot watch ssh: {}", line.trim()))
    }

    fn finish(mut self) -> Result<Calls, String> {
        let pid = i32::try_from(self.child.id()).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            kill_process(pid, Signal::INT).ok();
        }
        self.child
            .wait()
            .map_err(|error| format!("cannot wait for strace: {error}"))?;
        Calls::read(&self.file)
    }
}

/// How often each system call was made.
#[derive(Debug, Default)]
struct Calls(BTreeMap<String, u64>);

impl Calls {
    fn read(file: &Path) -> Result<Self, String> {
        let text = fs::read_to_string(file);
        let text = text.map_err(|error| format!("cannot read {}: {error}", file.display()))?;
        Ok(Self::parse(&text))
    }

    /// Reads strace's table: the fourth column counts, the last one names.
    fn parse(text: &str) -> Self {
        let rows = text.lines().filter_map(|line| {
            let words: Vec<_> = line.split_whitespace().collect();
            let calls = words.get(3)?.parse().ok()?;
            let name = words.last().filter(|name| **name != "total")?;
            Some(((*name).to_owned(), calls))
        });
        Self(rows.collect())
    }

    fn cells(&self, name: &str, n_messages: usize) -> Vec<String> {
        let all: u64 = self.0.values().sum();
        let mut cells = vec![
            name.to_owned(),
            all.to_string(),
            format!("{:.1}", all as f64 / n_messages as f64),
        ];
        cells.extend(KINDS.iter().map(|(_, names)| {
            let calls = names.iter().filter_map(|name| self.0.get(*name));
            calls.sum::<u64>().to_string()
        }));
        cells
    }
}

/// Kinds of system calls that tell something.
const KINDS: &[(&str, &[&str])] = &[
    (
        "sync",
        &["fsync", "fdatasync", "syncfs", "sync", "sync_file_range"],
    ),
    ("open", &["open", "openat", "openat2", "creat"]),
    (
        "rename, link",
        &[
            "rename",
            "renameat",
            "renameat2",
            "link",
            "linkat",
            "unlink",
            "unlinkat",
        ],
    ),
    (
        "stat",
        &[
            "stat",
            "lstat",
            "fstat",
            "newfstatat",
            "statx",
            "access",
            "faccessat",
            "faccessat2",
        ],
    ),
    (
        "read",
        &["read", "readv", "pread64", "preadv", "recvfrom", "recvmsg"],
    ),
    (
        "write",
        &[
            "write", "writev", "pwrite64", "pwritev", "sendto", "sendmsg",
        ],
    ),
    (
        "wait",
        &[
            "poll",
            "ppoll",
            "select",
            "pselect6",
            "epoll_wait",
            "epoll_pwait",
            "epoll_pwait2",
        ],
    ),
    ("futex", &["futex"]),
];

const WAITS_MS: [u64; 2] = [50, 150];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_strace_is_read_with_and_without_errors() {
        let text = "\
% time     seconds  usecs/call     calls    errors syscall
------ ----------- ----------- --------- --------- ----------------
 60.00    0.000123           1      2004         3 openat
 40.00    0.000045           2        16           fsync
------ ----------- ----------- --------- --------- ----------------
100.00    0.000168           1      2020         3 total
";
        let cells = Calls::parse(text).cells("x", 2_000);
        assert_eq!(cells[..5], ["x", "2020", "1.0", "16", "2004"]);
    }
}
