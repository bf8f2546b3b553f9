//! Servers that take mail: SMTP and LMTP, over TCP and Unix sockets.
//!
//! One connection serves many messages. The hard part is the moment after the final dot: a server
//! whose answer is lost may have the message or not, and nobody can ask it. Such a message stays
//! where it is and is given again, so it may arrive twice, and never not at all.
//!
//! A refusal is about one message, or one recipient of it, and the next message is tried; a
//! server that cannot be reached, or breaks off again and again, ends the poll.

mod error;
mod link;
mod login;
mod report;
mod session;
mod undeliverable;

pub use error::SmtpError;

use std::fs::File;
use std::path::Path;
use std::time::Duration;

use posthole_proto::smtp::{CommandKind, Protocol};
use tokio::net::UnixStream;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::dispatch::{Refusal, Round};
use super::{DeliverError, Means};
use crate::ask::SecretQuestion;
use crate::durable::At;
use crate::error::Error;
use crate::plan::{
    HostPort, NameFrom, SmtpLogin, SmtpProtocol, SmtpServer, SmtpTo, Tls, TlsStart, is_loopback,
};
use crate::progress::Silent;
use crate::session::{Login, Privacy};
use crate::transport::{BoxStream, dial, tls};
use link::Link;
use session::{Parcel, Session, Verdict, survey};
use undeliverable::Dead;

/// A server, and the session with it while there is one.
pub(super) struct Smtp {
    to: SmtpTo,
    protocol: Protocol,
    session: Option<Session>,
    /// How many sessions broke one after another.
    broken: u32,
    means: Means,
    runtime: Handle,
    /// Who takes reports where the server itself delivers to its own users only (LMTP).
    reporter: Option<Box<Self>>,
}

/// A text on its way to a server.
struct Letter<'a> {
    sender: &'a str,
    recipients: &'a [&'a str],
    /// The file, for errors.
    name: &'a Path,
    /// Opens the text, whose lines end in LF.
    open: &'a dyn Fn() -> Result<File, DeliverError>,
}

impl Smtp {
    pub(super) fn new(to: &SmtpTo, means: &Means) -> Self {
        Self {
            to: to.clone(),
            protocol: match to.protocol {
                SmtpProtocol::Lmtp => Protocol::Lmtp,
                SmtpProtocol::Smtp => Protocol::Smtp,
            },
            session: None,
            broken: 0,
            means: means.clone(),
            runtime: Handle::current(),
            reporter: None,
        }
    }

    /// Gives the server what waits for it. There is a unit for each recipient.
    pub(super) fn deliver(&mut self, round: &mut Round<'_>, way: usize) -> Result<(), Error> {
        for idx in round.waiting(way) {
            round.go_on()?;
            let open = round.open(idx, way);
            let all = round.recipients(idx, way);
            let recipients: Vec<_> = open.iter().map(|&(_, place)| all[place].clone()).collect();
            let sender = round.sender(idx)?;
            let verdicts = self.give_message(round, idx, &sender, &recipients)?;
            let mut got = Vec::with_capacity(open.len());
            let mut dead = Vec::new();
            for ((&(unit, _), verdict), recipient) in open.iter().zip(verdicts).zip(&recipients) {
                let (code, reason, said, for_good, at) = match verdict {
                    Verdict::Accepted => {
                        got.push((idx, unit));
                        continue;
                    }
                    Verdict::Refused {
                        code,
                        reason,
                        said,
                        for_good,
                        at,
                    } => (code, reason, said, for_good, at),
                };
                let is_listed = code.is_some_and(|code| self.to.antispam.contains(&code));
                let is_spam =
                    is_listed && (at != CommandKind::Rcpt || self.to.undeliverable.is_some());
                // TLS is missing, and not the mail bad.
                let is_for_good = for_good && code != Some(MUST_START_TLS);
                if is_spam || is_for_good && self.to.undeliverable.is_some() {
                    dead.push(Dead {
                        unit,
                        recipient: recipient.clone(),
                        at,
                        code,
                        said: if said.is_empty() {
                            reason.clone()
                        } else {
                            said
                        },
                        reason,
                        is_spam,
                    });
                } else {
                    let reason = format!("{} for {recipient}: {reason}", self.to);
                    round.refused(idx, Refusal { for_good, reason });
                }
            }
            round.got(&got)?;
            if !dead.is_empty() {
                let is_all = dead.len() == all_of(round, idx, way);
                self.dispose(round, idx, &sender, dead, is_all)?;
            }
        }
        Ok(())
    }

    /// Gives the server a message for some of its recipients.
    fn give_message(
        &mut self,
        round: &Round<'_>,
        idx: usize,
        sender: &str,
        recipients: &[String],
    ) -> Result<Vec<Verdict>, Error> {
        let recipients: Vec<_> = recipients.iter().map(String::as_str).collect();
        let letter = Letter {
            sender,
            recipients: &recipients,
            name: Path::new(&round.parcel(idx).name),
            open: &|| round.text(idx),
        };
        self.give(&letter, round.stop())
    }

    /// Gives the server a text; returns what it says for each recipient.
    ///
    /// A session that breaks before the message was given is made anew once, since a server may
    /// hang up on whoever was quiet for a while.
    fn give(
        &mut self,
        letter: &Letter<'_>,
        stop: &CancellationToken,
    ) -> Result<Vec<Verdict>, Error> {
        let Letter {
            sender,
            recipients,
            name,
            open,
        } = *letter;
        let surveyed = survey(open()?)
            .at("read", name)
            .map_err(DeliverError::from)?;
        let mut again = self.session.is_some();
        loop {
            let limit = self.to.batch_limit.map_or(u32::MAX, u32::from);
            if let Some(full) = self.session.take_if(|session| session.messages >= limit) {
                self.runtime.clone().block_on(full.quit());
            }
            let mut session = match self.session.take() {
                Some(session) => session,
                None => self.runtime.clone().block_on(self.reach())?,
            };
            let parcel = Parcel {
                sender,
                recipients,
                text: open()?,
                survey: surveyed,
            };
            let mut committed = false;
            let given = self.runtime.block_on(async {
                tokio::select! {
                    given = session.give(parcel, &mut committed) => Some(given),
                    () = patience(stop) => None,
                }
            });
            let error = match given {
                None => return Err(Error::Stopped),
                Some(Ok(verdicts)) => {
                    self.broken = 0;
                    self.session = Some(session).filter(|session| !session.is_over);
                    return Ok(verdicts);
                }
                Some(Err(error)) => error,
            };
            if std::mem::take(&mut again)
                && !committed
                && !matches!(error, SmtpError::TimedOut { .. })
            {
                tracing::debug!(%error, "a session that was idle is over; trying a new one");
                continue;
            }
            self.broken += 1;
            if self.broken >= TRIES {
                return Err(DeliverError::from(error).into());
            }
            // It may be the message that breaks it, and others must not wait for that one.
            let reason = if committed {
                format!("the answer to it was lost, so it may have arrived: {error}")
            } else {
                error.to_string()
            };
            let verdict = Verdict::Refused {
                code: None,
                reason: format!("{reason}{}", cause(&error)),
                said: String::new(),
                for_good: false,
                at: CommandKind::Text,
            };
            return Ok(vec![verdict; recipients.len()]);
        }
    }

    /// Connects to the first server that lets us in.
    async fn connect(&self) -> Result<Session, SmtpError> {
        let mut first = None;
        for server in &self.to.servers {
            match self.connect_to(server).await {
                Ok(session) => return Ok(session),
                Err(error) => {
                    tracing::debug!(%error, "trying the next server, if there is one");
                    first.get_or_insert(error);
                }
            }
        }
        Err(first.unwrap_or_else(|| SmtpError::Lost {
            server: self.to.to_string(),
            source: std::io::ErrorKind::NotFound.into(),
        }))
    }

    async fn connect_to(&self, server: &SmtpServer) -> Result<Session, SmtpError> {
        let limit = self.to.timeout.min(CONNECT_TIMEOUT);
        match server {
            SmtpServer::Plugin(to, words) => {
                let stream = self.means.tunnels.plugin(&self.means.account, words);
                let stream = async { stream.map_err(SmtpError::Plugout) };
                self.enter(to, stream, limit).await
            }
            SmtpServer::Tcp(to) => {
                let stream = async {
                    let choice = dial::Choice::default();
                    let dialled = dial::tcp(to, choice, "", &Silent, limit).await;
                    let stream: BoxStream = Box::new(dialled.map_err(SmtpError::Dial)?);
                    Ok(stream)
                };
                self.enter(to, stream, limit).await
            }
            SmtpServer::Unix(path) => {
                let connected = tokio::time::timeout(limit, UnixStream::connect(path)).await;
                let connected =
                    connected.unwrap_or_else(|_| Err(std::io::ErrorKind::TimedOut.into()));
                let stream = connected.map_err(|source| SmtpError::Socket {
                    path: path.clone(),
                    source,
                })?;
                self.greet(Box::new(stream), server.to_string()).await
            }
        }
    }

    async fn greet(&self, stream: BoxStream, server: String) -> Result<Session, SmtpError> {
        let link = Link::new(stream, self.protocol, server);
        Session::open(link, self.protocol, &hello(), self.to.timeout).await
    }

    /// Goes in at a host, with TLS and a login as far as they are wanted.
    async fn enter(
        &self,
        to: &HostPort,
        stream: impl Future<Output = Result<BoxStream, SmtpError>>,
        limit: Duration,
    ) -> Result<Session, SmtpError> {
        let tls = self.tls_for(to);
        let client = match tls.start {
            TlsStart::Never => None,
            _ => {
                let stores = &self.means.trust_stores;
                let prepared = tls::Client::prepare(&tls, to, stores, limit).await;
                Some(prepared.map_err(SmtpError::Tls)?)
            }
        };
        let mut stream = stream.await?;
        let mut secured = None;
        if let Some(client) = &client
            && tls.start == TlsStart::AtOnce
        {
            let (protected, how) = client.handshake(stream).await.map_err(SmtpError::Tls)?;
            stream = protected;
            secured = Some(how);
        }
        let mut session = self.greet(stream, to.to_string()).await?;
        if let Some(client) = &client
            && secured.is_none()
        {
            if session.offers_tls() {
                let (protected, how) = session.start_tls(client, &hello()).await?;
                session = protected;
                secured = Some(how);
            } else if tls.start == TlsStart::Required {
                return Err(SmtpError::NoTls {
                    server: to.to_string(),
                });
            }
        }
        if let Some(login) = &self.to.login {
            let privacy = match secured {
                Some(secured) => Privacy::tls(secured.binding, false),
                None if is_loopback(&to.host) => Privacy::Private,
                None => Privacy::Open { accepted: false },
            };
            self.log_in(&mut session, login, to, &privacy).await?;
        }
        Ok(session)
    }

    async fn log_in(
        &self,
        session: &mut Session,
        login: &SmtpLogin,
        to: &HostPort,
        privacy: &Privacy,
    ) -> Result<(), SmtpError> {
        let question = SecretQuestion::MailPassword {
            account: self.means.account.clone(),
            login: format!("{}@{}", login.user, to.host),
        };
        let password = login.password.resolve(&self.means.ask, question).await;
        let secret = password.map_err(|source| SmtpError::Password {
            server: to.to_string(),
            source,
        })?;
        let offered = &session.extensions.auth;
        let login = Login {
            user: &login.user,
            secret,
            host: &to.host,
            port: to.port,
            privacy,
            offers_plus: offered.iter().any(|name| name.ends_with("-PLUS")),
        };
        session.log_in(&login).await
    }

    /// TLS for one of the servers: a certificate is for the name that is dialled, unless a person
    /// said otherwise.
    fn tls_for(&self, to: &HostPort) -> Tls {
        let tls = self.to.tls.clone();
        match tls.name_from {
            NameFrom::Person => tls,
            _ => Tls {
                name: to.host.trim_end_matches('.').to_owned(),
                ..tls
            },
        }
    }

    /// Connects, unless the program is asked to stop first.
    async fn reach(&self) -> Result<Session, Error> {
        tokio::select! {
            session = self.connect() => Ok(session.map_err(DeliverError::from)?),
            () = self.means.stop.cancelled() => Err(Error::Stopped),
        }
    }

    /// Introduces us to the server and says goodbye.
    pub(super) fn check(&self) -> Result<(), Error> {
        self.runtime.block_on(async {
            let session = self.reach().await?;
            session.quit().await;
            Ok(())
        })
    }

    /// Says goodbye to the server.
    pub(super) fn close(self) {
        if let Some(session) = self.session {
            self.runtime.block_on(session.quit());
        }
        if let Some(reporter) = self.reporter {
            reporter.close();
        }
    }
}

/// How many recipients a destination is told of a message.
fn all_of(round: &Round<'_>, idx: usize, way: usize) -> usize {
    round.recipients(idx, way).len()
}

/// Our name for EHLO.
fn hello() -> String {
    let name = gethostname::gethostname().to_string_lossy().into_owned();
    let fits = |c: char| c.is_ascii_alphanumeric() || matches!(c, '-' | '.');
    if !name.is_empty() && name.chars().all(fits) {
        name
    } else {
        "localhost".to_owned()
    }
}

/// The causes of an error, for a message that has room for one line.
fn cause(error: &SmtpError) -> String {
    let mut causes = String::new();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        causes.push_str(&format!(": {cause}"));
        source = cause.source();
    }
    causes
}

/// Ends some time after the program was asked to stop: what is in hand may come to its end.
async fn patience(stop: &CancellationToken) {
    stop.cancelled().await;
    tokio::time::sleep(PATIENCE_WHEN_STOPPING).await;
}

/// RFC 3207 §4: the server wants STARTTLS first.
const MUST_START_TLS: u16 = 530;

/// How many sessions may break one after another.
const TRIES: u32 = 3;

/// How long a connection may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(60);

/// How long a server may take for what is in hand, once the program was asked to stop.
const PATIENCE_WHEN_STOPPING: Duration = Duration::from_secs(5);
