//! Forwards, through the SSH server of the testkit.

use std::io::ErrorKind;
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use posthole_core::config::Protocol;
use posthole_core::forward::{ClientEvent, Context, ForwardError, Forwarder, Handle, Limits};
use posthole_core::plan::{Forward, ForwardTo, HostPort, ListenOn};
use posthole_testkit::net::Ending;
use posthole_testkit::relay::Relay;
use posthole_testkit::ssh::{Login, SshServer, Target};
use russh::ChannelOpenFailure;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream, UnixStream};
use tokio::task::{JoinHandle, JoinSet};
use tokio_util::sync::CancellationToken;

use crate::world::{Client, Person, echo};

/// A forward that is served.
struct Served {
    handle: Handle,
    places: Vec<String>,
    stop: CancellationToken,
    serving: JoinHandle<()>,
}

impl Served {
    async fn connect(&self) -> TcpStream {
        TcpStream::connect(&self.places[0]).await.unwrap()
    }

    async fn end(self) {
        self.stop.cancel();
        self.serving.await.unwrap();
    }
}

fn server(to: SocketAddr) -> SshServer {
    let login = Login::new().password("sesame");
    let builder = SshServer::builder().login("msingh", login);
    builder.forward("localhost", 110, to).start()
}

fn client(server: &SshServer) -> Client {
    Client::of(server, Person::absent()).given_password("sesame")
}

fn forward(client: &Client) -> Forward {
    Forward {
        name: "netscape".to_owned(),
        listen: ListenOn::Loopback(0),
        target: ForwardTo::Through {
            hops: Arc::from([client.hop.clone()]),
            to: client.target.clone(),
        },
        protocol: Protocol::Pop3,
        idle: None,
        allow_any: false,
    }
}

async fn bind(
    client: &Client,
    forward: Forward,
    limits: Limits,
) -> Result<Forwarder, ForwardError> {
    let cx = Context {
        ask: Person::absent(),
        observer: Arc::clone(&client.notes) as _,
        trust_stores: Arc::default(),
        state_dir: PathBuf::new(),
        passed: Arc::default(),
        limits,
    };
    Forwarder::bind(Arc::new(forward), &cx).await
}

async fn serve_with(client: &Client, forward: Forward, limits: Limits) -> Served {
    let forwarder = bind(client, forward, limits).await.unwrap();
    let stop = CancellationToken::new();
    Served {
        handle: forwarder.handle(),
        places: forwarder.places(),
        serving: tokio::spawn(forwarder.run(stop.clone())),
        stop,
    }
}

async fn serve(client: &Client, forward: Forward) -> Served {
    serve_with(client, forward, Limits::default()).await
}

/// Waits until something is so; a test that waits for ever is ended by its runner.
async fn until(mut so: impl FnMut() -> bool) {
    while !so() {
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
}

async fn read_all(mut stream: TcpStream) -> std::io::Result<Vec<u8>> {
    let mut got = Vec::new();
    stream.read_to_end(&mut got).await.map(|_| got)
}

/// A server that sends this much to whoever comes, and then ends.
async fn flood(octets: usize) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let address = listener.local_addr().unwrap();
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            tokio::spawn(async move { stream.write_all(&vec![b'x'; octets]).await });
        }
    });
    address
}

#[tokio::test]
async fn each_side_ends_in_its_own_time_and_nothing_is_lost() {
    let server = server(echo().await);
    let client = client(&server);
    let served = serve(&client, forward(&client)).await;
    assert_eq!(server.connections(), 0, "nobody has asked for it yet");
    let sent: Vec<u8> = (0..3_000_000_u32).map(|n| (n >> 3) as u8).collect();
    for place in &served.places {
        let (mut reader, mut writer) = TcpStream::connect(place).await.unwrap().into_split();
        let out = sent.clone();
        let writing = tokio::spawn(async move {
            writer.write_all(&out).await.unwrap();
            writer.shutdown().await.unwrap();
        });
        let mut got = Vec::new();
        reader.read_to_end(&mut got).await.unwrap();
        writing.await.unwrap();
        assert!(got == sent, "{place}");
    }
    until(|| served.handle.status().clients == 0).await;
    let status = served.handle.status();
    let n = served.places.len() as u64;
    assert_eq!(status.received, n * sent.len() as u64);
    assert_eq!(status.sent, n * sent.len() as u64);
    assert_eq!(status.served, n);
    assert!(status.open_since.is_some());
    assert_eq!(server.connections(), 1);
    served.end().await;
}

#[tokio::test]
async fn the_ssh_connection_closes_when_nobody_uses_it_and_opens_again() {
    let server = server(echo().await);
    let client = client(&server);
    let idle = Some(Duration::from_millis(20));
    let mut stay = serve(
        &client,
        Forward {
            idle,
            ..forward(&client)
        },
    )
    .await;
    for time in 1..=2 {
        let mut first = stay.connect().await;
        first.write_all(b"QUIT").await.unwrap();
        first.shutdown().await.unwrap();
        assert_eq!(read_all(first).await.unwrap(), b"QUIT");
        until(|| stay.handle.status().open_since.is_none()).await;
        assert_eq!(server.connections(), time);
        assert!(!stay.serving.is_finished());
    }
    let idle = tokio::task::spawn_blocking(move || server.wait_until_idle(Duration::from_secs(20)));
    assert!(idle.await.unwrap(), "a connection is still there");
    stay.places.clear();
    stay.end().await;
}

#[tokio::test]
async fn a_client_that_never_reads_stops_the_others_for_a_moment_only() {
    let octets = 24 << 20;
    let server = server(flood(octets).await);
    let client = client(&server);
    let limits = Limits {
        backlog: 1 << 20,
        patience: Duration::from_millis(300),
    };
    let served = serve_with(&client, forward(&client), limits).await;
    let stalled = served.connect().await;
    // It has got more than anybody keeps for it.
    until(|| served.handle.status().received > 0).await;
    for _ in 0..2 {
        let got = read_all(served.connect().await).await.unwrap();
        assert_eq!(got.len(), octets);
    }
    let error = read_all(stalled).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    let cut = client.notes.clients();
    let cut = cut
        .iter()
        .filter(|event| matches!(event, ClientEvent::Cut { .. }));
    assert_eq!(cut.count(), 1);
    assert_eq!(server.connections(), 1);
    served.end().await;
}

#[tokio::test]
async fn a_client_that_is_alone_may_take_its_time() {
    let octets = 16 << 20;
    let server = server(flood(octets).await);
    let client = client(&server);
    let patience = Duration::from_millis(10);
    let limits = Limits {
        backlog: 1 << 18,
        patience,
    };
    let served = serve_with(&client, forward(&client), limits).await;
    let slow = served.connect().await;
    until(|| served.handle.status().received > 0).await;
    tokio::time::sleep(20 * patience).await;
    assert_eq!(read_all(slow).await.unwrap().len(), octets);
    served.end().await;
}

#[tokio::test]
async fn a_mail_program_is_told_why_there_is_no_channel() {
    let server = server(echo().await);
    let refuse = Target::Refuse(ChannelOpenFailure::ConnectFailed);
    for port in [110, 143, 2525] {
        server.set_target("localhost", port, refuse.clone());
    }
    let client = client(&server);
    for (port, protocol, greeting) in [
        (110, Protocol::Pop3, Some("-ERR [SYS/TEMP] posthole: ")),
        (143, Protocol::Imap, Some("* BYE posthole: ")),
        (2525, Protocol::Other, None),
    ] {
        let host = "localhost".to_owned();
        let target = ForwardTo::Through {
            hops: Arc::from([client.hop.clone()]),
            to: HostPort { host, port },
        };
        let unreachable = Forward {
            target,
            protocol,
            ..forward(&client)
        };
        let served = serve(&client, unreachable).await;
        let said = read_all(served.connect().await).await;
        match greeting {
            Some(greeting) => {
                let said = String::from_utf8(said.unwrap()).unwrap();
                assert!(said.starts_with(greeting), "{said}");
                assert!(
                    said.contains("could not open a channel") && said.ends_with("\r\n"),
                    "{said}"
                );
            }
            None => assert_eq!(said.unwrap_err().kind(), ErrorKind::ConnectionReset),
        }
        let last = client.notes.clients().pop();
        assert!(matches!(last, Some(ClientEvent::Failed(_))), "{last:?}");
        assert_eq!(served.handle.status().served, 0);
        served.end().await;
    }
}

#[tokio::test]
async fn a_lost_connection_resets_the_client_and_the_next_one_gets_another() {
    let server = server(echo().await);
    let relay = Relay::to(server.addr())
        .ending(Ending::Close)
        .cut_to_client(200_000)
        .start();
    let known = server.known_hosts_line("127.0.0.1");
    let known = known.replace(&server.port().to_string(), &relay.port().to_string());
    let client = Client::at(relay.addr(), &known, Person::absent()).given_password("sesame");
    let served = serve(&client, forward(&client)).await;
    let mut first = served.connect().await;
    first.write_all(b"CAPA").await.unwrap();
    let mut answer = [0; 4];
    first.read_exact(&mut answer).await.unwrap();
    relay.cut_to_client(None);
    first.write_all(&vec![b'x'; 300_000]).await.unwrap();
    let error = read_all(first).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    until(|| served.handle.status().open_since.is_none()).await;
    let mut second = served.connect().await;
    second.write_all(b"NOOP").await.unwrap();
    second.read_exact(&mut answer).await.unwrap();
    assert_eq!(&answer, b"NOOP");
    served.end().await;
}

#[tokio::test]
async fn a_destination_that_never_answers_holds_up_no_other_client() {
    let echo = echo().await;
    let server = server(echo);
    let client = client(&server);
    let served = serve(&client, forward(&client)).await;
    let mut before = served.connect().await;
    let mut answer = [0; 4];
    before.write_all(b"CAPA").await.unwrap();
    before.read_exact(&mut answer).await.unwrap();

    server.set_target("localhost", 110, Target::Ignore);
    let asked = server.channels().len();
    let waiting = served.connect().await;
    until(|| server.channels().len() > asked).await;
    server.set_target("localhost", 110, Target::Connect(echo));

    let mut after = served.connect().await;
    for stream in [&mut after, &mut before] {
        stream.write_all(b"NOOP").await.unwrap();
        stream.read_exact(&mut answer).await.unwrap();
        assert_eq!(&answer, b"NOOP");
    }
    let nothing_yet = waiting.try_read(&mut answer).unwrap_err();
    assert_eq!(nothing_yet.kind(), ErrorKind::WouldBlock);
    assert_eq!(server.connections(), 1);
    served.end().await;
}

#[tokio::test]
async fn new_keys_in_the_middle_of_a_transfer_change_nothing() {
    let login = Login::new().password("sesame");
    let builder = SshServer::builder().login("msingh", login);
    let server = builder
        .forward("localhost", 110, echo().await)
        .rekey_after(200_000)
        .start();
    for compression in [false, true] {
        let mut client = client(&server);
        client.hop.compression = compression;
        let served = serve(&client, forward(&client)).await;
        let sent: Vec<u8> = (0..6_000_000_u32)
            .map(|n| (n.wrapping_mul(n) >> 7) as u8)
            .collect();
        let (mut reader, mut writer) = served.connect().await.into_split();
        let out = sent.clone();
        let writing = tokio::spawn(async move {
            writer.write_all(&out).await.unwrap();
            writer.shutdown().await.unwrap();
        });
        let mut got = Vec::new();
        reader.read_to_end(&mut got).await.unwrap();
        writing.await.unwrap();
        assert!(got == sent, "compression {compression}");
        served.end().await;
    }
}

#[tokio::test]
async fn two_hundred_clients_at_once_share_one_connection() {
    let server = server(echo().await);
    let client = client(&server);
    let served = serve(&client, forward(&client)).await;
    let mut clients = JoinSet::new();
    for number in 0..200_u32 {
        let mut stream = served.connect().await;
        clients.spawn(async move {
            let text = number.to_string().repeat(3_000);
            stream.write_all(text.as_bytes()).await.unwrap();
            stream.shutdown().await.unwrap();
            assert!(read_all(stream).await.unwrap() == text.as_bytes());
        });
    }
    clients.join_all().await;
    assert_eq!(server.connections(), 1);
    assert_eq!(served.handle.status().served, 200);
    served.end().await;
}

#[tokio::test]
async fn an_end_resets_clients_and_gives_the_places_back() {
    let server = server(echo().await);
    let client = client(&server);
    let path = client.path("pop.sock");
    let tcp = serve(&client, forward(&client)).await;
    let listen = ListenOn::Unix(path.clone());
    let unix = serve(
        &client,
        Forward {
            listen,
            ..forward(&client)
        },
    )
    .await;
    let mut stream = tcp.connect().await;
    let mut local = UnixStream::connect(&path).await.unwrap();
    local.write_all(b"CAPA").await.unwrap();
    let mut answer = [0; 4];
    local.read_exact(&mut answer).await.unwrap();
    stream.write_all(b"CAPA").await.unwrap();
    stream.read_exact(&mut answer).await.unwrap();
    let place = tcp.places[0].clone();
    tcp.end().await;
    unix.end().await;
    let error = read_all(stream).await.unwrap_err();
    assert_eq!(error.kind(), ErrorKind::ConnectionReset);
    assert_eq!(local.read(&mut answer).await.unwrap_or(0), 0);
    assert!(!path.exists());
    TcpListener::bind(place).await.unwrap();
}

#[tokio::test]
async fn a_socket_is_private_and_replaces_only_a_dead_one_of_ours() {
    let server = server(echo().await);
    let client = client(&server);
    let path: PathBuf = client.path("pop.sock");
    let at = || Forward {
        listen: ListenOn::Unix(path.clone()),
        ..forward(&client)
    };
    // Its process is gone, its file is not.
    drop(std::os::unix::net::UnixListener::bind(&path).unwrap());
    let served = serve(&client, at()).await;
    let mode = std::fs::metadata(&path).unwrap().permissions().mode();
    assert_eq!(mode & 0o777, 0o600);
    let taken = bind(&client, at(), Limits::default()).await.unwrap_err();
    assert!(matches!(taken, ForwardError::Taken { .. }), "{taken}");
    served.end().await;
    std::fs::write(&path, "dear diary").unwrap();
    let other = bind(&client, at(), Limits::default()).await.unwrap_err();
    assert!(
        matches!(other, ForwardError::NotOurSocket { .. }),
        "{other}"
    );
    assert_eq!(std::fs::read(&path).unwrap(), b"dear diary");
    let left: Vec<_> = std::fs::read_dir(client.home.path()).unwrap().collect();
    assert_eq!(left.len(), 2, "the known hosts and the diary: {left:?}");
}

#[tokio::test]
async fn who_is_on_the_port_is_named() {
    let squatter = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = squatter.local_addr().unwrap().port();
    let server = server(echo().await);
    let client = client(&server);
    let listen = ListenOn::Loopback(port);
    let taken = bind(
        &client,
        Forward {
            listen,
            ..forward(&client)
        },
        Limits::default(),
    )
    .await;
    let taken = taken.unwrap_err().to_string();
    let us = format!("process {}", std::process::id());
    assert!(
        taken.contains(&us) && taken.contains(&port.to_string()),
        "{taken}"
    );
}

#[tokio::test]
async fn who_connects_and_leaves_at_once_is_no_stranger() {
    let server = server(echo().await);
    let client = client(&server);
    let served = serve(&client, forward(&client)).await;
    for number in 0..50 {
        let stream = served.connect().await;
        if number % 2 == 0 {
            // Half of them leave with a reset.
            rustix::net::sockopt::set_socket_linger(&stream, Some(Duration::ZERO)).unwrap();
        }
    }
    let mut stream = served.connect().await;
    stream.write_all(b"x").await.unwrap();
    stream.read_exact(&mut [0]).await.unwrap();
    let events = client.notes.clients();
    let is_refused = |event: &ClientEvent| matches!(event, ClientEvent::Refused { .. });
    assert!(!events.iter().any(is_refused), "{events:?}");
    assert_eq!(served.handle.status().refused, 0);
    served.end().await;
}

#[tokio::test]
async fn a_connection_that_is_lost_while_nobody_uses_it_is_not_shown_as_open() {
    let server = server(echo().await);
    let relay = Relay::to(server.addr()).start();
    let known = server.known_hosts_line("127.0.0.1");
    let known = known.replace(&server.port().to_string(), &relay.port().to_string());
    let client = Client::at(relay.addr(), &known, Person::absent()).given_password("sesame");
    let served = serve(&client, forward(&client)).await;
    let mut first = served.connect().await;
    first.write_all(b"x").await.unwrap();
    first.shutdown().await.unwrap();
    assert_eq!(read_all(first).await.unwrap(), b"x");
    until(|| served.handle.status().clients == 0).await;
    assert!(served.handle.status().open_since.is_some());
    drop(relay);
    until(|| served.handle.status().open_since.is_none()).await;
    served.end().await;
}
