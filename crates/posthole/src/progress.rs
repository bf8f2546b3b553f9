//! What is seen of a poll while it runs: a bar for a download that takes long, steps with `-v`.
//!
//! The library tells this about every piece of mail that arrives, from the thread that moves it,
//! so all of it is cheap: a bar appears only after a second, and indicatif draws it at its own
//! pace.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressStyle};
use posthole_core::progress::{Event, Observer};

use crate::console::Console;
use crate::render;
use crate::report::printable;
use crate::steps;

/// Shows the progress of all accounts.
pub(crate) struct Progress {
    console: Arc<Console>,
    notices: bool,
    downloads: Mutex<HashMap<String, Download>>,
}

/// A download, with a bar once it takes long.
struct Download {
    since: Instant,
    messages: u64,
    delivered: u64,
    octets: u64,
    received: u64,
    bar: Option<ProgressBar>,
}

impl Progress {
    /// Shows bars if the console has any, and notices unless they are not wanted.
    pub(crate) fn new(console: Arc<Console>, notices: bool) -> Self {
        Self {
            console,
            notices,
            downloads: Mutex::default(),
        }
    }

    /// Takes the account's bar away.
    pub(crate) fn finish(&self, account: &str) {
        let download = self.downloads().remove(account);
        if let Some((bars, bar)) = self.console.bars().zip(download.and_then(|d| d.bar)) {
            bar.finish_and_clear();
            bars.remove(&bar);
        }
    }

    fn update(&self, account: &str, change: impl FnOnce(&mut Download)) {
        let Some(bars) = self.console.bars() else {
            return;
        };
        let mut downloads = self.downloads();
        let Some(download) = downloads.get_mut(account) else {
            return;
        };
        change(download);
        if download.bar.is_none() && download.since.elapsed() >= PATIENCE {
            let bar = ProgressBar::new(download.octets).with_style(bar_style());
            bar.set_prefix(printable(account));
            download.bar = Some(bars.add(bar));
        }
        if let Some(bar) = &download.bar {
            // A server's sizes are advice: a bar that is full before its time would be a lie.
            bar.set_length(download.octets.max(download.received));
            bar.set_position(download.received);
            bar.set_message(format!("{}/{}", download.delivered, download.messages));
        }
    }

    fn downloads(&self) -> MutexGuard<'_, HashMap<String, Download>> {
        self.downloads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Observer for Progress {
    fn event(&self, account: &str, event: &Event) {
        match event {
            Event::Started { messages, octets } => {
                let download = Download {
                    since: Instant::now(),
                    messages: *messages,
                    delivered: 0,
                    octets: *octets,
                    received: 0,
                    bar: None,
                };
                self.downloads().insert(account.to_owned(), download);
            }
            Event::Received { octets } => self.update(account, |download| {
                download.received = download.received.saturating_add(*octets);
            }),
            Event::Delivered { messages } => self.update(account, |download| {
                download.delivered = download.delivered.saturating_add(*messages);
            }),
            Event::Notice(text) if self.notices => {
                self.console
                    .eprint(render::notice(account, text, self.console.stderr_colour()));
            }
            Event::Step { step, took } => {
                let (name, text) = steps::describe(step);
                let took = render::time(*took);
                tracing::info!(target: "posthole::steps", account, "{name}: {text} ({took})");
            }
            _ => {}
        }
    }
}

fn bar_style() -> ProgressStyle {
    // INVARIANT: the template is a constant, and the tests draw it.
    ProgressStyle::with_template(BAR)
        .expect("the template is right")
        .progress_chars("=> ")
}

/// How long a download may take without a bar.
const PATIENCE: Duration = Duration::from_secs(1);

const BAR: &str = "{prefix:16!} [{bar:24}] {message:>11} {binary_bytes:>11}/{binary_total_bytes} \
                   {binary_bytes_per_sec} {eta}";
