//! Logging in (RFC 4252): several methods, several keys, perhaps several methods in sequence.
//!
//! The loop makes one attempt at a time and lets the server's answer decide about the next one. It
//! keeps count, since servers hang up after a few failures (`MaxAuthTries` in sshd_config(5)), and
//! it keeps a list of what came of every attempt, since a failed login is only helpful if it says
//! what was tried.
//!
//! A login costs as few round trips as it can with russh: the method `none`, which lists the
//! others, is spared where a key is at hand, because the refusal of a key lists them as well. What
//! russh does not spare is the question whether the server would take a key (RFC 4252 §7), before
//! it is signed with.

mod agent;
mod certificate;
mod exchange;
mod gather;
mod key_file;
mod keyboard;
mod keys;
mod password;
mod pem;
mod publickey;
mod short_scalar;
mod signer;

use std::collections::VecDeque;
use std::sync::Mutex;

use russh::MethodKind;
use russh::client::Handle;

use crate::plan::{Hop, PasswordSource};

use super::answers::Answers;
use super::client::Client;
use super::connection::Caller;
use super::error::TunnelError;
use super::loss::Ending;
use super::patience::Patience;
use super::wire::Heard;

use exchange::{Exchange, Outcome};
use keys::Keys;
use password::Passwords;

/// A login at one host.
#[derive(Clone, Copy)]
pub(super) struct Login<'a> {
    pub(super) hop: &'a Hop,
    /// The hosts on the way to it.
    pub(super) before: &'a [Hop],
    pub(super) answers: &'a Answers,
    pub(super) patience: &'a Patience,
    pub(super) caller: Caller<'a>,
    pub(super) ending: &'a Ending,
    pub(super) heard: &'a Heard,
    pub(super) banner: &'a Mutex<String>,
}

impl Login<'_> {
    /// Logs in and says how, such as `publickey ED25519 SHA256:… from /home/x/.ssh/id_ed25519`.
    pub(super) async fn run(self, handle: &mut Handle<Client>) -> Result<String, TunnelError> {
        let mut tried = Vec::new();
        let order = order(self.hop);
        let keys = if order.contains(&MethodKind::PublicKey) {
            let binding = handle.agent_session_binding().cloned();
            gather::gather(self.hop, binding.as_ref(), &mut tried).await?
        } else {
            Keys::new(VecDeque::new(), None)
        };
        let passwords = Passwords::new(self.hop, self.answers).await;
        let mut exchange = Exchange::new(self, handle, keys, passwords, tried);
        loop {
            let outcome = match exchange.next_method(&order) {
                Some(MethodKind::PublicKey) => exchange.key().await?,
                Some(MethodKind::Password) => exchange.password().await?,
                Some(MethodKind::KeyboardInteractive) => exchange.keyboard_interactive().await?,
                Some(_) => exchange.none().await?,
                None => return Err(exchange.failed()),
            };
            if outcome == Outcome::LoggedIn {
                exchange.show_banner();
                return Ok(exchange.passed());
            }
        }
    }
}

/// The methods in the order they are tried in, those left out that are not known here.
///
/// A configured password goes by `password` first, which takes it without any doubt. A person
/// answers `keyboard-interactive` first, in the server's own words, which may ask for more than a
/// password.
fn order(hop: &Hop) -> Vec<MethodKind> {
    use MethodKind::{KeyboardInteractive, Password, PublicKey};
    match &hop.methods {
        Some(names) => {
            let kinds = names.iter().filter_map(|name| name.parse().ok());
            kinds
                .filter(|kind| matches!(kind, PublicKey | Password | KeyboardInteractive))
                .collect()
        }
        None if matches!(hop.password, PasswordSource::Prompt) => {
            vec![PublicKey, KeyboardInteractive, Password]
        }
        None => vec![PublicKey, Password, KeyboardInteractive],
    }
}

/// What the table in the manual is compared with.
#[cfg(test)]
pub(crate) mod limits {
    pub(crate) use super::agent::LONGEST as LONGEST_ANSWER;
    pub(crate) use super::key_file::LONGEST as LONGEST_KEY_FILE;
    pub(crate) use super::keyboard::{MOST_PROMPTS, MOST_ROUNDS};
}
