//! The options about TLS.

use std::path::PathBuf;

use clap::{Args, ValueHint};
use posthole_core::config::{Pin, TlsWhen, parse_tls_name};
use posthole_core::plan::TlsOverrides;

use super::{given, path, value, with_help};

/// When to use TLS, and which certificates to take.
#[derive(Args, Debug)]
pub(super) struct TlsArgs {
    /// Start TLS on pop3:// with STLS: auto, required or never
    ///
    /// A server that is neither on this machine nor behind --via is spoken to with TLS in any
    /// case, unless --allow-plaintext says otherwise. pop3s:// is TLS from the start.
    #[arg(long, value_name = "WHEN", help_heading = "TLS", value_parser = value::<TlsWhen>)]
    tls: Option<TlsWhen>,

    /// Require the server's certificate to be for this name instead of the server's
    ///
    /// Behind an SSH host, the server that is called localhost there should have the SSH host's
    /// own name in its certificate.
    #[arg(long, value_name = "NAME", help_heading = "TLS", value_parser = name)]
    tls_name: Option<String>,

    /// Trust the authorities in this file and no others (can be repeated)
    #[arg(long, value_name = "FILE", help_heading = "TLS", value_parser = path)]
    #[arg(value_hint = ValueHint::FilePath)]
    tls_ca_file: Vec<PathBuf>,

    /// Take the certificate with this SHA-256 and no other (can be repeated)
    ///
    /// As `openssl x509 -noout -fingerprint -sha256` prints it, or sha256//… for a public key.
    /// Nothing else about the certificate counts then.
    #[arg(long, value_name = "AB:CD:…", help_heading = "TLS", value_parser = value::<Pin>)]
    tls_fingerprint: Vec<Pin>,

    /// Refuse certificates that are in this list of revoked ones (can be repeated)
    #[arg(long, value_name = "FILE", help_heading = "TLS", value_parser = path)]
    #[arg(value_hint = ValueHint::FilePath)]
    tls_crl_file: Vec<PathBuf>,

    /// Show this certificate to the server
    #[arg(long, value_name = "FILE", help_heading = "TLS", value_parser = path)]
    #[arg(value_hint = ValueHint::FilePath)]
    tls_certificate: Option<PathBuf>,

    /// Use this private key for --tls-certificate; without it, it is in the same file
    #[arg(long, value_name = "FILE", help_heading = "TLS", value_parser = path)]
    #[arg(value_hint = ValueHint::FilePath)]
    tls_key: Option<PathBuf>,
}

impl TlsArgs {
    /// What was said here and wins over the configuration file.
    pub(super) fn overrides(&self) -> TlsOverrides {
        TlsOverrides {
            when: self.tls,
            ca_file: given(&self.tls_ca_file),
            certificate: self.tls_certificate.clone(),
            crl_file: given(&self.tls_crl_file),
            fingerprint: given(&self.tls_fingerprint),
            key: self.tls_key.clone(),
            name: self.tls_name.clone(),
        }
    }
}

fn name(text: &str) -> Result<String, String> {
    parse_tls_name(text).map_err(with_help)
}
