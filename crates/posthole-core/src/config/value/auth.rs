//! How to log in to the mail server.

use std::str::FromStr;

use posthole_proto::sasl::Mechanism;

use super::ValueError;
use crate::config::did_you_mean;
use crate::plan::Auth;

impl FromStr for Auth {
    type Err = ValueError;

    fn from_str(text: &str) -> Result<Self, ValueError> {
        let name = text.to_ascii_lowercase();
        if let Some(mechanism) = Mechanism::from_name(&name) {
            return Ok(Self::Sasl(mechanism));
        }
        let at = 0..text.len();
        let meant = match name.as_str() {
            "apop" => return Ok(Self::Apop),
            "auto" => return Ok(Self::Auto),
            "user" => return Ok(Self::UserPass),
            "any" => "auto",
            "kerberos" | "kerberos_v5" | "kpop" => "gssapi",
            "oauth" | "oauth2" => "oauthbearer",
            "cleartext" | "pass" | "password" | "user/pass" => "user",
            "scram" | "scram-sha256" => "scram-sha-256",
            "scram-sha1" => "scram-sha-1",
            "certificate" | "ssl" | "tls" => "external",
            "digest-md5" | "ntlm" | "msn" | "kerberos_v4" | "otp" => {
                let message = format!("`{name}` is not supported, being obsolete and unsafe");
                return Err(ValueError::new(message, at).help(known()));
            }
            _ => {
                let error = ValueError::new("unknown way to log in", at);
                let near = did_you_mean(&name, NAMES);
                return Err(match near {
                    Some(near) => error.help(format!("did you mean \"{near}\"?")),
                    None => error.help(known()),
                });
            }
        };
        let message = format!("`{name}` is called \"{meant}\" here");
        Err(ValueError::new(message, at))
    }
}

fn known() -> String {
    format!("known are {}", NAMES.join(", "))
}

const NAMES: &[&str] = &[
    "apop",
    "auto",
    "cram-md5",
    "external",
    "gssapi",
    "login",
    "oauthbearer",
    "plain",
    "scram-sha-1",
    "scram-sha-1-plus",
    "scram-sha-256",
    "scram-sha-256-plus",
    "user",
    "xoauth2",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_name_is_read_and_shown_again() {
        for name in NAMES {
            let auth: Auth = name.parse().expect("a known name");
            assert_eq!(auth.to_string(), *name);
            assert_eq!(name.to_uppercase().parse(), Ok(auth));
        }
        assert_eq!(NAMES.len(), Mechanism::ALL.len() + 3);
    }

    #[test]
    fn what_others_call_it_is_explained() {
        let table = [
            ("any", "`any` is called \"auto\" here", None),
            (
                "kerberos_v5",
                "`kerberos_v5` is called \"gssapi\" here",
                None,
            ),
            ("password", "`password` is called \"user\" here", None),
            ("scram", "`scram` is called \"scram-sha-256\" here", None),
            (
                "ntlm",
                "`ntlm` is not supported, being obsolete and unsafe",
                Some("known are apop"),
            ),
            (
                "cram-md4",
                "unknown way to log in",
                Some("did you mean \"cram-md5\"?"),
            ),
            ("", "unknown way to log in", Some("known are apop")),
            (
                "hunter2 hunter2",
                "unknown way to log in",
                Some("known are apop"),
            ),
        ];
        for (text, message, help) in table {
            let error = text.parse::<Auth>().expect_err("no name");
            assert_eq!(error.message, message);
            let start = |text: String| help.is_some_and(|help| text.starts_with(help));
            assert_eq!(error.help.is_some_and(start), help.is_some(), "{text}");
        }
    }
}
