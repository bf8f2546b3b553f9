//! What `-v` and `-vv` show, on standard error.
//!
//! The library tells its steps and the dialogue with the mail server through `tracing`, secrets
//! already masked. Each becomes one line with the time since the start and the account. Other
//! crates' events are left out: nobody has looked at what they let slip.

mod sink;

use std::fmt::{self, Write};
use std::sync::Arc;
use std::time::Instant;

use tracing::field::{Field, Visit};
use tracing::level_filters::LevelFilter;
use tracing::span::{Attributes, Id};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::{Context, Layer, SubscriberExt};
use tracing_subscriber::registry::LookupSpan;
use tracing_subscriber::util::SubscriberInitExt;

use crate::console::Console;
use crate::report::printable;
pub(crate) use sink::{LogFile, Sink};

use sink::Entry;

/// Starts logging to the console: warnings, with `-v` steps, with `-vv` the dialogue.
pub(crate) fn start(console: Arc<Console>, quiet: bool, verbose: u8) {
    let level = match verbose {
        _ if quiet => LevelFilter::ERROR,
        0 => LevelFilter::WARN,
        1 => LevelFilter::INFO,
        2 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let ours = ["posthole", "posthole_core", "posthole_proto"].map(|target| (target, level));
    let layer = Lines {
        console,
        start: Instant::now(),
    };
    let registry =
        tracing_subscriber::registry().with(layer.with_filter(Targets::new().with_targets(ours)));
    // A second run in one process keeps the first one's; only tests do that.
    registry.try_init().ok();
}

/// Starts logging for a daemon: what happens, with `-v` each step and the dialogue.
pub(crate) fn start_daemon(sink: Arc<Sink>, quiet: bool, verbose: u8) {
    let level = match verbose {
        _ if quiet => LevelFilter::ERROR,
        0 => LevelFilter::INFO,
        1 => LevelFilter::DEBUG,
        _ => LevelFilter::TRACE,
    };
    let ours = ["posthole", "posthole_core", "posthole_proto"].map(|target| (target, level));
    let registry = tracing_subscriber::registry()
        .with(Journal(sink).with_filter(Targets::new().with_targets(ours)));
    registry.try_init().ok();
}

/// Logs each event to a sink.
struct Journal(Arc<Sink>);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Journal {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        note_account(attributes, id, &context);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let (account, text) = account_and_text(event, &context);
        let account = account.map(|account| printable(&account).replace('\n', "\\n"));
        self.0.write(&Entry {
            level: *event.metadata().level(),
            account: account.as_deref(),
            text: &printable(&text).replace('\n', "\\n"),
        });
    }
}

/// Prints each event as a line.
struct Lines {
    console: Arc<Console>,
    start: Instant,
}

/// The account that a span is about.
struct Account(String);

impl<S: Subscriber + for<'a> LookupSpan<'a>> Layer<S> for Lines {
    fn on_new_span(&self, attributes: &Attributes<'_>, id: &Id, context: Context<'_, S>) {
        note_account(attributes, id, &context);
    }

    fn on_event(&self, event: &Event<'_>, context: Context<'_, S>) {
        let (account, text) = account_and_text(event, &context);
        let level = *event.metadata().level();
        let seconds = self.start.elapsed().as_secs_f64();
        self.console.eprint(line(seconds, level, account, text));
    }
}

/// Remembers which account a span is about.
fn note_account<S: Subscriber + for<'a> LookupSpan<'a>>(
    attributes: &Attributes<'_>,
    id: &Id,
    context: &Context<'_, S>,
) {
    let mut fields = Fields::default();
    attributes.record(&mut fields);
    if let (Some(account), Some(span)) = (fields.account, context.span(id)) {
        span.extensions_mut().insert(Account(account));
    }
}

fn account_and_text<S: Subscriber + for<'a> LookupSpan<'a>>(
    event: &Event<'_>,
    context: &Context<'_, S>,
) -> (Option<String>, String) {
    let mut fields = Fields::default();
    event.record(&mut fields);
    let account = fields.account.or_else(|| {
        let mut spans = context.event_scope(event)?;
        spans.find_map(|span| Some(span.extensions().get::<Account>()?.0.clone()))
    });
    (account, fields.text)
}

/// `[  0.123] work: S: +OK`
fn line(seconds: f64, level: Level, account: Option<String>, text: String) -> String {
    let mut line = match level {
        Level::ERROR | Level::WARN => "posthole: ".to_owned(),
        _ => format!("[{seconds:8.3}] "),
    };
    if let Some(account) = account {
        line.push_str(&account);
        line.push_str(": ");
    }
    line.push_str(&text);
    printable(&line).replace('\n', "\\n")
}

/// An event's message, and its fields after it.
#[derive(Default)]
struct Fields {
    account: Option<String>,
    text: String,
}

impl Fields {
    fn add(&mut self, field: &Field, value: fmt::Arguments<'_>) {
        match field.name() {
            "account" => self.account = Some(value.to_string()),
            "message" => self.text.insert_str(0, &value.to_string()),
            name => _ = write!(self.text, " {name}={value}"),
        }
    }
}

impl Visit for Fields {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        self.add(field, format_args!("{value:?}"));
    }

    fn record_str(&mut self, field: &Field, value: &str) {
        self.add(field, format_args!("{value}"));
    }

    fn record_error(&mut self, field: &Field, value: &(dyn std::error::Error + 'static)) {
        self.add(field, format_args!("{value}"));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_cannot_break_out_of_its_line() {
        let text = line(
            1.5,
            Level::DEBUG,
            Some("work".to_owned()),
            "S: a\nb\x1b[2J".to_owned(),
        );
        assert_eq!(text, "[   1.500] work: S: a\\nb\\u{1b}[2J");
    }
}
