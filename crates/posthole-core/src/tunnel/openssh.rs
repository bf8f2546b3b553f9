//! The program `ssh` as the way to a mail server (`ssh -W`), for what only it can do.
//!
//! Each channel is a process of its own, which shares a connection with others only where the
//! person's configuration says so (`ControlPath`). The hard problem is to know what happens inside:
//! there is no other interface than what it prints for people. Its log at the first debug level
//! tells the steps ([`words`]); how a failure is sorted is in [`verdict`]. What is not understood is
//! passed on as it is, and only the exit status decides whether the end of the stream is one.
//!
//! Hosts on the way are reached by a proxy command for each that is `ssh` again, so that what the
//! plan says about every host is obeyed, and not only what it says about the last one.
//!
//! It asks nothing: nobody could tell its questions from ours.

mod arguments;
mod verdict;
mod words;

use std::time::Duration;

use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until, timeout};

use crate::plan::{Backend, Hop, HostPort};
use crate::progress::Step;
use crate::transport::BoxStream;
use crate::transport::dial::plain;

use super::connection::Caller;
use super::error::{TunnelError, TunnelErrorKind};
use super::process::{Outcome, Process};
use super::{Tunnels, split};

use verdict::Failure;
use words::{Heard, Word};

/// Opens a channel to a host as the last hop sees it.
pub(super) async fn open(
    hops: &[Hop],
    to: &HostPort,
    tunnels: &Tunnels,
    caller: Caller<'_>,
) -> Result<BoxStream, TunnelError> {
    let (hop, _) = split(hops);
    if let Backend::OpenSsh { needed_for } = &hop.backend {
        let host = hop.name.as_str();
        match needed_for {
            Some(reason) => tracing::info!(host, "using ssh, which alone can do: {reason}"),
            None => tracing::info!(host, "using ssh, as the configuration says"),
        }
    }
    let (words, heard) = mpsc::unbounded_channel();
    let mut command = Command::new("/bin/sh");
    command
        .args(["-c", LAUNCH, "sh"])
        .args(arguments::of(hops, to));
    let host = hop.name.clone();
    let hear = move |line: &str| {
        tracing::debug!(host, "ssh: {line}");
        if let Some(word) = Word::of(line) {
            // Fails only if nobody waits for the channel any more.
            words.send(word).ok();
        }
        words::is_complaint(line)
    };
    let process = Process::start(command, describe, hear, &tunnels.programs);
    let process = process.map_err(|error| TunnelError::OpenSsh {
        host: hop.name.clone(),
        kind: TunnelErrorKind::Local,
        reason: plain(&error),
        hint: None,
    })?;
    let opening = OpeningChannel {
        hops,
        to,
        tunnels,
        caller,
        heard: Heard::default(),
        since: Instant::now(),
    };
    opening.run(process, heard).await
}

/// A channel that is being opened.
struct OpeningChannel<'a> {
    hops: &'a [Hop],
    to: &'a HostPort,
    tunnels: &'a Tunnels,
    caller: Caller<'a>,
    heard: Heard,
    /// When the last step was done.
    since: Instant,
}

impl OpeningChannel<'_> {
    /// Waits for the first octet of the mail server, for the end of `ssh`, or for too long.
    async fn run(
        mut self,
        mut process: Process,
        mut words: mpsc::UnboundedReceiver<Word>,
    ) -> Result<BoxStream, TunnelError> {
        let (hop, _) = split(self.hops);
        loop {
            // A server on the other end need not speak first; a refusal comes without delay.
            let deadline = if self.heard.is_authenticated() {
                self.since + SILENT_SERVER
            } else {
                // Every host on the way takes its time, and does not tell.
                let hosts = u32::try_from(self.hops.len()).unwrap_or(u32::MAX);
                self.since + hop.connect_timeout.saturating_mul(hosts)
            };
            tokio::select! {
                biased;
                Some(word) = words.recv() => self.hear(word),
                is_data = process.wait_for_data() => {
                    // What was said before is on its way; through a shared connection nothing is.
                    let rest = async {
                        while !self.heard.is_authenticated() && !self.heard.is_shared() {
                            match words.recv().await {
                                Some(word) => self.hear(word),
                                None => break,
                            }
                        }
                    };
                    if is_data {
                        timeout(WORDS_FOLLOW_WITHIN, rest).await.ok();
                        break;
                    }
                    rest.await;
                    let outcome = process.outcome().await;
                    if !outcome.is_success() {
                        return Err(self.failure(&outcome));
                    }
                    break;
                }
                () = sleep_until(deadline) => {
                    if self.heard.is_authenticated() {
                        break;
                    }
                    return Err(TunnelError::Timeout {
                        host: hop.name.clone(),
                        during: self.heard.phase(),
                        after: deadline.duration_since(self.since),
                    });
                }
            }
        }
        let took = self.since.elapsed();
        self.caller.step(
            Step::ChannelOpen {
                to: self.to.to_string(),
            },
            took,
        );
        process.let_go_on_drop();
        Ok(Box::new(process))
    }

    /// Takes note of what `ssh` has said, and tells a step that it has taken.
    fn hear(&mut self, word: Word) {
        let (hop, _) = split(self.hops);
        if let Some(step) = self.heard.take(word, hop) {
            self.caller.step(step, self.since.elapsed());
            self.since = Instant::now();
        }
    }

    fn failure(&self, outcome: &Outcome) -> TunnelError {
        let failure = Failure {
            hops: self.hops,
            to: self.to,
            heard: &self.heard,
            outcome,
        };
        failure.verdict(&self.tunnels.answers)
    }
}

/// How a channel ended that was open before.
fn describe(outcome: &Outcome) -> String {
    format!("lost the SSH connection: ssh ended with {}", outcome.text())
}

/// An `ssh` on the way, such as in a proxy command of the person's configuration, must not ask on
/// the terminal either.
const LAUNCH: &str = r#"
SSH_ASKPASS=${SSH_ASKPASS:-false} SSH_ASKPASS_REQUIRE=force
export SSH_ASKPASS SSH_ASKPASS_REQUIRE
exec ssh "$@"
"#;

/// After how long without a word from the other end the channel is taken to be open.
const SILENT_SERVER: Duration = Duration::from_secs(2);
/// Standard error may arrive a moment after what it announces.
const WORDS_FOLLOW_WITHIN: Duration = Duration::from_millis(50);
