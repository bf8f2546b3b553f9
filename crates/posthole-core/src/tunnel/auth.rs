//! Logging in (RFC 4252): several methods, several keys, perhaps several methods in sequence.
//!
//! The loop makes one attempt at a time and lets the server's answer decide about the next one. It
//! keeps count, since servers hang up after a few failures (`MaxAuthTries` in sshd_config(5)), and
//! it keeps a list of what came of every attempt, since a failed login is only helpful if it says
//! what was tried.
//!
//! With russh a session that died looks like a refusal that leaves no method; [`Exchange::settle`]
//! tells them apart.

mod agent;
mod key_file;
mod keys;
mod password;

use std::future::Future;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use russh::client::{AuthResult, Handle};
use russh::keys::HashAlg;
use russh::{MethodKind, MethodSet};

use crate::ask::Unanswered;
use crate::plan::Hop;

use super::answers::Answers;
use super::client::Client;
use super::connection::Caller;
use super::error::{Attempt, AuthenticationFailed, Phase, TunnelError};
use super::loss::{Cause, Ending, Loss};
use super::patience::{Patience, TimedOut};

use keys::{Candidate, Keys, Offer, SignError};
use password::Passwords;

/// A login at one host.
#[derive(Clone, Copy)]
pub(super) struct Login<'a> {
    pub(super) hop: &'a Hop,
    pub(super) answers: &'a Answers,
    pub(super) patience: &'a Patience,
    pub(super) caller: Caller<'a>,
    pub(super) ending: &'a Ending,
    pub(super) banner: &'a Mutex<String>,
}

impl Login<'_> {
    /// Logs in and says how, such as `publickey ED25519 SHA256:… from /home/x/.ssh/id_ed25519`.
    pub(super) async fn run(self, handle: &mut Handle<Client>) -> Result<String, TunnelError> {
        let mut tried = Vec::new();
        let binding = handle.agent_session_binding().cloned();
        let mut keys = Keys::gather(self.hop, binding.as_ref(), &mut tried).await?;
        let mut passwords = Passwords::new(self.hop);
        let mut exchange = Exchange {
            login: self,
            handle,
            offered: None,
            tried,
            failures: 0,
            passed: Vec::new(),
            no_terminal: false,
            rsa_hashes: None,
        };
        loop {
            let outcome = match exchange.next_method(&keys, &passwords) {
                Next::None => exchange.none().await?,
                Next::Key => match keys.next() {
                    Some(candidate) => exchange.key(candidate, &mut keys).await?,
                    None => continue,
                },
                Next::Password => exchange.password(&mut passwords).await?,
                Next::KeyboardInteractive => exchange.keyboard_interactive(&mut passwords).await?,
                Next::Nothing => return Err(exchange.failed(&keys, None)),
            };
            if outcome == Outcome::LoggedIn {
                return Ok(exchange.passed.join(", then "));
            }
        }
    }
}

/// The dialogue of a login.
struct Exchange<'a> {
    login: Login<'a>,
    handle: &'a mut Handle<Client>,
    /// The methods that the server takes, once it has said so.
    offered: Option<MethodSet>,
    tried: Vec<Attempt>,
    failures: usize,
    /// The methods that were accepted so far, as messages show them.
    passed: Vec<String>,
    no_terminal: bool,
    rsa_hashes: Option<Vec<HashAlg>>,
}

/// What to try next.
enum Next {
    Key,
    KeyboardInteractive,
    /// The method that always fails, and whose failure lists the others.
    None,
    Nothing,
    Password,
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
enum Outcome {
    /// The server wants no more.
    LoggedIn,
    /// The server wants another method after this one.
    Accepted,
    /// The server did not like it.
    Refused,
    /// It was not even put to the server.
    Skipped,
}

impl Exchange<'_> {
    fn next_method(&self, keys: &Keys, passwords: &Passwords) -> Next {
        let Some(offered) = &self.offered else {
            // A key that can be shown at once saves the question for the methods.
            return if keys.is_next_ready() {
                Next::Key
            } else {
                Next::None
            };
        };
        let takes = |method| offered.contains(&method);
        let takes_passwords = takes(MethodKind::Password) || takes(MethodKind::KeyboardInteractive);
        let reserved = if takes_passwords {
            TRIES_FOR_PASSWORDS
        } else {
            0
        };
        if takes(MethodKind::PublicKey) && keys.len() > 0 && self.failures + reserved < MAX_TRIES {
            return Next::Key;
        }
        if self.failures >= MAX_TRIES {
            return Next::Nothing;
        }
        passwords.next_method(takes)
    }

    async fn none(&mut self) -> Result<Outcome, TunnelError> {
        let user = self.login.hop.user.as_str();
        let answer = limited(self.login, self.handle.authenticate_none(user)).await?;
        self.settle(answer.ok(), NONE).await
    }

    async fn key(&mut self, mut key: Candidate, keys: &mut Keys) -> Result<Outcome, TunnelError> {
        let Login {
            hop,
            answers,
            patience,
            ..
        } = self.login;
        let offer = match key.offer() {
            Some(offer) => offer,
            None => match key.reveal(answers, patience).await {
                Ok(offer) => offer,
                Err(error) => return self.unsigned(key.describe(), error).await,
            },
        };
        let what = key.describe();
        let hashes = if offer.is_rsa() {
            self.rsa_hashes().await?.into_iter().map(Some).collect()
        } else {
            vec![None]
        };
        if hashes.is_empty() {
            let outcome = "not offered, since the server takes only SHA-1 signatures of RSA keys";
            self.note(what, outcome);
            return Ok(Outcome::Skipped);
        }
        let mut outcome = Outcome::Skipped;
        for hash in hashes {
            let mut signer = keys.signer(&key, answers, patience);
            let user = hop.user.as_str();
            let answer = match offer.clone() {
                Offer::Key(key) => {
                    let login =
                        self.handle
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
            let has_signed = signer.has_signed;
            outcome = match answer {
                Err(SignError::Gone) => self.settle(None, &what).await?,
                Err(error) => return self.unsigned(what, error).await,
                Ok(answer) => self.settle(Some(answer), &what).await?,
            };
            if outcome != Outcome::Refused {
                break;
            }
            if has_signed {
                if let Some(attempt) = self.tried.last_mut() {
                    "accepted, but then the signature was not".clone_into(&mut attempt.outcome);
                }
                break;
            }
        }
        Ok(outcome)
    }

    /// Notes why there is no signature.
    async fn unsigned(&mut self, what: String, error: SignError) -> Result<Outcome, TunnelError> {
        match error {
            SignError::Cancelled(reason) => return Err(self.unanswered(reason)),
            SignError::Failed(outcome) => self.note(what, &outcome),
            SignError::NoTerminal => {
                self.no_terminal = true;
                self.note(
                    what,
                    "needs its passphrase, and there is no terminal to ask on",
                );
            }
            SignError::Gone => return self.settle(None, &what).await,
        }
        Ok(Outcome::Skipped)
    }

    /// The hashes to sign with an RSA key (RFC 8332), best first. None of them is SHA-1.
    async fn rsa_hashes(&mut self) -> Result<Vec<HashAlg>, TunnelError> {
        if let Some(hashes) = &self.rsa_hashes {
            return Ok(hashes.clone());
        }
        let hashes = match limited(self.login, self.handle.best_supported_rsa_hash()).await? {
            Ok(Some(Some(best))) => vec![best],
            Ok(Some(None)) => Vec::new(),
            // A server that does not say may take either.
            Ok(None) | Err(_) => vec![HashAlg::Sha512, HashAlg::Sha256],
        };
        self.rsa_hashes = Some(hashes.clone());
        Ok(hashes)
    }

    /// Turns russh's answer into what it means; no answer stands for a session that is gone.
    async fn settle(
        &mut self,
        answer: Option<AuthResult>,
        what: &str,
    ) -> Result<Outcome, TunnelError> {
        let (remaining, is_partial) = match answer {
            Some(AuthResult::Success) => {
                self.passed.push(what.to_owned());
                return Ok(Outcome::LoggedIn);
            }
            Some(AuthResult::Failure {
                remaining_methods,
                partial_success,
            }) => (remaining_methods, partial_success),
            None => (MethodSet::empty(), false),
        };
        if is_partial {
            self.passed.push(what.to_owned());
        } else if what != NONE {
            self.failures += 1;
            self.note(what.to_owned(), "not accepted");
        }
        if remaining.is_empty() {
            // Either the server named no method that is known here, upon which russh hangs up, or
            // the session was gone before there was an answer.
            let ending = self.login.ending.clone();
            let loss = tokio::time::timeout(ENDING_FOLLOWS_WITHIN, ending.wait()).await;
            let loss = loss.unwrap_or_else(|_| Loss::unknown());
            if loss.cause != Cause::NoMethodLeft {
                return Err(self.lost(loss, what));
            }
        }
        self.offered = Some(remaining);
        Ok(if is_partial {
            Outcome::Accepted
        } else {
            Outcome::Refused
        })
    }

    fn note(&mut self, what: String, outcome: &str) {
        tracing::debug!(login = self.login.hop.login(), what, outcome, "SSH login");
        self.tried.push(Attempt {
            what,
            outcome: outcome.to_owned(),
        });
    }

    fn lost(&mut self, loss: Loss, what: &str) -> TunnelError {
        if loss.cause == Cause::Disconnected {
            // "Too many authentication failures" and the like is a verdict, not an accident.
            return self.failure(Some(loss.reason));
        }
        // What was not answered was not refused either.
        let refused = self.failures - usize::from(what != NONE);
        let after = match refused {
            0 => String::new(),
            1 => " after one refused attempt".to_owned(),
            count => format!(" after {count} refused attempts"),
        };
        TunnelError::ConnectionLost {
            host: self.login.hop.name.clone(),
            during: Phase::Authentication,
            reason: format!("{}{after}", loss.reason),
        }
    }

    fn unanswered(&self, reason: Unanswered) -> TunnelError {
        TunnelError::Unanswered {
            host: self.login.hop.login(),
            reason,
        }
    }

    /// The error when nothing is left to try.
    fn failed(&mut self, keys: &Keys, said: Option<String>) -> TunnelError {
        let takes_keys = self
            .offered
            .as_ref()
            .is_some_and(|o| o.contains(&MethodKind::PublicKey));
        if takes_keys && keys.len() > 0 {
            let what = format!("{} more keys", keys.len());
            self.note(
                what,
                "not offered, since servers hang up after too many attempts",
            );
        }
        self.failure(said)
    }

    fn failure(&mut self, said: Option<String>) -> TunnelError {
        let banner = self
            .login
            .banner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        let offered = self
            .offered
            .as_ref()
            .map(|methods| methods.iter().map(String::from).collect());
        TunnelError::AuthenticationFailed(Box::new(AuthenticationFailed {
            login: self.login.hop.login(),
            tried: std::mem::take(&mut self.tried),
            offered: offered.unwrap_or_default(),
            said: said.or_else(|| (!banner.is_empty()).then_some(banner)),
            no_terminal: self.no_terminal,
        }))
    }
}

/// Waits for an answer of the server, but not for ever.
async fn limited<F: Future>(login: Login<'_>, answer: F) -> Result<F::Output, TunnelError> {
    let after = login.hop.connect_timeout.max(LEAST_FOR_A_STEP);
    login
        .patience
        .limit(after, answer)
        .await
        .map_err(|TimedOut| TunnelError::Timeout {
            host: login.hop.name.clone(),
            during: Phase::Authentication,
            after,
        })
}

/// The method that nobody logs in with; a failure of it is none of ours.
const NONE: &str = "none";

/// How many failures servers let pass: the default of `MaxAuthTries` in sshd_config(5).
const MAX_TRIES: usize = 6;

/// How many of them keys leave to passwords.
const TRIES_FOR_PASSWORDS: usize = 2;

/// Servers take their time to refuse a login, and to look it up in a directory.
const LEAST_FOR_A_STEP: Duration = Duration::from_secs(30);

/// The reason follows the end of the session; this only bounds a surprise.
const ENDING_FOLLOWS_WITHIN: Duration = Duration::from_secs(5);
