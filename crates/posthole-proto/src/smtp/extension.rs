//! What a server can do, from its reply to EHLO or LHLO (RFC 5321 §4.1.1.1).

use alloc::string::String;
use alloc::vec::Vec;

use super::reply::Reply;
use crate::text;

/// The extensions of a server that are known here.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Extensions {
    /// How one may log in, in upper case (RFC 4954).
    pub auth: Vec<String>,
    /// Texts may have octets beyond ASCII (RFC 6152).
    pub eight_bit_mime: bool,
    /// Commands may be sent ahead of replies (RFC 2920).
    pub pipelining: bool,
    /// Sizes may be announced (RFC 1870).
    pub size: bool,
    /// The largest message that is taken, in octets, if that is said.
    pub size_limit: Option<u64>,
    /// Addresses and headers may be in UTF-8 (RFC 6531).
    pub smtp_utf8: bool,
    /// TLS can be had (RFC 3207).
    pub start_tls: bool,
}

impl Extensions {
    /// Reads the reply to EHLO or LHLO; what is not known here is ignored.
    #[must_use]
    pub fn of(reply: &Reply) -> Self {
        let mut extensions = Self::default();
        // The first line is the server's name.
        for line in reply.lines().skip(1) {
            let line = text::clean(line);
            // Some old servers write `AUTH=LOGIN`.
            let mut words = line.split([' ', '=']).filter(|word| !word.is_empty());
            let keyword = words.next().unwrap_or_default().to_ascii_uppercase();
            match keyword.as_str() {
                "8BITMIME" => extensions.eight_bit_mime = true,
                "AUTH" => {
                    for mechanism in words.map(str::to_ascii_uppercase) {
                        if !extensions.auth.contains(&mechanism) {
                            extensions.auth.push(mechanism);
                        }
                    }
                }
                "PIPELINING" => extensions.pipelining = true,
                "SIZE" => {
                    extensions.size = true;
                    // Zero says that there is no limit (RFC 1870 §4).
                    let limit = words.next().and_then(|word| word.parse().ok());
                    extensions.size_limit = limit.filter(|limit| *limit > 0);
                }
                "SMTPUTF8" => extensions.smtp_utf8 = true,
                "STARTTLS" => extensions.start_tls = true,
                _ => {}
            }
        }
        extensions
    }
}
