//! `preconnect` and `postconnect`.
//!
//! They are run as fetchmail runs them, by the shell. At a terminal they may use it: an `ssh` that
//! asks for a passphrase there is an old custom. A daemon in the background has none, and what its
//! commands say goes to its log.

use std::process::Stdio;
use std::time::Duration;

use posthole_core::exec;
use posthole_core::process_group::ProcessGroup;
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::{AsyncBufReadExt, AsyncRead, AsyncReadExt, BufReader};
use tokio::process::Child;
use tokio_util::sync::CancellationToken;

/// Who runs a command, and how long.
pub(super) struct Setting<'a> {
    /// Whether it has a terminal, perhaps, or else is to be heard.
    pub(super) is_in_background: bool,
    pub(super) stop: &'a CancellationToken,
    /// How long it may go on after a stop.
    pub(super) patience: Duration,
}

/// Runs a command to its end; the error says how it failed. What it says is passed to `hear`, line
/// by line, if it is run in the background.
pub(super) async fn run(
    command: &str,
    setting: Setting<'_>,
    hear: impl Fn(&[u8]),
) -> Result<(), String> {
    let mut shell = exec::shell(command);
    shell.kill_on_drop(true);
    if setting.is_in_background {
        // In the foreground a group of its own could not read from the terminal.
        shell.process_group(0).stdin(Stdio::null());
        shell.stdout(Stdio::piped()).stderr(Stdio::piped());
    } else {
        shell.stdin(Stdio::inherit());
        shell.stdout(Stdio::inherit()).stderr(Stdio::inherit());
    }
    let mut child = shell
        .spawn()
        .map_err(|error| format!("cannot be run ({error})"))?;
    // Dropped, it ends whatever is left in it.
    let group = setting.is_in_background.then(|| ProcessGroup::of(&child));
    let (stdout, stderr) = (child.stdout.take(), child.stderr.take());
    let hearing = async { tokio::join!(listen(stdout, &hear), listen(stderr, &hear)) };
    tokio::pin!(hearing);
    let stopped = async {
        setting.stop.cancelled().await;
        tokio::time::sleep(setting.patience).await;
    };
    tokio::pin!(stopped);
    let mut heard = false;
    let status = loop {
        tokio::select! {
            status = child.wait() => break status,
            _ = &mut hearing, if !heard => heard = true,
            () = &mut stopped => {
                end(&mut child, group).await;
                if !heard {
                    // Its output ends when the last of its processes has.
                    tokio::time::timeout(LAST_WORDS, hearing).await.ok();
                }
                return Err("was ended, since fetchmail is to stop".to_owned());
            }
        }
    };
    if let Some(group) = group {
        group.leave_alone();
    }
    if !heard {
        // What it left in the background may still hold its output.
        tokio::time::timeout(LAST_WORDS, hearing).await.ok();
    }
    match status {
        Ok(status) if status.success() => Ok(()),
        Ok(status) => Err(format!("failed with {status}")),
        Err(error) => Err(format!("cannot be waited for ({error})")),
    }
}

/// Ends a command, and all of its group if it leads one.
async fn end(child: &mut Child, group: Option<ProcessGroup>) {
    match &group {
        Some(group) => group.terminate(),
        None => {
            let pid = child.id().and_then(|id| Pid::from_raw(id.cast_signed()));
            // An error says that it has ended by itself.
            pid.map(|pid| kill_process(pid, Signal::TERM).ok());
        }
    }
    tokio::time::timeout(LAST_WORDS, child.wait()).await.ok();
    drop(group);
    child.kill().await.ok();
}

async fn listen(stream: Option<impl AsyncRead + Unpin>, hear: impl Fn(&[u8])) {
    let Some(mut stream) = stream else {
        return;
    };
    let mut lines = BufReader::new((&mut stream).take(WORDS));
    let mut line = Vec::new();
    while lines
        .read_until(b'\n', &mut line)
        .await
        .is_ok_and(|length| length > 0)
    {
        let text = line.trim_ascii_end();
        if !text.is_empty() {
            hear(text);
        }
        line.clear();
    }
    // Who says more is not stopped by it.
    tokio::io::copy(&mut stream, &mut tokio::io::sink())
        .await
        .ok();
}

const LAST_WORDS: Duration = Duration::from_secs(1);
/// Enough to see what is wrong.
const WORDS: u64 = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::cell::RefCell;

    use rustix::fs::{CWD, Mode, mkfifoat};
    use tokio::net::unix::pipe;

    use super::*;

    fn setting(stop: &CancellationToken) -> Setting<'_> {
        Setting {
            is_in_background: true,
            stop,
            patience: Duration::ZERO,
        }
    }

    #[tokio::test]
    async fn what_a_command_says_in_the_background_is_heard() {
        let stop = CancellationToken::new();
        let heard = RefCell::new(Vec::new());
        let hear = |line: &[u8]| heard.borrow_mut().push(line.to_vec());
        let command = "echo one; echo; echo two >&2; exit 3";
        let ended = run(command, setting(&stop), hear).await;
        assert_eq!(ended, Err("failed with exit status: 3".to_owned()));
        heard.borrow_mut().sort();
        assert_eq!(*heard.borrow(), [b"one", b"two"]);
    }

    #[tokio::test]
    async fn a_stop_ends_a_command_and_what_it_has_started() {
        let stop = CancellationToken::new();
        let hear = |_: &[u8]| stop.cancel();
        let directory = tempfile::tempdir().unwrap();
        let fifo = directory.path().join("fifo");
        mkfifoat(CWD, &fifo, Mode::RUSR | Mode::WUSR).unwrap();
        let mut receiver = pipe::OpenOptions::new().open_receiver(&fifo).unwrap();
        let command = format!(
            "exec 3>{}; (echo started; exec sleep 3600) & wait",
            fifo.display()
        );
        let ended = run(&command, setting(&stop), hear).await;
        assert!(ended.unwrap_err().contains("is to stop"));
        // The pipe is at its end only when nobody is left who could write to it.
        let end = tokio::time::timeout(Duration::from_secs(60), receiver.read_u8()).await;
        let error = end.expect("nobody holds it").unwrap_err();
        assert_eq!(error.kind(), std::io::ErrorKind::UnexpectedEof);
    }
}
