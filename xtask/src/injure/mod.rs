//! Harms the real program at every system call by which it touches a file, and judges what is left.
//!
//! strace does the harm: it kills the program right before a call, or has the call fail as it would
//! on a full, broken or read-only disk, once or from then on. Which calls there are, an undisturbed
//! run shows. After each harmed run others go undisturbed, and then every message is to be where it
//! goes, once and whole, and nothing is to be deleted from the server that is not.
//!
//! strace counts the calls of each thread by themselves. So one order may harm several threads at
//! once, which is as good a fault as any, and a call that a thread makes at one time and not at
//! another may not be reached; such runs are counted apart.

mod fault;
mod strace;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::{Duration, Instant};

use posthole_testkit::Scene;
use posthole_testkit::mail;
use posthole_testkit::scene::{Ended, Target};

use crate::cargo::{cargo, run, target_dir};
use fault::{Fault, Harm};

/// Harms everywhere, or for a while at random: see the help of `cargo xtask`.
pub(crate) fn injure(arguments: &[&str]) -> Result<(), String> {
    let options = Options::parse(arguments)?;
    if let Some(reason) = cannot_trace() {
        println!("injure: SKIPPED, {reason}");
        return Ok(());
    }
    let posthole = match &options.binary {
        Some(path) => path.clone(),
        None => {
            run(cargo().args(["build", "--locked", "--quiet", "--package", "posthole"]))?;
            target_dir().join("debug").join("posthole")
        }
    };
    let posthole = std::path::absolute(&posthole).map_err(|error| error.to_string())?;
    let mut faults = match options.one {
        Some(fault) => vec![fault],
        None => all_faults(&posthole, &options.targets)?,
    };
    if let Some(time) = options.time {
        shuffle(&mut faults, options.seed);
        println!(
            "{} faults are known; for {time:?} some of them at random, --seed {}",
            faults.len(),
            options.seed
        );
    } else {
        println!("{} faults", faults.len());
    }
    let outcome = try_all(&posthole, &faults, options.time);
    outcome.show(options.is_chatty);
    match outcome.findings.len() {
        0 => Ok(()),
        n => Err(format!("{n} faults did damage")),
    }
}

struct Options {
    binary: Option<PathBuf>,
    is_chatty: bool,
    one: Option<Fault>,
    seed: u64,
    targets: Vec<Target>,
    time: Option<Duration>,
}

impl Options {
    fn parse(mut arguments: &[&str]) -> Result<Self, String> {
        let number = |text: &str| {
            text.parse::<u64>()
                .map_err(|_| format!("`{text}` is not a number"))
        };
        let mut options = Self {
            binary: None,
            is_chatty: false,
            one: None,
            seed: std::process::id().into(),
            targets: Vec::new(),
            time: None,
        };
        loop {
            arguments = match arguments {
                [] => break,
                ["--binary", path, rest @ ..] => {
                    options.binary = Some(PathBuf::from(path));
                    rest
                }
                ["--seconds", seconds, rest @ ..] => {
                    options.time = Some(Duration::from_secs(number(seconds)?));
                    rest
                }
                ["--seed", seed, rest @ ..] => {
                    options.seed = number(seed)?;
                    rest
                }
                ["--said", rest @ ..] => {
                    options.is_chatty = true;
                    rest
                }
                ["--one", words @ ..] => {
                    options.one = Some(Fault::parse(words)?);
                    &[]
                }
                [name, rest @ ..] => {
                    options.targets.push(fault::target(name)?);
                    rest
                }
            };
        }
        if options.targets.is_empty() {
            options.targets = Target::ALL.to_vec();
        }
        Ok(options)
    }
}

/// Why nothing can be traced here, if so.
fn cannot_trace() -> Option<&'static str> {
    let traced = Command::new("strace")
        .args(["--output=/dev/null", "true"])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match traced {
        Ok(status) if status.success() => None,
        Ok(_) => Some("strace may not trace here (ptrace(2))"),
        Err(_) => Some("there is no strace here; the Debian package is `strace`"),
    }
}

/// What undisturbed runs show to be possible.
fn all_faults(posthole: &Path, targets: &[Target]) -> Result<Vec<Fault>, String> {
    let mut faults = Vec::new();
    for &target in targets {
        for keep in [false, true] {
            let scene = scene(target, keep);
            let log = strace::Log::for_scene(&scene);
            let ended = scene.run(log.watch(&scene, posthole), PATIENCE)?;
            if !ended.status.success() {
                return Err(format!("an undisturbed run failed\n{ended}"));
            }
            for (call, number, is_ours) in log.calls()? {
                let harms = Harm::all_of(&call, is_ours);
                faults.extend(harms.into_iter().map(|harm| Fault {
                    target,
                    keep,
                    call: call.clone(),
                    number,
                    harm,
                }));
            }
        }
    }
    Ok(faults)
}

/// A mailbox with mail of several kinds: small, larger than what is written at once, and with lines
/// that an mbox has to quote.
fn scene(target: Target, keep: bool) -> Scene {
    let mut messages = vec![mail::tiny(1)];
    messages.extend(mail::attachments(1, 60_000));
    let mut quoted = mail::tiny(2);
    quoted.extend_from_slice(b"From here on\r\n>From there\r\n");
    messages.push(quoted);
    Scene::new(target, keep, &messages)
}

/// What came of all faults.
#[derive(Default)]
struct Outcome {
    findings: Vec<String>,
    /// By target and kind of harm.
    counts: BTreeMap<String, usize>,
    missed: usize,
    /// What the program said, and after how many faults.
    said: BTreeMap<String, usize>,
}

impl Outcome {
    fn show(&self, is_chatty: bool) {
        if is_chatty {
            for (words, count) in &self.said {
                println!("{count:6} × {words}");
            }
        }
        for (what, count) in &self.counts {
            println!("{count:6} {what}");
        }
        println!("{:6} did not happen", self.missed);
        for finding in &self.findings {
            println!("cargo xtask injure --one {finding}");
        }
    }
}

fn try_all(posthole: &Path, faults: &[Fault], time: Option<Duration>) -> Outcome {
    let deadline = time.map(|time| Instant::now() + time);
    let next = AtomicUsize::new(0);
    let outcome = Mutex::new(Outcome::default());
    let workers = std::thread::available_parallelism().map_or(1, usize::from);
    std::thread::scope(|scope| {
        for _ in 0..workers {
            scope.spawn(|| {
                while deadline.is_none_or(|deadline| Instant::now() < deadline) {
                    let idx = next.fetch_add(1, Ordering::Relaxed);
                    let Some(fault) = faults.get(idx) else { break };
                    let tried = fault.try_on(posthole);
                    let mut outcome = outcome.lock().unwrap_or_else(PoisonError::into_inner);
                    let kind = format!("{} {}", fault::name(fault.target), fault.harm.kind());
                    match tried {
                        Ok(Tried::Missed) => outcome.missed += 1,
                        Ok(Tried::Harmed(said)) => {
                            *outcome.counts.entry(kind).or_default() += 1;
                            *outcome.said.entry(said).or_default() += 1;
                        }
                        Err(error) => {
                            println!("\n{fault}: {error}\n");
                            *outcome.counts.entry(kind).or_default() += 1;
                            outcome.findings.push(fault.to_string());
                        }
                    }
                }
            });
        }
    });
    outcome.into_inner().unwrap_or_else(PoisonError::into_inner)
}

enum Tried {
    /// With what the program said about it.
    Harmed(String),
    Missed,
}

impl Fault {
    /// Does the harm, and judges what is left.
    fn try_on(&self, posthole: &Path) -> Result<Tried, String> {
        let scene = scene(self.target, self.keep);
        let log = strace::Log::for_scene(&scene);
        let ended = scene.run(log.harm(&scene, posthole, self), PATIENCE);
        let struck = log.injected()?;
        // Of pipes and the like nobody has to be told that they are full, and no disk is.
        let is_file = struck.iter().all(|line| log.is_about_files(line));
        let ended = match ended {
            Err(_) if !is_file => return Ok(Tried::Missed),
            ended => ended?,
        };
        let is_killed = ended.status.code().is_none();
        if struck.is_empty() && !is_killed {
            return Ok(Tried::Missed);
        }
        let place = struck.first().cloned().unwrap_or_default();
        let in_context = |error: String| format!("{error}\nstruck: {place}\nthen: {ended}");
        scene.nothing_is_lost().map_err(in_context)?;
        match self.harm {
            Harm::Kill => {}
            _ if is_file => {
                ended.is_decent().map_err(in_context)?;
                if ended.status.success() {
                    scene.all_is_delivered().map_err(in_context)?;
                }
            }
            _ => {}
        }
        scene.settle(&[], posthole, 1).map_err(in_context)?;
        Ok(Tried::Harmed(words(&scene, &ended)))
    }
}

/// What the program said, without what differs from run to run.
fn words(scene: &Scene, ended: &Ended) -> String {
    let home = scene.home().path().display().to_string();
    let text = ended.stderr.replace(&home, "~");
    let mut clean = String::new();
    for c in text.trim_end().chars() {
        match c {
            '0'..='9' if clean.ends_with('#') => {}
            '0'..='9' => clean.push('#'),
            '\n' => clean.push_str(" / "),
            c => clean.push(c),
        }
    }
    match ended.status.code() {
        Some(code) => format!("exit {code}: {clean}"),
        None => "killed".to_owned(),
    }
}

/// Puts things into an order that depends on nothing but the seed (Fisher and Yates; SplitMix64).
fn shuffle<T>(things: &mut [T], seed: u64) {
    let mut state = seed;
    for last in (1..things.len()).rev() {
        state = state.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = state;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        let place = ((z ^ (z >> 31)) % (last as u64 + 1)) as usize;
        things.swap(last, place);
    }
}

/// A lock is waited for half a minute, another process with the records as long.
const PATIENCE: Duration = Duration::from_secs(75);
