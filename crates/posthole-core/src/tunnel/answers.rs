//! Questions to a person, and their answers for as long as the process lives.
//!
//! Several connections may want the same passphrase at once. Who asks holds the turn for that
//! question; who waited for it finds the answer already given. Different questions do not wait for
//! each other here, so that a slow login holds up nobody else's; whoever asks puts them one after
//! another where there is one terminal. An answer is kept only after it proved right.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use secrecy::SecretString;
use tokio::sync::OwnedMutexGuard;

use crate::ask::{Ask, HostKeyQuestion, SecretQuestion, Unanswered};
use crate::plan::PasswordSource;
use crate::vault::Kept;

/// Somebody to ask, and what they have said so far.
pub(super) struct Answers {
    ask: Arc<dyn Ask>,
    kept: Mutex<HashMap<SecretQuestion, Kept>>,
    /// Who is asking what; none is about host keys.
    turns: Mutex<HashMap<Option<SecretQuestion>, Arc<tokio::sync::Mutex<()>>>>,
}

impl Answers {
    pub(super) fn new(ask: Arc<dyn Ask>) -> Self {
        Self {
            ask,
            kept: Mutex::default(),
            turns: Mutex::default(),
        }
    }

    /// Waits for the turn to ask about a host key.
    pub(super) async fn turn(&self) -> Turn<'_> {
        self.turn_at(None).await
    }

    /// Waits for the turn to ask a question. Hold it from looking for a kept answer to keeping the
    /// new one.
    pub(super) async fn turn_for(&self, question: &SecretQuestion) -> Turn<'_> {
        self.turn_at(Some(question.first_time())).await
    }

    async fn turn_at(&self, topic: Option<SecretQuestion>) -> Turn<'_> {
        let turn = {
            let mut turns = self.turns.lock().unwrap_or_else(PoisonError::into_inner);
            Arc::clone(turns.entry(topic).or_default())
        };
        Turn {
            _guard: turn.lock_owned().await,
            answers: self,
        }
    }

    /// The program that carries questions of other programs here.
    pub(super) fn messenger(&self) -> Option<PathBuf> {
        self.ask.messenger()
    }

    /// Whether a question would reach somebody, as far as can be told.
    pub(super) async fn is_anybody_there(&self) -> bool {
        let ask = Arc::clone(&self.ask);
        let looking = tokio::task::spawn_blocking(move || ask.is_anybody_there());
        looking.await.unwrap_or(false)
    }

    /// Asks for a secret that is wanted anew each time, such as a one-time code.
    pub(super) async fn once(&self, question: SecretQuestion) -> Result<SecretString, Unanswered> {
        let ask = Arc::clone(&self.ask);
        blocking(move || ask.secret(&question)).await
    }

    /// The password from where the plan says it is; an error is for reading, with a hint.
    pub(super) async fn configured(
        &self,
        source: &PasswordSource,
        question: SecretQuestion,
    ) -> Result<SecretString, (String, Option<String>)> {
        source.resolve(&self.ask, question).await.map_err(|error| {
            let mut text = error.to_string();
            let mut cause = std::error::Error::source(&error);
            while let Some(error) = cause {
                text = format!("{text}: {error}");
                cause = error.source();
            }
            (text, error.hint())
        })
    }

    fn kept(&self) -> MutexGuard<'_, HashMap<SecretQuestion, Kept>> {
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
    _guard: OwnedMutexGuard<()>,
    answers: &'a Answers,
}

impl Turn<'_> {
    /// The answer to an earlier question, if it is still held to be right.
    pub(super) fn kept(&self, question: &SecretQuestion) -> Option<SecretString> {
        let kept = self.answers.kept();
        kept.get(&question.first_time()).map(Kept::reveal)
    }

    /// Keeps an answer that proved right.
    pub(super) fn keep(&self, question: &SecretQuestion, answer: &SecretString) {
        let kept = Kept::new(answer);
        self.answers.kept().insert(question.first_time(), kept);
    }

    /// Forgets an answer that proved wrong.
    pub(super) fn forget(&self, question: &SecretQuestion) {
        self.answers.kept().remove(&question.first_time());
    }

    /// Asks for a secret.
    pub(super) async fn secret(
        &self,
        question: SecretQuestion,
    ) -> Result<SecretString, Unanswered> {
        self.answers.once(question).await
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
async fn blocking<T: Send + 'static>(
    question: impl FnOnce() -> Result<T, Unanswered> + Send + 'static,
) -> Result<T, Unanswered> {
    // A question that panicked or was cut off by the end of the runtime was not answered.
    tokio::task::spawn_blocking(question)
        .await
        .unwrap_or(Err(Unanswered::Cancelled))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use secrecy::ExposeSecret;
    use tokio::time::timeout;

    use super::*;
    use crate::ask::Nobody;

    fn password_of(login: &str, again: bool) -> SecretQuestion {
        SecretQuestion::SshPassword {
            login: login.to_owned(),
            again,
        }
    }

    #[tokio::test(start_paused = true)]
    async fn only_the_same_question_waits_for_its_turn() {
        let answers = Answers::new(Arc::new(Nobody));
        let turn = answers.turn_for(&password_of("a@host", false)).await;
        let wait = Duration::from_secs(600);
        let other = password_of("b@host", false);
        timeout(wait, answers.turn_for(&other)).await.unwrap();
        timeout(wait, answers.turn()).await.unwrap();
        let same = password_of("a@host", true);
        let waiting = timeout(wait, answers.turn_for(&same)).await;
        assert!(waiting.is_err());
        drop(turn);
        timeout(wait, answers.turn_for(&same)).await.unwrap();
    }

    #[tokio::test]
    async fn an_answer_is_kept_until_it_proves_wrong() {
        let answers = Answers::new(Arc::new(Nobody));
        let (first, again) = (password_of("a@host", false), password_of("a@host", true));
        let turn = answers.turn_for(&again).await;
        turn.keep(&again, &SecretString::from("sesame"));
        let kept = turn.kept(&first).unwrap();
        assert_eq!(kept.expose_secret(), "sesame");
        assert!(turn.kept(&password_of("b@host", false)).is_none());
        turn.forget(&again);
        assert!(turn.kept(&first).is_none());
    }
}
