//! The method `password` (RFC 4252 §8), and how often passwords are tried.
//!
//! The hard problem is a password that has expired: the server asks for a new one instead of
//! saying yes or no, and russh passes over that. All that shows is a server that has said something
//! and then waits for as long as it is let.

use russh::MethodKind;
use secrecy::{ExposeSecret, SecretString};

use crate::ask::{SecretQuestion, Unanswered};
use crate::plan::{Hop, PasswordSource};

use super::super::answers::{Answers, Turn};
use super::super::error::{Attempt, TunnelError};
use super::super::prompt::login_at;
use super::exchange::{Exchange, Outcome, limited};

/// What may still be tried with passwords.
pub(super) struct Passwords {
    pub(super) source: PasswordSource,
    pub(super) password_tries: u32,
    pub(super) keyboard_tries: u32,
    /// Whether a person's password was refused already.
    pub(super) is_again: bool,
    /// Whether there is a person to ask, where one is needed.
    pub(super) is_anybody_there: bool,
}

impl Passwords {
    pub(super) async fn new(hop: &Hop, answers: &Answers) -> Self {
        let source = hop.password.clone();
        let is_asked = matches!(source, PasswordSource::Prompt);
        let tries = if is_asked { hop.password_prompts } else { 1 };
        Self {
            source,
            password_tries: tries,
            keyboard_tries: tries,
            is_again: false,
            is_anybody_there: answers.is_anybody_there().await,
        }
    }

    /// Whether a method may be tried.
    pub(super) fn can_try(&self, method: MethodKind) -> bool {
        match method {
            MethodKind::Password => self.password_tries > 0,
            MethodKind::KeyboardInteractive => self.keyboard_tries > 0,
            _ => false,
        }
    }

    /// How many attempts keys must leave to these methods: a configured password should get to
    /// each, and a person to one, before the server hangs up.
    pub(super) fn tries_to_reserve<'a>(
        &self,
        methods: impl Iterator<Item = &'a MethodKind>,
    ) -> usize {
        let possible = methods.filter(|method| self.can_try(**method)).count();
        match () {
            () if self.is_configured() => possible,
            () if self.is_anybody_there => possible.min(1),
            () => 0,
        }
    }

    pub(super) fn is_configured(&self) -> bool {
        !matches!(self.source, PasswordSource::Prompt)
    }

    pub(super) fn give_up(&mut self) {
        self.password_tries = 0;
        self.keyboard_tries = 0;
    }
}

impl Exchange<'_> {
    pub(super) async fn password(&mut self) -> Result<Outcome, TunnelError> {
        self.passwords.password_tries -= 1;
        if self.passwords.is_configured() {
            let Some(password) = self.configured_password().await else {
                return Ok(Outcome::Skipped);
            };
            return self.send_password(password).await;
        }
        let login = self.login;
        let question = SecretQuestion::SshPassword {
            login: login_at(login.hop, login.before),
            again: self.passwords.is_again,
        };
        let pause = login.patience.pause();
        let turn = login.answers.turn_for(&question).await;
        let password = match turn.kept(&question) {
            Some(password) => password,
            None => {
                self.show_banner();
                match turn.secret(question.clone()).await {
                    Ok(password) => password,
                    Err(unanswered) => return self.not_told(PASSWORD, unanswered),
                }
            }
        };
        drop(pause);
        if password.expose_secret().is_empty() {
            self.passwords.give_up();
            self.note(Attempt::missed(PASSWORD, "none was given"));
            return Ok(Outcome::Skipped);
        }
        let outcome = self.send_password(password.clone()).await?;
        remember(&turn, &question, &password, outcome);
        self.passwords.is_again = outcome == Outcome::Refused;
        Ok(outcome)
    }

    async fn send_password(&mut self, password: SecretString) -> Result<Outcome, TunnelError> {
        let login = self.login;
        let user = login.hop.user.as_str();
        // russh wipes its copy when the attempt is over.
        let sending = self
            .handle
            .authenticate_password(user, password.expose_secret());
        let heard = || {
            let banner = login.banner.lock().map_or(0, |banner| banner.len());
            (login.heard.octets(), banner)
        };
        let before = heard();
        let answer = match limited(login, sending).await {
            Ok(answer) => answer,
            Err(timeout) => {
                let after = heard();
                // A banner may come at any time and is not meant.
                if after.0 == before.0 || after.1 != before.1 {
                    return Err(timeout);
                }
                let hint = format!(
                    "see what it says, and set a new password if it wants one: ssh {}",
                    shell_words::quote(&login.hop.login())
                );
                self.note(Attempt::missed(PASSWORD, EXPIRED).hint(hint));
                return Err(self.failure(None));
            }
        };
        self.settle(answer.ok(), MethodKind::Password, PASSWORD)
            .await
    }

    /// The password from where the plan says it is; a failure of that is noted and final.
    pub(super) async fn configured_password(&mut self) -> Option<SecretString> {
        let login = self.login;
        // However long a command thinks, the server is not to blame.
        let _pause = login.patience.pause();
        let question = self.ssh_password();
        match login
            .answers
            .configured(&self.passwords.source, question)
            .await
        {
            Ok(password) => Some(password),
            Err((outcome, hint)) => {
                self.passwords.give_up();
                let attempt = Attempt::missed(PASSWORD, outcome);
                self.note(match hint {
                    Some(hint) => attempt.hint(hint),
                    None => attempt,
                });
                None
            }
        }
    }

    pub(super) fn ssh_password(&self) -> SecretQuestion {
        SecretQuestion::SshPassword {
            login: login_at(self.login.hop, self.login.before),
            again: false,
        }
    }

    /// Notes that a person did not answer, and goes on if that was to be expected.
    pub(super) fn not_told(
        &mut self,
        what: &str,
        unanswered: Unanswered,
    ) -> Result<Outcome, TunnelError> {
        if !matches!(unanswered, Unanswered::NoTerminal | Unanswered::NotGiven) {
            return Err(self.unanswered(unanswered));
        }
        self.passwords.give_up();
        self.no_terminal = true;
        self.note(Attempt::missed(what, unanswered.to_string()));
        Ok(Outcome::Skipped)
    }
}

/// Keeps a password that proved right, and forgets one that proved wrong.
pub(super) fn remember(
    turn: &Turn<'_>,
    question: &SecretQuestion,
    password: &SecretString,
    outcome: Outcome,
) {
    match outcome {
        Outcome::LoggedIn | Outcome::Accepted => turn.keep(question, password),
        Outcome::Refused => turn.forget(question),
        Outcome::Skipped | Outcome::Unwanted => {}
    }
}

/// The method, as messages show it.
pub(super) const PASSWORD: &str = "password";

/// `SSH_MSG_USERAUTH_PASSWD_CHANGEREQ` (RFC 4252 §8).
const EXPIRED: &str =
    "it may have expired: the server said something to it that is neither yes nor no, and waits";
