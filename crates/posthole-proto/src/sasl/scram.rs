//! SCRAM (RFC 5802 and 7677): both sides prove that they know the password, and neither shows it.
//!
//! What makes it worth having is what the client refuses: a nonce that does not continue its own
//! is a recording; few iterations make a stolen exchange cheap to search, and many are a way to
//! keep us busy; and a server whose signature is wrong, or missing, does not know the password. In
//! the `-PLUS` variants the exchange names the TLS connection it runs over, so that nobody can
//! stand in the middle and pass it on.

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::String;
use alloc::vec::Vec;

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use secrecy::zeroize::Zeroizing;
use secrecy::{ExposeSecret, SecretSlice, SecretString};
use sha1::Sha1;
use sha2::{Digest, Sha256};

use super::prepare::saslprep;
use super::{Exchange, Failure, join};
use crate::text;

/// The hash function of a SCRAM mechanism.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum Hash {
    /// SHA-1 (RFC 5802).
    Sha1,
    /// SHA-256 (RFC 7677).
    Sha256,
}

/// What names the TLS connection below (RFC 5056).
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct ChannelBinding {
    /// Its type, such as `tls-exporter` (RFC 9266) or `tls-server-end-point` (RFC 5929 §4).
    pub kind: &'static str,
    /// Its data.
    pub data: Vec<u8>,
}

/// What the client says about channel binding (RFC 5802 §6).
#[derive(Clone, Debug, Eq, PartialEq)]
pub enum Binding {
    /// The client could, and believes that the server cannot; a server that can knows by this
    /// that somebody took `-PLUS` out of its list.
    NotOffered,
    /// The client cannot.
    Unsupported,
    /// The exchange is bound to the connection; for the `-PLUS` mechanisms.
    Used(ChannelBinding),
}

/// A SCRAM exchange.
///
/// ```text
/// C: gs2-header "n=" user ",r=" nonce
/// S: "r=" nonce server-nonce ",s=" salt ",i=" iterations
/// C: "c=" base64(gs2-header binding) ",r=" nonce server-nonce ",p=" proof
/// S: "v=" signature  /  "e=" error
/// ```
pub struct Scram {
    hash: Hash,
    password: SecretString,
    /// Base64 of the header and the binding data.
    channel: String,
    gs2_header: String,
    nonce: String,
    client_first_bare: String,
    state: State,
}

enum State {
    /// The server's first message is awaited.
    First,
    /// The proof is sent, and the server's signature awaited.
    Signature {
        server_key: Zeroizing<Vec<u8>>,
        auth_message: String,
    },
    /// The server has shown that it knows the password.
    Proven,
}

impl Scram {
    /// Logs in as this user, with a nonce that was never used before.
    ///
    /// # Errors
    /// When the user name is empty or has a NUL in it.
    ///
    /// # Panics
    /// When the nonce is not printable ASCII without a comma, which is the caller's to ensure.
    pub fn new(
        hash: Hash,
        user: &str,
        password: &SecretString,
        nonce: &str,
        binding: &Binding,
    ) -> Result<Self, Failure> {
        assert!(
            !nonce.is_empty() && nonce.bytes().all(is_nonce_octet),
            "a nonce is printable"
        );
        let user = saslprep(user);
        if user.is_empty() || user.contains('\0') {
            return Err(Failure::Credentials { what: "user name" });
        }
        let user = user.replace('=', "=3D").replace(',', "=2C");
        let (gs2_header, data) = match binding {
            Binding::NotOffered => ("y,,".to_owned(), &[][..]),
            Binding::Unsupported => ("n,,".to_owned(), &[][..]),
            Binding::Used(binding) => (format!("p={},,", binding.kind), &binding.data[..]),
        };
        Ok(Self {
            hash,
            password: password.clone(),
            channel: BASE64.encode(&[gs2_header.as_bytes(), data].concat()),
            gs2_header,
            nonce: nonce.to_owned(),
            client_first_bare: format!("n={user},r={nonce}"),
            state: State::First,
        })
    }

    /// Answers the server's first message with the proof.
    fn prove(&self, challenge: &[u8]) -> Result<(SecretSlice<u8>, State), Failure> {
        server_error(challenge)?;
        let challenge =
            core::str::from_utf8(challenge).map_err(|_| Failure::Malformed { what: "text" })?;
        let ServerFirst {
            nonce,
            salt,
            iterations,
        } = ServerFirst::parse(challenge)?;
        if !nonce.starts_with(&self.nonce) || nonce.len() == self.nonce.len() {
            return Err(Failure::Nonce);
        }

        let prepared = saslprep(self.password.expose_secret());
        let salted = self.hash.salted(prepared.as_bytes(), &salt, iterations);
        if let alloc::borrow::Cow::Owned(mut prepared) = prepared {
            secrecy::zeroize::Zeroize::zeroize(&mut prepared);
        }
        let client_final = format!("c={},r={nonce}", self.channel);
        let auth_message = format!("{},{challenge},{client_final}", self.client_first_bare);
        let client_key = self.hash.mac(&salted, b"Client Key");
        let stored_key = self.hash.digest(&client_key);
        let signature = self.hash.mac(&stored_key, auth_message.as_bytes());
        let proof: Zeroizing<Vec<u8>> = Zeroizing::new(
            client_key
                .iter()
                .zip(signature.iter())
                .map(|(key, signature)| key ^ signature)
                .collect(),
        );
        let proof = Zeroizing::new(BASE64.encode(&proof));
        let response = join(&[client_final.as_bytes(), b",p=", proof.as_bytes()]);
        let state = State::Signature {
            server_key: self.hash.mac(&salted, b"Server Key"),
            auth_message,
        };
        Ok((response, state))
    }
}

impl Exchange for Scram {
    fn initial_response(&mut self) -> Result<Option<SecretSlice<u8>>, Failure> {
        let (header, bare) = (&self.gs2_header, &self.client_first_bare);
        Ok(Some(join(&[header.as_bytes(), bare.as_bytes()])))
    }

    fn respond(&mut self, challenge: &[u8]) -> Result<SecretSlice<u8>, Failure> {
        match &self.state {
            State::First => {
                let (response, state) = self.prove(challenge)?;
                self.state = state;
                Ok(response)
            }
            State::Signature {
                server_key,
                auth_message,
            } => {
                let signature = server_final(challenge)?;
                if !self
                    .hash
                    .verifies(server_key, auth_message.as_bytes(), &signature)
                {
                    return Err(Failure::Signature);
                }
                self.state = State::Proven;
                Ok(SecretSlice::default())
            }
            State::Proven => Err(Failure::Unexpected),
        }
    }

    fn succeeded(&self) -> Result<(), Failure> {
        match self.state {
            State::Proven => Ok(()),
            State::First | State::Signature { .. } => Err(Failure::Unproven),
        }
    }

    fn has_used_secret(&self) -> bool {
        !matches!(self.state, State::First)
    }
}

/// The server's first message.
struct ServerFirst<'a> {
    nonce: &'a str,
    salt: Vec<u8>,
    iterations: u32,
}

impl<'a> ServerFirst<'a> {
    /// Reads `r=nonce,s=salt,i=iterations`, and whatever optional extensions follow.
    fn parse(message: &'a str) -> Result<Self, Failure> {
        let mut attributes = message.split(',');
        let mut attribute = |name: &str, what| {
            let found = attributes.next().unwrap_or_default();
            if found.starts_with("m=") {
                return Err(Failure::Extension);
            }
            found
                .strip_prefix(name)
                .filter(|value| !value.is_empty())
                .ok_or(Failure::Malformed { what })
        };
        let nonce = attribute("r=", "nonce")?;
        if !nonce.bytes().all(is_nonce_octet) {
            return Err(Failure::Malformed { what: "nonce" });
        }
        let salt = BASE64
            .decode(attribute("s=", "salt")?.as_bytes())
            .map_err(|_| Failure::Malformed { what: "salt" })?;
        let count = attribute("i=", "iteration count")?;
        if !count.bytes().all(|octet| octet.is_ascii_digit()) {
            let what = "iteration count";
            return Err(Failure::Malformed { what });
        }
        // What does not fit is too much in any case.
        let count = count.parse().unwrap_or(u64::MAX);
        match u32::try_from(count) {
            Ok(iterations) if (ITERATIONS_LEAST..=ITERATIONS_MOST).contains(&iterations) => {
                Ok(Self {
                    nonce,
                    salt,
                    iterations,
                })
            }
            _ => Err(Failure::Iterations {
                count,
                least: ITERATIONS_LEAST,
                most: ITERATIONS_MOST,
            }),
        }
    }
}

/// The signature in the server's final message.
fn server_final(message: &[u8]) -> Result<Vec<u8>, Failure> {
    let what = "signature";
    server_error(message)?;
    let first = message.split(|octet| *octet == b',').next();
    first
        .and_then(|first| first.strip_prefix(b"v="))
        .and_then(|signature| BASE64.decode(signature).ok())
        .ok_or(Failure::Malformed { what })
}

/// The server's reason to end the exchange, which it may give at any step of it.
fn server_error(message: &[u8]) -> Result<(), Failure> {
    match message.strip_prefix(b"e=") {
        Some(error) => Err(Failure::Server(text::excerpt(error))),
        None => Ok(()),
    }
}

impl Hash {
    /// `Hi` of RFC 5802 §2.2: PBKDF2.
    fn salted(self, password: &[u8], salt: &[u8], iterations: u32) -> Zeroizing<Vec<u8>> {
        let mut salted = Zeroizing::new(alloc::vec![0; self.size()]);
        match self {
            Self::Sha1 => pbkdf2::pbkdf2_hmac::<Sha1>(password, salt, iterations, &mut salted),
            Self::Sha256 => pbkdf2::pbkdf2_hmac::<Sha256>(password, salt, iterations, &mut salted),
        }
        salted
    }

    fn mac(self, key: &[u8], message: &[u8]) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(match self {
            Self::Sha1 => keyed::<Hmac<Sha1>>(key, message)
                .finalize()
                .into_bytes()
                .to_vec(),
            Self::Sha256 => keyed::<Hmac<Sha256>>(key, message)
                .finalize()
                .into_bytes()
                .to_vec(),
        })
    }

    /// Compares in constant time.
    fn verifies(self, key: &[u8], message: &[u8], signature: &[u8]) -> bool {
        let result = match self {
            Self::Sha1 => keyed::<Hmac<Sha1>>(key, message).verify_slice(signature),
            Self::Sha256 => keyed::<Hmac<Sha256>>(key, message).verify_slice(signature),
        };
        result.is_ok()
    }

    fn digest(self, octets: &[u8]) -> Zeroizing<Vec<u8>> {
        Zeroizing::new(match self {
            Self::Sha1 => Sha1::digest(octets).to_vec(),
            Self::Sha256 => Sha256::digest(octets).to_vec(),
        })
    }

    const fn size(self) -> usize {
        match self {
            Self::Sha1 => 20,
            Self::Sha256 => 32,
        }
    }
}

fn keyed<M: Mac + KeyInit>(key: &[u8], message: &[u8]) -> M {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(message);
    mac
}

/// `%x21-2B / %x2D-7E` (RFC 5802 §7).
const fn is_nonce_octet(octet: u8) -> bool {
    octet.is_ascii_graphic() && octet != b','
}

/// What RFC 5802 §5.1 asks of servers. A server that asks for less is badly set up, or wants to
/// search for the password afterwards.
const ITERATIONS_LEAST: u32 = 4096;

/// Some seconds of work; servers use a hundredth.
const ITERATIONS_MOST: u32 = 5_000_000;

#[cfg(test)]
mod tests;
