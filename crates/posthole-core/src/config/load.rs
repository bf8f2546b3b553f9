//! Reading the configuration file: the only part of this stage that touches the disk.

use std::fmt;
use std::fs::File;
use std::io::{self, Read};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use super::{Config, Diagnostic, parse};

/// Reads a configuration file and notes who may read it.
///
/// # Errors
/// When it cannot be read, is not UTF-8 or is larger than any sensible configuration.
pub fn load(path: &Path) -> Result<Source, LoadError> {
    let read_error = |source| LoadError::Read {
        path: path.to_owned(),
        source,
    };
    let file = File::open(path).map_err(read_error)?;
    // The mode of what was opened, not of what stands at the path by now.
    let mode = file.metadata().map_err(read_error)?.mode();
    let mut bytes = Vec::new();
    file.take(SIZE_LIMIT + 1)
        .read_to_end(&mut bytes)
        .map_err(read_error)?;
    if bytes.len() as u64 > SIZE_LIMIT {
        return Err(LoadError::TooLarge {
            path: path.to_owned(),
        });
    }
    let text = String::from_utf8(bytes).map_err(|error| {
        let valid = &error.as_bytes()[..error.utf8_error().valid_up_to()];
        let line = 1 + valid.iter().filter(|byte| **byte == b'\n').count();
        LoadError::NotUtf8 {
            path: path.to_owned(),
            line,
        }
    })?;
    Ok(Source {
        path: path.to_owned(),
        text,
        mode,
    })
}

/// A configuration file's text, not yet understood.
#[derive(Clone, Eq, PartialEq)]
pub struct Source {
    /// Where it was read from.
    pub path: PathBuf,
    /// Its text, which may hold passwords: show only [`Config::redact`] of it.
    pub text: String,
    /// Its mode bits (inode(7)).
    pub mode: u32,
}

impl Source {
    /// Understands the text, and checks that nobody else can read a password in it.
    #[must_use]
    pub fn parse(&self) -> (Config, Vec<Diagnostic>) {
        let (config, mut diagnostics) = parse(&self.text);
        diagnostics.extend(check_permissions(self.mode, &config));
        (config, diagnostics)
    }
}

/// Leaves the text out, which may hold passwords.
impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            path,
            text: _,
            mode,
        } = self;
        f.debug_struct("Source")
            .field("path", path)
            .field("mode", mode)
            .finish_non_exhaustive()
    }
}

/// Refuses a file that holds a password and that its group or others may read.
#[must_use]
pub fn check_permissions(mode: u32, config: &Config) -> Option<Diagnostic> {
    let secret = config.first_secret()?;
    let readers = match (mode & 0o040 != 0, mode & 0o004 != 0) {
        (false, false) => return None,
        (true, false) => "its group",
        (_, true) => "everybody",
    };
    Some(
        Diagnostic::error(format!(
            "the file holds a password and {readers} can read it"
        ))
        .at(secret)
        .label("this password is not secret")
        .help(format!(
            "`chmod 600` the file (its mode is {:03o}), or keep the password elsewhere, such \
                 as password = {{ command = \"pass show mail\" }}",
            mode & 0o777
        )),
    )
}

/// Why a configuration file could not be read.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum LoadError {
    /// A byte sequence is not UTF-8, as TOML wants it.
    #[error("{} is not UTF-8 text: line {line} has a byte that does not belong there", path.display())]
    NotUtf8 {
        /// The file.
        path: PathBuf,
        /// The line of the first such byte.
        line: usize,
    },
    /// The system refused.
    #[error("cannot read the configuration file {}", path.display())]
    Read {
        /// The file.
        path: PathBuf,
        /// The system's reason.
        source: io::Error,
    },
    /// It is larger than any sensible configuration.
    #[error("{} is larger than {} MiB, too large for a configuration file", path.display(), SIZE_LIMIT >> 20)]
    TooLarge {
        /// The file.
        path: PathBuf,
    },
}

impl LoadError {
    /// Whether there is no such file, which is no mistake where none was named.
    #[must_use]
    pub fn is_not_found(&self) -> bool {
        matches!(self, Self::Read { source, .. } if source.kind() == io::ErrorKind::NotFound)
    }

    /// What to do about it.
    #[must_use]
    pub fn hint(&self) -> Option<&'static str> {
        match self {
            Self::NotUtf8 { .. } => Some("save the file as UTF-8"),
            Self::Read { .. } if self.is_not_found() => {
                Some("name another file with --config, or give the account as a URL")
            }
            Self::Read { .. } | Self::TooLarge { .. } => None,
        }
    }
}

/// Ten thousand accounts need about 3 MiB.
pub(crate) const SIZE_LIMIT: u64 = 16 << 20;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_that_is_too_large_is_no_configuration() {
        let file = tempfile::NamedTempFile::new().unwrap();
        file.as_file().set_len(16 << 20).unwrap();
        assert!(load(file.path()).is_ok());
        file.as_file().set_len((16 << 20) + 1).unwrap();
        let refused = load(file.path());
        assert!(matches!(refused, Err(LoadError::TooLarge { .. })));
    }
}
