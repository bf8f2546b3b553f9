//! What the figures were measured on, and with which versions.

use std::fs;
use std::io::Write;
use std::path::Path;
use std::process::Command;
use std::time::Instant;

use super::contender::Contender;
use super::stats::Sample;
use crate::cargo::root;

/// A list of the machine and the versions, in Markdown.
pub(super) fn describe(dir: &Path) -> String {
    let cpu = field("/proc/cpuinfo", "model name").unwrap_or_else(|| "unknown".to_owned());
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let memory = field("/proc/meminfo", "MemTotal")
        .and_then(|total| total.split_whitespace().next()?.parse::<u64>().ok())
        .map_or(0, |kib| kib.div_ceil(1024 * 1024));
    let system = field("/etc/os-release", "PRETTY_NAME").unwrap_or_default();
    let system = system.trim_matches('"');
    let kernel = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap_or_default();
    // stat(1) cannot tell ext4 from its ancestors.
    let mut mount = Command::new("findmnt");
    let mount = mount.args(["--noheadings", "--output=FSTYPE", "--target"]);
    let file_system = said(mount.arg(dir));
    let sync = sync_ms(dir).map_or_else(|| "?".to_owned(), |ms| format!("{ms:.2} ms"));
    let commit = said(
        Command::new("git")
            .args(["describe", "--always", "--dirty"])
            .current_dir(root()),
    );
    let date = said(Command::new("date").args(["--utc", "--iso-8601"]));
    let mut packages = vec!["openssh-server", "dovecot-core"];
    packages.extend(
        Contender::ALL
            .into_iter()
            .filter_map(|contender| contender.program())
            .map(|(_, package)| package),
    );
    let versions: Vec<_> = packages.into_iter().filter_map(version).collect();
    format!(
        "- Date: {date}; Posthole at commit {commit}\n\
         - Machine: {cpu}, {cores} cores, {memory} GiB, Linux {}, {system}\n\
         - Disk: {file_system}, a file of 2.5 KB written and synced in {sync}\n\
         - Versions: {}\n",
        kernel.trim(),
        versions.join(", ")
    )
}

/// How long it takes to write a small file and sync it, in milliseconds, which most contenders do for
/// each message; the same disk is slower when others use it too.
fn sync_ms(dir: &Path) -> Option<f64> {
    let mut sample = Sample::default();
    for number in 0..SYNCS {
        let start = Instant::now();
        let mut file = fs::File::create(dir.join(format!("synced-{number}"))).ok()?;
        file.write_all(&[b'x'; 2_500]).ok()?;
        file.sync_all().ok()?;
        sample.add(start.elapsed().as_secs_f64() * 1e3);
    }
    sample.median()
}

/// The value of the first line `name: value` or `name=value`.
fn field(path: &str, name: &str) -> Option<String> {
    let text = fs::read_to_string(path).ok()?;
    let line = text.lines().find(|line| line.starts_with(name))?;
    let (_, value) = line.split_once([':', '='])?;
    Some(value.trim().to_owned())
}

/// A Debian package with its version, if it is installed.
fn version(package: &str) -> Option<String> {
    let mut query = Command::new("dpkg-query");
    let version = said(query.args(["--show", "--showformat=${Version}", package]));
    (!version.is_empty()).then(|| format!("{package} {version}"))
}

/// What a command prints; nothing if it cannot be run.
fn said(command: &mut Command) -> String {
    let output = command.output().map(|output| output.stdout);
    String::from_utf8_lossy(&output.unwrap_or_default())
        .trim()
        .to_owned()
}

const SYNCS: u32 = 51;
