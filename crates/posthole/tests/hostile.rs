//! SSH servers that mean harm: whatever they send, the program ends with an error in good time, does
//! not panic, and stays small.
//!
//! Each of them treats the program, run as its users run it, in its own way. What memory the process
//! has used at its peak is what the kernel says.

#![allow(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::future::Future;
use std::io;
use std::path::Path;
use std::pin::Pin;
use std::process::{ExitCode, Stdio};
use std::time::{Duration, Instant};

use nix::sys::resource::{UsageWho, getrusage};
use posthole_testkit::Home;
use posthole_testkit::real::Suite;
use posthole_testkit::ssh::raw::*;

fn main() -> ExitCode {
    let mut suite = Suite::new();
    for case in cases() {
        suite = suite.test(case.name, &[], move || case.run());
    }
    suite.run()
}

/// A server, and what comes of fetching through it.
struct Case {
    name: &'static str,
    /// What the program says at the end, if it is always the same.
    says: &'static str,
    script: Script,
}

type Script = fn(RawSession) -> Pin<Box<dyn Future<Output = io::Result<()>> + Send>>;

impl Case {
    fn run(self) {
        let server = RawSshServer::start(self.script);
        let home = Home::new();
        home.write_known_hosts(&server.known_hosts_line());
        home.write_password("sesame");
        home.write_config(&format!(
            "[account.work]\n\
             server = \"pop3://msingh@localhost\"\n\
             via = \"msingh@{}\"\n\
             password = {{ file = \"~/mail-password\" }}\n\
             deliver = \"maildir:~/Mail\"\n\
             timeout = \"1s\"\n\
             [ssh.\"127.0.0.1\"]\n\
             connect-timeout = \"1s\"\n\
             compression = true\n",
            server.addr()
        ));
        let began = Instant::now();
        let output = home
            .posthole(Path::new(env!("CARGO_BIN_EXE_posthole")))
            .arg("fetch")
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let took = began.elapsed();
        let said = String::from_utf8(output.stderr).unwrap();
        assert!(!said.contains("panicked"), "{said}");
        assert!(
            matches!(output.status.code(), Some(69..=77)),
            "{}\n{said}",
            output.status
        );
        assert!(said.starts_with("posthole: work: "), "{said}");
        assert!(said.contains(self.says), "{:?} is not in {said}", self.says);
        let is_clean = |c: char| c == '\n' || !c.is_control();
        assert!(said.chars().all(is_clean) && said.len() < 4_000, "{said}");
        assert!(took < LONGEST, "{took:?}: {said}");

        let usage = getrusage(UsageWho::RUSAGE_CHILDREN).unwrap();
        // In KiB on Linux (getrusage(2)).
        let peak = usage.max_rss() / 1024;
        assert!(peak < PEAK_MIB, "{peak} MiB: {said}");
    }
}

/// Bounds what a machine that is very busy may take; a step of the login has thirty seconds, all
/// else one.
const LONGEST: Duration = Duration::from_secs(60);
const PEAK_MIB: i64 = 64;

macro_rules! case {
    ($name:literal, $says:literal, |$session:ident| $script:block) => {
        Case {
            name: $name,
            says: $says,
            script: |mut $session| Box::pin(async move { $script }),
        }
    };
}

fn cases() -> Vec<Case> {
    let mut cases = before_the_keys();
    cases.extend(before_the_login());
    cases.extend(after_the_login());
    cases.extend(in_a_channel());
    cases.extend(silence());
    cases.extend(goodbye());
    cases
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
            flood(s, packet).await
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
                flood(s, packet).await
            }
        ),
        case!("requests_about_everything", "", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            s.let_in().await?;
            let mut packet = vec![GLOBAL_REQUEST];
            put_string(&mut packet, b"please@example.org");
            packet.push(1);
            flood(s, packet).await
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
            flood(s, packet).await
        }),
        case!("messages_that_do_not_exist", "", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            s.let_in().await?;
            flood(s, vec![255; 1000]).await
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

fn in_a_channel() -> Vec<Case> {
    vec![
        case!("a_window_that_overflows", "", |s| {
            let channel = opened(&mut s).await?;
            let mut packet = vec![CHANNEL_WINDOW_ADJUST];
            packet.extend(channel.to_be_bytes());
            packet.extend(u32::MAX.to_be_bytes());
            flood(s, packet).await
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
            flood(s, packet).await
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
            flood(s, packet).await
        }),
        case!("data_for_nobody", "", |s| {
            let channel = opened(&mut s).await?;
            let mut packet = vec![CHANNEL_DATA];
            packet.extend((channel + 7).to_be_bytes());
            put_string(&mut packet, &[b'x'; 30_000]);
            flood(s, packet).await
        }),
        case!("requests_about_a_channel", "", |s| {
            let channel = opened(&mut s).await?;
            let mut packet = vec![CHANNEL_REQUEST];
            packet.extend(channel.to_be_bytes());
            put_string(&mut packet, b"please@example.org");
            packet.push(1);
            flood(s, packet).await
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
                flood(s, kexinit).await
            }
        ),
    ]
}

fn silence() -> Vec<Case> {
    vec![
        case!("silence_at_once", "did not finish the key exchange", |s| {
            s.listen().await
        }),
        case!(
            "silence_after_the_greeting",
            "did not finish the key exchange",
            |s| {
                s.greet().await?;
                s.listen().await
            }
        ),
        case!(
            "silence_after_the_offer",
            "did not finish the key exchange",
            |s| {
                s.greet().await?;
                let kexinit = s.kexinit();
                s.send(&kexinit).await?;
                s.listen().await
            }
        ),
        case!(
            "silence_before_the_new_keys",
            "did not finish the key exchange",
            |s| {
                s.greet().await?;
                let reply = s.answer_key_exchange().await?;
                s.send(&reply).await?;
                s.listen().await
            }
        ),
        case!(
            "silence_after_the_new_keys",
            "did not finish the login",
            |s| {
                s.greet().await?;
                s.exchange_keys().await?;
                s.listen().await
            }
        ),
        case!(
            "silence_after_the_login_began",
            "did not finish the login",
            |s| {
                s.greet().await?;
                s.exchange_keys().await?;
                s.wait_for(USERAUTH_REQUEST).await?;
                s.listen().await
            }
        ),
        case!(
            "silence_after_the_login",
            "did not finish the opening of a channel",
            |s| {
                s.greet().await?;
                s.exchange_keys().await?;
                s.let_in().await?;
                s.listen().await
            }
        ),
        case!("silence_in_the_channel", "silent", |s| {
            opened(&mut s).await?;
            s.listen().await
        }),
        case!(
            "silence_after_the_mail_servers_greeting",
            "did not finish the opening",
            |s| {
                let channel = opened(&mut s).await?;
                s.send_data(channel, b"+OK ready\r\n").await?;
                s.listen().await
            }
        ),
    ]
}

/// The connection ends, with a message and without, after each step.
fn goodbye() -> Vec<Case> {
    vec![
        case!("an_end_at_once", "lost the SSH connection", |_s| { Ok(()) }),
        case!(
            "an_end_after_the_greeting",
            "lost the SSH connection",
            |s| { s.greet().await }
        ),
        case!("a_goodbye_after_the_greeting", "go ?[1m away", |s| {
            s.greet().await?;
            disconnect(s).await
        }),
        case!("an_end_after_the_offer", "lost the SSH connection", |s| {
            s.greet().await?;
            let kexinit = s.kexinit();
            s.send(&kexinit).await
        }),
        case!("a_goodbye_after_the_offer", "go ?[1m away", |s| {
            s.greet().await?;
            let kexinit = s.kexinit();
            s.send(&kexinit).await?;
            disconnect(s).await
        }),
        case!(
            "an_end_before_the_new_keys",
            "lost the SSH connection",
            |s| {
                s.greet().await?;
                let reply = s.answer_key_exchange().await?;
                s.send(&reply).await
            }
        ),
        case!(
            "an_end_after_the_new_keys",
            "lost the SSH connection",
            |s| {
                s.greet().await?;
                s.exchange_keys().await
            }
        ),
        case!("a_goodbye_after_the_new_keys", "go ?[1m away", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            disconnect(s).await
        }),
        case!("a_goodbye_in_the_login", "go ?[1m away", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            s.wait_for(USERAUTH_REQUEST).await?;
            disconnect(s).await
        }),
        case!("an_end_after_the_login", "lost the SSH connection", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            s.let_in().await
        }),
        case!("a_goodbye_after_the_login", "go ?[1m away", |s| {
            s.greet().await?;
            s.exchange_keys().await?;
            s.let_in().await?;
            s.wait_for_channel().await?;
            disconnect(s).await
        }),
        case!("an_end_in_the_channel", "lost the SSH connection", |s| {
            let channel = opened(&mut s).await?;
            s.send_data(channel, b"+OK ready\r\n").await
        }),
        case!("a_goodbye_in_the_channel", "go ?[1m away", |s| {
            let channel = opened(&mut s).await?;
            s.send_data(channel, b"+OK ready\r\n").await?;
            disconnect(s).await
        }),
    ]
}

/// Takes a session to its open channel.
async fn opened(session: &mut RawSession) -> io::Result<u32> {
    session.greet().await?;
    session.exchange_keys().await?;
    session.let_in().await?;
    session.open_channel().await
}

/// Sends a packet without end, and reads what is sent about it.
async fn flood(session: RawSession, payload: Vec<u8>) -> io::Result<()> {
    session.flood(payload).await
}

async fn disconnect(mut session: RawSession) -> io::Result<()> {
    let mut packet = vec![DISCONNECT, 0, 0, 0, 11];
    put_string(&mut packet, b"go \x1b[1m away");
    put_string(&mut packet, b"");
    session.send(&packet).await?;
    // A close with unread octets is a reset, which overtakes what was sent.
    session.listen().await
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
