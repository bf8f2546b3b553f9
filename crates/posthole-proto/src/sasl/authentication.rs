//! What all mechanisms have in common.

use alloc::boxed::Box;
use core::fmt;

use secrecy::{ExposeSecret, SecretSlice};

use super::{Exchange, Failure, Mechanism};

/// A mechanism at work, held to the rules of RFC 4422.
///
/// 1. [`initial_response`](Self::initial_response) may go with the command that starts it.
/// 2. [`respond`](Self::respond) to each challenge; a failure is to be answered by cancelling.
/// 3. [`succeeded`](Self::succeeded) when the server says yes, and only then the login is one.
pub struct Authentication {
    mechanism: Mechanism,
    exchange: Box<dyn Exchange>,
    initial: Initial,
    challenges: usize,
}

/// What became of the initial response.
enum Initial {
    /// The server has it, or there is none.
    Done,
    /// It went with the command. A server that knows no initial responses, as those of RFC 1734,
    /// asks with an empty challenge.
    Sent(SecretSlice<u8>),
    /// It was not sent, and is the response to the first challenge, which is empty then.
    Waiting(SecretSlice<u8>),
}

impl Authentication {
    /// Begins with a mechanism.
    ///
    /// # Errors
    /// When the mechanism has nothing to begin with, such as a Kerberos ticket.
    pub fn new(mechanism: Mechanism, mut exchange: Box<dyn Exchange>) -> Result<Self, Failure> {
        let initial = match exchange.initial_response()? {
            Some(response) => Initial::Waiting(response),
            None => Initial::Done,
        };
        Ok(Self {
            mechanism,
            exchange,
            initial,
            challenges: 0,
        })
    }

    /// Which mechanism it is.
    #[must_use]
    pub const fn mechanism(&self) -> Mechanism {
        self.mechanism
    }

    /// The initial response to send, if there is one of at most so many octets.
    ///
    /// A longer one is kept as the response to the first challenge.
    pub fn initial_response(&mut self, room: usize) -> Option<SecretSlice<u8>> {
        match core::mem::replace(&mut self.initial, Initial::Done) {
            Initial::Waiting(response) if response.expose_secret().len() <= room => {
                self.initial = Initial::Sent(response.clone());
                Some(response)
            }
            other => {
                self.initial = other;
                None
            }
        }
    }

    /// The response to a challenge; `None` stands for one that could not be decoded.
    ///
    /// # Errors
    /// When the exchange has to be cancelled.
    pub fn respond(&mut self, challenge: Option<&[u8]>) -> Result<SecretSlice<u8>, Failure> {
        self.challenges += 1;
        if self.challenges > CHALLENGES {
            return Err(Failure::Endless);
        }
        let challenge = challenge.ok_or(Failure::Undecodable)?;
        match core::mem::replace(&mut self.initial, Initial::Done) {
            Initial::Sent(response) | Initial::Waiting(response) if challenge.is_empty() => {
                Ok(response)
            }
            Initial::Waiting(_) => Err(Failure::Unexpected),
            Initial::Done | Initial::Sent(_) => self.exchange.respond(challenge),
        }
    }

    /// Takes note that the server says yes.
    ///
    /// # Errors
    /// When that is not to be believed; then the session is not to be used.
    pub fn succeeded(&self) -> Result<(), Failure> {
        match self.initial {
            Initial::Waiting(_) => Err(Failure::Premature),
            _ => self.exchange.succeeded(),
        }
    }

    /// Whether a refusal may be about the password: whether anything that was sent depends on it.
    #[must_use]
    pub fn has_used_secret(&self) -> bool {
        !matches!(self.initial, Initial::Waiting(_)) && self.exchange.has_used_secret()
    }

    /// The reason that the server gave inside the exchange, cleaned.
    #[must_use]
    pub fn complaint(&self) -> Option<&str> {
        self.exchange.complaint()
    }
}

impl fmt::Debug for Authentication {
    /// Does not show the exchange, which holds the password.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Authentication")
            .field("mechanism", &self.mechanism)
            .field("challenges", &self.challenges)
            .finish_non_exhaustive()
    }
}

/// More than any mechanism has: LOGIN has two, SCRAM two, GSSAPI three or four.
const CHALLENGES: usize = 16;

#[cfg(test)]
mod tests {
    use secrecy::SecretString;

    use super::*;
    use crate::sasl::{CramMd5, Login, Plain};

    fn plain(password: &str) -> Authentication {
        let password = SecretString::from(password);
        let exchange = Plain::new("tim", &password).expect("a name and a password");
        Authentication::new(Mechanism::Plain, Box::new(exchange)).expect("it has a response")
    }

    #[test]
    fn an_initial_response_that_fits_goes_with_the_command() {
        let mut plain = plain("tanstaaftanstaaf");
        let response = plain.initial_response(21).expect("it fits");
        assert_eq!(response.expose_secret(), b"\0tim\0tanstaaftanstaaf");
        assert!(plain.has_used_secret());
        assert_eq!(plain.succeeded(), Ok(()));
        assert!(plain.initial_response(21).is_none(), "once");
    }

    #[test]
    fn one_that_does_not_fit_answers_the_empty_challenge() {
        let mut plain = plain("tanstaaftanstaaf");
        assert!(plain.initial_response(20).is_none());
        assert!(!plain.has_used_secret());
        assert_eq!(plain.succeeded(), Err(Failure::Premature));
        let response = plain.respond(Some(b"")).expect("an empty challenge");
        assert_eq!(response.expose_secret(), b"\0tim\0tanstaaftanstaaf");
        assert!(plain.has_used_secret());
        assert_eq!(plain.succeeded(), Ok(()));
    }

    #[test]
    fn a_server_that_overlooks_the_initial_response_gets_it_again() {
        let mut plain = plain("secret");
        plain.initial_response(100).expect("it fits");
        let again = plain.respond(Some(b"")).expect("an empty challenge");
        assert_eq!(again.expose_secret(), b"\0tim\0secret");
        assert_eq!(
            plain.respond(Some(b"")).err(),
            Some(Failure::Unexpected),
            "but only once"
        );
    }

    #[test]
    fn a_password_does_not_answer_a_challenge_that_is_none_of_the_mechanisms() {
        let mut never = plain("secret");
        assert_eq!(
            never.respond(Some(b"who?")).err(),
            Some(Failure::Unexpected)
        );
        let mut undecodable = plain("secret");
        assert_eq!(undecodable.respond(None).err(), Some(Failure::Undecodable));
    }

    #[test]
    fn what_does_not_end_is_ended() {
        struct Forever;
        impl Exchange for Forever {
            fn initial_response(&mut self) -> Result<Option<SecretSlice<u8>>, Failure> {
                Ok(None)
            }
            fn respond(&mut self, _challenge: &[u8]) -> Result<SecretSlice<u8>, Failure> {
                Ok(SecretSlice::default())
            }
            fn succeeded(&self) -> Result<(), Failure> {
                Ok(())
            }
            fn has_used_secret(&self) -> bool {
                false
            }
        }
        let mut forever = Authentication::new(Mechanism::Gssapi, Box::new(Forever))
            .expect("it has nothing to begin with");
        let responses = (0..100).take_while(|_| forever.respond(Some(b"x")).is_ok());
        assert_eq!(responses.count(), CHALLENGES);
        assert_eq!(forever.respond(Some(b"x")).err(), Some(Failure::Endless));
    }

    #[test]
    fn a_yes_that_comes_too_early_is_not_believed() {
        let password = SecretString::from("secret");
        let login = Login::new("tim", &password);
        let login = Authentication::new(Mechanism::Login, Box::new(login)).expect("no start");
        assert_eq!(login.succeeded(), Err(Failure::Premature));
        let cram = CramMd5::new("tim", &password);
        let cram = Authentication::new(Mechanism::CramMd5, Box::new(cram)).expect("no start");
        assert_eq!(cram.succeeded(), Err(Failure::Premature));
    }
}
