//! The way of a client with a token into a mailbox.
//!
//! The mail server is greeted first, so that a client hears at once if it cannot be reached, and is
//! told what the server can do. The client then shows its token to us, and we log in with the real
//! thing; from there on both sides are on their own. Neither token nor password is ever logged.

use std::time::Duration;

use posthole_proto::pop3::Capabilities;
use secrecy::SecretString;

use super::listen::Client;
use super::reception::{Reception, Visit};
use super::{ClientEvent, Connected, Service, refuse, token};
use crate::error::{Class, Error};
use crate::plan::Job;
use crate::retrieve::{Anteroom, Links};

impl Service {
    /// Has a client log in with the token, and logs in with the real thing.
    pub(super) async fn receive(&self, client: Client, job: &Job) -> Option<Connected> {
        if let Some(reason) = self.shared.recent_refusal() {
            refuse::say(client, self.forward.protocol, false, &reason).await;
            return None;
        }
        let entered = tokio::select! {
            entered = Anteroom::enter(job, self.links()) => entered,
            () = client.gone() => return None,
        };
        let anteroom = match entered {
            Ok(anteroom) => anteroom,
            Err(error) => {
                self.fail(client, error).await;
                return None;
            }
        };
        let mut reception = match self.check_in(client, &anteroom.capabilities).await {
            Ok(reception) => reception?,
            Err(error) => {
                let reason = format!("before it had logged in: {error}");
                self.tell(ClientEvent::Cut { reason });
                return None;
            }
        };
        match anteroom.log_in(job, self.links()).await {
            Ok(server) => {
                // If it is gone, that is found out at once.
                reception.say("+OK logged in\r\n").await.ok();
                let (client, first) = reception.into_client();
                Some(Connected {
                    client,
                    server,
                    first,
                })
            }
            Err(error) => {
                if error.class() == Class::Authentication {
                    self.shared
                        .note_refusal(&refuse::reason(&error, &*self.ask));
                }
                self.fail(reception.into_client().0, error).await;
                None
            }
        }
    }

    /// Waits for the right token; `None` for a client that has none.
    async fn check_in(
        &self,
        client: Client,
        server: &Capabilities,
    ) -> std::io::Result<Option<Reception>> {
        let name = &self.forward.name;
        let mut reception = Reception::greet(client, server).await?;
        for _ in 0..ATTEMPTS {
            let Visit::Token(shown) = reception.serve().await? else {
                reception.into_client().0.ends_in_order();
                return Ok(None);
            };
            match self.is_right(shown).await {
                Ok(true) => return Ok(Some(reception)),
                Ok(false) => {
                    self.refuse("it does not have the right token");
                    tokio::time::sleep(AFTER_A_WRONG_TOKEN).await;
                    let words = format!(
                        "-ERR [AUTH] posthole: the password here is the token that `posthole \
                         forward token {name}` prints\r\n"
                    );
                    reception.say(&words).await?;
                }
                Err(reason) => {
                    self.refuse(&format!("the token cannot be checked: {reason}"));
                    let line = refuse::pop3(true, "the token cannot be checked");
                    refuse::dismiss(reception.into_client().0, &line).await;
                    return Ok(None);
                }
            }
        }
        reception.into_client().0.ends_in_order();
        Ok(None)
    }

    /// Read from the disk each time, so that a new token counts at once.
    async fn is_right(&self, shown: SecretString) -> Result<bool, String> {
        let (state_dir, name) = (self.state_dir.clone(), self.forward.name.clone());
        let stored = tokio::task::spawn_blocking(move || token::stored(&state_dir, &name)).await;
        let stored = stored.map_err(|error| error.to_string())?;
        let stored = stored.map_err(|error| error.to_string())?;
        Ok(stored.is_some_and(|stored| stored.is(&shown)))
    }

    fn links(&self) -> Links<'_> {
        Links {
            ask: &self.ask,
            observer: &self.observer,
            tunnels: &self.tunnels,
            trust_stores: &self.trust_stores,
            doubts: None,
        }
    }

    /// Tells a client why it is not connected.
    pub(super) async fn fail(&self, client: Client, error: Error) {
        let (is_temporary, reason) = (
            refuse::is_temporary(&error),
            refuse::reason(&error, &*self.ask),
        );
        self.shared.note_failure(&reason);
        self.tell(ClientEvent::Failed(error.into()));
        refuse::say(client, self.forward.protocol, is_temporary, &reason).await;
    }
}

/// How often a client may be wrong about the token.
const ATTEMPTS: usize = 3;

/// How long a wrong token is pondered.
const AFTER_A_WRONG_TOKEN: Duration = Duration::from_secs(1);
