//! The login: by which method, with which password, and what goes in one flight with it.

use std::time::Instant;

use posthole_proto::pop3::Capabilities;
use secrecy::SecretString;

use super::entry::{During, Failure, May, PATIENCE_WITH_PIPELINING, Way};
use crate::plan::{Job, Route, is_loopback};
use crate::progress::{Event, Step};
use crate::record::Secrecy;
use crate::session::{
    Circumstances, Listing, LoggedIn, Login, Method, Privacy, Session, SessionError, methods,
};
use crate::transport::tls::ChannelBinding;

impl Way<'_> {
    /// Logs in and lists the mailbox, and says whether commands may be sent in advance.
    pub(super) async fn log_in(
        &mut self,
        session: &mut Session,
        capabilities: Capabilities,
        may: May,
        privacy: &Privacy,
    ) -> Result<(Listing, bool), Failure> {
        let logged_in = self.authenticate(session, capabilities, may, privacy);
        let (listing, pipelined) = logged_in.await?;
        let listing = match listing {
            Some(listing) => listing,
            None => self.list(session, pipelined).await?,
        };
        Ok((listing, pipelined))
    }

    /// Logs in, and says whether commands may be sent in advance; if they may, the listing may have
    /// come in the same flight.
    pub(super) async fn authenticate(
        &mut self,
        session: &mut Session,
        mut capabilities: Capabilities,
        may: May,
        privacy: &Privacy,
    ) -> Result<(Option<Listing>, bool), Failure> {
        let job = self.job;
        let choose = |capabilities: &Capabilities, session: &Session| {
            methods(&Circumstances {
                auth: job.auth,
                capabilities,
                privacy,
                apop: session.has_apop_challenge(),
                pipelined: may.pipeline && capabilities.pipelining,
            })
        };
        let chosen = match choose(&capabilities, session) {
            // What is remembered of the server may be out of date.
            Err(error) if may.ask_capabilities && error.is_about_capabilities() => {
                let secrecy = match privacy {
                    Privacy::Tls(_) => Secrecy::Tls,
                    _ => Secrecy::Plain,
                };
                capabilities = self.ask_capabilities(session, secrecy).await?;
                choose(&capabilities, session)
            }
            chosen => chosen,
        };
        let methods = chosen.map_err(SessionError::from)?;
        let pipelined = may.pipeline && capabilities.pipelining;
        let mut login = Login {
            user: &job.user,
            secret: SecretString::default(),
            // What `localhost` is to an SSH host is the host itself to Kerberos.
            host: &job.tls.name,
            port: job.server.port,
            privacy,
            offers_plus: capabilities.sasl.iter().any(|name| name.ends_with("-PLUS")),
        };

        // Those that need no password come first, so that nobody is asked for one in vain.
        let n_without = methods
            .iter()
            .take_while(|method| !method.needs_secret())
            .count();
        let (without, with) = methods.split_at(n_without);
        if !without.is_empty() {
            let started = Instant::now();
            match session.log_in(without, &login).await? {
                LoggedIn::By(method) => {
                    self.tell_logged_in(method, started);
                    return Ok((None, pipelined));
                }
                LoggedIn::NotYet(error) if with.is_empty() => return Err(error.into()),
                LoggedIn::NotYet(_) => {}
            }
        }

        let asked = Instant::now();
        login.secret = self.password().await?;
        let took_long = asked.elapsed() > super::entry::PATIENCE_OF_SERVERS;
        let failed = |during| {
            move |error: SessionError| Failure {
                error: error.into(),
                during: if took_long { During::Prompt } else { during },
            }
        };
        if with.first() == Some(&Method::Apop) {
            self.warn_of_apop(privacy);
        }
        let listing = match with.first() {
            Some(&method) if pipelined && method.can_be_pipelined() => Some(
                self.log_in_and_list(session, method, &login)
                    .await
                    .map_err(failed(During::Flight))?,
            ),
            _ => {
                let started = Instant::now();
                let logged_in = session.log_in(with, &login).await;
                match logged_in.map_err(failed(During::Other))? {
                    LoggedIn::By(method) => self.tell_logged_in(method, started),
                    LoggedIn::NotYet(error) => return Err(error.into()),
                }
                None
            }
        };
        Ok((listing, pipelined))
    }

    async fn log_in_and_list(
        &self,
        session: &mut Session,
        method: Method,
        login: &Login<'_>,
    ) -> Result<Listing, SessionError> {
        let mut started = Instant::now();
        // A server that cannot take commands in advance mostly says nothing more at all.
        session.set_timeout(self.job.timeout.min(PATIENCE_WITH_PIPELINING));
        let logged_in = || {
            self.tell_logged_in(method, started);
            started = Instant::now();
        };
        let listing = session.log_in_and_list(method, login, logged_in).await?;
        session.set_timeout(self.job.timeout);
        self.tell_listed(&listing, started);
        Ok(listing)
    }

    async fn list(&self, session: &mut Session, pipelined: bool) -> Result<Listing, Failure> {
        let started = Instant::now();
        if pipelined {
            session.set_timeout(self.job.timeout.min(PATIENCE_WITH_PIPELINING));
        }
        let listing = session.list(pipelined).await.map_err(|error| Failure {
            error: error.into(),
            during: if pipelined {
                During::Flight
            } else {
                During::Other
            },
        })?;
        session.set_timeout(self.job.timeout);
        self.tell_listed(&listing, started);
        Ok(listing)
    }

    /// Says what APOP is worth, where that matters.
    fn warn_of_apop(&self, privacy: &Privacy) {
        if matches!(privacy, Privacy::Open { .. } | Privacy::BeyondSsh) {
            let notice = "APOP is weak: who listens to this login can try passwords against it, \
                          and mail is not protected at all; use TLS or SSH if you can";
            let event = Event::Notice(notice.to_owned());
            self.links.observer.event(&self.job.account, &event);
        }
    }

    fn tell_logged_in(&self, method: Method, started: Instant) {
        let step = Step::LoggedIn {
            mechanism: method.to_string(),
            with_secret: method.needs_secret(),
        };
        self.tell(step, started);
    }

    fn tell_listed(&self, listing: &Listing, started: Instant) {
        let step = Step::Listed {
            messages: listing.len() as u64,
            octets: listing.total_size(),
        };
        self.tell(step, started);
    }
}

/// Who could listen on the way to a mail server.
pub(super) fn privacy(job: &Job, tls: Option<ChannelBinding>) -> Privacy {
    if let Some(binding) = tls {
        return Privacy::tls(binding, job.tls.identity.is_some());
    }
    let is_local = is_loopback(&job.server.host);
    match &job.route {
        // Whoever wrote the command has seen to it.
        Route::Plugin(_) => Privacy::Private,
        Route::Ssh(_) if is_local => Privacy::Private,
        Route::Ssh(_) => Privacy::BeyondSsh,
        // The transport goes nowhere else with a password that nobody may hear; a name can lead
        // to this machine too.
        Route::Direct if is_local || !job.may_be_overheard() => Privacy::Private,
        Route::Direct => Privacy::Open {
            accepted: job.allow_plaintext,
        },
    }
}
