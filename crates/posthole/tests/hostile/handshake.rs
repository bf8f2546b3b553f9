//! TLS before there are keys, and certificates by the hundred.

use std::time::Duration;

use posthole_testkit::tls::raw::*;
use posthole_testkit::tls::{Authority, Tls};

use crate::{By, Case, NAME};

macro_rules! tls {
    ($name:literal, $says:literal, |$session:ident| $script:block) => {
        tls!($name, $says, crate::handshake::right, |$session| $script)
    };
    ($name:literal, $says:literal, $server:expr, |$session:ident| $script:block) => {
        crate::Case {
            name: $name,
            says: $says,
            logs_in: false,
            by: crate::By::Tls {
                server: $server,
                #[allow(unused_mut, reason = "not every script changes it")]
                script: |mut $session| Box::pin(async move { $script }),
            },
        }
    };
}
pub(crate) use tls;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = nonsense();
    cases.extend(hellos());
    cases.extend(certificates());
    cases
}

/// A server with nothing special about it.
pub(crate) fn right(authority: &Authority) -> Tls {
    Tls::new(&authority.issue(&[NAME]))
}

fn nonsense() -> Vec<Case> {
    vec![
        tls!(
            "tls_silence_at_once",
            "did not finish the TLS handshake",
            |s| { s.listen().await }
        ),
        tls!(
            "tls_silence_after_the_hello",
            "did not finish the TLS handshake",
            |s| {
                s.hear_hello().await?;
                s.listen().await
            }
        ),
        tls!("tls_an_end_after_the_hello", "", |s| {
            s.hear_hello().await?;
            Ok(())
        }),
        tls!(
            "tls_an_octet_at_a_time",
            "did not finish the TLS handshake",
            |s| {
                s.hear_hello().await?;
                s.write(&[HANDSHAKE, 3, 3, 0x40, 0]).await?;
                loop {
                    s.write(&[2]).await?;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        ),
        tls!(
            "tls_a_record_at_a_time",
            "did not finish the TLS handshake",
            |s| {
                s.hear_hello().await?;
                // Four octets of a hello in a record each.
                s.write(&clear(HANDSHAKE, &[2, 0, 0xff, 0])).await?;
                loop {
                    s.write(&clear(HANDSHAKE, &[3])).await?;
                    tokio::time::sleep(Duration::from_millis(50)).await;
                }
            }
        ),
        tls!("tls_a_record_of_an_absurd_length", "", |s| {
            s.hear_hello().await?;
            s.write(&[HANDSHAKE, 3, 3, 0xff, 0xff]).await?;
            s.flood(&[0x2a; 1024]).await
        }),
        tls!("tls_records_without_octets", "", |s| {
            s.hear_hello().await?;
            s.flood(&clear(HANDSHAKE, &[])).await
        }),
        tls!("tls_a_message_of_an_absurd_length", "", |s| {
            s.hear_hello().await?;
            s.write(&clear(HANDSHAKE, &[2, 0xff, 0xff, 0xff])).await?;
            s.flood(&clear(HANDSHAKE, &[0x2a; 1 << 14])).await
        }),
        tls!("tls_messages_that_do_not_exist", "", |s| {
            s.hear_hello().await?;
            s.flood(&clear(HANDSHAKE, &[99, 0, 0, 1, 0])).await
        }),
        tls!("tls_records_that_do_not_exist", "", |s| {
            s.hear_hello().await?;
            s.flood(&clear(99, &[0; 100])).await
        }),
        tls!("tls_data_before_there_are_keys", "", |s| {
            s.hear_hello().await?;
            s.flood(&clear(APPLICATION_DATA, b"+OK ready\r\n")).await
        }),
        tls!("tls_heartbeats", "", |s| {
            s.hear_hello().await?;
            // More asked for than there is (CVE-2014-0160).
            s.flood(&clear(24, &[1, 0x40, 0, 1])).await
        }),
        tls!("tls_changes_of_cipher_without_end", "", |s| {
            s.hear_hello().await?;
            s.flood(&clear(CHANGE_CIPHER_SPEC, &[1])).await
        }),
        tls!("tls_warnings_without_end", "", |s| {
            s.hear_hello().await?;
            // RFC 5246 §7.2: a warning that the name is not known.
            s.flood(&clear(ALERT, &[1, 112])).await
        }),
        tls!("tls_a_goodbye_instead_of_a_hello", "", |s| {
            s.hear_hello().await?;
            s.write(&clear(ALERT, &[1, 0])).await?;
            s.listen().await
        }),
        tls!("tls_an_alert_of_two_octets_too_many", "", |s| {
            s.hear_hello().await?;
            s.flood(&clear(ALERT, &[2, 40, 2, 40])).await
        }),
        tls!("tls_no_protocol_in_common", "refused TLS with us", |s| {
            s.hear_hello().await?;
            // no_application_protocol (RFC 7301 §3.2).
            s.write(&clear(ALERT, &[2, 120])).await?;
            s.listen().await
        }),
        tls!("tls_the_hello_of_a_client", "", |s| {
            s.hear_hello().await?;
            s.flood(&clear(HANDSHAKE, &[1, 0, 0, 4, 3, 3, 0, 0])).await
        }),
        tls!(
            "tls_plain_text_in_the_handshake",
            "answered in plain text",
            |s| {
                s.hear_hello().await?;
                s.flood(b"+OK \x1b[2Jlog in\r\n").await
            }
        ),
    ]
}

/// A ServerHello (RFC 8446 §4.1.3) with this version, cipher and extensions.
fn hello(version: u16, id: &[u8], cipher: u16, random: [u8; 32], extensions: &[u8]) -> Vec<u8> {
    let mut body = version.to_be_bytes().to_vec();
    body.extend(random);
    body.push(u8::try_from(id.len()).unwrap());
    body.extend(id);
    body.extend(cipher.to_be_bytes());
    body.push(0);
    if !extensions.is_empty() {
        body.extend(u16::try_from(extensions.len()).unwrap().to_be_bytes());
        body.extend(extensions);
    }
    let length = u32::try_from(body.len()).unwrap().to_be_bytes();
    let message = [&[2], &length[1..], &body].concat();
    clear(HANDSHAKE, &message)
}

/// The random octets that make it a wish for another hello (RFC 8446 §4.1.3).
const RETRY: [u8; 32] = [
    0xcf, 0x21, 0xad, 0x74, 0xe5, 0x9a, 0x61, 0x11, 0xbe, 0x1d, 0x8c, 0x02, 0x1e, 0x65, 0xb8, 0x91,
    0xc2, 0xa2, 0x11, 0x16, 0x7a, 0xbb, 0x8c, 0x5e, 0x07, 0x9e, 0x09, 0xe2, 0xc8, 0xa8, 0x33, 0x9c,
];

/// That it is TLS 1.3, and a key exchange over P-256 is wanted.
const TLS_1_3_WITH_P256: [u8; 12] = [0, 0x2b, 0, 2, 3, 4, 0, 0x33, 0, 2, 0, 0x17];

fn hellos() -> Vec<Case> {
    vec![
        tls!("tls_of_1999", "it knows neither TLS 1.3 nor TLS 1.2", |s| {
            let id = s.hear_hello().await?;
            s.write(&hello(0x0301, &id, 0x002f, [7; 32], &[])).await?;
            s.listen().await
        }),
        tls!("tls_1_1", "it knows neither TLS 1.3 nor TLS 1.2", |s| {
            let id = s.hear_hello().await?;
            s.write(&hello(0x0302, &id, 0x002f, [7; 32], &[])).await?;
            s.listen().await
        }),
        tls!("tls_ssl_3", "it knows neither TLS 1.3 nor TLS 1.2", |s| {
            let id = s.hear_hello().await?;
            s.write(&hello(0x0300, &id, 0x0005, [7; 32], &[])).await?;
            s.listen().await
        }),
        tls!("tls_without_a_cipher", "", |s| {
            let id = s.hear_hello().await?;
            // TLS_RSA_WITH_NULL_SHA256.
            s.write(&hello(0x0303, &id, 0x003b, [7; 32], &[])).await?;
            s.listen().await
        }),
        tls!("tls_with_a_cipher_for_export", "", |s| {
            let id = s.hear_hello().await?;
            s.write(&hello(0x0303, &id, 0x0003, [7; 32], &[])).await?;
            s.listen().await
        }),
        tls!("tls_taken_down_to_1_2_by_somebody_in_between", "", |s| {
            let id = s.hear_hello().await?;
            let mut random = [7; 32];
            // What a server of TLS 1.3 says when it is asked for less (RFC 8446 §4.1.3).
            random[24..].copy_from_slice(b"DOWNGRD\x01");
            s.write(&hello(0x0303, &id, 0xc02b, random, &[])).await?;
            s.listen().await
        }),
        tls!("tls_one_wish_for_another_hello_after_the_other", "", |s| {
            let id = s.hear_hello().await?;
            loop {
                s.write(&hello(0x0303, &id, 0x1301, RETRY, &TLS_1_3_WITH_P256))
                    .await?;
                s.hear_hello().await?;
            }
        }),
        tls!("tls_an_extension_that_nobody_asked_for", "", |s| {
            let id = s.hear_hello().await?;
            // TLS 1.3, and a protocol of the server's own choice (RFC 7301).
            let extensions = [0, 0x2b, 0, 2, 3, 4, 0, 0x10, 0, 5, 0, 3, 2, b'h', b'2'];
            s.write(&hello(0x0303, &id, 0x1301, [7; 32], &extensions))
                .await?;
            s.listen().await
        }),
        tls!("tls_a_session_that_nobody_asked_for", "", |s| {
            let id = s.hear_hello().await?;
            // TLS 1.3, and the first of the keys that were agreed upon before (RFC 8446 §4.2.11).
            let extensions = [0, 0x2b, 0, 2, 3, 4, 0, 0x29, 0, 2, 0, 0];
            s.write(&hello(0x0303, &id, 0x1301, [7; 32], &extensions))
                .await?;
            s.listen().await
        }),
        tls!("tls_a_hello_for_another_session", "", |s| {
            s.hear_hello().await?;
            let extensions = [0, 0x2b, 0, 2, 3, 4];
            s.write(&hello(0x0303, &[9; 32], 0x1301, [7; 32], &extensions))
                .await?;
            s.listen().await
        }),
        tls!("tls_a_key_of_nothing", "", |s| {
            let id = s.hear_hello().await?;
            // TLS 1.3, and X25519 with a point that makes every secret zero (RFC 7748 §6.1).
            let mut extensions = vec![0, 0x2b, 0, 2, 3, 4, 0, 0x33, 0, 36, 0, 0x1d, 0, 32];
            extensions.extend([0; 32]);
            s.write(&hello(0x0303, &id, 0x1301, [7; 32], &extensions))
                .await?;
            s.listen().await
        }),
    ]
}

fn certificates() -> Vec<Case> {
    let listens: crate::Script<RawTls> = |session| {
        Box::pin(async move {
            let mut session = session.shake_hands().await?;
            session.listen().await
        })
    };
    let case = |name, says, server| Case {
        name,
        says,
        logs_in: false,
        by: By::Tls {
            server,
            script: listens,
        },
    };
    vec![
        case("tls_a_chain_of_a_megabyte", "", |authority| {
            let other = authority.issue(&["other.example.org"]).pem();
            right(authority).also_showing(vec![other; 2_500])
        }),
        case(
            "tls_a_certificate_for_ten_thousand_names",
            "",
            |authority| {
                let names: Vec<_> = (0..10_000).map(|n| format!("h{n}.example.org")).collect();
                let names: Vec<_> = names.iter().map(String::as_str).collect();
                Tls::new(&authority.issue(&names))
            },
        ),
        // Each may have signed the one before, so that a client that tries all ways never ends.
        case("tls_a_maze_of_authorities", "the certificate of", |_| {
            let same = || Authority::new("Test CA");
            let maze = (0..150).map(|_| same().pem());
            Tls::new(&same().issue(&[NAME])).also_showing(maze)
        }),
        case(
            "tls_a_certificate_of_a_stranger",
            "the certificate of",
            |_| right(&Authority::new("Stranger CA")),
        ),
    ]
}
