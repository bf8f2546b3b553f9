//! A password in a file.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::MetadataExt;
use std::path::Path;

use secrecy::SecretString;

use super::{LENGTH_LIMIT, NoPassword, SecretError, first_line, secret_buffer};

/// Reads the first line; blocks.
pub(super) fn read(path: &Path) -> Result<SecretString, SecretError> {
    let mut octets = secret_buffer();
    open_private(path)?
        .take(LENGTH_LIMIT as u64 + 1)
        .read_to_end(&mut octets)
        .map_err(|source| SecretError::FileUnreadable {
            path: path.to_owned(),
            source,
        })?;
    first_line(&octets).map_err(|problem| {
        let path = path.to_owned();
        match problem {
            NoPassword::Empty => SecretError::FileEmpty { path },
            NoPassword::NotUtf8 => SecretError::FileNotUtf8 { path },
            NoPassword::TooLong => SecretError::FileTooLong { path },
        }
    })
}

/// Opens a file that nobody else can read; blocks.
pub(super) fn open_private(path: &Path) -> Result<File, SecretError> {
    let unreadable = |source| SecretError::FileUnreadable {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(unreadable)?;
    let metadata = file.metadata().map_err(unreadable)?;
    let (mode, owner) = (metadata.mode() & 0o777, metadata.uid());
    if is_open_to_others(mode, owner, rustix::process::getuid().as_raw()) {
        return Err(SecretError::FileOpenToOthers {
            path: path.to_owned(),
            mode,
        });
    }
    Ok(file)
}

/// As ssh(1) judges private keys (`sshkey_perm_ok`): our own file must be ours alone. A file of
/// somebody else's, such as root's below /run/credentials or /run/secrets, has the mode that its
/// owner found right.
pub(crate) fn is_open_to_others(mode: u32, owner: u32, user: u32) -> bool {
    owner == user && mode & 0o077 != 0
}
