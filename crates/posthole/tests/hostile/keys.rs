//! Before there are keys.

use std::io;

use posthole_testkit::ssh::raw::*;

use crate::Case;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = before_the_keys();
    cases.extend(groups_and_points());
    cases
}

/// Offers one method of exchanging keys, and waits for the first message of the client about it.
async fn offered(session: &mut RawSession, method: &str) -> io::Result<()> {
    session.greet().await?;
    let kexinit = session.kexinit_with(method, HOST_KEY, CIPHER);
    session.send(&kexinit).await?;
    session.receive().await?;
    session.receive().await?;
    Ok(())
}

/// A group to exchange keys in (RFC 4419 §3), and a reply to whatever is made of it.
async fn offer_group(
    mut session: RawSession,
    prime: Vec<u8>,
    generator: &[u8],
    point: &[u8],
) -> io::Result<()> {
    offered(&mut session, "diffie-hellman-group-exchange-sha256").await?;
    let mut packet = vec![KEX_ECDH_REPLY];
    put_string(&mut packet, &prime);
    put_string(&mut packet, generator);
    session.send(&packet).await?;
    session.receive().await?;
    // SSH_MSG_KEX_DH_GEX_REPLY.
    reply(session, 33, point).await
}

/// A reply with this point, which nobody can sign.
async fn reply(mut session: RawSession, message: u8, point: &[u8]) -> io::Result<()> {
    let mut packet = vec![message];
    let host_key = session.host_key();
    put_string(&mut packet, &host_key);
    put_string(&mut packet, point);
    let mut signature = Vec::new();
    put_string(&mut signature, HOST_KEY.as_bytes());
    put_string(&mut signature, &[7; 64]);
    put_string(&mut packet, &signature);
    session.send(&packet).await?;
    session.listen().await
}

/// An odd number of so many octets.
fn number(octets: usize) -> Vec<u8> {
    let mut number = vec![0x55; octets];
    number[octets - 1] = 0x57;
    number
}

fn groups_and_points() -> Vec<Case> {
    // To reckon in the largest group takes a busy machine longer than a second.
    vec![
        case!("a_group_of_few_bits", "it broke the protocol", |s| {
            offer_group(s, vec![23], &[5], &[4]).await
        }),
        case!("a_group_of_a_million_bits", "it broke the protocol", |s| {
            offer_group(s, number(125_000), &[2], &[4]).await
        }),
        case!("a_group_of_nothing", "it broke the protocol", |s| {
            offer_group(s, vec![], &[], &[4]).await
        }),
        case!("a_group_below_zero", "", |s| {
            offer_group(s, vec![0x80; 512], &[2], &[4]).await
        }),
        case!(
            "a_group_with_zeroes_in_front",
            "it broke the protocol",
            |s| {
                let prime = [vec![0; 200], number(64)].concat();
                offer_group(s, prime, &[2], &[4]).await
            }
        ),
        case!(
            "a_group_in_which_all_is_one",
            "it broke the protocol",
            |s| { offer_group(s, number(512), &[1], &[4]).await }
        ),
        case!(
            "a_group_in_which_all_is_zero",
            "it broke the protocol",
            |s| { offer_group(s, number(512), &[], &[4]).await }
        ),
        case!("a_group_and_a_generator_without_end", "", |s| {
            let generator = number(100_000);
            offer_group(s, number(512), &generator, &[4]).await
        }),
        case!("the_largest_group_and_no_point", "", |s| {
            offer_group(s, number(1024), &[2], &[]).await
        }),
        case!("the_largest_group_and_a_point_of_one", "", |s| {
            offer_group(s, number(1024), &[2], &[1]).await
        }),
        case!("a_point_off_the_curve", "it broke the protocol", |s| {
            offered(&mut s, "ecdh-sha2-nistp256").await?;
            reply(s, KEX_ECDH_REPLY, &[&[4][..], &[7; 64]].concat()).await
        }),
        case!("a_point_of_a_wrong_length", "it broke the protocol", |s| {
            offered(&mut s, "ecdh-sha2-nistp521").await?;
            reply(s, KEX_ECDH_REPLY, &[4, 7, 7]).await
        }),
        case!("no_point_at_all", "it broke the protocol", |s| {
            offered(&mut s, KEY_EXCHANGE).await?;
            reply(s, KEX_ECDH_REPLY, &[]).await
        }),
        case!(
            "a_capsule_of_a_wrong_length",
            "it broke the protocol",
            |s| {
                offered(&mut s, "mlkem768x25519-sha256").await?;
                reply(s, KEX_ECDH_REPLY, &[7; 1000]).await
            }
        ),
        case!(
            "a_capsule_with_nothing_in_it",
            "it broke the protocol",
            |s| {
                offered(&mut s, "mlkem768x25519-sha256").await?;
                reply(s, KEX_ECDH_REPLY, &[0; 1088 + 32]).await
            }
        ),
        case!(
            "a_point_of_very_many_octets",
            "it broke the protocol",
            |s| {
                offered(&mut s, KEY_EXCHANGE).await?;
                reply(s, KEX_ECDH_REPLY, &[7; 200_000]).await
            }
        ),
    ]
}

fn before_the_keys() -> Vec<Case> {
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
