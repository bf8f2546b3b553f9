//! The ssh-agent: keys that can be used but not had (draft-miller-ssh-agent).
//!
//! russh has a client for agents, but it loses all keys when it cannot read one of them, and cannot
//! tell a locked agent from an empty one. The protocol is small, so it is spoken here: keys are
//! listed one by one, and what an agent signs is handed on as it is, whatever kind of key it was
//! and wherever the private half lives.

use std::io;
use std::path::Path;
use std::time::Duration;

use memchr::memmem;
use russh::keys::agent::AgentSessionBinding;
use russh::keys::key::parse_public_key;
use russh::keys::ssh_key::certificate::Certificate;
use russh::keys::{HashAlg, PublicKey};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::UnixStream;
use tokio::time::timeout;

use crate::transport::dial::plain;

use super::keys::Offer;
use super::signer::SignError;

/// A connection to an agent.
pub(super) struct Agent {
    /// None once an answer was not waited for, since the next one would be taken for it.
    stream: Option<UnixStream>,
}

/// A key that an agent holds.
#[derive(Debug)]
pub(super) struct Identity {
    /// The key as the agent names it.
    blob: Vec<u8>,
    /// The key as it is shown to servers.
    pub(super) offer: Offer,
}

impl Identity {
    /// The public key, unless it is wrapped in a certificate.
    pub(super) fn plain(&self) -> Option<&PublicKey> {
        match &self.offer {
            Offer::Key(key) => Some(key),
            Offer::Certificate(_) => None,
        }
    }
}

/// What an agent shows.
pub(super) struct Listing {
    pub(super) identities: Vec<Identity>,
    /// How many keys it holds that cannot be understood here.
    pub(super) unreadable: usize,
    /// Whether it refuses what an agent that is not locked would do.
    pub(super) may_be_locked: bool,
}

impl Agent {
    /// Connects to an agent and lists its keys; an error is for reading, since a login can do
    /// without an agent.
    pub(super) async fn connect(
        socket: &Path,
        session: Option<&AgentSessionBinding>,
    ) -> Result<(Self, Listing), String> {
        let connecting = async {
            let mut agent = Self {
                stream: Some(UnixStream::connect(socket).await.map_err(gone)?),
            };
            let is_bound = match session {
                Some(session) => agent.bind(session).await?,
                None => false,
            };
            let mut listing = agent.list().await?;
            // A locked agent shows no keys and refuses everything else.
            listing.may_be_locked = listing.is_empty() && !is_bound;
            Ok((agent, listing))
        };
        match timeout(LISTING, connecting).await {
            Ok(connected) => connected,
            Err(_) => Err("does not answer".to_owned()),
        }
    }

    /// Tells the agent which session the keys are for. Keys that are bound to destinations need it
    /// (ssh-add(1), -h); an agent that does not know of such keys refuses, and that is fine.
    async fn bind(&mut self, session: &AgentSessionBinding) -> Result<bool, String> {
        let mut request = vec![EXTENSION];
        put_string(&mut request, b"session-bind@openssh.com");
        put_string(&mut request, session.host_key());
        put_string(&mut request, session.session_id());
        put_string(&mut request, session.signature());
        // It is not forwarded to the other side.
        request.push(0);
        let answer = self.exchange(&request).await.map_err(explain)?;
        Ok(answer == [SUCCESS])
    }

    async fn list(&mut self) -> Result<Listing, String> {
        let answer = self
            .exchange(&[REQUEST_IDENTITIES])
            .await
            .map_err(explain)?;
        match answer.split_first() {
            Some((&IDENTITIES_ANSWER, rest)) => {
                parse_identities(rest).ok_or_else(|| NONSENSE.to_owned())
            }
            Some((&FAILURE, _)) => Err("does not list its keys".to_owned()),
            _ => Err(NONSENSE.to_owned()),
        }
    }

    /// Has the agent sign, which may make it ask a person to confirm or to touch a device; returns
    /// the signature as RFC 4253 §6.6 has it.
    pub(super) async fn sign(
        &mut self,
        identity: &Identity,
        hash: Option<HashAlg>,
        data: &[u8],
    ) -> Result<Vec<u8>, SignError> {
        let failed = |reason: String| SignError::Failed(format!("the agent {reason}"));
        let mut request = vec![SIGN_REQUEST];
        put_string(&mut request, &identity.blob);
        put_string(&mut request, data);
        let flags = match hash {
            Some(HashAlg::Sha256) => RSA_SHA2_256,
            Some(HashAlg::Sha512) => RSA_SHA2_512,
            _ => 0,
        };
        request.extend(flags.to_be_bytes());
        let answer = match timeout(SIGNING, self.exchange(&request)).await {
            Ok(answer) => answer.map_err(|error| failed(explain(error)))?,
            Err(_) => return Err(failed("did not sign in time".to_owned())),
        };
        let signature = match answer.split_first() {
            Some((&SIGN_RESPONSE, mut rest)) => take_string(&mut rest),
            Some((&FAILURE, _)) => return Err(SignError::Declined),
            _ => None,
        };
        let signature = signature.ok_or_else(|| failed(NONSENSE.to_owned()))?;
        let algorithm = take_string(&mut &*signature);
        if let (Some(wanted), Some(algorithm)) = (rsa_name(hash), algorithm)
            && algorithm != wanted.as_bytes()
        {
            // Agents from before RFC 8332 overlook the flag.
            return Err(failed(format!("is too old to sign as {wanted}")));
        }
        Ok(signature.to_vec())
    }

    /// Sends a request and waits for the answer to it.
    async fn exchange(&mut self, request: &[u8]) -> io::Result<Vec<u8>> {
        let mut stream = self.stream.take().ok_or(io::ErrorKind::BrokenPipe)?;
        let mut message = Vec::with_capacity(4 + request.len());
        put_string(&mut message, request);
        stream.write_all(&message).await?;
        let length = stream.read_u32().await?;
        if length > LONGEST {
            return Err(io::ErrorKind::InvalidData.into());
        }
        let mut answer = vec![0; length as usize];
        stream.read_exact(&mut answer).await?;
        self.stream = Some(stream);
        Ok(answer)
    }
}

impl Listing {
    fn is_empty(&self) -> bool {
        self.identities.is_empty() && self.unreadable == 0
    }
}

/// Reads the list of keys, passing over those that mean nothing here.
fn parse_identities(mut rest: &[u8]) -> Option<Listing> {
    let mut listing = Listing {
        identities: Vec::new(),
        unreadable: 0,
        may_be_locked: false,
    };
    for _ in 0..take_u32(&mut rest)? {
        let blob = take_string(&mut rest)?;
        let _comment = take_string(&mut rest)?;
        match parse_offer(blob) {
            Some(offer) => listing.identities.push(Identity {
                blob: blob.to_vec(),
                offer,
            }),
            None => listing.unreadable += 1,
        }
    }
    Some(listing)
}

fn parse_offer(blob: &[u8]) -> Option<Offer> {
    let algorithm = take_string(&mut &*blob)?;
    if !algorithm.ends_with(CERTIFICATE) {
        return parse_public_key(blob).ok().map(Offer::Key);
    }
    // A certificate within a certificate within a certificate would be followed to any depth.
    if memmem::find_iter(blob, CERTIFICATE).count() > MOST_NESTED {
        return None;
    }
    let certificate = Certificate::from_bytes(blob).ok()?;
    Some(Offer::Certificate(Box::new(certificate)))
}

fn put_string(message: &mut Vec<u8>, string: &[u8]) {
    // INVARIANT: what is sent is smaller than what may come, which is far below 4 GiB.
    let length = u32::try_from(string.len()).expect("a request to an agent is small");
    message.extend(length.to_be_bytes());
    message.extend(string);
}

fn take_u32(rest: &mut &[u8]) -> Option<u32> {
    let (number, after) = rest.split_first_chunk()?;
    *rest = after;
    Some(u32::from_be_bytes(*number))
}

fn take_string<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take_u32(rest)? as usize;
    let (string, after) = rest.split_at_checked(length)?;
    *rest = after;
    Some(string)
}

fn rsa_name(hash: Option<HashAlg>) -> Option<&'static str> {
    match hash? {
        HashAlg::Sha256 => Some("rsa-sha2-256"),
        HashAlg::Sha512 => Some("rsa-sha2-512"),
        _ => None,
    }
}

/// Why there is no agent at a socket.
fn gone(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::NotFound => "not there, since there is no such socket".to_owned(),
        io::ErrorKind::ConnectionRefused => {
            "not there, since nobody listens at its socket".to_owned()
        }
        _ => format!("cannot be reached: {}", plain(&error)),
    }
}

/// Why there was no answer.
fn explain(error: io::Error) -> String {
    match error.kind() {
        io::ErrorKind::BrokenPipe
        | io::ErrorKind::ConnectionReset
        | io::ErrorKind::UnexpectedEof => "closed the connection".to_owned(),
        io::ErrorKind::InvalidData => NONSENSE.to_owned(),
        _ => format!("failed: {}", plain(&error)),
    }
}

const NONSENSE: &str = "does not speak the protocol of agents";

// draft-miller-ssh-agent, section 6.1.
const FAILURE: u8 = 5;
const SUCCESS: u8 = 6;
const REQUEST_IDENTITIES: u8 = 11;
const IDENTITIES_ANSWER: u8 = 12;
const SIGN_REQUEST: u8 = 13;
const SIGN_RESPONSE: u8 = 14;
const EXTENSION: u8 = 27;
// Section 6.3.
const RSA_SHA2_256: u32 = 2;
const RSA_SHA2_512: u32 = 4;

/// What the names of certificate algorithms end with (PROTOCOL.certkeys).
const CERTIFICATE: &[u8] = b"-cert-v01@openssh.com";

/// A certificate and the key that signed it are two levels.
const MOST_NESTED: usize = 2;

/// The most that OpenSSH's agent takes or sends.
pub(crate) const LONGEST: u32 = 256 * 1024;

/// An agent answers at once unless it is ill.
const LISTING: Duration = Duration::from_secs(5);

/// sshd gives a login two minutes by default (`LoginGraceTime` in sshd_config(5)).
const SIGNING: Duration = Duration::from_secs(120);

#[cfg(test)]
mod tests {
    use super::*;

    fn listed(blobs: &[&[u8]]) -> Vec<u8> {
        let mut answer = u32::try_from(blobs.len()).unwrap().to_be_bytes().to_vec();
        for blob in blobs {
            put_string(&mut answer, blob);
            put_string(&mut answer, b"comment");
        }
        answer
    }

    fn ed25519() -> Vec<u8> {
        let mut blob = Vec::new();
        put_string(&mut blob, b"ssh-ed25519");
        put_string(&mut blob, &[7; 32]);
        blob
    }

    #[test]
    fn a_key_that_cannot_be_read_does_not_lose_the_others() {
        let mut unknown = Vec::new();
        put_string(&mut unknown, b"ssh-dss");
        let (unknown, known) = (unknown, ed25519());
        let listing = parse_identities(&listed(&[&known, &unknown, b"", &known])).unwrap();
        assert_eq!((listing.identities.len(), listing.unreadable), (2, 2));
    }

    #[test]
    fn a_list_that_ends_early_is_none() {
        let whole = listed(&[&ed25519(), &ed25519()]);
        for end in 0..whole.len() {
            assert!(parse_identities(&whole[..end]).is_none(), "{end}");
        }
        assert!(parse_identities(&[0xff; 4]).is_none());
    }

    #[test]
    fn certificates_in_certificates_are_not_followed() {
        let mut blob = ed25519();
        for _ in 0..2000 {
            let mut outer = Vec::new();
            put_string(&mut outer, b"ssh-ed25519-cert-v01@openssh.com");
            put_string(&mut outer, &blob);
            blob = outer;
        }
        assert!(parse_offer(&blob).is_none());
    }

    #[tokio::test]
    async fn an_answer_that_is_too_long_is_not_taken() {
        for (length, is_taken) in [(256 * 1024, true), (256 * 1024 + 1, false)] {
            let (ours, mut agents) = UnixStream::pair().unwrap();
            let mut agent = Agent { stream: Some(ours) };
            let answer = async {
                agents.write_u32(length).await.unwrap();
                agents.write_all(&vec![0; length as usize]).await.ok();
            };
            let (taken, ()) = tokio::join!(agent.exchange(&[REQUEST_IDENTITIES]), answer);
            assert_eq!(taken.is_ok(), is_taken, "{length}");
        }
    }
}
