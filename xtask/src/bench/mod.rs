//! Compares Posthole with its peers on real servers: `cargo xtask bench`.
//!
//! ```text
//!  options ─► scenario ─► stage (Dovecot, sshd, line, tunnel) ─┐
//!                         contender × rounds ──────────────────┴─► compare ─► report
//! ```
//!
//! Absolute times belong to the machine; what is worth comparing are the ratios within one run,
//! which is why the contenders take turns instead of running one after the other. Nothing here
//! judges: no figure makes it fail, only a contender that did not get every message does.

mod compare;
mod contender;
mod mail;
mod measure;
mod options;
mod scenario;
mod stage;
mod stats;
mod tunnel;

use std::path::PathBuf;

use posthole_testkit::real::Requirement;

use crate::cargo::{cargo, run, target_dir};
use compare::Comparison;
use contender::Contender;
use options::Options;
use scenario::{SCENARIOS, Scenario};

/// Runs what the arguments name.
pub(crate) fn bench(arguments: &[&str]) -> Result<(), String> {
    let options = Options::parse(arguments)?;
    if options.list {
        for scenario in SCENARIOS {
            println!("{:<12} {}", scenario.name, scenario.title);
        }
        return Ok(());
    }
    let contenders = who_is_here()?;
    let posthole = build()?;
    let dir = working_dir()?;
    for scenario in SCENARIOS {
        if options.wants(scenario.name) {
            eprintln!("{}: {}", scenario.name, scenario.title);
            let rounds = options.rounds.unwrap_or(scenario.rounds);
            let found = compare::compare(scenario, &contenders, rounds, &posthole, dir.path())?;
            print(scenario, &found);
        }
    }
    Ok(())
}

fn print(scenario: &Scenario, found: &Comparison) {
    println!("\n{}", scenario.title);
    let ours = found.median(Contender::Posthole);
    for (contender, sample) in &found.seconds {
        let Some(median) = sample.median() else {
            continue;
        };
        let (least, most) = (sample.least().unwrap_or(0.0), sample.most().unwrap_or(0.0));
        let ratio = ours.map_or_else(String::new, |ours| format!("{:6.2} ×", median / ours));
        println!(
            "  {:<14} {median:7.3} s  ({least:.3} to {most:.3}, {} runs) {ratio}",
            contender.name(),
            sample.len()
        );
    }
    for (contender, error) in &found.failures {
        println!("  {:<14} {error}", contender.name());
    }
    println!();
}

/// The contenders that are installed; says what is missing of the others.
fn who_is_here() -> Result<Vec<Contender>, String> {
    let needed = [
        Requirement::Dovecot,
        Requirement::NssWrapper,
        Requirement::Ssh,
        Requirement::Sshd,
    ];
    let missing: Vec<_> = needed.iter().filter_map(|one| one.missing()).collect();
    if !missing.is_empty() {
        return Err(format!(
            "the benchmarks need these Debian packages too: {}",
            missing.join(" ")
        ));
    }
    let path = std::env::var_os("PATH").unwrap_or_default();
    let is_installed =
        |program: &str| std::env::split_paths(&path).any(|dir| dir.join(program).is_file());
    let mut here = Vec::new();
    for contender in Contender::ALL {
        match contender.program() {
            Some((program, package)) if !is_installed(program) => {
                eprintln!(
                    "without {}: Debian package {package} is missing",
                    contender.name()
                );
            }
            _ => here.push(contender),
        }
    }
    if let (true, Some(package)) = (
        here.contains(&Contender::Mbsync),
        Requirement::DovecotImap.missing(),
    ) {
        eprintln!("without mbsync: Debian package {package} is missing");
        here.retain(|contender| *contender != Contender::Mbsync);
    }
    Ok(here)
}

/// Builds what is measured.
fn build() -> Result<PathBuf, String> {
    eprintln!("Building posthole for release …");
    run(cargo().args([
        "build",
        "--locked",
        "--quiet",
        "--release",
        "--package",
        "posthole",
    ]))?;
    Ok(target_dir().join("release").join("posthole"))
}

/// Where the contenders write: beside what Cargo builds, because /tmp may be in memory, where
/// syncing costs nothing.
fn working_dir() -> Result<tempfile::TempDir, String> {
    let parent = target_dir().join("bench");
    std::fs::create_dir_all(&parent)
        .and_then(|()| tempfile::Builder::new().prefix("run-").tempdir_in(&parent))
        .map_err(|error| format!("cannot make a directory in {}: {error}", parent.display()))
}
