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
//! What it asks, it asks through a messenger of ours; without anybody to ask it is told to ask nothing.
//! About an unknown host key it never asks: that is what `posthole trust` is for.

mod arguments;
mod verdict;
mod words;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::process::Command;
use tokio::sync::mpsc;
use tokio::time::timeout;

use crate::exec;
use crate::plan::{Backend, Hop, HostPort};
use crate::progress::Step;
use crate::transport::BoxStream;
use crate::transport::dial::plain;

use super::connection::Caller;
use super::error::{TunnelError, TunnelErrorKind};
use super::messenger::Messenger;
use super::patience::{Patience, TimedOut};
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
    let patience = Arc::new(Patience::new());
    let messenger = tunnels.messenger(hops, &patience, caller).await;
    let (words, heard) = mpsc::unbounded_channel();
    let mut command = Command::from(exec::script(LAUNCH));
    command.args(arguments::of(hops, to, messenger.is_some()));
    if let Some(messenger) = &messenger {
        messenger.equip(&mut command);
    }
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
        is_anybody_there: messenger.as_ref().is_some_and(Messenger::is_anybody_there),
        patience,
        heard: Heard::default(),
        since: Instant::now(),
        asked: Duration::ZERO,
    };
    let process = opening.run(process, heard).await?;
    if let Some(messenger) = messenger {
        messenger.keep_answers().await;
    }
    Ok(Box::new(process))
}

/// A channel that is being opened.
struct OpeningChannel<'a> {
    hops: &'a [Hop],
    to: &'a HostPort,
    tunnels: &'a Tunnels,
    caller: Caller<'a>,
    is_anybody_there: bool,
    patience: Arc<Patience>,
    heard: Heard,
    /// When the last step was done.
    since: Instant,
    /// How long questions had been open by then.
    asked: Duration,
}

impl OpeningChannel<'_> {
    /// Waits for the first octet of the mail server, for the end of `ssh`, or for too long.
    async fn run(
        mut self,
        mut process: Process,
        mut words: mpsc::UnboundedReceiver<Word>,
    ) -> Result<Process, TunnelError> {
        let (hop, _) = split(self.hops);
        let patience = Arc::clone(&self.patience);
        // Every host on the way takes its time, and does not tell. One limit for all of it, since
        // what is said on the way may come from a server that never ends.
        let hosts = u32::try_from(self.hops.len()).unwrap_or(u32::MAX);
        let limit = hop.connect_timeout.saturating_mul(hosts);
        let login = self.hear_until(Heard::is_authenticated, &mut process, &mut words);
        let is_data = match patience.limit(limit, login).await {
            Ok(Some(is_data)) => is_data,
            Ok(None) => {
                // A server on the other end need not speak first; a refusal comes without delay.
                let data = self.hear_until(|_| false, &mut process, &mut words);
                let data = patience.limit(SILENT_SERVER, data).await;
                data.ok().flatten().unwrap_or(true)
            }
            Err(TimedOut) => {
                return Err(TunnelError::Timeout {
                    host: hop.name.clone(),
                    during: self.heard.phase(),
                    after: limit,
                });
            }
        };
        if is_data {
            let rest = timeout(WORDS_FOLLOW_WITHIN, self.hear_the_rest(&mut words));
            rest.await.ok();
        } else {
            let outcome = process.outcome().await;
            self.hear_the_rest(&mut words).await;
            if !outcome.is_success() {
                return Err(self.failure(&outcome));
            }
        }
        let to = self.to.to_string();
        self.step(Step::ChannelOpen { to });
        process.let_go_on_drop();
        Ok(process)
    }

    /// Hears what is said until it is enough, or until the stream has data or ends: whether it has
    /// data.
    async fn hear_until(
        &mut self,
        is_enough: fn(&Heard) -> bool,
        process: &mut Process,
        words: &mut mpsc::UnboundedReceiver<Word>,
    ) -> Option<bool> {
        while !is_enough(&self.heard) {
            tokio::select! {
                biased;
                Some(word) = words.recv() => self.hear(word),
                is_data = process.wait_for_data() => return Some(is_data),
            }
        }
        None
    }

    /// Hears what was said before the channel opened; through a shared connection nothing is.
    async fn hear_the_rest(&mut self, words: &mut mpsc::UnboundedReceiver<Word>) {
        while !self.heard.is_authenticated() && !self.heard.is_shared() {
            match words.recv().await {
                Some(word) => self.hear(word),
                None => break,
            }
        }
    }

    /// Takes note of what `ssh` has said, and tells a step that it has taken.
    fn hear(&mut self, word: Word) {
        let (hop, _) = split(self.hops);
        if let Some(step) = self.heard.take(word, hop) {
            self.step(step);
        }
    }

    fn step(&mut self, step: Step) {
        let asked = self.patience.asked();
        let took = self.since.elapsed();
        self.caller
            .step(step, took.saturating_sub(asked.saturating_sub(self.asked)));
        (self.since, self.asked) = (Instant::now(), asked);
    }

    fn failure(&self, outcome: &Outcome) -> TunnelError {
        let failure = Failure {
            hops: self.hops,
            to: self.to,
            heard: &self.heard,
            outcome,
            is_anybody_there: self.is_anybody_there,
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
