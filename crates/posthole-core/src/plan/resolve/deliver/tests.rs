use std::path::Path;

use super::*;
use crate::config;
use crate::openssh::NoOpenSsh;
use crate::plan::{ConfigFile, Overrides, Plan, resolve};

fn environment() -> Environment {
    let vars = [
        ("HOME", "/home/me"),
        ("LOGNAME", "me"),
        ("LC_CTYPE", "C.UTF-8"),
        ("SECRET", "x"),
    ];
    Environment::new(
        "/cwd".into(),
        vars.map(|(name, value)| (name.into(), value.into())),
    )
}

fn plan(lines: &str, overrides: &Overrides) -> Result<Plan, Vec<Diagnostic>> {
    let text = format!("[account.a]\nserver = 'pop3://u@localhost'\n{lines}\n");
    let (config, diagnostics) = config::parse(&text);
    assert!(diagnostics.is_empty(), "{diagnostics:?}");
    let file = ConfigFile {
        path: Path::new("/etc/posthole/config.toml"),
        config: &config,
    };
    resolve(Some(file), overrides, &environment(), &NoOpenSsh)
}

fn deliver(lines: &str) -> Vec<DeliverTo> {
    plan(lines, &Overrides::default()).unwrap().jobs[0]
        .deliver
        .clone()
}

fn shown(lines: &str) -> String {
    let plan = plan(lines, &Overrides::default()).unwrap().to_string();
    let lines = plan.lines().map(str::trim);
    let lines = lines.filter_map(|line| line.strip_prefix("deliver: "));
    lines.collect::<Vec<_>>().join("; ")
}

#[test]
fn every_kind_of_destination_is_resolved() {
    for (lines, expected) in [
        ("deliver = 'maildir:M'", "maildir:/etc/posthole/M"),
        ("deliver = 'mbox:~/m'", "mbox:/home/me/m"),
        (
            "deliver = 'mda:procmail -d %T'",
            "mda:procmail -d '%T' for me",
        ),
        ("deliver = 'mda:~/bin/mda'", "mda:/home/me/bin/mda for me"),
        ("deliver = { mda = ['a b', '%T'] }", "mda:'a b' '%T' for me"),
        (
            "deliver = 'smtp:mail.example.org'",
            "smtp:mail.example.org:25 for me@mail.example.org",
        ),
        (
            "deliver = 'smtp:127.0.0.1:2525'",
            "smtp:127.0.0.1:2525 for me@localhost",
        ),
        (
            "deliver = 'smtp:192.0.2.1'",
            "smtp:192.0.2.1:25 for me@[192.0.2.1]",
        ),
        (
            "deliver = 'smtp:[2001:db8::1]:26'",
            "smtp:[2001:db8::1]:26 for me@[IPv6:2001:db8::1]",
        ),
        (
            "deliver = 'lmtp:localhost:24'",
            "lmtp:localhost:24 for me@localhost",
        ),
        (
            "deliver = 'lmtp:/run/lmtp'",
            "lmtp:/run/lmtp for me@localhost",
        ),
        (
            "deliver = 'lmtp:~/lmtp'",
            "lmtp:/home/me/lmtp for me@localhost",
        ),
        (
            "deliver = 'bsmtp:b'",
            "bsmtp:/etc/posthole/b for me@localhost",
        ),
        ("deliver = 'bsmtp:-'", "bsmtp:- for me@localhost"),
        ("deliver = ['maildir:/m', 'mbox:/n']", "maildir:/m; mbox:/n"),
        (
            "deliver = 'smtp:h'\nrecipients = ['a', 'b@c']",
            "smtp:h:25 for a@h, b@c",
        ),
    ] {
        assert_eq!(shown(lines), expected, "{lines}");
    }
}

#[test]
fn a_login_is_protected_and_other_mail_as_far_as_it_goes() {
    let login = "user = 'me', password = { file = 'p' }";
    for (to, expected) in [
        ("'smtp:localhost'", "Never"),
        ("'smtp:h'", "IfOffered"),
        ("'smtps:h'", "AtOnce"),
        ("{ smtp = 'h', tls = 'never' }", "Never"),
        (
            "{ smtp = 'h', LOGIN }",
            "Required login me, the file /etc/posthole/p",
        ),
        (
            "{ smtps = 'h', LOGIN }",
            "AtOnce login me, the file /etc/posthole/p",
        ),
        (
            "{ smtp = '::1', LOGIN }",
            "Never login me, the file /etc/posthole/p",
        ),
        (
            "{ smtp = 'h', tls = 'auto', LOGIN }",
            "IfOffered login me, the file /etc/posthole/p",
        ),
    ] {
        let lines = format!("deliver = {}", to.replace("LOGIN", login));
        let [DeliverTo::Smtp(to)] = &deliver(&lines)[..] else {
            panic!("{lines}");
        };
        let mut shown = format!("{:?}", to.tls.start);
        if let Some(SmtpLogin { user, password }) = &to.login {
            shown.push_str(&format!(" login {user}, {password}"));
        }
        assert_eq!(shown, expected, "{lines}");
    }
    for (to, expected) in [
        (
            "{ smtp = 'h', user = 'me' }",
            "`user` stands without a `password`",
        ),
        (
            "{ smtp = 'h', password = { file = 'p' } }",
            "`password` stands without a `user`",
        ),
        (
            "{ smtp = 'h', user = 'me', password = 'prompt' }",
            "nobody can be asked",
        ),
        (
            "{ smtps = 'h', tls = 'never' }",
            "`smtps` is TLS from the start",
        ),
    ] {
        let wrong = plan(&format!("deliver = {to}"), &Overrides::default()).unwrap_err();
        assert!(wrong[0].message.contains(expected), "{}", wrong[0].message);
        assert!(wrong[0].span.is_some(), "{to}");
    }
}

#[test]
fn the_command_line_wins() {
    let overrides = Overrides {
        deliver: Some(vec!["mbox:m".parse().unwrap(), "smtp:h".parse().unwrap()]),
        recipients: Some(vec!["x".to_owned()]),
        ..Overrides::default()
    };
    let plan = plan("deliver = 'maildir:M'\nrecipients = 'y'", &overrides).unwrap();
    let [DeliverTo::Mbox(mbox), DeliverTo::Smtp(smtp)] = &plan.jobs[0].deliver[..] else {
        panic!("{plan}")
    };
    assert_eq!(mbox.path, Path::new("/cwd/m"));
    assert_eq!(smtp.recipients, ["x@h"]);
}

#[test]
fn a_destination_that_is_there_twice_is_refused() {
    let twice = plan("deliver = ['mbox:/m', 'mbox:/m']", &Overrides::default()).unwrap_err();
    assert!(twice[0].message.contains("mbox:/m is there twice"));
    assert!(twice[0].span.is_some());
}

#[test]
fn nobody_is_told_for_whom_mail_is_when_nobody_knows() {
    let config = "[account.a]\nserver = 'pop3://u@localhost'\ndeliver = 'smtp:h'\n";
    let (config, _) = config::parse(config);
    let file = ConfigFile {
        path: Path::new("/c"),
        config: &config,
    };
    let nameless = Environment {
        user: None,
        ..environment()
    };
    let refused = resolve(Some(file), &Overrides::default(), &nameless, &NoOpenSsh).unwrap_err();
    assert!(refused[0].message.contains("whom the mail of `a` is for"));
}

#[test]
fn a_command_gets_no_more_of_the_environment_than_it_needs() {
    let [DeliverTo::Mda(mda)] = &deliver("deliver = 'mda:x'")[..] else {
        panic!("one command")
    };
    let mut names: Vec<_> = mda
        .environment
        .iter()
        .map(|(name, _)| name.to_str().unwrap())
        .collect();
    names.sort_unstable();
    assert_eq!(names, ["HOME", "LC_CTYPE", "LOGNAME", "PATH", "USER"]);
    assert_eq!(mda.timeout, MDA_TIMEOUT);
    assert_eq!(mda.user, None);
}

#[test]
fn root_runs_a_command_as_who_is_named() {
    for (lines, user) in [
        ("deliver = 'mda:x'\nrecipients = ['max', 'moritz']", "max"),
        ("deliver = 'mda:x'\nrecipients = 'max@example.org'", "max"),
        (
            "deliver = { mda = 'x', user = 'vmail', timeout = '1m' }\nrecipients = 'max'",
            "vmail",
        ),
    ] {
        let [DeliverTo::Mda(mda)] = &deliver(lines)[..] else {
            panic!("one command")
        };
        assert_eq!(mda.user.as_deref(), Some(user), "{lines}");
    }
    let [DeliverTo::Mbox(mbox)] = &deliver("deliver = 'mbox:x'\nrecipients = 'max'")[..] else {
        panic!("one mbox")
    };
    assert_eq!(mbox.owner.as_deref(), Some("max"));
}
