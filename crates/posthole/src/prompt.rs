//! Questions for the person at the terminal: passwords, passphrases, host keys.
//!
//! Accounts are polled side by side and may ask at the same time; they get the terminal one after
//! another, and nothing else is printed there until an answer is given (`console`). Without a
//! terminal every question is turned down at once.

use std::sync::{Arc, Mutex, PoisonError};

use posthole_core::ask::{Ask, HostKeyQuestion, SecretQuestion, Unanswered};
use secrecy::{ExposeSecret, SecretString};
use tokio_util::sync::CancellationToken;

use crate::console::Console;
use crate::report::printable;
use crate::tty::{Echo, Tty};

/// The person at the terminal.
pub(crate) struct Prompt {
    console: Arc<Console>,
    stop: CancellationToken,
    turn: Mutex<()>,
}

impl Prompt {
    /// Asks on the controlling terminal until `stop` is cancelled.
    pub(crate) fn new(console: Arc<Console>, stop: CancellationToken) -> Self {
        Self {
            console,
            stop,
            turn: Mutex::default(),
        }
    }

    /// Has the terminal to itself while `ask` runs.
    fn alone<T>(&self, ask: impl FnOnce(&Tty) -> Result<T, Unanswered>) -> Result<T, Unanswered> {
        let _turn = self.turn.lock().unwrap_or_else(PoisonError::into_inner);
        // Others may have waited in line for a question that was the last.
        if self.stop.is_cancelled() {
            return Err(Unanswered::Cancelled);
        }
        let tty = Tty::open().ok_or(Unanswered::NoTerminal)?;
        let _held = self.console.hold();
        ask(&tty)
    }
}

impl Ask for Prompt {
    fn secret(&self, question: &SecretQuestion) -> Result<SecretString, Unanswered> {
        self.alone(|tty| {
            let (text, echo) = secret_text(question);
            tty.ask(&text, echo, &self.stop)
        })
    }

    fn trust_host_key(&self, question: &HostKeyQuestion) -> Result<bool, Unanswered> {
        self.alone(|tty| {
            let mut text = host_key_text(question);
            loop {
                let answer = tty.ask(&text, Echo::Shown, &self.stop)?;
                if let Some(verdict) = verdict(answer.expose_secret(), &question.fingerprint) {
                    return Ok(verdict);
                }
                AGAIN.clone_into(&mut text);
            }
        })
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
