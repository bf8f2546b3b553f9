//! A program whose standard input and output are a byte stream.
//!
//! The hard problem is the end. A program that failed just closes the stream, and says why on
//! standard error and by its exit status; so whoever sees the end waits for these, and a failure is
//! an error with the program's own words. A program must not outlive its stream either, nor what
//! it started itself: it leads a process group, which is hung up on, killed and waited for by a task
//! that lives as long as the program.
//!
//! The group is not in the foreground of any terminal, so that Ctrl-C is ours to handle. A program
//! that asks on the terminal all the same would be stopped; `ssh` is told not to.

mod keeper;

use std::fmt;
use std::future::Future;
use std::io;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixStream as StdUnixStream;
use std::os::unix::process::ExitStatusExt;
use std::pin::Pin;
use std::process::{ExitStatus, Stdio};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, ReadBuf};
use tokio::net::UnixStream;
use tokio::process::Command;
use tokio::sync::{oneshot, watch};
use tokio::time::timeout;
use tokio_util::task::TaskTracker;

use super::messenger::Messenger;

use keeper::Keeper;

/// A running program as a byte stream.
pub(super) struct Process {
    socket: UnixStream,
    /// What was read to see whether there is something.
    early: Vec<u8>,
    outcome: watch::Receiver<Option<Outcome>>,
    /// The end of the program, once the end of the stream was seen.
    end: Option<End>,
    /// How a failure is told to whoever reads.
    describe: fn(&Outcome) -> String,
    farewell: Farewell,
    goodbye: Option<oneshot::Sender<Farewell>>,
    /// Answers questions for as long as the stream is held.
    messenger: Option<Messenger>,
}

/// What becomes of a program whose stream is dropped.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Farewell {
    /// It is hung up on, and killed if that does not help.
    HangUp,
    /// It ends by itself when it notices, which may be later: others may depend on it.
    LetGo,
}

impl Process {
    /// Starts a program.
    ///
    /// Each line that it says on standard error is cleaned and given to `hear`, which decides
    /// whether it belongs to the complaints. The task that tends it is among `tasks`.
    pub(super) fn start(
        mut command: Command,
        describe: fn(&Outcome) -> String,
        hear: impl FnMut(&str) -> bool + Send + 'static,
        tasks: &TaskTracker,
    ) -> io::Result<Self> {
        let (ours, theirs) = StdUnixStream::pair()?;
        ours.set_nonblocking(true)?;
        let socket = UnixStream::from_std(ours)?;
        let child = command
            .stdin(OwnedFd::from(theirs.try_clone()?))
            .stdout(OwnedFd::from(theirs))
            .stderr(Stdio::piped())
            .process_group(0)
            .kill_on_drop(true)
            .spawn()?;
        // It holds the other end of the socket, whose closing we want to see.
        drop(command);
        let keeper = Keeper::of(child, hear)?;
        let (goodbye, farewell) = oneshot::channel();
        let (ended, outcome) = watch::channel(None);
        tasks.spawn(async move {
            let outcome = keeper.tend(farewell).await;
            ended.send_replace(Some(outcome));
        });
        Ok(Self {
            socket,
            early: Vec::new(),
            outcome,
            end: None,
            describe,
            farewell: Farewell::HangUp,
            goodbye: Some(goodbye),
            messenger: None,
        })
    }

    /// Keeps a messenger along with the program that asks through it.
    pub(super) fn accompany(&mut self, messenger: Option<Messenger>) {
        self.messenger = messenger;
    }

    /// From now on the program may end by itself when the stream is dropped.
    pub(super) fn let_go_on_drop(&mut self) {
        self.farewell = Farewell::LetGo;
    }

    /// Waits until there is something to read; false at the end of the stream.
    ///
    /// Dropping the future loses nothing.
    pub(super) async fn wait_for_data(&mut self) -> bool {
        if self.early.is_empty() {
            self.early.reserve(EARLY);
            // An error is met again by whoever reads.
            self.socket.read_buf(&mut self.early).await.ok();
        }
        !self.early.is_empty()
    }

    /// The end of the program.
    pub(super) fn outcome(&self) -> impl Future<Output = Outcome> + Send + 'static {
        let mut outcome = self.outcome.clone();
        async move {
            match outcome.wait_for(Option::is_some).await {
                Ok(outcome) => outcome.clone().unwrap_or_else(Outcome::unknown),
                // The task was cut off by the end of the runtime.
                Err(_) => Outcome::unknown(),
            }
        }
    }

    /// What the end of the stream means: the end of the program decides, if it comes soon.
    fn poll_end(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        if self.end.is_none() {
            let outcome = timeout(LINGER, self.outcome());
            self.end = Some(End::Awaited(Box::pin(async move { outcome.await.ok() })));
        }
        if let Some(End::Awaited(outcome)) = &mut self.end {
            let outcome = ready!(outcome.as_mut().poll(cx));
            self.end = Some(End::Known(outcome));
        }
        match &self.end {
            Some(End::Known(Some(outcome))) if !outcome.is_success() => {
                let ended = Ended {
                    outcome: outcome.clone(),
                    text: (self.describe)(outcome),
                };
                Poll::Ready(Err(io::Error::new(io::ErrorKind::ConnectionReset, ended)))
            }
            _ => Poll::Ready(Ok(())),
        }
    }
}

enum End {
    Awaited(Pin<Box<dyn Future<Output = Option<Outcome>> + Send>>),
    /// None if the program has closed the stream but goes on.
    Known(Option<Outcome>),
}

impl AsyncRead for Process {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        if !self.early.is_empty() {
            let count = buffer.remaining().min(self.early.len());
            buffer.put_slice(&self.early[..count]);
            self.early.drain(..count);
            return Poll::Ready(Ok(()));
        }
        let before = buffer.filled().len();
        if self.end.is_none() {
            let read = ready!(Pin::new(&mut self.socket).poll_read(cx, buffer));
            let is_data = read.is_ok() && buffer.filled().len() > before;
            if is_data || buffer.remaining() == 0 {
                return Poll::Ready(Ok(()));
            }
        }
        self.poll_end(cx)
    }
}

impl AsyncWrite for Process {
    fn poll_write(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        let error = match ready!(Pin::new(&mut self.socket).poll_write(cx, bytes)) {
            Ok(count) => return Poll::Ready(Ok(count)),
            Err(error) => error,
        };
        // Nobody reads any more, for a reason that is better than a broken pipe.
        match ready!(self.poll_end(cx)) {
            Ok(()) => Poll::Ready(Err(error)),
            Err(error) => Poll::Ready(Err(error)),
        }
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.socket).poll_shutdown(cx)
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        if let Some(goodbye) = self.goodbye.take() {
            // Fails only if the program has ended already.
            goodbye.send(self.farewell).ok();
        }
    }
}

impl fmt::Debug for Process {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Process").finish_non_exhaustive()
    }
}

/// What an error of the stream holds when the program failed.
#[derive(Debug)]
pub(super) struct Ended {
    pub(super) outcome: Outcome,
    text: String,
}

impl Ended {
    /// The end of the program, if that is what the error is about.
    pub(super) fn in_error(error: &io::Error) -> Option<&Self> {
        error.get_ref()?.downcast_ref()
    }
}

impl fmt::Display for Ended {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

impl std::error::Error for Ended {}

/// How a program ended.
#[derive(Clone, Debug)]
pub(super) struct Outcome {
    /// None if it cannot be known.
    pub(super) status: Option<ExitStatus>,
    /// The last lines that it said on standard error, cleaned.
    pub(super) complaints: Vec<String>,
}

impl Outcome {
    fn unknown() -> Self {
        Self {
            status: None,
            complaints: Vec::new(),
        }
    }

    pub(super) fn is_success(&self) -> bool {
        self.status.is_some_and(|status| status.success())
    }

    /// The exit status, and the last few complaints: `exit status 1: no such host`.
    pub(super) fn text(&self) -> String {
        let status = match self.status {
            None => "no exit status".to_owned(),
            Some(status) => match (status.code(), status.signal()) {
                (Some(code), _) => format!("exit status {code}"),
                (None, Some(signal)) => format!("signal {signal}"),
                (None, None) => status.to_string(),
            },
        };
        match self.complaint() {
            Some(complaint) => format!("{status}: {complaint}"),
            None => status,
        }
    }

    /// The last few complaints.
    pub(super) fn complaint(&self) -> Option<String> {
        let first = self.complaints.len().saturating_sub(COMPLAINTS_SHOWN);
        let last = &self.complaints[first..];
        (!last.is_empty()).then(|| last.join("; "))
    }
}

/// How long the end of a program may follow that of its stream.
const LINGER: Duration = Duration::from_secs(2);
/// A greeting.
const EARLY: usize = 512;
const COMPLAINTS_SHOWN: usize = 3;

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

    use super::keeper::LINES_KEPT;
    use super::*;

    fn start(script: &str) -> Process {
        let mut command = Command::new("/bin/sh");
        command.args(["-c", script]);
        Process::start(command, Outcome::text, |_| true, &TaskTracker::new()).unwrap()
    }

    async fn read(process: &mut Process) -> io::Result<Vec<u8>> {
        let mut got = Vec::new();
        process.read_to_end(&mut got).await?;
        Ok(got)
    }

    /// Whether a process is there, and not only waiting to be waited for.
    fn is_running(pid: &str) -> bool {
        std::fs::read_to_string(format!("/proc/{pid}/stat"))
            .is_ok_and(|stat| !stat.contains(") Z "))
    }

    async fn until_gone(pid: &str) {
        while is_running(pid) {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    #[tokio::test]
    async fn bytes_go_in_and_come_out() {
        let mut process = start("cat");
        process.write_all(b"USER msingh\r\n").await.unwrap();
        process.shutdown().await.unwrap();
        assert_eq!(read(&mut process).await.unwrap(), b"USER msingh\r\n");
    }

    #[tokio::test]
    async fn a_failure_is_told_in_the_programs_words() {
        let mut process = start("echo half; printf 'so \\033[2Jsad\\n\\nbye' >&2; exit 7");
        let error = read(&mut process).await.unwrap_err();
        assert_eq!(error.to_string(), "exit status 7: so ?[2Jsad; bye");
        // Again and again, and to whoever writes.
        let error = process.read(&mut [0; 4]).await.unwrap_err();
        assert!(error.to_string().starts_with("exit status 7"), "{error}");
        let error = process.write_all(b"x").await.unwrap_err();
        assert!(error.to_string().starts_with("exit status 7"), "{error}");

        let mut process = start("kill -9 $$");
        let error = read(&mut process).await.unwrap_err();
        assert_eq!(error.to_string(), "signal 9");
    }

    #[tokio::test]
    async fn much_on_standard_error_neither_blocks_nor_fills_memory() {
        let mut process = start(
            "yes '................................' | head -c 3000000 | tr -d '\\n' >&2; \
             yes line | head -n 100000 >&2; echo last >&2; echo done; exit 1",
        );
        let error = read(&mut process).await.unwrap_err();
        assert_eq!(error.to_string(), "exit status 1: line; line; last");
        assert_eq!(process.outcome().await.complaints.len(), LINES_KEPT);
    }

    #[tokio::test]
    async fn a_stream_that_is_dropped_takes_the_program_and_its_children_along() {
        let tasks = TaskTracker::new();
        for trap in ["", "trap '' HUP TERM; "] {
            let mut command = Command::new("/bin/sh");
            command.args(["-c", &format!("{trap}sleep 600 & echo $$ $!; wait; wait")]);
            let process = Process::start(command, Outcome::text, |_| true, &tasks).unwrap();
            let mut lines = BufReader::new(process).lines();
            let pids = lines.next_line().await.unwrap().unwrap();
            assert!(pids.split(' ').all(is_running), "{pids}");
            drop(lines);
            for pid in pids.split(' ') {
                until_gone(pid).await;
            }
        }
        tasks.close();
        tasks.wait().await;
    }

    #[tokio::test]
    async fn what_may_end_by_itself_is_not_killed() {
        let mut process = start("echo $$; read line; sleep 600; echo over >&2");
        let mut pid = [0; 16];
        let length = process.read(&mut pid).await.unwrap();
        let pid = String::from_utf8_lossy(&pid[..length]).trim().to_owned();
        process.let_go_on_drop();
        let outcome = process.outcome();
        drop(process);
        tokio::time::sleep(Duration::from_millis(50)).await;
        assert!(is_running(&pid));
        drop(outcome);
        let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
        rustix::process::kill_process_group(pid, rustix::process::Signal::KILL).unwrap();
    }

    #[tokio::test]
    async fn something_left_in_the_background_does_not_hold_the_end_up() {
        let mut process = start("sleep 600 >/dev/null <&1 & echo $! >&2; exit 3");
        let error = read(&mut process).await.unwrap_err().to_string();
        let pid = error.rsplit(' ').next().unwrap();
        assert_eq!(error, format!("exit status 3: {pid}"));
        assert!(is_running(pid));
        let pid = rustix::process::Pid::from_raw(pid.parse().unwrap()).unwrap();
        rustix::process::kill_process(pid, rustix::process::Signal::KILL).unwrap();
    }
}
