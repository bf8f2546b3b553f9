//! The keys about what is changed in messages, asked before they are fetched, and whom they are
//! for.

use std::net::{IpAddr, SocketAddr};

use toml::de::{DeTable, DeValue};

use super::name::check_host;
use super::section::{Entry, Reader, entries};
use super::value::{ValueError, check_command, parse_recipient};
use super::{Diagnostic, Spanned};
use crate::message::{Envelope, StatusFields};
use crate::plan::NameService;

/// What is said about changes to messages for one account or, in `[defaults]`, for all of them.
#[derive(Clone, Debug, Default)]
pub struct EditOptions {
    /// Whether a `Received` field is put in front.
    pub received: Option<Spanned<bool>>,
    /// Whether it names the account.
    pub tracepolls: Option<Spanned<bool>>,
    /// Whether a `Return-Path` is put in front where there is none.
    pub return_path: Option<Spanned<bool>>,
    /// Which host is appended to addresses without one.
    pub rewrite: Option<Spanned<Rewrite>>,
    /// What happens to `Status` and `X-Mozilla-Status`.
    pub drop_status: Option<Spanned<StatusFields>>,
    /// Whether `Delivered-To` is taken out.
    pub drop_delivered: Option<Spanned<bool>>,
    /// Whether quoted-printable text becomes eight-bit text.
    pub mimedecode: Option<Spanned<bool>>,
    /// Whether carriage returns are taken out.
    pub strip_cr: Option<Spanned<bool>>,
}

/// Which host is appended to addresses without one.
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Rewrite {
    /// None.
    Off,
    /// The mail server's own name.
    Server,
    /// This one.
    To(String),
}

/// `multidrop`: how the mail of several people in one mailbox is told apart.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct MultidropOptions {
    /// Which field names the recipient of the envelope; without the count.
    pub envelope: Envelope,
    /// What is taken off the front of a name found there.
    pub qvirtual: Option<String>,
    /// Domains that the server is known by as well.
    pub aka: Vec<String>,
    /// Domains whose addresses are taken as they are.
    pub localdomains: Vec<String>,
    /// The names of people on the server, and here.
    pub names: Vec<(String, String)>,
    /// Whether a name that is not among them is the same here.
    pub passes_others: bool,
    /// Who is asked about names.
    pub dns: NameService,
    /// Whether a host with an address of the server's counts as the server.
    pub checkalias: bool,
    /// Who gets what is for nobody here.
    pub postmaster: Option<String>,
}

impl Reader<'_> {
    /// A key about changes to messages; false if it is none.
    pub(super) fn edit_option(&mut self, entry: Entry<'_>, edits: &mut EditOptions) -> bool {
        match entry.key {
            "drop-delivered" => edits.drop_delivered = self.boolean(entry),
            "drop-status" => edits.drop_status = self.drop_status(entry),
            "mimedecode" => edits.mimedecode = self.boolean(entry),
            "received" => edits.received = self.boolean(entry),
            "return-path" => edits.return_path = self.boolean(entry),
            "rewrite" => edits.rewrite = self.rewrite(entry),
            "strip-cr" => edits.strip_cr = self.boolean(entry),
            "tracepolls" => edits.tracepolls = self.boolean(entry),
            _ => return false,
        }
        true
    }

    fn drop_status(&mut self, entry: Entry<'_>) -> Option<Spanned<StatusFields>> {
        let span = entry.value.span();
        let status = match entry.value.get_ref() {
            DeValue::Boolean(true) => StatusFields::Drop,
            DeValue::Boolean(false) => StatusFields::Keep,
            DeValue::String(word) if word == "empty" => StatusFields::DropEmpty,
            _ => {
                self.wrong_type(entry.key, entry.value, "true, false or \"empty\"", None);
                return None;
            }
        };
        Some(Spanned::new(status, span))
    }

    fn rewrite(&mut self, entry: Entry<'_>) -> Option<Spanned<Rewrite>> {
        let span = entry.value.span();
        match entry.value.get_ref() {
            DeValue::Boolean(true) => Some(Spanned::new(Rewrite::Server, span)),
            DeValue::Boolean(false) => Some(Spanned::new(Rewrite::Off, span)),
            DeValue::String(_) => self.parsed_with(entry, |text| parse_host(text).map(Rewrite::To)),
            _ => {
                let expected = "true, false or a host, such as \"example.org\"";
                self.wrong_type(entry.key, entry.value, expected, None);
                None
            }
        }
    }

    /// `filter`: the words of a command, or all of it as it would be typed.
    pub(super) fn filter(&mut self, entry: Entry<'_>) -> Option<Spanned<Vec<String>>> {
        let span = entry.value.span();
        let words = match entry.value.get_ref() {
            DeValue::String(_) => return self.parsed_with(entry, parse_filter),
            _ => self.list(entry, |word| Ok(word.to_owned()))?,
        };
        let words: Vec<_> = words.into_iter().map(|word| word.value).collect();
        match check_command(&words) {
            Ok(()) => Some(Spanned::new(words, span)),
            Err(message) => {
                self.note(Diagnostic::error(format!("`filter`: {message}")).at(span));
                None
            }
        }
    }

    /// `multidrop`: a table.
    pub(super) fn multidrop(&mut self, entry: Entry<'_>) -> Option<Spanned<MultidropOptions>> {
        let DeValue::Table(table) = entry.value.get_ref() else {
            let help = "write multidrop = { envelope = \"X-Original-To\", names = [\"msingh\"] }";
            self.wrong_type(entry.key, entry.value, "a table", Some(help));
            return None;
        };
        let options = self.multidrop_table(table)?;
        if options.names.is_empty() && !options.passes_others && options.localdomains.is_empty() {
            self.note(
                Diagnostic::error("`multidrop`: nobody is named whom mail could be for")
                    .at(entry.key_span())
                    .help("write names = [\"msingh\", \"max.power=max\"], or \"*\" for everybody"),
            );
            return None;
        }
        Some(Spanned::new(options, entry.value.span()))
    }

    fn multidrop_table(&mut self, table: &DeTable<'_>) -> Option<MultidropOptions> {
        let mut options = MultidropOptions::default();
        let mut skip = None;
        let before = self.diagnostics.len();
        for entry in entries(table) {
            match entry.key {
                "aka" => options.aka = self.texts(entry, parse_host),
                "checkalias" => {
                    options.checkalias = self.boolean(entry).is_some_and(|on| on.value);
                }
                "dns" => options.dns = self.name_service(entry).unwrap_or_default(),
                "envelope" => options.envelope = self.envelope(entry).unwrap_or_default(),
                "localdomains" => options.localdomains = self.texts(entry, parse_host),
                "names" => {
                    for name in self.texts(entry, parse_local_name) {
                        match name {
                            LocalName::Everybody => options.passes_others = true,
                            LocalName::One(there, here) => options.names.push((there, here)),
                        }
                    }
                }
                "postmaster" => {
                    let name = self.parsed_with(entry, parse_recipient);
                    options.postmaster = name.map(|name| name.value);
                }
                "qvirtual" => {
                    let prefix = self.nonempty(entry, "prefix");
                    options.qvirtual = prefix.map(|prefix| prefix.value);
                }
                "skip" => skip = self.number(entry, 0..=MOST_SKIPPED),
                _ => self.unknown_key(entry, "in `multidrop`", MULTIDROP_KEYS, None),
            }
        }
        if let Some(Spanned { value, span }) = skip {
            match &mut options.envelope {
                Envelope::Received { skip } | Envelope::Field { skip, .. } => {
                    *skip = value as usize;
                }
                Envelope::Nowhere => self.note(
                    Diagnostic::error("`skip` counts fields that `envelope` names")
                        .at(span)
                        .help("write envelope = \"Delivered-To\" beside it, or leave it out"),
                ),
            }
        }
        (self.diagnostics.len() == before).then_some(options)
    }

    fn texts<T>(
        &mut self,
        entry: Entry<'_>,
        parse: impl Fn(&str) -> Result<T, ValueError>,
    ) -> Vec<T> {
        let texts = self.list(entry, parse).unwrap_or_default();
        texts.into_iter().map(|text| text.value).collect()
    }

    fn envelope(&mut self, entry: Entry<'_>) -> Option<Envelope> {
        match entry.value.get_ref() {
            DeValue::Boolean(true) => Some(Envelope::default()),
            DeValue::Boolean(false) => Some(Envelope::Nowhere),
            DeValue::String(_) => Some(self.parsed_with(entry, parse_envelope)?.value),
            _ => {
                let expected = "false or a field, such as \"X-Original-To\"";
                self.wrong_type(entry.key, entry.value, expected, None);
                None
            }
        }
    }

    fn name_service(&mut self, entry: Entry<'_>) -> Option<NameService> {
        match entry.value.get_ref() {
            DeValue::Boolean(true) => Some(NameService::System),
            DeValue::Boolean(false) => Some(NameService::Off),
            DeValue::String(_) => {
                let server = self.parsed_with(entry, parse_name_server)?;
                Some(NameService::At(server.value))
            }
            _ => {
                let expected = "true, false or the address of a resolver";
                self.wrong_type(entry.key, entry.value, expected, None);
                None
            }
        }
    }
}

/// Reads the command of `filter` as a shell would split it.
///
/// # Errors
/// When a quote is open, or there is nothing to run.
pub fn parse_filter(text: &str) -> Result<Vec<String>, ValueError> {
    let all = 0..text.len();
    let words = shell_words::split(text).map_err(|_| {
        ValueError::new("a quote in the command is not closed", all.clone())
            .help("or write the words as a list: [\"grep\", \"-q\", \"^List-Id:\"]")
    })?;
    check_command(&words).map_err(|message| ValueError::new(message, all))?;
    Ok(words)
}

/// Reads the host of `rewrite`.
///
/// # Errors
/// When it is none.
pub fn parse_host(text: &str) -> Result<String, ValueError> {
    check_host(text).map_err(|message| ValueError::new(message, 0..text.len()))?;
    Ok(text.to_owned())
}

fn parse_envelope(text: &str) -> Result<Envelope, ValueError> {
    if text.eq_ignore_ascii_case("received") {
        return Ok(Envelope::default());
    }
    let is_name = |c: char| c.is_ascii_graphic() && c != ':';
    if text.is_empty() || !text.chars().all(is_name) {
        let error = ValueError::new("this cannot be the name of a field", 0..text.len());
        return Err(error.help("write it without a colon, such as \"X-Original-To\""));
    }
    Ok(Envelope::Field {
        name: text.to_owned(),
        skip: 0,
    })
}

enum LocalName {
    Everybody,
    One(String, String),
}

/// `NAME`, `NAME-THERE=NAME-HERE` or `*`, as fetchmail(1) has them behind `is`.
fn parse_local_name(text: &str) -> Result<LocalName, ValueError> {
    if text == "*" {
        return Ok(LocalName::Everybody);
    }
    let (there, here) = text.split_once('=').unwrap_or((text, text));
    let start = text.len() - here.len();
    let here = parse_recipient(here).map_err(|error| error.shifted(start))?;
    Ok(LocalName::One(parse_recipient(there)?, here))
}

fn parse_name_server(text: &str) -> Result<SocketAddr, ValueError> {
    let plain = text.parse::<IpAddr>().map(|address| (address, 53).into());
    plain.or_else(|_| text.parse()).map_err(|_| {
        ValueError::new("this is not the address of a resolver", 0..text.len()).help(
            "write ADDRESS or ADDRESS:PORT, such as \"192.0.2.53\", or dns = false to ask nobody",
        )
    })
}

const MULTIDROP_KEYS: &[&str] = &[
    "aka",
    "checkalias",
    "dns",
    "envelope",
    "localdomains",
    "names",
    "postmaster",
    "qvirtual",
    "skip",
];

/// No message passes more servers than this.
const MOST_SKIPPED: u32 = 1000;
