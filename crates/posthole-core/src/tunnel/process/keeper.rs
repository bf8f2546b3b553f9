//! What tends a program as long as it lives: listens to it, and ends it.

use std::future::{Future, pending};
use std::io;
use std::pin::pin;
use std::process::ExitStatus;
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, BufReader};
use tokio::process::{Child, ChildStderr};
use tokio::sync::oneshot;
use tokio::time::timeout;

use crate::process_group::ProcessGroup;
use crate::tunnel::text::clean;

use super::{Farewell, Outcome};

/// What is kept of a program by the task that tends it.
pub(super) struct Keeper<H> {
    child: Child,
    group: ProcessGroup,
    words: Words<H>,
}

impl<H: FnMut(&str) -> bool> Keeper<H> {
    /// Takes a program that leads a group of its own and has a pipe for its standard error.
    pub(super) fn of(mut child: Child, hear: H) -> io::Result<Self> {
        let group = ProcessGroup::of(&child);
        let stderr = child.stderr.take();
        let stderr = stderr.ok_or_else(|| io::Error::other("standard error is not a pipe"))?;
        Ok(Self {
            child,
            group,
            words: Words::new(stderr, hear),
        })
    }

    /// Listens to the program until it ends, by itself or by our doing.
    pub(super) async fn tend(mut self, farewell: oneshot::Receiver<Farewell>) -> Outcome {
        let leaving = async {
            // Nobody is left who could say it otherwise.
            if farewell.await.unwrap_or(Farewell::HangUp) == Farewell::LetGo {
                pending::<()>().await;
            }
        };
        let mut leaving = pin!(leaving);
        let status = tokio::select! {
            status = self.child.wait() => status.ok(),
            () = self.words.hear_all() => match timeout(GRACE, self.child.wait()).await {
                Ok(status) => status.ok(),
                // It has closed its standard error and goes on.
                Err(_) => return self.tend_silent(leaving).await,
            },
            () = &mut leaving => return self.end().await,
        };
        self.ended(status).await
    }

    async fn tend_silent(mut self, leaving: impl Future<Output = ()>) -> Outcome {
        tokio::select! {
            status = self.child.wait() => self.ended(status.ok()).await,
            () = leaving => self.end().await,
        }
    }

    /// Ends the program.
    async fn end(mut self) -> Outcome {
        self.group.hang_up();
        let status = match timeout(GRACE, self.child.wait()).await {
            Ok(status) => status.ok(),
            Err(_) => None,
        };
        let Self {
            mut child,
            group,
            words,
        } = self;
        // With whatever the program has started and left behind.
        drop(group);
        let status = match status {
            Some(status) => Some(status),
            None => child.wait().await.ok(),
        };
        Outcome {
            status,
            complaints: words.kept,
        }
    }

    /// The program has ended by itself, so what it said is in the pipe by now; something that it
    /// left in the background may hold it open for ever.
    async fn ended(mut self, status: Option<ExitStatus>) -> Outcome {
        timeout(LAST_READ, self.words.hear_all()).await.ok();
        self.group.leave_alone();
        Outcome {
            status,
            complaints: self.words.kept,
        }
    }
}

/// What a program says on standard error.
struct Words<H> {
    stderr: BufReader<ChildStderr>,
    line: Vec<u8>,
    hear: H,
    /// The last lines that are worth it.
    kept: Vec<String>,
}

impl<H: FnMut(&str) -> bool> Words<H> {
    fn new(stderr: ChildStderr, hear: H) -> Self {
        Self {
            stderr: BufReader::new(stderr),
            line: Vec::new(),
            hear,
            kept: Vec::new(),
        }
    }

    /// Hears all there is to the end. Dropping the future loses nothing.
    async fn hear_all(&mut self) {
        loop {
            // A pipe that cannot be read is at its end for us: the exit status says the rest.
            let chunk = match self.stderr.fill_buf().await {
                Ok(chunk) if !chunk.is_empty() => chunk,
                _ => break,
            };
            let end = memchr::memchr(b'\n', chunk);
            let text = &chunk[..end.unwrap_or(chunk.len())];
            let room = LINE_LIMIT.saturating_sub(self.line.len()).min(text.len());
            self.line.extend_from_slice(&text[..room]);
            let used = end.map_or(chunk.len(), |end| end + 1);
            self.stderr.consume(used);
            if end.is_some() {
                self.hear_line();
            }
        }
        if !self.line.is_empty() {
            self.hear_line();
        }
    }

    fn hear_line(&mut self) {
        let line = clean(&String::from_utf8_lossy(&self.line), LINE_LIMIT);
        self.line.clear();
        if !line.is_empty() && (self.hear)(&line) {
            if self.kept.len() == LINES_KEPT {
                self.kept.remove(0);
            }
            self.kept.push(line);
        }
    }
}

/// How long a program may take to end after it was hung up on, or has closed its standard error.
const GRACE: Duration = Duration::from_millis(500);
/// How long standard error is read after the program has ended, while something else holds it open.
const LAST_READ: Duration = Duration::from_millis(200);
const LINE_LIMIT: usize = 1024;
/// More than the warning of ssh(1) about a changed host key.
pub(super) const LINES_KEPT: usize = 32;
