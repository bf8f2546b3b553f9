//! What lies about on this machine and decides what `ssh` would do.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use russh::keys::PrivateKey;

/// Whether a private key file is for a key on a FIDO authenticator.
///
/// The part that says so is not encrypted.
pub(super) fn is_security_key(identity: &Path) -> Option<bool> {
    let mut text = String::new();
    let file = File::open(identity).ok()?;
    file.take(KEY_LIMIT).read_to_string(&mut text).ok()?;
    let is_openssh = text.contains(OPENSSH_HEADER);
    if !is_openssh {
        // No other format holds such keys.
        return text.contains("PRIVATE KEY-----").then_some(false);
    }
    let key = PrivateKey::from_openssh(&text).ok()?;
    Some(key.algorithm().as_str().starts_with("sk-"))
}

/// Whether there is a Kerberos ticket: by klist(1) where it is installed, and otherwise by the
/// look of it.
pub(super) fn has_kerberos_ticket(cache: Option<&OsStr>) -> bool {
    let klist = Command::new("klist")
        .arg("-s")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .status();
    match klist {
        Ok(status) => status.success(),
        Err(_) => has_cache(cache),
    }
}

/// Whether the credential cache of `KRB5CCNAME` is there; where it is not a file, it is taken on
/// trust (ccache types, krb5.conf(5)).
fn has_cache(cache: Option<&OsStr>) -> bool {
    let Some(cache) = cache.and_then(OsStr::to_str) else {
        let uid = rustix::process::getuid().as_raw();
        return PathBuf::from(format!("/tmp/krb5cc_{uid}")).exists();
    };
    match cache.split_once(':') {
        Some(("FILE" | "DIR", path)) => Path::new(path).exists(),
        Some((kind, _)) if !kind.contains('/') => true,
        _ => Path::new(cache).exists(),
    }
}

const OPENSSH_HEADER: &str = "-----BEGIN OPENSSH PRIVATE KEY-----";
/// Far more than a key takes.
const KEY_LIMIT: u64 = 64 << 10;
