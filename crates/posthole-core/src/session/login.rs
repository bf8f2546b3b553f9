//! Logging in: one method after another until one is done, and never two with a wrong password.
//!
//! The hard part is what a refusal means. POP3 says no with the same `-ERR` to a mechanism that it
//! does not know, to a wrong password and to a mailbox that is locked. Only the first may be
//! followed by another method, and it is told apart by what was sent: a refusal that comes before
//! anything made from the password has left cannot be about the password. After any other nothing
//! more is tried, since accounts are locked after a few wrong passwords, and since whoever wants
//! the password would only have to say no to all but the weakest method.

use posthole_proto::pop3::{Command, Event, RespCode};
use posthole_proto::sasl::{Authentication, Failure};
use secrecy::{SecretSlice, SecretString};

use super::exchange::{respond, start};
use super::method::{Method, NoMethod, Privacy};
use super::{Session, SessionError};

/// Who logs in where, and as far as it is known yet, with what.
#[derive(Clone, Debug)]
pub(crate) struct Login<'a> {
    pub(crate) user: &'a str,
    /// A password, or an access token; empty for methods that need none.
    pub(crate) secret: SecretString,
    /// The mail server by its real name, as far as that is known.
    pub(crate) host: &'a str,
    pub(crate) port: u16,
    pub(crate) privacy: &'a Privacy,
    /// Whether the server offers this mechanism with channel binding, of which see
    /// [`Binding::NotOffered`](posthole_proto::sasl::Binding::NotOffered).
    pub(crate) offers_plus: bool,
}

/// How an attempt to log in ended, if it ended well.
pub(crate) enum LoggedIn {
    /// By this method.
    By(Method),
    /// The server knows none of the methods; this is what it said to the last.
    NotYet(SessionError),
}

/// How the server took a method.
enum Answer {
    Accepted,
    Refused {
        error: SessionError,
        /// Whether it cannot be about the password.
        is_about_method: bool,
    },
}

impl Session {
    /// Logs in by the first of these methods that the server knows.
    pub(super) async fn try_methods(
        &mut self,
        methods: &[Method],
        login: &Login<'_>,
    ) -> Result<LoggedIn, SessionError> {
        let mut last = None;
        for &method in methods {
            let error = match self.try_method(method, login).await {
                Ok(Answer::Accepted) => return Ok(LoggedIn::By(method)),
                Ok(Answer::Refused {
                    error,
                    is_about_method: true,
                }) => error,
                // Nothing was sent; there may be no ticket for Kerberos.
                Err(error @ SessionError::NotStarted { .. }) => error,
                Ok(Answer::Refused { error, .. }) | Err(error) => return Err(error),
            };
            tracing::info!(account = self.account, %method, %error, "not by this method");
            last = Some(error);
        }
        let nothing = || {
            NoMethod::Nothing {
                offered: Vec::new(),
            }
            .into()
        };
        Ok(LoggedIn::NotYet(last.unwrap_or_else(nothing)))
    }

    async fn try_method(
        &mut self,
        method: Method,
        login: &Login<'_>,
    ) -> Result<Answer, SessionError> {
        match method {
            Method::Sasl(mechanism) => {
                let starting = start(mechanism, login);
                let authentication = starting
                    .await
                    .map_err(|failure| SessionError::NotStarted { mechanism, failure })?;
                self.client.conceal(&login.secret);
                self.authenticate(authentication).await
            }
            Method::Apop | Method::UserPass => {
                let mut answer = Answer::Accepted;
                for command in self.plain_commands(method, login)? {
                    self.ask(command, |event| {
                        if let Event::Rejected { code, text, .. } = event {
                            answer = Answer::Refused {
                                error: SessionError::login_refused(method, code, text, None),
                                is_about_method: false,
                            };
                        }
                        Ok(())
                    })
                    .await?;
                    if let Answer::Refused { .. } = answer {
                        break;
                    }
                }
                Ok(answer)
            }
        }
    }

    /// The commands of a method that is no SASL mechanism.
    pub(super) fn plain_commands(
        &self,
        method: Method,
        login: &Login<'_>,
    ) -> Result<Vec<Command>, SessionError> {
        let user = login.user.to_owned();
        Ok(match (method, &self.apop) {
            (Method::Apop, Some(challenge)) => vec![Command::Apop {
                user,
                digest: challenge.digest(&login.secret),
            }],
            (Method::Apop, None) => {
                return Err(NoMethod::NoChallenge.into());
            }
            _ => vec![Command::User(user), Command::Pass(login.secret.clone())],
        })
    }

    /// Runs the exchange of a mechanism to its end.
    async fn authenticate(
        &mut self,
        mut authentication: Authentication,
    ) -> Result<Answer, SessionError> {
        let mechanism = authentication.mechanism();
        let room = Command::initial_response_room(mechanism);
        let initial = authentication.initial_response(room);
        self.send(Command::Auth { mechanism, initial })?;
        let failed = |failure| SessionError::Sasl { mechanism, failure };
        loop {
            match self.sasl_step().await? {
                SaslStep::Challenge(challenge) => {
                    let responded = respond(authentication, challenge).await;
                    let (returned, response) = responded.map_err(failed)?;
                    authentication = returned;
                    match response {
                        Ok(response) => self.respond(&response)?,
                        Err(failure) => {
                            let is_cancelled = self.cancel().await;
                            let error = failed(failure.clone());
                            // Such as a kind of channel binding that the server does not have.
                            let is_about_method = is_cancelled
                                && matches!(failure, Failure::Server(_))
                                && !authentication.has_used_secret();
                            return if is_about_method {
                                Ok(Answer::Refused {
                                    error,
                                    is_about_method,
                                })
                            } else {
                                Err(error)
                            };
                        }
                    }
                }
                SaslStep::Accepted => {
                    authentication.succeeded().map_err(failed)?;
                    return Ok(Answer::Accepted);
                }
                SaslStep::Rejected { code, text } => {
                    let is_about_method = !authentication.has_used_secret()
                        && (code.is_none()
                            || code == Some(RespCode::Auth) && !mechanism.needs_secret());
                    let complaint = authentication.complaint();
                    return Ok(Answer::Refused {
                        error: SessionError::login_refused(
                            Method::Sasl(mechanism),
                            code,
                            posthole_proto::text::Text::new(&text),
                            complaint,
                        ),
                        is_about_method,
                    });
                }
            }
        }
    }

    /// Waits for what the server says next in an exchange.
    async fn sasl_step(&mut self) -> Result<SaslStep, SessionError> {
        loop {
            while !self.is_drained() {
                match self.event()? {
                    Some(Event::Challenge { octets }) => {
                        return Ok(SaslStep::Challenge(octets.map(<[u8]>::to_vec)));
                    }
                    Some(Event::Ok { .. }) => return Ok(SaslStep::Accepted),
                    Some(Event::Rejected { code, text, .. }) => {
                        let text = text.as_bytes().to_vec();
                        return Ok(SaslStep::Rejected { code, text });
                    }
                    _ => {}
                }
            }
            self.exchange().await?;
        }
    }

    fn respond(&mut self, response: &SecretSlice<u8>) -> Result<(), SessionError> {
        tracing::debug!(target: "posthole::pop3", account = self.account, "C: ****");
        let responded = self.client.respond(response);
        Ok(responded.map_err(posthole_proto::pop3::Error::from)?)
    }

    /// Calls the exchange off, and says whether the server took note.
    async fn cancel(&mut self) -> bool {
        tracing::debug!(target: "posthole::pop3", account = self.account, "C: *");
        if self.client.cancel().is_err() {
            return false;
        }
        let timeout = self.timeout;
        self.set_timeout(timeout.min(PATIENCE_AFTER_CANCEL));
        let answer = self.sasl_step().await;
        self.set_timeout(timeout);
        matches!(answer, Ok(SaslStep::Rejected { .. }))
    }
}

/// What the server says in an exchange.
enum SaslStep {
    Accepted,
    /// None if it cannot be decoded.
    Challenge(Option<Vec<u8>>),
    Rejected {
        code: Option<RespCode>,
        text: Vec<u8>,
    },
}

/// How long a server may take to notice that an exchange was called off.
const PATIENCE_AFTER_CANCEL: std::time::Duration = std::time::Duration::from_secs(5);

#[cfg(test)]
mod tests;
