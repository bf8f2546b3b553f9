//! What stands while a scenario runs: Dovecot with the mail, sshd before it, the line, the peers'
//! tunnel, and the home of whoever fetches.
//!
//! Everything is set up and warm before the first clock starts: Dovecot has indexed the mailbox and
//! the kernel has read it, so that no contender pays for being first.

use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use posthole_testkit::Home;
use posthole_testkit::keys::{self, KeyFormat, KeyType};
use posthole_testkit::real::{Dovecot, Requirement, Sshd};
use posthole_testkit::relay::Relay;

use super::contender::Answers;
use super::tunnel::Tunnel;

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

/// A mailbox behind SSH, and everything that is needed to fetch it.
#[derive(Debug)]
pub(super) struct Stage {
    // In this order so that each goes before what it depends on.
    tunnel: Tunnel,
    relay: Option<Relay>,
    sshd: Sshd,
    dovecot: Dovecot,
    home: Home,
    line: Line,
    posthole: PathBuf,
    n_messages: usize,
}

impl Stage {
    /// Builds the stage for a mailbox and a line.
    ///
    /// A relay stands in the line when it has any property, or when `counted` asks for one.
    pub(super) fn build(
        posthole: &Path,
        messages: &[Vec<u8>],
        line: Line,
        counted: bool,
    ) -> Result<Self, String> {
        let dovecot = if Requirement::DovecotImap.missing().is_none() {
            Dovecot::start_with_imap(messages)
        } else {
            Dovecot::start(messages)
        };
        Answers::Retr(messages.len()).download(dovecot.port())?;

        let key = keys::generate(KeyType::Ed25519);
        let mut sshd = Sshd::builder()
            .key(key.public_key())
            .permit_open("localhost", dovecot.port());
        if let Some(imap) = dovecot.imap_addr() {
            sshd = sshd.permit_open("localhost", imap.port());
        }
        let sshd = sshd.start();
        let slow = !line.rtt.is_zero() || line.bits_per_second.is_some();
        let relay = (slow || counted).then(|| {
            let relay = Relay::to(sshd.addr()).latency(line.rtt / 2);
            match line.bits_per_second {
                Some(rate) => relay.bytes_per_second(rate / 8).start(),
                None => relay.start(),
            }
        });
        let entrance = relay.as_ref().map_or(sshd.addr(), Relay::addr);

        let home = Home::new();
        home.write_identity(&key, KeyFormat::OpenSsh, None);
        home.write_password(Dovecot::PASSWORD);
        let (host, port) = (entrance.ip().to_string(), entrance.port());
        home.write_known_hosts(&keys::known_hosts_line(&host, port, sshd.host_key()));
        let ssh = || ssh(&home, entrance, line.compressed);
        let tunnel = Tunnel::open(ssh, dovecot.addr(), dovecot.imap_addr())?;
        Ok(Self {
            tunnel,
            relay,
            sshd,
            dovecot,
            home,
            line,
            posthole: posthole.to_owned(),
            n_messages: messages.len(),
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

    /// How many messages are in the mailbox.
    pub(super) fn n_messages(&self) -> usize {
        self.n_messages
    }

    /// The peers' tunnel.
    pub(super) fn tunnel(&self) -> &Tunnel {
        &self.tunnel
    }

    /// The relay, if one is in the line.
    pub(super) fn relay(&self) -> Option<&Relay> {
        self.relay.as_ref()
    }

    /// The home of whoever fetches.
    pub(super) fn home(&self) -> &Home {
        &self.home
    }

    /// The mailbox as the SSH server sees it.
    pub(super) fn url(&self) -> String {
        format!("pop3://{}@localhost:{}", Dovecot::USER, self.dovecot.port())
    }

    /// The SSH server as Posthole reaches it.
    pub(super) fn via(&self) -> String {
        let entrance = self.relay.as_ref().map_or(self.sshd.addr(), Relay::addr);
        format!("{}@{entrance}", Sshd::USER)
    }
}

/// OpenSSH's client on its way to the stage's SSH server, with no configuration but this.
fn ssh(home: &Home, entrance: SocketAddr, compressed: bool) -> Command {
    let mut ssh = home.posthole(Path::new("ssh"));
    ssh.args(["-F", "none", "-o", "BatchMode=yes"])
        .arg("-o")
        .arg(format!(
            "UserKnownHostsFile={}",
            home.known_hosts().display()
        ))
        .arg("-o")
        .arg("GlobalKnownHostsFile=none")
        .arg("-i")
        .arg(home.identity())
        .arg("-p")
        .arg(entrance.port().to_string());
    if compressed {
        ssh.arg("-C");
    }
    ssh.arg(format!("{}@{}", Sshd::USER, entrance.ip()));
    ssh
}
