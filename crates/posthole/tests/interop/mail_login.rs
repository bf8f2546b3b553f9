//! The ways to log in to the mailbox, against Dovecot.

use posthole_testkit::real::{Dovecot, Requirement, Suite};
use posthole_testkit::tls::{Authority, Request, Tls};
use posthole_testkit::{Home, mail};

use crate::tls::write_private;
use crate::world::{at_a_terminal, run, wait_until};

pub(crate) fn tests(suite: Suite) -> Suite {
    let needs = &[Requirement::Dovecot];
    suite
        .test(
            "every_password_mechanism_logs_in",
            needs,
            every_password_mechanism_logs_in,
        )
        .test(
            "a_wrong_password_is_tried_once_by_every_mechanism",
            needs,
            a_wrong_password_is_tried_once_by_every_mechanism,
        )
        .test(
            "an_access_token_logs_in_until_it_expires",
            needs,
            an_access_token_logs_in_until_it_expires,
        )
        .test(
            "without_user_the_best_that_dovecot_offers_is_taken",
            needs,
            without_user_the_best_that_dovecot_offers_is_taken,
        )
        .test(
            "a_password_outside_ascii_is_the_same_on_both_sides",
            needs,
            a_password_outside_ascii_is_the_same_on_both_sides,
        )
        .test(
            "a_certificate_logs_in_without_a_password",
            needs,
            a_certificate_logs_in_without_a_password,
        )
        .test(
            "inside_tls_scram_is_preferred_to_the_password",
            needs,
            inside_tls_scram_is_preferred_to_the_password,
        )
        .test(
            "the_dialogue_shows_no_response",
            needs,
            the_dialogue_shows_no_response,
        )
        .test(
            "a_prompt_that_is_answered_wrongly_costs_one_login",
            needs,
            a_prompt_that_is_answered_wrongly_costs_one_login,
        )
}

/// A home whose account `work` is on that Dovecot.
fn home(dovecot: &Dovecot, password: &str) -> Home {
    let home = Home::new();
    home.write_password(password);
    home.write_config(&format!(
        "[account.work]\n\
         server = \"pop3://{}@localhost:{}\"\n\
         password = {{ file = \"~/mail-password\" }}\n\
         deliver = \"maildir:~/Mail\"\n",
        Dovecot::USER,
        dovecot.port(),
    ));
    home
}

const MECHANISMS: [(&str, &str); 8] = [
    ("user", "USER/PASS"),
    ("apop", "APOP"),
    ("plain", "PLAIN"),
    ("login", "LOGIN"),
    ("cram-md5", "CRAM-MD5"),
    ("scram-sha-1", "SCRAM-SHA-1"),
    ("scram-sha-256", "SCRAM-SHA-256"),
    ("auto", "USER/PASS"),
];

const OFFER_ALL: &str = "auth_mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256 apop\n";

fn every_password_mechanism_logs_in() {
    let messages = mail::corpus(31, 5);
    for (auth, name) in MECHANISMS {
        let dovecot = Dovecot::start_with(&messages, OFFER_ALL);
        let home = home(&dovecot, Dovecot::PASSWORD);
        let args = ["check", "--auth", auth];
        let accepted = format!("accepted by {name}, password: ");
        run(&home, &args).exits(0).prints(&[&accepted, "SASL "]);
        run(&home, &["fetch", "--no-keep", "--auth", auth]).exits(0);
        home.assert_delivered(&messages);
        assert!(dovecot.messages().is_empty(), "{auth}");
        let method = match name {
            "USER/PASS" => "PLAIN",
            name => name,
        };
        let log = dovecot.log();
        let login =
            |line: &str| line.contains("Login: ") && line.contains(&format!("method={method}"));
        assert!(log.lines().any(login), "{auth}: {log}");
    }
}

fn a_wrong_password_is_tried_once_by_every_mechanism() {
    let dovecot = Dovecot::start_with([mail::tiny(1)], OFFER_ALL);
    let home = home(&dovecot, "not it");
    for (auth, name) in MECHANISMS {
        let by = match name {
            "USER/PASS" => String::new(),
            name => format!(" by {name}"),
        };
        let said = format!("the mail server refused the login{by}: [AUTH] Authentication failed");
        run(&home, &["fetch", "--auth", auth]).exits(77).says(&[
            "posthole: work: ",
            &said,
            "hint: check the user name",
        ]);
    }
    let failed = || dovecot.log().matches("(auth failed, 1 attempts").count();
    wait_until("each login failed once", || failed() >= MECHANISMS.len());
    assert_eq!(failed(), MECHANISMS.len(), "{}", dovecot.log());
}

fn an_access_token_logs_in_until_it_expires() {
    let messages = mail::corpus(32, 5);
    for auth in ["xoauth2", "oauthbearer"] {
        let dovecot = Dovecot::start_with_tokens(&messages);
        let home = home(&dovecot, &Dovecot::token(3600));
        run(&home, &["fetch", "--auth", auth]).exits(0);
        home.assert_delivered(&messages);

        home.write_password(&Dovecot::token(-3600));
        let name = auth.to_uppercase();
        run(&home, &["fetch", "--auth", auth]).exits(77).says(&[
            &format!("the mail server refused the login by {name}: "),
            ", because of {\"status\":\"",
            "hint: the access token may have expired",
        ]);
        // Neither is anything sent that is no token, nor is it shown.
        home.write_password("two words");
        let ended = run(&home, &["fetch", "--auth", auth]);
        ended.exits(78).says(&[
            &format!("the login by {name} cannot be begun"),
            "the token contains a character that this mechanism cannot carry",
        ]);
        assert!(!ended.text().contains("two words"), "{}", ended.text());
    }
}

fn without_user_the_best_that_dovecot_offers_is_taken() {
    // Dovecot says that it has USER, and has not.
    for (offered, taken) in [
        ("cram-md5 scram-sha-1", "SCRAM-SHA-1"),
        ("cram-md5", "CRAM-MD5"),
        ("scram-sha-256 scram-sha-1", "SCRAM-SHA-256"),
    ] {
        let options = format!("auth_mechanisms = {offered}\n");
        let dovecot = Dovecot::start_with([mail::tiny(1)], &options);
        let home = home(&dovecot, Dovecot::PASSWORD);
        let accepted = format!("accepted by {taken}, password: ");
        run(&home, &["check"]).exits(0).prints(&[&accepted]);
    }
}

fn a_password_outside_ascii_is_the_same_on_both_sides() {
    let password = "p\u{e4}ssw\u{f6}rd \u{20ac}";
    let options = "auth_mechanisms = plain login cram-md5 scram-sha-1 scram-sha-256\n";
    let dovecot = Dovecot::start_with_password([mail::tiny(1)], password, options);
    let home = home(&dovecot, password);
    for auth in [
        "user",
        "plain",
        "login",
        "cram-md5",
        "scram-sha-1",
        "scram-sha-256",
    ] {
        run(&home, &["check", "--auth", auth]).exits(0);
    }
}

fn the_dialogue_shows_no_response() {
    let dovecot = Dovecot::start_with([mail::tiny(1)], OFFER_ALL);
    let home = home(&dovecot, Dovecot::PASSWORD);
    for (auth, shown) in [
        ("plain", &["C: AUTH PLAIN ****"][..]),
        (
            "login",
            &[
                "C: AUTH LOGIN\n",
                "S: + (a challenge of 9 octets)",
                "C: ****",
            ],
        ),
        ("cram-md5", &["C: AUTH CRAM-MD5\n", "C: ****"]),
        ("scram-sha-256", &["C: AUTH SCRAM-SHA-256 ****", "C: ****"]),
        ("apop", &["C: APOP msingh ****"]),
    ] {
        let ended = run(&home, &["check", "-vv", "--auth", auth]);
        assert!(ended.status.success(), "{}", ended.text());
        ended.says(shown);
        let text = ended.text();
        // The password, its base64, and that of the name that stands before it.
        for secret in [Dovecot::PASSWORD, "bWFpbCBzZWNyZXQ", "bXNpbmdo"] {
            assert!(!text.contains(secret), "{text}");
        }
    }
}

fn a_prompt_that_is_answered_wrongly_costs_one_login() {
    let dovecot = Dovecot::start_with([mail::tiny(1)], OFFER_ALL);
    let home = home(&dovecot, Dovecot::PASSWORD);
    let args = ["fetch", "--password-prompt", "--auth", "scram-sha-256"];
    let mut terminal = at_a_terminal(&home, &args);
    terminal.expect("Mail password for msingh@localhost (work): ");
    terminal.type_line("not it");
    let (status, screen) = terminal.end();
    assert_eq!(status.code(), Some(77), "{screen}");
    assert!(
        screen.contains("refused the login by SCRAM-SHA-256"),
        "{screen}"
    );
    let failed = || dovecot.log().matches("(auth failed, 1 attempts").count();
    wait_until("the login failed", || failed() >= 1);
    assert_eq!(failed(), 1, "{}", dovecot.log());
}

/// A home whose account `work` is on that Dovecot, with TLS from the start and no password.
fn tls_home(dovecot: &Dovecot, authority: &Authority) -> Home {
    let home = Home::new();
    let port = dovecot.tls_addr().unwrap().port();
    std::fs::write(home.path().join("ca.pem"), authority.pem()).unwrap();
    home.write_config(&format!(
        "[account.work]\n\
         server = \"pop3s://{}@localhost:{port}\"\n\
         tls-ca-file = \"~/ca.pem\"\n\
         deliver = \"maildir:~/Mail\"\n",
        Dovecot::USER,
    ));
    home
}

fn a_certificate_logs_in_without_a_password() {
    let messages = mail::corpus(34, 5);
    let (authority, members) = (Authority::new("Test CA"), Authority::new("Members CA"));
    let tls = Tls::new(&authority.issue(&["localhost"])).only_clients_of(&members);
    let options = "auth_mechanisms = external plain\n\
                   auth_ssl_username_from_cert = yes\n\
                   passdb {\n\
                   \x20 driver = static\n\
                   \x20 mechanisms = external\n\
                   \x20 args = nopassword\n\
                   }\n";
    for auth in ["external", "auto"] {
        let dovecot = Dovecot::start_with_tls_and(&messages, &tls, options);
        let home = tls_home(&dovecot, &authority);
        for (file, name) in [("me.pem", Dovecot::USER), ("other.pem", "stranger")] {
            let identity = members.sign(&Request::client(name));
            let text = identity.pem() + &identity.key_pem();
            write_private(&home, file, &text);
        }
        let args = |file| ["fetch", "--auth", auth, "--tls-certificate", file];
        let ended = run(&home, &args("other.pem"));
        ended.exits(77);
        match auth {
            "external" => ended.says(&[
                "the mail server refused the login by EXTERNAL: ",
                "hint: check the user name and the certificate",
            ]),
            // The certificate is not the password, which is asked for next.
            _ => ended.says(&["there is no password for msingh@localhost"]),
        };
        assert!(home.delivered().is_empty());
        run(&home, &args("me.pem")).exits(0);
        home.assert_delivered(&messages);
    }
}

fn inside_tls_scram_is_preferred_to_the_password() {
    let authority = Authority::new("Test CA");
    let tls = Tls::new(&authority.issue(&["localhost"]));
    for (offered, taken) in [
        (
            "plain login cram-md5 scram-sha-1 scram-sha-256",
            "SCRAM-SHA-256",
        ),
        ("plain login cram-md5", "USER/PASS"),
    ] {
        let options = format!("auth_mechanisms = {offered}\n");
        let dovecot = Dovecot::start_with_tls_and([mail::tiny(1)], &tls, &options);
        let home = tls_home(&dovecot, &authority);
        home.write_password(Dovecot::PASSWORD);
        let accepted = format!("accepted by {taken}, password: ");
        run(&home, &["check", "--password-file", "mail-password"])
            .exits(0)
            .prints(&[&accepted]);
    }
}
