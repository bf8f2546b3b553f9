//! A daemon as a child process: started, known to be ready, and ended with all its descendants.
//!
//! The hard part is the end. An `sshd` gives each connection a session (setsid) of its own and
//! Dovecot's processes change users, so no process group holds them all; what is ended is the tree
//! of descendants as `/proc` shows it, each one recognised by its start time.

use std::collections::HashMap;
use std::fs::{self, File};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

/// A running daemon.
#[derive(Debug)]
pub(super) struct Daemon {
    name: &'static str,
    child: Child,
    log: PathBuf,
}

impl Daemon {
    /// Starts a daemon that stays in the foreground; what it writes goes to the log file.
    pub(super) fn start(name: &'static str, command: &mut Command, log: &Path) -> Self {
        let output = File::options().create(true).append(true).open(log);
        let output = output.unwrap_or_else(|e| panic!("cannot write {}: {e}", log.display()));
        let errors = output
            .try_clone()
            .expect("a file can be shared with a child");
        // Not in a process group of its own: what ends the test from outside ends this too.
        let child = command
            .stdin(Stdio::null())
            .stdout(output)
            .stderr(errors)
            .spawn();
        let child = child.unwrap_or_else(|error| panic!("cannot start {name}: {error}"));
        Self {
            name,
            child,
            log: log.to_owned(),
        }
    }

    /// Waits until `ready` says so; false if the daemon ended instead, such as for a taken port.
    pub(super) fn wait_until(&mut self, mut ready: impl FnMut() -> bool) -> bool {
        let deadline = Instant::now() + PATIENCE;
        loop {
            if self.is_over() {
                return false;
            }
            if ready() {
                return true;
            }
            assert!(
                Instant::now() < deadline,
                "{} is not ready after {PATIENCE:?}; its log:\n{}",
                self.name,
                self.log_text()
            );
            std::thread::sleep(Duration::from_millis(5));
        }
    }

    /// Its process.
    pub(super) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal to it and to all its descendants.
    pub(super) fn signal_all(&self, what: Signal) {
        signal(&descendants(self.child.id()), what);
    }

    /// Kills it and all its descendants.
    pub(super) fn kill(&mut self) {
        self.signal_all(Signal::KILL);
        self.child.wait().ok();
    }

    pub(super) fn log_text(&self) -> String {
        String::from_utf8_lossy(&fs::read(&self.log).unwrap_or_default()).into_owned()
    }

    fn is_over(&mut self) -> bool {
        !matches!(self.child.try_wait(), Ok(None))
    }
}

impl Drop for Daemon {
    #[expect(
        clippy::print_stderr,
        reason = "the log of a failed test is for whoever ran it"
    )]
    fn drop(&mut self) {
        if std::thread::panicking() {
            eprintln!("log of {}:\n{}", self.name, self.log_text());
        }
        let tree = descendants(self.child.id());
        signal(&tree, Signal::TERM);
        let deadline = Instant::now() + Duration::from_secs(3);
        while Instant::now() < deadline && !(self.is_over() && alive(&tree).is_empty()) {
            std::thread::sleep(Duration::from_millis(5));
        }
        signal(&alive(&tree), Signal::KILL);
        self.child.wait().ok();
    }
}

/// Runs `attempt` with free ports until one of them works out.
///
/// A port that was free may be taken when the daemon binds it, so a daemon that ended is tried
/// again with another.
pub(super) fn with_free_port<T>(
    name: &str,
    mut attempt: impl FnMut(u16) -> Result<T, String>,
) -> T {
    let mut log = String::new();
    for _ in 0..5 {
        match attempt(free_port()) {
            Ok(done) => return done,
            Err(said) => log = said,
        }
    }
    panic!("{name} does not start; its log:\n{log}");
}

/// A port on loopback that nobody listened on a moment ago.
pub(super) fn free_port() -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0));
    let addr = listener.and_then(|listener| listener.local_addr());
    addr.unwrap_or_else(|error| panic!("there is no free port: {error}"))
        .port()
}

/// A directory that daemons can enter, whatever user they become.
pub(super) fn shared_dir(prefix: &str) -> TempDir {
    use std::os::unix::fs::PermissionsExt;

    let dir = tempfile::Builder::new()
        .prefix(prefix)
        .permissions(fs::Permissions::from_mode(0o755))
        .tempdir();
    dir.unwrap_or_else(|error| panic!("cannot make a directory: {error}"))
}

/// The user and group that own the mailbox: an ordinary one for root, oneself for everybody else.
pub(super) fn mail_owner() -> (u32, u32) {
    if is_root() {
        (NOBODY, NOBODY)
    } else {
        (
            rustix::process::geteuid().as_raw(),
            rustix::process::getegid().as_raw(),
        )
    }
}

pub(super) fn is_root() -> bool {
    rustix::process::geteuid().is_root()
}

/// A process that cannot be mistaken for a later one with the same number.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
struct Process {
    pid: u32,
    /// In clock ticks since boot.
    start: u64,
}

/// A process and everything below it, in no particular order.
fn descendants(root: u32) -> Vec<Process> {
    let all = processes();
    let mut tree = vec![root];
    let mut next = 0;
    while let Some(&parent) = tree.get(next) {
        tree.extend(
            all.iter()
                .filter(|(_, (_, ppid))| *ppid == parent)
                .map(|(pid, _)| *pid),
        );
        next += 1;
    }
    let known = |pid| {
        all.get(&pid)
            .map(|(start, _)| Process { pid, start: *start })
    };
    tree.into_iter().filter_map(known).collect()
}

fn alive(among: &[Process]) -> Vec<Process> {
    let all = processes();
    let same = |one: &&Process| {
        all.get(&one.pid)
            .is_some_and(|(start, _)| *start == one.start)
    };
    among.iter().filter(same).copied().collect()
}

/// Start time and parent of every process that is not a zombie (proc_pid_stat(5)).
fn processes() -> HashMap<u32, (u64, u32)> {
    let mut all = HashMap::new();
    let Ok(entries) = fs::read_dir("/proc") else {
        return all;
    };
    for entry in entries.flatten() {
        let Some(pid) = entry
            .file_name()
            .to_str()
            .and_then(|name| name.parse().ok())
        else {
            continue;
        };
        let Ok(stat) = fs::read(entry.path().join("stat")) else {
            continue;
        };
        // The command name in parentheses may hold anything, so count from its end.
        let stat = String::from_utf8_lossy(&stat).into_owned();
        let Some((_, fields)) = stat.rsplit_once(')') else {
            continue;
        };
        let fields: Vec<_> = fields.split_whitespace().collect();
        let (Some(&state), Some(ppid), Some(start)) =
            (fields.first(), fields.get(1), fields.get(19))
        else {
            continue;
        };
        if let (false, Ok(ppid), Ok(start)) = (state == "Z", ppid.parse(), start.parse()) {
            all.insert(pid, (start, ppid));
        }
    }
    all
}

fn signal(processes: &[Process], signal: Signal) {
    for process in processes {
        let pid = i32::try_from(process.pid).ok().and_then(Pid::from_raw);
        if let Some(pid) = pid {
            // It may have ended by itself.
            kill_process(pid, signal).ok();
        }
    }
}

/// Debian's `nobody` and `nogroup`.
const NOBODY: u32 = 65_534;
/// How long a daemon may take to be ready, on a machine that is very busy.
const PATIENCE: Duration = Duration::from_secs(30);
