//! What signs a login: a key in memory, a key behind a passphrase, or the agent.
//!
//! russh asks for the signature once the server has said that it would take the key, so this is
//! where a passphrase is asked for. All kinds of keys go this way, certificates of RSA keys among
//! them, for which russh's own signs with SHA-1.

use std::path::PathBuf;
use std::sync::Arc;

use russh::SendError;
use russh::keys::agent::AgentIdentity;
use russh::keys::signature::Signer as _;
use russh::keys::ssh_key::Signature;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::{HashAlg, PrivateKey};
use secrecy::{ExposeSecret, SecretString};

use crate::ask::{SecretQuestion, Unanswered};

use super::super::answers::Answers;
use super::super::patience::Patience;
use super::agent::Agent;
use super::key_file::LockedKey;
use super::keys::{Candidate, Source};

/// Signs a login with one key.
pub(super) struct Signer<'a> {
    pub(super) candidate: &'a Candidate,
    pub(super) agent: Option<&'a mut Agent>,
    pub(super) locksmith: Locksmith<'a>,
    /// Whether the server wanted a signature, and got one.
    pub(super) has_signed: bool,
}

impl russh::Signer for Signer<'_> {
    type Error = SignError;

    async fn auth_sign(
        &mut self,
        _identity: &AgentIdentity,
        hash: Option<HashAlg>,
        mut to_sign: Vec<u8>,
    ) -> Result<Vec<u8>, SignError> {
        let signature = match &self.candidate.source {
            Source::Agent(identity) => {
                let _pause = self.locksmith.patience.pause();
                let Some(agent) = &mut self.agent else {
                    return Err(SignError::Failed("the agent is gone".to_owned()));
                };
                agent.sign(identity, hash, &to_sign).await?
            }
            Source::Open(key) => sign(key, hash, &to_sign)?,
            Source::Locked(locked) => {
                let key = self.locksmith.unlock(locked).await?;
                sign(&key, hash, &to_sign)?
            }
        };
        // russh wants the signature after what was signed.
        let length = u32::try_from(signature.len()).map_err(|error| failed(&error))?;
        to_sign.extend_from_slice(&length.to_be_bytes());
        to_sign.extend_from_slice(&signature);
        self.has_signed = true;
        Ok(to_sign)
    }
}

fn sign(key: &PrivateKey, hash: Option<HashAlg>, data: &[u8]) -> Result<Vec<u8>, SignError> {
    let signature: Signature = match key.key_data() {
        KeypairData::Rsa(pair) => (pair, hash)
            .try_sign(data)
            .map_err(|error| failed(&error))?,
        _ => key.try_sign(data).map_err(|error| failed(&error))?,
    };
    Vec::<u8>::try_from(signature).map_err(|error| failed(&error))
}

fn failed(error: &dyn std::error::Error) -> SignError {
    SignError::Failed(format!("cannot sign: {error}"))
}

/// Opens locked keys.
#[derive(Clone, Copy)]
pub(super) struct Locksmith<'a> {
    pub(super) answers: &'a Answers,
    pub(super) patience: &'a Patience,
    /// How often a person is asked.
    pub(super) prompts: u32,
}

impl Locksmith<'_> {
    /// Opens a locked key with the passphrase that was given earlier, or asks for it.
    pub(super) async fn unlock(&self, locked: &LockedKey) -> Result<Arc<PrivateKey>, SignError> {
        let _pause = self.patience.pause();
        let question = |again| SecretQuestion::Passphrase {
            key: locked.path().to_owned(),
            again,
        };
        let turn = self.answers.turn_for(&question(false)).await;
        if let Some(passphrase) = turn.kept(&question(false)) {
            if let Some(key) = open(locked, passphrase).await {
                return matching(locked, key);
            }
            turn.forget(&question(false));
        }
        for round in 0..self.prompts.max(1) {
            let passphrase = match turn.secret(question(round > 0)).await {
                Ok(passphrase) => passphrase,
                Err(nobody @ (Unanswered::NoTerminal | Unanswered::NotGiven)) => {
                    return Err(SignError::Nobody(nobody));
                }
                Err(unanswered) => return Err(SignError::Cancelled(unanswered)),
            };
            if passphrase.expose_secret().is_empty() {
                return Err(SignError::Failed("no passphrase was given".to_owned()));
            }
            if let Some(key) = open(locked, passphrase.clone()).await {
                turn.keep(&question(false), &passphrase);
                return matching(locked, key);
            }
        }
        Err(SignError::WrongPassphrase(locked.path().to_owned()))
    }
}

/// Decrypts on a thread that may block, since it takes a tenth of a second and more.
async fn open(locked: &LockedKey, passphrase: SecretString) -> Option<Arc<PrivateKey>> {
    let locked = locked.clone();
    let opening = tokio::task::spawn_blocking(move || locked.open(&passphrase));
    opening.await.ok().flatten().map(Arc::new)
}

/// Makes sure that a public key found beside the file is that of the key in it.
fn matching(locked: &LockedKey, key: Arc<PrivateKey>) -> Result<Arc<PrivateKey>, SignError> {
    match &locked.public {
        Some(public) if public.key_data() != key.public_key().key_data() => {
            let path = locked.path().display();
            Err(SignError::Failed(format!(
                "{path}.pub belongs to another key than {path}"
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
    /// The agent does not say why: a person did not confirm, a device is missing or was not
    /// touched, or it was locked meanwhile.
    Declined,
    /// The key is of no use.
    Failed(String),
    /// Nobody can be asked for the passphrase.
    Nobody(Unanswered),
    /// None of the passphrases for this file was right.
    WrongPassphrase(PathBuf),
}

impl From<SendError> for SignError {
    fn from(_: SendError) -> Self {
        Self::Gone
    }
}
