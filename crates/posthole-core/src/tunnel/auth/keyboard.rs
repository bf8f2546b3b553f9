//! The method `keyboard-interactive` (RFC 4256): rounds of prompts that the server words itself.
//!
//! A lone hidden prompt whose words ask for the password is answered with a configured one, and what a
//! person answered is kept as the password if it proves right. All other prompts are put to the
//! person, once each time, since a code is good for one use. What is asked is bounded, since nothing else bounds it.

use russh::MethodKind;
use russh::client::AuthResult;
use russh::client::{KeyboardInteractiveAuthResponse as Response, Prompt};
use secrecy::{ExposeSecret, SecretString};

use crate::ask::{SecretQuestion, Unanswered};

use super::super::error::TunnelError;
use super::super::prompt::wants_password;
use super::super::text::{SHOWN, clean, clean_lines};
use super::exchange::{Exchange, Outcome, limited};
use super::password::{PASSWORD, remember};

impl Exchange<'_> {
    pub(super) async fn keyboard_interactive(&mut self) -> Result<Outcome, TunnelError> {
        self.passwords.keyboard_tries -= 1;
        if !self.can_answer().await {
            // Prompts that nobody answers would be a failed login in the server's books.
            return self.not_told(KEYBOARD_INTERACTIVE, Unanswered::NoTerminal);
        }
        let mut password = Lone::Unused;
        let user = self.login.hop.user.as_str();
        let start = self
            .handle
            .authenticate_keyboard_interactive_start(user, None);
        let mut response = limited(self.login, start).await?;
        for round in 0.. {
            let prompts = match response {
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
                    return self.settle_keyboard(Some(AuthResult::Success)).await;
                }
                Ok(Response::Failure {
                    remaining_methods,
                    partial_success,
                }) => {
                    let failure = AuthResult::Failure {
                        remaining_methods,
                        partial_success,
                    };
                    let outcome = self.settle_keyboard(Some(failure)).await?;
                    self.settle_lone(password, outcome).await;
                    if round == 0 {
                        // It would be the same again.
                        self.passwords.keyboard_tries = 0;
                    }
                    return Ok(outcome);
                }
                Err(_) => return self.settle_keyboard(None).await,
            };
            if round >= MOST_ROUNDS || prompts.len() > MOST_PROMPTS {
                break;
            }
            let answers = match self.answer(&prompts, &mut password).await {
                Ok(answers) => answers,
                Err(unanswered) => return self.hang(unanswered),
            };
            // These copies are russh's, which does not wipe them.
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
            hint: Some(
                "log in with a key, or leave keyboard-interactive out of preferred-authentications"
                    .to_owned(),
            ),
        })
    }

    async fn settle_keyboard(
        &mut self,
        answer: Option<AuthResult>,
    ) -> Result<Outcome, TunnelError> {
        let method = MethodKind::KeyboardInteractive;
        self.settle(answer, method, KEYBOARD_INTERACTIVE).await
    }

    /// Whether there is any chance of an answer.
    async fn can_answer(&self) -> bool {
        if self.passwords.is_configured() || self.passwords.is_anybody_there {
            return true;
        }
        let question = self.ssh_password();
        let turn = self.login.answers.turn_for(&question).await;
        turn.kept(&question).is_some()
    }

    /// Answers the prompts of a round.
    async fn answer(
        &mut self,
        prompts: &[Prompt],
        password: &mut Lone,
    ) -> Result<Vec<SecretString>, Unanswered> {
        // A password that was accepted before is not what is asked for now.
        let user = &self.login.hop.user;
        let is_for_it = |prompt: &Prompt| !prompt.echo && wants_password(&prompt.prompt, user);
        let wants_password = matches!(prompts, [prompt] if is_for_it(prompt))
            && matches!(password, Lone::Unused)
            && !self.has_passed(PASSWORD);
        if wants_password {
            let (answer, used) = self.lone_answer(&prompts[0]).await?;
            *password = used;
            return Ok(vec![answer]);
        }
        let mut answers = Vec::with_capacity(prompts.len());
        for prompt in prompts {
            answers.push(self.ask(prompt).await?);
        }
        Ok(answers)
    }

    /// The answer to a prompt that wants the password.
    async fn lone_answer(&mut self, prompt: &Prompt) -> Result<(SecretString, Lone), Unanswered> {
        if self.passwords.is_configured() {
            // If the source fails, the prompt is still answered, with nothing.
            let password = self.configured_password().await;
            return Ok((password.unwrap_or_default(), Lone::Configured));
        }
        let question = self.ssh_password();
        let kept = self.login.answers.turn_for(&question).await.kept(&question);
        if let Some(password) = kept {
            return Ok((password.clone(), Lone::Answered(password)));
        }
        let password = self.ask(prompt).await?;
        Ok((password.clone(), Lone::Answered(password)))
    }

    async fn settle_lone(&self, lone: Lone, outcome: Outcome) {
        if let Lone::Answered(password) = lone {
            let question = self.ssh_password();
            let turn = self.login.answers.turn_for(&question).await;
            remember(&turn, &question, &password, outcome);
        }
    }

    async fn ask(&mut self, prompt: &Prompt) -> Result<SecretString, Unanswered> {
        self.show_banner();
        let _pause = self.login.patience.pause();
        let question = SecretQuestion::SshPrompt {
            login: self.login.hop.login(),
            prompt: clean(&prompt.prompt, SHOWN),
            echo: prompt.echo,
        };
        self.login.answers.once(question).await
    }

    /// Shows what a server says around its prompts.
    fn show(&mut self, text: &str) {
        let text = clean_lines(text, SHOWN.min(self.words_left));
        if !text.is_empty() {
            self.words_left = self.words_left.saturating_sub(text.chars().count());
            self.show_banner();
            let login = self.login.hop.login();
            self.login.caller.notice(format!("{login}: {text}"));
        }
    }

    /// Leaves an exchange of prompts half done. Answering them with nothing would be a failed login
    /// in the server's books, so the session ends here.
    fn hang(&mut self, unanswered: Unanswered) -> Result<Outcome, TunnelError> {
        self.not_told(KEYBOARD_INTERACTIVE, unanswered)?;
        Err(self.failure(None))
    }
}

/// What answered the lone hidden prompt of an exchange.
enum Lone {
    Answered(SecretString),
    Configured,
    Unused,
}

/// The method, as messages show it.
const KEYBOARD_INTERACTIVE: &str = "keyboard-interactive";

/// A password, a new password twice, and some one-time codes.
pub(crate) const MOST_ROUNDS: usize = 16;

/// More prompts at once than anybody would want to answer.
pub(crate) const MOST_PROMPTS: usize = 16;
