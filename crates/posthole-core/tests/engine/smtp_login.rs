//! Servers that take mail inside TLS and after a login only.

use posthole_core::error::{Class, Error};
use posthole_core::plan::{
    Authorities, DeliverTo, HostPort, PasswordSource, SmtpLogin, SmtpProtocol,
    SmtpServer as Server, SmtpTo, Tls, TlsStart,
};
use posthole_testkit::mail;
use posthole_testkit::pop3::Faults;
use posthole_testkit::smtp::{Builder, Reply, SmtpServer};
use posthole_testkit::tls::{self, Authority};
use secrecy::SecretString;

use crate::account::{Account, chain};
use crate::tls::{NAME, write};

/// A server with a certificate, and an account that delivers there and trusts it.
struct World {
    server: SmtpServer,
    account: Account,
}

impl World {
    fn new(
        start: TlsStart,
        password: &str,
        change: impl FnOnce(Builder, tls::Tls) -> Builder,
    ) -> Self {
        let authority = Authority::new("Test CA");
        let certificate = tls::Tls::new(&authority.issue(&[NAME]));
        let server = change(SmtpServer::builder(), certificate).start();
        let mut account = Account::with(&mail::corpus(1, 3), Faults::new());
        let at = Server::Tcp(HostPort {
            host: "127.0.0.1".to_owned(),
            port: server.port(),
        });
        let ca = write(&account, "smtp-ca.pem", &authority.pem());
        account.job.deliver = vec![DeliverTo::Smtp(Box::new(SmtpTo {
            tls: Tls {
                start,
                name_from: posthole_core::plan::NameFrom::Person,
                authorities: Authorities::Files(vec![ca]),
                ..Tls::never(NAME)
            },
            login: Some(SmtpLogin {
                user: "relay".to_owned(),
                password: PasswordSource::Given {
                    origin: "the test".to_owned(),
                    secret: SecretString::from(password),
                },
            }),
            ..SmtpTo::new(at, SmtpProtocol::Smtp, &["msingh".to_owned()])
        }))];
        Self { server, account }
    }

    /// Polls, and returns the class and the text of the error.
    async fn failure(&self) -> (Class, String) {
        let error = self.account.poll().await.error.expect("nothing failed");
        assert_eq!(self.account.maildrop.len(), 3);
        assert_eq!(self.server.messages(), []);
        (error.class(), chain(&error))
    }

    /// The commands of the first connection, by their verbs.
    fn verbs(&self) -> Vec<String> {
        let commands = self.server.commands().into_iter();
        let verb = |line: String| line.split(' ').next().unwrap_or_default().to_owned();
        commands.map(|(_, line)| verb(line)).collect()
    }
}

const MECHANISMS: &[&str] = &["PLAIN", "LOGIN", "CRAM-MD5", "SCRAM-SHA-256"];

#[tokio::test]
async fn mail_goes_through_tls_and_a_login_by_every_mechanism() {
    for mechanism in MECHANISMS {
        for start in [TlsStart::AtOnce, TlsStart::Required, TlsStart::IfOffered] {
            let world = World::new(start, "hunter2", |builder, tls| {
                let builder = builder.login("relay", "hunter2", &[mechanism]);
                match start {
                    TlsStart::AtOnce => builder.tls(tls),
                    _ => builder.starttls(tls),
                }
            });
            let summary = world.account.fetch().await;
            assert_eq!((summary.fetched, summary.deleted), (3, 3), "{mechanism}");
            assert_eq!(world.server.messages().len(), 3);
            assert_eq!(world.server.breaches(), Vec::<String>::new());
        }
    }
}

#[tokio::test]
async fn a_wrong_password_is_tried_once_and_never_shown() {
    let world = World::new(TlsStart::Required, "sw0rdfish", |builder, tls| {
        builder
            .starttls(tls)
            .login("relay", "hunter2", MECHANISMS)
            .on("AUTH", Reply::send("535 no such password: sw0rdfish"))
    });
    let (class, text) = world.failure().await;
    assert_eq!(class, Class::Authentication);
    assert!(
        text.contains("refused the login by SCRAM-SHA-256: 535"),
        "{text}"
    );
    assert!(!text.contains("sw0rdfish"), "{text}");
    let logins = world.verbs().iter().filter(|verb| *verb == "AUTH").count();
    assert_eq!(logins, 1, "{:?}", world.verbs());
}

#[tokio::test]
async fn a_mechanism_that_the_server_does_not_know_after_all_is_passed_over() {
    let world = World::new(TlsStart::AtOnce, "hunter2", |builder, tls| {
        builder
            .tls(tls)
            .login("relay", "hunter2", &["CRAM-MD5", "PLAIN"])
            .on("AUTH PLAIN", Reply::send("504 not that one"))
    });
    // The password was in it, so nothing else is tried.
    let (class, _) = world.failure().await;
    assert_eq!(class, Class::Authentication);

    let world = World::new(TlsStart::AtOnce, "hunter2", |builder, tls| {
        builder.tls(tls).extensions(&["AUTH SCRAM-SHA-256"]).login(
            "relay",
            "hunter2",
            &["CRAM-MD5"],
        )
    });
    assert_eq!(world.account.fetch().await.fetched, 3);
}

#[tokio::test]
async fn without_tls_nothing_secret_is_said() {
    let world = World::new(TlsStart::Required, "hunter2", |builder, _| {
        builder.login("relay", "hunter2", MECHANISMS)
    });
    let (class, text) = world.failure().await;
    assert_eq!(class, Class::Unavailable);
    assert!(text.contains("does not offer TLS (STARTTLS)"), "{text}");
    assert!(!world.verbs().contains(&"AUTH".to_owned()));
}

#[tokio::test]
async fn what_is_put_between_starttls_and_tls_ends_the_session() {
    for more in ["\r\n250 AUTH PLAIN", "\r\n25"] {
        let reply = format!("220 go ahead{more}");
        let world = World::new(TlsStart::Required, "hunter2", |builder, tls| {
            builder.starttls(tls).on("STARTTLS", Reply::send(&reply))
        });
        let (class, text) = world.failure().await;
        assert_eq!(class, Class::Protocol, "{text}");
        assert!(!world.verbs().contains(&"AUTH".to_owned()));
    }
}

#[tokio::test]
async fn a_certificate_for_somebody_else_gets_no_mail() {
    let world = World::new(TlsStart::Required, "hunter2", |builder, _| {
        let other = Authority::new("Other CA");
        let tls = tls::Tls::new(&other.issue(&[NAME]));
        builder.starttls(tls).login("relay", "hunter2", MECHANISMS)
    });
    let (class, _) = world.failure().await;
    assert_eq!(class, Class::Certificate);
}

#[tokio::test]
async fn a_server_without_logins_is_told_so() {
    let world = World::new(TlsStart::AtOnce, "hunter2", |builder, tls| builder.tls(tls));
    let (class, text) = world.failure().await;
    assert_eq!(class, Class::Authentication);
    assert!(text.contains("no login that posthole knows"), "{text}");
}

#[tokio::test]
async fn a_server_that_does_not_answer_a_login_does_not_outlast_a_stop() {
    let world = World::new(TlsStart::AtOnce, "hunter2", |builder, tls| {
        let builder = builder.tls(tls).login("relay", "hunter2", MECHANISMS);
        builder.on("CHALLENGE", Reply::stall())
    });
    let stop = world.account.stop.clone();
    let (report, ()) = tokio::join!(world.account.poll(), async {
        while !world.verbs().contains(&"AUTH".to_owned()) {
            tokio::task::yield_now().await;
        }
        stop.cancel();
    });
    assert!(matches!(report.error, Some(Error::Stopped)), "{report:?}");
}
