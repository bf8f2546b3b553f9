//! The POP3 server that a client with a token meets before it is in the mailbox (RFC 1939 §4).
//!
//! It takes the token by PASS or AUTH (PLAIN, LOGIN), under any user name. What it says it can do
//! is what the real server can do, but for how to log in: many clients ask only once, before.

use std::io;
use std::time::Duration;

use data_encoding::BASE64;
use posthole_proto::pop3::Capabilities;
use secrecy::SecretString;
use secrecy::zeroize::{Zeroize, Zeroizing};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use super::listen::Client;

/// A client that is not logged in yet.
pub(super) struct Reception {
    client: Client,
    unread: Vec<u8>,
    capabilities: Vec<String>,
    /// Whether USER was said, whose word is of no matter.
    has_user: bool,
}

/// A line of a client, which may be the token.
type Line = Zeroizing<String>;

/// What a client came to.
pub(super) enum Visit {
    /// It showed this token.
    Token(SecretString),
    /// It left.
    Left,
}

impl Reception {
    /// Greets a client.
    pub(super) async fn greet(client: Client, server: &Capabilities) -> io::Result<Self> {
        let mut reception = Self {
            client,
            unread: Vec::new(),
            capabilities: offered(server),
            has_user: false,
        };
        reception
            .say("+OK posthole is ready for the token of this forward\r\n")
            .await?;
        Ok(reception)
    }

    /// Serves the client until it shows a token or leaves.
    pub(super) async fn serve(&mut self) -> io::Result<Visit> {
        loop {
            let Some(line) = self.line().await? else {
                return Ok(Visit::Left);
            };
            let (verb, argument) = line.split_once(' ').unwrap_or((&line, ""));
            match verb.to_ascii_uppercase().as_str() {
                "CAPA" => {
                    let mut answer = "+OK\r\n".to_owned();
                    for capability in &self.capabilities {
                        answer += &format!("{capability}\r\n");
                    }
                    self.say(&(answer + ".\r\n")).await?;
                }
                "USER" => {
                    self.has_user = true;
                    self.say("+OK now the token\r\n").await?;
                }
                "PASS" if !self.has_user => self.say("-ERR USER comes first\r\n").await?,
                "PASS" => return Ok(Visit::Token(SecretString::from(argument))),
                "AUTH" => {
                    if let Some(token) = self.authenticate(argument).await? {
                        return Ok(Visit::Token(token));
                    }
                }
                "QUIT" => {
                    self.say("+OK\r\n").await?;
                    return Ok(Visit::Left);
                }
                _ => {
                    self.say("-ERR log in first, with the token as the password\r\n")
                        .await?;
                }
            }
        }
    }

    /// Answers the client.
    pub(super) async fn say(&mut self, line: &str) -> io::Result<()> {
        self.client.stream().write_all(line.as_bytes()).await
    }

    /// Hands out the client, and what it has sent already for the server.
    pub(super) fn into_client(self) -> (Client, Vec<u8>) {
        (self.client, self.unread)
    }

    /// AUTH (RFC 5034) by PLAIN (RFC 4616) or LOGIN, whose password is the token.
    async fn authenticate(&mut self, argument: &str) -> io::Result<Option<SecretString>> {
        let (mechanism, initial) = argument.split_once(' ').unwrap_or((argument, ""));
        let response = match mechanism.to_ascii_uppercase().as_str() {
            "PLAIN" if initial.is_empty() => self.challenge("").await?,
            "PLAIN" => Some(Zeroizing::new(initial.to_owned())),
            "LOGIN" => {
                if initial.is_empty() && self.challenge("VXNlcm5hbWU6").await?.is_none() {
                    None
                } else {
                    self.challenge("UGFzc3dvcmQ6").await?
                }
            }
            _ => {
                self.say("-ERR PLAIN and LOGIN are there\r\n").await?;
                return Ok(None);
            }
        };
        let octets = response.and_then(|response| BASE64.decode(response.as_bytes()).ok());
        let octets = octets.map(Zeroizing::new);
        // PLAIN has two names before the password, each with a NUL after it.
        let password = octets.and_then(|octets| {
            let password = octets.rsplit(|octet| *octet == 0).next()?;
            Some(SecretString::from(str::from_utf8(password).ok()?))
        });
        if password.is_none() {
            self.say("-ERR that is no answer\r\n").await?;
        }
        Ok(password)
    }

    async fn challenge(&mut self, challenge: &str) -> io::Result<Option<Line>> {
        self.say(&format!("+ {challenge}\r\n")).await?;
        Ok(self.line().await?.filter(|line| **line != "*"))
    }

    /// A line of the client, without its end; `None` once it has nothing more to say.
    async fn line(&mut self) -> io::Result<Option<Line>> {
        loop {
            if let Some(end) = memchr::memchr(b'\n', &self.unread) {
                let line = &self.unread[..end];
                let line = line.strip_suffix(b"\r").unwrap_or(line);
                let line = Zeroizing::new(String::from_utf8_lossy(line).into_owned());
                self.unread[..=end].zeroize();
                self.unread.drain(..=end);
                return Ok(Some(line));
            }
            if self.unread.len() > LINE {
                return Err(io::Error::new(
                    io::ErrorKind::InvalidData,
                    "the client sent a line without an end",
                ));
            }
            let read = self.client.stream().read_buf(&mut self.unread);
            match tokio::time::timeout(PATIENCE, read).await {
                Ok(Ok(0)) => return Ok(None),
                Ok(read) => drop(read?),
                Err(_) => return Err(io::ErrorKind::TimedOut.into()),
            }
        }
    }
}

/// What the server can do, with our ways to log in in the place of its own.
fn offered(server: &Capabilities) -> Vec<String> {
    let lines = server.lines().into_iter();
    let theirs = lines.filter(|line| {
        let name = line.split(' ').next().unwrap_or_default();
        ![
            "SASL",
            "STLS",
            "USER",
            "APOP",
            "AUTH-RESP-CODE",
            "RESP-CODES",
        ]
        .iter()
        .any(|ours| name.eq_ignore_ascii_case(ours))
    });
    ["USER", "SASL PLAIN LOGIN", "RESP-CODES", "AUTH-RESP-CODE"]
        .into_iter()
        .map(str::to_owned)
        .chain(theirs)
        .collect()
}

/// RFC 5034 §4 has the longest lines.
pub(crate) const LINE: usize = 12_288;

/// How long a client may think before it logs in.
const PATIENCE: Duration = Duration::from_secs(120);
