//! The host key algorithms that are offered to a server, in what order.
//!
//! A server shows one key, of the first algorithm on our list that it has one for. So what is known
//! of the host decides the order (sshconnect2.c, `order_hostkeyalgs`): with another key than the
//! recorded one, of a server that has several, it would look changed.

use russh::keys::{Algorithm, EcdsaCurve, HashAlg};

use crate::plan::Hop;

use super::algorithms::Unsupported;

/// What the known_hosts files have about a host.
#[derive(Clone, Debug, Default, Eq, PartialEq)]
pub(super) struct Known {
    /// The algorithms of its recorded keys.
    pub(super) algorithms: Vec<Algorithm>,
    /// Whether an authority is trusted to certify its keys.
    pub(super) has_authority: bool,
}

/// Host key algorithms, most wanted first.
#[derive(Clone, Debug, Eq, PartialEq)]
pub(super) struct Offer {
    /// For plain keys.
    pub(super) plain: Vec<Algorithm>,
    /// For certificates of such keys, which are wanted before any plain one.
    pub(super) certificates: Vec<Algorithm>,
}

impl Offer {
    /// Orders what the plan allows by what is known.
    ///
    /// Certificates are asked for only where an authority is trusted; to everybody else they are
    /// plain keys with a long name.
    pub(super) fn new(hop: &Hop, known: &Known) -> Result<Self, Unsupported> {
        let wanted = hop.algorithms.host_keys.as_deref();
        let mut plain = among(wanted, ToString::to_string);
        let mut certificates = among(wanted, Algorithm::to_certificate_type);
        if plain.is_empty() && certificates.is_empty() {
            return Err(Unsupported {
                kind: "host key algorithm",
                names: wanted.unwrap_or_default().to_vec(),
            });
        }
        if !known.has_authority && !plain.is_empty() {
            certificates.clear();
        }
        // Stable, so that what is equally known stays in its order.
        plain.sort_by_key(|algorithm| !known.has(algorithm));
        Ok(Self {
            plain,
            certificates,
        })
    }

    /// The offers that together see every plain key of a server, where this one sees the first.
    pub(super) fn split(&self) -> Vec<Self> {
        let kinds = [
            |one: &Algorithm| matches!(one, Algorithm::Ed25519),
            |one: &Algorithm| matches!(one, Algorithm::Ecdsa { .. }),
            |one: &Algorithm| matches!(one, Algorithm::Rsa { .. }),
            |one: &Algorithm| matches!(one, Algorithm::SkEd25519 | Algorithm::SkEcdsaSha2NistP256),
        ];
        let of_kind = |is_kind: fn(&Algorithm) -> bool| Self {
            plain: self
                .plain
                .iter()
                .filter(|one| is_kind(one))
                .cloned()
                .collect(),
            certificates: Vec::new(),
        };
        let offers = kinds.into_iter().map(of_kind);
        offers.filter(|offer| !offer.plain.is_empty()).collect()
    }
}

impl Known {
    fn has(&self, algorithm: &Algorithm) -> bool {
        match algorithm {
            // The hash belongs to a signature, not to the key.
            Algorithm::Rsa { .. } => self
                .algorithms
                .iter()
                .any(|known| matches!(known, Algorithm::Rsa { .. })),
            other => self.algorithms.contains(other),
        }
    }
}

/// The algorithms we have that are wanted under their name, in the order they are wanted in.
fn among(wanted: Option<&[String]>, name: impl Fn(&Algorithm) -> String) -> Vec<Algorithm> {
    let Some(wanted) = wanted else {
        return ALGORITHMS.to_vec();
    };
    let find = |wanted: &String| ALGORITHMS.iter().find(|one| name(one) == *wanted);
    wanted.iter().filter_map(find).cloned().collect()
}

/// In OpenSSH's order. RSA with SHA-1 is not among them.
const ALGORITHMS: [Algorithm; 8] = [
    Algorithm::Ed25519,
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP256,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP384,
    },
    Algorithm::Ecdsa {
        curve: EcdsaCurve::NistP521,
    },
    Algorithm::SkEd25519,
    Algorithm::SkEcdsaSha2NistP256,
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha512),
    },
    Algorithm::Rsa {
        hash: Some(HashAlg::Sha256),
    },
];

#[cfg(test)]
mod tests {
    use super::*;

    fn offer(wanted: Option<&[&str]>, known: &Known) -> Result<Offer, Unsupported> {
        let mut hop = Hop::new("popserver", "msingh");
        hop.algorithms.host_keys =
            wanted.map(|names| names.iter().map(|&name| name.to_owned()).collect());
        Offer::new(&hop, known)
    }

    #[track_caller]
    fn check(wanted: Option<&[&str]>, known: &Known, certificates: &[&str], plain: &[&str]) {
        let offer = offer(wanted, known).unwrap();
        let names: Vec<_> = offer.plain.iter().map(ToString::to_string).collect();
        assert_eq!(names, plain);
        let names = offer
            .certificates
            .iter()
            .map(Algorithm::to_certificate_type);
        assert_eq!(names.collect::<Vec<_>>(), certificates);
    }

    fn rsa() -> Known {
        Known {
            algorithms: vec![Algorithm::Rsa { hash: None }],
            has_authority: false,
        }
    }

    #[test]
    fn known_kinds_come_first_and_sha1_never() {
        let all = [
            "ssh-ed25519",
            "ecdsa-sha2-nistp256",
            "ecdsa-sha2-nistp384",
            "ecdsa-sha2-nistp521",
            "sk-ssh-ed25519@openssh.com",
            "sk-ecdsa-sha2-nistp256@openssh.com",
            "rsa-sha2-512",
            "rsa-sha2-256",
        ];
        check(None, &Known::default(), &[], &all);
        let mut reordered = all;
        reordered.rotate_right(2);
        check(None, &rsa(), &[], &reordered);
    }

    #[test]
    fn what_is_wanted_limits_the_offer_and_orders_what_is_equally_known() {
        let wanted = [
            "ssh-rsa",
            "ecdsa-sha2-nistp256",
            "rsa-sha2-256",
            "ssh-ed25519",
            "rsa-sha2-512",
            "ssh-dss",
        ];
        check(
            Some(&wanted),
            &rsa(),
            &[],
            &[
                "rsa-sha2-256",
                "rsa-sha2-512",
                "ecdsa-sha2-nistp256",
                "ssh-ed25519",
            ],
        );
    }

    #[test]
    fn certificates_are_asked_for_where_an_authority_is_trusted() {
        let known = Known {
            has_authority: true,
            ..Known::default()
        };
        let wanted = [
            "rsa-sha2-512-cert-v01@openssh.com",
            "ssh-ed25519-cert-v01@openssh.com",
            "ssh-ed25519",
        ];
        check(Some(&wanted), &known, &wanted[..2], &["ssh-ed25519"]);
        check(Some(&wanted), &Known::default(), &[], &["ssh-ed25519"]);
        // Who allows nothing but certificates gets them, and their keys judged as plain ones.
        check(Some(&wanted[..2]), &Known::default(), &wanted[..2], &[]);
        check(Some(&wanted[2..]), &known, &[], &["ssh-ed25519"]);
        assert_eq!(
            offer(None, &known).unwrap().certificates.len(),
            ALGORITHMS.len()
        );
    }

    #[test]
    fn nothing_that_we_have_is_an_error_that_names_what_was_wanted() {
        let error = offer(Some(&["ssh-rsa", "ssh-dss"]), &Known::default()).unwrap_err();
        assert!(error.to_string().contains("ssh-rsa, ssh-dss"), "{error}");
    }

    #[test]
    fn every_plain_algorithm_is_in_one_part_of_a_split_offer() {
        let offer = offer(None, &Known::default()).unwrap();
        let parts = offer.split();
        let mut all: Vec<_> = parts.into_iter().flat_map(|part| part.plain).collect();
        assert_eq!(all.len(), ALGORITHMS.len());
        all.retain(|one| !ALGORITHMS.contains(one));
        assert!(all.is_empty());
    }
}
