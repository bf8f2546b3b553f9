//! Changes to messages, filters and multidrop: who wins, and what is refused.

use expect_test::expect;

use super::{ACCOUNT, case};
use crate::config::Rewrite;
use crate::plan::{DeliverTo, StatusFields};

const SERVER: &str = "[account.work]\nserver = 'pop3s://msingh@mail.example.org'\n";

#[test]
fn an_account_wins_over_the_defaults_and_a_flag_over_both() {
    let defaults = "[defaults]
deliver = 'smtp:localhost'
received = true
drop-status = true
fetch-all = true
expunge = 1
batch-limit = 1
filter = 'd'
rewrite = true
";
    let own = "received = false
drop-status = 'empty'
fetch-all = false
expunge = 2
batch-limit = 2
filter = './a'
rewrite = 'a.org'
";
    let says = |case: super::Case| {
        let job = case.job();
        let DeliverTo::Smtp(to) = &job.deliver[0] else {
            panic!("{job}")
        };
        format!(
            "{} {:?} {} {:?} {:?} {} {:?}",
            job.edits.received.is_some(),
            job.edits.status,
            job.select.fetch_all,
            job.select.expunge.unwrap(),
            to.batch_limit.unwrap(),
            job.filter
                .as_ref()
                .map_or_else(|| "-".to_owned(), ToString::to_string),
            job.edits.rewrite,
        )
    };
    assert_eq!(
        says(case(&format!("{defaults}{SERVER}"))),
        "true Drop true 1 1 d Some(\"mail.example.org\")"
    );
    let own = format!("{defaults}{SERVER}{own}");
    assert_eq!(
        says(case(&own)),
        "false DropEmpty false 2 2 /etc/posthole/./a Some(\"a.org\")"
    );
    let flagged = case(&own).with(|flags| {
        flags.edits.received = Some(true);
        flags.edits.drop_status = Some(StatusFields::Keep);
        flags.fetch_all = Some(true);
        flags.expunge = Some(3);
        flags.batch_limit = Some(3);
        flags.filter = Some(Vec::new());
        flags.edits.rewrite = Some(Rewrite::Off);
    });
    assert_eq!(says(flagged), "true Keep true 3 3 - None");
}

#[test]
fn what_is_done_with_messages_is_shown() {
    let text = format!(
        "{SERVER}deliver = ['smtp:localhost', 'maildir:Mail']
received = true
tracepolls = true
return-path = true
rewrite = true
drop-status = true
drop-delivered = true
mimedecode = true
strip-cr = true
fetch-all = true
flush = true
expunge = 9
filter = ['f', 'a b']
multidrop = {{ names = ['joe', 'max.power=max', '*'], aka = 'example.com', localdomains = 'x.org', \
         qvirtual = 'q-', envelope = 'X-Original-To', skip = 1, checkalias = true }}
"
    );
    let shown = case(&text).job().to_string();
    let shown: Vec<_> = shown
        .lines()
        .skip_while(|line| !line.starts_with("  keep"))
        .map(|line| line.strip_prefix("  ").unwrap_or(line))
        .collect();
    expect![[r#"
          keep: always
          flush: what was fetched before is deleted first
          fetch all: also what was fetched before
          expunge: after 9 deletions
          every: 5m
          filter: f 'a b'
          edits: Received added, naming work, Return-Path added where it is missing, Status fields dropped, Delivered-To dropped, quoted-printable decoded, carriage returns dropped, addresses completed with mail.example.org
          timeout: 1m
          multidrop:
            envelope: X-Original-To, after 1 others
            names: joe, max.power as max, everybody else
            without: q-
            server: mail.example.org
            also known as: example.com
            local domains: x.org
            DNS: asked, by address too
            postmaster: me
          deliver: smtp:localhost:25, told whom each message is for
          deliver: maildir:/etc/posthole/Mail"#]].assert_eq(&shown.join("\n"));
}

#[test]
fn multidrop_needs_somebody_who_can_be_told() {
    case(&format!("{ACCOUNT}multidrop = {{ names = 'joe' }}")).refused(expect![[r#"
        the mail of `work` is for several people, and its destination is told nobody ^{ names = 'joe' }^
          help: deliver it to a server or a command that knows them, such as deliver = "smtp:localhost"
    "#]]);
}

#[test]
fn multidrop_is_warned_of_where_it_guesses() {
    let text = format!(
        "{SERVER}deliver = 'smtp:localhost'\nmultidrop = {{ names = '*', envelope = false }}"
    );
    let warnings = case(&text).plan().remarks.warnings;
    expect![[r#"
        without the envelope, recipients are guessed from To, Cc and Bcc ^{ names = '*', envelope = false }^
          help: mail from lists and blind copies goes to the postmaster; ask whoever runs the server for a field such as X-Original-To, and name it in `envelope`
    "#]].assert_eq(&super::render(&text, &warnings));
}

#[test]
fn this_machine_is_no_name_for_addresses() {
    case(&format!("{ACCOUNT}rewrite = true")).refused(expect![[r#"
        the mail server of `work` has no name that addresses could be completed with ^true^
          help: name the host, as in rewrite = "mail.example.org"
    "#]]);
    let behind = case(&format!("{ACCOUNT}rewrite = true\nvia = 'popserver'")).job();
    assert_eq!(behind.edits.rewrite.as_deref(), Some("popserver"));
}
