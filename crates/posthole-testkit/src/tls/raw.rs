//! A TLS server that sends exactly what it is told to, right or wrong.
//!
//! The handshake is that of rustls, for as long as a script wants a right one. From then on the
//! records are made by hand: of any type, with any content, as many as the script likes. What a
//! client says is kept as long as it can be read: in the clear, and in TLS up to the first record
//! made by hand.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use rustls::{ConnectionTrafficSecrets, ProtocolVersion, ServerConfig};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::Tls;
use crate::background::Background;

/// A server that treats each client as a script says; it stops when this is dropped.
pub struct RawTlsServer {
    addr: SocketAddr,
    heard: Heard,
    _background: Background,
}

impl RawTlsServer {
    /// Starts a server. A script that ends closes the connection; its error is that of a client
    /// that has gone, and means nothing.
    #[must_use]
    pub fn start<F, R>(tls: &Tls, script: F) -> Self
    where
        F: Fn(RawTls) -> R + Send + Sync + 'static,
        R: Future<Output = io::Result<()>> + Send + 'static,
    {
        let config = tls.extractable();
        let heard = Heard::default();
        let background = Background::start("raw tls server");
        let (listener, addr) = background.listen(Ipv4Addr::LOCALHOST.into());
        let ears = heard.clone();
        background.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).ok();
                let script = script(RawTls {
                    stream,
                    config: Arc::clone(&config),
                    heard: ears.clone(),
                    has_greeted: false,
                });
                drop(tokio::spawn(async move { script.await.ok() }));
            }
        });
        Self {
            addr,
            heard,
            _background: background,
        }
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// What its clients said, as far as it could be read.
    #[must_use]
    pub fn heard(&self) -> Vec<u8> {
        self.heard.all()
    }
}

impl fmt::Debug for RawTlsServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawTlsServer")
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}

#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<u8>>>);

impl Heard {
    fn note(&self, octets: &[u8]) {
        let mut heard = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        heard.extend_from_slice(octets);
    }

    fn all(&self) -> Vec<u8> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}

/// A connection of a client, in the clear.
pub struct RawTls {
    stream: TcpStream,
    config: Arc<ServerConfig>,
    heard: Heard,
    has_greeted: bool,
}

impl RawTls {
    /// Sends octets as they are.
    ///
    /// # Errors
    ///
    /// The client has gone; likewise below.
    pub async fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        self.stream.write_all(octets).await
    }

    /// Sends the same octets without end.
    pub async fn flood(&mut self, octets: &[u8]) -> io::Result<()> {
        let many = octets.repeat(1 + FLOOD / octets.len());
        loop {
            self.write(&many).await?;
        }
    }

    /// Waits for a line of the client.
    pub async fn hear_line(&mut self) -> io::Result<String> {
        hear_line(&mut self.stream, &self.heard).await
    }

    /// Greets a client of POP3 and agrees to TLS.
    pub async fn agree(&mut self) -> io::Result<()> {
        self.write(b"+OK ready\r\n").await?;
        self.has_greeted = true;
        while self.hear_line().await? != "STLS" {
            self.write(b"-ERR no\r\n").await?;
        }
        self.write(b"+OK begin TLS\r\n").await
    }

    /// Waits for the first record of the client, and returns the session id in it, which an answer
    /// has to repeat (RFC 8446 §4.1.3).
    pub async fn hear_hello(&mut self) -> io::Result<Vec<u8>> {
        let mut header = [0; 5];
        self.stream.read_exact(&mut header).await?;
        let mut hello = vec![0; usize::from(u16::from_be_bytes([header[3], header[4]]))];
        self.stream.read_exact(&mut hello).await?;
        self.heard.note(&hello);
        // Type and length, version, and 32 random octets stand before it.
        let id = hello.get(4 + 2 + 32..).and_then(|rest| {
            let (length, rest) = rest.split_first()?;
            rest.get(..usize::from(*length))
        });
        Ok(id.ok_or(io::ErrorKind::InvalidData)?.to_vec())
    }

    /// Makes a right handshake.
    pub async fn shake_hands(self) -> io::Result<Protected> {
        let acceptor = TlsAcceptor::from(self.config);
        Ok(Protected {
            stream: acceptor.accept(self.stream).await?,
            heard: self.heard,
            has_greeted: self.has_greeted,
        })
    }

    /// Takes note of whatever the client sends, until it closes.
    pub async fn listen(&mut self) -> io::Result<()> {
        listen(&mut self.stream, &self.heard).await
    }
}

impl fmt::Debug for RawTls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawTls").finish_non_exhaustive()
    }
}

/// A connection of a client, with TLS.
pub struct Protected {
    stream: TlsStream<TcpStream>,
    heard: Heard,
    has_greeted: bool,
}

impl Protected {
    /// Whether a greeting is due, which there is but one of (RFC 2595 §4).
    #[must_use]
    pub const fn is_first_to_speak(&self) -> bool {
        !self.has_greeted
    }

    /// Sends octets in TLS.
    pub async fn say(&mut self, octets: &[u8]) -> io::Result<()> {
        self.stream.write_all(octets).await?;
        self.stream.flush().await
    }

    /// Waits for a line of the client.
    pub async fn hear_line(&mut self) -> io::Result<String> {
        hear_line(&mut self.stream, &self.heard).await
    }

    /// Takes new keys, and wants new ones of the client (RFC 8446 §4.6.3).
    pub async fn renew_keys(&mut self) -> io::Result<()> {
        let renewed = self.stream.get_mut().1.refresh_traffic_keys();
        renewed.map_err(io::Error::other)?;
        self.stream.flush().await
    }

    /// Says the goodbye of TLS.
    pub async fn say_goodbye(&mut self) -> io::Result<()> {
        self.stream.shutdown().await
    }

    /// Takes note of whatever the client sends, until it closes.
    pub async fn listen(&mut self) -> io::Result<()> {
        listen(&mut self.stream, &self.heard).await
    }

    /// Makes its records by hand from now on.
    pub fn by_hand(self) -> io::Result<Records> {
        let (stream, connection) = self.stream.into_inner();
        let is_13 = connection.protocol_version() == Some(ProtocolVersion::TLSv1_3);
        let secrets = connection.dangerous_extract_secrets();
        let (sequence, secrets) = secrets.map_err(io::Error::other)?.tx;
        let ConnectionTrafficSecrets::Aes128Gcm { key, iv } = secrets else {
            return Err(io::Error::other("only AES-128-GCM was offered"));
        };
        let key = UnboundKey::new(&AES_128_GCM, key.as_ref()).map_err(io::Error::other)?;
        Ok(Records {
            stream,
            key: LessSafeKey::new(key),
            iv: iv.as_ref().try_into().map_err(io::Error::other)?,
            sequence,
            is_13,
        })
    }
}

impl fmt::Debug for Protected {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Protected").finish_non_exhaustive()
    }
}

/// A connection of a client, with TLS whose records are made by hand.
pub struct Records {
    stream: TcpStream,
    key: LessSafeKey,
    iv: [u8; 12],
    sequence: u64,
    is_13: bool,
}

impl Records {
    /// The octets of the next record (RFC 8446 §5.2, RFC 5288 §3).
    pub fn record(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        if self.is_13 {
            self.seal_13(&[content, &[kind]].concat())
        } else {
            self.seal_12(kind, content)
        }
    }

    /// The octets of the next record of TLS 1.3, whose type stands at the end of what is in it.
    pub fn seal_13(&mut self, inner: &[u8]) -> Vec<u8> {
        let header = header(APPLICATION_DATA, inner.len() + TAG);
        let mut nonce = self.iv;
        let sequence = self.sequence.to_be_bytes();
        for (octet, sequence) in nonce[4..].iter_mut().zip(sequence) {
            *octet ^= sequence;
        }
        self.sequence += 1;
        let sealed = self.seal(nonce, &header, inner);
        [&header[..], &sealed].concat()
    }

    fn seal_12(&mut self, kind: u8, content: &[u8]) -> Vec<u8> {
        let sequence = self.sequence.to_be_bytes();
        self.sequence += 1;
        let mut nonce = self.iv;
        nonce[4..].copy_from_slice(&sequence);
        let plain = header(kind, content.len());
        let sealed = self.seal(nonce, &[&sequence[..], &plain].concat(), content);
        let header = header(kind, sequence.len() + sealed.len());
        [&header[..], &sequence, &sealed].concat()
    }

    fn seal(&self, nonce: [u8; 12], data: &[u8], content: &[u8]) -> Vec<u8> {
        let nonce = Nonce::assume_unique_for_key(nonce);
        let mut sealed = content.to_vec();
        self.key
            .seal_in_place_append_tag(nonce, Aad::from(data), &mut sealed)
            .expect("a record can be sealed");
        sealed
    }

    /// Sends a record.
    pub async fn send(&mut self, kind: u8, content: &[u8]) -> io::Result<()> {
        let record = self.record(kind, content);
        self.write(&record).await
    }

    /// Sends octets as they are.
    pub async fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        self.stream.write_all(octets).await
    }

    /// Sends a record without end, and reads what is sent meanwhile.
    pub async fn flood(mut self, kind: u8, content: &[u8]) -> io::Result<()> {
        let at_once = 1 + FLOOD / (content.len() + 32);
        let mut sink = vec![0; FLOOD];
        loop {
            let mut records = Vec::new();
            for _ in 0..at_once {
                records.extend(self.record(kind, content));
            }
            let mut left = &records[..];
            while !left.is_empty() {
                let (mut reader, mut writer) = self.stream.split();
                tokio::select! {
                    written = writer.write(left) => left = &left[written?..],
                    read = reader.read(&mut sink) => {
                        if read? == 0 {
                            return Ok(());
                        }
                    }
                }
            }
        }
    }

    /// Reads and forgets whatever the client sends, until it closes.
    pub async fn listen(&mut self) -> io::Result<()> {
        tokio::io::copy(&mut self.stream, &mut tokio::io::sink()).await?;
        Ok(())
    }
}

impl fmt::Debug for Records {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Records").finish_non_exhaustive()
    }
}

/// A record in the clear.
#[must_use]
pub fn clear(kind: u8, content: &[u8]) -> Vec<u8> {
    [&header(kind, content.len())[..], content].concat()
}

fn header(kind: u8, length: usize) -> [u8; 5] {
    let length = u16::try_from(length).expect("a record is not so long");
    let [high, low] = length.to_be_bytes();
    [kind, 3, 3, high, low]
}

async fn hear_line(stream: &mut (impl AsyncRead + Unpin), heard: &Heard) -> io::Result<String> {
    let mut line = Vec::new();
    loop {
        let octet = stream.read_u8().await?;
        heard.note(&[octet]);
        match octet {
            b'\n' => return Ok(String::from_utf8_lossy(&line).into_owned()),
            b'\r' => {}
            octet => line.push(octet),
        }
    }
}

async fn listen(stream: &mut (impl AsyncRead + Unpin), heard: &Heard) -> io::Result<()> {
    let mut octets = [0; 4096];
    loop {
        match stream.read(&mut octets).await? {
            0 => return Ok(()),
            n => heard.note(&octets[..n]),
        }
    }
}

/// How much of a flood is written at a time.
const FLOOD: usize = 64 * 1024;
const TAG: usize = 16;

/// The types of a record (RFC 8446 §5.1).
pub const CHANGE_CIPHER_SPEC: u8 = 20;
/// A warning or the end.
pub const ALERT: u8 = 21;
/// Part of a handshake.
pub const HANDSHAKE: u8 = 22;
/// What TLS is there for.
pub const APPLICATION_DATA: u8 = 23;
