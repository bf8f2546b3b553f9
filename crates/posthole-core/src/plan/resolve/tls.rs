//! What is written about TLS to what is done about it.

use std::path::PathBuf;

use super::{POP3_PORT, Resolver, Wanted, is_loopback};
use crate::config::{Diagnostic, Spanned, TlsOptions, TlsWhen};
use crate::plan::tls::{Authorities, NameFrom, SystemStore, Tls, TlsIdentity, TlsStart};
use crate::plan::{Hop, HostPort};

impl Resolver<'_> {
    /// How TLS protects an account's server, which is reached through these hops.
    pub(super) fn tls(
        &mut self,
        wanted: &Wanted<'_>,
        server: &HostPort,
        hops: &[Hop],
        allow_plaintext: bool,
    ) -> Option<Tls> {
        let empty = TlsOptions::default();
        let own = wanted.options.map_or(&empty, |options| &options.tls);
        let defaults = &self.config.defaults.tls;
        let flags = &self.overrides.tls;

        let exposed = hops.is_empty() && !allow_plaintext && !is_loopback(&server.host);
        let start = self.start(wanted, own, hops, exposed);
        let (name, name_from) = match (&flags.name, &own.name) {
            (Some(name), _) => (name.clone(), NameFrom::Person),
            (None, Some(name)) => (name.value.clone(), NameFrom::Person),
            (None, None) => real_name(&server.host, hops),
        };
        let pins = match (&flags.fingerprint, &own.fingerprint) {
            (Some(pins), _) => pins.clone(),
            (None, Some(pins)) => pins.iter().map(|pin| pin.value).collect(),
            (None, None) => Vec::new(),
        };
        let ca_files = own.ca_file.as_ref().or(defaults.ca_file.as_ref());
        let authorities = self.authorities(flags.ca_file.as_deref(), ca_files);
        let crl_files = own.crl_file.as_ref().or(defaults.crl_file.as_ref());
        let crl_files = self.tls_files(flags.crl_file.as_deref(), crl_files);
        let identity = self.tls_identity(own);
        Some(Tls {
            start,
            name,
            name_from,
            authorities: authorities?,
            pins,
            revocation_lists: crl_files?.unwrap_or_default(),
            identity: identity?,
        })
    }

    /// Who may have signed a certificate: whom these files name, or else whom this machine trusts.
    pub(super) fn authorities(
        &mut self,
        flag: Option<&[PathBuf]>,
        written: Option<&Vec<Spanned<PathBuf>>>,
    ) -> Option<Authorities> {
        Some(match self.tls_files(flag, written)? {
            Some(files) => Authorities::Files(files),
            None => Authorities::System(SystemStore {
                file: self.environment.var("SSL_CERT_FILE").map(PathBuf::from),
                directories: match self.environment.var("SSL_CERT_DIR") {
                    Some(directories) => std::env::split_paths(directories).collect(),
                    None => Vec::new(),
                },
            }),
        })
    }

    fn start(
        &mut self,
        wanted: &Wanted<'_>,
        own: &TlsOptions,
        hops: &[Hop],
        exposed: bool,
    ) -> TlsStart {
        let flag = self.overrides.tls.when;
        let written = own.when.as_ref();
        let when = flag.or_else(|| Some(written?.value)).or_else(|| {
            let default = self.config.defaults.tls.when.as_ref();
            default.map(|when| when.value)
        });
        if wanted.server.is_tls {
            // What [defaults] says is for servers that can do without.
            let own_when = flag.or_else(|| written.map(|when| when.value));
            if own_when == Some(TlsWhen::Never) {
                let mut diagnostic = Diagnostic::error(format!(
                    "`tls` is never, but the server of `{}` is pop3s://, which is TLS from the start",
                    wanted.name
                ))
                .help("write pop3:// for a server without TLS, or leave `tls` out");
                diagnostic.span = written
                    .filter(|_| flag.is_none())
                    .map(|when| when.span.clone());
                self.note(diagnostic);
            }
            return TlsStart::AtOnce;
        }
        let start = match when {
            Some(TlsWhen::Never) => return TlsStart::Never,
            Some(TlsWhen::Required) => TlsStart::Required,
            _ if exposed => TlsStart::Required,
            Some(TlsWhen::Auto) => TlsStart::IfOffered,
            // SSH is enough, and so is not to leave this machine; whoever allows plaintext still
            // gets the best that the server offers.
            None if hops.is_empty() && !is_loopback(&wanted.server.host) => TlsStart::IfOffered,
            None => TlsStart::Never,
        };
        if start == TlsStart::Never {
            self.check_unused(wanted, own);
        }
        start
    }

    /// Whoever says which certificate to take would think that TLS is used.
    fn check_unused(&mut self, wanted: &Wanted<'_>, own: &TlsOptions) {
        let flags = &self.overrides.tls;
        let given = [
            (
                "tls-ca-file",
                flags.ca_file.is_some(),
                span_of(&own.ca_file),
            ),
            (
                "tls-crl-file",
                flags.crl_file.is_some(),
                span_of(&own.crl_file),
            ),
            (
                "tls-fingerprint",
                flags.fingerprint.is_some(),
                span_of(&own.fingerprint),
            ),
            (
                "tls-certificate",
                flags.certificate.is_some(),
                own.certificate.as_ref().map(|path| path.span.clone()),
            ),
            (
                "tls-name",
                flags.name.is_some(),
                own.name.as_ref().map(|name| name.span.clone()),
            ),
        ];
        let Some((key, is_flag, span)) = given
            .into_iter()
            .find(|(_, flag, span)| *flag || span.is_some())
        else {
            return;
        };
        let (key, help) = if is_flag {
            (
                format!("--{key}"),
                "add --tls required, or --tls never to do without",
            )
        } else {
            (
                key.to_owned(),
                "write tls = \"required\", or tls = \"never\" to do without",
            )
        };
        let mut diagnostic = Diagnostic::error(format!(
            "`{key}` is given, but TLS is not used with the server of `{}` unless `tls` says so",
            wanted.name
        ))
        .help(help);
        diagnostic.span = span.filter(|_| !is_flag);
        self.note(diagnostic);
    }

    /// Our certificate with its key, which stands in the same place or in the same file.
    ///
    /// The outer `None` is for a path that was noted as wrong.
    fn tls_identity(&mut self, own: &TlsOptions) -> Option<Option<TlsIdentity>> {
        let flags = &self.overrides.tls;
        if let Some(certificate) = &flags.certificate {
            let certificate = self.command_line_path(certificate)?;
            let key = match &flags.key {
                Some(key) => self.command_line_path(key)?,
                None => certificate.clone(),
            };
            return Some(Some(TlsIdentity { certificate, key }));
        }
        if flags.key.is_some() {
            self.note(
                Diagnostic::error("`--tls-key` is given without a certificate")
                    .help("add --tls-certificate FILE"),
            );
            return None;
        }
        for place in [own, &self.config.defaults.tls] {
            match (&place.certificate, &place.key) {
                (Some(Spanned { value, span }), key) => {
                    let certificate = self.file_path(value, span)?;
                    let key = match key {
                        Some(Spanned { value, span }) => self.file_path(value, span)?,
                        None => certificate.clone(),
                    };
                    return Some(Some(TlsIdentity { certificate, key }));
                }
                (None, Some(key)) => {
                    self.note(
                        Diagnostic::error("`tls-key` stands without a `tls-certificate`")
                            .at(key.span.clone())
                            .help("write tls-certificate = \"PATH\" beside it"),
                    );
                    return None;
                }
                (None, None) => {}
            }
        }
        Some(None)
    }

    /// The outer `None` is for a path that was noted as wrong.
    fn tls_files(
        &mut self,
        flag: Option<&[PathBuf]>,
        written: Option<&Vec<Spanned<PathBuf>>>,
    ) -> Option<Option<Vec<PathBuf>>> {
        match self.named_files(flag, written) {
            Some(files) => files.map(Some),
            None => Some(None),
        }
    }
}

/// The name of the host that is really there: what an SSH host calls `localhost` is the SSH host
/// itself.
///
/// An address says less than the name that `via` has for it, since hardly a certificate is for an
/// address.
fn real_name(host: &str, hops: &[Hop]) -> (String, NameFrom) {
    let (name, from) = match hops.last() {
        Some(hop) if is_loopback(host) => {
            let address = &hop.address.host;
            let is_address = address.parse::<std::net::IpAddr>().is_ok();
            let name = if is_address { &hop.name } else { address };
            (name.as_str(), NameFrom::SshHost)
        }
        _ => (host, NameFrom::Server),
    };
    (name.trim_end_matches('.').to_owned(), from)
}

fn span_of<T>(values: &Option<Vec<Spanned<T>>>) -> Option<std::ops::Range<usize>> {
    Some(values.as_ref()?.first()?.span.clone())
}

/// The port that the server listens on unless another is written: RFC 1939 §3, RFC 8314 §3.2.
pub(in crate::plan) fn usual_port(is_tls: bool) -> u16 {
    if is_tls { POP3S_PORT } else { POP3_PORT }
}

const POP3S_PORT: u16 = 995;
