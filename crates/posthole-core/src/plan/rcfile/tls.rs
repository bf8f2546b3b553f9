//! TLS: `ssl` and its kin.

use super::{Mapping, Refused, path_of};
use crate::config::Diagnostic;
use crate::plan::resolve::is_loopback;
use crate::plan::{
    Auth, Authorities, HostPort, NameFrom, Route, SystemStore, Tls, TlsIdentity, TlsStart,
};

impl Mapping<'_> {
    /// How TLS protects the stream, and whether the password may do without.
    ///
    /// Without a word about it fetchmail tries STLS and goes on without if there is none, handing
    /// the password to whoever is in between. Here STLS is a must where the stream crosses a
    /// network, and inside a tunnel, where it fails more often than it helps, it is not tried.
    pub(super) fn tls(
        &mut self,
        server: &HostPort,
        route: &Route,
        auth: Auth,
    ) -> Result<(Tls, bool), Refused> {
        let user = self.user;
        let is_sheltered = !matches!(route, Route::Direct) || is_loopback(&server.host);
        let proto = user
            .sslproto
            .as_ref()
            .map(|proto| proto.to_ascii_lowercase());
        let mode = user.sslmode.as_ref().map(|mode| mode.to_ascii_lowercase());
        let never = proto.as_deref() == Some(b"") || mode.as_deref() == Some(b"none");
        let must = match (&proto, mode.as_deref()) {
            (_, Some(b"starttls=must")) => true,
            (Some(proto), None) => !proto.is_empty(),
            _ => false,
        };
        let start = if user.ssl || mode.as_deref() == Some(b"wrapped") {
            TlsStart::AtOnce
        } else if never {
            TlsStart::Never
        } else if must {
            TlsStart::Required
        } else if is_sheltered {
            TlsStart::Never
        } else if auth.may_reveal_secret() {
            TlsStart::Required
        } else {
            TlsStart::IfOffered
        };
        let allow_plaintext = never && start == TlsStart::Never;
        if allow_plaintext && !is_sheltered && auth.may_reveal_secret() {
            self.warn(
                Diagnostic::warning(format!(
                    "{}: the password crosses the network in the clear, since `sslproto` forbids TLS",
                    self.account()
                ))
                .help("leave `sslproto \"\"` out, or go through SSH with `plugin \"ssh HOST -W %h:%p\"`"),
            );
        }
        if start == TlsStart::Never {
            return Ok((Tls::never(&server.host), allow_plaintext));
        }
        if let Some(version @ (b"ssl2" | b"ssl3" | b"tls1" | b"tls1.1")) = proto.as_deref() {
            self.warn(
                Diagnostic::warning(format!(
                    "{}: `sslproto {}` is too old; TLS 1.2 or later is spoken",
                    self.account(),
                    String::from_utf8_lossy(version)
                ))
                .help("write `sslproto 'auto'`"),
            );
        }
        self.check_certificate_options(server)?;
        let (name, name_from) = match &user.sslcommonname {
            Some(name) => (self.text(name, "sslcommonname")?, NameFrom::Person),
            None => (server.host.clone(), NameFrom::Server),
        };
        let identity = user.sslcert.as_ref().map(|certificate| TlsIdentity {
            certificate: path_of(certificate),
            key: path_of(user.sslkey.as_ref().unwrap_or(certificate)),
        });
        let tls = Tls {
            start,
            name,
            name_from,
            authorities: self.authorities(),
            pins: Vec::new(),
            revocation_lists: Vec::new(),
            identity,
        };
        Ok((tls, allow_plaintext))
    }

    /// What fetchmail would believe without looking is looked at.
    fn check_certificate_options(&mut self, server: &HostPort) -> Result<(), Refused> {
        if self.user.sslcertck {
            if self.user.sslfingerprint.is_some() {
                self.warn(
                    Diagnostic::warning(format!(
                        "{}: `sslfingerprint` is not looked at; the certificate must be signed by \
                         an authority that is trusted",
                        self.account()
                    ))
                    .help("an MD5 fingerprint proves little; leave it out"),
                );
            }
            return Ok(());
        }
        let host = &server.host;
        if self.user.sslfingerprint.is_some() {
            let message = format!(
                "{}: the certificate is only known by its MD5 fingerprint, which is too weak",
                self.account()
            );
            let help = format!(
                "take `no sslcertck` and `sslfingerprint` out and trust the certificate itself: \
                 `openssl s_client -connect {server} </dev/null | openssl x509 > {host}.pem` and \
                 `sslcertfile {host}.pem`"
            );
            return Err(Diagnostic::error(message).help(help).into());
        }
        self.warn(
            Diagnostic::warning(format!(
                "{}: the certificate is checked in spite of `no sslcertck`",
                self.account()
            ))
            .help("name the file of a certificate that nobody signed with `sslcertfile`"),
        );
        Ok(())
    }

    pub(super) fn authorities(&self) -> Authorities {
        let file = self.user.sslcertfile.as_ref();
        let directory = self.user.sslcertpath.as_ref();
        let file = file.map(|path| path_of(path));
        match (file, directory) {
            (Some(file), None) => Authorities::Files(vec![file]),
            (None, None) => Authorities::System(SystemStore {
                file: self.environment.var("SSL_CERT_FILE").map(Into::into),
                directories: match self.environment.var("SSL_CERT_DIR") {
                    Some(directories) => std::env::split_paths(directories).collect(),
                    None => Vec::new(),
                },
            }),
            (file, Some(directory)) => Authorities::System(SystemStore {
                file,
                directories: vec![path_of(directory)],
            }),
        }
    }
}
