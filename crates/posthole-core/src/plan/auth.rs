//! How to log in to the mail server.

use std::fmt;

use posthole_proto::sasl::Mechanism;

/// How to log in to a mail server.
///
/// `Display` and `FromStr` use the words of the configuration file.
#[derive(Clone, Copy, Debug, Default, Eq, PartialEq)]
pub enum Auth {
    /// By APOP (RFC 1939 §7).
    Apop,
    /// By what fits the server and the way to it best.
    #[default]
    Auto,
    /// By this SASL mechanism (RFC 5034).
    Sasl(Mechanism),
    /// By USER and PASS (RFC 1939 §7).
    UserPass,
}

impl Auth {
    /// Whether a password, or a token that is as good, may be sent such that who listens has it.
    #[must_use]
    pub const fn may_reveal_secret(self) -> bool {
        match self {
            Self::Apop => false,
            Self::Auto | Self::UserPass => true,
            Self::Sasl(mechanism) => mechanism.reveals_secret(),
        }
    }

    /// Whether a password or a token of ours may be needed.
    #[must_use]
    pub const fn may_need_secret(self) -> bool {
        match self {
            Self::Apop | Self::Auto | Self::UserPass => true,
            Self::Sasl(mechanism) => mechanism.needs_secret(),
        }
    }
}

impl fmt::Display for Auth {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Apop => f.write_str("apop"),
            Self::Auto => f.write_str("auto"),
            Self::Sasl(mechanism) => f.write_str(&mechanism.name().to_ascii_lowercase()),
            Self::UserPass => f.write_str("user"),
        }
    }
}
