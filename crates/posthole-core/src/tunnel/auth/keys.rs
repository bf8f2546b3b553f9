//! Public key authentication (RFC 4252 §7): which keys are offered, in which order, and how they
//! sign.
//!
//! Named keys come first, each through the agent if that holds it; then the agent's other keys; then
//! the usual files. Servers count every key they do not like as a failed attempt, so the order
//! decides whether the right key is reached.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use russh::SendError;
use russh::keys::agent::{AgentIdentity, AgentSessionBinding};
use russh::keys::signature::Signer as _;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::ssh_key::{Signature, certificate::Certificate};
use russh::keys::{HashAlg, PrivateKey, PublicKey};
use secrecy::ExposeSecret;

use crate::ask::{SecretQuestion, Unanswered};
use crate::plan::Hop;

use super::super::answers::Answers;
use super::super::error::{Attempt, TunnelError};
use super::super::known_hosts::{fingerprint, kind};
use super::super::patience::Patience;
use super::agent::Agent;
use super::key_file::{KeyFile, KeyFileError, LockedKey};

/// The keys to offer.
pub(super) struct Keys {
    queue: VecDeque<Candidate>,
    agent: Option<Agent>,
}

/// A key to offer.
pub(super) struct Candidate {
    source: Source,
    /// Where it is from, such as `from /home/x/.ssh/id_ed25519` or `from the agent`.
    origin: String,
}

enum Source {
    Agent(Box<AgentIdentity>),
    Open(Arc<PrivateKey>),
    Locked(LockedKey),
}

impl Keys {
    /// Collects the keys of a hop, noting those that are of no use.
    pub(super) async fn gather(
        hop: &Hop,
        session: Option<&AgentSessionBinding>,
        tried: &mut Vec<Attempt>,
    ) -> Result<Self, TunnelError> {
        let mut agent = match &hop.agent {
            None => None,
            Some(socket) => match Agent::connect(socket, session).await {
                Ok(agent) => Some(agent),
                Err(outcome) => {
                    tracing::info!(socket = %socket.display(), outcome, "no ssh-agent");
                    let what = format!("ssh-agent at {}", socket.display());
                    tried.push(Attempt { what, outcome });
                    None
                }
            },
        };
        let held = agent
            .as_mut()
            .map(|agent| std::mem::take(&mut agent.identities));
        let mut held = held.unwrap_or_default();

        let (mut by_agent, mut by_file) = (VecDeque::new(), VecDeque::new());
        for (path, file) in read_all(&hop.identities).await {
            let what = || format!("key file {}", path.display());
            let file = match file {
                Ok(file) => file,
                Err(KeyFileError::Missing(error)) if hop.identities_named => {
                    let error = Arc::new(error);
                    return Err(TunnelError::IdentityMissing {
                        login: hop.login(),
                        path,
                        error,
                    });
                }
                Err(KeyFileError::Missing(_)) => continue,
                Err(KeyFileError::Unusable(outcome)) => {
                    tried.push(Attempt {
                        what: what(),
                        outcome,
                    });
                    continue;
                }
            };
            let public = match &file {
                KeyFile::Open(key) => Some(key.public_key()),
                KeyFile::Locked(key) => key.public.as_ref(),
                KeyFile::Public(key) => Some(key),
            };
            let origin = format!("from {}", path.display());
            if let Some(identity) = public.and_then(|public| take(&mut held, public)) {
                let origin = format!("{origin} in the agent");
                let candidate = Candidate {
                    source: Source::Agent(Box::new(identity)),
                    origin,
                };
                // The person's order is kept among named keys.
                if hop.identities_named {
                    &mut by_file
                } else {
                    &mut by_agent
                }
                .push_back(candidate);
                continue;
            }
            let source = match file {
                KeyFile::Open(key) if is_on_device(&key) => {
                    let outcome = "its other half is in a device, which only an agent can reach";
                    tried.push(Attempt {
                        what: what(),
                        outcome: outcome.to_owned(),
                    });
                    continue;
                }
                KeyFile::Open(key) => Source::Open(key),
                KeyFile::Locked(key) => Source::Locked(key),
                KeyFile::Public(_) => {
                    let outcome =
                        "there is only the public key, and no agent holds the private one";
                    tried.push(Attempt {
                        what: what(),
                        outcome: outcome.to_owned(),
                    });
                    continue;
                }
            };
            by_file.push_back(Candidate { source, origin });
        }
        by_agent.extend(held.into_iter().map(|identity| {
            let origin = "from the agent".to_owned();
            Candidate {
                source: Source::Agent(Box::new(identity)),
                origin,
            }
        }));
        let (mut queue, rest) = if hop.identities_named {
            (by_file, by_agent)
        } else {
            (by_agent, by_file)
        };
        queue.extend(rest);
        Ok(Self { queue, agent })
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

    /// What signs for a key.
    pub(super) fn signer<'a>(
        &'a mut self,
        candidate: &'a Candidate,
        answers: &'a Answers,
        patience: &'a Patience,
    ) -> Signer<'a> {
        Signer {
            candidate,
            agent: self.agent.as_mut(),
            answers,
            patience,
            has_signed: false,
        }
    }
}

/// Reads key files where waiting for a disk holds nobody up.
async fn read_all(paths: &[PathBuf]) -> Vec<(PathBuf, Result<KeyFile, KeyFileError>)> {
    let paths = paths.to_vec();
    let reading = move || {
        let read = |path: PathBuf| {
            let file = KeyFile::read(&path);
            (path, file)
        };
        paths.into_iter().map(read).collect()
    };
    // Nothing but the end of the runtime makes this fail.
    tokio::task::spawn_blocking(reading)
        .await
        .unwrap_or_default()
}

/// Takes a key out of those the agent holds.
fn take(held: &mut Vec<AgentIdentity>, public: &PublicKey) -> Option<AgentIdentity> {
    let is_it = |identity: &AgentIdentity| match identity {
        AgentIdentity::PublicKey { key, .. } => key.key_data() == public.key_data(),
        AgentIdentity::Certificate { .. } => false,
    };
    held.iter().position(is_it).map(|index| held.remove(index))
}

fn is_on_device(key: &PrivateKey) -> bool {
    matches!(
        key.key_data(),
        KeypairData::SkEd25519(_) | KeypairData::SkEcdsaSha2NistP256(_)
    )
}

/// What is shown to the server.
#[derive(Clone)]
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
}

impl Candidate {
    /// What to show to the server; none if that takes a passphrase.
    pub(super) fn offer(&self) -> Option<Offer> {
        match &self.source {
            Source::Agent(identity) => Some(match &**identity {
                AgentIdentity::PublicKey { key, .. } => Offer::Key(key.clone()),
                AgentIdentity::Certificate { certificate, .. } => {
                    Offer::Certificate(Box::new(certificate.clone()))
                }
            }),
            Source::Open(key) => Some(Offer::Key(key.public_key().clone())),
            Source::Locked(key) => key.public.clone().map(Offer::Key),
        }
    }

    /// Opens a key whose public half is not to be had otherwise.
    pub(super) async fn reveal(
        &mut self,
        answers: &Answers,
        patience: &Patience,
    ) -> Result<Offer, SignError> {
        if let Source::Locked(locked) = &self.source
            && locked.public.is_none()
        {
            self.source = Source::Open(unlock(locked, answers, patience).await?);
        }
        self.offer()
            .ok_or_else(|| SignError::Failed("it has no public key".to_owned()))
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

/// Signs a login with one key.
pub(super) struct Signer<'a> {
    candidate: &'a Candidate,
    agent: Option<&'a mut Agent>,
    answers: &'a Answers,
    patience: &'a Patience,
    /// Whether the server wanted a signature, and got one.
    pub(super) has_signed: bool,
}

impl russh::Signer for Signer<'_> {
    type Error = SignError;

    async fn auth_sign(
        &mut self,
        _identity: &AgentIdentity,
        hash: Option<HashAlg>,
        to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, SignError> {
        let signed = match &self.candidate.source {
            Source::Agent(identity) => {
                let _pause = self.patience.pause();
                let Some(agent) = &mut self.agent else {
                    return Err(SignError::Failed("the agent is gone".to_owned()));
                };
                agent
                    .sign(identity, hash, to_sign)
                    .await
                    .map_err(SignError::Failed)?
            }
            Source::Open(key) => sign(key, hash, to_sign)?,
            Source::Locked(locked) => {
                let key = unlock(locked, self.answers, self.patience).await?;
                sign(&key, hash, to_sign)?
            }
        };
        self.has_signed = true;
        Ok(signed)
    }
}

/// Appends the signature to what was signed, as russh wants it.
fn sign(
    key: &PrivateKey,
    hash: Option<HashAlg>,
    mut to_sign: Vec<u8>,
) -> Result<Vec<u8>, SignError> {
    let failed = |error: &dyn std::error::Error| SignError::Failed(format!("cannot sign: {error}"));
    let signature: Signature = match key.key_data() {
        KeypairData::Rsa(pair) => (pair, hash)
            .try_sign(&to_sign)
            .map_err(|error| failed(&error))?,
        _ => key.try_sign(&to_sign).map_err(|error| failed(&error))?,
    };
    let encoded = Vec::<u8>::try_from(signature).map_err(|error| failed(&error))?;
    let length = u32::try_from(encoded.len()).map_err(|error| failed(&error))?;
    to_sign.extend_from_slice(&length.to_be_bytes());
    to_sign.extend_from_slice(&encoded);
    Ok(to_sign)
}

/// Opens a locked key with the passphrase that was given earlier, or asks for it.
async fn unlock(
    locked: &LockedKey,
    answers: &Answers,
    patience: &Patience,
) -> Result<Arc<PrivateKey>, SignError> {
    let _pause = patience.pause();
    let turn = answers.turn().await;
    let question = |again| SecretQuestion::Passphrase {
        key: locked.path().to_owned(),
        again,
    };
    if let Some(passphrase) = turn.kept(&question(false)) {
        if let Some(key) = open(locked, passphrase).await {
            return matching(locked, key);
        }
        turn.forget(&question(false));
    }
    for round in 0..ROUNDS {
        let passphrase = match turn.secret(question(round > 0)).await {
            Ok(passphrase) => passphrase,
            Err(Unanswered::NoTerminal) => return Err(SignError::NoTerminal),
            Err(unanswered) => return Err(SignError::Cancelled(unanswered)),
        };
        if passphrase.expose_secret().is_empty() {
            return Err(SignError::Failed("no passphrase was given".to_owned()));
        }
        if let Some(key) = open(locked, passphrase.clone()).await {
            turn.keep(&question(false), passphrase);
            return matching(locked, key);
        }
    }
    Err(SignError::Failed("the passphrase was wrong".to_owned()))
}

/// Decrypts on a thread that may block, since it takes a tenth of a second and more.
async fn open(locked: &LockedKey, passphrase: secrecy::SecretString) -> Option<Arc<PrivateKey>> {
    let locked = locked.clone();
    let opening = tokio::task::spawn_blocking(move || locked.open(&passphrase));
    opening.await.ok().flatten().map(Arc::new)
}

/// Makes sure that a `.pub` found beside the file is that of the key in it.
fn matching(locked: &LockedKey, key: Arc<PrivateKey>) -> Result<Arc<PrivateKey>, SignError> {
    match &locked.public {
        Some(public) if public.key_data() != key.public_key().key_data() => {
            let path = Path::new(locked.path());
            Err(SignError::Failed(format!(
                "{}.pub belongs to another key than {}",
                path.display(),
                path.display()
            )))
        }
        _ => Ok(key),
    }
}

/// Why a key could not sign.
#[derive(Debug)]
pub(super) enum SignError {
    /// The session is gone.
    Gone,
    /// A person gave up.
    Cancelled(Unanswered),
    /// The key is of no use.
    Failed(String),
    /// Nobody can be asked for the passphrase.
    NoTerminal,
}

impl From<SendError> for SignError {
    fn from(_: SendError) -> Self {
        Self::Gone
    }
}

/// As `NumberOfPasswordPrompts` in ssh_config(5).
const ROUNDS: usize = 3;
