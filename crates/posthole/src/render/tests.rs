//! What people read, word for word.

use std::io;
use std::path::Path;
use std::time::Duration;

use expect_test::{Expect, expect};
use posthole_core::config;
use posthole_core::error::Class;
use posthole_core::retrieve::{MessageFailure, Preview, PreviewEntry, Report, Summary};

use super::{preview as preview_text, problem as render_problem, summary as render_summary, *};
use crate::exit::Exit;
use crate::report::json;

#[derive(Debug, thiserror::Error)]
#[error("cannot write to {path}")]
struct Outer {
    path: &'static str,
    source: io::Error,
}

#[derive(Debug, thiserror::Error)]
#[error("{says}: {source}")]
struct Repeating {
    says: &'static str,
    source: io::Error,
}

/// As rusqlite says it.
#[derive(Debug, thiserror::Error)]
#[error("file is not a database")]
struct NoDatabase(#[source] Numbered);

#[derive(Debug, thiserror::Error)]
#[error("Error code 26: file is not a database")]
struct Numbered;

fn disk_full() -> io::Error {
    io::Error::from_raw_os_error(28)
}

fn check(actual: &str, expected: Expect) {
    expected.assert_eq(&format!("{actual}\n"));
}

#[test]
fn a_problem_has_its_causes_and_a_hint() {
    let error = Outer {
        path: "/home/m/Mail",
        source: disk_full(),
    };
    let hint = "make room\nor deliver elsewhere".to_owned();
    let problem = Problem::new(Class::Local, &error).hint(Some(hint));
    check(
        &render_problem(Some("work"), &problem, false),
        expect![[r#"
            posthole: work: cannot write to /home/m/Mail
              1: No space left on device
              hint: make room
                    or deliver elsewhere
        "#]],
    );
}

#[test]
fn a_cause_that_only_repeats_its_error_behind_a_number_is_not_said() {
    let error = Outer {
        path: "/home/m/state.db",
        source: io::Error::other(NoDatabase(Numbered)),
    };
    check(
        &render_problem(None, &Problem::new(Class::Local, &error), false),
        expect![[r#"
            posthole: cannot write to /home/m/state.db
              1: file is not a database
        "#]],
    );
}

#[test]
fn a_cause_that_the_message_ends_with_is_not_said_twice() {
    let error = Repeating {
        says: "cannot write",
        source: disk_full(),
    };
    check(
        &render_problem(None, &Problem::new(Class::Local, &error), false),
        expect![[r#"
            posthole: cannot write: No space left on device
        "#]],
    );
}

#[test]
fn colour_adds_nothing_but_colour() {
    let error = Outer {
        path: "/home/m/Mail",
        source: disk_full(),
    };
    let problem = Problem::new(Class::Local, &error).hint(Some("make room".to_owned()));
    let plain = render_problem(Some("work"), &problem, false);
    let coloured = render_problem(Some("work"), &problem, true);
    assert_ne!(coloured, plain);
    assert_eq!(anstream::adapter::strip_str(&coloured).to_string(), plain);
}

#[test]
fn nothing_a_server_says_moves_the_cursor() {
    let problem = Problem::say(Class::Protocol, "x").hint(Some("\x1b[1A\rgone".to_owned()));
    let text = render_problem(Some("w\x07"), &problem, false);
    assert!(
        !text.chars().any(|c| c.is_control() && c != '\n'),
        "{text:?}"
    );
}

fn report(summary: Summary) -> Report {
    let took = Duration::from_millis(812);
    Report {
        summary: Summary { took, ..summary },
        error: None,
    }
}

#[test]
fn a_poll_is_summarised_in_a_line() {
    let summary = Summary {
        fetched: 12,
        octets: 353_280,
        deleted: 12,
        left: 3,
        ..Summary::default()
    };
    let too_large = Summary {
        too_large: vec![PreviewEntry {
            uid: "Big".to_owned(),
            size: 50_000_000,
        }],
        ..summary.clone()
    };
    let fetched = Fetched::new("work", &report(too_large));
    check(
        &render_summary(&fetched).unwrap(),
        expect![[r#"
        work: 12 new (345 KiB), 12 deleted, 1 too large, 3 left, 0.8s
    "#]],
    );
    check(
        &json(&fetched),
        expect![[r#"
        {"account":"work","ok":true,"new":12,"bytes":353280,"deleted":12,"left":3,"seconds":0.812,"too_large":[{"uid":"Big","bytes":50000000}],"filtered":[],"failed":[],"error":null,"exit_code":0}
    "#]],
    );
    let fetched = Fetched::new("work", &report(summary));
    check(
        &render_summary(&fetched).unwrap(),
        expect![[r#"
            work: 12 new (345 KiB), 12 deleted, 3 left, 0.8s
        "#]],
    );
    check(
        &json(&fetched),
        expect![[r#"
            {"account":"work","ok":true,"new":12,"bytes":353280,"deleted":12,"left":3,"seconds":0.812,"too_large":[],"filtered":[],"failed":[],"error":null,"exit_code":0}
        "#]],
    );
}

#[test]
fn no_mail_is_a_line_like_any_other() {
    let fetched = Fetched::new("work", &report(Summary::default()));
    assert_eq!(fetched.exit, Exit::Success);
    check(
        &render_summary(&fetched).unwrap(),
        expect![[r#"
            work: 0 new, 0 deleted, 0 left, 0.8s
        "#]],
    );
}

#[test]
fn each_failed_message_is_named() {
    let failure = |uid: &str, reason: &str| MessageFailure {
        uid: uid.to_owned(),
        reason: reason.to_owned(),
    };
    let failed = vec![
        failure("Z3vP", "-ERR no such file"),
        failure("", "the line is too long"),
    ];
    let summary = Summary {
        fetched: 1,
        octets: 9,
        left: 3,
        failed,
        ..Summary::default()
    };
    let fetched = Fetched::new("work", &report(summary));
    assert_eq!(fetched.exit, Exit::TempFail);
    check(
        &render_summary(&fetched).unwrap(),
        expect![[r#"
            work: 1 new (9 B), 2 failed, 0 deleted, 3 left, 0.8s
        "#]],
    );
    check(
        &failed_messages(&fetched, false).unwrap(),
        expect![[r#"
            posthole: work: message Z3vP: -ERR no such file
            posthole: work: message without a unique-id: the line is too long
              hint: the other mail was not held up; this is tried again later
        "#]],
    );
}

#[test]
fn messages_that_failed_alike_share_a_line() {
    let failed = |uid: &str, reason: &str| MessageFailure {
        uid: uid.to_owned(),
        reason: reason.to_owned(),
    };
    let report = report(Summary {
        failed: vec![
            failed("a", "no"),
            failed("b", "no"),
            failed("c", "never"),
            failed("d", "no"),
            failed("e", "no"),
            failed("", "no"),
            failed("f", "no"),
            failed("g", "no"),
        ],
        ..Summary::default()
    });
    check(
        &failed_messages(&Fetched::new("work", &report), false).unwrap(),
        expect![[r#"
            posthole: work: messages a, b: no
            posthole: work: message c: never
            posthole: work: messages d, e, without a unique-id and 2 more: no
              hint: the other mail was not held up; this is tried again later
        "#]],
    );
}

#[test]
fn a_message_that_ended_the_poll_held_the_others_up() {
    let failed = MessageFailure {
        uid: "Z3vP".to_owned(),
        reason: "the session ended while it was on its way".to_owned(),
    };
    let mut report = report(Summary {
        failed: vec![failed],
        ..Summary::default()
    });
    report.error = Some(posthole_core::error::Error::Stopped);
    check(
        &failed_messages(&Fetched::new("work", &report), false).unwrap(),
        expect![[r#"
            posthole: work: message Z3vP: the session ended while it was on its way
              hint: this is tried again later
        "#]],
    );
}

#[test]
fn a_poll_that_broke_off_says_what_it_had_done() {
    let summary = Summary {
        fetched: 5,
        octets: 5000,
        left: 9,
        ..Summary::default()
    };
    let mut report = report(summary);
    report.error = Some(posthole_core::error::Error::Stopped);
    let fetched = Fetched::new("work", &report);
    assert_eq!(fetched.exit, Exit::TempFail);
    check(
        &render_summary(&fetched).unwrap(),
        expect![[r#"
            work: 5 new (4.9 KiB), 0 deleted, 0.8s, unfinished
        "#]],
    );
}

#[test]
fn a_poll_that_did_nothing_has_no_summary() {
    let mut report = report(Summary::default());
    report.error = Some(posthole_core::error::Error::Stopped);
    assert_eq!(render_summary(&Fetched::new("work", &report)), None);
}

#[test]
fn a_preview_lists_every_message() {
    let entry = |uid: &str, size| PreviewEntry {
        uid: uid.to_owned(),
        size,
    };
    let preview = Preview {
        fetch: vec![entry("Z3vP", 1234), entry("Z3vQa", 5_000_000)],
        delete: vec![entry("Y2", 99)],
        too_large: vec![entry("Big", 50_000_000)],
        filtered: vec![entry("List", 700)],
        undecided: vec![MessageFailure {
            uid: "Odd".to_owned(),
            reason: "`f` ended with exit code 1".to_owned(),
        }],
        left: 7,
    };
    let previewed = Previewed::new("work", Ok(preview));
    check(
        &preview_text(&previewed),
        expect![[r#"
            work: would fetch 2 (4.8 MiB), delete 1, leave 7
              fetch   Z3vP     1.2 KiB
              fetch   Z3vQa    4.8 MiB
              delete  Y2          99 B
              leave   Big       48 MiB
              leave   List       700 B
              leave   Odd    `f` ended with exit code 1
        "#]],
    );
    check(
        &json(&previewed),
        expect![[r#"
            {"account":"work","ok":true,"dry_run":true,"fetch":[{"uid":"Z3vP","bytes":1234},{"uid":"Z3vQa","bytes":5000000}],"delete":[{"uid":"Y2","bytes":99}],"too_large":[{"uid":"Big","bytes":50000000}],"filtered":[{"uid":"List","bytes":700}],"undecided":[{"uid":"Odd","reason":"`f` ended with exit code 1"}],"left":7,"error":null,"exit_code":0}
        "#]],
    );
}

#[test]
fn a_walk_stands_in_columns() {
    let took = Duration::from_millis(21);
    let done = Checked::done(Some("work"), "capabilities", took, "TOP, UIDL".to_owned());
    let error = Outer {
        path: "/home/m/Mail",
        source: disk_full(),
    };
    let problem = Problem::new(Class::Local, &error).hint(Some("make room".to_owned()));
    let failed = Checked::failed("work", "destination", Duration::from_secs(125), problem);
    check(
        &format!("work\n{}\n{}", step(&done, false), step(&failed, false)),
        expect![[r#"
            work
              capabilities ok       21ms  TOP, UIDL
              destination  FAILED  2m05s  cannot write to /home/m/Mail
                                          1: No space left on device
                                          hint: make room
        "#]],
    );
    check(
        &json(&failed),
        expect![[r#"
            {"account":"work","step":"destination","ok":false,"seconds":125.0,"text":"","error":{"class":"local","message":"cannot write to /home/m/Mail","causes":["No space left on device"],"hint":"make room","exit_code":74}}
        "#]],
    );
}

#[test]
fn a_mistake_shows_its_line_and_hides_the_password_in_it() {
    let text = "[account.work]\nserver = \"pop3://m@h\"\n\
                password = { literal = \"s3crét\", x = 1 } # é\n";
    let (config, found) = config::parse(text);
    let redacted = config.redact(text);
    let file = Some((Path::new("/etc/posthole.toml"), redacted.as_str()));
    check(
        &diagnostics(file, &found, false),
        expect![[r#"
            error: a password has exactly one source
             --> /etc/posthole.toml:3:1
              |
            3 | password = { literal = "*******", x = * } # é
              | ^^^^^^^^ 2 are given
              |
              = help: write password = "prompt" or one of { command = "…" }, { keyring = true }, { netrc = true }, { file = "…" }, { env = "…" }, { credential = "…" }, { literal = "…" }
        "#]],
    );
    check(
        &mistakes(file, &found)
            .iter()
            .map(json)
            .collect::<Vec<_>>()
            .join("\n"),
        expect![[r#"
            {"severity":"error","file":"/etc/posthole.toml","line":3,"column":1,"message":"a password has exactly one source","help":"write password = \"prompt\" or one of { command = \"…\" }, { keyring = true }, { netrc = true }, { file = \"…\" }, { env = \"…\" }, { credential = \"…\" }, { literal = \"…\" }"}
        "#]],
    );
}
