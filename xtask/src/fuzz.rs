//! Fuzzing on stable Rust.
//!
//! `cargo fuzz` wants a nightly compiler, for the address sanitizer. Coverage alone, by which
//! libFuzzer finds its way, can be had on stable, because LLVM's coverage pass is asked for by
//! name. Without `unsafe` in what is fuzzed, the sanitizer would say nothing that a panic does not.

use std::fs;
use std::path::Path;
use std::process::Command;

use crate::cargo::{cargo, root, run, target_dir};

/// Builds the fuzz targets and runs each for a while: `[--seconds N] [TARGET…]`.
pub(crate) fn fuzz(arguments: &[&str]) -> Result<(), String> {
    let (seconds, named) = match arguments {
        ["--seconds", seconds, named @ ..] => (*seconds, named),
        named => (SECONDS, named),
    };
    if seconds.parse::<u32>().is_err() {
        return Err(format!("`{seconds}` is not a number of seconds"));
    }
    let all = targets()?;
    if let Some(unknown) = named
        .iter()
        .find(|name| !all.iter().any(|target| target == *name))
    {
        return Err(format!(
            "there is no fuzz target `{unknown}`; there are: {}",
            all.join(", ")
        ));
    }
    let host = host()?;
    // With a target named, the flags do not reach build scripts and derive macros.
    let directory = target_dir().join("fuzz");
    run(cargo()
        .args([
            "build",
            "--locked",
            "--package",
            "posthole-fuzz",
            "--profile",
            "fuzz",
            "--bins",
        ])
        .args(["--target", &host, "--target-dir"])
        .arg(&directory)
        .env("RUSTFLAGS", FLAGS))?;
    for target in all
        .iter()
        .filter(|target| named.is_empty() || named.contains(&target.as_str()))
    {
        let binary = directory.join(&host).join("fuzz").join(target);
        fuzz_one(target, &binary, seconds)?;
    }
    Ok(())
}

/// Runs one target; what it finds stays in `fuzz/artifacts`, what it learns in `fuzz/corpus`.
fn fuzz_one(target: &str, binary: &Path, seconds: &str) -> Result<(), String> {
    let make = |kind: &str| {
        let dir = root().join("fuzz").join(kind).join(target);
        let made = fs::create_dir_all(&dir);
        made.map(|()| dir)
            .map_err(|error| format!("cannot make fuzz/{kind}/{target}: {error}"))
    };
    let (corpus, artifacts) = (make("corpus")?, make("artifacts")?);
    let mut command = Command::new(binary);
    command
        .arg(corpus)
        .arg(format!("-artifact_prefix={}/", artifacts.display()))
        .arg(format!("-max_total_time={seconds}"))
        .args([
            "-timeout=10",
            "-rss_limit_mb=1024",
            "-print_final_stats=1",
            "-verbosity=0",
        ]);
    let seeds = root().join("fuzz/seeds").join(target);
    if seeds.is_dir() {
        command.arg(seeds);
    }
    run(&mut command)
}

/// The names of the targets, in order.
fn targets() -> Result<Vec<String>, String> {
    let dir = root().join("fuzz/fuzz_targets");
    let entries = fs::read_dir(&dir).map_err(|e| format!("cannot read {}: {e}", dir.display()))?;
    let mut names: Vec<_> = entries
        .flatten()
        .filter_map(|entry| {
            entry
                .file_name()
                .to_str()?
                .strip_suffix(".rs")
                .map(str::to_owned)
        })
        .collect();
    names.sort();
    Ok(names)
}

/// The platform that this compiler builds for by itself.
fn host() -> Result<String, String> {
    let output = Command::new("rustc").arg("-vV").output();
    let output = output.map_err(|error| format!("cannot run rustc: {error}"))?;
    let text = String::from_utf8_lossy(&output.stdout);
    let host = text.lines().find_map(|line| line.strip_prefix("host: "));
    host.map(str::to_owned)
        .ok_or_else(|| "rustc does not name its host".to_owned())
}

/// What cargo-fuzz passes for coverage, with overflow and assertion checks in a release build.
const FLAGS: &str = "--cfg fuzzing \
    -Cpasses=sancov-module \
    -Cllvm-args=-sanitizer-coverage-level=4 \
    -Cllvm-args=-sanitizer-coverage-inline-8bit-counters \
    -Cllvm-args=-sanitizer-coverage-pc-table \
    -Cllvm-args=-sanitizer-coverage-trace-compares \
    -Cdebug-assertions -Coverflow-checks \
    -Ccodegen-units=1";
const SECONDS: &str = "5";
