//! A guard against slowness that does not look at the clock.
//!
//! Benchmarks without IO run once each under callgrind, which counts the instructions of the
//! measured function alone. The counts are compared with those in `xtask/instructions.txt`. They
//! differ by one in ten thousand from run to run, because hash maps are seeded at random, and by
//! some per cent between compilers. What the bound is for is the allocation per message (ten per
//! cent of a listing) or the second search of a buffer that nobody noticed.
//!
//! Nothing is built twice: dependencies are those of the tests, which are optimised, and only our
//! own crates are compiled again.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::Value;

use crate::cargo::{cargo, root, show, target_dir};

/// Counts and compares, or writes down what was counted: `[--bless]`.
pub(crate) fn instructions(arguments: &[&str]) -> Result<(), String> {
    let bless = match arguments {
        [] => false,
        ["--bless"] => true,
        _ => {
            return Err(format!(
                "not `{}` but --bless or nothing",
                arguments.join(" ")
            ));
        }
    };
    if let Some(reason) = cannot_compare() {
        println!("instructions: SKIPPED, {reason}");
        return Ok(());
    }
    let programs = build()?;
    let counts = count_all(&programs)?;
    let path = root().join(FILE);
    if bless {
        return fs::write(&path, written(&counts))
            .map_err(|error| format!("cannot write {FILE}: {error}"))
            .map(|()| println!("{}", table(&counts, &counts)));
    }
    let text = fs::read_to_string(&path).map_err(|error| format!("cannot read {FILE}: {error}"))?;
    let committed = read(&text)?;
    println!("{}", table(&counts, &committed));
    judge(&counts, &committed)
}

/// Why counts of this machine say nothing about those in the file, if so.
fn cannot_compare() -> Option<&'static str> {
    let valgrind = Command::new("valgrind")
        .arg("--version")
        .stdout(Stdio::null())
        .status();
    if !valgrind.is_ok_and(|status| status.success()) {
        return Some("there is no valgrind here; the Debian package is `valgrind`");
    }
    if !has_avx2() {
        return Some(
            "they were counted on x86_64 with AVX2, by which memory is searched and copied",
        );
    }
    None
}

#[cfg(target_arch = "x86_64")]
fn has_avx2() -> bool {
    std::is_x86_feature_detected!("avx2")
}

#[cfg(not(target_arch = "x86_64"))]
fn has_avx2() -> bool {
    false
}

/// Builds the benchmarks and returns where they are, by name.
fn build() -> Result<BTreeMap<String, PathBuf>, String> {
    let mut command = cargo();
    // The same packages as in ci/test: with others, dependencies might have other features.
    command.args([
        "build",
        "--locked",
        "--workspace",
        "--exclude",
        "posthole-fuzz",
    ]);
    command.args([
        "--bench",
        "*",
        "--message-format",
        "json-render-diagnostics",
    ]);
    for package in ["posthole-core", "posthole-proto"] {
        for setting in [
            "opt-level=3",
            "codegen-units=1",
            "debug-assertions=false",
            "incremental=false",
        ] {
            command.args([
                "--config",
                &format!("profile.dev.package.{package}.{setting}"),
            ]);
        }
    }
    let output = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| format!("cannot run `{}`: {error}", show(&command)))?;
    if !output.status.success() {
        return Err(format!("`{}` failed: {}", show(&command), output.status));
    }
    let program = |line: &str| {
        let message: Value = serde_json::from_str(line).ok()?;
        let executable = message["executable"].as_str()?;
        Some((
            message["target"]["name"].as_str()?.to_owned(),
            executable.into(),
        ))
    };
    let messages = String::from_utf8_lossy(&output.stdout);
    Ok(messages.lines().filter_map(program).collect())
}

/// Counts all units, side by side: what else goes on does not change a count.
fn count_all(programs: &BTreeMap<String, PathBuf>) -> Result<Counts, String> {
    std::thread::scope(|scope| {
        let running = UNITS.map(|unit| (unit, scope.spawn(|| count(programs, unit))));
        let counted = running.into_iter().map(|(unit, thread)| {
            let count = thread
                .join()
                .map_err(|_panic| format!("counting {unit} failed"))??;
            Ok((unit.to_owned(), count))
        });
        counted.collect()
    })
}

/// Counts the instructions of a unit, which is named like its benchmark: `PROGRAM::NAME`.
fn count(programs: &BTreeMap<String, PathBuf>, unit: &str) -> Result<u64, String> {
    let (program, function) = unit.split_once("::").unwrap_or((unit, ""));
    let binary = programs
        .get(program)
        .ok_or_else(|| format!("there is no benchmark {program}"))?;
    let out = target_dir()
        .join("tmp")
        .join(format!("callgrind.{program}.{function}"));
    let mut command = Command::new("valgrind");
    command
        .args(["--tool=callgrind", "--quiet"])
        .arg(format!("--callgrind-out-file={}", out.display()))
        .arg(format!("--toggle-collect={program}::unit::{function}"))
        .arg(binary)
        // Each once, without a look at the clock.
        .args(["--test", "--exact", unit])
        .stdin(Stdio::null());
    let output = command
        .output()
        .map_err(|error| format!("cannot run `{}`: {error}", show(&command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        return Err(format!(
            "`{}` failed: {}\n{said}",
            show(&command),
            output.status
        ));
    }
    total(&out).ok_or_else(|| {
        format!("callgrind saw nothing of {program}::unit::{function}: was it inlined or renamed?")
    })
}

/// The sum in a file of callgrind's; nothing counted is no sum.
fn total(file: &Path) -> Option<u64> {
    let text = fs::read_to_string(file).ok()?;
    let total = text
        .lines()
        .find_map(|line| line.strip_prefix("totals: "))?;
    total.trim().parse().ok().filter(|&total| total > 0)
}

/// Fails if a count is too far above what is committed, or there is none to compare it with.
fn judge(counts: &Counts, committed: &Counts) -> Result<(), String> {
    let mut worse = Vec::new();
    let mut better = Vec::new();
    for (unit, &now) in counts {
        match committed.get(unit) {
            None => worse.push(format!("{unit} is not in {FILE}")),
            Some(&before) if now > before + before * BOUND / 100 => {
                worse.push(format!(
                    "{unit} takes {now} instructions instead of {before}"
                ));
            }
            Some(&before) if now < before - before * BOUND / 100 => better.push(unit.as_str()),
            Some(_) => {}
        }
    }
    if !better.is_empty() {
        println!(
            "better by more than {BOUND} %, worth a --bless: {}",
            better.join(", ")
        );
    }
    if worse.is_empty() {
        return Ok(());
    }
    Err(format!(
        "{}\nFind out why (`callgrind_annotate` reads {}), or accept it with \
         `cargo xtask instructions --bless` and say why in the commit.",
        worse.join("\n"),
        target_dir().join("tmp/callgrind.*").display()
    ))
}

fn table(counts: &Counts, committed: &Counts) -> String {
    let mut table = format!(
        "{:24}{:>14}{:>14}{:>10}",
        "unit", "committed", "now", "change"
    );
    for (unit, &now) in counts {
        let before = committed.get(unit).copied().unwrap_or(0);
        let change = (now as f64 / before as f64 - 1.0) * 100.0;
        let _infallible = write!(table, "\n{unit:24}{before:>14}{now:>14}{change:>+9.2}%");
    }
    table
}

fn written(counts: &Counts) -> String {
    let lines = counts
        .iter()
        .map(|(unit, count)| format!("{unit} {count}\n"));
    lines.fold(HEADER.to_owned(), |text, line| text + &line)
}

fn read(text: &str) -> Result<Counts, String> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| {
            let (unit, count) = line.split_once(' ')?;
            Some((unit.to_owned(), count.parse().ok()?))
        })
        .collect::<Option<_>>()
        .ok_or_else(|| format!("a line in {FILE} is not a unit and its count"))
}

type Counts = BTreeMap<String, u64>;

/// The benchmarks without IO. In a module `unit` of each program is the function of that name.
const UNITS: [&str; 9] = [
    "poll::compare",
    "poll::crlf_to_lf",
    "poll::decide",
    "poll::list",
    "pop3::dot_unstuffing",
    "pop3::line_framing",
    "pop3::retr_large",
    "pop3::retr_small",
    "pop3::uidl",
];

/// How many per cent a count may be above the committed one.
const BOUND: u64 = 10;

const FILE: &str = "xtask/instructions.txt";

const HEADER: &str = "\
# Instructions of each unit as callgrind counts them, on x86_64 with AVX2.
# Written by `cargo xtask instructions --bless`.
";

#[cfg(test)]
mod tests {
    use super::*;

    fn counts(count: u64) -> Counts {
        BTreeMap::from([("pop3::uidl".to_owned(), count)])
    }

    #[test]
    fn what_is_written_can_be_read() {
        assert_eq!(read(&written(&counts(7))), Ok(counts(7)));
        assert!(read("pop3::uidl many\n").is_err());
    }

    #[test]
    fn only_a_count_above_the_bound_fails() {
        for fine in [1, 900, 1000, 1100] {
            assert_eq!(judge(&counts(fine), &counts(1000)), Ok(()), "{fine}");
        }
        let error = judge(&counts(1101), &counts(1000)).unwrap_err();
        assert!(
            error.starts_with("pop3::uidl takes 1101 instructions instead of 1000"),
            "{error}"
        );
        assert!(
            judge(&counts(1), &Counts::new()).is_err(),
            "nothing to compare with"
        );
    }
}
