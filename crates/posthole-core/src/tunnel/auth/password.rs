//! Logins with something a person knows: `password` (RFC 4252 §8) and `keyboard-interactive`
//! (RFC 4256).
//!
//! The two overlap. A configured password goes by `password` first, which takes it without any
//! doubt, and answers a lone hidden prompt of `keyboard-interactive` otherwise; it is sent once by
//! each. A person answers `keyboard-interactive` first, in the server's own words, which may ask for
//! more than a password.

use russh::MethodKind;
use russh::client::AuthResult;
use russh::client::{KeyboardInteractiveAuthResponse as Response, Prompt};
use secrecy::{ExposeSecret, SecretString};

use crate::ask::{SecretQuestion, Unanswered};
use crate::plan::{Hop, PasswordSource};

use super::super::answers::Turn;
use super::super::error::TunnelError;
use super::super::text::{SHOWN, clean};
use super::{Exchange, Next, Outcome, limited};

/// What may still be tried with passwords.
pub(super) struct Passwords {
    source: PasswordSource,
    password_tries: usize,
    keyboard_tries: usize,
    /// Whether a person's password was refused already.
    is_again: bool,
}

impl Passwords {
    pub(super) fn new(hop: &Hop) -> Self {
        let source = hop.password.clone();
        let tries = if matches!(source, PasswordSource::Prompt) {
            PROMPTS
        } else {
            1
        };
        Self {
            source,
            password_tries: tries,
            keyboard_tries: tries,
            is_again: false,
        }
    }

    pub(super) fn next_method(&self, takes: impl Fn(MethodKind) -> bool) -> Next {
        let can_password = self.password_tries > 0 && takes(MethodKind::Password);
        let can_keyboard = self.keyboard_tries > 0 && takes(MethodKind::KeyboardInteractive);
        match (can_password, can_keyboard) {
            (true, true) if self.is_configured() => Next::Password,
            (_, true) => Next::KeyboardInteractive,
            (true, false) => Next::Password,
            (false, false) => Next::Nothing,
        }
    }

    fn is_configured(&self) -> bool {
        !matches!(self.source, PasswordSource::Prompt)
    }

    fn give_up(&mut self) {
        self.password_tries = 0;
        self.keyboard_tries = 0;
    }
}

impl Exchange<'_> {
    pub(super) async fn password(
        &mut self,
        passwords: &mut Passwords,
    ) -> Result<Outcome, TunnelError> {
        passwords.password_tries -= 1;
        if passwords.is_configured() {
            let Some(password) = self.configured_password(passwords).await else {
                return Ok(Outcome::Skipped);
            };
            return self.send_password(password).await;
        }
        let pause = self.login.patience.pause();
        let turn = self.login.answers.turn().await;
        let question = SecretQuestion::SshPassword {
            login: self.login.hop.login(),
            again: passwords.is_again,
        };
        let password = match turn.kept(&question) {
            Some(password) => password,
            None => match turn.secret(question.clone()).await {
                Ok(password) => password,
                Err(unanswered) => return self.not_told("password", unanswered, passwords),
            },
        };
        drop(pause);
        if password.expose_secret().is_empty() {
            passwords.give_up();
            self.note("password".to_owned(), "none was given");
            return Ok(Outcome::Skipped);
        }
        let outcome = self.send_password(password.clone()).await?;
        remember(&turn, &question, password, outcome);
        passwords.is_again = outcome == Outcome::Refused;
        Ok(outcome)
    }

    async fn send_password(&mut self, password: SecretString) -> Result<Outcome, TunnelError> {
        let user = self.login.hop.user.as_str();
        // russh wipes its copy when the attempt is over.
        let login = self
            .handle
            .authenticate_password(user, password.expose_secret());
        let answer = limited(self.login, login).await?;
        self.settle(answer.ok(), "password").await
    }

    pub(super) async fn keyboard_interactive(
        &mut self,
        passwords: &mut Passwords,
    ) -> Result<Outcome, TunnelError> {
        passwords.keyboard_tries -= 1;
        let what = "keyboard-interactive";
        let mut password = Lone::Unused;
        let user = self.login.hop.user.as_str();
        let start = self
            .handle
            .authenticate_keyboard_interactive_start(user, None);
        let mut response = limited(self.login, start).await?;
        for round in 0.. {
            let request = match response {
                Ok(Response::InfoRequest {
                    name,
                    instructions,
                    prompts,
                }) => {
                    self.show(&name);
                    self.show(&instructions);
                    prompts
                }
                Ok(Response::Success) => {
                    self.settle_lone(password, Outcome::LoggedIn).await;
                    return self.settle(Some(AuthResult::Success), what).await;
                }
                Ok(Response::Failure {
                    remaining_methods,
                    partial_success,
                }) => {
                    let failure = AuthResult::Failure {
                        remaining_methods,
                        partial_success,
                    };
                    let outcome = self.settle(Some(failure), what).await?;
                    self.settle_lone(password, outcome).await;
                    if round == 0 {
                        // It would be the same again.
                        passwords.keyboard_tries = 0;
                    }
                    return Ok(outcome);
                }
                Err(_) => return self.settle(None, what).await,
            };
            if round >= MOST_ROUNDS || request.len() > MOST_PROMPTS {
                break;
            }
            let is_lone = matches!(&request[..], [prompt] if !prompt.echo);
            let answers = if is_lone && matches!(password, Lone::Unused) {
                match self.lone_answer(&request[0], passwords).await {
                    Ok((answer, used)) => {
                        password = used;
                        vec![answer]
                    }
                    Err(unanswered) => return self.hang(unanswered, passwords),
                }
            } else {
                match self.ask_all(&request).await {
                    Ok(answers) => answers,
                    Err(unanswered) => return self.hang(unanswered, passwords),
                }
            };
            let answers = answers
                .iter()
                .map(|answer| answer.expose_secret().to_owned())
                .collect();
            let respond = self
                .handle
                .authenticate_keyboard_interactive_respond(answers);
            response = limited(self.login, respond).await?;
        }
        Err(TunnelError::Protocol {
            host: self.login.hop.name.clone(),
            reason: "it does not stop asking questions".to_owned(),
        })
    }

    /// The answer to a prompt that most likely wants the password.
    async fn lone_answer(
        &mut self,
        prompt: &Prompt,
        passwords: &mut Passwords,
    ) -> Result<(SecretString, Lone), Unanswered> {
        if passwords.is_configured() {
            // If the source fails, the prompt is still answered, with nothing.
            let password = self.configured_password(passwords).await;
            return Ok((password.unwrap_or_default(), Lone::Configured));
        }
        let question = self.ssh_password();
        let kept = self.login.answers.turn().await.kept(&question);
        if let Some(password) = kept {
            return Ok((password.clone(), Lone::Answered(password)));
        }
        let password = self.ask(prompt).await?;
        Ok((password.clone(), Lone::Answered(password)))
    }

    async fn settle_lone(&self, lone: Lone, outcome: Outcome) {
        if let Lone::Answered(password) = lone {
            let turn = self.login.answers.turn().await;
            remember(&turn, &self.ssh_password(), password, outcome);
        }
    }

    async fn ask_all(&self, prompts: &[Prompt]) -> Result<Vec<SecretString>, Unanswered> {
        let mut answers = Vec::with_capacity(prompts.len());
        for prompt in prompts {
            answers.push(self.ask(prompt).await?);
        }
        Ok(answers)
    }

    async fn ask(&self, prompt: &Prompt) -> Result<SecretString, Unanswered> {
        let _pause = self.login.patience.pause();
        let question = SecretQuestion::SshPrompt {
            login: self.login.hop.login(),
            prompt: clean(&prompt.prompt, SHOWN),
            echo: prompt.echo,
        };
        self.login.answers.turn().await.secret(question).await
    }

    /// Shows what a server says around its prompts.
    fn show(&self, text: &str) {
        let text = clean(text, SHOWN);
        if !text.is_empty() {
            self.login
                .caller
                .notice(format!("{}: {text}", self.login.hop.login()));
        }
    }

    /// The password from where the plan says it is; a failure of that is noted and final.
    async fn configured_password(&mut self, passwords: &mut Passwords) -> Option<SecretString> {
        match self
            .login
            .answers
            .configured(&passwords.source, self.ssh_password())
            .await
        {
            Ok(password) => Some(password),
            Err(outcome) => {
                passwords.give_up();
                self.note("password".to_owned(), &outcome);
                None
            }
        }
    }

    fn ssh_password(&self) -> SecretQuestion {
        SecretQuestion::SshPassword {
            login: self.login.hop.login(),
            again: false,
        }
    }

    /// Notes that a person did not answer, and goes on if that was to be expected.
    fn not_told(
        &mut self,
        what: &str,
        unanswered: Unanswered,
        passwords: &mut Passwords,
    ) -> Result<Outcome, TunnelError> {
        if unanswered != Unanswered::NoTerminal {
            return Err(self.unanswered(unanswered));
        }
        passwords.give_up();
        self.no_terminal = true;
        self.note(what.to_owned(), "there is no terminal to ask on");
        Ok(Outcome::Skipped)
    }

    /// Leaves an exchange of prompts half done. Answering them with nothing would be a failed login
    /// in the server's books, so the session ends here.
    fn hang(
        &mut self,
        unanswered: Unanswered,
        passwords: &mut Passwords,
    ) -> Result<Outcome, TunnelError> {
        self.not_told("keyboard-interactive", unanswered, passwords)?;
        Err(self.failure(None))
    }
}

/// What answered the lone hidden prompt of an exchange.
enum Lone {
    Answered(SecretString),
    Configured,
    Unused,
}

fn remember(turn: &Turn<'_>, question: &SecretQuestion, password: SecretString, outcome: Outcome) {
    match outcome {
        Outcome::LoggedIn | Outcome::Accepted => turn.keep(question, password),
        Outcome::Refused => turn.forget(question),
        Outcome::Skipped => {}
    }
}

/// As `NumberOfPasswordPrompts` in ssh_config(5).
const PROMPTS: usize = 3;

/// A password, a new password twice, and some one-time codes.
const MOST_ROUNDS: usize = 16;

/// More prompts at once than anybody would want to answer.
const MOST_PROMPTS: usize = 16;
