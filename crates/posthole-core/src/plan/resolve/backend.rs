//! Which SSH client carries a connection: ours, or `ssh` for what only that can do.
//!
//! Ours is faster and starts no process, so `ssh` is taken only where without it the login would
//! fail, or a check that somebody asked for would be left out. The hard part is what distributions
//! set for everybody and hardly anybody needs, such as `GSSAPIAuthentication` in Debian. It counts
//! where the person's own configuration says it as well, or where there is no other way to log in.

use std::ops::Range;

use super::Resolver;
use super::said::Said;
use crate::config::{Diagnostic, SshBackend, SshHost, SshTarget};
use crate::plan::{Backend, Hop, PasswordSource};

impl Resolver<'_> {
    /// `None` after noting that the client that was asked for is not there.
    pub(super) fn backend(
        &mut self,
        hop: &Hop,
        target: &SshTarget,
        section: Option<&SshHost>,
        said: Option<&Said>,
    ) -> Option<Backend> {
        let own = section.and_then(|ssh| ssh.backend.as_ref());
        match (own.map(|own| own.value), said) {
            (Some(SshBackend::BuiltIn), Some(said)) => {
                let span = own.map(|own| own.span.clone());
                self.may_be_left_out(hop, target, said, span)
                    .then_some(Backend::BuiltIn)
            }
            (Some(SshBackend::BuiltIn) | None, None) => Some(Backend::BuiltIn),
            (Some(SshBackend::OpenSsh), Some(_)) => Some(Backend::OpenSsh { needed_for: None }),
            (Some(SshBackend::OpenSsh), None) => {
                let mut diagnostic = Diagnostic::error(format!(
                    "{} is to be reached by OpenSSH, but there is no `ssh` that works",
                    hop.name
                ))
                .help("install OpenSSH's client, or write backend = \"builtin\"");
                diagnostic.span = own.map(|own| own.span.clone());
                self.note(diagnostic);
                None
            }
            // Whoever opens the connection says so.
            (None, Some(said)) => Some(match self.need(hop, target, said) {
                None => Backend::BuiltIn,
                needed_for => Backend::OpenSsh { needed_for },
            }),
        }
    }

    /// Whether our client is enough where somebody asked for it outright: no check may be left out
    /// because of that, and of what else will not be done they are told.
    fn may_be_left_out(
        &mut self,
        hop: &Hop,
        target: &SshTarget,
        said: &Said,
        span: Option<Range<usize>>,
    ) -> bool {
        let name = &hop.name;
        let mut diagnostic = if let Some(check) = self.check(target, said) {
            Diagnostic::error(format!(
                "{name} is to be reached by the built-in client, which cannot do the check that \
                 OpenSSH's configuration asks for: {check}"
            ))
            .help(format!(
                "take backend = \"builtin\" out, or {check} for {name} out of ssh_config"
            ))
        } else if let Some(what) = self.feature(hop, target, said) {
            Diagnostic::warning(format!(
                "the built-in client, by which {name} is to be reached, does not do {what}"
            ))
            .help("take backend = \"builtin\" out if it is needed")
        } else {
            return true;
        };
        let is_warning = !diagnostic.is_error();
        diagnostic.span = span;
        self.note(diagnostic);
        is_warning
    }

    /// What only OpenSSH can do for this host, if there is something.
    fn need(&self, hop: &Hop, target: &SshTarget, said: &Said) -> Option<String> {
        if let Some(check) = self.check(target, said) {
            return Some(check.to_owned());
        }
        if let Some(path) = said.holds("controlpath")
            && self.openssh.is_there(&said.path(path))
        {
            return Some("ControlPath, where a master connection is open".to_owned());
        }
        self.feature(hop, target, said)
    }

    /// A check of the host that only OpenSSH makes.
    fn check(&self, target: &SshTarget, said: &Said) -> Option<&'static str> {
        for (keyword, name) in CHECKS {
            if said.says(keyword).is_some() && said.holds(keyword).is_some() {
                return Some(name);
            }
        }
        for (keyword, name) in CHECKS_IF_OWN {
            if said.says(keyword).is_some() && self.is_own(target, said, keyword) {
                return Some(name);
            }
        }
        if said.says("verifyhostkeydns").is_some() && said.is_on("verifyhostkeydns") {
            return Some("VerifyHostKeyDNS");
        }
        None
    }

    /// What else only OpenSSH does.
    fn feature(&self, hop: &Hop, target: &SshTarget, said: &Said) -> Option<String> {
        for (keyword, name) in FEATURES {
            if said.says(keyword).is_some() && said.holds(keyword).is_some() {
                return Some((*name).to_owned());
            }
        }
        if hop.proxy_command.is_some() && said.is_on("proxyusefdpass") {
            return Some("ProxyUseFdpass".to_owned());
        }
        let methods = hop.methods.as_deref();
        let allows = |method: &str| {
            methods.is_none_or(|methods| methods.iter().any(|allowed| allowed == method))
        };
        if let Some(methods) = methods
            && !methods.is_empty()
            && !KNOWN_METHODS.iter().any(|method| allows(method))
        {
            return Some(format!("PreferredAuthentications {}", methods.join(",")));
        }
        let is_wanted = |keyword: &str, method: &str| {
            said.is_on(keyword)
                && allows(method)
                && (self.is_own(target, said, keyword) || !self.has_another_way(hop))
        };
        if is_wanted("hostbasedauthentication", "hostbased") {
            return Some("HostbasedAuthentication".to_owned());
        }
        let cache = self.environment.var("KRB5CCNAME");
        if is_wanted("gssapiauthentication", "gssapi-with-mic")
            && self.openssh.has_kerberos_ticket(cache)
        {
            return Some("GSSAPIAuthentication".to_owned());
        }
        if allows("publickey") && self.has_only_security_keys(hop) {
            return Some("SecurityKeyProvider".to_owned());
        }
        None
    }

    /// Whether the person's configuration says something else than the system's, or says it alone.
    fn is_own(&self, target: &SshTarget, said: &Said, keyword: &str) -> bool {
        let system = self.system_answer(target);
        system.is_none_or(|system| system.all(keyword) != said.answer().all(keyword))
    }

    /// Whether there is something else to log in with, as far as can be seen from here.
    fn has_another_way(&self, hop: &Hop) -> bool {
        let Hop {
            agent,
            identities,
            password,
            ..
        } = hop;
        let is_there = |path: &std::path::PathBuf| self.openssh.is_there(path);
        agent.as_ref().is_some_and(is_there)
            || identities.iter().any(is_there)
            || !matches!(password, PasswordSource::Prompt)
    }

    /// An agent talks to authenticators, and so does ssh(1); we do not.
    fn has_only_security_keys(&self, hop: &Hop) -> bool {
        if hop
            .agent
            .as_ref()
            .is_some_and(|socket| self.openssh.is_there(socket))
        {
            return false;
        }
        let keys: Vec<bool> = hop
            .identities
            .iter()
            .filter_map(|identity| self.openssh.is_security_key(identity))
            .collect();
        !keys.is_empty() && keys.iter().all(|is_security_key| *is_security_key)
    }
}

/// Keywords that ask for something only OpenSSH has.
const FEATURES: &[(&str, &str)] = &[
    ("bindinterface", "BindInterface"),
    ("pkcs11provider", "PKCS11Provider"),
];
/// Keywords that ask for a check only OpenSSH makes, which must not be left out in silence.
const CHECKS: &[(&str, &str)] = &[
    ("knownhostscommand", "KnownHostsCommand"),
    ("revokedhostkeys", "RevokedHostKeys"),
];
/// The same, where a person says so: distributions have a policy about them for everybody
/// (crypto-policies(7)), and do not mean to decide about the client with it.
const CHECKS_IF_OWN: &[(&str, &str)] = &[
    ("casignaturealgorithms", "CASignatureAlgorithms"),
    ("requiredrsasize", "RequiredRSASize"),
];
/// The methods of authentication that our client knows (RFC 4252, RFC 4256), in its order.
pub(super) const KNOWN_METHODS: &[&str] = &["publickey", "keyboard-interactive", "password"];
