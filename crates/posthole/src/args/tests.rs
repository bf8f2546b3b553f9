//! The command line, and its agreement with the manual.

use clap::CommandFactory;
use expect_test::expect;

use posthole_core::config::Rewrite;
use posthole_core::plan::{EditOverrides, StatusFields, TlsOverrides};

use super::*;
use crate::commands::MANUAL;

fn fetch(args: &[&str]) -> Overrides {
    let cli = Cli::try_parse_from(["posthole", "fetch"].iter().chain(args)).unwrap();
    let Command::Fetch(args) = cli.command else {
        panic!("another command")
    };
    args.account.overrides().unwrap()
}

#[test]
fn the_definitions_agree_with_each_other() {
    Cli::command().debug_assert();
}

#[test]
fn the_manual_names_every_command_and_option() {
    fn check(command: &clap::Command) {
        for argument in command.get_arguments() {
            let Some(long) = argument.get_long().filter(|_| !argument.is_hide_set()) else {
                continue;
            };
            let long = format!("Fl Fl {long}");
            assert!(
                MANUAL.contains(&long),
                "{}: {long} is not in it",
                command.get_name()
            );
            if let Some(short) = argument.get_short() {
                let both = format!("Fl {short} , {long}");
                assert!(
                    MANUAL.contains(&both),
                    "{}: {both} is not in it",
                    command.get_name()
                );
            }
        }
        for subcommand in command.get_subcommands() {
            let name = format!(".It Cm {}", subcommand.get_name());
            assert!(MANUAL.contains(&name), "{name} is not in it");
            check(subcommand);
        }
    }
    check(&Cli::command());
}

#[test]
fn keep_is_a_flag_and_an_option() {
    let fourteen_days = Duration::from_secs(14 * 24 * 60 * 60);
    let table: [(&[&str], Option<Keep>); 8] = [
        (&[], None),
        (&["--keep"], Some(Keep::Always)),
        (&["-k", "work"], Some(Keep::Always)),
        (&["--keep=true"], Some(Keep::Always)),
        (&["--keep=false"], Some(Keep::Never)),
        (&["--no-keep"], Some(Keep::Never)),
        (&["--keep=14d"], Some(Keep::For(fourteen_days))),
        (&["--keep=newest 20"], Some(Keep::Newest(20))),
    ];
    for (args, keep) in table {
        assert_eq!(fetch(args).keep, keep, "{args:?}");
    }
}

#[test]
fn limits_are_said_with_or_without_units() {
    assert_eq!(fetch(&["--limit", "10M"]).limit, Some(10_000_000));
    assert_eq!(fetch(&["--limit=500"]).limit, Some(500));
    assert_eq!(fetch(&["--max-size=1GiB"]).max_size, Some(1 << 30));
    assert_eq!(fetch(&["--fetch-limit", "7"]).fetch_limit, Some(7));
    assert_eq!(fetch(&["--limit-flush"]).limit_flush, Some(true));
    assert_eq!(fetch(&["--no-limit-flush"]).limit_flush, Some(false));
}

#[test]
fn what_is_fetched_and_how_it_is_changed_is_said_by_flags() {
    let said = fetch(&["-a", "--flush", "--expunge=9", "--batch-limit=3"]);
    assert_eq!((said.fetch_all, said.flush), (Some(true), Some(true)));
    assert_eq!((said.expunge, said.batch_limit), (Some(9), Some(3)));
    assert_eq!(fetch(&["--no-fetch-all"]).fetch_all, Some(false));
    assert_eq!(fetch(&["--no-flush"]).flush, Some(false));
    assert_eq!(fetch(&["--filter=a 'b c'"]).filter.unwrap(), ["a", "b c"]);
    assert_eq!(fetch(&["--no-filter"]).filter.unwrap(), [""; 0]);
    let edits = |flag: &str| fetch(&[flag]).edits;
    assert_eq!(edits("--received").received, Some(true));
    assert_eq!(edits("--no-received").received, Some(false));
    assert_eq!(edits("--tracepolls").tracepolls, Some(true));
    assert_eq!(edits("--return-path").return_path, Some(true));
    assert_eq!(edits("--rewrite").rewrite, Some(Rewrite::Server));
    let host = Rewrite::To("example.org".to_owned());
    assert_eq!(edits("--rewrite=example.org").rewrite, Some(host));
    assert_eq!(edits("--no-rewrite").rewrite, Some(Rewrite::Off));
    assert_eq!(edits("--drop-status").drop_status, Some(StatusFields::Drop));
    let empty = Some(StatusFields::DropEmpty);
    assert_eq!(edits("--drop-status=empty").drop_status, empty);
    let keep = Some(StatusFields::Keep);
    assert_eq!(edits("--no-drop-status").drop_status, keep);
    assert_eq!(edits("--drop-delivered").drop_delivered, Some(true));
    assert_eq!(edits("--mimedecode").mimedecode, Some(true));
    assert_eq!(edits("--strip-cr").strip_cr, Some(true));
    assert_eq!(edits("--no-strip-cr").strip_cr, Some(false));
}

#[test]
fn what_is_not_said_overrides_nothing() {
    let Overrides {
        accounts,
        deliver,
        recipients,
        via,
        auth,
        password,
        keep,
        limit,
        max_size,
        limit_flush,
        fetch_limit,
        fetch_all,
        flush,
        expunge,
        filter,
        batch_limit,
        edits,
        timeout,
        allow_plaintext,
        ssh,
        tls,
    } = fetch(&[]);
    assert!(max_size.is_none() && fetch_all.is_none() && flush.is_none() && expunge.is_none());
    assert!(filter.is_none() && batch_limit.is_none());
    let EditOverrides {
        received,
        tracepolls,
        return_path,
        rewrite,
        drop_status,
        drop_delivered,
        mimedecode,
        strip_cr,
    } = edits;
    assert!(received.is_none() && tracepolls.is_none() && return_path.is_none());
    assert!(rewrite.is_none() && drop_status.is_none() && drop_delivered.is_none());
    assert!(mimedecode.is_none() && strip_cr.is_none());
    let SshOverrides {
        identity,
        known_hosts,
        compression,
        keepalive,
        connect_timeout,
        agent,
    } = ssh;
    assert!(
        accounts.is_empty()
            && deliver.is_none()
            && recipients.is_none()
            && via.is_none()
            && password.is_none()
    );
    assert!(limit.is_none() && limit_flush.is_none() && fetch_limit.is_none());
    assert!(auth.is_none() && keep.is_none() && timeout.is_none() && allow_plaintext.is_none());
    assert!(identity.is_none() && known_hosts.is_none() && compression.is_none());
    assert!(keepalive.is_none() && connect_timeout.is_none() && agent.is_none());
    let TlsOverrides {
        when,
        ca_file,
        certificate,
        crl_file,
        fingerprint,
        key,
        name,
    } = tls;
    assert!(when.is_none() && ca_file.is_none() && certificate.is_none() && crl_file.is_none());
    assert!(fingerprint.is_none() && key.is_none() && name.is_none());
}

#[test]
fn the_way_can_be_made_longer_or_left_out() {
    assert_eq!(
        fetch(&["--via", "gate", "--via", "msingh@popserver"])
            .via
            .unwrap()
            .len(),
        2
    );
    assert_eq!(fetch(&["--no-via"]).via, Some(Vec::new()));
}

#[test]
fn there_is_one_source_of_the_password() {
    let both = [
        "posthole",
        "fetch",
        "--password-env",
        "PW",
        "--password-file",
        "/pw",
    ];
    let error = Cli::try_parse_from(both).unwrap_err();
    assert_eq!(error.kind(), clap::error::ErrorKind::ArgumentConflict);
}

#[test]
fn a_password_in_a_url_is_not_repeated() {
    let cli = Cli::try_parse_from(["posthole", "fetch", "pop3://m:s3cret@host"]).unwrap();
    let Command::Fetch(args) = cli.command else {
        panic!("another command")
    };
    let error = args.account.overrides().unwrap_err();
    assert!(!format!("{error} {:?}", error.help).contains("s3cret"));
}

#[test]
fn a_fingerprint_is_as_openssh_prints_it() {
    let digest = "uNiVztksCsDhcc0u9e8BrQJTdXVU5+cLCWGdxYu4PPw";
    let fingerprint: Fingerprint = format!("SHA256:{digest}").parse().unwrap();
    assert_eq!(format!("SHA256:{digest}=").parse(), Ok(fingerprint));
    let md5 = "37:a2:bc:e9:ee:e1:04:59:5e:5e:70:90:c9:4c:c2:1c";
    let fingerprint: Fingerprint = md5.parse().unwrap();
    assert_eq!(fingerprint.as_str(), format!("MD5:{md5}"));
    assert_eq!(
        format!("MD5:{}", md5.to_uppercase()).parse(),
        Ok(fingerprint)
    );
    for wrong in [
        digest,
        "SHA256:",
        "SHA256:abc",
        "MD5:aa:bb",
        &format!("{md5}:00"),
        &md5.replace(':', ""),
        &format!("SHA256:{digest}A"),
    ] {
        wrong.parse::<Fingerprint>().unwrap_err();
    }
}

#[test]
fn the_short_help_fits_on_a_screen() {
    let help = Cli::command().render_help().to_string();
    expect![[r#"
        Fetch POP3 mail through SSH into a Maildir, each message exactly once

        Usage: posthole [OPTIONS] <COMMAND>

        Commands:
          fetch        Fetch new mail from all accounts, or from those named
          daemon       Poll all accounts, each at its own interval, until stopped
          status       Show how the accounts are: last success, next poll, what is wrong
          wake         Have the daemon poll now
          pause        Have the daemon start no more polls
          resume       Have the daemon go on after a pause
          reload       Have the daemon read its configuration again
          unlock       Give the daemon the passwords and passphrases that it waits for
          stop         End the daemon, after the message in hand
          check        Walk every step towards the mailbox and say how it went
          trust        Show an SSH host's key and record it in known_hosts after a yes
          fetchmail    Fetch mail as fetchmail does, with its options and its .fetchmailrc
          forward      Make servers behind SSH hosts appear on this machine, for other mail programs
          import       Translate fetchmail's rc file, or take over what others have fetched
          completions  Print a completion script for a shell
          man          Print the manual page
          help         Print this message or the help of the given subcommand(s)

        Options:
          -h, --help     Print help (see more with '--help')
          -V, --version  Print version

        Global options:
              --config <FILE>    Read this configuration file
              --state-dir <DIR>  Keep the records of fetched mail in this directory
          -q, --quiet            Print nothing but errors
          -v, --verbose...       Say more: each step with -v, the dialogue with the mail server with -vv
              --json             Print one JSON object a line instead of text
              --color <WHEN>     Colour the output: on a terminal, always or never [default: auto] [possible
                                 values: auto, always, never]

        `posthole COMMAND --help` has examples; `posthole man` prints the manual.
    "#]].assert_eq(&help);
}
