//! What was typed in for the daemon, and what is still to be asked.
//!
//! A daemon asks nobody: a question it has no answer to ends the poll, and is kept until somebody
//! comes with answers (`unlock`). Those are kept in locked memory for as long as the daemon lives,
//! except for what a server words itself, such as a one-time code, which is good for one use.

use std::collections::HashMap;
use std::fmt;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};

use secrecy::SecretString;

use crate::ask::{Ask, HostKeyQuestion, SecretQuestion, Unanswered};
use crate::vault::Kept;

/// Answers by question.
pub(super) struct Answers {
    state: Mutex<State>,
    messenger: Option<PathBuf>,
}

#[derive(Default)]
struct State {
    known: HashMap<SecretQuestion, Kept>,
    open: Vec<SecretQuestion>,
}

impl Answers {
    /// No answers yet. `messenger` is for [`Ask::messenger`].
    pub(super) fn new(messenger: Option<PathBuf>) -> Self {
        Self {
            state: Mutex::default(),
            messenger,
        }
    }

    /// What is to be asked.
    pub(super) fn open(&self) -> Vec<SecretQuestion> {
        self.state().open.clone()
    }

    /// Takes an answer, also one that nobody has asked for yet.
    ///
    /// What an SSH server asks is often one of several ways in, so all questions of that kind are
    /// taken back: who still needs one asks it again.
    pub(super) fn give(&self, question: &SecretQuestion, answer: &SecretString) {
        let key = question.first_time();
        let is_of_mail = |one: &SecretQuestion| matches!(one, SecretQuestion::MailPassword { .. });
        let mut state = self.state();
        state.open.retain(|open| match is_of_mail(question) {
            true => open.first_time() != key,
            false => is_of_mail(open),
        });
        state.known.insert(key, Kept::new(answer));
    }

    /// Whether this is still to be asked.
    pub(super) fn is_open(&self, question: &SecretQuestion) -> bool {
        self.state().open.contains(question)
    }

    /// Whether there is an answer.
    pub(super) fn knows(&self, question: &SecretQuestion) -> bool {
        self.state().known.contains_key(&question.first_time())
    }

    /// Asks again for what turned out to be wrong; false if it was not an answer from here.
    pub(super) fn refuse(&self, question: &SecretQuestion) -> bool {
        let mut state = self.state();
        let was_known = state.known.remove(&question.first_time()).is_some();
        if was_known {
            state.ask(question);
        }
        was_known
    }

    /// Asks only what is still of interest.
    pub(super) fn retain(&self, of_interest: impl Fn(&SecretQuestion) -> bool) {
        self.state().open.retain(of_interest);
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl State {
    fn ask(&mut self, question: &SecretQuestion) {
        let key = question.first_time();
        match self.open.iter_mut().find(|open| open.first_time() == key) {
            Some(open) => open.clone_from(question),
            None => self.open.push(question.clone()),
        }
    }
}

impl Ask for Answers {
    fn secret(&self, question: &SecretQuestion) -> Result<SecretString, Unanswered> {
        let key = question.first_time();
        let mut state = self.state();
        if key != *question {
            // The answer was wrong.
            state.known.remove(&key);
        }
        let is_once = matches!(question, SecretQuestion::SshPrompt { .. });
        let answer = if is_once {
            state.known.remove(&key).map(|kept| kept.reveal())
        } else {
            state.known.get(&key).map(Kept::reveal)
        };
        match answer {
            Some(answer) => Ok(answer),
            None => {
                state.ask(question);
                Err(Unanswered::NotGiven)
            }
        }
    }

    fn trust_host_key(&self, _question: &HostKeyQuestion) -> Result<bool, Unanswered> {
        Err(Unanswered::NoTerminal)
    }

    fn remedy(&self) -> Option<&'static str> {
        Some(UNLOCK)
    }

    fn messenger(&self) -> Option<PathBuf> {
        self.messenger.clone()
    }
}

/// Says only how many there are.
impl fmt::Debug for Answers {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let state = self.state();
        f.debug_struct("Answers")
            .field("known", &state.known.len())
            .field("open", &state.open)
            .finish_non_exhaustive()
    }
}

/// What to do about a question without an answer.
pub(super) const UNLOCK: &str = "give it to the daemon with `posthole unlock`";

#[cfg(test)]
mod tests {
    use secrecy::ExposeSecret;

    use super::*;

    fn ssh_password(again: bool) -> SecretQuestion {
        SecretQuestion::SshPassword {
            login: "msingh@popserver".to_owned(),
            again,
        }
    }

    fn code() -> SecretQuestion {
        SecretQuestion::SshPrompt {
            login: "msingh@popserver".to_owned(),
            prompt: "Code:".to_owned(),
            echo: true,
        }
    }

    fn asked(answers: &Answers, question: &SecretQuestion) -> Option<String> {
        let answer = answers.secret(question).ok()?;
        Some(answer.expose_secret().to_owned())
    }

    #[test]
    fn a_question_stays_open_until_it_is_answered_and_the_answer_stays() {
        let answers = Answers::new(None);
        let question = ssh_password(false);
        assert_eq!(asked(&answers, &question), None);
        assert_eq!(asked(&answers, &question), None);
        assert_eq!(answers.open(), std::slice::from_ref(&question));
        answers.give(&question, &SecretString::from("sesame"));
        assert!(answers.open().is_empty());
        for _ in 0..2 {
            assert_eq!(asked(&answers, &question).as_deref(), Some("sesame"));
        }
    }

    #[test]
    fn a_wrong_answer_is_asked_for_again() {
        let answers = Answers::new(None);
        answers.give(&ssh_password(false), &SecretString::from("wrong"));
        assert_eq!(asked(&answers, &ssh_password(true)), None);
        assert_eq!(answers.open(), [ssh_password(true)]);
        assert_eq!(asked(&answers, &ssh_password(false)), None);
        answers.give(&ssh_password(true), &SecretString::from("right"));
        assert_eq!(
            asked(&answers, &ssh_password(false)).as_deref(),
            Some("right")
        );
    }

    #[test]
    fn one_way_into_a_host_makes_the_others_needless() {
        let answers = Answers::new(None);
        let passphrase = SecretQuestion::Passphrase {
            key: PathBuf::from("/home/msingh/.ssh/id_pop"),
            again: false,
        };
        let mail = SecretQuestion::MailPassword {
            account: "work".to_owned(),
            login: "msingh@localhost".to_owned(),
        };
        for question in [&passphrase, &ssh_password(false), &mail] {
            assert_eq!(asked(&answers, question), None);
        }
        answers.give(&passphrase, &SecretString::from("sesame"));
        assert_eq!(answers.open(), std::slice::from_ref(&mail));
        answers.give(&mail, &SecretString::from("hunter2"));
        assert!(!answers.is_open(&mail));
    }

    #[test]
    fn a_code_is_good_for_one_use() {
        let answers = Answers::new(None);
        answers.give(&code(), &SecretString::from("123"));
        assert_eq!(asked(&answers, &code()).as_deref(), Some("123"));
        assert_eq!(asked(&answers, &code()), None);
        assert_eq!(answers.open(), [code()]);
    }
}
