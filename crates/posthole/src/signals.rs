//! Being told to stop: SIGINT and SIGTERM.
//!
//! The first asks: what is in hand is finished, then the run ends. The second insists: the
//! process ends at once, which is safe too (a killed run is one of the things that must not lose
//! mail), only less polite to the server. Either way the process ends by the signal, so that a
//! shell loop around it ends as well.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI32, AtomicUsize, Ordering};

use signal_hook::consts::{SIGINT, SIGTERM};
use tokio::signal::unix::{SignalKind, signal};
use tokio_util::sync::CancellationToken;

/// Which signal asked the run to stop, if one did.
#[derive(Clone, Default)]
pub(crate) struct Stopper {
    signal: Arc<AtomicI32>,
    /// The last that came, also when nobody waited for one any more.
    last: Arc<AtomicUsize>,
}

impl Stopper {
    /// Cancels `stop` at the first signal, after telling `on_stop`.
    ///
    /// Must be called from within the runtime.
    pub(crate) fn watch(
        stop: CancellationToken,
        on_stop: impl FnOnce() + Send + 'static,
    ) -> io::Result<Self> {
        let asked = Arc::new(AtomicBool::new(false));
        let stopper = Self::default();
        for number in [SIGINT, SIGTERM] {
            // In this order: the first signal only leaves its mark, the second finds it. This
            // works even while the runtime is stuck.
            signal_hook::flag::register_conditional_default(number, Arc::clone(&asked))?;
            signal_hook::flag::register(number, Arc::clone(&asked))?;
            let last = Arc::clone(&stopper.last);
            signal_hook::flag::register_usize(number, last, number.cast_unsigned() as usize)?;
        }
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let number = Arc::clone(&stopper.signal);
        tokio::spawn(async move {
            let received = tokio::select! {
                _ = interrupt.recv() => SIGINT,
                _ = terminate.recv() => SIGTERM,
            };
            number.store(received, Ordering::Relaxed);
            on_stop();
            stop.cancel();
        });
        Ok(stopper)
    }

    /// Ends the process by the signal that asked for it; returns if none did.
    pub(crate) fn end(&self) {
        let number = match self.signal.load(Ordering::Relaxed) {
            // One that came when all was done does not stop anything, but a loop around it.
            0 => i32::try_from(self.last.load(Ordering::Relaxed)).unwrap_or(0),
            number => number,
        };
        if number != 0 {
            signal_hook::low_level::emulate_default_handler(number).ok();
        }
    }
}
