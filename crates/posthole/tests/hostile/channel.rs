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
