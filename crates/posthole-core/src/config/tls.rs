//! The keys about TLS.

use std::path::PathBuf;

use super::name::check_host;
use super::section::{Entry, Reader};
use super::value::{Pin, TlsWhen, ValueError, parse_path};
use super::{Account, Diagnostic, Spanned};

/// What is said about TLS for one account or, in `[defaults]`, for all of them.
#[derive(Clone, Debug, Default)]
pub struct TlsOptions {
    /// When it is started.
    pub when: Option<Spanned<TlsWhen>>,
    /// Files with the authorities to trust instead of the system's.
    pub ca_file: Option<Vec<Spanned<PathBuf>>>,
    /// Our certificate.
    pub certificate: Option<Spanned<PathBuf>>,
    /// Files with lists of revoked certificates.
    pub crl_file: Option<Vec<Spanned<PathBuf>>>,
    /// Certificates that are trusted whatever they say; not in `[defaults]`.
    pub fingerprint: Option<Vec<Spanned<Pin>>>,
    /// The private key of our certificate.
    pub key: Option<Spanned<PathBuf>>,
    /// The name that the server's certificate must be for; not in `[defaults]`.
    pub name: Option<Spanned<String>>,
}

impl Reader<'_> {
    /// A key that stands in `[defaults]` as well as in an account; false if it is none.
    pub(super) fn tls_option(&mut self, entry: Entry<'_>, tls: &mut TlsOptions) -> bool {
        match entry.key {
            "tls" => tls.when = self.tls_when(entry),
            "tls-ca-file" => tls.ca_file = self.paths(entry),
            "tls-certificate" => tls.certificate = self.parsed_with(entry, parse_path),
            "tls-crl-file" => tls.crl_file = self.paths(entry),
            "tls-key" => tls.key = self.parsed_with(entry, parse_path),
            _ => return false,
        }
        true
    }

    /// A key that is about one server; false if it is none.
    pub(super) fn tls_account_option(&mut self, entry: Entry<'_>, tls: &mut TlsOptions) -> bool {
        match entry.key {
            "tls-fingerprint" => tls.fingerprint = self.list(entry, str::parse),
            "tls-name" => tls.name = self.parsed_with(entry, parse_tls_name),
            _ => return false,
        }
        true
    }

    fn tls_when(&mut self, entry: Entry<'_>) -> Option<Spanned<TlsWhen>> {
        if entry.value.get_ref().is_bool() {
            self.wrong_type(
                entry.key,
                entry.value,
                "\"auto\", \"required\" or \"never\"",
                Some("write \"required\" for STLS, or pop3s:// in `server` for TLS from the start"),
            );
            return None;
        }
        self.parsed(entry)
    }

    /// Warns of a port that speaks the other kind of POP3.
    pub(super) fn check_port(&mut self, account: &Account) {
        let Spanned {
            value: server,
            span,
        } = &account.server;
        let message = match (server.is_tls, server.port) {
            (false, Some(995)) => "port 995 usually speaks TLS from the start",
            (true, Some(110)) => "port 110 usually does not speak TLS from the start",
            _ => return,
        };
        let help = if server.is_tls {
            "write pop3:// and tls = \"required\" to start TLS with STLS there"
        } else {
            "write pop3s://"
        };
        self.note(Diagnostic::warning(message).at(span.clone()).help(help));
    }
}

/// Reads the name that a certificate must be for.
///
/// # Errors
/// When it is neither a host name nor an address.
pub fn parse_tls_name(text: &str) -> Result<String, ValueError> {
    let name = text.trim_end_matches('.');
    let wrong = |message: String| {
        ValueError::new(message, 0..text.len())
            .help("write a name that stands in the certificate, such as `mail.example.org`")
    };
    if name.parse::<std::net::IpAddr>().is_err() {
        check_host(name).map_err(wrong)?;
        rustls::pki_types::ServerName::try_from(name)
            .map_err(|_| wrong("no certificate can be for this name".to_owned()))?;
    }
    Ok(name.to_owned())
}
