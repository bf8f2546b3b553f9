//! `[daemon]`: how the daemon goes about its work, as written.

use std::path::PathBuf;
use std::time::Duration;

use super::Spanned;
use crate::plan::HostPort;

/// What may be said in `[daemon]`.
#[derive(Clone, Debug, Default)]
pub struct DaemonOptions {
    /// How many accounts are polled at a time.
    pub jobs: Option<Spanned<u32>>,
    /// How many of them at one mail server.
    pub jobs_per_host: Option<Spanned<u32>>,
    /// A command that is run when an account is in trouble for long.
    pub on_failure: Option<Spanned<String>>,
    /// After how many failed polls in a row.
    pub failures: Option<Spanned<u32>>,
    /// After how long without a poll that went well; zero is never.
    pub silence: Option<Spanned<Duration>>,
    /// A command that is run when mail has come.
    pub on_new_mail: Option<Spanned<String>>,
    /// A file for the node exporter of Prometheus.
    pub metrics_file: Option<Spanned<PathBuf>>,
    /// Where Prometheus may ask.
    pub metrics_listen: Option<Spanned<HostPort>>,
    /// How long polls may take to come to an end when the daemon stops.
    pub stop_timeout: Option<Spanned<Duration>>,
}
