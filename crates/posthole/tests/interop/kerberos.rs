//! Logins by Kerberos ticket, against Dovecot and a KDC.

use std::path::Path;
use std::process::Stdio;

use posthole_testkit::Home;
use posthole_testkit::mail;
use posthole_testkit::real::{Dovecot, Kdc, Requirement, Suite};

use crate::world::{Ended, end, posthole};

pub(crate) fn tests(suite: Suite) -> Suite {
    let mut needs = vec![
        Requirement::Dovecot,
        Requirement::DovecotGssapi,
        Requirement::Kdc,
    ];
    if !cfg!(feature = "gssapi") {
        needs.push(Requirement::Feature("a build with the feature `gssapi`"));
    }
    suite
        .test(
            "a_ticket_leads_into_the_mailbox_without_a_password",
            &needs,
            a_ticket_leads_into_the_mailbox_without_a_password,
        )
        .test(
            "a_ticket_that_is_missing_or_somebody_elses_is_said_to_be_so",
            &needs,
            a_ticket_that_is_missing_or_somebody_elses_is_said_to_be_so,
        )
        .test(
            "without_a_ticket_auto_falls_back_to_the_password",
            &needs,
            without_a_ticket_auto_falls_back_to_the_password,
        )
}

/// A home whose account `work` is on that Dovecot, without a password.
fn home(dovecot: &Dovecot) -> Home {
    let home = Home::new();
    home.write_config(&format!(
        "[account.work]\n\
         server = \"pop3://{}@localhost:{}\"\n\
         deliver = \"maildir:~/Mail\"\n",
        Dovecot::USER,
        dovecot.port(),
    ));
    home
}

/// Runs the program with the tickets in that file.
fn run(home: &Home, kdc: &Kdc, tickets: &Path, args: &[&str]) -> Ended {
    let mut command = posthole(home, args);
    command
        .env("KRB5_CONFIG", kdc.config())
        .env("KRB5CCNAME", tickets)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    end(command.spawn().unwrap())
}

fn a_ticket_leads_into_the_mailbox_without_a_password() {
    let kdc = Kdc::start();
    let messages = mail::corpus(33, 5);
    for auth in ["gssapi", "auto"] {
        let dovecot = Dovecot::start_with(&messages, &kdc.dovecot_options());
        let home = home(&dovecot);
        let tickets = kdc.ticket(Dovecot::USER);
        run(&home, &kdc, &tickets, &["check", "--auth", auth])
            .exits(0)
            .prints(&["SASL GSSAPI", "accepted by GSSAPI\n"]);
        run(&home, &kdc, &tickets, &["fetch", "--auth", auth]).exits(0);
        home.assert_delivered(&messages);
    }
}

fn a_ticket_that_is_missing_or_somebody_elses_is_said_to_be_so() {
    let kdc = Kdc::start();
    let dovecot = Dovecot::start_with([mail::tiny(1)], &kdc.dovecot_options());
    let home = home(&dovecot);
    let args = ["fetch", "--auth", "gssapi"];
    run(&home, &kdc, Path::new("/nonexistent"), &args)
        .exits(77)
        .says(&[
            "the login by GSSAPI cannot be begun",
            "No Kerberos credentials available",
            "hint: get a ticket with kinit(1)",
        ]);
    let tickets = kdc.ticket("stranger");
    run(&home, &kdc, &tickets, &args).exits(77).says(&[
        "the mail server refused the login by GSSAPI: ",
        "hint: check the user name, and with klist(1) whose ticket it is",
    ]);
    assert!(!home.maildir().exists());
}

fn without_a_ticket_auto_falls_back_to_the_password() {
    let kdc = Kdc::start();
    let options = kdc.dovecot_options() + "auth_mechanisms = gssapi plain\n";
    let dovecot = Dovecot::start_with([mail::tiny(1)], &options);
    let home = home(&dovecot);
    home.write_password(Dovecot::PASSWORD);
    let args = ["check", "--password-file", "mail-password"];
    run(&home, &kdc, Path::new("/nonexistent"), &args)
        .exits(0)
        .prints(&["SASL GSSAPI PLAIN", "accepted by "]);
}
