//! Logins: by each mechanism, by the best, and what servers do to them.

use std::time::Duration;

use posthole_core::error::{Class, Error};
use posthole_core::plan::TlsStart;
use posthole_core::session::SessionError;
use posthole_testkit::mail;
use posthole_testkit::pop3::{Faults, RESPONSE, Reply};

use posthole_testkit::tls::{self, Authority};
use sha2::{Digest, Sha256};

use crate::account::{Account, chain};
use crate::tls::NAME;

const ALL: [&str; 8] = [
    "PLAIN",
    "LOGIN",
    "CRAM-MD5",
    "SCRAM-SHA-1",
    "SCRAM-SHA-256",
    "XOAUTH2",
    "OAUTHBEARER",
    "EXTERNAL",
];

/// An account of three messages on a server with these mechanisms.
fn account(mechanisms: &[&str], faults: Faults) -> Account {
    Account::on(&mail::corpus(1, 3), |server| {
        server
            .sasl(mechanisms.iter().copied())
            .apop()
            .faults(faults)
    })
}

/// What the client sent, up to the listing.
fn login_of(account: &Account) -> Vec<String> {
    let lines = account.server.lines();
    lines
        .into_iter()
        .skip_while(|line| line == "CAPA")
        .take_while(|line| line != "STAT" && line != "QUIT")
        .collect()
}

/// The error of a poll that must fail, and must not have touched anything.
async fn refused(account: &Account) -> Error {
    let report = account.poll().await;
    let error = report.error.expect("the login fails");
    assert_eq!((report.summary.fetched, account.maildrop.len()), (0, 3));
    assert_eq!(account.server.count("RETR"), 0);
    assert!(!chain(&error).contains("secret"), "{}", chain(&error));
    error
}

#[tokio::test]
async fn every_mechanism_leads_into_the_mailbox() {
    for name in ["user", "apop"].into_iter().chain(ALL) {
        let account = account(&ALL, Faults::new()).auth(name);
        account.fetch().await;
        account.assert_delivered(&mail::corpus(1, 3));
        assert!(account.maildrop.is_empty(), "{name}");
        let login = login_of(&account);
        match name {
            "user" => assert_eq!(login, ["USER msingh", "PASS secret"]),
            "apop" => assert!(login[0].starts_with("APOP msingh "), "{login:?}"),
            _ => {
                let auth = format!("AUTH {}", name.to_uppercase());
                assert!(login[0].starts_with(&auth), "{login:?}");
                let revealing = ["PLAIN", "LOGIN", "XOAUTH2", "OAUTHBEARER"];
                let reveals = login.iter().any(|line| reveals(line, b"secret"));
                assert_eq!(reveals, revealing.contains(&name), "{login:?}");
            }
        }
    }
}

/// Whether one of the words of a line is base64 with something in it.
fn reveals(line: &str, secret: &[u8]) -> bool {
    line.split(' ').any(|word| {
        let decoded = data_encoding::BASE64.decode(word.as_bytes());
        decoded.is_ok_and(|octets| octets.windows(secret.len()).any(|part| part == secret))
    })
}

#[tokio::test]
async fn a_wrong_password_is_sent_once_by_whatever_mechanism() {
    let needing = ALL.into_iter().filter(|name| *name != "EXTERNAL");
    for name in ["user", "apop", "auto"].into_iter().chain(needing) {
        let account = account(&ALL, Faults::new()).auth(name).password("wrong");
        let error = refused(&account).await;
        assert_eq!(
            error.class(),
            Class::Authentication,
            "{name}: {}",
            chain(&error)
        );
        assert!(error.hint().is_some(), "{name}");
        let logins = ["USER", "APOP", "AUTH"].map(|verb| account.server.count(verb));
        assert_eq!(logins.iter().sum::<usize>(), 1, "{name}");
        assert_eq!(account.server.connections(), 1, "{name}");
    }
}

#[tokio::test]
async fn a_refusal_names_the_mechanism_and_what_may_be_wrong() {
    let scram = account(&ALL, Faults::new())
        .auth("scram-sha-256")
        .password("wrong");
    let error = refused(&scram).await;
    assert_eq!(
        chain(&error),
        "the mail server refused the login by SCRAM-SHA-256: [AUTH] authentication failed"
    );
    assert!(error.hint().unwrap().contains("auth = \"plain\""));

    let token = account(&ALL, Faults::new())
        .auth("xoauth2")
        .password("stale");
    let error = refused(&token).await;
    assert_eq!(
        chain(&error),
        "the mail server refused the login by XOAUTH2: [AUTH] authentication failed, because of \
         {\"status\":\"401\",\"schemes\":\"bearer\",\"scope\":\"mail\"}"
    );
    assert!(error.hint().unwrap().contains("token"));
}

#[tokio::test]
async fn without_user_the_best_of_the_rest_is_taken() {
    let capabilities = ["PIPELINING", "UIDL", "SASL CRAM-MD5 PLAIN"];
    let faults = Faults::new().capabilities(capabilities);
    let account = account(&["CRAM-MD5", "PLAIN"], faults);
    account.fetch().await;
    assert_eq!(login_of(&account), ["AUTH PLAIN AG1zaW5naABzZWNyZXQ="]);
    account.server.clear_log();
    account.fetch().await;
    // The login, the listing, the goodbye.
    assert_eq!(account.server.flights(2), 3);
}

#[tokio::test]
async fn a_mechanism_that_the_server_turns_down_is_followed_by_the_next() {
    let capabilities = ["PIPELINING", "UIDL", "SASL CRAM-MD5 LOGIN SCRAM-SHA-1"];
    let faults = Faults::new()
        .capabilities(capabilities)
        .on("AUTH LOGIN", Reply::send("-ERR not today\r\n"));
    let account = account(&["CRAM-MD5", "LOGIN", "SCRAM-SHA-1"], faults);
    account.fetch().await;
    let login = login_of(&account);
    assert_eq!(login[0], "AUTH LOGIN");
    assert!(login[1].starts_with("AUTH SCRAM-SHA-1 "), "{login:?}");
    assert_eq!(login.len(), 4);
}

#[tokio::test]
async fn a_server_in_trouble_is_not_asked_by_another_mechanism() {
    for (words, class) in [
        ("[IN-USE] locked", Class::Temporary),
        ("[LOGIN-DELAY] wait", Class::Temporary),
        ("[SYS/TEMP] later", Class::Temporary),
        ("[SYS/PERM] broken", Class::Unavailable),
        ("[AUTH] no", Class::Authentication),
    ] {
        let capabilities = ["UIDL", "SASL CRAM-MD5 LOGIN SCRAM-SHA-1"];
        let faults = Faults::new()
            .capabilities(capabilities)
            .on("AUTH", Reply::send(format!("-ERR {words}\r\n")));
        let account = account(&["CRAM-MD5", "LOGIN", "SCRAM-SHA-1"], faults);
        let error = refused(&account).await;
        assert_eq!(
            (error.class(), account.server.count("AUTH")),
            (class, 1),
            "{words}"
        );
    }
}

#[tokio::test]
async fn a_scram_server_that_does_not_know_the_password_is_not_believed() {
    let forged = "+ dj1ybUY5cHFWOFM3c3VBb1pXamE0ZEpSa0ZzS1E9\r\n";
    for (reply, said) in [
        (Reply::send(forged), "signature is wrong"),
        (Reply::send("+OK logged in\r\n"), "without proving"),
        (Reply::send("+ \r\n"), "no valid signature"),
        (Reply::send("+ dj1A\r\n"), "no valid signature"),
    ] {
        let faults = Faults::new().on_nth(1, RESPONSE, reply);
        let account = account(&ALL, faults).auth("scram-sha-1");
        let error = refused(&account).await;
        assert!(chain(&error).contains(said), "{}", chain(&error));
        assert_eq!(error.class(), Class::Protocol);
        assert_eq!(account.server.count("STAT"), 0);
    }
}

#[tokio::test]
async fn a_challenge_that_is_nonsense_is_answered_with_an_asterisk() {
    for (name, reply) in [
        ("plain", "+ what?\r\n"),
        ("plain", "+ d2hvPw==\r\n"),
        ("cram-md5", "+ \r\n"),
        ("cram-md5", "+ =\r\n"),
        ("scram-sha-256", "+ cj14LHM9eCxpPTE=\r\n"),
        ("external", "+ d2hvPw==\r\n"),
    ] {
        let faults = Faults::new().on("AUTH", Reply::send(reply));
        let account = account(&ALL, faults).auth(name);
        let error = refused(&account).await;
        assert!(
            matches!(error, Error::Session(SessionError::Sasl { .. })),
            "{name}: {}",
            chain(&error)
        );
        assert_eq!(login_of(&account).last().unwrap(), "*", "{name} {reply}");
    }
}

#[tokio::test]
async fn an_exchange_without_end_is_ended() {
    let forever = Faults::new().rule(|request| {
        let asked = request.verb == "AUTH" || request.index > 2;
        asked.then(|| Reply::send("+ \r\n"))
    });
    for name in ["login", "plain", "xoauth2", "external"] {
        let account = account(&ALL, forever.clone()).auth(name);
        let error = refused(&account).await;
        assert!(chain(&error).contains("challenge"), "{}", chain(&error));
        assert!(login_of(&account).len() <= 5, "{:?}", login_of(&account));
    }
}

#[tokio::test]
async fn a_server_that_falls_silent_in_an_exchange_is_given_up_on() {
    for (verb, nth) in [("AUTH", 1), (RESPONSE, 1), (RESPONSE, 2)] {
        let faults = Faults::new().on_nth(nth, verb, Reply::silence());
        let account = account(&ALL, faults)
            .auth("login")
            .timeout(Duration::from_millis(200));
        let error = refused(&account).await;
        assert_eq!(error.class(), Class::Temporary, "{}", chain(&error));
    }
}

#[tokio::test]
async fn a_connection_lost_in_an_exchange_is_no_wrong_password() {
    for (verb, nth) in [("AUTH", 1), (RESPONSE, 1), (RESPONSE, 2)] {
        let faults = Faults::new().on_nth(nth, verb, Reply::hang_up());
        let account = account(&ALL, faults).auth("login");
        let error = refused(&account).await;
        assert_eq!(error.class(), Class::Temporary, "{}", chain(&error));
        assert_eq!(account.server.connections(), 1);
    }
}

#[tokio::test]
async fn a_long_token_waits_for_its_challenge() {
    let token = "t".repeat(2000);
    let messages = mail::corpus(1, 3);
    let maildrop = posthole_testkit::pop3::Maildrop::of(messages.clone());
    let account = Account::on(&messages, |server| {
        server
            .account("msingh", &token, &maildrop)
            .sasl(["XOAUTH2"])
    });
    let account = account.auth("xoauth2").password(&token);
    account.fetch().await;
    account.assert_delivered(&messages);
    let login = login_of(&account);
    assert_eq!(login[0], "AUTH XOAUTH2");
    assert!(login[1].len() > 2000 && login.len() == 2);
}

#[tokio::test]
async fn apop_answers_no_challenge_that_is_not_a_message_id() {
    for greeting in [
        "+OK ready",
        "+OK <1896.697170952\u{80}@host>",
        "+OK <a@b> <c@d>",
    ] {
        let faults = Faults::new().on("GREETING", Reply::send(format!("{greeting}\r\n")));
        let account = account(&[], faults).auth("apop");
        let error = refused(&account).await;
        assert!(
            chain(&error).contains("no challenge for APOP"),
            "{}",
            chain(&error)
        );
        assert_eq!(account.server.count("APOP"), 0);
    }
}

#[tokio::test]
async fn a_mechanism_that_is_not_offered_is_missed_by_name() {
    let account = account(&["PLAIN", "LOGIN"], Faults::new()).auth("scram-sha-256");
    let error = refused(&account).await;
    assert_eq!(
        chain(&error),
        "the mail server does not offer SCRAM-SHA-256; it offers PLAIN, LOGIN, USER/PASS, APOP"
    );
    assert_eq!(error.class(), Class::Config);
    assert_eq!(account.server.count("AUTH"), 0);
}

#[tokio::test]
async fn what_is_remembered_of_a_server_does_not_hide_a_new_mechanism() {
    let account = account(
        &ALL,
        Faults::new().capabilities(["PIPELINING", "USER", "UIDL", "SASL PLAIN"]),
    );
    account.fetch().await;
    account.server.set_faults(Faults::new());
    let account = account.auth("cram-md5");
    account.server.clear_log();
    account.fetch().await;
    assert_eq!(account.server.lines()[..2], ["CAPA", "AUTH CRAM-MD5"]);
}

#[tokio::test]
async fn inside_tls_the_login_is_bound_to_the_connection() {
    let messages = mail::corpus(1, 3);
    let authority = Authority::new("Test CA");
    for start in [TlsStart::AtOnce, TlsStart::Required] {
        for (is_old, kind) in [(false, "tls-exporter"), (true, "tls-server-end-point")] {
            let identity = authority.issue(&[NAME]);
            let digest = Sha256::digest(identity.der());
            let server = tls::Tls::new(&identity);
            let server = if is_old {
                server.only_tls_1_2()
            } else {
                server
            };
            let account =
                crate::tls::account(&messages, start, server, &authority.pem(), |server| {
                    server
                        .sasl(["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"])
                        .channel_binding("tls-server-end-point", &digest)
                });
            account.fetch().await;
            account.assert_delivered(&messages);
            let lines = account.server.lines();
            let auth = lines.iter().find(|line| line.starts_with("AUTH ")).unwrap();
            let response = auth.strip_prefix("AUTH SCRAM-SHA-256-PLUS ").unwrap();
            let response = data_encoding::BASE64.decode(response.as_bytes()).unwrap();
            assert!(
                response.starts_with(format!("p={kind},,n=msingh,").as_bytes()),
                "{}",
                response.escape_ascii()
            );
        }
    }
}
