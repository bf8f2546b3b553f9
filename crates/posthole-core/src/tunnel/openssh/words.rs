//! What `ssh` prints for people, as far as it tells the steps that it takes.
//!
//! These lines are no interface: they differ between versions, and one that is not understood is
//! missed and does no harm. Whatever decides about anything is in [`super::verdict`].
//!
//! A server's banner is printed in between as it is, and can look like any of them. It cannot come
//! before the keys are exchanged and the host key has passed, so who says a word is certain until
//! then; from then on it is `ssh`, or a host that could as well do what it makes `ssh` say.

use std::net::{IpAddr, SocketAddr};
use std::path::PathBuf;

use crate::plan::Hop;
use crate::progress::Step;

use super::super::error::{Attempt, Phase};
use super::super::known_hosts::Names;

/// Whether a line belongs to what went wrong, should it go wrong.
pub(super) fn is_complaint(line: &str) -> bool {
    !NOISE.iter().any(|noise| line.starts_with(noise))
}

/// A line that says something.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) enum Word {
    /// It is let in, by this method.
    Authenticated(String),
    /// It tries this address of the host.
    Connecting(SocketAddr),
    /// The address was right.
    Connected,
    /// The host key is recorded there.
    HostKeyFound(PathBuf, usize),
    /// The host's algorithm and fingerprint.
    HostKeyShown(String, String),
    /// The keys of the session are in use, and the host key has passed.
    KeysExchanged,
    /// It offers a key.
    KeyOffered(String),
    /// The key was good.
    KeyAccepted(String),
    /// It uses the connection of another process.
    Shared,
}

impl Word {
    pub(super) fn of(line: &str) -> Option<Self> {
        if let Some(rest) = line.strip_prefix("Authenticated to ") {
            let (_, method) = rest.rsplit_once(" using \"")?;
            return Some(Self::Authenticated(
                method.trim_end_matches(['.', '"']).to_owned(),
            ));
        }
        let line = line.strip_prefix("debug1: ")?;
        if line == "Connection established." {
            Some(Self::Connected)
        } else if line == "SSH2_MSG_NEWKEYS received" {
            Some(Self::KeysExchanged)
        } else if let Some(rest) = line.strip_prefix("Connecting to ") {
            // popserver [192.0.2.7] port 22.
            let (_, rest) = rest.rsplit_once(" [")?;
            let (ip, port) = rest.split_once("] port ")?;
            let ip: IpAddr = ip.parse().ok()?;
            let port: u16 = port.trim_end_matches('.').parse().ok()?;
            Some(Self::Connecting((ip, port).into()))
        } else if let Some(rest) = line.strip_prefix("Server host key: ") {
            let (algorithm, fingerprint) = rest.split_once(' ')?;
            Some(Self::HostKeyShown(
                algorithm.to_owned(),
                fingerprint.to_owned(),
            ))
        } else if let Some(rest) = line.strip_prefix("Found key in ") {
            let (file, line) = rest.rsplit_once(':')?;
            Some(Self::HostKeyFound(file.into(), line.parse().ok()?))
        } else if let Some(rest) = line.strip_prefix("Offering public key: ") {
            Some(Self::KeyOffered(key(rest)))
        } else if let Some(rest) = line.strip_prefix("Server accepts key: ") {
            Some(Self::KeyAccepted(key(rest)))
        } else if line.starts_with("auto-mux: Trying existing master") {
            Some(Self::Shared)
        } else {
            None
        }
    }
}

/// `/home/x/.ssh/id ED25519 SHA256:… explicit agent` in our words.
fn key(text: &str) -> String {
    let mut words = text.split(' ').rev();
    let is_of_agent = words
        .by_ref()
        .take_while(|word| !word.starts_with("SHA256:"))
        .any(|word| word == "agent");
    let mut fields = text.rsplitn(2, " SHA256:");
    let (Some(rest), Some(before)) = (fields.next(), fields.next()) else {
        return format!("publickey {text}");
    };
    let fingerprint = rest.split(' ').next().unwrap_or(rest);
    let (file, algorithm) = before.rsplit_once(' ').unwrap_or(("", before));
    let place = match (is_of_agent, file) {
        (true, "") => " from the agent".to_owned(),
        (true, file) => format!(" from {file} in the agent"),
        (false, "") => String::new(),
        (false, file) => format!(" from {file}"),
    };
    format!("publickey {algorithm} SHA256:{fingerprint}{place}")
}

/// What was heard so far.
#[derive(Debug, Default)]
pub(super) struct Heard {
    address: Option<SocketAddr>,
    is_connected: bool,
    shown: Option<(String, String)>,
    found: Option<(PathBuf, usize)>,
    /// The keys that were offered, and whether the server would have them.
    offered: Vec<(String, bool)>,
    are_keys_exchanged: bool,
    is_authenticated: bool,
    is_shared: bool,
}

impl Heard {
    /// Takes note of a line, and says if a step was taken.
    pub(super) fn take(&mut self, word: Word, hop: &Hop) -> Option<Step> {
        match word {
            // Of a host on the way, or none of `ssh` at all.
            Word::Authenticated(_) if !self.are_keys_exchanged => {}
            Word::KeysExchanged => self.are_keys_exchanged = self.shown.is_some(),
            Word::Connecting(address) => self.address = Some(address),
            Word::Connected => {
                self.is_connected = true;
                let address = self.address?;
                return Some(Step::Connected { address });
            }
            Word::HostKeyShown(algorithm, fingerprint) => {
                self.shown = Some((algorithm, fingerprint));
            }
            Word::HostKeyFound(file, line) => {
                // Once only: the keys are shown anew when they are renewed.
                let is_first = self.found.is_none();
                self.found = Some((file.clone(), line));
                if let Some((algorithm, fingerprint)) = self.shown.clone()
                    && is_first
                {
                    return Some(Step::HostKey {
                        host: Names::of(hop).entry().to_owned(),
                        algorithm,
                        fingerprint,
                        recorded: Some((file, line)),
                        authority: None,
                    });
                }
            }
            Word::KeyOffered(key) => {
                if self.offered.len() < KEYS_KEPT {
                    self.offered.push((key, false));
                }
            }
            Word::KeyAccepted(key) => {
                self.offered.retain(|(offered, _)| *offered != key);
                self.offered.push((key, true));
            }
            Word::Authenticated(method) => {
                self.is_authenticated = true;
                let method = match self.offered.last() {
                    Some((key, true)) if method == "publickey" => key.clone(),
                    _ => method,
                };
                let login = hop.login();
                return Some(Step::Authenticated { login, method });
            }
            Word::Shared => self.is_shared = true,
        }
        None
    }

    pub(super) fn is_authenticated(&self) -> bool {
        self.is_authenticated
    }

    /// Whether a server's banner may be among what is said.
    pub(super) fn may_have_banner(&self) -> bool {
        self.are_keys_exchanged
    }

    pub(super) fn is_shared(&self) -> bool {
        self.is_shared
    }

    /// The algorithm and fingerprint of the host key that the last host has shown.
    pub(super) fn host_key(&self) -> Option<(&str, &str)> {
        let (algorithm, fingerprint) = self.shown.as_ref()?;
        Some((algorithm, fingerprint))
    }

    /// The keys that were offered, none of which did.
    pub(super) fn attempts(&self) -> Vec<Attempt> {
        let attempts = self.offered.iter().map(|(key, is_accepted)| {
            if *is_accepted {
                let outcome = "the server would take it, but ssh could not sign with it";
                Attempt::missed(key, outcome)
            } else {
                Attempt::refused(key, "not accepted")
            }
        });
        attempts.collect()
    }

    /// Whether a key was good that could not be used after all.
    pub(super) fn is_key_locked(&self) -> bool {
        self.offered.iter().any(|(_, is_accepted)| *is_accepted)
    }

    /// What is going on.
    pub(super) fn phase(&self) -> Phase {
        if self.is_authenticated {
            Phase::Channel
        } else if self.are_keys_exchanged {
            Phase::Authentication
        } else {
            Phase::KeyExchange
        }
    }
}

/// What is said though nothing is wrong.
const NOISE: [&str; 8] = [
    "debug",
    "Authenticated to ",
    "Transferred: ",
    "Bytes per second: ",
    "Killed by signal",
    "@@@@@@@@@@",
    "Pseudo-terminal will not be allocated",
    "Warning: Permanently added",
];

/// More than any server lets a client try.
const KEYS_KEPT: usize = 32;

#[cfg(test)]
mod tests {
    use super::*;

    const LOG: &str = "\
debug1: Reading configuration data /etc/ssh/ssh_config
debug1: Connecting to popserver [127.0.0.1] port 20222.
debug1: Connection established.
debug1: identity file /home/x/.ssh/id type 3
debug1: Server host key: ssh-ed25519 SHA256:mB6RGOPz
debug1: Host '[127.0.0.1]:20222' is known and matches the ED25519 host key.
debug1: Found key in /home/x/.ssh/known_hosts:12
debug1: SSH2_MSG_NEWKEYS received
debug1: Offering public key: /home/x/.ssh/old RSA SHA256:old agent
debug1: Authentications that can continue: publickey
debug1: Offering public key: /home/x/.ssh/id ED25519 SHA256:9djC explicit
debug1: Server accepts key: /home/x/.ssh/id ED25519 SHA256:9djC explicit
Authenticated to popserver ([127.0.0.1]:20222) using \"publickey\".
debug1: channel 0: new stdio-forward [stdio-forward] (inactive timeout: 0)";

    #[test]
    fn the_log_of_openssh_9_tells_the_steps() {
        let hop = Hop::new("popserver", "msingh");
        let mut heard = Heard::default();
        let words = LOG.lines().filter_map(Word::of);
        let steps: Vec<_> = words.filter_map(|word| heard.take(word, &hop)).collect();
        assert_eq!(
            steps,
            [
                Step::Connected {
                    address: ([127, 0, 0, 1], 20222).into()
                },
                Step::HostKey {
                    host: "popserver".to_owned(),
                    algorithm: "ssh-ed25519".to_owned(),
                    fingerprint: "SHA256:mB6RGOPz".to_owned(),
                    recorded: Some(("/home/x/.ssh/known_hosts".into(), 12)),
                    authority: None,
                },
                Step::Authenticated {
                    login: "msingh@popserver".to_owned(),
                    method: "publickey ED25519 SHA256:9djC from /home/x/.ssh/id".to_owned(),
                },
            ]
        );
        assert_eq!(heard.phase(), Phase::Channel);
        assert_eq!(
            heard.attempts()[0].what,
            "publickey RSA SHA256:old from /home/x/.ssh/old in the agent"
        );
    }

    #[test]
    fn nobody_is_let_in_before_the_host_has_shown_its_key() {
        let hop = Hop::new("popserver", "msingh");
        let mut heard = Heard::default();
        for line in [
            "Authenticated to popserver ([127.0.0.1]:22) using \"password\".",
            "debug1: SSH2_MSG_NEWKEYS received",
            "Authenticated to popserver ([127.0.0.1]:22) using \"password\".",
        ] {
            assert_eq!(heard.take(Word::of(line).unwrap(), &hop), None);
            assert!(!heard.is_authenticated(), "{line}");
        }
    }

    #[test]
    fn lines_that_only_look_alike_are_missed() {
        for line in [
            "",
            "Authenticated to",
            "Authenticated to you",
            "debug1: Connecting to x [here] port 1.",
            "debug1: Connecting to x [::1] port 65536.",
            "debug1: Connecting to",
            "debug1: Found key in nowhere",
            "debug1: Server host key: x",
            "Connection established.",
        ] {
            assert_eq!(Word::of(line), None, "{line}");
        }
    }

    #[test]
    fn what_is_said_by_the_way_is_no_complaint() {
        assert!(LOG.lines().all(|line| !is_complaint(line)));
        assert!(is_complaint("Host key verification failed."));
    }
}
