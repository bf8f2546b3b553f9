//! ECDSA keys on P-256 whose secret number is shorter than 32 octets.
//!
//! OpenSSH's format writes it as an `mpint` (RFC 4251 §5), without zeros before it, so one key in
//! 256 has fewer octets. ssh-key takes that for damage, and this is here until it no longer does:
//! it reads the same file (openssh-key-v1, OpenSSH's PROTOCOL.key) for keys of this kind alone.

use russh::keys::PrivateKey;
use russh::keys::signature::{Signer as _, Verifier as _};
use russh::keys::ssh_encoding::pem::PemLabel;
use russh::keys::ssh_encoding::{self, Decode, DecodePem as _, Reader};
use russh::keys::ssh_key::cipher::Tag;
use russh::keys::ssh_key::private::{EcdsaKeypair, EcdsaPrivateKey, KeypairData};
use russh::keys::ssh_key::public::{EcdsaPublicKey, KeyData};
use russh::keys::ssh_key::{Cipher, Comment, Error, Kdf};
use secrecy::zeroize::Zeroizing;

/// Whether this is what ssh-key says of such a key, among others.
pub(super) fn is_suspected(error: &russh::keys::Error) -> bool {
    use russh::keys::Error::SshKey;
    matches!(error, SshKey(Error::Encoding(ssh_encoding::Error::Length)))
}

/// Reads a key file; none if it holds another kind of key, is damaged, or the passphrase is wrong.
pub(super) fn decode(text: &str, passphrase: Option<&str>) -> Option<PrivateKey> {
    let container = Container::decode_pem(text).ok()?;
    let keys = container.decrypt(passphrase).ok()?;
    private_key(&keys, &container.public).ok()
}

/// What is in a file, before its encryption is taken off.
struct Container {
    cipher: Cipher,
    kdf: Kdf,
    public: KeyData,
    keys: Zeroizing<Vec<u8>>,
    /// What authenticates `keys`, with a cipher that does.
    tag: Option<Tag>,
}

impl PemLabel for Container {
    const PEM_LABEL: &'static str = PrivateKey::PEM_LABEL;
}

impl Decode for Container {
    type Error = Error;

    fn decode(reader: &mut impl Reader) -> Result<Self, Error> {
        let mut magic = [0; MAGIC.len()];
        reader.read(&mut magic)?;
        if magic != *MAGIC {
            return Err(Error::FormatEncoding);
        }
        let cipher = Cipher::decode(reader)?;
        let kdf = Kdf::decode(reader)?;
        if u32::decode(reader)? != 1 {
            return Err(Error::FormatEncoding);
        }
        let public = reader.read_prefixed(KeyData::decode)?;
        let keys = Zeroizing::new(Vec::decode(reader)?);
        let tag = if cipher.has_tag() {
            let mut tag = Tag::default();
            reader.read(&mut tag)?;
            Some(tag)
        } else {
            None
        };
        Ok(Self {
            cipher,
            kdf,
            public,
            keys,
            tag,
        })
    }
}

impl Container {
    fn decrypt(&self, passphrase: Option<&str>) -> Result<Zeroizing<Vec<u8>>, Error> {
        let mut keys = self.keys.clone();
        if self.cipher.is_some() {
            let passphrase = passphrase.ok_or(Error::Encrypted)?;
            let (key, iv) = self.kdf.derive_key_and_iv(self.cipher, passphrase)?;
            let iv = Zeroizing::new(iv);
            self.cipher.decrypt(&key, &iv, &mut keys, self.tag)?;
        }
        Ok(keys)
    }
}

/// Reads what was encrypted, which has to belong to the public key that was not.
fn private_key(mut octets: &[u8], public: &KeyData) -> Result<PrivateKey, Error> {
    let reader = &mut octets;
    // By these two a wrong passphrase shows.
    if u32::decode(reader)? != u32::decode(reader)? {
        return Err(Error::Crypto);
    }
    let inner = KeyData::decode(reader)?;
    if inner != *public {
        return Err(Error::PublicKey);
    }
    let KeyData::Ecdsa(EcdsaPublicKey::NistP256(point)) = inner else {
        return Err(Error::AlgorithmUnknown);
    };
    let pair = EcdsaKeypair::NistP256 {
        public: point,
        private: scalar(reader)?,
    };
    let comment = Comment::decode(reader)?;
    if !octets.iter().copied().eq((1..=255).take(octets.len())) {
        return Err(Error::FormatEncoding);
    }
    let key = PrivateKey::new(KeypairData::Ecdsa(pair), comment)?;
    // The public half is not computed from the private one, so both are tried on each other.
    let signature = key.try_sign(MAGIC).map_err(|_| Error::Crypto)?;
    public
        .verify(MAGIC, &signature)
        .map_err(|_| Error::PublicKey)?;
    Ok(key)
}

/// Reads an `mpint` as a number of 32 octets.
fn scalar(reader: &mut impl Reader) -> Result<EcdsaPrivateKey<SCALAR>, Error> {
    // A zero keeps a number with its highest bit set from being a negative one.
    let mut written = Zeroizing::new([0; SCALAR + 1]);
    let written = reader.read_byten(&mut *written)?;
    let digits = match written {
        [0, digits @ ..] => digits,
        [first, ..] if *first >= 0x80 => return Err(Error::FormatEncoding),
        digits => digits,
    };
    let start = SCALAR
        .checked_sub(digits.len())
        .ok_or(ssh_encoding::Error::Length)?;
    let mut padded = Zeroizing::new([0; SCALAR]);
    padded[start..].copy_from_slice(digits);
    Ok(EcdsaPrivateKey::from(*padded))
}

const MAGIC: &[u8; 15] = b"openssh-key-v1\0";

/// The octets of a number on P-256.
const SCALAR: usize = 32;

#[cfg(test)]
mod tests {
    use std::ops::Range;

    use posthole_testkit::keys::short_scalar::{AES256_CTR, AES256_GCM, OPEN, PASSPHRASE, PUBLIC};
    use posthole_testkit::keys::{self, KeyFormat, KeyType};
    use proptest::prelude::*;
    use proptest::sample::Index;
    use russh::keys::{PublicKey, decode_secret_key};

    use super::*;

    #[test]
    fn a_key_that_begins_with_a_zero_is_read() {
        let public = PublicKey::from_openssh(PUBLIC).unwrap();
        let locked = Some(PASSPHRASE);
        for (text, passphrase) in [(OPEN, None), (AES256_CTR, locked), (AES256_GCM, locked)] {
            // Once ssh-key reads it, this module can go.
            assert!(is_suspected(
                &decode_secret_key(text, passphrase).unwrap_err()
            ));
            let key = decode(text, passphrase).unwrap();
            assert_eq!(*key.public_key(), public);
            assert_eq!(key.key_data().ecdsa().unwrap().private_key_bytes()[0], 0);
        }
    }

    #[test]
    fn a_wrong_passphrase_opens_nothing_and_is_not_tried_twice() {
        for text in [AES256_CTR, AES256_GCM] {
            for wrong in ["", "correct horses"] {
                assert!(decode(text, Some(wrong)).is_none());
                assert!(!is_suspected(
                    &decode_secret_key(text, Some(wrong)).unwrap_err()
                ));
            }
            assert!(decode(text, None).is_none());
        }
    }

    #[test]
    fn check_numbers_and_padding_are_looked_at() {
        let Container { keys, public, .. } = Container::decode_pem(OPEN).unwrap();
        for (at, expected) in [(0, Error::Crypto), (keys.len() - 1, Error::FormatEncoding)] {
            let mut octets = keys.to_vec();
            octets[at] ^= 1;
            assert_eq!(private_key(&octets, &public).unwrap_err(), expected);
        }
    }

    #[test]
    fn a_key_of_full_length_is_read_alike_and_one_of_another_kind_is_not() {
        // Some have their highest bit set, some do not.
        for _ in 0..8 {
            let key = keys::generate(KeyType::EcdsaP256);
            let text = keys::encode(&key, KeyFormat::OpenSsh, None);
            // What is written here begins with its zero, if there is one.
            assert_eq!(decode(&text, None).unwrap().key_data(), key.key_data());
        }
        for key_type in [KeyType::EcdsaP384, KeyType::Ed25519] {
            let text = keys::encode(&keys::generate(key_type), KeyFormat::OpenSsh, None);
            assert!(decode(&text, None).is_none());
        }
    }

    #[test]
    fn a_private_half_of_another_key_is_refused() {
        let container = Container::decode_pem(OPEN).unwrap();
        let mut number = container.keys[number_of(&container.keys)].to_vec();
        number[30] ^= 1;
        let octets = with_number(&container.keys, &number);
        let error = private_key(&octets, &container.public).unwrap_err();
        assert!(matches!(error, Error::PublicKey), "{error}");

        let other = keys::generate(KeyType::EcdsaP256);
        let error = private_key(&container.keys, other.public_key().key_data()).unwrap_err();
        assert!(matches!(error, Error::PublicKey), "{error}");
    }

    /// Where the secret number of [`OPEN`] is.
    fn number_of(keys: &[u8]) -> Range<usize> {
        let comment = b"\0\0\0\x0cshort-scalar";
        let end = keys.windows(comment.len()).position(|w| w == comment);
        end.unwrap() - 31..end.unwrap()
    }

    fn with_number(keys: &[u8], number: &[u8]) -> Vec<u8> {
        let Range { start, end } = number_of(keys);
        let length = u32::try_from(number.len()).unwrap().to_be_bytes();
        [&keys[..start - 4], &length, number, &keys[end..]].concat()
    }

    fn damaged(octets: &[u8], changes: &[(Index, u8)], length: Option<Index>) -> Vec<u8> {
        let mut octets = octets.to_vec();
        for (at, octet) in changes {
            let at = at.index(octets.len());
            octets[at] = *octet;
        }
        if let Some(length) = length {
            octets.truncate(length.index(octets.len()));
        }
        octets
    }

    proptest! {
        #[test]
        fn damage_never_panics_and_never_makes_another_key(
            changes in prop::collection::vec(any::<(Index, u8)>(), 0..4),
            length: Option<Index>,
            number in prop::collection::vec(any::<u8>(), 0..40),
        ) {
            let whole = Container::decode_pem(OPEN).unwrap();
            let public = &whole.public;
            if let Ok(key) = private_key(&damaged(&whole.keys, &changes, length), public) {
                prop_assert_eq!(key.public_key().key_data(), public);
            }
            if let Ok(key) = private_key(&with_number(&whole.keys, &number), public) {
                prop_assert_eq!(key.public_key().key_data(), public);
            }
            let base64: String = OPEN.lines().filter(|line| !line.starts_with('-')).collect();
            let file = data_encoding::BASE64.decode(base64.as_bytes()).unwrap();
            if let Ok(container) = Container::decode(&mut &*damaged(&file, &changes, length)) {
                drop(container.decrypt(None));
                drop(private_key(&container.keys, &container.public));
            }
        }
    }
}
