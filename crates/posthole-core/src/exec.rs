//! Programs that run on the user's behalf, and what they inherit.
//!
//! What this process has arranged for itself is not for its children: a limit of a million open
//! files makes old programs that close them all one by one take seconds. Nor is a descriptor that
//! whoever started us left open, which would live on in a gpg-agent for ever: our own close by
//! themselves when a program is executed (`O_CLOEXEC`), and the program has those from outside do
//! the same when it starts. That core dumps are off is inherited: passwords pass through most of
//! what is run here.
//!
//! All programs are started by these functions, whoever they run as. A limit can only be set by who
//! has it, so a shell does that and becomes the program.

use std::ffi::OsStr;
use std::io;
use std::path::Path;
use std::process::Command;
use std::sync::OnceLock;

use rustix::fs::{Access, AtFlags, CWD, accessat};
use rustix::io::Errno;

/// A command for sh(1).
///
/// Whether it has standard input, output and error is for the caller to say.
#[must_use]
pub fn shell(command: &str) -> tokio::process::Command {
    // The command has a shell of its own, so that what is wrong with it is said as it would be
    // without the one before.
    let mut shell = program(OsStr::new(SHELL));
    shell.args(["-c", command]);
    shell.into()
}

/// A program, which is looked for in the `PATH` that it is given.
///
/// Its standard input, output and error are for the caller to say, and its arguments to add. That
/// it is not there is said by the exit status, as a shell does (126 and 127); [`find`] says it
/// better, and before.
#[must_use]
pub fn program(name: &OsStr) -> Command {
    let mut command = script("exec \"$@\"");
    command.arg(name);
    command
}

/// A text for sh(1), to which arguments may be added; `$0` is the shell.
#[must_use]
pub(crate) fn script(text: &str) -> Command {
    let mut command = Command::new(SHELL);
    let limit = OPEN_FILES.get().map(ToString::to_string);
    command.args(["-c", &format!("{PREPARE}{text}"), SHELL]);
    command.arg(limit.unwrap_or_default());
    command
}

/// Whether there is a program of this name that may be run, in a search path or else our own.
///
/// The error is that of execvp(3).
pub fn find(name: &OsStr, path: Option<&OsStr>) -> io::Result<()> {
    let runnable = |file: &Path| {
        if !std::fs::metadata(file)?.is_file() {
            return Err(io::ErrorKind::PermissionDenied.into());
        }
        // Whose rights this thread has may be another than whose the process has.
        match accessat(CWD, file, Access::EXEC_OK, AtFlags::EACCESS) {
            // The kernel is older than Linux 5.8 and cannot tell.
            Ok(()) | Err(Errno::NOSYS) => Ok(()),
            Err(error) => Err(error.into()),
        }
    };
    if name.as_encoded_bytes().contains(&b'/') {
        return runnable(Path::new(name));
    }
    let ours = std::env::var_os("PATH");
    let path = path
        .or(ours.as_deref())
        .unwrap_or_else(|| OsStr::new(USUAL));
    let mut found = Err(io::Error::from(io::ErrorKind::NotFound));
    for directory in std::env::split_paths(path) {
        match runnable(&directory.join(name)) {
            Ok(()) => return Ok(()),
            Err(error) if error.kind() == io::ErrorKind::PermissionDenied => found = Err(error),
            Err(_) => {}
        }
    }
    found
}

/// Says how many files a program may have open that is started from now on.
///
/// For a program that raised its own limit; what is said first counts.
pub fn limit_open_files(limit: u64) {
    // Said twice, it is the same: a process raises its limit when it starts.
    OPEN_FILES.set(limit).ok();
}

static OPEN_FILES: OnceLock<u64> = OnceLock::new();

const SHELL: &str = "/bin/sh";

/// Where programs are looked for without a `PATH` (execvp(3)).
const USUAL: &str = "/bin:/usr/bin";

/// A limit that cannot be set, because the hard one was lowered meanwhile, stays.
const PREPARE: &str = "if [ -n \"$1\" ]; then ulimit -S -n \"$1\" 2>/dev/null || :; fi
shift
";

/// What a shell says about a program that it cannot run, and about one that is not there (POSIX,
/// Shell Command Language, Exit Status for Commands).
pub(crate) const CANNOT_RUN: i32 = 126;
/// As for [`CANNOT_RUN`].
pub(crate) const NOT_FOUND: i32 = 127;

#[cfg(test)]
mod tests {
    use super::*;

    async fn output(command: &str) -> String {
        let output = shell(command).output().await.unwrap();
        String::from_utf8(output.stdout).unwrap()
    }

    #[tokio::test]
    async fn a_command_runs_as_in_a_shell_of_its_own() {
        assert_eq!(output("echo '$1' \"$#\" \"$0\"").await, "$1 0 /bin/sh\n");
        let failed = shell("echo (").output().await.unwrap();
        assert!(!failed.status.success());
        let ended = shell("exit 3").status().await.unwrap();
        assert_eq!(ended.code(), Some(3));
    }

    #[tokio::test]
    async fn a_command_has_the_limit_that_was_there_before() {
        let before = output("ulimit -S -n").await;
        assert_ne!(before, "77\n");
        // The tests of a crate may share a process, and this one then bothers nobody else.
        limit_open_files(77);
        assert_eq!(output("ulimit -S -n").await, "77\n");
        assert_eq!(output("echo one").await, "one\n");
        let mut program = program(OsStr::new("/bin/sh"));
        let output = program.args(["-c", "ulimit -S -n; echo $1", "sh", "a b"]);
        let output = output.output().unwrap();
        assert_eq!(output.stdout, b"77\na b\n");
    }

    #[test]
    fn a_program_that_cannot_be_run_is_told_from_one_that_is_not_there() {
        let directory = tempfile::tempdir().unwrap();
        let plain = directory.path().join("plain");
        std::fs::write(&plain, "").unwrap();
        let path = std::env::join_paths([directory.path(), Path::new("/bin")]).unwrap();
        let kind = |name: &OsStr| find(name, Some(&path)).map_err(|error| error.kind());
        assert_eq!(kind(OsStr::new("sh")), Ok(()));
        assert_eq!(kind(OsStr::new("/bin/sh")), Ok(()));
        let not_there = Err(io::ErrorKind::NotFound);
        assert_eq!(kind(OsStr::new("no-such-program")), not_there);
        assert_eq!(kind(OsStr::new("/no/such/program")), not_there);
        let denied = Err(io::ErrorKind::PermissionDenied);
        assert_eq!(kind(OsStr::new("plain")), denied);
        assert_eq!(kind(plain.as_os_str()), denied);
        assert_eq!(kind(directory.path().as_os_str()), denied);
    }
}
