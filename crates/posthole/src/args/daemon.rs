//! The arguments of `posthole daemon` and of the commands that talk to it.

use std::path::PathBuf;

use clap::{Args, ValueHint};

/// `posthole daemon`
#[derive(Args, Clone, Debug)]
pub(crate) struct DaemonArgs {
    /// Go on in the background once everything is ready and asked
    ///
    /// Log lines go to syslog unless --logfile is given. Under systemd leave this out.
    #[arg(short, long)]
    pub(crate) detach: bool,

    /// Append log lines to this file instead of standard error
    ///
    /// It is made when it is missing, and opened again after a rotation or a SIGUSR2.
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, value_parser = super::path)]
    pub(crate) logfile: Option<PathBuf>,

    /// Send log lines to syslog instead of standard error
    ///
    /// SOCKET is where it listens, usually /dev/log.
    #[arg(long, value_name = "SOCKET", num_args = 0..=1, require_equals = true)]
    #[arg(default_missing_value = "", value_hint = ValueHint::FilePath, conflicts_with = "logfile")]
    pub(crate) syslog: Option<PathBuf>,

    /// Write the number of the process into this file while it runs
    #[arg(long, value_name = "FILE", value_hint = ValueHint::FilePath, value_parser = super::path)]
    pub(crate) pidfile: Option<PathBuf>,

    /// Ask nothing at the start, even on a terminal
    ///
    /// `posthole unlock` gives passwords and passphrases later.
    #[arg(long)]
    pub(crate) no_ask: bool,

    /// Set by --detach for the process that stays
    #[arg(long, hide = true)]
    pub(crate) is_detached: bool,
}

/// `posthole status`
#[derive(Args, Debug)]
pub(crate) struct StatusArgs {
    /// Show it again every second until interrupted
    #[arg(short, long)]
    pub(crate) watch: bool,
}

/// `posthole wake`
#[derive(Args, Debug)]
pub(crate) struct WakeArgs {
    /// Only this account, even one that waits for somebody to do something about it
    #[arg(value_name = "ACCOUNT")]
    pub(crate) account: Option<String>,
}

/// `posthole pause`
#[derive(Args, Debug)]
pub(crate) struct PauseArgs {
    /// Go on at the next `posthole wake`, as when the network comes back
    #[arg(long)]
    pub(crate) until_wake: bool,
}

pub(super) const DAEMON_EXAMPLES: &str = "\
Examples:
  Poll all accounts at their intervals, in the foreground, as systemd wants it:
    posthole daemon

  The same in the background; passwords and passphrases are asked for first:
    posthole daemon --detach --logfile ~/.local/state/posthole/log

  Give a daemon that somebody else has started what it waits for:
    posthole unlock";

pub(super) const STATUS_EXAMPLES: &str = "\
Examples:
  How are the accounts?
    posthole status

  Those that did not work the last time, for a script:
    posthole status --json | jq -r '.accounts[] | select(.failures > 0) | .account'";

pub(super) const WAKE_EXAMPLES: &str = "\
Examples:
  Poll now, since the network has come back:
    posthole wake

  Try again an account whose login was refused, after the password was changed:
    posthole wake work";
