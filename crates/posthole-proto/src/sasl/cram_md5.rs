//! CRAM-MD5 (RFC 2195): the password never crosses the network, but whoever hears a login can try
//! passwords at leisure, and so can a false server.

use alloc::string::String;

use data_encoding::HEXLOWER;
use hmac::{Hmac, KeyInit, Mac};
use md5::Md5;
use secrecy::{ExposeSecret, SecretSlice, SecretString};

use super::{Exchange, Failure, join};

/// CRAM-MD5: a digest of the challenge, keyed by the password (RFC 2195).
///
/// ```text
/// response = user SP 32(lower-case hexadecimal digit)
/// ```
#[derive(Debug)]
pub struct CramMd5 {
    user: String,
    password: SecretString,
    answered: bool,
}

impl CramMd5 {
    /// Logs in as this user.
    #[must_use]
    pub fn new(user: &str, password: &SecretString) -> Self {
        Self {
            user: user.into(),
            password: password.clone(),
            answered: false,
        }
    }
}

impl Exchange for CramMd5 {
    fn initial_response(&mut self) -> Result<Option<SecretSlice<u8>>, Failure> {
        Ok(None)
    }

    fn respond(&mut self, challenge: &[u8]) -> Result<SecretSlice<u8>, Failure> {
        if self.answered {
            return Err(Failure::Unexpected);
        }
        // The digest of nothing would be the same in every login, and good for all of them.
        if challenge.is_empty() {
            return Err(Failure::Malformed { what: "text" });
        }
        self.answered = true;
        let key = self.password.expose_secret().as_bytes();
        let mut mac = Hmac::<Md5>::new_from_slice(key).expect("HMAC takes a key of any length");
        mac.update(challenge);
        let digest = HEXLOWER.encode(&mac.finalize().into_bytes());
        Ok(join(&[self.user.as_bytes(), b" ", digest.as_bytes()]))
    }

    fn succeeded(&self) -> Result<(), Failure> {
        if self.answered {
            Ok(())
        } else {
            Err(Failure::Premature)
        }
    }

    fn has_used_secret(&self) -> bool {
        self.answered
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_response_is_the_example_of_rfc_2195() {
        let mut cram = CramMd5::new("tim", &"tanstaaftanstaaf".into());
        let response = cram
            .respond(b"<1896.697170952@postoffice.reston.mci.net>")
            .expect("a challenge");
        assert_eq!(
            response.expose_secret(),
            b"tim b913a602c7eda7a495b4e6e7334d3890"
        );
        assert_eq!(cram.succeeded(), Ok(()));
    }

    #[test]
    fn there_is_one_challenge_and_it_is_not_empty() {
        let mut cram = CramMd5::new("tim", &"secret".into());
        let empty = cram.respond(b"").err();
        assert_eq!(empty, Some(Failure::Malformed { what: "text" }));
        assert!(!cram.has_used_secret());
        cram.respond(b"<1@x>").expect("a challenge");
        assert_eq!(cram.respond(b"<2@x>").err(), Some(Failure::Unexpected));
    }
}
