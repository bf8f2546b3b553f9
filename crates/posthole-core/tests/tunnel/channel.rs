//! Channels as streams.

use std::io;
use std::net::Ipv4Addr;
use std::time::Duration;

use posthole_core::plan::HostPort;
use posthole_core::progress::Step;
use posthole_core::tunnel::{Refusal, TunnelError, TunnelErrorKind};
use posthole_testkit::net::Ending;
use posthole_testkit::relay::Relay;
use posthole_testkit::ssh::{Login, SshServer, Target};
use russh::ChannelOpenFailure;
use tokio::io::{AsyncReadExt, AsyncWriteExt};

use crate::world::{Client, Person, carries, echo};

async fn server() -> SshServer {
    SshServer::builder()
        .login("msingh", Login::new().password("sesame"))
        .forward("localhost", 110, echo().await)
        .start()
}

fn client(server: &SshServer) -> Client {
    Client::of(server, Person::absent()).given_password("sesame")
}

#[tokio::test]
async fn the_steps_are_told_in_the_order_they_are_taken() {
    let server = server().await;
    let client = client(&server);
    client.open().await.unwrap();
    let steps: Vec<_> = client
        .notes
        .steps()
        .iter()
        .map(|step| match step {
            Step::Resolved { .. } => "resolved",
            Step::Connected { .. } => "connected",
            Step::HostKey { .. } => "host key",
            Step::Authenticated { .. } => "authenticated",
            Step::ChannelOpen { .. } => "channel",
            _ => "other",
        })
        .collect();
    assert_eq!(
        steps,
        [
            "resolved",
            "connected",
            "host key",
            "authenticated",
            "channel"
        ]
    );
}

#[tokio::test]
async fn the_end_of_the_stream_is_the_servers_word() {
    let server = server().await;
    let mut stream = client(&server).open().await.unwrap();
    assert!(carries(&mut stream).await);
    stream.shutdown().await.unwrap();
    let mut rest = Vec::new();
    assert_eq!(stream.read_to_end(&mut rest).await.unwrap(), 0);
    assert_eq!(stream.read(&mut [0; 8]).await.unwrap(), 0, "and stays one");
}

#[tokio::test]
async fn megabytes_pass_unharmed_with_and_without_compression() {
    for compression in [false, true] {
        let server = server().await;
        let mut client = client(&server);
        client.hop.compression = compression;
        let stream = client.open().await.unwrap();
        let sent: Vec<u8> = (0..8_000_000_u32)
            .map(|n| (n.wrapping_mul(n) >> 7) as u8)
            .collect();
        let (mut reader, mut writer) = tokio::io::split(stream);
        let expected = sent.clone();
        let writing = tokio::spawn(async move {
            writer.write_all(&sent).await.unwrap();
            writer.shutdown().await.unwrap();
        });
        let mut got = Vec::new();
        reader.read_to_end(&mut got).await.unwrap();
        writing.await.unwrap();
        assert!(got == expected, "compression {compression}");
    }
}

#[tokio::test]
async fn what_is_written_at_once_is_one_packet_and_a_small_one_if_compressed() {
    for (compression, most) in [(false, 2_200), (true, 500)] {
        let server = server().await;
        let mut client = client(&server);
        client.hop.compression = compression;
        let mut stream = client.open().await.unwrap();
        assert!(carries(&mut stream).await);
        let commands: String = (1..=200).map(|n| format!("RETR {n}\r\n")).collect();
        let (received, sent) = (server.traffic().received(), server.traffic().sent());
        stream.write_all(commands.as_bytes()).await.unwrap();
        let mut back = vec![0; commands.len()];
        stream.read_exact(&mut back).await.unwrap();
        let received = server.traffic().received() - received;
        let sent = server.traffic().sent() - sent;
        // Of text alone there are 1692 octets.
        assert!(received <= most, "{received} octets");
        assert!(sent <= most, "{sent} octets");
    }
}

#[tokio::test]
async fn a_lost_connection_is_an_error_and_not_the_end() {
    for ending in [Ending::Reset, Ending::Close] {
        let server = server().await;
        let relay = Relay::to(server.addr()).ending(ending).start();
        let mut client = client(&server);
        // The key is known under the server's own port.
        client.hop.address.port = relay.port();
        let known = server.known_hosts_line("127.0.0.1");
        let known = known.replace(&server.port().to_string(), &relay.port().to_string());
        std::fs::write(client.known_hosts(), known).unwrap();
        let mut stream = client.open().await.unwrap();
        assert!(carries(&mut stream).await);
        drop(relay);
        let error = stream.read(&mut [0; 8]).await.unwrap_err();
        assert_eq!(error.kind(), io::ErrorKind::ConnectionReset);
        let text = error.to_string();
        assert!(
            text.starts_with("lost the SSH connection to popserver: "),
            "{text}"
        );
        let error = stream.write(b"NOOP\r\n").await.unwrap_err().to_string();
        assert!(
            error.starts_with("lost the SSH connection to popserver: "),
            "{error}"
        );
    }
}

#[tokio::test]
async fn a_server_that_falls_silent_is_noticed() {
    let server = server().await;
    let relay = Relay::to(server.addr()).ending(Ending::Stall).start();
    let mut client = client(&server);
    client.hop.address.port = relay.port();
    client.hop.keepalive = Duration::from_millis(100);
    let known = server.known_hosts_line("127.0.0.1");
    let known = known.replace(&server.port().to_string(), &relay.port().to_string());
    std::fs::write(client.known_hosts(), known).unwrap();
    let mut stream = client.open().await.unwrap();
    assert!(carries(&mut stream).await);
    relay.cut_to_client(Some(0));
    drop(relay);
    let error = stream.read(&mut [0; 8]).await.unwrap_err();
    assert!(error.to_string().contains(": "), "{error}");
}

#[tokio::test]
async fn a_prohibited_channel_says_so() {
    let server = server().await;
    let mut client = client(&server);
    client.target.port = 25;
    let error = client.error().await;
    let TunnelError::ChannelRefused { refusal, .. } = &error else {
        panic!("{error}")
    };
    assert_eq!(*refusal, Refusal::AdministrativelyProhibited);
    assert_eq!(error.kind(), TunnelErrorKind::Refused);
    assert!(error.hint().unwrap().contains("AllowTcpForwarding"));
}

#[tokio::test]
async fn refused_channels_leave_the_connection_to_others() {
    let server = server().await;
    server.set_target(
        "closed",
        110,
        Target::Refuse(ChannelOpenFailure::ConnectFailed),
    );
    let client = client(&server);
    let closed = HostPort {
        host: "closed".to_owned(),
        port: 110,
    };
    let hops = std::slice::from_ref(&client.hop);
    for _ in 0..3 {
        let error = client
            .tunnels
            .open("work", hops, &closed)
            .await
            .err()
            .unwrap();
        assert!(error.is_temporary(), "{error}");
    }
    let mut stream = client.open().await.unwrap();
    assert!(carries(&mut stream).await);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn a_channel_that_never_opens_runs_into_the_limit() {
    let server = server().await;
    server.set_target("slow", 110, Target::Ignore);
    let mut client = client(&server);
    client.hop.connect_timeout = Duration::from_millis(600);
    client.target.host = "slow".to_owned();
    let error = client.error().await;
    assert_eq!(
        error.to_string(),
        "popserver did not finish the opening of a channel within 600ms"
    );
    assert!(error.is_temporary());
}

#[tokio::test]
async fn ipv6_works() {
    let server = SshServer::builder()
        .listen_on(std::net::Ipv6Addr::LOCALHOST.into())
        .login("msingh", Login::new().password("sesame"))
        .forward("localhost", 110, echo().await)
        .start();
    let mut stream = client(&server).open().await.unwrap();
    assert!(carries(&mut stream).await);
}

#[tokio::test]
async fn a_port_without_ssh_is_told_apart() {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            stream
                .write_all(&b"+OK POP3 ready\r\n".repeat(40))
                .await
                .ok();
        }
    });
    let server = server().await;
    let mut client = client(&server);
    client.hop.address.port = port;
    let error = client.error().await;
    assert!(
        error
            .to_string()
            .starts_with("popserver does not answer as an SSH server: "),
        "{error}"
    );
}

#[tokio::test]
async fn a_server_that_says_nothing_runs_into_the_limit() {
    let listener = tokio::net::TcpListener::bind((Ipv4Addr::LOCALHOST, 0))
        .await
        .unwrap();
    let server = server().await;
    let mut client = client(&server);
    client.hop.address.port = listener.local_addr().unwrap().port();
    client.hop.connect_timeout = Duration::from_millis(300);
    let error = client.error().await;
    assert_eq!(
        error.to_string(),
        "popserver did not finish the key exchange within 300ms"
    );
}
