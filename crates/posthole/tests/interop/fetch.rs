//! Mail that is fetched: all of it, unchanged, once.

use std::net::Ipv6Addr;

use posthole_testkit::mail;
use posthole_testkit::real::{Mailhost, Requirement, Suite};
use posthole_testkit::relay::Relay;

use crate::world::{Ended, end, posthole, run, start, through, wait_until};

pub(crate) fn tests(suite: Suite) -> Suite {
    let needs = Requirement::MAILHOST;
    suite
        .test(
            "three_hundred_messages_arrive_byte_for_byte_and_once",
            needs,
            three_hundred_messages_arrive_byte_for_byte_and_once,
        )
        .test(
            "the_command_line_alone_is_enough",
            needs,
            the_command_line_alone_is_enough,
        )
        .test(
            "accounts_share_what_the_configuration_says_once",
            needs,
            accounts_share_what_the_configuration_says_once,
        )
        .test(
            "delete_takes_what_was_fetched_and_nothing_else",
            needs,
            delete_takes_what_was_fetched_and_nothing_else,
        )
        .test(
            "kept_mail_goes_when_its_time_has_come",
            needs,
            kept_mail_goes_when_its_time_has_come,
        )
        .test(
            "compression_saves_bytes_and_changes_none",
            needs,
            compression_saves_bytes_and_changes_none,
        )
        .test(
            "new_keys_are_exchanged_in_the_middle",
            needs,
            new_keys_are_exchanged_in_the_middle,
        )
        .test("ipv6_works", needs, ipv6_works)
        .test(
            "a_server_on_loopback_needs_no_ssh",
            needs,
            a_server_on_loopback_needs_no_ssh,
        )
}

fn three_hundred_messages_arrive_byte_for_byte_and_once() {
    let messages = mail::corpus(1, 300);
    let host = Mailhost::start(&messages);
    let before = host.dovecot().messages();
    run(host.home(), &["fetch"])
        .exits(0)
        .prints(&["work: 300 new (", ", 0 deleted, 300 left, "]);
    host.home().assert_delivered(&messages);
    run(host.home(), &["fetch"])
        .exits(0)
        .prints(&["work: 0 new, 0 deleted, 300 left, "]);
    host.home().assert_delivered(&messages);
    assert!(host.dovecot().messages() == before, "kept mail has changed");
}

fn the_command_line_alone_is_enough() {
    let messages = mail::corpus(2, 24);
    let host = Mailhost::start(&messages);
    std::fs::remove_file(host.home().config()).unwrap();
    let (url, via) = (host.url(), host.via());
    let args = [
        "fetch",
        &url,
        "--via",
        &via,
        "--to",
        "maildir:~/Mail",
        "--password-file",
        "mail-password",
    ];
    let of_24 = |ended: Ended, new: &str| {
        ended.exits(0).prints(&[new, ", 0 deleted, 24 left, "]);
        host.home().assert_delivered(&messages);
    };
    of_24(run(host.home(), &args), ": 24 new (");
    // It is remembered under the mailbox's own name.
    of_24(run(host.home(), &args), ": 0 new, ");
}

fn accounts_share_what_the_configuration_says_once() {
    let messages = mail::corpus(8, 24);
    let host = Mailhost::start(&messages);
    let (home, port) = (host.home(), host.dovecot().port());
    std::fs::rename(home.identity(), home.path().join(".ssh/id_pop")).unwrap();
    // As in the manual: what is said once holds for all, and the host has a name of its own.
    let config = format!(
        "[defaults]\n\
         deliver = \"maildir:~/Mail\"\n\
         password = {{ command = \"cat ~/mail-password\" }}\n\
         via = \"msingh@popserver\"\n\
         \n\
         [account.work]\n\
         server = \"pop3://msingh@localhost:{port}\"\n\
         keep = \"14d\"\n\
         timeout = \"60s\"\n\
         \n\
         [account.lists]\n\
         server = \"pop3://msingh@127.0.0.1:{port}\"\n\
         via = []\n\
         keep = true\n\
         deliver = \"maildir:~/Mail/lists\"\n\
         password = {{ env = \"LISTS\" }}\n\
         \n\
         [ssh.popserver]\n\
         hostname = \"127.0.0.1\"\n\
         port = {}\n\
         identity = \"~/.ssh/id_pop\"\n\
         compression = true\n",
        host.sshd().port()
    );
    home.write_config(&config);
    let mut command = posthole(home, &["fetch"]);
    command.env("LISTS", Mailhost::MAIL_PASSWORD);
    let output = command.output().unwrap();
    assert!(output.status.success(), "{output:?}");
    posthole_testkit::home::assert_maildir_holds(&home.path().join("Mail/lists"), &messages);
    home.assert_delivered(&messages);
    run(home, &["check", "--plan", "work"]).exits(0);
    run(home, &["fetch", "work"]).exits(0).prints(&["0 new"]);
}

fn delete_takes_what_was_fetched_and_nothing_else() {
    let messages = mail::corpus(3, 60);
    let host = Mailhost::start(&messages[..40]);
    let line = Relay::to(host.sshd().addr())
        .bytes_per_second(500_000)
        .start();
    through(&host, &line);
    // Kept at first, then fetched no more, only deleted.
    run(host.home(), &["fetch"]).exits(0);
    for message in &messages[40..50] {
        host.dovecot().add(message);
    }
    let running = start(host.home(), &["fetch", "-K"]);
    // Mail that arrives during the session is not of this session (RFC 1939 §3).
    let delivered = || host.home().delivered().len();
    wait_until("the 41st message is here", || delivered() > 40);
    for message in &messages[50..] {
        host.dovecot().add(message);
    }
    end(running)
        .exits(0)
        .prints(&["work: 10 new (", ", 50 deleted, 0 left, "]);
    host.home().assert_delivered(&messages[..50]);
    assert!(host.dovecot().messages() == sorted(&messages[50..]));

    run(host.home(), &["fetch", "-K"])
        .exits(0)
        .prints(&["work: 10 new (", ", 10 deleted, 0 left, "]);
    host.home().assert_delivered(&messages);
    assert!(host.dovecot().messages().is_empty());
}

fn kept_mail_goes_when_its_time_has_come() {
    let messages = mail::corpus(4, 6);
    let host = Mailhost::start(&messages);
    run(host.home(), &["fetch", "--keep=1h"])
        .exits(0)
        .prints(&["work: 6 new (", ", 0 deleted, 6 left, "]);
    run(host.home(), &["fetch", "--keep=0s"])
        .exits(0)
        .prints(&["work: 0 new, 6 deleted, 0 left, "]);
    assert!(host.dovecot().messages().is_empty());
    host.home().assert_delivered(&messages);
}

fn compression_saves_bytes_and_changes_none() {
    // Header and text, which compress well.
    let messages = mail::small(200);
    let octets = |args: &[&str]| {
        let host = Mailhost::start(&messages);
        let line = Relay::to(host.sshd().addr()).start();
        through(&host, &line);
        run(host.home(), args).exits(0).prints(&["work: 200 new ("]);
        host.home().assert_delivered(&messages);
        line.bytes_to_client()
    };
    let (plain, compressed) = (octets(&["fetch"]), octets(&["fetch", "--compress"]));
    assert!(compressed < plain / 2, "{compressed} of {plain} octets");
}

fn new_keys_are_exchanged_in_the_middle() {
    let messages = mail::corpus(5, 300);
    for args in [&["fetch"][..], &["fetch", "--compress"]] {
        let host = Mailhost::start_with(&messages, |sshd| {
            sshd.option("RekeyLimit 256K").option("LogLevel DEBUG1")
        });
        run(host.home(), args).exits(0);
        host.home().assert_delivered(&messages);
        let exchanged = host.sshd().log().matches("SSH2_MSG_NEWKEYS sent").count();
        assert!(exchanged > 3, "keys were exchanged {exchanged} times");
    }
}

fn ipv6_works() {
    let messages = mail::corpus(6, 24);
    let host = Mailhost::start(&messages);
    let line = Relay::to(host.sshd().addr())
        .listen_on(Ipv6Addr::LOCALHOST.into())
        .start();
    let via = through(&host, &line);
    assert!(via.starts_with("msingh@[::1]:"), "{via}");
    run(host.home(), &["fetch"]).exits(0).prints(&["24 new"]);
    host.home().assert_delivered(&messages);
}

fn a_server_on_loopback_needs_no_ssh() {
    let messages = mail::corpus(7, 48);
    let host = Mailhost::start(&messages);
    run(host.home(), &["fetch", "--no-via", "-K"])
        .exits(0)
        .prints(&["work: 48 new (", ", 48 deleted, 0 left, "]);
    host.home().assert_delivered(&messages);
    assert!(host.dovecot().messages().is_empty());
    assert_eq!(host.sshd().log().matches("Accepted").count(), 0);
}

fn sorted(messages: &[Vec<u8>]) -> Vec<Vec<u8>> {
    let mut messages = messages.to_vec();
    messages.sort();
    messages
}
