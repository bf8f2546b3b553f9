//! TLS to the mail server, resolved: when it starts, and which certificate is taken.

use std::fmt;
use std::path::{Path, PathBuf};

pub use crate::config::Pin;

/// How TLS protects the stream to a mail server, whether that goes through SSH or not.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct Tls {
    /// When it starts.
    pub start: TlsStart,
    /// The name that the server's certificate must be for: that of the host which is really
    /// there, and so never `localhost` as an SSH host means it.
    pub name: String,
    /// Where that name is from.
    pub name_from: NameFrom,
    /// Who may have signed the server's certificate.
    pub authorities: Authorities,
    /// Certificates that are taken whatever they say; if there are any, no others are.
    pub pins: Vec<Pin>,
    /// Files with lists of revoked certificates (CRL, RFC 5280 §5).
    pub revocation_lists: Vec<PathBuf>,
    /// Our own certificate.
    pub identity: Option<TlsIdentity>,
}

impl Tls {
    /// A server that TLS is not spoken with.
    #[must_use]
    pub fn never(host: &str) -> Self {
        Self {
            start: TlsStart::Never,
            name: host.to_owned(),
            name_from: NameFrom::Server,
            authorities: Authorities::System(SystemStore::default()),
            pins: Vec::new(),
            revocation_lists: Vec::new(),
            identity: None,
        }
    }
}

/// When TLS starts.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum TlsStart {
    /// With the first octet: `pop3s://` (RFC 8314 §3.2).
    AtOnce,
    /// After STLS (RFC 2595 §4), if the server offers that.
    IfOffered,
    /// It does not.
    Never,
    /// After STLS, or the session ends before the login.
    Required,
}

/// Where the name is from that a certificate must be for.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub enum NameFrom {
    /// A person said it.
    Person,
    /// It is what the server is reached by.
    Server,
    /// It is the SSH host's, to which the server is `localhost`.
    SshHost,
}

/// Who may have signed the server's certificate.
#[derive(Clone, Debug, Eq, Hash, PartialEq)]
pub enum Authorities {
    /// Those in these files (PEM), and nobody else.
    Files(Vec<PathBuf>),
    /// Those whom this machine trusts.
    System(SystemStore),
}

/// Where the certificates that this machine trusts are.
///
/// With nothing said they are where the system keeps them.
#[derive(Clone, Debug, Default, Eq, Hash, PartialEq)]
pub struct SystemStore {
    /// `$SSL_CERT_FILE`.
    pub file: Option<PathBuf>,
    /// The directories of `$SSL_CERT_DIR`.
    pub directories: Vec<PathBuf>,
}

/// A certificate to show to the server.
#[derive(Clone, Debug, Eq, PartialEq)]
pub struct TlsIdentity {
    /// The file with the certificate, and those that lead to its authority (PEM).
    pub certificate: PathBuf,
    /// The file with its private key (PEM); it may be the same.
    pub key: PathBuf,
}

impl Tls {
    /// Whether nothing secret is sent without it.
    pub(crate) fn is_certain(&self) -> bool {
        matches!(self.start, TlsStart::AtOnce | TlsStart::Required)
    }

    /// Writes what `posthole check --plan` prints about it.
    pub(super) fn describe(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self {
            start,
            name,
            name_from,
            authorities,
            pins,
            revocation_lists,
            identity,
        } = self;
        let when = match start {
            TlsStart::AtOnce => "from the start",
            TlsStart::IfOffered => "after STLS, if the server offers it",
            TlsStart::Never => return writeln!(f, "  tls: never"),
            TlsStart::Required => "after STLS, or there is no login",
        };
        writeln!(f, "  tls: {when}")?;
        if pins.is_empty() {
            let whose = match name_from {
                NameFrom::Person | NameFrom::Server => "",
                NameFrom::SshHost => " (the SSH host)",
            };
            writeln!(
                f,
                "    certificate: for {name}{whose}, signed by {authorities}"
            )?;
            if !revocation_lists.is_empty() {
                writeln!(f, "    unless revoked in: {}", list(revocation_lists))?;
            }
        }
        for pin in pins {
            let what = match pin {
                Pin::Certificate(_) => "with the fingerprint",
                Pin::PublicKey(_) => "with the public key",
            };
            writeln!(f, "    certificate: {what} {pin}")?;
        }
        match identity {
            None => Ok(()),
            Some(TlsIdentity { certificate, key }) => writeln!(
                f,
                "    our certificate: {} with the key {}",
                certificate.display(),
                key.display()
            ),
        }
    }
}

impl fmt::Display for Authorities {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Files(files) => write!(f, "an authority in {}", list(files)),
            Self::System(store) => write!(f, "an authority {store}"),
        }
    }
}

impl fmt::Display for SystemStore {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let named: Vec<_> = self.file.iter().chain(&self.directories).collect();
        if named.is_empty() {
            f.write_str("that this machine trusts")
        } else {
            write!(f, "in {}", list(&named))
        }
    }
}

fn list(paths: &[impl AsRef<Path>]) -> String {
    let shown = paths.iter().map(|path| path.as_ref().display().to_string());
    shown.collect::<Vec<_>>().join(", ")
}
