//! Which ways to log in are tried, and in which order.
//!
//! [`methods`] decides from the configuration, from what the server offers and from who could
//! listen on the way to it. The rules:
//!
//! - What reveals the password is not tried where anybody could listen, unless a person accepted
//!   that.
//! - Where nobody can listen (inside SSH, on this machine), all ways are equally safe, and the one
//!   with the fewest round trips comes first.
//! - Inside TLS, SCRAM comes first: a server that is false in spite of its certificate learns
//!   nothing, and with channel binding it cannot even pass the login on.
//! - Ways to log in without a password (a certificate, a Kerberos ticket) come before those that
//!   need one, so that nobody is asked for a password in vain.

use std::fmt;

use posthole_proto::pop3::Capabilities;
use posthole_proto::sasl::{ChannelBinding, Mechanism};

use crate::plan::Auth;
use crate::transport::tls;

/// A way to log in.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(crate) enum Method {
    Apop,
    Sasl(Mechanism),
    UserPass,
}

impl Method {
    /// Whether it needs a password or a token of ours.
    pub(crate) const fn needs_secret(self) -> bool {
        match self {
            Self::Apop | Self::UserPass => true,
            Self::Sasl(mechanism) => mechanism.needs_secret(),
        }
    }

    const fn reveals_secret(self) -> bool {
        match self {
            Self::Apop => false,
            Self::UserPass => true,
            Self::Sasl(mechanism) => mechanism.reveals_secret(),
        }
    }
}

impl fmt::Display for Method {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Apop => "APOP",
            Self::Sasl(mechanism) => mechanism.name(),
            Self::UserPass => "USER/PASS",
        })
    }
}

/// Who could listen on the way to the mail server.
#[derive(Clone, Debug)]
pub(crate) enum Privacy {
    /// Anybody on the network.
    Open {
        /// Whether a person accepted that the password may be overheard.
        accepted: bool,
    },
    /// Somebody between the last SSH host and the mail server, which is for the owner of the host
    /// to judge.
    BeyondSsh,
    /// Nobody: what is sent stays on this machine, or on the one at the end of SSH.
    Private,
    /// Nobody, thanks to TLS.
    Tls(TlsFacts),
}

/// What a login can make of TLS.
#[derive(Clone, Debug, Default)]
pub(crate) struct TlsFacts {
    /// What names the connection, the best first.
    pub(crate) bindings: Vec<ChannelBinding>,
    /// Whether we showed a certificate.
    pub(crate) certificate: bool,
}

impl Privacy {
    /// TLS, which a login may bind itself to.
    pub(crate) fn tls(binding: tls::ChannelBinding, certificate: bool) -> Self {
        let named = |kind, data| ChannelBinding { kind, data };
        let exporter = binding.exporter;
        let exporter = exporter.map(|data| named("tls-exporter", data.to_vec()));
        let end_point = binding.server_end_point;
        let end_point = end_point.map(|data| named("tls-server-end-point", data));
        Self::Tls(TlsFacts {
            bindings: exporter.into_iter().chain(end_point).collect(),
            certificate,
        })
    }

    pub(crate) fn bindings(&self) -> &[ChannelBinding] {
        match self {
            Self::Tls(facts) => &facts.bindings,
            _ => &[],
        }
    }
}

/// What the choice depends on.
pub(crate) struct Circumstances<'a> {
    pub(crate) auth: Auth,
    /// None of them if the server did not say.
    pub(crate) capabilities: &'a Capabilities,
    pub(crate) privacy: &'a Privacy,
    /// Whether the greeting has a challenge for APOP.
    pub(crate) apop: bool,
    /// Whether the login and what follows it can go in one flight.
    pub(crate) pipelined: bool,
}

/// Why there is no way to log in.
#[derive(Clone, Debug, Eq, PartialEq, thiserror::Error)]
#[non_exhaustive]
pub enum NoMethod {
    /// There is nothing to bind the login to.
    #[error("{mechanism} needs TLS, and there is none on the way to the mail server")]
    NoBinding {
        /// The mechanism.
        mechanism: Mechanism,
    },
    /// The greeting has no challenge.
    #[error("the mail server's greeting has no challenge for APOP, or none that is safe to answer")]
    NoChallenge,
    /// The server does not offer what was asked for.
    #[error(
        "the mail server does not offer {mechanism}; it offers {}",
        list(offered)
    )]
    NotOffered {
        /// What was asked for.
        mechanism: Mechanism,
        /// What there is, by name.
        offered: Vec<String>,
    },
    /// This program cannot do it.
    #[error("this posthole was built without {mechanism}")]
    NotBuilt {
        /// The mechanism.
        mechanism: Mechanism,
    },
    /// All that could be done would reveal the password.
    #[error(
        "the password could be overheard on the way to the mail server, and {}",
        reason(offered)
    )]
    Exposed {
        /// What there is, by name.
        offered: Vec<String>,
    },
    /// There is nothing that we can do as well.
    #[error(
        "the mail server offers no login that posthole knows; it offers {}",
        list(offered)
    )]
    Nothing {
        /// What there is, by name.
        offered: Vec<String>,
    },
}

impl NoMethod {
    /// Whether it would be another thing if the server offered more.
    pub(crate) const fn is_about_capabilities(&self) -> bool {
        matches!(
            self,
            Self::Exposed { .. } | Self::NotOffered { .. } | Self::Nothing { .. }
        )
    }

    /// What to do about it.
    pub(crate) const fn hint(&self) -> Option<&'static str> {
        Some(match self {
            Self::Exposed { .. } => {
                "use TLS or go through SSH with `via`, or accept the risk with allow-plaintext = true"
            }
            Self::NoBinding { .. } => "use TLS, or a mechanism without -plus",
            Self::NoChallenge => "leave `auth` out, or name a mechanism that the server offers",
            Self::NotBuilt { .. } => {
                "build it with the feature `gssapi`, or use a package that has it"
            }
            Self::NotOffered { .. } | Self::Nothing { .. } => {
                "leave `auth` out, or name a mechanism that the server offers; some offer more \
                 inside TLS"
            }
        })
    }
}

/// The ways to try, the best first; never none.
pub(crate) fn methods(circumstances: &Circumstances<'_>) -> Result<Vec<Method>, NoMethod> {
    match circumstances.auth {
        Auth::Apop if circumstances.apop => Ok(vec![Method::Apop]),
        Auth::Apop => Err(NoMethod::NoChallenge),
        Auth::Auto => circumstances.best(),
        Auth::Sasl(mechanism) => circumstances.named(mechanism),
        Auth::UserPass => circumstances.unless_revealing(vec![Method::UserPass]),
    }
}

impl Circumstances<'_> {
    /// What a person asked for by name.
    fn named(&self, mechanism: Mechanism) -> Result<Vec<Method>, NoMethod> {
        if mechanism == Mechanism::Gssapi && !GSSAPI {
            return Err(NoMethod::NotBuilt { mechanism });
        }
        let is_bound = is_plus(mechanism);
        if is_bound && self.privacy.bindings().is_empty() {
            return Err(NoMethod::NoBinding { mechanism });
        }
        // The bound variant is the same mechanism, done better. A server that has it refuses to do
        // without (RFC 5802 §6).
        let plus = plus(mechanism).filter(|plus| self.offers(*plus) && self.can(*plus));
        let best = plus.unwrap_or(mechanism);
        // A server that does not say what it offers may still know the mechanism.
        let unknown = self.capabilities.sasl.is_empty();
        if !unknown && !self.offers(best) {
            return Err(NoMethod::NotOffered {
                mechanism,
                offered: self.offered(),
            });
        }
        self.unless_revealing(vec![Method::Sasl(best)])
    }

    fn best(&self) -> Result<Vec<Method>, NoMethod> {
        let order = match self.privacy {
            Privacy::Private => [self.quickest(), LOGIN, SCRAM, CRAM_MD5, TICKET, USER].concat(),
            Privacy::Tls(_) => [
                CERTIFICATE,
                TICKET,
                BOUND,
                SCRAM,
                self.quickest(),
                LOGIN,
                CRAM_MD5,
                USER,
            ]
            .concat(),
            Privacy::BeyondSsh | Privacy::Open { .. } => {
                [TICKET, SCRAM, CRAM_MD5, self.quickest(), LOGIN, USER].concat()
            }
        };
        let mut methods = Vec::new();
        for method in order {
            let is_there = match method {
                Method::Apop => false,
                Method::Sasl(mechanism) => self.offers(mechanism) && self.can(mechanism),
                // CAPA came late to POP3: a server that says nothing of it knows USER.
                Method::UserPass => self.capabilities.user || self.capabilities.sasl.is_empty(),
            };
            if is_there && !methods.contains(&method) {
                methods.push(method);
            }
        }
        if methods.is_empty() && !self.privacy.is_open() {
            // Some servers know USER and do not say so.
            methods.push(Method::UserPass);
        }
        self.unless_revealing(methods)
    }

    /// The two that hand the password over, the one with fewer round trips first: USER and PASS
    /// take two, or none of their own where they go in one flight with what follows; PLAIN takes
    /// one, and nothing may follow it in its flight.
    ///
    /// Dovecot claims to know USER even where it takes no password at all, which shows in its list
    /// of mechanisms; USER comes last then.
    fn quickest(&self) -> &'static [Method] {
        let takes_passwords = self.capabilities.sasl.is_empty()
            || self.offers(Mechanism::Plain)
            || self.offers(Mechanism::Login);
        if !takes_passwords {
            &[]
        } else if self.pipelined {
            &[Method::UserPass, Method::Sasl(Mechanism::Plain)]
        } else {
            &[Method::Sasl(Mechanism::Plain), Method::UserPass]
        }
    }

    fn unless_revealing(&self, mut methods: Vec<Method>) -> Result<Vec<Method>, NoMethod> {
        let found_any = !methods.is_empty();
        if self.privacy.is_open() {
            methods.retain(|method| !method.reveals_secret());
        }
        if !methods.is_empty() {
            return Ok(methods);
        }
        let offered = self.offered();
        Err(if found_any || self.privacy.is_open() {
            NoMethod::Exposed { offered }
        } else {
            NoMethod::Nothing { offered }
        })
    }

    fn offers(&self, mechanism: Mechanism) -> bool {
        let mut offered = self.capabilities.sasl.iter();
        offered.any(|name| name == mechanism.name())
    }

    /// Whether it can be done on our side, as far as that is known beforehand.
    fn can(&self, mechanism: Mechanism) -> bool {
        match mechanism {
            Mechanism::External => {
                matches!(self.privacy, Privacy::Tls(facts) if facts.certificate)
            }
            Mechanism::Gssapi => GSSAPI,
            mechanism if is_plus(mechanism) => !self.privacy.bindings().is_empty(),
            _ => true,
        }
    }

    fn offered(&self) -> Vec<String> {
        let user = self.capabilities.user.then(|| "USER/PASS".to_owned());
        let apop = self.apop.then(|| "APOP".to_owned());
        let all = self.capabilities.sasl.iter().cloned();
        all.chain(user).chain(apop).collect()
    }
}

impl Privacy {
    const fn is_open(&self) -> bool {
        matches!(self, Self::Open { accepted: false })
    }
}

/// The variant of a mechanism that is bound to TLS.
const fn plus(mechanism: Mechanism) -> Option<Mechanism> {
    match mechanism {
        Mechanism::ScramSha1 => Some(Mechanism::ScramSha1Plus),
        Mechanism::ScramSha256 => Some(Mechanism::ScramSha256Plus),
        _ => None,
    }
}

const fn is_plus(mechanism: Mechanism) -> bool {
    matches!(
        mechanism,
        Mechanism::ScramSha1Plus | Mechanism::ScramSha256Plus
    )
}

fn list(offered: &[String]) -> String {
    if offered.is_empty() {
        "none".to_owned()
    } else {
        offered.join(", ")
    }
}

fn reason(offered: &[String]) -> String {
    if offered.is_empty() {
        "the server does not say that it could do without".to_owned()
    } else {
        format!("the server can do no better than {}", offered.join(", "))
    }
}

/// Whether Kerberos was compiled in.
const GSSAPI: bool = cfg!(feature = "gssapi");

const BOUND: &[Method] = &[
    Method::Sasl(Mechanism::ScramSha256Plus),
    Method::Sasl(Mechanism::ScramSha1Plus),
];
const CERTIFICATE: &[Method] = &[Method::Sasl(Mechanism::External)];
const CRAM_MD5: &[Method] = &[Method::Sasl(Mechanism::CramMd5)];
const LOGIN: &[Method] = &[Method::Sasl(Mechanism::Login)];
const SCRAM: &[Method] = &[
    Method::Sasl(Mechanism::ScramSha256),
    Method::Sasl(Mechanism::ScramSha1),
];
const USER: &[Method] = &[Method::UserPass];
const TICKET: &[Method] = &[Method::Sasl(Mechanism::Gssapi)];

#[cfg(test)]
mod tests {
    use super::*;

    /// The methods chosen, or why there are none.
    fn chosen(auth: &str, capabilities: &str, privacy: &Privacy, pipelined: bool) -> String {
        let capabilities = Capabilities::from_lines(capabilities.split(", "));
        let circumstances = Circumstances {
            auth: auth.parse().unwrap(),
            capabilities: &capabilities,
            privacy,
            apop: capabilities.other.iter().any(|other| other == "CHALLENGE"),
            pipelined,
        };
        match methods(&circumstances) {
            Ok(methods) => {
                assert!(!methods.is_empty());
                let names: Vec<_> = methods.iter().map(Method::to_string).collect();
                names.join(" ")
            }
            Err(error) => error.to_string(),
        }
    }

    fn tls(kinds: &[&'static str], certificate: bool) -> Privacy {
        let binding = |kind: &&'static str| ChannelBinding {
            kind,
            data: vec![1],
        };
        Privacy::Tls(TlsFacts {
            bindings: kinds.iter().map(binding).collect(),
            certificate,
        })
    }

    const ALL: &str = "USER, SASL PLAIN LOGIN CRAM-MD5 SCRAM-SHA-1 SCRAM-SHA-256 \
                       SCRAM-SHA-1-PLUS SCRAM-SHA-256-PLUS EXTERNAL XOAUTH2 OAUTHBEARER NTLM";

    #[test]
    fn inside_ssh_the_quickest_way_is_the_best() {
        let inside = Privacy::Private;
        let rest = "LOGIN SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5";
        assert_eq!(
            chosen("auto", ALL, &inside, true),
            format!("USER/PASS PLAIN {rest}")
        );
        assert_eq!(
            chosen("auto", ALL, &inside, false),
            format!("PLAIN USER/PASS {rest}")
        );
        assert_eq!(chosen("auto", "UIDL", &inside, true), "USER/PASS");
        assert_eq!(chosen("auto", "SASL PLAIN", &inside, true), "PLAIN");
        assert_eq!(
            chosen("auto", "SASL SCRAM-SHA-1", &inside, true),
            "SCRAM-SHA-1"
        );
        assert_eq!(chosen("auto", "SASL NTLM", &inside, true), "USER/PASS");
        let dubious = "USER, SASL CRAM-MD5";
        assert_eq!(chosen("auto", dubious, &inside, true), "CRAM-MD5 USER/PASS");
    }

    #[test]
    fn inside_tls_the_strongest_way_is_the_best() {
        assert_eq!(
            chosen("auto", ALL, &tls(&["tls-exporter"], true), true),
            "EXTERNAL SCRAM-SHA-256-PLUS SCRAM-SHA-1-PLUS SCRAM-SHA-256 SCRAM-SHA-1 USER/PASS \
             PLAIN LOGIN CRAM-MD5"
        );
        assert_eq!(
            chosen("auto", ALL, &tls(&[], false), false),
            "SCRAM-SHA-256 SCRAM-SHA-1 PLAIN USER/PASS LOGIN CRAM-MD5"
        );
    }

    #[test]
    fn where_somebody_could_listen_the_password_stays_here_if_it_can() {
        let safe = "SCRAM-SHA-256 SCRAM-SHA-1 CRAM-MD5";
        let open = Privacy::Open { accepted: false };
        assert_eq!(chosen("auto", ALL, &open, true), safe);
        for lenient in [Privacy::Open { accepted: true }, Privacy::BeyondSsh] {
            assert_eq!(
                chosen("auto", ALL, &lenient, true),
                format!("{safe} USER/PASS PLAIN LOGIN")
            );
        }
        assert_eq!(
            chosen("auto", "USER, SASL PLAIN LOGIN", &open, true),
            "the password could be overheard on the way to the mail server, and the server can do \
             no better than PLAIN, LOGIN, USER/PASS"
        );
        assert_eq!(
            chosen("auto", "UIDL", &open, true),
            "the password could be overheard on the way to the mail server, and the server does \
             not say that it could do without"
        );
    }

    #[test]
    fn what_reveals_the_password_is_not_done_in_the_open_even_by_name() {
        let open = Privacy::Open { accepted: false };
        for auth in ["user", "plain", "login", "xoauth2", "oauthbearer"] {
            let refused = chosen(auth, ALL, &open, true);
            assert!(
                refused.starts_with("the password could be overheard"),
                "{auth}: {refused}"
            );
            let accepted = Privacy::Open { accepted: true };
            assert!(!chosen(auth, ALL, &accepted, true).contains(' '), "{auth}");
        }
        for auth in ["cram-md5", "scram-sha-1", "scram-sha-256", "external"] {
            assert_eq!(chosen(auth, ALL, &open, true), auth.to_uppercase());
        }
    }

    #[test]
    fn what_is_named_is_done_or_missed() {
        let inside = Privacy::Private;
        assert_eq!(chosen("cram-md5", ALL, &inside, true), "CRAM-MD5");
        assert_eq!(chosen("cram-md5", "UIDL", &inside, true), "CRAM-MD5");
        assert_eq!(chosen("user", "SASL PLAIN", &inside, true), "USER/PASS");
        assert_eq!(
            chosen("cram-md5", "USER, SASL PLAIN LOGIN", &inside, true),
            "the mail server does not offer CRAM-MD5; it offers PLAIN, LOGIN, USER/PASS"
        );
        assert_eq!(chosen("apop", "CHALLENGE", &inside, true), "APOP");
        assert_eq!(
            chosen("apop", ALL, &inside, true),
            "the mail server's greeting has no challenge for APOP, or none that is safe to answer"
        );
    }

    #[test]
    fn scram_is_bound_to_tls_where_both_sides_can() {
        let bound = tls(&["tls-exporter"], false);
        assert_eq!(
            chosen("scram-sha-256", ALL, &bound, true),
            "SCRAM-SHA-256-PLUS"
        );
        assert_eq!(
            chosen("scram-sha-256", ALL, &tls(&[], false), true),
            "SCRAM-SHA-256"
        );
        let without = "SASL SCRAM-SHA-256";
        assert_eq!(
            chosen("scram-sha-256", without, &bound, true),
            "SCRAM-SHA-256"
        );
        assert_eq!(
            chosen("scram-sha-256-plus", without, &bound, true),
            "the mail server does not offer SCRAM-SHA-256-PLUS; it offers SCRAM-SHA-256"
        );
        assert_eq!(
            chosen("scram-sha-256-plus", ALL, &Privacy::Private, true),
            "SCRAM-SHA-256-PLUS needs TLS, and there is none on the way to the mail server"
        );
    }

    #[test]
    fn neither_a_token_nor_apop_is_ever_guessed() {
        let token = "SASL XOAUTH2 OAUTHBEARER, CHALLENGE";
        assert_eq!(chosen("auto", token, &tls(&[], false), true), "USER/PASS");
        assert_eq!(chosen("xoauth2", token, &tls(&[], false), true), "XOAUTH2");
    }

    #[test]
    #[cfg(not(feature = "gssapi"))]
    fn what_was_left_out_is_said_to_be_so() {
        assert_eq!(
            chosen("gssapi", "SASL GSSAPI", &Privacy::Private, true),
            "this posthole was built without GSSAPI"
        );
        assert_eq!(
            chosen("auto", "SASL GSSAPI", &Privacy::Private, true),
            "USER/PASS"
        );
    }

    #[test]
    #[cfg(feature = "gssapi")]
    fn a_ticket_is_tried_before_a_password_except_where_that_only_takes_longer() {
        let offered = "SASL GSSAPI PLAIN";
        assert_eq!(
            chosen("auto", offered, &tls(&[], false), true),
            "GSSAPI PLAIN"
        );
        assert_eq!(
            chosen("auto", offered, &Privacy::BeyondSsh, true),
            "GSSAPI PLAIN"
        );
        assert_eq!(
            chosen("auto", offered, &Privacy::Private, true),
            "PLAIN GSSAPI"
        );
    }
}
