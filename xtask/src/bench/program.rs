//! The size of the program, and how long it takes to start.

use std::fs;
use std::path::Path;
use std::process::Command;

use posthole_testkit::Home;

use super::measure::{self, Medians};
use super::report::{self, Table};
use super::{Bench, is_installed};

/// The program with and without what debuggers need, and `--version` from start to end.
pub(super) fn program(bench: &Bench) -> Result<String, String> {
    let fresh = bench.fresh()?;
    let home = Home::new();
    let mut table = Table::new(["", "seconds for --version", "MiB of memory", "MiB of file"]);
    let mut programs = vec![(
        bench.posthole.clone(),
        stripped_size(&bench.posthole, &fresh)?,
    )];
    for name in ["mpop", "fetchmail"] {
        let path = Path::new("/usr/bin").join(name);
        if is_installed(name) && path.is_file() {
            programs.push((path.clone(), size(&path)?));
        }
    }
    for (path, octets) in programs {
        let mut command = home.posthole(&path);
        command.arg("--version");
        let costs: Result<Vec<_>, _> = (0..RUNS).map(|_| measure::run(&command, &fresh)).collect();
        let costs = costs?;
        let Some(cost) = Medians::of(&costs) else {
            continue;
        };
        let name = path.file_name().unwrap_or_default().to_string_lossy();
        table.row([
            name.into_owned(),
            report::seconds(cost.wall),
            report::mib(cost.peak_kib),
            format!("{:.1}", octets as f64 / f64::from(1 << 20)),
        ]);
    }
    Ok(table.markdown())
}

/// The size of a program without its symbols, as a package would hold it.
fn stripped_size(path: &Path, fresh: &Path) -> Result<u64, String> {
    let stripped = fresh.join("stripped");
    let status = Command::new("strip")
        .arg("-o")
        .arg(&stripped)
        .arg(path)
        .status();
    match status {
        Ok(status) if status.success() => size(&stripped),
        _ => Err("`strip` of Debian package binutils is needed".to_owned()),
    }
}

fn size(path: &Path) -> Result<u64, String> {
    let metadata = fs::metadata(path);
    metadata
        .map(|metadata| metadata.len())
        .map_err(|error| format!("cannot look at {}: {error}", path.display()))
}

const RUNS: usize = 21;
