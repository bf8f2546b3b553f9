//! `posthole status` as text.

use std::fmt::Write;

use posthole_core::daemon::{AccountState, AccountStatus, ForwardStatus, Pause, Status};

use super::units::size;
use super::{ERROR, HINT, indented, style};
use crate::report::printable;
use crate::steps::count;

/// The daemon on a line, and a line for each account with what is wrong below it.
pub(crate) fn status(status: &Status, now: u64, colour: bool) -> String {
    let mut text = String::new();
    match &status.daemon {
        None => text.push_str("no daemon is running; this is what the last run left"),
        Some(daemon) => {
            let since = age(daemon.since, now);
            push!(text, "daemon: running for {since}, process {}", daemon.pid);
            match daemon.paused {
                Some(Pause::Asked) => text.push_str(", paused until `posthole resume`"),
                Some(Pause::UntilWake) => text.push_str(", paused until `posthole wake`"),
                None => {}
            }
            if daemon.questions > 0 {
                let hint = style(HINT, colour);
                push!(
                    text,
                    "\n  {hint}waits for {} (`posthole unlock`){hint:#}",
                    match daemon.questions {
                        1 => "a password or passphrase".to_owned(),
                        count => format!("{count} passwords or passphrases"),
                    }
                );
            }
            if let Some(problem) = &daemon.config_problem {
                let error = style(ERROR, colour);
                push!(
                    text,
                    "\n  {error}an older configuration is in force:{error:#} {}",
                    indented(&printable(problem), 2)
                );
            }
        }
    }
    if status.accounts.is_empty() && status.services.is_empty() {
        text.push_str("\nno account was polled yet");
    }
    let rows: Vec<_> = status.accounts.iter().map(|a| row(a, now)).collect();
    let mut widths = HEADER.map(str::len);
    for row in &rows {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.chars().count());
        }
    }
    if !rows.is_empty() {
        push_row(&mut text, &HEADER.map(str::to_owned), &widths);
    }
    for (row, account) in rows.iter().zip(&status.accounts) {
        push_row(&mut text, row, &widths);
        if let Some(reason) = &account.history.error {
            let (error, hint) = (style(ERROR, colour), style(HINT, colour));
            let times = match account.history.failures {
                1 => String::new(),
                times => format!(" ({times} times)"),
            };
            push!(
                text,
                "\n  {error}{}{error:#}{times}",
                indented(&printable(&reason.message), 2)
            );
            if let Some(what) = &reason.hint {
                let what = indented(&printable(what), 4);
                push!(text, "\n  {hint}hint:{hint:#} {what}");
            }
        }
    }
    for service in &status.services {
        let (kind, name) = (printable(&service.kind), printable(&service.name));
        let error = if service.ok {
            Default::default()
        } else {
            style(ERROR, colour)
        };
        push!(
            text,
            "\n{kind} {name}: {error}{}{error:#}",
            printable(&service.text)
        );
        if let Some(forward) = &service.forward {
            push!(text, "\n  {}", clients(forward, now));
        }
    }
    text
}

/// `2 clients now, 7 in all, 1.2 MiB received, 345 B sent; SSH connection open for 5m10s`
fn clients(forward: &ForwardStatus, now: u64) -> String {
    let mut text = format!(
        "{} now, {} in all, {} received, {} sent",
        count(forward.clients, "client"),
        forward.served,
        size(forward.received),
        size(forward.sent)
    );
    if forward.refused > 0 {
        push!(text, ", {} not let in", forward.refused);
    }
    match forward.connected_since {
        Some(since) => push!(text, "; SSH connection open for {}", age(since, now)),
        None => text.push_str("; no SSH connection"),
    }
    text
}

const HEADER: [&str; 6] = [
    "ACCOUNT",
    "STATE",
    "LAST SUCCESS",
    "NEXT POLL",
    "FETCHED",
    "LEFT",
];

fn row(account: &AccountStatus, now: u64) -> [String; 6] {
    let history = &account.history;
    let state = match account.state {
        AccountState::Idle if history.failures > 0 => "failed",
        AccountState::Idle if history.last_attempt.is_some() => "worked",
        AccountState::Idle => "unknown",
        AccountState::Paused => "paused",
        AccountState::Polling => "polling",
        AccountState::Queued => "queued",
        AccountState::Stuck => "stuck",
        AccountState::Waiting if history.failures > 0 => "in trouble",
        AccountState::Waiting => "waiting",
    };
    let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
    [
        printable(&account.account),
        state.to_owned(),
        match history.last_success {
            Some(at) => format!("{} ago", age(at, now)),
            None => "never".to_owned(),
        },
        or_dash(account.next_poll.map(|at| format!("in {}", age(now, at)))),
        history.fetched.to_string(),
        or_dash(history.left.map(|left| left.to_string())),
    ]
}

fn push_row(text: &mut String, row: &[String; 6], widths: &[usize; 6]) {
    let mut line = String::new();
    for (cell, width) in row.iter().zip(widths) {
        push!(line, "{cell:width$}  ");
    }
    push!(text, "\n{}", line.trim_end());
}

/// The time between two moments, in its largest unit or two.
fn age(from: u64, to: u64) -> String {
    let seconds = to.saturating_sub(from);
    match seconds {
        0..60 => format!("{seconds}s"),
        60..3600 => format!("{}m{:02}s", seconds / 60, seconds % 60),
        3600..86_400 => format!("{}h{:02}m", seconds / 3600, seconds / 60 % 60),
        _ => format!("{}d{:02}h", seconds / 86_400, seconds / 3600 % 24),
    }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use posthole_core::daemon::{DaemonStatus, History, Reason, ServiceStatus};

    use super::*;

    #[test]
    fn each_account_has_a_line_and_what_is_wrong_below_it() {
        let account = |name: &str, state, history| AccountStatus {
            account: name.to_owned(),
            state,
            next_poll: (state == AccountState::Waiting).then_some(10_125),
            history,
        };
        let failed = History {
            failures: 2,
            last_success: Some(3600),
            error: Some(Reason {
                class: "authentication".to_owned(),
                message: "the mail server refused the login: \x1b[2Jno".to_owned(),
                hint: Some("check the user name".to_owned()),
            }),
            ..History::default()
        };
        let well = History {
            last_success: Some(9990),
            fetched: 12,
            left: Some(3),
            ..History::default()
        };
        let shown = Status {
            daemon: Some(DaemonStatus {
                pid: 77,
                version: "1".to_owned(),
                since: 1000,
                paused: None,
                config_problem: None,
                questions: 1,
            }),
            accounts: vec![
                account("work", AccountState::Waiting, well),
                account("a-long-name", AccountState::Stuck, failed),
            ],
            services: vec![
                ServiceStatus {
                    kind: "metrics".to_owned(),
                    name: "127.0.0.1:9100".to_owned(),
                    ok: true,
                    text: "works".to_owned(),
                    forward: None,
                },
                ServiceStatus {
                    kind: "forward".to_owned(),
                    name: "netscape".to_owned(),
                    ok: true,
                    text: "127.0.0.1:11110 leads to localhost:110 through msingh@popserver"
                        .to_owned(),
                    forward: Some(ForwardStatus {
                        clients: 1,
                        served: 7,
                        refused: 2,
                        received: 5_000_000,
                        sent: 345,
                        connected_since: Some(9_000),
                        ..ForwardStatus::default()
                    }),
                },
            ],
        };
        expect![[r#"
            daemon: running for 2h30m, process 77
              waits for a password or passphrase (`posthole unlock`)
            ACCOUNT      STATE    LAST SUCCESS  NEXT POLL  FETCHED  LEFT
            work         waiting  10s ago       in 2m05s   12       3
            a-long-name  stuck    1h46m ago     -          0        -
              the mail server refused the login: \u{1b}[2Jno (2 times)
              hint: check the user name
            metrics 127.0.0.1:9100: works
            forward netscape: 127.0.0.1:11110 leads to localhost:110 through msingh@popserver
              1 client now, 7 in all, 4.8 MiB received, 345 B sent, 2 not let in; SSH connection open for 16m40s
        "#]]
        .assert_eq(&(status(&shown, 10_000, false) + "\n"));
    }
}
