//! Why an exchange cannot go on, as opposed to a server that says no in good order.

use alloc::string::String;

/// Why an exchange cannot go on.
///
/// The client cancels it then; what the server would have said does not matter any more.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum Failure {
    /// A name or a password holds what the mechanism cannot carry.
    #[error("the {what} contains a character that this mechanism cannot carry")]
    Credentials {
        /// `user name`, `password` or `token`.
        what: &'static str,
    },
    /// There are more challenges than any mechanism has.
    #[error("the server does not stop to send challenges")]
    Endless,
    /// A SCRAM server asks for an extension that we do not have (`m=`, RFC 5802 §5.1).
    #[error("the server requires an extension of SCRAM that is not known here")]
    Extension,
    /// SCRAM's iteration count is one that weakens the password or wastes our time.
    #[error("the server asks for {count} iterations; {least} to {most} are accepted")]
    Iterations {
        /// What the server asks for.
        count: u64,
        /// The least that is accepted.
        least: u32,
        /// The most that is accepted.
        most: u32,
    },
    /// A mechanism's own library refuses to go on.
    #[error("{0}")]
    Library(String),
    /// A challenge does not have the form that the mechanism gives it.
    #[error("the server's challenge has no valid {what}")]
    Malformed {
        /// What is missing or wrong.
        what: &'static str,
    },
    /// The nonce in SCRAM's first challenge does not continue ours (RFC 5802 §5.1).
    #[error("the server's challenge is not an answer to ours, but perhaps one recorded earlier")]
    Nonce,
    /// The server said yes before it was told who we are.
    #[error("the server accepted the login before it was given anything to accept")]
    Premature,
    /// The server gave a reason inside the exchange (SCRAM's `e=`), cleaned.
    #[error("the server says `{0}`")]
    Server(String),
    /// The signature by which a SCRAM server shows that it knows the password is wrong.
    #[error("the server's signature is wrong, so it does not know the password")]
    Signature,
    /// A challenge is not base64.
    #[error("the server's challenge is not base64")]
    Undecodable,
    /// A challenge where the mechanism has none.
    #[error("the server sent a challenge where none belongs")]
    Unexpected,
    /// The server said yes without showing that it knows the password.
    #[error("the server accepted the login without proving that it knows the password")]
    Unproven,
}
