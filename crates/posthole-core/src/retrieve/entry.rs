//! The way into the mailbox: connection, greeting, capabilities, login, listing.

use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime};

use posthole_proto::pop3::Capabilities;
use secrecy::SecretString;

use super::{Context, blocking};
use crate::ask::SecretQuestion;
use crate::error::Error;
use crate::plan::{Job, PasswordSource};
use crate::progress::{Event, Step};
use crate::record::{Mailbox, ServerMemory};
use crate::session::{Listing, Login, Session};
use crate::transport;

/// A session in which the mailbox is open and listed.
pub(super) struct Entered {
    pub(super) session: Session,
    pub(super) listing: Arc<Listing>,
    /// Whether commands may be sent before earlier ones are answered.
    pub(super) pipelined: bool,
}

/// Opens the mailbox, in as few round trips as the server is known to allow.
///
/// A server that advertises PIPELINING and then falls over it is asked again one command at a
/// time, and remembered.
pub(super) async fn enter(job: &Job, cx: &Context, mailbox: &Mailbox) -> Result<Entered, Error> {
    let memory = {
        let mailbox = mailbox.clone();
        blocking(move || mailbox.server()).await?
    };
    let mut way = Way {
        job,
        cx,
        mailbox,
        memory,
        password: None,
    };
    let distrusted = way
        .memory
        .pipelining_failed
        .is_some_and(|at| is_fresh(at, DISTRUST_FOR));
    match way.attempt(!distrusted).await {
        Err(Failure {
            error: Error::Session(error),
            pipelined: true,
        }) if error.may_come_from_pipelining() => {
            tracing::info!(account = job.account, %error, "trying again without pipelining");
            let entered = way.attempt(false).await.map_err(|failure| failure.error)?;
            way.memory.pipelining_failed = Some(SystemTime::now());
            way.remember().await?;
            Ok(entered)
        }
        other => other.map_err(|failure| failure.error),
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

struct Way<'a> {
    job: &'a Job,
    cx: &'a Context,
    mailbox: &'a Mailbox,
    memory: ServerMemory,
    /// Had once, it serves a second attempt as well.
    password: Option<SecretString>,
}

/// An attempt that failed, and whether commands were in flight together when it did.
struct Failure {
    error: Error,
    pipelined: bool,
}

impl<E> From<E> for Failure
where
    Error: From<E>,
{
    fn from(error: E) -> Self {
        Self {
            error: error.into(),
            pipelined: false,
        }
    }
}

impl Way<'_> {
    async fn attempt(&mut self, may_pipeline: bool) -> Result<Entered, Failure> {
        let Self { job, cx, .. } = *self;
        let stream = self.connect().await?;
        let mut session = Session::new(stream, &job.account, job.timeout);

        let started = Instant::now();
        let text = session.greeting().await?;
        self.tell(Step::Greeting { text }, started);

        let capabilities = self.capabilities(&mut session).await?;
        let pipelined = may_pipeline && capabilities.pipelining;

        let password = self.password().await?;
        let login = Login {
            user: &job.user,
            password,
        };
        let started = Instant::now();
        let told = |step| {
            cx.observer.event(
                &job.account,
                &Event::Step {
                    step,
                    took: started.elapsed(),
                },
            );
        };
        // A server that cannot take commands in advance mostly says nothing more at all.
        if pipelined {
            session.set_timeout(job.timeout.min(PATIENCE_WITH_PIPELINING));
        }
        let logged_in = || {
            told(Step::LoggedIn {
                mechanism: "USER/PASS".to_owned(),
            })
        };
        let opened = session
            .enter(login, pipelined, logged_in)
            .await
            .map_err(|error| Failure {
                error: error.into(),
                pipelined,
            })?;
        session.set_timeout(job.timeout);
        let listing = Arc::new(opened.listing);
        told(Step::Listed {
            messages: listing.len() as u64,
            octets: listing.total_size(),
        });
        Ok(Entered {
            session,
            listing,
            pipelined,
        })
    }

    /// Connects, and gets the password meanwhile unless a person must be asked for it.
    async fn connect(&mut self) -> Result<transport::BoxStream, Error> {
        let Self { job, cx, .. } = *self;
        let stream = transport::open(
            &job.route,
            &job.server,
            &job.account,
            &cx.tunnels,
            &*cx.observer,
            job.timeout,
        );
        if matches!(job.password, PasswordSource::Prompt) || self.password.is_some() {
            return Ok(stream.await?);
        }
        let stream = async { Ok::<_, Error>(stream.await?) };
        let (stream, _password) = tokio::try_join!(stream, self.password())?;
        Ok(stream)
    }

    async fn password(&mut self) -> Result<SecretString, Error> {
        if let Some(password) = &self.password {
            return Ok(password.clone());
        }
        let question = SecretQuestion::MailPassword {
            account: self.job.account.clone(),
            login: format!("{}@{}", self.job.user, self.job.server.host),
        };
        let password = self.job.password.resolve(&self.cx.ask, question).await?;
        self.password = Some(password.clone());
        Ok(password)
    }

    /// The server's capabilities, remembered or asked for.
    async fn capabilities(&mut self, session: &mut Session) -> Result<Capabilities, Error> {
        let started = Instant::now();
        let remembered = match &self.memory.capabilities {
            Some((text, at)) if is_fresh(*at, CAPABILITIES_KEEP) => text.parse().ok(),
            _ => None,
        };
        if let Some(capabilities) = remembered {
            let capabilities: Capabilities = capabilities;
            // Without PIPELINING there is no flight to save, and the server may have learnt it.
            if capabilities.pipelining {
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
        }
        let capabilities = session.capabilities().await?.unwrap_or_default();
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
            self.memory.capabilities = Some((text, SystemTime::now()));
            self.remember().await?;
        }
        Ok(capabilities)
    }

    async fn remember(&self) -> Result<(), Error> {
        let (mailbox, memory) = (self.mailbox.clone(), self.memory.clone());
        blocking(move || mailbox.remember_server(&memory)).await
    }

    fn tell(&self, step: Step, started: Instant) {
        let event = Event::Step {
            step,
            took: started.elapsed(),
        };
        self.cx.observer.event(&self.job.account, &event);
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

/// How long a server that fell over commands in advance is spared them.
const DISTRUST_FOR: Duration = Duration::from_secs(30 * 24 * 60 * 60);

/// How long a server may be silent over the first commands in advance.
const PATIENCE_WITH_PIPELINING: Duration = Duration::from_secs(10);
