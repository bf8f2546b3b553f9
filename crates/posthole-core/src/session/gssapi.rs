//! GSSAPI: a login by Kerberos ticket (RFC 4752), which in POP3 is what became of KPOP.
//!
//! The tickets are the business of the system's Kerberos library, which finds them where kinit(1)
//! left them; no password passes through here. What is left to do is the exchange around its
//! tokens: first the two sides make sure of each other, then the server says which layers of
//! protection it has, and we choose none, since SSH or TLS is below already, and say who we are.

use libgssapi::context::{ClientCtx, CtxFlags, SecurityContext};
use libgssapi::name::Name;
use libgssapi::oid::{GSS_MECH_KRB5, GSS_NT_HOSTBASED_SERVICE};
use posthole_proto::sasl::{Exchange, Failure};
use secrecy::SecretSlice;

/// A login by Kerberos ticket.
pub(super) struct Gssapi {
    user: String,
    /// `pop@host`, the service that a ticket is needed for (RFC 5034 §3).
    service: String,
    state: State,
}

enum State {
    /// Nothing has been asked of the library.
    Start,
    /// The library and the server make sure of each other.
    Establishing(ClientCtx),
    /// They have; the server's offer of layers is awaited.
    Layers(ClientCtx),
    /// The choice is made, and the server's verdict awaited.
    Done,
    /// It went wrong.
    Failed,
}

impl Gssapi {
    /// Logs in as this user to the mail server on this host.
    pub(super) fn new(user: &str, host: &str) -> Self {
        Self {
            user: user.to_owned(),
            service: format!("pop@{host}"),
            state: State::Start,
        }
    }

    fn begin(&mut self) -> Result<Vec<u8>, libgssapi::error::Error> {
        let service = Name::new(self.service.as_bytes(), Some(GSS_NT_HOSTBASED_SERVICE))?;
        // Without mutual authentication, a server would not have to show that it is the one. With
        // sequence and integrity, the choice of layers cannot be tampered with (RFC 4752 §3.1).
        let flags = CtxFlags::GSS_C_MUTUAL_FLAG
            | CtxFlags::GSS_C_SEQUENCE_FLAG
            | CtxFlags::GSS_C_INTEG_FLAG;
        let mut context = ClientCtx::new(None, service, flags, Some(GSS_MECH_KRB5));
        let token = context.step(None, None)?;
        self.state = State::Establishing(context);
        Ok(token.map(|token| token.to_vec()).unwrap_or_default())
    }

    /// Answers the server's offer of layers: `layers max-size(3)`, wrapped (RFC 4752 §3.1).
    fn choose(&self, context: &mut ClientCtx, challenge: &[u8]) -> Result<Vec<u8>, Failure> {
        let what = "choice of security layers";
        let offer = context.unwrap(challenge).map_err(library)?;
        let [layers, _, _, _] = offer[..] else {
            return Err(Failure::Malformed { what });
        };
        if layers & NO_LAYER == 0 {
            let text = "the server insists on a security layer, which posthole does not have";
            return Err(Failure::Library(text.to_owned()));
        }
        // No layer, so that there is no size to agree upon.
        let choice = [&[NO_LAYER, 0, 0, 0], self.user.as_bytes()].concat();
        Ok(context.wrap(false, &choice).map_err(library)?.to_vec())
    }
}

impl Exchange for Gssapi {
    fn initial_response(&mut self) -> Result<Option<SecretSlice<u8>>, Failure> {
        Ok(Some(self.begin().map_err(library)?.into()))
    }

    fn respond(&mut self, challenge: &[u8]) -> Result<SecretSlice<u8>, Failure> {
        match std::mem::replace(&mut self.state, State::Failed) {
            State::Start | State::Done | State::Failed => Err(Failure::Unexpected),
            State::Establishing(mut context) => {
                let token = context.step(Some(challenge), None).map_err(library)?;
                let token = token.map(|token| token.to_vec()).unwrap_or_default();
                self.state = if context.is_complete() {
                    let flags = context.flags().map_err(library)?;
                    if !flags.contains(CtxFlags::GSS_C_MUTUAL_FLAG) {
                        return Err(Failure::Unproven);
                    }
                    State::Layers(context)
                } else {
                    State::Establishing(context)
                };
                Ok(token.into())
            }
            State::Layers(mut context) => {
                let choice = self.choose(&mut context, challenge)?;
                self.state = State::Done;
                Ok(choice.into())
            }
        }
    }

    fn succeeded(&self) -> Result<(), Failure> {
        match self.state {
            State::Done => Ok(()),
            _ => Err(Failure::Unproven),
        }
    }

    fn has_used_secret(&self) -> bool {
        false
    }
}

/// What the library says; the words of its mechanism, Kerberos, are the useful ones.
fn library(error: libgssapi::error::Error) -> Failure {
    Failure::Library(posthole_proto::text::clean(error.to_string().as_bytes()).into_owned())
}

/// RFC 4752 §3.3.
const NO_LAYER: u8 = 1;
