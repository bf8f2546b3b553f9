//! From TOML to [`Config`].

mod daemon;
mod forward;
mod ssh;

use std::fmt::Display;
use std::ops::Range;

use toml::de::{DeTable, DeValue};

use super::name::check_section_name;
use super::section::{Entry, Limits, Reader, entries, one_line};
use super::value::{parse_keep_some, parse_size};
use super::{
    Account, Config, Diagnostic, Options, Spanned, SshHost, did_you_mean, secrets, syntax,
};
use crate::plan::Keep;

use daemon::DAEMON_KEYS;
use forward::FORWARD_KEYS;
use ssh::SSH_KEYS;

/// Reads the text, going on after every mistake.
pub(super) fn lower(text: &str) -> (Config, Vec<Diagnostic>) {
    let (document, errors) = DeTable::parse_recoverable(text);
    let syntax = syntax::diagnose(text, &errors);
    let mut reader = Reader::new(text);
    let mut config = Config::default();
    for entry in entries(document.get_ref()) {
        reader.section(entry, &mut config);
    }
    reader.check_ssh_names(&config);
    config.secrets = secrets::find(text, document.get_ref());

    let mut diagnostics = reader.diagnostics;
    if !syntax.is_empty() {
        // Where the syntax is broken, what was made of the text is a guess.
        let broken = syntax::broken(text, &syntax);
        diagnostics.retain(|found| {
            let start = found.span.as_ref().map_or(0, |span| span.start);
            found.label != MISSING && !broken.iter().any(|broken| broken.contains(&start))
        });
        config.suspects = secrets::suspects(text);
    }
    diagnostics.extend(syntax);
    for diagnostic in &mut diagnostics {
        diagnostic.span = diagnostic.span.take().map(|span| within(text, span));
    }
    diagnostics.sort_by_key(|found| found.span.as_ref().map(|span| span.start));
    (config, diagnostics)
}

impl Reader<'_> {
    /// One entry of the top level.
    fn section(&mut self, entry: Entry<'_>, config: &mut Config) {
        if !SECTIONS.contains(&entry.key) {
            return self.unknown_section(entry);
        }
        let DeValue::Table(table) = entry.value.get_ref() else {
            let help = match entry.key {
                "daemon" | "defaults" => format!("write [{}] and its keys below it", entry.key),
                key => format!("write [{key}.NAME] and its keys below it"),
            };
            return self.wrong_type(entry.key, entry.value, "a table", Some(&help));
        };
        if entry.key == "defaults" {
            for option in entries(table) {
                if !self.option(option, &mut config.defaults) {
                    self.unknown_option(option, "in [defaults]", DEFAULTS_KEYS);
                }
            }
            return;
        }
        if entry.key == "daemon" {
            return self.daemon(table, &mut config.daemon);
        }
        for named in entries(table) {
            let table = match named.value.get_ref() {
                DeValue::Table(table) => table,
                value => {
                    let help = format!("write [{}.NAME] and its keys below it", entry.key);
                    if value.is_array() {
                        self.wrong_type(named.key, named.value, "a table", Some(&help));
                    } else {
                        let message = format!("[{}] is without a name", entry.key);
                        self.note(Diagnostic::error(message).at(named.key_span()).help(help));
                    }
                    continue;
                }
            };
            match entry.key {
                "account" => config.accounts.extend(self.account(named, table)),
                "ssh" => config.ssh.extend(self.ssh_host(named, table)),
                _ => config.forwards.extend(self.forward(named, table)),
            }
        }
    }

    fn account(&mut self, named: Entry<'_>, table: &DeTable<'_>) -> Option<Account> {
        let name = self.section_name(named, "account", check_section_name);
        let place = format!("[account.{}]", one_line(named.key));
        let mut options = Options::default();
        let mut server = None;
        let mut written = false;
        for entry in entries(table) {
            match entry.key {
                "server" => {
                    written = true;
                    server = self.parsed(entry);
                }
                "allow-plaintext" => options.allow_plaintext = self.boolean(entry),
                _ if self.option(entry, &mut options) => {}
                _ if self.tls_account_option(entry, &mut options.tls) => {}
                _ if self.dotted_name(entry, "account", named) => return None,
                _ => self.unknown_option(entry, &format!("in {place}"), ACCOUNT_KEYS),
            }
        }
        if !written {
            self.missing(
                named,
                &format!("{place} has no `server`"),
                "server = \"pop3://user@host\"",
            );
        }
        let account = Account {
            name: name?,
            server: server?,
            options,
        };
        self.check_port(&account);
        Some(account)
    }

    /// A key that stands in `[defaults]` as well as in an account; false if it is none.
    fn option(&mut self, entry: Entry<'_>, options: &mut Options) -> bool {
        match entry.key {
            "auth" => options.auth = self.parsed(entry),
            "batch-limit" => options.batch_limit = self.count(entry),
            "deliver" => options.deliver = self.deliver(entry),
            "every" => options.every = self.duration(entry, Limits::INTERVAL),
            "expunge" => options.expunge = self.count(entry),
            "fetch-all" => options.fetch_all = self.boolean(entry),
            "fetch-limit" => options.fetch_limit = self.count(entry),
            "filter" => options.filter = self.filter(entry),
            "flush" => options.flush = self.boolean(entry),
            "keep" => options.keep = self.keep(entry),
            "limit" => options.limit = self.size(entry),
            "max-size" => options.max_size = self.size(entry),
            "limit-flush" => options.limit_flush = self.boolean(entry),
            "multidrop" => options.multidrop = self.multidrop(entry),
            "password" => options.password = self.password(entry),
            "recipients" => options.recipients = self.recipients(entry),
            "timeout" => options.timeout = self.duration(entry, Limits::TIMEOUT),
            "via" => options.via = self.via(entry),
            _ if self.edit_option(entry, &mut options.edits) => {}
            _ => return self.tls_option(entry, &mut options.tls),
        }
        true
    }

    fn keep(&mut self, entry: Entry<'_>) -> Option<Spanned<Keep>> {
        match entry.value.get_ref() {
            DeValue::Boolean(keep) => {
                let keep = if *keep { Keep::Always } else { Keep::Never };
                Some(Spanned::new(keep, entry.value.span()))
            }
            DeValue::String(word) if word == "true" || word == "false" => {
                self.wrong_type("keep", entry.value, KEEP, Some("write it without quotes"));
                None
            }
            DeValue::String(_) => self.parsed_with(entry, parse_keep_some),
            DeValue::Integer(days) => {
                let help = format!(
                    "write \"{0}d\" for days, \"newest {0}\" for messages",
                    days.as_str()
                );
                self.wrong_type(
                    "keep",
                    entry.value,
                    "true, false, a duration in quotes or \"newest N\"",
                    Some(&help),
                );
                None
            }
            _ => {
                self.wrong_type("keep", entry.value, KEEP, None);
                None
            }
        }
    }

    /// A size with a unit, or a plain number of octets.
    fn size(&mut self, entry: Entry<'_>) -> Option<Spanned<u64>> {
        match entry.value.get_ref() {
            DeValue::String(_) => self.parsed_with(entry, parse_size),
            DeValue::Integer(octets) => {
                let octets = u64::from_str_radix(octets.as_str(), octets.radix()).ok();
                self.positive(entry, octets.filter(|octets| *octets > 0), u64::MAX)
            }
            _ => {
                self.wrong_type(entry.key, entry.value, "a size, such as \"10M\"", None);
                None
            }
        }
    }

    fn count(&mut self, entry: Entry<'_>) -> Option<Spanned<u32>> {
        let DeValue::Integer(count) = entry.value.get_ref() else {
            let help = entry
                .value
                .get_ref()
                .is_str()
                .then_some("write it without quotes");
            self.wrong_type(entry.key, entry.value, "a number", help);
            return None;
        };
        let count = u32::from_str_radix(count.as_str(), count.radix()).ok();
        self.positive(entry, count.filter(|count| *count > 0), u32::MAX)
    }

    fn positive<T: Display>(
        &mut self,
        entry: Entry<'_>,
        number: Option<T>,
        most: T,
    ) -> Option<Spanned<T>> {
        if number.is_none() {
            let key = entry.key;
            self.note(
                Diagnostic::error(format!("`{key}` must be a number from 1 to {most}"))
                    .at(entry.value.span())
                    .help("leave it out for no limit"),
            );
        }
        number.map(|number| Spanned::new(number, entry.value.span()))
    }

    fn section_name(
        &mut self,
        named: Entry<'_>,
        section: &str,
        check: impl Fn(&str) -> Result<(), String>,
    ) -> Option<Spanned<String>> {
        match check(named.key) {
            Ok(()) => Some(Spanned::new(named.key.to_owned(), named.key_span())),
            Err(message) => {
                let diagnostic = Diagnostic::error(message).at(named.key_span());
                self.note(match section {
                    "ssh" => diagnostic.help(
                        "the name is the host as `via` spells it, without user and port, which \
                         have keys of their own",
                    ),
                    _ => diagnostic,
                });
                None
            }
        }
    }

    /// `[ssh.mail.example.org]` is three tables in one another to TOML and one host to everybody
    /// else; true if that is what this is.
    fn dotted_name(&mut self, entry: Entry<'_>, section: &str, named: Entry<'_>) -> bool {
        let DeValue::Table(table) = entry.value.get_ref() else {
            return false;
        };
        // `{ … }` is a value, and this is a key for it that nobody knows.
        if self.text_at(entry.value.span()).starts_with('{') {
            return false;
        }
        let mut name = format!("{}.{}", named.key, entry.key);
        let mut span = named.key_span();
        span.end = span.end.max(entry.key_span().end);
        let mut table = table;
        while let [only] = entries(table)[..]
            && let DeValue::Table(inner) = only.value.get_ref()
            && only.key != "password"
        {
            name = format!("{name}.{}", only.key);
            span.end = span.end.max(only.key_span().end);
            table = inner;
        }
        let name = one_line(&name);
        self.note(
            Diagnostic::error("a name with dots needs quotes")
                .at(span)
                .help(format!("write [{section}.\"{name}\"]")),
        );
        true
    }

    fn missing(&mut self, named: Entry<'_>, message: &str, example: &str) {
        self.note(
            Diagnostic::error(message)
                .at(named.key_span())
                .label(MISSING)
                .help(format!("write {example}")),
        );
    }

    fn unknown_section(&mut self, entry: Entry<'_>) {
        if entry.value.get_ref().is_table() {
            let near = did_you_mean(entry.key, SECTIONS);
            let mut diagnostic = Diagnostic::error(format!(
                "unknown section `{}`",
                one_line(entry.key)
            ))
            .at(entry.key_span())
            .help("known are [defaults], [account.NAME], [ssh.NAME], [forward.NAME] and [daemon]");
            if let Some(near) = near {
                diagnostic = diagnostic.label(format!("did you mean `{near}`?"));
            }
            self.note(diagnostic);
        } else if ACCOUNT_KEYS.contains(&entry.key) {
            self.unknown_key(
                entry,
                "outside of any section",
                SECTIONS,
                Some("it belongs below [account.NAME] or [defaults]"),
            );
        } else {
            self.unknown_key(entry, "outside of any section", SECTIONS, None);
        }
    }

    fn unknown_option(&mut self, entry: Entry<'_>, place: &str, known: &[&str]) {
        let elsewhere = || match KEYS.iter().find(|(_, keys)| keys.contains(&entry.key))?.0 {
            section @ ("daemon" | "defaults") => Some(format!("it belongs in [{section}]")),
            section => Some(format!("it belongs in [{section}.NAME]")),
        };
        let foreign = || {
            if place.starts_with("in [ssh") {
                return ssh::foreign_key(entry.key);
            }
            let (_, hint) = FOREIGN_KEYS.iter().find(|(key, _)| *key == entry.key)?;
            place.starts_with("in [account").then(|| (*hint).to_owned())
        };
        let hint = foreign().or_else(elsewhere);
        self.unknown_key(entry, place, known, hint.as_deref());
    }

    fn check_ssh_names(&mut self, config: &Config) {
        for (index, SshHost { name, .. }) in config.ssh.iter().enumerate() {
            let same = |other: &str| other.eq_ignore_ascii_case(&name.value);
            if config.ssh[..index]
                .iter()
                .any(|earlier| same(&earlier.name.value))
            {
                self.note(
                    Diagnostic::error(format!("[ssh.{}] is there twice", name.value))
                        .at(name.span.clone())
                        .help("upper and lower case make no difference to a host name"),
                );
            }
        }
    }
}

/// The parser's spans are not trusted to be in range and on character boundaries.
fn within(text: &str, span: Range<usize>) -> Range<usize> {
    let start = text.floor_char_boundary(span.start);
    let end = text.ceil_char_boundary(span.end.min(text.len()));
    start..end.max(start)
}

/// The keys of each section.
pub(super) const KEYS: &[(&str, &[&str])] = &[
    ("defaults", DEFAULTS_KEYS),
    ("account", ACCOUNT_KEYS),
    ("ssh", SSH_KEYS),
    ("forward", FORWARD_KEYS),
    ("daemon", DAEMON_KEYS),
];
const SECTIONS: &[&str] = &["account", "daemon", "defaults", "forward", "ssh"];
const DEFAULTS_KEYS: &[&str] = &[
    "auth",
    "batch-limit",
    "deliver",
    "drop-delivered",
    "drop-status",
    "every",
    "expunge",
    "fetch-all",
    "fetch-limit",
    "filter",
    "flush",
    "keep",
    "limit",
    "limit-flush",
    "max-size",
    "mimedecode",
    "multidrop",
    "password",
    "received",
    "recipients",
    "return-path",
    "rewrite",
    "strip-cr",
    "timeout",
    "tls",
    "tls-ca-file",
    "tls-certificate",
    "tls-crl-file",
    "tls-key",
    "tracepolls",
    "via",
];
const ACCOUNT_KEYS: &[&str] = &[
    "allow-plaintext",
    "auth",
    "batch-limit",
    "deliver",
    "drop-delivered",
    "drop-status",
    "every",
    "expunge",
    "fetch-all",
    "fetch-limit",
    "filter",
    "flush",
    "keep",
    "limit",
    "limit-flush",
    "max-size",
    "mimedecode",
    "multidrop",
    "password",
    "received",
    "recipients",
    "return-path",
    "rewrite",
    "server",
    "strip-cr",
    "timeout",
    "tls",
    "tls-ca-file",
    "tls-certificate",
    "tls-crl-file",
    "tls-fingerprint",
    "tls-key",
    "tls-name",
    "tracepolls",
    "via",
];

/// What other retrievers call it.
const FOREIGN_KEYS: &[(&str, &str)] = &[
    ("authentication", "write auth = \"MECHANISM\""),
    ("ca-file", "write tls-ca-file = \"PATH\""),
    (
        "delete",
        "write keep = false to have fetched mail deleted from the server",
    ),
    ("dropdelivered", "write drop-delivered = true"),
    ("dropstatus", "write drop-status = true"),
    ("fetchall", "write fetch-all = true"),
    ("fetchlimit", "write fetch-limit = 500"),
    ("folder", "write deliver = \"maildir:PATH\""),
    ("host", "the host is part of `server`: \"pop3://user@host\""),
    ("interval", "write every = \"5m\""),
    ("maildir", "write deliver = \"maildir:PATH\""),
    ("mbox", "write deliver = \"mbox:PATH\""),
    ("mda", "write deliver = \"mda:COMMAND\""),
    ("path", "write deliver = \"maildir:PATH\""),
    ("batchlimit", "write batch-limit = 100"),
    ("envelope", "it belongs into multidrop = { … }"),
    ("limitflush", "write limit-flush = true"),
    ("poll", "write every = \"5m\""),
    (
        "port",
        "the port is part of `server`: \"pop3://user@host:110\"",
    ),
    (
        "protocol",
        "the protocol is part of `server`: \"pop3://user@host\"",
    ),
    ("proxy-jump", "write the hosts as a list in `via`"),
    ("recipient", "write recipients = \"msingh\""),
    (
        "smtphost",
        "write deliver = \"smtp:HOST\" or \"lmtp:HOST:PORT\"",
    ),
    ("ssh", "write via = \"[user@]host[:port]\""),
    (
        "ssl",
        "write pop3s:// in `server` for TLS from the start, or tls = \"required\" for STLS",
    ),
    ("stripcr", "write strip-cr = true"),
    ("starttls", "write tls = \"required\""),
    ("stls", "write tls = \"required\""),
    ("tunnel", "write via = \"[user@]host[:port]\""),
    ("user", "the user is part of `server`: \"pop3://user@host\""),
    (
        "username",
        "the user is part of `server`: \"pop3://user@host\"",
    ),
];

/// What `keep` may be.
const KEEP: &str = "true, false, a duration or `newest N`";

/// The label of a diagnostic about something that is not there.
const MISSING: &str = "needed here";
