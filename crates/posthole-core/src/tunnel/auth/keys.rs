//! Keys that can be offered (RFC 4252 §7): what is shown to a server, and what signs for it.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::SystemTime;

use russh::keys::ssh_key::certificate::Certificate;
use russh::keys::ssh_key::public::KeyData;
use russh::keys::{HashAlg, PrivateKey, PublicKey};

use super::super::known_hosts::{fingerprint, kind};
use super::agent::{Agent, Identity};
use super::certificate;
use super::key_file::LockedKey;
use super::signer::{Locksmith, SignError};

/// The keys to offer.
pub(super) struct Keys {
    queue: VecDeque<Candidate>,
    pub(super) agent: Option<Agent>,
}

/// A key to offer.
pub(super) struct Candidate {
    /// What signs for it.
    pub(super) source: Source,
    /// The certificate that is shown instead of the plain key.
    pub(super) certificate: Option<Box<Certificate>>,
    /// Where it is from, such as `from /home/x/.ssh/id_ed25519` or `from the agent`.
    pub(super) origin: String,
}

/// Where the private half of a key is.
#[derive(Clone)]
pub(super) enum Source {
    Agent(Arc<Identity>),
    Open(Arc<PrivateKey>),
    Locked(LockedKey),
}

impl Keys {
    pub(super) fn new(queue: VecDeque<Candidate>, agent: Option<Agent>) -> Self {
        Self { queue, agent }
    }

    /// How many keys are left.
    pub(super) fn len(&self) -> usize {
        self.queue.len()
    }

    /// Whether the next key can be offered without asking for its passphrase first.
    pub(super) fn is_next_ready(&self) -> bool {
        self.queue
            .front()
            .is_some_and(|candidate| candidate.offer().is_some())
    }

    /// The next key to offer.
    pub(super) fn next(&mut self) -> Option<Candidate> {
        self.queue.pop_front()
    }

    /// Takes back a key that the server did not look at.
    pub(super) fn put_back(&mut self, candidate: Candidate) {
        self.queue.push_front(candidate);
    }
}

/// What is shown to the server.
#[derive(Clone, Debug)]
pub(super) enum Offer {
    Key(PublicKey),
    Certificate(Box<Certificate>),
}

impl Offer {
    /// Whether the signature's hash is a matter of negotiation (RFC 8332).
    pub(super) fn is_rsa(&self) -> bool {
        match self {
            Self::Key(key) => key.algorithm().is_rsa(),
            Self::Certificate(certificate) => certificate.algorithm().is_rsa(),
        }
    }

    /// The name of the algorithm with this hash, as ssh_config(5) has it.
    pub(super) fn algorithm(&self, hash: Option<HashAlg>) -> String {
        let rsa = match hash {
            Some(HashAlg::Sha256) => Some("rsa-sha2-256"),
            Some(HashAlg::Sha512) => Some("rsa-sha2-512"),
            _ => None,
        };
        match (self, rsa.filter(|_| self.is_rsa())) {
            (Self::Key(_), Some(name)) => name.to_owned(),
            (Self::Key(key), None) => key.algorithm().to_string(),
            (Self::Certificate(_), Some(name)) => format!("{name}-cert-v01@openssh.com"),
            (Self::Certificate(certificate), None) => certificate.algorithm().to_certificate_type(),
        }
    }

    fn public(&self) -> &KeyData {
        match self {
            Self::Key(key) => key.key_data(),
            Self::Certificate(certificate) => certificate.public_key(),
        }
    }
}

impl Candidate {
    /// What to show to the server; none if that takes a passphrase.
    pub(super) fn offer(&self) -> Option<Offer> {
        if let Some(certificate) = &self.certificate {
            return Some(Offer::Certificate(certificate.clone()));
        }
        match &self.source {
            Source::Agent(identity) => Some(identity.offer.clone()),
            Source::Open(key) => Some(Offer::Key(key.public_key().clone())),
            Source::Locked(key) => key.public.clone().map(Offer::Key),
        }
    }

    /// Opens a key whose public half is not to be had otherwise.
    pub(super) async fn reveal(&mut self, locksmith: Locksmith<'_>) -> Result<Offer, SignError> {
        if let Source::Locked(locked) = &self.source {
            self.source = Source::Open(locksmith.unlock(locked).await?);
        }
        self.offer()
            .ok_or_else(|| SignError::Failed("it has no public key".to_owned()))
    }

    /// The public key, whatever is shown of it.
    pub(super) fn public(&self) -> Option<&KeyData> {
        match &self.source {
            Source::Agent(identity) => Some(identity.offer.public()),
            Source::Open(key) => Some(key.public_key().key_data()),
            Source::Locked(key) => key.public.as_ref().map(PublicKey::key_data),
        }
    }

    /// What the server may hold against it, as far as that can be seen from here.
    pub(super) fn trouble(&self, user: &str) -> Option<String> {
        match self.offer()? {
            Offer::Certificate(certificate) => {
                certificate::trouble(&certificate, user, SystemTime::now())
            }
            Offer::Key(_) => None,
        }
    }

    /// The key as messages show it, such as `publickey ED25519 SHA256:… from /home/x/.ssh/id`.
    pub(super) fn describe(&self) -> String {
        match self.offer() {
            Some(Offer::Key(key)) => {
                let (kind, fingerprint) = (kind(&key.algorithm()), fingerprint(&key));
                format!("publickey {kind} {fingerprint} {}", self.origin)
            }
            Some(Offer::Certificate(certificate)) => {
                let key = PublicKey::from(certificate.public_key().clone());
                let (kind, fingerprint) = (kind(&key.algorithm()), fingerprint(&key));
                format!("publickey {kind}-CERT {fingerprint} {}", self.origin)
            }
            None => format!("publickey {}", self.origin),
        }
    }
}
