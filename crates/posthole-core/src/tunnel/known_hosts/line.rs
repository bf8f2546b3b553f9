//! One line of a known_hosts file: marker, hosts, key (sshd(8), "SSH_KNOWN_HOSTS FILE FORMAT").
//!
//! Parsing is in two steps, because only lines about the host in question may matter: files that
//! have grown for decades hold lines nobody can read any more. [`Line::split`] finds the hosts;
//! [`Line::key`] is asked for once they match, and then complains.

use data_encoding::BASE64;
use hmac::{Hmac, KeyInit, Mac};
use russh::keys::PublicKey;
use russh::keys::ssh_key::public::KeyData;
use sha1::Sha1;

/// A line that is neither blank nor a comment, split but not yet understood.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) struct Line<'a> {
    marker: Option<&'a [u8]>,
    hosts: &'a [u8],
    key: &'a [u8],
}

/// What a line says about its key.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Marker {
    /// It is a host key.
    None,
    /// It signs host certificates.
    CertAuthority,
    /// It must not be accepted any more.
    Revoked,
}

impl<'a> Line<'a> {
    /// Splits a line; none for blank lines and comments.
    pub(super) fn split(line: &'a [u8]) -> Option<Self> {
        let (first, rest) = word(line)?;
        if first.starts_with(b"#") {
            return None;
        }
        if first.starts_with(b"@") {
            let (hosts, key) = word(rest).unwrap_or_default();
            return Some(Self {
                marker: Some(first),
                hosts,
                key,
            });
        }
        Some(Self {
            marker: None,
            hosts: first,
            key: rest,
        })
    }

    /// Whether the line is about the host, given in lower case as known_hosts spells it.
    pub(super) fn matches(&self, host: &str) -> bool {
        let hosts = String::from_utf8_lossy(self.hosts);
        if self.is_hashed() {
            matches_hash(&hosts, host)
        } else {
            matches_patterns(&hosts, host)
        }
    }

    /// Whether the host name is hidden behind a hash (`HashKnownHosts` in ssh_config(5)).
    pub(super) fn is_hashed(&self) -> bool {
        self.hosts.starts_with(b"|")
    }

    /// The marker, or what is wrong with it.
    pub(super) fn marker(&self) -> Result<Marker, String> {
        match self.marker {
            None => Ok(Marker::None),
            Some(b"@cert-authority") => Ok(Marker::CertAuthority),
            Some(b"@revoked") => Ok(Marker::Revoked),
            Some(other) => Err(format!(
                "the marker {} is unknown",
                String::from_utf8_lossy(other)
            )),
        }
    }

    /// The key, none if it is of a type that no server will show us, or what is wrong with it.
    pub(super) fn key(&self) -> Result<Option<PublicKey>, String> {
        let (kind, rest) = word(self.key).ok_or("the key is missing")?;
        // SSH 1: bits, exponent and modulus in decimal.
        if kind.iter().all(u8::is_ascii_digit) {
            return Ok(None);
        }
        let (encoded, _comment) = word(rest).ok_or("the key is missing")?;
        let blob = BASE64
            .decode(encoded)
            .map_err(|_| "the key is not valid base64")?;
        let name = blob
            .split_first_chunk::<4>()
            .and_then(|(length, rest)| rest.get(..u32::from_be_bytes(*length) as usize))
            .ok_or("the key is cut short")?;
        if name != kind {
            return Err("the key is not of the type the line says".to_owned());
        }
        match PublicKey::from_bytes(&blob) {
            Ok(key) if matches!(key.key_data(), KeyData::Certificate(_) | KeyData::Other(_)) => {
                Ok(None)
            }
            Ok(key) => Ok(Some(key)),
            Err(_) if UNDERSTOOD.contains(&name) => Err("the key is damaged".to_owned()),
            Err(_) => Ok(None),
        }
    }
}

/// The hash of a host name under a salt, as `|1|` entries hold it: HMAC-SHA1 (hostfile.c).
pub(super) fn host_hash(salt: &[u8], host: &str) -> [u8; 20] {
    let mut mac = Hmac::<Sha1>::new_from_slice(salt).expect("HMAC takes a key of any length");
    mac.update(host.as_bytes());
    mac.finalize().into_bytes().into()
}

fn matches_hash(entry: &str, host: &str) -> bool {
    let mut fields = entry.split('|');
    let (Some(""), Some("1"), Some(salt), Some(hash), None) = (
        fields.next(),
        fields.next(),
        fields.next(),
        fields.next(),
        fields.next(),
    ) else {
        return false;
    };
    match (
        BASE64.decode(salt.as_bytes()),
        BASE64.decode(hash.as_bytes()),
    ) {
        (Ok(salt), Ok(hash)) => host_hash(&salt, host)[..] == hash[..],
        _ => false,
    }
}

/// Matches a comma-separated list of patterns; a negated one that matches overrules all others
/// (ssh_config(5), "PATTERNS").
fn matches_patterns(list: &str, host: &str) -> bool {
    let list = list.to_ascii_lowercase();
    let mut is_named = false;
    for pattern in list.split(',') {
        match pattern.strip_prefix('!') {
            Some(negated) if matches_pattern(negated.as_bytes(), host.as_bytes()) => return false,
            Some(_) => {}
            None => is_named |= matches_pattern(pattern.as_bytes(), host.as_bytes()),
        }
    }
    is_named
}

/// Matches `*` and `?`, everything else literally.
///
/// Goes back to the last `*` only, so the time is at worst the product of the lengths.
pub(super) fn matches_pattern(pattern: &[u8], text: &[u8]) -> bool {
    let (mut at, mut position) = (0, 0);
    let mut star: Option<(usize, usize)> = None;
    while position < text.len() {
        match pattern.get(at) {
            Some(b'*') => {
                star = Some((at, position));
                at += 1;
            }
            Some(&letter) if letter == b'?' || letter == text[position] => {
                at += 1;
                position += 1;
            }
            _ => {
                let Some((star_at, covered)) = star else {
                    return false;
                };
                star = Some((star_at, covered + 1));
                at = star_at + 1;
                position = covered + 1;
            }
        }
    }
    pattern[at..].iter().all(|&letter| letter == b'*')
}

/// The next word and what follows it.
fn word(text: &[u8]) -> Option<(&[u8], &[u8])> {
    let text = text.trim_ascii_start();
    let end = text
        .iter()
        .position(u8::is_ascii_whitespace)
        .unwrap_or(text.len());
    (end > 0).then(|| text.split_at(end))
}

/// Key types that a healthy line can be read of.
const UNDERSTOOD: [&[u8]; 5] = [
    b"ecdsa-sha2-nistp256",
    b"ecdsa-sha2-nistp384",
    b"ecdsa-sha2-nistp521",
    b"ssh-ed25519",
    b"ssh-rsa",
];

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(hosts: &str, host: &str, expected: bool) {
        let text = format!("{hosts} ssh-ed25519 AAAA");
        let line = Line::split(text.as_bytes()).unwrap();
        assert_eq!(line.matches(host), expected, "{hosts} against {host}");
    }

    #[test]
    fn patterns_match_as_ssh_config_5_says() {
        check("popserver", "popserver", true);
        check("PopServer.Example.ORG", "popserver.example.org", true);
        check("a,popserver,b", "popserver", true);
        check("popserver", "popserver.example.org", false);
        check("*.example.org", "mail.example.org", true);
        check("*.example.org", "example.org", false);
        check("192.0.2.?", "192.0.2.7", true);
        check("192.0.2.?", "192.0.2.17", false);
        check("*", "[popserver]:2222", true);
        check("[popserver]:*", "[popserver]:2222", true);
        check("[popserver]:2222", "popserver", false);
        check("popserver", "[popserver]:2222", false);
        check("*a*a*a*b", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false);
    }

    #[test]
    fn a_negated_pattern_overrules_the_whole_line_wherever_it_stands() {
        check("*.example.org,!bad.example.org", "bad.example.org", false);
        check("!bad.example.org,*.example.org", "bad.example.org", false);
        check("!bad.example.org,*.example.org", "good.example.org", true);
        check("!bad.example.org", "good.example.org", false);
    }

    #[test]
    fn hashes_are_those_of_ssh_keygen() {
        // Made by `ssh-keygen -H` from a line for popserver.
        let hashed = "|1|faqZqEplNO1MGmFAVL9MtMKThjk=|4VQCgpxC+/W8mAKQh7XCTP+Ym08=";
        check(hashed, "popserver", true);
        check(hashed, "popserver2", false);
        check(
            "|2|faqZqEplNO1MGmFAVL9MtMKThjk=|4VQCgpxC+/W8mAKQh7XCTP+Ym08=",
            "popserver",
            false,
        );
        check("|1|not base64|x", "popserver", false);
    }

    #[test]
    fn blanks_tabs_and_comments_are_skipped() {
        for skipped in ["", "   ", "\t", "# popserver ssh-ed25519 AAAA", " \t# note"] {
            assert_eq!(Line::split(skipped.as_bytes()), None, "{skipped:?}");
        }
        let line = Line::split(b" \tpopserver\t ssh-ed25519\tAAAA").unwrap();
        assert!(line.matches("popserver"));
    }

    #[test]
    fn markers_are_told_apart() {
        let marker = |text: &'static str| Line::split(text.as_bytes()).unwrap().marker();
        assert_eq!(marker("host ssh-rsa AAAA"), Ok(Marker::None));
        assert_eq!(marker("@revoked * ssh-rsa AAAA"), Ok(Marker::Revoked));
        assert_eq!(
            marker("@cert-authority\t*.org ssh-rsa AAAA"),
            Ok(Marker::CertAuthority)
        );
        assert_eq!(
            marker("@revokd * ssh-rsa AAAA"),
            Err("the marker @revokd is unknown".to_owned())
        );
    }

    #[test]
    fn damaged_keys_are_told_from_foreign_ones() {
        let key = |text: &'static str| Line::split(text.as_bytes()).unwrap().key();
        let ed25519 = "AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3aLq454yWBdwLWbieU1ebz9/cu7/QEXn9OIeZJ";
        let good = format!("h ssh-ed25519 {ed25519} a comment");
        assert!(
            Line::split(good.as_bytes())
                .unwrap()
                .key()
                .unwrap()
                .is_some()
        );
        assert!(key("h").is_err());
        assert!(key("h ssh-ed25519").is_err());
        assert!(key("h ssh-ed25519 !!!").is_err());
        assert!(key("h ssh-ed25519 AAAAC3NzaC1lZDI1NTE5AAAAIJdD7y3a").is_err());
        let mislabelled = format!("h ssh-rsa {ed25519}");
        assert!(Line::split(mislabelled.as_bytes()).unwrap().key().is_err());
        assert_eq!(key("h 1024 35 1378284"), Ok(None));
    }
}
