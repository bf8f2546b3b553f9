//! Reports as text.
//!
//! Every message has one shape, `posthole: account: what failed`, then numbered causes, then
//! `hint: what to do`; it reads the same without colour. Nothing here prints: that is `console`'s.

/// Appends to a string, which cannot fail.
macro_rules! push {
    ($text:expr, $($arguments:tt)*) => {
        _ = write!($text, $($arguments)*)
    };
}

mod diagnostic;
mod status;
mod units;

use std::fmt::Write;

use clap::builder::styling::{AnsiColor, Style};

pub(crate) use diagnostic::{diagnostics, mistakes};
pub(crate) use status::status;
pub(crate) use units::{size, time};

use crate::report::{
    Checked, Failed, Fetched, ForwardEnded, Forwarding, Message, Previewed, Problem, Trusted,
    printable,
};
use crate::steps::count;

/// `posthole: account: what failed`, its causes and what to do.
pub(crate) fn problem(account: Option<&str>, problem: &Problem, colour: bool) -> String {
    let error = style(ERROR, colour);
    let mut text = format!("{error}posthole:{error:#} ");
    if let Some(account) = account {
        push!(text, "{}: ", printable(account));
    }
    text.push_str(&indented(&problem.message, 2));
    push_details(&mut text, problem, 2, colour);
    text
}

/// `posthole: account: note: what a person should know`
pub(crate) fn notice(account: &str, text: &str, colour: bool) -> String {
    let note = style(HINT, colour);
    let text = indented(&printable(text), 2);
    format!(
        "posthole: {}: {note}note:{note:#} {text}",
        printable(account)
    )
}

/// `netscape: 127.0.0.1:11110, [::1]:11110 leads to localhost:110 through msingh@popserver`
pub(crate) fn forwarding(forwarding: &Forwarding) -> String {
    let Forwarding {
        forward,
        listen,
        leads_to,
        ..
    } = forwarding;
    format!(
        "{}: {} leads to {}",
        printable(forward),
        printable(&listen.join(", ")),
        printable(leads_to)
    )
}

/// `netscape: 3 clients, 1.2 MiB received, 345 B sent, 1 not let in`
pub(crate) fn forward_ended(ended: &ForwardEnded) -> String {
    let mut text = format!(
        "{}: {}, {} received, {} sent",
        printable(&ended.forward),
        count(ended.clients, "client"),
        size(ended.received),
        size(ended.sent)
    );
    if ended.refused > 0 {
        push!(text, ", {} not let in", ended.refused);
    }
    text
}

/// `work: 12 new (345 KiB), 12 deleted, 3 left, 0.8s`
///
/// A poll that failed before it achieved anything has nothing to summarise.
pub(crate) fn summary(fetched: &Fetched) -> Option<String> {
    let Fetched {
        account,
        new,
        bytes,
        deleted,
        left,
        seconds,
        too_large,
        filtered,
        failed,
        error,
        ..
    } = fetched;
    if error.is_some() && *new == 0 && *deleted == 0 {
        return None;
    }
    let mut text = format!("{}: {new} new", printable(account));
    if *new > 0 {
        push!(text, " ({})", size(*bytes));
    }
    if !failed.is_empty() {
        push!(text, ", {} failed", failed.len());
    }
    push!(text, ", {deleted} deleted");
    if !too_large.is_empty() {
        push!(text, ", {} too large", too_large.len());
    }
    if !filtered.is_empty() {
        push!(text, ", {} left by the filter", filtered.len());
    }
    if let Some(left) = left {
        push!(text, ", {left} left");
    }
    push!(text, ", {}", time(*seconds));
    if error.is_some() {
        text.push_str(", unfinished");
    }
    Some(text)
}

/// `posthole: work: message UID: why it could not be fetched`, one line for each reason in a row.
pub(crate) fn failed_messages(fetched: &Fetched, colour: bool) -> Option<String> {
    let error = style(ERROR, colour);
    let hint = style(HINT, colour);
    let account = printable(&fetched.account);
    let mut text = String::new();
    for alike in fetched.failed.chunk_by(|a, b| a.reason == b.reason) {
        let uids = alike.iter().map(|failed| match &*failed.uid {
            "" => "without a unique-id",
            uid => uid,
        });
        let shown = Vec::from_iter(uids.take(MESSAGES_NAMED)).join(", ");
        let messages = match alike.len() {
            1 => format!("message {shown}"),
            n if n <= MESSAGES_NAMED => format!("messages {shown}"),
            n => format!("messages {shown} and {} more", n - MESSAGES_NAMED),
        };
        let reason = indented(&alike[0].reason, 2);
        push!(
            text,
            "{error}posthole:{error:#} {account}: {messages}: {reason}\n"
        );
    }
    if text.is_empty() {
        return None;
    }
    let others = match fetched.error {
        None => "the other mail was not held up; ",
        // What ended the poll did hold it up, and is said next.
        Some(_) => "",
    };
    push!(
        text,
        "  {hint}hint:{hint:#} {others}this is tried again later"
    );
    Some(text)
}

/// What a poll would do: a line for the account, then one for each message.
pub(crate) fn preview(previewed: &Previewed) -> String {
    let Previewed {
        account,
        fetch,
        delete,
        too_large,
        filtered,
        undecided,
        left,
        ..
    } = previewed;
    let octets = fetch.iter().map(|message| message.bytes).sum();
    let mut text = format!("{}: would fetch {}", printable(account), fetch.len());
    if !fetch.is_empty() {
        push!(text, " ({})", size(octets));
    }
    push!(
        text,
        ", delete {}, leave {}",
        delete.len(),
        left.unwrap_or_default()
    );
    let width = |messages: &[Message]| messages.iter().map(|m| m.uid.chars().count()).max();
    let width = width(fetch)
        .max(width(delete))
        .max(width(too_large))
        .max(width(filtered))
        .unwrap_or_default()
        .min(UID_COLUMN);
    for (verb, messages) in [
        ("fetch", fetch),
        ("delete", delete),
        ("leave", too_large),
        ("leave", filtered),
    ] {
        for Message { uid, bytes } in messages {
            push!(text, "\n  {verb:<6}  {uid:<width$}  {:>9}", size(*bytes));
        }
    }
    for Failed { uid, reason } in undecided {
        push!(text, "\n  leave   {uid:<width$}  {}", indented(reason, 4));
    }
    text
}

/// A step of `posthole check`, in columns.
pub(crate) fn step(checked: &Checked, colour: bool) -> String {
    let Checked {
        step,
        ok,
        seconds,
        text,
        error,
        ..
    } = checked;
    let (word, word_style) = if *ok { ("ok", OK) } else { ("FAILED", ERROR) };
    let word_style = style(word_style, colour);
    let pad = FAILED.len() - word.len();
    let time = time(*seconds);
    let mut line = format!(
        "  {step:<STEP_COLUMN$} {word_style}{word}{word_style:#}{:pad$} {time:>6}",
        ""
    );
    let margin = 2 + STEP_COLUMN + 1 + FAILED.len() + 1 + 6 + 2;
    if let Some(problem) = error {
        push!(line, "  {}", indented(&problem.message, margin));
        push_details(&mut line, problem, margin, colour);
    } else if !text.is_empty() {
        push!(line, "  {}", indented(&printable(text), margin));
    }
    line
}

/// Which key is trusted, and where it says so; with its picture unless that was shown before.
pub(crate) fn trusted(trusted: &Trusted) -> String {
    let Trusted {
        host,
        algorithm,
        fingerprint,
        file,
        line,
        authority,
        sshfp,
        randomart,
        ..
    } = trusted;
    let mut text = match (line, authority) {
        (Some(line), None) => {
            format!("{host}: {algorithm} {fingerprint} is trusted already, by {file}:{line}")
        }
        (Some(line), Some(authority)) => format!(
            "{host}: {algorithm} {fingerprint} is trusted already, certified by {authority} of \
             {file}:{line}"
        ),
        (None, _) => {
            format!("{host}: {algorithm} {fingerprint} is trusted now, recorded in {file}")
        }
    };
    if let Some(sshfp) = sshfp {
        push!(text, "\n{}", printable(&sshfp.text));
    }
    if line.is_some() {
        push!(text, "\n{randomart}");
    }
    text
}

/// A text that stands out as a heading.
pub(crate) fn heading(text: &str, colour: bool) -> String {
    let bold = style(Style::new().bold(), colour);
    format!("{bold}{}{bold:#}", printable(text))
}

fn push_details(text: &mut String, problem: &Problem, margin: usize, colour: bool) {
    let hint_style = style(HINT, colour);
    for (index, cause) in problem.causes.iter().enumerate() {
        push!(
            text,
            "\n{:margin$}{}: {}",
            "",
            index + 1,
            indented(cause, margin + 3)
        );
    }
    if let Some(hint) = &problem.hint {
        let hint = indented(&printable(hint), margin + 6);
        push!(
            text,
            "\n{:margin$}{hint_style}hint:{hint_style:#} {hint}",
            ""
        );
    }
}

/// A text whose further lines start below its first.
fn indented(text: &str, margin: usize) -> String {
    text.trim_end().replace('\n', &format!("\n{:margin$}", ""))
}

fn style(style: Style, colour: bool) -> Style {
    if colour { style } else { Style::new() }
}

const OK: Style = AnsiColor::Green.on_default();
const ERROR: Style = AnsiColor::Red.on_default().bold();
const HINT: Style = AnsiColor::Cyan.on_default();

/// Of messages that failed alike; `--json` has all of them.
const MESSAGES_NAMED: usize = 3;

const FAILED: &str = "FAILED";
/// `capabilities` is the longest step.
const STEP_COLUMN: usize = 12;
/// RFC 1939 §7 allows 70 characters in a unique-id; most have far fewer.
const UID_COLUMN: usize = 70;

#[cfg(test)]
mod tests;
