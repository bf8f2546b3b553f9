//! Which mailboxes there are, what they are called, and which are meant.

use expect_test::expect;

use super::*;

#[test]
fn a_mailbox_keeps_its_key_while_the_way_to_it_changes() {
    let key = |case: Case| case.job().mailbox.clone();
    let via = |server: &str, via: &[&str]| key(url(server).via(via));
    let plain = "pop3:u@localhost via h";
    assert_eq!(via("pop3://u@localhost", &["h"]), plain);
    for (server, hosts) in [
        ("pop3://u@localhost:110", &["h"][..]),
        ("pop3://u@LocalHost", &["H"]),
        ("pop3://u@localhost.", &["h."]),
        ("pop3://u@127.0.0.1", &["h"]),
        ("pop3://u@[::1]", &["h"]),
        ("pop3://u@localhost", &["someone@h"]),
        ("pop3://u@localhost", &["h:22"]),
        ("pop3://u@localhost", &["ssh://h"]),
        ("pop3://u@localhost", &["jump", "h"]),
    ] {
        assert_eq!(via(server, hosts), plain, "{server} {hosts:?}");
    }
    // A name, another port or user in [ssh.NAME], and another folder change nothing either.
    let named = "[account.name]\nserver = 'pop3://u@localhost'\nvia = 'h'\ndeliver = 'maildir:x'\n\
                 [ssh.h]\nport = 2200\nuser = 'x'\nhostname = 'elsewhere'";
    assert_eq!(key(case(named)), plain);
}

#[test]
fn two_mailboxes_never_share_a_key() {
    let keys = [
        url("pop3://u@localhost"),
        url("pop3://U@localhost"),
        url("pop3://v@localhost"),
        url("pop3://u@localhost:1110"),
        url("pop3://u@127.0.0.2"),
        url("pop3://u@localhost").via(&["h"]),
        url("pop3://u@localhost").via(&["h:2222"]),
        url("pop3://u@localhost").via(&["i"]),
        url("pop3://u@localhost:1110").via(&["h"]),
        url("pop3://u@mail").via(&["h"]),
        url("pop3://u@localhost").via(&["::1"]),
        url("pop3://u@localhost").via(&["[::2]:2222"]),
    ]
    .map(|case| case.job().mailbox.clone());
    for (index, key) in keys.iter().enumerate() {
        assert!(!keys[..index].contains(key), "{key}");
    }
    assert_eq!(keys[11], "pop3:u@localhost via [::2]:2222");
}

#[test]
fn two_accounts_of_one_mailbox_are_refused() {
    let text = format!(
        "{ACCOUNT}[account.again]\nserver = 'pop3://msingh@127.0.0.1'\ndeliver = 'maildir:b'"
    );
    case(&text).refused(expect![[r#"
        `work` and `again` are the same mailbox (pop3:msingh@localhost) ^again^
          help: take one of them out; mail is fetched once from each mailbox
    "#]]);
    assert_eq!(case(&text).select(&["again"]).job().account, "again");
    url("pop3://u@localhost")
        .with(|flags| {
            flags
                .accounts
                .push("pop3://u@localhost:110".parse().unwrap());
        })
        .refused(expect![[r#"
            `u@localhost` and `u@localhost:110` are the same mailbox (pop3:u@localhost)
              help: take one of them out; mail is fetched once from each mailbox
        "#]]);
}

#[test]
fn accounts_are_chosen_by_name() {
    let text = "[defaults]\ndeliver = 'maildir:m'\n[account.work]\nserver = 'pop3://a@localhost'\n\
                [account.home]\nserver = 'pop3://b@localhost'";
    let names = |case: Case| -> Vec<String> {
        case.plan()
            .jobs
            .iter()
            .map(|job| job.account.clone())
            .collect()
    };
    assert_eq!(names(case(text)), ["work", "home"]);
    assert_eq!(names(case(text).select(&["home"])), ["home"]);
    assert_eq!(
        names(case(text).select(&["home", "work", "home"])),
        ["home", "work"]
    );
    assert_eq!(
        names(case(text).select(&["pop3://c@localhost", "home"])),
        ["c@localhost", "home"]
    );
    case(text).select(&["wrok", "office"]).refused(expect![[r#"
            there is no account `wrok`
              help: did you mean `work`?
            there is no account `office`
              help: known are work, home
        "#]]);
    case("").select(&["work"]).refused(expect![[r#"
        there is no account `work`
          help: no account is configured; a URL has a `://`, such as pop3://user@host
    "#]]);
}

#[test]
fn an_unselected_account_does_not_have_to_be_complete() {
    let text = format!("{ACCOUNT}[account.later]\nserver = 'pop3://u@example.org'\ntls = 'never'");
    assert_eq!(case(&text).select(&["work"]).job().account, "work");
    case(&text).refused(expect![[r#"
        the password of `later` would cross the network to example.org in the clear ^'pop3://u@example.org'^
          help: allow TLS with tls = "required", go through SSH with `via`, or accept the risk with allow-plaintext = true
        it is not said where the mail of `later` goes ^later^
          help: write deliver = "maildir:~/Mail" here or below [defaults], or give --to
    "#]]);
}

#[test]
fn nothing_to_do_is_an_error() {
    case("").refused(expect![[r#"
        there is no account to work on
          help: give an account as a URL, such as `pop3://msingh@localhost --via msingh@popserver --to maildir:~/Mail`, or write an [account.NAME] into /home/me/.config/posthole/config.toml
    "#]]);
    case("[defaults]\nkeep = true").refused(expect![[r#"
        there is no account to work on
          help: give an account as a URL, such as `pop3://msingh@localhost --via msingh@popserver --to maildir:~/Mail`, or write an [account.NAME] into /etc/posthole/config.toml
    "#]]);
}
