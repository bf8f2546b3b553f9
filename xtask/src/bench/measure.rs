//! Running one attempt against the clock.
//!
//! A small process of its own stands between the benchmark and what is measured: the kernel counts
//! the memory of whoever starts a program as the program's own peak (vfork(2) shares it until the
//! exec), and the benchmark with its servers and mailboxes is large. That process is this program
//! again, run as `xtask bench measured FILE PROGRAM ARGUMENT…`.

use std::fs::{self, File};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::mpsc::{self, RecvTimeoutError};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use rustix::process::{Pid, Signal, kill_process};

use super::stats::Sample;

/// What a run cost.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Cost {
    /// From before the start of the program until it was gone.
    pub(super) wall: Duration,
    /// Of all processors, for the program and what it started.
    pub(super) cpu: Duration,
    /// The most memory that it, or something that it started, had at a time.
    pub(super) peak_kib: u64,
}

/// What several runs cost, each figure by its median.
#[derive(Clone, Copy, Debug)]
pub(super) struct Medians {
    /// In seconds.
    pub(super) wall: f64,
    /// In seconds.
    pub(super) cpu: f64,
    /// In KiB.
    pub(super) peak_kib: f64,
}

impl Medians {
    /// The medians of these runs; nothing of none.
    pub(super) fn of(costs: &[Cost]) -> Option<Self> {
        let median = |figure: fn(&Cost) -> f64| {
            let sample: Sample = costs.iter().map(figure).collect();
            sample.median()
        };
        Some(Self {
            wall: median(|cost| cost.wall.as_secs_f64())?,
            cpu: median(|cost| cost.cpu.as_secs_f64())?,
            peak_kib: median(|cost| cost.peak_kib as f64)?,
        })
    }
}

/// Runs a program to its end and says what that cost.
///
/// The command must have an environment of its own, as [`Home::posthole`] makes it. What the program
/// says goes to the file `output` in the directory `fresh`, and into the error if it fails.
///
/// [`Home::posthole`]: posthole_testkit::Home::posthole
pub(super) fn run(command: &Command, fresh: &Path) -> Result<Cost, String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let name = name.rsplit('/').next().unwrap_or_default().to_owned();
    let costs = fresh.join("cost");
    let failed = |error: std::io::Error| format!("cannot measure {name}: {error}");
    let output = File::create(fresh.join("output")).map_err(failed)?;
    let errors = output.try_clone().map_err(failed)?;

    let mut measured = Command::new(std::env::current_exe().map_err(failed)?);
    measured.args(["bench", MEASURED]).arg(&costs);
    measured.arg(command.get_program()).args(command.get_args());
    measured.env_clear();
    for (name, value) in command.get_envs() {
        if let Some(value) = value {
            measured.env(name, value);
        }
    }
    if let Some(dir) = command.get_current_dir() {
        measured.current_dir(dir);
    }
    measured.stdin(Stdio::null()).stdout(output).stderr(errors);
    let status = measured.status().map_err(failed)?;
    if status.success() {
        let costs = fs::read_to_string(costs).map_err(failed)?;
        return read_cost(&costs).ok_or_else(|| format!("cannot measure {name}: no figures came"));
    }
    let output = output_of(fresh);
    Err(format!("{name} failed: {status}\n{output}"))
}

/// The last of what the program said that ran in this directory.
pub(super) fn output_of(fresh: &Path) -> String {
    let output = fs::read(fresh.join("output")).unwrap_or_default();
    let output = String::from_utf8_lossy(&output);
    let lines: Vec<_> = output.trim().lines().collect();
    lines[lines.len().saturating_sub(8)..].join("\n")
}

/// The word after `bench` that makes this program the small process.
pub(super) const MEASURED: &str = "measured";

/// What the small process does: runs a program and writes its cost to a file.
pub(super) fn measured(arguments: &[&str]) -> Result<(), String> {
    let [costs, program, arguments @ ..] = arguments else {
        return Err("nothing to measure".to_owned());
    };
    let name = program;
    let start = Instant::now();
    let mut child = Command::new(program)
        .args(arguments)
        .spawn()
        .map_err(|error| format!("cannot run {name}: {error}"))?;
    let status = {
        let _watch = Watch::over(child.id());
        child
            .wait()
            .map_err(|error| format!("cannot wait for {name}: {error}"))?
    };
    let wall = start.elapsed();
    if !status.success() {
        return Err(format!("{status} after {wall:.1?}"));
    }
    let usage = getrusage(UsageWho::RUSAGE_CHILDREN)
        .map_err(|error| format!("cannot ask for the cost of {name}: {error}"))?;
    let cpu = [usage.user_time(), usage.system_time()].map(|time| {
        let seconds = u64::try_from(time.tv_sec()).unwrap_or_default();
        let micros = u64::try_from(time.tv_usec()).unwrap_or_default();
        Duration::from_secs(seconds) + Duration::from_micros(micros)
    });
    let cost = format!(
        "{} {} {}\n",
        wall.as_nanos(),
        (cpu[0] + cpu[1]).as_nanos(),
        usage.max_rss()
    );
    fs::write(costs, cost).map_err(|error| format!("cannot write the figures: {error}"))
}

fn read_cost(text: &str) -> Option<Cost> {
    let mut numbers = text.split_whitespace().map(|word| word.parse().ok());
    let mut next = || numbers.next().flatten();
    Some(Cost {
        wall: Duration::from_nanos(next()?),
        cpu: Duration::from_nanos(next()?),
        peak_kib: next()?,
    })
}

/// Ends a program that takes far too long, unless this is dropped before.
struct Watch {
    done: Option<mpsc::Sender<()>>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Watch {
    fn over(pid: u32) -> Self {
        let (done, waiting) = mpsc::channel::<()>();
        let thread = std::thread::spawn(move || {
            if waiting.recv_timeout(PATIENCE) == Err(RecvTimeoutError::Timeout) {
                let pid = i32::try_from(pid).ok().and_then(Pid::from_raw);
                if let Some(pid) = pid {
                    kill_process(pid, Signal::KILL).ok();
                }
            }
        });
        Self {
            done: Some(done),
            thread: Some(thread),
        }
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        drop(self.done.take());
        if let Some(thread) = self.thread.take() {
            thread.join().ok();
        }
    }
}

/// Longer than anything measured here may take.
const PATIENCE: Duration = Duration::from_secs(240);
