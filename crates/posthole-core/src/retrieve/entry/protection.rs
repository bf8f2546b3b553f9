//! TLS on the way into the mailbox, where it does not come from the start.
//!
//! Where TLS is required, STLS is the first command of the session: what the server says before
//! it, its capabilities included, is anybody's word, and asking costs a round trip. Where it is
//! only welcome, the capabilities say whether to ask. In neither case does a login go out before
//! it is settled, and what was learnt before TLS is forgotten (RFC 2595 §4).

use posthole_proto::pop3::Capabilities;

use super::{Failure, May, Way};
use crate::progress::Event;
use crate::record::Secrecy;
use crate::session::{Session, SessionError, Stls};
use crate::transport::tls::{self, ChannelBinding};
use crate::transport::{self, Protection};

/// A session that a login may go through.
pub(super) struct Protected {
    pub(super) session: Session,
    /// What the server can do, if it was asked already.
    pub(super) capabilities: Option<Capabilities>,
    /// What a login may bind itself to; without TLS there is nothing.
    pub(super) binding: Option<ChannelBinding>,
}

impl Way<'_> {
    /// Starts TLS on a session that was greeted, if that is due.
    pub(super) async fn protect(
        &mut self,
        mut session: Session,
        protection: Protection,
        may: May,
    ) -> Result<Protected, Failure> {
        let (client, is_needed) = match protection {
            Protection::Tls(secured) => {
                return Ok(Protected {
                    session,
                    capabilities: None,
                    binding: Some(secured.binding),
                });
            }
            Protection::Enough(None) => {
                return Ok(Protected {
                    session,
                    capabilities: None,
                    binding: None,
                });
            }
            Protection::Enough(Some(client)) => (client, false),
            Protection::NeedsTls(client) => (client, true),
        };
        if is_needed {
            return match self.stls(session, &client).await? {
                Stls::Started(session, secured) => Ok(Protected {
                    session: *session,
                    capabilities: None,
                    binding: Some(secured.binding),
                }),
                Stls::Refused(_, refusal) => Err(SessionError::Tls(refusal).into()),
            };
        }
        // Whether the server offers it is remembered by how it went the last time.
        let mut capabilities = None;
        if self.remembered(Secrecy::Tls).is_none() {
            let plain = self.capabilities(&mut session, may, Secrecy::Plain).await?;
            if !plain.stls {
                return Ok(Protected {
                    session,
                    capabilities: Some(plain),
                    binding: None,
                });
            }
            capabilities = Some(plain);
        }
        match self.stls(session, &client).await? {
            Stls::Started(session, secured) => Ok(Protected {
                session: *session,
                capabilities: None,
                binding: Some(secured.binding),
            }),
            Stls::Refused(session, refusal) => {
                let notice = format!("{refusal}; the session goes on without");
                let event = Event::Notice(notice);
                self.links.observer.event(&self.job.account, &event);
                Ok(Protected {
                    session: *session,
                    capabilities,
                    binding: None,
                })
            }
        }
    }

    async fn stls(&self, session: Session, client: &tls::Client) -> Result<Stls, Failure> {
        let Self { job, links, .. } = self;
        let secure = |stream| transport::secure(client, stream, &job.account, &**links.observer);
        Ok(session.stls(&job.server, secure).await?)
    }
}
