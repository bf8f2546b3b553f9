//! An SSH server that sends exactly what it is told to, right or wrong.
//!
//! A library that implements the protocol will not break it, so this is the protocol by hand: one
//! algorithm of each kind (curve25519-sha256, ssh-ed25519, aes128-gcm), no renewal of keys, and no
//! opinion about what comes when. A script takes a [`RawSession`] from one step to the next and
//! misbehaves where it likes.

use std::fmt;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, PoisonError};

use aws_lc_rs::aead::{AES_128_GCM, Aad, LessSafeKey, Nonce, UnboundKey};
use aws_lc_rs::agreement::{self, UnparsedPublicKey, X25519};
use aws_lc_rs::digest::{SHA256, digest};
use aws_lc_rs::signature::{Ed25519KeyPair, KeyPair};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

use crate::background::Background;
use crate::base64;

/// A server that treats each client as a script says; it stops when this is dropped.
pub struct RawSshServer {
    addr: SocketAddr,
    host_key: Arc<Ed25519KeyPair>,
    heard: Heard,
    _background: Background,
}

type Heard = Arc<Mutex<Vec<u8>>>;

impl RawSshServer {
    /// Starts a server. A script that ends closes the connection; its error is that of a client
    /// that has gone, and means nothing.
    #[must_use]
    pub fn start<F, R>(script: F) -> Self
    where
        F: Fn(RawSession) -> R + Send + Sync + 'static,
        R: Future<Output = io::Result<()>> + Send + 'static,
    {
        let host_key = Arc::new(Ed25519KeyPair::generate().expect("a key can be made"));
        let background = Background::start("raw ssh server");
        let (listener, addr) = background.listen(Ipv4Addr::LOCALHOST.into());
        let (key, heard) = (Arc::clone(&host_key), Heard::default());
        let ears = Arc::clone(&heard);
        background.spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                stream.set_nodelay(true).ok();
                let session = RawSession::new(stream, Arc::clone(&key), Arc::clone(&ears));
                let script = script(session);
                drop(tokio::spawn(async move { script.await.ok() }));
            }
        });
        Self {
            addr,
            host_key,
            heard,
            _background: background,
        }
    }

    /// The payloads of the packets that its clients sent, except into a flood.
    #[must_use]
    pub fn heard(&self) -> Vec<u8> {
        let heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.clone()
    }

    /// Where it listens.
    #[must_use]
    pub fn addr(&self) -> SocketAddr {
        self.addr
    }

    /// Its known_hosts line.
    #[must_use]
    pub fn known_hosts_line(&self) -> String {
        let key = base64::encode(&key_blob(&self.host_key));
        let addr = self.addr;
        format!("[{}]:{} {HOST_KEY} {key}\n", addr.ip(), addr.port())
    }
}

impl fmt::Debug for RawSshServer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawSshServer")
            .field("addr", &self.addr)
            .finish_non_exhaustive()
    }
}

/// A connection of a client.
pub struct RawSession {
    stream: TcpStream,
    host_key: Arc<Ed25519KeyPair>,
    heard: Heard,
    compression: &'static str,
    client_id: Vec<u8>,
    seal: Option<Key>,
    open: Option<Key>,
    /// The next keys for both.
    ready: Option<(Key, Key)>,
}

impl RawSession {
    fn new(stream: TcpStream, host_key: Arc<Ed25519KeyPair>, heard: Heard) -> Self {
        Self {
            stream,
            host_key,
            heard,
            compression: "none",
            client_id: Vec::new(),
            seal: None,
            open: None,
            ready: None,
        }
    }

    /// Insists on compression after the login. What is sent has to be compressed by the script, and
    /// what is received stays as it is.
    pub fn compress(&mut self) {
        self.compression = "zlib@openssh.com";
    }

    /// Sends octets as they are.
    ///
    /// # Errors
    ///
    /// The client has gone; likewise below.
    pub async fn write(&mut self, octets: &[u8]) -> io::Result<()> {
        self.stream.write_all(octets).await
    }

    /// Exchanges identification strings (RFC 4253 §4.2).
    pub async fn greet(&mut self) -> io::Result<()> {
        self.write(format!("{SERVER_ID}\r\n").as_bytes()).await?;
        self.client_id.clear();
        loop {
            match self.stream.read_u8().await? {
                b'\n' => return Ok(()),
                b'\r' => {}
                octet => self.client_id.push(octet),
            }
        }
    }

    /// What the server offers (RFC 4253 §7.1).
    #[must_use]
    pub fn kexinit(&self) -> Vec<u8> {
        self.kexinit_with(KEY_EXCHANGE, HOST_KEY, CIPHER)
    }

    /// An offer of other algorithms.
    #[must_use]
    pub fn kexinit_with(&self, key_exchanges: &str, host_keys: &str, ciphers: &str) -> Vec<u8> {
        let mut packet = vec![KEXINIT];
        packet.extend([7; 16]);
        for list in [
            key_exchanges,
            host_keys,
            ciphers,
            ciphers,
            "hmac-sha2-256",
            "hmac-sha2-256",
            self.compression,
            self.compression,
            "",
            "",
        ] {
            put_string(&mut packet, list.as_bytes());
        }
        packet.extend([0; 5]);
        packet
    }

    /// Exchanges keys (RFC 4253 §8, RFC 8731).
    pub async fn exchange_keys(&mut self) -> io::Result<()> {
        let reply = self.answer_key_exchange().await?;
        self.send(&reply).await?;
        self.take_new_keys().await
    }

    /// Does its half of the key exchange up to the reply, which is for the script to send.
    pub async fn answer_key_exchange(&mut self) -> io::Result<Vec<u8>> {
        let ours = self.kexinit();
        self.send(&ours).await?;
        let theirs = self.receive().await?;
        let init = self.receive().await?;
        let peer = init.get(5..).ok_or(io::ErrorKind::InvalidData)?;

        let secret = agreement::PrivateKey::generate(&X25519).map_err(io::Error::other)?;
        let public = secret.compute_public_key().map_err(io::Error::other)?;
        let peer_key = UnparsedPublicKey::new(&X25519, peer);
        let shared =
            agreement::agree(&secret, peer_key, io::Error::other("bad point"), |shared| {
                Ok(shared.to_vec())
            })?;

        let host_key = key_blob(&self.host_key);
        let mut exchange = Vec::new();
        for part in [
            &self.client_id[..],
            SERVER_ID.as_bytes(),
            &theirs,
            &ours,
            &host_key,
            peer,
            public.as_ref(),
        ] {
            put_string(&mut exchange, part);
        }
        let mut secret = Vec::new();
        put_mpint(&mut secret, &shared);
        exchange.extend(&secret);
        let hash = digest(&SHA256, &exchange);

        let mut signature = Vec::new();
        put_string(&mut signature, HOST_KEY.as_bytes());
        put_string(&mut signature, self.host_key.sign(hash.as_ref()).as_ref());
        let mut reply = vec![KEX_ECDH_REPLY];
        put_string(&mut reply, &host_key);
        put_string(&mut reply, public.as_ref());
        put_string(&mut reply, &signature);

        // RFC 4253 §7.2.
        let derive = |letter: u8| {
            let parts = [&secret, hash.as_ref(), &[letter], hash.as_ref()];
            digest(&SHA256, &parts.concat())
        };
        let open = Key::new(derive(b'C').as_ref(), derive(b'A').as_ref());
        let seal = Key::new(derive(b'D').as_ref(), derive(b'B').as_ref());
        self.ready = Some((seal, open));
        Ok(reply)
    }

    /// Its host key, as in a reply.
    #[must_use]
    pub fn host_key(&self) -> Vec<u8> {
        key_blob(&self.host_key)
    }

    /// Says that new keys are used from now on, and waits for the client to say so.
    pub async fn take_new_keys(&mut self) -> io::Result<()> {
        self.send(&[NEWKEYS]).await?;
        self.wait_for(NEWKEYS).await?;
        let (seal, open) = self.ready.take().ok_or(io::ErrorKind::InvalidInput)?;
        (self.seal, self.open) = (Some(seal), Some(open));
        Ok(())
    }

    /// Lets anybody in (RFC 4252) who asks for the service and then for anything.
    pub async fn let_in(&mut self) -> io::Result<()> {
        self.wait_for(USERAUTH_REQUEST).await?;
        self.send(&[USERAUTH_SUCCESS]).await
    }

    /// Opens the next channel that the client asks for, and returns its number.
    pub async fn open_channel(&mut self) -> io::Result<u32> {
        let channel = self.wait_for_channel().await?;
        let mut packet = vec![CHANNEL_OPEN_CONFIRMATION];
        for number in [channel, 0, 1 << 20, 1 << 15] {
            packet.extend(u32::to_be_bytes(number));
        }
        self.send(&packet).await?;
        Ok(channel)
    }

    /// Waits until the client asks for a channel, and returns its number.
    pub async fn wait_for_channel(&mut self) -> io::Result<u32> {
        let request = self.wait_for(CHANNEL_OPEN).await?;
        let mut rest = &request[1..];
        let kind = rest.read_u32().await?;
        let number = rest.get(kind as usize..).and_then(|rest| rest.get(..4));
        let number = number.ok_or(io::ErrorKind::InvalidData)?;
        Ok(u32::from_be_bytes(number.try_into().expect("four octets")))
    }

    /// Sends channel data (RFC 4254 §5.2), whatever the window says.
    pub async fn send_data(&mut self, channel: u32, data: &[u8]) -> io::Result<()> {
        let mut packet = vec![CHANNEL_DATA];
        packet.extend(channel.to_be_bytes());
        put_string(&mut packet, data);
        self.send(&packet).await
    }

    /// Waits for a message of this kind; a request for a service on the way is granted.
    pub async fn wait_for(&mut self, message: u8) -> io::Result<Vec<u8>> {
        loop {
            let packet = self.receive().await?;
            match packet.first() {
                Some(&first) if first == message => return Ok(packet),
                Some(&SERVICE_REQUEST) => {
                    let mut accept = packet;
                    accept[0] = SERVICE_ACCEPT;
                    self.send(&accept).await?;
                }
                _ => {}
            }
        }
    }

    /// Sends a packet with this payload (RFC 4253 §6, RFC 5647).
    pub async fn send(&mut self, payload: &[u8]) -> io::Result<()> {
        let packet = self.packet(payload);
        self.write(&packet).await
    }

    /// The octets of the next packet, with this payload.
    pub fn packet(&mut self, payload: &[u8]) -> Vec<u8> {
        let block = if self.seal.is_some() { 16 } else { 8 };
        // The length of a packet in the clear is padded, too.
        let head = if self.seal.is_some() { 1 } else { 5 };
        let mut padding = block - (head + payload.len()) % block;
        if padding < 4 {
            padding += block;
        }
        let length = u32::try_from(1 + payload.len() + padding).expect("a packet is not so long");
        let mut body = vec![u8::try_from(padding).expect("at most 20")];
        body.extend(payload);
        body.resize(body.len() + padding, 0);
        let mut packet = length.to_be_bytes().to_vec();
        match &mut self.seal {
            None => packet.extend(body),
            Some(key) => {
                let tag = key.seal(&packet, &mut body);
                packet.extend(body);
                packet.extend(tag);
            }
        }
        packet
    }

    /// The payload of the next packet.
    pub async fn receive(&mut self) -> io::Result<Vec<u8>> {
        let length = self.stream.read_u32().await?;
        if length > LONGEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let tag = if self.open.is_some() { 16 } else { 0 };
        let mut body = vec![0; length as usize + tag];
        self.stream.read_exact(&mut body).await?;
        if let Some(key) = &mut self.open {
            key.open(&length.to_be_bytes(), &mut body)?;
            body.truncate(length as usize);
        }
        let padding = usize::from(*body.first().ok_or(io::ErrorKind::InvalidData)?);
        let end = body.len().checked_sub(padding);
        let payload = end.and_then(|end| body.get(1..end));
        let payload = payload.ok_or(io::ErrorKind::InvalidData)?;
        let mut heard = self.heard.lock().unwrap_or_else(PoisonError::into_inner);
        heard.extend_from_slice(payload);
        Ok(payload.to_vec())
    }

    /// Sends a packet without end, and reads what is sent meanwhile.
    pub async fn flood(mut self, payload: Vec<u8>) -> io::Result<()> {
        // Several at once, so that the client is never left without one.
        let at_once = 1 + 65_536 / (payload.len() + 32);
        let mut sink = vec![0; 65_536];
        loop {
            let mut packets = Vec::new();
            for _ in 0..at_once {
                packets.extend(self.packet(&payload));
            }
            let mut left = &packets[..];
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

    /// Reads whatever the client sends, until it closes.
    pub async fn listen(&mut self) -> io::Result<()> {
        while self.receive().await.is_ok() {}
        // What cannot be understood is read all the same: a client is not to wait for that.
        tokio::io::copy(&mut self.stream, &mut tokio::io::sink()).await?;
        Ok(())
    }
}

impl fmt::Debug for RawSession {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RawSession").finish_non_exhaustive()
    }
}

/// One direction of aes128-gcm@openssh.com.
struct Key {
    key: LessSafeKey,
    fixed: [u8; 4],
    counter: u64,
}

impl Key {
    fn new(key: &[u8], iv: &[u8]) -> Self {
        let key = UnboundKey::new(&AES_128_GCM, &key[..16]).expect("a key of 16 octets");
        Self {
            key: LessSafeKey::new(key),
            fixed: iv[..4].try_into().expect("four octets"),
            counter: u64::from_be_bytes(iv[4..12].try_into().expect("eight octets")),
        }
    }

    fn nonce(&mut self) -> Nonce {
        let mut nonce = [0; 12];
        nonce[..4].copy_from_slice(&self.fixed);
        nonce[4..].copy_from_slice(&self.counter.to_be_bytes());
        self.counter = self.counter.wrapping_add(1);
        Nonce::assume_unique_for_key(nonce)
    }

    fn seal(&mut self, length: &[u8], body: &mut [u8]) -> Vec<u8> {
        let nonce = self.nonce();
        let sealed = self
            .key
            .seal_in_place_separate_tag(nonce, Aad::from(length), body);
        sealed.expect("a packet can be sealed").as_ref().to_vec()
    }

    fn open(&mut self, length: &[u8], body: &mut [u8]) -> io::Result<()> {
        let nonce = self.nonce();
        self.key
            .open_in_place(nonce, Aad::from(length), body)
            .map_err(io::Error::other)?;
        Ok(())
    }
}

/// Appends a string (RFC 4251 §5).
pub fn put_string(packet: &mut Vec<u8>, text: &[u8]) {
    let length = u32::try_from(text.len()).expect("a string is not so long");
    packet.extend(length.to_be_bytes());
    packet.extend(text);
}

/// Appends an unsigned number (RFC 4251 §5, mpint).
fn put_mpint(packet: &mut Vec<u8>, number: &[u8]) {
    let start = number.iter().position(|octet| *octet != 0);
    let mut digits = start.map_or(&[][..], |start| &number[start..]).to_vec();
    if digits.first().is_some_and(|octet| octet & 0x80 != 0) {
        digits.insert(0, 0);
    }
    put_string(packet, &digits);
}

fn key_blob(key: &Ed25519KeyPair) -> Vec<u8> {
    let mut blob = Vec::new();
    put_string(&mut blob, HOST_KEY.as_bytes());
    put_string(&mut blob, key.public_key().as_ref());
    blob
}

const SERVER_ID: &str = "SSH-2.0-raw";
/// The only key exchange method that the server can do.
pub const KEY_EXCHANGE: &str = "curve25519-sha256";
/// The kind of its host key.
pub const HOST_KEY: &str = "ssh-ed25519";
/// Its only cipher.
pub const CIPHER: &str = "aes128-gcm@openssh.com";
/// More than any packet of a client.
const LONGEST: u32 = 1 << 20;

/// Message numbers (RFC 4250 §4.1.2).
pub const DISCONNECT: u8 = 1;
/// A message that means nothing.
pub const IGNORE: u8 = 2;
/// A message that was not understood.
pub const UNIMPLEMENTED: u8 = 3;
/// A text for whoever looks for mistakes.
pub const DEBUG: u8 = 4;
const SERVICE_REQUEST: u8 = 5;
/// A service that was asked for.
pub const SERVICE_ACCEPT: u8 = 6;
/// What extensions there are (RFC 8308).
pub const EXT_INFO: u8 = 7;
/// The start of a key exchange.
pub const KEXINIT: u8 = 20;
/// The end of a key exchange.
pub const NEWKEYS: u8 = 21;
/// The server's half of a key exchange (RFC 8731 §3.1), or the group for one (RFC 4419 §5).
pub const KEX_ECDH_REPLY: u8 = 31;
/// A login.
pub const USERAUTH_REQUEST: u8 = 50;
/// Its refusal.
pub const USERAUTH_FAILURE: u8 = 51;
/// Its success.
pub const USERAUTH_SUCCESS: u8 = 52;
/// A text for the person (RFC 4252 §5.4).
pub const USERAUTH_BANNER: u8 = 53;
/// Prompts (RFC 4256 §3.2).
pub const USERAUTH_INFO_REQUEST: u8 = 60;
/// A request about the whole connection.
pub const GLOBAL_REQUEST: u8 = 80;
/// Its success.
pub const REQUEST_SUCCESS: u8 = 81;
/// Its refusal.
pub const REQUEST_FAILURE: u8 = 82;
/// A request for a channel.
pub const CHANNEL_OPEN: u8 = 90;
/// Its success.
pub const CHANNEL_OPEN_CONFIRMATION: u8 = 91;
/// Its refusal.
pub const CHANNEL_OPEN_FAILURE: u8 = 92;
/// More window.
pub const CHANNEL_WINDOW_ADJUST: u8 = 93;
/// Data.
pub const CHANNEL_DATA: u8 = 94;
/// Data of another kind.
pub const CHANNEL_EXTENDED_DATA: u8 = 95;
/// The end of the data.
pub const CHANNEL_EOF: u8 = 96;
/// The end of the channel.
pub const CHANNEL_CLOSE: u8 = 97;
/// A request about a channel.
pub const CHANNEL_REQUEST: u8 = 98;
