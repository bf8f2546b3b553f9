//! From the greeting to the listing.
//!
//! With PIPELINING known from an earlier session, login, STAT, UIDL and LIST cross the network in
//! one flight. Otherwise the capabilities are asked for first, and a server without PIPELINING is
//! spoken to one command at a time.

use posthole_proto::pop3::{Capabilities, Command, CommandKind, Event};
use secrecy::SecretString;

use super::error::LOGIN;
use super::{Listing, ListingBuilder, Session, SessionError};

/// Who logs in.
#[derive(Debug)]
pub(crate) struct Login<'a> {
    pub(crate) user: &'a str,
    pub(crate) password: SecretString,
}

impl Session {
    /// Waits for the greeting and returns its words.
    pub(crate) async fn greeting(&mut self) -> Result<String, SessionError> {
        loop {
            while !self.is_drained() {
                match self.event()? {
                    Some(Event::Greeting { text }) => return Ok(text.to_string()),
                    Some(Event::Rejected { code, text, .. }) => {
                        return Err(SessionError::rejected("the connection", code, text));
                    }
                    _ => {}
                }
            }
            self.exchange().await?;
        }
    }

    /// Asks for the capabilities; none when the server does not know the question.
    pub(crate) async fn capabilities(&mut self) -> Result<Option<Capabilities>, SessionError> {
        let mut capabilities = None;
        self.ask(Command::Capa, |event| {
            if let Event::Capabilities(answer) = event {
                capabilities = Some(answer);
            }
            Ok(())
        })
        .await?;
        Ok(capabilities)
    }

    /// Logs in and lists the mailbox, in one flight or command by command.
    ///
    /// `logged_in` is called as soon as the server accepted the login.
    pub(crate) async fn enter(
        &mut self,
        login: Login<'_>,
        pipelined: bool,
        mut logged_in: impl FnMut(),
    ) -> Result<Listing, SessionError> {
        let mut entry = Entry::default();
        let mut hear = |event: Event<'_>| entry.hear(event, &mut logged_in);
        let commands = [
            Command::User(login.user.to_owned()),
            Command::Pass(login.password),
            Command::Stat,
            Command::Uidl(None),
            Command::List(None),
        ];
        for command in commands {
            self.send(command)?;
            if !pipelined {
                self.hear_all(&mut hear).await?;
            }
        }
        self.hear_all(&mut hear).await?;
        Ok(entry.listing.finish())
    }
}

/// Gathers the answers to the opening commands.
#[derive(Default)]
struct Entry {
    listing: ListingBuilder,
    uidl_refused: bool,
}

impl Entry {
    fn hear(&mut self, event: Event<'_>, logged_in: &mut impl FnMut()) -> Result<(), SessionError> {
        match event {
            Event::Ok {
                command: CommandKind::Pass,
                ..
            } => logged_in(),
            Event::ScanListing { number, size } => self
                .listing
                .scan_listing(number, size)
                .map_err(|_too_many| SessionError::TooManyMessages)?,
            Event::UniqueIdListing { number, uid } => {
                self.listing
                    .unique_id_listing(number, uid)
                    .map_err(|_too_many| SessionError::TooManyMessages)?;
            }
            Event::MalformedListing { .. } => self.listing.malformed(),
            Event::Rejected {
                command,
                code,
                text,
            } => match command {
                // What follows in the same flight is refused too, and says less.
                CommandKind::User | CommandKind::Pass => {
                    return Err(SessionError::rejected(LOGIN, code, text));
                }
                // A server may have no UIDL; without LIST as well there is nothing to go by.
                CommandKind::Uidl(_) => self.uidl_refused = true,
                CommandKind::List(_) if self.uidl_refused => {
                    return Err(SessionError::rejected("LIST", code, text));
                }
                CommandKind::List(_) => self.listing.malformed(),
                // STAT is advice.
                _ => {}
            },
            _ => {}
        }
        Ok(())
    }
}
