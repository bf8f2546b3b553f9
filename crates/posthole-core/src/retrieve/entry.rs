//! The way into the mailbox: connection, greeting, capabilities, login, listing.

mod protection;

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use posthole_proto::pop3::Capabilities;
use secrecy::SecretString;

use super::login::privacy;
use super::{Context, Links, blocking};
use crate::error::Error;
use crate::plan::{Backend, Hop, Job, PasswordSource, Route};
use crate::progress::{Event, Step};
use crate::record::{KnownCapabilities, Mailbox, Secrecy, ServerMemory};
use crate::session::{Doubt, Doubts, Listing, Privacy, Session, SessionError};
use crate::transport::{self, BoxStream, Opened, Protection};

/// A session in which the mailbox is open and listed.
pub(super) struct Entered {
    pub(super) session: Session,
    pub(super) listing: Arc<Listing>,
    /// Whether commands may be sent before earlier ones are answered.
    pub(super) pipelined: bool,
    /// How long the server wants between logins.
    pub(super) login_delay: Option<Duration>,
}

/// Opens the mailbox, in as few round trips as the server is known to allow.
///
/// A server that advertises PIPELINING and then falls over it is asked again one command at a
/// time, and remembered. One that hangs up over CAPA is asked again without.
pub(super) async fn enter(job: &Job, cx: &Context, mailbox: &Mailbox) -> Result<Entered, Error> {
    let memory = {
        let mailbox = mailbox.clone();
        blocking(move || mailbox.server()).await?
    };
    let mut way = Way {
        job,
        links: cx.links(),
        mailbox: Some(mailbox),
        memory,
        password: None,
    };
    let distrusted = way
        .memory
        .pipelining_failed
        .is_some_and(|at| is_fresh(at, DISTRUST_FOR));
    let may = May {
        ask_capabilities: true,
        pipeline: !distrusted,
    };
    let Failure { error, during } = match way.attempt(may).await {
        Ok(entered) => return Ok(entered),
        Err(failure) => failure,
    };
    let Error::Session(session_error) = &error else {
        return Err(error);
    };
    let may = match during {
        During::Capabilities if session_error.is_loss() => May {
            ask_capabilities: false,
            ..may
        },
        During::Flight if session_error.may_come_from_pipelining() => May {
            pipeline: false,
            ..may
        },
        // Another login with what was refused would be a step towards a locked account.
        During::Prompt if !session_error.is_refused_login() => may,
        _ => return Err(error),
    };
    tracing::info!(account = job.account, %error, ?may, "trying again");
    let entered = way.attempt(may).await.map_err(|failure| failure.error)?;
    if let During::Flight = during {
        way.memory.pipelining_failed = Some(SystemTime::now());
        way.remember().await?;
    }
    Ok(entered)
}

/// A session that somebody else will use, once it is logged in.
///
/// For a mailbox that is opened for a client, and not polled: nothing is remembered, and nothing is
/// sent in advance.
pub(crate) struct Anteroom {
    session: Session,
    pub(crate) capabilities: Capabilities,
    privacy: Privacy,
}

impl Anteroom {
    /// Connects to the mail server of a job, and goes as far as one can without logging in.
    pub(crate) async fn enter(job: &Job, links: Links<'_>) -> Result<Self, Error> {
        let mut way = Way::for_another(job, links);
        let may = May {
            ask_capabilities: true,
            pipeline: false,
        };
        let failure = match way.approach(may).await {
            Ok(anteroom) => return Ok(anteroom),
            Err(failure) => failure,
        };
        match (&failure.error, failure.during) {
            (Error::Session(error), During::Capabilities) if error.is_loss() => {
                let may = May {
                    ask_capabilities: false,
                    ..may
                };
                way.approach(may).await.map_err(|failure| failure.error)
            }
            _ => Err(failure.error),
        }
    }

    /// Logs in as the job says, and hands out what leads to the open mailbox.
    pub(crate) async fn log_in(mut self, job: &Job, links: Links<'_>) -> Result<BoxStream, Error> {
        let may = May {
            ask_capabilities: true,
            pipeline: false,
        };
        Way::for_another(job, links)
            .authenticate(&mut self.session, self.capabilities, may, &self.privacy)
            .await
            .map_err(|failure| failure.error)?;
        Ok(self.session.into_stream()?)
    }
}

/// Remembers that commands in advance were too much for the server.
pub(super) async fn distrust_pipelining(mailbox: &Mailbox) -> Result<(), Error> {
    let mailbox = mailbox.clone();
    blocking(move || {
        let memory = ServerMemory {
            pipelining_failed: Some(SystemTime::now()),
            ..mailbox.server()?
        };
        mailbox.remember_server(&memory)
    })
    .await
}

pub(super) struct Way<'a> {
    pub(super) job: &'a Job,
    pub(super) links: Links<'a>,
    /// What remembers the server, if anything does.
    mailbox: Option<&'a Mailbox>,
    memory: ServerMemory,
    /// Had once, it serves a second attempt as well.
    password: Option<SecretString>,
}

/// What an attempt may try with the server.
#[derive(Clone, Copy, Debug)]
pub(super) struct May {
    pub(super) ask_capabilities: bool,
    pub(super) pipeline: bool,
}

/// An attempt that failed.
pub(super) struct Failure {
    pub(super) error: Error,
    pub(super) during: During,
}

/// Where an attempt failed, as far as it matters for the next.
#[derive(Clone, Copy, Debug)]
pub(super) enum During {
    /// While the server was asked for its capabilities.
    Capabilities,
    /// While commands were in flight together.
    Flight,
    /// When the session was used again after a person took long to answer.
    Prompt,
    Other,
}

impl<E> From<E> for Failure
where
    Error: From<E>,
{
    fn from(error: E) -> Self {
        Self {
            error: error.into(),
            during: During::Other,
        }
    }
}

impl<'a> Way<'a> {
    fn for_another(job: &'a Job, links: Links<'a>) -> Self {
        Self {
            job,
            links,
            mailbox: None,
            memory: ServerMemory::default(),
            password: None,
        }
    }
}

impl Way<'_> {
    async fn attempt(&mut self, may: May) -> Result<Entered, Failure> {
        let Anteroom {
            mut session,
            capabilities,
            privacy,
        } = self.approach(may).await?;
        let login_delay = capabilities.login_delay.as_ref();
        let login_delay = login_delay.map(|delay| Duration::from_secs(delay.seconds.into()));
        let (listing, pipelined) = self
            .log_in(&mut session, capabilities, may, &privacy)
            .await?;
        Ok(Entered {
            session,
            listing: Arc::new(listing),
            pipelined,
            login_delay: login_delay.map(|delay| delay.min(LONGEST_LOGIN_DELAY)),
        })
    }

    /// Goes as far as one can without logging in.
    async fn approach(&mut self, may: May) -> Result<Anteroom, Failure> {
        let job = self.job;
        let Opened { stream, protection } = self.connect().await?;
        let session = Session::new(stream, &job.account, job.timeout);
        let mut session = session.doubting(self.doubt());

        let started = Instant::now();
        let is_tls = matches!(protection, Protection::Tls(_));
        let text = session.greeting().await.map_err(|error| match error {
            SessionError::TimedOut { after } if !is_tls => SessionError::NoGreeting { after },
            error => error,
        })?;
        self.tell(Step::Greeting { text }, started);

        let protected = self.protect(session, protection, may).await?;
        let mut session = protected.session;
        let capabilities = match protected.capabilities {
            Some(capabilities) => capabilities,
            None => {
                let secrecy = Secrecy::of(protected.binding.as_ref());
                self.capabilities(&mut session, may, secrecy).await?
            }
        };
        Ok(Anteroom {
            session,
            capabilities,
            privacy: privacy(job, protected.binding),
        })
    }

    /// Connects, and gets the password meanwhile unless a person must be asked for it.
    async fn connect(&mut self) -> Result<Opened, Error> {
        let Self { job, links, .. } = *self;
        let stream = transport::open(job, links.tunnels, links.trust_stores, &**links.observer);
        let is_prompt = matches!(job.password, PasswordSource::Prompt);
        if is_prompt || self.password.is_some() || !job.auth.may_need_secret() {
            return Ok(stream.await?);
        }
        let stream = async { Ok::<_, Error>(stream.await?) };
        let (stream, _password) = tokio::try_join!(stream, self.password())?;
        Ok(stream)
    }

    /// A connection of our own to an SSH host is asked itself whether it lives, and fails if not.
    fn doubt(&self) -> Doubt {
        let is_ours = |hop: &Hop| hop.backend == Backend::BuiltIn;
        match &self.job.route {
            Route::Ssh(hops) if hops.iter().all(is_ours) => Doubt::default(),
            Route::Direct | Route::Plugin(_) | Route::Ssh(_) => self
                .links
                .doubts
                .map_or_else(Doubt::default, Doubts::follow),
        }
    }

    pub(super) async fn password(&mut self) -> Result<SecretString, Error> {
        if let Some(password) = &self.password {
            return Ok(password.clone());
        }
        let question = self.job.password_question();
        let password = self.job.password.resolve(self.links.ask, question).await?;
        self.password = Some(password.clone());
        Ok(password)
    }

    /// The server's capabilities, remembered or asked for.
    async fn capabilities(
        &mut self,
        session: &mut Session,
        may: May,
        secrecy: Secrecy,
    ) -> Result<Capabilities, Failure> {
        if !may.ask_capabilities {
            return Ok(Capabilities::default());
        }
        let started = Instant::now();
        // Without PIPELINING there is no flight to save, and the server may have learnt it.
        if let Some(capabilities) = self.remembered(secrecy)
            && capabilities.pipelining
        {
            let lines = capabilities.lines();
            self.tell(
                Step::Capabilities {
                    lines,
                    remembered: true,
                },
                started,
            );
            return Ok(capabilities);
        }
        self.ask_capabilities(session, secrecy).await
    }

    pub(super) async fn ask_capabilities(
        &mut self,
        session: &mut Session,
        secrecy: Secrecy,
    ) -> Result<Capabilities, Failure> {
        let started = Instant::now();
        let answer = session.capabilities().await.map_err(|error| Failure {
            error: error.into(),
            during: During::Capabilities,
        })?;
        let capabilities = answer.unwrap_or_default();
        let lines = capabilities.lines();
        self.tell(
            Step::Capabilities {
                lines,
                remembered: false,
            },
            started,
        );
        let text = capabilities.to_string();
        // Without PIPELINING they are asked for every time, so remembering them would only write.
        if capabilities.pipelining {
            self.memory.capabilities = Some(KnownCapabilities {
                lines: text,
                at: SystemTime::now(),
                secrecy,
            });
            self.remember().await?;
        }
        Ok(capabilities)
    }

    /// What the server could do the last time, on a connection as secret as this one.
    fn remembered(&self, secrecy: Secrecy) -> Option<Capabilities> {
        let known = self.memory.capabilities.as_ref()?;
        let is_good = known.secrecy == secrecy && is_fresh(known.at, CAPABILITIES_KEEP);
        known.lines.parse().ok().filter(|_| is_good)
    }

    async fn remember(&self) -> Result<(), Error> {
        let Some(mailbox) = self.mailbox.cloned() else {
            return Ok(());
        };
        let memory = self.memory.clone();
        blocking(move || mailbox.remember_server(&memory)).await
    }

    pub(super) fn tell(&self, step: Step, started: Instant) {
        let event = Event::Step {
            step,
            took: started.elapsed(),
        };
        self.links.observer.event(&self.job.account, &event);
    }
}

fn is_fresh(at: SystemTime, keep: Duration) -> bool {
    // A time in the future is no better than one long past: the clock has jumped.
    SystemTime::now()
        .duration_since(at)
        .is_ok_and(|age| age < keep)
}

/// How long capabilities are believed without asking again.
const CAPABILITIES_KEEP: Duration = Duration::from_secs(7 * 24 * 60 * 60);

/// How long a server that seemed to fall over commands in advance is spared them. Not for ever: it
/// may have been the network.
const DISTRUST_FOR: Duration = Duration::from_secs(24 * 60 * 60);

/// More than a server has reason to want.
pub(crate) const LONGEST_LOGIN_DELAY: Duration = Duration::from_secs(24 * 60 * 60);

/// How long a server may be silent over the first commands in advance.
pub(crate) const PATIENCE_WITH_PIPELINING: Duration = Duration::from_secs(10);

/// How long a session can be left alone before its login; servers wait a minute or more.
pub(super) const PATIENCE_OF_SERVERS: Duration = Duration::from_secs(30);
