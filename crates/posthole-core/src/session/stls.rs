//! From a session without TLS to one with it (RFC 2595 §4).

use posthole_proto::pop3::{Command, Error as Pop3Error, Event, Violation};

use super::{Session, SessionError};
use crate::plan::HostPort;
use crate::transport::BoxStream;
use crate::transport::tls::{Secured, TlsError};

/// What came of asking for TLS.
pub(crate) enum Stls {
    /// The server said no, and the session goes on without.
    Refused(Box<Session>, TlsError),
    /// Everything from now on is protected.
    Started(Box<Session>, Box<Secured>),
}

impl Session {
    /// Asks for TLS and, on a yes, has `secure` start it.
    ///
    /// Nothing else may be in flight, and nothing is sent before the answer is here. If more than
    /// the answer is here, somebody may have put it there to be taken for the server's answers
    /// inside TLS, and the session is over (CVE-2011-0411).
    pub(crate) async fn stls<F>(
        mut self,
        server: &HostPort,
        secure: impl FnOnce(BoxStream) -> F,
    ) -> Result<Stls, SessionError>
    where
        F: Future<Output = Result<(BoxStream, Secured), TlsError>>,
    {
        let mut refusal = None;
        let asked = self.ask(Command::Stls, |event| {
            if let Event::Rejected { code, text, .. } = event {
                refusal = Some(TlsError::refused(server.clone(), code, text));
            }
            Ok(())
        });
        match asked.await {
            Err(SessionError::Protocol(Pop3Error::Violation(Violation::ClearAfterStls {
                received,
            }))) => {
                return Err(SessionError::Tls(TlsError::Injected {
                    server: server.clone(),
                    received,
                }));
            }
            asked => asked?,
        }
        if let Some(refusal) = refusal {
            return Ok(Stls::Refused(Box::new(self), refusal));
        }
        let (stream, secured) = secure(self.stream).await?;
        let session = Self { stream, ..self };
        Ok(Stls::Started(Box::new(session), Box::new(secured)))
    }
}
