//! The server's side of SASL (RFC 4422) and APOP, written from the RFCs and apart from the client.

use data_encoding::{BASE64, HEXLOWER};
use hmac::{Hmac, KeyInit, Mac};
use md5::{Digest, Md5};
use sha1::Sha1;
use sha2::Sha256;

/// What an exchange comes to next.
#[derive(Debug, Eq, PartialEq)]
pub(crate) enum Next {
    /// The client is to answer this.
    Challenge(Vec<u8>),
    /// The client is this user.
    Accept(String),
    /// With the words that follow `-ERR`.
    Refuse(&'static str),
}

/// What a server knows of its users, as far as an exchange needs it.
pub(crate) trait Users {
    /// The password, or the token.
    fn password(&self, user: &str) -> Option<String>;
    /// Whether a mechanism is offered.
    fn offers(&self, mechanism: &str) -> bool;
    /// What names the TLS connection, by type.
    fn binding(&self, kind: &str) -> Option<Vec<u8>>;
}

/// One exchange.
#[derive(Debug)]
pub(crate) struct Exchange {
    mechanism: String,
    state: State,
}

#[derive(Debug)]
enum State {
    Start,
    /// LOGIN has its name.
    Named(String),
    /// SCRAM has its first message.
    Scram(Scram),
    /// SCRAM's signature, or the reason against a token, awaits a response of no matter.
    Last(Next),
}

#[derive(Debug)]
struct Scram {
    user: String,
    gs2_header: String,
    binding: Vec<u8>,
    client_first_bare: String,
    server_first: String,
    nonce: String,
}

impl Exchange {
    /// Begins with AUTH's arguments.
    pub(crate) fn begin(argument: &str, users: &dyn Users) -> (Self, Next) {
        let (mechanism, initial) = match argument.split_once(' ') {
            Some((mechanism, initial)) => (mechanism, Some(initial)),
            None => (argument, None),
        };
        let mechanism = mechanism.to_uppercase();
        let mut exchange = Self {
            mechanism,
            state: State::Start,
        };
        if !users.offers(&exchange.mechanism) {
            return (exchange, Next::Refuse("unsupported mechanism"));
        }
        let next = match (exchange.mechanism.as_str(), initial) {
            ("LOGIN", None) => Next::Challenge(b"Username:".to_vec()),
            ("CRAM-MD5", None) => Next::Challenge(CHALLENGE.into()),
            ("LOGIN" | "CRAM-MD5", Some(_)) => Next::Refuse("no initial response here"),
            (_, None) => Next::Challenge(Vec::new()),
            (_, Some("=")) => exchange.respond(b"", users),
            (_, Some(initial)) => exchange.receive(initial, users),
        };
        (exchange, next)
    }

    /// Takes a response as it was sent.
    pub(crate) fn receive(&mut self, line: &str, users: &dyn Users) -> Next {
        if line == "*" {
            return Next::Refuse("cancelled");
        }
        match BASE64.decode(line.as_bytes()) {
            Ok(response) => self.respond(&response, users),
            Err(_) => Next::Refuse("not base64"),
        }
    }

    fn respond(&mut self, response: &[u8], users: &dyn Users) -> Next {
        let Ok(text) = std::str::from_utf8(response) else {
            return Next::Refuse("not UTF-8");
        };
        let state = std::mem::replace(&mut self.state, State::Start);
        match (self.mechanism.as_str(), state) {
            (_, State::Last(next)) => next,
            ("PLAIN", _) => match *text.split('\0').collect::<Vec<_>>() {
                ["", user, password] => check(users, user, password),
                _ => Next::Refuse("not PLAIN"),
            },
            ("LOGIN", State::Start) => {
                self.state = State::Named(text.to_owned());
                Next::Challenge(b"Password:".to_vec())
            }
            ("LOGIN", State::Named(user)) => check(users, &user, text),
            ("CRAM-MD5", _) => cram_md5(users, text),
            ("EXTERNAL", _) => match users.password(text) {
                Some(_) => Next::Accept(text.to_owned()),
                None => Next::Refuse(WRONG),
            },
            ("XOAUTH2", _) => {
                let fields: Vec<_> = text.split('\x01').collect();
                self.token(users, &fields, |field| field.strip_prefix("user="), "")
            }
            ("OAUTHBEARER", _) => {
                let fields: Vec<_> = text.split('\x01').collect();
                self.token(
                    users,
                    &fields,
                    |field| field.strip_prefix("n,a=")?.strip_suffix(','),
                    "host=",
                )
            }
            (name, State::Start) if name.starts_with("SCRAM-") => self.scram_first(users, text),
            (name, State::Scram(scram)) if name.starts_with("SCRAM-") => {
                self.scram_final(users, &scram, text)
            }
            _ => Next::Refuse("out of order"),
        }
    }

    /// XOAUTH2 and OAUTHBEARER; the second field begins with `second`.
    fn token(
        &mut self,
        users: &dyn Users,
        fields: &[&str],
        user: impl Fn(&str) -> Option<&str>,
        second: &str,
    ) -> Next {
        let (Some(user), [.., bearer, "", ""]) = (user(fields[0]), fields) else {
            return Next::Refuse("malformed");
        };
        let Some(token) = bearer.strip_prefix("auth=Bearer ") else {
            return Next::Refuse("no token");
        };
        if !fields[1].starts_with(second) {
            return Next::Refuse("malformed");
        }
        match check(users, user, token) {
            Next::Refuse(reason) => {
                self.state = State::Last(Next::Refuse(reason));
                Next::Challenge(TOKEN_REFUSED.into())
            }
            next => next,
        }
    }

    fn scram_first(&mut self, users: &dyn Users, text: &str) -> Next {
        let mut parts = text.splitn(3, ',');
        let (Some(flag), Some(""), Some(bare)) = (parts.next(), parts.next(), parts.next()) else {
            return Next::Refuse("malformed");
        };
        let is_plus = self.mechanism.ends_with("-PLUS");
        let binding = match (flag, is_plus) {
            ("n", false) => Vec::new(),
            ("y", false) if users.offers(&format!("{}-PLUS", self.mechanism)) => {
                return Next::Refuse("somebody took -PLUS out of the list");
            }
            ("y", false) => Vec::new(),
            (flag, true) => {
                let kind = flag.strip_prefix("p=").unwrap_or_default();
                match users.binding(kind) {
                    Some(binding) => binding,
                    None => return Next::Challenge(b"e=unsupported-channel-binding-type".into()),
                }
            }
            _ => return Next::Refuse("malformed"),
        };
        let Some((user, nonce)) = bare
            .strip_prefix("n=")
            .and_then(|rest| rest.split_once(",r="))
        else {
            return Next::Refuse("malformed");
        };
        let nonce = format!("{nonce}3rfcNHYJY1ZVvWVs7j");
        let server_first = format!("r={nonce},s={},i=4096", BASE64.encode(SALT));
        self.state = State::Scram(Scram {
            user: user.replace("=2C", ",").replace("=3D", "="),
            gs2_header: format!("{flag},,"),
            binding,
            client_first_bare: bare.to_owned(),
            server_first: server_first.clone(),
            nonce,
        });
        Next::Challenge(server_first.into())
    }

    fn scram_final(&mut self, users: &dyn Users, scram: &Scram, text: &str) -> Next {
        let Some((without_proof, proof)) = text.rsplit_once(",p=") else {
            return Next::Refuse("malformed");
        };
        let channel = [scram.gs2_header.as_bytes(), &scram.binding].concat();
        let expected = format!("c={},r={}", BASE64.encode(&channel), scram.nonce);
        if without_proof != expected {
            return Next::Refuse("[AUTH] channel bindings do not match");
        }
        let Some(password) = users.password(&scram.user) else {
            return Next::Refuse(WRONG);
        };
        let Scram {
            client_first_bare,
            server_first,
            ..
        } = scram;
        let message = format!("{client_first_bare},{server_first},{without_proof}");
        let is_sha1 = self.mechanism.starts_with("SCRAM-SHA-1");
        let (proof_expected, signature) = if is_sha1 {
            let mut salted = [0; 20];
            pbkdf2::pbkdf2_hmac::<Sha1>(password.as_bytes(), SALT, 4096, &mut salted);
            proofs(&salted, &message, mac::<Hmac<Sha1>>, |key| {
                Sha1::digest(key).to_vec()
            })
        } else {
            let mut salted = [0; 32];
            pbkdf2::pbkdf2_hmac::<Sha256>(password.as_bytes(), SALT, 4096, &mut salted);
            proofs(&salted, &message, mac::<Hmac<Sha256>>, |key| {
                Sha256::digest(key).to_vec()
            })
        };
        if BASE64.encode(&proof_expected) != proof {
            return Next::Refuse(WRONG);
        }
        self.state = State::Last(Next::Accept(scram.user.clone()));
        Next::Challenge(format!("v={}", BASE64.encode(&signature)).into_bytes())
    }
}

/// The client's proof and the server's signature (RFC 5802 §3).
fn proofs(
    salted: &[u8],
    message: &str,
    mac: impl Fn(&[u8], &[u8]) -> Vec<u8>,
    hash: impl Fn(&[u8]) -> Vec<u8>,
) -> (Vec<u8>, Vec<u8>) {
    let client_key = mac(salted, b"Client Key");
    let client_signature = mac(&hash(&client_key), message.as_bytes());
    let proof = client_key.iter().zip(&client_signature);
    let server_key = mac(salted, b"Server Key");
    (
        proof.map(|(a, b)| a ^ b).collect(),
        mac(&server_key, message.as_bytes()),
    )
}

fn mac<M: Mac + KeyInit>(key: &[u8], message: &[u8]) -> Vec<u8> {
    let mut mac = <M as KeyInit>::new_from_slice(key).expect("HMAC takes a key of any length");
    mac.update(message);
    mac.finalize().into_bytes().to_vec()
}

fn check(users: &dyn Users, user: &str, password: &str) -> Next {
    match users.password(user) {
        Some(expected) if expected == password => Next::Accept(user.to_owned()),
        _ => Next::Refuse(WRONG),
    }
}

fn cram_md5(users: &dyn Users, text: &str) -> Next {
    let Some((user, digest)) = text.rsplit_once(' ') else {
        return Next::Refuse("malformed");
    };
    let expected = users.password(user).map(|password| {
        let digest = mac::<Hmac<Md5>>(password.as_bytes(), CHALLENGE.as_bytes());
        HEXLOWER.encode(&digest)
    });
    if expected.as_deref() == Some(digest) {
        Next::Accept(user.to_owned())
    } else {
        Next::Refuse(WRONG)
    }
}

/// Checks APOP's arguments, and returns the user.
pub(crate) fn apop(argument: &str, users: &dyn Users) -> Option<String> {
    let (user, digest) = argument.rsplit_once(' ')?;
    let password = users.password(user)?;
    let expected = Md5::digest(format!("{CHALLENGE}{password}"));
    (HEXLOWER.encode(&expected) == digest).then(|| user.to_owned())
}

/// The challenge of CRAM-MD5 and of APOP, from RFC 2195 §2.
pub(crate) const CHALLENGE: &str = "<1896.697170952@postoffice.reston.mci.net>";
const SALT: &[u8] = b"a grain of salt";
const TOKEN_REFUSED: &str = r#"{"status":"401","schemes":"bearer","scope":"mail"}"#;
/// The words after `-ERR` for a wrong password.
const WRONG: &str = "[AUTH] authentication failed";
