use std::string::ToString;
use std::vec;

use super::*;

/// The exchange of RFC 5802 §5.
const RFC_5802: Example = Example {
    hash: Hash::Sha1,
    nonce: "fyko+d2lbbFgONRv9qkxdawL",
    client_first: "n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL",
    server_first: "r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096",
    client_final: "c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,\
                   p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=",
    server_final: "v=rmF9pqV8S7suAoZWja4dJRkFsKQ=",
};

/// The exchange of RFC 7677 §3.
const RFC_7677: Example = Example {
    hash: Hash::Sha256,
    nonce: "rOprNGfwEbeRWgbNEkqO",
    client_first: "n,,n=user,r=rOprNGfwEbeRWgbNEkqO",
    server_first: "r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                   s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096",
    client_final: "c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,\
                   p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=",
    server_final: "v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=",
};

struct Example {
    hash: Hash,
    nonce: &'static str,
    client_first: &'static str,
    server_first: &'static str,
    client_final: &'static str,
    server_final: &'static str,
}

impl Example {
    fn start(&self) -> Scram {
        let binding = Binding::Unsupported;
        let mut scram = Scram::new(self.hash, "user", &"pencil".into(), self.nonce, &binding)
            .expect("a user name");
        let first = scram
            .initial_response()
            .expect("no error")
            .expect("it starts");
        assert_eq!(first.expose_secret(), self.client_first.as_bytes());
        scram
    }
}

fn server_first(nonce: &str) -> Result<SecretSlice<u8>, Failure> {
    let mut scram = Scram::new(
        Hash::Sha1,
        "user",
        &"pencil".into(),
        "abc",
        &Binding::Unsupported,
    )?;
    let response = scram.respond(nonce.as_bytes());
    assert_eq!(scram.has_used_secret(), response.is_ok());
    response
}

#[test]
fn the_exchanges_of_the_rfcs() {
    for example in [RFC_5802, RFC_7677] {
        let mut scram = example.start();
        assert!(!scram.has_used_secret());
        assert_eq!(scram.succeeded(), Err(Failure::Unproven));
        let response = scram
            .respond(example.server_first.as_bytes())
            .expect("a proof");
        assert_eq!(response.expose_secret(), example.client_final.as_bytes());
        assert!(scram.has_used_secret());
        assert_eq!(scram.succeeded(), Err(Failure::Unproven));
        let last = scram
            .respond(example.server_final.as_bytes())
            .expect("the end");
        assert_eq!(last.expose_secret(), b"");
        assert_eq!(scram.succeeded(), Ok(()));
        let more = scram.respond(example.server_final.as_bytes()).err();
        assert_eq!(more, Some(Failure::Unexpected));
    }
}

#[test]
fn a_server_that_does_not_know_the_password_is_not_believed() {
    let wrong = [
        (RFC_5802.server_final, RFC_7677, Failure::Signature),
        (
            "v=rmF9pqV8S7suAoZWja4dJRkFsKR=",
            RFC_5802,
            Failure::Malformed { what: "signature" },
        ),
        (
            "v=AmF9pqV8S7suAoZWja4dJRkFsKQ=",
            RFC_5802,
            Failure::Signature,
        ),
        (
            "v=rmF9pqV8S7suAoZWja4dJRkFsKQ",
            RFC_5802,
            Failure::Malformed { what: "signature" },
        ),
        ("v=", RFC_5802, Failure::Signature),
        ("", RFC_5802, Failure::Malformed { what: "signature" }),
        ("ok", RFC_5802, Failure::Malformed { what: "signature" }),
        (
            "e=invalid-proof",
            RFC_5802,
            Failure::Server("invalid-proof".to_string()),
        ),
        (
            "e=\x1b[2J",
            RFC_5802,
            Failure::Server("\u{fffd}[2J".to_string()),
        ),
    ];
    for (server_final, example, failure) in wrong {
        let mut scram = example.start();
        scram
            .respond(example.server_first.as_bytes())
            .expect("a proof");
        assert_eq!(
            scram.respond(server_final.as_bytes()).err(),
            Some(failure),
            "{server_final}"
        );
        assert_eq!(scram.succeeded(), Err(Failure::Unproven), "{server_final}");
    }
}

#[test]
fn a_first_challenge_is_read_strictly_and_never_answered_if_it_is_weak() {
    let malformed = |what| Some(Failure::Malformed { what });
    let iterations = |count| {
        Some(Failure::Iterations {
            count,
            least: 4096,
            most: 5_000_000,
        })
    };
    let table = [
        ("r=abcd,s=QSXC,i=4096", None),
        ("r=abcd,s=QSXC,i=4096,x=extension", None),
        ("r=abc,s=QSXC,i=4096", Some(Failure::Nonce)),
        ("r=abd,s=QSXC,i=4096", Some(Failure::Nonce)),
        ("r=xabcd,s=QSXC,i=4096", Some(Failure::Nonce)),
        ("r=ABCD,s=QSXC,i=4096", Some(Failure::Nonce)),
        ("r=abc\x07,s=QSXC,i=4096", malformed("nonce")),
        ("r=,s=QSXC,i=4096", malformed("nonce")),
        ("s=QSXC,r=abcd,i=4096", malformed("nonce")),
        ("r=abcd,s=,i=4096", malformed("salt")),
        ("r=abcd,s=Q,i=4096", malformed("salt")),
        ("r=abcd,s=QSXC", malformed("iteration count")),
        ("r=abcd,s=QSXC,i=", malformed("iteration count")),
        ("r=abcd,s=QSXC,i=-1", malformed("iteration count")),
        ("r=abcd,s=QSXC,i=+4096", malformed("iteration count")),
        ("r=abcd,s=QSXC,i=4095", iterations(4095)),
        ("r=abcd,s=QSXC,i=1", iterations(1)),
        ("r=abcd,s=QSXC,i=0", iterations(0)),
        ("r=abcd,s=QSXC,i=5000001", iterations(5_000_001)),
        ("r=abcd,s=QSXC,i=4294971392", iterations(4_294_971_392)),
        ("r=abcd,s=QSXC,i=99999999999999999999", iterations(u64::MAX)),
        ("m=new,r=abcd,s=QSXC,i=4096", Some(Failure::Extension)),
        ("", malformed("nonce")),
        ("hello", malformed("nonce")),
        (
            "e=unsupported-channel-binding-type",
            Some(Failure::Server(
                "unsupported-channel-binding-type".to_string(),
            )),
        ),
    ];
    for (challenge, failure) in table {
        assert_eq!(server_first(challenge).err(), failure, "{challenge}");
    }
}

#[test]
fn a_bound_exchange_carries_the_binding_and_an_unbound_one_says_why() {
    let used = Binding::Used(ChannelBinding {
        kind: "tls-exporter",
        data: vec![0xff; 32],
    });
    let table = [
        (Binding::Unsupported, "n,,", BASE64.encode(b"n,,")),
        (Binding::NotOffered, "y,,", BASE64.encode(b"y,,")),
        (
            used,
            "p=tls-exporter,,",
            BASE64.encode(&[&b"p=tls-exporter,,"[..], &[0xff; 32]].concat()),
        ),
    ];
    for (binding, header, channel) in table {
        let mut scram = Scram::new(Hash::Sha256, "user", &"pencil".into(), "abc", &binding)
            .expect("a user name");
        let first = scram
            .initial_response()
            .expect("no error")
            .expect("it starts");
        assert_eq!(
            first.expose_secret(),
            format!("{header}n=user,r=abc").as_bytes()
        );
        let last = scram.respond(b"r=abcd,s=QSXC,i=4096").expect("a proof");
        let start = format!("c={channel},r=abcd,p=");
        assert!(last.expose_secret().starts_with(start.as_bytes()));
    }
}

#[test]
fn a_name_is_prepared_and_escaped() {
    let first = |user: &str| {
        let mut scram =
            Scram::new(Hash::Sha1, user, &"x".into(), "abc", &Binding::Unsupported).ok()?;
        let first = scram.initial_response().ok()??;
        String::from_utf8(first.expose_secret().to_vec()).ok()
    };
    assert_eq!(first("a=b,c").as_deref(), Some("n,,n=a=3Db=2Cc,r=abc"));
    assert_eq!(first("\u{2168}").as_deref(), Some("n,,n=IX,r=abc"));
    assert_eq!(first(""), None);
    assert_eq!(first("a\0b"), None);
}
