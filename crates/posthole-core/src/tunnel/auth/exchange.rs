//! The dialogue of a login: what to try next, and what an answer means.
//!
//! With russh a session that died looks like a refusal that leaves no method; [`Exchange::settle`]
//! tells them apart.

use std::future::Future;
use std::sync::{MutexGuard, PoisonError};
use std::time::Duration;

use russh::client::{AuthResult, Handle};
use russh::keys::HashAlg;
use russh::{MethodKind, MethodSet};

use crate::ask::Unanswered;

use super::super::client::Client;
use super::super::error::{Attempt, AuthenticationFailed, Phase, TunnelError};
use super::super::loss::{Cause, Loss};
use super::super::patience::TimedOut;
use super::super::text::BANNER;
use super::Login;
use super::keys::Keys;
use super::password::Passwords;

/// The dialogue of a login.
pub(super) struct Exchange<'a> {
    pub(super) login: Login<'a>,
    pub(super) handle: &'a mut Handle<Client>,
    pub(super) keys: Keys,
    pub(super) passwords: Passwords,
    /// The methods that the server takes, once it has said so.
    offered: Option<MethodSet>,
    pub(super) tried: Vec<Attempt>,
    failures: usize,
    /// The methods that were accepted so far, as messages show them.
    passed: Vec<String>,
    pub(super) no_terminal: bool,
    pub(super) rsa_hashes: Option<Vec<Option<HashAlg>>>,
    has_shown_banner: bool,
    /// How much more of what the server says around its prompts is shown.
    pub(super) words_left: usize,
}

/// What came of an attempt.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Outcome {
    /// The server wants no more.
    LoggedIn,
    /// The server wants another method after this one.
    Accepted,
    /// The server did not like it.
    Refused,
    /// The server does not take the method now, so it did not look at what it was shown.
    Unwanted,
    /// It was not even put to the server.
    Skipped,
}

impl<'a> Exchange<'a> {
    pub(super) fn new(
        login: Login<'a>,
        handle: &'a mut Handle<Client>,
        keys: Keys,
        passwords: Passwords,
        tried: Vec<Attempt>,
    ) -> Self {
        Self {
            login,
            handle,
            keys,
            passwords,
            offered: None,
            tried,
            failures: 0,
            passed: Vec::new(),
            no_terminal: false,
            rsa_hashes: None,
            has_shown_banner: false,
            words_left: BANNER,
        }
    }

    /// What to try next; nothing when all is tried.
    pub(super) fn next_method(&self, order: &[MethodKind]) -> Option<MethodKind> {
        let Some(offered) = &self.offered else {
            // A key that can be shown at once saves the question for the methods.
            let is_key_first = order.first() == Some(&MethodKind::PublicKey);
            return Some(if is_key_first && self.keys.is_next_ready() {
                MethodKind::PublicKey
            } else {
                MethodKind::None
            });
        };
        if self.failures >= MAX_TRIES {
            return None;
        }
        let mut usable = order.iter().filter(|method| offered.contains(method));
        // Once the passwords are used up, the rest is for keys again.
        let reserved = self.passwords.tries_to_reserve(usable.clone());
        let can_offer_key = self.keys.len() > 0 && self.failures + reserved < MAX_TRIES;
        usable
            .find(|method| match method {
                MethodKind::PublicKey => can_offer_key,
                other => self.passwords.can_try(**other),
            })
            .copied()
    }

    /// The methods that were accepted, as messages show them.
    pub(super) fn passed(&self) -> String {
        self.passed.join(", then ")
    }

    /// Whether something was accepted already.
    pub(super) fn has_passed(&self, what: &str) -> bool {
        self.passed.iter().any(|passed| passed == what)
    }

    pub(super) async fn none(&mut self) -> Result<Outcome, TunnelError> {
        let user = self.login.hop.user.as_str();
        let answer = limited(self.login, self.handle.authenticate_none(user)).await?;
        self.settle(answer.ok(), MethodKind::None, NONE).await
    }

    /// Turns russh's answer into what it means; no answer stands for a session that is gone.
    pub(super) async fn settle(
        &mut self,
        answer: Option<AuthResult>,
        method: MethodKind,
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
        // A first attempt with a key may come before the server has said that it wants another
        // method before that.
        let is_unwanted = self.offered.is_none()
            && !is_partial
            && !remaining.is_empty()
            && !remaining.contains(&method);
        if is_partial {
            self.passed.push(what.to_owned());
        } else if method != MethodKind::None {
            self.failures += 1;
            if !is_unwanted {
                self.note(Attempt::refused(what, "not accepted"));
            }
        }
        if remaining.is_empty() {
            // Either the server named no method that is known here, upon which russh hangs up, or
            // the session was gone before there was an answer.
            let ending = self.login.ending.clone();
            let loss = tokio::time::timeout(ENDING_FOLLOWS_WITHIN, ending.wait()).await;
            let loss = loss.unwrap_or_else(|_| Loss::unknown());
            if loss.cause != Cause::NoMethodLeft {
                return Err(self.lost(loss, method));
            }
        }
        self.offered = Some(remaining);
        Ok(match () {
            () if is_partial => Outcome::Accepted,
            () if is_unwanted => Outcome::Unwanted,
            () => Outcome::Refused,
        })
    }

    pub(super) fn note(&mut self, attempt: Attempt) {
        let Attempt { what, outcome, .. } = &attempt;
        tracing::debug!(login = self.login.hop.login(), what, outcome, "SSH login");
        self.tried.push(attempt);
    }

    fn lost(&mut self, loss: Loss, method: MethodKind) -> TunnelError {
        if loss.cause == Cause::Disconnected {
            // "Too many authentication failures" and the like is a verdict, not an accident.
            self.note_keys_left();
            return self.failure(Some(loss.reason));
        }
        // What was not answered was not refused either.
        let refused = self.failures - usize::from(method != MethodKind::None);
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

    pub(super) fn unanswered(&self, reason: Unanswered) -> TunnelError {
        TunnelError::Unanswered {
            host: self.login.hop.login(),
            reason,
        }
    }

    /// The error when nothing is left to try.
    pub(super) fn failed(&mut self) -> TunnelError {
        let takes_keys = self
            .offered
            .as_ref()
            .is_some_and(|offered| offered.contains(&MethodKind::PublicKey));
        if takes_keys {
            self.note_keys_left();
        }
        self.failure(None)
    }

    fn note_keys_left(&mut self) {
        let what = match self.keys.len() {
            0 => return,
            1 => "one more key".to_owned(),
            count => format!("{count} more keys"),
        };
        let outcome = "not offered, since servers hang up after too many attempts";
        self.note(Attempt::missed(what, outcome).hint(TOO_MANY_KEYS));
    }

    pub(super) fn failure(&mut self, said: Option<String>) -> TunnelError {
        let banner = self.banner().replace('\n', " ");
        let offered = self
            .offered
            .as_ref()
            .map(|methods| methods.iter().map(String::from).collect());
        TunnelError::AuthenticationFailed(Box::new(AuthenticationFailed {
            login: self.login.hop.login(),
            tried: std::mem::take(&mut self.tried),
            offered: offered.unwrap_or_default(),
            allowed: self.login.hop.methods.clone(),
            said: said.or_else(|| (!banner.is_empty()).then_some(banner)),
            no_terminal: self.no_terminal,
        }))
    }

    /// Shows what the server has to say to everybody (RFC 4252 §5.4): before a person is asked
    /// something, and otherwise when the login is done. A failed login tells it by itself.
    pub(super) fn show_banner(&mut self) {
        if std::mem::replace(&mut self.has_shown_banner, true) {
            return;
        }
        let banner = self.banner().clone();
        if !banner.is_empty() {
            let host = &self.login.hop.name;
            self.login.caller.notice(format!("{host} says: {banner}"));
        }
    }

    fn banner(&self) -> MutexGuard<'_, String> {
        self.login
            .banner
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// Waits for an answer of the server, but not for ever.
pub(super) async fn limited<F: Future>(
    login: Login<'_>,
    answer: F,
) -> Result<F::Output, TunnelError> {
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

const TOO_MANY_KEYS: &str = "name the right key with `identity`, which is tried first; with \
     `identities-only` (IdentitiesOnly) no others are";

/// How many failures servers let pass: the default of `MaxAuthTries` in sshd_config(5).
const MAX_TRIES: usize = 6;

/// Servers take their time to refuse a login, and to look it up in a directory.
const LEAST_FOR_A_STEP: Duration = Duration::from_secs(30);

/// The reason follows the end of the session; this only bounds a surprise.
const ENDING_FOLLOWS_WITHIN: Duration = Duration::from_secs(5);
