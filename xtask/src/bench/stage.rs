//! What stands while contenders run: Dovecot with the mail, sshd before it, the line, the peers'
//! tunnel, and the home of whoever fetches.
//!
//! Everything is set up and warm before the first clock starts: Dovecot has indexed the mailboxes
//! and the kernel has read them, so that no contender pays for being first.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::time::Duration;

use posthole_testkit::Home;
use posthole_testkit::keys::{self, KeyFormat, KeyType};
use posthole_testkit::real::{Dovecot, Requirement, Sshd};
use posthole_testkit::relay::Relay;

use super::contender::Answers;
use super::tunnel::{Tunnel, Way};

/// The line between the client and the SSH server.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Line {
    /// The time there and back.
    pub(super) rtt: Duration,
    /// What it carries, in either direction; nothing says without limit.
    pub(super) bits_per_second: Option<u64>,
    /// Whether SSH compresses, Posthole's and the tunnel's alike.
    pub(super) compressed: bool,
}

impl Line {
    /// A line with nothing but this round-trip time.
    pub(super) fn with_rtt(milliseconds: u64) -> Self {
        Self {
            rtt: Duration::from_millis(milliseconds),
            ..Self::default()
        }
    }
}

/// Mailboxes behind SSH, and everything that is needed to fetch them.
#[derive(Debug)]
pub(super) struct Stage {
    // In this order so that each goes before what it depends on.
    tunnel: Tunnel,
    relay: Option<Relay>,
    entrance: SocketAddr,
    _sshd: Sshd,
    dovecot: Dovecot,
    home: Home,
    line: Line,
    posthole: PathBuf,
    n_messages: usize,
}

impl Stage {
    /// Builds the stage for one mailbox and a line, over which `posthole` is to fetch it.
    pub(super) fn build(posthole: &Path, messages: &[Vec<u8>], line: Line) -> Result<Self, String> {
        let dovecot = if Requirement::DovecotImap.missing().is_none() {
            Dovecot::start_with_imap(messages)
        } else {
            Dovecot::start(messages)
        };
        Self::before(dovecot, 1, messages.len(), posthole, line)
    }

    /// Builds the stage for so many mailboxes, each with these messages, and a line without limits.
    pub(super) fn with_accounts(
        posthole: &Path,
        n_accounts: usize,
        messages: &[Vec<u8>],
    ) -> Result<Self, String> {
        let dovecot = Dovecot::start_for(n_accounts, messages);
        let n_messages = messages.len();
        Self::before(dovecot, n_accounts, n_messages, posthole, Line::default())
    }

    fn before(
        dovecot: Dovecot,
        n_accounts: usize,
        n_messages: usize,
        posthole: &Path,
        line: Line,
    ) -> Result<Self, String> {
        for number in 0..n_accounts {
            let user = Dovecot::user(number);
            Answers::Retr(n_messages).download_as(&user, dovecot.port())?;
        }
        let key = keys::generate(KeyType::Ed25519);
        let mut sshd = Sshd::builder()
            .key(key.public_key())
            .permit_open("localhost", dovecot.port());
        let imap = dovecot.imap_addr().map(|addr| addr.port());
        if let Some(imap) = imap {
            sshd = sshd.permit_open("localhost", imap);
        }
        let sshd = sshd.start();
        // Where the line is as long and wide as loopback itself, nothing stands in it.
        let is_plain = line.rtt.is_zero() && line.bits_per_second.is_none();
        let relay = (!is_plain).then(|| {
            let relay = Relay::to(sshd.addr()).latency(line.rtt / 2);
            match line.bits_per_second {
                Some(rate) => relay.bytes_per_second(rate / 8).start(),
                None => relay.start(),
            }
        });
        let entrance = relay.as_ref().map_or_else(|| sshd.addr(), Relay::addr);

        let home = Home::new();
        home.write_identity(&key, KeyFormat::OpenSsh, None);
        home.write_password(Dovecot::PASSWORD);
        let (host, port) = (entrance.ip().to_string(), entrance.port());
        home.write_known_hosts(&keys::known_hosts_line(&host, port, sshd.host_key()));
        let tunnel = Tunnel::open(&Way {
            home: &home,
            entrance,
            compressed: line.compressed,
            pop3: dovecot.port(),
            imap,
        })?;
        Ok(Self {
            tunnel,
            relay,
            entrance,
            _sshd: sshd,
            dovecot,
            home,
            line,
            posthole: posthole.to_owned(),
            n_messages,
        })
    }

    /// The `posthole` that is measured.
    pub(super) fn posthole(&self) -> &Path {
        &self.posthole
    }

    /// The line to the SSH server.
    pub(super) fn line(&self) -> Line {
        self.line
    }

    /// How many messages are in a mailbox.
    pub(super) fn n_messages(&self) -> usize {
        self.n_messages
    }

    /// The peers' tunnel.
    pub(super) fn tunnel(&self) -> &Tunnel {
        &self.tunnel
    }

    /// Opens another tunnel like the peers', from nothing.
    pub(super) fn new_tunnel(&self) -> Result<Tunnel, String> {
        Tunnel::open(&Way {
            home: &self.home,
            entrance: self.entrance,
            compressed: self.line.compressed,
            pop3: self.dovecot.port(),
            imap: None,
        })
    }

    /// The relay, if one is in the line.
    pub(super) fn relay(&self) -> Option<&Relay> {
        self.relay.as_ref()
    }

    /// The home of whoever fetches.
    pub(super) fn home(&self) -> &Home {
        &self.home
    }

    /// A user's mailbox as the SSH server sees it.
    pub(super) fn url(&self, user: &str) -> String {
        format!("pop3://{user}@localhost:{}", self.dovecot.port())
    }

    /// The SSH server as Posthole reaches it.
    pub(super) fn via(&self) -> String {
        format!("{}@{}", Sshd::USER, self.entrance)
    }
}
