//! Destinations and recipients out of TOML.

use toml::de::DeValue;

use super::section::{Entry, Limits, Reader, entries};
use super::value::{Deliver, check_command, parse_recipient};
use super::{Diagnostic, Spanned};

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
                let (mut command, mut timeout, mut user) = (None, None, None);
                for inner in entries(table) {
                    match inner.key {
                        "mda" => command = self.command(inner),
                        "timeout" => timeout = self.duration(inner, Limits::TIMEOUT),
                        "user" => user = self.parsed_with(inner, parse_recipient),
                        _ => self.unknown_key(
                            inner,
                            "in a destination",
                            &["mda", "timeout", "user"],
                            Some("other destinations are strings, such as \"maildir:~/Mail\""),
                        ),
                    }
                }
                let others = entries(table)
                    .iter()
                    .any(|inner| !matches!(inner.key, "mda" | "timeout" | "user"));
                if !table.contains_key("mda") && !others {
                    self.note(
                        Diagnostic::error("`deliver`: this table has no `mda`")
                            .at(value.span())
                            .help("write { mda = [\"procmail\", \"-d\", \"%T\"] }"),
                    );
                }
                Some(Deliver::Mda {
                    command: command?,
                    timeout: timeout.map(|timeout| timeout.value),
                    user: user.map(|user| user.value),
                })
            }
            _ => {
                let expected = "a destination, such as \"maildir:~/Mail\", or a list of them";
                self.wrong_type(entry.key, value, expected, None);
                None
            }
        }
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
