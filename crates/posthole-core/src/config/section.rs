//! Taking typed values out of TOML tables, and noting what is wrong with them.
//!
//! Every method that takes a value returns `None` after it has noted why there is none, so its
//! caller just goes on with the next key.

use std::ops::{Range, RangeInclusive};
use std::path::PathBuf;
use std::str::FromStr;
use std::time::Duration;

use secrecy::SecretString;
use toml::de::{DeTable, DeValue};

use super::name::{check_host, check_ssh_user};
use super::value::{SshTarget, ValueError, parse_duration, parse_path};
use super::{Agent, Diagnostic, Password, Spanned, did_you_mean};

/// One `key = value`.
#[derive(Clone, Copy)]
pub(super) struct Entry<'t> {
    pub(super) key: &'t str,
    key_span: (usize, usize),
    pub(super) value: &'t toml::Spanned<DeValue<'t>>,
}

impl Entry<'_> {
    pub(super) fn key_span(&self) -> Range<usize> {
        self.key_span.0..self.key_span.1
    }
}

/// The entries of a table in the order of the file.
pub(super) fn entries<'t>(table: &'t DeTable<'t>) -> Vec<Entry<'t>> {
    let mut entries: Vec<_> = table
        .iter()
        .map(|(key, value)| {
            let span = key.span();
            Entry {
                key: key.get_ref(),
                key_span: (span.start, span.end),
                value,
            }
        })
        .collect();
    entries.sort_by_key(|entry| entry.key_span);
    entries
}

/// What has been found so far.
pub(super) struct Reader<'i> {
    text: &'i str,
    pub(super) diagnostics: Vec<Diagnostic>,
}

impl<'i> Reader<'i> {
    pub(super) fn new(text: &'i str) -> Self {
        Self {
            text,
            diagnostics: Vec::new(),
        }
    }

    /// What is written at `span`.
    pub(super) fn text_at(&self, span: Range<usize>) -> &'i str {
        self.text.get(span).unwrap_or_default()
    }

    pub(super) fn note(&mut self, diagnostic: Diagnostic) {
        self.diagnostics.push(diagnostic);
    }

    pub(super) fn string<'t>(&mut self, entry: Entry<'t>) -> Option<Spanned<&'t str>> {
        self.string_value(entry.key, entry.value)
    }

    pub(super) fn boolean(&mut self, entry: Entry<'_>) -> Option<Spanned<bool>> {
        let span = entry.value.span();
        let Some(value) = entry.value.get_ref().as_bool() else {
            self.wrong_type(
                entry.key,
                entry.value,
                "true or false",
                Some("write it without quotes"),
            );
            return None;
        };
        Some(Spanned::new(value, span))
    }

    pub(super) fn port(&mut self, entry: Entry<'_>) -> Option<Spanned<u16>> {
        let DeValue::Integer(integer) = entry.value.get_ref() else {
            let help = entry
                .value
                .get_ref()
                .is_str()
                .then_some("write it without quotes");
            self.wrong_type(entry.key, entry.value, "a number from 1 to 65535", help);
            return None;
        };
        let port = u16::from_str_radix(integer.as_str(), integer.radix()).ok();
        let Some(port) = port.filter(|port| *port > 0) else {
            self.note(
                Diagnostic::error(format!("`{}` must be a number from 1 to 65535", entry.key))
                    .at(entry.value.span()),
            );
            return None;
        };
        Some(Spanned::new(port, entry.value.span()))
    }

    pub(super) fn number(
        &mut self,
        entry: Entry<'_>,
        range: RangeInclusive<u32>,
    ) -> Option<Spanned<u32>> {
        let expected = format!("a number from {} to {}", range.start(), range.end());
        let DeValue::Integer(integer) = entry.value.get_ref() else {
            let is_quoted = entry.value.get_ref().is_str();
            let help = is_quoted.then_some("write it without quotes");
            self.wrong_type(entry.key, entry.value, &expected, help);
            return None;
        };
        let number = u32::from_str_radix(integer.as_str(), integer.radix()).ok();
        let Some(number) = number.filter(|number| range.contains(number)) else {
            self.note(
                Diagnostic::error(format!("`{}` must be {expected}", entry.key))
                    .at(entry.value.span()),
            );
            return None;
        };
        Some(Spanned::new(number, entry.value.span()))
    }

    /// A string that is not blank.
    pub(super) fn nonempty(&mut self, entry: Entry<'_>, what: &str) -> Option<Spanned<String>> {
        self.parsed_with(entry, |text| {
            if text.trim().is_empty() {
                let message = format!("the {what} is empty");
                return Err(ValueError::new(message, 0..text.len()));
            }
            Ok(text.to_owned())
        })
    }

    /// A duration from `shortest` to `longest`; `or_zero` allows zero as well.
    pub(super) fn duration(
        &mut self,
        entry: Entry<'_>,
        limits: Limits,
    ) -> Option<Spanned<Duration>> {
        if let DeValue::Integer(integer) = entry.value.get_ref() {
            let help = format!(
                "write \"{0}s\" for seconds or \"{0}m\" for minutes",
                integer.as_str()
            );
            self.wrong_type(entry.key, entry.value, "a duration in quotes", Some(&help));
            return None;
        }
        if !entry.value.get_ref().is_str() {
            self.wrong_type(entry.key, entry.value, "a duration in quotes", None);
            return None;
        }
        self.parsed_with(entry, |text| {
            let duration = parse_duration(text)?;
            limits
                .check(duration)
                .map_err(|message| ValueError::new(message, 0..text.len()))?;
            Ok(duration)
        })
    }

    pub(super) fn parsed<T>(&mut self, entry: Entry<'_>) -> Option<Spanned<T>>
    where
        T: FromStr<Err = ValueError>,
    {
        self.parsed_with(entry, str::parse)
    }

    pub(super) fn parsed_with<T>(
        &mut self,
        entry: Entry<'_>,
        parse: impl Fn(&str) -> Result<T, ValueError>,
    ) -> Option<Spanned<T>> {
        self.parse_value(entry.key, entry.value, &parse)
    }

    /// A string or a list of strings.
    pub(super) fn list<T>(
        &mut self,
        entry: Entry<'_>,
        parse: impl Fn(&str) -> Result<T, ValueError>,
    ) -> Option<Vec<Spanned<T>>> {
        match entry.value.get_ref() {
            DeValue::Array(array) => {
                let values: Vec<_> = array
                    .iter()
                    .map(|value| self.parse_value(entry.key, value, &parse))
                    .collect();
                // With one host or file less, the rest would mean something else.
                values.into_iter().collect()
            }
            DeValue::String(_) => Some(vec![self.parse_value(entry.key, entry.value, &parse)?]),
            _ => {
                self.wrong_type(
                    entry.key,
                    entry.value,
                    "a string or a list of strings",
                    None,
                );
                None
            }
        }
    }

    pub(super) fn paths(&mut self, entry: Entry<'_>) -> Option<Vec<Spanned<PathBuf>>> {
        self.list(entry, parse_path)
    }

    pub(super) fn via(&mut self, entry: Entry<'_>) -> Option<Spanned<Vec<SshTarget>>> {
        let targets = self.list(entry, str::parse)?;
        let targets = targets.into_iter().map(|target| target.value).collect();
        Some(Spanned::new(targets, entry.value.span()))
    }

    pub(super) fn hostname(&mut self, entry: Entry<'_>) -> Option<Spanned<String>> {
        self.parsed_with(entry, |text| {
            if text.parse::<std::net::Ipv6Addr>().is_err() {
                check_host(text).map_err(|message| ValueError::new(message, 0..text.len()))?;
            }
            Ok(text.to_owned())
        })
    }

    pub(super) fn ssh_user(&mut self, entry: Entry<'_>) -> Option<Spanned<String>> {
        self.parsed_with(entry, |text| {
            check_ssh_user(text).map_err(|message| ValueError::new(message, 0..text.len()))?;
            Ok(text.to_owned())
        })
    }

    pub(super) fn agent(&mut self, entry: Entry<'_>) -> Option<Spanned<Agent>> {
        match entry.value.get_ref() {
            DeValue::Boolean(false) => Some(Spanned::new(Agent::Off, entry.value.span())),
            DeValue::Boolean(true) => {
                self.note(
                    Diagnostic::error("`agent` must be a socket's path or false")
                        .at(entry.value.span())
                        .help("leave `agent` out to use the agent of SSH_AUTH_SOCK"),
                );
                None
            }
            _ => self.parsed_with(entry, |text| parse_path(text).map(Agent::Socket)),
        }
    }

    pub(super) fn password(&mut self, entry: Entry<'_>) -> Option<Spanned<Password>> {
        let span = entry.value.span();
        let password = match entry.value.get_ref() {
            DeValue::String(word) if word == "prompt" => Password::Prompt,
            DeValue::String(_) => {
                self.note(
                    Diagnostic::error("a password does not stand here as it is")
                        .at(span)
                        .label("\"prompt\" or where to get it from")
                        .help(PASSWORD_HELP),
                );
                return None;
            }
            DeValue::Table(table) => self.password_table(entry, table)?,
            _ => {
                self.wrong_type(
                    entry.key,
                    entry.value,
                    "\"prompt\" or a table",
                    Some(PASSWORD_HELP),
                );
                return None;
            }
        };
        Some(Spanned::new(password, span))
    }

    fn password_table(&mut self, entry: Entry<'_>, table: &DeTable<'_>) -> Option<Password> {
        let sources = entries(table);
        let [source] = sources[..] else {
            self.note(
                Diagnostic::error("a password has exactly one source")
                    .at(entry.key_span())
                    .label(match sources.len() {
                        0 => "none is given".to_owned(),
                        given => format!("{given} are given"),
                    })
                    .help(PASSWORD_HELP),
            );
            return None;
        };
        match source.key {
            "command" => Some(Password::Command(self.nonempty(source, "command")?.value)),
            "env" => {
                let name = self.nonempty(source, "name of the variable")?;
                if name.value.contains(['=', '\0']) {
                    self.note(
                        Diagnostic::error("the name of a variable cannot hold `=` or NUL")
                            .at(name.span),
                    );
                    return None;
                }
                Some(Password::Env(name.value))
            }
            "file" => Some(Password::File(self.parsed_with(source, parse_path)?.value)),
            "literal" => {
                let literal = self.parsed_with(source, |text| {
                    check_password(text)
                        .map_err(|message| ValueError::new(message, 0..text.len()))?;
                    Ok(SecretString::from(text))
                })?;
                Some(Password::Literal(literal.value))
            }
            "credential" => {
                let name = self.parsed_with(source, |text| {
                    let is_name = !matches!(text, "" | "." | "..") && !text.contains(['/', '\0']);
                    let wrong =
                        || ValueError::new("that is no name of a credential", 0..text.len());
                    is_name.then(|| text.to_owned()).ok_or_else(wrong)
                })?;
                Some(Password::Credential(name.value))
            }
            "keyring" => self.keyring(source),
            "netrc" => match source.value.get_ref() {
                DeValue::Boolean(true) => Some(Password::Netrc(None)),
                DeValue::String(_) => {
                    let path = self.parsed_with(source, parse_path)?.value;
                    Some(Password::Netrc(Some(path)))
                }
                DeValue::Boolean(false) => self.no_source(source),
                _ => {
                    self.wrong_type(source.key, source.value, "true or a path", None);
                    None
                }
            },
            _ => {
                self.unknown_key(source, "in the table of a password", PASSWORD_KEYS, None);
                None
            }
        }
    }

    /// Reads `true`, or the attributes of an item.
    fn keyring(&mut self, source: Entry<'_>) -> Option<Password> {
        const EXAMPLE: &str = "write keyring = true, or keyring = { service = \"pop3\", user = \"msingh\" } with the \
             attributes that `secret-tool store` was given";
        match source.value.get_ref() {
            DeValue::Boolean(true) => Some(Password::Keyring(Vec::new())),
            DeValue::Boolean(false) => self.no_source(source),
            DeValue::Table(table) if table.is_empty() => {
                self.note(
                    Diagnostic::error("an item of the keyring has attributes")
                        .at(source.value.span())
                        .help(EXAMPLE),
                );
                None
            }
            DeValue::Table(table) => {
                let attributes = entries(table).into_iter().map(|attribute| {
                    let value = self
                        .parsed_with(attribute, |text| Ok(text.to_owned()))?
                        .value;
                    Some((attribute.key.to_owned(), value))
                });
                // All of them are looked at, so that all that is wrong is said.
                let attributes: Vec<_> = attributes.collect();
                let attributes = attributes.into_iter().collect::<Option<_>>()?;
                Some(Password::Keyring(attributes))
            }
            _ => {
                self.wrong_type(source.key, source.value, "true or a table", Some(EXAMPLE));
                None
            }
        }
    }

    fn no_source(&mut self, source: Entry<'_>) -> Option<Password> {
        self.note(
            Diagnostic::error(format!(
                "`{} = false` is no source of a password",
                source.key
            ))
            .at(source.value.span())
            .help(PASSWORD_HELP),
        );
        None
    }

    /// Notes a key that nobody knows; `hint` is what to say about it when we know better than
    /// its nearest neighbour.
    pub(super) fn unknown_key(
        &mut self,
        entry: Entry<'_>,
        place: &str,
        known: &[&str],
        hint: Option<&str>,
    ) {
        let near = did_you_mean(entry.key, known);
        let mut diagnostic =
            Diagnostic::error(format!("unknown key `{}` {place}", one_line(entry.key)))
                .at(entry.key_span());
        diagnostic = match (hint, near) {
            (Some(hint), _) => diagnostic.help(hint),
            (None, Some(near)) => diagnostic.label(format!("did you mean `{near}`?")),
            (None, None) => diagnostic,
        };
        if diagnostic.help.is_none() {
            diagnostic = diagnostic.help(format!("known are {}", known.join(", ")));
        }
        self.note(diagnostic);
    }

    /// Notes that a value is of the wrong type, without saying what it is.
    pub(super) fn wrong_type(
        &mut self,
        what: &str,
        value: &toml::Spanned<DeValue<'_>>,
        expected: &str,
        help: Option<&str>,
    ) {
        let found = match value.get_ref() {
            DeValue::Array(_) => "a list",
            DeValue::Boolean(_) => "true or false",
            DeValue::Datetime(_) => "a date",
            DeValue::Float(_) | DeValue::Integer(_) => "a number",
            DeValue::String(_) => "a string",
            DeValue::Table(_) => "a table",
        };
        let mut diagnostic = Diagnostic::error(format!(
            "`{}` must be {expected}, not {found}",
            one_line(what)
        ))
        .at(value.span());
        diagnostic.help = help.map(str::to_owned);
        self.note(diagnostic);
    }

    fn string_value<'t>(
        &mut self,
        what: &str,
        value: &'t toml::Spanned<DeValue<'t>>,
    ) -> Option<Spanned<&'t str>> {
        let Some(text) = value.get_ref().as_str() else {
            self.wrong_type(what, value, "a string", None);
            return None;
        };
        Some(Spanned::new(text, value.span()))
    }

    pub(super) fn parse_value<T>(
        &mut self,
        what: &str,
        value: &toml::Spanned<DeValue<'_>>,
        parse: &impl Fn(&str) -> Result<T, ValueError>,
    ) -> Option<Spanned<T>> {
        let text = self.string_value(what, value)?;
        match parse(text.value) {
            Ok(parsed) => Some(Spanned::new(parsed, text.span)),
            Err(error) => {
                let span = place_within(self.text, &text.span, text.value, &error.at);
                let mut diagnostic =
                    Diagnostic::error(format!("`{}`: {}", one_line(what), error.message)).at(span);
                diagnostic.help = error.help;
                self.note(diagnostic);
                None
            }
        }
    }
}

/// Where the bytes `at` of a string that is written at `span` stand in the file: the whole string
/// when it is written with escapes.
pub(super) fn place_within(
    text: &str,
    span: &Range<usize>,
    string: &str,
    at: &Range<usize>,
) -> Range<usize> {
    let exact = text.get(span.start + 1..span.end.saturating_sub(1)) == Some(string);
    if exact && !at.is_empty() && at.end <= string.len() {
        span.start + 1 + at.start..span.start + 1 + at.end
    } else {
        span.clone()
    }
}

/// What a duration may be.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limits {
    shortest: Duration,
    longest: Duration,
    or_zero: bool,
}

impl Limits {
    /// An interval between polls.
    pub(crate) const INTERVAL: Self = Self {
        shortest: SECOND,
        longest: Duration::MAX,
        or_zero: false,
    };
    /// The same, where zero stands for never.
    pub(crate) const INTERVAL_OR_NEVER: Self = Self {
        or_zero: true,
        ..Self::INTERVAL
    };
    /// A time within which something is expected to happen.
    pub(crate) const TIMEOUT: Self = Self {
        shortest: SECOND,
        longest: DAY,
        or_zero: false,
    };
    /// The same, where zero stands for never.
    pub(crate) const TIMEOUT_OR_NEVER: Self = Self {
        or_zero: true,
        ..Self::TIMEOUT
    };

    pub(crate) fn check(self, duration: Duration) -> Result<(), String> {
        let Self {
            shortest,
            longest,
            or_zero,
        } = self;
        if or_zero && duration.is_zero() || (shortest..=longest).contains(&duration) {
            return Ok(());
        }
        let bound = if duration < shortest {
            format!("shorter than {}", humantime::format_duration(shortest))
        } else {
            format!("longer than {}", humantime::format_duration(longest))
        };
        Err(format!("the duration is {bound}"))
    }
}

/// Says why `text` cannot be a password: neither POP3's PASS (RFC 1939 §3) nor a prompt takes
/// more than one line.
pub(crate) fn check_password(text: &str) -> Result<(), &'static str> {
    if text.is_empty() {
        Err("the password is empty")
    } else if text.contains(['\r', '\n', '\0']) {
        Err("a password cannot hold a line break or NUL")
    } else {
        Ok(())
    }
}

/// A text of the user's, fit for a message.
pub(crate) fn one_line(text: &str) -> String {
    text.chars()
        .flat_map(|c| {
            if c.is_control() {
                c.escape_default().collect()
            } else {
                vec![c]
            }
        })
        .collect()
}

const DAY: Duration = Duration::from_secs(24 * 60 * 60);
const SECOND: Duration = Duration::from_secs(1);
const PASSWORD_HELP: &str = "write password = \"prompt\" or one of { command = \"…\" }, \
     { keyring = true }, { netrc = true }, { file = \"…\" }, { env = \"…\" }, \
     { credential = \"…\" }, { literal = \"…\" }";
const PASSWORD_KEYS: &[&str] = &[
    "command",
    "credential",
    "env",
    "file",
    "keyring",
    "literal",
    "netrc",
];
