//! TLS with Dovecot: from the start and by STLS, on this machine and inside SSH.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::time::{Duration, SystemTime};

use posthole_testkit::real::{Dovecot, Mailhost, Requirement, Suite};
use posthole_testkit::tls::{Authority, Identity, Request, Tls};
use posthole_testkit::{Home, mail};

use crate::world::run;

pub(crate) fn tests(suite: Suite) -> Suite {
    let needs = Requirement::MAILHOST;
    suite
        .test(
            "inside_ssh_the_certificate_is_for_the_ssh_host",
            needs,
            inside_ssh_the_certificate_is_for_the_ssh_host,
        )
        .test(
            "a_certificate_for_another_name_says_which_and_what_to_do",
            needs,
            a_certificate_for_another_name_says_which_and_what_to_do,
        )
        .test(
            "inside_ssh_stls_is_not_tried_unasked",
            needs,
            inside_ssh_stls_is_not_tried_unasked,
        )
        .test(
            "without_ssh_both_kinds_of_tls_fetch_everything_once",
            needs,
            without_ssh_both_kinds_of_tls_fetch_everything_once,
        )
        .test(
            "a_fingerprint_that_is_shown_can_be_trusted",
            needs,
            a_fingerprint_that_is_shown_can_be_trusted,
        )
        .test(
            "a_certificate_of_ours_opens_the_door",
            needs,
            a_certificate_of_ours_opens_the_door,
        )
        .test(
            "a_certificate_that_soon_ends_is_pointed_out",
            needs,
            a_certificate_that_soon_ends_is_pointed_out,
        )
        .test(
            "the_wrong_kind_of_port_is_recognised",
            needs,
            the_wrong_kind_of_port_is_recognised,
        )
}

/// A mail host with TLS, whose authority is in `ca.pem`, and which is `popserver.example` to SSH.
fn host(messages: &[Vec<u8>], authority: &Authority, identity: &Identity) -> Mailhost {
    let dovecot = Dovecot::start_with_tls(messages, &Tls::new(identity));
    let host = Mailhost::start_on(dovecot, |sshd| sshd);
    fs::write(host.home().path().join("ca.pem"), authority.pem()).unwrap();
    host
}

/// The configuration of the account `work`.
fn account(host: &Mailhost, server: &str, lines: &str) -> String {
    format!(
        "[account.work]\n\
         server = \"{server}\"\n\
         password = {{ file = \"~/mail-password\" }}\n\
         deliver = \"maildir:~/Mail\"\n\
         tls-ca-file = \"~/ca.pem\"\n\
         {lines}\n\
         [ssh.\"popserver.example\"]\n\
         hostname = \"127.0.0.1\"\n\
         port = {}\n",
        host.sshd().port()
    )
}

fn pop3s(host: &Mailhost) -> String {
    let port = host.dovecot().tls_addr().unwrap().port();
    format!("pop3s://{}@localhost:{port}", Mailhost::USER)
}

const VIA: &str = "via = \"msingh@popserver.example\"\n";

fn inside_ssh_the_certificate_is_for_the_ssh_host() {
    let messages = mail::corpus(61, 60);
    let authority = Authority::new("Test CA");
    let identity = authority.issue(&["popserver.example"]);
    for required in [false, true] {
        let host = host(&messages, &authority, &identity);
        let (server, lines) = match required {
            false => (pop3s(&host), VIA.to_owned()),
            true => (host.url(), format!("{VIA}tls = \"required\"\n")),
        };
        host.home().write_config(&account(&host, &server, &lines));
        run(host.home(), &["check"]).exits(0).prints(&[
            "tls          ok",
            "TLS 1.3, TLS_AES_256_GCM_SHA384, X25519",
            "certificate of CN=popserver.example (popserver.example)",
            "signed by CN=Test CA, until 20",
            "SHA-256 ",
        ]);
        for _ in 0..2 {
            run(host.home(), &["fetch"]).exits(0);
            host.home().assert_delivered(&messages);
        }
        let log = host.dovecot().log();
        let logins = log.matches("Login: user=").count();
        assert_eq!(log.matches(", TLS, session").count(), logins, "{log}");
        assert_eq!(logins, 3, "{log}");
    }
}

fn a_certificate_for_another_name_says_which_and_what_to_do() {
    let messages = mail::corpus(62, 3);
    let authority = Authority::new("Test CA");
    let identity = authority.issue(&["mail.example.org", "imap.example.org"]);
    let host = host(&messages, &authority, &identity);
    host.home()
        .write_config(&account(&host, &pop3s(&host), VIA));
    run(host.home(), &["fetch"]).exits(76).says(&[
        "is not for popserver.example, but for mail.example.org and imap.example.org",
        "popserver.example is the SSH host, which `localhost` stands for; if this is the right \
         server all the same, set tls-name = \"mail.example.org\"",
    ]);
    let json = run(host.home(), &["fetch", "--json"]).exits(76).json();
    assert_eq!(json[0]["error"]["class"], "certificate");
    assert!(!host.maildir().exists());
    run(host.home(), &["fetch", "--tls-name", "mail.example.org"]).exits(0);
    host.home().assert_delivered(&messages);
}

fn inside_ssh_stls_is_not_tried_unasked() {
    let authority = Authority::new("Test CA");
    let identity = authority.issue(&["nobody.example"]);
    let host = host(&[mail::tiny(1)], &authority, &identity);
    let config = account(&host, &host.url(), VIA).replace("tls-ca-file = \"~/ca.pem\"\n", "");
    host.home().write_config(&config);
    let ended = run(host.home(), &["fetch", "-vv"]);
    assert_eq!(ended.status.code(), Some(0), "{}", ended.text());
    assert!(!ended.stderr.contains("C: STLS"), "{}", ended.text());
}

fn without_ssh_both_kinds_of_tls_fetch_everything_once() {
    let messages = mail::corpus(63, 120);
    let authority = Authority::new("Test CA");
    let identity = authority.issue(&["localhost"]);
    for stls in [false, true] {
        let host = host(&messages, &authority, &identity);
        let (server, lines) = match stls {
            false => (pop3s(&host), ""),
            true => (host.url(), "tls = \"required\"\n"),
        };
        host.home().write_config(&account(&host, &server, lines));
        for new in ["120 new (", "0 new, "] {
            let ended = run(host.home(), &["fetch", "-vv"]);
            assert_eq!(ended.status.code(), Some(0), "{}", ended.text());
            ended.prints(&[new]);
            let secrets = [Mailhost::MAIL_PASSWORD, "PRIVATE KEY"];
            for secret in secrets {
                assert!(!ended.text().contains(secret), "{}", ended.text());
            }
            assert_eq!(ended.stderr.contains("C: STLS"), stls, "{}", ended.text());
        }
        host.home().assert_delivered(&messages);
        run(host.home(), &["fetch", "-K"])
            .exits(0)
            .prints(&["0 new, 120 deleted"]);
        assert!(host.dovecot().messages().is_empty());
        assert_eq!(host.sshd().log().matches("Accepted").count(), 0);
    }
}

fn a_fingerprint_that_is_shown_can_be_trusted() {
    let messages = mail::corpus(64, 2);
    let authority = Authority::new("Test CA");
    let identity = Request::new(&["elsewhere.example"]).self_signed();
    let host = host(&messages, &authority, &identity);
    host.home().write_config(&account(&host, &pop3s(&host), ""));
    let refused = run(host.home(), &["fetch"]);
    refused
        .exits(76)
        .says(&["signed by nobody but itself", "hint: "]);
    let shown = refused.stderr.split("tls-fingerprint = \"").nth(1).unwrap();
    let fingerprint = shown.split('"').next().unwrap();
    assert_eq!(fingerprint.len(), 95, "{fingerprint}");
    run(host.home(), &["fetch", "--tls-fingerprint", fingerprint]).exits(0);
    host.home().assert_delivered(&messages);
    let other = fingerprint.replacen(&fingerprint[..2], "00", 1);
    let other = if other == fingerprint {
        fingerprint.replacen("00", "01", 1)
    } else {
        other
    };
    run(host.home(), &["fetch", "--tls-fingerprint", &other])
        .exits(76)
        .says(&[fingerprint, "is not that of tls-fingerprint"]);
}

fn a_certificate_of_ours_opens_the_door() {
    let messages = mail::corpus(65, 4);
    let (authority, members) = (Authority::new("Test CA"), Authority::new("Members CA"));
    let tls = Tls::new(&authority.issue(&["localhost"])).only_clients_of(&members);
    let host = Mailhost::start_on(Dovecot::start_with_tls(&messages, &tls), |sshd| sshd);
    let home = host.home();
    fs::write(home.path().join("ca.pem"), authority.pem()).unwrap();
    let ours = members.sign(&Request::client("laptop"));
    write_private(home, "me.pem", &(ours.pem() + &ours.key_pem()));
    home.write_config(&account(&host, &pop3s(&host), ""));
    // Dovecot shakes hands with everybody, and says it at the login.
    run(home, &["fetch"]).exits(77).says(&["certificate"]);
    run(home, &["fetch", "--tls-certificate", "me.pem"]).exits(0);
    home.assert_delivered(&messages);

    let path = home.path().join("me.pem");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o644)).unwrap();
    run(home, &["fetch", "--tls-certificate", "me.pem"])
        .exits(78)
        .says(&["me.pem is open to others", "chmod 600"]);
}

pub(crate) fn write_private(home: &Home, name: &str, text: &str) {
    let path = home.path().join(name);
    fs::write(&path, text).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o600)).unwrap();
}

fn a_certificate_that_soon_ends_is_pointed_out() {
    let day = Duration::from_secs(24 * 60 * 60);
    let authority = Authority::new("Test CA");
    let now = SystemTime::now();
    for (left, words) in [
        (15 * day, None),
        (
            9 * day + day / 2,
            Some("the mail server's certificate ends in 9 days (20"),
        ),
    ] {
        let request = Request::new(&["localhost"]).valid(now - day, now + left);
        let host = host(&[mail::tiny(1)], &authority, &authority.sign(&request));
        host.home().write_config(&account(&host, &pop3s(&host), ""));
        let ended = run(host.home(), &["check"]);
        assert_eq!(ended.status.code(), Some(0), "{}", ended.text());
        match words {
            Some(words) => _ = ended.says(&[words]),
            None => assert_eq!(ended.stderr, ""),
        }
    }
}

fn the_wrong_kind_of_port_is_recognised() {
    let authority = Authority::new("Test CA");
    let host = host(
        &[mail::tiny(1)],
        &authority,
        &authority.issue(&["localhost"]),
    );
    let home = host.home();
    let plain = host.url().replace("pop3://", "pop3s://");
    home.write_config(&account(&host, &plain, ""));
    run(home, &["check"]).exits(76).prints(&[
        "tls          FAILED",
        "answered in plain text instead of TLS: `+OK ",
        "write pop3:// in place of pop3s://",
    ]);
    let secure = pop3s(&host).replace("pop3s://", "pop3://");
    home.write_config(&account(
        &host,
        &secure,
        "tls = \"required\"\ntimeout = \"2s\"\n",
    ));
    run(home, &["check"]).exits(75).prints(&[
        "greeting     FAILED",
        "did not greet us within 2s",
        "write pop3s:// in place of pop3://",
    ]);
}
