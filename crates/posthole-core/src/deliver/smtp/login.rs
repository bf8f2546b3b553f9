//! Logging in to a server that takes mail (RFC 4954).
//!
//! Which mechanisms are tried, and that nothing more is tried once a password may have been wrong,
//! is as with POP3: [`methods`] chooses.

use posthole_proto::pop3::Capabilities;
use posthole_proto::sasl::{Failure, Mechanism};
use posthole_proto::smtp::{Command, Reply};

use super::SmtpError;
use super::session::Session;
use crate::plan::Auth;
use crate::session::{Circumstances, Login, Method, NoMethod, methods, respond, start};

impl Session {
    /// Logs in by the first mechanism that the server knows.
    pub(super) async fn log_in(&mut self, login: &Login<'_>) -> Result<(), SmtpError> {
        let server = self.link.server.clone();
        let no_method = |source| SmtpError::NoMethod {
            server: server.clone(),
            source,
        };
        self.link.conceal(&login.secret);
        let mut last = None;
        for mechanism in self.mechanisms(login).map_err(no_method)? {
            match self.authenticate(mechanism, login).await? {
                Answer::Accepted => return Ok(()),
                Answer::Refused {
                    error,
                    is_about_mechanism: true,
                } => last = Some(error),
                Answer::Refused { error, .. } => return Err(error),
            }
        }
        Err(last.unwrap_or_else(|| {
            no_method(NoMethod::Nothing {
                offered: self.extensions.auth.clone(),
            })
        }))
    }

    /// What to try, the best first.
    fn mechanisms(&self, login: &Login<'_>) -> Result<Vec<Mechanism>, NoMethod> {
        let offered = self.extensions.auth.clone();
        if offered.is_empty() {
            return Err(NoMethod::Nothing { offered });
        }
        let methods = methods(&Circumstances {
            auth: Auth::Auto,
            capabilities: &Capabilities {
                sasl: offered,
                ..Capabilities::default()
            },
            privacy: login.privacy,
            apop: false,
            pipelined: false,
        })?;
        let with_password = methods.into_iter().filter_map(|method| match method {
            Method::Sasl(mechanism) if mechanism.needs_secret() => Some(mechanism),
            _ => None,
        });
        Ok(with_password.collect())
    }

    async fn authenticate(
        &mut self,
        mechanism: Mechanism,
        login: &Login<'_>,
    ) -> Result<Answer, SmtpError> {
        let server = self.link.server.clone();
        let failed = |source: Failure| SmtpError::Sasl {
            server: server.clone(),
            mechanism,
            source,
        };
        let mut authentication = start(mechanism, login).await.map_err(failed)?;
        let initial = authentication.initial_response(Command::initial_response_room(mechanism));
        let mut reply = self.request(Command::Auth { mechanism, initial }).await?;
        while reply.is_intermediate() {
            let responded = respond(authentication, reply.challenge()).await;
            let (returned, response) = responded.map_err(failed)?;
            authentication = returned;
            self.link.respond(response.as_ref().ok())?;
            (_, reply) = self.link.reply(self.timeout).await?;
            if let Err(failure) = response {
                return Err(failed(failure));
            }
        }
        if reply.is_positive() {
            authentication.succeeded().map_err(failed)?;
            return Ok(Answer::Accepted);
        }
        Ok(Answer::Refused {
            is_about_mechanism: reply.is_permanent() && !authentication.has_used_secret(),
            error: self.refused(mechanism, &reply),
        })
    }

    fn refused(&self, mechanism: Mechanism, reply: &Reply) -> SmtpError {
        SmtpError::LoginRefused {
            server: self.link.server.clone(),
            mechanism,
            text: reply.to_text(),
            for_good: reply.is_permanent(),
        }
    }
}

/// How the server took a mechanism.
enum Answer {
    Accepted,
    Refused {
        error: SmtpError,
        /// Whether it cannot be about the password.
        is_about_mechanism: bool,
    },
}
