//! How SSH hosts are logged in to.

use std::path::PathBuf;
use std::time::Duration;

use clap::{Args, ValueHint};
use posthole_core::config::Agent;
use posthole_core::plan::SshOverrides;

use super::{duration, either, given, path};

/// What holds for every SSH host on the way.
#[derive(Args, Debug)]
pub(crate) struct SshArgs {
    /// Log in to the SSH host with this private key (can be repeated)
    #[arg(short, long, value_name = "FILE", help_heading = "SSH", value_parser = path)]
    #[arg(value_hint = ValueHint::FilePath)]
    identity: Vec<PathBuf>,

    /// Ask the SSH agent at this socket instead of the one at $SSH_AUTH_SOCK
    #[arg(long, value_name = "SOCKET", help_heading = "SSH", value_parser = path)]
    #[arg(value_hint = ValueHint::FilePath)]
    agent: Option<PathBuf>,

    /// Ask no SSH agent
    #[arg(long, help_heading = "SSH", conflicts_with = "agent")]
    no_agent: bool,

    /// Look for host keys in this file instead of ~/.ssh/known_hosts (can be repeated)
    ///
    /// New keys are recorded in the first.
    #[arg(long, value_name = "FILE", help_heading = "SSH", value_parser = path)]
    #[arg(value_hint = ValueHint::FilePath)]
    known_hosts: Vec<PathBuf>,

    /// Compress what goes over SSH
    #[arg(short = 'C', long, help_heading = "SSH")]
    compress: bool,

    /// Compress nothing, whatever the configuration says
    #[arg(long, help_heading = "SSH", conflicts_with = "compress")]
    no_compress: bool,

    /// Ask the SSH host for a sign of life after this much silence; 0 never asks
    #[arg(long, value_name = "DURATION", help_heading = "SSH", value_parser = duration)]
    keepalive: Option<Duration>,

    /// Give up when an SSH connection does not stand after this long
    #[arg(long, value_name = "DURATION", help_heading = "SSH", value_parser = duration)]
    connect_timeout: Option<Duration>,
}

impl SshArgs {
    /// What was said here and wins over the configuration file.
    pub(crate) fn overrides(&self) -> SshOverrides {
        let no_agent = self.no_agent.then_some(Agent::Off);
        SshOverrides {
            identity: given(&self.identity),
            known_hosts: given(&self.known_hosts),
            compression: either(self.compress, self.no_compress),
            keepalive: self.keepalive,
            connect_timeout: self.connect_timeout,
            agent: self.agent.clone().map(Agent::Socket).or(no_agent),
        }
    }
}
