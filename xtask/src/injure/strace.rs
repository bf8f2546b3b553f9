//! strace(1): its command line, and what it writes down.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use posthole_testkit::Scene;
use posthole_testkit::scene::Target;

use super::fault::{CALLS, Fault, Harm};

/// What strace writes about one run.
pub(super) struct Log {
    path: PathBuf,
    home: String,
}

impl Log {
    pub(super) fn for_scene(scene: &Scene) -> Self {
        let home = scene.home().path();
        Self {
            path: home.with_file_name("strace"),
            home: home.display().to_string(),
        }
    }

    /// The program, watched.
    pub(super) fn watch(&self, scene: &Scene, posthole: &Path) -> Command {
        let mut calls: Vec<_> = CALLS.iter().map(|(call, _)| *call).collect();
        calls.push("sendto");
        // Not every machine has each of them.
        let calls: Vec<_> = calls.iter().map(|call| format!("?{call}")).collect();
        self.command(
            scene,
            posthole,
            &[&format!("trace={}", calls.join(","))],
            true,
        )
    }

    /// The program, harmed.
    pub(super) fn harm(&self, scene: &Scene, posthole: &Path, fault: &Fault) -> Command {
        let expressions = [&format!("trace={}", fault.call), &fault.injection()];
        // strace 6.1 forgets all signals but a first call's where the kernel sorts calls out for it.
        let sorts_out = fault.harm != Harm::Kill;
        self.command(scene, posthole, &expressions.map(String::as_str), sorts_out)
    }

    fn command(
        &self,
        scene: &Scene,
        posthole: &Path,
        expressions: &[&str],
        sorts_out: bool,
    ) -> Command {
        let path = self.path.display().to_string();
        let mut strace = vec!["strace", "-f", "-qq", "-y", "-o", &path];
        if scene.target() == Target::Mda {
            // Commands that deliver mail are left alone.
            strace.push("--detach-on=execve");
        } else if sorts_out {
            strace.push("--seccomp-bpf");
        }
        for expression in expressions {
            strace.extend(["-e", expression]);
        }
        scene.command(&strace, posthole, &["fetch"])
    }

    /// Every kind of call with every how-many-eth that a thread got to, and whether that was about
    /// a file of ours.
    pub(super) fn calls(&self) -> Result<Vec<(String, u32, bool)>, String> {
        let text = self.text()?;
        let mut counts: BTreeMap<(&str, &str), u32> = BTreeMap::new();
        let mut calls: BTreeMap<(&str, u32), bool> = BTreeMap::new();
        for line in text.lines() {
            let Some((thread, call)) = parse(line) else {
                continue;
            };
            let count = counts.entry((thread, call)).or_default();
            *count += 1;
            *calls.entry((call, *count)).or_default() |= self.is_about_files(line);
        }
        // Another time there may be one more.
        let last: BTreeSet<_> = calls
            .iter()
            .filter(|(_, is_ours)| **is_ours)
            .map(|((call, number), _)| (*call, number + 1))
            .collect();
        for place in last {
            calls.entry(place).or_insert(true);
        }
        Ok(calls
            .into_iter()
            .map(|((call, number), is_ours)| (call.to_owned(), number, is_ours))
            .collect())
    }

    /// The calls that were made to fail.
    pub(super) fn injected(&self) -> Result<Vec<String>, String> {
        let text = self.text()?;
        let lines = text.lines().filter(|line| line.contains("(INJECTED)"));
        Ok(lines.map(str::to_owned).collect())
    }

    /// Whether a call was about a file in the home directory.
    pub(super) fn is_about_files(&self, line: &str) -> bool {
        // The directory that the program runs in says nothing.
        let here = format!("AT_FDCWD<{}>", self.home);
        line.replace(&here, "").contains(&self.home)
    }

    fn text(&self) -> Result<String, String> {
        let text = fs::read(&self.path);
        let text = text.map_err(|error| format!("strace wrote nothing: {error}"))?;
        Ok(String::from_utf8_lossy(&text).into_owned())
    }
}

/// The thread and the call of a line, which may be of a call that is not done yet.
fn parse(line: &str) -> Option<(&str, &str)> {
    let (thread, rest) = line.split_once(' ')?;
    let (call, _) = rest.trim_start().split_once('(')?;
    let is_name = call
        .bytes()
        .all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    (is_name && !call.is_empty()).then_some((thread, call))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn calls_are_found_in_what_strace_writes() {
        let call = |line| parse(line).map(|(_, call)| call);
        assert_eq!(
            call("71 openat(AT_FDCWD</x>, \"/y\", O_RDONLY) = 3</y>"),
            Some("openat")
        );
        assert_eq!(call("71 fsync(3</y> <unfinished ...>"), Some("fsync"));
        assert_eq!(call("71 <... fsync resumed>) = 0"), None);
        assert_eq!(call("71 +++ exited with 0 +++"), None);
        assert_eq!(call("71 --- SIGCHLD {si_signo=SIGCHLD} ---"), None);
    }
}
