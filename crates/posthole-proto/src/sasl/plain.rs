//! The mechanisms that say it outright: PLAIN, LOGIN, EXTERNAL.

use alloc::string::String;

use secrecy::{ExposeSecret, SecretSlice, SecretString};

use super::{Exchange, Failure, join};

/// PLAIN: the name and the password, in one response (RFC 4616).
///
/// ```text
/// message = [authzid] NUL authcid NUL passwd
/// ```
#[derive(Debug)]
pub struct Plain {
    message: SecretSlice<u8>,
}

impl Plain {
    /// Logs in as this user.
    ///
    /// # Errors
    /// When there is a NUL in either.
    pub fn new(user: &str, password: &SecretString) -> Result<Self, Failure> {
        let password = password.expose_secret();
        for (what, text) in [("user name", user), ("password", password)] {
            if text.contains('\0') {
                return Err(Failure::Credentials { what });
            }
        }
        Ok(Self {
            message: join(&[b"\0", user.as_bytes(), b"\0", password.as_bytes()]),
        })
    }
}

impl Exchange for Plain {
    fn initial_response(&mut self) -> Result<Option<SecretSlice<u8>>, Failure> {
        Ok(Some(core::mem::take(&mut self.message)))
    }

    fn respond(&mut self, _challenge: &[u8]) -> Result<SecretSlice<u8>, Failure> {
        Err(Failure::Unexpected)
    }

    fn succeeded(&self) -> Result<(), Failure> {
        Ok(())
    }

    fn has_used_secret(&self) -> bool {
        true
    }
}

/// LOGIN: the name and the password, each after a challenge (draft-murchison-sasl-login).
///
/// What the challenges say is not looked at: servers write `Username:`, `User Name` with a NUL, or
/// nothing.
#[derive(Debug)]
pub struct Login {
    user: String,
    password: SecretString,
    challenges: u8,
}

impl Login {
    /// Logs in as this user.
    #[must_use]
    pub fn new(user: &str, password: &SecretString) -> Self {
        Self {
            user: user.into(),
            password: password.clone(),
            challenges: 0,
        }
    }
}

impl Exchange for Login {
    fn initial_response(&mut self) -> Result<Option<SecretSlice<u8>>, Failure> {
        Ok(None)
    }

    fn respond(&mut self, _challenge: &[u8]) -> Result<SecretSlice<u8>, Failure> {
        self.challenges += 1;
        match self.challenges {
            1 => Ok(join(&[self.user.as_bytes()])),
            2 => Ok(join(&[self.password.expose_secret().as_bytes()])),
            _ => Err(Failure::Unexpected),
        }
    }

    fn succeeded(&self) -> Result<(), Failure> {
        if self.challenges < 2 {
            return Err(Failure::Premature);
        }
        Ok(())
    }

    fn has_used_secret(&self) -> bool {
        self.challenges >= 2
    }
}

/// EXTERNAL: the connection itself says who we are (RFC 4422 appendix A).
#[derive(Debug)]
pub struct External {
    user: String,
}

impl External {
    /// Asks to act as this user.
    ///
    /// # Errors
    /// When there is a NUL in the name.
    pub fn new(user: &str) -> Result<Self, Failure> {
        if user.contains('\0') {
            return Err(Failure::Credentials { what: "user name" });
        }
        Ok(Self { user: user.into() })
    }
}

impl Exchange for External {
    fn initial_response(&mut self) -> Result<Option<SecretSlice<u8>>, Failure> {
        Ok(Some(join(&[self.user.as_bytes()])))
    }

    fn respond(&mut self, _challenge: &[u8]) -> Result<SecretSlice<u8>, Failure> {
        Err(Failure::Unexpected)
    }

    fn succeeded(&self) -> Result<(), Failure> {
        Ok(())
    }

    fn has_used_secret(&self) -> bool {
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn plain_is_the_example_of_rfc_4616() {
        let password = SecretString::from("tanstaaftanstaaf");
        let mut plain = Plain::new("tim", &password).expect("no NUL");
        let response = plain.initial_response().expect("a message").expect("first");
        assert_eq!(response.expose_secret(), b"\0tim\0tanstaaftanstaaf");
    }

    #[test]
    fn a_nul_would_move_the_borders_in_plain() {
        let user = Plain::new("tim\0admin", &"x".into()).err();
        assert_eq!(user, Some(Failure::Credentials { what: "user name" }));
        let password = Plain::new("tim", &"x\0y".into()).err();
        assert_eq!(password, Some(Failure::Credentials { what: "password" }));
        let external = External::new("tim\0").err();
        assert_eq!(external, Some(Failure::Credentials { what: "user name" }));
    }

    #[test]
    fn login_answers_two_challenges_whatever_they_say() {
        let mut login = Login::new("tim", &"secret".into());
        assert!(login.initial_response().expect("no error").is_none());
        let user = login.respond(b"User Name\0").expect("the first");
        assert_eq!(
            (user.expose_secret(), login.has_used_secret()),
            (&b"tim"[..], false)
        );
        assert_eq!(login.succeeded(), Err(Failure::Premature));
        let password = login.respond(b"").expect("the second");
        assert_eq!(password.expose_secret(), b"secret");
        assert!(login.has_used_secret());
        assert_eq!(login.succeeded(), Ok(()));
        assert_eq!(login.respond(b"").err(), Some(Failure::Unexpected));
    }

    #[test]
    fn external_names_the_user() {
        let mut external = External::new("tim").expect("no NUL");
        let response = external.initial_response().expect("a name").expect("first");
        assert_eq!(response.expose_secret(), b"tim");
        assert!(!external.has_used_secret());
    }
}
