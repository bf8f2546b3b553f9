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
