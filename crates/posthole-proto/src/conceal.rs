//! Passwords that servers repeat, kept out of what is shown.

use secrecy::{ExposeSecret, SecretString};

/// What nobody is to see though the server may repeat it: servers have been seen to quote the
/// command they refuse.
#[derive(Default)]
pub(crate) struct Concealed {
    password: Option<SecretString>,
    /// The last that was made from a password: a response in base64, or a digest.
    response: Option<SecretString>,
}

impl Concealed {
    pub(crate) fn password(&mut self, password: SecretString) {
        self.password = Some(password);
    }

    pub(crate) fn response(&mut self, response: SecretString) {
        self.response = Some(response);
    }

    /// The text, unless something of this is in it.
    pub(crate) fn hide<'a>(&self, text: &'a [u8]) -> &'a [u8] {
        let secrets = [&self.password, &self.response];
        let repeated = secrets.into_iter().flatten().any(|secret| {
            let secret = secret.expose_secret().as_bytes();
            !secret.is_empty() && memchr::memmem::find(text, secret).is_some()
        });
        if repeated {
            b"(not shown, because it repeats the password)"
        } else {
            text
        }
    }
}
