//! Compares Posthole with its peers on real servers: `cargo xtask bench`.
//!
//! ```text
//!  options ─► catalogue ─┬─ scenario ─► stage (Dovecot, sshd, line, tunnel) ─┐
//!                        │              contender × rounds ──────────────────┴─► compare ─┐
//!                        └─ calls, kept, arrival, accounts, memory, program, growth ──────┴► report
//! ```
//!
//! Absolute times belong to the machine; what is worth comparing are the ratios within one run,
//! which is why the contenders take turns instead of running one after the other. Nothing here
//! judges: no figure makes it fail, only something that does not work does.

mod accounts;
mod arrival;
mod calls;
mod catalogue;
mod compare;
mod contender;
mod growth;
mod kept;
mod machine;
mod mail;
mod measure;
mod memory;
mod opening;
mod options;
mod plot;
mod program;
mod report;
mod scenario;
mod stage;
mod stats;
mod tunnel;

use std::cell::Cell;
use std::fs;
use std::path::{Path, PathBuf};
use std::time::Instant;

use posthole_testkit::real::Requirement;
use rustix::fs::{IFlags, ioctl_getflags, ioctl_setflags};
use tempfile::TempDir;

use crate::cargo::{cargo, root, run, target_dir};
use catalogue::Kind;
use contender::Contender;
use options::Options;

/// Runs the benchmarks that the arguments name.
pub(crate) fn bench(arguments: &[&str]) -> Result<(), String> {
    if let [measure::MEASURED, rest @ ..] = arguments {
        return measure::measured(rest);
    }
    let all = catalogue::all();
    let names: Vec<_> = all.iter().map(|one| one.name).collect();
    let options = Options::parse(arguments, &names)?;
    if options.list {
        for one in all {
            println!("{:<16} {}", one.name, one.title);
        }
        return Ok(());
    }
    let bench = Bench::start(&options)?;
    let machine = machine::describe(bench.dir.path());
    println!("{machine}");
    let mut sections = vec![("machine", machine)];
    let mut comparisons = Vec::new();
    for one in &all {
        if !options.wants(one.name) {
            continue;
        }
        println!("\n{}: {}\n", one.name, one.title);
        let start = Instant::now();
        let text = match one.kind {
            Kind::Comparison(scenario) => {
                let comparison = compare::compare(&bench, scenario)?;
                let table = comparison.table();
                comparisons.push((scenario, comparison));
                table
            }
            Kind::Other(run) => run(&bench)?,
        };
        println!("{}", text.trim_end());
        eprintln!("({} took {:.0?})", one.name, start.elapsed());
        sections.push((one.name, text));
    }
    if !comparisons.is_empty() {
        let overview = compare::overview(&comparisons);
        println!("\n{overview}");
        if comparisons.len() == scenario::SCENARIOS.len() {
            sections.push(("overview", overview));
        }
    }
    if options.write {
        write(&sections)?;
    }
    Ok(())
}

/// What all benchmarks share.
struct Bench {
    /// The program that is measured.
    posthole: PathBuf,
    /// Who is installed.
    contenders: Vec<Contender>,
    /// How often each runs, if the command line says so.
    rounds: Option<usize>,
    /// Whether doc/ is brought up to date.
    write: bool,
    dir: TempDir,
    n_dirs: Cell<u32>,
}

impl Bench {
    fn start(options: &Options) -> Result<Self, String> {
        let contenders = who_is_here()?;
        eprintln!("Building posthole for release …");
        let build = [
            "build",
            "--locked",
            "--quiet",
            "--release",
            "--package",
            "posthole",
        ];
        run(cargo().args(build))?;
        Ok(Self {
            posthole: target_dir().join("release").join("posthole"),
            contenders,
            rounds: options.rounds,
            write: options.write,
            dir: working_dir()?,
            n_dirs: Cell::new(0),
        })
    }

    /// Makes an empty directory for one attempt; it stays until everything has run.
    fn fresh(&self) -> Result<PathBuf, String> {
        let number = self.n_dirs.get();
        self.n_dirs.set(number + 1);
        let path = self.dir.path().join(number.to_string());
        fs::create_dir(&path)
            .map_err(|error| format!("cannot make {}: {error}", path.display()))?;
        Ok(path)
    }

    /// Saves a picture in doc/, or beside what Cargo builds where doc/ is to stay as it is.
    fn save(&self, name: &str, svg: &str) -> Result<(), String> {
        let dir = if self.write {
            root().join("doc")
        } else {
            target_dir().join("bench")
        };
        let path = dir.join(name);
        fs::write(&path, svg).map_err(|error| format!("cannot write {}: {error}", path.display()))
    }

    /// Whether this contender is installed.
    fn has(&self, contender: Contender) -> bool {
        self.contenders.contains(&contender)
    }
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
    let mut here = Vec::new();
    for contender in Contender::ALL {
        let mut missing = contender
            .program()
            .filter(|(program, _)| !is_installed(program))
            .map(|(_, package)| package);
        if contender == Contender::Mbsync {
            missing = missing.or_else(|| Requirement::DovecotImap.missing());
        }
        match missing {
            Some(package) => {
                eprintln!(
                    "{} stays away: Debian package {package} is missing",
                    contender.name()
                );
            }
            None => here.push(contender),
        }
    }
    Ok(here)
}

/// Whether a program is in `PATH`.
fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|dir| dir.join(program).is_file())
}

/// Where the contenders write: beside what Cargo builds, because /tmp may be in memory, where
/// syncing costs nothing.
fn working_dir() -> Result<TempDir, String> {
    let parent = target_dir().join("bench");
    let failed =
        |error: std::io::Error| format!("cannot make a directory in {}: {error}", parent.display());
    fs::create_dir_all(&parent).map_err(failed)?;
    let dir = tempfile::Builder::new().prefix("run-").tempdir_in(&parent);
    let dir = dir.map_err(failed)?;
    spread(dir.path());
    Ok(dir)
}

/// Asks the file system to place the directories below this one far from each other (chattr(1), T).
///
/// ext4 looks for an inode near the directory, past all that were freed in the last minutes; where
/// something was just deleted, by the run before or by anybody, creating a file costs ten times as
/// much. Other file systems know no such flag and need none.
fn spread(dir: &Path) {
    if let Ok(dir) = fs::File::open(dir)
        && let Ok(flags) = ioctl_getflags(&dir)
    {
        ioctl_setflags(&dir, flags | IFlags::TOPDIR).ok();
    }
}

/// Brings the sections of doc/benchmarks.md up to date.
fn write(sections: &[(&str, String)]) -> Result<(), String> {
    let path = root().join("doc").join("benchmarks.md");
    let failed = |what: &str, error| format!("cannot {what} {}: {error}", path.display());
    let mut document = fs::read_to_string(&path).map_err(|error| failed("read", error))?;
    for (name, text) in sections {
        document = report::replace_section(&document, name, text)?;
    }
    fs::write(&path, document).map_err(|error| failed("write", error))
}
