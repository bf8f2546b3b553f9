//! A person is asked once.

use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};

use secrecy::{ExposeSecret, SecretString};

use crate::ask::{Ask, HostKeyQuestion, SecretQuestion, Unanswered};
use crate::vault::Kept;

/// Asks each question for a secret once and gives its answer again for as long as it lives.
///
/// Several accounts may ask the same at the same time: one asks, the others wait for its answer.
/// Different questions never wait for each other here. A question that is asked `again` is put
/// anew, because the answer before was wrong, and its answer is the one that is kept. What an SSH
/// server words itself ([`SecretQuestion::SshPrompt`]) may want another answer each time, such as
/// a one-time code, and is never remembered; neither is an empty answer.
pub struct Remember {
    ask: Arc<dyn Ask>,
    answers: Mutex<HashMap<SecretQuestion, Arc<Mutex<Option<Kept>>>>>,
}

impl Remember {
    /// Puts the questions to `ask`.
    #[must_use]
    pub fn new(ask: Arc<dyn Ask>) -> Self {
        Self {
            ask,
            answers: Mutex::default(),
        }
    }

    /// Forgets an answer that turned out to be wrong.
    pub fn forget(&self, question: &SecretQuestion) {
        if let Some(key) = key(question) {
            let slot = self.slot(key);
            *slot.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
    }

    fn slot(&self, key: SecretQuestion) -> Arc<Mutex<Option<Kept>>> {
        let mut answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(answers.entry(key).or_default())
    }
}

impl Ask for Remember {
    fn secret(&self, question: &SecretQuestion) -> Result<SecretString, Unanswered> {
        let Some(key) = key(question) else {
            return self.ask.secret(question);
        };
        let again = key != *question;
        let slot = self.slot(key);
        // Held while the person is asked. A poisoned slot holds the answer before, or none.
        let mut answer = slot.lock().unwrap_or_else(PoisonError::into_inner);
        if again {
            *answer = None;
        }
        if let Some(known) = &*answer {
            return Ok(known.reveal());
        }
        let secret = self.ask.secret(question)?;
        if !secret.expose_secret().is_empty() {
            *answer = Some(Kept::new(&secret));
        }
        Ok(secret)
    }

    fn trust_host_key(&self, question: &HostKeyQuestion) -> Result<bool, Unanswered> {
        self.ask.trust_host_key(question)
    }

    fn is_anybody_there(&self) -> bool {
        self.ask.is_anybody_there()
    }
}

/// Says only how many there are.
impl fmt::Debug for Remember {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let answers = self.answers.lock().unwrap_or_else(PoisonError::into_inner);
        f.debug_struct("Remember")
            .field("answers", &answers.len())
            .finish_non_exhaustive()
    }
}

/// The question whose answer this is: asking again does not make it another one.
fn key(question: &SecretQuestion) -> Option<SecretQuestion> {
    let mut key = question.clone();
    match &mut key {
        SecretQuestion::MailPassword { .. } => {}
        SecretQuestion::Passphrase { again, .. } | SecretQuestion::SshPassword { again, .. } => {
            *again = false;
        }
        SecretQuestion::SshPrompt { .. } => return None,
    }
    Some(key)
}
