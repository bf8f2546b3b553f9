//! `[daemon]`.

use toml::de::DeTable;

use super::super::DaemonOptions;
use super::super::section::{Limits, Reader, entries};
use super::super::value::{parse_host_port, parse_path};

impl Reader<'_> {
    pub(super) fn daemon(&mut self, table: &DeTable<'_>, options: &mut DaemonOptions) {
        for entry in entries(table) {
            match entry.key {
                "failures" => options.failures = self.number(entry, 1..=1_000_000),
                "jobs" => options.jobs = self.number(entry, 1..=65_535),
                "jobs-per-host" => options.jobs_per_host = self.number(entry, 1..=65_535),
                "metrics-file" => options.metrics_file = self.parsed_with(entry, parse_path),
                "metrics-listen" => {
                    options.metrics_listen = self.parsed_with(entry, parse_host_port);
                }
                "on-failure" => options.on_failure = self.nonempty(entry, "command"),
                "on-new-mail" => options.on_new_mail = self.nonempty(entry, "command"),
                "silence" => options.silence = self.duration(entry, Limits::INTERVAL_OR_NEVER),
                "stop-timeout" => options.stop_timeout = self.duration(entry, Limits::TIMEOUT),
                _ => self.unknown_option(entry, "in [daemon]", DAEMON_KEYS),
            }
        }
    }
}

pub(super) const DAEMON_KEYS: &[&str] = &[
    "failures",
    "jobs",
    "jobs-per-host",
    "metrics-file",
    "metrics-listen",
    "on-failure",
    "on-new-mail",
    "silence",
    "stop-timeout",
];
