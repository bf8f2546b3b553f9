//! Why an SSH connection ended, kept for everybody who had something on it.
//!
//! russh tells only its handler why a session ended; streams just end and calls just fail. The
//! handler writes the reason here before that happens, and whoever notices the end reads it.

use std::io;

use russh::client::DisconnectReason;
use tokio::sync::watch;

use crate::transport::dial::plain;

use super::client::Fault;
use super::text::{SHOWN, clean};

/// Why a connection ended.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Loss {
    /// For a sentence: "lost the connection: …".
    pub(super) reason: String,
    pub(super) cause: Cause,
}

/// What a [`Loss`] means to us.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Cause {
    /// The network, the server, or ourselves.
    Broken,
    /// The server ended it with a message (RFC 4253 §11.1).
    Disconnected,
    /// The server offers no authentication method that we know.
    NoMethodLeft,
}

impl Loss {
    pub(super) fn unknown() -> Self {
        Self {
            reason: "it was closed".to_owned(),
            cause: Cause::Broken,
        }
    }

    /// As an error of a stream that was cut off.
    pub(super) fn into_io(self, host: &str) -> io::Error {
        let text = format!("lost the SSH connection to {host}: {}", self.reason);
        io::Error::new(io::ErrorKind::ConnectionReset, text)
    }
}

impl From<DisconnectReason<Fault>> for Loss {
    fn from(reason: DisconnectReason<Fault>) -> Self {
        match reason {
            DisconnectReason::ReceivedDisconnect(said) => {
                let words = clean(&said.message, SHOWN);
                let reason = if words.is_empty() {
                    format!("the server disconnected ({:?})", said.reason_code)
                } else {
                    format!("the server disconnected: {words}")
                };
                Self {
                    reason,
                    cause: Cause::Disconnected,
                }
            }
            DisconnectReason::Error(Fault::Ssh(russh::Error::NoAuthMethod)) => Self {
                reason: "the server offers no authentication method that is known here".to_owned(),
                cause: Cause::NoMethodLeft,
            },
            DisconnectReason::Error(fault) => Self {
                reason: fault.to_string(),
                cause: Cause::Broken,
            },
        }
    }
}

/// The reason of the end, once there is one.
#[derive(Clone, Debug)]
pub(super) struct Ending(watch::Receiver<Option<Loss>>);

impl Ending {
    /// The place to write the reason to, and the place to read it from.
    pub(super) fn new() -> (watch::Sender<Option<Loss>>, Self) {
        let (sender, receiver) = watch::channel(None);
        (sender, Self(receiver))
    }

    /// The reason, if there is one already.
    pub(super) fn known(&self) -> Option<Loss> {
        self.0.borrow().clone()
    }

    /// Waits for the end of the connection.
    pub(super) async fn wait(mut self) -> Loss {
        match self.0.wait_for(Option::is_some).await {
            Ok(loss) => loss.clone().unwrap_or_else(Loss::unknown),
            // The handler is gone and had nothing to say.
            Err(_) => Loss::unknown(),
        }
    }
}

/// russh's errors in words that fit into a sentence.
pub(super) fn explain(error: &russh::Error) -> String {
    use russh::Error;
    match error {
        Error::HUP | Error::Disconnect => "the server closed the connection".to_owned(),
        Error::IO(error) if error.kind() == io::ErrorKind::UnexpectedEof => {
            "the server closed the connection".to_owned()
        }
        Error::IO(error) => plain(error),
        Error::KeepaliveTimeout => "the server stopped answering".to_owned(),
        Error::NoCommonAlgo { kind, theirs, .. } => {
            let kind = match kind {
                russh::AlgorithmKind::Cipher => "cipher",
                russh::AlgorithmKind::Compression => "compression",
                russh::AlgorithmKind::Kex => "key exchange",
                russh::AlgorithmKind::Key => "host key algorithm",
                russh::AlgorithmKind::Mac => "message authentication code",
            };
            let theirs = clean(&theirs.join(", "), SHOWN);
            format!("no {kind} in common; the server offers {theirs}")
        }
        Error::Version => "it does not greet with an SSH version".to_owned(),
        Error::WrongServerSig => "the server's signature is wrong".to_owned(),
        Error::PacketAuth | Error::DecryptionError => {
            "a packet was damaged or tampered with".to_owned()
        }
        Error::PacketSize(_) => "it sent a packet of a size that no packet has".to_owned(),
        Error::Decompress(_) => "it sent something that does not decompress".to_owned(),
        Error::Kex | Error::KexInit | Error::StrictKeyExchangeViolation { .. } => {
            "it broke the protocol of the key exchange".to_owned()
        }
        Error::Inconsistent
        | Error::IndexOutOfBounds
        | Error::Pending
        | Error::SshEncoding(_)
        | Error::SshKey(_)
        | Error::Utf8(_) => "it broke the protocol".to_owned(),
        other => {
            // russh words its errors as sentences of their own.
            let text = clean(&other.to_string(), SHOWN);
            let mut letters = text.chars();
            match letters.next() {
                Some(first) => first.to_lowercase().chain(letters).collect(),
                None => text,
            }
        }
    }
}
