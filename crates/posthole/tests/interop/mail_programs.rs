//! Other mail programs and `posthole forward`, with the password and with a token in its place.

use std::io::{BufRead, BufReader, Write};
use std::net::TcpStream;
use std::path::Path;

use posthole_testkit::mail;
use posthole_testkit::real::{Mailhost, Requirement, Suite};
use rustix::process::Signal;

use crate::forward::{Serving, free_port, serve};
use crate::world::{account, posthole, run};

pub(crate) fn tests(suite: Suite) -> Suite {
    let needs = Requirement::MAILHOST;
    let and = |more: Requirement| [needs, &[more]].concat();
    suite
        .test(
            "pythons_poplib_reads_mail_with_a_token",
            &and(Requirement::Python),
            pythons_poplib_reads_mail_with_a_token,
        )
        .test(
            "curl_reads_mail_through_a_forward_and_with_a_token",
            &and(Requirement::Curl),
            curl_reads_mail_through_a_forward_and_with_a_token,
        )
        .test(
            "mpop_fetches_mail_through_a_forward_and_with_a_token",
            &and(Requirement::Mpop),
            mpop_fetches_mail_through_a_forward_and_with_a_token,
        )
        .test(
            "a_token_opens_the_mailbox_and_the_password_does_not",
            needs,
            a_token_opens_the_mailbox_and_the_password_does_not,
        )
}

/// The configuration of a forward whose clients have a token, and the token.
fn with_token(host: &Mailhost) -> String {
    let forward = format!(
        "[forward.local]\nlisten = '{}'\nlogin = 'local-token'\naccount = 'work'\n",
        free_port()
    );
    let config = account("work", &host.url(), &host.via()) + &forward;
    host.home().write_config(&config);
    let made = run(host.home(), &["forward", "token", "local"]);
    made.exits(0);
    made.stdout.trim_end().to_owned()
}

/// Serves what is configured.
fn serving(host: &Mailhost) -> Serving {
    Serving::start(posthole(host.home(), &["forward"]))
}

fn port(serving: &Serving) -> &str {
    serving.listens[0].rsplit(':').next().unwrap()
}

fn say(stream: &mut BufReader<TcpStream>, command: &str) -> String {
    stream
        .get_mut()
        .write_all(format!("{command}\r\n").as_bytes())
        .unwrap();
    hear(stream)
}

fn hear(stream: &mut impl BufRead) -> String {
    let mut line = String::new();
    stream.read_line(&mut line).unwrap();
    line
}

#[track_caller]
fn accepted(line: &str) {
    assert!(line.starts_with("+OK"), "{line:?}");
}

fn pythons_poplib_reads_mail_with_a_token() {
    let messages = mail::corpus(2, 30);
    let host = Mailhost::start(&messages);
    let token = with_token(&host);
    let serving = serving(&host);
    let script = format!(
        "import poplib\n\
         poplib._MAXLINE = 1 << 20\n\
         pop = poplib.POP3('localhost', {})\n\
         pop.user('{}')\n\
         pop.pass_('{}')\n\
         count = pop.stat()[0]\n\
         assert sum(pop.retr(n)[2] for n in range(1, count + 1)) > 100_000\n\
         for n in range(1, count + 1): pop.dele(n)\n\
         pop.quit()\n\
         print(count)\n",
        port(&serving),
        Mailhost::USER,
        token
    );
    let python = host
        .home()
        .command(Path::new("python3"))
        .args(["-c", &script])
        .output()
        .unwrap();
    assert_eq!(text(&python.stdout), "30\n", "{}", text(&python.stderr));
    assert!(host.dovecot().messages().is_empty());
    serving.stop(Signal::TERM);
}

fn curl_reads_mail_through_a_forward_and_with_a_token() {
    let messages = mail::corpus(3, 3);
    let host = Mailhost::start(&messages);
    let curl = |serving: &Serving, password: &str| {
        let url = format!("pop3://{}/1", serving.listens[0]);
        let user = format!("{}:{password}", Mailhost::USER);
        let mut command = host.home().command(Path::new("curl"));
        command.args(["-sS", "--user", &user, &url]);
        command.output().unwrap()
    };
    let plain = serve(&host, &free_port(), &[]);
    let expected = curl(&plain, Mailhost::MAIL_PASSWORD);
    assert!(expected.status.success(), "{}", text(&expected.stderr));
    assert!(!expected.stdout.is_empty());
    plain.stop(Signal::TERM);

    let token = with_token(&host);
    let serving = serving(&host);
    let got = curl(&serving, &token);
    assert!(got.status.success(), "{}", text(&got.stderr));
    assert_eq!(got.stdout, expected.stdout);
    let refused = curl(&serving, Mailhost::MAIL_PASSWORD);
    assert_eq!(refused.status.code(), Some(67), "{}", text(&refused.stderr));
    serving.stop(Signal::TERM);
}

fn mpop_fetches_mail_through_a_forward_and_with_a_token() {
    let messages = mail::corpus(4, 50);
    let host = Mailhost::start(&messages);
    let fetch = |serving: &Serving, password: &str, maildir: &str| {
        let into = host.home().path().join(maildir);
        for part in ["cur", "new", "tmp"] {
            std::fs::create_dir_all(into.join(part)).unwrap();
        }
        let mut command = host.home().command(Path::new("mpop"));
        command.args(["--host=127.0.0.1", "--tls=off", "--keep=on", "--auth=user"]);
        command.arg(format!("--port={}", port(serving)));
        command.arg(format!("--user={}", Mailhost::USER));
        command.arg(format!("--passwordeval=echo '{password}'"));
        command.arg(format!("--delivery=maildir,{}", into.display()));
        command.arg(format!("--uidls-file={}.uidls", into.display()));
        command.arg("--received-header=off");
        let output = command.output().unwrap();
        assert!(output.status.success(), "{}", text(&output.stderr));
        std::fs::read_dir(into.join("new")).unwrap().count()
    };
    let plain = serve(&host, &free_port(), &[]);
    assert_eq!(fetch(&plain, Mailhost::MAIL_PASSWORD, "plain"), 50);
    plain.stop(Signal::TERM);
    let token = with_token(&host);
    let serving = serving(&host);
    assert_eq!(fetch(&serving, &token, "token"), 50);
    serving.stop(Signal::TERM);
}

fn a_token_opens_the_mailbox_and_the_password_does_not() {
    let host = Mailhost::start(mail::corpus(5, 3));
    let token = with_token(&host);
    let serving = serving(&host);
    let mut client = BufReader::new(serving.connect());
    accepted(&hear(&mut client));
    accepted(&say(&mut client, "CAPA"));
    let mut capabilities = Vec::new();
    loop {
        let line = hear(&mut client);
        if line == ".\r\n" {
            break;
        }
        capabilities.push(line.trim_end().to_owned());
    }
    for capability in ["USER", "SASL PLAIN LOGIN", "UIDL", "TOP", "PIPELINING"] {
        assert!(
            capabilities.iter().any(|line| line == capability),
            "{capabilities:?}"
        );
    }
    assert!(say(&mut client, "STAT").starts_with("-ERR "));
    accepted(&say(&mut client, "USER whoever"));
    let refused = say(&mut client, &format!("PASS {}", Mailhost::MAIL_PASSWORD));
    assert!(refused.starts_with("-ERR [AUTH] "), "{refused}");
    // What follows the login in the same flight is the server's.
    let flight = format!("PASS {token}\r\nSTAT\r\nUIDL");
    accepted(&say(&mut client, &flight));
    assert!(hear(&mut client).starts_with("+OK 3 "));
    accepted(&hear(&mut client));
    drop(client);

    // A new token counts at once, and the old one no more.
    let made = run(host.home(), &["forward", "token", "local"]);
    made.exits(0);
    let mut client = BufReader::new(serving.connect());
    accepted(&hear(&mut client));
    accepted(&say(&mut client, "USER whoever"));
    assert!(say(&mut client, &format!("PASS {token}")).starts_with("-ERR [AUTH] "));
    accepted(&say(
        &mut client,
        &format!("PASS {}", made.stdout.trim_end()),
    ));
    drop(client);

    // The account's own password is what went to the server; if it is wrong, the client is told.
    host.home().write_password("not the password");
    let mut client = BufReader::new(serving.connect());
    accepted(&hear(&mut client));
    accepted(&say(&mut client, "USER whoever"));
    let refused = say(&mut client, &format!("PASS {}", made.stdout.trim_end()));
    assert!(
        refused.starts_with("-ERR [SYS/PERM] posthole: "),
        "{refused}"
    );
    let said = serving.stop(Signal::TERM);
    for secret in [&token, Mailhost::MAIL_PASSWORD, made.stdout.trim_end()] {
        assert!(!said.text().contains(secret), "{}", said.text());
    }

    let void = run(host.home(), &["forward", "token", "local", "--revoke"]);
    void.exits(0).prints(&["local: the token is void"]);
    let ended = run(host.home(), &["forward"]);
    ended
        .exits(78)
        .says(&["local: ", "posthole forward token local"]);
}

fn text(octets: &[u8]) -> String {
    String::from_utf8_lossy(octets).into_owned()
}
