//! What the service manager is told (sd_notify(3)).

use std::any::Any;
use std::cell::RefCell;
use std::io::{self, Write};
use std::time::Duration;

use posthole_core::daemon::{News, Teller};
use sd_notify::NotifyState;

/// Tells systemd, and whoever waits for a daemon that detaches itself.
pub(crate) struct Notifier {
    /// What is to be done once, when everything is ready.
    on_ready: RefCell<Option<Box<dyn FnOnce()>>>,
    /// What goes when the daemon does, and before anybody learns that it has gone.
    with_it: RefCell<Option<Box<dyn Any>>>,
}

impl Notifier {
    pub(crate) fn new(on_ready: impl FnOnce() + 'static) -> Self {
        Self {
            on_ready: RefCell::new(Some(Box::new(on_ready))),
            with_it: RefCell::new(None),
        }
    }

    /// Drops this when the daemon ends.
    pub(crate) fn keep(&self, with_it: impl Any) {
        self.with_it.replace(Some(Box::new(with_it)));
    }
}

impl Teller for Notifier {
    fn tell(&self, news: &News) {
        let told = match news {
            News::Alive => sd_notify::notify(&[NotifyState::Watchdog]),
            News::Ready => sd_notify::notify(&[NotifyState::Ready]),
            // Without the time systemd would not know what the next READY belongs to.
            News::Reloading => NotifyState::monotonic_usec_now()
                .and_then(|now| sd_notify::notify(&[NotifyState::Reloading, now])),
            News::Status(text) => sd_notify::notify(&[NotifyState::Status(text)]),
            News::Stopped => {
                self.with_it.take();
                Ok(())
            }
            News::Stopping => sd_notify::notify(&[NotifyState::Stopping]),
        };
        if let Err(error) = told {
            tracing::debug!("cannot notify the service manager: {error}");
        }
        if *news == News::Ready
            && let Some(on_ready) = self.on_ready.take()
        {
            on_ready();
        }
    }
}

/// How often the service manager wants to hear from us, if it does: twice within its patience.
pub(crate) fn watchdog() -> Option<Duration> {
    Some(sd_notify::watchdog_enabled()? / 2)
}

/// Tells the process that started this one, and waits for it, that it may go.
pub(crate) fn release_parent() {
    let mut stdout = io::stdout();
    // If it has gone already, nobody waits.
    stdout.write_all(READY.as_bytes()).ok();
    stdout.flush().ok();
    if let Ok(null) = std::fs::OpenOptions::new()
        .read(true)
        .write(true)
        .open("/dev/null")
    {
        rustix::stdio::dup2_stdout(&null).ok();
        rustix::stdio::dup2_stderr(&null).ok();
    }
}

/// What a detached daemon says on its standard output when it is ready.
pub(crate) const READY: &str = "ready\n";
