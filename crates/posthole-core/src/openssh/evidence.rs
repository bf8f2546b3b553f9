//! What lies about on this machine and decides what `ssh` would do.

use std::ffi::OsStr;
use std::fs::File;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use russh::keys::PrivateKey;

use super::run::{NotEnded, TIME_LIMIT, run};

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
    has_ticket_by("klist", cache, TIME_LIMIT)
}

fn has_ticket_by(klist: &str, cache: Option<&OsStr>, limit: Duration) -> bool {
    match run(OsStr::new(klist), &["-s".to_owned()], limit) {
        Ok(ended) => ended.status.success(),
        Err(NotEnded::Spawn(_)) => has_cache(cache),
        // Whatever it waits for, a login with the ticket would wait for as well.
        Err(NotEnded::TooLong | NotEnded::TimedOut { .. }) => false,
    }
}

/// The version of the `ssh` of `PATH`, major and minor; `None` if it is none of OpenSSH's.
pub(crate) fn version() -> Option<(u32, u32)> {
    let ended = run(OsStr::new("ssh"), &["-V".to_owned()], TIME_LIMIT).ok()?;
    parse_version(&String::from_utf8_lossy(&ended.stderr))
}

/// `OpenSSH_9.2p1 Debian-2+deb12u3, OpenSSL 3.0.15 3 Sep 2024`
fn parse_version(said: &str) -> Option<(u32, u32)> {
    let (major, rest) = said.strip_prefix("OpenSSH_")?.split_once('.')?;
    let end = rest.find(|c: char| !c.is_ascii_digit());
    let minor = &rest[..end.unwrap_or(rest.len())];
    Some((major.parse().ok()?, minor.parse().ok()?))
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

#[cfg(test)]
mod tests {
    use std::os::unix::fs::PermissionsExt;

    use super::*;

    #[test]
    fn a_klist_that_hangs_is_given_up() {
        let directory = tempfile::tempdir().unwrap();
        let klist = directory.path().join("klist");
        std::fs::write(&klist, "#!/bin/sh\nexec sleep 600\n").unwrap();
        std::fs::set_permissions(&klist, std::fs::Permissions::from_mode(0o755)).unwrap();
        let klist = klist.to_str().unwrap();
        let limit = Duration::from_millis(100);
        assert!(!has_ticket_by(klist, Some(OsStr::new("KEYRING:x")), limit));
    }

    #[test]
    fn the_version_of_openssh_is_read_and_no_other() {
        for (said, version) in [
            (
                "OpenSSH_9.2p1 Debian-2, OpenSSL 3.0.15 3 Sep 2024\n",
                Some((9, 2)),
            ),
            ("OpenSSH_10.0p2, LibreSSL 3.3.6", Some((10, 0))),
            ("OpenSSH_8.4", Some((8, 4))),
            ("Dropbear v2022.83", None),
            ("OpenSSH_for_Windows_8.1p1", None),
            ("", None),
        ] {
            assert_eq!(parse_version(said), version, "{said}");
        }
    }
}
