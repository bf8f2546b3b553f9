//! What the environment gives: directories, names, and what it may lack.

use std::ffi::OsString;
use std::path::Path;

use expect_test::expect;

use super::*;

#[test]
fn paths_start_at_home_at_the_file_or_where_the_command_was_given() {
    for (written, in_file, on_command_line) in [
        ("~", "/home/me", "/home/me"),
        ("~/Mail", "/home/me/Mail", "/home/me/Mail"),
        ("Mail", "/etc/posthole/Mail", "/cwd/Mail"),
        ("./~x", "/etc/posthole/./~x", "/cwd/./~x"),
        ("../Mail", "/etc/posthole/../Mail", "/cwd/../Mail"),
        ("/var/mail", "/var/mail", "/var/mail"),
    ] {
        let text = ACCOUNT.replace("maildir:Mail", &format!("maildir:{written}"));
        assert_eq!(
            case(&text).job().deliver,
            [DeliverTo::Maildir(in_file.into())]
        );
        let flags = case(ACCOUNT)
            .with(|flags| flags.deliver = Some(vec![Deliver::Maildir(written.into())]));
        assert_eq!(
            flags.job().deliver,
            [DeliverTo::Maildir(on_command_line.into())]
        );
    }
}

#[test]
fn a_file_named_relative_to_the_working_directory_is_where_it_is() {
    let (config, _) = config::parse(ACCOUNT);
    let file = ConfigFile {
        path: Path::new("conf/x.toml"),
        config: &config,
    };
    let environment = case("").environment;
    let plan = resolve(Some(file), &Overrides::default(), &environment, &NoOpenSsh).unwrap();
    assert_eq!(
        plan.jobs[0].deliver[0].to_string(),
        "maildir:/cwd/conf/Mail"
    );
}

#[test]
fn a_bare_environment_is_enough_when_everything_is_said() {
    let text = "[account.a]
server = 'pop3://u@localhost'
via = 'v@h'
deliver = 'maildir:/m'
[ssh.h]
known-hosts = '/k'
";
    let mut case = case(text);
    case.environment = Environment {
        cwd: "/".into(),
        ..Environment::default()
    };
    case.environment
        .vars
        .insert("XDG_STATE_HOME".into(), "/state".into());
    let hop = case.hop();
    assert_eq!(hop.identities, Vec::<PathBuf>::new());
    assert_eq!(hop.agent, None);
    assert_eq!(case.plan().state_dir, Path::new("/state/posthole"));
}

#[test]
fn what_a_bare_environment_lacks_is_said() {
    let text = "[account.a]
server = 'pop3://localhost'
via = 'h'
deliver = 'maildir:~/m'
";
    case(text)
        .without("HOME")
        .without("LOGNAME")
        .refused(expect![[r#"
            there is no directory for the records: no home directory is known
              help: set HOME, or XDG_STATE_HOME to an absolute path
            `a` names no user, and the local user's name is not known ^'pop3://localhost'^
              help: write the user into the URL: pop3://user@host
            no user is named for the SSH host h, and the local user's name is not known ^'h'^
              help: write `user@h`
            there is no known_hosts file: no home directory is known
              help: set HOME, or name a file with `known-hosts` in [ssh.NAME] or --known-hosts
            `~` stands for the home directory, which is not known ^'maildir:~/m'^
              help: set HOME, or write the path out
        "#]]);
}

#[test]
fn the_local_user_is_the_default_on_both_servers() {
    let case = url("pop3://localhost").via(&["h"]);
    assert_eq!(case.job().user, "me");
    assert_eq!(case.job().account, "localhost");
    assert_eq!(case.hop().user, "me");
}

#[test]
fn directories_follow_the_xdg_specification() {
    let environment = |vars: &[(&str, &str)]| {
        let vars = vars
            .iter()
            .map(|(name, value)| (OsString::from(name), OsString::from(value)));
        Environment::new("/cwd".into(), vars)
    };
    let both = |environment: Environment| (environment.config_file(), environment.state_dir());
    assert_eq!(both(environment(&[])), (None, None));
    let home = (
        Some("/h/.config/posthole/config.toml".into()),
        Some("/h/.local/state/posthole".into()),
    );
    assert_eq!(both(environment(&[("HOME", "/h")])), home);
    // Empty and relative values are as good as none.
    let unusable = [
        ("HOME", "/h"),
        ("XDG_CONFIG_HOME", ""),
        ("XDG_STATE_HOME", "state"),
    ];
    assert_eq!(both(environment(&unusable)), home);
    let set = [
        ("HOME", "/h"),
        ("XDG_CONFIG_HOME", "/c"),
        ("XDG_STATE_HOME", "/s"),
    ];
    assert_eq!(
        both(environment(&set)),
        (
            Some("/c/posthole/config.toml".into()),
            Some("/s/posthole".into())
        )
    );
    assert_eq!(
        environment(&[("USER", "u"), ("LOGNAME", "l")])
            .user
            .as_deref(),
        Some("l")
    );
    assert_eq!(
        environment(&[("USER", "u"), ("LOGNAME", "")])
            .user
            .as_deref(),
        Some("u")
    );
}
