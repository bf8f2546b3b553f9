//! Programs that run on the user's behalf, and what they inherit.
//!
//! What this process has arranged for itself is not for its children: a limit of a million open
//! files makes old programs that close them all one by one take seconds, and a descriptor that
//! whoever started us left open would live on in a gpg-agent for ever. Our own descriptors close
//! by themselves when a program is executed (`O_CLOEXEC`), so the shell need only close those that
//! came from outside; it can name those from 3 to 9, which are the ones that scripts use.

use std::path::Path;
use std::sync::OnceLock;

use tokio::process::Command;

/// A command for sh(1), with the limits that this process was started with.
///
/// Whether it has standard input, output and error is for the caller to say.
#[must_use]
pub fn shell(command: &str) -> Command {
    let mut shell = Command::new(SHELL);
    // The command has a shell of its own, so that what is wrong with it is said as it would be
    // without the one before.
    shell.args(["-c", PREPARE, SHELL, command]);
    if let Some(limit) = OPEN_FILES.get() {
        shell.arg(limit.to_string());
    }
    shell
}

/// A program that outlives this one, with the limits that this process was started with.
///
/// Its standard input, output and error are for the caller to say, and its arguments to add.
#[must_use]
pub fn program(path: &Path) -> std::process::Command {
    let mut command = std::process::Command::new(SHELL);
    let limit = OPEN_FILES.get().map(ToString::to_string);
    command.args(["-c", REPLACE, SHELL, &limit.unwrap_or_default()]);
    command.arg(path);
    command
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
/// Not every shell can name descriptors of two digits. A limit that cannot be set, because
/// the hard one was lowered meanwhile, stays.
const REPLACE: &str = "exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
if [ -n \"$1\" ]; then ulimit -S -n \"$1\" 2>/dev/null || :; fi
shift
exec \"$@\"";
/// As for [`REPLACE`].
const PREPARE: &str = "exec 3>&- 4>&- 5>&- 6>&- 7>&- 8>&- 9>&-
if [ $# -gt 1 ]; then ulimit -S -n \"$2\" 2>/dev/null || :; fi
exec \"$0\" -c \"$1\"";

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
        let mut program = program(Path::new("/bin/sh"));
        let output = program.args(["-c", "ulimit -S -n; echo $1", "sh", "a b"]);
        let output = output.output().unwrap();
        assert_eq!(output.stdout, b"77\na b\n");
    }
}
