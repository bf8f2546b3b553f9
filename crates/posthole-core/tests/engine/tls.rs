//! TLS with servers in process: which certificates are taken, and what is said of the others.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use posthole_core::error::{Class, Error};
use posthole_core::plan::{Authorities, Pin, Tls, TlsIdentity, TlsStart};
use posthole_core::progress::{Event, Observer, Step};
use posthole_core::retrieve;
use posthole_core::transport::tls::Parameters;
use posthole_testkit::mail;
use posthole_testkit::net::Ending;
use posthole_testkit::pop3::{Builder, Faults, Reply};
use posthole_testkit::tls::{self, Authority, Identity, Request};
use sha2::{Digest, Sha256};

use crate::account::{Account, chain};

/// The name that the server should have.
pub(crate) const NAME: &str = "mail.example.org";

/// The two ways in which TLS starts for certain.
const STARTS: [TlsStart; 2] = [TlsStart::AtOnce, TlsStart::Required];

/// An account on a server with a certificate, which trusts an authority.
pub(crate) fn account(
    messages: &[Vec<u8>],
    start: TlsStart,
    server: tls::Tls,
    authority: &str,
    change: impl FnOnce(Builder) -> Builder,
) -> Account {
    let mut account = Account::on(messages, |builder| {
        change(match start {
            TlsStart::AtOnce => builder.tls(server),
            _ => builder.stls(server),
        })
    });
    account.job.tls = Tls {
        start,
        authorities: Authorities::Files(vec![write(&account, "ca.pem", authority)]),
        ..Tls::never(NAME)
    };
    account
}

/// The same, with nothing special about it.
pub(crate) fn ordinary(messages: &[Vec<u8>], start: TlsStart, faults: Faults) -> Account {
    let authority = Authority::new("Test CA");
    let server = tls::Tls::new(&authority.issue(&[NAME]));
    account(messages, start, server, &authority.pem(), |builder| {
        builder.faults(faults)
    })
}

pub(crate) fn write(account: &Account, name: &str, text: &str) -> PathBuf {
    let path = account.directory().join(name);
    std::fs::write(&path, text).unwrap();
    path
}

/// Requires that no part of a login was sent, in the clear or in TLS.
#[track_caller]
pub(crate) fn assert_no_login(account: &Account, what: &str) {
    let heard = account.server.traffic().heard();
    let clear = String::from_utf8_lossy(&heard);
    let inside = account.server.lines().join("\n");
    for secret in ["msingh", "secret", "USER", "PASS", "AUTH", "APOP"] {
        assert!(!clear.contains(secret), "{what}: {secret} in {clear}");
        assert!(!inside.contains(secret), "{what}: {secret} in {inside}");
    }
    // The login in base64, as SASL would send it.
    for encoded in ["bXNpbmdo", "c2VjcmV0", "AG1zaW5naABzZWNyZXQ"] {
        assert!(!clear.contains(encoded), "{what}: {encoded} in {clear}");
    }
}

fn days(days: u64) -> Duration {
    Duration::from_secs(days * 24 * 60 * 60)
}

#[tokio::test]
async fn mail_comes_through_tls_in_both_ways_and_versions() {
    let messages = mail::corpus(1, 60);
    for start in STARTS {
        for (server, version) in [
            (tls::Tls::new as fn(&Identity) -> _, "TLS 1.3"),
            (|identity| tls::Tls::new(identity).only_tls_1_2(), "TLS 1.2"),
        ] {
            let authority = Authority::new("Test CA");
            let server = server(&authority.issue(&[NAME]));
            let account = account(&messages, start, server, &authority.pem(), |b| b);
            let parameters = parameters(&account).await;
            assert_eq!(
                (parameters.version, parameters.stls),
                (version, start == TlsStart::Required)
            );
            account.fetch().await;
            account.assert_delivered(&messages);
            assert!(account.maildrop.is_empty());
            let heard = account.server.traffic().heard();
            let clear = String::from_utf8_lossy(&heard);
            assert!(
                !clear.contains("USER") && !clear.contains("secret"),
                "{clear}"
            );
        }
    }
}

/// What TLS came to, as `posthole check` is told.
async fn parameters(account: &Account) -> Parameters {
    #[derive(Default)]
    struct Steps(Mutex<Vec<Step>>);
    impl Observer for Steps {
        fn event(&self, _account: &str, event: &Event) {
            if let Event::Step { step, .. } = event {
                self.0.lock().unwrap().push(step.clone());
            }
        }
    }
    let steps = Arc::new(Steps::default());
    let mut context = account.context();
    context.observer = Arc::clone(&steps) as _;
    retrieve::check(&account.job, &context).await.unwrap();
    let steps = steps.0.lock().unwrap();
    let secured = steps.iter().find_map(|step| match step {
        Step::Secured(parameters) => Some((**parameters).clone()),
        _ => None,
    });
    secured.expect("TLS is one of the steps")
}

/// A certificate and how an account is to be changed to take it, or not to.
type Case<'a> = (
    &'a str,
    &'a Identity,
    String,
    Box<dyn Fn(&mut Account) + 'a>,
);

#[tokio::test]
async fn the_right_certificate_is_taken() {
    let authority = Authority::new("Test CA");
    let (ca, now) = (authority.pem(), SystemTime::now());
    let right = authority.issue(&["other.example.org", NAME]);
    let any_host = authority.issue(&["*.example.org"]);
    let address = authority.issue(&["192.0.2.7", "2001:db8::7"]);
    let ended = Request::new(&["other"]).valid(now - days(9), now - days(1));
    let ended = ended.self_signed();
    let alone = Request::new(&[NAME]).self_signed();
    let alone_as_authority = Request::new(&[NAME]).authority().self_signed();
    let ed25519 = authority.sign(&Request::new(&[NAME]).ed25519());
    let other = authority.issue(&[NAME]);
    let list = authority.revocation_list(&[&other], now + days(1));
    let digest = |octets: &[u8]| <[u8; 32]>::from(Sha256::digest(octets));
    let cases: Vec<Case<'_>> = vec![
        (
            "its authority is trusted",
            &right,
            ca.clone(),
            Box::new(|_| {}),
        ),
        (
            "it is for any host",
            &any_host,
            ca.clone(),
            Box::new(|_| {}),
        ),
        (
            "it is for an address",
            &address,
            ca.clone(),
            Box::new(|a| a.job.tls.name = "192.0.2.7".into()),
        ),
        (
            "it is for an address with a zone",
            &address,
            ca.clone(),
            Box::new(|a| a.job.tls.name = "2001:db8::7%eth0".into()),
        ),
        (
            "upper case is no difference",
            &right,
            ca.clone(),
            Box::new(|a| a.job.tls.name = NAME.to_uppercase()),
        ),
        (
            "it is trusted itself",
            &alone,
            alone.pem(),
            Box::new(|_| {}),
        ),
        (
            "it is trusted itself and an authority",
            &alone_as_authority,
            alone_as_authority.pem(),
            Box::new(|_| {}),
        ),
        ("Ed25519", &ed25519, ca.clone(), Box::new(|_| {})),
        (
            "its fingerprint is known",
            &ended,
            ca.clone(),
            Box::new(|a| {
                let other = Pin::Certificate([0; 32]);
                a.job.tls.pins = vec![other, Pin::Certificate(digest(ended.der()))];
            }),
        ),
        (
            "its key is known",
            &ended,
            ended.pem(),
            Box::new(|a| {
                a.job.tls.pins = vec![Pin::PublicKey(digest(&ended.public_key()))];
            }),
        ),
        (
            "another one is revoked",
            &right,
            ca.clone(),
            Box::new(|a| {
                a.job.tls.revocation_lists = vec![write(a, "crl.pem", &list)];
            }),
        ),
    ];
    for (what, identity, authority, change) in cases {
        for start in STARTS {
            let server = tls::Tls::new(identity);
            let mut account = account(&[mail::tiny(1)], start, server, &authority, |b| b);
            change(&mut account);
            let error = account.poll().await.error;
            assert!(error.is_none(), "{what}: {}", chain(&error.unwrap()));
            account.assert_delivered(&[mail::tiny(1)]);
        }
    }
}

/// A certificate that is not taken, and what is said of it and what to do.
struct Refused<'a> {
    what: &'a str,
    identity: &'a Identity,
    authority: String,
    change: Box<dyn Fn(&mut Account) + 'a>,
    says: &'a [&'a str],
    advises: &'a [&'a str],
}

#[tokio::test]
async fn no_certificate_but_the_right_one_is_taken() {
    let authority = Authority::new("Test CA");
    let stranger = Authority::new("Stranger CA");
    let (ca, now) = (authority.pem(), SystemTime::now());
    let sign = |request: Request| authority.sign(&request);
    let right = authority.issue(&[NAME]);
    let expired = sign(Request::new(&[NAME]).valid(now - days(400), now - days(35)));
    let early = sign(Request::new(&[NAME]).valid(now + days(3), now + days(400)));
    let many = [
        "a.org", "b.org", "c.org", "d.org", "e.org", "f.org", "g.org", "h.org",
    ];
    let others = authority.issue(&many);
    let star = authority.issue(&["*.mail.example.org"]);
    let common_name = sign(Request::new(&[]).common_name(NAME));
    let of_stranger = stranger.issue(&[NAME]);
    let alone = Request::new(&[NAME]).self_signed();
    let alone_as_authority = Request::new(&[NAME]).authority().self_signed();
    let alone_expired = Request::new(&[NAME])
        .authority()
        .valid(now - days(9), now - days(2));
    let alone_expired = alone_expired.self_signed();
    let client = sign(Request::client(NAME));
    let painted = sign(Request::new(&["x.org"]).common_name("\u{1b}[31mred\r\nHint: all is well"));
    let painted_by = Authority::new("\u{1b}]0;pwned\u{7}\u{202e}");
    let of_painted = painted_by.issue(&[NAME]);
    let revoked = authority.revocation_list(&[&right], now + days(1));
    let stale = authority.revocation_list(&[], now - days(1));
    let nothing = || Box::new(|_: &mut Account| {});
    let cases = [
        Refused {
            what: "expired",
            identity: &expired,
            authority: ca.clone(),
            change: nothing(),
            says: &["the certificate of 127.0.0.1:", " ended 20"],
            advises: &["renew", "clock says 20", " UTC"],
        },
        Refused {
            what: "not yet valid",
            identity: &early,
            authority: ca.clone(),
            change: nothing(),
            says: &["only begins 20", " UTC"],
            advises: &["check the clock"],
        },
        Refused {
            what: "for other names",
            identity: &others,
            authority: ca.clone(),
            change: nothing(),
            says: &[
                "is not for mail.example.org, but for a.org, b.org, c.org, d.org, e.org, f.org \
                 and 2 others",
            ],
            advises: &["tls-name = \"a.org\""],
        },
        Refused {
            what: "for hosts of another domain",
            identity: &star,
            authority: ca.clone(),
            change: nothing(),
            says: &["is not for mail.example.org, but for *.mail.example.org"],
            advises: &["tls-name = \"HOST.mail.example.org\""],
        },
        Refused {
            what: "with the name in its subject alone",
            identity: &common_name,
            authority: ca.clone(),
            change: nothing(),
            says: &["is not for mail.example.org, but for no host at all"],
            advises: &["tls-fingerprint"],
        },
        Refused {
            what: "of a stranger",
            identity: &of_stranger,
            authority: ca.clone(),
            change: nothing(),
            says: &["signed by `CN=Stranger CA`, who is not trusted here"],
            advises: &["tls-ca-file", "tls-fingerprint = \""],
        },
        Refused {
            what: "self-signed",
            identity: &alone,
            authority: ca.clone(),
            change: nothing(),
            says: &["signed by nobody but itself"],
            advises: &["tls-ca-file", "tls-fingerprint = \""],
        },
        Refused {
            what: "self-signed as an authority",
            identity: &alone_as_authority,
            authority: ca.clone(),
            change: nothing(),
            says: &["signed by nobody but itself"],
            advises: &["tls-fingerprint = \""],
        },
        Refused {
            what: "trusted itself, but expired",
            identity: &alone_expired,
            authority: alone_expired.pem(),
            change: nothing(),
            says: &[" ended 20"],
            advises: &["renew"],
        },
        Refused {
            what: "trusted itself, but for another name",
            identity: &alone_as_authority,
            authority: alone_as_authority.pem(),
            change: Box::new(|a| a.job.tls.name = "imap.example.org".into()),
            says: &["is not for imap.example.org, but for mail.example.org"],
            advises: &["tls-name"],
        },
        Refused {
            what: "for clients",
            identity: &client,
            authority: ca.clone(),
            change: nothing(),
            says: &["cannot be used: it is not meant for servers"],
            advises: &[],
        },
        Refused {
            what: "not the one that is known",
            identity: &right,
            authority: ca.clone(),
            change: Box::new(|a| a.job.tls.pins = vec![Pin::Certificate([7; 32])]),
            says: &[
                "has the fingerprint ",
                ", which is not that of tls-fingerprint",
            ],
            advises: &["ask its administrator"],
        },
        Refused {
            what: "revoked",
            identity: &right,
            authority: ca.clone(),
            change: Box::new(|a| {
                a.job.tls.revocation_lists = vec![write(a, "crl.pem", &revoked)];
            }),
            says: &["was revoked by its authority"],
            advises: &[],
        },
        Refused {
            what: "perhaps revoked",
            identity: &right,
            authority: ca.clone(),
            change: Box::new(|a| {
                a.job.tls.revocation_lists = vec![write(a, "crl.pem", &stale)];
            }),
            says: &["list of revoked certificates", "out of date"],
            advises: &["newer list"],
        },
        Refused {
            what: "with a subject that paints",
            identity: &painted,
            authority: ca.clone(),
            change: nothing(),
            says: &["but for x.org"],
            advises: &["tls-name"],
        },
        Refused {
            what: "of an authority that paints",
            identity: &of_painted,
            authority: ca.clone(),
            change: nothing(),
            says: &["signed by `"],
            advises: &["tls-ca-file"],
        },
    ];
    for case in cases {
        for start in STARTS {
            let Refused {
                what,
                identity,
                authority,
                change,
                says,
                advises,
            } = &case;
            let server = tls::Tls::new(identity);
            let mut account = account(&[mail::tiny(1)], start, server, authority, |b| b);
            change(&mut account);
            let error = account
                .poll()
                .await
                .error
                .unwrap_or_else(|| panic!("{what} was taken"));
            let (text, hint) = (chain(&error), error.hint().unwrap_or_default());
            assert_eq!(error.class(), Class::Certificate, "{what}: {text}");
            for word in *says {
                assert!(text.contains(word), "{what}: {word:?} is not in {text:?}");
            }
            for word in *advises {
                assert!(hint.contains(word), "{what}: {word:?} is not in {hint:?}");
            }
            let controls = text
                .chars()
                .chain(hint.chars())
                .filter(|&c| c.is_control() && c != '\n');
            assert_eq!(controls.count(), 0, "{what}: {text:?} {hint:?}");
            assert!(!text.contains('\u{202e}'), "{what}: {text:?}");
            assert_no_login(&account, what);
            assert!(account.server.wait_until_idle(Duration::from_secs(10)));
        }
    }
}

#[tokio::test]
async fn a_server_may_want_a_certificate_of_ours() {
    let authority = Authority::new("Test CA");
    let members = Authority::new("Members CA");
    let right = authority.issue(&[NAME]);
    let ours = members.sign(&Request::client("laptop"));
    let strangers = Authority::new("Stranger CA").sign(&Request::client("laptop"));
    for version in [|tls: tls::Tls| tls, |tls: tls::Tls| tls.only_tls_1_2()] {
        for start in STARTS {
            let server = version(tls::Tls::new(&right).only_clients_of(&members));
            let mut account = account(&[mail::tiny(1)], start, server, &authority.pem(), |b| b);
            for (identity, words) in [
                (None, "wants a certificate of ours"),
                (
                    Some(&strangers),
                    "does not trust whoever signed our certificate",
                ),
            ] {
                show(&mut account, identity);
                let error = account.poll().await.error.unwrap();
                let text = chain(&error);
                assert_eq!(error.class(), Class::Authentication, "{start:?}: {text}");
                assert!(text.contains(words), "{start:?}: {text}");
                assert!(error.hint().unwrap().contains("tls-certificate"), "{text}");
                assert_no_login(&account, words);
            }
            show(&mut account, Some(&ours));
            account.fetch().await;
            account.assert_delivered(&[mail::tiny(1)]);
        }
    }
}

/// Lets an account show a certificate, or none.
fn show(account: &mut Account, identity: Option<&Identity>) {
    account.job.tls.identity = identity.map(|identity| TlsIdentity {
        certificate: write(account, "me.pem", &identity.pem()),
        key: private(write(account, "me.key", &identity.key_pem())),
    });
}

fn private(path: PathBuf) -> PathBuf {
    use std::os::unix::fs::PermissionsExt;
    std::fs::set_permissions(&path, PermissionsExt::from_mode(0o600)).unwrap();
    path
}

#[tokio::test]
async fn files_that_cannot_be_used_are_named_before_anything_is_sent() {
    let authority = Authority::new("Test CA");
    let ours = authority.sign(&Request::client("laptop"));
    let other = authority.sign(&Request::client("other"));
    let new = || {
        let server = tls::Tls::new(&authority.issue(&[NAME]));
        account(
            &[mail::tiny(1)],
            TlsStart::Required,
            server,
            &authority.pem(),
            |b| b,
        )
    };
    let with_key = |account: &mut Account, key: &str, mode: u32| {
        use std::os::unix::fs::PermissionsExt;
        let path = write(account, "me.key", key);
        std::fs::set_permissions(&path, PermissionsExt::from_mode(mode)).unwrap();
        account.job.tls.identity = Some(TlsIdentity {
            certificate: write(account, "me.pem", &ours.pem()),
            key: path,
        });
    };
    let encrypted =
        "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n";
    let old = "-----BEGIN RSA PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\n\nMIIB\n";
    type Change<'a> = Box<dyn Fn(&mut Account) + 'a>;
    let ca_file = |text: &'static str| -> Change<'_> {
        Box::new(move |a| a.job.tls.authorities = Authorities::Files(vec![write(a, "x.pem", text)]))
    };
    let missing = |a: &mut Account| {
        a.job.tls.authorities = Authorities::Files(vec!["/nonexistent/ca.pem".into()]);
    };
    let crl = |a: &mut Account| a.job.tls.revocation_lists = vec![write(a, "x.crl", "no list")];
    let cases: Vec<(&str, Change<'_>, &str, &str)> = vec![
        (
            "missing",
            Box::new(missing),
            "/nonexistent/ca.pem cannot be read: no such file",
            "",
        ),
        (
            "empty",
            ca_file("nothing here\n"),
            "x.pem holds no certificate in PEM",
            "BEGIN CERTIFICATE",
        ),
        (
            "damaged",
            ca_file("-----BEGIN CERTIFICATE-----\nMIIB\n-----END CERTIFICATE-----\n"),
            "x.pem holds a certificate that is damaged",
            "openssl x509",
        ),
        (
            "no list",
            Box::new(crl),
            "x.crl holds no list of revoked certificates",
            "",
        ),
        (
            "encrypted key",
            Box::new(|a| with_key(a, encrypted, 0o600)),
            "me.key holds a private key that is encrypted",
            "openssl pkey -in ",
        ),
        (
            "old encrypted key",
            Box::new(|a| with_key(a, old, 0o600)),
            "that is encrypted",
            "openssl",
        ),
        (
            "open key",
            Box::new(|a| with_key(a, &ours.key_pem(), 0o640)),
            "me.key is open to others (its mode is 640)",
            "chmod 600",
        ),
        (
            "no key",
            Box::new(|a| with_key(a, "text", 0o600)),
            "holds no private key",
            "BEGIN PRIVATE KEY",
        ),
        (
            "another's key",
            Box::new(|a| with_key(a, &other.key_pem(), 0o600)),
            "me.key holds a private key that does not belong to ",
            "",
        ),
    ];
    for (what, change, says, advises) in cases {
        let mut account = new();
        change(&mut account);
        let error = account.poll().await.error.unwrap();
        let (text, hint) = (chain(&error), error.hint().unwrap_or_default());
        assert_eq!(error.class(), Class::Config, "{what}: {text}");
        assert!(text.contains(says), "{what}: {text}");
        assert!(hint.contains(advises), "{what}: {hint}");
        assert!(!format!("{error:?}").contains("MIIB"), "{what}: {error:?}");
        assert_no_login(&account, what);
    }
}

#[tokio::test]
async fn tls_cut_anywhere_loses_and_doubles_nothing() {
    let messages: Vec<_> = (0..6).map(mail::tiny).collect();
    let start = TlsStart::Required;
    let whole = ordinary(&messages, start, Faults::new());
    whole.fetch().await;
    let traffic = whole.server.traffic();
    let by_sent = (0..traffic.sent())
        .step_by(157)
        .map(|n| Faults::new().cut_after_sent(n));
    let by_received = (0..traffic.received())
        .step_by(97)
        .map(|n| Faults::new().cut_after_received(n));
    for (index, faults) in by_sent.chain(by_received).enumerate() {
        let ending = [Ending::Close, Ending::Reset][index % 2];
        let faults = faults.ending(ending);
        let what = format!("{faults:?}");
        let account = ordinary(&messages, start, faults);
        let report = account.poll().await;
        // The last octets are the goodbye of TLS, which nobody waits for.
        if let Some(error) = report.error {
            assert_eq!(error.class(), Class::Temporary, "{what}: {}", chain(&error));
        }
        account.server.set_faults(Faults::new());
        account.fetch().await;
        account.fetch().await;
        account.assert_delivered(&messages);
        assert!(account.maildrop.is_empty(), "{what}");
    }
}

#[tokio::test]
async fn an_end_without_the_goodbye_of_tls_is_a_loss_inside_a_message_and_fine_after_quit() {
    let messages = [mail::tiny(1), mail::tiny(2)];
    let faults = Faults::new().without_tls_goodbye();
    let account = ordinary(&messages, TlsStart::AtOnce, faults);
    account.fetch().await;
    account.assert_delivered(&messages);
    assert!(account.maildrop.is_empty());

    let inside = || Faults::new().on("RETR 2", Reply::prefix(20).close());
    for (faults, says) in [
        (inside(), "in the middle of the reply to RETR 2"),
        (
            inside().without_tls_goodbye(),
            "it ended without the goodbye of TLS",
        ),
    ] {
        let account = ordinary(&messages, TlsStart::AtOnce, faults);
        let error = account.poll().await.error.unwrap();
        let text = chain(&error);
        assert_eq!(error.class(), Class::Temporary, "{text}");
        assert!(text.contains(says), "{says}: {text}");
        assert_eq!(account.delivered(), mail::delivered_sorted(&messages[..1]));
    }
}

#[tokio::test]
async fn the_systems_authorities_are_found_where_the_environment_says() {
    let authority = Authority::new("Test CA");
    let server = tls::Tls::new(&authority.issue(&[NAME]));
    let mut account = account(&[mail::tiny(1)], TlsStart::AtOnce, server, "", |b| b);
    let system = |file: Option<&Path>, directory: Option<&Path>| {
        Authorities::System(posthole_core::plan::SystemStore {
            file: file.map(Path::to_owned),
            directories: directory.map(Path::to_owned).into_iter().collect(),
        })
    };
    let file = write(&account, "bundle.pem", &authority.pem());
    let directory = account.directory().join("certs");
    std::fs::create_dir(&directory).unwrap();
    std::fs::write(directory.join("0.pem"), authority.pem()).unwrap();
    for authorities in [system(Some(&file), None), system(None, Some(&directory))] {
        account.job.tls.authorities = authorities;
        account.check().await.unwrap();
    }
    let empty = write(&account, "empty.pem", "");
    account.job.tls.authorities = system(Some(&empty), None);
    account.server.clear_log();
    let error = account.poll().await.error.unwrap();
    assert_eq!(error.class(), Class::Local);
    assert!(
        chain(&error).contains("no certificate authorities are known"),
        "{}",
        chain(&error)
    );
    assert!(error.hint().unwrap().contains("ca-certificates"));
    assert_no_login(&account, "no authorities");
}

#[tokio::test]
async fn a_server_that_speaks_the_other_kind_of_pop3_is_recognised() {
    // POP3 without TLS where TLS is expected from the start.
    let mut plain = Account::with(&[], Faults::new());
    plain.job.tls.start = TlsStart::AtOnce;
    let error = plain.poll().await.error.unwrap();
    let Error::Transport(_) = &error else {
        panic!("{}", chain(&error))
    };
    assert_eq!(error.class(), Class::Protocol);
    let text = chain(&error);
    assert!(
        text.contains("in plain text instead of TLS: `+OK posthole test server ready`"),
        "{text}"
    );
    assert!(
        error
            .hint()
            .unwrap()
            .contains("write pop3:// in place of pop3s://")
    );
    assert_no_login(&plain, "plain");

    // TLS from the start where a greeting is expected: both wait for the other.
    let account = ordinary(&[], TlsStart::AtOnce, Faults::new());
    let mut account = account.timeout(Duration::from_millis(300));
    account.job.tls = Tls::never(NAME);
    let error = account.poll().await.error.unwrap();
    assert_eq!(error.class(), Class::Temporary, "{}", chain(&error));
    assert!(
        error.hint().unwrap().contains("pop3s://"),
        "{:?}",
        error.hint()
    );
    assert_no_login(&account, "silence");
}
