//! Destinations and recipients out of TOML.

use toml::de::{DeTable, DeValue};

use super::section::{Entry, Limits, Reader, entries};
use super::value::{Deliver, SmtpOptions, check_command, parse_recipient};
use super::{Diagnostic, Spanned, TlsOptions};

impl Reader<'_> {
    /// `deliver`: a destination, or a list of them.
    pub(super) fn deliver(&mut self, entry: Entry<'_>) -> Option<Spanned<Vec<Deliver>>> {
        let span = entry.value.span();
        let destinations = match entry.value.get_ref() {
            DeValue::Array(array) => {
                if array.is_empty() {
                    self.note(
                        Diagnostic::error("`deliver`: the list names no destination")
                            .at(span)
                            .help("write deliver = \"maildir:~/Mail\""),
                    );
                    return None;
                }
                let each = array.iter().map(|value| self.destination(entry, value));
                each.collect::<Vec<_>>()
                    .into_iter()
                    .collect::<Option<_>>()?
            }
            _ => vec![self.destination(entry, entry.value)?],
        };
        Some(Spanned::new(destinations, span))
    }

    /// `recipients`: a name, or a list of them.
    pub(super) fn recipients(&mut self, entry: Entry<'_>) -> Option<Spanned<Vec<String>>> {
        let names = self.list(entry, parse_recipient)?;
        if names.is_empty() {
            self.note(
                Diagnostic::error("`recipients`: the list names nobody").at(entry.value.span()),
            );
            return None;
        }
        let names = names.into_iter().map(|name| name.value).collect();
        Some(Spanned::new(names, entry.value.span()))
    }

    fn destination(
        &mut self,
        entry: Entry<'_>,
        value: &toml::Spanned<DeValue<'_>>,
    ) -> Option<Deliver> {
        match value.get_ref() {
            DeValue::String(_) => {
                let parsed = self.parse_value(entry.key, value, &str::parse)?;
                Some(parsed.value)
            }
            DeValue::Table(table) => {
                let keys = ["mda", "smtp", "smtps"];
                let kinds = keys.into_iter().filter(|key| table.contains_key(*key));
                match kinds.collect::<Vec<_>>()[..] {
                    ["mda"] => self.mda_table(table),
                    ["smtp" | "smtps"] => self.smtp_table(table),
                    _ => {
                        self.note(
                            Diagnostic::error("`deliver`: this table has not one of `mda`, `smtp`, `smtps`")
                                .at(value.span())
                                .help(
                                    "write { mda = [\"procmail\", \"-d\", \"%T\"] } or { smtp = \"HOST\", \
                                     user = \"NAME\" }; other destinations are strings",
                                ),
                        );
                        None
                    }
                }
            }
            _ => {
                let expected = "a destination, such as \"maildir:~/Mail\", or a list of them";
                self.wrong_type(entry.key, value, expected, None);
                None
            }
        }
    }

    /// `{ mda = …, timeout = …, user = … }`.
    fn mda_table(&mut self, table: &DeTable<'_>) -> Option<Deliver> {
        let (mut command, mut timeout, mut user) = (None, None, None);
        for inner in entries(table) {
            match inner.key {
                "mda" => command = self.command(inner),
                "timeout" => timeout = self.duration(inner, Limits::TIMEOUT),
                "user" => user = self.parsed_with(inner, parse_recipient),
                _ => self.unknown_key(inner, "beside `mda`", &["timeout", "user"], None),
            }
        }
        Some(Deliver::Mda {
            command: command?,
            timeout: timeout.map(|timeout| timeout.value),
            user: user.map(|user| user.value),
        })
    }

    /// `{ smtp = "HOST[:PORT]", user = …, password = …, tls = … }`.
    fn smtp_table(&mut self, table: &DeTable<'_>) -> Option<Deliver> {
        let mut tls = TlsOptions::default();
        let (mut to, mut user, mut password) = (None, None, None);
        for inner in entries(table) {
            match inner.key {
                "smtp" => to = self.parsed_with(inner, |place| SmtpOptions::parse(place, false)),
                "smtps" => to = self.parsed_with(inner, |place| SmtpOptions::parse(place, true)),
                "password" => password = self.password(inner),
                "user" => user = self.nonempty(inner, "name"),
                "tls" | "tls-ca-file" if self.tls_option(inner, &mut tls) => {}
                _ if self.tls_account_option(inner, &mut tls) => {}
                _ => self.unknown_key(inner, "beside `smtp`", SMTP_KEYS, None),
            }
        }
        let to = to?.value;
        Some(Deliver::Smtp(Box::new(SmtpOptions {
            user,
            password,
            tls,
            ..to
        })))
    }

    /// The words of a command, as a list.
    fn command(&mut self, entry: Entry<'_>) -> Option<Vec<String>> {
        let words: Vec<_> = match entry.value.get_ref() {
            DeValue::String(_) => {
                let text = format!("mda:{}", self.string(entry)?.value);
                return match text.parse() {
                    Ok(Deliver::Mda { command, .. }) => Some(command),
                    Ok(_) => None,
                    Err(error) => {
                        let message = format!("`mda`: {error}");
                        self.note(Diagnostic::error(message).at(entry.value.span()));
                        None
                    }
                };
            }
            _ => self.list(entry, |word| Ok(word.to_owned()))?,
        };
        let words: Vec<_> = words.into_iter().map(|word| word.value).collect();
        match check_command(&words) {
            Ok(()) => Some(words),
            Err(message) => {
                let message = format!("`mda`: {message}");
                self.note(Diagnostic::error(message).at(entry.value.span()));
                None
            }
        }
    }
}

const SMTP_KEYS: &[&str] = &[
    "password",
    "tls",
    "tls-ca-file",
    "tls-fingerprint",
    "tls-name",
    "user",
];
