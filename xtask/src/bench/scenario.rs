//! The mailboxes and lines on which the contenders are compared.

use std::time::Duration;

use posthole_testkit::mail;

use super::contender::Contender;
use super::stage::Line;

/// A mailbox, a line, and who fetches over it.
#[derive(Debug)]
pub(super) struct Scenario {
    /// As the command line calls it.
    pub(super) name: &'static str,
    /// As the tables call it.
    pub(super) title: &'static str,
    /// How often each contender runs.
    pub(super) rounds: usize,
    mailbox: Mailbox,
    rtt_ms: u64,
    bits_per_second: Option<u64>,
    /// Contenders besides Posthole and the wire, and how often they run at most: one of them takes
    /// minutes where others take a second.
    peers: &'static [(Contender, usize)],
}

#[derive(Clone, Copy, Debug)]
enum Mailbox {
    Small,
    Mixed,
    Attachments,
    Text,
}

impl Scenario {
    /// The messages in the mailbox.
    pub(super) fn messages(&self) -> Vec<Vec<u8>> {
        match self.mailbox {
            Mailbox::Small => mail::small(2_000),
            Mailbox::Mixed => mail::mixed(400),
            Mailbox::Attachments => mail::attachments(20, 5_000_000),
            Mailbox::Text => mail::text(500),
        }
    }

    /// The line to the SSH server; a slow one compresses.
    pub(super) fn line(&self) -> Line {
        Line {
            rtt: Duration::from_millis(self.rtt_ms),
            bits_per_second: self.bits_per_second,
            compressed: self.bits_per_second.is_some(),
        }
    }

    /// How often a contender runs, if it takes part.
    pub(super) fn rounds_of(&self, contender: Contender, rounds: usize) -> usize {
        if matches!(contender, Contender::Posthole | Contender::Wire) {
            return rounds;
        }
        let mut peers = self.peers.iter();
        peers
            .find(|(peer, _)| *peer == contender)
            .map_or(0, |(_, most)| rounds.min(*most))
    }
}

/// All of them, in the order of the table.
pub(super) const SCENARIOS: &[Scenario] = &[
    Scenario {
        name: "small",
        title: "2 000 small (5.1 MB), RTT 0",
        rounds: 5,
        mailbox: Mailbox::Small,
        rtt_ms: 0,
        bits_per_second: None,
        peers: &[
            (Contender::Mpop, MANY),
            (Contender::Mbsync, MANY),
            (Contender::Fdm, 1),
            (Contender::Fetchmail, 1),
        ],
    },
    Scenario {
        name: "small-50ms",
        title: "2 000 small, RTT 50 ms",
        rounds: 5,
        mailbox: Mailbox::Small,
        rtt_ms: 50,
        bits_per_second: None,
        // A command at a time, fetchmail and fdm take over three minutes.
        peers: &[(Contender::Mpop, MANY), (Contender::Mbsync, MANY)],
    },
    Scenario {
        name: "mixed",
        title: "400 mixed (11.8 MB), RTT 0",
        rounds: 5,
        mailbox: Mailbox::Mixed,
        rtt_ms: 0,
        bits_per_second: None,
        peers: &[
            (Contender::Mpop, MANY),
            (Contender::Mbsync, MANY),
            (Contender::Fdm, 1),
            (Contender::Fetchmail, 2),
        ],
    },
    Scenario {
        name: "large",
        title: "20 × 5 MB attachments (135 MB), RTT 0",
        rounds: 5,
        mailbox: Mailbox::Attachments,
        rtt_ms: 0,
        bits_per_second: None,
        peers: &[
            (Contender::Mpop, MANY),
            (Contender::Mbsync, MANY),
            (Contender::Fdm, 1),
            (Contender::Fetchmail, 1),
        ],
    },
    Scenario {
        name: "large-50ms",
        title: "20 × 5 MB attachments, RTT 50 ms",
        rounds: 3,
        mailbox: Mailbox::Attachments,
        rtt_ms: 50,
        bits_per_second: None,
        peers: &[(Contender::Mpop, MANY), (Contender::Mbsync, MANY)],
    },
    Scenario {
        name: "text-2mbit",
        title: "500 text (10 MB), RTT 50 ms, 2 Mbit/s, compressed",
        rounds: 3,
        mailbox: Mailbox::Text,
        rtt_ms: 50,
        bits_per_second: Some(2_000_000),
        peers: &[(Contender::Mpop, MANY)],
    },
];

const MANY: usize = usize::MAX;
