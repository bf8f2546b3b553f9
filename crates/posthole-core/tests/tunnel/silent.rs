//! Servers that fall silent, and what is left of a connection to them: nothing.

use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use posthole_core::tunnel::TunnelError;
use posthole_testkit::ssh::raw::{CHANNEL_OPEN_FAILURE, GLOBAL_REQUEST, RawSshServer};
use tokio::io::AsyncReadExt;
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

use crate::world::{Client, Person};

/// Longer than anything takes that happens at all.
const SOON: Duration = Duration::from_secs(20);

/// RFC 4254 §4.
const REQUEST_FAILURE: u8 = 82;

#[tokio::test]
async fn a_key_exchange_that_nobody_waits_for_is_over_and_asks_nothing() {
    let (reached, released) = (Arc::<Notify>::default(), Arc::<Notify>::default());
    let gone = Arc::new(Semaphore::new(0));
    let (reach, release, go) = (
        Arc::clone(&reached),
        Arc::clone(&released),
        Arc::clone(&gone),
    );
    let server = RawSshServer::start(move |mut session| {
        let (reach, release, go) = (Arc::clone(&reach), Arc::clone(&release), Arc::clone(&go));
        async move {
            session.greet().await?;
            let reply = session.answer_key_exchange().await?;
            reach.notify_one();
            release.notified().await;
            // May fail, because the client is gone.
            session.send(&reply).await.ok();
            session.listen().await.ok();
            go.add_permits(1);
            Ok(())
        }
    });
    let person = Person::saying(true);
    let client = Arc::new(Client::at(server.addr(), "", Arc::clone(&person)));
    let opening = tokio::spawn({
        let client = Arc::clone(&client);
        async move { client.open().await.map(drop) }
    });
    timeout(SOON, reached.notified()).await.unwrap();
    opening.abort();
    opening.await.unwrap_err();
    released.notify_one();
    let gone = timeout(SOON, gone.acquire()).await;
    gone.expect("the connection is closed").unwrap().forget();
    assert!(person.asked_to_trust.lock().unwrap().is_empty());
    assert!(std::fs::read(client.known_hosts()).unwrap().is_empty());
}

#[tokio::test]
async fn a_connection_that_waits_for_new_keys_can_be_given_up() {
    let gone = Arc::new(Semaphore::new(0));
    let go = Arc::clone(&gone);
    let server = RawSshServer::start(move |mut session| {
        let go = Arc::clone(&go);
        async move {
            session.greet().await?;
            session.exchange_keys().await?;
            session.let_in().await?;
            session.open_channel().await?;
            let kexinit = session.kexinit();
            session.send(&kexinit).await?;
            session.listen().await.ok();
            go.add_permits(1);
            io::Result::Ok(())
        }
    });
    let client = Client::at(server.addr(), &server.known_hosts_line(), Person::absent())
        .given_password("sesame");
    let mut stream = client.open().await.unwrap();
    let dead = client.tunnels.drop_dead(Duration::from_millis(300)).await;
    assert_eq!(dead, 1);
    let read = timeout(SOON, stream.read_u8()).await;
    let error = read.expect("the stream fails").unwrap_err().to_string();
    assert!(error.ends_with("the server stopped answering"), "{error}");
    timeout(SOON, gone.acquire())
        .await
        .unwrap()
        .unwrap()
        .forget();
}

/// A server that lets everybody in, opens the first channel, and answers signs of life after that.
fn opening_one_channel(connections: Arc<AtomicUsize>) -> RawSshServer {
    RawSshServer::start(move |mut session| {
        connections.fetch_add(1, Ordering::SeqCst);
        async move {
            session.greet().await?;
            session.exchange_keys().await?;
            session.let_in().await?;
            session.open_channel().await?;
            loop {
                let packet = session.receive().await?;
                if packet.first() == Some(&GLOBAL_REQUEST) {
                    session.send(&[REQUEST_FAILURE]).await?;
                }
            }
        }
    })
}

#[tokio::test]
async fn a_connection_on_which_no_channel_opens_is_not_used_again() {
    let connections = Arc::<AtomicUsize>::default();
    let server = opening_one_channel(Arc::clone(&connections));
    let known = server.known_hosts_line();
    let mut client = Client::at(server.addr(), &known, Person::absent());
    client.hop.connect_timeout = Duration::from_millis(500);
    let client = client.given_password("sesame");
    let stream = client.open().await.unwrap();
    // It may be the destination's fault, as long as others get on with it.
    let error = client.error().await;
    assert!(matches!(error, TunnelError::Timeout { .. }), "{error}");
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    let error = client.error().await;
    assert!(matches!(error, TunnelError::Timeout { .. }), "{error}");
    assert_eq!(connections.load(Ordering::SeqCst), 1);
    let second = client.open().await.unwrap();
    assert_eq!(connections.load(Ordering::SeqCst), 2);
    drop(stream);

    // Without others it is given up at once.
    drop(second);
    let error = client.error().await;
    assert!(matches!(error, TunnelError::Timeout { .. }), "{error}");
    client.open().await.unwrap();
    assert_eq!(connections.load(Ordering::SeqCst), 3);
}

#[tokio::test]
async fn a_channel_that_is_refused_after_it_was_opened_is_lost() {
    let server = RawSshServer::start(|mut session| async move {
        session.greet().await?;
        session.exchange_keys().await?;
        session.let_in().await?;
        let channel = session.open_channel().await?;
        let mut refusal = vec![CHANNEL_OPEN_FAILURE];
        for number in [channel, 1, 0, 0] {
            refusal.extend(u32::to_be_bytes(number));
        }
        session.send(&refusal).await?;
        session.listen().await
    });
    let known = server.known_hosts_line();
    let client = Client::at(server.addr(), &known, Person::absent()).given_password("sesame");
    let mut stream = client.open().await.unwrap();
    let read = timeout(SOON, stream.read_u8()).await;
    let error = read.expect("the stream fails").unwrap_err();
    assert_eq!(error.kind(), io::ErrorKind::ConnectionReset, "{error}");
}
