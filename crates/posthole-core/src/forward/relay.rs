//! Octets between a client and its channel, until either ends it.
//!
//! All channels of an SSH connection are read by one task, which stops while one of them is not
//! read. So the channel is read all the time, into a backlog of its client; only a client that has
//! a full one stops the connection, and not for long if others wait for it.

use std::io;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering::Relaxed};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::time::Instant;

use super::Limits;
use super::listen::Client;
use super::status::Shared;
use crate::transport::BoxStream;

/// How it ended.
pub(super) enum End {
    /// Both sides were through.
    Closed { received: u64, sent: u64 },
    /// The client broke off, or must be.
    Cut(String),
    /// The connection to the server was lost.
    Lost(String),
}

/// Relays until both sides have ended, each in its own time, or something broke; `first` is what the
/// client has said already.
pub(super) async fn run(
    client: &mut Client,
    channel: BoxStream,
    first: &[u8],
    shared: &Shared,
    limits: Limits,
) -> End {
    let (from_client, to_client) = tokio::io::split(client.stream());
    let from_client = first.chain(from_client);
    let (from_server, to_server) = tokio::io::split(channel);
    let (from_backlog, to_backlog) = tokio::io::simplex(limits.backlog);
    let counts = Counts::default();
    let sending = pump(
        (from_client, Side::Client),
        (to_server, Side::Server),
        |n| {
            counts.sent.fetch_add(n, Relaxed);
            shared.sent.fetch_add(n, Relaxed);
        },
    );
    let filling = pump(
        (from_server, Side::Server),
        (to_backlog, Side::Server),
        |n| {
            counts.arrived.fetch_add(n, Relaxed);
        },
    );
    let draining = pump(
        (from_backlog, Side::Client),
        (to_client, Side::Client),
        |n| {
            counts.taken.fetch_add(n, Relaxed);
            shared.received.fetch_add(n, Relaxed);
        },
    );
    let receiving = async {
        tokio::try_join!(filling, draining)?;
        counts.has_ended.store(true, Relaxed);
        Ok(())
    };
    tokio::select! {
        ended = async { tokio::try_join!(sending, receiving) } => match ended {
            Ok(_) => End::Closed {
                received: counts.taken.load(Relaxed),
                sent: counts.sent.load(Relaxed),
            },
            Err((Side::Client, error)) => End::Cut(format!("the client broke off: {error}")),
            Err((Side::Server, error)) => End::Lost(error.to_string()),
        },
        reason = counts.watch(shared, limits) => End::Cut(reason),
    }
}

/// Whose fault it is.
#[derive(Clone, Copy, Debug)]
enum Side {
    Client,
    Server,
}

/// Copies to the end, and passes that on.
async fn pump(
    (mut reader, read_side): (impl AsyncRead + Unpin, Side),
    (mut writer, write_side): (impl AsyncWrite + Unpin, Side),
    moved: impl Fn(u64),
) -> Result<(), (Side, io::Error)> {
    let mut buffer = vec![0; CHUNK];
    loop {
        let count = reader.read(&mut buffer).await.map_err(|e| (read_side, e))?;
        if count == 0 {
            break;
        }
        let writing = writer.write_all(&buffer[..count]);
        writing.await.map_err(|e| (write_side, e))?;
        moved(count as u64);
    }
    match writer.shutdown().await {
        // It is gone already, and has taken everything before.
        Err(error) if error.kind() == io::ErrorKind::NotConnected => Ok(()),
        done => done.map_err(|e| (write_side, e)),
    }
}

/// How far a relay is.
#[derive(Default)]
struct Counts {
    /// Octets of the client that the channel took.
    sent: AtomicU64,
    /// Octets of the server in the backlog, with those that have passed through it.
    arrived: AtomicU64,
    /// Octets of the server that the client took.
    taken: AtomicU64,
    /// Whether the server has said all it will, and the client has taken it.
    has_ended: AtomicBool,
}

impl Counts {
    /// Returns a reason to give the client up, should there ever be one.
    async fn watch(&self, shared: &Shared, limits: Limits) -> String {
        let Limits { backlog, patience } = limits;
        let mut ticks = tokio::time::interval(patience / TICKS);
        let mut stuck = Since::new();
        let mut left = Since::new();
        loop {
            ticks.tick().await;
            let taken = self.taken.load(Relaxed);
            let waiting = self.arrived.load(Relaxed).saturating_sub(taken);
            // The last piece is on its way into the backlog, and the first out of it.
            let is_full = waiting + 2 * CHUNK as u64 >= backlog as u64;
            if stuck.is_longer(patience, is_full, taken) && shared.is_shared() {
                return format!(
                    "it took nothing for {} while others waited for what was sent to it",
                    humantime::format_duration(patience)
                );
            }
            // A channel that is closed takes what is sent to it without a word.
            let has_ended = self.has_ended.load(Relaxed);
            if left.is_longer(AFTER_END, has_ended, self.sent.load(Relaxed)) {
                return "the server ended the connection, and the client did not".to_owned();
            }
        }
    }
}

/// Since when something has been so without any progress.
struct Since(Option<(Instant, u64)>);

impl Since {
    fn new() -> Self {
        Self(None)
    }

    fn is_longer(&mut self, than: Duration, is_so: bool, progress: u64) -> bool {
        match self.0 {
            Some((since, before)) if is_so && before == progress => since.elapsed() >= than,
            _ => {
                self.0 = is_so.then(|| (Instant::now(), progress));
                false
            }
        }
    }
}

/// Half of what fits into a packet of SSH.
const CHUNK: usize = 16 << 10;
/// How often patience is looked after while it lasts.
const TICKS: u32 = 5;
/// How long a client may sit there after the server has ended.
const AFTER_END: Duration = Duration::from_secs(600);
