//! What is said about TLS: when to use it, and which certificates to take.

use std::fmt;
use std::str::FromStr;

use data_encoding::{BASE64, HEXUPPER};

use super::ValueError;
use crate::config::did_you_mean;

/// When TLS is started on a connection that begins without it (STLS, RFC 2595 §4).
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TlsWhen {
    /// If the server offers it; always where a password would be exposed otherwise.
    Auto,
    /// Not at all.
    Never,
    /// Always.
    Required,
}

impl FromStr for TlsWhen {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        match text {
            "auto" => Ok(Self::Auto),
            "never" => Ok(Self::Never),
            "required" => Ok(Self::Required),
            other => {
                let error = ValueError::new("this does not say when to use TLS", 0..text.len());
                Err(match did_you_mean(other, WHEN) {
                    Some(near) => error.help(format!("did you mean `{near}`?")),
                    None => error.help("write `auto`, `required` or `never`"),
                })
            }
        }
    }
}

/// A certificate that is trusted whatever it says: it, or its public key, is known by its SHA-256.
///
/// The spellings are those of other programs: `AB:CD:…` as `openssl x509 -fingerprint -sha256`
/// prints it and mpop's `tls_fingerprint` takes it, and `sha256//…` as curl's `--pinnedpubkey`
/// takes it.
#[derive(Clone, Copy, Debug, Eq, Hash, PartialEq)]
pub enum Pin {
    /// The digest of a certificate.
    Certificate([u8; 32]),
    /// The digest of a public key with its algorithm (SubjectPublicKeyInfo, RFC 5280 §4.1.2.7),
    /// which a renewed certificate may keep.
    PublicKey([u8; 32]),
}

impl FromStr for Pin {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        if let Some(encoded) = text.strip_prefix(PUBLIC_KEY) {
            let digest = BASE64.decode(encoded.as_bytes()).ok();
            return match digest.and_then(|digest| digest.try_into().ok()) {
                Some(digest) => Ok(Self::PublicKey(digest)),
                None => Err(ValueError::new(
                    "the SHA-256 of a public key has 44 characters of base64",
                    PUBLIC_KEY.len()..text.len(),
                )),
            };
        }
        let digits = match text.get(..SHA256.len()) {
            Some(prefix) if prefix.eq_ignore_ascii_case(SHA256) => text[SHA256.len()..].trim(),
            _ => text,
        };
        hexadecimal(digits).map(Self::Certificate).ok_or_else(|| {
            ValueError::new("this is not the SHA-256 of a certificate", 0..text.len()).help(
                "write 32 pairs of hexadecimal digits, as `openssl x509 -noout -fingerprint \
                 -sha256` prints them, or sha256//… for a public key",
            )
        })
    }
}

impl fmt::Display for Pin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Certificate(digest) => {
                for (index, octet) in digest.iter().enumerate() {
                    let colon = if index == 0 { "" } else { ":" };
                    write!(f, "{colon}{octet:02X}")?;
                }
                Ok(())
            }
            Self::PublicKey(digest) => write!(f, "{PUBLIC_KEY}{}", BASE64.encode(digest)),
        }
    }
}

/// Reads 64 hexadecimal digits, with or without a colon between pairs.
fn hexadecimal(text: &str) -> Option<[u8; 32]> {
    let mut digits = text.to_ascii_uppercase();
    if digits.contains(':') {
        let pairs = digits.split(':');
        if !pairs.clone().all(|pair| pair.len() == 2) {
            return None;
        }
        digits = pairs.collect();
    }
    let digest = HEXUPPER.decode(digits.as_bytes()).ok()?;
    digest.try_into().ok()
}

const WHEN: &[&str] = &["auto", "never", "required"];
const PUBLIC_KEY: &str = "sha256//";
const SHA256: &str = "SHA256:";

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_fingerprint_is_read_in_every_spelling_and_shown_in_one() {
        let digest: [u8; 32] = std::array::from_fn(|index| (index * 7) as u8);
        let shown = Pin::Certificate(digest).to_string();
        assert!(shown.starts_with("00:07:0E:15:"), "{shown}");
        let plain = shown.replace(':', "");
        for spelling in [
            shown.clone(),
            shown.to_lowercase(),
            plain.clone(),
            plain.to_lowercase(),
            format!("SHA256:{shown}"),
            format!("sha256: {shown}"),
        ] {
            assert_eq!(spelling.parse(), Ok(Pin::Certificate(digest)), "{spelling}");
        }
        let key = Pin::PublicKey(digest);
        assert_eq!(key.to_string().parse(), Ok(key));
        assert!(key.to_string().starts_with("sha256//"), "{key}");
    }

    #[test]
    fn what_is_no_sha_256_is_refused() {
        let shown = Pin::Certificate([0xab; 32]).to_string();
        for wrong in [
            "",
            "AB:CD",
            &shown[..shown.len() - 3],
            &format!("{shown}:AB"),
            &shown.replacen("AB", "+B", 1),
            &shown.replacen("AB", "é", 1),
            &shown.replacen(':', "", 1),
            // Base64 as ssh-keygen prints it is of another kind of key.
            "SHA256:uNiVztksCsDhcc0u9e8BrQJTdXVU5+cLCWGdxYu4PPw",
            "sha256//uNiVztksCsDhcc0u9e8BrQJTdXVU5+cLCWGdxYu4PPw",
            // SHA-1 and MD5 are too short.
            &"ab".repeat(20),
            &"ab".repeat(16),
        ] {
            assert!(wrong.parse::<Pin>().is_err(), "{wrong}");
        }
    }
}
