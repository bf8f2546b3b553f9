//! Before there are keys.

use posthole_testkit::ssh::raw::*;

use crate::Case;

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!(
            "endless_lines_before_the_greeting",
            "does not answer as an SSH server",
            |s| {
                loop {
                    s.write(b"Welcome!\r\n").await?;
                }
            }
        ),
        case!(
            "an_endless_greeting",
            "does not answer as an SSH server",
            |s| {
                s.write(b"SSH-2.0-").await?;
                loop {
                    s.write(&[b'x'; 4096]).await?;
                }
            }
        ),
        case!("binary_rubbish", "does not answer as an SSH server", |s| {
            loop {
                s.write(&[0x80, 0xff, 0, 0x1b, b'\n', 7]).await?;
            }
        }),
        case!(
            "an_absurd_packet_length",
            "does not answer as an SSH server",
            |s| {
                s.greet().await?;
                s.write(&[0xff, 0xff, 0xff, 0xff]).await?;
                s.listen().await
            }
        ),
        case!("a_packet_without_payload", "lost the SSH connection", |s| {
            s.greet().await?;
            s.write(&[0, 0, 0, 0, 0, 0, 0, 0]).await?;
            s.write(&[0, 0, 0, 1, 0, 0, 0, 0]).await?;
            s.write(&[0, 0, 0, 4, 255, 0, 0, 0]).await?;
            s.listen().await
        }),
        case!(
            "success_before_the_key_exchange",
            "did not finish the key exchange",
            |s| {
                s.greet().await?;
                s.send(&[USERAUTH_SUCCESS]).await?;
                s.send(&[CHANNEL_OPEN_CONFIRMATION, 0, 0, 0, 0]).await?;
                s.listen().await
            }
        ),
        case!(
            "new_keys_before_the_key_exchange",
            "it broke the protocol",
            |s| {
                s.greet().await?;
                s.send(&[NEWKEYS]).await?;
                s.listen().await
            }
        ),
        case!("a_flood_before_the_key_exchange", "", |s| {
            s.greet().await?;
            let packet = s.packet(&[&[IGNORE, 0, 0, 4, 0][..], &[0; 1024]].concat());
            loop {
                s.write(&packet).await?;
            }
        }),
        case!("a_flood_of_key_exchanges", "it broke the protocol", |s| {
            s.greet().await?;
            let kexinit = s.kexinit();
            loop {
                s.send(&kexinit).await?;
            }
        }),
        case!("an_offer_cut_short", "it broke the protocol", |s| {
            s.greet().await?;
            let kexinit = s.kexinit();
            s.send(&kexinit[..40]).await?;
            s.listen().await
        }),
        case!("an_offer_of_very_much", "it broke the protocol", |s| {
            s.greet().await?;
            let mut kexinit = s.kexinit();
            kexinit.truncate(17);
            put_string(&mut kexinit, "a\x1b[2J,".repeat(40_000).as_bytes());
            for _ in 0..9 {
                put_string(&mut kexinit, b"x");
            }
            kexinit.extend([0; 5]);
            s.send(&kexinit).await?;
            s.listen().await
        }),
        case!(
            "a_key_exchange_with_rubbish_for_a_reply",
            "it broke the protocol",
            |s| {
                s.greet().await?;
                let mut reply = s.answer_key_exchange().await?;
                let middle = reply.len() / 2;
                reply[middle..].fill(0xff);
                s.send(&reply).await?;
                s.listen().await
            }
        ),
        case!(
            "a_greeting_of_another_version",
            "did not finish the key exchange",
            |s| {
                s.write(b"SSH-1.5-old\r\n").await?;
                s.listen().await
            }
        ),
        case!(
            "a_greeting_that_does_not_end",
            "did not finish the key exchange",
            |s| {
                s.write(b"SSH-2.0-slow").await?;
                s.listen().await
            }
        ),
        case!("nothing_in_common", "no key exchange in common", |s| {
            s.greet().await?;
            let kexinit = s.kexinit_with("diffie-hellman-group1-sha1", HOST_KEY, CIPHER);
            s.send(&kexinit).await?;
            s.listen().await
        }),
        case!("no_cipher_at_all", "no cipher in common", |s| {
            s.greet().await?;
            let kexinit = s.kexinit_with(KEY_EXCHANGE, HOST_KEY, "none,arcfour,3des-cbc");
            s.send(&kexinit).await?;
            s.listen().await
        }),
        case!("a_host_key_of_an_old_kind_alone", "no host key", |s| {
            s.greet().await?;
            let kexinit = s.kexinit_with(KEY_EXCHANGE, "ssh-dss,ssh-rsa", CIPHER);
            s.send(&kexinit).await?;
            s.listen().await
        }),
        case!(
            "more_than_is_allowed_in_a_strict_key_exchange",
            "it broke the protocol",
            |s| {
                s.greet().await?;
                let strict = format!("{KEY_EXCHANGE},kex-strict-s-v00@openssh.com");
                let kexinit = s.kexinit_with(&strict, HOST_KEY, CIPHER);
                s.send(&kexinit).await?;
                s.send(&[IGNORE, 0, 0, 0, 0]).await?;
                s.listen().await
            }
        ),
        case!("a_point_of_nothing", "it broke the protocol", |s| {
            s.greet().await?;
            let reply = s.answer_key_exchange().await?;
            // The host key stands before the point, with which every secret is zero (RFC 8731 §3).
            let key = 4 + u32::from_be_bytes(reply[1..5].try_into().unwrap()) as usize;
            let point = 1 + key + 4;
            let mut reply = reply;
            reply[point..point + 32].fill(0);
            s.send(&reply).await?;
            s.listen().await
        }),
        case!("a_signature_of_another_kind", "", |s| {
            s.greet().await?;
            let mut reply = s.answer_key_exchange().await?;
            // The name in the signature, which ends the reply.
            let name = reply.len() - 64 - 4 - HOST_KEY.len();
            reply[name..name + HOST_KEY.len()].copy_from_slice(b"ssh-rsa-sha");
            s.send(&reply).await?;
            s.listen().await
        }),
        case!("a_host_key_of_another_kind", "", |s| {
            s.greet().await?;
            let reply = s.answer_key_exchange().await?;
            let key = 4 + u32::from_be_bytes(reply[1..5].try_into().unwrap()) as usize;
            let mut other = Vec::new();
            put_string(&mut other, b"ssh-rsa");
            put_string(&mut other, &[1, 0, 1]);
            put_string(&mut other, &[0x7f; 256]);
            let mut forged = vec![reply[0]];
            put_string(&mut forged, &other);
            forged.extend(&reply[1 + key..]);
            s.send(&forged).await?;
            s.listen().await
        }),
        case!("a_host_key_of_an_absurd_size", "", |s| {
            s.greet().await?;
            let reply = s.answer_key_exchange().await?;
            let key = 4 + u32::from_be_bytes(reply[1..5].try_into().unwrap()) as usize;
            let mut other = Vec::new();
            put_string(&mut other, b"ssh-rsa");
            put_string(&mut other, &[0x7f; 100_000]);
            put_string(&mut other, &[0x7f; 100_000]);
            let mut forged = vec![reply[0]];
            put_string(&mut forged, &other);
            forged.extend(&reply[1 + key..]);
            s.send(&forged).await?;
            s.listen().await
        }),
        case!("a_wrong_signature", "signature is wrong", |s| {
            s.greet().await?;
            let mut reply = s.answer_key_exchange().await?;
            let last = reply.len() - 1;
            reply[last] ^= 1;
            s.send(&reply).await?;
            s.listen().await
        }),
    ]
}
