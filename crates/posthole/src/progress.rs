//! What is seen of a poll while it runs: a bar for a download that takes long, steps with `-v`.
//!
//! The library tells this about every piece of mail that arrives, from the thread that moves it,
//! so all of it is cheap: a bar appears only after a second, and indicatif draws it at its own
//! pace.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
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
            // Hidden, or it would be drawn once where it stands before it is one of the bars.
            let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::hidden());
            bar.set_style(bar_style());
            bar.set_prefix(printable(account));
            download.bar = Some(bars.add(bar));
        }
        if let Some(bar) = &download.bar {
            bar.set_length(download.octets());
            bar.set_position(download.received);
            bar.set_message(download.text());
        }
    }

    fn downloads(&self) -> MutexGuard<'_, HashMap<String, Download>> {
        self.downloads
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

impl Download {
    /// A server's sizes are advice: a bar that is full before its time would be a lie.
    fn octets(&self) -> u64 {
        self.octets.max(self.received)
    }

    /// `12/300, 3.4 MiB of 10 MiB, 1.2 MiB/s, 5.5s left`
    fn text(&self) -> String {
        let Self {
            messages,
            delivered,
            received,
            ..
        } = self;
        let seconds = self.since.elapsed().as_secs_f64();
        let rate = *received as f64 / seconds;
        let left = (self.octets() - received) as f64 / rate;
        // Nothing has come yet, or the rest would take centuries: there is nothing to say.
        let left = Duration::try_from_secs_f64(left).map_or_else(
            |_| String::new(),
            |left| format!(", {} left", render::time(left)),
        );
        format!(
            "{delivered}/{messages}, {} of {}, {}/s{left}",
            render::size(*received),
            render::size(self.octets()),
            render::size(rate as u64),
        )
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
                let text = text.replace('\n', "; ");
                let took = render::time(*took);
                tracing::info!(target: "posthole::steps", account, "{name}: {text} ({took})");
            }
            _ => {}
        }
    }
}

fn bar_style() -> ProgressStyle {
    // INVARIANT: the template is a constant.
    ProgressStyle::with_template(BAR)
        .expect("the template is well-formed")
        .progress_chars("=> ")
}

/// How long a download may take without a bar.
const PATIENCE: Duration = Duration::from_secs(1);

const BAR: &str = "{prefix} [{bar:20}] {msg}";

#[cfg(test)]
mod tests {
    use super::*;

    fn download(received: u64) -> Download {
        let since = Instant::now().checked_sub(Duration::from_secs(10)).unwrap();
        Download {
            since,
            messages: 300,
            delivered: 12,
            octets: 10 << 20,
            received,
            bar: None,
        }
    }

    #[test]
    fn a_bar_tells_how_much_how_fast_and_how_long() {
        let text = download(2 << 20).text();
        assert_eq!(text, "12/300, 2.0 MiB of 10 MiB, 205 KiB/s, 40.0s left");
    }

    #[test]
    fn a_download_of_which_nothing_came_has_no_end_in_sight() {
        assert_eq!(download(0).text(), "12/300, 0 B of 10 MiB, 0 B/s");
    }

    #[test]
    fn a_download_larger_than_announced_is_never_more_than_whole() {
        assert_eq!(
            download(20 << 20).text(),
            "12/300, 20 MiB of 20 MiB, 2.0 MiB/s, 0ms left"
        );
    }

    #[test]
    fn the_bars_style_is_well_formed() {
        bar_style();
    }
}
