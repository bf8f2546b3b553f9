//! A password from a command.
//!
//! What a command leaves behind must not hang us: `pass` may start a gpg-agent, and whatever
//! stays in the background may keep the pipes open for ever. So the end of the command is the
//! end of its shell; what it printed is in the pipes by then.

use std::io;
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretString};
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::process::Child;

use crate::exec;

use crate::process_group::ProcessGroup;

use super::{CommandFailure, LENGTH_LIMIT, NoPassword, SecretError, first_line, secret_buffer};

/// Runs a shell command and takes the first line that it prints.
///
/// The command has no standard input and a process group of its own, which is killed when the
/// time is up or the future is dropped.
pub(super) async fn run(command: &str, limit: Duration) -> Result<SecretString, SecretError> {
    run_shell(command, limit)
        .await
        .map_err(|failure| SecretError::Command {
            command: command.to_owned(),
            failure,
        })
}

async fn run_shell(command: &str, limit: Duration) -> Result<SecretString, CommandFailure> {
    let mut child = exec::shell(command)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0)
        .spawn()
        .map_err(CommandFailure::NotRun)?;
    let group = ProcessGroup::of(&child);
    let mut output = secret_buffer();
    let mut complaints = Vec::with_capacity(COMPLAINTS_LIMIT);
    let ended = tokio::time::timeout(limit, talk(&mut child, &mut output, &mut complaints)).await;
    let secret = first_line(&output);
    let stderr = complaint(&complaints, secret.as_ref().ok());
    let status = match ended {
        Ok(status) => status.map_err(CommandFailure::NotRun)?,
        Err(_) => {
            drop(group);
            // It was killed, so this takes no time; it leaves no zombie.
            drop(child.wait().await);
            return Err(CommandFailure::TimedOut { limit, stderr });
        }
    };
    group.leave_alone();
    if !status.success() {
        return Err(CommandFailure::Failed { status, stderr });
    }
    secret.map_err(|problem| match problem {
        NoPassword::Empty => CommandFailure::Empty { stderr },
        NoPassword::NotUtf8 => CommandFailure::NotUtf8,
        NoPassword::TooLong => CommandFailure::TooLong,
    })
}

/// Reads what the command prints until its shell ends.
///
/// Both pipes are drained to the end, or a command that prints more than a pipe holds would wait
/// for us for ever.
async fn talk(
    child: &mut Child,
    output: &mut Zeroizing<Vec<u8>>,
    complaints: &mut Vec<u8>,
) -> io::Result<ExitStatus> {
    let stdout = child.stdout.take();
    let stderr = child.stderr.take();
    let reading = async {
        tokio::join!(
            drain(stdout, output, LENGTH_LIMIT + 1),
            drain(stderr, complaints, COMPLAINTS_LIMIT)
        )
    };
    tokio::pin!(reading);
    let status = tokio::select! {
        // All is read once both pipes are closed, which is the usual end.
        ((), ()) = &mut reading => return child.wait().await,
        status = child.wait() => status?,
    };
    // The shell has ended and what it printed is in the pipes, so it is read without waiting. A
    // pipe that does not come to its end is held by something in the background.
    let _: Result<((), ()), _> = tokio::time::timeout(LAST_READ, reading).await;
    Ok(status)
}

/// Reads to the end and keeps the first `limit` octets.
async fn drain(pipe: Option<impl AsyncRead + Unpin>, kept: &mut Vec<u8>, limit: usize) {
    let Some(mut pipe) = pipe else { return };
    let mut chunk = Zeroizing::new([0; 1024]);
    // A pipe that cannot be read is at its end for us: the exit status says the rest.
    while let Ok(length @ 1..) = pipe.read(chunk.as_mut_slice()).await {
        let room = limit.saturating_sub(kept.len()).min(length);
        kept.extend_from_slice(&chunk[..room]);
    }
}

/// The command's complaints in one line for a message, without the password.
fn complaint(stderr: &[u8], secret: Option<&SecretString>) -> String {
    let mut text = String::from_utf8_lossy(stderr).into_owned();
    if let Some(secret) = secret.map(ExposeSecret::expose_secret) {
        text = text.replace(secret, "…");
        // The limit may have cut it in two.
        let mut heads = secret.char_indices().map(|(end, _)| &secret[..end]).rev();
        if let Some(head) = heads.find(|head| !head.is_empty() && text.ends_with(head)) {
            text.truncate(text.len() - head.len());
        }
    }
    let text: String = text
        .chars()
        .map(|c| if c.is_control() { ' ' } else { c })
        .collect();
    text.split_whitespace().collect::<Vec<_>>().join(" ")
}

/// Long enough for a person to unlock a password store in a window of its own.
pub(crate) const TIME_LIMIT: Duration = Duration::from_secs(120);
/// How long a pipe is read after the shell has ended, while something else still holds it open.
const LAST_READ: Duration = Duration::from_millis(200);
/// A few lines: enough to see what is wrong.
const COMPLAINTS_LIMIT: usize = 1024;
