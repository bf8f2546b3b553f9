//! Private keys whose encryption stands in headers (RFC 1421 §4.6.1), as OpenSSL wrote them before
//! PKCS#8, and as `ssh-keygen -m PEM` writes them to this day.
//!
//! The encryption is taken off here, and what is left is read as if it had never been there. It is
//! weak: the key is derived from the passphrase by MD5, once. People have such files all the same.

use aes::{Aes128, Aes192, Aes256};
use cbc::Decryptor;
use cbc::cipher::block_padding::Pkcs7;
use cbc::cipher::{BlockModeDecrypt, InvalidLength, KeyIvInit};
use data_encoding::{BASE64, HEXUPPER_PERMISSIVE};
use des::TdesEde3;
use secrecy::zeroize::{Zeroize, Zeroizing};

use super::super::text::clean;

/// An encrypted private key.
pub(super) struct Encrypted {
    /// What the key is, such as `EC PRIVATE KEY`.
    label: String,
    cipher: Cipher,
    iv: Vec<u8>,
    octets: Vec<u8>,
}

impl Encrypted {
    /// Reads a file; none if it is not encrypted in this way, an error that is for reading if
    /// nothing can be done about it.
    pub(super) fn parse(text: &str) -> Option<Result<Self, String>> {
        let mut lines = text.lines().map(str::trim_end);
        let label = lines.find_map(|line| line.strip_prefix("-----BEGIN ")?.strip_suffix("-----"));
        let label = label?.to_owned();
        let mut info = None;
        let mut base64 = String::new();
        for line in lines.take_while(|line| !line.starts_with("-----END ")) {
            if let Some(written) = line.strip_prefix("DEK-Info:") {
                info = Some(written.trim());
            } else if !line.contains(':') {
                base64.push_str(line.trim_start());
            }
        }
        let (name, iv) = info?.split_once(',').unwrap_or((info?, ""));
        Some(Self::decode(label, name, iv, &base64))
    }

    fn decode(label: String, name: &str, iv: &str, base64: &str) -> Result<Self, String> {
        if label == "DSA PRIVATE KEY" {
            return Err("is a DSA key, which no server takes any more".to_owned());
        }
        let Some(cipher) = Cipher::named(name) else {
            let name = clean(name, 40);
            return Err(format!("is encrypted with {name}, which is not known here"));
        };
        let iv = HEXUPPER_PERMISSIVE.decode(iv.trim().as_bytes());
        let octets = BASE64.decode(base64.as_bytes());
        match (iv, octets) {
            (Ok(iv), Ok(octets)) if iv.len() == cipher.block() => Ok(Self {
                label,
                cipher,
                iv,
                octets,
            }),
            _ => Err("is damaged".to_owned()),
        }
    }

    /// The file without its encryption; none if the passphrase is wrong, or now and then nonsense
    /// in that case.
    pub(super) fn decrypt(&self, passphrase: &str) -> Option<Zeroizing<String>> {
        let key = self.derive(passphrase);
        let mut buffer = Zeroizing::new(self.octets.clone());
        let iv = &self.iv;
        let plain = match self.cipher {
            Cipher::Aes128 => unwrap(Decryptor::<Aes128>::new_from_slices(&key, iv), &mut buffer),
            Cipher::Aes192 => unwrap(Decryptor::<Aes192>::new_from_slices(&key, iv), &mut buffer),
            Cipher::Aes256 => unwrap(Decryptor::<Aes256>::new_from_slices(&key, iv), &mut buffer),
            Cipher::Des3 => unwrap(
                Decryptor::<TdesEde3>::new_from_slices(&key, iv),
                &mut buffer,
            ),
        }?;
        let base64 = Zeroizing::new(BASE64.encode(plain));
        let label = &self.label;
        Some(Zeroizing::new(format!(
            "-----BEGIN {label}-----\n{}\n-----END {label}-----\n",
            base64.as_str()
        )))
    }

    /// As EVP_BytesToKey(3) with MD5, a count of one, and the start of the IV as salt.
    fn derive(&self, passphrase: &str) -> Zeroizing<Vec<u8>> {
        let length = self.cipher.key();
        let mut key = Zeroizing::new(Vec::with_capacity(length + 16));
        while key.len() < length {
            let mut context = md5::Context::new();
            if let Some(last) = key.len().checked_sub(16) {
                context.consume(&key[last..]);
            }
            context.consume(passphrase);
            context.consume(&self.iv[..SALT]);
            let mut digest = context.finalize();
            key.extend_from_slice(&digest.0);
            digest.0.zeroize();
        }
        key.truncate(length);
        key
    }
}

/// Decrypts in place, and takes off the padding, by which most wrong passphrases show.
fn unwrap<D: BlockModeDecrypt>(
    decryptor: Result<D, InvalidLength>,
    buffer: &mut [u8],
) -> Option<&[u8]> {
    decryptor.ok()?.decrypt_padded::<Pkcs7>(buffer).ok()
}

#[derive(Clone, Copy)]
enum Cipher {
    Aes128,
    Aes192,
    Aes256,
    Des3,
}

impl Cipher {
    fn named(name: &str) -> Option<Self> {
        match name.trim() {
            "AES-128-CBC" => Some(Self::Aes128),
            "AES-192-CBC" => Some(Self::Aes192),
            "AES-256-CBC" => Some(Self::Aes256),
            "DES-EDE3-CBC" => Some(Self::Des3),
            _ => None,
        }
    }

    fn key(self) -> usize {
        match self {
            Self::Aes128 => 16,
            Self::Aes192 | Self::Des3 => 24,
            Self::Aes256 => 32,
        }
    }

    fn block(self) -> usize {
        match self {
            Self::Aes128 | Self::Aes192 | Self::Aes256 => 16,
            Self::Des3 => 8,
        }
    }
}

/// PKCS#5 takes eight octets of salt.
const SALT: usize = 8;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_wrong_with_a_file_is_told() {
        let parse = |label: &str, info: &str, base64: &str| {
            let text = format!(
                "-----BEGIN {label} PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: {info}\n\n\
                 {base64}\n-----END {label} PRIVATE KEY-----\n"
            );
            Encrypted::parse(&text).map(|parsed| parsed.err().unwrap_or_default())
        };
        let iv = "00112233445566778899AABBCCDDEEFF";
        let table = [
            (parse("EC", &format!("AES-128-CBC,{iv}"), "AAAA"), ""),
            (parse("EC", "AES-128-CBC,0011", "AAAA"), "is damaged"),
            (parse("EC", &format!("AES-128-CBC,{iv}"), "?"), "is damaged"),
            (
                parse("RSA", "IDEA-CBC,00", "AAAA"),
                "is encrypted with IDEA-CBC, which is not known here",
            ),
            (
                parse("DSA", &format!("AES-128-CBC,{iv}"), "AAAA"),
                "is a DSA key, which no server takes any more",
            ),
        ];
        for (parsed, expected) in table {
            assert_eq!(parsed.as_deref(), Some(expected));
        }
        assert!(Encrypted::parse("-----BEGIN EC PRIVATE KEY-----\nAAAA\n").is_none());
        assert!(Encrypted::parse("").is_none());
    }
}
