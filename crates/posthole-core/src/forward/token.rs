//! Tokens: what a mail program logs in with instead of the password.
//!
//! A token is 160 random bits, good for one forward on this machine only. Stored is its SHA-256,
//! from which it cannot be had again; it is long enough that it needs no slower hash.

use std::io::Write;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use data_encoding::{BASE32_NOPAD, HEXLOWER};
use secrecy::{ExposeSecret, SecretString};
use sha2::{Digest, Sha256};
use subtle::ConstantTimeEq;

use super::error::ForwardError;
use crate::durable::{self, At};

/// Makes a token for a forward, and forgets the one before it.
///
/// # Errors
///
/// It could not be stored; the one before it is still good.
pub fn make_token(state_dir: &Path, forward: &str) -> Result<SecretString, ForwardError> {
    let mut random = [0; 20];
    getrandom::fill(&mut random)
        .map_err(std::io::Error::from)
        .at("read random octets for", Path::new("a token"))?;
    let token = SecretString::from(BASE32_NOPAD.encode(&random).to_ascii_lowercase());
    let path = path(state_dir, forward);
    let directory = path.parent().unwrap_or(state_dir);
    durable::create_dir(directory)?;
    let mut file = tempfile::Builder::new()
        .permissions(std::fs::Permissions::from_mode(0o600))
        .tempfile_in(directory)
        .at("write in", directory)?;
    let line = format!("sha256:{}\n", HEXLOWER.encode(&digest(&token)));
    file.write_all(line.as_bytes()).at("write", &path)?;
    file.as_file().sync_all().at("sync", &path)?;
    file.persist(&path)
        .map_err(|error| error.error)
        .at("write", &path)?;
    Ok(token)
}

/// Forgets the token of a forward; false if it had none.
///
/// # Errors
///
/// It could not be removed, and is still good.
pub fn revoke_token(state_dir: &Path, forward: &str) -> Result<bool, ForwardError> {
    let path = path(state_dir, forward);
    match std::fs::remove_file(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(false),
        removed => {
            removed.at("remove", &path)?;
            Ok(true)
        }
    }
}

/// What was stored of a forward's token; `None` if it has none.
///
/// Read for each login, so that a new token counts at once.
pub(super) fn stored(state_dir: &Path, forward: &str) -> Result<Option<Stored>, ForwardError> {
    let path = path(state_dir, forward);
    let text = match std::fs::read_to_string(&path) {
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        text => text.at("read", &path)?,
    };
    let digest = text.trim_end().strip_prefix("sha256:");
    let digest = digest.and_then(|digest| HEXLOWER.decode(digest.as_bytes()).ok());
    Ok(digest.and_then(|digest| digest.try_into().ok()).map(Stored))
}

/// What tells the token of a forward from others.
pub(super) struct Stored([u8; 32]);

impl Stored {
    /// Compares in a time that says nothing about how much of it is right.
    pub(super) fn is(&self, token: &SecretString) -> bool {
        digest(token).ct_eq(&self.0).into()
    }
}

fn digest(token: &SecretString) -> [u8; 32] {
    Sha256::digest(token.expose_secret().as_bytes()).into()
}

/// A name may have anything in it, slashes among it.
fn path(state_dir: &Path, forward: &str) -> PathBuf {
    let mut file = String::new();
    for byte in forward.bytes() {
        if byte.is_ascii_alphanumeric() || matches!(byte, b'-' | b'_') {
            file.push(char::from(byte));
        } else {
            file += &format!("%{byte:02x}");
        }
    }
    state_dir.join("tokens").join(file)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_good_until_the_next_and_is_not_what_is_stored() {
        let state = tempfile::tempdir().unwrap();
        let name = "../thunder bird";
        assert!(stored(state.path(), name).unwrap().is_none());
        let first = make_token(state.path(), name).unwrap();
        let known = stored(state.path(), name).unwrap().unwrap();
        assert!(known.is(&first));
        assert!(!known.is(&"".into()));
        let path = path(state.path(), name);
        assert_eq!(path.parent().unwrap(), state.path().join("tokens"));
        let text = std::fs::read_to_string(&path).unwrap();
        assert!(!text.contains(first.expose_secret()), "{text}");
        let mode = std::fs::metadata(&path).unwrap().permissions().mode();
        assert_eq!(mode & 0o777, 0o600);

        let second = make_token(state.path(), name).unwrap();
        let known = stored(state.path(), name).unwrap().unwrap();
        assert!(known.is(&second) && !known.is(&first));
        assert!(revoke_token(state.path(), name).unwrap());
        assert!(!revoke_token(state.path(), name).unwrap());
        assert!(stored(state.path(), name).unwrap().is_none());
        // What is damaged lets nobody in.
        std::fs::write(&path, "sha256:00\n").unwrap();
        assert!(stored(state.path(), name).unwrap().is_none());
    }
}
