//! Around the login.

use posthole_testkit::ssh::raw::*;

use crate::Case;

pub(crate) fn cases() -> Vec<Case> {
    let mut cases = before_the_login();
    cases.extend(after_the_login());
    cases
}

fn before_the_login() -> Vec<Case> {
    vec![
        case!("a_damaged_packet", "damaged or tampered", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            let mut packet = s.packet(&[6, 0, 0, 0, 12]);
            packet[6] ^= 1;
            s.write(&packet).await?;
            s.listen().await
        }),
        case!(
            "an_absurd_length_of_an_encrypted_packet",
            "a packet of a size that no packet has",
            |s| {
                s.greet().await?;
                s.exchange_keys().await?;
                s.write(&[0x7f, 0xff, 0xff, 0xf0]).await?;
                s.listen().await
            }
        ),
        case!(
            "an_absurd_number_of_prompts",
            "it broke the protocol",
            |s| {
                s.greet().await?;
                s.exchange_keys().await?;
                s.wait_for(USERAUTH_REQUEST).await?;
                s.send(&failure("keyboard-interactive")).await?;
                s.wait_for(USERAUTH_REQUEST).await?;
                s.send(&prompts(u32::MAX, 1)).await?;
                s.listen().await
            }
        ),
        case!("very_many_prompts", "does not stop asking", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            s.wait_for(USERAUTH_REQUEST).await?;
            s.send(&failure("keyboard-interactive")).await?;
            s.wait_for(USERAUTH_REQUEST).await?;
            s.send(&prompts(50_000, 50_000)).await?;
            s.listen().await
        }),
        case!("endless_rounds_of_prompts", "does not stop asking", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            s.wait_for(USERAUTH_REQUEST).await?;
            s.send(&failure("keyboard-interactive")).await?;
            loop {
                s.receive().await?;
                s.send(&prompts(0, 0)).await?;
            }
        }),
        case!("an_endless_banner", "", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            s.wait_for(USERAUTH_REQUEST).await?;
            let mut banner = vec![USERAUTH_BANNER];
            put_string(&mut banner, "\x1b[2Jbuy\n".repeat(4_000).as_bytes());
            put_string(&mut banner, b"");
            loop {
                s.send(&banner).await?;
            }
        }),
        case!("endless_refusals", "", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            loop {
                s.wait_for(USERAUTH_REQUEST).await?;
                s.send(&failure("password,publickey,keyboard-interactive"))
                    .await?;
            }
        }),
        case!("a_part_of_the_login_after_the_other", "", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            loop {
                s.wait_for(USERAUTH_REQUEST).await?;
                let mut partly = failure("password,publickey,keyboard-interactive");
                *partly.last_mut().unwrap() = 1;
                s.send(&partly).await?;
            }
        }),
        case!("another_password_is_wanted", "", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            s.wait_for(USERAUTH_REQUEST).await?;
            loop {
                s.send(&failure("password")).await?;
                s.wait_for(USERAUTH_REQUEST).await?;
                // SSH_MSG_USERAUTH_PASSWD_CHANGEREQ (RFC 4252 §8).
                let mut packet = vec![60];
                put_string(&mut packet, b"\x1b[2JYour password has expired");
                put_string(&mut packet, b"");
                s.send(&packet).await?;
            }
        }),
        case!("a_prompt_of_very_many_octets", "", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            s.wait_for(USERAUTH_REQUEST).await?;
            s.send(&failure("keyboard-interactive")).await?;
            loop {
                s.receive().await?;
                let mut packet = vec![USERAUTH_INFO_REQUEST];
                for _ in 0..3 {
                    put_string(&mut packet, "\x1b]0;x\x07".repeat(8_000).as_bytes());
                }
                packet.extend(1_u32.to_be_bytes());
                put_string(&mut packet, "\x1b[2J\r\n".repeat(8_000).as_bytes());
                packet.push(1);
                s.send(&packet).await?;
            }
        }),
        case!("methods_that_do_not_exist", "", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            loop {
                s.wait_for(USERAUTH_REQUEST).await?;
                s.send(&failure(&"\x1b[2J,telepathy,".repeat(10_000)))
                    .await?;
            }
        }),
        case!("a_service_that_nobody_asked_for", "", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            let mut packet = vec![SERVICE_ACCEPT];
            put_string(&mut packet, b"ssh-connection");
            s.flood(packet).await
        }),
        case!("success_before_the_login", "", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            s.send(&[USERAUTH_SUCCESS]).await?;
            s.send(&[USERAUTH_SUCCESS]).await?;
            s.listen().await
        }),
        case!("a_key_that_nobody_offered", "", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            s.wait_for(USERAUTH_REQUEST).await?;
            // SSH_MSG_USERAUTH_PK_OK (RFC 4252 §7).
            let mut packet = vec![60];
            put_string(&mut packet, b"ssh-ed25519");
            put_string(&mut packet, &[7; 51]);
            s.send(&packet).await?;
            s.send(&failure("password")).await
        }),
        case!("refusals_that_nobody_asked_for", "", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            s.wait_for(USERAUTH_REQUEST).await?;
            loop {
                s.send(&failure("password,publickey,keyboard-interactive"))
                    .await?;
            }
        }),
        case!("a_flood_of_extensions", "it broke the protocol", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            let mut extensions = vec![EXT_INFO, 0, 0, 0x27, 0x10];
            for _ in 0..10_000 {
                put_string(&mut extensions, b"x");
                put_string(&mut extensions, b"y");
            }
            loop {
                s.send(&extensions).await?;
            }
        }),
        case!("more_after_the_success_in_one_breath", "", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            s.wait_for(USERAUTH_REQUEST).await?;
            let mut octets = s.packet(&[USERAUTH_SUCCESS]);
            octets.extend(s.packet(&[USERAUTH_SUCCESS]));
            octets.extend(s.packet(&failure("password")));
            octets.extend(s.packet(&[CHANNEL_OPEN_CONFIRMATION]));
            s.write(&octets).await?;
            s.listen().await
        }),
        case!("success_in_the_middle_of_a_key_exchange", "", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            s.wait_for(USERAUTH_REQUEST).await?;
            let kexinit = s.kexinit();
            let mut octets = s.packet(&kexinit);
            octets.extend(s.packet(&[USERAUTH_SUCCESS]));
            octets.extend(s.packet(&[USERAUTH_SUCCESS]));
            s.write(&octets).await?;
            s.listen().await
        }),
    ]
}

fn after_the_login() -> Vec<Case> {
    vec![
        case!(
            "a_compression_bomb",
            "a packet of a size that no packet has",
            |s| {
                s.compress();
                s.greet().await?;
                s.exchange_keys().await?;
                s.let_in().await?;
                let bomb = bomb();
                assert!(bomb.len() < 256 * 1024);
                s.send(&bomb).await?;
                s.listen().await
            }
        ),
        case!("compressed_rubbish", "does not decompress", |s| {
            s.compress();
            s.greet().await?;
            s.exchange_keys().await?;
            s.let_in().await?;
            s.send(&[0xff; 1000]).await?;
            s.listen().await
        }),
        case!("channels_that_the_server_opens", "", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            s.let_in().await?;
            let mut packet = vec![CHANNEL_OPEN];
            put_string(&mut packet, b"forwarded-tcpip");
            for number in [0_u32, u32::MAX, u32::MAX] {
                packet.extend(number.to_be_bytes());
            }
            for end in [b"localhost", b"elsewhere"] {
                put_string(&mut packet, end);
                packet.extend(1_u32.to_be_bytes());
            }
            s.flood(packet).await
        }),
        case!(
            "channels_opened_in_the_middle_of_a_key_exchange",
            "it broke the protocol",
            |s| {
                s.greet().await?;
                s.exchange_keys().await?;
                s.let_in().await?;
                let kexinit = s.kexinit();
                s.send(&kexinit).await?;
                let mut packet = vec![CHANNEL_OPEN];
                put_string(&mut packet, b"session");
                packet.extend([0; 12]);
                s.flood(packet).await
            }
        ),
        case!("requests_about_everything", "", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            s.let_in().await?;
            let mut packet = vec![GLOBAL_REQUEST];
            put_string(&mut packet, b"please@example.org");
            packet.push(1);
            s.flood(packet).await
        }),
        case!("requests_while_the_server_does_not_listen", "", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            s.let_in().await?;
            let mut packet = vec![GLOBAL_REQUEST];
            put_string(&mut packet, b"keepalive@openssh.com");
            packet.push(1);
            loop {
                s.send(&packet).await?;
            }
        }),
        case!("requests_that_want_no_answer", "", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            s.let_in().await?;
            let mut packet = vec![GLOBAL_REQUEST];
            put_string(&mut packet, b"keepalive@openssh.com");
            packet.push(0);
            s.flood(packet).await
        }),
        case!("answers_to_no_request", "", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            s.let_in().await?;
            s.send(&[REQUEST_FAILURE]).await?;
            s.flood(vec![REQUEST_SUCCESS]).await
        }),
        case!("words_for_whoever_looks_for_mistakes", "", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            s.let_in().await?;
            // To be shown always (RFC 4253 §11.3).
            let mut packet = vec![DEBUG, 1];
            put_string(&mut packet, "\x1b[2Jbuy\n".repeat(1_000).as_bytes());
            put_string(&mut packet, b"");
            s.flood(packet).await
        }),
        case!("nothing_is_understood", "", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            s.let_in().await?;
            s.flood(vec![UNIMPLEMENTED, 0, 0, 0, 1]).await
        }),
        case!("an_agent_is_asked_for", "", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            s.let_in().await?;
            let mut packet = vec![CHANNEL_OPEN];
            put_string(&mut packet, b"auth-agent@openssh.com");
            for number in [0_u32, u32::MAX, u32::MAX] {
                packet.extend(number.to_be_bytes());
            }
            s.flood(packet).await
        }),
        case!("a_display_is_asked_for", "", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            s.let_in().await?;
            let mut packet = vec![CHANNEL_OPEN];
            put_string(&mut packet, b"x11");
            for number in [0_u32, u32::MAX, u32::MAX] {
                packet.extend(number.to_be_bytes());
            }
            put_string(&mut packet, b"localhost");
            packet.extend(1_u32.to_be_bytes());
            s.flood(packet).await
        }),
        case!("very_many_host_keys", "", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            s.let_in().await?;
            let mut packet = vec![GLOBAL_REQUEST];
            put_string(&mut packet, b"hostkeys-00@openssh.com");
            packet.push(0);
            for _ in 0..4_000 {
                put_string(
                    &mut packet,
                    b"\0\0\0\x0bssh-ed25519\0\0\0\x20xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx",
                );
            }
            s.flood(packet).await
        }),
        case!("messages_that_do_not_exist", "", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            s.let_in().await?;
            s.flood(vec![255; 1000]).await
        }),
        case!("a_confirmation_of_nothing", "it broke the protocol", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            s.let_in().await?;
            s.wait_for_channel().await?;
            s.send(&[&[CHANNEL_OPEN_CONFIRMATION][..], &[9; 16]].concat())
                .await?;
            s.listen().await
        }),
        case!("a_long_refusal", "could not open a channel", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            s.let_in().await?;
            let channel = s.wait_for_channel().await?;
            let mut packet = vec![CHANNEL_OPEN_FAILURE];
            packet.extend(channel.to_be_bytes());
            packet.extend(1_u32.to_be_bytes());
            put_string(&mut packet, "\x1b]0;no\x07".repeat(20_000).as_bytes());
            put_string(&mut packet, b"");
            s.send(&packet).await?;
            s.listen().await
        }),
    ]
}

/// A refusal of a login that leaves these methods (RFC 4252 §5.1).
fn failure(methods: &str) -> Vec<u8> {
    let mut packet = vec![USERAUTH_FAILURE];
    put_string(&mut packet, methods.as_bytes());
    packet.push(0);
    packet
}

/// So many prompts, it says, and so many there are.
fn prompts(said: u32, sent: usize) -> Vec<u8> {
    let mut packet = vec![USERAUTH_INFO_REQUEST];
    for text in ["", "", ""] {
        put_string(&mut packet, text.as_bytes());
    }
    packet.extend(said.to_be_bytes());
    for _ in 0..sent {
        put_string(&mut packet, b"");
        packet.push(1);
    }
    packet
}

/// A quarter of a gigabyte in a compressed packet, for the price of two megabytes.
fn bomb() -> Vec<u8> {
    let mut deflate = flate2::Compress::new(flate2::Compression::best(), true);
    let mut block = || {
        let mut block = Vec::with_capacity(65_536);
        let octets = vec![IGNORE; 1_000_000];
        let flush = flate2::FlushCompress::Sync;
        deflate.compress_vec(&octets, &mut block, flush).unwrap();
        block
    };
    let first = block();
    // From here on, each block is like the one before it.
    let again = block();
    [first, again.repeat(249)].concat()
}
