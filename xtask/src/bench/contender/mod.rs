//! The programs that are compared, each run the way its manual recommends for speed and the mail
//! left on the server.
//!
//! A contender prepares one attempt: a command line with a fresh destination and no memory of
//! earlier attempts, and where the mail should be afterwards. All peers go through an OpenSSH tunnel
//! that already stands; Posthole opens its own connection, and its time includes that.

pub(super) mod peers;
pub(super) mod posthole;
mod wire;

use std::path::{Path, PathBuf};
use std::process::Command;

use super::stage::Stage;
pub(super) use wire::Answers;

/// A program, or a way of using one, that fetches a mailbox.
#[derive(Clone, Copy, Debug, Eq, Hash, Ord, PartialEq, PartialOrd)]
pub(super) enum Contender {
    /// This program, its SSH connection included.
    Posthole,
    /// mpop through the tunnel; the fastest of the POP3 peers.
    Mpop,
    /// mbsync of the package isync, over IMAP.
    Mbsync,
    /// fdm, which sends one command at a time.
    Fdm,
    /// fetchmail with the cheapest of all delivery agents.
    Fetchmail,
    /// All commands at once and the answers thrown away: what no client can beat.
    Wire,
}

/// How a contender does its work.
pub(super) enum Attempt {
    /// By running a program, which leaves a Maildir.
    Program {
        /// The program and its arguments.
        command: Box<Command>,
        /// Where its messages are afterwards.
        maildir: PathBuf,
    },
    /// Within this process, leaving nothing.
    Wire(Answers),
}

impl Contender {
    /// In the order of the tables.
    pub(super) const ALL: [Self; 6] = [
        Self::Posthole,
        Self::Mpop,
        Self::Mbsync,
        Self::Fdm,
        Self::Fetchmail,
        Self::Wire,
    ];

    /// As the tables call it.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Posthole => "posthole",
            Self::Mpop => "mpop",
            Self::Mbsync => "mbsync (IMAP)",
            Self::Fdm => "fdm",
            Self::Fetchmail => "fetchmail",
            Self::Wire => "the wire",
        }
    }

    /// The program that has to be installed, and the Debian package it is in.
    pub(super) fn program(self) -> Option<(&'static str, &'static str)> {
        match self {
            Self::Posthole | Self::Wire => None,
            Self::Mpop => Some(("mpop", "mpop")),
            Self::Mbsync => Some(("mbsync", "isync")),
            Self::Fdm => Some(("fdm", "fdm")),
            Self::Fetchmail => Some(("fetchmail", "fetchmail")),
        }
    }

    /// Prepares an attempt that keeps everything it writes in the directory `fresh`.
    pub(super) fn prepare(self, stage: &Stage, fresh: &Path) -> Result<Attempt, String> {
        match self {
            Self::Posthole => Ok(posthole::prepare(stage, fresh)),
            Self::Mpop => peers::mpop(stage, fresh),
            Self::Mbsync => peers::mbsync(stage, fresh),
            Self::Fdm => peers::fdm(stage, fresh),
            Self::Fetchmail => peers::fetchmail(stage, fresh),
            Self::Wire => Ok(Attempt::Wire(Answers::Retr(stage.n_messages()))),
        }
    }
}
