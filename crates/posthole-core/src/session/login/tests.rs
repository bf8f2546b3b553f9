use std::time::Duration;

use posthole_proto::pop3::Capabilities;
use posthole_proto::sasl::{ChannelBinding, Mechanism};
use posthole_testkit::mail;
use posthole_testkit::pop3::{Faults, Maildrop, Pop3Server, RESPONSE, Reply};
use tokio::io::{AsyncBufReadExt, AsyncWriteExt, BufReader};

use super::*;
use crate::plan::Auth;
use crate::session::method::TlsFacts;
use crate::session::{Circumstances, methods};

fn tls(bindings: &[(&'static str, u8)]) -> Privacy {
    let binding = |&(kind, octet): &(_, _)| ChannelBinding {
        kind,
        data: vec![octet; 32],
    };
    Privacy::Tls(TlsFacts {
        bindings: bindings.iter().map(binding).collect(),
        certificate: false,
    })
}

fn login<'a>(privacy: &'a Privacy, capabilities: &Capabilities) -> Login<'a> {
    Login {
        user: "msingh",
        secret: "secret".into(),
        host: "localhost",
        port: 110,
        privacy,
        offers_plus: capabilities.sasl.iter().any(|name| name.ends_with("-PLUS")),
    }
}

/// Logs in to a server that offers these mechanisms, by what fits best; returns the method.
async fn log_in(server: &Pop3Server, privacy: &Privacy) -> Result<String, SessionError> {
    let stream = Box::new(server.connect_in_memory());
    let mut session = Session::new(stream, "test", Duration::from_secs(20));
    session.greeting().await?;
    let capabilities = session.capabilities().await?.unwrap();
    let methods = methods(&Circumstances {
        auth: Auth::Auto,
        capabilities: &capabilities,
        privacy,
        apop: false,
        pipelined: false,
    })?;
    match session
        .log_in(&methods, &login(privacy, &capabilities))
        .await?
    {
        LoggedIn::By(method) => Ok(method.to_string()),
        LoggedIn::NotYet(error) => Err(error),
    }
}

fn server(mechanisms: &[&str], faults: Faults) -> Pop3Server {
    Pop3Server::builder()
        .account("msingh", "secret", &Maildrop::of(mail::corpus(1, 1)))
        .sasl(mechanisms.iter().copied())
        .channel_binding("tls-exporter", &[7; 32])
        .faults(faults)
        .start()
}

const PLUS: &[&str] = &["PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-256-PLUS"];

#[tokio::test]
async fn inside_tls_scram_is_bound_to_the_connection() {
    let server = server(PLUS, Faults::new());
    let method = log_in(&server, &tls(&[("tls-exporter", 7)])).await.unwrap();
    assert_eq!(method, "SCRAM-SHA-256-PLUS");
}

#[tokio::test]
async fn a_login_that_somebody_passes_on_fails() {
    // Who stands in the middle has two TLS connections, which are not the same.
    let server = server(PLUS, Faults::new());
    let error = log_in(&server, &tls(&[("tls-exporter", 8)]))
        .await
        .unwrap_err();
    assert!(
        matches!(error, SessionError::LoginRefused { .. }),
        "{error}"
    );
    assert_eq!(server.count("AUTH"), 1);
}

#[tokio::test]
async fn where_somebody_took_plus_out_of_the_list_the_server_notices() {
    let fewer = Faults::new().capabilities(["UIDL", "SASL PLAIN SCRAM-SHA-256"]);
    let server = server(PLUS, fewer);
    // Nothing made from the password has left by then, so that the next method is tried, and that
    // is another the server can do; in TLS the list cannot be changed on the way.
    let method = log_in(&server, &tls(&[("tls-exporter", 7)])).await.unwrap();
    assert_eq!(method, "PLAIN");
    let first = server.lines()[1].clone();
    let (_, response) = first.rsplit_once(' ').unwrap();
    let response = data_encoding::BASE64.decode(response.as_bytes()).unwrap();
    assert!(response.starts_with(b"y,,n=msingh,r="));
}

#[tokio::test]
async fn a_kind_of_binding_that_the_server_does_not_have_is_not_the_end() {
    let server = server(PLUS, Faults::new());
    let method = log_in(&server, &tls(&[("tls-server-end-point", 7)]))
        .await
        .unwrap();
    assert_eq!(method, "SCRAM-SHA-256");
    assert_eq!(server.lines()[2], "*");
}

#[tokio::test]
async fn a_session_goes_on_after_an_exchange_that_was_called_off() {
    let server = server(PLUS, Faults::new());
    let stream = Box::new(server.connect_in_memory());
    let mut session = Session::new(stream, "test", Duration::from_secs(20));
    session.greeting().await.unwrap();
    let privacy = tls(&[("tls-unique", 1)]);
    let login = login(&privacy, &Capabilities::default());
    let method = Method::Sasl(Mechanism::ScramSha256Plus);
    let refused = session.log_in(&[method], &login).await.unwrap();
    let LoggedIn::NotYet(error) = refused else {
        panic!("the server does not know this kind");
    };
    assert!(matches!(error, SessionError::Sasl { .. }), "{error}");
    let method = Method::Sasl(Mechanism::Plain);
    let logged_in = session.log_in(&[method], &login).await.unwrap();
    assert!(matches!(logged_in, LoggedIn::By(_)));
    session.list(true).await.unwrap();
}

#[tokio::test]
async fn neither_password_nor_response_is_in_an_error() {
    let echo = Faults::new().rule(|request| {
        let text = format!("-ERR cannot {} {}\r\n", request.verb, request.argument);
        matches!(request.verb, "AUTH" | RESPONSE).then(|| Reply::send(text))
    });
    for mechanisms in [&["PLAIN"][..], &["LOGIN"], &["CRAM-MD5"], &["SCRAM-SHA-1"]] {
        let capabilities = [format!("SASL {}", mechanisms.join(" "))];
        let server = server(mechanisms, echo.clone().capabilities(capabilities));
        let error = log_in(&server, &tls(&[])).await.unwrap_err();
        let shown = format!("{error} {error:?}");
        for secret in ["secret", "c2VjcmV0", "bXNpbmdo", "AG1zaW5naAB"] {
            assert!(!shown.contains(secret), "{shown}");
        }
    }
}

/// Plays a server word for word: what it hears, and what it says to that.
async fn scripted(script: &'static [(&str, &str)]) -> Session {
    let (client, server) = tokio::io::duplex(4096);
    tokio::spawn(async move {
        let (read, mut write) = tokio::io::split(server);
        let mut lines = BufReader::new(read).lines();
        write.write_all(b"+OK ready\r\n").await.unwrap();
        for (hear, say) in script {
            assert_eq!(lines.next_line().await.unwrap().as_deref(), Some(*hear));
            write.write_all(say.as_bytes()).await.unwrap();
            write.write_all(b"\r\n").await.unwrap();
        }
    });
    let mut session = Session::new(Box::new(client), "test", Duration::from_secs(20));
    session.greeting().await.unwrap();
    session
}

#[tokio::test]
async fn a_server_older_than_initial_responses_is_given_the_response_again() {
    let mut session = scripted(&[
        ("AUTH PLAIN AG1zaW5naABzZWNyZXQ=", "+ "),
        ("AG1zaW5naABzZWNyZXQ=", "+OK welcome"),
    ])
    .await;
    let privacy = Privacy::Private;
    let login = login(&privacy, &Capabilities::default());
    let logged_in = session
        .log_in(&[Method::Sasl(Mechanism::Plain)], &login)
        .await;
    assert!(matches!(logged_in, Ok(LoggedIn::By(_))));
}

#[tokio::test]
async fn a_password_that_was_refused_is_not_tried_by_another_method() {
    let mut session = scripted(&[("AUTH PLAIN AG1zaW5naABzZWNyZXQ=", "-ERR no")]).await;
    let privacy = Privacy::Private;
    let login = login(&privacy, &Capabilities::default());
    let methods = [Method::Sasl(Mechanism::Plain), Method::UserPass];
    let error = session.log_in(&methods, &login).await.err().unwrap();
    assert_eq!(
        error.to_string(),
        "the mail server refused the login by PLAIN: no"
    );
}

#[tokio::test]
async fn a_certificate_that_was_refused_leads_to_the_password() {
    let mut session = scripted(&[
        ("AUTH EXTERNAL bXNpbmdo", "-ERR [AUTH] whose?"),
        ("AUTH PLAIN AG1zaW5naABzZWNyZXQ=", "+OK"),
    ])
    .await;
    let privacy = Privacy::Private;
    let login = login(&privacy, &Capabilities::default());
    let methods = [
        Method::Sasl(Mechanism::External),
        Method::Sasl(Mechanism::Plain),
    ];
    let logged_in = session.log_in(&methods, &login).await;
    assert!(matches!(
        logged_in,
        Ok(LoggedIn::By(Method::Sasl(Mechanism::Plain)))
    ));
}
