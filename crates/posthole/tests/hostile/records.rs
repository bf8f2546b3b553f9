//! TLS after the handshake.

use std::io;

use posthole_testkit::tls::Tls;
use posthole_testkit::tls::raw::*;

use crate::handshake::tls;
use crate::{Case, NAME};

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = tls_1_3();
    cases.extend(tls_1_2());
    cases.extend(in_a_message());
    cases.extend(endings());
    cases
}

/// Goes into the mailbox with a client, up to the middle of the first message.
async fn in_the_message(session: RawTls) -> io::Result<Records> {
    let mut session = session.shake_hands().await?;
    if session.is_first_to_speak() {
        session.say(b"+OK ready\r\n").await?;
    }
    loop {
        let line = session.hear_line().await?;
        let answer = match line.split(' ').next().unwrap_or_default() {
            "CAPA" => "+OK\r\nUSER\r\nUIDL\r\n.\r\n",
            "STAT" => "+OK 1 5000\r\n",
            "UIDL" => "+OK\r\n1 a\r\n.\r\n",
            "LIST" => "+OK\r\n1 5000\r\n.\r\n",
            "RETR" => "+OK\r\nSubject: half of it\r\n",
            _ => "+OK\r\n",
        };
        session.say(answer.as_bytes()).await?;
        if line.starts_with("RETR") {
            return session.by_hand();
        }
    }
}

fn in_a_message() -> Vec<Case> {
    let mut cases = vec![
        tls!("tls_tickets_in_a_message", "silent", |s| {
            let records = in_the_message(s).await?;
            records.flood(HANDSHAKE, &ticket()).await
        }),
        tls!("tls_records_of_nothing_in_a_message", "", |s| {
            let records = in_the_message(s).await?;
            records.flood(APPLICATION_DATA, &[]).await
        }),
        tls!(
            "tls_an_end_without_goodbye_in_a_message",
            "without the goodbye of TLS",
            |s| {
                let mut records = in_the_message(s).await?;
                records.send(APPLICATION_DATA, b"more of it\r\n").await
            }
        ),
        tls!(
            "tls_a_goodbye_in_a_message",
            "in the middle of the reply to RETR 1",
            |s| {
                let mut records = in_the_message(s).await?;
                records.send(ALERT, &[1, 0]).await?;
                records.listen().await
            }
        ),
        tls!("tls_plain_text_in_a_message", "", |s| {
            let mut records = in_the_message(s).await?;
            records.write(b"evil\r\n.\r\n+OK bye\r\n").await?;
            records.listen().await
        }),
        tls!("tls_a_damaged_record_in_a_message", "", |s| {
            let mut records = in_the_message(s).await?;
            let mut record = records.record(APPLICATION_DATA, b"evil\r\n.\r\n");
            record[7] ^= 1;
            records.write(&record).await?;
            records.listen().await
        }),
    ];
    for case in &mut cases {
        case.logs_in = true;
    }
    cases
}

/// A ticket for a session that nobody will resume (RFC 8446 §4.6.1).
fn ticket() -> Vec<u8> {
    let mut body = vec![0, 0, 0x0e, 0x10, 1, 2, 3, 4, 1, 0];
    body.extend([0, 32]);
    body.extend([0x2a; 32]);
    body.extend([0, 0]);
    let length = u8::try_from(body.len()).unwrap();
    [&[4, 0, 0, length][..], &body].concat()
}

fn tls_1_3() -> Vec<Case> {
    vec![
        tls!("tls_tickets_without_end", "", |s| {
            let records = s.shake_hands().await?.by_hand()?;
            records.flood(HANDSHAKE, &ticket()).await
        }),
        tls!("tls_tickets_without_end_after_the_greeting", "", |s| {
            let mut s = s.shake_hands().await?;
            s.say(b"+OK ready\r\n").await?;
            s.hear_line().await?;
            s.by_hand()?.flood(HANDSHAKE, &ticket()).await
        }),
        tls!("tls_a_ticket_of_an_absurd_length", "", |s| {
            let mut s = s.shake_hands().await?.by_hand()?;
            s.send(HANDSHAKE, &[4, 0xff, 0xff, 0xff]).await?;
            s.flood(HANDSHAKE, &[0x2a; 1 << 14]).await
        }),
        tls!("tls_a_ticket_without_end", "", |s| {
            let mut s = s.shake_hands().await?.by_hand()?;
            s.send(HANDSHAKE, &[4, 0, 0xff, 0xff]).await?;
            s.flood(HANDSHAKE, &[0x2a]).await
        }),
        tls!("tls_new_keys_without_end", "", |s| {
            let mut s = s.shake_hands().await?;
            loop {
                s.renew_keys().await?;
            }
        }),
        tls!("tls_records_of_nothing_without_end", "", |s| {
            let records = s.shake_hands().await?.by_hand()?;
            records.flood(APPLICATION_DATA, &[]).await
        }),
        tls!("tls_a_greeting_in_records_of_nothing", "", |s| {
            let mut s = s.shake_hands().await?.by_hand()?;
            for octet in b"+OK ready" {
                s.send(APPLICATION_DATA, &[*octet]).await?;
                for _ in 0..20 {
                    s.send(APPLICATION_DATA, &[]).await?;
                }
            }
            s.flood(APPLICATION_DATA, &[]).await
        }),
        tls!("tls_a_greeting_without_end", "", |s| {
            let records = s.shake_hands().await?.by_hand()?;
            records.flood(APPLICATION_DATA, b"+OK ").await
        }),
        tls!("tls_padding_alone", "", |s| {
            let mut s = s.shake_hands().await?.by_hand()?;
            let padding = s.seal_13(&[0; 100]);
            s.write(&padding).await?;
            s.listen().await
        }),
        tls!("tls_a_record_too_large", "", |s| {
            let mut s = s.shake_hands().await?.by_hand()?;
            let record = s.record(APPLICATION_DATA, &[b'x'; (1 << 14) + 200]);
            s.write(&record).await?;
            s.listen().await
        }),
        tls!("tls_a_damaged_record", "", |s| {
            let mut s = s.shake_hands().await?.by_hand()?;
            let mut record = s.record(APPLICATION_DATA, b"+OK ready\r\n");
            let last = record.len() - 1;
            record[last] ^= 1;
            s.write(&record).await?;
            s.listen().await
        }),
        tls!("tls_a_record_that_comes_twice", "", |s| {
            let mut s = s.shake_hands().await?.by_hand()?;
            let record = s.record(APPLICATION_DATA, b"+OK ready\r\n");
            s.write(&record).await?;
            s.write(&record).await?;
            s.listen().await
        }),
        tls!("tls_a_record_that_is_left_out", "", |s| {
            let mut s = s.shake_hands().await?.by_hand()?;
            s.record(APPLICATION_DATA, b"-ERR go away\r\n");
            s.send(APPLICATION_DATA, b"+OK ready\r\n").await?;
            s.listen().await
        }),
        tls!("tls_records_in_the_clear_after_the_handshake", "", |s| {
            let mut s = s.shake_hands().await?.by_hand()?;
            s.write(&clear(APPLICATION_DATA, b"+OK ready\r\n")).await?;
            s.listen().await
        }),
        tls!("tls_plain_text_after_the_handshake", "", |s| {
            let mut s = s.shake_hands().await?.by_hand()?;
            s.write(b"+OK ready\r\n+OK\r\n+OK logged in\r\n").await?;
            s.listen().await
        }),
        tls!("tls_half_of_the_greeting_in_the_clear", "", |s| {
            let mut s = s.shake_hands().await?.by_hand()?;
            s.send(APPLICATION_DATA, b"+O").await?;
            s.write(b"K ready\r\n").await?;
            s.listen().await
        }),
        tls!("tls_a_change_of_cipher_after_the_handshake", "", |s| {
            let mut s = s.shake_hands().await?.by_hand()?;
            for _ in 0..100 {
                s.write(&clear(CHANGE_CIPHER_SPEC, &[1])).await?;
            }
            s.listen().await
        }),
        tls!("tls_warnings_without_end_in_tls", "", |s| {
            let records = s.shake_hands().await?.by_hand()?;
            // user_canceled, the one that is not the end (RFC 8446 §6.1).
            records.flood(ALERT, &[1, 90]).await
        }),
        tls!("tls_another_hello_after_the_handshake", "", |s| {
            let mut s = s.shake_hands().await?.by_hand()?;
            s.send(HANDSHAKE, &[2, 0, 0, 1, 0]).await?;
            s.listen().await
        }),
        tls!("tls_a_wish_for_a_certificate_of_ours_too_late", "", |s| {
            let mut s = s.shake_hands().await?.by_hand()?;
            // RFC 8446 §4.6.2, which nobody said could be done.
            s.send(HANDSHAKE, &[13, 0, 0, 3, 0, 0, 0]).await?;
            s.listen().await
        }),
    ]
}

fn tls_1_2() -> Vec<Case> {
    vec![
        tls!(
            "tls_1_2_wishes_for_a_new_handshake_without_end",
            "",
            old,
            |s| {
                let records = s.shake_hands().await?.by_hand()?;
                records.flood(HANDSHAKE, &[0, 0, 0, 0]).await
            }
        ),
        tls!("tls_1_2_warnings_without_end", "", old, |s| {
            let records = s.shake_hands().await?.by_hand()?;
            records.flood(ALERT, &[1, 90]).await
        }),
        tls!("tls_1_2_records_of_nothing_without_end", "", old, |s| {
            let records = s.shake_hands().await?.by_hand()?;
            records.flood(APPLICATION_DATA, &[]).await
        }),
        tls!(
            "tls_1_2_a_change_of_cipher_after_the_handshake",
            "",
            old,
            |s| {
                let mut s = s.shake_hands().await?.by_hand()?;
                s.send(CHANGE_CIPHER_SPEC, &[1]).await?;
                s.listen().await
            }
        ),
        tls!("tls_1_2_plain_text_after_the_handshake", "", old, |s| {
            let mut s = s.shake_hands().await?.by_hand()?;
            s.write(b"+OK ready\r\n+OK\r\n+OK logged in\r\n").await?;
            s.listen().await
        }),
    ]
}

fn old(authority: &posthole_testkit::tls::Authority) -> Tls {
    Tls::new(&authority.issue(&[NAME])).only_tls_1_2()
}

fn endings() -> Vec<Case> {
    vec![
        tls!(
            "tls_an_end_without_goodbye",
            "without the goodbye of TLS",
            |s| {
                let mut s = s.shake_hands().await?.by_hand()?;
                s.send(APPLICATION_DATA, b"+OK rea").await
            }
        ),
        tls!("tls_a_goodbye_in_the_greeting", "", |s| {
            let mut s = s.shake_hands().await?;
            s.say(b"+OK rea").await?;
            s.say_goodbye().await?;
            s.listen().await
        }),
        tls!("tls_a_goodbye_and_then_more", "", |s| {
            let mut s = s.shake_hands().await?.by_hand()?;
            s.send(ALERT, &[1, 0]).await?;
            s.send(APPLICATION_DATA, b"+OK ready\r\n").await?;
            s.listen().await
        }),
        tls!("tls_the_end_of_it_all", "", |s| {
            let mut s = s.shake_hands().await?.by_hand()?;
            // internal_error.
            s.send(ALERT, &[2, 80]).await?;
            s.listen().await
        }),
        tls!("tls_silence_in_tls", "", |s| {
            let mut s = s.shake_hands().await?;
            s.listen().await
        }),
    ]
}
