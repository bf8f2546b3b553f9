//! The program as a person starts it, without any server: arguments, configuration, output.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::os::unix::process::CommandExt;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use expect_test::{Expect, expect};
use posthole_testkit::home::Home;

/// The program in a home directory, in the background of whatever terminal runs the tests: it has
/// nobody to ask.
fn posthole(home: &Home) -> Command {
    let mut command = home.posthole(Path::new(env!("CARGO_BIN_EXE_posthole")));
    command.stdin(Stdio::null()).process_group(0);
    command
}

struct Ended {
    code: Option<i32>,
    stdout: String,
    stderr: String,
}

/// Runs the program; what it prints has `~` for the home directory.
fn run(home: &Home, args: &[&str]) -> Ended {
    let Output {
        status,
        stdout,
        stderr,
    } = posthole(home).args(args).output().unwrap();
    let path = home.path().display().to_string();
    let text = |output| String::from_utf8(output).unwrap().replace(&path, "~");
    Ended {
        code: status.code(),
        stdout: text(stdout),
        stderr: text(stderr),
    }
}

#[track_caller]
fn check(ended: &Ended, code: i32, stdout: Expect, stderr: Expect) {
    stdout.assert_eq(&ended.stdout);
    stderr.assert_eq(&ended.stderr);
    assert_eq!(ended.code, Some(code));
}

#[test]
fn without_a_configuration_it_says_how_to_begin() {
    check(
        &run(&Home::new(), &["fetch"]),
        78,
        expect![[r#""#]],
        expect![[r#"
            posthole: there is no configuration file ~/.config/posthole/config.toml, and no mailbox was named
              hint: fetch without one:
                      posthole fetch pop3://USER@localhost --via USER@SSHHOST --to maildir:~/Mail
                    or write ~/.config/posthole/config.toml:
                      [account.work]
                      server  = "pop3://USER@localhost:110"
                      via     = "USER@SSHHOST"
                      deliver = "maildir:~/Mail"
        "#]],
    );
}

#[test]
fn all_mistakes_in_the_configuration_are_shown_at_once() {
    let home = Home::new();
    home.write_config(
        "[account.work]\n\
         sever = \"pop3://msingh@localhost\"\n\
         \n\
         [account.home]\n\
         server = \"pop3://msingh@localhost\"\n\
         deliver = \"maildir:~/Mail\"\n\
         timeout = 60\n\
         kep = true\n",
    );
    check(
        &run(&home, &["fetch"]),
        78,
        expect![[r#""#]],
        expect![[r#"
            error: [account.work] has no `server`
             --> ~/.config/posthole/config.toml:1:10
              |
            1 | [account.work]
              |          ^^^^ needed here
              |
              = help: write server = "pop3://user@host"

            error: unknown key `sever` in [account.work]
             --> ~/.config/posthole/config.toml:2:1
              |
            2 | sever = "pop3://msingh@localhost"
              | ^^^^^ did you mean `server`?
              |
              = help: known are allow-plaintext, auth, batch-limit, deliver, drop-delivered, drop-status, every, expunge, fetch-all, fetch-limit, filter, flush, keep, limit, limit-flush, max-size, mimedecode, multidrop, password, received, recipients, return-path, rewrite, server, strip-cr, timeout, tls, tls-ca-file, tls-certificate, tls-crl-file, tls-fingerprint, tls-key, tls-name, tracepolls, via

            error: `timeout` must be a duration in quotes, not a number
             --> ~/.config/posthole/config.toml:7:11
              |
            7 | timeout = 60
              |           ^^
              |
              = help: write "60s" for seconds or "60m" for minutes

            error: unknown key `kep` in [account.home]
             --> ~/.config/posthole/config.toml:8:1
              |
            8 | kep = true
              | ^^^ did you mean `keep`?
              |
              = help: known are allow-plaintext, auth, batch-limit, deliver, drop-delivered, drop-status, every, expunge, fetch-all, fetch-limit, filter, flush, keep, limit, limit-flush, max-size, mimedecode, multidrop, password, received, recipients, return-path, rewrite, server, strip-cr, timeout, tls, tls-ca-file, tls-certificate, tls-crl-file, tls-fingerprint, tls-key, tls-name, tracepolls, via

            posthole: nothing was done: 4 mistakes in ~/.config/posthole/config.toml
        "#]],
    );
    let json = run(&home, &["fetch", "--json"]);
    let object: serde_json::Value = serde_json::from_str(&json.stdout).unwrap();
    assert_eq!(object["account"], serde_json::Value::Null);
    assert_eq!(object["error"]["class"], "config");
    assert_eq!(object["diagnostics"].as_array().unwrap().len(), 4);
    assert_eq!(object["diagnostics"][3]["line"], 8);
    assert_eq!((json.code, &*json.stderr), (Some(78), ""));
}

#[test]
fn a_password_in_a_file_that_others_can_read_is_refused_and_not_shown() {
    let home = Home::new();
    home.write_config(
        "[account.work]\n\
         server = \"pop3://msingh@localhost\"\n\
         password = { literal = \"s3cret\" }\n\
         deliver = \"maildir:~/Mail\"\n",
    );
    fs::set_permissions(home.config(), fs::Permissions::from_mode(0o644)).unwrap();
    let ended = run(&home, &["-vv", "fetch"]);
    assert_eq!(ended.code, Some(78));
    assert!(ended.stderr.contains("can read it"), "{}", ended.stderr);
    assert!(!format!("{}{}", ended.stdout, ended.stderr).contains("s3cret"));
}

const ACCOUNTS: &str = "\
[account.work]
server = \"pop3://msingh@localhost\"
via = \"popserver\"
password = { literal = \"s3cret\" }
deliver = \"maildir:~/Mail/work\"
keep = \"14d\"

[account.home]
server = \"pop3://msingh@127.0.0.1:1\"
deliver = \"maildir:~/Mail/home\"

[ssh.popserver]
hostname = \"pop.example\"
port = 2222
compression = true
";

#[test]
fn an_unknown_account_is_answered_with_the_one_that_was_meant() {
    let home = Home::new();
    home.write_config(ACCOUNTS);
    check(
        &run(&home, &["fetch", "wrok"]),
        78,
        expect![[r#""#]],
        expect![[r#"
            posthole: there is no account `wrok`
              hint: did you mean `work`?
        "#]],
    );
}

#[test]
fn the_plan_is_shown_without_secrets() {
    let home = Home::new();
    home.write_config(ACCOUNTS);
    let ended = run(
        &home,
        &["check", "--plan", "work", "--keep=1h", "--no-compress"],
    );
    check(
        &ended,
        0,
        expect![[r#"
            account work
              mailbox: pop3:msingh@localhost via popserver
              server: localhost:110
              user: msingh
              via popserver
                address: pop.example:2222
                user: msingh
                identities, where they exist: ~/.ssh/id_ed25519, ~/.ssh/id_ecdsa, ~/.ssh/id_rsa
                agent: none
                known hosts: ~/.ssh/known_hosts, ~/.ssh/known_hosts2, /etc/ssh/ssh_known_hosts, /etc/ssh/ssh_known_hosts2
                password: asked for when it is needed
                compression: no
                connect timeout: 30s
                keepalive: 30s
              tls: never
              auth: auto
              password: the configuration file
              keep: 1h after fetching
              every: 5m
              timeout: 1m
              deliver: maildir:~/Mail/work

            records: ~/.local/state/posthole
        "#]],
        expect![[r#""#]],
    );
}

#[test]
fn quiet_prints_nothing_but_errors() {
    let home = Home::new();
    home.write_config(ACCOUNTS);
    let ended = run(
        &home,
        &["fetch", "-q", "home", "--password-command", "echo pw"],
    );
    assert_eq!(ended.stdout, "");
    assert!(
        ended.stderr.starts_with("posthole: home: cannot connect"),
        "{}",
        ended.stderr
    );
    let ended = run(
        &home,
        &["check", "-q", "home", "--password-command", "echo pw"],
    );
    assert_eq!(ended.stdout, "");
    assert!(
        ended.stderr.starts_with("posthole: home: cannot connect"),
        "{}",
        ended.stderr
    );
}

#[test]
fn a_named_configuration_must_exist() {
    let ended = run(&Home::new(), &["fetch", "--config", "none.toml"]);
    check(
        &ended,
        78,
        expect![[r#""#]],
        expect![[r#"
        posthole: cannot read the configuration file ~/none.toml
          1: No such file or directory
          hint: name another file with --config, or give the account as a URL
    "#]],
    );
}

#[test]
fn a_configuration_file_that_cannot_be_read_says_where_to_look() {
    let home = Home::new();
    fs::create_dir(home.config()).unwrap();
    check(
        &run(&home, &["fetch"]),
        78,
        expect![[r#""#]],
        expect![[r#"
            posthole: cannot read the configuration file ~/.config/posthole/config.toml
              1: Is a directory
              hint: check the owner and mode of that path, or name another file with --config
        "#]],
    );
}

#[test]
fn a_password_in_a_url_is_refused_and_not_repeated() {
    let ended = run(&Home::new(), &["fetch", "pop3://msingh:s3cret@localhost"]);
    assert_eq!(ended.code, Some(64));
    assert!(
        ended.stderr.contains("password does not belong"),
        "{}",
        ended.stderr
    );
    assert!(!ended.stderr.contains("s3cret"), "{}", ended.stderr);
}

#[test]
fn a_wrong_command_line_is_a_usage_error() {
    let home = Home::new();
    for args in [
        &["fetch", "--kep"][..],
        &["ftech"],
        &[],
        &["fetch", "--jobs", "0"],
    ] {
        let ended = run(&home, args);
        assert_eq!(ended.code, Some(64), "{args:?}");
        assert_eq!(ended.stdout, "", "{args:?}");
        assert_ne!(ended.stderr, "", "{args:?}");
    }
}

#[test]
fn a_wrong_value_says_what_would_be_right() {
    let ended = run(&Home::new(), &["fetch", "--keep=14"]);
    check(
        &ended,
        64,
        expect![[r#""#]],
        expect![[r#"
        error: invalid value '14' for '--keep[=<HOW>]': the number has no unit
          hint: write `14s` for seconds, `14m` for minutes

        For more information, try '--help'.
    "#]],
    );
}

#[test]
fn help_is_data() {
    let home = Home::new();
    for args in [
        &["--help"][..],
        &["fetch", "--help"],
        &["help", "trust"],
        &["--version"],
    ] {
        let ended = run(&home, args);
        assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{args:?}");
        assert_ne!(ended.stdout, "", "{args:?}");
    }
}

#[test]
fn every_shell_gets_its_completions() {
    let home = Home::new();
    for shell in ["bash", "elvish", "fish", "powershell", "zsh"] {
        let ended = run(&home, &["completions", shell]);
        assert_eq!((ended.code, &*ended.stderr), (Some(0), ""), "{shell}");
        assert!(ended.stdout.contains("dry-run"), "{shell}");
    }
}

#[test]
fn the_manual_is_the_one_that_is_installed() {
    let ended = run(&Home::new(), &["man"]);
    assert_eq!(ended.stdout, include_str!("../../../doc/posthole.1"));
    assert_eq!((ended.code, &*ended.stderr), (Some(0), ""));
}

#[test]
fn a_closed_pipe_is_no_error() {
    let (reader, writer) = std::io::pipe().unwrap();
    drop(reader);
    let home = Home::new();
    let ended = posthole(&home).arg("man").stdout(writer).output().unwrap();
    assert_eq!(String::from_utf8(ended.stderr).unwrap(), "");
    assert_eq!(ended.status.code(), Some(0));
}

#[cfg(target_os = "linux")]
#[test]
fn a_full_disk_under_the_output_is_an_error() {
    let full = fs::OpenOptions::new()
        .write(true)
        .open("/dev/full")
        .unwrap();
    let ended = posthole(&Home::new())
        .arg("man")
        .stdout(full)
        .output()
        .unwrap();
    let stderr = String::from_utf8(ended.stderr).unwrap();
    expect![[r#"
        posthole: cannot write to standard output
          1: No space left on device
    "#]]
    .assert_eq(&stderr);
    assert_eq!(ended.status.code(), Some(74));
}

#[test]
fn colour_is_for_terminals_unless_it_is_asked_for() {
    let home = Home::new();
    assert!(!run(&home, &["fetch"]).stderr.contains('\x1b'));
    assert!(
        run(&home, &["fetch", "--color", "always"])
            .stderr
            .contains("\x1b[")
    );
    assert!(
        !run(&home, &["fetch", "--color", "never"])
            .stderr
            .contains('\x1b')
    );
}

#[test]
fn without_user_in_the_environment_the_user_database_says_who_we_are() {
    let home = Home::new();
    let args = [
        "check",
        "--plan",
        "pop3://m@localhost",
        "--via",
        "popserver",
        "--to",
        "maildir:~/Mail",
    ];
    let mut command = posthole(&home);
    command.env_remove("USER").env_remove("LOGNAME").args(args);
    let output = command.output().unwrap();
    let plan = String::from_utf8(output.stdout).unwrap();
    let id = Command::new("id").arg("-un").output().unwrap();
    let user = String::from_utf8(id.stdout).unwrap();
    let user = user.trim();
    // A user without a name, as in some containers, must be given on the command line.
    let known = id.status.success();
    assert_eq!(
        plan.contains(&format!("    user: {user}\n")),
        known,
        "{plan}"
    );
}
