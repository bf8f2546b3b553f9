//! What a server says it can do (CAPA, RFC 2449 §5 and §6).

use alloc::borrow::ToOwned;
use alloc::format;
use alloc::string::{String, ToString};
use alloc::vec::Vec;
use core::convert::Infallible;
use core::fmt;
use core::str::FromStr;

/// The capabilities of a server.
///
/// They can be kept as text for the next session: `Display` and `FromStr` are each other's
/// inverse. Without CAPA a server has [`Capabilities::default()`], none at all; that does not mean
/// that it knows no UIDL, only that it does not say so.
///
/// ```
/// use posthole_proto::pop3::Capabilities;
///
/// let known = Capabilities::from_lines(["PIPELINING", "sasl plain login", "X-OURS 1"]);
/// assert!(known.pipelining && !known.stls);
/// assert_eq!(known.sasl, ["PLAIN", "LOGIN"]);
/// assert_eq!(known.to_string().parse(), Ok(known));
/// ```
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub struct Capabilities {
    /// AUTH-RESP-CODE (RFC 3206 §6): `[AUTH]` and `[SYS/…]` tell failures apart.
    pub auth_resp_code: bool,
    /// EXPIRE (RFC 2449 §6.7): how long the server keeps messages.
    pub expire: Option<Expire>,
    /// IMPLEMENTATION (RFC 2449 §6.9): what the server is.
    pub implementation: Option<String>,
    /// LOGIN-DELAY (RFC 2449 §6.5): how long to wait between logins.
    pub login_delay: Option<LoginDelay>,
    /// PIPELINING (RFC 2449 §6.6): commands may be sent before earlier ones are answered.
    pub pipelining: bool,
    /// RESP-CODES (RFC 2449 §6.4): a text that begins with `[` has a response code.
    pub resp_codes: bool,
    /// SASL (RFC 2449 §6.3): the mechanisms, in capitals, in the server's order.
    pub sasl: Vec<String>,
    /// STLS (RFC 2595 §4): TLS can be started.
    pub stls: bool,
    /// TOP (RFC 2449 §6.1).
    pub top: bool,
    /// UIDL (RFC 2449 §6.8).
    pub uidl: bool,
    /// USER (RFC 2449 §6.2): USER and PASS can be used.
    pub user: bool,
    /// Lines that are not understood here, as they came.
    pub other: Vec<String>,
}

/// How long a server keeps messages.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct Expire {
    /// So many days; without a number the server never deletes. 0 means that a message may be
    /// gone as soon as it was retrieved.
    pub days: Option<u32>,
    /// Whether it is another time for some users, to be asked after the login.
    pub varies: bool,
}

/// How long to wait between logins.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub struct LoginDelay {
    /// The least time from one login to the next.
    pub seconds: u32,
    /// Whether it is another time for some users, to be asked after the login.
    pub varies: bool,
}

impl Capabilities {
    /// Reads capability lines.
    pub fn from_lines<'l>(lines: impl IntoIterator<Item = &'l str>) -> Self {
        let mut capabilities = Self::default();
        for line in lines {
            capabilities.insert(line);
        }
        capabilities
    }

    /// The capability lines, each name in capitals.
    #[must_use]
    pub fn lines(&self) -> Vec<String> {
        let flags = [
            (self.top, "TOP"),
            (self.uidl, "UIDL"),
            (self.user, "USER"),
            (self.stls, "STLS"),
            (self.resp_codes, "RESP-CODES"),
            (self.auth_resp_code, "AUTH-RESP-CODE"),
            (self.pipelining, "PIPELINING"),
        ];
        let mut lines: Vec<_> = flags
            .iter()
            .filter(|(set, _)| *set)
            .map(|(_, name)| (*name).to_owned())
            .collect();
        if !self.sasl.is_empty() {
            lines.push(format!("SASL {}", self.sasl.join(" ")));
        }
        if let Some(LoginDelay { seconds, varies }) = self.login_delay {
            lines.push(format!("LOGIN-DELAY {seconds}{}", user(varies)));
        }
        if let Some(Expire { days, varies }) = self.expire {
            let days = days.map_or_else(|| "NEVER".to_owned(), |days| days.to_string());
            lines.push(format!("EXPIRE {days}{}", user(varies)));
        }
        lines.extend(
            self.implementation
                .iter()
                .map(|text| format!("IMPLEMENTATION {text}")),
        );
        lines.extend(self.other.iter().cloned());
        lines
    }

    /// Reads one more line.
    pub(super) fn insert(&mut self, line: &str) {
        let line = line.trim();
        let (name, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
        let rest = rest.trim_start();
        let mut words = rest.split_whitespace();
        match &*name.to_ascii_uppercase() {
            "" => {}
            "AUTH-RESP-CODE" => self.auth_resp_code = true,
            "EXPIRE" => match (words.next(), words.next()) {
                (Some(days), user) if days.eq_ignore_ascii_case("NEVER") => {
                    self.expire = Some(Expire {
                        days: None,
                        varies: user.is_some(),
                    });
                }
                (Some(days), user) if days.parse::<u32>().is_ok() => {
                    self.expire = Some(Expire {
                        days: days.parse().ok(),
                        varies: user.is_some(),
                    });
                }
                _ => self.other.push(line.to_owned()),
            },
            "IMPLEMENTATION" if !rest.is_empty() => self.implementation = Some(rest.to_owned()),
            "LOGIN-DELAY" => match (words.next().map(str::parse), words.next()) {
                (Some(Ok(seconds)), user) => {
                    self.login_delay = Some(LoginDelay {
                        seconds,
                        varies: user.is_some(),
                    });
                }
                _ => self.other.push(line.to_owned()),
            },
            "PIPELINING" => self.pipelining = true,
            "RESP-CODES" => self.resp_codes = true,
            "SASL" if !rest.is_empty() => {
                for mechanism in words.map(str::to_ascii_uppercase) {
                    if !self.sasl.contains(&mechanism) {
                        self.sasl.push(mechanism);
                    }
                }
            }
            "STLS" => self.stls = true,
            "TOP" => self.top = true,
            "UIDL" => self.uidl = true,
            "USER" => self.user = true,
            _ => self.other.push(line.to_owned()),
        }
    }
}

impl fmt::Display for Capabilities {
    /// Writes the capability lines with a line break between them.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.lines().join("\n"))
    }
}

impl FromStr for Capabilities {
    type Err = Infallible;

    fn from_str(text: &str) -> Result<Self, Infallible> {
        Ok(Self::from_lines(text.split('\n')))
    }
}

const fn user(varies: bool) -> &'static str {
    if varies { " USER" } else { "" }
}

#[cfg(test)]
mod tests {
    use expect_test::expect;
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn the_lines_of_a_known_server_are_understood() {
        let lines = "CAPA\nTOP\nUIDL\nRESP-CODES\nPIPELINING\nAUTH-RESP-CODE\nSTLS\nUSER\n\
                     SASL PLAIN LOGIN\nEXPIRE 60 USER\nLOGIN-DELAY 900\nUTF8 USER\nLANG\n\
                     IMPLEMENTATION Dovecot (Debian) 2.4";
        let capabilities = Capabilities::from_lines(lines.lines());
        expect![[r#"
            Capabilities {
                auth_resp_code: true,
                expire: Some(
                    Expire {
                        days: Some(
                            60,
                        ),
                        varies: true,
                    },
                ),
                implementation: Some(
                    "Dovecot (Debian) 2.4",
                ),
                login_delay: Some(
                    LoginDelay {
                        seconds: 900,
                        varies: false,
                    },
                ),
                pipelining: true,
                resp_codes: true,
                sasl: [
                    "PLAIN",
                    "LOGIN",
                ],
                stls: true,
                top: true,
                uidl: true,
                user: true,
                other: [
                    "CAPA",
                    "UTF8 USER",
                    "LANG",
                ],
            }
        "#]]
        .assert_debug_eq(&capabilities);
    }

    #[test]
    fn names_are_read_in_either_case_and_odd_lines_are_kept() {
        let table = [
            ("pipelining", "PIPELINING"),
            ("  Top  ", "TOP"),
            ("PIPELINING yes", "PIPELINING"),
            ("SASL plain  Login PLAIN", "SASL PLAIN LOGIN"),
            ("EXPIRE never", "EXPIRE NEVER"),
            ("EXPIRE 0", "EXPIRE 0"),
            ("EXPIRE soon", "EXPIRE soon"),
            ("EXPIRE", "EXPIRE"),
            ("LOGIN-DELAY 99999999999", "LOGIN-DELAY 99999999999"),
            ("SASL", "SASL"),
            ("IMPLEMENTATION", "IMPLEMENTATION"),
            ("PIPELINING-NOT", "PIPELINING-NOT"),
            ("", ""),
        ];
        for (line, shown) in table {
            assert_eq!(
                Capabilities::from_lines([line]).to_string(),
                shown,
                "{line}"
            );
        }
    }

    proptest! {
        #[test]
        fn text_and_back_is_the_same(
            lines in proptest::collection::vec(
                prop_oneof![
                    "(TOP|UIDL|USER|STLS|PIPELINING|RESP-CODES|SASL|EXPIRE|LOGIN-DELAY|[A-Z]{1,3})\
                     ( (NEVER|USER|[0-9]{1,11}|[ -~]{0,6})){0,3}",
                    "\\PC{0,20}",
                ],
                0..12,
            ),
        ) {
            let known = Capabilities::from_lines(lines.iter().map(String::as_str));
            prop_assert_eq!(known.to_string().parse(), Ok(known));
        }
    }
}
