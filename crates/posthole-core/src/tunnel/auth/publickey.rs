//! One key, put to the server (RFC 4252 §7, RFC 8332).

use russh::MethodKind;
use russh::keys::HashAlg;

use super::super::error::{Attempt, TunnelError};
use super::exchange::{Exchange, Outcome, limited};
use super::keys::{Candidate, Offer};
use super::signer::{Locksmith, SignError, Signer};

impl<'a> Exchange<'a> {
    pub(super) async fn key(&mut self) -> Result<Outcome, TunnelError> {
        let Some(mut key) = self.keys.next() else {
            return Ok(Outcome::Skipped);
        };
        let offer = match key.offer() {
            Some(offer) => offer,
            None => {
                self.show_banner();
                match key.reveal(self.locksmith()).await {
                    Ok(offer) => offer,
                    Err(error) => return self.unsigned(key.describe(), error).await,
                }
            }
        };
        let what = key.describe();
        let hashes = self.hashes(&offer).await?;
        if hashes.is_empty() {
            self.note(self.no_algorithm(what, &offer));
            return Ok(Outcome::Skipped);
        }
        let mut outcome = Outcome::Skipped;
        for hash in hashes {
            let (answer, has_signed) = self.put(&key, offer.clone(), hash).await?;
            outcome = match answer {
                Err(SignError::Gone) => self.settle(None, MethodKind::PublicKey, &what).await?,
                Err(error) => return self.unsigned(what, error).await,
                Ok(answer) => {
                    self.settle(Some(answer), MethodKind::PublicKey, &what)
                        .await?
                }
            };
            if outcome != Outcome::Refused {
                break;
            }
            self.explain(&key, has_signed);
            if has_signed {
                break;
            }
        }
        if outcome == Outcome::Unwanted {
            self.keys.put_back(key);
        }
        Ok(outcome)
    }

    /// Shows a key to the server, and signs with it if that is wanted.
    async fn put(
        &mut self,
        key: &Candidate,
        offer: Offer,
        hash: Option<HashAlg>,
    ) -> Result<(Result<russh::client::AuthResult, SignError>, bool), TunnelError> {
        let locksmith = self.locksmith();
        let user = self.login.hop.user.as_str();
        let mut signer = Signer {
            candidate: key,
            agent: self.keys.agent.as_mut(),
            locksmith,
            has_signed: false,
        };
        let answer = match offer {
            Offer::Key(key) => {
                let login = self
                    .handle
                    .authenticate_publickey_with(user, key, hash, &mut signer);
                limited(self.login, login).await?
            }
            Offer::Certificate(certificate) => {
                let login = self.handle.authenticate_certificate_with(
                    user,
                    *certificate,
                    hash,
                    &mut signer,
                );
                limited(self.login, login).await?
            }
        };
        Ok((answer, signer.has_signed))
    }

    /// Adds to a refusal what may be the reason of it.
    fn explain(&mut self, key: &Candidate, has_signed: bool) {
        let trouble = key.trouble(&self.login.hop.user);
        let Some(attempt) = self.tried.last_mut() else {
            return;
        };
        if has_signed {
            "accepted, but then the signature was not".clone_into(&mut attempt.outcome);
        }
        if let Some(trouble) = trouble {
            attempt.outcome = format!("{}: {trouble}", attempt.outcome);
            *attempt = attempt.clone().hint(ANOTHER_CERTIFICATE);
        }
    }

    /// Notes why there is no signature.
    async fn unsigned(&mut self, what: String, error: SignError) -> Result<Outcome, TunnelError> {
        let attempt = match error {
            SignError::Cancelled(reason) => return Err(self.unanswered(reason)),
            SignError::Declined => {
                Attempt::missed(what, "the agent declined to sign").hint(CONFIRM_OR_TOUCH)
            }
            SignError::Failed(outcome) => Attempt::missed(what, outcome),
            SignError::Gone => return self.settle(None, MethodKind::PublicKey, &what).await,
            SignError::Nobody(reason) => {
                self.no_terminal = true;
                Attempt::missed(what, format!("needs its passphrase, and {reason}"))
            }
            SignError::WrongPassphrase(path) => {
                let hint = format!(
                    "try the passphrase with ssh-keygen -y -f {}",
                    path.display()
                );
                Attempt::missed(what, "the passphrase was wrong").hint(hint)
            }
        };
        self.note(attempt);
        Ok(Outcome::Skipped)
    }

    fn locksmith(&self) -> Locksmith<'a> {
        Locksmith {
            answers: self.login.answers,
            patience: self.login.patience,
            prompts: self.login.hop.password_prompts,
        }
    }

    /// The hashes to sign with, best first; keys other than RSA have no choice.
    async fn hashes(&mut self, offer: &Offer) -> Result<Vec<Option<HashAlg>>, TunnelError> {
        let mut hashes = if offer.is_rsa() {
            self.rsa_hashes().await?
        } else {
            vec![None]
        };
        let allowed = self.login.hop.algorithms.public_keys.as_deref();
        hashes.retain(|hash| {
            let name = offer.algorithm(*hash);
            match allowed {
                Some(allowed) => allowed.contains(&name),
                // SHA-1 is for those who ask for it.
                None => !(offer.is_rsa() && hash.is_none()),
            }
        });
        Ok(hashes)
    }

    /// The hashes that the server takes of RSA keys.
    async fn rsa_hashes(&mut self) -> Result<Vec<Option<HashAlg>>, TunnelError> {
        if let Some(hashes) = &self.rsa_hashes {
            return Ok(hashes.clone());
        }
        let sha2 = [Some(HashAlg::Sha512), Some(HashAlg::Sha256)];
        let hashes = match limited(self.login, self.handle.best_supported_rsa_hash()).await? {
            Ok(Some(Some(best))) => vec![Some(best)],
            Ok(Some(None)) => vec![None],
            // A server that does not say may take any.
            Ok(None) | Err(_) => sha2.into_iter().chain([None]).collect(),
        };
        self.rsa_hashes = Some(hashes.clone());
        Ok(hashes)
    }

    /// Why there is nothing to sign with.
    fn no_algorithm(&self, what: String, offer: &Offer) -> Attempt {
        let is_sha1_only = self.rsa_hashes.as_deref() == Some(&[None]);
        let outcome = match &self.login.hop.algorithms.public_keys {
            _ if offer.is_rsa() && is_sha1_only => {
                "not offered, since the server takes only SHA-1 signatures of RSA keys".to_owned()
            }
            _ => format!(
                "not offered, since PubkeyAcceptedAlgorithms does not list {}",
                offer.algorithm(offer.is_rsa().then_some(HashAlg::Sha512))
            ),
        };
        Attempt::missed(what, outcome)
    }
}

const CONFIRM_OR_TOUCH: &str =
    "confirm it when the agent asks, touch the device, or unlock the agent with ssh-add -X";

const ANOTHER_CERTIFICATE: &str = "get another certificate from whoever signs them; if it should be \
     valid, check the clock of this machine";
