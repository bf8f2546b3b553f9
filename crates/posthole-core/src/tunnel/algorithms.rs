//! Which algorithms a session offers, best first.
//!
//! Where the person's OpenSSH configuration names algorithms, those and no others are offered, in
//! its order. It may name some that russh lacks, which are left out; if nothing is left of a list,
//! there can be no session, and `ssh` itself has to carry it. Names that stand for no protection at
//! all are never offered, whoever asks for them.
//!
//! The pseudo-methods of the key exchange, which stand for strict key exchange and extensions, are
//! not ours to choose and always there.

use std::borrow::Cow;
use std::fmt;

use russh::{Limits, Names, Preferred, cipher, compression, kex, mac};

use crate::plan::{Algorithms, Rekey};

use super::offer::Offer;

/// What a session offers to a server.
pub(super) fn preferred(
    chosen: &Algorithms,
    ciphers: Ciphers,
    host_keys: &Offer,
    compresses: bool,
) -> Result<Preferred, Unsupported> {
    let mut kex = match &chosen.key_exchanges {
        None => KEY_EXCHANGES.to_vec(),
        Some(names) => known("key exchange method", names, |name| {
            let name = kex::Name::try_from(name).ok()?;
            (name != kex::NONE).then_some(name)
        })?,
    };
    kex.extend([
        kex::EXTENSION_SUPPORT_AS_CLIENT,
        kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT,
    ]);
    let cipher = match &chosen.ciphers {
        None => ciphers.of_ours(),
        Some(names) => known("cipher", names, |name| {
            let name = cipher::Name::try_from(name).ok()?;
            let is_one = name != cipher::NONE && name != cipher::CLEAR;
            (is_one && ciphers.may_offer(name)).then_some(name)
        })?,
    };
    let mac = match &chosen.macs {
        None => MACS.to_vec(),
        Some(names) => known("message authentication code", names, |name| {
            let name = mac::Name::try_from(name).ok()?;
            (name != mac::NONE).then_some(name)
        })?,
    };
    let compression: &[compression::Name] = if compresses {
        &[
            // As ssh(1): not before the login.
            compression::ZLIB_LEGACY,
            compression::ZLIB,
            compression::NONE,
        ]
    } else {
        &[compression::NONE]
    };
    Ok(Preferred {
        kex: Cow::Owned(kex),
        key: Cow::Owned(host_keys.plain.clone()),
        host_key_certificates: Cow::Owned(host_keys.certificates.clone()),
        cipher: Cow::Owned(cipher),
        mac: Cow::Owned(mac),
        compression: Cow::Borrowed(compression),
    })
}

/// When a session renews its keys.
///
/// Never later than RFC 4253 §9 recommends, and not before there was time for more than the
/// renewal itself.
pub(super) fn rekey_limits(rekey: Rekey) -> Limits {
    let default = Limits::default();
    let octets = rekey.octets.map_or(default.rekey_read_limit, |octets| {
        usize::try_from(octets)
            .unwrap_or(usize::MAX)
            .clamp(LEAST_BETWEEN_REKEYS, default.rekey_read_limit)
    });
    let time = rekey.time.unwrap_or(default.rekey_time_limit);
    Limits::new(octets, octets, time.min(default.rekey_time_limit))
}

/// Which ciphers are offered.
#[derive(Clone, Copy, Debug, Eq, PartialEq)]
pub(super) enum Ciphers {
    /// All that are good.
    All,
    /// Those that are good without strict key exchange, too.
    ///
    /// An attacker on the way can cut messages off the start of a session (Terrapin,
    /// CVE-2023-48795) if its cipher is ChaCha20-Poly1305, or CBC with encrypt-then-MAC.
    WithoutStrictKex,
}

impl Ciphers {
    fn of_ours(self) -> Vec<cipher::Name> {
        let gcm = [cipher::AES_128_GCM, cipher::AES_256_GCM];
        let ctr = [
            cipher::AES_256_CTR,
            cipher::AES_192_CTR,
            cipher::AES_128_CTR,
        ];
        let chacha = match self {
            Self::All => Some(cipher::CHACHA20_POLY1305),
            Self::WithoutStrictKex => None,
        };
        if has_aes_instructions() {
            gcm.into_iter().chain(chacha).chain(ctr).collect()
        } else {
            chacha.into_iter().chain(gcm).chain(ctr).collect()
        }
    }

    fn may_offer(self, name: cipher::Name) -> bool {
        match self {
            Self::All => true,
            Self::WithoutStrictKex => name != cipher::CHACHA20_POLY1305 && !is_cbc(name),
        }
    }
}

/// Whether a session with these algorithms is open to the Terrapin attack.
pub(super) fn is_open_to_terrapin(names: &Names) -> bool {
    let is_etm = |mac: mac::Name| mac.as_ref().contains("-etm@");
    let is_weak = names.cipher == cipher::CHACHA20_POLY1305
        || is_cbc(names.cipher) && (is_etm(names.client_mac) || is_etm(names.server_mac));
    is_weak && !names.strict_kex()
}

fn is_cbc(name: cipher::Name) -> bool {
    name.as_ref().ends_with("-cbc")
}

fn has_aes_instructions() -> bool {
    #[cfg(target_arch = "x86_64")]
    return std::arch::is_x86_feature_detected!("aes");
    #[cfg(target_arch = "aarch64")]
    return std::arch::is_aarch64_feature_detected!("aes");
    #[cfg(not(any(target_arch = "x86_64", target_arch = "aarch64")))]
    return false;
}

/// The algorithms of a list that can be had.
fn known<T>(
    kind: &'static str,
    names: &[String],
    find: impl Fn(&str) -> Option<T>,
) -> Result<Vec<T>, Unsupported> {
    let found: Vec<_> = names.iter().filter_map(|name| find(name)).collect();
    if found.is_empty() {
        return Err(Unsupported {
            kind,
            names: names.to_vec(),
        });
    }
    Ok(found)
}

/// None of the algorithms that the configuration allows can be had.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Unsupported {
    pub(super) kind: &'static str,
    pub(super) names: Vec<String>,
}

impl fmt::Display for Unsupported {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { kind, names } = self;
        match &names[..] {
            [] => write!(f, "the configuration allows no {kind}"),
            [name] => write!(
                f,
                "the only {kind} allowed is {name}, which is not built in"
            ),
            names => {
                let names = names.join(", ");
                write!(f, "no {kind} allowed is built in: {names}")
            }
        }
    }
}

/// The methods of OpenSSH's own list that russh has, the one that is safe from a future quantum
/// computer first.
const KEY_EXCHANGES: [kex::Name; 10] = [
    kex::MLKEM768X25519_SHA256,
    kex::CURVE25519,
    kex::CURVE25519_PRE_RFC_8731,
    kex::ECDH_SHA2_NISTP256,
    kex::ECDH_SHA2_NISTP384,
    kex::ECDH_SHA2_NISTP521,
    kex::DH_GEX_SHA256,
    kex::DH_G16_SHA512,
    kex::DH_G18_SHA512,
    kex::DH_G14_SHA256,
];

/// For the ciphers in counter mode; the others authenticate by themselves.
const MACS: [mac::Name; 4] = [
    mac::HMAC_SHA256_ETM,
    mac::HMAC_SHA512_ETM,
    mac::HMAC_SHA256,
    mac::HMAC_SHA512,
];

/// A renewal itself takes a few packets and round trips.
const LEAST_BETWEEN_REKEYS: usize = 64 * 1024;

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use russh::keys::Algorithm;

    use super::*;

    fn offered(chosen: &Algorithms, ciphers: Ciphers) -> Result<Preferred, Unsupported> {
        let host_keys = Offer {
            plain: vec![Algorithm::Ed25519],
            certificates: Vec::new(),
        };
        preferred(chosen, ciphers, &host_keys, false)
    }

    fn names(names: &[&str]) -> Option<Vec<String>> {
        Some(names.iter().map(|&name| name.to_owned()).collect())
    }

    #[test]
    fn the_hybrid_key_exchange_comes_first_and_strict_key_exchange_is_asked_for() {
        let offer = offered(&Algorithms::default(), Ciphers::All).unwrap();
        assert_eq!(offer.kex[0], kex::MLKEM768X25519_SHA256);
        let strict = kex::EXTENSION_OPENSSH_STRICT_KEX_AS_CLIENT;
        assert!(offer.kex.contains(&strict));
        let chosen = Algorithms {
            key_exchanges: names(&["curve25519-sha256"]),
            ..Algorithms::default()
        };
        let offer = offered(&chosen, Ciphers::All).unwrap();
        assert_eq!(offer.kex[0], kex::CURVE25519);
        assert!(offer.kex.contains(&strict));
    }

    #[test]
    fn a_configured_list_counts_in_its_order_without_what_is_not_built_in() {
        let chosen = Algorithms {
            ciphers: names(&[
                "aes256-ctr",
                "rijndael-cbc@lysator.liu.se",
                "chacha20-poly1305@openssh.com",
            ]),
            key_exchanges: names(&["sntrup761x25519-sha512", "ecdh-sha2-nistp256"]),
            macs: names(&["umac-128-etm@openssh.com", "hmac-sha2-512"]),
            ..Algorithms::default()
        };
        let offer = offered(&chosen, Ciphers::All).unwrap();
        assert_eq!(
            *offer.cipher,
            [cipher::AES_256_CTR, cipher::CHACHA20_POLY1305]
        );
        assert_eq!(*offer.mac, [mac::HMAC_SHA512]);
        assert_eq!(offer.kex[0], kex::ECDH_SHA2_NISTP256);
    }

    #[test]
    fn a_list_of_which_nothing_is_left_names_what_it_held() {
        for (list, text) in [
            (
                &["umac-64@openssh.com", "hmac-md5"][..],
                "no message authentication code allowed is built in: umac-64@openssh.com, hmac-md5",
            ),
            (
                &["none"],
                "the only message authentication code allowed is none, which is not built in",
            ),
            (
                &[],
                "the configuration allows no message authentication code",
            ),
        ] {
            let chosen = Algorithms {
                macs: names(list),
                ..Algorithms::default()
            };
            let error = offered(&chosen, Ciphers::All).unwrap_err();
            assert_eq!(error.to_string(), text);
        }
    }

    #[test]
    fn no_protection_is_never_offered() {
        let chosen = Algorithms {
            ciphers: names(&["none", "clear", "aes256-ctr"]),
            key_exchanges: names(&["none", "curve25519-sha256"]),
            macs: names(&["none", "hmac-sha2-256"]),
            ..Algorithms::default()
        };
        let offer = offered(&chosen, Ciphers::All).unwrap();
        assert_eq!(*offer.cipher, [cipher::AES_256_CTR]);
        assert_eq!(offer.kex[0], kex::CURVE25519);
        assert_eq!(*offer.mac, [mac::HMAC_SHA256]);
    }

    #[test]
    fn what_terrapin_breaks_is_not_offered_to_a_server_without_strict_key_exchange() {
        let ours = Algorithms::default();
        let chacha = &cipher::CHACHA20_POLY1305;
        let offer = offered(&ours, Ciphers::All).unwrap();
        assert!(offer.cipher.contains(chacha));
        let offer = offered(&ours, Ciphers::WithoutStrictKex).unwrap();
        assert!(!offer.cipher.contains(chacha));

        let mut chosen = Algorithms {
            ciphers: names(&[
                "chacha20-poly1305@openssh.com",
                "aes256-cbc",
                "aes256-gcm@openssh.com",
            ]),
            ..Algorithms::default()
        };
        let offer = offered(&chosen, Ciphers::WithoutStrictKex).unwrap();
        assert_eq!(*offer.cipher, [cipher::AES_256_GCM]);
        chosen.ciphers = names(&["chacha20-poly1305@openssh.com"]);
        offered(&chosen, Ciphers::All).unwrap();
        offered(&chosen, Ciphers::WithoutStrictKex).unwrap_err();
    }

    #[test]
    fn keys_are_renewed_when_the_configuration_says_and_never_too_late() {
        let limits = |octets, seconds: Option<u64>| {
            let limits = rekey_limits(Rekey {
                octets,
                time: seconds.map(Duration::from_secs),
            });
            (
                limits.rekey_read_limit,
                limits.rekey_write_limit,
                limits.rekey_time_limit.as_secs(),
            )
        };
        assert_eq!(limits(None, None), (1 << 30, 1 << 30, 3600));
        assert_eq!(limits(Some(1 << 20), Some(60)), (1 << 20, 1 << 20, 60));
        assert_eq!(
            limits(Some(u64::MAX), Some(86_400)),
            (1 << 30, 1 << 30, 3600)
        );
        assert_eq!(limits(Some(16), None).0, LEAST_BETWEEN_REKEYS);
    }
}
