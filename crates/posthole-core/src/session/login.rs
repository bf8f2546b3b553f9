//! Logging in: one method after another until one is done, and never two with a wrong password.
//!
//! The hard part is what a refusal means. POP3 says no with the same `-ERR` to a mechanism that it
//! does not know, to a wrong password and to a mailbox that is locked. Only the first may be
//! followed by another method, and it is told apart by what was sent: a refusal that comes before
//! anything made from the password has left cannot be about the password. After any other nothing
//! more is tried, since accounts are locked after a few wrong passwords, and since whoever wants
//! the password would only have to say no to all but the weakest method.

use posthole_proto::pop3::{Command, Event, RespCode};
use posthole_proto::sasl::{
    Authentication, Binding, CramMd5, Exchange, External, Failure, Hash, Mechanism, OAuthBearer,
    Plain, Scram, XOAuth2,
};
use secrecy::{SecretSlice, SecretString};

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
    /// [`Binding::NotOffered`].
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
                    let (returned, response) = respond(authentication, challenge).await?;
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

/// Begins with a mechanism, away from the network: Kerberos talks to its servers then.
async fn start(mechanism: Mechanism, login: &Login<'_>) -> Result<Authentication, Failure> {
    let exchange = exchange(mechanism, login)?;
    let starting = tokio::task::spawn_blocking(move || Authentication::new(mechanism, exchange));
    match starting.await {
        Ok(result) => result,
        Err(error) => Err(stopped(error)),
    }
}

/// Works out a response away from the network: SCRAM takes a while by design.
async fn respond(
    mut authentication: Authentication,
    challenge: Option<Vec<u8>>,
) -> Result<(Authentication, Result<SecretSlice<u8>, Failure>), SessionError> {
    let mechanism = authentication.mechanism();
    let responding = tokio::task::spawn_blocking(move || {
        let response = authentication.respond(challenge.as_deref());
        (authentication, response)
    });
    responding.await.map_err(|error| SessionError::Sasl {
        mechanism,
        failure: stopped(error),
    })
}

/// Goes on with a panic. Only a runtime that shuts down cancels such a task.
fn stopped(error: tokio::task::JoinError) -> Failure {
    match error.try_into_panic() {
        Ok(panic) => std::panic::resume_unwind(panic),
        Err(_cancelled) => Failure::Library("the program is shutting down".to_owned()),
    }
}

fn exchange(mechanism: Mechanism, login: &Login<'_>) -> Result<Box<dyn Exchange>, Failure> {
    let (user, secret) = (login.user, &login.secret);
    Ok(match mechanism {
        Mechanism::CramMd5 => Box::new(CramMd5::new(user, secret)),
        Mechanism::External => Box::new(External::new(user)?),
        Mechanism::Gssapi => gssapi(login)?,
        Mechanism::Login => Box::new(posthole_proto::sasl::Login::new(user, secret)),
        Mechanism::OAuthBearer => Box::new(OAuthBearer::new(user, login.host, login.port, secret)?),
        Mechanism::Plain => Box::new(Plain::new(user, secret)?),
        Mechanism::ScramSha1 | Mechanism::ScramSha1Plus => scram(mechanism, Hash::Sha1, login)?,
        Mechanism::ScramSha256 | Mechanism::ScramSha256Plus => {
            scram(mechanism, Hash::Sha256, login)?
        }
        Mechanism::XOAuth2 => Box::new(XOAuth2::new(user, secret)?),
    })
}

#[cfg(feature = "gssapi")]
fn gssapi(login: &Login<'_>) -> Result<Box<dyn Exchange>, Failure> {
    Ok(Box::new(super::gssapi::Gssapi::new(login.user, login.host)))
}

#[cfg(not(feature = "gssapi"))]
fn gssapi(_login: &Login<'_>) -> Result<Box<dyn Exchange>, Failure> {
    Err(Failure::Library(
        "it was left out when posthole was built".to_owned(),
    ))
}

fn scram(
    mechanism: Mechanism,
    hash: Hash,
    login: &Login<'_>,
) -> Result<Box<dyn Exchange>, Failure> {
    let is_plus = matches!(
        mechanism,
        Mechanism::ScramSha1Plus | Mechanism::ScramSha256Plus
    );
    let binding = match login.privacy.bindings().first() {
        Some(binding) if is_plus => Binding::Used(binding.clone()),
        Some(_) if !login.offers_plus => Binding::NotOffered,
        _ => Binding::Unsupported,
    };
    Ok(Box::new(Scram::new(
        hash,
        login.user,
        &login.secret,
        &nonce()?,
        &binding,
    )?))
}

/// Enough random octets that no two logins have the same (RFC 5802 §5.1).
fn nonce() -> Result<String, Failure> {
    let mut octets = [0; 18];
    getrandom::fill(&mut octets)
        .map_err(|error| Failure::Library(format!("there are no random numbers: {error}")))?;
    Ok(data_encoding::BASE64.encode(&octets))
}

/// How long a server may take to notice that an exchange was called off.
const PATIENCE_AFTER_CANCEL: std::time::Duration = std::time::Duration::from_secs(5);

#[cfg(test)]
mod tests;
