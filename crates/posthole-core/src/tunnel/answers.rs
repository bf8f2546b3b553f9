//! Questions to a person, one after another, and their answers for as long as the process lives.
//!
//! Several connections may want the same passphrase at once. Who asks holds the turn; who waited for
//! it finds the answer already given. An answer is kept only after it proved right.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use secrecy::SecretString;

use crate::ask::{Ask, HostKeyQuestion, SecretQuestion, Unanswered};
use crate::plan::PasswordSource;

/// Somebody to ask, and what they have said so far.
pub(super) struct Answers {
    ask: Arc<dyn Ask>,
    kept: Mutex<HashMap<SecretQuestion, SecretString>>,
    turn: tokio::sync::Mutex<()>,
}

impl Answers {
    pub(super) fn new(ask: Arc<dyn Ask>) -> Self {
        Self {
            ask,
            kept: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// Waits for the turn to ask. Hold it from looking for a kept answer to keeping the new one.
    pub(super) async fn turn(&self) -> Turn<'_> {
        Turn {
            _guard: self.turn.lock().await,
            answers: self,
        }
    }

    /// The program that carries questions of other programs here.
    pub(super) fn messenger(&self) -> Option<PathBuf> {
        self.ask.messenger()
    }

    /// The password from where the plan says it is; an error is for reading.
    pub(super) async fn configured(
        &self,
        source: &PasswordSource,
        question: SecretQuestion,
    ) -> Result<SecretString, String> {
        source.resolve(&self.ask, question).await.map_err(|error| {
            let mut text = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                text = format!("{text}: {error}");
                cause = error.source();
            }
            text
        })
    }

    fn kept(&self) -> std::sync::MutexGuard<'_, HashMap<SecretQuestion, SecretString>> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Answers").finish_non_exhaustive()
    }
}

/// The right to ask.
pub(super) struct Turn<'a> {
    _guard: tokio::sync::MutexGuard<'a, ()>,
    answers: &'a Answers,
}

impl Turn<'_> {
    /// The answer to an earlier question, if it is still held to be right.
    pub(super) fn kept(&self, question: &SecretQuestion) -> Option<SecretString> {
        self.answers.kept().get(&first_time(question)).cloned()
    }

    /// Keeps an answer that proved right.
    pub(super) fn keep(&self, question: &SecretQuestion, answer: SecretString) {
        self.answers.kept().insert(first_time(question), answer);
    }

    /// Forgets an answer that proved wrong.
    pub(super) fn forget(&self, question: &SecretQuestion) {
        self.answers.kept().remove(&first_time(question));
    }

    /// Asks for a secret.
    pub(super) async fn secret(
        &self,
        question: SecretQuestion,
    ) -> Result<SecretString, Unanswered> {
        let ask = Arc::clone(&self.answers.ask);
        blocking(move || ask.secret(&question)).await
    }

    /// Asks whether a host key is to be trusted.
    pub(super) async fn trust_host_key(
        &self,
        question: HostKeyQuestion,
    ) -> Result<bool, Unanswered> {
        let ask = Arc::clone(&self.answers.ask);
        blocking(move || ask.trust_host_key(&question)).await
    }
}

/// The question as it is put the first time, which is what answers are kept under.
fn first_time(question: &SecretQuestion) -> SecretQuestion {
    let mut question = question.clone();
    match &mut question {
        SecretQuestion::Passphrase { again, .. } | SecretQuestion::SshPassword { again, .. } => {
            *again = false;
        }
        SecretQuestion::MailPassword { .. } | SecretQuestion::SshPrompt { .. } => {}
    }
    question
}

async fn blocking<T: Send + 'static>(
    question: impl FnOnce() -> Result<T, Unanswered> + Send + 'static,
) -> Result<T, Unanswered> {
    // A question that panicked or was cut off by the end of the runtime was not answered.
    tokio::task::spawn_blocking(question)
        .await
        .unwrap_or(Err(Unanswered::Cancelled))
}
