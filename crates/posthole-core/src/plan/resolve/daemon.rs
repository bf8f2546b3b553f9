//! `[daemon]`, with its defaults.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use super::Resolver;
use crate::config::{Diagnostic, Spanned};
use crate::plan::{DaemonPlan, HostPort};

impl Resolver<'_> {
    pub(super) fn daemon(&mut self) -> DaemonPlan {
        let written = &self.config.daemon;
        let usual = DaemonPlan::default();
        let number = |written: &Option<Spanned<u32>>, usual: usize| {
            written.as_ref().map_or(usual, |written| {
                usize::try_from(written.value).unwrap_or(usual)
            })
        };
        let jobs = number(&written.jobs, usual.jobs);
        let metrics_file = written.metrics_file.clone();
        let metrics_listen = written.metrics_listen.clone();
        DaemonPlan {
            jobs,
            jobs_per_host: number(&written.jobs_per_host, usual.jobs_per_host).min(jobs),
            on_failure: written.on_failure.clone().map(|command| command.value),
            failures: written
                .failures
                .as_ref()
                .map_or(usual.failures, |failures| failures.value),
            silence: match &written.silence {
                Some(silence) => Some(silence.value).filter(|silence| !silence.is_zero()),
                None => usual.silence,
            },
            on_new_mail: written.on_new_mail.clone().map(|command| command.value),
            stop_timeout: written
                .stop_timeout
                .as_ref()
                .map_or(usual.stop_timeout, |limit| limit.value),
            metrics_file: metrics_file
                .and_then(|Spanned { value, span }| self.file_path(&value, &span)),
            metrics_listen: metrics_listen.and_then(|listen| self.loopback(&listen)),
        }
    }

    /// Whoever can ask learns which accounts there are, so only this machine can.
    fn loopback(&mut self, written: &Spanned<HostPort>) -> Option<SocketAddr> {
        let HostPort { host, port } = &written.value;
        let address: Option<IpAddr> = match host.as_str() {
            "localhost" => Some(Ipv4Addr::LOCALHOST.into()),
            host => host.parse().ok(),
        };
        match address {
            Some(address) if address.is_loopback() => Some(SocketAddr::new(address, *port)),
            _ => {
                self.note(
                    Diagnostic::error("metrics are for this machine only")
                        .at(written.span.clone())
                        .help(
                            "write \"127.0.0.1:PORT\" or \"[::1]:PORT\"; Prometheus on another \
                             machine reads `metrics-file` by its node exporter",
                        ),
                );
                None
            }
        }
    }
}
