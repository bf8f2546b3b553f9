#![allow(
    dead_code,
    reason = "two test binaries share this, and neither uses all of it"
)]
//! An ssh-agent that does what real ones rarely do (draft-miller-ssh-agent): it holds keys that
//! nobody knows, keys on a device, and signs in old ways.

use std::path::{Path, PathBuf};

use russh::keys::PrivateKey;
use russh::keys::signature::Signer;
use russh::keys::ssh_key::private::KeypairData;
use russh::keys::ssh_key::sha2::{Digest, Sha256};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{UnixListener, UnixStream};

/// A key that the agent holds.
#[derive(Clone)]
pub(crate) enum Held {
    /// An Ed25519 key.
    Ed25519(PrivateKey),
    /// The same in a device that somebody has touched (PROTOCOL.u2f).
    OnDevice(PrivateKey),
    /// An RSA key, by an agent from before RFC 8332.
    OldRsa(PrivateKey),
    /// A key of a kind that does not exist.
    Unknown,
}

/// Starts an agent in a directory; returns its socket.
pub(crate) fn start(directory: &Path, keys: Vec<Held>) -> PathBuf {
    let socket = directory.join("fake-agent");
    let listener = UnixListener::bind(&socket).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            tokio::spawn(serve(stream, keys.clone()));
        }
    });
    socket
}

async fn serve(mut stream: UnixStream, keys: Vec<Held>) {
    while let Ok(length) = stream.read_u32().await {
        let mut request = vec![0; length as usize];
        stream.read_exact(&mut request).await.unwrap();
        let answer = match request.split_first() {
            Some((11, _)) => {
                let mut answer = vec![12];
                answer.extend(u32::try_from(keys.len()).unwrap().to_be_bytes());
                for key in &keys {
                    put(&mut answer, &key.blob());
                    put(&mut answer, b"comment");
                }
                answer
            }
            Some((13, mut rest)) => {
                let (blob, data) = (take(&mut rest), take(&mut rest));
                let key = keys.iter().find(|key| key.blob() == blob).unwrap();
                let mut answer = vec![14];
                put(&mut answer, &key.sign(data));
                answer
            }
            // No extensions.
            _ => vec![5],
        };
        let mut message = Vec::new();
        put(&mut message, &answer);
        stream.write_all(&message).await.unwrap();
    }
}

impl Held {
    /// The public key as the protocol has it.
    pub(crate) fn blob(&self) -> Vec<u8> {
        match self {
            Self::Ed25519(key) | Self::OldRsa(key) => key.public_key().to_bytes().unwrap(),
            Self::OnDevice(key) => {
                let KeypairData::Ed25519(pair) = key.key_data() else {
                    panic!("devices hold Ed25519 keys here")
                };
                let mut blob = Vec::new();
                put(&mut blob, b"sk-ssh-ed25519@openssh.com");
                put(&mut blob, pair.public.as_ref());
                put(&mut blob, APPLICATION);
                blob
            }
            Self::Unknown => {
                let mut blob = Vec::new();
                put(&mut blob, b"ssh-unheard-of");
                put(&mut blob, b"nonsense");
                blob
            }
        }
    }

    fn sign(&self, data: &[u8]) -> Vec<u8> {
        let mut signature = Vec::new();
        match self {
            Self::Ed25519(key) => {
                put(&mut signature, b"ssh-ed25519");
                put(&mut signature, key.try_sign(data).unwrap().as_bytes());
            }
            Self::OnDevice(key) => {
                // Somebody touched it, and it was used once before.
                let (flags, counter) = (1_u8, 1_u32.to_be_bytes());
                let mut signed = Sha256::digest(APPLICATION).to_vec();
                signed.push(flags);
                signed.extend(counter);
                signed.extend(Sha256::digest(data));
                put(&mut signature, b"sk-ssh-ed25519@openssh.com");
                put(&mut signature, key.try_sign(&signed).unwrap().as_bytes());
                signature.push(flags);
                signature.extend(counter);
            }
            Self::OldRsa(_) => {
                put(&mut signature, b"ssh-rsa");
                put(&mut signature, &[0; 256]);
            }
            Self::Unknown => panic!("nobody can have wanted a signature with this"),
        }
        signature
    }
}

fn put(message: &mut Vec<u8>, string: &[u8]) {
    message.extend(u32::try_from(string.len()).unwrap().to_be_bytes());
    message.extend(string);
}

fn take<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let (length, after) = rest.split_first_chunk().unwrap();
    let (string, after) = after.split_at(u32::from_be_bytes(*length) as usize);
    *rest = after;
    string
}

const APPLICATION: &[u8] = b"ssh:";
