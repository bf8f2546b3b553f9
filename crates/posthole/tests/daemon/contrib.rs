//! What is shipped under contrib/: hooks for the network, and units for systemd.

use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::net::UnixListener;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

fn contrib(path: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("../../contrib")
        .join(path)
}

/// A machine with one daemon, whose program only notes what it is told.
struct Machine {
    directory: TempDir,
    _socket: UnixListener,
}

impl Machine {
    /// `routes` is what ip(8) says of the default route.
    fn new(routes: &str) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let machine = |path: &str| directory.path().join(path);
        std::fs::create_dir_all(machine("home/.local/state/posthole")).unwrap();
        std::fs::create_dir(machine("bin")).unwrap();
        let socket = UnixListener::bind(machine("home/.local/state/posthole/control")).unwrap();
        let said = machine("said");
        let home = machine("home");
        let program = |name: &str, text: String| {
            let path = machine("bin").join(name);
            std::fs::write(&path, format!("#!/bin/sh\n{text}\n")).unwrap();
            std::fs::set_permissions(&path, Permissions::from_mode(0o755)).unwrap();
        };
        program("posthole", format!("echo \"$@\" >> '{}'", said.display()));
        program("ip", format!("echo '{routes}'"));
        // As root the hooks look for everybody's daemon, and here there is one user.
        let home = home.display();
        program("getent", format!("echo 'me:x:1000:1000::{home}:/bin/sh'"));
        program("stat", "echo me".to_owned());
        program(
            "runuser",
            "[ \"$1 $2 $3\" = '-u me --' ] || exit 9\nshift 3\nexec \"$@\"".to_owned(),
        );
        Self {
            directory,
            _socket: socket,
        }
    }

    /// What the daemon is told when this hook is called so.
    fn told(&self, hook: &str, args: &[&str], variables: &[(&str, &str)]) -> String {
        let directory = self.directory.path();
        let said = directory.join("said");
        std::fs::remove_file(&said).ok();
        let path = format!(
            "{}:{}",
            directory.join("bin").display(),
            std::env::var("PATH").unwrap()
        );
        let status = Command::new("/bin/sh")
            .arg(contrib("hooks").join(hook))
            .args(args)
            .env_clear()
            .env("PATH", path)
            .env("HOME", directory.join("home"))
            .env("POSTHOLE_NETWORK", contrib("hooks/posthole-network"))
            .env("POSTHOLE_STATE_DIRS", directory.join("none"))
            .envs(variables.iter().copied())
            .status()
            .unwrap();
        assert!(status.success(), "{hook} {args:?}: {status}");
        let said = std::fs::read_to_string(said).unwrap_or_default();
        let state_dir = directory.join("home/.local/state/posthole");
        said.replace(&format!("-q --state-dir {} ", state_dir.display()), "")
            .trim()
            .to_owned()
    }
}

#[test]
fn hooks_wake_the_daemons_when_the_network_comes_and_pause_them_when_it_goes() {
    let (wake, pause) = ("wake", "pause --until-wake");
    let state = |state| [("STATE", state)];
    let gone = Machine::new("");
    assert_eq!(gone.told("ppp-ip-up", &["ppp0", "tty", "9600"], &[]), wake);
    assert_eq!(
        gone.told("ppp-ip-down", &["ppp0", "tty", "9600"], &[]),
        pause
    );
    assert_eq!(gone.told("networkmanager", &["eth0", "up"], &[]), wake);
    assert_eq!(gone.told("networkmanager", &["eth0", "down"], &[]), pause);
    assert_eq!(gone.told("networkmanager", &["eth0", "hostname"], &[]), "");
    let full = [("CONNECTIVITY_STATE", "FULL")];
    let told = gone.told("networkmanager", &["", "connectivity-change"], &full);
    assert_eq!(told, wake);
    assert_eq!(
        gone.told("networkd-dispatcher", &[], &state("routable")),
        wake
    );
    assert_eq!(gone.told("networkd-dispatcher", &[], &state("off")), pause);
    assert_eq!(gone.told("networkd-dispatcher", &[], &state("carrier")), "");

    // Another way still leads out: the daemons look for dead connections.
    let other = Machine::new("default via 192.0.2.1 dev eth1");
    assert_eq!(other.told("ppp-ip-down", &["ppp0"], &[]), wake);
    assert_eq!(other.told("networkmanager", &["eth0", "down"], &[]), wake);
    assert_eq!(other.told("networkd-dispatcher", &[], &state("off")), "");
}

#[test]
fn hooks_without_a_daemon_do_nothing_and_do_not_fail() {
    let machine = Machine::new("");
    let state = machine.directory.path().join("home/.local/state/posthole");
    std::fs::remove_dir_all(state).unwrap();
    assert_eq!(machine.told("ppp-ip-up", &["ppp0"], &[]), "");
}

#[test]
fn the_units_are_what_systemd_understands() {
    let Ok(version) = Command::new("systemd-analyze").arg("--version").output() else {
        skipped("systemd-analyze is not installed");
        return;
    };
    assert!(version.status.success());
    for (folder, scope) in [("systemd", "--system"), ("systemd/user", "--user")] {
        let directory = tempfile::tempdir().unwrap();
        let mut units = Vec::new();
        for entry in std::fs::read_dir(contrib(folder)).unwrap() {
            let path = entry.unwrap().path();
            if path.is_dir() {
                continue;
            }
            let unit = directory.path().join(path.file_name().unwrap());
            // The program and its user are not installed here.
            let text = std::fs::read_to_string(&path).unwrap();
            let text = text
                .replace("/usr/bin/posthole", env!("CARGO_BIN_EXE_posthole"))
                .replace("User=posthole", "User=root")
                .replace("Documentation=", "#");
            std::fs::write(&unit, text).unwrap();
            units.push(unit);
        }
        assert!(units.len() >= 3, "{folder}");
        let output = Command::new("systemd-analyze")
            .args([scope, "--man=no", "verify"])
            .args(&units)
            .env("XDG_RUNTIME_DIR", directory.path())
            .output()
            .unwrap();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        // What is wrong is about one of these files; the machine's own units are not ours to judge.
        let ours: Vec<_> = said
            .lines()
            .filter(|line| line.contains("posthole"))
            .collect();
        assert!(
            output.status.success() && ours.is_empty(),
            "{folder}: {said}"
        );
    }
}

#[expect(clippy::print_stderr, reason = "a skipped test says so")]
fn skipped(why: &str) {
    eprintln!("skipped: {why}");
}
