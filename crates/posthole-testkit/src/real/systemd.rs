//! A machine of its own under systemd.
//!
//! It has the files of this one, with what it writes kept in memory (overlayfs), and processes,
//! mounts and control groups of its own; the network is this machine's loopback. Only systemd's
//! basic target is started, so that none of this machine's services run twice.

use std::fs;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::{Duration, Instant};

use rustix::process::{Pid, Signal, kill_process};
use tempfile::TempDir;

use super::daemon::{self, Daemon};
use super::{find_program, program};

/// A running systemd; it needs root.
#[derive(Debug)]
pub struct Systemd {
    // In the order of their end: nothing is left in the groups once the processes are gone.
    _daemon: Daemon,
    _groups: Groups,
    /// Process 1 of that machine, as this one numbers it.
    init: u32,
    _dir: TempDir,
}

impl Systemd {
    /// Boots it.
    ///
    /// # Panics
    ///
    /// When it does not come up, or
    /// [`Requirement::Systemd`](super::Requirement::Systemd) is missing.
    #[must_use]
    pub fn start() -> Self {
        let dir = daemon::shared_dir("ph-systemd-");
        let groups = Groups::new();
        let mut command = Command::new("/bin/sh");
        command
            .args(["-c", BOOT, "boot"])
            .args(&groups.0)
            .arg("--")
            .arg(dir.path())
            .args([MOUNT, START]);
        let mut daemon = Daemon::start("systemd", &mut command, &dir.path().join("log"));
        let unshare = daemon.id();
        let mut init = None;
        let is_up = daemon.wait_until(|| {
            init = init.or_else(|| init_of(unshare));
            let Some(init) = init else {
                return false;
            };
            let state = inside(init, &["systemctl", "is-system-running"]).output();
            // A part of the base that fails in here is not ours to judge.
            let state = state.expect("nsenter can be run").stdout;
            state.starts_with(b"running") || state.starts_with(b"degraded")
        });
        assert!(is_up, "systemd ended:\n{}", daemon.log_text());
        Self {
            init: init.expect("it is up"),
            _daemon: daemon,
            _groups: groups,
            _dir: dir,
        }
    }

    /// Its file of this absolute path, as it can be reached from here.
    #[must_use]
    pub fn file(&self, path: &str) -> PathBuf {
        PathBuf::from(format!("/proc/{}/root{path}", self.init))
    }

    /// Puts a file there, with its directories.
    ///
    /// # Panics
    ///
    /// When it cannot be written.
    pub fn write(&self, path: &str, mode: u32, content: impl AsRef<[u8]>) {
        let file = self.file(path);
        let written = fs::create_dir_all(file.parent().expect("a file is in a directory"))
            .and_then(|()| fs::write(&file, content))
            .and_then(|()| fs::set_permissions(&file, fs::Permissions::from_mode(mode)));
        written.unwrap_or_else(|error| panic!("cannot write {path} there: {error}"));
    }

    /// Runs a program there, as root.
    ///
    /// # Panics
    ///
    /// When it cannot be run.
    #[must_use]
    pub fn run(&self, words: &[&str]) -> Output {
        inside(self.init, words)
            .output()
            .unwrap_or_else(|error| panic!("cannot run {words:?} there: {error}"))
    }

    /// Waits until this is so.
    ///
    /// # Panics
    ///
    /// When it does not become so; the journal is shown.
    #[track_caller]
    pub fn wait_until(&self, what: &str, mut so: impl FnMut() -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !so() {
            assert!(
                Instant::now() < deadline,
                "not so after {PATIENCE:?}: {what}\n{}",
                self.journal()
            );
            std::thread::sleep(Duration::from_millis(25));
        }
    }

    /// All that was logged.
    #[must_use]
    pub fn journal(&self) -> String {
        let output = self.run(&["journalctl", "--no-pager", "--quiet"]);
        String::from_utf8_lossy(&output.stdout).into_owned()
    }
}

impl Drop for Systemd {
    fn drop(&mut self) {
        // All others in there end with it.
        let init = Pid::from_raw(self.init.cast_signed());
        init.map(|init| kill_process(init, Signal::KILL).ok());
    }
}

/// Whether this machine lets us start another.
pub(super) fn is_possible() -> bool {
    let probe = || -> io::Result<bool> {
        let dir = daemon::shared_dir("ph-systemd-");
        let status = Command::new("unshare")
            .args(["-fpmC", "/bin/sh", "-c", MOUNT, "probe"])
            .arg(dir.path())
            .output()?;
        Ok(status.status.success())
    };
    daemon::is_root()
        && Path::new(SYSTEMD).exists()
        && find_program("nsenter").is_some()
        && probe().unwrap_or(false)
}

/// The first process of the machine that this process has started, once it is systemd.
fn init_of(unshare: u32) -> Option<u32> {
    let children = fs::read_to_string(format!("/proc/{unshare}/task/{unshare}/children")).ok()?;
    let init = children.split_whitespace().next()?.parse().ok()?;
    let name = fs::read_to_string(format!("/proc/{init}/comm")).ok()?;
    (name.trim() == "systemd").then_some(init)
}

fn inside(init: u32, words: &[&str]) -> Command {
    let mut command = Command::new(program("nsenter"));
    command
        .args([
            "--target",
            &init.to_string(),
            "--pid",
            "--mount",
            "--cgroup",
        ])
        .args(["--", "chroot", &format!("/proc/{init}/root")])
        .args(["/usr/bin/env", "-i", "PATH=/usr/sbin:/usr/bin:/sbin:/bin"])
        .args(words);
    command
}

/// Its places among this machine's control groups, so that nothing of it is left there.
#[derive(Debug)]
struct Groups(Vec<PathBuf>);

impl Groups {
    fn new() -> Self {
        // Whatever there is: one hierarchy, or systemd's own beside the others.
        let mounts = [
            "/sys/fs/cgroup/systemd",
            "/sys/fs/cgroup/unified",
            "/sys/fs/cgroup",
        ];
        let mounts = mounts.map(Path::new);
        let mounts = mounts
            .iter()
            .filter(|mount| mount.join("cgroup.procs").exists());
        let name = format!("posthole-testkit-{}", std::process::id());
        let groups: Vec<_> = mounts.map(|mount| mount.join(&name)).collect();
        for group in &groups {
            fs::create_dir(group)
                .unwrap_or_else(|e| panic!("cannot make {}: {e}", group.display()));
        }
        Self(groups)
    }
}

impl Drop for Groups {
    fn drop(&mut self) {
        // The last processes are still dying.
        let deadline = Instant::now() + PATIENCE;
        while self.0.iter().any(|group| !remove(group)) && Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(5));
        }
    }
}

/// Removes a control group and those in it; false if one is still used.
fn remove(group: &Path) -> bool {
    for entry in fs::read_dir(group).into_iter().flatten().flatten() {
        if entry.file_type().is_ok_and(|kind| kind.is_dir()) {
            remove(&entry.path());
        }
    }
    fs::remove_dir(group).is_ok() || !group.exists()
}

const PATIENCE: Duration = Duration::from_secs(60);
const SYSTEMD: &str = "/lib/systemd/systemd";

/// Arguments: the control groups to be in, and then `--`, a directory and a script for it.
const BOOT: &str = r#"
    while [ "$1" != -- ]; do echo $$ > "$1/cgroup.procs" || exit; shift; done
    exec unshare -fpmC /bin/sh -c "$3 $4" boot "$2"
"#;
const MOUNT: &str = include_str!("systemd.sh");
const START: &str = "
    exec chroot . /usr/bin/env -i container=lxc PATH=/usr/sbin:/usr/bin:/sbin:/bin \
        /lib/systemd/systemd --system --unit=basic.target --log-target=console
";
