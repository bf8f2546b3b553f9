//! In a channel.

use posthole_testkit::ssh::raw::*;

use crate::{Case, opened};

pub(crate) fn cases() -> Vec<Case> {
    vec![
        case!("a_window_that_overflows", "", |s| {
            let channel = opened(&mut s).await?;
            let mut packet = vec![CHANNEL_WINDOW_ADJUST];
            packet.extend(channel.to_be_bytes());
            packet.extend(u32::MAX.to_be_bytes());
            s.flood(packet).await
        }),
        case!("a_window_and_a_packet_of_nothing", "", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            s.let_in().await?;
            let channel = s.wait_for_channel().await?;
            let mut packet = vec![CHANNEL_OPEN_CONFIRMATION];
            packet.extend(channel.to_be_bytes());
            packet.extend([0; 12]);
            s.send(&packet).await?;
            s.send_data(channel, b"+OK ready\r\n").await?;
            s.listen().await
        }),
        case!("packets_of_nothing_with_a_window", "", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            s.let_in().await?;
            let channel = s.wait_for_channel().await?;
            let mut packet = vec![CHANNEL_OPEN_CONFIRMATION];
            packet.extend(channel.to_be_bytes());
            packet.extend([0, 0, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0]);
            s.send(&packet).await?;
            s.send_data(channel, b"+OK ready\r\n").await?;
            s.listen().await
        }),
        case!("more_than_the_window_holds", "", |s| {
            let channel = opened(&mut s).await?;
            s.send_data(channel, b"+OK ready\r\n").await?;
            let mut packet = vec![CHANNEL_DATA];
            packet.extend(channel.to_be_bytes());
            put_string(&mut packet, &[b'x'; 200_000]);
            loop {
                s.send(&packet).await?;
            }
        }),
        case!("data_without_octets", "", |s| {
            let channel = opened(&mut s).await?;
            let mut packet = vec![CHANNEL_DATA];
            packet.extend(channel.to_be_bytes());
            put_string(&mut packet, b"");
            s.flood(packet).await
        }),
        case!("data_with_a_false_length", "it broke the protocol", |s| {
            let channel = opened(&mut s).await?;
            let mut packet = vec![CHANNEL_DATA];
            packet.extend(channel.to_be_bytes());
            packet.extend(u32::MAX.to_be_bytes());
            s.send(&packet).await?;
            s.listen().await
        }),
        case!("data_of_another_kind", "", |s| {
            let channel = opened(&mut s).await?;
            let mut packet = vec![CHANNEL_EXTENDED_DATA];
            packet.extend(channel.to_be_bytes());
            packet.extend(1_u32.to_be_bytes());
            put_string(&mut packet, &[b'x'; 30_000]);
            s.flood(packet).await
        }),
        case!("data_for_nobody", "", |s| {
            let channel = opened(&mut s).await?;
            let mut packet = vec![CHANNEL_DATA];
            packet.extend((channel + 7).to_be_bytes());
            put_string(&mut packet, &[b'x'; 30_000]);
            s.flood(packet).await
        }),
        case!("requests_about_a_channel", "", |s| {
            let channel = opened(&mut s).await?;
            let mut packet = vec![CHANNEL_REQUEST];
            packet.extend(channel.to_be_bytes());
            put_string(&mut packet, b"please@example.org");
            packet.push(1);
            s.flood(packet).await
        }),
        case!("an_end_instead_of_a_greeting", "", |s| {
            let channel = opened(&mut s).await?;
            for message in [CHANNEL_EOF, CHANNEL_CLOSE, CHANNEL_CLOSE, CHANNEL_EOF] {
                let mut packet = vec![message];
                packet.extend(channel.to_be_bytes());
                s.send(&packet).await?;
            }
            s.listen().await
        }),
        case!("data_after_the_end_of_data", "", |s| {
            let channel = opened(&mut s).await?;
            let mut packet = vec![CHANNEL_EOF];
            packet.extend(channel.to_be_bytes());
            s.send(&packet).await?;
            s.send_data(channel, b"+OK ready\r\n").await?;
            s.listen().await
        }),
        case!("data_after_the_end_of_the_channel", "", |s| {
            let channel = opened(&mut s).await?;
            let mut packet = vec![CHANNEL_CLOSE];
            packet.extend(channel.to_be_bytes());
            s.send(&packet).await?;
            let mut packet = vec![CHANNEL_DATA];
            packet.extend(channel.to_be_bytes());
            put_string(&mut packet, &[b'x'; 30_000]);
            s.flood(packet).await
        }),
        // What is said on the side is no greeting of a mail server.
        case!("a_greeting_on_the_side", "did not greet us", |s| {
            let channel = opened(&mut s).await?;
            let mut packet = vec![CHANNEL_EXTENDED_DATA];
            packet.extend(channel.to_be_bytes());
            packet.extend(1_u32.to_be_bytes());
            put_string(&mut packet, b"+OK ready\r\n");
            s.send(&packet).await?;
            s.listen().await
        }),
        case!("a_channel_that_is_opened_twice", "", |s| {
            let channel = opened(&mut s).await?;
            let mut packet = vec![CHANNEL_OPEN_CONFIRMATION];
            for number in [channel, 1, u32::MAX, u32::MAX] {
                packet.extend(number.to_be_bytes());
            }
            s.flood(packet).await
        }),
        case!("windows_and_ends_of_nobody", "", |s| {
            let channel = opened(&mut s).await?;
            for message in [CHANNEL_EOF, CHANNEL_CLOSE] {
                let mut packet = vec![message];
                packet.extend((channel + 7).to_be_bytes());
                s.send(&packet).await?;
            }
            let mut packet = vec![CHANNEL_WINDOW_ADJUST];
            packet.extend((channel + 7).to_be_bytes());
            packet.extend(u32::MAX.to_be_bytes());
            s.flood(packet).await
        }),
        case!("a_window_and_packets_without_bounds", "", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            s.let_in().await?;
            let channel = s.wait_for_channel().await?;
            let mut packet = vec![CHANNEL_OPEN_CONFIRMATION];
            for number in [channel, u32::MAX, u32::MAX, u32::MAX] {
                packet.extend(number.to_be_bytes());
            }
            s.send(&packet).await?;
            s.send_data(channel, b"+OK ready\r\n").await?;
            s.listen().await
        }),
        case!(
            "new_keys_with_a_wrong_signature",
            "signature is wrong",
            |s| {
                let channel = opened(&mut s).await?;
                s.send_data(channel, b"+OK ready\r\n").await?;
                s.wait_for(CHANNEL_DATA).await?;
                let mut reply = s.answer_key_exchange().await?;
                let last = reply.len() - 1;
                reply[last] ^= 1;
                s.send(&reply).await?;
                s.listen().await
            }
        ),
        case!("data_in_the_middle_of_new_keys", "", |s| {
            let channel = opened(&mut s).await?;
            let kexinit = s.kexinit();
            s.send(&kexinit).await?;
            let mut packet = vec![CHANNEL_DATA];
            packet.extend(channel.to_be_bytes());
            put_string(&mut packet, b"+OK ready\r\n");
            s.flood(packet).await
        }),
        case!("new_keys_that_never_come", "", |s| {
            let channel = opened(&mut s).await?;
            s.send_data(channel, b"+OK ready\r\n").await?;
            let kexinit = s.kexinit();
            s.send(&kexinit).await?;
            s.listen().await
        }),
        case!(
            "one_key_exchange_after_another",
            "it broke the protocol",
            |s| {
                opened(&mut s).await?;
                let kexinit = s.kexinit();
                s.flood(kexinit).await
            }
        ),
    ]
}
