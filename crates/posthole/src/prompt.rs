//! Questions for the person who runs this: passwords, passphrases, host keys.
//!
//! They are put on the terminal, or by a program in a window (`askpass`). Accounts are polled side
//! by side and may ask at the same time; they ask one after another, and nothing else is printed on
//! the terminal until an answer is given (`console`). With neither, every question is turned down
//! at once.

use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use posthole_core::ask::{Ask, HostKeyQuestion, SecretQuestion, Unanswered};
use secrecy::{ExposeSecret, SecretString};
use tokio_util::sync::CancellationToken;

use crate::askpass::{Askpass, Program};
use crate::console::{Console, Held};
use crate::report::printable;
use crate::tty::{Echo, Tty};

/// The person who runs this.
pub(crate) struct Prompt {
    console: Arc<Console>,
    askpass: Askpass,
    stop: CancellationToken,
    turn: Mutex<()>,
}

impl Prompt {
    /// Asks on the controlling terminal or with a program, until `stop` is cancelled.
    pub(crate) fn new(console: Arc<Console>, askpass: Askpass, stop: CancellationToken) -> Self {
        Self {
            console,
            askpass,
            stop,
            turn: Mutex::default(),
        }
    }

    /// Has the person to itself while `ask` runs.
    fn alone<T>(
        &self,
        ask: impl FnOnce(&Way<'_>) -> Result<T, Unanswered>,
    ) -> Result<T, Unanswered> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // Others may have waited in line for a question that was the last.
        if self.stop.is_cancelled() {
            return Err(Unanswered::Cancelled);
        }
        ask(&self.way().ok_or(Unanswered::NoTerminal)?)
    }

    /// How the person is reached.
    fn way(&self) -> Option<Way<'_>> {
        let program = self.askpass.before_a_terminal();
        program.map(Way::Program).or_else(|| match Tty::open() {
            Some(tty) => Some(Way::Terminal {
                tty,
                _held: self.console.hold(),
            }),
            None => self.askpass.without_a_terminal().map(Way::Program),
        })
    }

    fn put(&self, way: &Way<'_>, question: &str, echo: Echo) -> Result<SecretString, Unanswered> {
        match way {
            Way::Program(program) => program.ask(question, &self.stop),
            Way::Terminal { tty, .. } => tty.ask(question, echo, &self.stop),
        }
    }
}

/// A way to reach a person.
enum Way<'a> {
    Program(Program<'a>),
    Terminal { tty: Tty, _held: Held<'a> },
}

impl Ask for Prompt {
    fn secret(&self, question: &SecretQuestion) -> Result<SecretString, Unanswered> {
        self.alone(|way| {
            let (text, echo) = secret_text(question);
            self.put(way, &text, echo)
        })
    }

    fn trust_host_key(&self, question: &HostKeyQuestion) -> Result<bool, Unanswered> {
        self.alone(|way| {
            let mut text = host_key_text(question);
            for _ in 0..ROUNDS {
                let answer = self.put(way, &text, Echo::Shown)?;
                if let Some(verdict) = verdict(answer.expose_secret(), &question.fingerprint) {
                    return Ok(verdict);
                }
                AGAIN.clone_into(&mut text);
            }
            Err(Unanswered::Cancelled)
        })
    }

    fn is_anybody_there(&self) -> bool {
        self.askpass.before_a_terminal().is_some()
            || Tty::open().is_some()
            || self.askpass.without_a_terminal().is_some()
    }

    fn messenger(&self) -> Option<PathBuf> {
        std::env::current_exe().ok()
    }
}

fn secret_text(question: &SecretQuestion) -> (String, Echo) {
    match question {
        SecretQuestion::MailPassword { account, login } => {
            // An account that was given as a URL has no name but its login.
            let account = printable(account);
            let login = printable(login);
            let name = if account.contains(&login) {
                String::new()
            } else {
                format!(" ({account})")
            };
            (format!("Mail password for {login}{name}: "), Echo::Hidden)
        }
        SecretQuestion::Passphrase { key, again } => {
            let key = printable(&key.display().to_string());
            let again = if *again {
                "That is not the passphrase. "
            } else {
                ""
            };
            (
                format!("{again}Passphrase for the key {key}: "),
                Echo::Hidden,
            )
        }
        SecretQuestion::SshPassword { login, again } => {
            let login = printable(login);
            let again = if *again { "That was refused. " } else { "" };
            (format!("{again}SSH password for {login}: "), Echo::Hidden)
        }
        SecretQuestion::SshPrompt {
            login,
            prompt,
            echo,
        } => {
            let prompt = printable(prompt);
            let prompt = prompt.trim_end();
            let echo = if *echo { Echo::Shown } else { Echo::Hidden };
            (format!("({}) {prompt} ", printable(login)), echo)
        }
    }
}

fn host_key_text(question: &HostKeyQuestion) -> String {
    let HostKeyQuestion {
        host,
        algorithm,
        fingerprint,
        randomart,
        notes,
        known_hosts,
    } = question;
    let mut text = format!(
        "The SSH host {} is not known yet. Its {} key has the fingerprint\n\n    {}\n\n",
        printable(host),
        printable(algorithm),
        printable(fingerprint),
    );
    if let Some(randomart) = randomart {
        text.extend(randomart.lines().map(|line| format!("    {line}\n")));
        text.push('\n');
    }
    text.extend(
        notes
            .iter()
            .map(|note| format!("Note: {}.\n", printable(note))),
    );
    text + &format!(
        "Compare it with what the host's administrator says. A yes records the key in\n\
         {}, and only this key is accepted from then on.\n\
         Trust this key? {AGAIN}",
        printable(&known_hosts.display().to_string()),
    )
}

/// What an answer means: a `y` typed in haste means nothing, as with ssh(1).
fn verdict(answer: &str, fingerprint: &str) -> Option<bool> {
    let answer = answer.trim();
    if answer.eq_ignore_ascii_case("yes") || answer == fingerprint {
        Some(true)
    } else if answer.eq_ignore_ascii_case("no") || answer.starts_with("SHA256:") {
        Some(false)
    } else {
        None
    }
}

/// A program that knows only passwords must not be asked for ever.
const ROUNDS: usize = 10;

const AGAIN: &str = "Type yes, no or the fingerprint you expect: ";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_full_yes_or_the_fingerprint_trusts_a_key() {
        let table = [
            ("yes", Some(true)),
            (" YES ", Some(true)),
            ("SHA256:abc", Some(true)),
            ("SHA256:abd", Some(false)),
            ("no", Some(false)),
            ("y", None),
            ("n", None),
            ("", None),
            ("yes please", None),
        ];
        for (answer, meaning) in table {
            assert_eq!(verdict(answer, "SHA256:abc"), meaning, "{answer:?}");
        }
    }

    #[test]
    fn a_password_question_names_the_account_unless_the_login_does() {
        let ask = |account: &str| {
            secret_text(&SecretQuestion::MailPassword {
                account: account.to_owned(),
                login: "msingh@localhost".to_owned(),
            })
            .0
        };
        assert_eq!(ask("work"), "Mail password for msingh@localhost (work): ");
        assert_eq!(
            ask("pop3://msingh@localhost:110"),
            "Mail password for msingh@localhost: "
        );
    }

    #[test]
    fn a_server_cannot_paint_on_the_terminal() {
        let (text, _) = secret_text(&SecretQuestion::SshPrompt {
            login: "msingh@popserver".to_owned(),
            prompt: "\x1b[2JPassword:".to_owned(),
            echo: false,
        });
        assert_eq!(text, "(msingh@popserver) \\u{1b}[2JPassword: ");
    }
}
