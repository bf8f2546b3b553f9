//! What a row of the table says.

use std::time::Duration;

use posthole_core::error::Class;
use posthole_testkit::pop3::{Builder, Faults, Reply, Request};
use posthole_testkit::tls::{Authority, Identity};

/// What somebody does, and what must come of it.
#[derive(Clone)]
pub(crate) struct Row {
    pub(crate) name: String,
    pub(crate) faults: Faults,
    /// What else the server can do.
    pub(crate) server: fn(Builder) -> Builder,
    /// The certificate that it shows.
    pub(crate) certificate: fn(&Authority) -> Identity,
    /// Where TLS is required.
    pub(crate) required: Outcome,
    /// Where it is only welcome.
    pub(crate) welcome: Outcome,
    /// The longest silence that is waited through.
    pub(crate) timeout: Duration,
}

/// What comes of a poll.
#[derive(Clone, Debug)]
pub(crate) struct Outcome {
    pub(crate) login: Login,
    /// What it fails with, which it does if nobody logs in.
    pub(crate) ends: Option<Class>,
    /// What the user reads: each is a part of it.
    pub(crate) says: Vec<&'static str>,
}

/// Where the octets of a login may be.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Login {
    Nowhere,
    InTls,
    /// As the user has allowed.
    InTheClear,
}

/// A row that ends well, inside TLS, if nothing else is said.
pub(crate) fn row(name: impl Into<String>, faults: Faults) -> Row {
    let inside = Outcome {
        login: Login::InTls,
        ends: None,
        says: Vec::new(),
    };
    Row {
        name: name.into(),
        faults,
        server: |builder| builder,
        certificate: |authority| authority.issue(&[NAME]),
        required: inside.clone(),
        welcome: inside,
        timeout: Duration::from_secs(20),
    }
}

/// A row whose server falls silent.
pub(crate) fn slow(name: impl Into<String>, faults: Faults) -> Row {
    let timeout = Duration::from_millis(400);
    let row = row(name, faults);
    Row { timeout, ..row }
}

impl Row {
    pub(crate) fn server(self, server: fn(Builder) -> Builder) -> Self {
        Self { server, ..self }
    }

    pub(crate) fn certificate(self, certificate: fn(&Authority) -> Identity) -> Self {
        Self {
            certificate,
            ..self
        }
    }

    /// Nobody logs in.
    pub(crate) fn fails(self, class: Class, says: &[&'static str]) -> Self {
        let welcome = Outcome::failure(class, says);
        self.fails_if_required(class, says).welcome(welcome)
    }

    /// Nobody logs in where TLS is required.
    pub(crate) fn fails_if_required(self, class: Class, says: &[&'static str]) -> Self {
        let required = Outcome::failure(class, says);
        Self { required, ..self }
    }

    /// Where TLS is only welcome, it is done without.
    pub(crate) fn in_the_clear_if_welcome(self, says: &[&'static str]) -> Self {
        self.welcome(Outcome {
            login: Login::InTheClear,
            ends: None,
            says: says.to_vec(),
        })
    }

    /// Where TLS is only welcome, nobody logs in.
    pub(crate) fn fails_if_welcome(self, class: Class, says: &[&'static str]) -> Self {
        self.welcome(Outcome::failure(class, says))
    }

    fn welcome(self, welcome: Outcome) -> Self {
        Self { welcome, ..self }
    }

    /// A plain no, which is an answer where a login without TLS is allowed, and nowhere else.
    pub(crate) fn refused(self, class: Class, says: &'static str) -> Self {
        let hint = "no password was sent";
        self.fails_if_required(class, &["refused TLS (STLS)", says, hint])
            .in_the_clear_if_welcome(&[says, "the session goes on without"])
    }
}

impl Outcome {
    fn failure(class: Class, says: &[&'static str]) -> Self {
        Self {
            login: Login::Nowhere,
            ends: Some(class),
            says: says.to_vec(),
        }
    }
}

/// A rule about the first command of a connection, which TLS cannot have come before.
pub(crate) fn first(faults: Faults, verb: &'static str, reply: Reply) -> Faults {
    let is_it = move |request: &Request<'_>| request.index == 1 && request.verb == verb;
    faults.rule(move |request| is_it(request).then(|| reply.clone()))
}

/// Lines of capabilities, as an answer.
pub(crate) fn list(lines: &[&str]) -> Reply {
    let lines = lines.iter().map(|line| format!("{line}\r\n"));
    Reply::send(format!("+OK\r\n{}.\r\n", lines.collect::<String>()))
}

/// The name that the server should have.
pub(crate) const NAME: &str = "mail.example.org";
