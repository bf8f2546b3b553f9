//! What is refused or not there, and what a person reads about it.

use std::fs;
use std::net::TcpListener;
use std::os::unix::fs::PermissionsExt;

use posthole_testkit::mail;
use posthole_testkit::real::{Mailhost, Requirement, Suite};

use crate::world::{account, run};

pub(crate) fn tests(suite: Suite) -> Suite {
    let needs = Requirement::MAILHOST;
    suite
        .test(
            "a_port_that_may_not_be_opened_is_explained",
            needs,
            a_port_that_may_not_be_opened_is_explained,
        )
        .test(
            "a_port_where_nothing_listens_is_explained",
            needs,
            a_port_where_nothing_listens_is_explained,
        )
        .test(
            "a_wrong_mail_password_is_explained",
            needs,
            a_wrong_mail_password_is_explained,
        )
        .test(
            "a_password_file_that_others_can_read_is_not_used",
            needs,
            a_password_file_that_others_can_read_is_not_used,
        )
        .test(
            "an_unknown_ssh_user_is_explained",
            needs,
            an_unknown_ssh_user_is_explained,
        )
        .test(
            "an_ssh_host_that_is_down_is_tried_again_later",
            needs,
            an_ssh_host_that_is_down_is_tried_again_later,
        )
        .test(
            "a_port_that_is_not_ssh_is_explained",
            needs,
            a_port_that_is_not_ssh_is_explained,
        )
        .test(
            "a_maildir_that_cannot_be_made_is_explained",
            needs,
            a_maildir_that_cannot_be_made_is_explained,
        )
        .test(
            "one_broken_account_holds_nobody_up",
            needs,
            one_broken_account_holds_nobody_up,
        )
}

fn a_port_that_may_not_be_opened_is_explained() {
    let host = Mailhost::start([mail::tiny(1)]);
    let via = host.via();
    let account = account("work", "pop3://msingh@localhost:1", &via);
    host.home().write_config(&account);
    run(host.home(), &["fetch"]).exits(69).says(&[
        "posthole: work: ",
        "localhost:1: administratively prohibited",
        "hint: ",
        "PermitOpen",
    ]);
}

fn a_port_where_nothing_listens_is_explained() {
    let port = closed_port();
    let host = Mailhost::start_with([mail::tiny(1)], |sshd| sshd.permit_open("localhost", port));
    let url = format!("pop3://msingh@localhost:{port}");
    host.home()
        .write_config(&account("work", &url, &host.via()));
    run(host.home(), &["fetch"]).exits(75).says(&[
        "posthole: work: ",
        "Connection refused",
        &format!("hint: nothing listens on port {port} of localhost"),
    ]);
}

fn a_wrong_mail_password_is_explained() {
    let host = Mailhost::start([mail::tiny(1)]);
    host.home().write_password("not the password");
    let ended = run(host.home(), &["-vv", "fetch"]);
    ended.exits(77).says(&[
        "posthole: work: the mail server refused the login: ",
        "[AUTH] Authentication failed.",
        "hint: check the user name and the password's source",
    ]);
    assert!(!ended.text().contains("not the password"));
    assert!(!host.maildir().exists());
}

fn a_password_file_that_others_can_read_is_not_used() {
    let host = Mailhost::start([mail::tiny(1)]);
    let file = host.home().password_file();
    for mode in [0o640, 0o604] {
        fs::set_permissions(&file, fs::Permissions::from_mode(mode)).unwrap();
        let ended = run(host.home(), &["-vv", "fetch"]);
        let chmod = format!("hint: run `chmod 600 {}`", file.display());
        ended.exits(77).says(&["is open to others", &chmod]);
        assert!(!ended.text().contains(Mailhost::MAIL_PASSWORD));
    }
    assert_eq!(host.dovecot().log().matches("Login:").count(), 0);
    fs::set_permissions(&file, fs::Permissions::from_mode(0o600)).unwrap();
    run(host.home(), &["fetch"]).exits(0);
    host.home().assert_delivered([mail::tiny(1)]);
}

fn an_unknown_ssh_user_is_explained() {
    let host = Mailhost::start([mail::tiny(1)]);
    let via = host.via().replace("msingh", "mysing");
    host.home()
        .write_config(&account("work", &host.url(), &via));
    run(host.home(), &["fetch"]).exits(77).says(&[
        "posthole: work: mysing@127.0.0.1 did not let us in",
        "hint: ",
    ]);
}

fn an_ssh_host_that_is_down_is_tried_again_later() {
    let host = Mailhost::start([mail::tiny(1)]);
    let via = format!("msingh@127.0.0.1:{}", closed_port());
    host.home()
        .write_config(&account("work", &host.url(), &via));
    run(host.home(), &["fetch"])
        .exits(75)
        .says(&["posthole: work: cannot connect to 127.0.0.1", "refused"]);
}

fn a_port_that_is_not_ssh_is_explained() {
    // Somebody mixed up the two addresses.
    let host = Mailhost::start([mail::tiny(1)]);
    let via = format!("msingh@127.0.0.1:{}", host.dovecot().port());
    host.home()
        .write_config(&account("work", &host.url(), &via));
    // Whatever is there may still be on its way to its first words of SSH (RFC 4253 §4.2).
    run(host.home(), &["fetch", "--connect-timeout=1s"])
        .exits(75)
        .says(&[
            "posthole: work: 127.0.0.1 did not finish the key exchange within 1s",
            "hint: check that the port is that of an SSH server",
        ]);
    let url = format!("pop3://msingh@127.0.0.1:{}", host.sshd().port());
    let account = account("work", &url, "").replace("via = \"\"\n", "");
    host.home().write_config(&account);
    run(host.home(), &["fetch"])
        .exits(76)
        .says(&["posthole: work: ", "POP3", "hint: "]);
}

fn a_maildir_that_cannot_be_made_is_explained() {
    let host = Mailhost::start([mail::tiny(1)]);
    // Even root cannot make a directory in a file.
    fs::write(host.maildir(), "").unwrap();
    let path = host.maildir().display().to_string();
    run(host.home(), &["fetch", "-K"]).exits(74).says(&[
        "posthole: work: ",
        &path,
        "hint: a file is in the way",
    ]);
    assert_eq!(host.dovecot().messages().len(), 1);
    fs::remove_file(host.maildir()).unwrap();
    run(host.home(), &["fetch", "-K"]).exits(0);
    host.home().assert_delivered([mail::tiny(1)]);
}

fn one_broken_account_holds_nobody_up() {
    let messages = mail::corpus(41, 20);
    let host = Mailhost::start(&messages);
    let (url, via) = (host.url(), host.via());
    let loopback = format!("pop3://msingh@127.0.0.1:{}", host.dovecot().port());
    let forbidden = "pop3://msingh@localhost:1";
    let down = format!("msingh@127.0.0.1:{}", closed_port());
    let config = [
        account("work", &url, &via),
        account("down", &url, &down),
        account("direct", &loopback, "")
            .replace("via = \"\"\n", "")
            .replace("~/Mail", "~/Direct"),
        account("forbidden", forbidden, &via),
        account("stranger", &url, &via)
            .replace("pop3://msingh", "pop3://mysing")
            .replace("via = \"msingh", "via = \"mysing")
            .replace("~/Mail", "~/Other"),
    ];
    host.home().write_config(&config.join("\n"));
    let ended = run(host.home(), &["fetch"]);
    // The worst of 75, 69 and 77.
    ended
        .exits(77)
        .prints(&["work: 20 new (", "direct: 20 new ("])
        .says(&[
            "posthole: down: cannot connect to 127.0.0.1",
            "posthole: forbidden: ",
            "posthole: stranger: mysing@127.0.0.1 did not let us in",
        ]);
    host.home().assert_delivered(&messages);
    let direct = host.home().path().join("Direct");
    posthole_testkit::home::assert_maildir_holds(&direct, &messages);
    // Named alone, the good ones are good; one SSH login serves all who go there.
    run(host.home(), &["fetch", "work", "direct"]).exits(0);
    let log = host.sshd().log();
    assert_eq!(log.matches("Accepted publickey").count(), 2, "{log}");
    run(host.home(), &["fetch", "down"]).exits(75);
    run(host.home(), &["fetch", "forbidden", "down"]).exits(69);
}

/// A port that was free a moment ago.
fn closed_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    listener.local_addr().unwrap().port()
}
