//! What is in the memory of the program stays there.

use std::fs;
use std::os::unix::fs::{FileExt, chown};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use posthole_testkit::pop3::{Faults, Reply};
use posthole_testkit::{Terminal, World, mail};
use rustix::process::{Pid, Signal, getuid, kill_process};

use crate::world::{BIN, Running, command, printed, wait_until};

/// Root may look into every process, so root tries it as somebody else.
const NOBODY: u32 = 65534;

fn as_somebody(command: &mut Command) -> &mut Command {
    if getuid().is_root() {
        command.uid(NOBODY).gid(NOBODY);
    }
    command
}

fn give_away(path: &Path) {
    chown(path, Some(NOBODY), Some(NOBODY)).unwrap();
    if path.is_dir() {
        for entry in fs::read_dir(path).unwrap() {
            give_away(&entry.unwrap().path());
        }
    }
}

/// The program where that somebody finds it, in a world that is his.
fn program(world: &World) -> PathBuf {
    if !getuid().is_root() {
        return BIN.into();
    }
    let root = world.home().path().parent().unwrap().to_owned();
    // A part of the world is made along with the command.
    drop(world.posthole(Path::new(BIN)));
    let program = root.join("posthole");
    fs::copy(BIN, &program).unwrap();
    give_away(&root);
    program
}

fn signal(child: &Child, signal: Signal) {
    let pid = Pid::from_raw(child.id().try_into().unwrap()).unwrap();
    kill_process(pid, signal).unwrap();
}

/// Whether another process of the same user gets to see its memory; the kernel asks the same of who
/// reads its environment and of a debugger (ptrace(2)).
fn can_be_looked_into(child: &Child) -> bool {
    let environment = format!("/proc/{}/environ", child.id());
    let mut cat = Command::new("cat");
    cat.arg(environment);
    cat.stdout(Stdio::null()).stderr(Stdio::null());
    as_somebody(&mut cat).status().unwrap().success()
}

#[cfg(target_os = "linux")]
#[test]
fn no_core_is_dumped_and_no_debugger_of_the_same_user_looks_in() {
    let world = World::builder()
        .messages(mail::small(1))
        .faults(Faults::new().on("RETR", Reply::send("+OK\r\n").stall()))
        .build();
    let program = program(&world);
    let start = |script: &str| {
        let usual = world.posthole(&program);
        let mut shell = Command::new("/bin/sh");
        shell.env_clear().current_dir(world.home().path());
        for (name, value) in usual.get_envs() {
            shell.env(name, value.unwrap());
        }
        let script = format!("ulimit -c unlimited 2>/dev/null; exec {script}");
        shell.args(["-c", &script]).arg(&program);
        shell.stdin(Stdio::null());
        Running(as_somebody(&mut shell).spawn().unwrap())
    };
    let mut posthole = start("\"$0\" fetch");
    let mut other = start("sleep 1000");
    wait_until("it fetches", || world.pop3().count("RETR") == 1);

    let limits = fs::read_to_string(format!("/proc/{}/limits", posthole.0.id())).unwrap();
    let core = limits.lines().find(|line| line.starts_with("Max core"));
    let core: Vec<_> = core.unwrap().split_whitespace().collect();
    assert_eq!(core[..5], ["Max", "core", "file", "size", "0"]);
    assert!(can_be_looked_into(&other.0), "the test cannot tell");
    assert!(!can_be_looked_into(&posthole.0));

    signal(&posthole.0, Signal::ABORT);
    let status = posthole.0.wait().unwrap();
    assert_eq!(status.signal(), Some(Signal::ABORT.as_raw()));
    assert!(!status.core_dumped());
    signal(&other.0, Signal::ABORT);
    if !other.0.wait().unwrap().core_dumped() {
        eprintln!("this machine dumps no cores at all");
    }
}

#[cfg(target_os = "linux")]
#[test]
fn what_was_typed_for_a_daemon_is_in_locked_memory() {
    let world = World::builder().messages(mail::small(1)).build();
    let config = fs::read_to_string(world.home().config()).unwrap();
    let asking = config.replace("{ file = \"~/mail-password\" }", "\"prompt\"");
    world.home().write_config(&asking);
    let log = fs::File::create(world.home().path().join("log")).unwrap();
    let mut daemon = command(&world, &["daemon"]);
    let daemon = Running(daemon.stdout(Stdio::null()).stderr(log).spawn().unwrap());
    wait_until("it waits", || {
        printed(&world, &["status", "--json"]).contains("\"questions\":1")
    });
    let mut unlock = world.posthole(Path::new(BIN));
    let mut unlock = Terminal::start({
        unlock.arg("unlock").env("TERM", "xterm");
        unlock
    });
    unlock.expect("Mail password for msingh@localhost (work): ");
    unlock.type_line(World::MAIL_PASSWORD);
    let (status, screen) = unlock.end();
    assert!(status.success(), "{screen}");
    wait_until("mail has come", || world.delivered().len() == 1);
    if !getuid().is_root() {
        eprintln!("only root can look into its memory, and whether it is locked is not seen");
        return;
    }
    // A copy that was made to be used is wiped after the poll.
    wait_until("it is in locked memory and nowhere else", || {
        let found = places(daemon.0.id(), World::MAIL_PASSWORD.as_bytes());
        !found.is_empty() && found.iter().all(|is_locked| *is_locked)
    });
}

/// Where in the memory of a process this is: for each place, whether it is locked.
fn places(pid: u32, wanted: &[u8]) -> Vec<bool> {
    let memory = fs::File::open(format!("/proc/{pid}/mem")).unwrap();
    let smaps = fs::read_to_string(format!("/proc/{pid}/smaps")).unwrap();
    let mut found = Vec::new();
    let mut area = None;
    for line in smaps.lines() {
        if let Some(flags) = line.strip_prefix("VmFlags:") {
            let Some((start, end)) = area.take() else {
                continue;
            };
            let is_locked = flags.split_whitespace().any(|flag| flag == "lo");
            let mut octets = vec![0; usize::try_from(end - start).unwrap()];
            // Some areas are the kernel's own.
            if memory.read_exact_at(&mut octets, start).is_ok() {
                let count = octets
                    .windows(wanted.len())
                    .filter(|at| *at == wanted)
                    .count();
                found.extend(std::iter::repeat_n(is_locked, count));
            }
        } else if let Some((start, end)) = line.split(' ').next().unwrap().split_once('-') {
            let number = |text| u64::from_str_radix(text, 16);
            if let (Ok(start), Ok(end)) = (number(start), number(end))
                && line
                    .split(' ')
                    .nth(1)
                    .is_some_and(|rights| rights.starts_with("rw"))
            {
                area = Some((start, end));
            }
        }
    }
    found
}
