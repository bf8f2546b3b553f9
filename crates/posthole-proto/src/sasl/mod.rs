//! SASL from the client's side (RFC 4422): which response belongs to which challenge.
//!
//! An [`Exchange`] is one mechanism at work, octets in and octets out; how they travel (base64
//! behind AUTH in POP3) is the business of the protocol. [`Authentication`] is what a protocol
//! drives: it holds an exchange to the rules that all mechanisms share. It repeats an initial
//! response that the server did not take, ends what does not end by itself, and believes a
//! server's yes only when the mechanism is through, since SCRAM's server has to prove something
//! too.
//!
//! Nothing here chooses a mechanism, asks for a password or makes random numbers.

mod authentication;
mod cram_md5;
mod error;
mod mechanism;
mod oauth;
mod plain;
mod prepare;
mod scram;

use alloc::string::String;
use alloc::vec::Vec;

use data_encoding::BASE64;
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretSlice};

pub use self::authentication::Authentication;
pub use self::cram_md5::CramMd5;
pub use self::error::Failure;
pub use self::mechanism::Mechanism;
pub use self::oauth::{OAuthBearer, XOAuth2};
pub use self::plain::{External, Login, Plain};
pub use self::scram::{Binding, ChannelBinding, Hash, Scram};

/// One authentication exchange of one mechanism (RFC 4422 §3).
pub trait Exchange: Send {
    /// The response that comes before any challenge, where the mechanism has one.
    ///
    /// It is asked for once, before anything else.
    fn initial_response(&mut self) -> Result<Option<SecretSlice<u8>>, Failure>;

    /// The response to a challenge.
    fn respond(&mut self, challenge: &[u8]) -> Result<SecretSlice<u8>, Failure>;

    /// Says whether the server may call the exchange a success now.
    fn succeeded(&self) -> Result<(), Failure>;

    /// Whether anything handed out so far depends on the password, so that a refusal may be about
    /// it.
    fn has_used_secret(&self) -> bool;

    /// The reason that the server gave inside the exchange, cleaned.
    fn complaint(&self) -> Option<&str> {
        None
    }
}

/// Joins parts without leaving a copy of them anywhere.
fn join(parts: &[&[u8]]) -> SecretSlice<u8> {
    let mut joined = Vec::with_capacity(parts.iter().map(|part| part.len()).sum());
    for part in parts {
        joined.extend_from_slice(part);
    }
    // As long as its capacity, so that it becomes a box without moving.
    joined.into()
}

/// Encodes a response, leaving no copy behind.
pub(crate) fn base64(octets: &SecretSlice<u8>) -> Zeroizing<String> {
    let octets = octets.expose_secret();
    let mut encoded = Zeroizing::new(String::with_capacity(BASE64.encode_len(octets.len())));
    BASE64.encode_append(octets, &mut encoded);
    encoded
}
