//! Servers that fall silent, and what is left of a connection to them: nothing.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use posthole_testkit::ssh::raw::RawSshServer;
use tokio::io::AsyncReadExt;
use tokio::sync::{Notify, Semaphore};
use tokio::time::timeout;

use crate::world::{Client, Person};

/// Longer than anything takes that happens at all.
const SOON: Duration = Duration::from_secs(20);

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
