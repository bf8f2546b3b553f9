//! What there is to say about forwards.

use posthole_core::forward::Status;
use posthole_core::plan::{Forward, Hop};
use serde::Serialize;

use super::Problem;

/// A forward that is served from now on.
#[derive(Debug, Serialize)]
pub(crate) struct Forwarding {
    /// The forward.
    pub(crate) forward: String,
    /// Where programs connect.
    pub(crate) listen: Vec<String>,
    /// The account whose mailbox it is, if programs log in with a token.
    pub(crate) account: Option<String>,
    /// Where the connections go, as the last SSH host sees it.
    pub(crate) to: String,
    /// The SSH hosts on the way, as `user@host`.
    pub(crate) via: Vec<String>,
    /// Where it leads, in words.
    #[serde(skip)]
    pub(crate) leads_to: String,
}

impl Forwarding {
    pub(crate) fn new(forward: &Forward, listen: Vec<String>) -> Self {
        Self {
            forward: forward.name.clone(),
            listen,
            account: forward.account().map(str::to_owned),
            to: forward.to().to_string(),
            via: forward.hops().iter().map(Hop::login).collect(),
            leads_to: forward.to_string(),
        }
    }
}

/// What a mail program logs in with.
#[derive(Serialize)]
pub(crate) struct NewToken<'a> {
    /// The forward it is for.
    pub(crate) forward: &'a str,
    /// The token.
    pub(crate) token: &'a str,
}

/// Something that happened to a client.
#[derive(Debug, Serialize)]
pub(crate) struct ForwardEvent {
    /// The forward.
    pub(crate) forward: String,
    /// `cut`, `failed`, `not-accepted` or `refused`.
    pub(crate) event: &'static str,
    /// What it was, in words.
    pub(crate) text: Option<String>,
    /// Why there was no channel.
    pub(crate) error: Option<Problem>,
}

impl ForwardEvent {
    pub(crate) fn told(forward: &str, event: &'static str, text: String) -> Self {
        Self {
            forward: forward.to_owned(),
            event,
            text: Some(text),
            error: None,
        }
    }

    pub(crate) fn failed(forward: &str, error: Problem) -> Self {
        Self {
            forward: forward.to_owned(),
            event: "failed",
            text: None,
            error: Some(error),
        }
    }
}

/// What a forward came to.
#[derive(Debug, Serialize)]
pub(crate) struct ForwardEnded {
    /// The forward.
    pub(crate) forward: String,
    /// Clients that had a channel.
    pub(crate) clients: u64,
    /// Clients that were not let in.
    pub(crate) refused: u64,
    /// Octets that clients got.
    pub(crate) received: u64,
    /// Octets that clients sent.
    pub(crate) sent: u64,
}

impl ForwardEnded {
    pub(crate) fn new(forward: &str, status: Status) -> Self {
        Self {
            forward: forward.to_owned(),
            clients: status.served,
            refused: status.refused,
            received: status.received,
            sent: status.sent,
        }
    }
}
