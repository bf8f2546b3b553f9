//! OAuth 2.0 access tokens: OAUTHBEARER (RFC 7628) and its forerunner XOAUTH2.
//!
//! A token that is not taken is answered with a challenge that holds the reason as JSON; the
//! client acknowledges it, and only then the server says no. The reason is kept for a person to
//! read, as it came: what is in it differs from server to server.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;

use secrecy::{ExposeSecret, SecretSlice, SecretString};

use super::{Exchange, Failure, join};
use crate::text;

/// OAUTHBEARER (RFC 7628 §3.1).
///
/// ```text
/// "n,a=" user "," ^A "host=" host ^A "port=" port ^A "auth=Bearer " token ^A ^A
/// ```
#[derive(Debug)]
pub struct OAuthBearer {
    message: SecretSlice<u8>,
    token: SecretString,
    refusal: Option<String>,
}

impl OAuthBearer {
    /// Logs in as this user of the server at `host` and `port`.
    ///
    /// # Errors
    /// When a name or the token is not one.
    pub fn new(user: &str, host: &str, port: u16, token: &SecretString) -> Result<Self, Failure> {
        let token = checked_token(token)?;
        let user = checked_user(user)?.replace('=', "=3D").replace(',', "=2C");
        let head = format!("n,a={user},\x01host={host}\x01port={port}\x01auth=Bearer ");
        Ok(Self {
            message: join(&[head.as_bytes(), token.as_bytes(), b"\x01\x01"]),
            token: token.into(),
            refusal: None,
        })
    }
}

impl Exchange for OAuthBearer {
    fn initial_response(&mut self) -> Result<Option<SecretSlice<u8>>, Failure> {
        Ok(Some(core::mem::take(&mut self.message)))
    }

    fn respond(&mut self, challenge: &[u8]) -> Result<SecretSlice<u8>, Failure> {
        note(&mut self.refusal, challenge, &self.token)?;
        Ok(join(&[b"\x01"]))
    }

    fn succeeded(&self) -> Result<(), Failure> {
        believe(self.refusal.as_ref())
    }

    fn has_used_secret(&self) -> bool {
        true
    }

    fn complaint(&self) -> Option<&str> {
        self.refusal.as_deref()
    }
}

/// XOAUTH2, as Google and Microsoft describe it.
///
/// ```text
/// "user=" user ^A "auth=Bearer " token ^A ^A
/// ```
#[derive(Debug)]
pub struct XOAuth2 {
    message: SecretSlice<u8>,
    token: SecretString,
    refusal: Option<String>,
}

impl XOAuth2 {
    /// Logs in as this user.
    ///
    /// # Errors
    /// When the name or the token is not one.
    pub fn new(user: &str, token: &SecretString) -> Result<Self, Failure> {
        let token = checked_token(token)?;
        let head = format!("user={}\x01auth=Bearer ", checked_user(user)?);
        Ok(Self {
            message: join(&[head.as_bytes(), token.as_bytes(), b"\x01\x01"]),
            token: token.into(),
            refusal: None,
        })
    }
}

impl Exchange for XOAuth2 {
    fn initial_response(&mut self) -> Result<Option<SecretSlice<u8>>, Failure> {
        Ok(Some(core::mem::take(&mut self.message)))
    }

    fn respond(&mut self, challenge: &[u8]) -> Result<SecretSlice<u8>, Failure> {
        note(&mut self.refusal, challenge, &self.token)?;
        Ok(SecretSlice::default())
    }

    fn succeeded(&self) -> Result<(), Failure> {
        believe(self.refusal.as_ref())
    }

    fn has_used_secret(&self) -> bool {
        true
    }

    fn complaint(&self) -> Option<&str> {
        self.refusal.as_deref()
    }
}

/// Keeps the reason for a refusal; there is one. Some servers quote what they refuse.
fn note(
    refusal: &mut Option<String>,
    challenge: &[u8],
    token: &SecretString,
) -> Result<(), Failure> {
    if refusal.is_some() {
        return Err(Failure::Unexpected);
    }
    if memchr::memmem::find(challenge, token.expose_secret().as_bytes()).is_some() {
        *refusal = Some("(not shown, because it repeats the token)".to_owned());
        return Ok(());
    }
    let shown = &challenge[..challenge.len().min(WORTH_SHOWING)];
    *refusal = Some(text::clean(shown).trim().to_owned());
    Ok(())
}

/// A server that explained why it refuses does not accept.
fn believe(refusal: Option<&String>) -> Result<(), Failure> {
    match refusal {
        Some(reason) => Err(Failure::Server(reason.clone())),
        None => Ok(()),
    }
}

/// RFC 6750 §2.1: a token is visible ASCII, and so holds none of the separators.
fn checked_token(token: &SecretString) -> Result<&str, Failure> {
    let token = token.expose_secret();
    if !token.is_empty() && token.bytes().all(|octet| octet.is_ascii_graphic()) {
        Ok(token)
    } else {
        Err(Failure::Credentials { what: "token" })
    }
}

fn checked_user(user: &str) -> Result<&str, Failure> {
    if user.contains(['\0', '\x01']) {
        Err(Failure::Credentials { what: "user name" })
    } else {
        Ok(user)
    }
}

/// The explanations seen so far have one to three hundred octets.
const WORTH_SHOWING: usize = 1024;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn oauthbearer_is_the_example_of_rfc_7628() {
        let token = "vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==".into();
        let mut exchange = OAuthBearer::new("user@example.com", "server.example.com", 143, &token)
            .expect("a token");
        let response = exchange.initial_response().expect("it").expect("first");
        assert_eq!(
            response.expose_secret(),
            b"n,a=user@example.com,\x01host=server.example.com\x01port=143\x01\
              auth=Bearer vF9dft4qmTc2Nvb3RlckBhbHRhdmlzdGEuY29tCg==\x01\x01"
        );
    }

    #[test]
    fn xoauth2_is_the_example_of_its_description() {
        let token = "ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg".into();
        let mut exchange = XOAuth2::new("someuser@example.com", &token).expect("a token");
        let response = exchange.initial_response().expect("it").expect("first");
        assert_eq!(
            response.expose_secret(),
            b"user=someuser@example.com\x01\
              auth=Bearer ya29.vF9dft4qmTc2Nvb3RlckBhdHRhdmlzdGEuY29tCg\x01\x01"
        );
    }

    #[test]
    fn the_reason_for_a_refusal_is_acknowledged_and_kept_cleaned() {
        let json = b"{\"status\":\"401\",\"scope\":\"mail\x1b[2J\"}";
        let shown = "{\"status\":\"401\",\"scope\":\"mail\u{fffd}[2J\"}";
        let mut bearer = OAuthBearer::new("tim", "host", 110, &"token".into()).expect("a token");
        let response = bearer.respond(json).expect("a reason");
        assert_eq!(response.expose_secret(), b"\x01");
        assert_eq!(bearer.complaint(), Some(shown));
        assert_eq!(bearer.succeeded(), Err(Failure::Server(shown.to_owned())));
        assert_eq!(bearer.respond(json).err(), Some(Failure::Unexpected));

        let mut older = XOAuth2::new("tim", &"token".into()).expect("a token");
        let response = older.respond(json).expect("a reason");
        assert_eq!(response.expose_secret(), b"");
        assert_eq!(older.complaint(), Some(shown));
        assert_eq!(older.respond(json).err(), Some(Failure::Unexpected));
    }

    #[test]
    fn a_token_that_is_quoted_is_not_shown() {
        let json = b"{\"status\":\"invalid_token\",\"token\":\"ya29.s3cret\"}";
        let mut older = XOAuth2::new("tim", &"ya29.s3cret".into()).expect("a token");
        let mut bearer =
            OAuthBearer::new("tim", "host", 110, &"ya29.s3cret".into()).expect("a token");
        for exchange in [&mut older as &mut dyn Exchange, &mut bearer] {
            exchange.respond(json).expect("a reason");
            let shown = exchange.complaint().expect("a reason");
            assert_eq!(shown, "(not shown, because it repeats the token)");
        }
    }

    #[test]
    fn what_would_move_the_borders_is_refused_or_escaped() {
        for token in ["", "a b", "a\x01b", "tok\u{e9}n"] {
            let refused = XOAuth2::new("tim", &token.into()).err();
            assert_eq!(
                refused,
                Some(Failure::Credentials { what: "token" }),
                "{token}"
            );
        }
        let refused = XOAuth2::new("tim\x01auth=Bearer x", &"token".into()).err();
        assert_eq!(refused, Some(Failure::Credentials { what: "user name" }));
        let mut bearer = OAuthBearer::new("a=b,c", "host", 110, &"token".into()).expect("a token");
        let response = bearer.initial_response().expect("it").expect("first");
        assert!(response.expose_secret().starts_with(b"n,a=a=3Db=2Cc,\x01"));
    }
}
