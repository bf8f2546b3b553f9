//! An ECDSA key on P-256 whose secret number begins with a zero octet, in files by ssh-keygen.
//!
//! One key in 256 is like that. It stands in the repository, unlike all others, because nothing in
//! process writes it as ssh-keygen does, which in turn takes seconds to come upon one.

/// Its public half.
pub const PUBLIC: &str = include_str!("short_scalar/public");

/// Without a passphrase.
pub const OPEN: &str = include_str!("short_scalar/open");

/// With [`PASSPHRASE`] and the cipher that is usual.
pub const AES256_CTR: &str = include_str!("short_scalar/aes256-ctr");

/// With [`PASSPHRASE`] and a cipher that authenticates.
pub const AES256_GCM: &str = include_str!("short_scalar/aes256-gcm");

/// The passphrase of those that have one.
pub const PASSPHRASE: &str = "correct horse";
