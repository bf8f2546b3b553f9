//! What the figures were measured on, and with which versions.

use std::fs;
use std::path::Path;
use std::process::Command;

use super::contender::Contender;
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
    let file_system = said(
        Command::new("stat")
            .args(["--file-system", "--format=%T"])
            .arg(dir),
    );
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
         - Machine: {cpu}, {cores} cores, {memory} GiB, Linux {}, {system}, {file_system}\n\
         - Versions: {}\n",
        kernel.trim(),
        versions.join(", ")
    )
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
