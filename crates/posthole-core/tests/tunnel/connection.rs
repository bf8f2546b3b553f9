//! Connections that are shared, lost, found dead, and nested.

use posthole_core::tunnel::TunnelError;
use posthole_testkit::ssh::{Login, SshServer};
use std::time::Duration;

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

#[tokio::test(flavor = "multi_thread")]
async fn accounts_behind_one_host_share_one_connection() {
    let server = server().await;
    let client = client(&server);
    let (a, b, c) = tokio::join!(client.open(), client.open(), client.open());
    let mut streams = [a.unwrap(), b.unwrap(), c.unwrap()];
    for stream in &mut streams {
        assert!(carries(stream).await);
    }
    assert_eq!(server.connections(), 1);
    assert_eq!(server.channels().len(), 3);
}

#[tokio::test]
async fn accounts_that_waited_share_the_failure() {
    let server = server().await;
    let client = client(&server).given_password("wrong");
    let (a, b, c) = tokio::join!(client.open(), client.open(), client.open());
    for opened in [a, b, c] {
        let error = opened.err().unwrap();
        assert!(
            matches!(error, TunnelError::AuthenticationFailed(_)),
            "{error}"
        );
    }
    assert_eq!(server.connections(), 1);
    // Who comes soon shares it, too, before the server shuts us out for our attempts.
    client.error().await;
    assert_eq!(server.connections(), 1);
    // Who comes later tries anew.
    tokio::time::pause();
    tokio::time::advance(Duration::from_secs(60)).await;
    tokio::time::resume();
    client.error().await;
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_host_that_is_down_is_left_alone_for_a_moment() {
    let server = server().await;
    let mut client = client(&server);
    let good = client.hop.address.port;
    let closed = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    client.hop.address.port = closed.local_addr().unwrap().port();
    drop(closed);
    let error = client.error().await;
    assert!(error.is_temporary(), "{error}");
    let resolved = client.notes.steps().len();
    client.error().await;
    assert_eq!(client.notes.steps().len(), resolved, "it was tried again");
    // Another destination has nothing to do with it.
    client.hop.address.port = good;
    client.open().await.unwrap();
}

#[tokio::test]
async fn accounts_that_waited_share_the_failure_of_a_host_on_the_way() {
    let (gate, inner) = (server().await, server().await);
    let at_gate = client(&gate).given_password("wrong");
    let client = client(&inner);
    let hops = [at_gate.hop.clone(), client.hop.clone()];
    let open = || client.tunnels.open("work", &hops, &client.target);
    let (a, b, c) = tokio::join!(open(), open(), open());
    for opened in [a, b, c] {
        let error = opened.err().unwrap();
        assert!(
            error
                .to_string()
                .contains("msingh@popserver did not let us in"),
            "{error}"
        );
    }
    assert_eq!((gate.connections(), inner.connections()), (1, 0));
}

#[tokio::test]
async fn other_users_have_other_connections() {
    let server = server().await;
    server.set_login("other", Login::new().password("sesame"));
    let client = client(&server);
    client.open().await.unwrap();
    let mut other = client.hop.clone();
    other.user = "other".to_owned();
    client
        .tunnels
        .open("home", &[other], &client.target)
        .await
        .unwrap();
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn a_connection_that_died_is_opened_again() {
    let server = server().await;
    let relay = posthole_testkit::relay::Relay::to(server.addr())
        .cut_to_client(20_000)
        .start();
    let mut client = client(&server);
    client.hop.address.port = relay.port();
    let known = server.known_hosts_line("127.0.0.1");
    let known = known.replace(&server.port().to_string(), &relay.port().to_string());
    std::fs::write(client.known_hosts(), known).unwrap();
    for round in 1..=3 {
        let mut stream = client.open().await.unwrap();
        assert!(carries(&mut stream).await);
        // Enough to reach the cut.
        let (mut reader, mut writer) = tokio::io::split(stream);
        let pump = async {
            use tokio::io::AsyncWriteExt;
            while writer.write_all(&[0; 4096]).await.is_ok() {}
        };
        let drain = async { tokio::io::copy(&mut reader, &mut tokio::io::sink()).await };
        let (_, drained) = tokio::join!(pump, drain);
        drained.unwrap_err();
        assert_eq!(server.connections(), round);
    }
}

#[tokio::test]
async fn a_connection_that_went_silent_is_opened_again() {
    let server = server().await;
    let relay = posthole_testkit::relay::Relay::to(server.addr())
        .cut_to_client(20_000)
        .ending(posthole_testkit::net::Ending::Stall)
        .start();
    let mut client = client(&server);
    client.hop.address.port = relay.port();
    client.hop.keepalive = Duration::from_millis(100);
    let known = server.known_hosts_line("127.0.0.1");
    let known = known.replace(&server.port().to_string(), &relay.port().to_string());
    std::fs::write(client.known_hosts(), known).unwrap();
    let (mut reader, mut writer) = tokio::io::split(client.open().await.unwrap());
    let pump = async {
        use tokio::io::AsyncWriteExt;
        while writer.write_all(&[0; 4096]).await.is_ok() {}
    };
    let drain = async { tokio::io::copy(&mut reader, &mut tokio::io::sink()).await };
    let (_, drained) = tokio::join!(pump, drain);
    let error = drained.unwrap_err().to_string();
    assert!(error.ends_with("the server stopped answering"), "{error}");
    relay.cut_to_client(None);
    let mut stream = client.open().await.unwrap();
    assert!(carries(&mut stream).await);
    assert_eq!(server.connections(), 2);
}

#[tokio::test]
async fn closing_says_goodbye() {
    let server = server().await;
    let client = client(&server);
    let stream = client.open().await.unwrap();
    client.tunnels.close().await;
    drop(stream);
    assert!(server.wait_until_idle(Duration::from_secs(10)));
}

#[tokio::test]
async fn a_dropped_channel_is_closed_and_the_connection_stays() {
    let server = server().await;
    let client = client(&server);
    drop(client.open().await.unwrap());
    let mut stream = client.open().await.unwrap();
    assert!(carries(&mut stream).await);
    assert_eq!(server.connections(), 1);
}

#[tokio::test]
async fn hosts_are_reached_through_hosts_each_under_its_own_key() {
    let inner = server().await;
    let gate = SshServer::builder()
        .login("msingh", Login::new().password("gate"))
        .forward("127.0.0.1", inner.port(), inner.addr())
        .start();
    let at_gate = Client::of(&gate, Person::absent()).given_password("gate");
    let client = client(&inner);
    let hops = [at_gate.hop.clone(), client.hop.clone()];
    let mut stream = client
        .tunnels
        .open("work", &hops, &client.target)
        .await
        .unwrap();
    assert!(carries(&mut stream).await);
    let mut second = client
        .tunnels
        .open("home", &hops, &client.target)
        .await
        .unwrap();
    assert!(carries(&mut second).await);
    assert_eq!((gate.connections(), inner.connections()), (1, 1));

    // The gate shows the inner host's name to nobody, and its own key does not vouch for it.
    inner.set_host_keys(vec![posthole_testkit::keys::generate(
        posthole_testkit::keys::KeyType::Ed25519,
    )]);
    client.tunnels.close().await;
    let error = client
        .tunnels
        .open("work", &hops, &client.target)
        .await
        .err()
        .unwrap();
    assert!(matches!(error, TunnelError::HostKeyChanged(_)), "{error}");
}
