//! From the greeting to the listing.
//!
//! With PIPELINING known from an earlier session, login, STAT, UIDL and LIST cross the network in
//! one flight, if the login is one of POP3's own and not a SASL exchange, in which the server takes
//! each line for a response. Otherwise the capabilities are asked for first, and a server without
//! PIPELINING is spoken to one command at a time.

use posthole_proto::pop3::{ApopChallenge, Capabilities, Command, CommandKind, Event};

use super::login::{LoggedIn, Login};
use super::method::Method;
use super::{Listing, ListingBuilder, Session, SessionError};

impl Session {
    /// Waits for the greeting and returns its words.
    pub(crate) async fn greeting(&mut self) -> Result<String, SessionError> {
        loop {
            while !self.is_drained() {
                match self.event()? {
                    Some(Event::Greeting { text }) => {
                        let (challenge, words) =
                            (ApopChallenge::find(text.as_bytes()), text.to_string());
                        self.apop = challenge;
                        return Ok(words);
                    }
                    Some(Event::Rejected { code, text, .. }) => {
                        return Err(SessionError::rejected("the connection", code, text));
                    }
                    _ => {}
                }
            }
            self.exchange().await?;
        }
    }

    /// Whether the greeting has a challenge for APOP.
    pub(crate) const fn has_apop_challenge(&self) -> bool {
        self.apop.is_some()
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

    /// Logs in by the first of the methods that the server knows, one step at a time.
    pub(crate) async fn log_in(
        &mut self,
        methods: &[Method],
        login: &Login<'_>,
    ) -> Result<LoggedIn, SessionError> {
        self.try_methods(methods, login).await
    }

    /// Logs in and lists the mailbox, in one flight.
    ///
    /// `logged_in` is called as soon as the server accepted the login.
    pub(crate) async fn log_in_and_list(
        &mut self,
        method: Method,
        login: &Login<'_>,
        mut logged_in: impl FnMut(),
    ) -> Result<Listing, SessionError> {
        let mut entry = Entry::of(method);
        let mut hear = |event: Event<'_>| entry.hear(event, &mut logged_in);
        let commands = self.plain_commands(method, login)?;
        for command in commands.into_iter().chain(LISTING.iter().cloned()) {
            self.send(command)?;
        }
        self.hear_all(&mut hear).await?;
        Ok(entry.listing.finish())
    }

    /// Lists the mailbox after the login, in one flight or command by command.
    pub(crate) async fn list(&mut self, pipelined: bool) -> Result<Listing, SessionError> {
        // The method is of no matter any more.
        let mut entry = Entry::of(Method::UserPass);
        let mut hear = |event: Event<'_>| entry.hear(event, &mut || {});
        for command in LISTING.iter().cloned() {
            self.send(command)?;
            if !pipelined {
                self.hear_all(&mut hear).await?;
            }
        }
        self.hear_all(&mut hear).await?;
        Ok(entry.listing.finish())
    }
}

impl Method {
    /// Whether other commands may follow it before it is answered.
    pub(crate) const fn can_be_pipelined(self) -> bool {
        matches!(self, Self::Apop | Self::UserPass)
    }
}

/// Gathers the answers to the opening commands.
struct Entry {
    method: Method,
    listing: ListingBuilder,
    uidl_refused: bool,
}

impl Entry {
    fn of(method: Method) -> Self {
        Self {
            method,
            listing: ListingBuilder::default(),
            uidl_refused: false,
        }
    }

    fn hear(&mut self, event: Event<'_>, logged_in: &mut impl FnMut()) -> Result<(), SessionError> {
        match event {
            Event::Ok {
                command: CommandKind::Apop | CommandKind::Pass,
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
                CommandKind::Apop | CommandKind::User | CommandKind::Pass => {
                    return Err(SessionError::login_refused(self.method, code, text, None));
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

const LISTING: [Command; 3] = [Command::Stat, Command::Uidl(None), Command::List(None)];
