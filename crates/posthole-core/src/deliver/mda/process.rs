//! One run of a command: started, waited for, and its exit code understood.

use std::ffi::OsStr;
use std::fs::File;
use std::io;
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::process::{ExitStatus, Stdio};
use std::time::Duration;

use posthole_proto::text::clean;
use rustix::process::{Pid, Signal, kill_process_group};
use tokio::io::AsyncReadExt;
use tokio::process::Child;
use tokio_util::sync::CancellationToken;

use super::super::dispatch::Refusal;
use super::super::{DeliverError, MdaError};
use super::Mda;
use crate::exec::{self, CANNOT_RUN, NOT_FOUND};

impl Mda {
    /// Gives the command a message; none if it took it.
    pub(super) fn run(
        &self,
        argv: &[String],
        text: File,
        stop: &CancellationToken,
    ) -> Result<Option<Refusal>, DeliverError> {
        let command = self.to.command.to_string();
        let not_run = |source| MdaError::NotRun {
            command: command.clone(),
            source,
        };
        let mut child = match self.start(argv, text) {
            Ok(child) => child,
            // So are some messages for hundreds of people; the others are not to wait for it.
            Err(error) if error.kind() == io::ErrorKind::ArgumentListTooLong => {
                return Ok(Some(Refusal {
                    for_good: true,
                    reason: format!(
                        "`{command}` with all who get the message is too long: {error}"
                    ),
                }));
            }
            Err(error) => return Err(not_run(error).into()),
        };
        let limit = self.to.timeout;
        let ended = self.runtime.block_on(end(&mut child, limit, stop));
        let (status, complaints) = match ended {
            Ok(ended) => ended,
            Err(source) => return Err(MdaError::NotWaitedFor { command, source }.into()),
        };
        let said = shown(&complaints);
        let refusal = match status {
            Ended::Exit(status) if status.success() => return Ok(None),
            // A shell says so when there is no such command, whatever the message; it is one, too,
            // that starts a program.
            Ended::Exit(status) => match not_started(status) {
                Some(kind) => return Err(not_run(io::Error::new(kind, said)).into()),
                None => refusal(&command, status, &said),
            },
            Ended::TooLong => Refusal {
                for_good: false,
                reason: format!(
                    "`{command}` took longer than {} and was killed{said}",
                    humantime::format_duration(limit)
                ),
            },
            Ended::Stopped => Refusal {
                for_good: false,
                reason: format!("`{command}` was killed since posthole was asked to stop"),
            },
        };
        Ok(Some(refusal))
    }

    fn start(&self, argv: &[String], text: File) -> io::Result<Child> {
        self.find(&argv[0])?;
        let mut command = exec::program(OsStr::new(&argv[0]));
        command
            .args(&argv[1..])
            .env_clear()
            .envs(self.environment())
            .current_dir(self.directory())
            .stdin(text)
            .stdout(Stdio::null())
            .stderr(Stdio::piped())
            .process_group(0);
        self.user.spawn(command, &self.runtime)
    }
}

/// Why there was nobody to give a message to, if that is what an exit status says.
fn not_started(status: ExitStatus) -> Option<io::ErrorKind> {
    match status.code()? {
        CANNOT_RUN => Some(io::ErrorKind::PermissionDenied),
        NOT_FOUND => Some(io::ErrorKind::NotFound),
        _ => None,
    }
}

/// How a run came to its end.
enum Ended {
    Exit(ExitStatus),
    Stopped,
    TooLong,
}

/// Waits for the end, and makes one if it does not come. Returns what the command complained of.
///
/// Something that it leaves in the background may hold its standard error open for ever, so the
/// end of the command itself is what counts.
async fn end(
    child: &mut Child,
    limit: Duration,
    stop: &CancellationToken,
) -> io::Result<(Ended, Vec<u8>)> {
    let group = child
        .id()
        .and_then(|id| Pid::from_raw(i32::try_from(id).ok()?));
    let mut complaints = Vec::new();
    let ended = {
        let stderr = child.stderr.take();
        let reading = async {
            let Some(mut stderr) = stderr else { return };
            let mut chunk = [0; 1024];
            // A pipe that cannot be read is at its end for us.
            while let Ok(length @ 1..) = stderr.read(&mut chunk).await {
                let room = COMPLAINTS_LIMIT.saturating_sub(complaints.len());
                complaints.extend_from_slice(&chunk[..length.min(room)]);
            }
        };
        tokio::pin!(reading);
        let mut read_all = false;
        let stopped = async {
            stop.cancelled().await;
            tokio::time::sleep(PATIENCE_WHEN_STOPPING).await;
        };
        let time_is_up = tokio::time::sleep(limit);
        tokio::pin!(stopped, time_is_up);
        let ended = loop {
            tokio::select! {
                status = child.wait() => break Ended::Exit(status?),
                () = &mut reading, if !read_all => read_all = true,
                () = &mut stopped => break Ended::Stopped,
                () = &mut time_is_up => break Ended::TooLong,
            }
        };
        if !matches!(ended, Ended::Exit(_)) {
            if let Some(group) = group {
                // An error says that nobody is left in it.
                kill_process_group(group, Signal::KILL).ok();
            }
            // One that runs as somebody else now (setuid) ends by itself when its pipes are gone.
            tokio::time::timeout(LAST_WAIT, child.wait()).await.ok();
        }
        if !read_all {
            tokio::time::timeout(LAST_READ, reading).await.ok();
        }
        ended
    };
    Ok((ended, complaints))
}

/// What an exit code other than 0 means (sysexits(3)), as Postfix's pipe(8) has it.
fn refusal(command: &str, status: ExitStatus, said: &str) -> Refusal {
    let (for_good, how) = match (status.code(), status.signal()) {
        (Some(code), _) => match SYSEXITS.iter().find(|(known, ..)| *known == code) {
            Some(&(_, meaning, for_good)) => (for_good, format!("exit code {code}, {meaning}")),
            None => (true, format!("exit code {code}")),
        },
        (None, Some(signal)) => (false, format!("it died of signal {signal}")),
        (None, None) => (false, "it did not end".to_owned()),
    };
    Refusal {
        for_good,
        reason: format!("`{command}` did not take it ({how}){said}"),
    }
}

/// What a command complained of, for a message; empty if it did not.
fn shown(complaints: &[u8]) -> String {
    let text = clean(complaints).replace('\u{fffd}', " ");
    let words = text.split_whitespace().collect::<Vec<_>>().join(" ");
    if words.is_empty() {
        return String::new();
    }
    match words.char_indices().nth(SHOWN_CHARS) {
        Some((cut, _)) => format!(": {}…", &words[..cut]),
        None => format!(": {words}"),
    }
}

/// Code, meaning, and whether it is for good.
const SYSEXITS: &[(i32, &str, bool)] = &[
    (64, "wrong usage", true),
    (65, "wrong data", true),
    (66, "no input", true),
    (67, "no such user", true),
    (68, "no such host", true),
    (69, "service unavailable", true),
    (70, "internal error", true),
    (71, "system error", false),
    (72, "missing system file", true),
    (73, "cannot create output", true),
    (74, "input/output error", false),
    (75, "temporary failure", false),
    (76, "protocol error", true),
    (77, "permission denied", true),
    (78, "configuration error", true),
];

const COMPLAINTS_LIMIT: usize = 4096;
const SHOWN_CHARS: usize = 300;

/// How long a command may go on once the program was asked to stop.
const PATIENCE_WHEN_STOPPING: Duration = Duration::from_secs(5);

/// How long the end of a command is waited for that was killed.
const LAST_WAIT: Duration = Duration::from_secs(5);

/// How long its standard error is read after its end, while something else holds it open.
const LAST_READ: Duration = Duration::from_millis(200);
