//! The names of mechanisms.

use core::fmt;

/// A mechanism that a client here can speak.
///
/// ```
/// use posthole_proto::sasl::Mechanism;
///
/// assert_eq!(Mechanism::from_name("scram-sha-256"), Some(Mechanism::ScramSha256));
/// assert_eq!(Mechanism::ScramSha256.name(), "SCRAM-SHA-256");
/// assert_eq!(Mechanism::from_name("NTLM"), None);
/// ```
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Mechanism {
    /// CRAM-MD5 (RFC 2195): a keyed digest of a challenge.
    CramMd5,
    /// EXTERNAL (RFC 4422 appendix A): what the connection itself proves, such as a TLS client
    /// certificate.
    External,
    /// GSSAPI (RFC 4752): Kerberos V5.
    Gssapi,
    /// LOGIN: name and password as two answers; never standardised.
    Login,
    /// OAUTHBEARER (RFC 7628): an OAuth 2.0 access token.
    OAuthBearer,
    /// PLAIN (RFC 4616): name and password.
    Plain,
    /// SCRAM-SHA-1 (RFC 5802).
    ScramSha1,
    /// SCRAM-SHA-1-PLUS (RFC 5802): bound to the TLS connection.
    ScramSha1Plus,
    /// SCRAM-SHA-256 (RFC 7677).
    ScramSha256,
    /// SCRAM-SHA-256-PLUS (RFC 7677): bound to the TLS connection.
    ScramSha256Plus,
    /// XOAUTH2: Google's forerunner of OAUTHBEARER.
    XOAuth2,
}

impl Mechanism {
    /// All of them.
    pub const ALL: &'static [Self] = &[
        Self::CramMd5,
        Self::External,
        Self::Gssapi,
        Self::Login,
        Self::OAuthBearer,
        Self::Plain,
        Self::ScramSha1,
        Self::ScramSha1Plus,
        Self::ScramSha256,
        Self::ScramSha256Plus,
        Self::XOAuth2,
    ];

    /// The name as it is sent.
    #[must_use]
    pub const fn name(self) -> &'static str {
        match self {
            Self::CramMd5 => "CRAM-MD5",
            Self::External => "EXTERNAL",
            Self::Gssapi => "GSSAPI",
            Self::Login => "LOGIN",
            Self::OAuthBearer => "OAUTHBEARER",
            Self::Plain => "PLAIN",
            Self::ScramSha1 => "SCRAM-SHA-1",
            Self::ScramSha1Plus => "SCRAM-SHA-1-PLUS",
            Self::ScramSha256 => "SCRAM-SHA-256",
            Self::ScramSha256Plus => "SCRAM-SHA-256-PLUS",
            Self::XOAuth2 => "XOAUTH2",
        }
    }

    /// The mechanism of that name, in either case.
    #[must_use]
    pub fn from_name(name: &str) -> Option<Self> {
        let mut all = Self::ALL.iter();
        all.find(|mechanism| mechanism.name().eq_ignore_ascii_case(name))
            .copied()
    }

    /// Whether who listens learns what is needed to log in: the password or the token itself.
    #[must_use]
    pub const fn reveals_secret(self) -> bool {
        matches!(
            self,
            Self::Login | Self::OAuthBearer | Self::Plain | Self::XOAuth2
        )
    }

    /// Whether it needs a password or a token of ours.
    #[must_use]
    pub const fn needs_secret(self) -> bool {
        !matches!(self, Self::External | Self::Gssapi)
    }
}

impl fmt::Display for Mechanism {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.name())
    }
}
