//! A TCP relay on loopback that behaves like a slower, longer or breaking line.
//!
//! It adds latency, limits the bandwidth, counts bytes and turns, and cuts after n bytes in either
//! direction. It models one direction's queue at a time: no loss, no TCP slow start.

use std::fmt;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard};
use std::time::Duration;

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::net::tcp::{ReadHalf, WriteHalf};
use tokio::sync::mpsc;
use tokio::time::Instant;

use crate::background::Background;
use crate::net::{Connection, Ending};

/// A relay on a loopback port; it stops, and cuts what it carries, when this is dropped.
///
/// ```
/// use std::time::Duration;
/// use posthole_testkit::pop3::{Maildrop, Pop3Server};
/// use posthole_testkit::relay::Relay;
///
/// let pop3 = Pop3Server::start(&Maildrop::new());
/// let line = Relay::to(pop3.addr()).latency(Duration::from_millis(25)).start();
/// // … let a client talk to line.addr() …
/// assert_eq!(line.turns(), 0);
/// ```
pub struct Relay {
    shared: Arc<Shared>,
    addr: SocketAddr,
    _background: Background,
}

impl Relay {
    /// A relay to this address.
    #[must_use]
    pub fn to(target: SocketAddr) -> Builder {
        Builder {
            ip: Ipv4Addr::LOCALHOST.into(),
            target,
            settings: Settings {
                latency: Duration::ZERO,
                bytes_per_second: None,
                to_client: None,
                to_server: None,
                ending: Ending::Reset,
            },
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.addr.port()
    }

    /// Bytes carried to the client, over all connections.
    #[must_use]
    pub fn bytes_to_client(&self) -> u64 {
        lock(&self.shared.counts).to_client
    }

    /// Bytes carried to the server, over all connections.
    #[must_use]
    pub fn bytes_to_server(&self) -> u64 {
        lock(&self.shared.counts).to_server
    }

    /// How often the client spoke after it had heard something, its first words included, over all
    /// connections: with latency on the line, the round trips that the client waited for.
    #[must_use]
    pub fn turns(&self) -> u64 {
        lock(&self.shared.counts).turns
    }

    /// How many connections were made so far.
    #[must_use]
    pub fn connections(&self) -> u64 {
        lock(&self.shared.counts).connections
    }

    /// Cuts connections from now on after so many bytes to the client.
    pub fn cut_to_client(&self, after: Option<u64>) {
        lock(&self.shared.settings).to_client = after;
    }

    /// Cuts connections from now on after so many bytes to the server.
    pub fn cut_to_server(&self, after: Option<u64>) {
        lock(&self.shared.settings).to_server = after;
    }
}

impl fmt::Debug for Relay {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Relay")
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}

/// What [`Relay::to`] makes.
#[derive(Debug)]
pub struct Builder {
    ip: IpAddr,
    target: SocketAddr,
    settings: Settings,
}

impl Builder {
    /// Delays each byte by this long, in either direction: half the round-trip time.
    #[must_use]
    pub fn latency(mut self, latency: Duration) -> Self {
        self.settings.latency = latency;
        self
    }

    /// Carries no more than this, in either direction.
    #[must_use]
    pub fn bytes_per_second(mut self, rate: u64) -> Self {
        self.settings.bytes_per_second = Some(rate);
        self
    }

    /// Cuts each connection after so many bytes to the client.
    #[must_use]
    pub fn cut_to_client(mut self, after: u64) -> Self {
        self.settings.to_client = Some(after);
        self
    }

    /// Cuts each connection after so many bytes to the server.
    #[must_use]
    pub fn cut_to_server(mut self, after: u64) -> Self {
        self.settings.to_server = Some(after);
        self
    }

    /// Says how a cut looks to both sides; an RST, unless this says otherwise.
    #[must_use]
    pub fn ending(mut self, ending: Ending) -> Self {
        self.settings.ending = ending;
        self
    }

    /// Listens on another loopback address, such as `::1`.
    #[must_use]
    pub fn listen_on(mut self, ip: IpAddr) -> Self {
        self.ip = ip;
        self
    }

    /// Starts the relay.
    #[must_use]
    pub fn start(self) -> Relay {
        let shared = Arc::new(Shared {
            settings: Mutex::new(self.settings),
            counts: Mutex::default(),
        });
        let background = Background::start("relay");
        let (listener, addr) = background.listen(self.ip);
        let (serving, target) = (Arc::clone(&shared), self.target);
        background.spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                let shared = Arc::clone(&serving);
                lock(&shared.counts).connections += 1;
                drop(tokio::spawn(carry(client, target, shared)));
            }
        });
        Relay {
            shared,
            addr,
            _background: background,
        }
    }
}

#[derive(Clone, Copy, Debug)]
struct Settings {
    latency: Duration,
    bytes_per_second: Option<u64>,
    to_client: Option<u64>,
    to_server: Option<u64>,
    ending: Ending,
}

#[derive(Debug, Default)]
struct Counts {
    connections: u64,
    to_client: u64,
    to_server: u64,
    turns: u64,
}

struct Shared {
    settings: Mutex<Settings>,
    counts: Mutex<Counts>,
}

#[derive(Clone, Copy, Eq, PartialEq)]
enum Towards {
    Client,
    Server,
}

/// What the two directions of a connection know of each other.
struct Pair {
    shared: Arc<Shared>,
    settings: Settings,
    /// Whether the client's next word is an answer to something it heard.
    client_heard: Mutex<bool>,
}

/// The connection was cut, by a limit or by one of its ends.
struct Broken;

impl From<io::Error> for Broken {
    fn from(_: io::Error) -> Self {
        Self
    }
}

async fn carry(mut client: TcpStream, target: SocketAddr, shared: Arc<Shared>) {
    let settings = *lock(&shared.settings);
    let Ok(mut server) = TcpStream::connect(target).await else {
        client.reset_on_drop();
        return;
    };
    client.set_nodelay(true).ok();
    server.set_nodelay(true).ok();
    let pair = Pair {
        shared,
        settings,
        client_heard: Mutex::new(true),
    };
    let outcome = {
        let (client_read, client_write) = client.split();
        let (server_read, server_write) = server.split();
        tokio::try_join!(
            pair.direction(Towards::Server, client_read, server_write),
            pair.direction(Towards::Client, server_read, client_write),
        )
    };
    if outcome.is_ok() {
        return;
    }
    match settings.ending {
        Ending::Close => {}
        Ending::Reset => {
            client.reset_on_drop();
            server.reset_on_drop();
        }
        Ending::Stall => std::future::pending().await,
    }
}

impl Pair {
    async fn direction(
        &self,
        towards: Towards,
        read: ReadHalf<'_>,
        write: WriteHalf<'_>,
    ) -> Result<(), Broken> {
        let (enter, leave) = mpsc::channel(IN_FLIGHT);
        tokio::try_join!(
            self.take(towards, read, enter),
            self.give(towards, write, leave)
        )?;
        Ok(())
    }

    /// Takes in what arrives, as fast as the line carries it, and notes when it is due.
    async fn take(
        &self,
        towards: Towards,
        mut read: ReadHalf<'_>,
        enter: mpsc::Sender<(Instant, Vec<u8>)>,
    ) -> Result<(), Broken> {
        let mut line_is_free = Instant::now();
        loop {
            let mut chunk = Vec::with_capacity(CHUNK);
            if read.read_buf(&mut chunk).await? == 0 {
                return Ok(());
            }
            if towards == Towards::Server && std::mem::take(&mut *lock(&self.client_heard)) {
                lock(&self.shared.counts).turns += 1;
            }
            line_is_free = line_is_free.max(Instant::now());
            if let Some(rate) = self.settings.bytes_per_second {
                line_is_free += Duration::from_secs_f64(chunk.len() as f64 / rate as f64);
                tokio::time::sleep_until(line_is_free).await;
            }
            if enter
                .send((line_is_free + self.settings.latency, chunk))
                .await
                .is_err()
            {
                return Err(Broken);
            }
        }
    }

    /// Hands out what is due, up to the limit.
    async fn give(
        &self,
        towards: Towards,
        mut write: WriteHalf<'_>,
        mut leave: mpsc::Receiver<(Instant, Vec<u8>)>,
    ) -> Result<(), Broken> {
        let mut left = match towards {
            Towards::Client => self.settings.to_client,
            Towards::Server => self.settings.to_server,
        };
        while let Some((due, mut chunk)) = leave.recv().await {
            tokio::time::sleep_until(due).await;
            if let Some(left) = &mut left {
                chunk.truncate(usize::try_from(*left).unwrap_or(usize::MAX));
                *left -= chunk.len() as u64;
            }
            write.write_all(&chunk).await?;
            self.count(towards, chunk.len() as u64);
            if left == Some(0) {
                return Err(Broken);
            }
        }
        write.shutdown().await?;
        Ok(())
    }

    fn count(&self, towards: Towards, octets: u64) {
        let mut counts = lock(&self.shared.counts);
        match towards {
            Towards::Client => {
                counts.to_client += octets;
                *lock(&self.client_heard) = true;
            }
            Towards::Server => counts.to_server += octets,
        }
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().expect("no holder of this lock panics")
}

const CHUNK: usize = 16 * 1024;
/// Chunks on the line; 16 MiB are more than a gigabit line holds in 100 ms.
const IN_FLIGHT: usize = 1024;

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{Shutdown, TcpListener};

    use super::*;

    /// A server that answers each connection with what it got, after the client's end of file.
    fn echo() -> SocketAddr {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let addr = listener.local_addr().unwrap();
        std::thread::spawn(move || {
            for stream in listener.incoming() {
                let mut stream = stream.unwrap();
                let mut bytes = Vec::new();
                if stream.read_to_end(&mut bytes).is_ok() {
                    stream.write_all(&bytes).ok();
                }
            }
        });
        addr
    }

    fn exchange(relay: &Relay, bytes: &[u8]) -> (Vec<u8>, io::Result<usize>) {
        let mut stream = std::net::TcpStream::connect(relay.addr()).unwrap();
        stream.write_all(bytes).unwrap();
        stream.shutdown(Shutdown::Write).unwrap();
        let mut got = Vec::new();
        let end: io::Result<usize> = stream.read_to_end(&mut got);
        (got, end)
    }

    #[test]
    fn bytes_and_half_closes_pass_and_latency_is_added_both_ways() {
        let relay = Relay::to(echo()).latency(Duration::from_millis(30)).start();
        let start = Instant::now();
        let (got, end) = exchange(&relay, b"hello");
        assert!(start.elapsed() >= Duration::from_millis(60));
        assert_eq!((got.as_slice(), end.unwrap()), (b"hello".as_slice(), 5));
        assert_eq!(
            (
                relay.bytes_to_client(),
                relay.bytes_to_server(),
                relay.turns()
            ),
            (5, 5, 1)
        );
    }

    #[test]
    fn a_cut_passes_exactly_the_bytes_it_allows_and_then_resets() {
        let relay = Relay::to(echo()).cut_to_client(3).start();
        let (got, end) = exchange(&relay, b"hello");
        assert_eq!(got, b"hel");
        assert_eq!(end.unwrap_err().kind(), io::ErrorKind::ConnectionReset);
    }

    #[test]
    fn a_cut_with_a_close_looks_like_end_of_file() {
        let relay = Relay::to(echo())
            .cut_to_client(3)
            .ending(Ending::Close)
            .start();
        let (got, end) = exchange(&relay, b"hello");
        assert_eq!((got.as_slice(), end.unwrap()), (b"hel".as_slice(), 3));
    }

    #[test]
    fn the_bandwidth_limit_holds() {
        let relay = Relay::to(echo()).bytes_per_second(1_000_000).start();
        let start = Instant::now();
        let (got, _) = exchange(&relay, &vec![7; 100_000]);
        assert_eq!(got.len(), 100_000);
        // 100 ms up and 100 ms down; more when the machine is busy, never less.
        assert!(
            start.elapsed() >= Duration::from_millis(190),
            "{:?}",
            start.elapsed()
        );
    }
}
