//! How the daemon goes about its work, resolved.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use crate::config::one_line;

/// How the daemon goes about its work.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct DaemonPlan {
    /// How many accounts are polled at a time.
    pub jobs: usize,
    /// How many of them at one mail server.
    pub jobs_per_host: usize,
    /// A shell command that is run when an account is in trouble for long.
    pub on_failure: Option<String>,
    /// After how many failed polls in a row.
    pub failures: u32,
    /// After how long without a poll that went well, if ever.
    pub silence: Option<Duration>,
    /// A shell command that is run when mail has come.
    pub on_new_mail: Option<String>,
    /// A file for the node exporter of Prometheus.
    pub metrics_file: Option<PathBuf>,
    /// Where Prometheus may ask; an address of this machine's loopback.
    pub metrics_listen: Option<SocketAddr>,
    /// How long polls may take to come to an end when the daemon stops.
    pub stop_timeout: Duration,
}

impl Default for DaemonPlan {
    fn default() -> Self {
        Self {
            jobs: 16,
            jobs_per_host: 8,
            on_failure: None,
            failures: 3,
            silence: Some(Duration::from_secs(12 * 60 * 60)),
            on_new_mail: None,
            metrics_file: None,
            metrics_listen: None,
            stop_timeout: Duration::from_secs(30),
        }
    }
}

/// What is as it always is is left out.
impl fmt::Display for DaemonPlan {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let usual = Self::default();
        let Self {
            jobs,
            jobs_per_host,
            on_failure,
            failures,
            silence,
            on_new_mail,
            metrics_file,
            metrics_listen,
            stop_timeout,
        } = self;
        let time = |time: &Duration| humantime::format_duration(*time).to_string();
        let mut line = |name: &str, value: String| writeln!(f, "daemon {name}: {value}");
        if *jobs != usual.jobs || *jobs_per_host != usual.jobs_per_host {
            line(
                "jobs",
                format!("{jobs}, {jobs_per_host} at one mail server"),
            )?;
        }
        if let Some(command) = on_failure {
            let mut after = format!("after {failures} failures");
            if let Some(silence) = silence {
                after += &format!(" or {} without success", time(silence));
            }
            line("on-failure", format!("`{}` {after}", one_line(command)))?;
        }
        if let Some(command) = on_new_mail {
            line("on-new-mail", format!("`{}`", one_line(command)))?;
        }
        if let Some(path) = metrics_file {
            line("metrics-file", path.display().to_string())?;
        }
        if let Some(address) = metrics_listen {
            line("metrics-listen", address.to_string())?;
        }
        if *stop_timeout != usual.stop_timeout {
            line("stop-timeout", time(stop_timeout))?;
        }
        Ok(())
    }
}
